"""A torch model with fixed gates as an architecture: linear layers, sums, and products with gates."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import fx, nn

from qcmap.architecture import Architecture, Builder
from qcmap.architecture.gated._checks import check_count, check_kind
from qcmap.errors import ArchitectureError, ArgumentError, TraceError

_ADD: tuple[Callable[..., Any], ...] = (operator.add, torch.add)
_MULTIPLY: tuple[Callable[..., Any], ...] = (operator.mul, torch.mul)


def trace_gated(
    model: nn.Module, inputs: Mapping[str, int], gates: tuple[str, ...] | list[str] = ()
) -> tuple[Architecture, dict[str, NDArray[np.float64]]]:
    """The graph of a gated linear torch model, and its weights.

    Parameters
    ----------
    model
        Its forward takes inputs [batch, channels] and gates (numbers, or tensors [batch, 1]) as named arguments. It
        uses ``nn.Linear`` without bias, each once, sums, products with a gate or a number, and returns one tensor or a
        tuple or dictionary of them. In place of a ReLU, multiply by a gate: that is the network with its gates fixed.
    inputs
        The channels of each input argument.
    gates
        The names of the gate arguments.

    Returns
    -------
    The architecture (edges are called as their modules), for a `qcmap.gated.GatedNetwork`, and each edge's matrix.

    Raises
    ------
    ArchitectureError
        Naming the operation or module that is not of this kind, or a layer that does not fit its source.
    ArgumentError
        For an argument of forward that is neither an input nor a gate, a name that forward has not, or no model.
    TraceError
        If torch cannot trace the model, as where an ``if`` depends on a gate.
    """
    _check_arguments(model, inputs, gates)
    graph = _graph(model)
    met = {str(node.target) for node in graph.nodes if node.op == "placeholder"}
    for name in (*inputs, *gates):
        if name not in met:
            raise ArgumentError(name, "forward has no argument of this name", f"name those of {', '.join(sorted(met))}")
    modules = dict(model.named_modules())
    traced = _Traced(Builder(type(model).__name__))
    outputs: list[str] = []
    for node in graph.nodes:
        name = str(node.target)
        if node.op == "placeholder":
            if name in gates:
                traced.opened[node] = name
            elif name in inputs:
                traced.keep(node, traced.builder.input(name, inputs[name]), inputs[name])
            else:
                raise ArgumentError(name, "it is an argument of forward, but neither input nor gate", "name it as one")
        elif node.op == "call_module":
            traced.linear(node, modules[name])
        elif node.op == "output":
            outputs = traced.outputs(node)
        elif node.op == "call_function" and node.target in _ADD:
            traced.sum(node)
        elif node.op == "call_function" and node.target in _MULTIPLY:
            traced.product(node)
        else:
            raise _foreign(node)
    return traced.builder.build(outputs), traced.weights


def _check_arguments(model: nn.Module, inputs: Mapping[str, int], gates: tuple[str, ...] | list[str]) -> None:
    check_kind("model", model, nn.Module, "give a torch model")
    check_kind("inputs", inputs, Mapping, "give channels by name")
    check_kind("gates", gates, (tuple, list), "give a tuple of names")
    for name, channels in inputs.items():
        check_count(name, channels)
        if name in gates:
            raise ArgumentError(name, "it is named both as an input and as a gate", "name it once")


def _graph(model: nn.Module) -> fx.Graph:
    try:
        return fx.symbolic_trace(model).graph
    except Exception as error:  # forward runs here, and may raise anything
        raise TraceError(type(model).__name__, f"torch cannot trace it: {error}", "write forward without if") from error


@dataclass
class _Traced:
    """What the nodes of a torch graph are: values with their channels, or gates; and the weights met so far."""

    builder: Builder
    values: dict[fx.Node, str] = field(default_factory=dict)
    channels: dict[fx.Node, int] = field(default_factory=dict)
    opened: dict[fx.Node, str] = field(default_factory=dict)
    weights: dict[str, NDArray[np.float64]] = field(default_factory=dict)

    def keep(self, node: fx.Node, value: str, channels: int) -> None:
        self.values[node], self.channels[node] = value, channels

    def source(self, node: fx.Node, part: Any) -> fx.Node:
        """The node that an operation reads; raises unless it is a value of the network."""
        if not isinstance(part, fx.Node) or part not in self.values:
            raise _foreign(node)
        return part

    def linear(self, node: fx.Node, module: nn.Module) -> None:
        name = str(node.target)
        if not isinstance(module, nn.Linear):
            raise ArchitectureError(
                name, f"it is a {type(module).__name__}, not a linear layer", "use nn.Linear and gates"
            )
        if "bias" in dict(module.named_parameters()):
            raise ArchitectureError(name, "it has a bias, but gated networks are linear", "make it with bias=False")
        if name in self.weights:
            raise ArchitectureError(name, "it is used twice, but each edge has weights of its own", "use two modules")
        given = (*node.args, *node.kwargs.values())
        source = self.source(node, given[0] if len(given) == 1 else None)
        if module.in_features != self.channels[source]:
            rule = f"it reads {module.in_features} channels, but its source has {self.channels[source]}"
            raise ArchitectureError(name, rule, "make these equal")
        self.weights[name] = module.weight.detach().cpu().numpy().astype(np.float64)
        self.keep(node, self.builder.affine(self.values[source], module.out_features, name=name), module.out_features)

    def sum(self, node: fx.Node) -> None:
        """A sum of two values, the second times ``alpha`` (`torch.add`)."""
        alpha = node.kwargs.get("alpha", 1)
        if len(node.args) != 2 or node.kwargs.keys() - {"alpha"} or not isinstance(alpha, (int, float)):
            raise _foreign(node)
        parts = [self.source(node, part) for part in node.args]
        first, second = (self.channels[part] for part in parts)
        if first != second:
            raise ArchitectureError(node.name, f"it adds {first} channels to {second}", "make these equal")
        self.keep(node, self.builder.sum([self.values[part] for part in parts], [1, alpha], name=node.name), first)

    def product(self, node: fx.Node) -> None:
        """A value times a gate or a number."""
        if len(node.args) != 2 or node.kwargs:
            raise _foreign(node)
        first, second = node.args
        if isinstance(second, fx.Node) and second in self.values:
            first, second = second, first
        source = self.source(node, first)
        if isinstance(second, fx.Node) and second in self.opened:
            value = self.builder.gate(self.values[source], self.opened[second], name=node.name)
        elif isinstance(second, (int, float)):
            value = self.builder.scale(self.values[source], second, name=node.name)
        else:
            raise _foreign(node)
        self.keep(node, value, self.channels[source])

    def outputs(self, node: fx.Node) -> list[str]:
        returned: Any = node.args[0]
        if isinstance(returned, tuple):
            returned = {f"y{k}": part for k, part in enumerate(returned)}
        named: dict[str, Any] = returned if isinstance(returned, dict) else {"y": returned}
        return [self.builder.output(self.values[self.source(node, part)], name=str(key)) for key, part in named.items()]


def _foreign(node: fx.Node) -> ArchitectureError:
    what = getattr(node.target, "__name__", node.target)
    return ArchitectureError(
        node.name, f"{what} is not part of a gated linear network", "use linear layers, sums and products with gates"
    )
