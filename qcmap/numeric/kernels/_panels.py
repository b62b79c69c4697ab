"""Functions of an angle by Chebyshev series on panels, halved until each is resolved.

A network's kernel is analytic in theta = arccos c (design), but a deep one varies on scales as fine as 1/depth, or as a
power C'(1)^-depth, near theta = 0: halving follows it there with a few nodes per scale, where one series on [0, pi]
would need a number of nodes that grows with the depth. A series is evaluated in time that does not depend on how many
panels there are.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qcmap.errors import NumericalError

Array = NDArray[np.float64]
Values = Callable[[Array], Array]
"""Angles (m,) to values (m, columns)."""

NODES = 20
_EPS = float(np.finfo(np.float64).eps)
_TOLERANCE = 2e-14
_PLATEAU = 1e-7
_FIRST = 4
_MOST = 1024
_CHECKS = np.array([-0.985, -0.31, 0.43, 0.97])


@lru_cache(maxsize=1)
def _rule() -> tuple[Array, Array]:
    """Chebyshev points on [-1, 1] and the matrix from values there to coefficients."""
    angles = math.pi * (np.arange(NODES) + 0.5) / NODES
    matrix = np.cos(np.outer(np.arange(NODES), angles)) * (2 / NODES)
    matrix[0] /= 2
    return np.cos(angles), matrix


@dataclass(frozen=True, eq=False)
class PanelSeries:
    """Series of several functions (columns) on the same panels of [0, pi].

    Attributes
    ----------
    edges
        Ends of the panels, increasing, shape (panels + 1,).
    coefficients
        Chebyshev coefficients, shape (`NODES`, columns, panels).
    start
        The exact values at theta = 0, shape (columns,).
    error
        For each column and panel the largest absolute error: twice the last coefficients, or four times what was seen
        at points between the nodes, whichever is larger; shape (columns, panels).
    evaluations
        How many angles the functions were evaluated at.
    """

    edges: Array
    coefficients: Array
    start: Array
    error: Array
    evaluations: int

    def place(self, theta: Array) -> tuple[NDArray[np.intp], Array]:
        """For each angle its panel, and its position there in [-1, 1]."""
        panel = np.searchsorted(self.edges, theta, side="right") - 1
        np.clip(panel, 0, len(self.edges) - 2, out=panel)
        left, width = self.edges[:-1], np.diff(self.edges)
        return panel, 2 * (theta - left[panel]) / width[panel] - 1

    def __call__(self, theta: Array, column: Any = 0) -> Array:
        """The function ``column`` (a number, or an array that broadcasts with theta) at angles in [0, pi]."""
        panel, x = self.place(theta)
        table = self.coefficients.reshape(NODES, -1)
        place = panel + np.asarray(column, dtype=np.intp) * (len(self.edges) - 1)
        x = np.broadcast_to(x, place.shape)
        double, before, here, spare = 2 * x, np.zeros(place.shape), np.zeros(place.shape), np.empty(place.shape)
        for k in range(NODES - 1, 0, -1):  # Clenshaw's recurrence
            np.multiply(double, here, out=spare)
            spare -= before
            spare += table[k].take(place)
            before, here, spare = here, spare, before
        result = x * here - before + table[0].take(place)
        at_start = np.broadcast_to(theta == 0, place.shape)
        if at_start.any():
            result[at_start] = np.broadcast_to(self.start[column], place.shape)[at_start]
        return result


def panel_series(values: Values, subject: str, layers: int = 1, *, rounded: bool = True) -> PanelSeries:
    """Series of ``values`` on [0, pi]; panels are halved until the last coefficients are rounding.

    Rounding is 2e-14 of the largest value on the panel, plus what the rounding of c = cos theta itself makes: eps times
    the derivative in c, which is large for a kernel that changes fast (not if the values are not ``rounded`` in this
    way). Both grow with the root of the number of ``layers``, each of which rounds. Where values carry more noise and
    halving does not help any more, what is left is accepted if it is below 1e-7 of the largest value there; the error
    tells.

    Raises
    ------
    NumericalError
        If more than 1,024 panels were needed.
    """
    points, matrix = _rule()
    noise = 1 + math.sqrt(layers) / 4
    todo = [(math.pi * k / _FIRST, math.pi * (k + 1) / _FIRST, math.inf) for k in range(_FIRST)]
    done: list[tuple[float, Array, Array]] = []
    evaluations = 0
    while todo:
        left, right = np.array([row[0] for row in todo]), np.array([row[1] for row in todo])
        theta = _inside(left, right, points)
        found = values(theta.reshape(-1)).reshape(len(todo), NODES, -1)
        evaluations += theta.size
        coefficients = np.einsum("kn,pnc->pkc", matrix, found)
        tails = np.abs(coefficients[:, -3:]).max(axis=1)
        allowed = noise * _TOLERANCE * np.abs(found).max(axis=1)
        if rounded:
            allowed += noise * _conditioning(coefficients, theta, right - left)
        excess = (tails / np.maximum(allowed, np.finfo(np.float64).tiny)).max(axis=1)
        largest = np.abs(found).max(axis=(1, 2))
        again = []
        for k, (a, b, before) in enumerate(todo):
            stuck = excess[k] > 0.3 * before and float(tails[k].max()) <= _PLATEAU * largest[k]
            if excess[k] <= 1 or stuck:
                done.append((a, coefficients[k], 2 * np.abs(coefficients[k, -3:]).sum(axis=0)))
            else:
                again += [(a, (a + b) / 2, float(excess[k])), ((a + b) / 2, b, float(excess[k]))]
        todo = again
        if len(done) + len(todo) > _MOST:
            raise NumericalError(
                subject,
                f"its kernel is not resolved by {_MOST} panels in arccos c",
                "use fewer layers, or ntk(arch, c)",
            )
    done.sort(key=lambda row: row[0])
    edges = np.array([*(row[0] for row in done), math.pi])
    stacked = np.ascontiguousarray(np.stack([row[1] for row in done]).transpose(1, 2, 0))
    start = values(np.zeros(1))[0]
    series = PanelSeries(edges, stacked, start, np.stack([row[2] for row in done], axis=1), evaluations + 1)
    return _checked(series, values)


def _inside(left: Array, right: Array, points: Array) -> Array:
    """Positions of [-1, 1] moved into each interval, shape (intervals, points)."""
    return (left + right)[:, None] / 2 + (right - left)[:, None] / 2 * points


def _conditioning(coefficients: Array, theta: Array, width: Array) -> Array:
    """Eps times the largest derivative in c = cos theta at the nodes of each panel, shape (panels, columns)."""
    slopes = np.polynomial.chebyshev.chebder(coefficients.transpose(1, 0, 2))
    points, _ = _rule()
    values = np.polynomial.chebyshev.chebvander(points, NODES - 2) @ slopes.transpose(1, 0, 2)
    return 4 * _EPS * (np.abs(values) / np.sin(theta)[:, :, None]).max(axis=1) * (2 / width)[:, None]


def _checked(series: PanelSeries, values: Values) -> PanelSeries:
    """The series with its errors raised to what is seen at points between the nodes."""
    theta = _inside(series.edges[:-1], series.edges[1:], _CHECKS).reshape(-1)
    exact = values(theta)
    columns = np.arange(exact.shape[1])
    seen = np.abs(series(theta[:, None], columns) - exact).reshape(-1, _CHECKS.size, exact.shape[1]).max(axis=1)
    error = np.maximum(series.error, 4 * seen.T)
    return PanelSeries(series.edges, series.coefficients, series.start, error, series.evaluations + theta.size)
