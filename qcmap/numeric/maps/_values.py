"""The C map of one layer and its derivatives at given q values: by series, by integrals or by an interpolant.

Everything computed at a q value, or a pair of them, is kept.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qcmap.errors import NumericalError
from qcmap.numeric.maps._correlated import Layer, correlated, jump_of
from qcmap.numeric.maps._hermite import (
    SERVED,
    HermiteSeries,
    hermite_series,
    served,
    summed,
    summed_rounding,
    terms_for,
)
from qcmap.numeric.maps._integrals import Integrals
from qcmap.numeric.maps._profile import Profile, profile
from qcmap.numeric.maps._transform import Transform

Array = NDArray[np.float64]

_FEW = 12
"""Up to this many c values are computed one by one; more go through an interpolant."""
_SHORT = 0.68
"""For few values beyond this abs(c) a two-dimensional integral costs less than a long series."""
_KEPT = 4096


@dataclass(frozen=True, eq=False)
class _Point:
    """What is known at one q: the range of integration, the second moment, and a Hermite series up to some abs(c)."""

    reach: float
    moment: float
    series: HermiteSeries
    terms: float


class MapValues:
    """Values of E[f(u1) f(u2)] / sqrt(Q(q1) Q(q2)) and its derivatives in c, for f without a closed form."""

    def __init__(self, transform: Transform) -> None:
        self.transform = transform
        self.integrals = Integrals(transform)
        self._moments: dict[float, float] = {}
        self._points: dict[float, _Point] = {}
        self._profiles: dict[tuple[float, float, int], Profile | None] = {}

    def moment(self, q: float) -> float:
        """Q(q)."""
        if q not in self._moments:
            if len(self._moments) >= _KEPT:
                self._moments.clear()
            self._moments[q] = float(self.integrals.each(np.array(q), lambda x, f, root: f * f))
        return self._moments[q]

    def point(self, q: float, terms: float) -> _Point:
        """What is known at q, with a series of so many terms or one that has decayed."""
        point = self._points.get(q)
        if point is None or (terms > point.terms and not point.series.decayed):
            if len(self._points) >= _KEPT:
                self._points.clear()
            reach, moment = self.integrals.reach(np.array([q])), self.moment(q)
            if not moment > 0:
                raise NumericalError(
                    self.transform.activation.name, "its second moment is zero, so it has no C map",
                    "use an activation, or q values, with nonzero output",
                )  # fmt: skip
            series = hermite_series(self.transform, q, moment, max(14.0, 1.4 * reach), terms)
            point = self._points[q] = _Point(reach, moment, series, terms)
        return point

    def at(self, c: Array, q1: float, q2: float, order: int) -> Array:
        """The derivative of some order, or the map (order 0), at c of shape (m,)."""
        distinct, where = np.unique(c, return_inverse=True)
        found = self.profile(q1, q2, order) if distinct.size > _FEW else None
        if found is not None:
            return found(distinct)[where]
        return self._direct(distinct, np.sqrt((1 - distinct) * (1 + distinct)), q1, q2, order)[where]

    def profile(self, q1: float, q2: float, order: int) -> Profile | None:
        """The interpolant; None where the derivative is unbounded or too many nodes would be needed."""
        key = (q1, q2, order)
        if key not in self._profiles:
            if len(self._profiles) >= _KEPT:
                self._profiles.clear()
            act = self.transform.activation
            bounded = not any(jump_of(act, kink, m) for kink in act.kinks for m in range(order))
            self._profiles[key] = (
                profile(
                    lambda theta: self._direct(np.cos(theta), np.sin(theta), q1, q2, order), with_identity=order == 0
                )
                if bounded
                else None
            )
        return self._profiles[key]

    def error(self, q1: float, q2: float, order: int) -> float:
        """A bound from above on the absolute error of `at`, for every c."""
        found = self.profile(q1, q2, order)
        theta = np.linspace(0, math.pi, 33) if found is None else found.nodes
        checked = self._checked(np.cos(theta), np.sin(theta), q1, q2, order)
        if found is None:
            return checked
        # A few values at a time take another way than many.
        few = np.array([-0.9, -0.75, 0.75, 0.9])
        checked += float(np.abs(self._direct(few, np.sqrt((1 - few) * (1 + few)), q1, q2, order) - found(few)).max())
        return float(found.error) + checked + 2.0**-52 * float(np.abs(found.coefficients).sum())

    def _direct(self, c: Array, s: Array, q1: float, q2: float, order: int) -> Array:
        """Values at c and s = sqrt(1 - c^2), each of shape (m,): by series, or by a two-dimensional integral."""
        first, second = self._points_for(c, q1, q2, order)
        norm = math.sqrt(first.moment) * math.sqrt(second.moment)
        values, rest = summed(first.series, second.series, c, order)
        left = np.flatnonzero(~served(first.series, second.series, c, order, values, rest))
        if left.size:
            layers = self._layers(q1, q2, order)
            values[left] = [correlated(*layers, float(c[k]), float(s[k])) for k in left]
        values = values / norm
        if order == 0 and q1 == q2:
            values[c == 1] = 1.0  # by definition, without the rounding of two integrals
        return self.integrals.finite(values, np.full(values.shape, max(q1, q2)))

    def _points_for(self, c: Array, q1: float, q2: float, order: int) -> tuple[_Point, _Point]:
        """The points, with series for those c that a series can serve."""
        if c.size > _FEW:
            # Worth a series as long as it can be.
            largest = SERVED if self.transform.activation.kinks else 1.0
        else:
            largest = float(np.abs(c)[np.abs(c) <= _SHORT].max(initial=0.0))
        terms = terms_for(largest, order)
        return self.point(q1, terms), self.point(q2, terms)

    def _layers(self, q1: float, q2: float, order: int) -> tuple[Layer, Layer]:
        reach = max(self.integrals.reach(np.array([q]), k) for q in (q1, q2) for k in {0, order})
        return Layer(self.transform, q1, order, reach), Layer(self.transform, q2, order, reach)

    def _checked(self, c: Array, s: Array, q1: float, q2: float, order: int) -> float:
        """A bound on the errors of the values in use at some points.

        What the series leave out, the differences to finer integrals, and rounding.
        """
        first, second = self._points_for(c, q1, q2, order)
        norm = math.sqrt(first.moment) * math.sqrt(second.moment)
        values, rest = summed(first.series, second.series, c, order)
        layers = self._layers(q1, q2, order)
        by_series = served(first.series, second.series, c, order, values, rest)
        worst = rounding = 0.0
        if by_series.any():
            worst = float(rest[by_series].max())
            rounding = summed_rounding(first.series, second.series, float(np.abs(c[by_series]).max()), order)
        for k in np.flatnonzero(~by_series):
            usual, fine = (correlated(*layers, float(c[k]), float(s[k]), finer=finer) for finer in (False, True))
            worst = max(worst, abs(usual - fine))
            rounding = max(rounding, 2.0**-50 * (abs(usual) + math.sqrt(layers[0].energy() * layers[1].energy())))
        return (worst + rounding) / norm
