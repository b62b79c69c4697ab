"""A C map composed with itself: fixed points, classes, rates and depths (DKS, section 12 and appendix C)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from qcmap.errors import ArgumentError, NumericalError
from qcmap.numeric.asymptotics._bounds import edge_envelope, geometric_envelope, negative_lower_bound
from qcmap.numeric.asymptotics._edge import EdgeFlow, EdgeLaw
from qcmap.numeric.asymptotics._fixed_points import QFixedPoints
from qcmap.numeric.asymptotics._iterates import LATE, Iterates
from qcmap.numeric.maps._arguments import correlation, integer, is_number, numbers
from qcmap.numeric.maps._bounds import Interval

Array = NDArray[np.float64]
Kind = Literal["collapsing", "edge", "exploding", "identity", "affine", "constant"]

EDGE = 1e-10
"""C'(1) counts as 1 if it is nearer to it than this."""

_UNSEEN = 1e-8
_MOST = 1 << 30
_MOST_JUMPS = 100_000


@dataclass(frozen=True)
class FixedPoint:
    """A fixed point of a C map in [-1, 1] and the slope there; it attracts if abs(slope) < 1, or as the class says."""

    c: float
    slope: float
    attracting: bool


@dataclass(frozen=True, eq=False, repr=False)
class Dynamics:
    """The dynamics c -> C(c) on [-1, 1] of a C map composed with itself (DKS, Proposition 10).

    Attributes
    ----------
    kind
        ``"collapsing"``: C'(1) < 1, c* = 1, at a geometric rate. ``"edge"``: C'(1) = 1, c* = 1, slower.
        ``"exploding"``: C'(1) > 1, c* < 1. Trivial: ``"identity"``, C(c) = c; ``"affine"``, C(c) = 1 - a + a c with
        0 < a < 1; ``"constant"``, C(c) = 1.
    fixed_point
        c*, the limit of C^n(c) for all c in (-1, 1); 1 for the identity, where every c stays.
    slope_at_zero, slope_at_one, slope_at_fixed_point
        C'(0), C'(1) and C'(c*).
    value_at_zero
        C(0).
    parity
        ``"odd"``, ``"even"`` or ``None``: of the C map.
    q, q_slope
        The q value at which C is taken, and Q'(q); ``None`` for a bare C map.
    """

    name: str
    kind: Kind
    fixed_point: float
    value_at_zero: float
    slope_at_zero: float
    slope_at_one: float
    slope_at_fixed_point: float
    parity: Literal["odd", "even"] | None
    q: float | None = None
    q_slope: float | None = None
    _iterates: Iterates | None = None
    _second: Callable[[], float] | None = None
    _search: Callable[[], QFixedPoints] | None = None

    @property
    def q_fixed_points(self) -> QFixedPoints | None:
        """The fixed points of the Q map in the searched range, found when first asked for; ``None`` of a bare C map."""
        return None if self._search is None else self._search()

    @property
    def depth_scale(self) -> float:
        """Xi = -1 / log C'(c*): abs(C^n(c) - c*) falls like exp(-n / xi). 0 if C'(c*) = 0, infinite at the edge."""
        slope = self.slope_at_fixed_point
        if self.kind in ("edge", "identity"):
            return math.inf
        return 0.0 if slope <= 0 else -1 / math.log(slope)

    @property
    def escape_scale(self) -> float:
        """1 / log C'(1): in an exploding map 1 - C^n(c) grows like exp(n / this) near c = 1; infinite in others."""
        return 1 / math.log(self.slope_at_one) if self.kind == "exploding" else math.inf

    @cached_property
    def fixed_points(self) -> tuple[FixedPoint, ...]:
        """All fixed points in [-1, 1] (DKS, Corollary 38); none is listed for the identity, where all are."""
        if self.kind == "identity":
            return ()
        found = [FixedPoint(self.fixed_point, self.slope_at_fixed_point, attracting=True)]
        if self.kind == "exploding":
            found.append(FixedPoint(1.0, self.slope_at_one, attracting=False))
            if self.parity == "odd":
                found.insert(0, FixedPoint(-1.0, self.slope_at_one, attracting=False))
        return tuple(found)

    @cached_property
    def edge_law(self) -> EdgeLaw | None:
        """The power law at the edge, from C'(cos theta) = 1 - s theta / sqrt 2 - C''(1) theta^2 / 2; else ``None``.

        ``None``, too, if C''(1) is infinite but s is hidden by rounding (kinks far out, hard tanh at small q).
        """
        if self.kind != "edge":
            return None
        if math.isinf(self.curvature):
            slope = -math.sqrt(2) * self._runs.slope.at_zero(1)
            if abs(slope) <= _UNSEEN:
                return None
            return EdgeLaw(2, 9 / slope**2)
        return EdgeLaw(1, 2 / self.curvature)

    @cached_property
    def curvature(self) -> float:
        """C''(1), infinite if the activation has kinks.

        By the second derivative of the maps; of a bare C map by differentiating an interpolant twice, to about 1e-8.
        """
        if abs(self._runs.slope.at_zero(1)) > _UNSEEN * max(1.0, self.slope_at_one):
            return math.inf
        return max(-self._runs.slope.at_zero(2) if self._second is None else self._second(), 0.0)

    def iterate(self, c: ArrayLike, n: int) -> Array:
        """C^n(c), for c in [-1, 1] of any shape."""
        if self.kind == "identity" or (not isinstance(n, bool) and n == 0):
            integer(n, least=0, name="n")
            return correlation(numbers("c", c))
        return 1 - self.distance(c, n)

    def distance(self, c: ArrayLike, n: int) -> Array:
        """1 - C^n(c), c in [-1, 1] of any shape, whose relative precision does not suffer where C^n(c) is next to 1."""
        start, n = 1 - correlation(numbers("c", c)), integer(n, least=0, name="n")
        if self.kind == "identity":
            return start
        return self._runs.advance(start, n, edge=self._edge if self.kind == "edge" and n > LATE else None)

    @cached_property
    def _edge(self) -> EdgeFlow | None:
        return self._runs.edge_flow(kinked=math.isinf(self.curvature))

    def envelope(self, c: ArrayLike, n: ArrayLike) -> Interval:
        """Bounds on C^n(c) from C(c) and slopes, without iterating (DKS, Theorems 40 to 42, corrected).

        c in [-1, 1] and n = 0, 1, 2, ... broadcast. For c >= 0 see `geometric_envelope`, at the edge `edge_envelope`.
        For c < 0, C^n(c) <= C^n(-c); from below it is at least 1 - C'(1)^n (1 - c) if C'(1) < 1 (Theorem 40), at least
        -C^n(-c) in general, and at least what `negative_lower_bound` says (Theorem 41 iii).
        """
        c, n = np.broadcast_arrays(correlation(numbers("c", c)), numbers("n", n))
        size = np.abs(c)
        upper = self._envelope(size, n)
        point, slope = self.fixed_point, min(self.slope_at_fixed_point, 1.0)
        below = np.minimum(c, 0.0)
        away = np.where(below < 0, -below, 1.0)
        quotient = np.clip((self._at(away) - self.value_at_zero) / away, 0.0, 1.0)
        lower = np.maximum(-upper.upper, negative_lower_bound(below, n, self.value_at_zero, quotient, point, slope))
        if self.slope_at_one < 1:
            lower = np.maximum(lower, 1 - self.slope_at_one ** n.astype(np.float64) * (1 - below))
        if self.parity == "odd":
            lower = -upper.upper
            return Interval(
                np.where(c < 0, lower, upper.lower), np.where(c < 0, -upper.lower, upper.upper)
            )  # fmt: skip
        top = np.where((c < 0) & (n == 0), c, upper.upper)
        return Interval(np.where(c < 0, np.minimum(lower, top), upper.lower), top)

    def layers_until(self, eps: float, low: float = -1.0, high: float = 1.0) -> float:
        """The least n at which the image of [low, high] under C^n is shorter than eps; infinite if none is.

        With the default interval this is how many compositions collapse all inputs to within eps of each other. The
        image always holds 1 then, so for an exploding map it never falls below 1 - c*: give a ``high`` below 1.

        Raises
        ------
        ArgumentError
            Unless eps > 0 and -1 <= low <= high <= 1.
        NumericalError
            If lengths can still grow after 100,000 steps, which a start very near an end that repels can cause.
        """
        if not (is_number(eps) and eps > 0):
            raise ArgumentError("eps", f"a length is positive, not {eps!r}", "give a positive number")
        for name, end in (("low", low), ("high", high)):
            if not is_number(end):
                raise ArgumentError(name, f"it is one number in [-1, 1], not {end!r}", "give a c value")
        bottom, top = float(correlation(low)), float(correlation(high))
        if bottom > top:
            raise ArgumentError("low", f"it is at most high = {high!r}", "swap them")
        n, bottom, top = self._until_increasing(eps, bottom, top)
        if top - bottom < eps:
            return n
        stays = [end for end in self.fixed_points if end.c in (bottom, top)]
        limit = max((abs(end.c - self.fixed_point) for end in stays), default=0.0)
        if self.kind == "identity" or len(stays) == 2 or eps <= limit:
            return math.inf
        return self._search_length(n, np.array([1 - bottom, 1 - top]), eps)

    def _search_length(self, n: int, ends: Array, eps: float) -> float:
        """Small steps while the length can grow, then a search by halves.

        It cannot grow if C'(1) <= 1, since abs(C'(c)) <= C'(1); nor if c* is inside, to which both ends move; nor if
        C' <= 1 at the farther end, so at all points of smaller abs(c), where all iterates lie. To the right of c*, n
        steps shorten it by at most C'(c*)^n, so as many are safe as leave it longer than eps.
        """
        if self.parity == "odd" and ends[1] > 1:
            ends = 2 - ends[::-1]
        for _ in range(_MOST_JUMPS if self.kind == "exploding" else 0):
            bottom, top = 1 - ends
            farthest = max(abs(bottom), abs(top))
            if bottom <= self.fixed_point <= top or self._runs.slope(np.arccos(farthest)) <= 1:
                break
            safe, slope = 1, self.slope_at_fixed_point
            if bottom > self.fixed_point and slope > 0:
                safe = max(1, int(math.log((top - bottom) / eps) / -math.log(slope)))
            ends, steps = self._runs.jump(ends, safe)
            n += steps
            if ends[0] - ends[1] < eps:
                return n
        else:
            if self.kind == "exploding":
                raise NumericalError(self.name, f"lengths still grow after {n} compositions", "use a larger eps")
        return n + self._runs.first_below(ends, eps, _MOST)

    def _until_increasing(self, eps: float, bottom: float, top: float) -> tuple[int, float, float]:
        """Follow the image of [bottom, top] until C increases on it: at once, if C' >= 0 from ``bottom`` on."""
        n = 0
        while bottom < 0 and top - bottom >= eps:
            grid = np.linspace(bottom, min(top, 0.0), 513)
            slopes = self._runs.slope(np.arccos(grid))
            if (slopes >= -1e-12 * max(1.0, self.slope_at_one)).all():
                break
            turns = np.flatnonzero(np.diff(np.signbit(slopes)))
            # C'(0) >= 0, so where C falls left of 0 it turns there at the latest.
            points = [bottom, top, grid[-1], *(self._runs.turn(grid[k], grid[k + 1]) for k in turns)]
            values = self._at(np.array(points))
            n, bottom, top = n + 1, float(values.min()), float(values.max())
        return n, bottom, top

    def _envelope(self, c: Array, n: Array) -> Interval:
        """For c in [0, 1]."""
        value = self._at(c)
        if self.kind == "edge":
            # A little more than C''(1), which differentiating an interpolant may have left too small.
            return edge_envelope(c, n, np.maximum(value, c), self.curvature * (1 + 1e-7))
        away = c - self.fixed_point
        there = np.abs(away) < 1e-9
        if self.fixed_point == 1:
            quotient = np.where(there, 0.0, self._runs.step(1 - c) / np.where(there, 1.0, -away))
        else:
            quotient = np.where(
                there, self.slope_at_fixed_point, (value - self.fixed_point) / np.where(there, 1.0, away)
            )
        # At the fixed point itself the chord is the tangent.
        quotient = np.where(there, min(self.slope_at_fixed_point, 1.0), quotient)
        return geometric_envelope(
            c, n, self.fixed_point, min(self.slope_at_fixed_point, 1.0), np.clip(quotient, 0.0, 1.0)
        )

    def _at(self, c: Array) -> Array:
        return 1 - self._runs.step(1 - c)

    @property
    def _runs(self) -> Iterates:
        assert self._iterates is not None
        return self._iterates

    @property
    def error(self) -> float:
        """What the interpolant of C' leaves out: about 1e-14 for a layer, more for a network of many layers."""
        return self._runs.slope.error

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain data; infinite scales become None."""
        law = self.edge_law
        return {
            "name": self.name,
            "kind": self.kind,
            "fixed_point": self.fixed_point,
            "fixed_points": [[p.c, p.slope, p.attracting] for p in self.fixed_points],
            "C(0)": self.value_at_zero,
            "C'(0)": self.slope_at_zero,
            "C'(1)": self.slope_at_one,
            "C'(c*)": self.slope_at_fixed_point,
            "parity": self.parity,
            "depth_scale": self.depth_scale if math.isfinite(self.depth_scale) else None,
            "edge_law": None if law is None else {"power": law.power, "amplitude": law.amplitude},
            "q": self.q,
            "Q'(q)": self.q_slope,
            "q_fixed_points": None if self.q_fixed_points is None else self.q_fixed_points.to_dict(),
        }

    def __repr__(self) -> str:
        at = "" if self.q is None else f" at q = {self.q:.6g}"
        return (
            f"<Dynamics of {self.name}{at}: {self.kind}, c* = {self.fixed_point:.6g}, C'(1) = {self.slope_at_one:.6g}>"
        )
