"""Why there is no solution: the condition that fails, and the values found for it while the others hold."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from qcmap.activations import Activation
from qcmap.errors import Infeasible, NumericalError
from qcmap.numeric.shaping._extremes import Graded, on_slant, stationary
from qcmap.numeric.shaping._provable import curvature_out_of_reach, slope_out_of_reach
from qcmap.numeric.shaping._solutions import STANDARD_BOX, WIDE_BOX, Box, Patch, patches, solutions_of
from qcmap.numeric.shaping._systems import DKS, TAT, Equations, System

Array = NDArray[np.float64]

_NEAR = 16
"""How many samples next to an end start the search for an extreme."""


def infeasible(
    act: Activation, value: float, system: System = DKS, q_slope: float = 1.0, *, dropped: bool = False
) -> Infeasible:
    """The error that says which condition cannot be met in the wide box, with the intervals found for it instead.

    ``value`` is the target of the system's own condition: psi for C'(1), kappa for C''(1). ``dropped`` leaves
    Q'(1) out.
    """
    name = system.condition
    intro = (
        f"no transform has {name} = {value:.10g}"
        if dropped
        else f"no transform has Q'(1) = {q_slope:.10g} and {name} = {value:.10g}"
    )
    outro = f"(searched {WIDE_BOX})"
    if all(np.isnan(patch.ratio).all() for tables in patches(act, STANDARD_BOX, system) for patch in tables):
        raise NumericalError(
            act.name, "it is constant or linear to rounding everywhere in the box", "take constant terms out of it"
        )
    prove = None
    if not dropped and q_slope == 1:
        prove = (slope_out_of_reach if system is DKS else curvature_out_of_reach)(act, value)
    bound = "zeta so that psi lies there" if system is DKS else "tau so that the local curvature lies there"
    achievable = () if dropped else _reachable(act, system, q_slope)
    if achievable:
        if any(low < value < high for low, high in achievable):
            raise NumericalError(
                act.name, f"no solution with {name} = {value:.10g} was found, though {name} lies in "
                f"{listed(achievable)}", "try a slightly different bound",
            )  # fmt: skip
        drop = ", or another activation" if system is TAT else ", another activation, or q_slope=None"
        return Infeasible(
            act.name,
            f"{intro}: where Q'(1) = {q_slope:.10g}, {name} lies in {listed(achievable)} {outro}",
            f"choose {bound}{drop}",
            condition=name,
            achievable=achievable,
            prove=prove,
        )
    if not dropped:
        achievable = _reachable_slopes(act, system, value)
    if achievable:
        where = f"where {name} = {value:.10g}, Q'(1) lies in {listed(achievable)}"
    else:
        every = np.concatenate([t.level[np.isfinite(t.level)] for part in patches(act, WIDE_BOX, system) for t in part])
        low, high = (system.offset + math.exp(level) for level in (every.min(), every.max()))
        return Infeasible(
            act.name,
            f"{intro}: whatever Q'(1) is, {name} lies in {listed(((low, high),))} {outro}",
            f"choose {bound}, or another activation",
            condition=name,
            achievable=((low, high),),
            prove=prove,
        )
    return Infeasible(
        act.name,
        f"{intro}: {where} {outro}",
        "choose another activation",
        condition="Q'(1)",
        achievable=achievable,
        prove=prove,
    )


Intervals = tuple[tuple[float, float], ...]


@lru_cache(maxsize=128)
def _reachable(act: Activation, system: System, q_slope: float) -> Intervals:
    """What the target may be where Q'(1) has its value; this does not depend on the target."""
    gap, offset = q_slope - 1, system.offset

    def curve(table: _Tabulated) -> Array:
        return table.ratio if gap == 0 else table.ratio * np.exp(table.level) - gap

    def graded(here: Equations) -> Graded:
        (r_scale, r_shift), (l_scale, l_shift) = here.jacobian
        if gap == 0:
            return here.ratio, r_scale, r_shift
        size = np.exp(here.level)
        rows = (size * (r_scale + here.ratio * l_scale), size * (r_shift + here.ratio * l_shift))
        return here.ratio * size - gap, *rows

    def solves(level: float) -> bool:
        target = math.exp(level)
        return _solves(act, system, target, gap / target)

    least = math.log(system.least)
    levels = np.maximum(_along_curve(act, system, curve, lambda here: here.level, graded), least)
    found = _intervals(levels, 0.1, solves)
    return tuple((offset if low <= least else offset + math.exp(low), offset + math.exp(high)) for low, high in found)


def _reachable_slopes(act: Activation, system: System, value: float) -> Intervals:
    """What Q'(1) may be where the system's own condition holds."""
    size = value - system.offset
    target = math.log(size)

    def graded(here: Equations) -> Graded:
        return here.level - target, *here.jacobian[1]

    if system is not DKS:
        # Q'(1) is no function of R and the level alone, so its extremes are those of the samples.
        excess = _along_curve(act, system, lambda table: table.level - target, system.q_excess)
        return tuple((1 + low, 1 + high) for low, high in _intervals(excess, max(size, 1e-12)))
    excess = _along_curve(act, system, lambda table: table.level - target, system.q_excess, graded)
    if not excess.size:
        return ()
    # Where Q'(1) is constant along the curve, the samples differ by rounding.
    width = max(0.02 * float(np.ptp(excess)), 1e-6 * max(1.0, float(np.abs(excess).max())))
    found = _intervals(excess, width, lambda middle: _solves(act, system, size, middle / size))
    return tuple((1 + low, 1 + high) for low, high in found)


