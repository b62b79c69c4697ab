"""A whole run from a configuration: data, model, training."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch

from qcmap.nn.train._choice import Choice
from qcmap.nn.train._distributed import process_group
from qcmap.nn.train._measures import Measure
from qcmap.nn.train._models import build_model
from qcmap.nn.train._result import Result
from qcmap.nn.train._settings import FREE, Settings
from qcmap.nn.train._trainer import Trainer
from qcmap.nn.train.data import load_data


@dataclass(frozen=True, kw_only=True)
class RunSettings(Settings):
    """The settings of a whole run, as they stand in a file; see `read_run`.

    Attributes
    ----------
    model
        A row of ``MODELS``: zoo, import.
    data
        A row of ``data.DATASETS``: digits, mnist, cifar10, imagenet, teacher.
    dtype
        The type of the model and of its inputs.
    device
        Such as cpu or cuda; the machine's first GPU, or else the CPU, if None. Under torchrun each process has its own.
    """

    model: Choice
    data: Choice
    dtype: Literal["float32", "float64"] = "float32"
    device: str | None = field(default=None, metadata=FREE)


def run(
    settings: RunSettings,
    *,
    output: str | os.PathLike[str] | None = None,
    resume: bool = False,
    progress: bool = False,
    each_epoch: Sequence[Measure] = (),
    each_step: Sequence[Measure] = (),
) -> Result:
    """Load the data, build the model, and train; under torchrun together with the other processes.

    Parameters
    ----------
    settings
        Everything that the result depends on.
    output, resume, each_epoch, each_step
        As for `Trainer`.
    progress
        Whether to draw a bar on standard error.

    Raises
    ------
    QCMapError
        `ArgumentError` and `DataError` as for `Trainer`; `DataError` for missing or damaged files of data; whatever
        building the model raises.
    """
    with process_group() as own:
        trainer = trainer_for(
            settings, device=own, output=output, resume=resume, each_epoch=each_epoch, each_step=each_step
        )
        return trainer.train(progress=progress)


def trainer_for(settings: RunSettings, *, device: torch.device | None = None, **options: Any) -> Trainer:
    """The run of a configuration before its first step: data loaded, model built; ``options`` are those of `Trainer`.

    Raises
    ------
    QCMapError
        As `run`.
    """
    dtype = getattr(torch, settings.dtype)
    data = load_data(settings.data).cast(dtype)
    model = build_model(settings.model, data, settings.seed).to(dtype)
    return Trainer(model, data, settings, device=device or _device(settings.device), **options)


def _device(name: str | None) -> torch.device | str:
    return ("cuda" if torch.cuda.is_available() else "cpu") if name is None else name
