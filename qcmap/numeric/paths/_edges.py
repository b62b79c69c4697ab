"""Which units feed which: each node's inputs as lists of edges between units, for enumeration of paths."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any

import numpy as np

from qcmap.architecture import (
    Affine,
    Concat,
    Gate,
    MaxPool,
    MeanPool,
    Node,
    Nonlinear,
    Op,
    Output,
    Scale,
    Sum,
    Units,
)
from qcmap.architecture._units import Integers


@dataclass(frozen=True, eq=False)
class Edges:
    """The edges from the units of one input of a node to its own.

    Attributes
    ----------
    source, target
        Unit numbers at both ends.
    weight, gate
        What lies on the edge, by their numbers among all weights and gates; None if nothing does.
    factor
        The constant on every edge.
    """

    source: Integers
    target: Integers
    weight: Integers | None = None
    gate: Integers | None = None
    factor: Any = 1


class Numbering:
    """The numbers of all weights, gates, input units and output units, in the order of the graph.

    Weights are numbered as in torch's arrays laid end to end; gates, as units of activations, then taps of each window
    of max poolings [channels, locations, taps], then variables.
    """

    def __init__(self, units: Units) -> None:
        self.units = units
        arch = units.architecture
        self.weights = _starts([(name, int(np.prod(shape))) for name, shape in units.weights.items()])
        gates = [(name, units.size(name)) for name in units.activations]
        gates += [(name, units.size(name) * len(units.taps(name))) for name in units.max_pools]
        self.gates = _starts([*gates, *((name, 1) for name in units.variables)])
        self.inputs = _starts([(name, units.size(name)) for name in arch.inputs])
        self.outputs = _starts([(name, units.size(name)) for name in arch.outputs])

    def edges(self, node: Node) -> list[Edges]:
        """The edges of each of a node's inputs."""
        return _RULES[type(node.op)](self, node)

    @cached_property
    def total_weights(self) -> int:
        """The number of weights, d_net."""
        return sum(int(np.prod(shape)) for shape in self.units.weights.values())

    def _identity(self, node: Node, factors: Sequence[Any] = (1,)) -> list[Edges]:
        own = np.arange(self.units.size(node.id))
        return [Edges(own, own, factor=factor) for factor in factors]

    def _affine(self, node: Node) -> list[Edges]:
        assert isinstance(node.op, Affine)
        units, taps = self.units, self.units.taps(node.id)
        shape = units.weights[units.layers[node.id]]
        channels, before, window = shape[0], shape[1], len(taps)
        places, places_before = units.places(node.id), units.places(node.inputs[0])
        out, tap, into, at = np.meshgrid(
            np.arange(channels), np.arange(window), np.arange(before), np.arange(places), indexing="ij"
        )
        read = taps[tap, at]
        channel = out // (channels // node.op.groups) * before + into
        weight = self.weights[units.layers[node.id]] + (out * before + into) * window + tap
        inside = read >= 0
        return [Edges((channel * places_before + read)[inside], (out * places + at)[inside], weight[inside])]

    def _activation(self, node: Node) -> list[Edges]:
        own = np.arange(self.units.size(node.id))
        return [Edges(own, own, gate=self.gates[node.id] + own)]

    def _variable(self, node: Node) -> list[Edges]:
        assert isinstance(node.op, Gate)
        own = np.arange(self.units.size(node.id))
        return [Edges(own, own, gate=np.full(len(own), self.gates[node.op.name]))]

    def _concat(self, node: Node) -> list[Edges]:
        sizes = [self.units.size(name) for name in node.inputs]
        starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
        return [Edges(np.arange(size), start + np.arange(size)) for size, start in zip(sizes, starts, strict=True)]

    def _pool(self, node: Node) -> list[Edges]:
        units, taps = self.units, self.units.taps(node.id)
        places, before = units.places(node.id), units.places(node.inputs[0])
        channel, at, tap = np.meshgrid(
            np.arange(units.channels[node.id]), np.arange(places), np.arange(len(taps)), indexing="ij"
        )
        read, target = taps[tap, at], channel * places + at
        inside = read >= 0
        source = (channel * before + read)[inside]
        if isinstance(node.op, MeanPool):
            return [Edges(source, target[inside], factor=Fraction(1, len(taps)))]
        gate = self.gates[node.id] + target * len(taps) + tap
        return [Edges(source, target[inside], gate=gate[inside])]


def _starts(sizes: list[tuple[str, int]]) -> dict[str, int]:
    """The first number of each."""
    starts, at = {}, 0
    for name, size in sizes:
        starts[name] = at
        at += size
    return starts


_RULES: dict[type[Op], Callable[[Any, Node], list[Edges]]] = {
    Affine: Numbering._affine,
    Nonlinear: Numbering._activation,
    Gate: Numbering._variable,
    Sum: lambda numbering, node: numbering._identity(node, node.op.weights),  # pyright: ignore[reportAttributeAccessIssue]
    Scale: lambda numbering, node: numbering._identity(node, (node.op.factor,)),  # pyright: ignore[reportAttributeAccessIssue]
    Concat: Numbering._concat,
    MeanPool: Numbering._pool,
    MaxPool: Numbering._pool,
    Output: lambda numbering, node: numbering._identity(node),
}
