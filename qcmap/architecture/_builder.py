"""Writing an architecture down, one op after the other."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from qcmap.architecture._architecture import Architecture, Node
from qcmap.architecture._ops import (
    Affine,
    Concat,
    Input,
    LayerNorm,
    MaxPool,
    MeanPool,
    Nonlinear,
    Op,
    Scale,
    Sum,
    WeightedMeanPool,
)
from qcmap.errors import ArchitectureError

if TYPE_CHECKING:
    from qcmap.architecture._ops import Named, Weight


class Builder:
    """Builds an `Architecture`. Every method adds one node and returns its id.

    A node's id is ``name`` if given, else its op's kind and a number (``affine1``, ``affine2``, ...). Each method
    raises `ArchitectureError` at once if an id is taken, an input is unknown or the op's data are out of range.
    """

    def __init__(self, name: str = "network") -> None:
        self.name = name
        self._nodes: dict[str, Node] = {}
        self._count: Counter[str] = Counter()

    def add(self, op: Op, inputs: Sequence[str], name: str | None = None) -> str:
        """Add a node with any op."""
        if name is None:
            self._count[op.kind] += 1
            name = f"{op.kind}{self._count[op.kind]}"
        if name in self._nodes:
            raise ArchitectureError(name, f"{self.name} already has a node with this id", "give it another name")
        for source in inputs:
            if source not in self._nodes:
                raise ArchitectureError(
                    name, f"it reads {source!r}, which is not a node of {self.name}", "add that node first"
                )
        op.check(name, len(inputs))
        self._nodes[name] = Node(name, op, tuple(inputs))
        return name

    def input(self, name: str | None = None, channels: int | None = None) -> str:
        """A network input."""
        return self.add(Input(channels), (), name)

    def affine(
        self, x: str, channels: int | None = None, *, kernel: tuple[int, ...] = (), stride: int = 1,
        name: str | None = None,
    ) -> str:  # fmt: skip
        """A fully-connected layer, or a Delta-initialised convolution if a kernel is given."""
        return self.add(Affine(channels, kernel, stride), (x,), name)

    def activation(self, x: str, function: str | Named, *, name: str | None = None) -> str:
        """An elementwise activation: a name of the catalogue or an `Activation`."""
        return self.add(Nonlinear(function), (x,), name)

    def sum(self, x: Sequence[str], weights: Sequence[Weight] | None = None, *, name: str | None = None) -> str:
        """A weighted sum; without weights, the normalized sum with equal ones, 1/sqrt(n)."""
        given = (1 / math.sqrt(max(len(x), 1)),) * len(x) if weights is None else tuple(weights)
        return self.add(Sum(given), x, name)

    def concat(self, x: Sequence[str], *, name: str | None = None) -> str:
        """A concatenation along the channels."""
        return self.add(Concat(), x, name)

    def scale(self, x: str, factor: Weight, *, name: str | None = None) -> str:
        """A multiplication by a constant."""
        return self.add(Scale(factor), (x,), name)

    def layer_norm(self, x: str, *, name: str | None = None) -> str:
        """A layer normalization over channels."""
        return self.add(LayerNorm(), (x,), name)

    def max_pool(self, x: str, *, name: str | None = None) -> str:
        """A max pooling."""
        return self.add(MaxPool(), (x,), name)

    def mean_pool(self, x: str, *, name: str | None = None) -> str:
        """A mean pooling."""
        return self.add(MeanPool(), (x,), name)

    def weighted_mean_pool(self, x: str, *, name: str | None = None) -> str:
        """A weighted mean pooling."""
        return self.add(WeightedMeanPool(), (x,), name)

    def build(self, outputs: Sequence[str]) -> Architecture:
        """The finished architecture with these outputs."""
        return Architecture(self.name, tuple(self._nodes.values()), tuple(outputs))
