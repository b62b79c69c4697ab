"""Finding all points of the edge of chaos with a given weight or bias variance."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qcmap.activations import Activation
from qcmap.errors import ArgumentError, Infeasible, NumericalError
from qcmap.numeric.maps._arguments import is_number
from qcmap.numeric.maps._transform import Transform
from qcmap.numeric.methods._chaos import EdgeOfChaos, Stability, layer, slopes_at_zero, stability_of
from qcmap.numeric.methods._chaos_curve import EdgeOfChaosCurve, curve, finite_part, rounding

Array = NDArray[np.float64]

_TOLERANCE = 1e-10
_PER_DECADE = 40
_EXTREMES = (1e-30, 1e30)
"""A range of q* lies between these."""
_PREFERENCE: tuple[Stability, ...] = ("attractive", "slowly attractive", "neutral", "slowly repelling", "repelling")


def edge_of_chaos(
    act: Activation | str,
    *,
    weight_variance: float | None = None,
    bias_variance: float | None = None,
    transform: Transform | None = None,
    q_range: tuple[float, float] | None = None,
) -> EdgeOfChaos:
    """Weight and bias variances with C'(1) = 1 at the fixed point q*, one of the two given (DKS, section 26.4).

    With f the activation function, solves weight_variance E[f'(sqrt(q*) x)^2] = 1 and
    q* = weight_variance E[f(sqrt(q*) x)^2] + bias_variance; see `qcmap.numeric.methods._chaos` for the derivation.

    There may be several solutions. The first of them is returned, attractive ones before slowly attractive, neutral,
    slowly repelling and repelling ones, and among equals the smallest q*; the rest is in ``others``. A positively
    homogeneous f has every q* as a neutral solution; then q* = 1 is returned. Solutions are found from sign changes and
    extrema on a grid of 40 points for each factor of ten of q*, so two solutions that differ by less can be missed only
    if no extremum separates them.

    Parameters
    ----------
    act
        The activation, or its name.
    weight_variance, bias_variance
        One of them: weights have variance weight_variance / fan-in.
    transform
        A transform of the activation to use in its place.
    q_range
        The range of q* to search: (1e-10, 1e6), and up to 1e4 for sin and cos. The limit q* = 0 is always included.
        The range is cut where the moments are not finite or not resolved; ``searched`` has what is left.

    Raises
    ------
    ArgumentError
        Unless exactly one variance is given, the weight variance positive, the bias variance not negative.
    ActivationError
        If the activation jumps, so that C'(1) is infinite.
    Infeasible
        If there is no solution; the error has the intervals of the given variance that can be reached.
    NumericalError
        If a residual exceeds 1e-10, or the moments are nowhere finite and resolved.
    """
    if (weight_variance is None) == (bias_variance is None):
        raise ArgumentError("weight_variance", "exactly one of the two variances is given", "give one of them")
    transform = layer(act, transform)
    given = "bias_variance" if weight_variance is None else "weight_variance"
    target = _checked(given, bias_variance if weight_variance is None else weight_variance)
    low, high = _range(transform.activation, q_range)
    found = _solutions(transform, given, target, low, high)
    if not found:
        raise _infeasible(transform, given, target, low, high)
    found.sort(key=lambda one: (_PREFERENCE.index(one.stability), one.q_star))
    for one in found:
        _refuse_inexact(one)
    return replace(found[0], others=tuple(found[1:]), searched=_searched(transform, low, high))


def _checked(name: str, value: object) -> float:
    least = "positive" if name == "weight_variance" else "not negative"
    if not (is_number(value) and float(value) >= 0 and (name == "bias_variance" or float(value) > 0)):  # pyright: ignore[reportArgumentType]
        raise ArgumentError(
            name, f"a {name.replace('_', ' ')} is finite and {least}, not {value!r}", "give another one"
        )
    return float(value)  # pyright: ignore[reportArgumentType]


def _range(act: Activation, q_range: object) -> tuple[float, float]:
    if q_range is None:
        return 1e-10, 1e4 if act.oscillates else 1e6
    if isinstance(q_range, np.ndarray):
        q_range = q_range.tolist()
    ends = list(q_range) if isinstance(q_range, (tuple, list)) else []
    good = len(ends) == 2 and all(map(is_number, ends))
    if not (good and _EXTREMES[0] <= ends[0] < ends[1] <= _EXTREMES[1]):
        raise ArgumentError(
            "q_range", f"it is (low, high) with {_EXTREMES[0]:g} <= low < high <= {_EXTREMES[1]:g}, not {q_range!r}",
            "give such a pair",
        )  # fmt: skip
    return float(ends[0]), float(ends[1])


@lru_cache(maxsize=64)
def _table(transform: Transform, low: float, high: float) -> EdgeOfChaosCurve:
    """The curve on the grid, cut where it is not finite or its integrals are not resolved."""
    q = np.geomspace(low, high, max(3, math.ceil(_PER_DECADE * math.log10(high / low)) + 1))
    table = finite_part(transform, q)
    if table.q_star.size < 3:
        raise NumericalError(
            transform.activation.name,
            f"E f'^2 is 0, or its moments are not finite or not resolved, for q* in [{low:g}, {high:g}]",
            "take a nonconstant activation, declare all its kinks and a smaller length, or give another range",
        )
    return table


def _searched(transform: Transform, low: float, high: float) -> str:
    """The range in words: what is left of it."""
    q = _table(transform, low, high).q_star
    steps = np.diff(np.log(q))
    holes = bool((steps > 1.5 * steps.min()).any())
    return f"q* in [{q[0]:g}, {q[-1]:g}]{', where its integrals are resolved,' if holes else ''} or q* = 0"


def _at(transform: Transform, q: float) -> EdgeOfChaosCurve:
    return curve(transform, np.array([q]))


def _gap(table: EdgeOfChaosCurve, given: str, target: float) -> Array:
    """What vanishes at a solution, exactly zero where it is rounding."""
    if given == "weight_variance":
        gap, noise = np.log(table.weight_variance / target), np.full(table.q_star.shape, 1e-14)
    else:
        gap, noise = table.bias_variance - target, rounding(table.q_star + target)
    return np.where(np.abs(gap) <= noise, 0.0, gap)


def _limit(transform: Transform) -> float | None:
    """The weight variance in the limit q* = 0 if that is a solution with bias variance 0, else None."""
    if float(transform(0.0)) != 0:
        return None
    left, right = slopes_at_zero(transform)
    energy = (left**2 + right**2) / 2
    return 1 / energy if energy > 0 and math.isfinite(energy) else None


def _solutions(transform: Transform, given: str, target: float, low: float, high: float) -> list[EdgeOfChaos]:
    table = _table(transform, low, high)
    gap = _gap(table, given, target)
    if not gap.any() and (np.abs(table.bias_variance) <= rounding(table.q_star)).all():
        one = _at(transform, q := min(max(1.0, low), high))
        return [EdgeOfChaos(transform, q, float(one.weight_variance[0]), 0.0, 1.0, "neutral")]

    def scalar(log_q: float) -> float:
        return float(_gap(_at(transform, math.exp(log_q)), given, target)[0])

    found = []
    for log_q in zeros(scalar, np.log(table.q_star), gap):
        one = _at(transform, math.exp(log_q))
        q, bias, slope = one.q_star[0], float(one.bias_variance[0]), float(one.q_slope[0])
        weight = target if given == "weight_variance" else float(one.weight_variance[0])
        bias = target if given == "bias_variance" else bias
        if bias < -rounding(q):
            continue
        found.append(EdgeOfChaos(
            transform, float(q), weight, max(0.0, bias), slope, stability_of(transform, float(q), weight, slope)
        ))  # fmt: skip
    limit = _limit(transform)
    reached = target == 0 if given == "bias_variance" else limit is not None and abs(target / limit - 1) <= 1e-14
    if limit is not None and reached:
        found.append(EdgeOfChaos(transform, 0.0, limit, 0.0, 1.0, stability_of(transform, 0.0, limit, 1.0)))
    return found


def zeros(function: Callable[[float], float], x: Array, values: Array) -> list[float]:
    """Zeros of a function with these values on the grid x: at sign changes, and where abs(values) dips to zero.

    A run of zeros in the table counts once, and not at all if it begins at the left end, where the function has not
    left zero by more than rounding. A dip that, as a parabola, keeps more than seven eighths of its height is skipped.
    """
    from scipy.optimize import brentq, minimize_scalar

    find: Any = brentq
    minimize: Any = minimize_scalar
    found: list[float] = []
    stops = [int(k) for k in np.flatnonzero(values)]
    if stops and stops[-1] < len(x) - 1:
        stops.append(len(x))
    for i, j in pairwise(stops):
        if j > i + 1:
            found.append(float(x[i + 1 if j == len(x) else (i + j) // 2]))
        elif np.sign(values[i]) * np.sign(values[j]) < 0:
            found.append(float(find(function, x[i], x[j], xtol=1e-15, rtol=9e-16)))
    size = np.abs(values)
    same = (np.sign(values[:-2]) == np.sign(values[1:-1])) & (np.sign(values[1:-1]) == np.sign(values[2:]))
    low, middle, high = size[:-2], size[1:-1], size[2:]
    dips = same & (middle <= low) & (middle <= high) & (middle <= low - 2 * middle + high) & (middle > 0)
    for k in np.flatnonzero(dips) + 1:
        sign = math.copysign(1.0, values[k])
        best = minimize(
            lambda t, s=sign: s * function(t), bounds=(x[k - 1], x[k + 1]), method="bounded", options={"xatol": 1e-10}
        )
        if best.fun == 0:
            found.append(float(best.x))
        elif best.fun < 0:
            ends = ((x[k - 1], best.x), (best.x, x[k + 1]))
            found += [float(find(function, a, b, xtol=1e-15, rtol=9e-16)) for a, b in ends]
    return sorted(found)


def _refuse_inexact(one: EdgeOfChaos) -> None:
    worst = max(one.residuals, key=lambda name: abs(one.residuals[name]))
    if not abs(one.residuals[worst]) <= _TOLERANCE:
        raise NumericalError(
            one.transform.activation.name,
            f"the residual of {worst} is {one.residuals[worst]:.1e} at q* = {one.q_star:.6g}, above {_TOLERANCE:g}",
            "declare all kinks of the activation, or search a smaller q_range",
        )


def _infeasible(transform: Transform, given: str, target: float, low: float, high: float) -> Infeasible:
    achievable = _achievable(transform, given, low, high)
    name, what = transform.activation.name, given.replace("_", " ")
    if any(a * (1 + 1e-9) < target < b * (1 - 1e-9) for a, b in achievable):
        raise NumericalError(
            name, f"no solution with {what} {target:.10g} was found, though it lies in {achievable}",
            "try a slightly different value",
        )  # fmt: skip
    where = f"(searched {_searched(transform, low, high)})"
    if not achievable:
        rule = f"it has no edge of chaos: C'(1) = 1 would need a negative bias variance at every fixed point {where}"
        remedy = "use another activation, or a transform with output_shift = -E f"
    else:
        listed = " or ".join(f"[{a:.10g}, {b:.10g}]" for a, b in achievable)
        rule = f"on its edge of chaos the {what} lies in {listed}, not at {target:.10g} {where}"
        remedy = f"choose the {what} there, or another q_range"
    return Infeasible(name, rule, remedy, condition=given, achievable=achievable)


def _achievable(transform: Transform, given: str, low: float, high: float) -> tuple[tuple[float, float], ...]:
    """The intervals of the given variance over the parts of the curve on which the bias variance is not negative.

    Ends lie where the bias variance vanishes, at extrema (both refined), at the ends of the range, or at the limit.
    """
    from scipy.optimize import brentq, minimize_scalar

    find: Any = brentq
    minimize: Any = minimize_scalar
    table, limit = _table(transform, low, high), _limit(transform)
    logs, good = np.log(table.q_star), table.attainable

    def value(log_q: float) -> float:
        one = _at(transform, math.exp(log_q))
        found = float(getattr(one, given)[0])
        return 0.0 if given == "bias_variance" and found <= rounding(one.q_star)[0] else found

    def bias(log_q: float) -> float:
        return float(_at(transform, math.exp(log_q)).bias_variance[0])

    intervals: list[tuple[float, float]] = []
    starts = np.flatnonzero(np.diff(np.concatenate([[0], good.astype(int), [0]])))
    for i, j in zip(starts[::2], starts[1::2] - 1, strict=True):
        points = [value(float(logs[i])), value(float(logs[j]))]
        points += [value(find(bias, logs[i - 1], logs[i]))] if i > 0 else []
        points += [value(find(bias, logs[j], logs[j + 1]))] if j + 1 < len(logs) else []
        for sign in (1, -1):
            k = i + int(np.argmin(sign * getattr(table, given)[i : j + 1]))
            if i < k < j:
                best = minimize(
                    lambda t, s=sign: s * value(t), bounds=(logs[k - 1], logs[k + 1]), method="bounded",
                    options={"xatol": 1e-9},
                )  # fmt: skip
                points.append(value(best.x))
        intervals.append((max(0.0, min(points)), max(0.0, *points)))
    if limit is not None:
        end = limit if given == "weight_variance" else 0.0
        intervals.append((end, end))
    return _merged(intervals)


def _merged(intervals: list[tuple[float, float]]) -> tuple[tuple[float, float], ...]:
    merged: list[tuple[float, float]] = []
    for low, high in sorted(intervals):
        if merged and low <= merged[-1][1] * (1 + 1e-9) + 1e-20:
            merged[-1] = (merged[-1][0], max(high, merged[-1][1]))
        else:
            merged.append((low, high))
    return tuple(merged)
