"""Where the nodes of an architecture are computed in a torch.fx graph: by name, and as nodes of that graph."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from torch import fx

from qcmap.architecture import Architecture, Output


@dataclass(frozen=True)
class Whereabouts:
    """An architecture and the names of the torch.fx nodes that compute it: plain data, which copies of a graph share.

    Attributes are those of `Traced`, with names in the place of torch.fx nodes.
    """

    architecture: Architecture
    places: Mapping[str, str] = field(repr=False)
    reads: Mapping[str, tuple[str, ...]] = field(repr=False)
    weights: Mapping[str, str] = field(repr=False)
    channel_axes: Mapping[str, int] = field(repr=False)
    biases: Mapping[str, tuple[str, ...]] = field(repr=False)


@dataclass(frozen=True)
class Traced:
    """A torch model as an architecture, and where each node of it is computed.

    Attributes
    ----------
    graph_module
        The model as a torch.fx graph: a copy that computes what the model does in eval mode, or a shaped model.
    whereabouts
        The architecture and the way back to the graph, by name.
    """

    graph_module: fx.GraphModule
    whereabouts: Whereabouts

    @cached_property
    def _nodes(self) -> dict[str, fx.Node]:
        return {node.name: node for node in self.graph_module.graph.nodes}

    @property
    def architecture(self) -> Architecture:
        """The graph; node ids are paths of modules, or the path of a module and a word for a call in its forward."""
        return self.whereabouts.architecture

    @cached_property
    def places(self) -> Mapping[str, fx.Node]:
        """For each node id, the node of the torch.fx graph whose result it is.

        What the architecture has no node for (dropout, reshapes, biases) stays in the graph.
        """
        return {name: self._nodes[place] for name, place in self.whereabouts.places.items()}

    @cached_property
    def reads(self) -> Mapping[str, tuple[fx.Node, ...]]:
        """For each node id, the nodes of the torch.fx graph that it reads, one for each input of the node.

        What the architecture has no node for may lie between the place of an input and what is read.
        """
        return {name: tuple(self._nodes[read] for read in reads) for name, reads in self.whereabouts.reads.items()}

    @cached_property
    def modules(self) -> Mapping[str, str | None]:
        """For each node id, the path of the module whose call it is; None for calls of functions and methods."""
        ends = {node.id for node in self.architecture.nodes if isinstance(node.op, Output)}
        return {
            name: str(place.target) if place.op == "call_module" and name not in ends else None
            for name, place in self.places.items()
        }

    @property
    def weights(self) -> Mapping[str, str]:
        """For each affine node, the path of the parameter that holds its weights."""
        return self.whereabouts.weights

    @property
    def channel_axes(self) -> Mapping[str, int]:
        """The number of the channels' axis of each node that has one.

        These are the nodes whose place has one axis for the channels, the first axis for the batch, and the others, in
        their order, for the locations.
        """
        return self.whereabouts.channel_axes

    @property
    def biases(self) -> Mapping[str, tuple[str, ...]]:
        """For the path of each parameter that is added to feature maps, the ids of the nodes whose maps these are.

        The architecture takes them as the zeros that biases are at initialization (DKS, section 4.1).
        """
        return self.whereabouts.biases

    def followed(self) -> set[str]:
        """The ids of the nodes after which something stands that the architecture has no node for."""
        return {
            source
            for node in self.architecture.nodes
            for source, read in zip(node.inputs, self.whereabouts.reads[node.id], strict=True)
            if read != self.whereabouts.places[source]
        }

    def __repr__(self) -> str:
        return f"<traced {self.architecture!r}>"
