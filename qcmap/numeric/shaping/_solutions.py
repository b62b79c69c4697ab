"""All solutions of a `System` over (input_scale, input_shift) in a box, and the canonical one.

The first function of a system does not depend on the architecture and the second only through its level, so both are
tabulated once per activation, on a grid of (log input_scale, input_shift) and, near each kink, on one of
(log input_scale, distance from the kink in units of input_scale), where a kink's own solutions live at every scale. A
cell in which both functions vanish, to first order, starts Newton's method; what converges inside the box and is new is
a solution. docs/shaping.md has the derivation.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

from qcmap.activations import Activation
from qcmap.numeric.maps._transform import Transform, conditions
from qcmap.numeric.shaping._systems import DKS, Equations, System

Array = NDArray[np.float64]

_FEW, _EQUAL = 6, 1e-8
"""So many starts are cheap; iterates as near as this, relatively, are one (solutions are at 1e-6)."""


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
    """A tabulated rectangle: row i has scale[i], and column j of it the shift[i, j]; both functions there."""

    scale: Array
    shift: Array
    ratio: Array
    level: Array

    @cached_property
    def crossed(self) -> tuple[NDArray[np.intp], NDArray[np.intp], Array]:
        """Rows, columns and corner values (2, 4, m) of both functions, for the m cells over which R changes sign."""
        return self.crossing(0.0)

    def crossing(self, ratio: float) -> tuple[NDArray[np.intp], NDArray[np.intp], Array]:
        """As `crossed`, where R passes ``ratio``; compressed, so that steep cells stay nearly linear."""
        first = _corners(self.ratio if ratio == 0 else np.arcsinh(self.ratio) - math.asinh(ratio))
        with np.errstate(invalid="ignore"):
            rows, columns = np.nonzero((first.min(axis=0) <= 0) & (first.max(axis=0) >= 0))
        return rows, columns, np.stack([first, _corners(self.level)])[:, :, rows, columns]


@dataclass(frozen=True)
class Root:
    """One solution (input_scale, input_shift), with mean, variance and excess of phi, and the sign of its variant."""

    input_scale: float
    input_shift: float
    mean: float
    variance: float
    excess: float
    sign: float


@lru_cache(maxsize=128)
def patches(act: Activation, box: Box, system: System = DKS) -> tuple[tuple[Patch, ...], ...]:
    """For each variant, the tables of an activation over a box: one over all of it, and one around each kink."""
    conditions(Transform(act))  # refuses an activation whose integrals are not resolved, before any conclusion
    scale = np.geomspace(box.low, box.high, round(9.2 * math.log10(box.high / box.low)))
    reach = box.shift + box.slant * scale[:, None]
    columns = [reach * np.linspace(-1, 1, 97)]
    columns += [kink.at + scale[:, None] * np.linspace(-7, 7, 71) for kink in act.kinks]
    return tuple(zip(*(_tabulated(system, act, scale, shift) for shift in columns), strict=True))


def _tabulated(system: System, act: Activation, scale: Array, shift: Array) -> tuple[Patch, ...]:
    signs = np.array(system.signs)[:, None]
    rows = [system.evaluate(act, np.full(shift.shape[1], a), b, signs) for a, b in zip(scale, shift, strict=True)]
    level = np.array([row.level for row in rows])
    ratios = np.array([np.broadcast_to(row.ratio, (signs.size, shift.shape[1])) for row in rows])
    return tuple(Patch(scale, shift, ratios[:, k], level) for k in range(signs.size))


def _corners(values: Array) -> Array:
    return np.stack([values[:-1, :-1], values[1:, :-1], values[:-1, 1:], values[1:, 1:]])


def _starts(patch: Patch, ratio: float, target: float) -> tuple[Array, Array]:
    """Starts in the cells that may hold a zero of both R - ratio and level - target.

    Both functions must change sign over the cell's corners, and the plane through their corner values must have its
    common zero no more than three and a half cells away.
    """
    rows, columns, corners = patch.crossed if ratio == 0 else patch.crossing(ratio)
    levels = corners[1]
    here = np.flatnonzero((levels.min(axis=0) <= target) & (levels.max(axis=0) >= target))
    rows, columns, corners = rows[here], columns[here], corners[:, :, here]
    low, down, right, far = (corners - np.array([0.0, target])[:, None, None]).transpose(1, 0, 2)
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


@dataclass(frozen=True)
class Problem:
    """A system for one activation, with the wanted value of R and of the level."""

    act: Activation
    system: System
    ratio: float
    target: float

    def at(self, scale: Array, shift: Array, sign: float | Array = 1.0) -> Equations:
        """The equations at m points, each of the variant with its sign."""
        signs = sign if isinstance(sign, np.ndarray) else np.full(scale.shape, sign)
        return self.system.evaluate(self.act, scale, shift, signs)


def newton(
    problem: Problem, scale: Array, shift: Array, box: Box, sign: float | Array = 1.0
) -> tuple[Array, Array, Array, Equations]:
    """Newton's method in (log scale, shift) from every start at once, steps limited, until nothing moves.

    A start that leaves the box by more than a factor of two, becomes undefined, or comes nearer to another one than two
    solutions are told apart, is dropped. Returns scale, shift and sign of the others, with their equations.
    """
    logs, sign = np.log(scale), np.broadcast_to(sign, scale.shape)
    values = problem.at(scale, shift, sign)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        for _ in range(30):
            (r_scale, r_shift), (l_scale, l_shift) = values.jacobian
            r, level = values.ratio - problem.ratio, values.level - problem.target
            determinant = r_scale * l_shift - r_shift * l_scale
            step_log = (r_shift * level - l_shift * r) / determinant
            step_shift = (l_scale * r - r_scale * level) / determinant
            moved_log, moved_shift = np.abs(step_log), np.abs(step_shift) / (scale + 0.1 * np.abs(shift))
            damping = 1 / np.maximum(1, np.maximum(moved_log / 0.7, moved_shift))
            logs, shift = logs + damping * step_log, shift + damping * step_shift
            scale, moved = np.exp(logs), np.maximum(moved_log, moved_shift)
            reach = 2 * box.shift
            if box.slant:
                reach = reach + 2 * box.slant * np.minimum(np.maximum(scale, box.low), box.high)
            alive = (scale > box.low / 2) & (scale < 2 * box.high) & (np.abs(shift) <= reach)
            if scale.size > _FEW:
                alive &= ~_repeated(logs, shift, sign)
            if not alive.all():
                logs, scale, shift, sign, moved = (part[alive] for part in (logs, scale, shift, sign, moved))
            values = problem.at(scale, shift, sign)
            if (moved < 1e-8).all():
                break
    return scale, shift, sign, values


def _repeated(logs: Array, shift: Array, sign: Array) -> NDArray[np.bool_]:
    """Which points are all but equal to an earlier one."""
    alike = np.abs(logs[:, None] - logs) < _EQUAL
    alike &= np.abs(shift[:, None] - shift) < _EQUAL * np.maximum(np.abs(shift), np.exp(logs))
    alike &= sign[:, None] == sign
    return np.tril(alike, -1).any(axis=1)


def roots(act: Activation, psi: float, box: Box = STANDARD_BOX) -> list[Root]:
    """Every solution of Q'(1) = 1, C'(1) = psi with mean 0 in the box; see `solutions_of`."""
    return solutions_of(DKS, act, psi - 1, box)


def solutions_of(system: System, act: Activation, target: float, box: Box, ratio: float = 0.0) -> list[Root]:
    """Every solution in the box, the canonical one first: smallest abs(input_shift), then the negative one.

    ``target`` is the wanted exponential of the level, psi - 1 for `DKS` and kappa for `TAT`, and ``ratio`` the wanted
    value of the first function. A solution counts if both functions are on their targets to rounding, which tells roots
    from stalled iterations and from folds just missed; the accepted constants are checked by their residuals.
    """
    found = _searched(Problem(act, system, ratio, math.log(target)), box)
    if act.parity is not None:
        other = -1.0 if act.parity == "odd" and len(system.signs) == 2 else 1.0
        found += [_mirrored(root, act.parity, other * root.sign) for root in found if root.input_shift < 0]
    found.sort(key=lambda root: abs(root.input_shift))
    for k in range(len(found) - 1):
        # A mirror pair, whatever symmetry it comes from, is told apart by sign and not by rounding.
        a, b = found[k], found[k + 1]
        if a.input_shift > 0 > b.input_shift and _same(a, _mirrored(b, "even", a.sign)):
            found[k], found[k + 1] = b, a
    return found


def _searched(problem: Problem, box: Box) -> list[Root]:
    """The distinct solutions in the box, of odd and even functions those with shifts of at most 0."""
    starts = [
        (scale, shift, np.full(scale.shape, sign))
        for sign, tables in zip(problem.system.signs, patches(problem.act, box, problem.system), strict=True)
        for scale, shift in [_starts(patch, problem.ratio, problem.target) for patch in tables]
    ]
    scale, shift, sign = (np.concatenate(parts) for parts in zip(*starts, strict=True))
    if problem.act.parity is not None:
        # (a, b) solves the equations of an odd or even function if and only if (a, -b) does.
        half = shift <= 0
        scale, shift, sign = scale[half], shift[half], sign[half]
    if not scale.size:
        return []
    scale, shift, sign, values = newton(problem, scale, shift, box, sign)
    # Both functions carry rounding errors of about 1e-15 over the excess.
    resolved = 1e-10 + 1e-13 / values.excess
    settled = np.abs(values.ratio - problem.ratio) < resolved * max(1.0, abs(problem.ratio))
    settled &= np.abs(values.level - problem.target) < resolved
    found: list[Root] = []
    for k in np.flatnonzero(box.holds(scale, shift) & settled):
        mean, variance, excess = (float(part[k]) for part in (values.mean, values.variance, values.excess))
        root = Root(float(scale[k]), float(shift[k]), mean, variance, excess, float(sign[k]))
        if not any(_same(root, other) for other in found):
            found.append(root)
    return found


def _mirrored(root: Root, parity: str, sign: float) -> Root:
    mean = -root.mean if parity == "odd" else root.mean
    return Root(root.input_scale, -root.input_shift, mean, root.variance, root.excess, sign)


def _same(a: Root, b: Root) -> bool:
    return (
        a.sign == b.sign
        and abs(math.log(a.input_scale / b.input_scale)) < 1e-6
        and abs(a.input_shift - b.input_shift) < 1e-6 * max(abs(a.input_shift), a.input_scale)
    )
