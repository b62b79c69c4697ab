"""The units of an architecture, every channel at every location, and which of them each window reads.

Neural paths go from unit to unit (docs/paths.md), where maps and slopes go from feature map to feature map.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from itertools import product

import numpy as np
from numpy.typing import NDArray

from qcmap.architecture._architecture import Architecture
from qcmap.architecture._node import Node
from qcmap.architecture._ops import (
    Affine,
    Concat,
    Gate,
    Input,
    MaxPool,
    MeanPool,
    Nonlinear,
    Output,
    Pool,
    Scale,
    Sum,
)
from qcmap.architecture._shapes import extent
from qcmap.architecture._values import Locations, is_symbolic
from qcmap.errors import ArchitectureError

Integers = NDArray[np.int64]

_OPS = (Input, Affine, Nonlinear, Sum, Scale, Concat, MeanPool, MaxPool, Gate, Output)


@dataclass(frozen=True, eq=False)
class Units:
    """The shapes of all feature maps of an architecture that has neural paths.

    A unit of a node is numbered as in an array [channels, *extent], in C order.

    Attributes
    ----------
    architecture
        Made of inputs, affine layers without biases, activations and gates, sums, constants, concatenations and pools.
    channels, extents
        By node id: the number of channels, and of locations along each axis.
    """

    architecture: Architecture
    channels: dict[str, int]
    extents: dict[str, Locations]

    @classmethod
    def of(cls, arch: Architecture) -> Units:
        """The units of an architecture.

        Raises
        ------
        ArchitectureError
            Naming the node: an op without path rules, a bias, symbolic constants, unknown channels or locations.
        """
        windows = any(_slides(node) for node in arch.nodes)
        known = [node.id for node in arch.nodes if isinstance(node.op, Input) and node.op.locations is not None]
        channels, extents = {}, {}
        for node in arch.nodes:
            _refuse(node, windows=windows or bool(known))
            count, places = arch.channels[node.id], arch.locations[node.id]
            if not isinstance(count, int):
                raise ArchitectureError(
                    node.id,
                    f"paths go from unit to unit, but it has {count or 'an unknown number of'} channels",
                    "give channels to every layer",
                )
            channels[node.id] = count
            extents[node.id] = () if places is None else extent(places)
        return cls(arch, channels, extents)

    def shape(self, node: str) -> tuple[int, ...]:
        """(channels, *extent)."""
        return (self.channels[node], *self.extents[node])

    def places(self, node: str) -> int:
        """The number of locations."""
        return math.prod(self.extents[node])

    def size(self, node: str) -> int:
        """The number of units."""
        return self.channels[node] * self.places(node)

    @cached_property
    def layers(self) -> dict[str, str]:
        """For each affine node, the name of its parameters: its own id, or the one it shares."""
        return {
            node.id: node.op.parameters or node.id for node in self.architecture.nodes if isinstance(node.op, Affine)
        }

    @cached_property
    def weights(self) -> dict[str, tuple[int, ...]]:
        """The shapes of the parameters as in torch: [channels, channels before / groups, *kernel]."""
        shapes: dict[str, tuple[int, ...]] = {}
        for node in self.architecture.nodes:
            if isinstance(node.op, Affine):
                name = self.layers[node.id]
                before = self.channels[node.inputs[0]] // node.op.groups
                shape = (self.channels[node.id], before, *node.op.kernel)
                if shapes.setdefault(name, shape) != shape:
                    what = f"its weights have the shape {shape}, but others called {name!r} have {shapes[name]}"
                    raise ArchitectureError(node.id, what, "share parameters between equal layers")
        return shapes

    @cached_property
    def activations(self) -> tuple[str, ...]:
        """Ids of the activations, whose units are the gates of a network."""
        return tuple(node.id for node in self.architecture.nodes if isinstance(node.op, Nonlinear))

    @cached_property
    def max_pools(self) -> tuple[str, ...]:
        """Ids of the max poolings, whose choices are gates on the taps of their windows."""
        return tuple(node.id for node in self.architecture.nodes if isinstance(node.op, MaxPool))

    @cached_property
    def variables(self) -> tuple[str, ...]:
        """Names of the scalar gating variables."""
        return tuple(dict.fromkeys(node.op.name for node in self.architecture.nodes if isinstance(node.op, Gate)))

    @cached_property
    def _taps(self) -> dict[str, Integers]:
        return {}

    def taps(self, node: str) -> Integers:
        """Which locations a window reads, [taps, locations], both in C order; -1 outside of the map."""
        if node not in self._taps:
            at = self.architecture[node]
            assert isinstance(at.op, (Affine, Pool))
            self._taps[node] = taps_of(at.op, self.extents[at.inputs[0]])
        return self._taps[node]

    def __repr__(self) -> str:
        units = sum(self.size(name) for name in self.activations)
        return f"<units of {self.architecture.name}: {units} in activations, {len(self.weights)} layers>"


def _slides(node: Node) -> bool:
    return isinstance(node.op, (Affine, Pool)) and any(size != 1 for size in node.op.kernel)


def _refuse(node: Node, *, windows: bool) -> None:
    op = node.op
    if not isinstance(op, _OPS):
        raise ArchitectureError(
            node.id, f"neural paths have no rule for the op {op.kind!r}", "take it out, or fold it into a layer"
        )
    if isinstance(op, Affine) and op.bias_variance != 0:
        raise ArchitectureError(node.id, "it has a bias, but paths begin at inputs", "add an input of ones")
    if isinstance(op, Input) and op.locations is None and windows:
        raise ArchitectureError(node.id, "windows slide over it, but its locations are not known", "give locations")
    if isinstance(op, Affine) and op.border != "zeros" and not op.kernel:
        raise ArchitectureError(
            node.id, f"its padding ({op.border}) repeats the one location of its map, which no graph has paths for",
            "use a kernel of size 1 there",
        )  # fmt: skip
    constants = op.weights if isinstance(op, Sum) else (op.factor,) if isinstance(op, Scale) else ()
    if any(is_symbolic(constant) for constant in constants):
        raise ArchitectureError(node.id, f"its constants {constants} are symbolic", "give numbers with arch.substitute")


def _mirrored(at: Integers, size: int) -> Integers:
    period = max(2 * (size - 1), 1)
    return np.minimum(at % period, -at % period)


_BEYOND: dict[str, Callable[[Integers, int], Integers]] = {
    "zeros": lambda at, size: np.where((at >= 0) & (at < size), at, -1),
    "reflect": _mirrored,
    "replicate": lambda at, size: np.clip(at, 0, size - 1),
    "circular": lambda at, size: at % size,
}
"""Which location of an axis a border has in the place of those outside of 0 to size - 1; -1 for none."""


def taps_of(op: Affine | Pool, before: Locations) -> Integers:
    """The table of `Units.taps` for a map of this extent."""
    if not op.kernel and isinstance(op, Pool):
        return np.arange(math.prod(before), dtype=np.int64)[:, None]
    outside = _BEYOND["zeros" if isinstance(op, Pool) else op.border]
    kernel = op.kernel if before else ()
    dilation = op.dilation if isinstance(op, Affine) else 1
    along: list[Integers] = []
    for axis, (size, centres) in enumerate(zip(kernel or (1,) * len(before), op.centres(before), strict=True)):
        first = np.asarray(centres) - dilation * ((size - 1) // 2)
        at = first + dilation * np.arange(size)[:, None]
        along.append(outside(at, before[axis]))
    if not along:
        return np.zeros((1, 1), dtype=np.int64)
    table = []
    for tap in product(*(range(len(at)) for at in along)):
        parts = np.meshgrid(*(at[t] for at, t in zip(along, tap, strict=True)), indexing="ij")
        inside = np.logical_and.reduce([part >= 0 for part in parts])
        flat = np.ravel_multi_index([np.maximum(part, 0) for part in parts], before)
        table.append(np.where(inside, flat, -1).ravel())
    return np.array(table, dtype=np.int64)
