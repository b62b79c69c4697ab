"""Which parameters have Kronecker factors: the weights of dense and convolutional calls, found in a forward pass."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from qcmap.errors import DataError
from qcmap.nn.shaping._sites import CONVOLUTIONS, LINEAR

_ARGUMENTS = ("input", "weight", "bias", "stride", "padding", "dilation", "groups")
_LAYER_FUNCTIONS = frozenset((*LINEAR, *(call for call, axes in CONVOLUTIONS.items() if axes == 2)))

Arguments = dict[str, Any]


@dataclass(frozen=True)
class Layer:
    """A dense or convolutional layer, wherever the model calls it from.

    Attributes
    ----------
    name, bias_name
        The paths in the model of its trainable weights and biases; None for a layer without trainable biases.
    module
        A layer of torch on these parameters that computes what the model's call does.
    """

    name: str
    bias_name: str | None
    module: nn.Linear | nn.Conv2d

    @property
    def names(self) -> tuple[str, ...]:
        """The paths of its trainable parameters, the weights first."""
        return (self.name,) if self.bias_name is None else (self.name, self.bias_name)


class LayerCalls(TorchFunctionMode):
    """While it is entered, every dense or 2-d convolutional call is offered to ``handle``.

    A model may make such a call through a module, in a function of its ``forward`` or as a node of a graph: all come
    here. What ``handle`` returns stands for the result, unless it is None. The arguments and the results of all other
    functions of torch are shown to ``other``.
    """

    def __init__(
        self, handle: Callable[[Arguments], Tensor | None], other: Callable[[Any, Any], None] | None = None
    ) -> None:
        super().__init__()
        self._handle, self._other = handle, other

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in _LAYER_FUNCTIONS:
            result = self._handle(dict(zip(_ARGUMENTS, args, strict=False)) | kwargs)
            return func(*args, **kwargs) if result is None else result
        result = func(*args, **kwargs)
        if self._other is not None:
            self._other((*args, *kwargs.values()), result)
        return result


def find_layers(model: nn.Module, inputs: Tensor) -> tuple[tuple[Layer, ...], Tensor]:
    """The layers with Kronecker factors, as a forward pass of ``inputs`` calls them, and the outputs of that pass.

    The layers are the dense and ungrouped 2-d convolutional calls whose weights are a trainable parameter that nothing
    else in the pass reads, without biases or with a parameter as biases of which the same is true. Layers called
    several times, grouped convolutions, embeddings, attention projections that torch fuses, gains and shifts of norms
    are not among them, nor are layers that the outputs do not depend on.

    Raises
    ------
    DataError
        If the outputs are not one tensor [batch, ...].
    """
    record = _Record(dict(model.named_parameters()))
    with torch.enable_grad(), LayerCalls(record.layer_call, record.other_call):
        outputs = model(inputs)
    _check_outputs(outputs, len(inputs))
    layers = record.layers()
    weights = [layer.module.weight for layer in layers]
    gradients = torch.autograd.grad(outputs.sum(), weights, allow_unused=True) if layers else ()
    reached = cast("Sequence[Tensor | None]", gradients)
    return tuple(layer for layer, gradient in zip(layers, reached, strict=True) if gradient is not None), outputs


def _check_outputs(outputs: Any, examples: int) -> None:
    if not isinstance(outputs, Tensor) or outputs.ndim < 2 or len(outputs) != examples:
        shape = list(outputs.shape) if isinstance(outputs, Tensor) else type(outputs).__name__
        raise DataError(
            "model", f"it must return one tensor [batch, ...], but {examples} examples give {shape}",
            "return the logits alone",
        )  # fmt: skip


@dataclass
class _Record:
    """How often a forward pass reads each parameter, and the layer calls that it makes with them."""

    parameters: dict[str, nn.Parameter]
    uses: Counter[int] = field(default_factory=Counter)
    calls: list[Arguments] = field(default_factory=list)

    def layer_call(self, call: Arguments) -> None:
        self.uses.update(id(call.get(name)) for name in ("weight", "bias"))
        self.calls.append(call)

    def other_call(self, arguments: Any, result: Any) -> None:
        if isinstance(result, Tensor) and result.requires_grad:
            self.uses.update(id(argument) for argument in arguments if isinstance(argument, nn.Parameter))

    def layers(self) -> list[Layer]:
        names = {id(parameter): name for name, parameter in self.parameters.items()}
        found = []
        for call in self.calls:
            weight, bias = call["weight"], call.get("bias")
            own = [tensor for tensor in (weight, bias) if tensor is not None]
            if (
                all(id(tensor) in names and self.uses[id(tensor)] == 1 for tensor in own)
                and weight.requires_grad
                and call.get("groups", 1) == 1
            ):
                bias_name = names[id(bias)] if bias is not None and bias.requires_grad else None
                found.append(Layer(names[id(weight)], bias_name, _module(call)))
        return found


def _module(call: Arguments) -> nn.Linear | nn.Conv2d:
    """The layer of torch that makes the call, on the same parameters."""
    weight, bias = call["weight"], call.get("bias")
    shape = weight.shape[1], weight.shape[0]
    module: Any
    if weight.ndim == 2:
        module = nn.Linear(*shape, bias=bias is not None, device="meta")
    else:
        options: dict[str, Any] = {
            name: call.get(name, default) for name, default in (("stride", 1), ("padding", 0), ("dilation", 1))
        }
        options = {name: value if isinstance(value, (int, str)) else tuple(value) for name, value in options.items()}
        module = nn.Conv2d(*shape, tuple(weight.shape[2:]), bias=bias is not None, device="meta", **options)
    module.weight, module.bias = weight, bias
    return module
