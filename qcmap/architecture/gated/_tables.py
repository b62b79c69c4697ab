"""Arrays of values that repeat: each entry is a position in a short table, so equality is equality of integers."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from qcmap.errors import ArgumentError

Integers: TypeAlias = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Coded:
    """An array of values: ``values[ids[k]]`` is entry k. Values are numbers, sympy expressions or numpy arrays."""

    ids: Integers
    values: tuple[Any, ...]

    @classmethod
    def of(cls, items: Iterable[Any]) -> Coded:
        """The table of these values; equal ones (to the last bit) share an entry."""
        known: dict[Hashable, int] = {}
        values: list[Any] = []
        ids: list[int] = []
        for item in items:
            key = (item.shape, item.tobytes()) if isinstance(item, np.ndarray) else item
            if key not in known:
                known[key] = len(values)
                values.append(item)
            ids.append(known[key])
        return cls(np.array(ids, dtype=np.int64), tuple(values))

    @classmethod
    def constant(cls, value: Any, count: int) -> Coded:
        """The same value ``count`` times."""
        return cls(np.zeros(count, dtype=np.int64), (value,))

    def numbers(self) -> NDArray[np.float64]:
        """The entries as floats; raises `ArgumentError` for one with symbols."""
        for value in self.values:
            if getattr(value, "free_symbols", None):
                raise ArgumentError(str(value), "it is symbolic, where a number is needed", "give gates as numbers")
        return np.array([float(value) for value in self.values], dtype=float)[self.ids]

    def take(self, positions: Integers) -> Coded:
        """The entries at these positions."""
        return Coded(self.ids[positions], self.values)

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True, eq=False)
class Blocks:
    """Second moments, block by block: entry k belongs to a context and a pair of nodes (positions among theirs)."""

    context: Integers
    row: Integers
    column: Integers
    value: Coded

    @classmethod
    def of(cls, entries: Iterable[tuple[int, int, int, Any]]) -> Blocks:
        """From tuples (context, row, column, value), in any order."""
        listed = sorted(entries, key=lambda entry: entry[:3])
        index = np.array([entry[:3] for entry in listed], dtype=np.int64).reshape(-1, 3)
        return cls(index[:, 0], index[:, 1], index[:, 2], Coded.of(entry[3] for entry in listed))

    def with_values(self, value: Coded) -> Blocks:
        """The same blocks with other values."""
        return Blocks(self.context, self.row, self.column, value)
