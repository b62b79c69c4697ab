"""What a population consists of: tasks and outcomes, lineages, members and evaluators."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

State = tuple[int, int]
"""The weights that a worker had after a step."""
Point = tuple[int, float]
"""A step and the objective there, the larger the better; minus infinity once a run has diverged."""


@dataclass(frozen=True)
class Task:
    """What a worker does next: train from a state (None: from the beginning) with a learning rate until a step."""

    start: State | None
    rate: float
    until: int


@dataclass(frozen=True)
class Piece:
    """Steps that were trained with one learning rate, ``start`` not included."""

    start: int
    stop: int
    rate: float


@dataclass(frozen=True)
class Lineage:
    """All that led to a worker's weights, whoever trained it.

    Attributes
    ----------
    pieces
        Learning rates, in order and without gaps.
    points
        The objective on the way.
    state
        Where the weights are; None at the beginning.
    """

    pieces: tuple[Piece, ...] = ()
    points: tuple[Point, ...] = ()
    state: State | None = None

    @property
    def step(self) -> int:
        """Steps that were trained."""
        return self.pieces[-1].stop if self.pieces else 0

    @property
    def objective(self) -> float:
        """The last one known."""
        return self.points[-1][1] if self.points else -math.inf

    @property
    def diverged(self) -> bool:
        """Whether a loss was not finite."""
        return bool(self.points) and not math.isfinite(self.objective)

    def extended(self, worker: int, until: int, rate: float, points: tuple[Point, ...]) -> Lineage:
        """With what the worker trained after it; neighbouring pieces with one rate are one."""
        pieces, start = self.pieces, self.step
        if pieces and pieces[-1].rate == rate:
            start, pieces = pieces[-1].start, pieces[:-1]
        return Lineage((*pieces, Piece(start, until, rate)), self.points + points, (worker, until))


@dataclass
class Member:
    """A worker of a sub-population.

    Attributes
    ----------
    group
        Which sub-population, from 0.
    rate
        The learning rate it goes on with.
    lineage
        What led to its weights.
    since
        Points of the lineage that are older than its last copy of another worker's weights.
    unseen
        Choices since it was evaluated last.
    """

    group: int
    rate: float
    lineage: Lineage = field(default_factory=Lineage)
    since: int = 0
    unseen: int = 0

    @property
    def curve(self) -> list[float]:
        """The objective since its last copy."""
        return [value for _, value in self.lineage.points[self.since :]]

    def take(self, lineage: Lineage, rate: float, since: int | None = None) -> None:
        """Go on with other weights and another rate; its curve begins anew, or from a point of that lineage."""
        self.lineage, self.rate = lineage, rate
        self.since = len(lineage.points) if since is None else since
        self.unseen = 0


@dataclass(frozen=True)
class Evaluation:
    """What an evaluator does: a parent's weights are trained with a child's learning rate.

    Attributes
    ----------
    parent
        A member of P2, P3, ...
    child
        A member of the sub-population before.
    rate
        The child's learning rate.
    begun
        The step of the copy.
    lineage
        The parent's, and what was trained since.
    since
        Points of the lineage that the parent had.
    """

    parent: int
    child: int
    rate: float
    begun: int
    lineage: Lineage
    since: int

    @property
    def curve(self) -> list[float]:
        """The objective since the copy."""
        return [value for _, value in self.lineage.points[self.since :]]

    def extended(self, worker: int, until: int, points: tuple[Point, ...]) -> Evaluation:
        """The same evaluation after more steps."""
        return replace(self, lineage=self.lineage.extended(worker, until, self.rate, points))
