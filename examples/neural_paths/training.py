"""One run of an experiment: a network trained by the engine, the epoch chosen on validation examples."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from examples.neural_paths.data import Part, splits
from qcmap.errors import NumericalError
from qcmap.nn.train import Choice, Measure, Moment, Result, Settings, Trainer


@dataclass(frozen=True)
class Training:
    """How the networks of an experiment are trained.

    Of several ``rates`` the best on the validation examples is taken, run by run.
    """

    optimizer: str = "adam"
    rates: tuple[float, ...] = (1e-3,)
    epochs: int = 40
    batch: int = 32
    loss: str = "cross_entropy"


@dataclass(frozen=True)
class Trained:
    """What came of a run.

    Attributes
    ----------
    model
        As it is at the end.
    result
        The engine's records.
    rate
        The learning rate.
    chosen
        The accuracy on test examples at the epoch that is best on validation examples; ``last`` at the end.
    train
        The accuracy on training examples over the last epoch, as they were visited.
    """

    model: nn.Module
    result: Result
    rate: float
    chosen: float
    last: float
    validation: float
    train: float

    def to_dict(self) -> dict[str, Any]:
        """The figures."""
        names = "rate", "chosen", "last", "validation", "train"
        return {name: getattr(self, name) for name in names} | {"loss": list(self.result.curve("loss"))}


def trained(
    make: Callable[[], nn.Module],
    parts: Mapping[str, Part],
    training: Training,
    seed: int,
    measures: Sequence[Measure] = (),
) -> Trained:
    """The network that ``make()`` gives, trained at each rate; the best of these on the validation examples.

    Raises
    ------
    NumericalError
        If training diverges at every rate.
    """
    found: list[Trained] = []
    for rate in training.rates:
        model = make()
        settings = Settings(
            epochs=training.epochs,
            batch_size=min(training.batch, len(parts["train"][1])),
            optimizer=Choice(training.optimizer, learning_rate=rate),
            loss=training.loss,
            seed=seed,
        )
        numbers = parts["train"][1].is_floating_point()
        own = [*measures, signs_right] if numbers else measures
        device = "cuda" if torch.cuda.is_available() else "cpu"
        result = Trainer(model, splits(parts), settings, each_epoch=own, device=device).train()
        model.cpu()
        if result.status != "finished":
            continue
        names = ("measured.right/{}" if numbers else "{}.accuracy").format
        validation, test = (result.curve(names(split)) for split in ("validation", "test"))
        best = int(np.argmax(validation))
        train = result.curve("measured.right/train" if numbers else "accuracy")[-1]
        found.append(Trained(model, result, rate, test[best], test[-1], validation[best], train))
    if not found:
        raise NumericalError("training", f"it diverges at {training.rates}", "take smaller rates")
    return max(found, key=lambda one: one.validation)


@torch.no_grad()
def signs_right(moment: Moment) -> dict[str, float]:
    """The fraction of examples whose output has the sign of the target, by split."""
    found = {}
    for name, part in moment.data.parts():
        x, y = part.batch(torch.arange(len(part)), torch.empty(len(part), 0))
        found[f"right/{name}"] = (moment.model(x).sign() == y.sign()).float().mean().item()
    return found


def at_epochs(measure: Measure, epochs: Sequence[int]) -> Measure:
    """A measure that is taken after some epochs only."""
    return lambda moment: measure(moment) if moment.epoch in epochs else {}
