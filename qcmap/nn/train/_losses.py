"""The losses: a table of what is minimised, and what counts as a correct prediction."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from qcmap.errors import DataError


@dataclass(frozen=True)
class Loss:
    """What is minimised: the mean over the examples of a batch.

    Attributes
    ----------
    name
        For messages.
    total
        From outputs and targets of n examples to the sum of their losses, a scalar.
    hits
        From outputs and targets to the number of correct predictions, a scalar; None where there is no such thing.
    check
        From the name of a split, all its targets, and the outputs for one example; raises `DataError`.
    """

    name: str
    total: Callable[[Tensor, Tensor], Tensor]
    hits: Callable[[Tensor, Tensor], Tensor | None]
    check: Callable[[str, Tensor, Tensor], None]


def _cross_entropy(outputs: Tensor, targets: Tensor) -> Tensor:
    return nn.functional.cross_entropy(outputs, targets, reduction="sum")


def _largest(outputs: Tensor, targets: Tensor) -> Tensor | None:
    """How many examples have their largest output at their class; classes are int64."""
    return None if targets.is_floating_point() else (outputs.argmax(1) == targets).sum()


def _squared_error(outputs: Tensor, targets: Tensor) -> Tensor:
    """Half the squared distance; a class stands for its one-hot vector."""
    if not targets.is_floating_point():
        targets = nn.functional.one_hot(targets, outputs.shape[1]).to(outputs.dtype)
    return (outputs - targets.reshape(outputs.shape)).square().sum() / 2


def _check_classes(split: str, targets: Tensor, outputs: Tensor) -> None:
    """Targets are classes, int64 [n], in the range of the outputs [1, classes]."""
    if str(targets.dtype) != "torch.int64" or targets.ndim != 1:
        raise DataError(
            split, f"labels are one int64 class a row, not {targets.dtype} of shape {list(targets.shape)}",
            "give class numbers as a vector; convert with .long()",
        )  # fmt: skip
    if outputs.ndim != 2:
        shape = list(outputs.shape)
        raise DataError(
            "model", f"it must return logits [batch, classes], but one example gives {shape}", "flatten them"
        )
    classes, lowest, highest = outputs.shape[1], int(targets.min()), int(targets.max())
    if lowest < 0 or highest >= classes:
        raise DataError(
            split, f"labels lie in {lowest} .. {highest}, but the model has classes 0 .. {classes - 1}",
            "renumber the labels or widen the model's output",
        )  # fmt: skip


def _check_values(split: str, targets: Tensor, outputs: Tensor) -> None:
    """Targets are numbers of the outputs' type, as many for each example, or classes."""
    if not targets.is_floating_point():
        _check_classes(split, targets, outputs)
        return
    if targets.dtype != outputs.dtype or targets[0].numel() != outputs[0].numel():
        raise DataError(
            split, f"targets of type {targets.dtype} and shape {list(targets.shape)} do not go with outputs of type "
            f"{outputs.dtype} and shape {list(outputs.shape)}", "give one number for each output, in the model's type",
        )  # fmt: skip
    if not bool(targets.isfinite().all()):
        raise DataError(split, "targets have a NaN or infinity", "clean the data first")


LOSSES: Mapping[str, Loss] = {
    row.name: row
    for row in (
        Loss("cross_entropy", _cross_entropy, _largest, _check_classes),
        Loss("squared_error", _squared_error, _largest, _check_values),
    )
}
"""By name: softmax cross-entropy with classes, and half the squared error with numbers or classes."""
