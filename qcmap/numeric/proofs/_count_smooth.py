"""Cells without solutions, for smooth activations and small input scales, down to zero: inequalities in Hermite form.

With s = a^2, m_k = E phi^(k)(a x + b), f = phi(a x + b) and h = phi''(a x + b), Parseval in Hermite polynomials gives

    w  = Var f / s            = sum_{k>=1} s^(k-1) m_k^2 / k!
    d  = (s E f'^2 - Var f) / s^2 = sum_{k>=2} (k - 1) s^(k-2) m_k^2 / k!,      C'(1) - 1 = s d / w,
    n  = d + Cov(f, h) / s    = d + sum_{k>=1} s^(k-1) m_k m_{k+2} / k!,         Q'(1) - 1 = s n / w,

none of which is small where s is. Since sum_{k>K} s^(k-K-1) m_k^2 / (k-K-1)! = E[phi^(K+1)^2], the rests after K are

    w: [0, s^K V_{K+1} / (K+1)!],   d: [0, K s^(K-1) V_{K+1} / (K+1)!],   Cov: +- s^K sqrt(V_{K+1} V_{K+3}) / (K+1)!,

V_k = E[phi^(k)^2]. A cell holds no solution where s d - (psi - 1) w, or n, has one sign. m_k itself is
sum_{j<J} (s/2)^j phi^(k+2j)(b) / j! + (s/2)^J / J! E phi^(k+2J), with another s in the last.
"""

from __future__ import annotations

import math
from functools import cached_property

from flint import arb, arb_series, ctx

from qcmap.errors import NumericalError
from qcmap.numeric.proofs._ball_integrals import normal_tail
from qcmap.numeric.proofs._ball_series import SmoothActivation
from qcmap.numeric.proofs._quadratic import Quadratic, constant, heat

_K = 4
_J = 4
_ORDERS = _K + 7 + 2 * _J
_EXTRA = 24
_NEAR, _REACH = 9, 14
_GRID = 0.125


class SmoothCells:
    """The inequalities for one activation, over shifts of at most ``shift`` and input scales of at most ``scale``."""

    def __init__(self, phi: SmoothActivation, scale: float, shift: float) -> None:
        self.phi = phi
        self.half = math.ceil((shift + _REACH * scale) / _GRID) + 2
        self.farthest = shift + scale + phi.strip + 1

    @cached_property
    def _largest(self) -> list[list[float]]:
        """sup abs(phi^(j)) over the grid's cells, for all j needed: Taylor's formula at the centre of each."""
        radius = arb(_GRID) / 2
        steps = [radius**i / math.factorial(i) for i in range(_EXTRA + 1)]
        rows = []
        for k in range(-self.half, self.half):
            sizes = [abs(value) for value in self._derivatives(arb((k + 0.5) * _GRID), _ORDERS + _EXTRA)]
            rows.append(
                [
                    _above(
                        sum((sizes[j + i] * steps[i] for i in range(_EXTRA)), self._cauchy(j + _EXTRA) * steps[_EXTRA])
                    )
                    for j in range(_ORDERS)
                ]
            )
        return rows

    def _cauchy(self, j: int) -> arb:
        """A bound of abs(phi^(j)) over the grid."""
        reach = arb(self.half * _GRID + 1 + self.phi.strip)
        return self.phi.size * math.factorial(j) / arb(self.phi.strip) ** j * reach**self.phi.power

    def _derivatives(self, u: arb, count: int) -> list[arb]:
        old = ctx.cap
        ctx.cap = count
        try:
            series = self.phi.series(arb_series([u, 1], count))
        finally:
            ctx.cap = old
        return [series[k] * math.factorial(k) for k in range(count)]

    def _window(self, s_high: arb, b: arb, reach: int) -> list[arb]:
        """sup abs(phi^(j)(b' + a x)) over the cell and abs(x) <= ``reach``, for each j."""
        spread = reach * s_high.sqrt()
        low = math.floor(float((b - spread).lower()) / _GRID) - 1 + self.half
        high = math.ceil(float((b + spread).upper()) / _GRID) + 1 + self.half
        if low < 0 or high > 2 * self.half:
            raise NumericalError("cell", "it reaches beyond the tabulated derivatives", "use a smaller box")
        return [arb(max(column)) for column in zip(*self._largest[low:high], strict=True)]

    @cached_property
    def _tails(self) -> list[tuple[arb, arb]]:
        """Bounds of E[abs(phi^(j))] and E[phi^(j)^2] from abs(x) > 14, for each j."""
        phi, start = self.phi, arb(_REACH)
        growth = arb(self.farthest) ** phi.power
        rows = []
        for j in range(_ORDERS):
            size = phi.size * math.factorial(j) / arb(phi.strip) ** j * growth
            rows.append((size * normal_tail(phi.power, start), size**2 * normal_tail(2 * phi.power, start)))
        return rows

    def models(self, s: arb, b: arb, excess: arb) -> tuple[Quadratic, Quadratic]:
        """s d - (psi - 1) w and n over the cell, as quadratic models in its (b, s)."""
        near, far = (self._window(abs(s).upper(), b, reach) for reach in (_NEAR, _REACH))
        rare = normal_tail(0, arb(_NEAR))
        firsts = [w + rare * f + t for w, f, (t, _) in zip(near, far, self._tails, strict=True)]
        squares = [w * w + rare * f * f + t for w, f, (_, t) in zip(near, far, self._tails, strict=True)]
        middle, half = s.mid(), s.mid() / 2
        phi = self._derivatives(b.mid(), _ORDERS)
        series = [half**j / math.factorial(j) for j in range(_J + 1)]
        at = [
            sum((phi[k + 2 * j] * series[j] for j in range(_J)), series[_J] * _pm(firsts[k + 2 * _J]))
            for k in range(_K + 7)
        ]
        sides = (b - b.mid()).rad(), (s - middle).rad()
        m = [heat(at, firsts, k, 3, *sides) for k in range(_K + 3)]
        zero = arb(0)
        power = [constant(arb(1)), Quadratic(middle, zero, sides[1], zero, zero, zero)]
        for _ in range(_K - 1):
            power.append(power[-1] * power[1])
        w = power[_K].times(_unit(squares[_K + 1] / math.factorial(_K + 1)))
        d = power[_K - 1].times(_unit(_K * squares[_K + 1] / math.factorial(_K + 1)))
        mixed = (squares[_K + 1] * squares[_K + 3]).sqrt() / math.factorial(_K + 1)
        n = power[_K].times(_pm(mixed))
        for k in range(1, _K + 1):
            scaled = (power[k - 1] * m[k]).times(1 / arb(math.factorial(k)))
            square = scaled * m[k]
            w, n = w + square, n + scaled * m[k + 2]
            if k > 1:
                lower = (power[k - 2] * m[k] * m[k]).times((k - 1) / arb(math.factorial(k)))
                d = d + lower
        return power[1] * d - w.times(excess), n + d


def _pm(size: arb) -> arb:
    return size * arb(0, 1)


def _unit(size: arb) -> arb:
    """[0, size]."""
    return size * arb(0.5, 0.5)


def _above(size: arb) -> float:
    return math.nextafter(float(size.upper()), math.inf)
