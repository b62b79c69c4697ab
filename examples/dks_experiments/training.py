"""Training runs: one, and all of a row, with the learning rate of each method chosen on validation examples."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import asdict, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import nn

from examples.dks_experiments.data import some_inputs, splits_of
from examples.dks_experiments.methods import made_trainable
from examples.dks_experiments.networks import MODELS
from examples.dks_experiments.setup import Run, Scale, Setup, chance_of, run_of
from examples.experiment import Cells
from qcmap.nn._modes import device_of
from qcmap.nn.train import Choice, Settings, Splits, Trainer

EXAMPLES = 256
"""Training inputs that data-dependent methods see."""
TUNING_SEED = 1000

Curves = dict[str, Any]
"""What a run found: status, and by epoch loss, accuracy, validation loss and test accuracy."""


def train(run: Run, folder: Path | None = None) -> Curves:
    """Train once; the curves have an entry for each epoch that was completed.

    ``accuracy`` is over training examples as they are visited, ``validation`` a loss, ``test`` an accuracy.
    """
    torch.set_num_threads(1)
    splits, made = _start(replace(run, rate=0.0, epochs=0))
    model = deepcopy(made)
    settings = Settings(
        epochs=run.epochs,
        batch_size=run.batch_size,
        optimizer=Choice(run.setup.optimizer, learning_rate=run.rate, **run.options),
        schedule=Choice(run.schedule),
        clip_norm=run.setup.clip,
        seed=run.seed,
    )
    device = "cuda" if torch.cuda.is_available() else device_of(model)
    trainer = Trainer(
        model, splits, settings, output=folder, resume=folder is not None, device=device, facts=_facts(run)
    )
    result = trainer.train()
    names = {"loss": "loss", "accuracy": "accuracy", "validation": "validation.loss", "test": "test.accuracy"}
    return {
        "status": result.status,
        **{name: [round(v, 6) for v in result.curve(of)] if result.epochs else [] for name, of in names.items()},
    }


@lru_cache(maxsize=2)
def _start(run: Run) -> tuple[Splits, nn.Module]:
    """Data and initial model: the same for all learning rates, and tracing a model takes as long as an epoch."""
    splits = splits_of(run)
    inputs = some_inputs(splits, EXAMPLES)
    classes = int(splits.train.targets.max()) + 1
    with torch.random.fork_rng(devices=[]):
        model = MODELS[run.network.model](run.setup, run.network, inputs.shape[1], classes)
        return splits, made_trainable(model.to(inputs.dtype), inputs, run.setup, run.seed)


def _facts(run: Run) -> dict[str, Any]:
    return {key: value for key, value in asdict(run).items() if key in ("setup", "network", "dataset")}


def compared(setups: Mapping[str, Setup], scale: Scale, cells: Cells) -> dict[str, dict[str, Any]]:
    """For each setup the rate that was chosen, and the curves of all seeds with that rate."""
    jobs = {
        (label, rate): run_of(setup, scale, rate, TUNING_SEED, scale.tuning_epochs)
        for label, setup in setups.items()
        for rate in scale.rates[setup.optimizer]
    }
    tried = dict(zip(jobs, _all(list(jobs.values()), scale, cells), strict=True))
    chosen = {label: _best({r: tried[label, r] for r in scale.rates[s.optimizer]}) for label, s in setups.items()}
    last = {
        (label, seed): run_of(setup, scale, chosen[label], seed, scale.epochs)
        for label, setup in setups.items()
        for seed in scale.seeds
    }
    found = dict(zip(last, _all(list(last.values()), scale, cells), strict=True))
    return {
        label: {
            "rate": chosen[label],
            "chance": chance_of(s, scale),
            "rate_at_edge": chosen[label] in (min(scale.rates[s.optimizer]), max(scale.rates[s.optimizer])),
            "runs": [found[label, seed] for seed in scale.seeds],
        }
        for label, s in setups.items()
    }


def _best(tried: Mapping[float, Curves]) -> float:
    """The rate of the least mean validation loss; a run that diverged has none."""

    def mean(rate: float) -> float:
        losses = tried[rate]["validation"]
        return sum(losses) / len(losses) if tried[rate]["status"] == "finished" and losses else math.inf

    return min(tried, key=mean)


def _all(runs: list[Run], scale: Scale, cells: Cells) -> list[Curves]:
    """The curves of all runs, those that are not known by as many processes as the size has workers."""
    folder = str(cells.path.parent / "runs") if scale.keep and cells.path is not None else None
    return cells.every([asdict(run) for run in runs], _Job(folder), [*runs], scale.workers)


class _Job:
    """`train` with the folder of the run, as a function that processes can be sent."""

    def __init__(self, runs: str | None) -> None:
        self.runs = runs

    def __call__(self, run: Run) -> Curves:
        if self.runs is None:
            return train(run)
        digest = hashlib.sha256(json.dumps(asdict(run), sort_keys=True).encode()).hexdigest()[:16]
        return train(run, Path(self.runs) / digest)
