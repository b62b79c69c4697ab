"""Dual kernels of sines and cosines with any phase and offset, without cancellation.

With s = sqrt(q1 q2) c and m = (q1 + q2) / 2, E cos(u1 - u2) = exp(s - m) and E cos(u1 + u2) = exp(-s - m), the
characteristic function of a normal variable. Hence E[cos cos] = exp(-m) cosh s, E[sin sin] = exp(-m) sinh s, E[cos sin]
= 0, E cos = exp(-q / 2), and for f(u) = e cos u + o sin u + d

    E[f(u1) f(u2)] = exp(-m) (e^2 (cosh s - 1) + o^2 sinh s) + (e exp(-q1 / 2) + d) (e exp(-q2 / 2) + d).

Shaped layers have a small input scale, so that s is small, and d near -e: neither loses digits here. Terms carry a few
units of rounding, and those of the arguments of exponentials, which are of size m; e exp(-q / 2) + d carries a few of
d.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qcmap.activations._closed_forms import Kernel

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Wave(Kernel):
    """The kernel of e cos u + o sin u + d.

    Attributes
    ----------
    even, odd, offset
        e, o and d.
    """

    even: float
    odd: float
    offset: float

    @classmethod
    def of(cls, even: float, odd: float, offset: float = 0.0) -> Wave:
        """The kernel of these numbers."""

        def mean(q: Array) -> Array:
            start = even + offset
            if abs(start) < abs(even) / 2:
                return start + even * np.expm1(-q / 2)
            return even * np.exp(-q / 2) + offset

        def value(c: Array, q1: Array, q2: Array) -> Array:
            return even**2 * _bowl(c, q1, q2) + odd**2 * _sinh(c, q1, q2) + mean(q1) * mean(q2)

        def slope(c: Array, q1: Array, q2: Array) -> Array:
            root = np.sqrt(q1) * np.sqrt(q2)
            return root * (even**2 * _sinh(c, q1, q2) + odd**2 * (_bowl(c, q1, q2) + np.exp(-(q1 + q2) / 2)))

        def terms(q1: Array, q2: Array) -> Array:
            ones, means = np.ones_like(q1), (np.abs(mean(q1)), np.abs(mean(q2)))
            own = even**2 * _bowl(ones, q1, q2) + odd**2 * _sinh(ones, q1, q2) + means[0] * means[1]
            return own + abs(offset) / 2 * (means[0] + means[1])

        return cls(value, slope, mean, terms, lambda q1, q2: 8 + 2.5 * (q1 + q2), even=even, odd=odd, offset=offset)

    def moved(self, shift: float, offset: float) -> Wave:
        """That of f(u + shift) + offset, for every shift."""
        cosine, sine = math.cos(shift), math.sin(shift)
        even, odd = self.even * cosine + self.odd * sine, self.odd * cosine - self.even * sine
        return Wave.of(even, odd, self.offset + offset)


def _bowl(c: Array, q1: Array, q2: Array) -> Array:
    """exp(-m) (cosh s - 1)."""
    size = np.abs(np.sqrt(q1 * q2) * c)
    return 0.5 * np.exp(size - (q1 + q2) / 2) * np.expm1(-size) ** 2


def _sinh(c: Array, q1: Array, q2: Array) -> Array:
    """exp(-m) sinh s."""
    s = np.sqrt(q1 * q2) * c
    return -0.5 * np.exp(np.abs(s) - (q1 + q2) / 2) * np.expm1(-2 * np.abs(s)) * np.sign(s)


sin, cos = Wave.of(0.0, 1.0), Wave.of(1.0, 0.0)
