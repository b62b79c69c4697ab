"""The n-fold composition of a C map, to full relative precision near c = 1.

With e = 1 - c, one step is e -> e a(e), where a = (1 - C(c)) / (1 - c) = mean of C' over [c, 1] is the chord slope. It
has no cancellation at e = 0, and as a function of theta = arccos c it is analytic on [0, pi], also for activations with
kinks; so it is kept as a Chebyshev interpolant in theta. The chord slope of C^(2n) is a_n(e) a_n(e a_n(e)):
interpolants for n = 1, 2, 4, ... make a ladder, climbed as far as few nodes resolve them. Long runs go by its highest
rung.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qcmap.errors import ArgumentError, NumericalError
from qcmap.numeric.asymptotics._edge import EdgeFlow
from qcmap.numeric.maps._quadrature import legendre

Array = NDArray[np.float64]
Function = Callable[[Array], Array]

_SIZES = (17, 33, 65, 129, 257, 513, 1025, 2049, 4097)
_RUNG = 257
"""Most nodes of an interpolant of a composition."""

_NOISE = 1e-10
_SETTLED = 1e-15
_STALLED, _PATIENCE = 1e-13, 64
LATE = 1 << 16
"""Compositions at the edge are followed one by one, or by the ladder, up to this number at least."""
_FEW, _SMALL = 257, 0.5
"""Chord slopes come from an integral of C', and from 1 - C only if C' has more coefficients and theta is larger."""


@dataclass(frozen=True, eq=False)
class Series:
    """A Chebyshev interpolant in theta on [0, pi]; ``error`` is the size of its last coefficients."""

    coefficients: Array
    error: float

    def __call__(self, theta: Array) -> Array:
        """The value at theta in [0, pi], of any shape."""
        position = np.clip(2 * theta / math.pi - 1, -1.0, 1.0)
        if position.size * self.coefficients.size <= 20_000:
            # One matrix product costs less than a recurrence over the coefficients.
            return np.cos(np.multiply.outer(np.arccos(position), np.arange(self.coefficients.size))) @ self.coefficients
        return np.asarray(np.polynomial.chebyshev.chebval(position, self.coefficients), dtype=np.float64)

    def at_zero(self, order: int) -> float:
        """The derivative of this order in theta at theta = 0."""
        derived = np.polynomial.chebyshev.chebder(self.coefficients, order)
        return float(np.polynomial.chebyshev.chebval(-1.0, derived)) * (2 / math.pi) ** order


def interpolated(function: Function, tolerance: float, most: int = _SIZES[-1]) -> Series | None:
    """The interpolant of a function of theta in [0, pi] whose last coefficients are below ``tolerance`` of the largest.

    The number of nodes doubles until they are, or until they stop falling below `_NOISE` of it: the rounding of maps of
    many layers, which is cut off. ``None`` if ``most`` nodes are not enough.
    """
    before = math.inf
    from scipy.fft import dct

    for count in _SIZES:
        if count > most:
            break
        values = function(_nodes(count))
        coefficients = np.asarray(dct(values, type=2), dtype=np.float64) / count
        coefficients[0] /= 2
        # Nodes run from theta = pi down to 0.
        size = np.abs(coefficients)
        tail = float(size[-max(4, count // 8) :].max())
        if not np.isfinite(tail):
            return None
        noisy = tail > before / 4 and tail <= _NOISE * size.max()
        if tail <= tolerance * size.max() or noisy:
            kept = np.flatnonzero(size > (tail if noisy else 1e-17 * size.max()))
            return Series(coefficients[: int(kept[-1]) + 1 if kept.size else 1], tail)
        before = tail
    return None


def _nodes(count: int) -> Array:
    return math.pi / 2 * (1 + np.cos(math.pi * (np.arange(count) + 0.5) / count))


class Iterates:
    """C^n for a C map given with its derivative, both functions of arrays of c in [-1, 1].

    Raises
    ------
    NumericalError
        If C' is not resolved by 4,097 nodes.
    ArgumentError
        If C(1) is not 1, or C' is not the derivative of C.
    """

    slope: Series
    """C'(cos theta)."""

    def __init__(self, value: Function, derivative: Function, name: str) -> None:
        slope = interpolated(lambda theta: derivative(np.cos(theta)), 2e-13)
        if slope is None:
            raise NumericalError(
                name,
                f"its C map's derivative is not resolved by {_SIZES[-1]} nodes",
                "use fewer layers or a smaller zeta",
            )
        self.slope, self._value = slope, value
        if not abs(float(value(np.ones(1))[0]) - 1) <= 1e-9:
            raise ArgumentError(name, "a C map has C(1) = 1", "divide it by its value at 1")
        gap = float(np.max(np.abs(self._near(np.array([_SMALL, 1.2])) - self._far(np.array([_SMALL, 1.2])))))
        if not gap <= 1e-9 * max(1.0, float(slope(np.zeros(1))[0])):
            raise ArgumentError(name, f"1 - C(c) and the integral of C' over [c, 1] differ by {gap:.1e}", "check C'")
        first = interpolated(self._chord, 2e-13)
        if first is None:
            raise NumericalError(name, f"its C map is not resolved by {_SIZES[-1]} nodes", "use fewer layers")
        self._rungs = [first]
        # C(-1) = -1 for odd maps; it repels, so rounding must not move it.
        self._keeps_minus = abs(float(first(np.array([math.pi]))[0]) - 1) < 1e-12

    def chord(self, theta: Array) -> Array:
        """(1 - C(c)) / (1 - c) at c = cos theta."""
        return self._rungs[0](theta)

    def advance(self, e: Array, n: int, edge: EdgeFlow | None = None) -> Array:
        """1 - C^n(1 - e), for e in [0, 2] of any shape.

        It stops where nothing changes any more, and where change is rounding: no more than 1e-13 of e, and no less in
        64 steps. With ``edge`` the law there takes over as soon as it holds.
        """
        e = np.asarray(e, dtype=np.float64)
        self._climb(n)
        for level in range(len(self._rungs) - 1, -1, -1):
            times, n = divmod(n, 1 << level)
            least, waited = math.inf, 0
            for done in range(times):
                if edge is not None and edge.holds(e):
                    return edge(e, ((times - done) << level) + n)
                after = self.step(e, level)
                change = np.abs(after - e)
                largest = float(np.max(change / np.where(e > 0, e, 1.0), initial=0.0))
                e = after
                if largest <= _SETTLED:
                    return e
                least, waited = (largest, 0) if largest < least else (least, waited + 1)
                if least <= _STALLED and waited >= _PATIENCE:
                    return e
        return e

    def edge_flow(self, *, kinked: bool) -> EdgeFlow | None:
        """The law of late compositions where C'(1) = 1, from the expansion of the chord slope in theta."""
        chord = self._rungs[0]
        one, two = chord.at_zero(1), chord.at_zero(2) / 2
        if kinked:
            rate, correction, power = -one / math.sqrt(2), 0.75 * one * one - two, 0.5
        else:
            rate, correction, power = -2 * two, 4 * two * two - two / 3 - chord.at_zero(4) / 6, 1.0
        return EdgeFlow(rate, correction, power) if rate > 1e-8 else None

    def step(self, e: Array, level: int = 0) -> Array:
        """1 - C^(2^level)(1 - e)."""
        after = np.clip(e * np.maximum(self._rungs[level](_angle(e)), 0.0), 0.0, 2.0)
        return np.where(e == 2, 2.0, after) if self._keeps_minus else after

    def turn(self, left: float, right: float) -> float:
        """A point between two at which C' has different signs where it is 0, by bisection."""
        rising = self.slope(np.array(math.acos(right))) > 0
        for _ in range(60):
            middle = (left + right) / 2
            if (self.slope(np.array(math.acos(middle))) > 0) == rising:
                right = middle
            else:
                left = middle
        return (left + right) / 2

    def jump(self, ends: Array, most: int) -> tuple[Array, int]:
        """Ends after as many compositions as the ladder makes in one go, at most ``most`` >= 1, and their number."""
        self._climb(most)
        level = min(len(self._rungs), most.bit_length()) - 1
        return self.step(ends, level), 1 << level

    def first_below(self, ends: Array, eps: float, most: int) -> float:
        """The least n at which the images of two ends, of shape (2,), differ by less than eps, if this falls with n.

        Infinity if there is none up to ``most``, or the ends settle before.
        """
        self._climb(most)
        n, here = 0, ends
        for level in range(len(self._rungs) - 1, -1, -1):
            while n + (1 << level) <= most:
                after = self.step(here, level)
                if after[0] - after[1] < eps:
                    break
                if bool(np.all(np.abs(after - here) <= _SETTLED * here)):
                    return math.inf
                n, here = n + (1 << level), after
        return n + 1 if n < most else math.inf

    def _climb(self, n: int) -> None:
        """Add rungs for C^2, C^4, ..., while they help with n compositions and few nodes resolve them."""
        while (8 << len(self._rungs)) <= n:
            below = self._rungs[-1]
            at_one = abs(float(below(np.zeros(1))[0]))
            if not 1e-100 < at_one < 4:
                break

            def doubled(theta: Array, below: Series = below) -> Array:
                first = np.maximum(below(theta), 0.0)
                return first * np.maximum(below(_angle(2 * np.sin(theta / 2) ** 2 * first)), 0.0)

            rung = interpolated(doubled, 1e-14, most=_RUNG)
            if rung is None:
                break
            self._rungs.append(rung)

    def _chord(self, theta: Array) -> Array:
        small = np.full(theta.shape, self.slope.coefficients.size <= _FEW) | (theta < _SMALL)
        result = np.empty_like(theta)
        result[small], result[~small] = self._near(theta[small]), self._far(theta[~small])
        return result

    def _near(self, theta: Array) -> Array:
        """Int_0^theta C'(cos t) sin t dt / (1 - cos theta), with t = theta s."""
        nodes, weights = legendre(24 + self.slope.coefficients.size // 2)
        s, w = (nodes + 1) / 2, weights / 2
        t = theta[:, None] * s
        # theta sin(theta s) / (1 - cos theta), and its limit 2 s.
        half = theta / 2
        density = 2 * s * np.sinc(t / math.pi) / np.sinc(half / math.pi)[:, None] ** 2
        return (self.slope(t) * density) @ w

    def _far(self, theta: Array) -> Array:
        return (1 - self._value(np.cos(theta))) / (2 * np.sin(theta / 2) ** 2)


def _angle(e: Array) -> Array:
    return 2 * np.arcsin(np.sqrt(np.clip(e, 0.0, 2.0) / 2))
