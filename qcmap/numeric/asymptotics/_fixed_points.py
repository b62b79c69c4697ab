"""Fixed points of a Q map: the q values that layers keep (DKS, sections 8.1.1 and 15.1)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from qcmap.errors import ArgumentError, NumericalError
from qcmap.numeric.maps._arguments import integer, is_number

Array = NDArray[np.float64]
QMap = Callable[[Array], Array]
Stability = Literal["attracting", "repelling", "neutral"]

_NEUTRAL = 1e-7
_KEPT = 1e-12
"""Q(q) counts as q if it differs by less than this part."""


@dataclass(frozen=True)
class QFixedPoint:
    """q* = Q(q*), with Q'(q*): errors in q are multiplied by it at every layer (DKS, section 15.1)."""

    q: float
    slope: float

    @property
    def stability(self) -> Stability:
        """``"attracting"`` if abs(Q'(q*)) < 1, ``"repelling"`` if it is above 1, ``"neutral"`` at 1 to 1e-7."""
        size = abs(self.slope)
        return "neutral" if abs(size - 1) <= _NEUTRAL else "attracting" if size < 1 else "repelling"


@dataclass(frozen=True)
class QFixedPoints:
    """The fixed points found in ``searched`` = (low, high), in increasing order.

    ``everywhere`` says that Q(q) = q for all q there (normalised relu, layers without activation); then no single
    ones are listed. ``level`` are the ranges (low, high) in which Q(q) = q to 1e-12 of q at two or more points of the
    search grid: rounding hides whether there are fixed points in them (hard tanh below q = 0.02, where Q(q) < q by less
    than that), and none is listed. Where Q touches the diagonal between two points of the search grid without crossing
    it, the point is found if Q comes within 1e-12 of it (q = 1 of activations shaped with Q'(1) = 1 is one).
    """

    points: tuple[QFixedPoint, ...]
    searched: tuple[float, float]
    everywhere: bool = False
    level: tuple[tuple[float, float], ...] = ()

    @property
    def canonical(self) -> QFixedPoint | None:
        """The attracting one nearest to q = 1 on a log scale, or else the neutral one nearest to it, or ``None``."""
        for wanted in ("attracting", "neutral"):
            found = [point for point in self.points if point.stability == wanted]
            if found:
                return min(found, key=lambda point: abs(math.log(point.q)))
        return None

    def to_dict(self) -> dict[str, Any]:
        """The points with slope and stability, the range, its level parts, and whether every q value is kept."""
        return {
            "points": [{"q": p.q, "slope": p.slope, "stability": p.stability} for p in self.points],
            "searched": list(self.searched),
            "everywhere": self.everywhere,
            "level": [list(part) for part in self.level],
        }


