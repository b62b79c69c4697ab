"""Why there is no solution: the condition that fails, and the values found for it while the others hold."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from qcmap.activations import Activation
from qcmap.errors import Infeasible, NumericalError
from qcmap.numeric.shaping._solutions import STANDARD_BOX, WIDE_BOX, Patch, patches
from qcmap.numeric.shaping._systems import DKS, Equations, System

Array = NDArray[np.float64]


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
    bound = "zeta so that psi lies there" if system is DKS else "tau so that the local curvature lies there"
    logs = np.empty(0) if dropped else _reachable(act, system, q_slope)
    if logs.size:
        achievable = _intervals(system.offset + np.exp(logs), breaks=np.diff(logs) > 1)
        if any(low < value < high for low, high in achievable):
            raise NumericalError(
                act.name, f"no solution with {name} = {value:.10g} was found, though {name} lies in "
                f"{listed(achievable)}", "try a slightly different bound",
            )  # fmt: skip
        return Infeasible(
            act.name,
            f"{intro}: where Q'(1) = {q_slope:.10g}, {name} lies in {listed(achievable)} {outro}",
            f"choose {bound}, or another activation",
            condition=name,
            achievable=achievable,
        )
    target = math.log(value - system.offset)
    excesses = np.empty(0)
    if not dropped:
        excesses = _along_curve(act, system, lambda table: table.level - target, system.q_excess)
    if excesses.size:
        widest = np.diff(excesses) > max(value - system.offset, 1e-12)
        achievable = _intervals(1 + excesses, breaks=widest)
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
        )
    return Infeasible(
        act.name, f"{intro}: {where} {outro}", "choose another activation", condition="Q'(1)", achievable=achievable
    )


@lru_cache(maxsize=128)
def _reachable(act: Activation, system: System, q_slope: float) -> Array:
    """The levels where Q'(1) has its value, sorted; they do not depend on the other target."""
    gap = q_slope - 1
    if gap == 0:
        return _along_curve(act, system, lambda table: table.ratio, lambda here: here.level)
    return _along_curve(act, system, lambda table: table.ratio * np.exp(table.level) - gap, lambda here: here.level)


def _intervals(values: Array, breaks: NDArray[np.bool_]) -> tuple[tuple[float, float], ...]:
    """Sorted samples of a few curves as intervals, cut where ``breaks`` marks a gap too wide for one curve."""
    pieces = np.split(values, np.flatnonzero(breaks) + 1)
    return tuple((float(piece[0]), float(piece[-1])) for piece in pieces)


def listed(intervals: tuple[tuple[float, float], ...]) -> str:
    """Intervals in words."""
    return " or ".join(f"[{low:.10g}, {high:.10g}]" for low, high in intervals)


_Tabulated = Patch | Equations


def _along_curve(
    act: Activation, system: System, curve: Callable[[_Tabulated], Array], other: Callable[[Equations], Array]
) -> Array:
    """The values of ``other``, sorted, where the zero set of ``curve`` in the wide box meets the edges of the grid.

    Each sign change along an edge is closed by bisection, and kept if the function is continuous there, so every value
    is attained; an extreme between two edges can be missed by the square of their distance.
    """
    seen = [np.empty(0)]
    for box in (STANDARD_BOX, WIDE_BOX):
        for sign, tables in zip(system.signs, patches(act, box, system), strict=True):

            def at(scale: Array, shift: Array, sign: float = sign) -> Equations:
                return system.evaluate(act, scale, shift, np.array(sign))

            for patch in tables:
                scale, shift = crossings(patch, at, curve)
                if scale.size:
                    here = at(scale, shift)
                    values = other(here)
                    inside = box.holds(np.clip(scale, box.low, box.high), shift)
                    seen.append(values[np.isfinite(values) & inside & (np.abs(curve(here)) < 1e-4)])
    return np.sort(np.concatenate(seen))


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
            crossed = table[first] * table[last] <= 0
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
