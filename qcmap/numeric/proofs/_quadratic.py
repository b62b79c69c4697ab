"""Quadratic models: enclosures of functions of (x, y) on [-1, 1]^2 by quadratic polynomials with ball coefficients."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from flint import arb

_UNIT = arb(0, 1)
_HALF = arb(0.5, 0.5)


@dataclass(frozen=True, slots=True)
class Quadratic:
    """c + x X + y Y + xx X^2 + xy X Y + yy Y^2 for abs(X), abs(Y) <= 1; the ball c holds the error too."""

    c: arb
    x: arb
    y: arb
    xx: arb
    xy: arb
    yy: arb

    def __add__(self, other: Quadratic) -> Quadratic:
        return Quadratic(
            self.c + other.c, self.x + other.x, self.y + other.y,
            self.xx + other.xx, self.xy + other.xy, self.yy + other.yy,
        )  # fmt: skip

    def __sub__(self, other: Quadratic) -> Quadratic:
        return self + other.times(-1)

    def times(self, number: arb | int) -> Quadratic:
        """The product with a number."""
        return Quadratic(
            self.c * number, self.x * number, self.y * number, self.xx * number, self.xy * number, self.yy * number
        )

    def plus(self, error: arb) -> Quadratic:
        """With a ball added."""
        return Quadratic(self.c + error, self.x, self.y, self.xx, self.xy, self.yy)

    def __mul__(self, other: Quadratic) -> Quadratic:
        a, b = self, other
        # Terms of degree three and four are at most the sums of products of the absolute coefficients.
        linear_a, linear_b = abs(a.x) + abs(a.y), abs(b.x) + abs(b.y)
        square_a, square_b = abs(a.xx) + abs(a.xy) + abs(a.yy), abs(b.xx) + abs(b.xy) + abs(b.yy)
        rest = (linear_a * square_b + square_a * linear_b + square_a * square_b).upper()
        return Quadratic(
            a.c * b.c + rest * _UNIT,
            a.c * b.x + a.x * b.c,
            a.c * b.y + a.y * b.c,
            a.c * b.xx + a.x * b.x + a.xx * b.c,
            a.c * b.xy + a.x * b.y + a.y * b.x + a.xy * b.c,
            a.c * b.yy + a.y * b.y + a.yy * b.c,
        )

    @property
    def range(self) -> arb:
        """A ball of all values."""
        return self.c + (abs(self.x) + abs(self.y) + abs(self.xy)) * _UNIT + self.xx * _HALF + self.yy * _HALF

    @property
    def nonzero(self) -> bool:
        """Whether it is proved to have no zero."""
        values = self.range
        return values.is_finite() and not values.contains(0)


def constant(value: arb) -> Quadratic:
    """A number."""
    zero = arb(0)
    return Quadratic(value, zero, zero, zero, zero, zero)


def no_common_zero(f: Quadratic, g: Quadratic) -> bool:
    """Whether it is proved that f and g have no common zero: one, or a combination that isolates X or Y, has none."""
    if f.nonzero or g.nonzero:
        return True
    fx, fy, gx, gy = f.x.mid(), f.y.mid(), g.x.mid(), g.y.mid()
    determinant = fx * gy - fy * gx
    if determinant == 0:
        return False
    return (f.times(gy) - g.times(fy)).nonzero or (f.times(gx) - g.times(fx)).nonzero


def negative_at_zeros(f: Quadratic, g: Quadratic) -> bool:
    """Whether it is proved that f < 0 wherever g = 0: g has no zero, or f, or f + t g for some t, is negative."""
    if g.nonzero or f.range < 0:
        return True
    slopes = ((f.x.mid(), g.x.mid()), (f.y.mid(), g.y.mid()))
    return any((f - g.times(a / b)).range < 0 for a, b in slopes if b != 0)


def heat(values: Sequence[arb], bounds: Sequence[arb], first: int, order: int, beta: arb, sigma: arb) -> Quadratic:
    """D^first of u(s, b) as a quadratic model over s = s0 + sigma Y, b = b0 + beta X, where u_s = u_bb / 2.

    ``values[k]`` encloses the k-th derivative of u in b at (s0, b0), ``bounds[k]`` bounds its size over the cell.
    Taylor's formula has the terms (beta X D + sigma Y D^2 / 2)^j / j!: those of degree 3 up to ``order`` - 1 are
    bounded by their coefficients, and the rest by ``bounds``.
    """
    half = sigma / 2
    v = values[first:]
    error = arb(0)
    for j in range(3, order + 1):
        sizes = v if j < order else bounds[first:]
        for i in range(j + 1):
            weight = _power(beta, j - i) * _power(half, i) / (math.factorial(j - i) * math.factorial(i))
            error += abs(sizes[j + i]) * weight
    return Quadratic(
        v[0] + error.upper() * _UNIT, v[1] * beta, v[2] * half, v[2] * beta * beta / 2, v[3] * beta * half,
        v[4] * half * half / 2,
    )  # fmt: skip


def _power(x: arb, exponent: int) -> arb:
    result = arb(1)
    for _ in range(exponent):
        result *= x
    return result
