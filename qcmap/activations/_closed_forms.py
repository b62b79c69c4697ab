"""Dual kernels E[phi(sqrt(q1) x) phi(sqrt(q2) y)] that have closed forms, (x, y) standard normal with correlation c.

A kernel takes arrays (c, q1, q2) and gives Q(q) = kernel(1, q, q) and C(c, q1, q2) = kernel(c, q1, q2) /
sqrt(Q(q1) Q(q2)) (DKS, section 6, equations 5 to 7). With s = sqrt(q1 q2):

- ``l u`` below zero and ``r u`` above is ``l u + (r - l) relu(u)``; Stein's lemma gives E[x relu(y)] = c/2, and
  E[relu relu] is the first arc-cosine kernel (DKS, equation 15);
- erf: Williams (1997), equation 11 (DKS, section 12.2);
- sin, cos: real parts of the characteristic function of sqrt(q1) x -+ sqrt(q2) y, whose variance is q1 + q2 -+ 2 s c;
- square: Isserlis' theorem, E[x^2 y^2] = 1 + 2 c^2.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Kernel = Callable[[Array, Array, Array], Array]


def two_slopes(left: float, right: float) -> Kernel:
    """Kernel of the function with slope ``left`` below zero and ``right`` above."""

    def kernel(c: Array, q1: Array, q2: Array) -> Array:
        arc = np.sqrt((1 - c) * (1 + c)) + (math.pi - np.arccos(c)) * c
        return np.sqrt(q1 * q2) * (left * right * c + (right - left) ** 2 / (2 * math.pi) * arc)

    return kernel


def erf(c: Array, q1: Array, q2: Array) -> Array:
    """Kernel of the error function; 1 - sine^2 is formed without cancellation, so c near 1 and large q keep digits."""
    opposite = (1 + 2 * q1) * (1 + 2 * q2)
    cosine2 = (1 + 2 * (q1 + q2) + 4 * q1 * q2 * (1 - c) * (1 + c)) / opposite
    sine = 2 * np.sqrt(q1 * q2) * c / np.sqrt(opposite)
    return 2 / math.pi * np.arctan2(sine, np.sqrt(cosine2))


def sin(c: Array, q1: Array, q2: Array) -> Array:
    """Kernel of the sine."""
    s, middle = np.sqrt(q1 * q2) * c, (q1 + q2) / 2
    return -0.5 * np.exp(np.abs(s) - middle) * np.expm1(-2 * np.abs(s)) * np.sign(s)


def cos(c: Array, q1: Array, q2: Array) -> Array:
    """Kernel of the cosine."""
    s, middle = np.sqrt(q1 * q2) * c, (q1 + q2) / 2
    return 0.5 * (np.exp(s - middle) + np.exp(-s - middle))


def square(c: Array, q1: Array, q2: Array) -> Array:
    """Kernel of u^2."""
    return q1 * q2 * (1 + 2 * c * c)
