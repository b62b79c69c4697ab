"""Nodes, algebras on them, and the topological order."""

from __future__ import annotations

import difflib
import heapq
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from qcmap.architecture._ops import Op
from qcmap.errors import ArchitectureError

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


def unknown_node(owner: str, name: str, known: Iterable[str]) -> ArchitectureError:
    """The error for an id that is no node, with the nearest ids."""
    near = difflib.get_close_matches(str(name), list(known)[:10_000], n=3)
    hint = f"did you mean {' or '.join(near)}?" if near else "name an existing node"
    return ArchitectureError(owner, f"there is no node {name!r}", hint)


class Checked(tuple[Node, ...]):
    """Nodes that a builder has checked one by one, in a topological order."""

    __slots__ = ()


def validated(owner: str, nodes: Iterable[Node]) -> tuple[Node, ...]:
    """The nodes in a topological order; raises `ArchitectureError` for a node that breaks a rule."""
    if isinstance(nodes, Checked):
        return tuple(nodes)
    nodes = tuple(nodes)
    position: dict[str, int] = {}
    for node in nodes:
        if node.id in position:
            raise ArchitectureError(node.id, f"two nodes of {owner} have this id", "give every node its own id")
        position[node.id] = len(position)
    for node in nodes:
        for name in node.inputs:
            if name not in position:
                raise unknown_node(node.id, name, position)
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
