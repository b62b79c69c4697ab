"""Scripts to read, copy and change; run from the checkout, e.g. ``python -m examples.neural_race fig3``."""
