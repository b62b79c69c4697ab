"""Gate functions: hard and soft gates of a pre-activation (DGN, table 2)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import expit

from qcmap.errors import ArgumentError


@dataclass(frozen=True)
class GateFunction:
    """G(q) = (1 + epsilon) / (1 + exp(-beta q)), which is chi_epsilon(-beta q) of DGN, table 2.

    With ``beta`` infinite it is the hard gate: 1 where q > 0, else 0, so that q G(q) is ReLU.

    Attributes
    ----------
    beta
        Its steepness, positive.
    epsilon
        Gates lie between 0 and 1 + epsilon.

    Raises
    ------
    ArgumentError
        For a beta that is not positive, an epsilon that is negative or not finite, or a hard gate with an epsilon.
    """

    beta: float = math.inf
    epsilon: float = 0.0

    def __post_init__(self) -> None:
        if not (_number(self.beta) and self.beta > 0):
            raise ArgumentError("beta", f"it is a positive number, not {self.beta!r}", "give e.g. 4, or infinity")
        if not (_number(self.epsilon) and 0 <= self.epsilon < math.inf):
            raise ArgumentError("epsilon", f"it is 0 or more, not {self.epsilon!r}", "give e.g. 0.1")
        if self.hard and self.epsilon:
            raise ArgumentError("epsilon", "a hard gate is 0 or 1", "give a finite beta, or leave epsilon out")

    @property
    def hard(self) -> bool:
        """Whether the gate jumps, so that no gradient flows through it."""
        return math.isinf(self.beta)

    @property
    def ceiling(self) -> float:
        """The largest value of the gate."""
        return 1 + self.epsilon

    def __call__(self, q: Any) -> Any:
        """The gates of pre-activations, an array of any shape."""
        q = np.asarray(q)
        return (q > 0).astype(np.float64) if self.hard else self.ceiling * expit(self.beta * q)

    def slope(self, q: Any) -> Any:
        """dG/dq = beta G (1 - G / (1 + epsilon)); 0 for a hard gate."""
        return np.zeros_like(q) if self.hard else self.beta * self(q) * expit(-self.beta * q)

    def largest_slope(self, threshold: float) -> float:
        """The largest dG/dq among gates above a threshold: what a sensitive gate must exceed not to be active as well.

        With s = G / (1 + epsilon) the slope is (1 + epsilon) beta s (1 - s), which falls for s > 1/2 (DGN, 3.1); it is
        0 for a threshold that no gate exceeds.

        Raises
        ------
        ArgumentError
            For a threshold that is no number.
        """
        if not _number(threshold) or math.isnan(threshold):
            raise ArgumentError("threshold", f"it is a number, not {threshold!r}", "give e.g. 0.9")
        if self.hard:
            return 0.0
        s = min(max(threshold / self.ceiling, 0.5), 1.0)
        return self.ceiling * self.beta * s * (1 - s)

    def __repr__(self) -> str:
        return "<hard gate>" if self.hard else f"<soft gate beta {self.beta:g}, epsilon {self.epsilon:g}>"


def _number(value: object) -> bool:
    return isinstance(value, (int, float, np.number)) and not isinstance(value, bool)
