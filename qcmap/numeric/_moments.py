"""Q'(1) and C'(1) as functions of (input_scale, input_shift), with derivatives, after the other two are eliminated.

With f = phi(a x + b), g = phi'(a x + b), m = E f and v = Var f, the conditions Q(1) = 1 and C(0) = 0 give
output_shift = -m, output_scale = v^(-1/2) (DKS, section 18.4), and then

    Q'(1) = a E[(f - m) g x] / v,        C'(1) = a^2 E[g^2] / v.

Their derivatives need no phi'', so kinks do not matter: for F = F(a x + b), integrating by parts,

    d/db E[F x^k] = E[F (x^(k+1) - k x^(k-1))] / a,     d/da E[F x^k] = E[F (x^(k+2) - (k+1) x^k)] / a.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qcmap.activations import Activation
from qcmap.numeric._quadrature import ORDER, gaussian_rule

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Slopes:
    """Q'(1) - 1 and C'(1) - 1 at m points, with mean and variance of phi; NaN where phi is constant to rounding."""

    q_excess: Array
    c_excess: Array
    mean: Array
    variance: Array


@dataclass(frozen=True)
class SlopeJacobian:
    """Derivatives of Q'(1) and C'(1) in log(input_scale) and input_shift, each of shape (m,)."""

    q_scale: Array
    q_shift: Array
    c_scale: Array
    c_shift: Array


def slopes(act: Activation, scale: Array, shift: Array, *, order: int = ORDER) -> tuple[Slopes, SlopeJacobian]:
    """Values and Jacobian at the points (scale[i], shift[i]); both of shape (m,), scale positive."""
    x, w = gaussian_rule(act, scale, shift, order=order)
    u = scale[:, None] * x + shift[:, None]
    f, g = act.value(u), act.first(u)
    mean = _dot(w, f)
    f = f - mean[:, None]
    wf, wg, xx = w * f, w * g, x * x
    variance = _dot(wf, f)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        degenerate = ~(variance > 1e-18 * mean**2)
        v = np.where(degenerate, np.nan, variance)
        fg, fgx = wf * g, wf * g * x
        gx, gg = _dot(wg, x), _dot(wg, g)
        q_slope, c_slope = scale * fgx.sum(axis=1) / v, scale**2 * gg / v
        # d v / d b = 2 E[f g]; d v / d log a = 2 a E[f g x] = 2 v Q'(1).
        v_shift = 2 * fg.sum(axis=1) / v
        centred = wg * g - gg[:, None] * w
        fg_shift = _dot(fg, xx - 1) - scale * wg.sum(axis=1) * gx
        fg_scale = _dot(fgx, xx - 2) - scale * gx * gx
        jacobian = SlopeJacobian(
            q_scale=q_slope + scale * fg_scale / v - 2 * q_slope**2,
            q_shift=fg_shift / v - q_slope * v_shift,
            c_scale=2 * c_slope + scale**2 * _dot(centred, xx - 1) / v - 2 * c_slope * q_slope,
            c_shift=scale * _dot(centred, x) / v - c_slope * v_shift,
        )
    return Slopes(q_slope - 1, c_slope - 1, mean, variance), jacobian


def _dot(a: Array, b: Array) -> Array:
    """Row by row inner products."""
    return np.einsum("ij,ij->i", a, b)
