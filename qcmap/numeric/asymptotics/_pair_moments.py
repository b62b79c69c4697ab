"""How a wide random layer scatters the q and c values of a pair of inputs, and passes on what is scattered before it.

For (u, v) jointly normal with variances q1, q2 and covariance m, and f = phi or a transform of it, the averages over
width N of (f(u)^2, f(v)^2, f(u) f(v)) have

    mean K(q1, q2, m) = (Q(q1), Q(q2), E f(u) f(v)),     covariance V / N,  V = Cov(f(u)^2, f(v)^2, f(u) f(v)),

and a perturbation of (q1, q2, m) is passed on by the Jacobian of K: Q'(q1) and Q'(q2) on the diagonal, and

    dE[f(u) f(v)] / dm = E[f'(u) f'(v)],    dE[f(u) f(v)] / dq1 = (E[u f'(u) f(v)] - m E[f'(u) f'(v)]) / (2 q1),

the latter being E[f''(u) f(v)] / 2 without f'' (integrate by parts in u), so that kinks do not matter.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qcmap.errors import NumericalError
from qcmap.numeric.maps._quadrature import gaussian_rule, panel_rule, u_breaks
from qcmap.numeric.maps._transform import Transform, refuse_jumps

Array = NDArray[np.float64]

_REACH = 12.0
_ORDER = 16
_ALIGNED = 1e-9
_BLOCK = 400_000
_GRADES = np.array([-9.0, -3.0, -1.0, 0.0, 1.0, 3.0, 9.0])


@dataclass(frozen=True, eq=False)
class PairMoments:
    """K, V and the Jacobian of K, in the order (q1, q2, m): shapes (3,), (3, 3) and (3, 3), rows of outputs."""

    mean: Array
    covariance: Array
    jacobian: Array


def pair_moments(transform: Transform, q1: float, q2: float, m: float) -> PairMoments:
    """K, V and K' of a layer at q1, q2 > 0 and abs(m) <= sqrt(q1 q2).

    Raises
    ------
    ActivationError
        If phi jumps, so that E[f'(u) f'(v)] is not finite at m = sqrt(q1 q2).
    NumericalError
        If E f^4 is not finite to the range of integration: phi grows too fast.
    """
    refuse_jumps(transform.activation)
    for q in (q1, q2):
        _refuse_fast_growth(transform, q)
    total = np.zeros(13)
    for u, v, w in _nodes(transform, q1, q2, m):
        f, g, df, dg = transform(u), transform(v), transform.derivative(u), transform.derivative(v)
        ff, gg, fg, both = f * f, g * g, f * g, df * dg
        rows = (
            ff, gg, fg, ff * ff, gg * gg, ff * gg, ff * fg, gg * fg,
            f * df * u / q1, g * dg * v / q2, both,
            (u * df * g - m * both) / (2 * q1), (v * dg * f - m * both) / (2 * q2),
        )  # fmt: skip
        total += [float(np.vdot(w, row)) for row in rows]
    a, b, k, a4, b4, ab, a3b, ab3, da, db, dm, d1, d2 = total
    mean = np.array([a, b, k])
    second = np.array([[a4, ab, a3b], [ab, b4, ab3], [a3b, ab3, ab]])
    jacobian = np.array([[da, 0.0, 0.0], [0.0, db, 0.0], [d1, d2, dm]])
    return PairMoments(mean, second - np.outer(mean, mean), jacobian)


def _refuse_fast_growth(transform: Transform, q: float) -> None:
    sums = []
    for reach in (_REACH, _REACH + 3):
        x, w = gaussian_rule(
            transform.activation, np.array([transform.input_scale * math.sqrt(q)]), np.array([transform.input_shift]),
            order=_ORDER, reach=reach,
        )  # fmt: skip
        with np.errstate(over="ignore", invalid="ignore"):
            sums.append(float(np.vdot(w, transform(math.sqrt(q) * x) ** 4)))
    if not (math.isfinite(sums[1]) and abs(sums[1] - sums[0]) <= 1e-10 * sums[1]):
        raise NumericalError(
            transform.activation.name, f"E f^4 is not resolved at q = {q:.6g}: it grows too fast", "use a smaller q"
        )


def _nodes(transform: Transform, q1: float, q2: float, m: float) -> Iterator[tuple[Array, Array, Array]]:
    """Blocks of (u, v, weights) for expectations over the pair: u = sqrt(q1) x, v = sqrt(q2) (c x + s z).

    The integral over z breaks at the kinks of f(v) for every x; as a function of x it changes over a width s near the x
    at which c x meets a kink, so panels in x are graded there.
    """
    act, shift = transform.activation, transform.input_shift
    root1, root2 = math.sqrt(q1), math.sqrt(q2)
    c = min(max(m / (root1 * root2), -1.0), 1.0)
    s = math.sqrt((1 - c) * (1 + c))
    first, scale = np.array([transform.input_scale * root1]), transform.input_scale * root2
    kinks = np.array([(kink.at - shift) / scale for kink in act.kinks])
    breaks = (u_breaks(act, np.array([scale]), np.array([shift]), _REACH) - shift) / scale
    extra = np.zeros(0)
    if s < _ALIGNED:
        extra = math.copysign(1.0, c) * breaks
    elif abs(c) > 0.1:
        extra = (kinks[:, None] / c + s / abs(c) * _GRADES).ravel()
    (x,), (w,) = gaussian_rule(act, first, np.array([shift]), order=_ORDER, extra=extra, reach=_REACH)
    keep = w > 1e-45
    x, w = x[keep], w[keep]
    if s < _ALIGNED:
        yield root1 * x, root2 * math.copysign(1.0, c) * x, w
        return
    uniform = np.linspace(-_REACH, _REACH, 2 * math.ceil(_REACH / 2.5) + 1)
    rows = max(1, _BLOCK // (_ORDER * (uniform.size + breaks.size)))
    for start in range(0, x.size, rows):
        here = x[start : start + rows, None]
        ends = np.concatenate([np.broadcast_to(uniform, (here.size, uniform.size)), (breaks - c * here) / s], axis=1)
        z, inner = panel_rule(ends, _ORDER, _REACH)
        v = root2 * (c * here + s * z)
        yield np.broadcast_to(root1 * here, v.shape), v, w[start : start + rows, None] * inner
