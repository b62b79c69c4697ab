"""The walk over a gated network, context by context, where gates let something through.

A *lane* is a pair (context, input node) with data. A node's *cells* are the lanes on which something reaches it from
that input and goes on to an output; gates thin them out. So the work of a pass forward or backward is the number of
open (context, edge) pairs, and no path is enumerated.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from qcmap.architecture import Affine, Architecture, Gate, Input, Scale, Sum
from qcmap.architecture.gated._tables import Coded, Integers

if TYPE_CHECKING:
    from qcmap.architecture.gated._network import GatedNetwork
    from qcmap.architecture.gated._task import GatedTask


@dataclass(frozen=True, eq=False)
class Lanes:
    """What cells are counted by: the context of each lane, in order, and for each input node the lanes it feeds."""

    context: Integers
    members: tuple[Integers, ...]

    @classmethod
    def of(cls, task: GatedTask) -> Lanes:
        """One lane for each pair of a context and an input with a moment there."""
        pairs = [(task.xx.context, task.xx.row), (task.xx.context, task.xx.column), (task.yx.context, task.yx.column)]
        width = max(len(task.inputs), 1)
        keys = distinct(np.concatenate([context * width + node for context, node in pairs]))
        order = np.argsort(keys % width, kind="stable")
        bounds = np.searchsorted((keys % width)[order], np.arange(1, width))
        return cls(keys // width, tuple(np.split(order, bounds)))


@dataclass(frozen=True, eq=False)
class Term:
    """What one predecessor adds: ``value[at] += weight * source_value[take]``; for an edge, its matrix instead."""

    source: int
    at: Integers
    take: Integers
    weight: Coded | None


@dataclass(frozen=True, eq=False)
class NodeCells:
    """The cells of a node: its lanes, in order, and the terms that make their values (none for an input)."""

    lanes: Integers
    terms: tuple[Term, ...]


@dataclass(frozen=True, eq=False)
class Cells:
    """The cells of every node, in graph order."""

    network: GatedNetwork
    lanes: Lanes
    nodes: tuple[NodeCells, ...]

    @classmethod
    def of(cls, network: GatedNetwork, lanes: Lanes) -> Cells:
        """Both passes: which contexts an output needs, then which lanes arrive there."""
        arch = network.architecture
        needed = _needed(network)
        position = {name: k for k, name in enumerate(arch.inputs)}
        nodes: list[NodeCells] = []
        contexts: list[Integers] = []
        for v, node in enumerate(arch.nodes):
            op = node.op
            if isinstance(op, Input):
                own = lanes.members[position[node.id]]
                found = NodeCells(own[_members(lanes.context[own], needed[v])], ())
            else:
                weights = _weights(op)
                parts = []
                for u, weight in zip(arch.predecessors[v], weights, strict=True):
                    if isinstance(weight, (int, float)) and weight == 0:
                        continue
                    take = _members(contexts[u], needed[v])
                    coded = None if weight is None else Coded.constant(weight, len(take))
                    if isinstance(op, Gate):
                        gating = network.task.gates.get(op.name)
                        value = gating.value if gating is not None else Coded.of(())
                        open_at = gating.contexts if gating is not None else np.empty(0, dtype=np.int64)
                        coded = value.take(np.searchsorted(open_at, contexts[u][take]))
                    parts.append((u, nodes[u].lanes[take], take, coded))
                live = _union([lane for _, lane, _, _ in parts])
                terms = tuple(
                    Term(u, np.searchsorted(live, lane), take, coded) for u, lane, take, coded in parts if len(take)
                )
                found = NodeCells(live, terms)
            nodes.append(found)
            contexts.append(lanes.context[found.lanes])
        return cls(network, lanes, tuple(nodes))

    @cached_property
    def edges(self) -> tuple[int, ...]:
        """The positions of the affine nodes."""
        return tuple(v for v, node in enumerate(self.network.architecture.nodes) if isinstance(node.op, Affine))

    @cached_property
    def outputs(self) -> tuple[int, ...]:
        """The positions of the output nodes."""
        return tuple(self.network.architecture.index[name] for name in self.network.architecture.outputs)

    @cached_property
    def readers(self) -> tuple[tuple[tuple[int, Term], ...], ...]:
        """For each node, the terms that read it, with the position of the node they belong to."""
        found: list[list[tuple[int, Term]]] = [[] for _ in self.nodes]
        for v, cells in enumerate(self.nodes):
            for term in cells.terms:
                found[term.source].append((v, term))
        return tuple(map(tuple, found))

    @property
    def size(self) -> int:
        """The number of all cells."""
        return sum(len(cells.lanes) for cells in self.nodes)


def _weights(op: Any) -> tuple[Any, ...]:
    """What a node multiplies each predecessor by; None for an edge."""
    if isinstance(op, Sum):
        return op.weights
    return (op.factor,) if isinstance(op, Scale) else (None,) if isinstance(op, Affine) else (1,)


def _needed(network: GatedNetwork) -> list[Integers]:
    """For each node, the contexts in which gates between it and an output are open (its own gate too)."""
    arch: Architecture = network.architecture
    every = np.arange(len(network.task.contexts), dtype=np.int64)
    wanted: list[list[Integers]] = [[] for _ in arch.nodes]
    needed = [every] * len(arch.nodes)
    outputs = {arch.index[name] for name in arch.outputs}
    for v in range(len(arch.nodes) - 1, -1, -1):
        own = every if v in outputs else _union(wanted[v])
        op = arch.nodes[v].op
        if isinstance(op, Gate):
            gating = network.task.gates.get(op.name)
            own = own[:0] if gating is None else gating.contexts[_members(gating.contexts, own)]
        needed[v] = own
        wanted[v] = []
        for u in arch.predecessors[v]:
            wanted[u].append(own)
    return needed


def _union(sets: list[Integers]) -> Integers:
    """The sorted union of sorted sets."""
    if not sets:
        return np.empty(0, dtype=np.int64)
    largest = max(sets, key=len)
    if all(s is largest or np.array_equal(s, largest) for s in sets):
        return largest
    return distinct(np.concatenate(sets))


def distinct(values: Integers) -> Integers:
    """The distinct entries, sorted; ``numpy.unique`` hashes, which is many times slower on millions of integers."""
    ordered = np.sort(values)
    return ordered[np.concatenate([[True], ordered[1:] != ordered[:-1]])] if len(ordered) else ordered


def _members(values: Integers, wanted: Integers) -> Integers:
    """Positions of the entries of a sorted array (which may repeat) that are in a sorted set."""
    if len(wanted) == 0 or len(values) == 0:
        return np.empty(0, dtype=np.int64)
    if values is wanted:
        return np.arange(len(values), dtype=np.int64)
    if len(wanted) * 16 < len(values):
        first, last = np.searchsorted(values, wanted, "left"), np.searchsorted(values, wanted, "right")
        counts = last - first
        starts = np.repeat(first - np.concatenate([[0], np.cumsum(counts)[:-1]]), counts)
        return starts + np.arange(counts.sum())
    at = np.minimum(np.searchsorted(wanted, values), len(wanted) - 1)
    return np.nonzero(wanted[at] == values)[0]
