"""The architecture graph: an immutable DAG of ops, and the one walk over it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from qcmap.architecture._dominators import DominatorTree
from qcmap.architecture._node import Algebra, Node, V, unknown_node, validated
from qcmap.architecture._ops import Input, Nonlinear, Output
from qcmap.architecture._rewrite import Rewrite, normalized, substituted, symbols_of
from qcmap.architecture._shapes import CHANNELS, LOCATIONS, Projection
from qcmap.errors import ArchitectureError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from qcmap.architecture._ops import Channels, Named, Weight
    from qcmap.architecture._rules import Violation


@dataclass(frozen=True)
class Architecture:
    """A network's wiring.

    Parameters
    ----------
    name
        What messages and files call it.
    nodes
        The nodes, in any order; `nodes` of the result is a topological order that keeps the given one where it can.
    outputs
        Ids of the output nodes. Nodes with the op `Output` are outputs in any case and need not be listed.

    Raises
    ------
    ArchitectureError
        For repeated or unknown ids, a cycle, a wrong number of inputs, op data out of range, a node that no output
        depends on, or one that reads an `Output`.
    """

    name: str
    nodes: tuple[Node, ...]
    outputs: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "nodes", validated(self.name, self.nodes))
        marked = (node.id for node in self.nodes if isinstance(node.op, Output))
        object.__setattr__(self, "outputs", tuple(dict.fromkeys((*self.outputs, *marked))))
        if not self.outputs:
            raise ArchitectureError(self.name, "an architecture has at least one output", "name an output node")
        for output in self.outputs:
            if output not in self.index:
                raise unknown_node(self.name, output, self.index)
        self._refuse_unused()

    def _refuse_unused(self) -> None:
        used = bytearray(len(self.nodes))
        for output in self.outputs:
            used[self.index[output]] = 1
        for v in range(len(self.nodes) - 1, -1, -1):
            if not used[v]:
                raise ArchitectureError(
                    self.nodes[v].id, "no output depends on it", "name it as an output or take it out"
                )
            for u in self.predecessors[v]:
                used[u] = 1
                if isinstance(self.nodes[u].op, Output):
                    raise ArchitectureError(
                        self.nodes[v].id, f"it reads {self.nodes[u].id}, which is an output", "read what that one reads"
                    )

    @cached_property
    def index(self) -> dict[str, int]:
        """The position of each node id in `nodes`."""
        return {node.id: position for position, node in enumerate(self.nodes)}

    @cached_property
    def predecessors(self) -> tuple[tuple[int, ...], ...]:
        """For each node, the positions of the nodes it reads."""
        position = self.index.__getitem__
        return tuple([tuple(map(position, node.inputs)) for node in self.nodes])

    @cached_property
    def inputs(self) -> tuple[str, ...]:
        """Ids of the input nodes."""
        return tuple(node.id for node in self.nodes if isinstance(node.op, Input))

    @cached_property
    def activations(self) -> tuple[str | Named, ...]:
        """The distinct activations, in order of first use."""
        return tuple(dict.fromkeys(node.op.function for node in self.nodes if isinstance(node.op, Nonlinear)))

    @cached_property
    def symbols(self) -> tuple[str, ...]:
        """The names of the symbols in its constants (weights, factors, channels, variances) and its gates, sorted."""
        return symbols_of(self.nodes)

    @cached_property
    def dominators(self) -> DominatorTree:
        """The dominator tree, whose pairs (ancestor, descendant) are the subnetworks."""
        return DominatorTree(self.predecessors)

    @cached_property
    def channels(self) -> dict[str, Channels | None]:
        """The number of channels at each node, None where it is not known.

        Raises `ArchitectureError` where maps of different channels are added.
        """
        return self.fold(CHANNELS)

    @cached_property
    def locations(self) -> dict[str, Projection | None]:
        """For each node, along each axis, the input locations that its locations stand for; None if not known.

        With Delta filters a location depends on one input location, the others are dropped (DKS, section 5.5). Pooling
        over the whole map leaves (), one location without an axis. Raises `ArchitectureError` for a kernel that does
        not fit, or a sum of maps of different extent.
        """
        return self.fold(LOCATIONS)

    @cached_property
    def violations(self) -> tuple[Violation, ...]:
        """The rules that it breaks, as `check` lists them; raises as that does."""
        from qcmap.architecture._rules import broken_rules

        return tuple(broken_rules(self))

    def __getitem__(self, node: str) -> Node:
        """The node with this id; raises `ArchitectureError` with the nearest ids if there is none."""
        if not isinstance(node, str) or node not in self.index:
            raise unknown_node(self.name, node, self.index)
        return self.nodes[self.index[node]]

    def fold(self, algebra: Algebra[V]) -> dict[str, V]:
        """Walk the graph once and return the algebra's value at every node, keyed by id."""
        values: list[V] = []
        for node, sources in zip(self.nodes, self.predecessors, strict=True):
            values.append(algebra.at(node, [values[u] for u in sources]))
        return {node.id: value for node, value in zip(self.nodes, values, strict=True)}

    def ends(self, source: str, target: str) -> tuple[int, int]:
        """The positions of the two ends of a subnetwork; raises `ArchitectureError` if the pair is none (DKS, 3.1)."""
        first, last = self.index[self[source].id], self.index[self[target].id]
        if not self.dominators.dominates(first, last):
            raise ArchitectureError(
                target, f"it depends on an input by a path that avoids {source}, so the pair is not a subnetwork",
                f"choose a source that every path to {target} passes",
            )  # fmt: skip
        return first, last

    def subnetwork(self, source: str, target: str) -> Architecture:
        """The subnetwork whose input is the feature map at ``source`` and whose output is ``target`` (DKS, 3.1).

        Raises
        ------
        ArchitectureError
            If ``target`` also depends on something that does not pass through ``source``.
        """
        first, last = self.ends(source, target)
        needed = {last}
        for v in range(last, first, -1):
            if v in needed:
                needed.update(self.predecessors[v])
        needed.discard(first)
        head = Node(source, Input(self.channels[source]))
        body = (self.nodes[v] for v in sorted(needed) if v > first)
        return Architecture(f"{self.name}[{source}:{target}]", (head, *body), (target,))

    def substitute(self, /, **values: Weight) -> Architecture:
        """The same architecture with numbers (or expressions) in place of symbols of these names.

        A gate becomes a multiplication by the value of its variable.

        Raises
        ------
        ArchitectureError
            For a name that is no symbol of the architecture.
        """
        return substituted(self, values)

    def normalized(self) -> Rewrite:
        """The architecture with normalized sums and without scalar multipliers, and what was changed.

        Steps 4 and 5 of DKS, section 21.2: multiplications by constants go (so the branches of a sum may count
        differently than before), and the weights of each sum are divided by the root of the sum of their squares.
        """
        return normalized(self)

    def draw(
        self,
        *,
        values: Mapping[str, object] | None = None,
        ax: Axes | None = None,
        title: str | None = None,
        max_nodes: int = 2000,
    ) -> Figure:
        """A picture of the graph; see `qcmap.architecture._draw.draw`."""
        from qcmap.architecture._draw import draw

        return draw(self, values=values, ax=ax, title=title, max_nodes=max_nodes)

    def __repr__(self) -> str:
        return f"<architecture {self.name}: {len(self.nodes)} nodes, {len(self.outputs)} outputs>"

    def _repr_html_(self) -> str | None:
        from qcmap.architecture._svg import notebook

        return notebook(self)
