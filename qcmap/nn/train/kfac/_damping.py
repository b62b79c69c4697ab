"""How damping falls while training goes on (DKS, section 27.5)."""

from __future__ import annotations

import math
from dataclasses import dataclass

from qcmap.errors import ArgumentError


@dataclass(frozen=True)
class Damping:
    """lambda(step) = max(least, start * decay^(step // every)); the defaults are the paper's (DKS, section 27.5).

    Attributes
    ----------
    start, least
        The first value and the one below which it does not fall, 0 <= least <= start.
    decay
        What it is multiplied by, in (0, 1], after every ``every`` steps.

    Raises
    ------
    ArgumentError
        For values out of their ranges.
    """

    start: float = 1e-3
    decay: float = 0.98
    every: int = 50
    least: float = 1e-6

    def __post_init__(self) -> None:
        if not (math.isfinite(self.start) and 0 <= self.least <= self.start):
            raise ArgumentError(
                "damping", f"it falls from start to least >= 0, not from {self.start!r} to {self.least!r}",
                "give 0 <= least <= start, both finite",
            )  # fmt: skip
        if not 0 < self.decay <= 1:
            raise ArgumentError("damping", f"its decay must lie in (0, 1], not {self.decay!r}", "give e.g. 0.98")
        if isinstance(self.every, bool) or not isinstance(self.every, int) or self.every < 1:
            raise ArgumentError(
                "damping", f"it decays after so many steps, 1 or more, not {self.every!r}", "give e.g. 50"
            )

    @staticmethod
    def constant(value: float) -> Damping:
        """The same at every step."""
        return Damping(start=value, decay=1.0, every=1, least=value)

    def at(self, step: int) -> float:
        """The damping of the step with this number; the first has number 0."""
        return max(self.least, self.start * self.decay ** (step // self.every))
