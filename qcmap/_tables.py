"""Results that are tables: by rich in a terminal, as HTML in a notebook."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from qcmap import _html

if TYPE_CHECKING:
    from rich.table import Table


class Cells(NamedTuple):
    """A table's title, the titles of its columns, and its rows as texts; the first ``words`` columns are no numbers."""

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    words: int = 1

    def table(self) -> Table:
        """By rich."""
        from rich.table import Table

        table = Table(title=self.title)
        for k, heading in enumerate(self.head):
            table.add_column(heading, justify="left" if k < self.words else "right")
        for row in self.rows:
            table.add_row(*row)
        return table


class Tabled(ABC):
    """What shows itself as a table."""

    @abstractmethod
    def _cells(self) -> Cells:
        """The table."""

    def table(self) -> Table:
        """The rows as a rich table."""
        return self._cells().table()

    def _repr_html_(self) -> str:
        cells = self._cells()
        return _html.table(cells.head, cells.rows, caption=cells.title)
