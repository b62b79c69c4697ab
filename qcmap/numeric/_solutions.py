"""All solutions of Q'(1) = 1, C'(1) = psi over (input_scale, input_shift) in a box, and the canonical one.

The equations are put as R = (Q'(1) - 1) / (C'(1) - 1) = 0 and L = log(C'(1) - 1) - log(psi - 1) = 0. In Hermite
coefficients a_n of the normalized activation (sum a_n^2 = 1, a_0 = 0), C'(1) = sum n a_n^2 and

    Q'(1) = C'(1) + sum_{n >= 3} sqrt(n (n - 1)) a_n a_{n-2},

and a_n is of order input_scale^(n-1), so both functions are smooth and of order one down to the smallest scales: R
tends to 1 + 2 phi'(b) phi'''(b) / phi''(b)^2 at shift b and L grows as 2 log(input_scale). docs/shaping.md has the
derivation.

R does not depend on psi, so the functions are tabulated once per activation, on a grid of (log input_scale,
input_shift) and, near each kink, on one of (log input_scale, distance from the kink in units of input_scale), where a
kink's own solutions live at every scale. A cell in which both functions vanish, to first order, starts Newton's method;
what converges inside the box and is new is a solution.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

from qcmap.activations import Activation
from qcmap.numeric._moments import slopes
from qcmap.numeric._transform import Transform, conditions

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Box:
    """A searched set: input_scale in [low, high], abs(input_shift) at most ``shift`` + ``slant`` * input_scale."""

    low: float
    high: float
    shift: float
    slant: float

    def __str__(self) -> str:
        slant = f" + {self.slant:g} input_scale" if self.slant else ""
        return f"input_scale in [{self.low:g}, {self.high:g}], abs(input_shift) <= {self.shift:g}{slant}"

    def holds(self, scale: Array, shift: Array) -> NDArray[np.bool_]:
        """Which of the points lie in the box."""
        return (scale >= self.low) & (scale <= self.high) & (np.abs(shift) <= self.shift + self.slant * scale)


STANDARD_BOX = Box(1e-4, 3.0, 6.0, 0.0)
WIDE_BOX = Box(1e-4, 30.0, 6.0, 4.0)
"""Searched only if the standard box has no solution, so that it never changes which solution is canonical."""


@dataclass(frozen=True)
class Patch:
    """A tabulated rectangle: row i has scale[i], and column j of it the shift[i, j]; R and log(C'(1) - 1) there."""

    scale: Array
    shift: Array
    ratio: Array
    log_excess: Array

    @cached_property
    def crossed(self) -> tuple[NDArray[np.intp], NDArray[np.intp], Array]:
        """Rows, columns and corner values (2, 4, m) of both functions, for the m cells over which R changes sign."""
        ratio = _corners(self.ratio)
        with np.errstate(invalid="ignore"):
            rows, columns = np.nonzero((ratio.min(axis=0) <= 0) & (ratio.max(axis=0) >= 0))
        return rows, columns, np.stack([ratio, _corners(self.log_excess)])[:, :, rows, columns]


@dataclass(frozen=True)
class Root:
    """One solution (input_scale, input_shift), with the mean and variance of phi there."""

    input_scale: float
    input_shift: float
    mean: float
    variance: float


@lru_cache(maxsize=128)
def patches(act: Activation, box: Box) -> tuple[Patch, ...]:
    """The tables of an activation over a box: one over all of it, and one around each kink."""
    conditions(Transform(act))  # refuses an activation whose integrals are not resolved, before any conclusion
    scale = np.geomspace(box.low, box.high, round(9.2 * math.log10(box.high / box.low)))
    reach = box.shift + box.slant * scale[:, None]
    columns = [reach * np.linspace(-1, 1, 97)]
    columns += [kink.at + scale[:, None] * np.linspace(-7, 7, 71) for kink in act.kinks]
    return tuple(_tabulated(act, scale, shift) for shift in columns)


def _tabulated(act: Activation, scale: Array, shift: Array) -> Patch:
    rows = [equations(act, np.full(shift.shape[1], a), b) for a, b in zip(scale, shift, strict=True)]
    return Patch(scale, shift, np.array([row.ratio for row in rows]), np.array([row.log_excess for row in rows]))


@dataclass(frozen=True)
class Equations:
    """R and log(C'(1) - 1) at m points, with their Jacobian in (log scale, shift) and phi's mean and variance."""

    ratio: Array
    log_excess: Array
    jacobian: tuple[tuple[Array, Array], tuple[Array, Array]]
    mean: Array
    variance: Array


def equations(act: Activation, scale: Array, shift: Array) -> Equations:
    """R, log(C'(1) - 1) and their Jacobian at m points; NaN where phi is constant or linear to rounding."""
    values, jacobian = slopes(act, scale, shift)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        # Below 1e-11, C'(1) - 1 is rounding: phi is linear there.
        excess = np.where(values.c_excess > 1e-11, values.c_excess, np.nan)
        ratio = values.q_excess / excess
        rows = (
            (
                (jacobian.q_scale - ratio * jacobian.c_scale) / excess,
                (jacobian.q_shift - ratio * jacobian.c_shift) / excess,
            ),
            (jacobian.c_scale / excess, jacobian.c_shift / excess),
        )
        return Equations(ratio, np.log(excess), rows, values.mean, values.variance)


def _corners(values: Array) -> Array:
    return np.stack([values[:-1, :-1], values[1:, :-1], values[:-1, 1:], values[1:, 1:]])


def _starts(patch: Patch, target: float) -> tuple[Array, Array]:
    """Starts in the cells that may hold a zero of both R and log_excess - target.

    Both functions must change sign over the cell's corners, and the plane through their corner values must have its
    common zero no more than three and a half cells away.
    """
    rows, columns, corners = patch.crossed
    levels = corners[1]
    here = np.flatnonzero((levels.min(axis=0) <= target) & (levels.max(axis=0) >= target))
    rows, columns, corners = rows[here], columns[here], corners[:, :, here]
    low, down, right, far = np.moveaxis(corners - np.array([0.0, target])[:, None, None], 1, 0)
    row_slope, column_slope = (down - low + far - right) / 2, (right - low + far - down) / 2
    middle = (low + down + right + far) / 4
    with np.errstate(divide="ignore", invalid="ignore"):
        determinant = row_slope[0] * column_slope[1] - row_slope[1] * column_slope[0]
        i = (column_slope[0] * middle[1] - column_slope[1] * middle[0]) / determinant
        j = (row_slope[1] * middle[0] - row_slope[0] * middle[1]) / determinant
    near = (np.abs(i) < 4) & (np.abs(j) < 4)
    i, j, rows, columns = i[near], j[near], rows[near], columns[near]
    scale = np.exp(np.log(patch.scale[rows]) + (i + 0.5) * math.log(patch.scale[1] / patch.scale[0]))
    left = (patch.shift[rows, columns] + patch.shift[rows + 1, columns]) / 2
    step = (patch.shift[rows, columns + 1] + patch.shift[rows + 1, columns + 1]) / 2 - left
    return scale, left + (j + 0.5) * step


def _newton(act: Activation, target: float, scale: Array, shift: Array, box: Box) -> tuple[Array, Array, Equations]:
    """Newton's method in (log scale, shift) from every start at once, steps limited, until nothing moves.

    A start that leaves the box by more than a factor of two, or becomes undefined, is dropped.
    """
    logs = np.log(scale)
    values = equations(act, scale, shift)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        for _ in range(30):
            (r_scale, r_shift), (l_scale, l_shift) = values.jacobian
            r, level = values.ratio, values.log_excess - target
            determinant = r_scale * l_shift - r_shift * l_scale
            step_log = -(l_shift * r - r_shift * level) / determinant
            step_shift = -(r_scale * level - l_scale * r) / determinant
            longest = np.exp(logs) + 0.1 * np.abs(shift)
            damping = 1 / np.maximum(1, np.maximum(np.abs(step_log) / 0.7, np.abs(step_shift) / longest))
            logs, shift = logs + damping * step_log, shift + damping * step_shift
            scale = np.exp(logs)
            alive = np.isfinite(logs + shift) & box.holds(np.clip(scale, box.low, box.high), shift / 2)
            alive &= (scale > box.low / 2) & (scale < 2 * box.high)
            logs, scale, shift = logs[alive], scale[alive], shift[alive]
            values = equations(act, scale, shift)
            moved = np.maximum(np.abs(step_log), np.abs(step_shift) / longest)[alive]
            if np.all(moved < 1e-8):
                break
    return scale, shift, values


def roots(act: Activation, psi: float, box: Box = STANDARD_BOX) -> list[Root]:
    """Every solution in the box, the canonical one first: smallest abs(input_shift), then the negative one.

    A solution counts if abs(R) and abs(L) are below 1e-6, a bound that only tells roots from stalled iterations: the
    accepted constants are checked by `qcmap.numeric.dks`.
    """
    target = math.log(psi - 1)
    starts = [_starts(patch, target) for patch in patches(act, box)]
    scale, shift = (np.concatenate(parts) for parts in zip(*starts, strict=True))
    if act.parity is not None:
        # (a, b) solves the equations of an odd or even function if and only if (a, -b) does.
        scale, shift = scale[shift <= 0], shift[shift <= 0]
    if not scale.size:
        return []
    scale, shift, values = _newton(act, target, scale, shift, box)
    settled = (np.abs(values.ratio) < 1e-6) & (np.abs(values.log_excess - target) < 1e-6)
    found: list[Root] = []
    for k in np.flatnonzero(box.holds(scale, shift) & settled):
        root = Root(float(scale[k]), float(shift[k]), float(values.mean[k]), float(values.variance[k]))
        if not any(_same(root, other) for other in found):
            found.append(root)
    if act.parity is not None:
        found += [_mirrored(root, act.parity) for root in found if root.input_shift < 0]
    found.sort(key=lambda root: abs(root.input_shift))
    for k in range(len(found) - 1):
        # A mirror pair, whatever symmetry it comes from, is told apart by sign and not by rounding.
        a, b = found[k], found[k + 1]
        if a.input_shift > 0 > b.input_shift and _same(a, _mirrored(b, "even")):
            found[k], found[k + 1] = b, a
    return found


def _mirrored(root: Root, parity: str) -> Root:
    mean = -root.mean if parity == "odd" else root.mean
    return Root(root.input_scale, -root.input_shift, mean, root.variance)


def _same(a: Root, b: Root) -> bool:
    return abs(math.log(a.input_scale / b.input_scale)) < 1e-6 and abs(a.input_shift - b.input_shift) < 1e-6 * max(
        abs(a.input_shift), a.input_scale
    )
