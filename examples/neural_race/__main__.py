"""``python -m examples.neural_race NAME ... [--size small|paper] [--output DIR] [--data DIR]``, or ``--all``."""

from examples.command import command
from examples.neural_race.table import EXPERIMENTS

main = command(
    EXPERIMENTS, "Draw figures of the Neural Race Reduction and check what the paper reports of them.", "neural-race"
)

if __name__ == "__main__":
    main()
