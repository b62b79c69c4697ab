"""q and c values over many initialisations of a model, with standard errors that assume nothing about its weights."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor, nn

from qcmap._tables import Cells, Tabled
from qcmap.errors import ArgumentError
from qcmap.nn.measuring._measure import measure
from qcmap.nn.measuring._results import Measurement

_ROUNDING = 1e-6


class MeanError(NamedTuple):
    """A mean over seeds, what was predicted, and the standard error of their difference."""

    mean: float
    predicted: float
    error: float

    @property
    def score(self) -> float:
        """The difference in standard errors; differences below 1e-6 of rounding count as one of that error."""
        return (self.mean - self.predicted) / max(self.error, _ROUNDING)


class NodeSeeds(NamedTuple):
    """One node: its id, the kind of its op, and q and c, means over samples, pairs, locations and seeds."""

    node: str
    op: str
    q: MeanError
    c: MeanError


@dataclass(frozen=True)
class SeedsMeasurement(Tabled):
    """What `measure_seeds` found.

    Attributes
    ----------
    rows
        One for each node at which the maps predict what random networks do.
    seeds
        How many there were.
    false_alarm
        The probability with which a family of networks that the maps describe has a row in `disagreeing`, at most.
    """

    rows: tuple[NodeSeeds, ...]
    seeds: int
    false_alarm: float

    @property
    def threshold(self) -> float:
        """The score beyond which a node disagrees: Student's t, divided among all scores (Bonferroni)."""
        from scipy.stats import t

        return float(t.isf(self.false_alarm / (4 * len(self.rows)), self.seeds - 1))

    @property
    def worst(self) -> float:
        """The largest score, in size."""
        return max(abs(part.score) for row in self.rows for part in (row.q, row.c))

    @property
    def largest_error(self) -> float:
        """The largest standard error: of q relative to its prediction, of c as it is."""
        return max(max(row.q.error / row.q.predicted, row.c.error) for row in self.rows)

    @property
    def disagreeing(self) -> tuple[NodeSeeds, ...]:
        """The rows with a score beyond the threshold."""
        return tuple(row for row in self.rows if max(abs(row.q.score), abs(row.c.score)) > self.threshold)

    def to_dict(self) -> dict[str, Any]:
        """All figures as plain data."""
        rows = [{"node": row.node, "op": row.op, "q": row.q._asdict(), "c": row.c._asdict()} for row in self.rows]
        return {
            "rows": rows,
            "seeds": self.seeds,
            "false_alarm": self.false_alarm,
            "threshold": self.threshold,
            "disagreeing": [row.node for row in self.disagreeing],
        }

    def _cells(self) -> Cells:
        title = f"means over {self.seeds} seeds; beyond {self.threshold:.2g} standard errors disagrees"
        head = ("node", "q", "predicted", "error", "score", "c", "predicted", "error", "score")
        figures = {row.node: [x for part in (row.q, row.c) for x in (*part, part.score)] for row in self.rows}
        return Cells(title, head, [(node, *(f"{x:.3g}" for x in found)) for node, found in figures.items()])

    def __repr__(self) -> str:
        return (
            f"<measurement of {len(self.rows)} nodes over {self.seeds} seeds: at most {self.worst:.2g} standard errors"
            f" off (of up to {self.largest_error:.2g}), {len(self.disagreeing)} disagree>"
        )


def measure_seeds(
    build: Callable[[int], nn.Module],
    x: Tensor | tuple[Tensor, ...] | dict[str, Tensor],
    *,
    seeds: int = 20,
    false_alarm: float = 0.01,
    **options: Any,
) -> SeedsMeasurement:
    """`measure` for several initialisations: means over seeds with their standard errors, beside the predictions.

    Unlike the errors of `measure`, these are seen and not assumed: whatever the distribution of the weights, the mean
    over seeds has them. It is within t of the prediction with the probability of Student's t for one node; that *all*
    nodes are within 3 standard errors is a much stronger demand, which networks that the maps describe often miss
    (docs/measuring.md). `SeedsMeasurement.disagreeing` corrects for that.

    Parameters
    ----------
    build
        Gives the model for a seed; called with 0, 1, ..., seeds - 1.
    x
        The same samples for all models.
    seeds
        How many, at least 3.
    false_alarm
        As for `measure`.
    options
        Of `measure`: ``architecture``, ``maps``, ``shaping``, ``pairs``, ``locations``, ``seed``.

    Raises
    ------
    ArgumentError, DataError, ArchitectureError
        As `measure`; also for fewer than 3 seeds.
    """
    if isinstance(seeds, bool) or not isinstance(seeds, int) or seeds < 3:
        raise ArgumentError("seeds", f"it must be an integer of at least 3, not {seeds!r}", "give 20")
    # Pairs and locations are the same for all seeds, so that differences are differences of weights.
    found = [measure(build(seed), x, networks=0, false_alarm=false_alarm, **options) for seed in range(seeds)]
    _refuse_other_graphs(found)
    rows = []
    for k, row in enumerate(found[0].rows):
        if row.judged:
            q = [(m.rows[k].q_mean, m.rows[k].q_predicted) for m in found]
            c = [(float(m.rows[k].c_measured.mean()), float(m.rows[k].c_predicted.mean())) for m in found]
            rows.append(NodeSeeds(row.node, row.op, _mean_error(q), _mean_error(c)))
    return SeedsMeasurement(tuple(rows), seeds, false_alarm)


def _refuse_other_graphs(found: list[Measurement]) -> None:
    names = [[row.node for row in measurement.rows] for measurement in found]
    if any(other != names[0] for other in names):
        raise ArgumentError("build", "its models have different nodes", "build the same network for each seed")


def _mean_error(pairs: list[tuple[float, float]]) -> MeanError:
    table = np.array(pairs)
    error = np.std(table[:, 0] - table[:, 1], ddof=1) / math.sqrt(len(table))
    return MeanError(float(table[:, 0].mean()), float(table[:, 1].mean()), float(error))
