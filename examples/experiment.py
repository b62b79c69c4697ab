"""What an experiment is: settings by size, a run that gives numbers, findings with a verdict, and a picture."""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, fields, replace
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import qcmap as qc
from qcmap.errors import ArgumentError, DataError
from qcmap.plot import save

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Finding:
    """One statement of the paper, whether it holds in this run, and what was seen."""

    says: str
    holds: bool
    seen: str


@dataclass(frozen=True)
class Result:
    """What a run gives: numbers as plain data, findings, and a function that draws the figure."""

    numbers: Mapping[str, Any]
    findings: tuple[Finding, ...]
    draw: Callable[[], Figure]


class Cells:
    """Parts of a long run, kept in a file as they are finished: a run that was broken off goes on where it was.

    A part is known by its settings and qcmap's version; delete the file after a change of the scripts.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = path
        self.seconds = 0.0
        """CPU seconds that other processes took."""
        self._known: dict[str, Any] = {}
        if path is not None and path.exists():
            try:
                self._known = json.loads(path.read_text())
            except ValueError as error:
                raise DataError(str(path), f"it is no JSON ({error})", "delete it") from error

    def __call__(self, settings: Mapping[str, Any], compute: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """The result for these settings, computed unless it is known."""
        key = self._key(settings)
        if key not in self._known:
            self._known[key] = compute()
            if self.path is not None:
                _write(self.path, self._known)
        return self._known[key]

    def every(
        self,
        settings: Sequence[Mapping[str, Any]],
        compute: Callable[[Any], dict[str, Any]],
        jobs: Sequence[Any],
        workers: int = 0,
    ) -> list[dict[str, Any]]:
        """The results of many parts; those that are not known are computed from their jobs, each once.

        Parameters
        ----------
        settings
            Of each part, as for a call.
        compute
            From a job to a result; with workers, both are sent to other processes.
        jobs
            One for each part.
        workers
            Processes; 0 computes in this one.
        """
        wanted = {self._key(row): (row, job) for row, job in zip(settings, jobs, strict=True)}
        missing = {key: pair for key, pair in wanted.items() if key not in self._known}
        if workers == 0:
            for row, job in missing.values():
                self(row, lambda job=job: compute(job))
        else:
            running = {_pool(workers).submit(_timed, compute, job): row for row, job in missing.values()}
            try:
                for done in as_completed(running):
                    found, seconds = done.result()
                    self.seconds += seconds
                    self(running[done], lambda found=found: found)
            finally:
                for future in running:
                    future.cancel()
        return [self._known[self._key(row)] for row in settings]

    @staticmethod
    def _key(settings: Mapping[str, Any]) -> str:
        return json.dumps({**settings, "version": qc.__version__}, sort_keys=True)


def _timed(compute: Callable[[Any], dict[str, Any]], job: Any) -> tuple[dict[str, Any], float]:
    """What is computed, and the CPU seconds that it took."""
    start = time.process_time()
    return compute(job), time.process_time() - start


@cache
def _pool(workers: int) -> ProcessPoolExecutor:
    """The processes that compute parts, the same for all experiments of a command."""
    return ProcessPoolExecutor(workers, mp_context=get_context("spawn"))


@dataclass(frozen=True)
class Experiment:
    """A row of the table of experiments.

    Attributes
    ----------
    name
        As on the command line.
    reports
        What the paper reports.
    sizes
        Settings, a dataclass, by size: ``tiny`` is for tests and shows nothing, ``small`` takes minutes on one core.
    run
        From settings and finished parts to the result.
    """

    name: str
    reports: str
    sizes: Mapping[str, Any]
    run: Callable[[Any, Cells], Result]


def perform(experiment: Experiment, size: str, output: Path, **changes: Any) -> dict[str, Any]:
    """Run it, write ``NAME.json`` and ``NAME.png`` into the folder, and return what the JSON says.

    Raises
    ------
    ArgumentError
        For an unknown size, or a change that names no setting.
    DataError
        If data that the size needs are not there.
    """
    if size not in experiment.sizes:
        raise ArgumentError("size", f"there is no size {size!r}", f"choose from {', '.join(experiment.sizes)}")
    settings = experiment.sizes[size]
    unknown = set(changes) - {field.name for field in fields(settings)}
    if unknown:
        raise ArgumentError(experiment.name, f"it has no setting {', '.join(sorted(unknown))}", "leave it out")
    settings = replace(settings, **changes)
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        rule = f"it cannot be made a folder ({error.strerror})"
        raise ArgumentError(str(output), rule, "give a folder you may write to") from error
    start, cells = time.process_time(), Cells(output / "cells.json")
    result = experiment.run(settings, cells)
    report = {
        "experiment": experiment.name,
        "reports": experiment.reports,
        "size": size,
        "settings": asdict(settings),
        "versions": {"qcmap": qc.__version__, "numpy": np.__version__, "python": platform.python_version()},
        "cpu_seconds": round(time.process_time() - start + cells.seconds, 1),
        "findings": [asdict(finding) for finding in result.findings],
        "verdict": "holds" if all(finding.holds for finding in result.findings) else "fails",
        "numbers": dict(result.numbers),
    }
    _write(output / f"{experiment.name}.json", report)
    save(result.draw(), output / f"{experiment.name}.png")
    return report


def _write(path: Path, content: Mapping[str, Any]) -> None:
    from qcmap._atomic import write_whole

    write_whole(path, (json.dumps(content, indent=1, allow_nan=False) + "\n").encode())


def mean_and_error(values: np.ndarray) -> tuple[float, float]:
    """The mean over runs and its standard error."""
    return float(values.mean()), float((values - values[0]).std(ddof=1) / np.sqrt(len(values)))


def mean_and_interval(values: np.ndarray) -> tuple[float, float]:
    """The mean over runs and half its 95% interval by Student's t."""
    from scipy.stats import t

    mean, error = mean_and_error(values)
    return mean, float(t.ppf(0.975, len(values) - 1)) * error


def above(values: np.ndarray) -> bool:
    """Whether the mean over runs is above 0 by more than half its 95% interval."""
    mean, half = mean_and_interval(values)
    return mean > half


def half_time(times: np.ndarray, losses: np.ndarray) -> np.ndarray:
    """When each run's loss, [times, runs], is below half of its first value; the last time if it never is."""
    below = losses < losses[0] / 2
    return np.where(below.any(axis=0), times[np.argmax(below, axis=0)], times[-1])


def shown(mean: float, error: float) -> str:
    """For people: mean and standard error."""
    return f"{mean:.3g} +- {error:.1g}"


def shown_interval(mean: float, half: float, digits: int = 2) -> str:
    """For people: mean and half its 95% interval."""
    return f"{mean:.{digits}f} (95% +- {half:.{digits}f})"


def listed(values: Mapping[float, Sequence[float]], label: str) -> str:
    """For people: mean and standard error over seeds of each setting, such as ``0.1 +- 0.02 (gain 0.5)``."""
    return ", ".join(f"{shown(*mean_and_error(np.array(row)))} ({label.format(at)})" for at, row in values.items())
