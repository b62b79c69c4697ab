"""A torch model with fixed gates as an architecture: linear layers, sums, and products with gates."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import fx, nn

from qcmap.architecture import Architecture, Builder
from qcmap.errors import ArchitectureError, ArgumentError

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
        Naming the operation or module that is not of this kind.
    ArgumentError
        For an argument of forward that is neither an input nor a gate.
    """
    graph = fx.symbolic_trace(model).graph
    modules = dict(model.named_modules())
    b = Builder(type(model).__name__)
    values: dict[fx.Node, str] = {}
    opened: dict[fx.Node, str] = {}
    weights: dict[str, NDArray[np.float64]] = {}
    outputs: list[str] = []
    for node in graph.nodes:
        name = str(node.target)
        if node.op == "placeholder":
            if name in gates:
                opened[node] = name
            elif name in inputs:
                values[node] = b.input(name, inputs[name])
            else:
                raise ArgumentError(name, "it is an argument of forward, but neither input nor gate", "name it as one")
        elif node.op == "call_module":
            values[node] = _linear(b, modules[name], name, values[node.args[0]], weights)
        elif node.op == "output":
            returned: Any = node.args[0]
            if isinstance(returned, tuple):
                returned = {f"y{k}": part for k, part in enumerate(returned)}
            named: dict[str, Any] = returned if isinstance(returned, dict) else {"y": returned}
            outputs = [b.output(values[part], name=str(key)) for key, part in named.items()]
        elif node.op == "call_function" and node.target in _ADD and all(part in values for part in node.args):
            values[node] = b.sum([values[part] for part in node.args], [1, 1], name=node.name)
        elif node.op == "call_function" and node.target in _MULTIPLY:
            values[node] = _product(b, node, values, opened)
        else:
            raise _foreign(node)
    return b.build(outputs), weights


def _linear(b: Builder, module: nn.Module, name: str, source: str, weights: dict[str, NDArray[np.float64]]) -> str:
    if not isinstance(module, nn.Linear):
        raise ArchitectureError(name, f"it is a {type(module).__name__}, not a linear layer", "multiply by a gate")
    if "bias" in dict(module.named_parameters()):
        raise ArchitectureError(name, "it has a bias, but gated networks are linear", "make it with bias=False")
    if name in weights:
        raise ArchitectureError(name, "it is used twice, but each edge has weights of its own", "use two modules")
    weights[name] = module.weight.detach().cpu().numpy().astype(np.float64)
    return b.affine(source, module.out_features, name=name)


def _product(b: Builder, node: fx.Node, values: Mapping[fx.Node, str], opened: Mapping[fx.Node, str]) -> str:
    first, second = node.args
    for part, other in ((first, second), (second, first)):
        if isinstance(part, fx.Node) and part in values:
            if isinstance(other, fx.Node) and other in opened:
                return b.gate(values[part], opened[other], name=node.name)
            if isinstance(other, (int, float)):
                return b.scale(values[part], other, name=node.name)
    raise _foreign(node)


def _foreign(node: fx.Node) -> ArchitectureError:
    what = getattr(node.target, "__name__", node.target)
    return ArchitectureError(
        node.name, f"{what} is not part of a gated linear network", "use linear layers, sums and products with gates"
    )
