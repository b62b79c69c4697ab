"""What `measure` returns: one row a node."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from qcmap.errors import ArgumentError

if TYPE_CHECKING:
    from rich.table import Table

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class NodeMeasurement:
    """Measured and predicted values at one node.

    Attributes
    ----------
    node, op
        The node's id and the kind of its op.
    q_mean, q_standard_error
        Mean q value over samples and locations, and its standard error over the samples (each averaged over its
        locations first).
    q_predicted
        The predicted mean.
    c_deviation
        Mean of abs(measured c - predicted c) over pairs and locations.
    c_measured, c_predicted
        The c values, [pairs, locations].
    """

    node: str
    op: str
    q_mean: float
    q_standard_error: float
    q_predicted: float
    c_deviation: float
    c_measured: Array
    c_predicted: Array

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON-ready data; arrays as nested lists."""
        fields = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in fields.items()}

    def __repr__(self) -> str:
        return (
            f"<{self.op} {self.node}: q {self.q_mean:.4g} +- {self.q_standard_error:.2g}"
            f" (predicted {self.q_predicted:.4g}), c off by {self.c_deviation:.2g}>"
        )


@dataclass(frozen=True, eq=False)
class Measurement:
    """Measured and predicted q and c values of a model, node by node.

    Attributes
    ----------
    rows
        One `NodeMeasurement` for the input and for every node that is a module, in graph order.
    samples, pairs, locations
        How many there were.
    unmeasured
        Ids of the nodes that are no module of the model.
    """

    rows: tuple[NodeMeasurement, ...]
    samples: int
    pairs: int
    locations: int
    unmeasured: tuple[str, ...] = ()

    def __getitem__(self, node: str) -> NodeMeasurement:
        """The row of a node; raises `ArgumentError` for one that was not measured."""
        for row in self.rows:
            if row.node == node:
                return row
        raise ArgumentError(node, "it was not measured", f"choose one of {', '.join(row.node for row in self.rows)}")

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON-ready data."""
        return {
            "rows": [row.to_dict() for row in self.rows],
            "samples": self.samples,
            "pairs": self.pairs,
            "locations": self.locations,
            "unmeasured": list(self.unmeasured),
        }

    def table(self) -> Table:
        """The rows as a rich table."""
        from rich.table import Table

        table = Table(title=f"{self.samples} samples, {self.pairs} pairs, {self.locations} locations")
        for heading in ("node", "op"):
            table.add_column(heading)
        for heading in ("q", "standard error", "q predicted", "c deviation"):
            table.add_column(heading, justify="right")
        for row in self.rows:
            figures = row.q_mean, row.q_standard_error, row.q_predicted, row.c_deviation
            table.add_row(row.node, row.op, *(f"{figure:.4g}" for figure in figures))
        return table

    def __repr__(self) -> str:
        off_q = max(abs(row.q_mean - row.q_predicted) for row in self.rows)
        off_c = max(row.c_deviation for row in self.rows)
        return f"<measurement of {len(self.rows)} nodes: q off by at most {off_q:.2g}, c by {off_c:.2g} on average>"
