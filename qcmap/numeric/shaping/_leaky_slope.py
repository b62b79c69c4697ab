"""Leaky relu with a Q'(1) other than 1: the negative slope follows from C'(1) = psi, and the shift from Q'(1).

In the notation of `_homogeneous` with r = 1 and s = 1 - 1 / psi, C'(1) = psi is k^2 e = s E phi'^2, that is

    (e - s (1 - P)) l^2 - 2 e l + (e - s P) = 0,    e = m (m - t),

with the discriminant s (e - s P (1 - P)) up to a factor 4: one curve or two of slopes l over t. Reflection x -> -x
turns (t, l) into (-t, 1 / l), so abs(l) <= 1 loses nothing.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qcmap.activations import Activation, activation
from qcmap.errors import Infeasible
from qcmap.numeric.maps._shaping import Solution
from qcmap.numeric.shaping._homogeneous import shifted

Array = NDArray[np.float64]

_FARTHEST, _COUNT = 8.0, 3201


def _curves(t: Array, psi: float) -> tuple[Array, Array]:
    """Slopes l and Q'(1) on both curves, (2, m); NaN where there is no slope in [-1, 1)."""
    from scipy.special import log_ndtr

    log_cdf: Any = log_ndtr
    s = 1 - 1 / psi
    density = np.exp(-t * t / 2) / math.sqrt(2 * math.pi)
    mass, rest = np.exp(log_cdf(t)), np.exp(log_cdf(-t))
    # m and m - t without cancellation: E relu(x + t) and E relu(-x - t).
    mean = np.where(t > 0, t + (density - t * rest), density + t * mass)
    below = np.where(t > 0, density - t * rest, density + t * mass - t)
    e = mean * below
    with np.errstate(divide="ignore", invalid="ignore"):
        middle = e + np.sqrt(s * (e - s * mass * rest))
        left = np.stack([middle / (e - s * rest), (e - s * mass) / middle])
        left[~((left >= -1) & (left < 1))] = np.nan
        k = 1 - left
        variance = (left**2 + (1 - left**2) * mass) / psi
        return left, 1 - k * t * (left * density + k * mean * rest) / variance


def with_slope_for(act: Activation, psi: float, q_slope: float | str) -> Solution:
    """Q(1) = 1, C(0) = 0, C'(1) = psi, and Q'(1) = ``q_slope`` or, for "minimise", the smallest within abs(t) <= 8.

    Of several solutions that with the smallest abs(t), then the negative t.

    Raises
    ------
    Infeasible
        If no shift within 8 input scales has such a Q'(1).
    """
    t = np.linspace(-_FARTHEST, _FARTHEST, _COUNT)
    slope = _curves(t, psi)[1]
    targets = {"Q(1)": 1.0, "C(0)": 0.0, "C'(1)": psi}
    if np.isnan(slope).all():
        raise Infeasible(
            act.name, f"no slope in [-1, 1) and shift within {_FARTHEST:g} input scales has C'(1) = {psi:.10g}",
            "choose a smaller zeta", condition="C'(1)", achievable=(),
        )  # fmt: skip
    if isinstance(q_slope, str):
        return _smallest(act, psi, t, slope, targets)
    found = [
        (root, branch)
        for branch in (0, 1)
        for k in np.flatnonzero((slope[branch, :-1] - q_slope) * (slope[branch, 1:] - q_slope) <= 0)
        for root in [_closed(psi, branch, q_slope, float(t[k]), float(t[k + 1]))]
        if abs(float(_curves(np.array([root]), psi)[1][branch, 0]) - q_slope) < 1e-9
    ]
    if not found:
        low, high = float(np.nanmin(slope)), float(np.nanmax(slope))
        raise Infeasible(
            act.name, f"no transform has Q'(1) = {q_slope:.10g} and C'(1) = {psi:.10g}: Q'(1) lies in "
            f"[{low:.10g}, {high:.10g}] for shifts within {_FARTHEST:g} input scales", "choose q_slope there",
            condition="Q'(1)", achievable=((low, high),),
        )  # fmt: skip
    best, branch = min(found, key=lambda pair: (round(abs(pair[0]), 9), pair[0]))
    slope_there = float(_curves(np.array([best]), psi)[0][branch, 0])
    return Solution(
        shifted(activation(act.name, negative_slope=slope_there), best),
        {"Q(1)": 1.0, "Q'(1)": q_slope, "C(0)": 0.0, "C'(1)": psi},
    )


def _closed(psi: float, branch: int, q_slope: float, low: float, high: float) -> float:
    from scipy.optimize import brentq

    find: Any = brentq
    return float(
        find(lambda t: float(_curves(np.array([t]), psi)[1][branch, 0]) - q_slope, low, high, xtol=1e-15, rtol=9e-16)
    )


def _smallest(act: Activation, psi: float, t: Array, slope: Array, targets: dict[str, float]) -> Solution:
    """The grid's smallest value, then eight grids of 41 points, each over the neighbours of the one before."""
    branch, k = np.unravel_index(np.nanargmin(slope), slope.shape)
    width, best = float(t[1] - t[0]), float(t[k])
    for _ in range(8):
        near = np.clip(best + width * np.linspace(-1, 1, 41), -_FARTHEST, _FARTHEST)
        best = float(near[np.nanargmin(_curves(near, psi)[1][branch])])
        width /= 20
    left = float(_curves(np.array([best]), psi)[0][branch, 0])
    note = f"the smallest Q'(1) lies at the farthest shift, {_FARTHEST:g} input scales, and falls further outside"
    warnings = (note,) if abs(best) >= _FARTHEST * (1 - 1e-9) else ()
    return Solution(shifted(activation(act.name, negative_slope=left), best), targets, (), None, warnings)
