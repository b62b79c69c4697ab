"""A small training loop for demonstrations and checks: SGD with momentum on cross-entropy, seeded throughout."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from qcmap.errors import ArgumentError, DataError
from qcmap.nn._modes import device_of, modes_restored
from qcmap.nn._random import generator_from

Data = tuple[Tensor, Tensor]
Report = Callable[[float, float, float | None], None]
_EVALUATION_BATCH = 4096


@dataclass(frozen=True)
class History:
    """What `fit` recorded, one entry for each completed epoch, all finite.

    Attributes
    ----------
    train_loss
        Mean cross-entropy over the examples, as they were visited during the epoch.
    train_accuracy, test_accuracy
        Fractions of correct predictions at the end of the epoch, in evaluation mode; ``test_accuracy`` is None without
        test data.
    status
        ``"finished"``, or ``"diverged"`` if a loss or an output was not finite: the entries stop before that epoch.
    """

    train_loss: tuple[float, ...]
    train_accuracy: tuple[float, ...]
    test_accuracy: tuple[float, ...] | None
    status: Literal["finished", "diverged"]

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON-ready data."""
        return {
            "train_loss": list(self.train_loss),
            "train_accuracy": list(self.train_accuracy),
            "test_accuracy": None if self.test_accuracy is None else list(self.test_accuracy),
            "status": self.status,
        }

    def __repr__(self) -> str:
        last = f", train accuracy {self.train_accuracy[-1]:.3f}" if self.train_accuracy else ""
        if self.test_accuracy:
            last += f", test accuracy {self.test_accuracy[-1]:.3f}"
        return f"<history {self.status} after {len(self.train_loss)} epochs{last}>"


def fit(
    model: nn.Module,
    train: Data,
    test: Data | None = None,
    *,
    epochs: int = 20,
    batch_size: int = 64,
    learning_rate: float = 3e-3,
    momentum: float = 0.9,
    seed: int = 0,
    progress: bool = True,
    device: torch.device | str | None = None,
) -> History:
    """Train a classifier in place and record its accuracy epoch by epoch.

    Two runs from equal weights with one seed are bit-identical on the CPU: the seed fixes the order of the examples
    and, in a fork of torch's global generators that is undone at the end, dropout.

    Parameters
    ----------
    model
        Maps [batch, ...] inputs to [batch, classes] logits.
    train, test
        (inputs [n, ...] floating in the model's dtype, labels [n] int64 in 0 .. classes - 1).
    epochs, batch_size, learning_rate, momentum
        Of SGD. The last batch of an epoch may be smaller.
    seed
        An integer in [0, 2^63).
    progress
        Whether to draw a progress bar on standard error.
    device
        Where to move the model and the data; by default the data go to the model's device.

    Raises
    ------
    ArgumentError
        For a setting out of its range, or a model without trainable parameters.
    DataError
        For data, labels or logits of the wrong shape, dtype or content. Its
        weights are not changed in any such case.
    """
    _check_settings(epochs, batch_size, learning_rate, momentum)
    order = generator_from(seed)
    target = device_of(model) if device is None else torch.device(device)
    train_data = _checked("train", model, train)
    test_data = None if test is None else _checked("test", model, test)
    with modes_restored(model):
        model.to(target)
        train_data = _placed("train", model, train_data, target)
        test_data = None if test_data is None else _placed("test", model, test_data, target)
        optimiser = torch.optim.SGD(
            [p for p in model.parameters() if p.requires_grad], lr=learning_rate, momentum=momentum
        )
        losses, train_accuracies, test_accuracies = [], [], []
        status: Literal["finished", "diverged"] = "finished"
        with _seeded(target, seed), _reporter(epochs, progress=progress) as report:
            for _ in range(epochs):
                loss = _epoch(model, train_data, batch_size, optimiser, order)
                train_accuracy = _accuracy(model, train_data)
                test_accuracy = None if test_data is None else _accuracy(model, test_data)
                if loss is None or train_accuracy is None or (test_data is not None and test_accuracy is None):
                    status = "diverged"
                    break
                losses.append(loss)
                train_accuracies.append(train_accuracy)
                if test_accuracy is not None:
                    test_accuracies.append(test_accuracy)
                report(loss, train_accuracy, test_accuracy)
    return History(
        tuple(losses), tuple(train_accuracies), None if test_data is None else tuple(test_accuracies), status
    )


def _epoch(
    model: nn.Module, data: Data, batch_size: int, optimiser: torch.optim.Optimizer, order: torch.Generator
) -> float | None:
    """One pass in a random order: the mean loss, or None (and no further step) once a loss is not finite."""
    inputs, labels = data
    model.train()
    total = 0.0
    for batch in torch.randperm(len(labels), generator=order).to(inputs.device).split(batch_size):
        optimiser.zero_grad(set_to_none=True)
        loss = nn.functional.cross_entropy(model(inputs[batch]), labels[batch])
        value = loss.item()
        if not math.isfinite(value):
            return None
        loss.backward()
        optimiser.step()
        total += value * len(batch)
    return total / len(labels)


