"""Constants for functions that are linear on either side of zero: relu, leaky relu, abs.

Positive homogeneity leaves three degrees of freedom (DKS, section 18.6): only t = input_shift / input_scale matters.
Let phi(u) = l u below zero and r u above, k = r - l, p and P the normal density and distribution at t, and
m = p + t P = E relu(x + t). With phi(x + t) = l (x + t) + k relu(x + t), Stein's lemma E[x relu(x + t)] = P gives

    E phi'^2 = l^2 + (r^2 - l^2) P,
    Var phi = l^2 + 2 l k P + k^2 ((1 + t^2) P + t p - m^2) = l^2 + (r^2 - l^2) P - k^2 e(t),
    e(t) = P - (1 + t^2) P - t p + m^2 = m^2 - t m,

so C'(1) = 1 / (1 - k^2 e / E phi'^2), and, by E[x^2; x > -t] = P - t p,

    Var phi (Q'(1) - 1) = -k t (l p + k m (1 - P)).

Relu therefore has Q'(1) = 1 at t = 0 only, where C'(1) = pi / (pi - 1): the condition on Q' is dropped, as in the
paper, and C'(1) = psi fixes t. At t = 0 every slope l has Q'(1) = 1, and with r = 1

    C'(1) = 1 / (1 - (1 - l)^2 / (pi (1 + l^2))):

leaky relu meets all four conditions with input_shift 0 and the slope l in [-1, 1) that solves this quadratic. The
largest value, pi / (pi - 2), is that of l = -1, the absolute value. Away from t = 0, Q'(1) = 1 makes l a function of t,
along which C'(1) falls from that value to 1 on either side (`theory_checks`, dks-31): nothing larger is reached.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np

from qcmap.activations import Activation, activation
from qcmap.errors import Infeasible
from qcmap.numeric.maps._shaping import Solution
from qcmap.numeric.maps._transform import Transform
from qcmap.numeric.shaping._provable import slope_out_of_reach

_FARTHEST = 8.0


def with_two_slopes(act: Activation) -> Activation:
    """The activation, with ``two_slopes`` and ``homogeneity`` set if it is linear on either side of zero.

    A user's own function does not say so (``Max(u, 0)``): that its only kink is at 0 and that phi(u) / u is exactly
    constant on either side, at 32 points from 1e-3 to 1e3, counts as linear; it is analytic there.
    """
    if act.two_slopes is not None or [kink.at for kink in act.kinks] != [0.0]:
        return act
    u = np.geomspace(1e-3, 1e3, 32)
    left, right = (float(act.value(np.array([side]))[0] * side) for side in (-1.0, 1.0))
    for side, slope in ((-1, left), (1, right)):
        if not np.allclose(act.value(side * u), side * slope * u, rtol=4e-16, atol=0):
            return act
    return replace(act, two_slopes=(left, right), homogeneity=1)


def _normal(t: float) -> tuple[float, float, float]:
    """P(t), p(t) and m(t) = p + t P; m is formed without cancellation for t < 0, as E relu(x + t) = p - |t| P(t)."""
    from scipy.special import log_ndtr

    density = math.exp(-t * t / 2) / math.sqrt(2 * math.pi)
    mass = math.exp(float(log_ndtr(t)))
    return mass, density, density + t * mass


def _excess(left: float, right: float, t: float) -> float:
    """C'(1) - 1 at shift t (in units of the input scale)."""
    mass, _, mean = _normal(t)
    gap = (right - left) ** 2 * mean * (mean - t)
    energy = left**2 + (right**2 - left**2) * mass
    return gap / (energy - gap)


def q_slope_of(left: float, right: float, t: float) -> float:
    """Q'(1) at shift t (in units of the input scale)."""
    mass, density, mean = _normal(t)
    k = right - left
    variance = left**2 + (right**2 - left**2) * mass - k**2 * mean * (mean - t)
    return 1 - k * t * (left * density + k * mean * (1 - mass)) / variance


def shifted(act: Activation, t: float) -> Transform:
    """The transform with this t: abs(input_shift) = 1 as in the paper, or input_shift 0; output constants follow."""
    assert act.two_slopes is not None
    left, right = act.two_slopes
    scale = 1 / abs(t) if t else 1.0
    mass, _, mean = _normal(t)
    average = scale * (left * t + (right - left) * mean)
    variance = left**2 + (right**2 - left**2) * mass - (right - left) ** 2 * mean * (mean - t)
    return Transform(act, scale, math.copysign(1.0, t) if t else 0.0, -average, 1 / (scale * math.sqrt(variance)))


def _nearest_root(function: Callable[[float], float], side: float) -> float | None:
    """The root nearest to 0, of those that sign changes at steps of 0.05 show, on the side of ``side`` (+1 or -1)."""
    from scipy.optimize import brentq

    find: Any = brentq
    for near, far in pairwise(side * 0.05 * k for k in range(round(_FARTHEST / 0.05) + 1)):
        if function(near) * function(far) <= 0:
            return float(find(function, near, far, xtol=1e-15, rtol=9e-16))
    return None


