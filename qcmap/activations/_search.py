"""The search for kinks that nobody declared: Chebyshev coefficients that do not fall as an analytic function's do.

On a panel of width w the last of 16 Chebyshev coefficients of a function analytic around it falls by 2^-15 or more when
the panel is halved, once w is below the distance to its singularities; that of a function whose k-th derivative jumps
inside falls by 2^-k. So panels are halved until their last coefficients are rounding. A panel that the search cannot
resolve at width 1e-5, or that took five halvings in a row with a gain below 64 each, holds a suspect. Polynomials are
fitted on its left and on its right; with D their difference, its place is the zero of D (a jump of the first
derivative), of D' (of the second) or of D'' (of the third), or, if there is none, the point where phi goes over from
one polynomial to the other (a jump of phi).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.polynomial import Polynomial, chebyshev
from numpy.typing import NDArray

from qcmap.errors import ActivationError

Array = NDArray[np.float64]
Function = Callable[[Array], Array]
Suspect = tuple[float, float, float]
"""The ends of a window, and its last coefficients over what rounding explains: 0 if all are in smaller windows."""

_NODES = 16
_POINTS = np.cos(math.pi * (np.arange(_NODES) + 0.5) / _NODES)
_COEFFICIENTS = np.linalg.inv(chebyshev.chebvander(_POINTS, _NODES - 1))
_EPS = float(np.finfo(np.float64).eps)
_OFFSET = 0.381966011250105
"""Panels end at multiples of their width plus this share, where a kink is unlikely; windows overlap besides."""
_SMALLEST = 1e-5
_MANY_PANELS = 6000
_MOST = 24
"""Kinks to find; a function with more has to be looked at anyway."""
_DEGREE = 8
_AMPLIFIED = 30 * np.array([1.0, 2e2, 5e3, 6e4])
"""30 times what an error of 1 on a side's window may make of its Taylor coefficients 0 to 3 at its end: a polynomial of
degree n = 8 on an interval of length 1 has derivatives up to 2^k T_n^(k)(1) there (Markov), doubled for two sides."""


def undeclared_kinks(
    function: Function, declared: tuple[float, ...], interval: tuple[float, float], length: float, name: str
) -> list[float]:
    """Where ``function`` is not analytic inside ``interval``, the declared points apart: in order, the first 24.

    Stretches on which the function overflows are passed over. Raises `ActivationError` for values that are not numbers,
    for noise that would hide a kink, and for functions that change too fast to be searched.
    """
    search = _Search(function, declared, interval, length, name)
    found: list[float] = []
    for group in _overlapping(search.suspects())[:_MOST]:
        places = (search.place(*window) for window in sorted(group, key=lambda window: -window[2]))
        at = next((place for place in places if place is not None), None)
        if at is not None and all(abs(at - other) > 2 * _SMALLEST * max(1.0, abs(at)) for other in found):
            found.append(at)
    return sorted(found)


def _overlapping(windows: list[Suspect]) -> list[list[Suspect]]:
    """The windows in increasing order, those that overlap together."""
    groups: list[list[Suspect]] = []
    for window in sorted(windows):
        if groups and window[0] <= max(other[1] for other in groups[-1]):
            groups[-1].append(window)
        else:
            groups.append([window])
    return groups


class _Search:
    """One search: the function, its walls (declared kinks and the ends), and its noise."""

    def __init__(
        self, function: Function, declared: tuple[float, ...], interval: tuple[float, float], length: float, name: str
    ) -> None:
        self.function, self.name, self.length = function, name, min(length, 1.0)
        low, high = interval
        self.walls = np.array([low, *sorted(kink for kink in declared if low < kink < high), high])
        near_zero = np.abs(self.sample(np.linspace(max(low, -2.0), min(high, 2.0), 41)[1:-1] + 1e-3 * _OFFSET))
        finite = near_zero[np.isfinite(near_zero)]
        self.size = float(finite.max(initial=0.0))
        self.noise = self.measured_noise()

    def sample(self, u: Array) -> Array:
        with np.errstate(all="ignore"):
            values = self.function(u)
        if np.isnan(values).any():
            where = u[np.isnan(values)].flat[0]
            raise ActivationError(
                self.name, f"it is not a number (not finite) at u = {where:.6g}", "give a function that is finite there"
            )
        return values

    def tails(self, left: Array, right: Array) -> tuple[Array, Array]:
        """The size of the last four Chebyshev coefficients on each window, and what rounding may make of it."""
        middle, half = (left + right) / 2, (right - left) / 2
        u = middle[:, None] + half[:, None] * _POINTS
        values = self.sample(u)
        overflow = ~np.isfinite(values).all(axis=1)
        values[overflow] = 0.0
        tail = np.abs(values @ _COEFFICIENTS[-4:].T).max(axis=1)
        most, slope = np.abs(values).max(axis=1), np.abs(np.diff(values, axis=1) / np.diff(u, axis=1)).max(axis=1)
        rounding = 16 * _EPS * (self.size + most + np.abs(u).max(axis=1) * slope)
        return tail, rounding

    def measured_noise(self) -> float:
        """The noise of the values against their size: the median over 15 windows so narrow that phi is smooth there."""
        low, high = max(self.walls[0], -4.0), min(self.walls[-1], 4.0)
        if not low < high:
            low, high = self.walls[[0, -1]]
        left = low + (high - low) * (np.arange(15) + _OFFSET) / 15.37
        tail, rounding = self.tails(left, left + 1e-3 * self.length)
        noise = float(np.median(tail / np.maximum(rounding / (16 * _EPS), 1e-300)))
        if noise > 1e-10:
            raise ActivationError(
                self.name,
                f"its values have a relative noise of {noise:.1g}, or it changes within {1e-3 * self.length:.1g}",
                "compute it in float64, give its length, or skip the search for kinks with search=None",
            )
        return noise

    def window(self, left: Array, right: Array) -> tuple[Array, Array]:
        """Panels with a tenth more at either end, up to the walls."""
        wall = np.clip(np.searchsorted(self.walls, (left + right) / 2), 1, len(self.walls) - 1)
        more = 0.1 * (right - left)
        return np.maximum(left - more, self.walls[wall - 1]), np.minimum(right + more, self.walls[wall])

    def panels(self) -> Array:
        """The ends of the first panels: a uniform grid, the walls, and a grading towards them."""
        low, high = self.walls[[0, -1]]
        width = min(max(self.length, 1 / 16), 1.0)
        grid = (np.arange(math.floor(low / width), math.ceil(high / width) + 1) + _OFFSET) * width
        grading = width * _OFFSET * 4.0 ** -np.arange(1, 10)
        ends = np.concatenate(
            [grid, self.walls, *(self.walls[:, None] + sign * grading for sign in (1, -1))], axis=None
        )
        return np.unique(ends[(ends >= low) & (ends <= high)]).astype(np.float64)

    def suspects(self) -> list[Suspect]:
        """Windows that may hold a kink."""
        ends = self.panels()
        left, right = ends[:-1], ends[1:]
        before, slow = np.full(len(left), math.inf), np.zeros(len(left), int)
        found: list[Suspect] = []
        while len(left):
            a, b = self.window(left, right)
            tail, rounding = self.tails(a, b)
            allowed = rounding * (1 + 64 * self.noise / (16 * _EPS))
            resolved = tail <= allowed
            if np.isfinite(before).all():
                # Both halves are rounding, but the whole they make fell too slowly: the kink is in its window.
                count = len(left) // 2
                slowly = np.flatnonzero(resolved[:count] & resolved[count:] & (slow[:count] >= 5))
                whole = self.window(left[slowly], right[slowly + count])
                found += [(float(low), float(high), 0.0) for low, high in zip(*whole, strict=True)]
            stuck = ~resolved & (right - left < _SMALLEST * self.length)
            found += [
                (float(a[k]), float(b[k]), float(tail[k] / max(allowed[k], 1e-300))) for k in np.flatnonzero(stuck)
            ]
            go_on = ~resolved & ~stuck
            if np.count_nonzero(go_on) > _MANY_PANELS:
                raise ActivationError(
                    self.name,
                    f"it changes too fast to be searched for kinks on [{self.walls[0]:g}, {self.walls[-1]:g}]",
                    "give a smaller interval to search, or skip the search with search=None",
                )
            slow = np.where(tail > before / 64, slow + 1, 0)
            left, right, before, slow = (array[go_on] for array in (left, right, tail, slow))
            middle = (left + right) / 2
            left, right = np.concatenate([left, middle]), np.concatenate([middle, right])
            before, slow = np.tile(before, 2), np.tile(slow, 2)
        return found

    def place(self, left: float, right: float, excess: float) -> float | None:
        """Where in the window (left, right) the pieces part; None if they do not, to rounding."""
        width, middle = right - left, (left + right) / 2
        k = int(np.clip(np.searchsorted(self.walls, middle), 1, len(self.walls) - 1))
        for factor in (256.0, 64.0, 16.0, 4.0):
            reach = min(factor * width, 0.2 * self.length)
            one = self.fit(max(left - reach, self.walls[k - 1]), left, middle, reach)
            other = self.fit(right, min(right + reach, self.walls[k]), middle, reach)
            if one is not None and other is not None:
                return self.parting(one, other, middle, reach, width)
        return self.narrowed(left, right) if excess > 1e3 else None

    def fit(self, left: float, right: float, middle: float, reach: float) -> tuple[Polynomial, float] | None:
        """The polynomial in (u - middle) / reach on a side, with its error; None if it does not fit to rounding."""
        if right - left < reach / 4:
            return None
        u = (left + right) / 2 + (right - left) / 2 * np.cos(math.pi * (np.arange(24) + 0.5) / 24)
        values = self.sample(u)
        if not np.isfinite(values).all():
            return None
        fitted = Polynomial.fit((u - middle) / reach, values, _DEGREE).convert()
        error = float(np.abs(fitted((u - middle) / reach) - values).max())
        _, rounding = self.tails(np.array([left]), np.array([right]))
        allowed = float(rounding[0]) * (1 + 64 * self.noise / (16 * _EPS))
        return (fitted, max(error, allowed / 16)) if error <= allowed else None

    def parting(
        self, one: tuple[Polynomial, float], other: tuple[Polynomial, float], middle: float, reach: float, width: float
    ) -> float | None:
        """The point near ``middle`` where phi goes over from one polynomial to the other; None if they agree."""
        difference: Any = other[0] - one[0]
        errors = max(one[1], other[1]) * _AMPLIFIED
        jumps = np.abs(difference.coef[: len(errors)])
        if (jumps <= errors[: len(jumps)]).all():
            return None
        for k in (3, 2, 1):
            roots = difference.deriv(k - 1).roots() if k > 1 else difference.roots()
            near = [float(x.real) for x in roots if abs(x.imag) < 1e-9 + abs(x.real) and abs(x) <= width / reach]
            for x in sorted(near, key=abs):
                here = [abs(difference.deriv(j)(x) if j else difference(x)) / math.factorial(j) for j in range(k + 1)]
                # A kink of order k has D, ..., D^(k-1) = 0 there: small beside what D^(k) makes of them nearby.
                small = [max(errors[j], 1e-3 * here[k] * (width / reach) ** (k - j)) for j in range(k - 1)]
                if here[k] > errors[k] and all(here[j] <= small[j] for j in range(k - 1)):
                    return middle + reach * x
        low, high = middle - width / 2, middle + width / 2
        while high - low > 4 * _EPS * max(1.0, abs(middle)):
            centre = (low + high) / 2
            value, x = float(self.sample(np.array([centre]))[0]), (centre - middle) / reach
            if not math.isfinite(value):
                return centre
            low, high = (centre, high) if abs(value - one[0](x)) <= abs(value - other[0](x)) else (low, centre)
        return (low + high) / 2

    def narrowed(self, left: float, right: float) -> float:
        """The singular point in the window, where its sides have no polynomials, by halving it to 1e-9."""
        while right - left > 1e-9 * max(1.0, abs(left)):
            middle = (left + right) / 2
            halves = np.array([left, middle]), np.array([middle, right])
            tail, _ = self.tails(*halves)
            k = int(tail[1] > tail[0])
            left, right = float(halves[0][k]), float(halves[1][k])
        return (left + right) / 2
