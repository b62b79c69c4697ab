"""Whether model, data and settings go together, before anything is changed or written."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from qcmap.errors import ArgumentError, DataError
from qcmap.nn._modes import modes_restored, running
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


def check_precision(precision: str, dtype: torch.dtype) -> None:
    """Raise `ArgumentError` for mixed precision of a float64 model, which autocast would leave in float64."""
    if precision != "full" and dtype == torch.float64:
        rule = f"{precision} is mixed with float32, but the model is {dtype}"
        raise ArgumentError("precision", rule, "choose full, or a float32 model")


def device_named(name: torch.device | str) -> torch.device:
    """The device of a name; raises `ArgumentError` if there is none to compute on."""
    try:
        device = torch.empty(0, device=name).device
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ArgumentError(
            "device", f"there is no {str(name)!r} here ({reason})", "choose cpu, or cuda on a GPU"
        ) from error
    if device.type == "meta":
        raise ArgumentError("device", "tensors on 'meta' have no numbers", "choose cpu, or cuda on a GPU")
    return device


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
        for what, given in (("inputs", inputs), ("labels", targets)):
            if not isinstance(given, Tensor):
                raise DataError(
                    split, f"{what} must be a tensor, not {type(given).__name__}", "convert with torch.as_tensor"
                )
        if targets.ndim == 0:
            raise DataError(split, "labels are a single number", "give labels [n], one for each example")
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
def check_fit(split: str, model: nn.Module, examples: Examples, loss: Loss, device: torch.device) -> bool:
    """Whether the loss knows hits for such targets; raises `DataError` if the model or its outputs do not go with them.

    The model is called with the first example, in evaluation mode.
    """
    inputs = first_of(examples)[0].to(device)
    with modes_restored(model), running(model, split):
        model.eval()
        outputs = model(inputs)
    if not isinstance(outputs, Tensor) or outputs.ndim == 0 or len(outputs) != 1:
        shape = list(outputs.shape) if isinstance(outputs, Tensor) else type(outputs).__name__
        raise DataError(
            "model", f"it must return logits [batch, classes], but one example gives {shape}", "flatten them"
        )
    loss.check(split, examples.targets, outputs)
    return loss.hits(outputs, examples.targets[:1].to(device)) is not None
