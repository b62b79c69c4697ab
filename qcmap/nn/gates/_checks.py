"""What gates must be: one tensor a layer, of the layer's shape, within the range of the gate function."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from qcmap.errors import DataError
from qcmap.nn._modes import device_of

if TYPE_CHECKING:
    from qcmap.nn.gates._pools import Windows

Range = tuple[float, float]


def check_shapes(gates: Mapping[str, Any], wanted: Mapping[str, tuple[int, ...]], batch: int) -> None:
    """Raise `DataError`, naming the layer, unless there is a tensor [batch, *shape] for each layer and no other."""
    if set(gates) != set(wanted):
        missing, foreign = sorted(set(wanted) - set(gates)), sorted(set(gates) - set(wanted))
        raise DataError(
            "gates", f"there are none for {', '.join(missing)}" if missing else f"no layer is called {foreign[0]!r}",
            f"give one tensor for each of {', '.join(wanted)}",
        )  # fmt: skip
    for name, shape in wanted.items():
        gate = gates[name]
        if not isinstance(gate, Tensor) or tuple(gate.shape) != (batch, *shape):
            what = f"shape {list(gate.shape)}" if isinstance(gate, Tensor) else type(gate).__name__
            raise DataError(name, f"its gates are {[batch, *shape]} for these inputs, not {what}", "give that shape")


def check_finite(gates: Mapping[str, Tensor]) -> None:
    """Raise `DataError`, naming the layer, for a gate that is no finite number."""
    for name, gate in gates.items():
        if has_values(gate) and not bool(torch.isfinite(gate).all()):
            raise DataError(name, "its gates are not all finite", "give finite numbers")


def has_values(tensor: Tensor) -> bool:
    """Whether the numbers of a tensor can be looked at: not within torch.func's transforms, nor while compiling."""
    wrapped = torch._C._functorch.is_functorch_wrapped_tensor  # pyright: ignore[reportAttributeAccessIssue]
    return not (torch.compiler.is_compiling() or wrapped(tensor))


def check_ranges(gates: Mapping[str, Tensor], ranges: Mapping[str, Range]) -> None:
    """Raise `DataError`, naming the layer, for a gate outside its range, or NaN."""
    for name, gate in gates.items():
        low, high = ranges[name]
        inside = (gate >= low) & (gate <= high)
        if not bool(inside.all()):
            worst = gate[~inside].flatten()[0].item()
            raise DataError(name, f"a gate lies in [{low:g}, {high:g}], but one is {worst:g}", "clip the gates")


def on_device(inputs: tuple[Any, ...], module: nn.Module) -> tuple[Tensor, ...]:
    """The inputs where a module is; raises `DataError` unless they are finite tensors with examples."""
    if not inputs or not all(isinstance(x, Tensor) and x.ndim and len(x) for x in inputs):
        raise DataError("inputs", "there are no examples, or they are no tensors", "give tensors [n, ...]")
    if not all(bool(torch.isfinite(x).all()) for x in inputs):
        raise DataError("inputs", "inputs are finite numbers", "take out what is not")
    return tuple(x.to(device_of(module)) for x in inputs)


def check_choices(choices: Mapping[str, Tensor], windows: Mapping[str, Windows]) -> None:
    """Raise `DataError`, naming the max pooling, for a choice that is no position of a tap within the map."""
    for name, taken in choices.items():
        count = len(windows[name].taps)
        if taken.is_floating_point() or taken.is_complex() or taken.dtype == torch.bool:
            raise DataError(name, f"choices are integers, not {taken.dtype}", "give the position of each window's tap")
        if bool(((taken < 0) | (taken >= count)).any()):
            raise DataError(name, f"a choice is a position in its window, 0 to {count - 1}", "give argmax")
        if bool((windows[name].read(taken) < 0).any()):
            raise DataError(name, "a choice lies in the padding", "give the position of the largest entry")
