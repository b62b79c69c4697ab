"""Bounds on how far a C map is from the identity, from its value and slopes at 0 and 1 (DKS, section 13).

With uniform q values a C map is C(c) = sum_i b_i c^i, b_i >= 0, sum_i b_i = 1. Everything here follows from that alone,
so it holds for every subnetwork. Arguments broadcast; results are float64 arrays. docs/dynamics.md has the proofs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from qcmap.errors import ArgumentError
from qcmap.numeric.maps._arguments import numbers

Array = NDArray[np.float64]

SLACK = 1e-9
"""How far given values may break the inequalities between values of a C map, for rounding's sake."""


class Interval(NamedTuple):
    """A lower and an upper bound, arrays of one shape."""

    lower: Array
    upper: Array


@dataclass(frozen=True)
class DeviationBounds:
    """Bounds on the largest abs(C(c) - c) and the largest abs(C'(c) - 1) over [-1, 1]."""

    value: Interval
    slope: Interval

    def to_dict(self) -> dict[str, Any]:
        """The four bounds as numbers or lists."""
        rows = {"value": self.value, "slope": self.slope}
        return {name: {"lower": pair.lower.tolist(), "upper": pair.upper.tolist()} for name, pair in rows.items()}


def deviation_bounds(c0: ArrayLike, dc1: ArrayLike, dc0: ArrayLike | None = None) -> DeviationBounds:
    """How far a C map is from the identity, from C(0), C'(1) and, if known, C'(0) (DKS, Theorem 13, Remark 14).

    With C'(0): max(C(0), (1 - C'(0)) / 4) <= max abs(C(c) - c) <= 2 (1 - C'(0)), and max(1 - C'(0), abs(C'(1) - 1)) <=
    max abs(C'(c) - 1) <= 2 (1 - C'(0)) + C'(1) - 1. Without it, 1 - C'(0) <= C'(1) - 1 + 2 C(0) is put in its place:
    C'(1) >= b_1 + 2 (1 - b_0 - b_1). At C(0) = 0 these are the bounds 2 (C'(1) - 1) and 3 (C'(1) - 1) of the theorem.

    Parameters
    ----------
    c0, dc1, dc0
        C(0) in [0, 1], C'(1) >= 0 and C'(0) in [0, 1].

    Raises
    ------
    ArgumentError
        If no C map has these values.
    """
    c0, dc1 = given("c0", c0, 0.0, 1.0), given("dc1", dc1, 0.0, np.inf)
    most = dc1 - 1 + 2 * c0
    if dc0 is None:
        require("dc1", dc1 >= 1 - c0 - SLACK, "C'(1) is at least 1 - C(0)")
        least, most = np.zeros_like(most), np.clip(most, 0, 1)
    else:
        dc0 = given("dc0", dc0, 0.0, 1.0)
        require("dc0", dc0 <= 1 - c0 + SLACK, "C'(0) is at most 1 - C(0)")
        require("dc1", 1 - dc0 <= most + SLACK * (1 + dc1), "C'(1) is at least 2 (1 - C(0)) - C'(0)")
        least = most = 1 - dc0
    return DeviationBounds(
        value=interval(np.maximum(c0, least / 4), 2 * most),
        slope=interval(np.maximum(least, np.abs(dc1 - 1)), np.maximum(2 * most + dc1 - 1, 0)),
    )


def flatness(c: ArrayLike, value: ArrayLike, c0: ArrayLike) -> Array:
    """F(c) = (C(abs c) - C(0)) / abs c for c in [-1, 1], not 0, from ``value`` = C(abs c) (DKS, Proposition 19).

    It bounds (C(c) - C(0)) / c from above and lies in [0, 1 - C(0)].
    """
    c, value, c0 = given("c", c, -1.0, 1.0), given("value", value, 0.0, 1.0), given("c0", c0, 0.0, 1.0)
    require("c", c != 0, "F(c) is not defined at c = 0")
    require("value", value >= c0 - SLACK, "C(abs c) is at least C(0)")
    return np.clip((value - c0) / np.abs(c), 0.0, 1 - c0)


def interval(lower: Array, upper: Array) -> Interval:
    """Both broadcast, as arrays of their own."""
    lower, upper = np.broadcast_arrays(lower, upper)
    return Interval(np.array(lower), np.array(upper))


def given(name: str, value: ArrayLike, low: float, high: float, *, infinite: bool = False) -> Array:
    """The argument clipped to [low, high]; raises `ArgumentError` if it leaves that by more than rounding."""
    array = numbers(name, value)
    good = (array >= low - SLACK) & (array <= high + SLACK) & (infinite | np.isfinite(array))
    require(name, good, f"it lies in [{low:g}, {high:g}]")
    return np.clip(array, low, high)


def require(name: str, good: object, rule: str) -> None:
    """Raise `ArgumentError` unless all of it is true."""
    if not np.all(np.asarray(good)):
        raise ArgumentError(name, rule, "give the values of one C map")
