"""The edge, C'(1) = 1: the power law of compositions, and what late compositions are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_FAR = 1e-5


@dataclass(frozen=True)
class EdgeLaw:
    """1 - C^n(c) ~ ``amplitude`` n^(-``power``) for every c, at the edge (C'(1) = 1).

    power 1 and amplitude 2 / C''(1) if C''(1) is finite; power 2 and 9 / s^2 if C'(1 - e) = 1 - s sqrt(e) + ..., which
    kinks cause: s = (q/Q) sum_k J_k^2 g(k / sqrt q) / sqrt(pi) for jumps J_k of phi' at k, g the normal density.
    """

    power: int
    amplitude: float


@dataclass(frozen=True)
class EdgeFlow:
    """Late compositions at the edge: y = e^(-power) grows by ``rate`` + ``correction`` / y + O(1/y^2) in each step.

    Summed, y_n = y + n rate + (correction / rate) log(y_n / y) + O(1 / y): e_n to about 1 / y^2, 1e-10 from y = 1e5 on.

    With e = 1 - c, theta^2 = 2 e + e^2 / 3 + ..., and the chord slope a = 1 + a1 theta + a2 theta^2 + ..., e' = e a
    gives, where phi' jumps, y = e^(-1/2): rate -a1 / sqrt 2, correction 3 a1^2 / 4 - a2. Where a is even in theta, y =
    1/e: rate -2 a2, correction 4 a2^2 - a2 / 3 - 4 a4.
    """

    rate: float
    correction: float
    power: float

    def holds(self, e: Array) -> bool:
        """Whether all e > 0 are small enough."""
        return bool(((e**self.power <= _FAR * min(self.rate, 1.0)) | (e == 0)).all())

    def __call__(self, e: Array, n: int) -> Array:
        """1 - C^n(1 - e)."""
        start = np.where(e > 0, e, 1.0) ** -self.power
        after = plain = start + n * self.rate
        for _ in range(8):
            after = plain + self.correction / self.rate * np.log(after / start)
        return np.where(e > 0, after ** (-1 / self.power), 0.0)
