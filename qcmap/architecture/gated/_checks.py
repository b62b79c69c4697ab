"""Checks of arguments that several functions share."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qcmap.errors import ArgumentError


def check_count(name: str, value: Any, largest: int | None = None) -> None:
    """Raise `ArgumentError` unless the value is a positive integer, and not above the largest if one is given."""
    good = isinstance(value, int | np.integer) and not isinstance(value, bool) and value >= 1
    if not good or (largest is not None and value > largest):
        limits = "a positive integer" if largest is None else f"an integer from 1 to {largest}"
        raise ArgumentError(name, f"it must be {limits}, not {value!r}", f"give {limits}")


def checked_number(name: str, value: Any) -> float:
    """The value as a float; raises `ArgumentError` unless it is a finite real number."""
    try:
        number = float("nan") if isinstance(value, str) else float(value)
    except (TypeError, ValueError, OverflowError):
        number = float("nan")
    if not math.isfinite(number):
        raise ArgumentError(name, f"it must be a finite number, not {value!r}", "give one")
    return number


def real_array(value: Any) -> NDArray[np.float64] | None:
    """The value as an array of floats; None if it does not hold real numbers."""
    try:
        array = np.asarray(value)
        return None if np.iscomplexobj(array) else array.astype(np.float64)
    except (TypeError, ValueError):
        return None


def check_flag(name: str, value: object) -> None:
    """Raise `ArgumentError` unless the value is true or false: any word would count as true."""
    if not isinstance(value, bool):
        raise ArgumentError(name, f"it must be true or false, not {value!r}", "give True or False")


def check_kind(name: str, value: object, kinds: type | tuple[type, ...], remedy: str) -> None:
    """Raise `ArgumentError` with this remedy unless the value is of one of these classes."""
    if not isinstance(value, kinds):
        wanted = " or ".join(kind.__name__ for kind in (kinds if isinstance(kinds, tuple) else (kinds,)))
        raise ArgumentError(name, f"its type must be {wanted}, not {type(value).__name__}", remedy)
