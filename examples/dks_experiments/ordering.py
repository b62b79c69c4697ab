"""Orderings that the paper reports, as data that a run can fail."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from examples.experiment import Finding, mean_and_error, mean_and_interval, shown, shown_interval

Quantity = Literal["speed", "train", "test"]
Relation = Literal[">>", ">", ">=", "~"]

LARGE, SMALL, ALIKE = 0.15, 0.02, 0.05
"""Differences of accuracy that >> asks for, that >= forgives, and that count as alike."""
LEAST_INTERVAL = 4e-3
"""Of a difference: four examples in a thousand, where all seeds agree."""
NOISE = ", which noise forgives"


@dataclass(frozen=True)
class Ordering:
    """A statement about two curves.

    Of the difference d, the mean over seeds (both curves of a seed have the same order of examples), and half its 95%
    interval by Student's t, h = 4.30 standard errors for three seeds. ``>>``: d > 0.15 and d > h. ``>``: d > h.
    ``>=``: d > -0.02 or d > -h. ``~``: |d| <= 0.05 or |d| <= h. What only h forgives is said to be noise.

    Attributes
    ----------
    better, relation, worse
        Labels of a row's curves, and how they compare.
    quantity
        ``"speed"``: the mean of the training accuracy over all epochs, as examples are visited; ``"train"``: that of
        the last epoch; ``"test"``: the test accuracy after the last epoch. Chance once a run has diverged.
    """

    better: str
    relation: Relation
    worse: str
    quantity: Quantity = "speed"

    def __str__(self) -> str:
        words = {">>": "far better than", ">": "better than", ">=": "as good as", "~": "like"}[self.relation]
        what = {"speed": "speed of training", "train": "training accuracy", "test": "test accuracy"}[self.quantity]
        return f"{what}: {self.better} {words} {self.worse}"

    def check(self, found: Mapping[str, Mapping[str, Any]], epochs: int) -> Finding:
        """Whether it holds of what `compared` found."""
        a, b = (measured(found[label], self.quantity, epochs) for label in (self.better, self.worse))
        difference, half = mean_and_interval(a - b)
        half = max(half, LEAST_INTERVAL)
        holds, strictly = (_HOLDS[self.relation](difference, bound) for bound in (half, LEAST_INTERVAL))
        noise = NOISE if holds and not strictly else ""
        seen = f"{shown(*mean_and_error(a))} against {shown(*mean_and_error(b))}, {shown_interval(difference, half, 3)}"
        return Finding(str(self), holds, seen + noise)


_HOLDS: Mapping[Relation, Callable[[float, float], bool]] = {
    ">>": lambda difference, half: difference > max(LARGE, half),
    ">": lambda difference, half: difference > half,
    ">=": lambda difference, half: difference > -max(SMALL, half),
    "~": lambda difference, half: abs(difference) <= max(ALIKE, half),
}


def filled(row: Mapping[str, Any], name: str, epochs: int) -> np.ndarray:
    """The curve [seeds, epochs] of an accuracy; epochs that a diverged run lacks count as chance."""
    return np.array([[*run[name], *[row["chance"]] * (epochs - len(run[name]))] for run in row["runs"]])


def measured(row: Mapping[str, Any], quantity: Quantity, epochs: int) -> np.ndarray:
    """The quantity for each seed."""
    curves = filled(row, "test" if quantity == "test" else "accuracy", epochs)
    return curves.mean(axis=1) if quantity == "speed" else curves[:, -1]
