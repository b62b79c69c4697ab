"""Checks of arguments that may be of any type: one number, an array of numbers, a q value."""

from __future__ import annotations

import math
from numbers import Real

import numpy as np
from numpy.typing import ArrayLike, NDArray

from qcmap.errors import ArgumentError

Array = NDArray[np.float64]


def is_number(value: object) -> bool:
    """Whether it is one real number that is finite as a float."""
    if not isinstance(value, Real) or isinstance(value, bool | np.bool_):
        return False
    try:
        return math.isfinite(float(value))
    except OverflowError:
        return False


def numbers(name: str, value: ArrayLike) -> Array:
    """An array of real numbers; raises `ArgumentError` for anything else."""
    try:
        array = np.asarray(value)
        if array.dtype.kind in "cSU":
            raise TypeError
        return np.asarray(array, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        text = " ".join(repr(value).split())
        shown = text if len(text) <= 60 else text[:57] + "..."
        raise ArgumentError(name, f"it is made of real numbers, not {shown}", "check its rows and type") from None


def one_q(q: object) -> float:
    """One q value; raises `ArgumentError` unless it is positive and finite."""
    array = np.asarray(q)
    if array.ndim or array.dtype.kind not in "fiu" or not (np.isfinite(array) and array > 0):
        raise ArgumentError("q", f"a q value is one positive finite number, not {q!r}", "check it")
    return float(array)
