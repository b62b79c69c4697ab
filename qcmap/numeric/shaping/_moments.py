"""Q'(1) and C'(1) as functions of (input_scale, input_shift), with derivatives, after the other two are eliminated.

With f = phi(a x + b), g = phi'(a x + b), m = E f and v = Var f, the conditions Q(1) = 1 and C(0) = 0 give
output_shift = -m, output_scale = v^(-1/2) (DKS, section 18.4), and then

    Q'(1) = a E[(f - m) g x] / v,        C'(1) = a^2 E[g^2] / v.

Their derivatives need no phi'', so kinks do not matter: for F = F(a x + b), integrating by parts,

    d/db E[F x^k] = E[F (x^(k+1) - k x^(k-1))] / a,     d/da E[F x^k] = E[F (x^(k+2) - (k+1) x^k)] / a.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from qcmap.activations import Activation
from qcmap.errors import ActivationError
from qcmap.numeric.maps._quadrature import ORDER, RANGE, gaussian_rule

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Slopes:
    """Q'(1) - 1 and C'(1) - 1 at m points, with mean and variance of phi; NaN where phi is constant to rounding.

    NaN also where phi grows too fast for any range of integration.
    """

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
    reach, lost = _reach(act, scale, shift, (act.first,))
    x, w = _rule(act, scale, shift, reach, order)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        f, g = act.jet(_arguments(act, scale, shift, x), 1)
        return _slopes(scale, x, w, f, g, lost)


def _rule(act: Activation, scale: Array, shift: Array, reach: float, order: int) -> tuple[Array, Array]:
    """Nodes and weights (m, n) without the panels beyond the range of integration, which weigh nothing in any row."""
    x, w = gaussian_rule(act, scale, shift, order=order, reach=reach)
    used = np.flatnonzero(w.any(axis=0))
    # A slice, whose rows lie in memory as they did: sums over others would round more.
    part = slice(used[0], used[-1] + 1) if used.size else slice(None)
    return x[:, part], w[:, part]


_REACHES = (RANGE, 14.0, 20.0, 28.0, 37.0)


def _reach(
    act: Activation, scale: Array, shift: Array, functions: tuple[Callable[[Array], Array], ...]
) -> tuple[float, NDArray[np.bool_] | None]:
    """The range of x beyond which the squares of the functions have no mass, and the points that no range serves."""
    if not _grows_fast(act):
        return RANGE, None
    needed = np.full(scale.shape, math.inf)
    with np.errstate(over="ignore", invalid="ignore"):
        for reach in _REACHES:
            x = np.linspace(-reach, reach, 41)
            u = _arguments(act, scale, shift, x)
            served = np.ones(scale.shape, dtype=bool)
            for function in functions:
                mass = function(u) ** 2 * np.exp(-x * x / 2)
                served &= mass[:, [0, -1]].max(axis=1) <= 1e-18 * mass.max(axis=1)
            needed[served & np.isinf(needed)] = reach
            if np.isfinite(needed).all():
                return float(needed.max(initial=RANGE)), None
    lost = np.isinf(needed)
    return float(needed[~lost].max(initial=RANGE)), lost


def _arguments(act: Activation, scale: Array, shift: Array, x: Array) -> Array:
    """scale x + shift; held where phi is a finite float, beyond which a point is lost in any case."""
    u = scale[:, None] * x + shift[:, None]
    return np.clip(u, *_finite_range(act)) if _grows_fast(act) else u


@lru_cache(maxsize=256)
def _grows_fast(act: Activation) -> bool:
    """Whether phi' outgrows a cubic anywhere, so that its squares may have mass beyond the usual range."""
    if not all(map(math.isinf, _finite_range(act))):
        return True
    distance = np.geomspace(0.1, 400, 60)
    size = np.abs(act.first(act.centre + np.concatenate([-distance, distance])))
    distance = np.concatenate([distance, distance])
    return not bool((size <= size[distance <= 1].max() * (1 + distance) ** 3).all())


@lru_cache(maxsize=256)
def _finite_range(act: Activation) -> tuple[float, float]:
    """The range of u in which phi and phi' are finite floats, with a margin for phi''; infinite ends are beyond 1e4."""

    def finite(u: float) -> bool:
        try:
            with np.errstate(over="ignore", invalid="ignore"):
                return all(bool(np.isfinite(f(np.array([u]))).all()) for f in (act.value, act.first))
        except ActivationError:
            return False

    def end(side: float) -> float:
        low, high = 0.0, 1e4
        if finite(act.centre + side * high):
            return side * math.inf
        for _ in range(40):
            middle = (low + high) / 2
            low, high = (middle, high) if finite(act.centre + side * middle) else (low, middle)
        return act.centre + side * 0.98 * low

    return end(-1.0), end(1.0)


@dataclass(frozen=True)
class Bends:
    """Two moments of m points with their derivatives in log(input_scale) and input_shift.

    ``second`` is a_2 sqrt 2 = a E[g x] / sqrt v, and ``log_curvature`` is log(a^2 E[h^2] / E[g^2]) with
    h = phi''(a x + b): the log of C''(1) / C'(1). Each is (value, derivative in log a, derivative in b).
    """

    second: tuple[Array, Array, Array]
    log_curvature: tuple[Array, Array, Array]


def bends(act: Activation, scale: Array, shift: Array) -> tuple[Slopes, SlopeJacobian, Bends]:
    """As `slopes`, with the moments that tailored activations need; phi' must not jump."""

    def second_derivative(u: Array) -> Array:
        return act.derivative(u, 2) if act.second is None else act.second(u)

    reach, lost = _reach(act, scale, shift, (act.first, second_derivative))
    x, w = _rule(act, scale, shift, reach, ORDER)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        f, g, h = act.jet(_arguments(act, scale, shift, x), 2)
        values, jacobian = _slopes(scale, x, w, f, g, lost)
        wg, whh, xx = w * g, w * h * h, x * x
        v = values.variance
        root = np.sqrt(np.where(np.isnan(values.c_excess), np.nan, v))
        second = scale * _dot(wg, x) / root
        # d log v / d b = 2 E[(f - m) g] / v, and d log v / d log a = 2 Q'(1).
        v_shift = _dot(w * (f - values.mean[:, None]), g) / v
        second_scale = second + scale * _dot(wg, (xx - 2) * x) / root - second * (1 + values.q_excess)
        second_shift = _dot(wg, xx - 1) / root - second * v_shift
        gg, hh = _dot(wg, g), np.einsum("ij->i", whh)
        # d log E[F] / d log a = E[F (x^2 - 1)] / E F, and d log E[F] / d b = E[F x] / (a E F).
        log_scale = 2 + _dot(whh, xx - 1) / hh - _dot(wg * g, xx - 1) / gg
        log_shift = (_dot(whh, x) / hh - _dot(wg * g, x) / gg) / scale
        found = Bends((second, second_scale, second_shift), (np.log(scale**2 * hh / gg), log_scale, log_shift))
    return values, jacobian, found


def _slopes(
    scale: Array, x: Array, w: Array, f: Array, g: Array, lost: NDArray[np.bool_] | None
) -> tuple[Slopes, SlopeJacobian]:
    # The callers ignore warnings of floats.
    mean = _dot(w, f)
    f = f - mean[:, None]
    wf, wg, xx = w * f, w * g, x * x
    variance = _dot(wf, f)
    degenerate = ~(variance > 1e-18 * mean**2)
    if lost is not None:
        degenerate |= lost
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
