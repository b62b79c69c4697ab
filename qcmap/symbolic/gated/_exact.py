"""Numbers as exact sympy numbers, and what counts as one."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import sympy

from qcmap.errors import ArgumentError
from qcmap.symbolic._local import Expr


def exact(value: Any) -> Expr:
    """A number as an exact sympy number, a float by its shortest decimal; a sympy expression as it is."""
    if isinstance(value, Fraction):
        return sympy.Rational(value.numerator, value.denominator)
    return sympy.Rational(repr(float(value))) if isinstance(value, (float, np.floating)) else sympy.sympify(value)


def check_finite(name: str, value: Any) -> None:
    """Raise `ArgumentError` unless the value is a finite number, a list of them, or an expression with symbols."""
    if getattr(value, "free_symbols", None):
        return
    try:
        array = np.asarray(value, dtype=np.float64)
        good = not isinstance(value, str | bool) and array.ndim <= 1 and array.size > 0 and np.isfinite(array).all()
    except (TypeError, ValueError, OverflowError):
        good = False
    if not good:
        raise ArgumentError(name, f"it is no finite number: {value!r}", "give a number, or one for each mode")
