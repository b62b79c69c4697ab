"""Comparing how fast two curves of an objective improve, from where both have reached the same.

FIRE PBT assumes that of two networks that perform alike and train with alike settings, the one that improves faster
ends better (DKS, section 27.4). So two curves are laid over each other where they have the same height, whenever they
got there, and compared over the same number of steps from there on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_WINDOW = 7
"""Points that a smoothed value is a straight line's through, by least squares."""
_ROUNDING = 1e-12
"""By how much less, relatively, a height counts as reached: curves that begin alike do, whatever smoothing rounds."""


@dataclass(frozen=True)
class Overlap:
    """Where two curves are compared: ``length`` points from ``first`` in one and from ``second`` in the other."""

    first: int
    second: int
    length: int


def smoothed(curve: Sequence[float]) -> NDArray[np.float64]:
    """Local straight lines through a curve [n], its ends included: a straight curve stays as it is."""
    from scipy.signal import savgol_filter

    values = np.asarray(curve, dtype=np.float64)
    window = min(_WINDOW, (len(values) - 1) // 2 * 2 + 1)
    return values if window < 3 else np.asarray(savgol_filter(values, window, 1))


def overlap(one: Sequence[float], other: Sequence[float]) -> Overlap | None:
    """From where two curves have the same height: the one that begins lower enters where it reaches the other's start.

    Both are smoothed first. None if the lower one never gets there.
    """
    a, b = smoothed(one), smoothed(other)
    low, high = (a, b) if a[0] < b[0] else (b, a)
    reached = np.flatnonzero(low >= high[0] - _ROUNDING * abs(high[0]))
    if len(reached) == 0:
        return None
    enters = int(reached[0])
    first, second = (enters, 0) if a[0] < b[0] else (0, enters)
    return Overlap(first, second, min(len(a) - first, len(b) - second))


def advantage(one: Sequence[float], other: Sequence[float]) -> float:
    """How much better the best of one curve is than the best of the other, over their overlap.

    Curves that have none, since one stays below the other's start, are compared from their beginnings.
    """
    a, b = _compared(one, other)
    return float(np.max(a) - np.max(b))


def chance(one: Sequence[float], other: Sequence[float]) -> float:
    """The p value of a sign test: how likely one curve is above the other as often as it is, if neither were better.

    Over the overlap, or from their beginnings without one; points where both are equal do not count. Points of a curve
    are no independent draws, so that this is a threshold rather than a probability.
    """
    from scipy.stats import binomtest

    a, b = _compared(one, other)
    differ = int(np.sum(a != b))
    return float(binomtest(int(np.sum(a > b)), differ, alternative="greater").pvalue) if differ else 1.0


def _compared(one: Sequence[float], other: Sequence[float]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The parts of two curves that are compared, as they are."""
    where = overlap(one, other) or Overlap(0, 0, min(len(one), len(other)))
    a, b = np.asarray(one, dtype=np.float64), np.asarray(other, dtype=np.float64)
    return a[where.first : where.first + where.length], b[where.second : where.second + where.length]
