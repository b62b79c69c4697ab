"""The architecture graph: an immutable DAG of ops, and the one walk over it."""

from __future__ import annotations

import dataclasses
import difflib
import heapq
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from qcmap.architecture._dominators import DominatorTree
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
    is_symbolic,
)
from qcmap.errors import ArchitectureError

if TYPE_CHECKING:
    from qcmap.architecture._ops import Named, Weight

V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class Node:
    """One node: its id, its op and the ids of the nodes it reads, in order."""

    id: str
    op: Op
    inputs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Algebra(Generic[V]):
    """An analysis: for each op, the value of an output in terms of the values of the inputs.

    ``rules[type(op)](node, values)`` gives the value at a node; ``values`` are in the order of the node's inputs.
    """

    name: str
    rules: Mapping[type[Op], Callable[[Node, list[V]], V]]

    def at(self, node: Node, values: list[V]) -> V:
        """The value at one node; raises `ArchitectureError` if this analysis has no rule for its op."""
        rule = self.rules.get(type(node.op))
        if rule is None:
            raise ArchitectureError(
                node.id, f"the {self.name} has no rule for a {node.op.kind}", f"add one for {type(node.op).__name__}"
            )
        return rule(node, values)


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
        Ids of the output nodes, at least one.

    Raises
    ------
    ArchitectureError
        For repeated or unknown ids, a cycle, a wrong number of inputs, op data out of range, or a node that no output
        depends on.
    """

    name: str
    nodes: tuple[Node, ...]
    outputs: tuple[str, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "nodes", _validated(self.name, tuple(self.nodes)))
        object.__setattr__(self, "outputs", tuple(self.outputs))
        if not self.outputs:
            raise ArchitectureError(self.name, "an architecture has at least one output", "name an output node")
        for output in self.outputs:
            if output not in self.index:
                raise _unknown(self.name, output, self.index)
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

    @cached_property
    def index(self) -> dict[str, int]:
        """The position of each node id in `nodes`."""
        return {node.id: position for position, node in enumerate(self.nodes)}

    @cached_property
    def predecessors(self) -> tuple[tuple[int, ...], ...]:
        """For each node, the positions of the nodes it reads."""
        return tuple(tuple(self.index[name] for name in node.inputs) for node in self.nodes)

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
        """The names of the symbols in its weights and factors, sorted."""
        weights: list[Weight] = []
        for node in self.nodes:
            weights += node.op.weights if isinstance(node.op, Sum) else ()
            weights += (node.op.factor,) if isinstance(node.op, Scale) else ()
        symbols = {
            symbol for weight in set(filter(is_symbolic, weights)) for symbol in cast("Any", weight).free_symbols
        }
        return tuple(sorted(map(str, symbols)))

    @cached_property
    def dominators(self) -> DominatorTree:
        """The dominator tree, whose pairs (ancestor, descendant) are the subnetworks."""
        return DominatorTree(self.predecessors)

    @cached_property
    def channels(self) -> dict[str, int | None]:
        """The number of channels at each node, None where it is not known."""
        return self.fold(_CHANNELS)

    def __getitem__(self, node: str) -> Node:
        """The node with this id; raises `ArchitectureError` with the nearest ids if there is none."""
        if node not in self.index:
            raise _unknown(self.name, node, self.index)
        return self.nodes[self.index[node]]

    def fold(self, algebra: Algebra[V]) -> dict[str, V]:
        """Walk the graph once and return the algebra's value at every node, keyed by id."""
        values: list[V] = []
        for node, sources in zip(self.nodes, self.predecessors, strict=True):
            values.append(algebra.at(node, [values[u] for u in sources]))
        return {node.id: value for node, value in zip(self.nodes, values, strict=True)}

    def subnetwork(self, source: str, target: str) -> Architecture:
        """The subnetwork whose input is the feature map at ``source`` and whose output is ``target`` (DKS, 3.1).

        Raises
        ------
        ArchitectureError
            If ``target`` also depends on something that does not pass through ``source``.
        """
        first, last = self.index[self[source].id], self.index[self[target].id]
        if not self.dominators.dominates(first, last):
            raise ArchitectureError(
                target, f"it depends on an input by a path that avoids {source}",
                f"choose a source that every path to {target} passes",
            )  # fmt: skip
        needed = {last}
        for v in range(last, first, -1):
            if v in needed:
                needed.update(self.predecessors[v])
        needed.discard(first)
        head = Node(source, Input(self.channels[source]))
        body = (self.nodes[v] for v in sorted(needed) if v > first)
        return Architecture(f"{self.name}[{source}:{target}]", (head, *body), (target,))

    def substitute(self, **values: float) -> Architecture:
        """The same architecture with numbers (or expressions) in place of symbols of these names.

        Raises
        ------
        ArchitectureError
            For a name that is no symbol of the architecture.
        """
        for name in values:
            if name not in self.symbols:
                known = ", ".join(self.symbols) or "none"
                raise ArchitectureError(self.name, f"it has no symbol {name!r}", f"its symbols: {known}")

        def numbers(weight: Weight) -> Weight:
            if not is_symbolic(weight):
                return weight
            # By name: a symbol with assumptions is not equal to the plain symbol that its name would make.
            expression = cast("Any", weight)
            result = expression.subs({s: values[s.name] for s in expression.free_symbols if s.name in values})
            # What is no real number stays as it is, for the op's own check to refuse.
            return float(result) if result.is_extended_real and not is_symbolic(result) else result

        def changed(op: Op) -> Op:
            if isinstance(op, Sum):
                return dataclasses.replace(op, weights=tuple(map(numbers, op.weights)))
            return dataclasses.replace(op, factor=numbers(op.factor)) if isinstance(op, Scale) else op

        nodes = tuple(Node(node.id, changed(node.op), node.inputs) for node in self.nodes)
        return Architecture(self.name, nodes, self.outputs)

    def __repr__(self) -> str:
        return f"<architecture {self.name}: {len(self.nodes)} nodes, {len(self.outputs)} outputs>"


