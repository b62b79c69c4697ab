"""Fixup: residual networks without normalization (Zhang, Dauphin and Ma, 2019; DKS, sections 26.6 and 28.5.7).

A sum of two or more branches has one shortcut, the branch with the fewest affine layers since the branches parted (the
sum's immediate dominator), and residual branches. With L residual branches in the network:

1. The last layer of every residual branch, and the network's last layers, are zero.
2. Other layers get He's initialization; those of a residual branch with m layers, times L^(-1/(2 m - 2)). A branch's
   change after one step is then Theta(step size / L): its m - 1 other layers have gradients through the last one, and
   the product of their scales, squared, is 1/L.
3. A scalar bias, initially 0, before every affine and activation layer, and a scalar multiplier, initially 1, at the
   end of every residual branch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn

from qcmap.architecture import Affine, Architecture, Nonlinear, Output, Sum
from qcmap.errors import ArchitectureError
from qcmap.nn._initialize import Layer, Scale, fill
from qcmap.nn._weights import check_gain
from qcmap.nn.methods._edits import Editable


class ScalarBias(nn.Module):
    """Adds one trainable number, initially 0."""

    def __init__(self) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        """X + bias."""
        return x + self.bias


class ScalarMultiplier(nn.Module):
    """Multiplies by one trainable number, initially 1."""

    def __init__(self) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        """X * factor."""
        return x * self.factor


@dataclass(frozen=True)
class Branch:
    """A residual branch of a sum: its affine layers in order, those of sums inside it left out."""

    sum: str
    layers: tuple[str, ...]


def residual_branches(arch: Architecture) -> list[Branch]:
    """All residual branches of an architecture, in the order of its sums.

    Raises
    ------
    ArchitectureError
        Naming the node: a sum whose shortcut is not evident, with weights other than 1, or a residual branch that does
        not end with an affine layer.
    """
    taken: set[str] = set()
    found: list[Branch] = []
    for position, node in enumerate(arch.nodes):
        if not isinstance(node.op, Sum):
            continue
        if any(weight != 1 for weight in node.op.weights):
            raise ArchitectureError(
                node.id, "Fixup has plain sums, but this one has weights", "add branches as they are"
            )
        start = arch.dominators.parent[position]
        regions = {name: _affines(arch, name, start) for name in node.inputs}
        counts = sorted(len(layers) for layers in regions.values())
        if len(regions) != len(node.inputs) or counts[0] == counts[1]:
            raise ArchitectureError(
                node.id, "it is not evident which branch is the shortcut", "give one branch fewer affine layers"
            )
        for name, layers in regions.items():
            if len(layers) == counts[0]:
                continue
            if not isinstance(arch[name].op, Affine):
                raise ArchitectureError(
                    name, f"a residual branch of {node.id} ends with it, not with an affine layer",
                    "end residual branches with an affine layer",
                )  # fmt: skip
            own = tuple(layer for layer in layers if layer not in taken)
            taken.update(own)
            found.append(Branch(node.id, own))
    return found


def _affines(arch: Architecture, end: str, start: int) -> list[str]:
    """The affine nodes that ``end`` depends on and that come after the node at position ``start``."""
    seen, stack = set[int](), [arch.index[end]]
    while stack:
        position = stack.pop()
        if position != start and position not in seen:
            seen.add(position)
            stack += arch.predecessors[position]
    return [arch.nodes[k].id for k in sorted(seen) if isinstance(arch.nodes[k].op, Affine)]


def fixup(
    model: nn.Module,
    example_input: Any,
    *,
    gain: float = math.sqrt(2),
    seed: int = 0,
    generator: torch.Generator | None = None,
) -> fx.GraphModule:
    """The Fixup version of a residual model: residual branches are zero, and no step depends on depth.

    Parameters
    ----------
    model, example_input
        As for `qcmap.nn.traced`. The model stays as it is.
    gain
        The gain of the layers that are neither zero nor scaled; the default is He's, for relu.
    seed, generator
        As for `qcmap.nn.initialize`.

    Returns
    -------
    A new module, called like the model, with a ``fixup`` submodule that holds the scalar biases and multipliers.

    Raises
    ------
    ArchitectureError
        As `residual_branches` does; for a network without residual branches; for a layer that is a function's call or
        is called twice.
    TraceError
        As `qcmap.nn.traced` does.
    ArgumentError
        As `qcmap.nn.initialize` does, naming the module's path.
    """
    check_gain(gain)
    made = Editable(model, example_input)
    arch = made.architecture
    branches = residual_branches(arch)
    if not branches:
        raise ArchitectureError(arch.name, "it has no residual branches, which Fixup is for", "use methods.he")
    paths = {node: made.layer(node)[0] for node in made.affines()}
    factors: dict[str, float] = {}
    for branch in branches:
        m = len(branch.layers)
        factors.update({paths[node]: len(branches) ** (-1 / (2 * m - 2)) for node in branch.layers[:-1]})

    def scale(path: str, layer: Layer) -> Scale:
        return Scale(gain * factors.get(path, 1.0))

    fill(made.module, "gaussian", scale, delta=False, seed=seed, generator=generator)
    last = [branch.layers[-1] for branch in branches]
    heads = [arch[name].inputs[0] if isinstance(arch[name].op, Output) else name for name in arch.outputs]
    with torch.no_grad():
        for node in (*last, *(name for name in heads if name in paths)):
            made.layer(node)[1].weight.zero_()
    made.module.add_submodule("fixup", nn.Module())
    for number, node in enumerate(arch.nodes):
        if isinstance(node.op, (Affine, Nonlinear)):
            made.before(node.id, f"fixup.bias{number}", ScalarBias())
    for number, node in enumerate(last):
        made.after(node, f"fixup.multiplier{number}", ScalarMultiplier())
    return made.finished()
