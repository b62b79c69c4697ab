"""Which of several slope polynomials is the largest where on [1, oo): decided exactly.

Polynomials with rational coefficients are compared after their common factors are taken out (these are positive). The
difference of two of them changes sign only at its real roots. python-flint factors it over the integers and encloses
the roots of each irreducible factor in balls, real roots with imaginary part exactly 0, so a root is an exact algebraic
number: an irreducible polynomial and an index among its real roots. Between neighbouring roots the largest polynomial
is found by exact evaluation at a rational point. Nothing is sampled: there are no further sign changes.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, reduce
from typing import TYPE_CHECKING, Any

from qcmap.errors import ArchitectureError, NumericalError
from qcmap.symbolic._algebra import common_factor, quotient
from qcmap.symbolic._polynomial import SlopePolynomial

if TYPE_CHECKING:
    import flint
    import sympy

_MOST_WORK = 30_000_000
"""Pairs of polynomials times their degree to the third: up to here comparing them takes some ten seconds at most."""
_PRECISIONS = (64, 256, 1024, 4096, 16384)


@dataclass(frozen=True)
class AlgebraicNumber:
    """A real algebraic number: the root number ``index`` (from 0) of an irreducible integer polynomial.

    ``coefficients`` are in ascending order, ``index`` counts its real roots in increasing order.
    """

    coefficients: tuple[int, ...]
    index: int

    @cached_property
    def _roots(self) -> list[flint.arb]:
        import flint

        return _real_roots(flint.fmpz_poly(list(self.coefficients)), 128)

    def __float__(self) -> float:
        return float(self._roots[self.index])

    @property
    def polynomial(self) -> sympy.Expr:
        """The minimal polynomial, in the symbol psi."""
        import sympy

        psi = sympy.Symbol("psi", positive=True)
        return sympy.Add(*(c * psi**k for k, c in enumerate(self.coefficients)))

    @property
    def expr(self) -> sympy.Expr:
        """The number in sympy: by radicals up to degree 2, else as a `CRootOf`."""
        import sympy

        constant, linear, *rest = map(sympy.Integer, self.coefficients)
        if not rest:
            return -constant / linear
        if len(rest) == 1:
            root: Any = sympy.sqrt(linear**2 - 4 * rest[0] * constant)
            # The smaller root comes first, whatever the sign of the leading coefficient.
            sign = sympy.sign(rest[0]) * (1 if self.index else -1)
            return (-linear + sign * root) / (2 * rest[0])
        unknown = sympy.Symbol("psi")
        make: Any = sympy.CRootOf
        return make(sympy.Poly(list(reversed(self.coefficients)), unknown), self.index)

    def __str__(self) -> str:
        return f"~{float(self):.12g}" if len(self.coefficients) > 3 else str(self.expr)

    def _repr_latex_(self) -> str:
        import sympy

        return f"${sympy.latex(self.expr)}$"


START = AlgebraicNumber((-1, 1), 0)
"""The number 1, where all slope polynomials are 1."""


def _real_roots(polynomial: flint.fmpz_poly, precision: int) -> list[flint.arb]:
    """The real roots of a polynomial without multiple roots, in increasing order, to a precision in bits."""
    import flint

    with flint.ctx.workprec(precision):
        roots: Any = polynomial.complex_roots()
        real = [root.real for root, _ in roots if root.imag == 0]
        return sorted(real, key=lambda root: root.mid())


def envelope(polynomials: Sequence[SlopePolynomial]) -> list[tuple[AlgebraicNumber, int]]:
    """The pieces of the maximum on [1, oo): pairs (where it starts, index of the polynomial), in increasing order.

    Raises
    ------
    ArchitectureError
        If a coefficient is symbolic or irrational.
    NumericalError
        If there are too many polynomials of too high a degree once common factors are taken out.
    """
    common = reduce(common_factor, polynomials)
    rest = [quotient(polynomial, common) for polynomial in polynomials]
    for polynomial in rest:
        if not polynomial.is_rational:
            raise ArchitectureError(
                str(polynomial), "slopes with symbolic or irrational weights cannot be compared exactly",
                "give the symbols numbers with arch.substitute(...)",
            )  # fmt: skip
    degree = max(polynomial.degree for polynomial in rest)
    if len(rest) * (len(rest) - 1) / 2 * degree**3 > _MOST_WORK:
        raise NumericalError(
            "mu", f"{len(rest)} polynomials of degree {degree} are not compared exactly",
            "compare them as numbers, with mu.argmax(psi)",
        )  # fmt: skip
    expanded = [polynomial.flint for polynomial in rest]
    # Equal polynomials may be factored differently; the first one stands for them.
    firsts = {k for k, p in enumerate(expanded) if p not in expanded[:k]}
    marks = _ordered({root for i in firsts for j in firsts if j < i for root in _crossings(expanded[i] - expanded[j])})
    pieces: list[tuple[AlgebraicNumber, int]] = []
    for k, mark in enumerate([START, *marks]):
        best = _largest(expanded, mark, marks[k] if k < len(marks) else None)
        if not pieces or pieces[-1][1] != best:
            pieces.append((mark, best))
    return pieces


def _crossings(difference: flint.fmpq_poly) -> set[AlgebraicNumber]:
    """The roots above 1 of odd multiplicity, where the difference changes sign."""
    import flint

    # With psi = 1 + t: coefficients of one sign have no root t > 0, by Descartes' rule.
    shifted = difference(flint.fmpq_poly([1, 1])).coeffs()
    if all(c >= 0 for c in shifted) or all(c <= 0 for c in shifted):
        return set()
    _, factors = difference.numer().factor()
    found: set[AlgebraicNumber] = set()
    for factor, multiplicity in factors:
        if multiplicity % 2 == 0 or factor == flint.fmpz_poly([-1, 1]):
            continue
        coefficients = tuple(map(int, factor.coeffs()))
        for index, root in enumerate(_resolved(factor)):
            if root > 1:
                found.add(AlgebraicNumber(coefficients, index))
    return found


def _resolved(factor: flint.fmpz_poly) -> list[flint.arb]:
    """The real roots of an irreducible factor other than psi - 1, precise enough to tell each from 1."""
    for precision in _PRECISIONS:
        roots = _real_roots(factor, precision)
        if all(root > 1 or root < 1 for root in roots):
            return roots
    raise NumericalError("mu", "a crossing of slopes cannot be told from psi = 1", "compare them with mu.argmax(psi)")


def _enclosure(number: AlgebraicNumber, precision: int) -> flint.arb:
    import flint

    return _real_roots(flint.fmpz_poly(list(number.coefficients)), precision)[number.index]


def _ordered(numbers: set[AlgebraicNumber]) -> list[AlgebraicNumber]:
    """Distinct algebraic numbers in increasing order."""
    for precision in _PRECISIONS:
        balls = sorted(((_enclosure(x, precision), x) for x in numbers), key=lambda pair: pair[0].mid())
        if all(a < b for (a, _), (b, _) in itertools.pairwise(balls)):
            return [x for _, x in balls]
    raise NumericalError("mu", "two crossings of slopes cannot be told apart", "compare them with mu.argmax(psi)")


def _largest(polynomials: list[flint.fmpq_poly], low: AlgebraicNumber, high: AlgebraicNumber | None) -> int:
    """The index of the largest polynomial between two neighbouring crossings (above ``low`` without ``high``).

    Polynomials may touch at a rational point between, so points are tried until no two distinct ones share the largest
    value; they touch at finitely many.
    """
    import flint

    left, right = _separators(low, high)
    for parts in itertools.count(2):
        point = left + (right - left) / flint.fmpq(parts)
        values = [p(point) for p in polynomials]
        best = max(values)
        winners = [k for k, value in enumerate(values) if value == best]
        if all(polynomials[k] == polynomials[winners[0]] for k in winners):
            return winners[0]
    raise AssertionError


def _separators(low: AlgebraicNumber, high: AlgebraicNumber | None) -> tuple[flint.fmpq, flint.fmpq]:
    """Two rational numbers in increasing order, at or above ``low`` and at or below ``high``, if that is given."""
    import flint

    for precision in _PRECISIONS:
        with flint.ctx.workprec(precision):
            left = _rational(_enclosure(low, precision).upper())
            right = left + 1 if high is None else _rational(_enclosure(high, precision).lower())
            if left < right:
                return left, right
    raise NumericalError("mu", "two crossings of slopes cannot be told apart", "compare them with mu.argmax(psi)")


def _rational(ball: flint.arb) -> flint.fmpq:
    """The midpoint of a ball, exactly."""
    import flint

    mantissa, exponent = ball.mid().man_exp()
    power = flint.fmpq(2) ** abs(int(exponent))
    return flint.fmpq(mantissa) * power if int(exponent) >= 0 else flint.fmpq(mantissa) / power
