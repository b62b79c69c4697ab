"""``python -m examples.neural_paths NAME ... [--size small|paper] [--output DIR] [--data DIR]``, or ``--all``."""

from examples.command import command
from examples.neural_paths.table import EXPERIMENTS

main = command(
    EXPERIMENTS,
    "Experiments of Neural Path Features and Deep Gated Networks, checked against what the papers report.",
    "neural-paths",
)

if __name__ == "__main__":
    main()