def _unknown(owner: str, name: str, known: Iterable[str]) -> ArchitectureError:
    near = difflib.get_close_matches(name, list(known)[:10_000], n=3)
    hint = f"did you mean {' or '.join(near)}?" if near else "name an existing node"
    return ArchitectureError(owner, f"there is no node {name!r}", hint)


def _validated(owner: str, nodes: tuple[Node, ...]) -> tuple[Node, ...]:
    """The nodes in a topological order; raises `ArchitectureError` for a node that breaks a rule."""
    position: dict[str, int] = {}
    for node in nodes:
        if node.id in position:
            raise ArchitectureError(node.id, f"two nodes of {owner} have this id", "give every node its own id")
        position[node.id] = len(position)
    for node in nodes:
        for name in node.inputs:
            if name not in position:
                raise _unknown(node.id, name, position)
        node.op.check(node.id, len(node.inputs))
    return _ordered(owner, nodes, position)


def _ordered(owner: str, nodes: tuple[Node, ...], position: dict[str, int]) -> tuple[Node, ...]:
    """Kahn's algorithm, taking the earliest node that is ready; names a cycle if there is one."""
    if all(position[name] < here for here, node in enumerate(nodes) for name in node.inputs):
        return nodes
    readers: list[list[int]] = [[] for _ in nodes]
    waiting = [len(node.inputs) for node in nodes]
    for here, node in enumerate(nodes):
        for name in node.inputs:
            readers[position[name]].append(here)
    ready = [here for here, count in enumerate(waiting) if count == 0]
    order: list[int] = []
    while ready:
        here = heapq.heappop(ready)
        order.append(here)
        for reader in readers[here]:
            waiting[reader] -= 1
            if waiting[reader] == 0:
                heapq.heappush(ready, reader)
    if len(order) < len(nodes):
        # Every node still waiting reads one that still waits, so walking back must repeat a node: that is a cycle.
        here, seen = next(h for h, count in enumerate(waiting) if count), {}
        while here not in seen:
            seen[here] = len(seen)
            here = next(position[name] for name in nodes[here].inputs if waiting[position[name]])
        cycle = [nodes[h].id for h, step in seen.items() if step >= seen[here]][::-1]
        raise ArchitectureError(
            owner, f"the graph has a cycle: {' -> '.join([*cycle, cycle[0]])}", "unroll it or break one of these edges"
        )
    return tuple(nodes[here] for here in order)


def _same_channels(node: Node, values: list[int | None]) -> int | None:
    known = {value for value in values if value is not None}
    if len(known) > 1:
        raise ArchitectureError(
            node.id, f"a {node.op.kind} takes maps of equal channels, but got {values}", "bring them to one width"
        )
    return known.pop() if known else None


def _affine_channels(node: Node, values: list[int | None]) -> int | None:
    assert isinstance(node.op, Affine)
    return node.op.channels


def _concat_channels(node: Node, values: list[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) else None


def _input_channels(node: Node, values: list[int | None]) -> int | None:
    assert isinstance(node.op, Input)
    return node.op.channels


_KEEP_CHANNELS: tuple[type[Op], ...] = (Nonlinear, Sum, Scale, LayerNorm, MaxPool, MeanPool, WeightedMeanPool)
_CHANNELS: Algebra[int | None] = Algebra(
    "channel count",
    {
        Input: _input_channels,
        Affine: _affine_channels,
        Concat: _concat_channels,
        **dict.fromkeys(_KEEP_CHANNELS, _same_channels),
    },
)
