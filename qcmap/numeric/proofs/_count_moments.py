"""Cells of (s, b), s = input_scale^2: enclosures of the shaping equations from Hermite moments, kinks or not.

Let p = phi - c - l (u - b0), with c and l fixed in a cell. For F = p^2, p, p'^2 the Gaussian mean
u_F(s, b) = E F(a x + b) solves the heat equation u_s = u_bb / 2, and

    d^k u_F / d b^k = s^(-k/2) E[F(a x + b) He_k(x)],      abs of it <= s^(-k/2) sqrt(k!) (E F^2)^(1/2),

so the moments at a cell's centre give Taylor's formula over the cell. Write P, m, S for the three, and v = P - m^2. The
first Hermite coefficient is all that l changes: d = s S - v is s E phi'^2 - Var phi, Var phi = v + s l (2 m_b + l),
and, as Q'(1) Var phi = s d/ds Var phi, the conditions Q'(1) = 1 and C'(1) = psi are

    n = s v_s - v + l s^2 m_bbb = 0,      e = d - (psi - 1) (v + s l (2 m_b + l)) = 0.

With l the mean slope nothing cancels that is not small. Over a cell the norms are bounded by one Gaussian of variance
s' = 1.3 s_high about the centre: N(b, s) <= sqrt(s' / s) exp((b - b0)^2 / (2 (s' - s))) N(b0, s') for the densities.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

from flint import acb, arb, arb_mat, ctx

from qcmap.numeric.proofs._ball_hermite import hermite_moments
from qcmap.numeric.proofs._ball_integrals import tail, window
from qcmap.numeric.proofs._balls import BallActivation
from qcmap.numeric.proofs._far_lines import Gap, with_far_lines
from qcmap.numeric.proofs._quadratic import Quadratic, heat


@dataclass(frozen=True)
class Cell:
    """s in [low, high], b in [left, right]; exact binary numbers."""

    low: float
    high: float
    left: float
    right: float

    @property
    def ball(self) -> tuple[arb, arb]:
        """Balls of s and b."""
        return arb(self.low).union(arb(self.high)), arb(self.left).union(arb(self.right))

    def inside(self, other: Cell) -> bool:
        """Whether it is part of another cell."""
        return (
            other.low <= self.low and self.high <= other.high and other.left <= self.left and self.right <= other.right
        )

    def wider(self, factor: float) -> Cell:
        """The cell enlarged about its centre, its s kept positive."""
        ds, db = (self.high - self.low) * (factor - 1) / 2, (self.right - self.left) * (factor - 1) / 2
        return Cell(max(self.low - ds, self.low / 2), self.high + ds, self.left - db, self.right + db)


class Taylor:
    """The equations over one cell, by Taylor's formula of an order."""

    def __init__(self, act: BallActivation, cell: Cell, psi: arb, order: int) -> None:
        self.excess, self.order = psi - 1, order
        self.s0, self.b0 = arb((cell.low + cell.high) / 2), arb((cell.left + cell.right) / 2)
        # The half-widths contain both ends, whatever the rounding of the centre.
        self.sigma = abs(self.s0 - cell.low).max(abs(cell.high - self.s0)).upper()
        self.beta = abs(self.b0 - cell.left).max(abs(cell.right - self.b0)).upper()
        a = self.s0.sqrt()
        act, gap = with_far_lines(act, ctx.prec)
        (mean,), (slope,) = hermite_moments(act, a, self.b0, lambda f, g, _: [f, g], 2, 0, 2 * order + 4)
        self.slope = slope.mid()
        line = mean.mid(), self.slope
        self._values = _hermite(act, gap, a, self.b0, line, 2 * order + 4)
        wide = _WIDER * arb(cell.high)
        factor = (wide / cell.low).sqrt() * (self.beta * self.beta / (2 * (wide - cell.high))).exp()
        norms = [(factor * energy).sqrt() for energy in _energies(act, gap, wide.sqrt(), self.b0, line, 2 * order + 4)]
        root = arb(cell.low).sqrt()
        self._bounds = [
            [norm * arb(math.factorial(k)).sqrt() / root**k for k in range(2 * order + 6)] for norm in norms
        ]

    def _model(self, which: int, derivative: int) -> Quadratic:
        return heat(self._values[which], self._bounds[which], derivative, self.order, self.beta, self.sigma)

    @cached_property
    def _s(self) -> Quadratic:
        zero = arb(0)
        return Quadratic(self.s0, zero, self.sigma, zero, zero, zero)

    @cached_property
    def _m(self) -> list[Quadratic]:
        return [self._model(1, k) for k in range(6)]

    @cached_property
    def _v(self) -> tuple[Quadratic, Quadratic, Quadratic]:
        """v, v_b and v_s."""
        p, p_b, p_bb = (self._model(0, k) for k in range(3))
        m = self._m
        return p - m[0] * m[0], p_b - (m[0] * m[1]).times(2), p_bb.times(arb(0.5)) - m[0] * m[2]

    @property
    def equations(self) -> tuple[Quadratic, Quadratic]:
        """e and n over the cell."""
        s, m, (v, _, v_s), slope = self._s, self._m, self._v, self.slope
        variance = v + s * m[1].times(2 * slope).plus(slope * slope)
        return s * self._model(2, 0) - v - variance.times(self.excess), s * v_s - v + s * s * m[3].times(slope)

    def _centre(self) -> arb_mat:
        """n and e at the centre."""
        (p, m, w), s, slope = self._values, self.s0, self.slope
        v, v_s = p[0] - m[0] * m[0], p[2] / 2 - m[0] * m[2]
        variance = v + s * slope * (2 * m[1] + slope)
        return arb_mat([[s * v_s - v + slope * s * s * m[3]], [s * w[0] - v - self.excess * variance]])

    def _slopes(self) -> arb_mat:
        """The Jacobian of n and e in the normalized (b, s), over the cell."""
        s, m, (_, v_b, v_s), slope, half = self._s, self._m, self._v, self.slope, arb(0.5)
        v_sb = self._model(0, 3).times(half) - m[1] * m[2] - m[0] * m[3]
        v_ss = self._model(0, 4).times(half * half) - (m[2] * m[2]).times(half) - (m[0] * m[4]).times(half)
        w, w_b, w_s = self._model(2, 0), self._model(2, 1), self._model(2, 2).times(half)
        n_b = s * v_sb - v_b + s * s * m[4].times(slope)
        n_s = s * v_ss + s * m[3].times(2 * slope) + s * s * m[5].times(slope * half)
        e_b = s * w_b - v_b - (v_b + s * m[2].times(2 * slope)).times(self.excess)
        variance_s = v_s + m[1].times(2 * slope).plus(slope * slope) + s * m[3].times(slope)
        e_s = w + s * w_s - v_s - variance_s.times(self.excess)
        return arb_mat(
            [[n_b.range * self.beta, n_s.range * self.sigma], [e_b.range * self.beta, e_s.range * self.sigma]]
        )

    def krawczyk(self) -> tuple[str, arb, arb]:
        """``"one"``: exactly one solution in the cell, in the two balls (s, b); ``"none"``; or ``"unknown"``."""
        slopes, unknown = self._slopes(), ("unknown", self.s0, self.b0)
        if not all(entry.is_finite() for entry in slopes.entries()):
            return unknown
        try:
            middle = arb_mat(2, 2, [entry.mid() for entry in slopes.entries()]).inv()
        except ZeroDivisionError:
            return unknown
        inverse = arb_mat(2, 2, [entry.mid() for entry in middle.entries()])
        unit = arb_mat([[arb(0, 1)], [arb(0, 1)]])
        image = (arb_mat([[1, 0], [0, 1]]) - inverse * slopes) * unit - inverse * self._centre()
        x, y = image.entries()
        if not (x.is_finite() and y.is_finite()):
            return unknown
        if abs(x) > 1 or abs(y) > 1:
            return "none", self.s0, self.b0
        inside = abs(x) < 1 and abs(y) < 1
        return ("one" if inside else "unknown"), self.s0 + self.sigma * y, self.b0 + self.beta * x


