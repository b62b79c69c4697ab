"""Orderings that the paper reports, as data that a run can fail."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from examples.dks_experiments.setup import Scale
from examples.experiment import Finding, mean_and_error, shown

Quantity = Literal["speed", "train", "test"]
Relation = Literal[">>", ">", ">=", "~"]

LARGE, SMALL, ALIKE = 0.15, 0.02, 0.05
"""Differences of accuracy that >> asks for, that >= forgives, and that count as alike."""
LEAST_ERROR = 2e-3
"""Of a difference: two test examples in a thousand, where all seeds agree."""


@dataclass(frozen=True)
class Ordering:
    """A statement about two curves.

    ``>>``: better by 0.15 and by two standard errors. ``>``: better by two standard errors. ``>=``: not worse by more
    than 0.02 or two standard errors. ``~``: apart by no more than 0.05 or two standard errors.

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

    def check(self, found: Mapping[str, Mapping[str, Any]], scale: Scale) -> Finding:
        """Whether it holds of what `compared` found."""
        (a, error_a), (b, error_b) = (
            mean_and_error(measured(found[label]["runs"], self.quantity, scale)) for label in (self.better, self.worse)
        )
        error = max(math.hypot(error_a, error_b), LEAST_ERROR)
        difference = a - b
        seen = f"{shown(a, error_a)} against {shown(b, error_b)}, {difference / error:+.1f} standard errors"
        return Finding(str(self), _HOLDS[self.relation](difference, 2 * error), seen)


_HOLDS: Mapping[Relation, Callable[[float, float], bool]] = {
    ">>": lambda difference, bound: difference > max(LARGE, bound),
    ">": lambda difference, bound: difference > bound,
    ">=": lambda difference, bound: difference > -max(SMALL, bound),
    "~": lambda difference, bound: abs(difference) <= max(ALIKE, bound),
}


def filled(runs: Sequence[Mapping[str, Any]], name: str, scale: Scale) -> np.ndarray:
    """The curve [seeds, epochs] of an accuracy; epochs that a diverged run lacks count as chance."""
    return np.array([[*run[name], *[scale.chance] * (scale.epochs - len(run[name]))] for run in runs])


def measured(runs: Sequence[Mapping[str, Any]], quantity: Quantity, scale: Scale) -> np.ndarray:
    """The quantity for each seed."""
    curves = filled(runs, "test" if quantity == "test" else "accuracy", scale)
    return curves.mean(axis=1) if quantity == "speed" else curves[:, -1]
