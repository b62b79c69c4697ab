"""Training a population: one after another in this process, or side by side on Ray Tune."""

from __future__ import annotations

import os
from collections.abc import Callable

from qcmap.errors import ArgumentError, MissingExtra, NumericalError
from qcmap.nn.train._choice import check_value
from qcmap.nn.train._records import SUMMARY, write_json
from qcmap.nn.train._run import RunSettings
from qcmap.nn.train.population._result import PopulationResult, trained_rows
from qcmap.nn.train.population._rounds import Rounds
from qcmap.nn.train.population._settings import PopulationSettings

REPLAY = "replay.json"
"""A configuration for ``qcmap train`` with the schedule that was found."""


def train_population(
    settings: RunSettings,
    population: PopulationSettings,
    *,
    output: str | os.PathLike[str],
    resume: bool = False,
    parallel: bool = True,
    retries: int = 3,
) -> PopulationResult:
    """Find a schedule of the learning rate for a run (DKS, section 27.4).

    The result follows from the settings alone on the CPU: not from how many workers train at a time, nor from whether
    some were killed on the way.

    Parameters
    ----------
    settings
        The run; its own learning rate is not used, and its schedule must be constant.
    population
        Who trains, and how they choose.
    output
        A folder for records, the states of the workers while they are needed, ``summary.json``, and ``replay.json``:
        a configuration with the schedule that was found. Where workers are on several machines, all must see it.
    resume
        Go on after the last round that the folder tells of.
    parallel
        A process for each worker on Ray Tune (extra ``tune``), which share the machine's processors and GPUs, or those
        of the Ray cluster that is connected; False trains one after another in this process.
    retries
        How often a worker may fail, or be killed, and do its task again.

    Raises
    ------
    ArgumentError
        For settings that do not fit each other, or a folder that holds another run.
    NumericalError
        If all workers have diverged at the end.
    MissingExtra
        Without Ray Tune.
    QCMapError
        As `qcmap.nn.train.run`, and for a worker that failed too often; the records are whole.
    """
    check_value("retries", retries, int)
    if retries < 0:
        raise ArgumentError("retries", f"a worker may fail 0 times or more, not {retries}", "give 0 or more")
    train = _on_ray() if parallel else _here
    rounds = Rounds(settings, population, output, resume=resume)
    train(rounds, settings, retries)
    best = rounds.population.best()
    if best.diverged:
        low, high = population.rates_for(settings.optimizer.name)
        raise NumericalError("rates", f"all workers diverged, from rates in [{low:g}, {high:g}]", "give lower ones")
    result = PopulationResult(
        settings, best.pieces, best.points, trained_rows(rounds.records.rows), tuple(rounds.population.decisions)
    )
    write_json(rounds.folder / REPLAY, result.replay().to_dict())
    write_json(rounds.folder / SUMMARY, result.to_dict())
    return result


def _here(rounds: Rounds, settings: RunSettings, retries: int) -> None:
    """Train all rounds that are left, worker after worker; an error ends the run at once."""
    while tasks := rounds.tasks():
        rounds.finish({worker: rounds.segments.run(worker, task) for worker, task in tasks.items()})


def _on_ray() -> Callable[[Rounds, RunSettings, int], None]:
    try:
        from qcmap.nn.train.population._ray import train_on_ray
    except ModuleNotFoundError as error:
        raise MissingExtra("parallel", f"it needs {error.name}", "pip install 'qcmap[tune]'") from error
    return train_on_ray
