"""Activations as pieces between kinks, each a sum of terms whose Gaussian integrals are known."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import sympy as sp

from qcmap.activations._formula import _between, _kink_positions, _on_piece
from qcmap.errors import ActivationError

if TYPE_CHECKING:
    from qcmap.activations._activation import Activation

U = sp.Symbol("u", real=True)


class NoClosedFormError(Exception):
    """Internal: why an expectation has no closed form here; becomes a remark of the result."""


@dataclass(frozen=True)
class Term:
    """coefficient * u^power * exp(rate * u + curvature * u^2) * erf(error[0] * u + error[1]), the last if given.

    ``rate`` and ``coefficient`` may be complex (sin and cos are two terms each), ``curvature`` is at most 0.
    """

    coefficient: Any
    power: int = 0
    rate: Any = sp.S.Zero
    curvature: Any = sp.S.Zero
    error: tuple[Any, Any] | None = None

    def times_power(self, power: int, factor: Any) -> Term:
        """The term times ``factor * u^power``."""
        return replace(self, coefficient=self.coefficient * factor, power=self.power + power)


@dataclass(frozen=True)
class Piece:
    """What an activation is between two kinks, ``left`` < u < ``right``."""

    left: Any
    right: Any
    terms: tuple[Term, ...]

    @property
    def whole(self) -> bool:
        """Whether it covers the real line."""
        return self.left == -sp.oo and self.right == sp.oo


def pieces_of(activation: Activation) -> tuple[Piece, ...]:
    """The pieces of an activation with a formula, in increasing order; neighbours differ.

    Decimal constants are read as the rational numbers they spell: 0.01 is 1/100, and all digits of selu's count.

    Raises
    ------
    NoClosedFormError
        If a kink cannot be found exactly, or a piece is no sum of `Term`.
    """
    phi = exact_expression(activation)
    try:
        ends = [-sp.oo, *_kink_positions(phi, U, activation.name), sp.oo]
    except (ActivationError, NotImplementedError, TypeError, ValueError):
        raise NoClosedFormError("its kinks cannot be found exactly") from None
    pieces: list[Piece] = []
    for left, right in pairwise(ends):
        terms = terms_of(_on_piece(phi, U, _between(float(left), float(right))))
        if pieces and set(pieces[-1].terms) == set(terms):
            pieces[-1] = replace(pieces[-1], right=right)
        else:
            pieces.append(Piece(left, right, terms))
    return tuple(pieces)


def exact_expression(activation: Activation) -> Any:
    """The formula of an activation with decimals as rationals; raises `ActivationError` where there is none."""
    if activation.expression is None:
        raise ActivationError(activation.name, "it has no formula", "build it with Activation.from_sympy instead")
    parse: Any = sp.sympify
    return parse(activation.expression, locals={"u": U}, rational=True)


def terms_of(expression: Any) -> tuple[Term, ...]:
    """A smooth expression in u as a sum of terms; raises `NoClosedFormError` if it is none."""
    i = sp.I
    rules: dict[Any, Any] = {
        sp.erfc: lambda x: 1 - sp.erf(x),
        sp.sin: lambda x: (sp.exp(i * x) - sp.exp(-i * x)) / (2 * i),
        sp.cos: lambda x: (sp.exp(i * x) + sp.exp(-i * x)) / 2,
        sp.sinh: lambda x: (sp.exp(x) - sp.exp(-x)) / 2,
        sp.cosh: lambda x: (sp.exp(x) + sp.exp(-x)) / 2,
    }
    for function, rule in rules.items():
        expression = expression.replace(function, rule)
    addends = sp.Add.make_args(sp.expand(expression))
    return merged(_term(addend) for addend in addends)


def merged(terms: Iterable[Term]) -> tuple[Term, ...]:
    """The same sum with like terms added and zeros dropped."""
    sums: dict[Term, Any] = defaultdict(lambda: sp.S.Zero)
    for term in terms:
        sums[replace(term, coefficient=sp.S.One)] += term.coefficient
    expanded = ((term, sp.expand(coefficient)) for term, coefficient in sums.items())
    return tuple(replace(term, coefficient=coefficient) for term, coefficient in expanded if coefficient != 0)


def _term(addend: Any) -> Term:
    term = Term(sp.S.One)
    for factor in sp.Mul.make_args(addend):
        base, exponent = factor.as_base_exp()
        if not factor.has(U):
            term = replace(term, coefficient=term.coefficient * factor)
        elif base == U and exponent.is_Integer and exponent > 0:
            term = replace(term, power=term.power + int(exponent))
        elif not base.has(U) and base.is_positive:
            term = _with_exponential(term, sp.expand(sp.log(base) * exponent))
        elif isinstance(factor, sp.erf) and term.error is None:
            term = replace(term, error=tuple(_coefficients(factor.args[0], 1, factor)[::-1]))
        else:
            raise NoClosedFormError(
                f"{factor} is neither polynomial, exponential of a quadratic nor error function of u"
            )
    if term.curvature.is_nonpositive is not True:
        raise NoClosedFormError(f"exp({term.curvature}*u**2) has no expectation at large q")
    return term


def _with_exponential(term: Term, exponent: Any) -> Term:
    constant, rate, curvature = _coefficients(exponent, 2, sp.exp(exponent))
    return replace(
        term,
        coefficient=term.coefficient * sp.exp(constant),
        rate=term.rate + rate,
        curvature=term.curvature + curvature,
    )


def _coefficients(expression: Any, degree: int, factor: Any) -> list[Any]:
    """Coefficients of a polynomial in u of at most this degree, lowest first."""
    if not expression.is_polynomial(U) or sp.Poly(expression, U).degree() > degree:
        raise NoClosedFormError(f"the argument of {factor} has a degree above {degree} in u or is no polynomial")
    return [expression.coeff(U, power) for power in range(degree + 1)]
