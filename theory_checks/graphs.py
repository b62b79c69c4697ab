"""Brute force on graphs: random networks, dominance by removing a node, slopes by summing over paths.

Only the data of an `Architecture` are read (ids, ops, inputs); none of its analyses is used.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

import qcmap as qc
from qcmap.architecture import Affine, Concat, Input, LayerNorm, Node, Nonlinear, Sum


@dataclass(frozen=True)
class Wiring:
    """A network as plain lists: for each node its (predecessor, share) pairs, and whether it is nonlinear.

    Shares are squared sum weights, or parts of a concatenation's channels; 1 elsewhere.
    """

    names: tuple[str, ...]
    edges: tuple[tuple[tuple[int, Any], ...], ...]
    nonlinear: tuple[bool, ...]

    @cached_property
    def subnetworks(self) -> list[tuple[int, frozenset[int]]]:
        """For each u the nodes v such that no path from an input to v avoids u: found by deleting u."""
        found = []
        for u in range(len(self.names)):
            reached: set[int] = set()
            for v, sources in enumerate(self.edges):
                if v != u and (not sources or any(p in reached for p, _ in sources)):
                    reached.add(v)
            found.append((u, frozenset(range(len(self.names))) - reached))
        return found

    def paths(self, u: int, v: int) -> Iterator[tuple[Any, int]]:
        """Every path from u to v as (product of shares, number of nonlinear nodes after u), one by one."""
        stack: list[tuple[int, Any, int]] = [(v, 1, 0)]
        while stack:
            here, share, count = stack.pop()
            if here == u:
                yield share, count
                continue
            count += self.nonlinear[here]
            stack.extend((p, share * weight, count) for p, weight in self.edges[here])

    def slope(self, u: int, v: int, psi: Any) -> Any:
        """The slope of the subnetwork (u, v): the sum over its paths of share * psi^count, path by path."""
        return sum(share * psi**count for share, count in self.paths(u, v))

    def largest_slope(self, psi: float) -> tuple[float, str, str]:
        """The maximum of the slope over all subnetworks, with its two ends; path sums are gathered node by node."""
        best = (1.0, "", "")
        for u, inside in self.subnetworks:
            total = {u: 1.0}
            for v in sorted(inside - {u}):
                gathered = sum(float(weight) * total[p] for p, weight in self.edges[v])
                total[v] = gathered * (psi if self.nonlinear[v] else 1.0)
                best = max(best, (total[v], self.names[u], self.names[v]))
        return best


def wiring(arch: qc.Architecture) -> Wiring:
    """The plain lists of an architecture."""
    position = {node.id: k for k, node in enumerate(arch.nodes)}
    channels: list[Any] = []
    edges: list[tuple[tuple[int, Any], ...]] = []
    for node in arch.nodes:
        sources = [position[name] for name in node.inputs]
        shares: list[Any] = [1] * len(sources)
        if isinstance(node.op, (Input, Affine)):
            width = node.op.channels or 1
        elif isinstance(node.op, Concat):
            width = sum(channels[p] for p in sources)
            shares = [channels[p] / width for p in sources]
        else:
            width = channels[sources[0]]
        if isinstance(node.op, Sum):
            shares = [weight**2 for weight in node.op.weights]
        channels.append(width)
        edges.append(tuple(zip(sources, shares, strict=True)))
    nonlinear = tuple(isinstance(node.op, Nonlinear) for node in arch.nodes)
    return Wiring(tuple(node.id for node in arch.nodes), tuple(edges), nonlinear)


def random_network(random: np.random.Generator, layers: int = 7, inputs: int = 1) -> qc.Architecture:
    """A random network with normalised sums and concatenations; every node that nothing reads is an output."""
    b = qc.Builder("random")
    ends = [b.input(f"x{k}", channels=4) for k in range(inputs)]
    read: set[str] = set()

    def affine(channels: int) -> str:
        recent = ends[-4:] if random.random() < 0.8 else ends
        source = recent[int(random.integers(len(recent)))]
        read.add(source)
        return b.affine(source, channels)

    for _ in range(layers):
        kind, count = random.random(), int(random.integers(2, 4))
        if kind < 0.5:
            ends.append(b.activation(affine(4), "tanh"))
        elif kind < 0.8:
            weights = random.uniform(0.1, 1, count)
            weights /= np.linalg.norm(weights)
            ends.append(b.sum([affine(4) for _ in range(count)], [float(w) for w in weights]))
        else:
            ends.append(b.concat([affine(int(random.integers(1, 6))) for _ in range(count)]))
    h = b.activation(b.affine(ends[-1], 4), "tanh")
    read.add(ends[-1])
    return b.build(outputs=[h, *(name for name in ends if name not in read)])


def varied(
    arch: qc.Architecture,
    random: np.random.Generator,
    activations: tuple[str, ...],
    *,
    uneven: bool = False,
    norm: bool = False,
) -> qc.Architecture:
    """The same graph with random activations of these.

    With ``uneven``, sums get weights that are not normalised and affine layers random variances of weights, so that q
    values differ; with ``norm``, a layer norm comes before each activation.
    """
    nodes = []
    for node in arch.nodes:
        if isinstance(node.op, Nonlinear):
            inputs = node.inputs
            if norm:
                nodes.append(Node(f"{node.id}.norm", LayerNorm(), inputs))
                inputs = (f"{node.id}.norm",)
            node = Node(node.id, Nonlinear(activations[int(random.integers(len(activations)))]), inputs)
        elif uneven and isinstance(node.op, Sum):
            weights = (random.uniform(0.3, 1.5, len(node.inputs)) * random.choice([-1, 1], len(node.inputs))).tolist()
            node = replace(node, op=Sum(tuple(weights)))
        elif uneven and isinstance(node.op, Affine):
            node = replace(node, op=replace(node.op, weight_variance=float(random.uniform(0.4, 1.8))))
        nodes.append(node)
    return qc.Architecture(arch.name, tuple(nodes), arch.outputs)
