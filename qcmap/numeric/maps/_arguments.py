"""Checks of the arguments of maps, and how arrays of q values are grouped."""

from __future__ import annotations

import math
from collections.abc import Iterator
from numbers import Integral, Real

import numpy as np
from numpy.typing import ArrayLike, NDArray

from qcmap.errors import ArgumentError

Array = NDArray[np.float64]


def groups(q1: Array, q2: Array) -> Iterator[tuple[NDArray[np.intp], float, float]]:
    """(flat indices, q1, q2) for each distinct pair."""
    a, b = q1.reshape(-1), q2.reshape(-1)
    if a.size and (a == a[0]).all() and (b == b[0]).all():
        yield np.arange(a.size), float(a[0]), float(b[0])
        return
    order = np.lexsort((b, a))
    new = np.flatnonzero((np.diff(a[order]) != 0) | (np.diff(b[order]) != 0)) + 1
    for here in np.split(order, new) if a.size else ():
        yield here, float(a[here[0]]), float(b[here[0]])


def numbers(name: str, value: ArrayLike) -> Array:
    """An array of real numbers; raises `ArgumentError` for anything else."""
    try:
        array = np.asarray(value)
        if array.dtype.kind in "cSUMm" or np.ma.is_masked(value):
            raise TypeError
        return np.asarray(array, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        text = " ".join(repr(value).split())
        shown = text if len(text) <= 60 else text[:57] + "..."
        raise ArgumentError(
            name, f"it is made of real numbers, not {shown}", "give numbers, in rows of equal length"
        ) from None


def is_number(value: object) -> bool:
    """Whether it is one real number that is finite as a float."""
    if not isinstance(value, Real) or isinstance(value, bool | np.bool_):
        return False
    try:
        return math.isfinite(float(value))
    except OverflowError:
        return False


def one(name: str, value: ArrayLike) -> float:
    """A single positive number; raises `ArgumentError` for anything else."""
    array = positive(name, value)
    if array.size != 1:
        raise ArgumentError(name, f"it must be one number, not an array of shape {array.shape}", "ask one by one")
    return float(array.reshape(-1)[0])


def together(**arrays: Array) -> tuple[Array, ...]:
    """The arrays broadcast; raises `ArgumentError` naming their shapes if they do not go together."""
    try:
        return np.broadcast_arrays(*arrays.values())
    except ValueError as error:
        shapes = ", ".join(f"{name} {array.shape}" for name, array in arrays.items())
        raise ArgumentError("shapes", f"{shapes} do not broadcast", "give shapes that do") from error


def integer(order: int, *, least: int, name: str = "order", most: int | None = None) -> int:
    """The order of a derivative, or a count; raises `ArgumentError` unless it is an integer from ``least`` on."""
    if isinstance(order, bool) or not isinstance(order, Integral) or order < least or (most and order > most):
        limit = f"at least {least}" if most is None else f"{least} to {most}"
        raise ArgumentError(name, f"it must be an integer of {limit}, not {order!r}", "give such an integer")
    return int(order)


def positive(name: str, value: ArrayLike) -> Array:
    """The q values as an array; raises `ArgumentError` unless they are positive and finite."""
    array = numbers(name, value)
    bad = ~(np.isfinite(array) & (array > 0))
    if bad.any():
        raise ArgumentError(name, f"q values are positive and finite, not {array[bad].flat[0]}", "check the inputs")
    return array


def correlation(value: ArrayLike) -> Array:
    """The c values as an array, clipped to [-1, 1]; raises `ArgumentError` if they leave it by more than 1e-12."""
    array = numbers("c", value)
    bad = ~(np.abs(array) <= 1 + 1e-12)
    if bad.any():
        raise ArgumentError("c", f"c values lie in [-1, 1], not {array[bad].flat[0]}", "check the inputs")
    return np.clip(array, -1.0, 1.0)


def rounded(q: Array) -> Array:
    """Q to 48 bits, so that values that differ by rounding share one interpolant."""
    mantissa, exponent = np.frexp(q)
    return np.ldexp(np.round(mantissa * 2.0**48) / 2.0**48, exponent)