def q_fixed_points(
    q_map: QMap, q_slope: QMap, between: tuple[float, float] = (1e-4, 1e4), grid: int = 129
) -> QFixedPoints:
    """All fixed points of a Q map in a range, from sign changes and near-touches of log(Q(q) / q) on a log grid.

    ``q_map`` and ``q_slope`` are Q and Q' as functions of arrays of q > 0. Where Q is not defined at an end of the
    range (it overflows), the range shrinks to where it is; ``searched`` says to what. Two fixed points closer than a
    step of the grid (a factor of 1.15 with the defaults) can be missed.

    Raises
    ------
    ArgumentError
        Unless 0 < low < high, finite, the maps are functions, and the grid has 3 points or more.
    """
    if not (isinstance(between, Sequence) and len(between) == 2 and all(map(is_number, between))):
        raise ArgumentError("between", f"it is a range 0 < low < high, not {between!r}", "give two such numbers")
    low, high = between
    if not (0 < low < high < math.inf):
        raise ArgumentError("between", f"it is a range 0 < low < high, not {between!r}", "give two such numbers")
    for name, function in (("q_map", q_map), ("q_slope", q_slope)):
        if not callable(function):
            raise ArgumentError(name, f"it is a function of arrays, not {function!r}", "give local_maps(...).q and .dq")
    q = np.geomspace(low, high, integer(grid, least=3, name="grid", most=1 << 20))
    values = _defined(q_map, q)
    good = np.isfinite(values)
    if good.sum() < 2:
        return QFixedPoints((), between)
    # The largest run of points where Q is defined.
    start, stop = max(_runs(good), key=lambda run: run[1] - run[0])
    q, gap = q[start:stop], np.log(values[start:stop] / q[start:stop])
    searched = (float(q[0]), float(q[-1]))
    if (np.abs(gap) <= _KEPT).all():
        return QFixedPoints((), searched, everywhere=True)

    def excess(x: float) -> float:
        return math.log(float(q_map(np.array([math.exp(x)]))[0])) - x

    apart = np.abs(gap) > _KEPT
    runs = _runs(~apart)
    level = tuple((float(q[a]), float(q[b - 1])) for a, b in runs if b - a > 1)
    x, found = np.log(q), [float(q[a]) for a, b in runs if b - a == 1]
    crossings = np.flatnonzero((gap[:-1] * gap[1:] < 0) & apart[:-1] & apart[1:])
    found.extend(_crossing(excess, float(x[k]), float(x[k + 1])) for k in crossings)
    for k in np.flatnonzero(apart[1:-1]) + 1:
        # A local extremum nearest to the diagonal, on one side of it.
        if (np.sign(gap[k - 1 : k + 2]) == np.sign(gap[k])).all() and abs(gap[k]) <= min(
            abs(gap[k - 1]), abs(gap[k + 1])
        ):
            touch = _touching(excess, float(x[k - 1]), float(x[k + 1]))
            found.extend(touch)
    distinct: list[float] = []
    for point in sorted(found):
        if not distinct or point > distinct[-1] * (1 + 1e-6):
            distinct.append(point)
    slopes = q_slope(np.array(distinct)) if distinct else np.empty(0)
    points = tuple(QFixedPoint(a, float(s)) for a, s in zip(distinct, slopes, strict=True))
    return QFixedPoints(points, searched, level=level)


def _runs(flags: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """(start, stop) of each run of true flags."""
    ends = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(int)))
    return [(int(a), int(b)) for a, b in zip(ends[::2], ends[1::2], strict=True)]


def _defined(q_map: QMap, q: Array) -> Array:
    """Q at many points; NaN where it has no finite positive value."""
    try:
        values = np.asarray(q_map(q), dtype=np.float64)
    except NumericalError:
        values = np.array([_single(q_map, float(x)) for x in q])
    return np.where(np.isfinite(values) & (values > 0), values, np.nan)


def _single(q_map: QMap, q: float) -> float:
    try:
        return float(q_map(np.array([q]))[0])
    except NumericalError:
        return math.nan


def _crossing(excess: Callable[[float], float], left: float, right: float) -> float:
    from scipy.optimize import brentq

    find: Any = brentq
    return math.exp(find(excess, left, right, xtol=1e-15, rtol=1e-15))


def _touching(excess: Callable[[float], float], left: float, right: float) -> list[float]:
    """Where the excess comes nearest to 0 in a bracket: none, a double point, or two crossings."""
    from scipy.optimize import minimize_scalar

    side = math.copysign(1.0, excess((left + right) / 2))
    best: Any = minimize_scalar(
        lambda x: side * excess(x), bounds=(left, right), method="bounded", options={"xatol": 1e-9}
    )
    nearest = float(best.x)
    # Snap to q = 1, where shaped activations touch: the minimum is located only to the root of rounding.
    if abs(nearest) < 1e-5 and abs(excess(0.0)) <= _KEPT:
        return [1.0]
    depth = side * excess(nearest)
    if abs(depth) <= _KEPT:
        return [math.exp(nearest)]
    if depth < 0:
        return [_crossing(excess, left, nearest), _crossing(excess, nearest, right)]
    return []


def fixed_q(points: QFixedPoints, subject: str) -> float:
    """The canonical fixed point; 1 if every q value is kept.

    Raises
    ------
    NumericalError
        If there is none: q values drift, and no single C map is repeated.
    """
    if points.everywhere:
        return 1.0
    point = points.canonical
    if point is None:
        low, high = points.searched
        flat = "".join(f" (from {a:.3g} to {b:.3g} Q(q) = q to rounding)" for a, b in points.level)
        raise NumericalError(
            subject, f"its Q map has no attracting fixed point between {low:g} and {high:g}{flat}, so q values drift",
            "give q=..., or use normalised weights, a shaping, or growing(...)",
        )  # fmt: skip
    return point.q
