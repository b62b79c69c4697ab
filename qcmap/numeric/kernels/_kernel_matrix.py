"""Kernel matrices: what makes a matrix one, its spectrum and its condition number."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from qcmap.errors import ArgumentError, NumericalError
from qcmap.numeric.maps._arguments import numbers

Array = NDArray[np.float64]

EPS = float(np.finfo(np.float64).eps)


def condition_number(kernel: ArrayLike) -> float:
    """The largest over the smallest eigenvalue of a kernel matrix (n, n) (DKS, section 24.3.2).

    With the best rate 1/lambda_1 the loss falls as (1 - 1/cond)^(2t) in the end. Infinity if the smallest eigenvalue is
    zero to rounding, n eps of the largest: then the true number is at least about 1 / (n eps).

    Raises
    ------
    ArgumentError
        For a matrix that is not symmetric, or has an eigenvalue below zero by more than rounding.
    """
    values = clipped(np.asarray(np.linalg.eigvalsh(symmetric(kernel)), dtype=np.float64))
    return float(values[-1] / values[0]) if values[0] > 0 else math.inf


def clipped(values: Array) -> Array:
    """Increasing eigenvalues, those that are zero to rounding set to 0; raises `ArgumentError` for negative ones."""
    largest = float(np.abs(values).max())
    # A kernel matrix that was computed entry by entry carries their rounding, which may exceed eigh's own.
    if values[0] < -1e-9 * largest:
        what = f"it has the eigenvalue {values[0]:.3g}, the largest is {largest:.3g}: kernels have none below zero"
        raise ArgumentError("kernel", what, "give a kernel, or add a ridge to its diagonal")
    return np.where(values <= len(values) * EPS * largest, 0.0, values)


def symmetric(kernel: ArrayLike) -> Array:
    """A kernel as a symmetric matrix; raises `ArgumentError` if it is none."""
    matrix = finite("kernel", kernel)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or not matrix.size:
        raise ArgumentError("kernel", f"it is a square matrix, not of shape {matrix.shape}", "give the (n, n) kernel")
    largest = float(np.abs(matrix).max())
    if largest > 1e150:
        raise ArgumentError("kernel", f"its entries reach {largest:.3g}, whose squares overflow", "scale the kernel")
    if np.abs(matrix - matrix.T).max() > 1e-10 * largest:
        raise ArgumentError("kernel", "it is not symmetric", "give the kernel of the training inputs with themselves")
    return (matrix + matrix.T) / 2


def finite(name: str, value: ArrayLike) -> Array:
    """The numbers as an array; raises `ArgumentError` unless they are finite."""
    array = numbers(name, value)
    if not np.isfinite(array).all():
        raise ArgumentError(name, "it has entries that are not finite", "give finite numbers")
    return array


def broadcast(name: str, value: ArrayLike, shape: tuple[int, ...]) -> Array:
    """Finite numbers of this shape; raises `ArgumentError` if they do not broadcast to it."""
    array = finite(name, value)
    try:
        return np.broadcast_to(array, shape)
    except ValueError:
        what = f"its shape {array.shape} does not broadcast to {shape}"
        raise ArgumentError(name, what, "give one value, or one per input") from None


def bounded(values: Array) -> Array:
    """The values; raises `NumericalError` unless they are finite."""
    if not np.isfinite(values).all():
        raise NumericalError("targets", "the result or its square is beyond all floats", "scale targets and kernel")
    return values
