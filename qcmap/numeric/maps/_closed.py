"""Local maps in closed form: of the activations that have a kernel, and of their transforms."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from qcmap.activations import Kernel
from qcmap.errors import NumericalError
from qcmap.numeric.maps._transform import Transform

Array = NDArray[np.float64]


def closed_kernel(transform: Transform) -> Kernel | None:
    """E[f(u1) f(u2)] of f(u) = gamma (phi(alpha u + beta) + delta), if it is known; else None."""
    kernel = transform.activation.kernel
    moved = None if kernel is None else kernel.moved(transform.input_shift, transform.output_shift)
    return None if moved is None else moved.scaled(transform.input_scale, transform.output_scale)


def closed_map(transform: Transform, kernel: Kernel, c: Array, q1: Array, q2: Array, order: int) -> Array:
    """C or dC/dc from the kernel; arrays that broadcast.

    Raises
    ------
    NumericalError
        If Q vanishes to rounding, or is not finite.
    """
    if scale_free(transform):
        # C does not depend on q: no overflow, and no underflow, at any q.
        q1, q2 = np.ones_like(q1), np.ones_like(q2)
    ones = np.ones_like(c)
    with np.errstate(over="ignore", under="ignore", invalid="ignore", divide="ignore"):
        norm = np.sqrt(kernel(ones, q1, q1)) * np.sqrt(kernel(ones, q2, q2))
        if not (np.isfinite(norm) & (norm > 0)).all():
            raise NumericalError(
                transform.activation.name,
                "its second moment is zero or not finite to rounding, so it has no C map",
                "use q values where it is finite and not zero",
            )
        values = (kernel.slope if order else kernel)(c, q1, q2) / norm
    return values if order else np.where((c == 1) & (q1 == q2), 1.0, values)


def closed_error(transform: Transform, kernel: Kernel, q1: float, q2: float, order: int) -> float:
    """A bound from above on the absolute error of `closed_map` for every c: that of the kernel and that of the norm."""
    first, second, c = np.array([q1]), np.array([q2]), np.array([-1.0, 1.0])
    if scale_free(transform):
        first = second = np.ones(1)
    sizes = [kernel(np.ones(1), q, q) for q in (first, second)]
    of_norm = sum(kernel.rounding(q, q, 0) / size for q, size in zip((first, second), sizes, strict=True)) / 2
    largest = np.abs(closed_map(transform, kernel, c, np.full(2, q1), np.full(2, q2), order)).max()
    norm = np.sqrt(sizes[0]) * np.sqrt(sizes[1])
    return float((kernel.rounding(first, second, order) / norm + of_norm * largest)[0])


def scale_free(transform: Transform) -> bool:
    """Whether f is positively homogeneous, so that its C map does not depend on q values."""
    return transform.activation.homogeneity is not None and transform.input_shift == transform.output_shift == 0