def _solves(act: Activation, system: System, target: float, ratio: float) -> bool:
    return any(solutions_of(system, act, target, box, ratio) for box in (STANDARD_BOX, WIDE_BOX))


def _intervals(values: Array, width: float, solves: Callable[[float], bool] = lambda middle: False) -> Intervals:
    """Sorted samples of a few curves as intervals, cut at gaps wider than ``width`` with no solution in their middle.

    Of the gaps, the widest 12 are tried.
    """
    if not values.size:
        return ()
    wide = [k for k in np.argsort(-np.diff(values), kind="stable")[:12] if values[k + 1] - values[k] > width]
    cuts = sorted(int(k) for k in wide if not solves(float(values[k] + values[k + 1]) / 2))
    pieces = np.split(values, np.array(cuts, dtype=np.intp) + 1)
    return tuple((float(piece[0]), float(piece[-1])) for piece in pieces)


def listed(intervals: tuple[tuple[float, float], ...]) -> str:
    """Intervals in words."""
    return " or ".join(f"[{low:.10g}, {high:.10g}]" for low, high in intervals)


_Tabulated = Patch | Equations


def _along_curve(
    act: Activation,
    system: System,
    curve: Callable[[_Tabulated], Array],
    other: Callable[[Equations], Array],
    graded: Callable[[Equations], Graded] | None = None,
) -> Array:
    """The values of ``other``, sorted, where the zero set of ``curve`` in the wide box meets the edges of the grid.

    Each sign change along an edge is closed by bisection, and kept if the function is continuous there, so every value
    is attained. With the curve's gradient, the extremes between two edges are added: the lowest and the highest samples
    and those next to the widest gaps start Newton's method on "stationary along the curve", and those near the slanted
    sides of the box on the points where the curve leaves it.
    """
    seen = [np.empty(0)]
    for box in (STANDARD_BOX, WIDE_BOX):
        for sign, tables in zip(system.signs, patches(act, box, system), strict=True):

            def at(scale: Array, shift: Array, sign: float = sign) -> Equations:
                return system.evaluate(act, scale, shift, np.array(sign))

            parts = [np.empty((3, 0))]
            for patch in tables:
                scale, shift = crossings(patch, at, curve)
                if scale.size:
                    here = at(scale, shift)
                    values = other(here)
                    inside = box.holds(np.clip(scale, box.low, box.high), shift)
                    keep = np.isfinite(values) & inside & (np.abs(curve(here)) < 1e-4)
                    parts.append(np.stack([values, np.log(scale), shift])[:, keep])
            samples = np.concatenate(parts, axis=1)
            seen.append(samples[0])
            if graded is not None and samples.size:
                ends = [stationary(at, graded, _starts(samples), box)]
                if box.slant:
                    ends.append(on_slant(at, graded, _outermost(samples, box), box))
                logs, shift = np.concatenate(ends, axis=1)
                if logs.size:
                    values = other(at(np.exp(logs), shift))
                    seen.append(values[np.isfinite(values)])
    return np.sort(np.concatenate(seen))


def _starts(samples: Array) -> Array:
    """Log scale and shift of the samples, rows (value, log scale, shift), next to the ends and to the widest gaps."""
    order = np.argsort(samples[0], kind="stable")
    gaps = np.argsort(-np.diff(samples[0][order]), kind="stable")[:4] + 1
    edges = [(0, _NEAR), (order.size, _NEAR), *((int(k), _NEAR // 2) for k in gaps)]
    picked = sorted({k for edge, n in edges for k in range(max(edge - n, 0), min(edge + n, order.size))})
    return samples[1:, order[picked]]


def _outermost(samples: Array, box: Box) -> Array:
    """Log scale and shift of the samples nearest to the slanted sides of the box."""
    _, logs, shift = samples
    room = 1 - np.abs(shift) / (box.shift + box.slant * np.exp(logs))
    near = np.argsort(room, kind="stable")[: 2 * _NEAR]
    return samples[1:, near[room[near] < 0.1]]


def crossings(
    patch: Patch, at: Callable[[Array, Array], Equations], curve: Callable[[_Tabulated], Array]
) -> tuple[Array, Array]:
    """Scale and shift of every sign change of ``curve`` along an edge of the patch's grid."""
    logs = np.broadcast_to(np.log(patch.scale)[:, None], patch.shift.shape)
    table = curve(patch)
    found = [np.empty((2, 0))]
    for first, last in (
        ((slice(None), slice(None, -1)), (slice(None), slice(1, None))),
        ((slice(None, -1), slice(None)), (slice(1, None), slice(None))),
    ):
        with np.errstate(invalid="ignore"):
            crossed = np.sign(table[first]) * np.sign(table[last]) <= 0
        if not crossed.any():
            continue
        low, high = (np.stack([logs[side][crossed], patch.shift[side][crossed]]) for side in (first, last))
        sign = np.sign(table[first][crossed])
        for _ in range(45):
            middle = (low + high) / 2
            left = np.sign(curve(at(np.exp(middle[0]), middle[1]))) == sign
            low, high = np.where(left, middle, low), np.where(left, high, middle)
        found.append((low + high) / 2)
    both = np.concatenate(found, axis=1)
    return np.exp(both[0]), both[1]
