"""Balls as decimals: the digits that are proved, and no others."""

from __future__ import annotations

import math
from fractions import Fraction

from flint import arb


def proved_digits(ball: arb) -> int:
    """The largest n for which the radius is at most half a unit of the n-th significant digit, or so; exact: 10^6."""
    if ball.rad() == 0:
        return 10**6
    if ball.contains(0):
        return max(0, math.floor(-_log10(abs(ball).upper())))
    return max(0, math.floor(_log10(abs(ball).lower()) - _log10(ball.rad()) - 0.302))


def _log10(value: arb) -> float:
    return float(value.log() / arb(10).log())


def fraction(value: arb) -> Fraction:
    """The midpoint, exactly."""
    mantissa, exponent = value.mid().man_exp()
    return Fraction(int(mantissa)) * Fraction(2) ** int(exponent)


def decimal(ball: arb, digits: int) -> str | None:
    """The number in the ball, rightly rounded to ``digits`` significant digits; None if the ball does not settle it."""
    low, high = _rounded(fraction(ball.lower()), digits), _rounded(fraction(ball.upper()), digits)
    return low if low == high else None


def _rounded(value: Fraction, digits: int) -> str:
    if not value:
        return "0"
    size = abs(value)
    exponent = len(str(size.numerator)) - len(str(size.denominator))
    while size >= Fraction(10) ** (exponent + 1):
        exponent += 1
    while size < Fraction(10) ** exponent:
        exponent -= 1
    unit = Fraction(10) ** (exponent - digits + 1)
    scaled = round(size / unit)  # half to even
    shift, sign = exponent - digits + 1, "-" if value < 0 else ""
    text = str(scaled)
    if shift >= 0:
        return sign + text + "0" * shift
    text = text.rjust(1 - shift, "0")
    return f"{sign}{text[:shift]}.{text[shift:]}"
