"""``python -m examples.dks_experiments NAME ... [--size small|paper] [--output DIR] [--data DIR]``, or ``--all``."""

from examples.command import command
from examples.dks_experiments.table import EXPERIMENTS

main = command(
    EXPERIMENTS,
    "Train what sections 28, M and N of Deep Kernel Shaping compare, and check the order.",
    "dks-experiments",
)

if __name__ == "__main__":
    main()
