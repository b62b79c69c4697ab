"""Enclosures of E[F(x) He_k(x)] for several F and all k up to a highest one, over a window of x, by tabulated panels.

The rule and its error bound are those of `_ball_integrals`. What does not depend on F, He_k times the density at the
nodes and bounds of it on the ellipses, is kept per panel; so one more integrand costs its values at the nodes.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache

from flint import acb, arb, arb_mat, ctx

from qcmap.errors import NumericalError
from qcmap.numeric.proofs._ball_integrals import density, legendre, pieces_in, window
from qcmap.numeric.proofs._balls import BallActivation

Functions = Callable[[acb, acb, acb], list[acb]]
"""Values at (phi(u), phi'(u), x)."""

_ELLIPSES = (4.0, 3.0, 2.4, 1.9, 1.5)
_DEEPEST = 40


class Panel:
    """The interval [left, right] of x: nodes, and He_k times density times weight there; bounds on ellipses."""

    def __init__(self, left: arb, right: arb, highest: int) -> None:
        self.half, self.middle, self.highest = (right - left) / 2, (right + left) / 2, highest
        self._rules: dict[int, tuple[list[acb], arb_mat]] = {}
        with ctx.workprec(53):
            self.ellipses: list[tuple[arb, acb, list[arb]]] = []
            for r in map(arb, _ELLIPSES):
                unit = arb(0, 1)
                box = acb(self.middle + self.half * (r + 1 / r) / 2 * unit, self.half * (r - 1 / r) / 2 * unit)
                self.ellipses.append((r, box, [value.abs_upper() for value in _weighted(box, highest)]))

    def rule(self, count: int) -> tuple[list[acb], arb_mat]:
        """Nodes, and the matrix (k, node) of He_k times density times weight."""
        if count not in self._rules:
            nodes, columns = [], []
            for node, weight in legendre(count, ctx.prec):
                x = self.middle + self.half * node
                nodes.append(acb(x))
                columns.append([value.real * (weight * self.half) for value in _weighted(acb(x), self.highest)])
            self._rules[count] = nodes, arb_mat([list(row) for row in zip(*columns, strict=True)])
        return self._rules[count]


def _weighted(x: acb, highest: int) -> list[acb]:
    """He_k(x) times the density, for k up to ``highest``."""
    rows = [density(x)]
    for k in range(highest):
        rows.append(x * rows[-1] - (k * rows[-2] if k else 0))
    return rows


@lru_cache(maxsize=1024)
def _fixed(left: float, right: float, highest: int, precision: int) -> Panel:
    """Panels between even integers and their halves are used again and again."""
    with ctx.workprec(precision):
        return Panel(arb(left), arb(right), highest)


def _panel(left: arb, right: arb, highest: int) -> Panel:
    ends = float(left), float(right)
    if all(end * 1024 == round(end * 1024) and arb(end) == ball for end, ball in zip(ends, (left, right), strict=True)):
        return _fixed(*ends, highest, ctx.prec)
    return Panel(left, right, highest)


def hermite_moments(
    act: BallActivation, a: arb, b: arb, functions: Functions, number: int, highest: int, table: int
) -> list[list[arb]]:
    """For each of ``number`` functions F, the integrals of F He_k times the density over the window, k <= ``highest``.

    ``table`` is the highest degree of the kept tables. The tails beyond the window are the caller's.

    Raises
    ------
    NumericalError
        If panels have to be halved too often.
    """
    total = arb_mat(highest + 1, number)
    panels = [(*piece, 0) for piece in pieces_in(act, a, b, window(ctx.prec))]
    while panels:
        left, right, jet, depth = panels.pop()
        panel = _panel(left, right, table)

        def values(x: acb, jet=jet) -> list[acb]:  # noqa: ANN001
            f, g, _ = jet(a * x + b)
            return functions(f, g, x)

        count, errors = _nodes_needed(panel, values, highest)
        if not count:
            if depth > _DEEPEST:
                raise NumericalError(act.name, "an integral cannot be enclosed", "use another box")
            middle = panel.middle
            panels += [(left, middle, jet, depth + 1), (middle, right, jet, depth + 1)]
            continue
        nodes, kernel = panel.rule(count)
        if highest < table:
            kernel = arb_mat([[kernel[k, j] for j in range(count)] for k in range(highest + 1)])
        part = kernel * arb_mat([[value.real for value in values(x)] for x in nodes])
        total = total + part + errors
    return [[total[k, j] for k in range(highest + 1)] for j in range(number)]


def _nodes_needed(panel: Panel, values: Callable[[acb], list[acb]], highest: int) -> tuple[int, arb_mat]:
    """The smallest number of nodes over the ellipses, and the matrix (k, F) of errors; 0 if all need too many."""
    precision = ctx.prec
    most = int(0.5 * precision) + 12
    best, found = 0, arb_mat(1, 1)
    with ctx.workprec(53):
        for r, box, kernels in panel.ellipses:
            sizes = [value.abs_upper() for value in values(box)]
            if not all(size.is_finite() for size in sizes):
                continue
            largest = max(map(float, kernels[: highest + 1])) * max(map(float, sizes)) * float(panel.half)
            needed = (math.log2(largest + 1e-300) + precision) / (2 * math.log2(float(r)))
            count = max(2, math.ceil(needed) + 1)
            if count <= most and (not best or count < best):
                scale = arb(64) / 15 * r ** (-2 * count) / (1 - r**-2) * panel.half * arb(0, 1)
                best = count
                found = arb_mat([[scale * kernel * size for size in sizes] for kernel in kernels[: highest + 1]])
    return best, found
