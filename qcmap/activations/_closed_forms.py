"""Dual kernels E[phi(sqrt(q1) x) phi(sqrt(q2) y)] that have closed forms, (x, y) standard normal with correlation c.

A kernel takes arrays (c, q1, q2) and gives Q(q) = kernel(1, q, q) and C(c, q1, q2) = kernel(c, q1, q2) /
sqrt(Q(q1) Q(q2)) (DKS, section 6, equations 5 to 7); ``slope`` is its derivative in c. With s = sqrt(q1 q2):

- ``l u`` below zero and ``r u`` above is ``l u + (r - l) relu(u)``; Stein's lemma gives E[x relu(y)] = c/2, and
  E[relu relu] is the first arc-cosine kernel (DKS, equation 15), whose derivative is (pi - arccos c) / (2 pi);
- erf: Williams (1997), equation 11 (DKS, section 12.2);
- sin, cos, shifted or not: `qcmap.activations._waves`;
- square: Isserlis' theorem, E[x^2 y^2] = 1 + 2 c^2.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Function = Callable[[Array, Array, Array], Array]
Sizes = Callable[[Array, Array], Array]

_UNITS = 18.0


@dataclass(frozen=True)
class Kernel:
    """A kernel and its derivative in c, as functions of arrays (c, q1, q2), and the mean E phi(sqrt(q) x) of q.

    Attributes
    ----------
    value, slope, mean
        The functions.
    terms
        A bound from above on the sizes of what ``value`` adds up, over all c, of q1 and q2; None for that by Cauchy and
        Schwarz, sqrt(Q(q1) Q(q2)).
    relative
        How many units of rounding these terms carry, of q1 and q2; None for a few.
    """

    value: Function
    slope: Function
    mean: Callable[[Array], Array]
    terms: Sizes | None = None
    relative: Sizes | None = None

    def __call__(self, c: Array, q1: Array, q2: Array) -> Array:
        """The kernel."""
        return self.value(c, q1, q2)

    def moved(self, shift: float, offset: float) -> Kernel | None:
        """That of phi(u + shift) + offset, if it is known; without a shift, K + offset (m1 + m2) + offset^2."""
        if shift != 0:
            return None
        if offset == 0:
            return self

        def value(c: Array, q1: Array, q2: Array) -> Array:
            return self.value(c, q1, q2) + offset * (self.mean(q1) + self.mean(q2) + offset)

        def terms(q1: Array, q2: Array) -> Array:
            means = np.abs(self.mean(q1)) + np.abs(self.mean(q2))
            return self.sizes(q1, q2) + abs(offset) * (means + abs(offset))

        return Kernel(value, self.slope, lambda q: self.mean(q) + offset, terms, self.relative)

    def scaled(self, inner: float, outer: float) -> Kernel:
        """That of outer * phi(inner * u); the sign of ``inner`` does not matter, (u1, u2) and -(u1, u2) being alike."""
        square, gain = inner * inner, outer * outer
        if (square, outer) == (1.0, 1.0):
            return self
        return Kernel(
            lambda c, q1, q2: gain * self.value(c, square * q1, square * q2),
            lambda c, q1, q2: gain * self.slope(c, square * q1, square * q2),
            lambda q: outer * self.mean(square * q),
            lambda q1, q2: gain * self.sizes(square * q1, square * q2),
            lambda q1, q2: self.units(square * q1, square * q2),
        )

    def sizes(self, q1: Array, q2: Array) -> Array:
        """``terms``, or what stands for them."""
        if self.terms is not None:
            return self.terms(q1, q2)
        return np.sqrt(self(np.ones_like(q1), q1, q1)) * np.sqrt(self(np.ones_like(q2), q2, q2))

    def units(self, q1: Array, q2: Array) -> Array:
        """``relative``, or what stands for it."""
        return np.full_like(q1, _UNITS) if self.relative is None else self.relative(q1, q2)

    def rounding(self, q1: Array, q2: Array, order: int) -> Array:
        """A bound from above on the error of the kernel (order 0) or of its derivative (order 1), for every c."""
        sizes = self.sizes(q1, q2)
        if order:
            sizes = np.maximum(*(np.abs(self.slope(np.full_like(q1, c), q1, q2)) for c in (-1.0, 1.0)))
        return self.units(q1, q2) * 2.0**-52 * sizes


def two_slopes(left: float, right: float) -> Kernel:
    """Kernel of the function with slope ``left`` below zero and ``right`` above."""
    bend = (right - left) ** 2 / (2 * math.pi)

    def value(c: Array, q1: Array, q2: Array) -> Array:
        arc = np.sqrt((1 - c) * (1 + c)) + (math.pi - np.arccos(c)) * c
        return np.sqrt(q1) * np.sqrt(q2) * (left * right * c + bend * arc)

    def slope(c: Array, q1: Array, q2: Array) -> Array:
        return np.sqrt(q1) * np.sqrt(q2) * (left * right + bend * (math.pi - np.arccos(c)))

    return Kernel(value, slope, lambda q: (right - left) / math.sqrt(2 * math.pi) * np.sqrt(q))


def _erf_parts(c: Array, q1: Array, q2: Array) -> tuple[Array, Array]:
    """Sine and cosine of the angle; 1 - sine^2 is formed without cancellation, for c near 1 and large q."""
    opposite = (1 + 2 * q1) * (1 + 2 * q2)
    cosine2 = (1 + 2 * (q1 + q2) + 4 * q1 * q2 * (1 - c) * (1 + c)) / opposite
    return 2 * np.sqrt(q1 * q2) / np.sqrt(opposite) * c, np.sqrt(cosine2)


def _erf(c: Array, q1: Array, q2: Array) -> Array:
    return 2 / math.pi * np.arctan2(*_erf_parts(c, q1, q2))


def _erf_slope(c: Array, q1: Array, q2: Array) -> Array:
    _, cosine = _erf_parts(c, q1, q2)
    return 4 / math.pi * np.sqrt(q1 * q2) / np.sqrt((1 + 2 * q1) * (1 + 2 * q2)) / cosine


erf = Kernel(_erf, _erf_slope, np.zeros_like)
square = Kernel(lambda c, q1, q2: q1 * q2 * (1 + 2 * c * c), lambda c, q1, q2: 4 * q1 * q2 * c, np.copy)
