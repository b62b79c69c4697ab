"""From the pieces of an activation to its mean, Q map, kernel and Hermite coefficients."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import sympy as sp

from qcmap.activations._exact import ClosedForms, symbols
from qcmap.activations._exact_moments import CONSTANT, bivariate, quadrants, truncated
from qcmap.activations._exact_terms import NoClosedFormError, Piece, Term, U, exact_expression, merged, pieces_of
from qcmap.activations._exact_tidy import S1, S2, S, in_q, tidy

if TYPE_CHECKING:
    from qcmap.activations._activation import Activation

Pieces = tuple[Piece, ...]


def derive(activation: Activation) -> ClosedForms:
    """All closed forms of an activation with a formula, with a remark for each that is not known."""
    exact_expression(activation)
    found: dict[str, Any] = {}
    remarks: list[str] = []
    pieces: Pieces | None = None
    try:
        pieces = pieces_of(activation)
    except NoClosedFormError as reason:
        found["mean"] = _mean_by_symmetry(activation)
        missing = ["mean"] * (found["mean"] is None) + ["second moment", "kernel"]
        remarks += [f"{what}: none is derived: {reason}" for what in missing]
    else:
        rules: dict[str, Callable[[Pieces], Any]] = {"mean": mean, "second moment": second_moment, "kernel": kernel}
        for what, rule in rules.items():
            try:
                found[what] = rule(pieces)
            except NoClosedFormError as reason:
                remarks.append(f"{what}: {reason}{_what_remains(what, found)}")
        if found.get("mean") is None:
            pieces = None
    return ClosedForms(
        found.get("mean"), found.get("second moment"), found.get("kernel"), tuple(remarks), activation.name, pieces
    )


def _what_remains(what: str, found: dict[str, Any]) -> str:
    if what != "kernel" or found.get("mean") is None or found.get("second moment") is None:
        return ""
    return "; closed are its value mean(q1) mean(q2) at c = 0, Q(q) at c = 1, and every Hermite coefficient"


def mean(pieces: Pieces) -> Any:
    """E[phi(sqrt(q) x)] in q."""
    return hermite(pieces, 0)


def second_moment(pieces: Pieces) -> Any:
    """E[phi(sqrt(q) x)^2] in q."""
    if _whole(pieces):
        terms = pieces[0].terms
        total = bivariate(terms, terms, sp.S.One, S**2, S**2)
    else:
        total = sum(truncated(_square(piece.terms), piece.left, piece.right, S**2) for piece in pieces)
    return in_q(tidy(total, oscillates=_oscillates(pieces)))


def kernel(pieces: Pieces) -> Any:
    """E[phi(u1) phi(u2)] in c, q1 and q2."""
    c = symbols().c
    if _whole(pieces):
        total = bivariate(pieces[0].terms, pieces[0].terms, c, S1**2, S2**2)
    else:
        total = quadrants(pieces, c, S1**2, S2**2)
    return in_q(tidy(total, oscillates=_oscillates(pieces)))


@lru_cache(maxsize=1024)
def hermite(pieces: Pieces, n: int) -> Any:
    """E[phi(sqrt(q) x) He_n(x)] / sqrt(n!) in q: the mean of phi times a polynomial."""
    x = sp.Dummy()
    polynomial: Any = sp.Poly(sp.hermite_prob(n, x), x)
    powers = [(int(power), coefficient / S ** int(power)) for (power,), coefficient in polynomial.terms()]
    total = sp.S.Zero
    for piece in pieces:
        terms = merged(term.times_power(power, factor) for term in piece.terms for power, factor in powers)
        if piece.whole:
            total += bivariate(terms, (CONSTANT,), sp.S.Zero, S**2, sp.S.One)
        else:
            total += truncated(terms, piece.left, piece.right, S**2)
    return in_q(tidy(total, oscillates=_oscillates(pieces)) / sp.sqrt(sp.factorial(n)))


def _whole(pieces: Pieces) -> bool:
    return len(pieces) == 1


def _oscillates(pieces: Pieces) -> bool:
    return any(not term.rate.is_real for piece in pieces for term in piece.terms)


def _square(terms: tuple[Term, ...]) -> tuple[Term, ...]:
    """The square of a sum of terms; raises `NoClosedFormError` for error functions, whose square is no term."""
    if any(term.error is not None for term in terms):
        raise NoClosedFormError("no rule here integrates the square of an error function between kinks")
    return merged(
        replace(
            first.times_power(second.power, second.coefficient),
            rate=first.rate + second.rate,
            curvature=first.curvature + second.curvature,
        )
        for first in terms
        for second in terms
    )


def _mean_by_symmetry(activation: Activation) -> Any:
    """The mean of phi where phi(u) + phi(-u) is constant: half that constant; else None."""
    sides = activation([0.3, 1.1, 2.7]) + activation([-0.3, -1.1, -2.7])
    if abs(sides - sides[0]).max() > 1e-9 * (1 + abs(sides[0])):
        return None
    phi = exact_expression(activation)
    total = sp.simplify(phi + phi.subs(U, -U))
    return None if total.has(U) else total / 2


def squared(expression: Any) -> Any:
    """The square, multiplied out where that is shorter."""
    return shortest(expression**2)


def shortest(expression: Any) -> Any:
    """The shortest of some equal forms."""
    return min((expression, sp.expand(expression), sp.factor_terms(expression)), key=lambda e: int(sp.count_ops(e)))


def series_at_one(kernel: Any, size: Any, q: Any, terms: int) -> Any:
    """Kernel / size at q1 = q2 = q as a series in sqrt(1 - c), all powers of 1 - c below ``terms``.

    With c = 1 - t^2 every root of 1 - c^2 is analytic in t, and so is an arcsine that is pi/2 at c = 1, written as
    pi/2 - 2 asin(sqrt((1 - sine) / 2)).
    """
    _, c, _, q1, q2, epsilon = symbols()
    t = sp.Symbol("t", positive=True)
    phi = kernel.subs({q1: q, q2: q}).subs(c, 1 - t**2)

    def even_root(base: Any) -> Any:
        """The root of a function of t^2 that may vanish at 0, with the power of t taken out."""
        base = sp.factor(sp.together(base))
        order = 0
        while base.subs(t, 0) == 0:
            base, order = sp.cancel(base / t**2), order + 1
        return t**order * sp.sqrt(base)

    def arc(sine: Any) -> Any:
        if sp.simplify(sine.subs(t, 0)) != 1:
            return sp.asin(sine)
        return sp.pi / 2 - 2 * sp.asin(even_root((1 - sine) / 2))

    phi = phi.replace(sp.asin, arc)
    half = sp.Rational(1, 2)
    phi = phi.replace(
        lambda e: e.is_Pow and (e.exp - half).is_Integer and e.has(t) and e.base.is_Add,
        lambda e: even_root(e.base) ** (2 * e.exp),
    )
    expansion = sp.series(phi, t, 0, 2 * terms).removeO()
    coefficients = [shortest(sp.simplify(expansion.coeff(t, k) / size)) for k in range(2 * terms)]
    return sp.Add(*(coefficient * epsilon ** sp.Rational(k, 2) for k, coefficient in enumerate(coefficients)))
