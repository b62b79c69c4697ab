"""Whether model, data and settings go together, before anything is changed or written."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from qcmap.errors import ArgumentError, DataError
from qcmap.nn._modes import modes_restored
from qcmap.nn.train._batches import Plan
from qcmap.nn.train._distributed import World
from qcmap.nn.train._examples import Examples, TensorExamples, first_of
from qcmap.nn.train._losses import Loss
from qcmap.nn.train._settings import Settings


def dtype_of(model: nn.Module) -> torch.dtype:
    """The type that the model computes in; raises `ArgumentError` if it has no trainable parameters."""
    for parameter in model.parameters():
        if parameter.requires_grad:
            return parameter.dtype
    raise ArgumentError("model", "it has no trainable parameters", "give a model with some")


def plan_of(settings: Settings, examples: int, world: World) -> Plan:
    """How epochs of so many examples are cut; raises `ArgumentError` for a batch that is too large or too small."""
    size, parts = settings.batch_size, settings.accumulate
    if size > examples:
        raise ArgumentError(
            "batch_size", f"a batch of {size} is larger than the {examples} training examples", "use a smaller batch"
        )
    if parts * world.size > size:
        rule = f"{parts} parts on {world.size} processes are more than the {size} examples of a batch"
        raise ArgumentError("accumulate", rule, "give fewer parts, or larger batches")
    steps = examples // size if settings.drop_last else -(-examples // size)
    return Plan(examples, size, steps, settings.seed)


def check_examples(split: str, examples: Examples, dtype: torch.dtype) -> None:
    """Raise `DataError`, naming the split, for examples that do not fit each other or a model of this type."""
    if isinstance(examples, TensorExamples):
        inputs, targets = examples.inputs, examples.targets
        if inputs.ndim < 2 or len(inputs) != len(targets) or len(targets) == 0:
            raise DataError(
                split, f"inputs of shape {list(inputs.shape)} do not go with {len(targets)} labels",
                "give inputs [n, ...] and labels [n] with n > 0",
            )  # fmt: skip
        if inputs.is_floating_point() and not bool(torch.isfinite(inputs).all()):
            raise DataError(split, "inputs have a NaN or infinity", "clean the data first")
    elif len(examples) == 0:
        raise DataError(split, "it has no examples", "give one at least")
    kind = first_of(examples)[0].dtype
    if kind != dtype:
        raise DataError(split, f"inputs are {kind} but the model is {dtype}", f"convert with .to({dtype})")


@torch.no_grad()
def check_fit(split: str, model: nn.Module, examples: Examples, loss: Loss, device: torch.device) -> None:
    """Raise `DataError` if what the model makes of an example does not go with the targets."""
    with modes_restored(model):
        model.eval()
        outputs = model(first_of(examples)[0].to(device))
    if not isinstance(outputs, Tensor) or outputs.ndim == 0 or len(outputs) != 1:
        shape = list(outputs.shape) if isinstance(outputs, Tensor) else type(outputs).__name__
        raise DataError(
            "model", f"it must return logits [batch, classes], but one example gives {shape}", "flatten them"
        )
    loss.check(split, examples.targets, outputs)
