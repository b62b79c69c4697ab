"""Slope polynomials as data: products of slopes and of weighted means of smaller products, kept factored.

A `SlopePolynomial` is psi^a * M_1^e_1 * M_2^e_2 * ..., each M_i a `Mean`: sum_j m_j p_j(psi) with sum_j m_j = 1 and p_j
again slope polynomials without a common factor. Equal blocks compare equal, so they gather into powers. There may be
several slopes psi_i instead of one. Means hold each other to any depth, so nothing here recurses: what is computed from
a polynomial is folded over its means, the innermost first, and equality is that of digests made when a mean is built.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property, reduce
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from qcmap.errors import ArgumentError
from qcmap.symbolic._parts import Powers, digest, finite_exp, log_of, product_text, slope_symbol, sum_text
from qcmap.symbolic._shares import Share, expression, identity, is_rational, number

if TYPE_CHECKING:
    import flint
    import sympy

Array = NDArray[np.float64]
T = TypeVar("T")

_LONGEST = 2000
"""Terms up to which a text is written out."""
_LABEL = 80
"""Characters of a text by which factors are put in order; ties go by digest, so the order is one of the data alone."""


@dataclass(frozen=True, eq=False)
class Mean:
    """A weighted mean of slope polynomials; ``terms`` are (weight, polynomial), highest degree first."""

    terms: tuple[tuple[Share, SlopePolynomial], ...]

    @cached_property
    def degree(self) -> int:
        """The degree in the slopes."""
        return max(polynomial.degree for _, polynomial in self.terms)

    @cached_property
    def digest(self) -> bytes:
        """Equal for equal means."""
        return digest(b"m", (part for share, p in self.terms for part in (identity(share), p.digest)))

    @cached_property
    def label(self) -> str:
        """The first characters of its text."""
        return sum_text([(share, p.label) for share, p in self.terms])[:_LABEL]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Mean) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)


@dataclass(frozen=True, eq=False)
class SlopePolynomial:
    """The slope polynomial p_f(psi) of a subnetwork f: C_f'(1) when every nonlinear layer has C'(1) = psi.

    DKS, sections 17.1 and 21.3. ``powers`` are the pairs (slope, exponent), with the one slope ``"psi"`` unless layers
    were told apart; ``factors`` the pairs (mean, exponent). It has p_f(1) = 1 and is at least 1 for psi >= 1, except
    where biases have a variance: their layers are factors below 1.
    """

    powers: tuple[tuple[str, int], ...] = ()
    factors: tuple[tuple[Mean, int], ...] = ()

    @cached_property
    def degree(self) -> int:
        """The degree in the slopes: the number of nonlinear layers on the longest path."""
        return sum(e for _, e in self.powers) + sum(mean.degree * e for mean, e in self.factors)

    @cached_property
    def digest(self) -> bytes:
        """Equal for equal polynomials."""
        powers = (f"{name}\0{e}".encode() for name, e in self.powers)
        return digest(b"p", (*powers, *(part for mean, e in self.factors for part in (mean.digest, b"%d" % e))))

    @cached_property
    def label(self) -> str:
        """The first characters of its text."""
        return product_text(self.powers, [(mean.label, e) for mean, e in self.factors])[:_LABEL]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SlopePolynomial) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    @cached_property
    def slopes(self) -> tuple[str, ...]:
        """The names of the slopes it depends on, sorted."""
        names = {name for name, _ in self.powers}
        for mean in self._means:
            names.update(name for _, polynomial in mean.terms for name, _ in polynomial.powers)
        return tuple(sorted(names))

    def __mul__(self, other: SlopePolynomial) -> SlopePolynomial:
        return product_of([self, other])

    def __pow__(self, exponent: int) -> SlopePolynomial:
        if not isinstance(exponent, int) or exponent < 0:
            raise ArgumentError("exponent", f"it is an integer of at least 0, not {exponent!r}", "give such an integer")
        return product_from({n: e * exponent for n, e in self.powers}, {m: e * exponent for m, e in self.factors})

    def divides(self, other: SlopePolynomial) -> bool:
        """Whether each factor of this polynomial is one of ``other``, so that it is at most ``other`` for psi >= 1."""
        powers, factors = dict(other.powers), dict(other.factors)
        return all(e <= powers.get(name, 0) for name, e in self.powers) and all(
            e <= factors.get(mean, 0) for mean, e in self.factors
        )

    def __call__(self, psi: ArrayLike | Mapping[str, ArrayLike]) -> Array:
        """p(psi), for psi >= 1 of any shape, or for a mapping from each slope's name to such values.

        Raises
        ------
        ArgumentError
            If psi is below 1 or not finite, or a slope has no value.
        ArchitectureError
            If a weight is symbolic.
        NumericalError
            If p(psi) exceeds the largest float; `log` does not.
        """
        if isinstance(psi, Mapping):
            return finite_exp(self.log({name: log_of(value) for name, value in psi.items()}), "p")
        return finite_exp(self.log(log_of(psi)), "p")

    def log(self, s: Array | Mapping[str, Array]) -> Array:
        """The logarithm of p(exp(s)), for s of any shape: no overflow, whatever the depth."""
        if not isinstance(s, Mapping):
            if len(self.slopes) > 1:
                raise ArgumentError(
                    "psi", f"the polynomial has the slopes {', '.join(self.slopes)}", "give a mapping of values"
                )
            s = dict.fromkeys(self.slopes or ("psi",), s)
        missing = [name for name in self.slopes if name not in s]
        if missing:
            raise ArgumentError("psi", f"there is no value for {', '.join(missing)}", "give one for each slope")
        values, zero = s, np.zeros(np.broadcast_shapes(*(np.shape(value) for value in s.values())))

        def product(powers: Powers, factors: list[tuple[Array, int]]) -> Array:
            return sum((e * values[name] for name, e in powers), zero) + sum((e * log for log, e in factors), zero)

        def mean(terms: list[tuple[Share, Array]]) -> Array:
            return np.asarray(reduce(np.logaddexp, [math.log(number(share)) + log for share, log in terms]))

        return np.asarray(self.fold(product, mean))

    def fold(
        self,
        product: Callable[[Powers, list[tuple[T, int]]], T],
        mean: Callable[[list[tuple[Share, T]]], T],
    ) -> T:
        """Fold the polynomial: ``product`` takes powers and (value of mean, exponent), ``mean`` (share, value)."""
        values: dict[Mean, T] = {}
        # A value goes after its last use: texts of deeply nested means are long.
        uses = Counter(m for mean in self._means for _, polynomial in mean.terms for m, _ in polynomial.factors)
        uses.update(m for m, _ in self.factors)

        def taken(inner: Mean) -> T:
            uses[inner] -= 1
            return values[inner] if uses[inner] else values.pop(inner)

        def at(polynomial: SlopePolynomial) -> T:
            return product(polynomial.powers, [(taken(inner), e) for inner, e in polynomial.factors])

        for inner in self._means:
            values[inner] = mean([(share, at(polynomial)) for share, polynomial in inner.terms])
        return at(self)

    @cached_property
    def _means(self) -> tuple[Mean, ...]:
        """All means in it, each after those that it holds."""
        done: dict[Mean, None] = {}
        stack = [mean for mean, _ in self.factors]
        while stack:
            mean = stack[-1]
            inner = [m for _, polynomial in mean.terms for m, _ in polynomial.factors if m not in done]
            if inner:
                stack.extend(inner)
                continue
            done.setdefault(stack.pop())
        return tuple(done)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the means one after the other, by position, so that nesting of any depth does not recurse."""
        position = {mean: k for k, mean in enumerate(self._means)}

        def flat(polynomial: SlopePolynomial) -> tuple[Powers, tuple[tuple[int, int], ...]]:
            return polynomial.powers, tuple((position[mean], e) for mean, e in polynomial.factors)

        means = [[(share, flat(polynomial)) for share, polynomial in mean.terms] for mean in self._means]
        return _unpickled, (means, flat(self))

    @property
    def expr(self) -> sympy.Expr:
        """The polynomial as a factored sympy expression in the positive symbol psi (or those of its slopes)."""
        import sympy

        def product(powers: Powers, factors: list[tuple[sympy.Expr, int]]) -> sympy.Expr:
            return sympy.Mul(*(slope_symbol(name) ** e for name, e in powers), *(value**e for value, e in factors))

        return self.fold(product, lambda terms: sympy.Add(*(expression(share) * value for share, value in terms)))

    def expand(self) -> sympy.Expr:
        """The polynomial as an expanded sympy expression with exact coefficients."""
        import sympy

        if len(self.slopes) <= 1 and self.is_rational:
            psi = slope_symbol(self.slopes[0] if self.slopes else "psi")
            terms = enumerate(self.coefficients)
            return sympy.Add(*(sympy.Rational(int(c.p), int(c.q)) * psi**k for k, c in terms if c != 0))
        return sympy.expand(self.expr)

    @cached_property
    def is_rational(self) -> bool:
        """Whether all weights are rational numbers."""
        return all(is_rational(share) for mean in self._means for share, _ in mean.terms)

    @property
    def coefficients(self) -> tuple[flint.fmpq, ...]:
        """The exact coefficients of the expanded polynomial in its one slope, from degree 0.

        Raises
        ------
        ArgumentError
            If there are several slopes, or a weight is not a rational number.
        """
        return tuple(self.flint.coeffs())

    @cached_property
    def flint(self) -> flint.fmpq_poly:
        """The expanded polynomial of python-flint; raises as `coefficients`."""
        import flint

        if len(self.slopes) > 1 or not self.is_rational:
            what = f"the slopes {', '.join(self.slopes)}" if len(self.slopes) > 1 else "weights that are not rational"
            raise ArgumentError("coefficients", f"the polynomial has {what}", "use expand()")
        x = flint.fmpq_poly([0, 1])

        def product(powers: Powers, factors: list[tuple[flint.fmpq_poly, int]]) -> flint.fmpq_poly:
            parts = [x**e for _, e in powers] + [value**e for value, e in factors]
            return math.prod(parts, start=flint.fmpq_poly([1]))

        def mean(terms: list[tuple[Share, flint.fmpq_poly]]) -> flint.fmpq_poly:
            scaled = [value * flint.fmpq(share.numerator, share.denominator) for share, value in terms]  # pyright: ignore[reportAttributeAccessIssue]
            return sum(scaled[1:], scaled[0])

        return self.fold(product, mean)

    def __str__(self) -> str:
        return self._text

    @cached_property
    def _text(self) -> str:
        def count(powers: Powers, factors: list[tuple[int, int]]) -> int:
            return len(powers) + sum(size for size, _ in factors)

        if self.fold(count, lambda terms: sum(1 + size for _, size in terms)) <= _LONGEST:
            return self.fold(product_text, sum_text)
        # Means that others share would be written again and again: name each of them once.
        names = {mean: f"M{k}" for k, mean in enumerate(self._means, start=1)}

        def named(polynomial: SlopePolynomial) -> str:
            return product_text(polynomial.powers, [(names[mean], e) for mean, e in polynomial.factors])

        lines = [named(self).replace("(", "").replace(")", "")]
        for mean, name in names.items():
            terms = [(share, named(p).replace("(", "").replace(")", "")) for share, p in mean.terms]
            lines.append(f"{name} = {sum_text(terms)}")
        return ", ".join(lines)

    def __repr__(self) -> str:
        text = str(self)
        return f"<slope polynomial {text if len(text) <= 200 else text[:200] + '...'}>"

    def _repr_latex_(self) -> str:
        import sympy

        return f"${sympy.latex(self.expr)}$"

    def to_dict(self) -> dict[str, object]:
        """The polynomial as plain data: its text and its degree."""
        return {"polynomial": str(self), "degree": self.degree}


