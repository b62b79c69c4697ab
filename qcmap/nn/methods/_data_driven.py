"""Initializations that measure a batch of data: LSUV and WLI (DKS, section 26.2).

Both rescale one layer after the other, in the order in which the model calls them, so that each is measured on what
the rescaled layers before it give. One forward pass does this: a hook rescales a layer when it has run and returns
the output of the rescaled layer. A further pass verifies what was reached, and rescales again where layers share a
weight or are called several times (these are measured on all their calls together).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from qcmap.errors import ArgumentError, DataError, NumericalError
from qcmap.nn._initialize import Layer, M, Weights, checked_layers, initialize
from qcmap.nn._modes import modes_restored, running

Data = Tensor | tuple[Tensor, ...] | Mapping[str, Tensor]


class Correction(NamedTuple):
    """What makes ``factor * output + shift`` meet a condition, [channels] or scalars, and how far the output is off."""

    factor: Tensor
    shift: Tensor
    deviation: float


Condition = Callable[[Tensor], Correction]
"""The outputs of a layer, [channels, samples] in float64, to their correction."""


def lsuv(
    module: M,
    data: Data,
    *,
    weights: Weights | None = "orthogonal",
    delta: bool = True,
    tolerance: float = 1e-3,
    passes: int = 10,
    seed: int = 0,
    generator: torch.Generator | None = None,
) -> M:
    """Layer-sequential unit-variance initialization (Mishkin and Matas, 2015; DKS, section 26.2).

    The weight of each linear and convolutional layer is divided by the standard deviation of the layer's output on
    the data, taken over channels, locations and examples together. Biases are zero.

    Parameters
    ----------
    module
        The model. It is run in eval mode without gradients; its training flags are given back.
    data
        What the model is called with: a tensor, a tuple of tensors, or keyword tensors.
    weights, delta, seed, generator
        The initialization to start from, by `qcmap.nn.initialize`. With ``weights=None`` the weights that the model
        has are rescaled.
    tolerance
        The largest abs(variance - 1) that a last pass over the data may find in any layer.
    passes
        The most passes that may rescale; one is enough unless layers share weights or are called several times.

    Returns
    -------
    The module itself, changed in place. After any error its parameters are what they were.

    Raises
    ------
    ArgumentError
        As `qcmap.nn.initialize` does, naming the module's path; for a bad tolerance or number of passes.
    DataError
        Naming the module's path: an output without variance or with a NaN or infinity, a layer that is not called.
    NumericalError
        Naming the layer farthest from variance 1, if the tolerance is not reached.
    """
    start = _Start(weights, delta, seed, generator)
    return _fitted(module, data, _unit_variance, start, tolerance, passes)


def wli(
    module: M,
    data: Data,
    *,
    weights: Weights | None = "gaussian",
    delta: bool = False,
    tolerance: float = 1e-3,
    passes: int = 10,
    seed: int = 0,
    generator: torch.Generator | None = None,
) -> M:
    """Within-layer initialization (Kraehenbuehl et al., 2016; DKS, section 26.2).

    The filters and the bias of each output channel of each layer are rescaled and set so that the channel has mean 0
    and variance 1 on the data, over locations and examples: what batch normalization would do at the first step.

    Arguments, result and errors are those of `lsuv`, but every layer must have biases, and the tolerance is for the
    mean and the variance of every channel.
    """
    for path, layer, _ in checked_layers(module):
        if layer.bias is None:
            raise ArgumentError(
                path or type(layer).__name__,
                "within-layer initialization sets biases, but it has none",
                "use bias=True",
            )
    start = _Start(weights, delta, seed, generator)
    return _fitted(module, data, _standard_channels, start, tolerance, passes)


def _unit_variance(rows: Tensor) -> Correction:
    variance = rows.var(correction=0)
    return Correction(variance.rsqrt(), torch.zeros_like(variance), abs(float(variance) - 1))


def _standard_channels(rows: Tensor) -> Correction:
    variance, mean = torch.var_mean(rows, dim=1, correction=0)
    off = torch.maximum((variance - 1).abs(), mean.abs())
    return Correction(variance.rsqrt(), -mean * variance.rsqrt(), float(off.max()))


@dataclass(frozen=True)
class _Start:
    """The initialization to start from."""

    weights: Weights | None
    delta: bool
    seed: int
    generator: torch.Generator | None

    def apply(self, module: nn.Module) -> None:
        if self.weights is not None:
            initialize(module, self.weights, delta=self.delta, seed=self.seed, generator=self.generator)
            return
        for _, layer, _ in checked_layers(module):
            if layer.bias is not None:
                layer.bias.zero_()


def _fitted(module: M, data: Data, condition: Condition, start: _Start, tolerance: float, passes: int) -> M:
    if isinstance(tolerance, bool) or not isinstance(tolerance, (int, float)) or not 0 < tolerance < 1:
        raise ArgumentError("tolerance", f"it is between 0 and 1, not {tolerance!r}", "give a number such as 1e-3")
    if isinstance(passes, bool) or not isinstance(passes, int) or passes < 1:
        raise ArgumentError("passes", f"it is a positive integer, not {passes!r}", "give 1 or more")
    layers = {layer: path or type(layer).__name__ for path, layer, _ in checked_layers(module)}
    reused: set[Layer] = set()
    off: dict[str, float] = {}
    with torch.no_grad(), _restored_after_errors(module), modes_restored(module):
        start.apply(module)
        module.eval()
        for _ in range(passes + 1):
            off = _pass(module, data, layers, reused, condition, tolerance)
            if not off:
                return module
        worst = max(off, key=lambda path: off[path])
        raise NumericalError(
            worst, f"after {passes} passes its output on the data is still {off[worst]:.3g} from the condition",
            "allow more passes or a larger tolerance; layers that share a weight may not be able to meet it",
        )  # fmt: skip


def _pass(
    module: nn.Module,
    data: Data,
    layers: dict[Layer, str],
    reused: set[Layer],
    condition: Condition,
    tolerance: float,
) -> dict[str, float]:
    """Run the model once and correct what is off; the deviations found, by path, of all layers beyond the tolerance."""
    off: dict[str, float] = {}
    seen: dict[Layer, list[Tensor]] = {}

    def corrected(layer: Layer, rows: Tensor) -> Correction | None:
        path = layers[layer]
        found = condition(rows)
        if not bool(torch.isfinite(found.factor).all() & torch.isfinite(found.shift).all()):
            what = "has a NaN or infinity" if not bool(torch.isfinite(rows).all()) else "does not vary"
            raise DataError(path, f"its output on the data {what}", "give other data, or other weights to start from")
        if found.deviation <= tolerance:
            return None
        off[path] = found.deviation
        shape = (-1, *(1,) * (layer.weight.ndim - 1))
        layer.weight.mul_(found.factor.reshape(shape))
        if layer.bias is not None:
            layer.bias.mul_(found.factor).add_(found.shift)
        return found

    def hook(layer: Layer, inputs: object, output: Tensor) -> Tensor | None:
        calls = seen.setdefault(layer, [])
        axis = -1 if isinstance(layer, nn.Linear) else -len(layer.kernel_size) - 1
        calls.append(output.movedim(axis, 0).flatten(1).double())
        if len(calls) > 1 and layer not in reused:
            reused.add(layer)
            off[layers[layer]] = float("inf")  # all its calls are measured in the next pass
        found = None if layer in reused else corrected(layer, calls[0])
        if found is None:
            return None
        shape = (-1, *(1,) * (-axis - 1))
        return (found.factor.reshape(shape) * output + found.shift.reshape(shape)).to(output.dtype)

    handles = [layer.register_forward_hook(hook) for layer in layers]
    try:
        with running(module, "data"):
            _call(module, data)
    finally:
        for handle in handles:
            handle.remove()
    missing = next((path for layer, path in layers.items() if layer not in seen), None)
    if missing is not None:
        raise DataError(missing, "the model does not call it on this data", "give data that reach every layer")
    for layer in reused:
        if layers[layer] not in off:
            corrected(layer, torch.cat(seen[layer], dim=1))
    return off


def _call(module: nn.Module, data: Data) -> None:
    if isinstance(data, Mapping):
        module(**data)
    elif isinstance(data, tuple):
        module(*data)
    else:
        module(data)


@contextmanager
def _restored_after_errors(module: nn.Module) -> Iterator[None]:
    """Give all parameters back the values they had, if anything is raised."""
    before = [(parameter, parameter.detach().clone()) for parameter in module.parameters()]
    try:
        yield
    except BaseException:
        for parameter, value in before:
            parameter.copy_(value)
        raise
