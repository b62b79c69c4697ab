"""E[f(u1) f(u2)] for correlated normal u1, u2, enclosed: tensor Gauss-Legendre on rectangles that see analytic pieces.

On a rectangle with normalized sides, integral less tensor rule is the error in x integrated over y, plus the rule in x
of the error in y. So it is at most 2 e(M1) + 2 e(M2), with e the one-dimensional bound of `_ball_integrals`, M1 a bound
with x on a Bernstein ellipse and y on its real side, and M2 the other way round. The density of the pair is

    exp(-(x^2 + y^2) / (2 s^2) + c x y / s^2) / (2 pi s),    s^2 = 1 - c^2,

and with x = m + h t on a side, x y is a sum of terms in one coordinate and h1 h2 t1 t2: the exponentials of the
last are one matrix for all rectangles of one shape, and a rectangle costs a product of that matrix with two vectors.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from flint import acb, arb, arb_mat, ctx

from qcmap.errors import NumericalError
from qcmap.numeric.proofs._ball_integrals import density, integrate, legendre, moments, pieces_in, tail, window
from qcmap.numeric.proofs._ball_series import series_of
from qcmap.numeric.proofs._balls import BallActivation, Jet
from qcmap.numeric.proofs._near_line import near_line

_ELLIPSES = (6.0, 4.0, 2.8, 2.0, 1.5)
_SMALLEST_SINE = 0.005
_HALVINGS = 4
_MOST_RECTANGLES = 60_000

Line = tuple[arb, arb]
"""Scale and shift of an argument."""


@dataclass(frozen=True)
class _Panel:
    """A side of rectangles: m + h [-1, 1], in the piece ``shape`` of equal panels."""

    middle: arb
    half: arb
    shape: int
    nodes: tuple[arb, ...]
    values: tuple[arb, ...]
    real: tuple[acb, arb]
    ellipses: tuple[tuple[acb, arb], ...]


def correlated(act: BallActivation, order: int, c: arb, first: Line, second: Line) -> arb:
    """E[f(a1 x + b1) f(a2 y + b2)], f the derivative of phi of this order, x, y standard normal with correlation c.

    Raises
    ------
    NumericalError
        If phi is not smooth and c so near to 1 or -1 that s is below 0.005 or too many rectangles would be needed, or
        an integral is not resolved.
    """
    (a1, b1), (a2, b2) = first, second
    if c == 1 or c == -1:
        return _on_line(act, order, 1 if c > 0 else -1, first, second)
    phi = series_of(act.name)
    near = None if phi is None else near_line(phi, act.name, order, c, first, second)
    if near is not None:
        return near
    sine = (1 - c * c).sqrt()
    if not (sine.is_finite() and sine > _SMALLEST_SINE):
        raise NumericalError(
            act.name, f"its C map is not enclosed at c = {float(c):.8g}, so near to 1 or -1", "use c = 1 or -1 itself"
        )
    reach, pick = window(ctx.prec), _exponents(order)
    energy1, energy2 = (moments(act, a, b, [pick])[pick] for a, b in (first, second))
    tail1, tail2 = tail(act, a1, b1, reach, pick), tail(act, a2, b2, reach, pick)
    # Cauchy-Schwarz for abs(x) >= reach, and for abs(y) >= reach.
    outside = arb(0, ((tail1 * energy2).sqrt() + (energy1 * tail2).sqrt()).upper())
    width, most = sine.mid().min(arb(1)), arb(2) ** (20 - ctx.prec)
    inside = arb("nan")
    for _ in range(_HALVINGS):
        inside = _tensor(act, order, c, sine, first, second, width)
        if inside.is_finite() and inside.rad() < most:
            break
        width = width / 2
        if inside.is_finite() and _rectangles(width) > _MOST_RECTANGLES:
            break
    if not inside.is_finite():
        raise NumericalError(act.name, "a two-dimensional integral cannot be enclosed", "use smaller q values")
    return inside + outside


def _exponents(order: int) -> tuple[int, int, int, int]:
    return (2 * (order == 0), 2 * (order == 1), 2 * (order == 2), 0)


def _panels(act: BallActivation, order: int, sine: arb, line: Line, half: arb, count: int) -> list[_Panel]:
    """The sides along one axis, with weights times f times exp(-x^2 / (2 s^2)) at their nodes."""
    a, b = line
    rule = legendre(count, ctx.prec)
    found: list[_Panel] = []
    for shape, (left, right, jet) in enumerate(pieces_in(act, a, b, window(ctx.prec))):
        number = max(1, int(float(((right - left) / (2 * half)).upper())) + 1)
        h = (right - left) / (2 * number)
        for k in range(number):
            m = left + (2 * k + 1) * h
            nodes = tuple(m + h * t for t, _ in rule)
            values = tuple(
                w * jet(acb(a * x + b))[order].real * (-x * x / (2 * sine**2)).exp()
                for x, (_, w) in zip(nodes, rule, strict=True)
            )
            with ctx.workprec(53):
                unit, ratios = arb(0, 1), list(map(arb, _ELLIPSES))
                boxes = [acb(m + h * unit)]
                boxes += [acb(m + h * (r + 1 / r) / 2 * unit, h * (r - 1 / r) / 2 * unit) for r in ratios]
                (real, *ellipses) = [(x, jet(a * x + b)[order].abs_upper()) for x in boxes]
            found.append(_Panel(m, h, shape, nodes, values, real, tuple(ellipses)))
    return found


def _rectangles(half: arb) -> int:
    """About how many rectangles of this half-width cover the square window."""
    return math.ceil(float((window(ctx.prec) / half).upper())) ** 2


def _tensor(act: BallActivation, order: int, c: arb, sine: arb, first: Line, second: Line, half: arb) -> arb:
    """The integral over the square window, with rectangles of half-width at most ``half``."""
    if _rectangles(half) > _MOST_RECTANGLES:
        raise NumericalError(
            act.name,
            f"its C map at c = {float(c):.8g}, near to 1 or -1, would take {_rectangles(half)} rectangles, more than"
            f" {_MOST_RECTANGLES}",
            "use c = 1 or -1 itself, a c further from them, or fewer digits",
        )
    count = int(0.28 * ctx.prec) + 10
    sides1, sides2 = (_panels(act, order, sine, line, half, count) for line in (first, second))
    rule, bend = legendre(count, ctx.prec), c / sine**2
    norm = 1 / (2 * arb.pi() * sine)
    least = arb(2) ** (-ctx.prec - 10)
    kernels: dict[tuple[int, int], arb_mat] = {}
    total, error = arb(0), arb(0)
    for one in sides1:
        for two in sides2:
            with ctx.workprec(53):
                area = one.half * two.half * norm
                crude = 4 * area * _size(one.real, two.real, c, sine)
                if crude < least:
                    error += crude.upper()
                    continue
                error += area * (_error(one, two, c, sine, count) + _error(two, one, c, sine, count))
                if not error.is_finite():
                    return arb("nan")
                error = error.upper()
            key = (one.shape, two.shape)
            if key not in kernels:
                step = bend * one.half * two.half
                kernels[key] = arb_mat([[(step * s * t).exp() for t, _ in rule] for s, _ in rule])
            # c x y / s^2 = bend (m1 y + h1 t1 m2 + h1 h2 t1 t2).
            row = arb_mat(
                [[v * (bend * two.middle * (x - one.middle)).exp() for x, v in zip(one.nodes, one.values, strict=True)]]
            )
            column = arb_mat([[v * (bend * one.middle * y).exp()] for y, v in zip(two.nodes, two.values, strict=True)])
            total += one.half * two.half * norm * (row * kernels[key] * column)[0, 0]
    return total + arb(0, error)


def _size(one: tuple[acb, arb], two: tuple[acb, arb], c: arb, sine: arb) -> arb:
    """A bound for f(x) f(y) exp(-(x^2 + (y - c x)^2 / s^2) / 2) with x and y in two boxes."""
    (x, f), (y, g) = one, two
    exponent = (x * x + (y - c * x) ** 2 / sine**2).real / 2
    return (f * g * (-exponent.lower()).exp()).upper()


def _error(moving: _Panel, fixed: _Panel, c: arb, sine: arb, count: int) -> arb:
    """2 e(M) with the first coordinate on the ellipse that gives the least."""
    best = arb("inf")
    for r, box in zip(map(arb, _ELLIPSES), moving.ellipses, strict=True):
        size = _size(box, fixed.real, c, sine)
        if size.is_finite():
            best = best.min((2 * size * arb(64) / 15 * r ** (-2 * count) / (1 - r**-2)).upper())
    return best


def _on_line(act: BallActivation, order: int, sign: int, first: tuple[arb, arb], second: tuple[arb, arb]) -> arb:
    """The case y = x or y = -x, one integral over the pieces of both factors."""
    (a1, b1), (a2, b2) = first, second
    reach, pick = window(ctx.prec), _exponents(order)
    outside = (tail(act, a1, b1, reach, pick) * tail(act, a2, b2, reach, pick)).sqrt()
    total = arb(0, outside.upper())
    for left1, right1, jet1 in pieces_in(act, a1, b1, reach):
        for left2, right2, jet2 in pieces_in(act, a2, b2, reach):
            low, high = (left2, right2) if sign > 0 else (-right2, -left2)
            left, right = left1.max(low), right1.min(high)
            if right <= left:
                continue
            if not left < right:
                # Ends that are balls and may touch: the panel is no longer than their gap, whose integral is bounded.
                gap = abs(right - left).upper()
                x = acb(left.union(right))
                value = density(x) * jet1(a1 * x + b1)[order] * jet2(a2 * (sign * x) + b2)[order]
                total += arb(0, (value.abs_upper() * gap).upper())
                continue
            jets = (jet1, jet2)

            def values(x: acb, jets: tuple[Jet, Jet] = jets) -> list[acb]:
                return [density(x) * jets[0](a1 * x + b1)[order] * jets[1](a2 * (sign * x) + b2)[order]]

            total += integrate(values, left, right, arb(2) ** -ctx.prec, act.name)[0]
    return total
