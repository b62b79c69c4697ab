"""Colours of cells: cells of the same form share an entry of a table, found on whole arrays at once."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any

import numpy as np

from qcmap.architecture.gated._tables import Coded, Integers
from qcmap.symbolic.gated._quotient import Cell, Error, Mix

SHIFT = 32
"""Two positions are packed into one integer: the first times 2^32 plus the second."""
LOW = (1 << SHIFT) - 1

Part = tuple[Integers, Integers, Integers]
"""What one predecessor adds: positions among the node's cells, weights and cells (positions in tables)."""
Rows = list[tuple[Integers, Integers]]
"""Cells by their number of terms: positions, and a matrix of packed terms, sorted along each row."""


class Table:
    """Distinct values and their positions."""

    def __init__(self) -> None:
        self.values: list[Any] = []
        self._known: dict[Hashable, int] = {}

    def position(self, value: Any) -> int:
        """The position of a value, which is added if it is new."""
        if value not in self._known:
            self._known[value] = len(self.values)
            self.values.append(value)
        return self._known[value]


class Circuit:
    """The table of forms."""

    def __init__(self) -> None:
        self._table = Table()

    @property
    def cells(self) -> list[Cell]:
        """The forms, each after those that it reads."""
        return self._table.values

    def position(self, cell: Cell) -> int:
        """The colour of a form."""
        return self._table.position(cell)

    def mapped(self, cells: Integers, made: Callable[[int], Cell]) -> Integers:
        """The colours of forms in one cell each."""
        known, inverse = uniques(cells)
        return np.array([self.position(made(int(k))) for k in known], dtype=np.int64)[inverse]

    def rows(self, count: int, at: Integers, weight: Integers, cell: Integers) -> Rows:
        """The terms of ``count`` cells, those with equally many together."""
        packed = (weight << SHIFT) + cell
        order = np.lexsort((packed, at))
        at, packed = at[order], packed[order]
        starts = np.searchsorted(at, np.arange(count + 1))
        number = np.diff(starts)
        found = []
        for size in np.flatnonzero(np.bincount(number)) if count else ():
            where = np.flatnonzero(number == size)
            found.append((where, packed[starts[where][:, None] + np.arange(size)]))
        return found

    def mixed(self, count: int, parts: Sequence[Part], weights: Table) -> Integers:
        """The colours of sums of cells with weights; one cell of weight 1 keeps its colour."""
        if len(parts) == 1 and len(parts[0][0]) == count:
            _, weight, cell = parts[0]
            rows = [(np.arange(count), ((weight << SHIFT) + cell)[:, None])]
        else:
            at, weight, cell = (np.concatenate(column) for column in zip(*parts, strict=True)) if parts else [_NONE] * 3
            rows = self.rows(count, at, weight, cell)
        result = np.empty(count, dtype=np.int64)
        for where, matrix in rows:
            known, inverse = uniques(matrix)
            colours = []
            for row in known.tolist():
                terms = tuple((term >> SHIFT, term & LOW) for term in row)
                alone = len(terms) == 1 and weights.values[terms[0][0]] == 1
                colours.append(terms[0][1] if alone else self.position(Mix(terms)))
            result[where] = np.array(colours, dtype=np.int64)[inverse]
        return result

    def errors(self, head: Integers, rows: Rows) -> Integers:
        """The colours of errors; ``head`` packs probability and target + 1, rows (2 D + whether turned) and cells."""
        result = np.empty(len(head), dtype=np.int64)
        for where, matrix in rows:
            known, inverse = uniques(np.concatenate([head[where][:, None], matrix], axis=1))
            colours = []
            for first, *row in known.tolist():
                terms = tuple((term >> SHIFT + 1, bool(term >> SHIFT & 1), term & LOW) for term in row)
                colours.append(self.position(Error(first >> SHIFT, (first & LOW) - 1, terms)))
            result[where] = np.array(colours, dtype=np.int64)[inverse]
        return result


_NONE = np.empty(0, dtype=np.int64)


def uniques(values: Integers) -> tuple[Integers, Integers]:
    """The distinct entries (or rows of a matrix), and for each entry which one it is."""
    if values.ndim == 2:
        if values.shape[1] == 1:
            known, inverse = uniques(values[:, 0])
            return known[:, None], inverse
        known, inverse = np.unique(values, axis=0, return_inverse=True)
        return known, inverse.reshape(-1)
    if len(values) and (values == values[0]).all():
        return values[:1], np.zeros(len(values), dtype=np.int64)
    return np.unique(values, return_inverse=True)


def tally(values: Integers) -> tuple[Integers, Integers]:
    """The distinct entries and how often each occurs."""
    known, inverse = uniques(values)
    return known, np.bincount(inverse, minlength=len(known))


def codes(coded: Coded, tolerance: float) -> tuple[Integers, tuple[Any, ...]]:
    """For each table entry its position in a shorter table, where nearly equal ones are one and zero is -1."""
    numeric = [k for k, value in enumerate(coded.values) if isinstance(value, (np.ndarray, float))]
    keys: list[Any] = list(coded.values)
    shapes = {np.shape(coded.values[k]) for k in numeric}
    for shape in shapes:
        mine = [k for k in numeric if np.shape(coded.values[k]) == shape]
        table = np.array([np.ravel(coded.values[k]) for k in mine], dtype=float).reshape(len(mine), -1)
        gap = tolerance * np.abs(table).max(initial=0.0)
        labels = np.empty(table.shape, dtype=np.int64)
        for column in range(table.shape[1]):
            order = np.argsort(table[:, column])
            labels[order, column] = np.cumsum(np.diff(table[order, column], prepend=table[order[0], column]) > gap)
        zero = (np.abs(table) <= gap).all(axis=1)
        for k, row, none in zip(mine, labels, zero, strict=True):
            keys[k] = None if none else (shape, row.tobytes())
    known: dict[Any, int] = {}
    values, position = [], np.empty(len(keys), dtype=np.int64)
    for k, key in enumerate(keys):
        if key is None or (not isinstance(key, tuple) and key == 0):
            position[k] = -1
            continue
        if key not in known:
            known[key] = len(values)
            values.append(coded.values[k])
        position[k] = known[key]
    return position, tuple(values)
