"""What a population found: a schedule that the engine replays, and how it came about."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from qcmap.nn.train._choice import Choice, plain
from qcmap.nn.train._run import RunSettings
from qcmap.nn.train.population._members import Piece, Point
from qcmap.nn.train.population._population import Decision
from qcmap.nn.train.population._segments import with_rates


@dataclass(frozen=True)
class Trained:
    """What one worker did in one round: with which rate it trained to a step, and the objective there."""

    worker: int
    step: int
    rate: float
    objective: float


@dataclass(frozen=True, repr=False)
class PopulationResult:
    """The schedule of the sequence of workers that led to the best objective (DKS, section 27.4), and all others.

    Attributes
    ----------
    settings
        Of the run.
    pieces
        The schedule: learning rates and the steps between which they were used.
    points
        Steps and objectives on the way.
    trained
        What every worker did in every round.
    decisions
        Who copied whom, when.
    """

    settings: RunSettings
    pieces: tuple[Piece, ...]
    points: tuple[Point, ...]
    trained: tuple[Trained, ...]
    decisions: tuple[Decision, ...]

    @property
    def objective(self) -> float:
        """The best one at the end."""
        return self.points[-1][1]

    @property
    def schedule(self) -> Choice:
        """The schedule for a run with learning rate 1."""
        steps = self.pieces[-1].stop
        at = tuple(piece.stop / steps for piece in self.pieces[:-1])
        return Choice("pieces", at=at, factors=tuple(piece.rate for piece in self.pieces))

    def replay(self) -> RunSettings:
        """A run of the engine with the schedule: with the same steps, on the CPU, the very run that was found."""
        return with_rates(self.settings, self.schedule)

    def to_dict(self) -> dict[str, Any]:
        """The schedule, its curve and counts of decisions as JSON-ready data."""
        counts = dict.fromkeys(("exploit", "evaluate", "overtaken", "stopped"), 0)
        for decision in self.decisions:
            counts[decision.kind] += 1
        return {
            "objective": self.objective if math.isfinite(self.objective) else None,
            "pieces": [asdict(piece) for piece in self.pieces],
            "points": plain([(step, value if math.isfinite(value) else None) for step, value in self.points]),
            "decisions": counts,
        }

    def __repr__(self) -> str:
        rates = [piece.rate for piece in self.pieces]
        return (
            f"<population's schedule of {len(rates)} rates from {rates[0]:.3g} to {rates[-1]:.3g}, "
            f"objective {self.objective:.4g} after {self.pieces[-1].stop} steps>"
        )


def trained_rows(rows: Sequence[Mapping[str, Any]]) -> tuple[Trained, ...]:
    """The rounds of records."""
    return tuple(
        Trained(row["worker"], row["step"], row["rate"], -math.inf if value is None else value)
        for row in rows
        if row["kind"] == "task"
        for _, value in row["points"][-1:]
    )
