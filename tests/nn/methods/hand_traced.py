"""Traced models by hand: torch's own symbolic trace, and an architecture that is given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import fx, nn

import qcmap as qc


@dataclass
class HandTraced:
    """What the constructions read of a traced model."""

    architecture: qc.Architecture
    graph_module: fx.GraphModule
    places: Mapping[str, fx.Node]
    modules: Mapping[str, str | None]


def traced(model: nn.Module, architecture: qc.Architecture) -> HandTraced:
    """The model with an architecture whose node ids are module paths, or names of calls in torch's trace."""
    module = fx.symbolic_trace(model)
    by_name = {node.name: node for node in module.graph.nodes}
    by_name |= {str(node.target): node for node in module.graph.nodes if node.op == "call_module"}
    places = {node.id: by_name[node.id] for node in architecture.nodes}
    modules = {name: str(place.target) if place.op == "call_module" else None for name, place in places.items()}
    return HandTraced(architecture, module, places, modules)


class Residual(nn.Module):
    """A stem, residual blocks relu-conv-relu-conv (one with a projection), pooling and a head."""

    def __init__(self, blocks: int = 3, width: int = 6, activation: type[nn.Module] = nn.ReLU, kernel: int = 3) -> None:
        super().__init__()
        self.stem = nn.Conv1d(4, width, kernel, padding="same")
        for k in range(blocks):
            self.add_module(f"a{k}", activation())
            self.add_module(f"conv{k}", nn.Conv1d(width, width, kernel, padding="same"))
            self.add_module(f"b{k}", activation())
            self.add_module(f"out{k}", nn.Conv1d(width, width, kernel, padding="same"))
        self.projection = nn.Conv1d(width, width, 1)
        self.act, self.head = activation(), nn.Linear(width, 5)
        self.blocks = blocks
        self.double()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[batch, 4, locations] to [batch, 5]."""
        h = self.stem(x)
        for k in range(self.blocks):
            a, conv, b, out = (getattr(self, f"{name}{k}") for name in ("a", "conv", "b", "out"))
            z = a(h)
            h = out(b(conv(z))) + (self.projection(z) if k == 1 else h)
        return self.head(self.act(h).mean(2))

    def architecture(self) -> qc.Architecture:
        """The graph, with torch's names of calls."""
        width = self.head.in_features
        b = qc.Builder("residual")
        kernel = self.stem.kernel_size
        h = b.affine(b.input("x", channels=4), width, kernel=kernel, name="stem")
        name = type(self.act).__name__.lower()
        for k in range(self.blocks):
            z = b.activation(h, name, name=f"a{k}")
            c = b.activation(b.affine(z, width, kernel=kernel, name=f"conv{k}"), name, name=f"b{k}")
            c = b.affine(c, width, kernel=kernel, name=f"out{k}")
            short = b.affine(z, width, kernel=(1,), name="projection") if k == 1 else h
            h = b.sum([c, short], weights=[1, 1], name="add" if k == 0 else f"add_{k}")
        return b.build([b.affine(b.mean_pool(b.activation(h, name, name="act"), name="mean"), 5, name="head")])
