"""Writing an architecture down, one op after the other."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from qcmap.architecture._architecture import Architecture
from qcmap.architecture._node import Checked, Node
from qcmap.architecture._ops import (
    Affine,
    BatchNorm,
    Concat,
    Gate,
    Input,
    LayerNorm,
    MaxPool,
    MeanPool,
    Multiply,
    Nonlinear,
    Op,
    Output,
    Scale,
    Sum,
    Upsample,
    WeightedMeanPool,
)
from qcmap.architecture._values import as_tuple
from qcmap.errors import ArchitectureError

if TYPE_CHECKING:
    from qcmap.architecture._ops import Channels, Named, Weight


class Builder:
    """Builds an `Architecture`. Every method adds one node and returns its id.

    A node's id is ``name`` if given, else its op's kind and a number (``affine1``, ``affine2``, ...). Each method
    raises `ArchitectureError` at once if an id is taken, an input is unknown or the op's data are out of range.
    """

    def __init__(self, name: str = "network") -> None:
        self.name = name
        self._nodes: dict[str, Node] = {}
        self._count: Counter[str] = Counter()
        self._checked: dict[tuple[int, int], Op] = {}
        """Ops by identity and number of inputs: they are immutable, so those used again need no second check."""

    def add(self, op: Op, inputs: Sequence[str], name: str | None = None) -> str:
        """Add a node with any op."""
        if name is None:
            self._count[op.kind] += 1
            name = f"{op.kind}{self._count[op.kind]}"
        if not isinstance(name, str) or not name:
            raise ArchitectureError(str(name), f"a node's id is a text, not {name!r}", "give it a name")
        listed = type(inputs) is tuple or (isinstance(inputs, Sequence) and not isinstance(inputs, str))
        if not listed or [x for x in inputs if not isinstance(x, str)]:
            raise ArchitectureError(
                name, f"it reads a list of node ids, not {inputs!r}", "give what builder methods return"
            )
        if name in self._nodes:
            raise ArchitectureError(name, f"{self.name} already has a node with this id", "give it another name")
        for source in inputs:
            if source not in self._nodes:
                raise ArchitectureError(
                    name, f"it reads {source!r}, which is not a node of {self.name}", "add that node first"
                )
        key = id(op), len(inputs)
        if key not in self._checked:
            op.check(name, len(inputs))
            self._checked[key] = op
        self._nodes[name] = Node(name, op, tuple(inputs))
        return name

    def input(
        self,
        name: str | None = None,
        channels: Channels | None = None,
        *,
        locations: Sequence[int] | None = None,
        q: Weight = 1.0,
    ) -> str:
        """A network input."""
        return self.add(Input(channels, None if locations is None else as_tuple(locations), q), (), name)

    def affine(
        self,
        x: str,
        channels: Channels | None = None,
        *,
        kernel: Sequence[int] = (),
        stride: int = 1,
        padding: int | Literal["same"] = "same",
        weight_variance: Weight = 1.0,
        bias_variance: Weight = 0.0,
        init: Literal["delta", "fan_in"] = "delta",
        parameters: str | None = None,
        groups: int = 1,
        dilation: int = 1,
        border: Literal["zeros", "reflect", "replicate", "circular"] = "zeros",
        name: str | None = None,
    ) -> str:
        """A fully-connected layer, or a convolution if a kernel is given; see `Affine`."""
        op = Affine(
            channels, as_tuple(kernel), stride, padding, weight_variance, bias_variance, init, parameters, groups,
            dilation, border,
        )  # fmt: skip
        return self.add(op, (x,), name)

    def activation(self, x: str, function: str | Named, *, name: str | None = None) -> str:
        """An elementwise activation: a name of the catalogue or an `Activation`."""
        return self.add(Nonlinear(function), (x,), name)

    def sum(self, x: Sequence[str], weights: Sequence[Weight] | None = None, *, name: str | None = None) -> str:
        """A weighted sum; without weights, the normalized sum with equal ones, 1/sqrt(n)."""
        count = len(x) if isinstance(x, Sequence) else 1
        given = (1 / math.sqrt(max(count, 1)),) * count if weights is None else as_tuple(weights)
        return self.add(Sum(given), x, name)

    def concat(self, x: Sequence[str], *, name: str | None = None) -> str:
        """A concatenation along the channels."""
        return self.add(Concat(), x, name)

    def scale(self, x: str, factor: Weight, *, name: str | None = None) -> str:
        """A multiplication by a constant."""
        return self.add(Scale(factor), (x,), name)

    def layer_norm(self, x: str, *, centre: bool = True, groups: int | None = None, name: str | None = None) -> str:
        """A layer normalization over channels; see `LayerNorm` for RMSNorm and group normalization."""
        return self.add(LayerNorm(centre, groups), (x,), name)

    def max_pool(
        self,
        x: str,
        kernel: Sequence[int] = (),
        *,
        stride: int | None = None,
        padding: int = 0,
        name: str | None = None,
    ) -> str:
        """A max pooling; over the whole map without a kernel."""
        return self.add(MaxPool(as_tuple(kernel), stride, padding), (x,), name)

    def mean_pool(
        self,
        x: str,
        kernel: Sequence[int] = (),
        *,
        stride: int | None = None,
        padding: int = 0,
        name: str | None = None,
    ) -> str:
        """A mean pooling; over the whole map without a kernel."""
        return self.add(MeanPool(as_tuple(kernel), stride, padding), (x,), name)

    def weighted_mean_pool(self, x: str, *, name: str | None = None) -> str:
        """A weighted mean pooling."""
        return self.add(WeightedMeanPool(), (x,), name)

    def upsample(self, x: str, factors: Sequence[int], *, name: str | None = None) -> str:
        """A nearest upsampling: every location is repeated, by one factor an axis."""
        return self.add(Upsample(as_tuple(factors)), (x,), name)

    def gate(self, x: str, variable: str, *, name: str | None = None) -> str:
        """A multiplication by a gating variable."""
        return self.add(Gate(variable), (x,), name)

    def batch_norm(self, x: str, *, name: str | None = None) -> str:
        """A batch normalization, which `qcmap.check` refuses."""
        return self.add(BatchNorm(), (x,), name)

    def multiply(self, x: Sequence[str], *, name: str | None = None) -> str:
        """An elementwise product, which `qcmap.check` refuses."""
        return self.add(Multiply(), x, name)

    def output(self, x: str, *, name: str | None = None) -> str:
        """A named output."""
        return self.add(Output(), (x,), name)

    def build(self, outputs: Sequence[str] = ()) -> Architecture:
        """The finished architecture with these outputs, and those added by `output`."""
        return Architecture(self.name, Checked(self._nodes.values()), tuple(outputs))
