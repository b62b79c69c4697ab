"""The torch network of an architecture: the same graph, run by the same walk."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from qcmap.activations import activation
from qcmap.architecture import (
    Affine,
    Algebra,
    Architecture,
    Concat,
    Input,
    LayerNorm,
    Multiply,
    Node,
    Nonlinear,
    Output,
    Scale,
    Sum,
)
from qcmap.errors import ArchitectureError, DataError
from qcmap.nn._initialize import Weights, initialize
from qcmap.nn._shaped import activation_module

if TYPE_CHECKING:
    from qcmap.numeric import Shaping


class GraphNetwork(nn.Module):
    """A fully-connected architecture as a torch module, shaped or not, with weights drawn as in section 4 of DKS.

    The module of a node has the node's id as its path, so `measure` compares every node with its prediction. Input: for
    each input node, in order, a tensor [batch, channels]; output: a tensor, or a tuple if there are several outputs.

    Parameters
    ----------
    architecture
        Inputs and affine layers have their channels given; sums, scales and variances have numeric values.
    shaping
        The transforms of `qcmap.dks`, or None for the activations as they are.
    weights, gain, seed
        As for `initialize`; biases are zero.

    Raises
    ------
    ArchitectureError
        Naming the node: channels that are not given, a convolution or pooling, shared parameters, a gate, a batch norm,
        a symbolic weight.
    ActivationError
        For an activation that is unknown or has no torch counterpart.
    """

    def __init__(
        self,
        architecture: Architecture,
        shaping: Shaping | None = None,
        *,
        weights: Weights = "orthogonal",
        gain: float = 1.0,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.architecture, self.shaping = architecture, shaping
        for node in architecture.nodes:
            if isinstance(node.op, Affine):
                _attach(self, node.id, self._linear(node, node.op))
            elif isinstance(node.op, Nonlinear):
                act = activation(node.op.function)  # pyright: ignore[reportArgumentType]
                _attach(self, node.id, activation_module(act, None if shaping is None else shaping.at(node.id)))
            elif type(node.op) not in _FUNCTIONS and not isinstance(node.op, Input):
                what = f"a {node.op.kind} works on locations, a batch or gates, which a fully-connected network has not"
                raise ArchitectureError(node.id, what, "write the network in torch")
        variances = {
            node.id: (_weight(node, node.op.weight_variance), _weight(node, node.op.bias_variance))
            for node in architecture.nodes
            if isinstance(node.op, Affine)
        }
        initialize(self, weights, gain=gain, variances=variances, seed=seed)

    def _linear(self, node: Node, op: Affine) -> nn.Linear:
        if op.kernel or op.parameters is not None:
            what = "it is a convolution" if op.kernel else f"it shares its parameters {op.parameters!r}"
            raise ArchitectureError(node.id, what, "write the network in torch")
        channels = self.architecture.channels[node.inputs[0]]
        if not (isinstance(channels, int) and isinstance(op.channels, int)):
            raise ArchitectureError(node.id, "its channels are not all known", "give channels to inputs and affines")
        # Memory is not filled: torch's own initialization would advance the global generator.
        return nn.Linear(channels, op.channels, device="meta").to_empty(device=torch.get_default_device())

    def forward(self, *inputs: Tensor) -> Tensor | tuple[Tensor, ...]:
        """The outputs for one tensor [batch, channels] for each input node."""
        values = self.feature_maps(*inputs)
        outputs = tuple(values[name] for name in self.architecture.outputs)
        return outputs[0] if len(outputs) == 1 else outputs

    def feature_maps(self, *inputs: Tensor) -> dict[str, Tensor]:
        """The feature maps [batch, channels] at every node, keyed by id, for the inputs of `forward`."""
        names = self.architecture.inputs
        if len(inputs) != len(names):
            raise DataError(
                self.architecture.name, f"it has {len(names)} inputs, but got {len(inputs)}", f"give {', '.join(names)}"
            )
        for name, x in zip(names, inputs, strict=True):
            if not isinstance(x, Tensor) or x.ndim != 2 or x.shape[1] != self.architecture.channels[name]:
                what = f"shape {list(x.shape)}" if isinstance(x, Tensor) else type(x).__name__
                raise DataError(
                    name, f"it takes a tensor [batch, {self.architecture.channels[name]}], not {what}",
                    "give inputs with its channels (pln adds one)",
                )  # fmt: skip
        given = dict(zip(names, inputs, strict=True))

        def at(node: Node, values: list[Tensor]) -> Tensor:
            return self.get_submodule(node.id)(values[0])

        rules = {Input: lambda node, values: given[node.id], Affine: at, Nonlinear: at, **_FUNCTIONS}
        return self.architecture.fold(Algebra("torch network", rules))


def _attach(root: nn.Module, path: str, module: nn.Module) -> None:
    """Put a module at a dotted path, with plain modules above it."""
    *folders, last = path.split(".")
    for folder in folders:
        if folder not in dict(root.named_children()):
            _add(root, folder, nn.Module(), path)
        root = root.get_submodule(folder)
    _add(root, last, module, path)


def _add(root: nn.Module, name: str, module: nn.Module, path: str) -> None:
    if not name or hasattr(root, name):
        raise ArchitectureError(path, "a module cannot have this path", "choose another node id")
    root.add_module(name, module)


def _weight(node: Node, weight: object) -> float:
    try:
        return float(weight)  # pyright: ignore[reportArgumentType]
    except TypeError:
        raise ArchitectureError(
            node.id, f"the weight {weight} is symbolic", "give its symbols numbers with arch.substitute(...)"
        ) from None


def _sum(node: Node, values: list[Tensor]) -> Tensor:
    assert isinstance(node.op, Sum)
    total = _weight(node, node.op.weights[0]) * values[0]
    for weight, value in zip(node.op.weights[1:], values[1:], strict=True):
        total = torch.add(total, value, alpha=_weight(node, weight))
    return total


def _scale(node: Node, values: list[Tensor]) -> Tensor:
    assert isinstance(node.op, Scale)
    return _weight(node, node.op.factor) * values[0]


def _layer_norm(node: Node, values: list[Tensor]) -> Tensor:
    assert isinstance(node.op, LayerNorm)
    grouped = values[0].unflatten(1, (node.op.groups or 1, -1))
    norm = nn.functional.layer_norm if node.op.centre else nn.functional.rms_norm
    return norm(grouped, grouped.shape[2:], eps=0.0).flatten(1)


_FUNCTIONS: dict[type, Callable[[Node, list[Tensor]], Tensor]] = {
    Sum: _sum,
    Concat: lambda node, values: torch.cat(values, dim=1),
    Scale: _scale,
    LayerNorm: _layer_norm,
    Output: lambda node, values: values[0],
    Multiply: lambda node, values: math.prod(values[1:], start=values[0]),
}
