"""What slope polynomials are combined with: factored means, common factors, quotients."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import reduce

from qcmap.architecture import Weight
from qcmap.symbolic._polynomial import Mean, SlopePolynomial, product_from
from qcmap.symbolic._shares import Share, identity, shares_of


def mean_of(weights: Sequence[Weight], polynomials: Sequence[SlopePolynomial]) -> SlopePolynomial:
    """The weighted mean of polynomials, factored: what divides every term is pulled out, equal terms are gathered.

    The weights are divided by their sum.
    """
    shares: dict[SlopePolynomial, Share] = {}
    for weight, polynomial in zip(shares_of(weights), polynomials, strict=True):
        if weight != 0:
            shares[polynomial] = shares[polynomial] + weight if polynomial in shares else weight
    common = reduce(common_factor, shares)
    if len(shares) == 1:
        return common
    return common * mean_polynomial([(weight, quotient(polynomial, common)) for polynomial, weight in shares.items()])


def mean_polynomial(terms: list[tuple[Share, SlopePolynomial]]) -> SlopePolynomial:
    """The polynomial that is one mean of these terms."""
    terms.sort(key=lambda term: (-term[1].degree, term[1].label, identity(term[0]), term[1].digest))
    return SlopePolynomial(factors=((Mean(tuple(terms)), 1),))


def common_factor(a: SlopePolynomial, b: SlopePolynomial) -> SlopePolynomial:
    """The factors that both have."""
    powers, factors = dict(b.powers), dict(b.factors)
    return product_from(
        {name: min(e, powers.get(name, 0)) for name, e in a.powers},
        {mean: min(e, factors.get(mean, 0)) for mean, e in a.factors},
    )


def quotient(a: SlopePolynomial, b: SlopePolynomial) -> SlopePolynomial:
    """``a`` without the factors ``b``, which must be among its own."""
    powers, factors = dict(b.powers), dict(b.factors)
    return product_from(
        {name: e - powers.get(name, 0) for name, e in a.powers},
        {mean: e - factors.get(mean, 0) for mean, e in a.factors},
    )


def without_divisors(polynomials: Iterable[SlopePolynomial]) -> list[SlopePolynomial]:
    """The distinct polynomials without those that divide another one, highest degree first."""
    kept: list[SlopePolynomial] = []
    for p in sorted(dict.fromkeys(polynomials), key=lambda p: -p.degree):
        # What p divides has at least its degree, so it comes before p, or is divided by one that does.
        if not any(p.divides(q) for q in kept):
            kept.append(p)
    return kept
