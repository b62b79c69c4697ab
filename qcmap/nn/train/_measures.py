"""Quantities measured while a network trains."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from torch import nn

from qcmap.nn._modes import modes_restored
from qcmap.nn.train._examples import Splits
from qcmap.nn.train._records import finite


@dataclass(frozen=True)
class Moment:
    """Where training is when quantities are measured; the model is in evaluation mode and may be used freely.

    Attributes
    ----------
    model
        The model itself, as it was given.
    data
        The splits, on the run's device.
    epoch, step
        Epochs and optimiser steps that are done.
    learning_rate
        That of the last step.
    """

    model: nn.Module
    data: Splits
    epoch: int
    step: int
    learning_rate: float


Measure = Callable[[Moment], Mapping[str, float]]
"""Measures quantities by name; what is not finite is recorded as null."""


def measured(measures: Sequence[Measure], moment: Moment) -> dict[str, dict[str, float | None]]:
    """What the measures find, their names together under ``measured``; nothing without measures."""
    if not measures:
        return {}
    found: dict[str, float | None] = {}
    with modes_restored(moment.model):
        moment.model.eval()
        for measure in measures:
            found.update({name: finite(value) for name, value in measure(moment).items()})
    return {"measured": found}
