"""The conditions once more, by flint's adaptive integrator (Petras's method), for certificates to be checked with."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise

from flint import acb, arb, ctx

from qcmap.numeric.proofs._ball_integrals import Monomial, density, tail, window
from qcmap.numeric.proofs._balls import BallActivation, Jet


def _integral(act: BallActivation, a: arb, b: arb, monomial: Monomial) -> arb:
    """E[monomial] as an integral over u = a x + b, cut at the kinks, where the density carries the parameters."""
    reach = window(ctx.prec)
    i, j, k, n = monomial

    def integrand(jet: Jet) -> Callable[[acb, bool], acb]:
        def value(u: acb, _analytic: bool) -> acb:
            f, g, h = jet(u)
            x = (u - b) / a
            return f**i * g**j * h**k * x**n * density(x) / a

        return value

    # The cut points are exact; the tail beyond them starts at abs(x) >= reach.
    low, high = (b - a * reach).lower().floor().mid(), (b + a * reach).upper().ceil().mid()
    inner = [kink for kink in act.kinks if low < kink < high]
    first = sum(1 for kink in act.kinks if kink <= low)
    ends = [low, *inner, high]
    total = arb(0, tail(act, a, b, reach, monomial))
    for k_piece, (left, right) in enumerate(pairwise(ends)):
        part = acb.integral(integrand(act.pieces[first + k_piece]), left, right, abs_tol=arb(2) ** -ctx.prec)
        total += part.real
    return total


def enclosed_again(act: BallActivation, constants: Sequence[arb], targets: Mapping[str, arb]) -> dict[str, arb]:
    """Each condition's left side less its target, as in `_shaping_system.residuals`, C(0) as it is defined."""
    a, b, d, c = constants

    def e(*monomial: int) -> arb:
        i, j, k, n = monomial
        return _integral(act, a, b, (i, j, k, n))

    mean, square = e(1, 0, 0, 0), c * c
    found: dict[str, arb] = {}
    for name, target in targets.items():
        if name == "Q(1)":
            value = square * (e(2, 0, 0, 0) + d * (2 * mean + d))
        elif name == "Q'(1)":
            value = square * a * (e(1, 1, 0, 1) + d * e(0, 1, 0, 1))
        elif name == "C(0)":
            value = square * (mean + d) * (mean + d)
        elif name == "C'(1)":
            value = square * a * a * e(0, 2, 0, 0)
        else:
            value = square * a**4 * e(0, 0, 2, 0)
        found[name] = value - target
    return found
