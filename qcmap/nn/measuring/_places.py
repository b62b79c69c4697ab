"""Where a network is compared with its maps: the nodes at which predictions start, and the locations looked at.

Maps treat pooling as the identity, which is a heuristic: a pooled map's q and c values are what its window did to them.
So predictions start anew at each pooling node, from the values measured there, and at group norms, whose moments are
over locations too. Between such nodes a location of a feature map depends on one location of the maps that it reads
(Delta convolutions, upsampling; DKS, section 5.5), and a few locations, drawn at random among those that are not
dropped later, stand for all.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from qcmap.architecture import (
    Affine,
    Architecture,
    Input,
    LayerNorm,
    MaxPool,
    MeanPool,
    Node,
    Upsample,
    WeightedMeanPool,
)
from qcmap.errors import DataError

Indices = NDArray[np.intp]
Extent = tuple[int, ...]


def starts(node: Node) -> bool:
    """Whether predictions start anew here: the node mixes locations, by pooling or by the moments of a group norm."""
    return isinstance(node.op, (MaxPool, MeanPool, WeightedMeanPool)) or (
        isinstance(node.op, LayerNorm) and node.op.groups is not None
    )


@dataclass(frozen=True)
class Places:
    """An architecture with the feature maps of its inputs known, and how many locations to look at.

    Attributes
    ----------
    arch
        The architecture.
    extents
        The locations of each input node along each axis.
    """

    arch: Architecture
    extents: Mapping[str, Extent]

    @cached_property
    def located(self) -> Architecture:
        """The architecture with these locations at its inputs."""
        nodes = (
            replace(node, op=replace(node.op, locations=self.extents[node.id])) if isinstance(node.op, Input) else node
            for node in self.arch.nodes
        )
        return Architecture(self.arch.name, tuple(nodes), self.arch.outputs)

    @cached_property
    def extent(self) -> dict[str, Extent]:
        """The locations of each node along each axis."""
        return {name: tuple(map(len, projection or ())) for name, projection in self.located.locations.items()}

    @cached_property
    def cut(self) -> Architecture:
        """The architecture with each node that `starts` as an input; what only such a node reads becomes an output."""
        channels = self.arch.channels
        outputs = list(self.arch.outputs)
        nodes = []
        for node in self.arch.nodes:
            if starts(node):
                outputs += [name for name in node.inputs if name not in outputs]
                node = Node(node.id, Input(channels[node.id]))
            nodes.append(node)
        return Architecture(self.arch.name, tuple(nodes), tuple(outputs))

    def window(self, node: Node, at: Indices) -> Indices | None:
        """For locations of a node (flat indices), those of its inputs; None for pooling over the whole map."""
        if isinstance(node.op, WeightedMeanPool) or (isinstance(node.op, (MaxPool, MeanPool)) and not node.op.kernel):
            return None
        if not isinstance(node.op, (Affine, MaxPool, MeanPool, Upsample)):
            return at
        before, here = self.extent[node.inputs[0]], self.extent[node.id]
        if before == here or not before:
            return at
        seen = [
            np.array(along)[i] for along, i in zip(node.op.centres(before), np.unravel_index(at, here), strict=True)
        ]
        return np.ravel_multi_index(tuple(seen), before)

    def chosen(
        self, most: int, random: np.random.Generator, within: Mapping[str, Indices] | None = None
    ) -> dict[str, Indices]:
        """Flat indices of the locations to look at, sorted, for each node: those that later nodes come from.

        Where these are fewer than ``most``, more are drawn at random; of those in ``within`` if that is given.
        """
        wanted: dict[str, set[int]] = {node.id: set() for node in self.arch.nodes}
        for node in reversed(self.arch.nodes):
            mine = wanted[node.id]
            count = int(np.prod(self.extent[node.id], dtype=int))
            pool = np.arange(count) if within is None else within[node.id]
            rest = np.setdiff1d(pool, np.array(sorted(mine), dtype=np.intp))
            mine.update(random.permutation(rest)[: max(most - len(mine), 0)].tolist())
            seen = self.window(node, np.array(sorted(mine), dtype=np.intp))
            if seen is not None:
                for name in node.inputs:
                    wanted[name].update(seen.tolist())
        return {name: np.array(sorted(found), dtype=np.intp) for name, found in wanted.items()}

    def kept(self, chosen: Mapping[str, Indices]) -> dict[str, tuple[Indices, ...]]:
        """For `NetworkMaps.propagate_from`: for each node of `cut`, the places of its locations among its inputs'."""
        found = {}
        for node in self.cut.nodes:
            seen = self.window(node, chosen[node.id])
            if node.inputs and seen is not None:
                parts = tuple(np.searchsorted(chosen[name], seen) for name in node.inputs)
                every = [np.arange(len(chosen[name])) for name in node.inputs]
                if not all(map(np.array_equal, parts, every)):
                    found[node.id] = parts
        return found


def same_extent(node: str, shape: Extent, extent: Extent) -> None:
    """Raise `DataError`, naming the node, unless the axes of more than one location agree."""
    if tuple(n for n in shape if n != 1) != tuple(n for n in extent if n != 1):
        raise DataError(
            node, f"its locations are {list(shape)} where the architecture has {list(extent)}",
            "give the kernels, strides and padding of its layers, or trace the model",
        )  # fmt: skip
