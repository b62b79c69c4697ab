"""Local maps in closed form: of the activations that have a kernel, and of their transforms without input shift."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from qcmap.activations import Kernel
from qcmap.errors import NumericalError
from qcmap.numeric.maps._transform import Transform

Array = NDArray[np.float64]


def closed_kernel(transform: Transform) -> Kernel | None:
    """E[f(u1) f(u2)] of f(u) = gamma (phi(alpha u) + delta), if that of phi is known; else None.

    It is gamma^2 (K + delta (m1 + m2) + delta^2), K and the means m of phi taken at alpha^2 q.
    """
    kernel, a = transform.activation.kernel, transform.input_scale
    # A negative scale would swap the two sides of relu.
    if kernel is None or transform.input_shift != 0 or (a < 0 and transform.activation.parity is None):
        return None
    delta, gain, sign = transform.output_shift, transform.output_scale**2, 1.0
    if a < 0 and transform.activation.parity == "odd":
        sign = -1.0
    if (a, delta, gain) == (1.0, 0.0, 1.0):
        return kernel

    def value(c: Array, q1: Array, q2: Array) -> Array:
        first, second = a * a * q1, a * a * q2
        shifted = delta * (sign * (kernel.mean(first) + kernel.mean(second)) + delta) if delta else 0.0
        return gain * (kernel(c, first, second) + shifted)

    def slope(c: Array, q1: Array, q2: Array) -> Array:
        return gain * kernel.slope(c, a * a * q1, a * a * q2)

    def mean(q: Array) -> Array:
        return transform.output_scale * (sign * kernel.mean(a * a * q) + delta)

    return Kernel(value, slope, mean)


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


def scale_free(transform: Transform) -> bool:
    """Whether f is positively homogeneous, so that its C map does not depend on q values."""
    return transform.activation.homogeneity is not None and transform.input_shift == transform.output_shift == 0
