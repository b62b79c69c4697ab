"""How many solutions the shaping equations have in a box: proved, by branching and pruning."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from flint import arb, ctx, fmpq

from qcmap.activations import Activation, activation
from qcmap.errors import ArgumentError, NumericalError
from qcmap.numeric.proofs._ball_series import smooth_activation
from qcmap.numeric.proofs._balls import BallActivation, ball_activation
from qcmap.numeric.proofs._count_moments import Cell, Taylor
from qcmap.numeric.proofs._count_smooth import SmoothCells

_PRECISION = 110
_COARSE_PRECISION = 60
_COARSE, _FINE = 6, 9
_SMOOTH_SHARE, _SMOOTH_MOST = 0.16, 0.5
"""Up to this share of phi's own length the series in `_count_smooth` are short enough."""
_LOWEST_WITH_KINKS = 0.05
_MOST_CELLS = 200_000
_INFLATION = 1.5
_CLOSE = 0.2


@dataclass(frozen=True)
class Count:
    """The solutions (input_scale, input_shift) of Q'(1) = 1 and C'(1) = psi in a box, all of them.

    Attributes
    ----------
    activation
        Its name.
    psi
        The target of C'(1), a ball.
    scale, shift
        The box: input_scale in ``scale`` (open at 0 where it starts there), input_shift in ``shift``.
    solutions
        Balls (input_scale, input_shift), each with exactly one solution, ordered by input_scale.
    cells
        How many cells the proof has.
    """

    activation: str
    psi: arb
    scale: tuple[float, float]
    shift: tuple[float, float]
    solutions: tuple[tuple[arb, arb], ...]
    cells: int

    @property
    def count(self) -> int:
        """The number of solutions in the box."""
        return len(self.solutions)

    @property
    def infeasible(self) -> bool:
        """Whether the box is proved to hold no solution."""
        return not self.solutions

    def to_dict(self) -> dict[str, Any]:
        """The result as plain data."""
        return {
            "activation": self.activation,
            "psi": self.psi.str(20),
            "input_scale": list(self.scale),
            "input_shift": list(self.shift),
            "count": self.count,
            "solutions": [[a.str(15), b.str(15)] for a, b in self.solutions],
            "cells": self.cells,
        }

    def __repr__(self) -> str:
        opening = "(" if self.scale[0] == 0 else "["
        box = f"{opening}{self.scale[0]:g}, {self.scale[1]:g}] x [{self.shift[0]:g}, {self.shift[1]:g}]"
        plural = "" if self.count == 1 else "s"
        return f"<{self.activation}, C'(1) = {float(self.psi):.10g}: {self.count} solution{plural} in {box}, proved>"


def count_solutions(
    act: Activation | str,
    psi: float | arb | fmpq,
    *,
    scale: tuple[float, float] | None = None,
    shift: tuple[float, float] = (-6.0, 6.0),
) -> Count:
    """Prove how many (input_scale, input_shift) of a box meet Q'(1) = 1 and C'(1) = psi.

    Cells are excluded by enclosures of both equations, and a solution is proved to exist and be the only one of a
    cell by Krawczyk's test (docs/certificates.md).

    Parameters
    ----------
    scale
        The ends of input_scale. By default (0, 3] for smooth activations of the catalogue, for which cells that reach
        down to 0 can be excluded too, and [0.05, 3] for others: near a kink there may be solutions at every scale.
    shift
        The ends of input_shift.

    Raises
    ------
    ArgumentError
        If psi is not above 1, the box is empty, or it reaches 0 for an activation that is not smooth; and for functions
        that are linear on either side of zero, whose equations depend on input_shift / input_scale alone.
    ActivationError
        If the activation has no formula, or one that cannot be bounded.
    NumericalError
        If cells remain undecided: a solution on the edge of the box, a double one, or a curve of solutions.
    """
    act = activation(act)
    target = arb(psi)
    if not (target.is_finite() and target > 1):
        raise ArgumentError("psi", f"C'(1) must be above 1, not {psi}", "use a larger zeta")
    if act.homogeneity is not None and act.kinks:
        raise ArgumentError(
            act.name, "its equations depend on input_shift / input_scale alone", "use `dks`, which has its closed form"
        )
    smooth = smooth_activation(act)
    low, high = scale or (0.0 if smooth else _LOWEST_WITH_KINKS, 3.0)
    left, right = shift
    if not (0 <= low < high < math.inf and -math.inf < left < right < math.inf):
        raise ArgumentError("scale", f"the box is empty or unbounded: {low, high} x {left, right}", "give another box")
    if low == 0 and smooth is None:
        raise ArgumentError("scale", f"{act.name} is not known to be smooth down to 0", "start above 0")
    with ctx.workprec(_PRECISION):
        cut = min(_SMOOTH_MOST, _SMOOTH_SHARE * act.length)
        helper = SmoothCells(smooth, min(high, cut) + 0.01, max(abs(left), abs(right)) + 0.01) if smooth else None
        search = _Search(ball_activation(act), target, helper, cut)
        cells = search.run(_squares(low, high, cut), (left, right))
        solutions = _inside(act, search.roots, (low, high), shift)
    return Count(act.name, target, (low, high), (left, right), solutions, cells)


def _squares(low: float, high: float, cut: float) -> list[float]:
    """Ends of s that cover [low^2, high^2], rounded outwards, with a cut where the method changes."""
    ends = [0.0 if low == 0 else math.nextafter(low * low, 0), math.nextafter(high * high, math.inf)]
    return [ends[0], cut * cut, ends[1]] if ends[0] < cut * cut < ends[1] else ends


