"""The edge of chaos as a curve with parameter q*; `qcmap.numeric.methods._chaos` has the derivation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qcmap.errors import ActivationError, NumericalError
from qcmap.numeric.maps._quadrature import ORDER
from qcmap.numeric.maps._transform import Transform
from qcmap.numeric.methods._rules import AGREEMENT, range_of, rule, unresolved

Array = NDArray[np.float64]

_ROWS = 64


@dataclass(frozen=True)
class EdgeOfChaosCurve:
    """The edge of chaos at given fixed points; all arrays have the shape of ``q_star``.

    Attributes
    ----------
    q_star
        The fixed points.
    weight_variance, bias_variance
        The variances that make them fixed points with C'(1) = 1. A negative bias variance means that no layer does.
    q_slope
        V'(q*), the slope of the map of the q values there.
    """

    q_star: Array
    weight_variance: Array
    bias_variance: Array
    q_slope: Array

    @property
    def attainable(self) -> NDArray[np.bool_]:
        """Where the bias variance is not negative (beyond rounding)."""
        return self.bias_variance >= -rounding(self.q_star)

    def to_dict(self) -> dict[str, Any]:
        """All four columns as lists."""
        return {name: getattr(self, name).tolist() for name in self.__dataclass_fields__}

    def __repr__(self) -> str:
        return f"<edge of chaos: {self.q_star.size} points, {int(self.attainable.sum())} of them attainable>"


def rounding(q: Array) -> Array:
    """What counts as zero for a bias variance at q."""
    return 2e-15 * q


def _columns(transform: Transform, q: Array) -> tuple[Array, NDArray[np.bool_]]:
    """Weight variance, bias variance and slope of V at q (m,), and where two rules agree on their moments."""
    root, reach = np.sqrt(q), range_of(transform, q)
    found: list[Array] = []
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        for order in (ORDER - 6, ORDER):
            x, weights = rule(transform, q, order=order, reach=reach)
            u = root[:, None] * x
            f, slope = transform(u), transform.derivative(u)
            a, m, energy = (np.sum(weights * part, axis=1) for part in (slope, f, slope**2))
            bent, rest = q[:, None] * (slope - a[:, None]) ** 2, (f - m[:, None] - a[:, None] * u) ** 2
            cross = weights * f * slope * x
            found.append(np.array([energy, np.sum(weights * (bent - rest), axis=1) - m**2, cross.sum(axis=1)]))
            size = np.array([energy, np.sum(weights * (bent + rest), axis=1) + m**2, np.abs(cross).sum(axis=1)])
        allowed = AGREEMENT * size + np.array([np.zeros_like(q), rounding(q) * size[0], np.zeros_like(q)])
        energy, gap, slope = found[1]
        agree = np.all(np.abs(found[1] - found[0]) <= allowed, axis=0)
        return np.array([1 / energy, gap / energy, slope / (root * energy)]), np.asarray(agree)


def curve(transform: Transform, q: Array) -> EdgeOfChaosCurve:
    """The edge of chaos at the q values (m,); raises `NumericalError` where `edge_of_chaos_curve` does."""
    blocks: list[Array] = []
    for k in range(0, q.size, _ROWS):
        here = q[k : k + _ROWS]
        try:
            columns, agree = _columns(transform, here)
        except ActivationError as error:
            raise NumericalError(
                transform.activation.name, f"its moments are not finite up to q = {here.max():.6g}: {error.rule}",
                "use smaller q values",
            ) from error  # fmt: skip
        finite = np.isfinite(columns).all(axis=0)
        if not finite.all():
            raise NumericalError(
                transform.activation.name,
                f"E f'^2 is 0 or its moments are not finite at q = {here[~finite][0]:.6g}",
                "take a nonconstant activation and smaller q values",
            )
        if not agree.all():
            raise unresolved(transform, float(here[~agree][0]))
        blocks.append(columns)
    return EdgeOfChaosCurve(q, *(np.concatenate(blocks, axis=1) if blocks else np.empty((3, 0))))


def finite_part(transform: Transform, q: Array) -> EdgeOfChaosCurve:
    """The curve at those of the q values at which it is finite and two rules agree."""

    def part(rows: Array) -> Array:
        try:
            columns, agree = _columns(transform, rows)
        except (ActivationError, NumericalError):
            if rows.size == 1:
                return np.empty((4, 0))
            return np.concatenate([part(half) for half in np.array_split(rows, 2)], axis=1)
        good = agree & np.isfinite(columns).all(axis=0)
        return np.concatenate([rows[None, good], columns[:, good]])

    parts = [part(q[k : k + _ROWS]) for k in range(0, q.size, _ROWS)]
    return EdgeOfChaosCurve(*np.concatenate(parts, axis=1))
