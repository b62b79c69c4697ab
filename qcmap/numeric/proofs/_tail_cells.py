"""Cells without solutions far out on a tail of a smooth activation, where phi and phi'' rise or fall together.

With f(x) = phi(a x + b), Stein's lemma gives Var f (Q'(1) - 1) = E f'^2 - Var f + Cov(f, f''). In Hermite polynomials
E f'^2 - Var f is at least the square of the second coefficient, a^4 (E phi'')^2 / 2. For independent copies X, Y of x,
Cov(f, f'') = E[(f(X) - f(Y)) (f''(X) - f''(Y))] / 2, and what is in the mean is at least 0 where both arguments lie in
an interval [l, r] on which phi' phi''' >= 0. So, as f'' = a^2 phi'', Q'(1) > 1 if

    a^2 (E phi'')^2 / 2 > 2 E[B(X)^2; X outside] + 2 P(X outside) E B(X)^2,     B >= abs(phi), abs(phi''),

and, phi'' being of one sign and monotone on [l, r], E phi'' is at least phi'' at an argument times the probability of a
unit interval of x beyond it, less E[B; outside]. Functions such as gelu, which fall off as exp(-u^2 / 2), leave bounds
by largest derivatives nothing to say there.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from flint import arb, arb_series, ctx

from qcmap.numeric.proofs._ball_integrals import normal_tail
from qcmap.numeric.proofs._ball_series import SmoothActivation
from qcmap.numeric.proofs._count_moments import Cell

_GRID = 1 / 64
_PRECISION = 400
_STEPS = 24


@dataclass(frozen=True)
class LeftTail:
    """The tail on the left.

    Attributes
    ----------
    left, right
        l and r.
    curvatures
        Lower bounds of abs(phi'') at the points l + k `_GRID`.
    size, width, power
        B(u) = size (width + abs u)^power, the power at most 1.
    """

    left: float
    right: float
    curvatures: tuple[arb, ...]
    size: arb
    width: float
    power: int

    @classmethod
    def of(cls, phi: SmoothActivation, farthest: float) -> LeftTail | None:
        """The tail from twice the farthest shift, -b, on, as far right as it is proved; None where there is none."""
        if phi.power > 1:
            return None
        left = -2 * max(1, math.ceil(farthest))
        found: list[arb] = []
        sign = 0
        with ctx.workprec(_PRECISION):
            for k in range(-left * round(1 / _GRID)):
                u = arb(left + k * _GRID).union(arb(left + (k + 1) * _GRID))
                series = phi.series(arb_series([u, 1], 4))
                first, second, third = series[1], series[2], series[3]
                own = 1 if second > 0 else -1 if second < 0 else 0
                # abs(phi'') grows to the right: phi'' and phi''' have one sign.
                if not (own and own * (sign or own) > 0 and second * third > 0 and first * third > 0):
                    break
                sign = own
                found.append(2 * abs(second).lower())
        if not found:
            return None
        size = phi.size * (arb(2) / arb(phi.strip) ** 2).max(arb(1))
        return cls(left, left + len(found) * _GRID, tuple(found), size, 1 + phi.strip, phi.power)

    def excludes(self, cell: Cell) -> bool:
        """Whether Q'(1) > 1 is proved all over the cell."""
        with ctx.workprec(53):
            found = self.terms(cell)
            # What is lost falls faster than a^2 where a falls and room / a > 2, so the largest a decides for all.
            return found is not None and bool(found[0] > 0 and cell.high * found[0] ** 2 / 2 > found[1])

    def terms(self, cell: Cell) -> tuple[arb, arb] | None:
        """A lower bound of abs(E phi''), and the right side at the largest a; None where too much lies outside."""
        room = min(self.right - arb(cell.right), cell.left - arb(self.left))
        a_low, a_high = arb(cell.low).sqrt(), arb(cell.high).sqrt()
        start = (room / a_high).lower()
        if not start > 2:
            return None
        rare = normal_tail(0, start)
        farthest = self.width + abs(arb(cell.left)).max(abs(arb(cell.right)))
        # (width + abs(a x + b))^(2 p) <= 2 (farthest^2 + a^2 x^2) for p = 1.
        outside, everywhere = rare, arb(1)
        if self.power:
            outside = 2 * (farthest**2 * rare + a_high**2 * normal_tail(2, start))
            everywhere = 2 * (farthest**2 + a_high**2)
        outside, everywhere = self.size**2 * outside, self.size**2 * everywhere
        # Cauchy and Schwarz.
        mean = self._mean(cell, float(a_low.lower()), float(a_high.upper())) - (outside * rare).sqrt()
        return mean, 2 * outside + 2 * rare * everywhere

    def _mean(self, cell: Cell, a_low: float, a_high: float) -> arb:
        """A lower bound of E[abs(phi''); l <= a x + b <= r]."""
        best = arb(0)
        for k in range(_STEPS):
            x = k / 4
            # For x <= x' <= x + 1 the argument lies between these, and abs(phi'') grows to the right.
            low, high = cell.left + a_low * x, cell.right + a_high * (x + 1)
            if high > self.right - 1e-9:
                break
            index = max(0, math.floor((low - self.left) / _GRID - 1e-9))
            best = best.max(self.curvatures[index] * _between(x))
        return best.lower()


def _between(x: float) -> arb:
    """P(x <= X <= x + 1) for standard normal X."""
    root = arb(2).sqrt()
    return ((arb(x) / root).erfc() - (arb(x + 1) / root).erfc()) / 2