_WIDER = 1.3

Line = tuple[arb, arb]
"""c and l: what is taken off phi is c + l a x."""


def _hermite(act: BallActivation, gap: Gap, a: arb, b: arb, line: Line, highest: int) -> list[list[arb]]:
    """a^-k E[F(a x + b) He_k(x)] for F = p^2, p, p'^2 and k up to ``highest``.

    If p differs from what is integrated by at most g, E[F He_k] does by at most (2 g (E p^2)^(1/2) + g^2) sqrt(k!) or
    g sqrt(k!), since E He_k^2 = k!.
    """
    constant, slope = line
    reach = window(ctx.prec)

    def functions(f: acb, g: acb, x: acb) -> list[acb]:
        f, g = f - constant - slope * a * x, g - slope
        return [f * f, f, g * g]

    rows = hermite_moments(act, a, b, functions, 3, highest, highest)
    for k in range(highest + 1):
        # abs(He_k(x)) <= k! abs(x)^k for abs(x) >= 1.
        size = arb(math.factorial(k))
        for row, power in zip(rows, ((2, 0), (1, 0), (0, 2)), strict=True):
            row[k] += arb(0, (size * _tail(act, a, b, line, power, k, reach)).upper())
    (near, near_slope), (square, _, slopes) = gap, (row[0].upper().sqrt() for row in rows)
    errors = near * (2 * square + near), near, near_slope * (2 * slopes + near_slope)
    for row, error in zip(rows, errors, strict=True):
        for k in range(highest + 1):
            row[k] = (row[k] + arb(0, (error * arb(math.factorial(k)).sqrt()).upper())) / a**k
    return rows


