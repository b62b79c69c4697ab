"""Checks of arguments that may be of any type: one number, a q value."""

from __future__ import annotations

import math
from numbers import Real

import numpy as np

from qcmap.errors import ArgumentError


def is_number(value: object) -> bool:
    """Whether it is one real number that is finite as a float."""
    if not isinstance(value, Real) or isinstance(value, bool | np.bool_):
        return False
    try:
        return math.isfinite(float(value))
    except OverflowError:
        return False


def one_q(q: object) -> float:
    """One q value; raises `ArgumentError` unless it is positive and finite."""
    try:
        array = np.asarray(q)
    except ValueError:
        array = np.empty(0)
    if array.ndim or array.dtype.kind not in "fiu" or not (np.isfinite(array) and array > 0):
        raise ArgumentError("q", f"a q value is one positive finite number, not {q!r}", "give a positive number")
    return float(array)
