"""Where an affine layer of a graph keeps its weights: in a module, or in parameters that a function call reads."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional

from qcmap.errors import ArchitectureError

_LAYERS = nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d
_aten = torch.ops.aten
LINEAR = (functional.linear, _aten.linear.default)
CONVOLUTIONS: dict[Any, int] = {
    functional.conv1d: 1, functional.conv2d: 2, functional.conv3d: 3, torch.conv1d: 1, torch.conv2d: 2, torch.conv3d: 3,
    _aten.conv1d.default: 1, _aten.conv2d.default: 2, _aten.conv3d.default: 3,
    _aten.conv1d.padding: 1, _aten.conv2d.padding: 2, _aten.conv3d.padding: 3,
}  # fmt: skip
"""The functions of convolutional layers, with their number of axes."""
_ARGUMENTS = ("input", "weight", "bias", "stride", "padding", "dilation", "groups")


@dataclass(frozen=True)
class Site:
    """The place of one affine layer: an fx node, the paths of its parameters, and what a convolution has besides.

    ``looked_up`` marks a table [tokens, channels], which is a linear layer on one-hot vectors.
    """

    model: fx.GraphModule
    node: fx.Node
    weight_path: str
    bias_path: str | None
    groups: int
    looked_up: bool = False

    @property
    def module(self) -> nn.Module | None:
        """The layer, if it is a module."""
        return self.model.get_submodule(str(self.node.target)) if self.node.op == "call_module" else None

    @property
    def depthwise(self) -> bool:
        """Whether each group has one input channel."""
        return self.groups > 1 and self.weight.shape[1] == 1

    @property
    def weight(self) -> nn.Parameter:
        """The weights [out, in/groups, *kernel]."""
        return self.model.get_parameter(self.weight_path)

    @property
    def bias(self) -> nn.Parameter | None:
        """The biases [out], if there are any."""
        return None if self.bias_path is None else self.model.get_parameter(self.bias_path)

    @property
    def path_of_bias(self) -> str:
        """The path of the biases, or that which they get from `with_bias`."""
        if self.bias_path is not None:
            return self.bias_path
        parent, _, _ = self.weight_path.rpartition(".")
        owner = self.model.get_submodule(parent)
        names = ("bias", *(f"bias_{k}" for k in range(len(owner._parameters) + 1)))
        name = "bias" if self.module is not None else next(name for name in names if not hasattr(owner, name))
        return f"{parent}.{name}" if parent else name

    def with_bias(self) -> Site:
        """The same place with biases, which are zero if they are new."""
        if self.bias_path is not None:
            return self
        like, path = self.weight, self.path_of_bias
        parent, _, name = path.rpartition(".")
        new = nn.Parameter(torch.zeros(like.shape[0], dtype=like.dtype, device=like.device))
        self.model.get_submodule(parent).register_parameter(name, new)
        if self.module is None:
            with self.model.graph.inserting_before(self.node):
                set_argument(self.node, "bias", self.model.graph.get_attr(path))
        return replace(self, bias_path=path)


def argument(node: fx.Node, name: str, default: Any = None) -> Any:
    """An argument of a call of a linear or convolutional function, by name."""
    position = _ARGUMENTS.index(name)
    return node.args[position] if position < len(node.args) else node.kwargs.get(name, default)


def set_argument(node: fx.Node, name: str, value: Any) -> None:
    """Give a call of a linear or convolutional function another argument."""
    position = _ARGUMENTS.index(name)
    if position < len(node.args):
        node.update_arg(position, value)
    elif position == len(node.args):
        node.args = (*node.args, value)
        node.kwargs = {key: item for key, item in node.kwargs.items() if key != name}
    else:
        node.update_kwarg(name, value)


def site_of(model: fx.GraphModule, node: fx.Node, subject: str) -> Site:
    """The place of the affine layer at an fx node.

    Raises
    ------
    ArchitectureError
        Naming ``subject``, if the weights are not parameters of the model: they are computed, or belong to a layer of
        another kind.
    """
    if node.op == "call_module":
        module = model.get_submodule(str(node.target))
        own = dict(module.named_parameters(recurse=False))
        if isinstance(module, _LAYERS) and set(own) <= {"weight", "bias"} and "weight" in own:
            groups = getattr(module, "groups", 1)
            return Site(model, node, f"{node.target}.weight", f"{node.target}.bias" if "bias" in own else None, groups)
        if isinstance(module, nn.Embedding):
            return Site(model, node, f"{node.target}.weight", None, 1, looked_up=True)
    elif node.op == "call_function" and (node.target in LINEAR or node.target in CONVOLUTIONS):
        weight, bias = argument(node, "weight"), argument(node, "bias")
        if is_parameter(model, weight) and (bias is None or is_parameter(model, bias)):
            groups = 1 if node.target in LINEAR else argument(node, "groups", 1)
            return Site(model, node, str(weight.target), None if bias is None else str(bias.target), groups)
    raise ArchitectureError(
        subject, "its weights are not parameters that can be drawn anew",
        "use a plain Linear or Conv layer, without parametrizations (weight norm, spectral norm, pruning)",
    )  # fmt: skip


def is_parameter(model: fx.GraphModule, value: Any) -> bool:
    if not (isinstance(value, fx.Node) and value.op == "get_attr"):
        return False
    parent, _, name = str(value.target).rpartition(".")
    return name in model.get_submodule(parent)._parameters


def tensor_input(node: fx.Node) -> fx.Node:
    """The first input of a call: the feature map that the op reads."""
    found = node.args[0] if node.args else next(iter(node.kwargs.values()))
    assert isinstance(found, fx.Node)
    return found


def check_storage(subject: str, tensor: Tensor) -> None:
    """Raise `ArchitectureError` for a parameter without memory."""
    if nn.parameter.is_lazy(tensor) or tensor.is_meta:
        raise ArchitectureError(
            subject, "its parameters have no memory yet", "run the model once on an example, or move it off 'meta'"
        )
