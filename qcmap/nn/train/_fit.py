"""`fit`: the engine in one call, for a classifier and data in memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from qcmap.nn.train._choice import Choice
from qcmap.nn.train._examples import Splits
from qcmap.nn.train._settings import Settings
from qcmap.nn.train._trainer import Trainer

Data = tuple[Tensor, Tensor]


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
    settings = Settings(
        epochs=epochs,
        batch_size=min(batch_size, len(train[1])) or batch_size,
        optimizer=Choice("sgd", learning_rate=learning_rate, momentum=momentum),
        evaluate=("train", "test"),
        seed=seed,
    )
    result = Trainer(model, Splits.of_tensors(train, test=test), settings, device=device).train(progress=progress)
    status: Literal["finished", "diverged"] = "diverged" if result.status == "diverged" else "finished"
    return History(
        tuple(row["loss"] for row in result.epochs),
        tuple(row["train"]["accuracy"] for row in result.epochs),
        None if test is None else tuple(row["test"]["accuracy"] for row in result.epochs),
        status,
    )