@torch.no_grad()
def _accuracy(model: nn.Module, data: Data) -> float | None:
    """The fraction of correct predictions in evaluation mode, or None if a logit is not finite."""
    model.eval()
    correct = 0
    for inputs, labels in zip(*(tensor.split(_EVALUATION_BATCH) for tensor in data), strict=True):
        logits = model(inputs)
        if not bool(torch.isfinite(logits).all()):
            return None
        correct += int((logits.argmax(1) == labels).sum())
    return correct / len(data[1])


def _check_settings(epochs: int, batch_size: int, learning_rate: float, momentum: float) -> None:
    for name, count in (("epochs", epochs), ("batch_size", batch_size)):
        if isinstance(count, bool) or not isinstance(count, int) or count < 1:
            raise ArgumentError(name, f"it must be a positive integer, not {count!r}", "give 1 or more")
    if not (math.isfinite(learning_rate) and learning_rate > 0):
        raise ArgumentError("learning_rate", f"it must be positive and finite, not {learning_rate!r}", "give e.g. 3e-3")
    if not 0 <= momentum < 1:
        raise ArgumentError("momentum", f"it must lie in [0, 1), not {momentum!r}", "give e.g. 0.9")


def _checked(name: str, model: nn.Module, data: Data) -> Data:
    """The data if inputs and labels fit each other and the model's dtype."""
    parameter = next((p for p in model.parameters() if p.requires_grad), None)
    if parameter is None:
        raise ArgumentError("model", "it has no trainable parameters", "give a model with some")
    inputs, labels = data
    if not inputs.is_floating_point() or inputs.dtype != parameter.dtype:
        raise DataError(
            name,
            f"inputs are {inputs.dtype} but the model is {parameter.dtype}",
            f"convert with .to({parameter.dtype})",
        )
    if labels.dtype != torch.int64 or labels.ndim != 1:
        raise DataError(
            name, f"labels are one int64 class a row, not {labels.dtype} of shape {list(labels.shape)}",
            "give class numbers as a vector; convert with .long()",
        )  # fmt: skip
    if inputs.ndim < 2 or len(inputs) != len(labels) or len(labels) == 0:
        raise DataError(
            name, f"inputs of shape {list(inputs.shape)} do not go with {len(labels)} labels",
            "give inputs [n, ...] and labels [n] with n > 0",
        )  # fmt: skip
    if not bool(torch.isfinite(inputs).all()):
        raise DataError(name, "inputs have a NaN or infinity", "clean the data first")
    return inputs, labels


def _placed(name: str, model: nn.Module, data: Data, device: torch.device) -> Data:
    """The data on the device; raises `DataError` if the model's logits do not go with the labels."""
    inputs, labels = data[0].to(device), data[1].to(device)
    model.eval()
    with torch.no_grad():
        logits = model(inputs[:1])
    if not isinstance(logits, Tensor) or logits.ndim != 2 or len(logits) != 1:
        shape = list(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise DataError(
            "model", f"it must return logits [batch, classes], but one example gives {shape}", "flatten them"
        )
    classes, lowest, highest = logits.shape[1], int(labels.min()), int(labels.max())
    if lowest < 0 or highest >= classes:
        raise DataError(
            name, f"labels lie in {lowest} .. {highest}, but the model has classes 0 .. {classes - 1}",
            "renumber the labels or widen the model's output",
        )  # fmt: skip
    return inputs, labels


@contextmanager
def _seeded(device: torch.device, seed: int) -> Iterator[None]:
    """Seed torch's global generators, which dropout draws from, and give them their states back at the end."""
    cuda = device.type == "cuda"
    with torch.random.fork_rng([device] if cuda else []):
        torch.default_generator.manual_seed(seed)
        if cuda:
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        yield


class _Report:
    """Shows an epoch's figures, if there is a bar to show them on."""

    def __init__(self, epochs: int) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        columns = BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}")
        self.progress = Progress(*columns, console=Console(stderr=True))
        self.task = self.progress.add_task("training", total=epochs)

    def __call__(self, loss: float, train_accuracy: float, test_accuracy: float | None) -> None:
        text = f"loss {loss:.3f}  train {train_accuracy:.1%}"
        if test_accuracy is not None:
            text += f"  test {test_accuracy:.1%}"
        self.progress.update(self.task, advance=1, description=text)


def _silent(loss: float, train_accuracy: float, test_accuracy: float | None) -> None:
    """Show nothing."""


@contextmanager
def _reporter(epochs: int, *, progress: bool) -> Iterator[Report]:
    """A function to report each epoch to, with a bar drawn on standard error if wanted."""
    if not progress:
        yield _silent
        return
    report = _Report(epochs)
    with report.progress:
        yield report
