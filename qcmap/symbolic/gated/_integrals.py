"""First integrals of the reduced dynamics: one for each hidden layer, and what they leave free (docs/gated.md)."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from fractions import Fraction

from qcmap.architecture.gated._network import GatedNetwork

Row = tuple[int, ...]


def integral_rows(network: GatedNetwork, classes: Sequence[Sequence[str]]) -> tuple[Row, ...]:
    """Independent first integrals of the lumped flow, as coefficients of the squares of the classes' b.

    For a hidden layer v the sum of b_e^2 over the edges into v, less that over the edges out of v, is conserved. Layers
    with equal rows give one, and rows that others span are left out. The first coefficient of a row is positive, and
    the greatest common divisor is 1.
    """
    where = {edge: k for k, group in enumerate(classes) for edge in group}
    rows: dict[int, Counter[int]] = {layer: Counter() for layer in network.hidden}
    for edge in network.edges:
        source, target = network.ends(edge)
        if target in rows:
            rows[target][where[edge]] += 1
        if source in rows:
            rows[source][where[edge]] -= 1
    found: dict[Row, None] = {}
    for counts in rows.values():
        row = tuple(counts[k] for k in range(len(classes)))
        lead = next((c for c in row if c), 0)
        if lead:
            scale = math.gcd(*row) * (1 if lead > 0 else -1)
            found[tuple(c // scale for c in row)] = None
    return _independent(list(found))


def null_space(rows: Sequence[Row], size: int) -> list[tuple[Fraction, ...]]:
    """A basis of the vectors that all rows take to zero, in exact arithmetic."""
    reduced = _echelon(rows)
    pivots = [next(k for k, c in enumerate(row) if c) for row in reduced]
    basis = []
    for free in (k for k in range(size) if k not in pivots):
        vector = [Fraction(0)] * size
        vector[free] = Fraction(1)
        for row, pivot in zip(reduced, pivots, strict=True):
            vector[pivot] = -row[free]
        basis.append(tuple(vector))
    return basis


def _independent(rows: list[Row]) -> tuple[Row, ...]:
    chosen: list[Row] = []
    for row in rows:
        if len(_echelon([*chosen, row])) > len(chosen):
            chosen.append(row)
    return tuple(chosen)


def _echelon(rows: Sequence[Row]) -> list[list[Fraction]]:
    """The reduced row echelon form without its zero rows."""
    left = [[Fraction(c) for c in row] for row in rows]
    done: list[list[Fraction]] = []
    for column in range(len(rows[0]) if rows else 0):
        pivot = next((row for row in left if row[column]), None)
        if pivot is None:
            continue
        left.remove(pivot)
        pivot = [c / pivot[column] for c in pivot]
        left = [[a - row[column] * p for a, p in zip(row, pivot, strict=True)] for row in left]
        done = [[a - row[column] * p for a, p in zip(row, pivot, strict=True)] for row in done] + [pivot]
    return done
