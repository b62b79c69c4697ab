"""The exact weights of a mean: rational numbers where the given weights are numbers, expressions otherwise.

A float stands for the simplest fraction within 2^-50 of it, relatively: sqrt(0.05) squared means 1/20, not the binary
fraction next to it. So sums of blocks with weights w and sqrt(1 - w^2) have shares that add up to exactly 1, and
formulas show the numbers that were meant.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeAlias

from qcmap.architecture import Weight, is_symbolic
from qcmap.errors import ArchitectureError

if TYPE_CHECKING:
    import sympy

Share: TypeAlias = "Fraction | sympy.Expr"
"""A part of 1: a fraction, or a sympy expression (an irrational number, or one with symbols)."""


def simplest(value: float) -> Fraction:
    """The fraction of smallest denominator within 2^-50 of a finite float, relatively (Stern-Brocot search)."""
    exact = Fraction(value)
    if exact.denominator == 1:
        return exact
    low, high = sorted((exact * (1 - Fraction(1, 2**50)), exact * (1 + Fraction(1, 2**50))))
    # Continued fractions: while both ends have the same whole part, it is that of the answer.
    terms: list[int] = []
    while True:
        whole = math.floor(low)
        if whole == low or whole + 1 <= high:
            terms.append(whole if whole == low else whole + 1)
            break
        terms.append(whole)
        low, high = 1 / (high - whole), 1 / (low - whole)
    result = Fraction(terms.pop())
    while terms:
        result = terms.pop() + 1 / result
    return Fraction(round(exact * result.denominator), result.denominator)


def shares_of(weights: Sequence[Weight]) -> list[Share]:
    """The weights divided by their sum."""
    if any(hasattr(weight, "free_symbols") for weight in weights):
        return list(_exact_shares(tuple(weights)))
    return list(_rational_shares(tuple(map(float, weights))))


@lru_cache(maxsize=4096)
def _rational_shares(weights: tuple[float, ...]) -> tuple[Fraction, ...]:
    total = math.fsum(weights)
    near = [simplest(weight / total) for weight in weights]
    return tuple(share / sum(near) for share in near)


@lru_cache(maxsize=4096)
def _exact_shares(weights: tuple[Weight, ...]) -> tuple[Share, ...]:
    import sympy

    simplify: Any = sympy.simplify
    given = [expression(exact(weight)) for weight in weights]
    total = simplify(sympy.Add(*given))
    return tuple(_plain(weight if total == 1 else simplify(weight / total)) for weight in given)


def _plain(share: Any) -> Share:
    """A sympy rational or Float as a fraction; other expressions as they are."""
    if share.is_Float:
        return simplest(float(share))
    return Fraction(int(share.p), int(share.q)) if share.is_Rational else share


def exact(weight: Weight) -> Share:
    """A weight as a share: a fraction if it is a number."""
    if hasattr(weight, "free_symbols"):
        return _plain(weight)
    return simplest(float(weight))


def is_rational(share: object) -> bool:
    """Whether a share is a rational number."""
    return isinstance(share, (int, Fraction))


def number(share: Share) -> float:
    """A share as a float; raises `ArchitectureError` for symbols."""
    if is_symbolic(share):
        names = " and ".join(sorted(map(str, share.free_symbols)))  # pyright: ignore[reportAttributeAccessIssue]
        raise ArchitectureError(
            str(share), "a slope with symbolic weights has no numeric value",
            f"give {names} a number with arch.substitute(...)",
        )  # fmt: skip
    return float(share)


def expression(share: Share) -> sympy.Expr:
    """A share as a sympy expression."""
    import sympy

    return sympy.Rational(share.numerator, share.denominator) if isinstance(share, Fraction) else share


@lru_cache(maxsize=4096)
def identity(share: Share) -> bytes:
    """Bytes that two shares have in common exactly if they are equal."""
    if isinstance(share, Fraction):
        return f"{share.numerator}/{share.denominator}".encode()
    import sympy

    return sympy.srepr(share).encode()


def text(share: Share) -> str:
    """A share as a factor in a formula, e.g. ``w^2`` or ``0.05``."""
    if isinstance(share, Fraction):
        return f"{float(share):.12g}"
    return str(share).replace("**", "^").replace("*", " ")
