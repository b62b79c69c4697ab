"""Gaussian integrals with proved enclosures: Gauss-Legendre on panels, its error bounded on Bernstein ellipses.

For a polynomial rule of n nodes on [-1, 1] and a function analytic on the ellipse with semi-axes (r + 1/r) / 2 and
(r - 1/r) / 2, bounded by M there, the Chebyshev coefficients are at most 2 M r^-k, the rule is exact up to degree
2 n - 1 and odd degrees vanish, and for T_k of even degree k >= 2 n >= 4 integral and rule differ by at most
2 + 2 / (k^2 - 1) <= 32 / 15. Hence

    error <= 2 M (32 / 15) (r^-2n + r^-(2n + 2) + ...) = (64 / 15) M r^-2n / (1 - r^-2).

M is an enclosure of the integrand over a box around the ellipse; if it is not finite the panel is halved. Beyond
abs(x) = X >= 1, abs(phi(u)) <= K max(1, abs(u))^p with abs(u) <= (a + abs(b)) abs(x) bounds the integrand by
L abs(x)^n times the density, whose integral is an incomplete gamma function.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import pairwise

from flint import acb, arb, ctx

from qcmap.errors import NumericalError
from qcmap.numeric.proofs._balls import BallActivation, Jet

Monomial = tuple[int, int, int, int]
"""Exponents of phi, phi', phi'' (at u = a x + b) and x."""
Integrand = Callable[[acb], Sequence[acb]]

_ELLIPSES = (4.0, 3.0, 2.4, 1.9, 1.5)
_MOST_NODES_PER_BIT = 0.45
_DEEPEST = 60


@lru_cache(maxsize=512)
def legendre(count: int, precision: int) -> tuple[tuple[arb, arb], ...]:
    """Nodes and weights of the Gauss-Legendre rule on [-1, 1] as balls."""
    with ctx.workprec(precision):
        return tuple(arb.legendre_p_root(count, k, weight=True) for k in range(count))


def integrate(f: Integrand, left: arb, right: arb, tolerance: arb, subject: str) -> list[arb]:
    """Enclosures of the integrals of several real functions over [left, right] (balls, narrow).

    ``f`` gives all of them at a complex ball, not finite where one is not analytic; each error is at most about
    ``tolerance`` per panel.

    Raises
    ------
    NumericalError
        If panels have to be halved too often: the functions have a singularity on the interval.
    """
    total: list[arb] | None = None
    panels = [(left, right, 0)]
    while panels:
        left, right, depth = panels.pop()
        half, middle = (right - left) / 2, (right + left) / 2
        count, bounds = _nodes_needed(f, half, middle, tolerance)
        if not count:
            if depth >= _DEEPEST:
                raise NumericalError(
                    subject, f"an integral near {float(middle):.6g} cannot be enclosed", "use another input_scale"
                )
            panels += [(left, middle, depth + 1), (middle, right, depth + 1)]
            continue
        sums = [arb(0, bound) for bound in bounds]
        for node, weight in legendre(count, ctx.prec):
            values = f(acb(middle + half * node))
            sums = [s + weight * value.real for s, value in zip(sums, values, strict=True)]
        part = [half * s for s in sums]
        total = part if total is None else [s + t for s, t in zip(total, part, strict=True)]
    assert total is not None
    return total


def _nodes_needed(f: Integrand, half: arb, middle: arb, tolerance: arb) -> tuple[int, list[arb]]:
    """The smallest number of nodes over the ellipses tried, with the errors on [-1, 1]; 0 if all need too many."""
    precision = ctx.prec
    most = int(_MOST_NODES_PER_BIT * precision) + 12
    best: tuple[int, list[arb]] = (0, [])
    with ctx.workprec(53):
        centre, h = arb(middle), arb(half)
        for r in _ELLIPSES:
            ratio = arb(r)
            box = acb(
                centre + h * arb(0, ((ratio + 1 / ratio) / 2).upper()), h * arb(0, ((ratio - 1 / ratio) / 2).upper())
            )
            sizes = [value.abs_upper() for value in f(box)]
            if not all(size.is_finite() for size in sizes):
                continue
            largest = max(sizes, key=float) if len(sizes) > 1 else sizes[0]
            # A first guess from the largest, then the bound for each.
            gap = (largest * h / tolerance + 1).log().upper() / (2 * ratio.log())
            if not gap.is_finite() or not gap < most:
                continue
            count = max(2, math.ceil(float(gap)) + 1)
            if count <= most and (not best[0] or count < best[0]):
                scale = arb(64) / 15 * ratio ** (-2 * count) / (1 - ratio**-2)
                best = (count, [(size * scale).upper() for size in sizes])
    return best


