"""A population on Ray Tune: a process for each worker, and a scheduler that asks the population what comes next."""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ray
from ray import tune
from ray.tune.experiment import Trial
from ray.tune.schedulers import TrialScheduler

from qcmap._atomic import write_whole
from qcmap.errors import QCMapError
from qcmap.nn.train._run import RunSettings
from qcmap.nn.train.population._members import Point, Task
from qcmap.nn.train.population._rounds import Rounds
from qcmap.nn.train.population._segments import Segments

_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_TRAIN_ENABLE_V2_MIGRATION_WARNINGS": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
}
"""Ray neither reports home, nor prints tables, nor writes logs of its own of what the records say."""


class Tasks:
    """The task of each worker in a file, from which a process takes it that is started again as well."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, worker: int) -> Path:
        """The file of a worker."""
        return self.folder / f"task-{worker:03d}.json"

    def write(self, tasks: dict[int, Task]) -> None:
        """Give these workers their tasks, and the others none."""
        for path in self.folder.glob("task-*.json"):
            path.unlink()
        for worker, task in tasks.items():
            content = {"start": task.start, "rate": task.rate, "until": task.until}
            write_whole(self.path(worker), json.dumps(content).encode())

    def read(self, worker: int) -> Task | None:
        """The task of a worker; None without one."""
        try:
            content = json.loads(self.path(worker).read_text())
        except FileNotFoundError:
            return None
        start = content["start"]
        return Task(None if start is None else (start[0], start[1]), content["rate"], content["until"])


class Worker(tune.Trainable):
    """A process that does one worker's tasks. It keeps nothing from one task to the next."""

    def setup(self, config: dict[str, Any], **shared: Any) -> None:
        """Load the data and build the model; ``shared`` are the settings of run and population, and the folder."""
        states: Path = shared["states"]
        self.worker: int = config["worker"]
        self.tasks, self.segments = Tasks(states), Segments(shared["settings"], shared["population"], states)

    def step(self) -> dict[str, Any]:
        """Do the task there is, if any."""
        task = self.tasks.read(self.worker)
        if task is None:
            return {"until": None, "points": ()}
        return {"until": task.until, "points": self.segments.run(self.worker, task)}


class RoundScheduler(TrialScheduler):
    """Lets each worker do its task, waits for all, and gives out the next tasks.

    The processes of workers that wait stay as they are. Ray starts one anew that was killed; it does its task again.

    Attributes
    ----------
    failed
        The worker that failed too often, if one did.
    """

    def __init__(self, rounds: Rounds) -> None:
        super().__init__()
        self.rounds, self.tasks = rounds, Tasks(rounds.states)
        self.failed: int | None = None
        self._outcomes: dict[int, tuple[Point, ...]] = {}
        self._waiting: dict[int, Trial] = {}
        self.tasks.write(rounds.tasks())

    def on_trial_add(self, tune_controller: Any, trial: Trial) -> None:
        """Nothing: a worker finds its task itself."""

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        """Take an outcome; give out tasks if it was the last one."""
        worker, tasks = trial.config["worker"], self.rounds.tasks()
        if worker in tasks and worker not in self._outcomes:
            if result["until"] != tasks[worker].until:
                return self.CONTINUE  # it looked for a task before there was this one
            self._outcomes[worker] = tuple(result["points"])
        self._waiting[worker] = trial
        if self._outcomes.keys() < tasks.keys():
            return self.NOOP
        self.rounds.finish(self._outcomes)
        self._outcomes = {}
        following = self.rounds.tasks()
        self.tasks.write(following)
        if self.rounds.population.finished:
            for other in self._waiting.values():
                if other is not trial:
                    tune_controller.stop_trial(other)
            return self.STOP
        for other in [other for other in self._waiting if other in following and other != worker]:
            # Ray has no public call that lets a trial go on whose process waits.
            tune_controller._schedule_trial_train(self._waiting.pop(other))
        if worker not in following:
            return self.NOOP
        del self._waiting[worker]
        return self.CONTINUE

    def on_trial_error(self, tune_controller: Any, trial: Trial) -> None:
        """A killed worker is started again by Ray; one that failed too often ends the run."""
        worker = trial.config["worker"]
        self._waiting.pop(worker, None)
        if not trial.should_recover():
            self.failed = worker
            tune_controller.request_stop_experiment()

    def on_trial_complete(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> None:
        """Nothing."""

    def on_trial_remove(self, tune_controller: Any, trial: Trial) -> None:
        """Nothing."""

    def choose_trial_to_run(self, tune_controller: Any) -> Trial | None:
        """The next one that was not started yet, or has to be again."""
        return next((trial for trial in tune_controller.get_trials() if trial.status == Trial.PENDING), None)

    def debug_string(self) -> str:
        """Where the population stands."""
        return f"{self.rounds.population.step} of {self.rounds.population.steps} steps"


def train_on_ray(rounds: Rounds, settings: RunSettings, retries: int) -> None:
    """Train all rounds that are left.

    Raises
    ------
    QCMapError
        If a worker failed more often than ``retries``; the records are whole.
    """
    if rounds.population.finished:
        return
    population = rounds.population.settings
    with _connected():
        there = ray.cluster_resources()
        share = {"cpu": _share(there["CPU"], population.workers)}
        if there.get("GPU") and (settings.device or "cuda").startswith("cuda"):
            share["gpu"] = _share(there["GPU"], population.workers)
        scheduler, storage = RoundScheduler(rounds), rounds.folder / "ray"
        trainable = tune.with_parameters(Worker, settings=settings, population=population, states=rounds.states)
        tuner = tune.Tuner(
            tune.with_resources(trainable, share),
            param_space={"worker": tune.grid_search(list(range(population.workers)))},
            tune_config=tune.TuneConfig(scheduler=scheduler, max_concurrent_trials=population.workers),
            run_config=tune.RunConfig(
                storage_path=str(storage),
                verbose=0,
                failure_config=tune.FailureConfig(max_failures=retries),
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            ),
        )
        results = tuner.fit()
    shutil.rmtree(storage, ignore_errors=True)
    if scheduler.failed is not None:
        why = str(next(iter(results.errors), "its process ended")).strip().splitlines()[-1]
        raise QCMapError(
            f"worker {scheduler.failed}", f"it failed more than {retries} times ({why})",
            "resume the run once the cause is gone",
        )  # fmt: skip


def _share(available: float, workers: int) -> float:
    """What each worker gets if all run at the same time, in Ray's units of 1/10000; whole ones above 1."""
    share = available / workers
    return float(int(share)) if share >= 1 else int(share * 10_000) / 10_000


@contextmanager
def _connected() -> Iterator[None]:
    """The cluster there is a connection to, or one on this machine, which is taken down at the end."""
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    if ray.is_initialized():
        yield
        return
    ray.init(include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR, num_cpus=_processors())
    try:
        yield
    finally:
        ray.shutdown()


def _processors() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
