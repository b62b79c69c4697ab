"""Local Q and C maps of one nonlinear layer (DKS, sections 6 and 8)."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from qcmap.activations import Activation, activation
from qcmap.errors import ArgumentError, NumericalError
from qcmap.numeric._quadrature import ORDER, RANGE, gaussian_rule, panel_rule, u_breaks
from qcmap.numeric._transform import Transform, refuse_jumps

Array = NDArray[np.float64]
Function = Callable[[Array], Array]

_BLOCK = 1_000_000
_FEW = 12
"""Up to this many c values are computed one by one; more go through an interpolant."""


class LocalMaps:
    """Q and C maps of a nonlinear layer with activation f: phi itself, or a transform of it.

    ``q(q)`` is Q(q) = E f(sqrt(q) x)^2 (DKS, equation 5), ``dq(q)`` its derivative (section 8.1.1), and
    ``c(c, q1, q2)`` and ``dc(c, q1, q2)`` the C map (equations 6 and 7) and its derivative in c (section 8.1.2). All
    take arrays that broadcast. Closed forms are used where they are known; else one- and two-dimensional quadrature
    with the kinks of f, and for many c values a Chebyshev interpolant in theta = arccos c, in which C is analytic.
    """

    transform: Transform

    def __init__(self, act: Activation | str, transform: Transform | None = None) -> None:
        act = activation(act)
        self.transform = Transform(act) if transform is None else transform
        self._kernel = act.kernel if transform is None else None
        self._interpolants: dict[tuple[float, float, bool], Array] = {}

    def mean(self, q: ArrayLike = 1.0) -> Array:
        """E f(sqrt(q) x), the channel mean after the layer (DKS, appendix A), for q > 0 of any shape."""
        return self._each(positive("q", q), self._mean)

    def q(self, q: ArrayLike = 1.0) -> Array:
        """Q(q), for q > 0 of any shape."""
        values = positive("q", q)
        if self._kernel is not None:
            return self._kernel(np.ones_like(values), values, values)
        return self._each(values, self._q)

    def dq(self, q: ArrayLike = 1.0) -> Array:
        """Q'(q) = E[f(sqrt(q) x) f'(sqrt(q) x) x] / sqrt(q), for q > 0 of any shape."""
        return self._each(positive("q", q), self._dq)

    def c(self, c: ArrayLike, q1: ArrayLike = 1.0, q2: ArrayLike = 1.0) -> Array:
        """C(c, q1, q2), for c in [-1, 1] and q1, q2 > 0, broadcast together.

        Raises
        ------
        ArgumentError
            If c leaves [-1, 1] by more than 1e-12, or q is not positive and finite.
        NumericalError
            If Q is zero or not finite there, so that C is not defined.
        """
        return self._map(c, q1, q2, derivative=False)

    def dc(self, c: ArrayLike, q1: ArrayLike = 1.0, q2: ArrayLike = 1.0) -> Array:
        """dC/dc = sqrt(q1 q2) E[f'(u1) f'(u2)] / sqrt(Q(q1) Q(q2)) of a continuous f; arguments as in `c`."""
        return self._map(c, q1, q2, derivative=True)

    def _mean(self, q: float) -> float:
        x, w = self._rule(q)
        return float(np.sum(w * self.transform(math.sqrt(q) * x)))

    def _q(self, q: float) -> float:
        value, coarse = (
            float(np.sum(w * self.transform(math.sqrt(q) * x) ** 2))
            for x, w in (self._rule(q), self._rule(q, order=14))
        )
        if abs(value - coarse) > 1e-9 * abs(value):
            raise NumericalError(
                self.transform.activation.name, f"its integrals at q = {q:.6g} are not resolved",
                "declare all its kinks, a smaller length, or use a smaller q",
            )  # fmt: skip
        return value

    def _dq(self, q: float) -> float:
        refuse_jumps(self.transform.activation)
        x, w = self._rule(q)
        u = math.sqrt(q) * x
        return float(np.sum(w * self.transform(u) * self.transform.derivative(u) * x)) / math.sqrt(q)

    def _rule(self, q: float, extra: Array | None = None, order: int = ORDER) -> tuple[Array, Array]:
        t = self.transform
        x, w = gaussian_rule(
            t.activation, np.array([t.input_scale * math.sqrt(q)]), np.array([t.input_shift]), order=order, extra=extra
        )
        return x[0], w[0]

    def _each(self, values: Array, function: Callable[[float], float]) -> Array:
        distinct, where = np.unique(values, return_inverse=True)
        results = np.array([function(float(q)) for q in distinct])
        if not np.isfinite(results).all():
            q = distinct[~np.isfinite(results)][0]
            raise NumericalError(
                self.transform.activation.name, f"its moments are not finite at q = {q:.6g}", "use a smaller q"
            )
        return results[where].reshape(values.shape)

    def _map(self, c: ArrayLike, q1: ArrayLike, q2: ArrayLike, *, derivative: bool) -> Array:
        c, q1, q2 = np.broadcast_arrays(correlation(c), positive("q1", q1), positive("q2", q2))
        if self._kernel is not None and not derivative:
            ones = np.ones_like(c)
            norm = np.sqrt(self._kernel(ones, q1, q1) * self._kernel(ones, q2, q2))
            if not (np.isfinite(norm) & (norm > 0)).all():
                raise self._undefined()
            return np.clip(self._kernel(c, q1, q2) / norm, -1.0, 1.0)
        result = np.empty(c.shape)
        # q values that differ by rounding share one interpolant.
        keys = np.stack([_rounded(q1), _rounded(q2)], axis=-1).reshape(-1, 2)
        pairs, where = np.unique(keys, axis=0, return_inverse=True)
        where = where.reshape(c.shape)
        for k, (a, b) in enumerate(pairs):
            here = where == k
            result[here] = self._at(c[here], float(a), float(b), derivative=derivative)
        return result

    def _at(self, c: Array, q1: float, q2: float, *, derivative: bool) -> Array:
        distinct, where = np.unique(c, return_inverse=True)
        if distinct.size <= _FEW:
            values = np.array([self._exact(float(x), q1, q2, derivative=derivative) for x in distinct])
        else:
            coefficients = self._interpolant(q1, q2, derivative=derivative)
            position = 2 * np.arccos(distinct) / math.pi - 1
            values = np.asarray(np.polynomial.chebyshev.chebval(position, coefficients), dtype=np.float64)
        return values[where] if derivative else np.clip(values, -1.0, 1.0)[where]

    def _interpolant(self, q1: float, q2: float, *, derivative: bool) -> Array:
        """Chebyshev coefficients in 2 theta / pi - 1; the number of nodes doubles until the last ones are rounding."""
        key = (q1, q2, derivative)
        if key not in self._interpolants:
            for count in (17, 33, 65, 129, 257):
                points = np.cos(math.pi * (np.arange(count) + 0.5) / count)
                cosines = np.cos(math.pi * (points + 1) / 2)
                values = np.array([self._exact(float(c), q1, q2, derivative=derivative) for c in cosines])
                coefficients = np.asarray(np.polynomial.chebyshev.chebfit(points, values, count - 1), np.float64)
                size = np.abs(coefficients)
                if size[-4:].max() <= 2e-14 * size.max():
                    break
            else:
                raise NumericalError(
                    self.transform.activation.name, f"its C map at q = {q1:.6g}, {q2:.6g} is not resolved by 257 nodes",
                    "declare all kinks of the activation",
                )  # fmt: skip
            self._interpolants[key] = coefficients
        return self._interpolants[key]

    def _exact(self, c: float, q1: float, q2: float, *, derivative: bool) -> float:
        if derivative:
            refuse_jumps(self.transform.activation)
        f = self.transform.derivative if derivative else self.transform
        scale = math.sqrt(q1 * q2) if derivative else 1.0
        norm = math.sqrt(self._q(q1) * self._q(q2))
        if not (math.isfinite(norm) and norm > 0):
            raise self._undefined()
        return scale * self._correlated(f, c, q1, q2) / norm

    def _undefined(self) -> NumericalError:
        return NumericalError(
            self.transform.activation.name, "its second moment is zero or not finite, so it has no C map",
            "use q values where it is finite",
        )  # fmt: skip

    def _correlated(self, f: Function, c: float, q1: float, q2: float) -> float:
        """E[f(sqrt(q1) x) f(sqrt(q2) (c x + s y))], s = sqrt(1 - c^2).

        The inner integral over y breaks at f's kinks for every x, and, as a function of x, changes over a width s near
        the x at which c x meets a kink: the outer panels are graded there.
        """
        s = math.sqrt((1 - c) * (1 + c))
        t = self.transform
        if s < 1e-9:
            sign = math.copysign(1.0, c)
            x, w = self._rule(max(q1, q2), extra=self._mirrored(q1, q2) if sign < 0 or q1 != q2 else None)
            return float(np.sum(w * f(math.sqrt(q1) * x) * f(math.sqrt(q2) * sign * x)))
        scale = t.input_scale * math.sqrt(q2)
        extra = None
        if abs(c) > 0.1 and t.activation.kinks:
            kinks = np.array([(kink.at - t.input_shift) / (scale * c) for kink in t.activation.kinks])
            steps = s / abs(c) * np.array([-9.0, -3.0, -1.0, 0.0, 1.0, 3.0, 9.0])
            extra = (kinks[:, None] + steps).ravel()
        x, w = self._rule(q1, extra=extra)
        keep = w > 1e-40
        x, w = x[keep], w[keep]
        shift = t.input_shift + scale * c * x
        own = u_breaks(t.activation, np.array([scale]), np.array([t.input_shift]))
        uniform = np.broadcast_to(np.linspace(-RANGE, RANGE, 9), (x.size, 9))
        breaks = np.concatenate([uniform, (own - shift[:, None]) / (scale * s)], axis=1)
        inner = np.empty(x.size)
        step = max(1, _BLOCK // (16 * breaks.shape[1]))
        for rows in (slice(k, k + step) for k in range(0, x.size, step)):
            y, v = panel_rule(breaks[rows], 16)
            inner[rows] = np.einsum("ij,ij->i", v, f(math.sqrt(q2) * (c * x[rows, None] + s * y)))
        return float(np.sum(w * f(math.sqrt(q1) * x) * inner))

    def _mirrored(self, q1: float, q2: float) -> Array:
        """Kinks of both factors of f(sqrt(q1) x) f(+-sqrt(q2) x), as breaks in x."""
        t = self.transform
        own = u_breaks(t.activation, np.array([t.input_scale * math.sqrt(max(q1, q2))]), np.array([t.input_shift]))
        x = np.concatenate([(own - t.input_shift) / (t.input_scale * math.sqrt(q)) for q in (q1, q2)])
        return np.concatenate([x, -x])


def positive(name: str, value: ArrayLike) -> Array:
    array = np.asarray(value, dtype=np.float64)
    bad = ~(np.isfinite(array) & (array > 0))
    if bad.any():
        raise ArgumentError(name, f"q values are positive and finite, not {array[bad].flat[0]}", "check the inputs")
    return array


def correlation(value: ArrayLike) -> Array:
    array = np.asarray(value, dtype=np.float64)
    bad = ~(np.abs(array) <= 1 + 1e-12)
    if bad.any():
        raise ArgumentError("c", f"c values lie in [-1, 1], not {array[bad].flat[0]}", "check the inputs")
    return np.clip(array, -1.0, 1.0)


def _rounded(q: Array) -> Array:
    """Q to 44 bits, 13 significant digits."""
    mantissa, exponent = np.frexp(q)
    return np.ldexp(np.round(mantissa * 2.0**44) / 2.0**44, exponent)


@lru_cache(maxsize=256)
def _cached(act: Activation, transform: Transform | None) -> LocalMaps:
    return LocalMaps(act, transform)


def local_maps(act: Activation | str, transform: Transform | None = None) -> LocalMaps:
    """The local maps of an activation, transformed or not; one object for each, so its interpolants are kept."""
    return _cached(activation(act), transform)
