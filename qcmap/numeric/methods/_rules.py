"""Quadrature for a layer's function together with its derivative, on a range as wide as both need."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from qcmap.errors import ActivationError, NumericalError
from qcmap.numeric.maps._integrals import Integrals
from qcmap.numeric.maps._quadrature import ORDER, RANGE, gaussian_rule
from qcmap.numeric.maps._transform import Transform

Array = NDArray[np.float64]

AGREEMENT = 1e-9
"""How well two rules must agree, relative to the integral of the absolute value."""


def range_of(transform: Transform, q: Array) -> float:
    """The range of x beyond which f^2 and f'^2 have no mass to rounding, at all of these q values.

    Raises `NumericalError` where they are not finite or grow too fast.
    """
    if transform.activation.oscillates:
        return RANGE
    integrals = Integrals(transform)
    try:
        return max(integrals.reach(q), integrals.reach(q, 1))
    except ActivationError as error:
        raise NumericalError(
            transform.activation.name, f"its moments are not finite up to q = {q.max():.6g}: {error.rule}",
            "use a smaller q",
        ) from error  # fmt: skip


def rule(transform: Transform, q: Array, *, order: int = ORDER, reach: float | None = None) -> tuple[Array, Array]:
    """Nodes x and weights of shape (m, n) for functions of f(sqrt(q) x) and f'(sqrt(q) x), q of shape (m,)."""
    reach = range_of(transform, q) if reach is None else reach
    scale, shift = transform.input_scale * np.sqrt(q), np.full(q.shape, transform.input_shift)
    return gaussian_rule(transform.activation, scale, shift, order=order, reach=reach)


def unresolved(transform: Transform, q: float) -> NumericalError:
    """The error for integrals on which two rules differ."""
    return NumericalError(
        transform.activation.name, f"its integrals at q = {q:.6g} are not resolved",
        "declare all its kinks, a smaller length, or use a smaller q",
    )  # fmt: skip