def two_sided(act: Activation, psi: float, q_slope: float | str | None) -> Solution:
    """The solution of a function that is linear on either side of zero, for each choice of ``q_slope`` of `dks`.

    With fixed slopes t has one value or two, and so has Q'(1): 1 and None take the first, "minimise" the smaller.

    Raises
    ------
    Infeasible
        As `three_conditions` and `with_free_slope`; or if Q'(1) cannot be ``q_slope``.
    """
    targets = {"Q(1)": 1.0, "C(0)": 0.0, "C'(1)": psi}
    if act.free_slope and q_slope == 1.0:
        return Solution(with_free_slope(act, psi), {"Q(1)": 1.0, "Q'(1)": 1.0, **targets})
    if act.free_slope and q_slope is not None:
        from qcmap.numeric.shaping._leaky_slope import with_slope_for

        return with_slope_for(act, psi, q_slope)
    first = three_conditions(act, psi)
    if q_slope is None or q_slope == 1.0:
        return Solution(first, targets)
    both = [first]
    if (other := _root(act, psi, -first.input_shift)) is not None:
        both.append(shifted(act, other))
    assert act.two_slopes is not None
    slopes = [q_slope_of(*act.two_slopes, t.input_shift / t.input_scale) for t in both]
    if isinstance(q_slope, str):
        return Solution(both[slopes.index(min(slopes))], targets)
    for transform, slope in zip(both, slopes, strict=True):
        if abs(slope - q_slope) <= 1e-12:
            return Solution(transform, {"Q(1)": 1.0, "Q'(1)": q_slope, **targets})
    reached = tuple(sorted((slope, slope) for slope in slopes))
    raise Infeasible(
        act.name,
        f"no transform has Q'(1) = {q_slope:.10g} and C'(1) = {psi:.10g}: homogeneity leaves one degree of freedom "
        f"less, and Q'(1) is {' or '.join(f'{slope:.10g}' for slope in sorted(slopes))}",
        "leave q_slope at 1, which is dropped here, or use leaky_relu",
        condition="Q'(1)",
        achievable=reached,
    )


def _root(act: Activation, psi: float, side: float) -> float | None:
    """The t nearest to 0 on one side with C'(1) = psi."""
    assert act.two_slopes is not None
    left, right = act.two_slopes

    def gap(t: float) -> float:
        return math.log(max(_excess(left, right, t), 1e-300)) - math.log(psi - 1)

    return None if left == right or side == 0 else _nearest_root(gap, math.copysign(1.0, side))


def three_conditions(act: Activation, psi: float) -> Transform:
    """Q(1) = 1, C(0) = 0 and C'(1) = psi, without the condition on Q'(1) (DKS, section 18.6).

    The solution with t >= 0 is taken where there is one; the paper's, which has input_shift 1.

    Raises
    ------
    Infeasible
        If phi is linear, or no shift within 8 input scales reaches psi.
    """
    assert act.two_slopes is not None
    left, right = act.two_slopes

    t = _root(act, psi, 1.0)
    if t is None:
        t = _root(act, psi, -1.0)
    if t is None:
        grid = [1 + _excess(left, right, _FARTHEST * k / 400) for k in range(-400, 401)] if left != right else [1.0]
        achievable = ((min(grid), max(grid)),)
        raise Infeasible(
            act.name,
            f"no transform has C'(1) = {psi:.10g}: it lies in [{achievable[0][0]:.10g}, {achievable[0][1]:.10g}]"
            + (
                ", because the function is linear"
                if left == right
                else f" for shifts within {_FARTHEST:g} input scales"
            ),
            "choose a nonlinear activation" if left == right else "choose zeta so that psi lies there",
            condition="C'(1)",
            achievable=achievable,
            prove=slope_out_of_reach(act, psi) if left == right else None,
        )
    return shifted(act, t)


def with_free_slope(act: Activation, psi: float) -> Transform:
    """All four conditions, the negative slope chosen too (leaky relu).

    Raises
    ------
    Infeasible
        If psi exceeds pi / (pi - 2), about 2.75.
    """
    share = math.pi * (1 - 1 / psi)
    if share > 2:
        most = math.pi / (math.pi - 2)
        raise Infeasible(
            act.name,
            f"no negative slope has C'(1) = {psi:.10g}: it lies in (1, {most:.10g}]",
            "choose zeta so that psi lies there",
            condition="C'(1)",
            achievable=((1.0, most),),
        )
    # (1 - l)^2 = share (1 + l^2), solved for abs(l) <= 1 without cancellation.
    slope = (1 - share) / (1 + math.sqrt(share * (2 - share)))
    return shifted(activation(act.name, negative_slope=slope), 0.0)
