"""Slope polynomials as data: products of psi and of weighted means of smaller products, kept factored.

A `SlopePolynomial` is psi^a * M_1^e_1 * M_2^e_2 * ..., each M_i a `Mean`: sum_j m_j p_j(psi) with sum_j m_j = 1 and p_j
again slope polynomials without a common factor. Equal blocks compare equal, so they gather into powers. Weights are
floats or sympy expressions; sympy is imported only to make an expression.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, reduce
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from qcmap.architecture import Weight, is_symbolic
from qcmap.errors import ArchitectureError, ArgumentError

if TYPE_CHECKING:
    import sympy

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Mean:
    """A weighted mean of slope polynomials; ``terms`` are (weight, polynomial), highest degree first."""

    terms: tuple[tuple[Weight, SlopePolynomial], ...]

    @cached_property
    def degree(self) -> int:
        """The degree in psi."""
        return max(polynomial.degree for _, polynomial in self.terms)

    def __str__(self) -> str:
        return self._text

    @cached_property
    def _text(self) -> str:
        # Kept, like the hash: blocks are built from the inside out, so nesting of any depth never recurses.
        return " + ".join(_term(weight, polynomial) for weight, polynomial in self.terms)

    def __hash__(self) -> int:
        return self._hash

    @cached_property
    def _hash(self) -> int:
        return hash(self.terms)

    def log(self, s: Array) -> Array:
        """The logarithm of the mean at psi = exp(s), s >= 0 of any shape."""
        logs = [math.log(_number(weight)) + polynomial.log(s) for weight, polynomial in self.terms]
        return np.asarray(reduce(np.logaddexp, logs))

    def expression(self, psi: sympy.Expr) -> sympy.Expr:
        """The mean as a sympy expression."""
        import sympy

        return sympy.Add(*(_exact(weight) * polynomial.subs(psi) for weight, polynomial in self.terms))


@dataclass(frozen=True)
class SlopePolynomial:
    """The slope polynomial p_f(psi) of a subnetwork f: C_f'(1) when every nonlinear layer has C'(1) = psi.

    DKS, sections 17.1 and 21.3. ``power`` is the exponent of psi, ``factors`` the pairs (mean, exponent). It has
    p_f(1) = 1 and is at least 1 for psi >= 1.
    """

    power: int = 0
    factors: tuple[tuple[Mean, int], ...] = ()

    @cached_property
    def degree(self) -> int:
        """The degree in psi: the number of nonlinear layers on the longest path."""
        return self.power + sum(mean.degree * exponent for mean, exponent in self.factors)

    def __mul__(self, other: SlopePolynomial) -> SlopePolynomial:
        exponents = dict(self.factors)
        for mean, exponent in other.factors:
            exponents[mean] = exponents.get(mean, 0) + exponent
        return _product(self.power + other.power, exponents)

    def __pow__(self, exponent: int) -> SlopePolynomial:
        return _product(self.power * exponent, {mean: e * exponent for mean, e in self.factors})

    def divides(self, other: SlopePolynomial) -> bool:
        """Whether each factor of this polynomial is one of ``other``, so that it is at most ``other`` for psi >= 1."""
        exponents = dict(other.factors)
        return self.power <= other.power and all(e <= exponents.get(mean, 0) for mean, e in self.factors)

    def __call__(self, psi: ArrayLike) -> Array:
        """p(psi), for psi >= 1 of any shape.

        Raises
        ------
        ArgumentError
            If psi is below 1 or not finite.
        ArchitectureError
            If a weight is symbolic.
        """
        return np.exp(self.log(log_of(psi)))

    def log(self, s: Array) -> Array:
        """The logarithm of p(exp(s)), for s >= 0 of any shape: no overflow, whatever the depth."""
        total = np.asarray(self.power * s)
        for mean, exponent in self.factors:
            total = total + exponent * mean.log(s)
        return total

    @property
    def expr(self) -> sympy.Expr:
        """The polynomial as a factored sympy expression in the positive symbol psi."""
        return self.subs(psi_symbol())

    def subs(self, psi: sympy.Expr) -> sympy.Expr:
        """The polynomial as a sympy expression at ``psi``."""
        import sympy

        return psi**self.power * sympy.Mul(*(mean.expression(psi) ** e for mean, e in self.factors))

    def __str__(self) -> str:
        return self._text

    @cached_property
    def _text(self) -> str:
        psi = {0: [], 1: ["psi"]}.get(self.power, [f"psi^{self.power}"])
        means = [f"({mean})" + (f"^{e}" if e > 1 else "") for mean, e in self.factors]
        return " ".join([*psi, *means]) or "1"

    def __repr__(self) -> str:
        return f"<slope polynomial {self}>"

    def __hash__(self) -> int:
        return self._hash

    @cached_property
    def _hash(self) -> int:
        return hash((self.power, self.factors))

    def _repr_latex_(self) -> str:
        import sympy

        return f"${sympy.latex(self.expr)}$"

    def to_dict(self) -> dict[str, object]:
        """The polynomial as plain data: its text and its degree."""
        return {"polynomial": str(self), "degree": self.degree}


ONE = SlopePolynomial()
PSI = SlopePolynomial(power=1)


def psi_symbol() -> sympy.Symbol:
    """The positive symbol psi of all formulas."""
    import sympy

    return sympy.Symbol("psi", positive=True)


def log_of(psi: ArrayLike) -> Array:
    """Log psi; raises `ArgumentError` unless psi is finite and at least 1, where slope polynomials are defined."""
    try:
        values = np.asarray(psi, dtype=np.float64)
    except (TypeError, ValueError):
        raise ArgumentError("psi", f"slopes are defined for numbers, not {psi!r}", "give finite psi >= 1") from None
    bad = ~(np.isfinite(values) & (values >= 1))
    if bad.any():
        raise ArgumentError(
            "psi", f"slopes are defined for finite psi >= 1, not {values[bad].flat[0]}", "C'(1) >= 1 whenever C(0) = 0"
        )
    return np.log(values)


def mean_of(weights: Sequence[Weight], polynomials: Sequence[SlopePolynomial]) -> SlopePolynomial:
    """The weighted mean of polynomials, factored: what divides every term is pulled out, equal terms are gathered.

    The weights are divided by their sum, unless that is 1 (to rounding, or by sympy's simplification).
    """
    shares: dict[SlopePolynomial, Weight] = {}
    for weight, polynomial in zip(_normalized(weights), polynomials, strict=True):
        if weight != 0:
            shares[polynomial] = shares[polynomial] + weight if polynomial in shares else weight
    common = reduce(_common, shares)
    if len(shares) == 1:
        return common
    terms = [(weight, _quotient(polynomial, common)) for polynomial, weight in shares.items()]
    terms.sort(key=lambda term: (-term[1].degree, str(term[1]), str(term[0])))
    return common * SlopePolynomial(factors=((Mean(tuple(terms)), 1),))


def _normalized(weights: Sequence[Weight]) -> list[Weight]:
    if any(is_symbolic(weight) for weight in weights):
        import sympy

        total = sympy.simplify(sympy.Add(*weights))
        return list(weights) if total == 1 else [sympy.simplify(weight / total) for weight in weights]
    total = math.fsum(map(float, weights))
    return [float(w) for w in weights] if abs(total - 1) < 1e-12 else [float(w) / total for w in weights]


def _product(power: int, exponents: dict[Mean, int]) -> SlopePolynomial:
    means = sorted(((m, e) for m, e in exponents.items() if e), key=lambda item: (item[0].degree, str(item[0])))
    return SlopePolynomial(power, tuple(means))


def _common(a: SlopePolynomial, b: SlopePolynomial) -> SlopePolynomial:
    exponents = dict(b.factors)
    return _product(min(a.power, b.power), {mean: min(e, exponents.get(mean, 0)) for mean, e in a.factors})


def _quotient(a: SlopePolynomial, b: SlopePolynomial) -> SlopePolynomial:
    exponents = dict(b.factors)
    return _product(a.power - b.power, {mean: e - exponents.get(mean, 0) for mean, e in a.factors})


def _number(weight: Weight) -> float:
    if is_symbolic(weight):
        raise ArchitectureError(
            str(weight), "a slope with symbolic weights has no numeric value",
            f"give {' and '.join(sorted(map(str, weight.free_symbols)))} a number with arch.substitute(...)",  # pyright: ignore[reportAttributeAccessIssue]
        )  # fmt: skip
    return float(weight)


def _exact(weight: Weight) -> sympy.Expr:
    import sympy

    return sympy.sympify(weight)


def _term(weight: Weight, polynomial: SlopePolynomial) -> str:
    """One term of a mean, e.g. ``w^2 psi^3``."""
    if not is_symbolic(weight):
        coefficient = f"{float(weight):.12g}"
    else:
        coefficient = str(weight).replace("**", "^").replace("*", " ")
    if polynomial == ONE:
        return coefficient
    if " + " in coefficient or " - " in coefficient:
        coefficient = f"({coefficient})"
    return f"{coefficient} {polynomial}"


def upper_envelope(polynomials: Iterable[SlopePolynomial]) -> list[SlopePolynomial]:
    """The distinct polynomials without those that divide another one."""
    distinct = list(dict.fromkeys(polynomials))
    return [p for p in distinct if not any(p is not q and p.divides(q) for q in distinct)]