ONE = SlopePolynomial()


def slope(name: str = "psi") -> SlopePolynomial:
    """The slope of one nonlinear layer."""
    return SlopePolynomial(((name, 1),))


def _unpickled(means: list[list[tuple[Share, Any]]], whole: Any) -> SlopePolynomial:
    made: list[Mean] = []

    def at(powers: Powers, factors: tuple[tuple[int, int], ...]) -> SlopePolynomial:
        return SlopePolynomial(powers, tuple((made[k], e) for k, e in factors))

    for terms in means:
        made.append(Mean(tuple((share, at(*flat)) for share, flat in terms)))
        _ = made[-1].digest  # from the inside out, without recursion
    return at(*whole)


def product_of(polynomials: Iterable[SlopePolynomial]) -> SlopePolynomial:
    """The product of any number of polynomials."""
    powers: Counter[str] = Counter()
    factors: Counter[Mean] = Counter()
    for polynomial in polynomials:
        powers.update(dict(polynomial.powers))
        factors.update(dict(polynomial.factors))
    return product_from(powers, factors)


def product_from(powers: Mapping[str, int], factors: Mapping[Mean, int]) -> SlopePolynomial:
    names = tuple(sorted((name, e) for name, e in powers.items() if e))
    means = [(mean, e) for mean, e in factors.items() if e]
    if len(means) > 1:
        means.sort(key=lambda item: (item[0].degree, item[0].label, item[0].digest))
    return SlopePolynomial(names, tuple(means))
