"""A population's run, round by round: its records, the states it keeps, and going on after it was broken off."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from typing import Any

from qcmap.nn.train._checkpoint import check_same_run
from qcmap.nn.train._records import (
    CONFIGURATION,
    RECORDS,
    Records,
    prepared_folder,
    read_configuration,
    versions,
    write_json,
)
from qcmap.nn.train._run import RunSettings
from qcmap.nn.train.population._members import Point, Task
from qcmap.nn.train.population._population import Population
from qcmap.nn.train.population._segments import Segments
from qcmap.nn.train.population._settings import PopulationSettings

STATES = "states"


class Rounds:
    """What a population does next, what it did, and the folder that tells of it.

    A round is written down once all its tasks are done. A run that was broken off takes up its decisions again from
    there: they follow from the outcomes.

    Parameters
    ----------
    settings, population
        Of the run, and of the population.
    output
        The folder.
    resume
        Go on where the folder's records end. Without it a folder that holds a run is refused.

    Raises
    ------
    ArgumentError
        As `Segments` and `qcmap.nn.train.Trainer`, and for a folder with other settings.
    """

    def __init__(
        self, settings: RunSettings, population: PopulationSettings, output: str | os.PathLike[str], *, resume: bool
    ) -> None:
        self.folder = prepared_folder(output, resume=resume).absolute()
        self.states = self.folder / STATES
        self.states.mkdir(exist_ok=True)
        self.segments = Segments(settings, population, self.states)
        self.population = Population(population, population.rates_for(settings.optimizer.name), self.segments.steps)
        self.records = Records(self.folder)
        self._configure({"settings": settings.curve_settings(), "population": population.to_dict()})
        self._go_on()

    def tasks(self) -> dict[int, Task]:
        """The tasks of this round, by worker; none at the end."""
        return {} if self.population.finished else self.population.tasks()

    def finish(self, outcomes: Mapping[int, tuple[Point, ...]]) -> None:
        """Record a round and its decisions, and forget states that nobody needs any more."""
        for worker, task in self.tasks().items():
            self.records.add(
                {
                    "kind": "task", "worker": worker, "start": task.start, "rate": task.rate, "step": task.until,
                    "points": [[step, value if math.isfinite(value) else None] for step, value in outcomes[worker]],
                }
            )  # fmt: skip
        for decision in self.population.advance(outcomes):
            self.records.add({**decision.to_dict(), "kind": "decision", "decision": decision.kind})
        self.records.add({"kind": "round", "step": self.population.step})
        self.records.keep()
        self._forget()

    def _configure(self, configuration: Mapping[str, Any]) -> None:
        path = self.folder / CONFIGURATION
        if path.exists():
            for kept, now in zip(read_configuration(self.folder, *configuration), configuration.values(), strict=True):
                check_same_run(path, kept, json.loads(json.dumps(now)))
        write_json(path, {**configuration, "versions": versions()})

    def _go_on(self) -> None:
        """Take up the rounds that are written down whole."""
        path = self.folder / RECORDS
        lines = path.read_bytes().splitlines() if path.exists() else []
        ends = [k for k, line in enumerate(lines, start=1) if line.startswith(b'{"kind": "round"')]
        self.records.go_back(ends[-1] if ends else 0)
        outcomes: dict[int, tuple[Point, ...]] = {}
        for row in self.records.rows:
            if row["kind"] == "task":
                outcomes[row["worker"]] = tuple(
                    (step, -math.inf if value is None else value) for step, value in row["points"]
                )
            elif row["kind"] == "round":
                self.population.advance(outcomes)
                outcomes = {}

    def _forget(self) -> None:
        """Delete states but those that the next tasks begin from, and at the end but the best."""
        starts = [task.start for task in self.tasks().values()] or [self.population.best().state]
        needed = {self.segments.path(start) for start in starts if start is not None}
        for path in self.states.glob("*.pt"):
            if path not in needed:
                path.unlink(missing_ok=True)
