"""Branching over cells of (input_scale^2, input_shift), each excluded by enclosures or proved to hold one solution."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

from flint import arb, ctx

from qcmap.activations import Activation
from qcmap.errors import ArgumentError, NumericalError
from qcmap.numeric.proofs._arguments import pair
from qcmap.numeric.proofs._ball_series import smooth_activation
from qcmap.numeric.proofs._balls import BallActivation, ball_activation
from qcmap.numeric.proofs._count_moments import Cell, Taylor
from qcmap.numeric.proofs._count_smooth import SmoothCells
from qcmap.numeric.proofs._quadratic import negative_at_zeros, no_common_zero
from qcmap.numeric.proofs._tail_cells import LeftTail

_COARSE_PRECISION = 60
_COARSE, _FINE = 6, 9
_SMOOTH_SHARE, _SMOOTH_MOST = 0.16, 0.5
"""Up to this share of phi's own length the series in `_count_smooth` are short enough."""
LOWEST_WITH_KINKS = 0.05
_INFLATION = 1.5
_CLOSE = 0.2

Pair = tuple[float, float]


@dataclass(frozen=True)
class Region:
    """A box of (input_scale, input_shift) and what is known for its activation."""

    act: Activation
    scale: Pair
    shift: Pair

    @property
    def cut(self) -> float:
        """The input scale below which series of smooth functions serve."""
        return min(_SMOOTH_MOST, _SMOOTH_SHARE * self.act.length)

    @property
    def mirrored(self) -> bool:
        """Whether one half is enough: if phi is odd or even, (a, -b) is a solution where (a, b) is."""
        return self.act.parity is not None and self.shift[0] < 0 < self.shift[1]

    def search(self, psi: arb, most_cells: int, *, below: bool = False) -> Search:
        """Decide every cell, for C'(1) = psi or (``below``) all targets from psi on; arguments as `count_solutions`."""
        smooth, (low, high), (left, right) = smooth_activation(self.act), self.scale, self.shift
        farthest = max(abs(left), abs(right))
        at_zero = SmoothCells(smooth, min(high, self.cut) + 0.01, farthest + 0.01) if smooth else None
        tail = LeftTail.of(smooth, -left) if smooth and left < 0 else None
        search = Search(ball_activation(self.act), psi, at_zero, tail, self.cut, most_cells, below)
        search.run(_squares(low, high, self.cut), (0.0, farthest) if self.mirrored else (left, right))
        return search


def region(act: Activation, scale: Pair | None, shift: Pair) -> Region:
    """The box, the default one down to 0 if phi is smooth; raises as `count_solutions`."""
    if act.homogeneity is not None and act.kinks:
        raise ArgumentError(
            act.name, "its equations depend on input_shift / input_scale alone", "use `dks`, which has its closed form"
        )
    smooth = smooth_activation(act)
    low, high = pair("scale", scale) if scale is not None else (0.0 if smooth else LOWEST_WITH_KINKS, 3.0)
    left, right = pair("shift", shift)
    if not (0 <= low < high < math.inf and -math.inf < left < right < math.inf):
        raise ArgumentError("scale", f"the box is empty or unbounded: {low, high} x {left, right}", "give another box")
    if low == 0 and smooth is None:
        raise ArgumentError("scale", f"{act.name} is not known to be smooth down to 0", "start above 0")
    return Region(act, (low, high), (left, right))


def _squares(low: float, high: float, cut: float) -> list[float]:
    """Ends of s that cover [low^2, high^2], rounded outwards, with a cut where the method changes."""
    ends = [0.0 if low == 0 else math.nextafter(low * low, 0), math.nextafter(high * high, math.inf)]
    return [ends[0], cut * cut, ends[1]] if ends[0] < cut * cut < ends[1] else ends


@dataclass(frozen=True)
class Root:
    """A cell with exactly one solution, and balls (s, b) around it."""

    cell: Cell
    s: arb
    b: arb


class Search:
    """The cells of one box. ``below`` proves C'(1) < psi wherever Q'(1) = 1, which no cell with a solution survives."""

    def __init__(
        self,
        act: BallActivation,
        psi: arb,
        smooth: SmoothCells | None,
        tail: LeftTail | None,
        cut: float,
        most_cells: int,
        below: bool,
    ) -> None:
        self.act, self.psi, self.smooth, self.most, self.most_cells = act, psi, smooth, cut * cut, most_cells
        self.tail = tail
        self.below, self.excludes = below, negative_at_zeros if below else no_common_zero
        self.roots: list[Root] = []
        self.seen = 0

    def run(self, ends: list[float], shift: Pair) -> None:
        """Decide every cell; ``seen`` is then the number of cells looked at."""
        stack = [Cell(low, high, *shift) for low, high in pairwise(ends)]
        while stack:
            cell = stack.pop()
            self.seen += 1
            if self.seen > self.most_cells:
                raise NumericalError(
                    self.act.name,
                    f"more than {self.most_cells} cells are needed; {len(self.roots)} solutions are proved so far",
                    "give a smaller box, or more cells with most_cells",
                )
            if cell.right - cell.left < 1e-10:
                raise NumericalError(
                    self.act.name,
                    f"the cell input_scale^2 in [{cell.low:.10g}, {cell.high:.10g}], input_shift in [{cell.left:.10g},"
                    f" {cell.right:.10g}] could not be decided",
                    "move the edges of the box, or use another psi",
                )
            if any(cell.inside(root.cell) for root in self.roots):
                continue
            stack += self._parts(cell)

    def _parts(self, cell: Cell) -> list[Cell]:
        """What remains to be decided of a cell."""
        if self.tail is not None and self.tail.excludes(cell):
            return []
        small = self.smooth is not None and cell.high <= self.most
        if small:
            assert self.smooth is not None
            with ctx.workprec(64):
                if self.excludes(*self.smooth.models(*cell.ball, self.psi - 1)):
                    return []
        widths = _relative(cell)
        limits = (0.1, 0.2) if small else (0.35, 0.5)
        if widths[0] <= limits[0] and widths[1] <= limits[1]:
            with ctx.workprec(_COARSE_PRECISION):
                if self.excludes(*Taylor(self.act, cell, self.psi, _COARSE).equations):
                    return []
            close = max(widths[0] / limits[0], widths[1] / limits[1]) < _CLOSE
            if close and not self.below and self._settled(cell):
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
        self._add(Root(wider, s, b))
        return True

    def _add(self, root: Root) -> None:
        s, b = self._refined(root)
        self._insert(Root(root.cell, s, b))

    def _insert(self, root: Root) -> None:
        s, b = root.s, root.b
        for other in self.roots:
            around_s, around_b = other.cell.ball
            if around_s.contains(s) and around_b.contains(b):
                return  # the only solution there is the one that is known
            if around_s.overlaps(s) and around_b.overlaps(b):
                raise NumericalError(self.act.name, "two solutions cannot be told apart", "use another psi")
        self.roots.append(root)

    def mirror(self) -> None:
        """Add the mirror images (s, -b) of the roots found, unless they are the same root."""
        for root in tuple(self.roots):
            s, b = root.s, -root.b
            cell = Cell(root.cell.low, root.cell.high, -root.cell.right, -root.cell.left)
            self._insert(Root(cell, s, b))

    def _refined(self, root: Root) -> tuple[arb, arb]:
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
