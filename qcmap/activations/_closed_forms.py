"""Dual kernels E[phi(sqrt(q1) x) phi(sqrt(q2) y)] that have closed forms, (x, y) standard normal with correlation c.

A kernel takes arrays (c, q1, q2) and gives Q(q) = kernel(1, q, q) and C(c, q1, q2) = kernel(c, q1, q2) /
sqrt(Q(q1) Q(q2)) (DKS, section 6, equations 5 to 7); ``slope`` is its derivative in c. With s = sqrt(q1 q2):

- ``l u`` below zero and ``r u`` above is ``l u + (r - l) relu(u)``; Stein's lemma gives E[x relu(y)] = c/2, and
  E[relu relu] is the first arc-cosine kernel (DKS, equation 15), whose derivative is (pi - arccos c) / (2 pi);
- erf: Williams (1997), equation 11 (DKS, section 12.2);
- sin, cos: real parts of the characteristic function of sqrt(q1) x -+ sqrt(q2) y, whose variance is q1 + q2 -+ 2 s c.
  Each is s times the other's derivative;
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


@dataclass(frozen=True)
class Kernel:
    """A kernel and its derivative in c, as functions of arrays (c, q1, q2), and the mean E phi(sqrt(q) x) of q."""

    value: Function
    slope: Function
    mean: Callable[[Array], Array]

    def __call__(self, c: Array, q1: Array, q2: Array) -> Array:
        """The kernel."""
        return self.value(c, q1, q2)


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


def _sin(c: Array, q1: Array, q2: Array) -> Array:
    s, middle = np.sqrt(q1 * q2) * c, (q1 + q2) / 2
    return -0.5 * np.exp(np.abs(s) - middle) * np.expm1(-2 * np.abs(s)) * np.sign(s)


def _cos(c: Array, q1: Array, q2: Array) -> Array:
    s, middle = np.sqrt(q1 * q2) * c, (q1 + q2) / 2
    return 0.5 * (np.exp(s - middle) + np.exp(-s - middle))


erf = Kernel(_erf, _erf_slope, np.zeros_like)
sin = Kernel(_sin, lambda c, q1, q2: np.sqrt(q1 * q2) * _cos(c, q1, q2), np.zeros_like)
cos = Kernel(_cos, lambda c, q1, q2: np.sqrt(q1 * q2) * _sin(c, q1, q2), lambda q: np.exp(-q / 2))
square = Kernel(lambda c, q1, q2: q1 * q2 * (1 + 2 * c * c), lambda c, q1, q2: 4 * q1 * q2 * c, np.copy)
