"""Numbers as exact sympy numbers."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import sympy

from qcmap.symbolic._local import Expr


def exact(value: Any) -> Expr:
    """A number as an exact sympy number, a float by its shortest decimal; a sympy expression as it is."""
    if isinstance(value, Fraction):
        return sympy.Rational(value.numerator, value.denominator)
    return sympy.Rational(repr(float(value))) if isinstance(value, (float, np.floating)) else sympy.sympify(value)