def tail(act: BallActivation, a: arb, b: arb, start: arb, monomial: Monomial) -> arb:
    """A bound for the integral of abs(monomial) times the density over abs(x) >= start >= 1."""
    stretch = (abs(a) + abs(b)).max(arb(1))
    size, degree = arb(1), monomial[3]
    for (bound, power), exponent in zip(act.growth, monomial, strict=False):
        size *= (bound * stretch**power) ** exponent
        degree += power * exponent
    return (size * normal_tail(degree, start)).upper()


def normal_tail(degree: int, start: arb) -> arb:
    """E[abs(x)^n; abs(x) >= X] = Gamma((n + 1) / 2, X^2 / 2) 2^(n / 2) / sqrt(pi)."""
    order = arb(degree + 1) / 2
    return (start**2 / 2).gamma_upper(order) * arb(2) ** (arb(degree) / 2) / arb.pi().sqrt()


def density(x: acb) -> acb:
    """The standard normal density."""
    return (-x * x / 2).exp() / (2 * arb.pi()).sqrt()


def window(bits: int) -> arb:
    """X such that exp(-X^2 / 2) is about 2^-bits."""
    return arb(math.ceil(math.sqrt(2 * (bits + 8) * math.log(2))))


def decided_window(act: BallActivation, a: arb, b: arb, bits: int) -> arb:
    """A window at least as wide as `window`'s, whose ends meet no kink's ball if a few trials find one."""
    reach, kinks = window(bits), [(kink - b) / a for kink in act.kinks]
    for _ in range(4):
        if not any(kink.overlaps(end) for kink in kinks for end in (reach, -reach)):
            break
        reach = reach + 1
    return reach


def pieces_in(act: BallActivation, a: arb, b: arb, reach: arb) -> list[tuple[arb, arb, Jet]]:
    """Panels of [-reach, reach] in x, each with the jet of the piece of phi that holds there; a > 0.

    The kinks (k - b) / a are balls. Each holds the true kink, and the pieces to its sides continue beyond it, so an
    integral up to such a ball and one from it enclose the true ones. That needs each kink to be known to lie inside or
    outside: beyond the window a continued piece is not phi, and the bounds of tails say nothing about it.

    Raises
    ------
    NumericalError
        If the ball of a kink meets an end of the window.
    """
    inside: list[tuple[arb, Jet]] = []
    jet = act.pieces[0]
    for kink, following in zip(act.kinks, act.pieces[1:], strict=True):
        at = (kink - b) / a
        if at <= -reach:
            jet = following
        elif at > -reach and at < reach:
            inside.append((at, following))
        elif not at >= reach:
            raise NumericalError(
                act.name, f"the ball of its kink at x = {at.str(10)} meets an end of the window of integration",
                "give narrower constants, or ask for other digits",
            )  # fmt: skip
    panels: list[tuple[arb, arb, Jet]] = []
    left = -reach
    for at, following in [*inside, (reach, jet)]:
        panels += [(lower, upper, jet) for lower, upper in _steps(left, at)]
        left, jet = at, following
    return panels


def _steps(left: arb, right: arb) -> list[tuple[arb, arb]]:
    """[left, right] cut at the even integers well inside it."""
    low, high = math.floor(float(left.mid()) / 2) + 1, math.ceil(float(right.mid()) / 2) - 1
    inner = [arb(2 * k) for k in range(low, high + 1) if float(left) + 0.5 < 2 * k < float(right) - 0.5]
    ends = [left, *inner, right]
    return list(pairwise(ends))


def moments(act: BallActivation, a: arb, b: arb, wanted: Sequence[Monomial]) -> dict[Monomial, arb]:
    """Enclosures of E[phi^i phi'^j phi''^k x^l] at u = a x + b, x standard normal, a > 0, to the current precision.

    phi'' is the function between the kinks; the delta functions at jumps of phi' are not part of it.
    """
    bits = ctx.prec
    reach = decided_window(act, a, b, bits)
    tolerance = arb(2) ** (-bits)

    def integrand(jet: Jet) -> Integrand:
        def values(x: acb) -> list[acb]:
            f, g, h = jet(a * x + b)
            weight = density(x)
            return [weight * _power(f, i) * _power(g, j) * _power(h, k) * _power(x, n) for i, j, k, n in wanted]

        return values

    total = [arb(0, tail(act, a, b, reach, monomial)) for monomial in wanted]
    for left, right, jet in pieces_in(act, a, b, reach):
        part = integrate(integrand(jet), left, right, tolerance, act.name)
        total = [s + t for s, t in zip(total, part, strict=True)]
    return dict(zip(wanted, total, strict=True))


def _power(value: acb, exponent: int) -> acb | int:
    return 1 if not exponent else value if exponent == 1 else value**exponent
