"""Activations from vectorised callables: derivatives by local interpolation, jumps measured, kinks searched for."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.polynomial import chebyshev
from numpy.typing import NDArray

from qcmap.activations._activation import Activation, Array, Function, Kink, Piece
from qcmap.activations._checked import PROBE, SEARCH, Checked, Real, refuse_undeclared_kinks
from qcmap.activations._length import checked_length, safe_length
from qcmap.errors import ActivationError

_EPS = float(np.finfo(np.float64).eps)
_ACCURACY = 1e-8
"""The error allowed in a second difference, relative to max abs(phi) / length^2 around the point."""


class _Local:
    """Derivatives of a function by interpolation at Chebyshev points in a window that crosses no kink.

    The window has half-width h = length / share, or half the piece if that is less. For a function analytic within
    ``length`` the truncation error is about (h / (2 length))^(count - order), and rounding adds eps / h^order times
    the norm of the differentiation: about 2 count^2 for order 2, at the window's ends (next to a kink) count^4 / 3.
    """

    def __init__(self, function: Function, kinks: tuple[float, ...], length: float, count: int, share: float) -> None:
        self.function, self.count = function, count
        self.points = np.cos(math.pi * (np.arange(count) + 0.5) / count)
        # Row k of the inverse Vandermonde matrix gives the coefficient of T_k from the values at the points.
        self.to_coefficients = np.linalg.inv(chebyshev.chebvander(self.points, count - 1))
        self.ends = np.array([-math.inf, *kinks, math.inf])
        self.half = np.minimum(length / share, np.diff(self.ends) / 2)

    def piece_of(self, u: Array) -> NDArray[np.intp]:
        """The number of the piece that holds each u; at a kink the one on its left."""
        return np.clip(np.searchsorted(self.ends, u, side="left") - 1, 0, len(self.half) - 1)

    def __call__(self, u: Array, order: int, piece: Any = None) -> tuple[Array, Array, Array]:
        """The derivative, an estimate of its error (for order <= 2), and the largest abs(value) in the window."""
        piece = self.piece_of(u) if piece is None else piece
        half = self.half[piece]
        centre = np.clip(u, self.ends[piece] + half, self.ends[np.asarray(piece) + 1] - half)
        samples = self.function(centre[..., None] + np.asarray(half)[..., None] * self.points)
        coefficients = np.moveaxis(samples @ self.to_coefficients.T, -1, 0)
        x, size = (u - centre) / half, np.abs(samples).max(axis=-1)
        slopes = chebyshev.chebder(coefficients, order, axis=0) if order else coefficients
        result = np.asarray(chebyshev.chebval(x, slopes, tensor=False) / half**order, np.float64)
        inside = np.maximum(1 - x * x, 1 / self.count**2)
        norm = (1.0, self.count / np.sqrt(inside), np.minimum(self.count**4 / 3, 2 * self.count**2 / inside**1.5))[
            order
        ]
        return result, (np.abs(coefficients[-3:]).max(axis=0) + _EPS * size) * norm / half**order, size


def from_callable(
    function: Callable[..., Any],
    derivative: Callable[..., Any] | None = None,
    kinks: tuple[float, ...] = (),
    *,
    name: str | None = None,
    length: float = 1.0,
    search: tuple[float, float] | None = SEARCH,
) -> Activation:
    """An activation from a vectorised callable.

    The first derivative is computed from ``function`` to about 1e-9 (1e-11 away from kinks) if it is not given; the
    second within 1e-8 max abs(phi) / length^2, the maximum taken around u, from 20 values near u; the third in the same
    way if ``derivative`` is given. Where that accuracy is not reached, and for higher orders, `Activation.derivative`
    raises `ActivationError`. A derivative that is given must agree with the computed one to 1e-7 (and 20 times the
    estimated error of that) at 30 points in (-3.8, 3); it is refused otherwise. Jumps in value, slope and curvature are
    measured, those below 1e-7 (value, slope), 1e-6 (curvature) or their error estimate taken for none.

    The search finds, outside declared kinks by 1e-5 or more: jumps; jumps of the slope above 1e-3 and of the curvature
    above 0.1 in functions of order one (often smaller ones, and jumps of phi'''); poles and cusps. It cannot find what
    lies between its samples, some 0.05 apart (two kinks nearer than that whose jumps cancel, a narrow bump) or outside
    the interval; a smooth function that changes within 1e-5 looks like a kink. Places are found to about 1e-7.

    Parameters
    ----------
    function
        phi: float64 arrays of any shape to arrays of the same shape.
    derivative
        phi', if known.
    kinks
        Every point where phi is not analytic.
    length
        A lower bound for the distance from 0 to the nearest complex singularity of the pieces of phi. It is checked:
        if phi is not resolved near 0 by panels of this length, the largest length / 2^k that resolves it is used.
    search
        The interval in which kinks that are not declared are searched for; None to skip the search.

    Raises
    ------
    ActivationError
        If a result has another shape or is not finite, a kink is not a finite number, or there is a kink that was not
        declared: the message says where.
    """
    name = name or str(getattr(function, "__name__", "callable"))
    length = checked_length(length, name)
    try:
        points = tuple(sorted({float(kink) for kink in kinks}))
    except (TypeError, ValueError):
        points = (math.nan,)
    if not all(map(math.isfinite, points)):
        raise ActivationError(name, f"kinks must be finite, got {kinks!r}", "give a tuple of finite numbers")
    value = Checked(function, name, "the function")
    evaluate = Real(function, name, "the function")
    refuse_undeclared_kinks(evaluate, points, search, length, name, lambda every: f"declare all: pass kinks={every}")
    length = safe_length(evaluate, points, length)
    scale = min(length, 1.0)
    slopes = _Local(value, points, scale, 10, 8)
    first: Function = lambda u: slopes(u, 1)[0]  # noqa: E731
    if derivative is not None:
        first = _agreeing(Checked(derivative, name, "the derivative"), slopes, name, points)
    known, base = (0, value) if derivative is None else (1, first)
    differences = _Local(base, points, scale, 20, 3)

    def higher(u: Array, order: int, piece: int | None = None) -> Array:
        if order - known > 2:
            raise ActivationError(
                name,
                f"derivatives above order {known + 2} are not known",
                "build it with Activation.from_sympy instead",
            )
        result, error, size = differences(u, order - known, piece)
        bad = error > _ACCURACY * np.maximum(size / scale**2, np.abs(result))
        if bad.any():
            where = np.broadcast_to(u, bad.shape)[bad].flat[0]
            raise ActivationError(
                name,
                f"its derivative of order {order} is not found to {_ACCURACY:g} at u = {where:.6g}",
                "declare all its kinks, give a smaller length, or build it with Activation.from_sympy",
            )
        return result

    def on_piece(k: int) -> Piece:
        return lambda u, order: higher(u, order, k)

    return Activation(
        name,
        value,
        first,
        lambda u: higher(u, 2),
        kinks=tuple(_measured(_Local(value, points, scale, 20, 3), k, at) for k, at in enumerate(points)),
        pieces=tuple(on_piece(k) for k in range(len(points) + 1)),
        length=length,
    )


def _agreeing(given: Function, local: _Local, name: str, kinks: tuple[float, ...]) -> Function:
    """The given derivative; raises `ActivationError` if it is not that of the function, kinks apart."""
    probe = np.concatenate([PROBE.ravel(), np.linspace(-3.77, 2.93, 24)])
    probe = probe[[all(abs(u - kink) > 1e-6 for kink in kinks) for u in probe]]
    found, error, _ = local(probe, 1)
    gap, size = np.abs(given(probe) - found), np.abs(found)
    excess = gap - 1e-7 * size - 1e-9 * size.max(initial=0.0) - 20 * error
    if (excess > 0).any():
        worst = int(np.argmax(excess))
        raise ActivationError(
            name,
            f"the derivative is wrong by {gap[worst]:.3g} at u = {probe[worst]:g}",
            "correct it, leave it out, or declare kinks",
        )
    return given


def _measured(local: _Local, k: int, at: float) -> Kink:
    """Kink k with its jumps: the interpolants on either side at their common end."""
    u, jumps = np.array(at), []
    for order, least in enumerate((1e-7, 1e-7, 1e-6)):
        (left, error, _), (right, more, _) = local(u, order, k), local(u, order, k + 1)
        jump = float(right - left)
        jumps.append(jump if abs(jump) > max(least, 4 * float(error + more)) else 0.0)
    return Kink(at, *jumps)
