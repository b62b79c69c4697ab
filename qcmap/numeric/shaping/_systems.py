"""The two equations in (input_scale, input_shift) that each shaping method leaves, scaled to be smooth at all depths.

Write phi_hat = sum a_n h_n in normalized Hermite polynomials, with a_1^2 + a_2^2 + ... = 1 once its variance is
divided out, and mean M. With excesses C = sum (n - 1) a_n^2 and q = E[(f - m) f' x] / v - 1 (`_moments`), small scales
have a_n of order input_scale^(n-1), so R = q / C and log C stay of order one.

*Deep Kernel Shaping* has M = 0, C'(1) = 1 + C and Q'(1) = 1 + q: it wants R = (Q'(1) - 1) / (psi - 1) and
log C = log(psi - 1).

*Tailored activations* have Q(1) = Q'(1) = C'(1) = 1. Undo the division: phi has variance v and the mean
M = m + output_shift. C'(1) = 1 means v + M^2 = v (1 + C), so M = s sqrt(v C) with a sign s, and Q'(1) = 1 means
v (1 + q) + M a E[phi' x] = v (1 + C), so with sqrt 2 a_2 = a E[phi' x] / sqrt v

    T_s = 1 - R - s sqrt 2 a_2 / sqrt C = 0,    log C''(1) = log(a^2 E[phi''^2] / E[phi'^2]) = log kappa.

Nothing is divided by E[phi' x], which is zero for odd functions at shift 0. Off the curve,
Q'(1) = 1 - T_s C / (1 + C). docs/tailored.md has the steps.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qcmap.activations import Activation
from qcmap.numeric.shaping._moments import bends, slopes

Array = NDArray[np.float64]

_ROUNDING = 1e-11
"""Below this, C is rounding: phi is linear there."""


@dataclass(frozen=True)
class Equations:
    """Both functions at m points, with their Jacobian in (log scale, shift), and mean, variance and C of phi there."""

    ratio: Array
    level: Array
    jacobian: tuple[tuple[Array, Array], tuple[Array, Array]]
    mean: Array
    variance: Array
    excess: Array


@dataclass(frozen=True)
class System:
    """A pair of equations, or several pairs (variants) that differ by signs.

    Attributes
    ----------
    condition, offset
        What the level is: the log of this condition's left side less ``offset``.
    least
        The smallest target beyond ``offset`` that float64 resolves.
    evaluate
        The equations at m points for signs that broadcast with them, so (m,) or (variants, 1); NaN where phi is
        constant or linear to rounding.
    q_excess
        Q'(1) - 1 where all but that condition hold.
    signs
        The sign of each variant. For an odd function (a, -b) solves the one with the other sign, if there is one.
    """

    name: str
    condition: str
    offset: float
    least: float
    evaluate: Callable[[Activation, Array, Array, Array], Equations]
    q_excess: Callable[[Equations], Array]
    signs: tuple[float, ...]


def _dks(act: Activation, scale: Array, shift: Array, signs: Array) -> Equations:
    values, jacobian = slopes(act, scale, shift)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        excess = np.where(values.c_excess > _ROUNDING, values.c_excess, np.nan)
        ratio = values.q_excess / excess
        rows = (
            (
                (jacobian.q_scale - ratio * jacobian.c_scale) / excess,
                (jacobian.q_shift - ratio * jacobian.c_shift) / excess,
            ),
            (jacobian.c_scale / excess, jacobian.c_shift / excess),
        )
        return Equations(ratio, np.log(excess), rows, values.mean, values.variance, excess)


def _tailored(act: Activation, scale: Array, shift: Array, signs: Array) -> Equations:
    values, jacobian, bend = bends(act, scale, shift)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        excess = np.where(values.c_excess > _ROUNDING, values.c_excess, np.nan)
        ratio, root = values.q_excess / excess, np.sqrt(excess)
        first = bend.second[0] / root
        slopes_of_ratio = (
            (jacobian.q_scale - ratio * jacobian.c_scale) / excess,
            (jacobian.q_shift - ratio * jacobian.c_shift) / excess,
        )
        slopes_of_first = tuple(
            second / root - first * c / (2 * excess)
            for second, c in zip(bend.second[1:], (jacobian.c_scale, jacobian.c_shift), strict=True)
        )
        level, *slopes_of_level = (np.where(np.isnan(excess), np.nan, part) for part in bend.log_curvature)
        row = (
            -slopes_of_ratio[0] - signs * slopes_of_first[0],
            -slopes_of_ratio[1] - signs * slopes_of_first[1],
        )
        jacobian_of_both = (row, (slopes_of_level[0], slopes_of_level[1]))
        return Equations(1 - ratio - signs * first, level, jacobian_of_both, values.mean, values.variance, excess)


DKS = System("DKS", "C'(1)", 1.0, 1e-7, _dks, lambda here: here.ratio * here.excess, (1.0,))
TAT = System(
    "TAT", "C''(1)", 0.0, 2e-7, _tailored, lambda here: -here.ratio * here.excess / (1 + here.excess), (1.0, -1.0)
)
