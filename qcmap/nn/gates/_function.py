"""Gate functions: hard and soft gates of a pre-activation (DGN, table 2)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from qcmap.errors import ArgumentError


@dataclass(frozen=True)
class GateFunction:
    """G(q) = (1 + epsilon) / (1 + exp(-beta q)), which is chi_epsilon(-beta q) of DGN, table 2.

    With ``beta`` infinite it is the hard gate: 1 where q > 0, else 0, so that q G(q) is ReLU.

    Raises
    ------
    ArgumentError
        For a beta that is not positive, an epsilon that is negative or not finite, or a hard gate with an epsilon.
    """

    beta: float = math.inf
    epsilon: float = 0.0

    def __post_init__(self) -> None:
        if not self.beta > 0:
            raise ArgumentError("beta", f"it must be positive, not {self.beta!r}", "give e.g. 4, or infinity")
        if not (math.isfinite(self.epsilon) and self.epsilon >= 0):
            raise ArgumentError("epsilon", f"it must be finite and at least 0, not {self.epsilon!r}", "give e.g. 0.1")
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

    def __call__(self, q: Tensor) -> Tensor:
        """The gate at pre-activations of any shape, in their type."""
        if self.hard:
            return (q > 0).to(q.dtype)
        return self.ceiling * torch.sigmoid(self.beta * q)

    def passed(self, q: Tensor) -> Tensor:
        """Q times its gate: ReLU of q for the hard gate."""
        return torch.relu(q) if self.hard else q * self(q)

    def slope(self, q: Tensor) -> Tensor:
        """dG/dq = (1 + epsilon) beta s (1 - s) with s = 1 / (1 + exp(-beta q)); 0 for a hard gate."""
        if self.hard:
            return torch.zeros_like(q)
        s = torch.sigmoid(self.beta * q)
        return self.ceiling * self.beta * s * (1 - s)

    def largest_slope(self, threshold: float) -> float:
        """The largest dG/dq among gates above a threshold: what a sensitive gate must exceed not to be active as well.

        With s = G / (1 + epsilon) the slope is (1 + epsilon) beta s (1 - s), which falls for s > 1/2 (DGN, 3.1).
        """
        if self.hard:
            return 0.0
        s = max(threshold / self.ceiling, 0.5)
        return self.ceiling * self.beta * s * (1 - s)

    def __repr__(self) -> str:
        return "<hard gate>" if self.hard else f"<soft gate beta {self.beta:g}, epsilon {self.epsilon:g}>"


HARD = GateFunction()
"""The gate of ReLU."""
