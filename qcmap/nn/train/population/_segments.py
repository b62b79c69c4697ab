"""What a worker does: train a run from a state for some steps with a learning rate, and report the objective."""

from __future__ import annotations

import copy
import math
from dataclasses import replace
from pathlib import Path

from qcmap.errors import ArgumentError
from qcmap.nn.train._checkpoint import read_checkpoint, write_checkpoint
from qcmap.nn.train._choice import Choice
from qcmap.nn.train._evaluate import evaluated
from qcmap.nn.train._optimizers import state_classes
from qcmap.nn.train._run import RunSettings, trainer_for
from qcmap.nn.train.population._members import Point, State, Task
from qcmap.nn.train.population._settings import PopulationSettings


def with_rates(settings: RunSettings, schedule: Choice) -> RunSettings:
    """The settings of a run whose schedule gives the learning rates themselves."""
    options = {**settings.optimizer.options, "learning_rate": 1.0}
    return replace(settings, optimizer=Choice(settings.optimizer.name, **options), schedule=schedule)


class Segments:
    """A run that can be taken from any state of any worker's copy of it.

    All workers begin with the same weights and see the same examples in the same order, so that what a population
    found is one run of the engine with a piecewise-constant schedule, bit by bit on the CPU.

    Parameters
    ----------
    settings
        Of the run; its learning rate is not used.
    population
        How often to report, and what.
    folder
        Where states are kept; made by the caller.

    Raises
    ------
    ArgumentError
        For a schedule of the run's own, or an objective on examples that are not there.
    QCMapError
        As `qcmap.nn.train.run`.
    """

    def __init__(self, settings: RunSettings, population: PopulationSettings, folder: Path) -> None:
        if settings.schedule.name != "constant" or settings.schedule.options:
            rule = f"the run has a schedule of its own, {settings.schedule.name}"
            raise ArgumentError("schedule", rule, "leave it constant: the population finds one")
        plain = replace(with_rates(settings, Choice("constant")), record_every=1, evaluate=())
        self.trainer = trainer_for(plain)
        if population.objective == "validation" and self.trainer.data.validation is None:
            raise ArgumentError("objective", "the data have no validation examples", "choose train, or hold some out")
        self.population, self.folder = population, folder
        self._beginning = copy.deepcopy(self.trainer.state())

    @property
    def steps(self) -> int:
        """Of the whole run."""
        return self.trainer.steps

    def path(self, state: State) -> Path:
        """The file of a state."""
        worker, step = state
        return self.folder / f"{worker:03d}-{step:08d}.pt"

    def run(self, worker: int, task: Task) -> tuple[Point, ...]:
        """Train, write the state at the end, and give the objective on the way; the same again if it is done again.

        Raises
        ------
        ArgumentError, DataError
            If the state cannot be written or read.
        """
        trainer = self.trainer
        classes = state_classes(trainer.settings.optimizer)
        state = self._beginning if task.start is None else read_checkpoint(self.path(task.start), classes)
        trainer.load(copy.deepcopy(state))
        trainer.parts.rates = list(self._beginning["rates"])
        trainer.learning_rate = task.rate
        points: list[Point] = []
        while trainer.step < task.until and trainer.status == "running":
            trainer.records.go_back(0)
            trainer.train(min(trainer.step + self.population.report_every, task.until))
            points.append((trainer.step, self._objective()))
        if trainer.status == "diverged":
            points = [*(point for point in points if math.isfinite(point[1])), (task.until, -math.inf)]
        write_checkpoint(self.path((worker, task.until)), trainer.state())
        return tuple(points)

    def _objective(self) -> float:
        """Minus the loss; minus infinity once it is not finite."""
        trainer = self.trainer
        if trainer.status == "diverged":
            return -math.inf
        if self.population.objective == "train":
            losses = [row["loss"] for row in trainer.result().steps]
            return -math.fsum(losses) / len(losses)
        assert trainer.data.validation is not None
        figures = evaluated(
            trainer.parts.called, trainer.data.validation, trainer.loss, trainer.parts.precision, trainer.device,
            trainer.world, trainer.settings.batch_size,
        )  # fmt: skip
        if figures is None:
            trainer.status = "diverged"
            return -math.inf
        return -figures["loss"]
