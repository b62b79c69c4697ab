"""What numbers must be on their way in and out: real and finite, integers exact, counts short enough to print."""

from __future__ import annotations

import math
from collections.abc import Mapping
from decimal import Decimal
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qcmap.errors import DataError, NumericalError


def real_array(name: str, value: Any) -> NDArray[Any]:
    """An array of real numbers, those of Python finite; raises `DataError` for anything else, naming it."""
    try:
        array = np.asarray(value)
        real = array.dtype.kind in "biu" or (array.dtype.kind == "f" and array.itemsize <= 8)
        real = real or (array.dtype == object and all(_finite_real(entry) for entry in array.flat))
    except (TypeError, ValueError, RuntimeError):
        real, array = False, np.empty(0)
    if not real:
        rule = f"it is an array of real numbers, not {type(value).__name__}"
        raise DataError(name, rule, "give finite numbers of 64 bits at most, in rows of equal length")
    return array


def _finite_real(entry: Any) -> bool:
    return isinstance(entry, Real) and entry == entry and abs(entry) != math.inf


def mapping(name: str, value: Any) -> Mapping[str, Any]:
    """The value; raises `DataError` unless it is a mapping from names to arrays."""
    if not isinstance(value, Mapping):
        raise DataError(name, f"they are arrays by name, not {type(value).__name__}", "give a dictionary")
    return value


def wide(array: NDArray[Any]) -> NDArray[Any]:
    """As int64 or float64, in which sums and products do not wrap around as in fewer bits."""
    if array.dtype.kind in "bi" or (array.dtype.kind == "u" and array.itemsize < 8):
        return array.astype(np.int64, copy=False)
    if array.dtype.kind == "u":
        return array.astype(object)
    return array.astype(np.float64, copy=False) if array.dtype.kind == "f" else array


def largest(array: NDArray[Any]) -> Any:
    """The largest absolute value, 1 at least: of integers a Python integer."""
    ends = (array.max(), array.min()) if array.size else (0, 0)
    low, high = (int(end) if array.dtype.kind in "biu" else end for end in ends)
    return max(abs(low), abs(high), 1)


def exact_up_to(array: NDArray[Any], bound: float) -> NDArray[Any]:
    """Integers as Python's if 64 bits do not hold numbers up to a bound; other arrays as they are."""
    return array if array.dtype.kind not in "biu" or bound < 2**62 else array.astype(object)


def finite(what: str, remedy: str, *arrays: NDArray[Any]) -> None:
    """Raise `NumericalError` for floats that are not finite."""
    if not all(np.isfinite(array).all() for array in arrays if array.dtype.kind == "f"):
        raise NumericalError(what, "it is beyond the range of floats", remedy)


def shown(count: int) -> str:
    """A count in full, or its first digits: Python refuses to print integers of more than 4,300."""
    return str(count) if count.bit_length() < 10_000 else f"about {Decimal(count):.3g}"