@dataclass(frozen=True)
class _Root:
    """A cell with exactly one solution, and balls (s, b) around it."""

    cell: Cell
    s: arb
    b: arb


class _Search:
    def __init__(self, act: BallActivation, psi: arb, smooth: SmoothCells | None, cut: float) -> None:
        self.act, self.psi, self.smooth, self.most = act, psi, smooth, cut * cut
        self.roots: list[_Root] = []

    def run(self, ends: list[float], shift: tuple[float, float]) -> int:
        """Decide every cell; the number of cells looked at."""
        stack = [Cell(low, high, *shift) for low, high in pairwise(ends)]
        seen = 0
        while stack:
            cell = stack.pop()
            seen += 1
            if seen > _MOST_CELLS or cell.right - cell.left < 1e-10:
                raise NumericalError(
                    self.act.name,
                    f"the cell input_scale^2 in [{cell.low:.10g}, {cell.high:.10g}], input_shift in [{cell.left:.10g},"
                    f" {cell.right:.10g}] could not be decided",
                    "move the edges of the box, or use another psi",
                )
            if any(cell.inside(root.cell) for root in self.roots):
                continue
            stack += self._parts(cell)
        return seen

    def _parts(self, cell: Cell) -> list[Cell]:
        """What remains to be decided of a cell."""
        small = self.smooth is not None and cell.high <= self.most
        if small:
            assert self.smooth is not None
            with ctx.workprec(64):
                if self.smooth.excluded(*cell.ball, self.psi - 1):
                    return []
        widths = _relative(cell)
        limits = (0.1, 0.2) if small else (0.35, 0.5)
        if widths[0] <= limits[0] and widths[1] <= limits[1]:
            with ctx.workprec(_COARSE_PRECISION):
                if Taylor(self.act, cell, self.psi, _COARSE).excluded():
                    return []
            if max(widths[0] / limits[0], widths[1] / limits[1]) < _CLOSE and self._settled(cell):
                return []
        if widths[0] <= limits[0] < 1 and widths[1] > limits[1]:
            return _halved(cell, along_s=False)
        if widths[1] <= limits[1] and widths[0] > limits[0]:
            return _halved(cell, along_s=True)
        if small:
            return _halved(cell, along_s=(cell.high - cell.low) / cell.high > (cell.right - cell.left) / 0.5)
        return _halved(cell, along_s=widths[0] / limits[0] > widths[1] / limits[1])

    def _settled(self, cell: Cell) -> bool:
        """Whether a wider cell has exactly one solution, now known, or none."""
        wider = cell.wider(_INFLATION)
        kind, s, b = Taylor(self.act, wider, self.psi, _FINE).krawczyk()
        if kind != "one":
            return kind == "none"
        self._add(_Root(wider, s, b))
        return True

    def _add(self, root: _Root) -> None:
        s, b = self._refined(root)
        for other in self.roots:
            around_s, around_b = other.cell.ball
            if around_s.contains(s) and around_b.contains(b):
                return  # the only solution there is the one that is known
            if around_s.overlaps(s) and around_b.overlaps(b):
                raise NumericalError(self.act.name, "two solutions cannot be told apart", "use another psi")
        self.roots.append(_Root(root.cell, s, b))

    def _refined(self, root: _Root) -> tuple[arb, arb]:
        """Narrower balls, by Krawczyk's test on smaller and smaller cells inside the one whose only solution it is."""
        s, b = root.s, root.b
        for _ in range(12):
            for factor in (0.02, 0.2, 0.7):
                cell = Cell(_below(s), _above(s), _below(b), _above(b)).wider(factor)
                kind, narrower_s, narrower_b = Taylor(self.act, cell, self.psi, _FINE).krawczyk()
                if kind == "one" and cell.inside(root.cell):
                    s, b = narrower_s, narrower_b
                    break
            else:
                break
            if s.rad() < s * 1e-13:
                break
        return s, b


def _relative(cell: Cell) -> tuple[float, float]:
    """Half-widths in units that Taylor's formula needs to be small: s by its low end, b by the input scale."""
    if cell.low == 0:
        return math.inf, math.inf
    return (cell.high - cell.low) / (2 * cell.low), (cell.right - cell.left) / (2 * math.sqrt(cell.low))


def _halved(cell: Cell, *, along_s: bool) -> list[Cell]:
    if along_s:
        middle = (cell.low + cell.high) / 2 if cell.low > 0 else cell.high / 4
        return [Cell(cell.low, middle, cell.left, cell.right), Cell(middle, cell.high, cell.left, cell.right)]
    middle = (cell.left + cell.right) / 2
    return [Cell(cell.low, cell.high, cell.left, middle), Cell(cell.low, cell.high, middle, cell.right)]


def _below(ball: arb) -> float:
    return math.nextafter(float(ball.lower()), -math.inf)


def _above(ball: arb) -> float:
    return math.nextafter(float(ball.upper()), math.inf)


def _inside(
    act: Activation, roots: list[_Root], scale: tuple[float, float], shift: tuple[float, float]
) -> tuple[tuple[arb, arb], ...]:
    """The roots that lie in the box; cells reach a little beyond it."""
    found: list[tuple[arb, arb]] = []
    for root in roots:
        a, b = root.s.sqrt(), root.b
        if a < scale[0] or a > scale[1] or b < shift[0] or b > shift[1]:
            continue
        if not (a >= scale[0] and a <= scale[1] and b >= shift[0] and b <= shift[1]):
            raise NumericalError(
                act.name,
                f"the solution near ({float(a):.10g}, {float(b):.10g}) may lie on the edge of the box",
                "move it",
            )
        found.append((a, b))
    return tuple(sorted(found, key=lambda pair: float(pair[0])))
