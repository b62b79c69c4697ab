"""E[f(u1) f(u2)] for smooth f and correlations so near to 1 or -1 that the density of the pair is a narrow ridge.

With F(x) = f(a1 x + b1), G(x) = f(s a2 x + b2), s the sign of c, and x, y of correlation 1 - g, g = 1 - abs(c), the
k-th derivative in the correlation is E[F^(k)(x) G^(k)(y)] (integrate by parts). Taylor's formula at 1, where y = x, is

    E[F(x) G(y)] = sum_{k<N} (-g)^k / k! E[F^(k)(x) G^(k)(x)] + R,      abs(R) <= g^N / N! (E F^(N)^2 E G^(N)^2)^(1/2),

the last by Cauchy and Schwarz at the correlation between. Cauchy's estimate on the strip of `_ball_series` bounds the
N-th derivatives, and the sum is one integral over the line.
"""

from __future__ import annotations

import math

from flint import acb, acb_series, arb, ctx

from qcmap.numeric.proofs._ball_integrals import density, integrate, normal_tail, window
from qcmap.numeric.proofs._ball_series import SmoothActivation

_MOST_TERMS = 40

Line = tuple[arb, arb]


def near_line(phi: SmoothActivation, name: str, order: int, c: arb, first: Line, second: Line) -> arb | None:
    """E[f(a1 x + b1) f(a2 y + b2)], f the derivative of phi of this order; None if ``c`` is not near enough."""
    (a1, b1), (a2, b2) = first, second
    signed, gap = (a2 if c > 0 else -a2), 1 - abs(c)
    ratio, most = gap * a1 * a2, arb(2) ** -ctx.prec
    for count in range(1, _MOST_TERMS):
        rest = ratio**count / math.factorial(count) * _deviation(phi, order + count, *first)
        rest = (rest * _deviation(phi, order + count, *second)).upper()
        if rest < most:
            break
    else:
        return None
    weights = [
        (-gap * a1 * signed) ** k / math.factorial(k) * arb(math.factorial(order + k)) ** 2 for k in range(count)
    ]

    def values(x: acb) -> list[acb]:
        one, two = (_series(phi, a * x + b, order + count) for a, b in ((a1, b1), (signed, b2)))
        if one is None or two is None:
            return [acb("nan")]
        total = acb(0)
        for k, weight in enumerate(weights):
            total += weight * one[order + k] * two[order + k]
        return [density(x) * total]

    reach = window(ctx.prec)
    total = arb(0, (rest + _beyond(phi, order, weights, first, second, reach)).upper())
    half = round(float(reach))
    for left in range(-half, half):
        total += integrate(values, arb(left), arb(left + 1), most, name)[0]
    return total


def _series(phi: SmoothActivation, u: acb, count: int) -> acb_series | None:
    """The Taylor coefficients of phi at u; None if u may leave the strip where phi is analytic, or is too wide a ball.

    Too wide is one for which the ball of a denominator holds 0.
    """
    if not abs(u.imag) < arb(phi.strip):
        return None
    old = ctx.cap
    ctx.cap = count
    try:
        return phi.series(acb_series([u, 1], count))
    except ValueError:
        return None
    finally:
        ctx.cap = old


def _deviation(phi: SmoothActivation, k: int, a: arb, b: arb) -> arb:
    """A bound of (E phi^(k)(a x + b)^2)^(1/2), by (d + a abs(x))^2 <= 2 (d^2 + a^2 x^2)."""
    distance = 1 + phi.strip + abs(b)
    size = phi.size * math.factorial(k) / arb(phi.strip) ** k
    return size * (2 * (distance**2 + a**2)).sqrt() ** phi.power


def _beyond(phi: SmoothActivation, order: int, weights: list[arb], first: Line, second: Line, reach: arb) -> arb:
    """A bound of the integral over abs(x) >= ``reach`` >= 1."""
    strip = arb(phi.strip)
    total = sum((abs(w) * phi.size**2 / strip ** (2 * (order + k)) for k, w in enumerate(weights)), arb(0))
    for a, b in (first, second):
        total *= (1 + phi.strip + a + abs(b)) ** phi.power
    return total * normal_tail(2 * phi.power, reach)
