"""How many solutions the shaping equations have in a box: proved, by branching and pruning."""

from __future__ import annotations

from fractions import Fraction

from flint import arb, ctx, fmpq

from qcmap.activations import Activation, activation
from qcmap.errors import ArgumentError, NumericalError
from qcmap.numeric.proofs._arguments import real
from qcmap.numeric.proofs._cells import Pair, Root, region
from qcmap.numeric.proofs._count_result import Count

PRECISION = 110


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
    with ctx.workprec(PRECISION):
        target = real("psi", psi)
    if not target > 1:
        raise ArgumentError("psi", f"C'(1) must be above 1, not {psi}", "use a larger zeta")
    if isinstance(most_cells, bool) or not isinstance(most_cells, int) or most_cells < 1:
        raise ArgumentError("most_cells", f"it is a whole number of at least 1, not {most_cells!r}", "give 20000")
    box = region(act, scale, shift)
    with ctx.workprec(PRECISION):
        search = box.search(target, most_cells)
        if box.mirrored:
            search.mirror()
        solutions = _inside(act, search.roots, box.scale, box.shift)
    return Count(act.name, target, box.scale, box.shift, solutions, search.seen)


def _inside(act: Activation, roots: list[Root], scale: Pair, shift: Pair) -> tuple[tuple[arb, arb], ...]:
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
