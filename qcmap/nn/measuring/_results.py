"""What `measure` returns: one row a node."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qcmap._tables import Cells, Tabled
from qcmap.errors import ArgumentError
from qcmap.nn.measuring._statistics import Departures

Array = NDArray[np.float64]
_HEADINGS = ("node", "op", "q", "predicted", "sampling error", "c deviation", "score", "")


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
    q_measured
        The q values, [samples, locations].
    c_measured, c_predicted
        The c values, [pairs, locations].
    departures
        How far measured values are from predicted ones, in three numbers.
    judged
        Whether the prediction is one that random networks follow: not at inputs, where it starts, nor at pooling nodes,
        where it is the heuristic that pooling is the identity.
    errors
        The root mean squares of the departures of random networks of this width; None if there are none.
    """

    node: str
    op: str
    q_mean: float
    q_standard_error: float
    q_predicted: float
    c_deviation: float
    q_measured: Array
    c_measured: Array
    c_predicted: Array
    departures: Departures
    judged: bool
    errors: Departures | None = None

    @property
    def scores(self) -> Departures | None:
        """The departures in units of their errors."""
        if self.errors is None:
            return None
        return Departures(*(gap / error for gap, error in zip(self.departures, self.errors, strict=True)))

    @property
    def score(self) -> float | None:
        """The largest of the scores, in size; None if there are none."""
        return None if self.scores is None else max(map(abs, self.scores))

    def to_dict(self) -> dict[str, Any]:
        """The fields and scores as JSON-ready data; arrays as nested lists."""
        fields = {name: getattr(self, name) for name in (*self.__dataclass_fields__, "scores")}
        return {name: _plain(value) for name, value in fields.items()}

    def __repr__(self) -> str:
        score = "" if self.score is None else f", {self.score:.2g} sampling errors"
        return (
            f"<{self.op} {self.node}: q {self.q_mean:.4g} +- {self.q_standard_error:.2g}"
            f" (predicted {self.q_predicted:.4g}), c off by {self.c_deviation:.2g}{score}>"
        )


def _plain(value: object) -> object:
    if isinstance(value, np.ndarray):
        return value.tolist()
    return value._asdict() if isinstance(value, Departures) else value


@dataclass(frozen=True, eq=False)
class Measurement(Tabled):
    """Measured and predicted q and c values of a model, node by node.

    Attributes
    ----------
    rows
        One `NodeMeasurement` for each input and every node that can be looked at, in graph order.
    samples, pairs, networks
        How many there were.
    false_alarm
        The probability with which a network that the maps describe has a row in `disagreeing`, at most.
    unmeasured
        Ids of the nodes that cannot be looked at.
    """

    rows: tuple[NodeMeasurement, ...]
    samples: int
    pairs: int
    networks: int
    false_alarm: float
    unmeasured: tuple[str, ...] = ()

    @property
    def threshold(self) -> float:
        """The score beyond which a node disagrees: Student's t, divided among all scores (Bonferroni).

        With ``networks`` degrees of freedom, since each error is a root mean square over so many networks.
        """
        from scipy.stats import t

        tests = 2 * sum(len(row.departures) for row in self.rows if row.judged)
        return float(t.isf(self.false_alarm / max(tests, 1), max(self.networks, 1)))

    @property
    def disagreeing(self) -> tuple[NodeMeasurement, ...]:
        """The rows whose score exceeds the threshold; none if no networks were sampled."""
        return tuple(row for row in self.rows if row.score is not None and row.score > self.threshold)

    def __getitem__(self, node: str) -> NodeMeasurement:
        """The row of a node; raises `ArgumentError` for one that was not measured."""
        for row in self.rows:
            if row.node == node:
                return row
        raise ArgumentError(node, "it was not measured", f"choose one of {', '.join(row.node for row in self.rows)}")

    def to_dict(self) -> dict[str, Any]:
        """The fields, the threshold and the disagreeing nodes as JSON-ready data."""
        return {
            "rows": [row.to_dict() for row in self.rows],
            "samples": self.samples,
            "pairs": self.pairs,
            "networks": self.networks,
            "false_alarm": self.false_alarm,
            "threshold": self.threshold,
            "disagreeing": [row.node for row in self.disagreeing],
            "unmeasured": list(self.unmeasured),
        }

    def _cells(self) -> Cells:
        title = f"{self.samples} samples, {self.pairs} pairs; q and c scatter as in {self.networks} random networks"
        wrong = {row.node for row in self.disagreeing}
        rows = [
            (
                row.node, row.op, f"{row.q_mean:.4g}", f"{row.q_predicted:.4g}",
                "" if row.errors is None else f"{row.errors.q * row.q_predicted:.2g}", f"{row.c_deviation:.2g}",
                "" if row.score is None else f"{row.score:.2g}", "disagrees" if row.node in wrong else "",
            )
            for row in self.rows
        ]  # fmt: skip
        return Cells(title, _HEADINGS, rows, words=2)

    def __repr__(self) -> str:
        off_q = max(abs(row.q_mean - row.q_predicted) for row in self.rows)
        off_c = max(row.c_deviation for row in self.rows)
        wrong = f", {len(self.disagreeing)} disagree" if self.networks else ""
        return (
            f"<measurement of {len(self.rows)} nodes: q off by at most {off_q:.2g}, c by {off_c:.2g} on average{wrong}>"
        )
