"""A function of c in [-1, 1] that is analytic in theta = arccos c, as a Chebyshev series in theta.

For a piecewise analytic activation the C map and its bounded derivatives have half-integer powers of 1 - c and 1 + c at
the ends, which theta removes. The points are theta_k = (pi / 2)(1 - cos(pi k / M)), both ends among them, and doubling
M keeps those already computed.

Of a C map it is C(c) - c that is expanded. In deep shaped networks it is small, so that adding c back costs no more
than one rounding, and a thousand layers stay exact to a thousand of those.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.polynomial.chebyshev import chebval
from numpy.typing import NDArray

Array = NDArray[np.float64]
Samples = Callable[[Array], Array]
"""Values at theta of shape (k,), of shape (k,) or (rows, k)."""

ROUNDING = 4e-15
_TOLERANCE = 2e-16
_PLATEAU, _NOISE = 2e-13, 1e-9
_FIRST, _MOST = 16, 1024


@dataclass(frozen=True, eq=False)
class Profile:
    """Chebyshev coefficients in 1 - 2 theta / pi, shape (M + 1,) or (rows, M + 1).

    Attributes
    ----------
    error
        An estimate from above of what the series leaves out, absolute, on all of [-1, 1]: of shape () or (rows,).
    ends
        The exact samples at c = 1 and c = -1.
    nodes
        The points theta, in increasing order.
    with_identity
        Whether the series is that of the function less c.
    """

    coefficients: Array
    error: Array
    ends: tuple[Array, Array]
    nodes: Array
    with_identity: bool = False

    def __call__(self, c: Array) -> Array:
        """The function at c, of any shape; rows come first."""
        position = 1 - 2 * np.arccos(c) / math.pi
        values = np.asarray(chebval(position, np.moveaxis(self.coefficients, -1, 0)), dtype=np.float64)
        if self.with_identity:
            values = c + values
        for c_end, value in zip((1.0, -1.0), self.ends, strict=True):
            at_end = c == c_end
            if at_end.any():
                values[..., at_end] = value[..., None]
        return values


@lru_cache(maxsize=8)
def _transform(count: int) -> Array:
    """Matrix from values at the M + 1 points to Chebyshev coefficients."""
    k = np.arange(count + 1)
    # Reduced before the cosine, which would lose digits at large arguments.
    matrix = np.cos(math.pi / count * (np.outer(k, k) % (2 * count))) * (2 / count)
    matrix[0] /= 2
    matrix[-1] /= 2
    matrix[:, 0] /= 2
    matrix[:, -1] /= 2
    return matrix


def points(count: int) -> Array:
    """The ``count`` + 1 points theta in [0, pi], increasing."""
    return math.pi * np.sin(math.pi / (2 * count) * np.arange(count + 1)) ** 2


def profile(samples: Samples, *, with_identity: bool = False, most: int = _MOST) -> Profile | None:
    """The series, with as many points as bring its last coefficients to rounding; None if ``most`` do not.

    Values that carry more noise than rounding are accepted once more points no longer help, if what is left is below
    2e-13 of the largest value, or below 1e-9 after twice as many points did not help either; ``error`` then says so.
    """
    count, stalled = _FIRST, 0
    values, before = samples(points(count)), math.inf
    while True:
        reduced = values - np.cos(points(count)) if with_identity else values
        coefficients = reduced @ _transform(count).T
        largest = np.abs(values).max(axis=-1)
        scale = np.where(largest > 0, largest, 1.0)
        last = np.abs(coefficients[..., -max(4, count // 8) :])
        worst = float((last.max(axis=-1) / scale).max())
        stalled = stalled + 1 if worst > 0.3 * before else 0
        enough = _TOLERANCE if with_identity else 10 * _TOLERANCE
        if worst <= enough or (stalled and worst <= _PLATEAU) or (stalled > 1 and worst <= _NOISE):
            error = 2 * last.sum(axis=-1) + ROUNDING * scale
            return Profile(coefficients, error, (values[..., 0], values[..., -1]), points(count), with_identity)
        if 2 * count > most:
            return None
        before, count = worst, 2 * count
        finer = np.empty((*values.shape[:-1], count + 1))
        finer[..., ::2] = values
        finer[..., 1::2] = samples(points(count)[1::2])
        values = finer


def composed(parts: list[Profile], *, most: int = 512) -> Profile | None:
    """The composition of C maps, the first of the list innermost; None if ``most`` points do not resolve it."""

    def samples(theta: Array) -> Array:
        values = parts[0](np.cos(theta))
        for part in parts[1:]:
            values = part(np.clip(values, -1.0, 1.0))
        return values

    return profile(samples, with_identity=True, most=most)
