"""The curve R(log a, b) = 0 of a `System`, walked by pseudo-arclength steps until its level turns or its range ends."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from qcmap.activations import Activation
from qcmap.errors import NumericalError
from qcmap.numeric.maps._transform import Transform, conditions
from qcmap.numeric.shaping._solutions import Box, Problem, newton
from qcmap.numeric.shaping._systems import Equations, System

Array = NDArray[np.float64]
Kind = Literal["range", "limit", "fold", "edge"]

_LONGEST, _SHORTEST, _MOST = 0.25, 1e-7, 20_000


class Curve:
    """The zero set of R for one variant, walked by pseudo-arclength steps."""

    def __init__(self, act: Activation, system: System, sign: float, box: Box) -> None:
        self._problem = Problem(act, system, 0.0, 0.0)
        self._sign, self._box = sign, box
        conditions(Transform(act))  # refuses an activation whose integrals are not resolved

    def at(self, logs: Array, shift: Array) -> Equations:
        return self._problem.at(np.exp(logs), shift, self._sign)

    def _one(self, point: Array) -> tuple[float, float, Array, Array]:
        here = self.at(point[:1], point[1:])
        rows = [np.array([float(part[0]) for part in row]) for row in here.jacobian]
        return float(here.ratio[0]), float(here.level[0]), rows[0], rows[1]

    def _tangent(self, point: Array) -> tuple[Array, float, float]:
        """The tangent (in units of (1, width)), the level, and the level's slope along it."""
        _, level, across, along = self._one(point)
        width = math.exp(point[0]) + 0.02 * abs(point[1])
        tangent = np.array([-across[1] * width, across[0]])
        tangent /= np.linalg.norm(tangent)
        return tangent, level, float(along @ (tangent * [1.0, width]))

    def _corrected(self, point: Array, tangent: Array, step: float) -> Array | None:
        """The point of the curve in the plane across the predictor, or None."""
        units = np.array([1.0, math.exp(point[0]) + 0.02 * abs(point[1])])
        new, before = point + step * tangent * units, math.inf
        for _ in range(12):
            ratio, level, across, _ = self._one(new)
            matrix = np.stack([across * units, tangent])
            wanted = np.array([ratio, float(tangent @ ((new - point) / units)) - step])
            if not (np.isfinite(matrix).all() and np.isfinite(wanted).all()) or np.linalg.det(matrix) == 0:
                return None
            move = np.linalg.solve(matrix, wanted)
            size = float(np.linalg.norm(move))
            if size > 3 * max(step, 1e-3):
                return None
            new = new - move * units
            # R carries a rounding error of about 1e-15 over C, below which nothing converges.
            settled = abs(ratio) < max(1e-10, 3e-14 * math.exp(-level))
            if size < 1e-11 or (settled and size > 0.3 * before):
                return new
            before = size
        return None

    def walk(self, point: Array, side: int, goal: float) -> tuple[list[Array], Kind]:
        """The points after ``point`` on which the level falls (side -1) or rises (+1), up to ``goal``."""
        found: list[Array] = []
        tangent, level_at, slope = self._tangent(point)
        if side * (goal - level_at) <= 1e-12:
            return found, "range"
        tangent = tangent * math.copysign(1.0, side * slope)
        step = 0.05
        for _ in range(_MOST):
            new = self._corrected(point, tangent, step)
            ahead = None if new is None else self._tangent(new)
            # Too sharp a turn may mean that another curve was reached.
            if new is None or ahead is None or abs(float(ahead[0] @ tangent)) < 0.9:
                step /= 3
                if step < _SHORTEST:
                    subject = self._problem.act.name
                    raise NumericalError(subject, "a branch of solutions could not be followed", "use a smaller range")
                continue
            onward = ahead[0] * math.copysign(1.0, float(ahead[0] @ tangent))
            rising = side * ahead[2] * math.copysign(1.0, float(ahead[0] @ tangent)) > 0
            passed, inside = side * (ahead[1] - goal) >= 0, self._inside(new)
            if rising and inside and not passed:
                found.append(new)
                point, tangent, level_at, step = new, onward, ahead[1], min(1.5 * step, _LONGEST)
                continue
            if rising and inside:
                share = (goal - level_at) / (ahead[1] - level_at)
                last, kind = self._closed(point + share * (new - point), goal), "range"
            else:
                # What ended the step lies within it: the first of goal, edge and fold, by bisection of the step.
                last, kind = self._last(point, tangent, step, side, goal)
            if last is not None:
                found.append(last)
            return found, kind
        raise NumericalError(self._problem.act.name, "a branch of solutions is too long", "use a smaller range")

    def _inside(self, point: Array) -> bool:
        return bool(self._box.holds(np.exp(point[:1]), point[1:])[0])

    def _state(self, new: Array, tangent: Array, side: int, goal: float) -> Kind | None:
        ahead, level, slope = self._tangent(new)
        if not self._inside(new):
            return "edge"
        if side * (level - goal) >= 0:
            return "range"
        return "fold" if side * slope * math.copysign(1.0, float(ahead @ tangent)) <= 0 else None

    def _last(self, point: Array, tangent: Array, step: float, side: int, goal: float) -> tuple[Array | None, Kind]:
        """The last point of the step on which nothing has ended yet, and what ends there."""
        low, high, kept = 0.0, step, None
        kind: Kind = "fold"
        for _ in range(40):
            middle = (low + high) / 2
            new = self._corrected(point, tangent, middle)
            state = kind if new is None else self._state(new, tangent, side, goal)
            if new is not None and state is None:
                low, kept = middle, new
            else:
                high, kind = middle, state or kind
            # Newton's method closes the end of a range, and at a fold the level is flat.
            if high - low < (1e-12 if kind == "edge" else 1e-5 if kind == "range" else 1e-7) * step:
                break
        if kind == "range":
            start = point if kept is None else kept
            kept = self._closed(start, goal)
        return kept, kind

    def _closed(self, start: Array, goal: float) -> Array:
        """The end of a range near ``start``, by Newton's method; ``start`` itself where that fails."""
        wide = Box(self._box.low / 2, self._box.high * 2, self._box.shift + 1, self._box.slant)
        problem = replace(self._problem, target=goal)
        scale, shift, _, values = newton(problem, np.exp(start[:1]), start[1:], wide, self._sign)
        if scale.size and abs(values.level[0] - goal) < 1e-6:
            return np.array([math.log(scale[0]), shift[0]])
        return start