def _tail(act: BallActivation, a: arb, b: arb, line: Line, power: tuple[int, int], k: int, start: arb) -> arb:
    """A bound of E[abs(p^i p'^j x^k); abs(x) >= start], i or j zero: (y + z + w)^n <= 3^(n-1) (y^n + z^n + w^n)."""
    (i, j), (constant, slope) = power, map(abs, line)
    n = max(i, j)
    total = tail(act, a, b, start, (i, j, 0, k))
    if i:
        total += constant**n * tail(act, a, b, start, (0, 0, 0, k))
        total += (slope * a) ** n * tail(act, a, b, start, (0, 0, 0, k + n))
    else:
        total += slope**n * tail(act, a, b, start, (0, 0, 0, k))
    return arb(3) ** (n - 1) * total


def _energies(act: BallActivation, gap: Gap, a: arb, b: arb, line: Line, highest: int) -> list[arb]:
    """Upper bounds of E F^2 for the three F, E p^4, E p^2, E p'^4, with the tables of `_hermite`.

    The gap adds to the norms, (E p^n)^(1/n).
    """
    constant, slope = line
    reach = window(ctx.prec)

    def functions(f: acb, g: acb, x: acb) -> list[acb]:
        square, slopes = f - constant - slope * a * x, g - slope
        square, slopes = square * square, slopes * slopes
        return [square * square, square, slopes * slopes]

    rows = hermite_moments(act, a, b, functions, 3, 0, highest)
    powers = ((4, 0), (2, 0), (0, 4))
    bounds: list[arb] = []
    for row, power, near in zip(rows, powers, (gap[0], gap[0], gap[1]), strict=True):
        energy = (row[0] + _tail(act, a, b, line, power, 0, reach)).upper()
        n = max(power)
        bounds.append(((energy.root(n) + near) ** n).upper())
    return bounds
