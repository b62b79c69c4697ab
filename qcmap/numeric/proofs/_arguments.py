"""Arguments of proofs: numbers as balls, exact where they are, and numbers of digits."""

from __future__ import annotations

from fractions import Fraction
from numbers import Real
from typing import Any

from flint import arb, fmpq, fmpz

from qcmap.errors import ArgumentError


def whole_digits(digits: object) -> int:
    """Raises `ArgumentError` unless it is a whole number from 1 to a million."""
    if isinstance(digits, bool) or not isinstance(digits, int) or not 1 <= digits <= 1_000_000:
        raise ArgumentError("digits", f"it is a whole number from 1 to a million, not {digits!r}", "ask for 30")
    return digits


def real(name: str, value: Any) -> arb:
    """A ball at the current precision: a float is the binary number that it is, a text its decimal value."""
    try:
        if isinstance(value, arb):
            if value.is_finite():
                return value
        elif isinstance(value, (fmpq, fmpz)):
            return arb(value)
        elif not isinstance(value, bool):
            exact = Fraction(value)
            return arb(fmpq(exact.numerator, exact.denominator))
    except (TypeError, ValueError, OverflowError, ZeroDivisionError):
        pass
    raise ArgumentError(name, f"it is not a finite number: {value!r}", "give a number, or a decimal as text")


def pair(name: str, ends: object) -> tuple[float, float]:
    """The two ends of an interval; raises `ArgumentError` if it is something else."""
    if isinstance(ends, (tuple, list)) and len(ends) == 2 and all(isinstance(x, Real) for x in ends):
        return float(ends[0]), float(ends[1])
    raise ArgumentError(name, f"it is the two ends of an interval, not {ends!r}", "give two numbers")
