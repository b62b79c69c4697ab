"""How many solutions the shaping equations have in a box: proved, by branching and pruning."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise

from flint import arb, ctx, fmpq

from qcmap.activations import Activation, activation
from qcmap.errors import ArgumentError, NumericalError
from qcmap.numeric.proofs._arguments import pair, real
from qcmap.numeric.proofs._ball_series import smooth_activation
from qcmap.numeric.proofs._balls import BallActivation, ball_activation
from qcmap.numeric.proofs._count_moments import Cell, Taylor
from qcmap.numeric.proofs._count_result import Count
from qcmap.numeric.proofs._count_smooth import SmoothCells

_PRECISION = 110
_COARSE_PRECISION = 60
_COARSE, _FINE = 6, 9
_SMOOTH_SHARE, _SMOOTH_MOST = 0.16, 0.5
"""Up to this share of phi's own length the series in `_count_smooth` are short enough."""
_LOWEST_WITH_KINKS = 0.05
_INFLATION = 1.5
_CLOSE = 0.2


def count_solutions(
    act: Activation | str,
    psi: float | str | Fraction | arb | fmpq,
    *,
    scale: tuple[float, float] | None = None,
    shift: tuple[float, float] = (-6.0, 6.0),
    most_cells: int = 20_000,
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
    most_cells
        The budget; a cell takes 5 to 50 milliseconds.

    Raises
    ------
    ArgumentError
        If psi is not a number above 1, the box is empty, or it reaches 0 for an activation that is not smooth; and
        for functions that are linear on either side of zero, whose equations depend on input_shift / input_scale alone.
    ActivationError
        If the activation has no formula, or one that cannot be bounded.
    NumericalError
        If the cells are too many, or remain undecided: a solution on the edge of the box, a double one, or a curve of
        solutions.
    """
    act = activation(act)
    with ctx.workprec(_PRECISION):
        target = real("psi", psi)
    if not target > 1:
        raise ArgumentError("psi", f"C'(1) must be above 1, not {psi}", "use a larger zeta")
    if isinstance(most_cells, bool) or not isinstance(most_cells, int) or most_cells < 1:
        raise ArgumentError("most_cells", f"it is a whole number of at least 1, not {most_cells!r}", "give 20000")
    if act.homogeneity is not None and act.kinks:
        raise ArgumentError(
            act.name, "its equations depend on input_shift / input_scale alone", "use `dks`, which has its closed form"
        )
    smooth = smooth_activation(act)
    low, high = pair("scale", scale) if scale is not None else (0.0 if smooth else _LOWEST_WITH_KINKS, 3.0)
    left, right = pair("shift", shift)
    if not (0 <= low < high < math.inf and -math.inf < left < right < math.inf):
        raise ArgumentError("scale", f"the box is empty or unbounded: {low, high} x {left, right}", "give another box")
    if low == 0 and smooth is None:
        raise ArgumentError("scale", f"{act.name} is not known to be smooth down to 0", "start above 0")
    with ctx.workprec(_PRECISION):
        cut = min(_SMOOTH_MOST, _SMOOTH_SHARE * act.length)
        farthest = max(abs(left), abs(right))
        cells_at_zero = SmoothCells(smooth, min(high, cut) + 0.01, farthest + 0.01) if smooth else None
        search = _Search(ball_activation(act), target, cells_at_zero, cut, most_cells)
        # If phi is odd or even, (a, b) is a solution where (a, -b) is.
        mirrored = act.parity is not None and left < 0 < right
        cells = search.run(_squares(low, high, cut), (0.0, farthest) if mirrored else (left, right))
        if mirrored:
            search.mirror()
        solutions = _inside(act, search.roots, (low, high), (left, right))
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
    def __init__(self, act: BallActivation, psi: arb, smooth: SmoothCells | None, cut: float, most_cells: int) -> None:
        self.act, self.psi, self.smooth, self.most, self.most_cells = act, psi, smooth, cut * cut, most_cells
        self.roots: list[_Root] = []

    def run(self, ends: list[float], shift: tuple[float, float]) -> int:
        """Decide every cell; the number of cells looked at."""
        stack = [Cell(low, high, *shift) for low, high in pairwise(ends)]
        seen = 0
        while stack:
            cell = stack.pop()
            seen += 1
            if seen > self.most_cells:
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
        self._insert(_Root(root.cell, s, b))

    def _insert(self, root: _Root) -> None:
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
            self._insert(_Root(cell, s, b))

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
