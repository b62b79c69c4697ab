"""The length of a user's activation, on which quadrature relies: checked by Chebyshev coefficients, or made smaller."""

from __future__ import annotations

import math
from collections.abc import Callable
from numbers import Real

import numpy as np
from numpy.polynomial import chebyshev
from numpy.typing import NDArray

from qcmap.errors import ActivationError

Array = NDArray[np.float64]

_NODES = 24
_POINTS = np.cos(math.pi * (np.arange(_NODES) + 0.5) / _NODES)
_TAIL = np.linalg.inv(chebyshev.chebvander(_POINTS, _NODES - 1))[18:22]
_SMALL = 1e-8
"""What coefficients 18 to 21 may be: those of a function with Bernstein parameter 3 are about 3^-18 = 3e-9 of it, and
the integral of its square by 20 nodes is then exact to 3^-40."""
_WIDEST = 2.5
"""Panels at q = 1 are no wider than this."""
_FARTHEST = 10.0
_HALVINGS = 14


def checked_length(length: object, name: str) -> float:
    """The length as a float; raises `ActivationError` unless it is a positive number (infinity is one)."""
    if isinstance(length, bool) or not isinstance(length, Real) or not float(length) > 0:
        raise ActivationError(name, f"length must be positive, not {length!r}", "give a positive length")
    return float(length)


def safe_length(function: Callable[[Array], Array], kinks: tuple[float, ...], length: float) -> float:
    """``length``, or the largest length / 2^k at which the panels of the quadrature resolve the function near 0.

    The panels end at distances 3/4 length 3^j from 0 and at kinks. Those within 9/4 of the given length of 0 are looked
    at: farther out they do not depend on the length enough to be mended. If none of 14 halvings helps (a singularity
    far from 0, a kink that was not declared), the length stays, and integrals are refused where they are not resolved.
    """
    start = length if math.isfinite(length) else 4.0
    region = min(2.25 * start, _FARTHEST)
    tried = [length, *(start / 2.0**k for k in range(0 if math.isinf(length) else 1, _HALVINGS))]
    return next((one for one in tried if _resolves(function, kinks, one, region)), length)


def _resolves(function: Callable[[Array], Array], kinks: tuple[float, ...], length: float, region: float) -> bool:
    steps = 0 if math.isinf(length) else math.ceil(math.log(max(2 * region / length, 1), 3)) + 1
    distances = 0.75 * length * 3.0 ** np.arange(steps) if steps else np.empty(0)
    count = max(1, math.ceil(region / _WIDEST))
    uniform = np.linspace(-region, region, 2 * count + 1)
    # No break at 0 itself: panels lie elsewhere for a shifted argument.
    ends = np.concatenate([uniform[uniform != 0], -distances, distances, kinks])
    ends = np.unique(ends[np.abs(ends) <= region])
    middle, half = (ends[1:] + ends[:-1]) / 2, np.diff(ends) / 2
    middle, half = middle[half > 1e-9], half[half > 1e-9]
    with np.errstate(all="ignore"):
        values = function(middle[:, None] + half[:, None] * _POINTS)
        finite = np.isfinite(values).all(axis=1)
        tail, size = np.abs(values[finite] @ _TAIL.T).max(axis=1), np.abs(values[finite]).max(axis=1)
    # Values that are tiny beside those near 0 (softplus far on the left) need not be resolved in themselves.
    typical = size[np.abs(middle[finite]) <= 1].max(initial=0.0)
    return bool((tail <= _SMALL * np.maximum(size, typical)).all())
