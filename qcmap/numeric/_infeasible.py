"""Why there is no solution: the condition that fails, and the values found for it while the others hold."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from qcmap.activations import Activation
from qcmap.errors import Infeasible, NumericalError
from qcmap.numeric._solutions import STANDARD_BOX, WIDE_BOX, Equations, Patch, equations, patches

Array = NDArray[np.float64]


def infeasible(act: Activation, psi: float) -> Infeasible:
    """The error that says which condition cannot be met in the wide box, with the intervals found for it instead."""
    intro = f"no transform has Q'(1) = 1 and C'(1) = {psi:.10g}"
    outro = f"(searched {WIDE_BOX})"
    if all(np.isnan(patch.ratio).all() for patch in patches(act, STANDARD_BOX)):
        raise NumericalError(
            act.name, "it is constant or linear to rounding everywhere in the box", "take constant terms out of it"
        )
    logs = _reachable(act)
    if logs.size:
        achievable = _intervals(1 + np.exp(logs), breaks=np.diff(logs) > 1)
        if any(low < psi < high for low, high in achievable):
            raise NumericalError(
                act.name, f"no solution with C'(1) = {psi:.10g} was found, though C'(1) lies in {_listed(achievable)}",
                "try a slightly different zeta",
            )  # fmt: skip
        return Infeasible(
            act.name,
            f"{intro}: where Q'(1) = 1, C'(1) lies in {_listed(achievable)} {outro}",
            "choose zeta so that psi lies there, or another activation",
            condition="C'(1)",
            achievable=achievable,
        )
    target = math.log(psi - 1)
    ratios = _along_curve(act, lambda table: table.log_excess - target, lambda table: table.ratio)
    if ratios.size:
        achievable = _intervals(1 + ratios * (psi - 1), breaks=np.diff(ratios) > 1)
        where = f"where C'(1) = {psi:.10g}, Q'(1) lies in {_listed(achievable)}"
    else:
        achievable, where = (), f"C'(1) never reaches {psi:.10g}"
    return Infeasible(
        act.name, f"{intro}: {where} {outro}", "choose another activation", condition="Q'(1)", achievable=achievable
    )


@lru_cache(maxsize=128)
def _reachable(act: Activation) -> Array:
    """log(C'(1) - 1) where Q'(1) = 1, sorted; it does not depend on psi."""
    return _along_curve(act, lambda table: table.ratio, lambda table: table.log_excess)


def _intervals(values: Array, breaks: NDArray[np.bool_]) -> tuple[tuple[float, float], ...]:
    """Sorted samples of a few curves as intervals, cut where ``breaks`` marks a gap too wide for one curve."""
    pieces = np.split(values, np.flatnonzero(breaks) + 1)
    return tuple((float(piece[0]), float(piece[-1])) for piece in pieces)


def _listed(intervals: tuple[tuple[float, float], ...]) -> str:
    return " or ".join(f"[{low:.10g}, {high:.10g}]" for low, high in intervals)


_Tabulated = Patch | Equations


def _along_curve(act: Activation, curve: Callable[[_Tabulated], Array], other: Callable[[_Tabulated], Array]) -> Array:
    """The values of ``other``, sorted, where the zero set of ``curve`` in the wide box meets the edges of the grid.

    Each sign change along an edge is closed by bisection, and kept if the function is continuous there, so every value
    is attained; an extreme between two edges can be missed by the square of their distance.
    """
    seen = [np.empty(0)]
    for box in (STANDARD_BOX, WIDE_BOX):
        for patch in patches(act, box):
            logs = np.broadcast_to(np.log(patch.scale)[:, None], patch.shift.shape)
            for first, last in (
                ((slice(None), slice(None, -1)), (slice(None), slice(1, None))),
                ((slice(None, -1), slice(None)), (slice(1, None), slice(None))),
            ):
                table = curve(patch)
                with np.errstate(invalid="ignore"):
                    crossed = table[first] * table[last] <= 0
                if not crossed.any():
                    continue
                ends = [np.stack([logs[side][crossed], patch.shift[side][crossed]]) for side in (first, last)]
                scale, shift = _bisected(act, curve, *ends, sign=np.sign(table[first][crossed]))
                here = equations(act, scale, shift)
                values = other(here)
                seen.append(
                    values[
                        np.isfinite(values)
                        & box.holds(np.clip(scale, box.low, box.high), shift)
                        & (np.abs(curve(here)) < 1e-4)
                    ]
                )
    return np.sort(np.concatenate(seen))


def _bisected(
    act: Activation, curve: Callable[[_Tabulated], Array], low: Array, high: Array, sign: Array
) -> tuple[Array, Array]:
    """Scale and shift of the sign changes between the points ``low`` and ``high``, rows (log scale, shift)."""
    for _ in range(45):
        middle = (low + high) / 2
        left = np.sign(curve(equations(act, np.exp(middle[0]), middle[1]))) == sign
        low, high = np.where(left, middle, low), np.where(left, high, middle)
    return np.exp((low[0] + high[0]) / 2), (low[1] + high[1]) / 2
