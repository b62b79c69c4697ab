"""The places along a network at which a report shows the C map."""

from __future__ import annotations

from functools import lru_cache

from qcmap.architecture import Architecture, Concat, LayerNorm, Nonlinear, Sum

MOST = 25
"""Most places."""
FEWEST = 3
"""Fewer dominators than this, and the longest path is taken."""


@lru_cache(maxsize=4)
def depths(arch: Architecture) -> tuple[int, ...]:
    """For each node, the number of nonlinear layers on the longest path to it, itself included."""
    found: list[int] = []
    for node, sources in zip(arch.nodes, arch.predecessors, strict=True):
        found.append(max((found[u] for u in sources), default=0) + isinstance(node.op, Nonlinear))
    return tuple(found)


def stops(arch: Architecture) -> list[int]:
    """Positions of nodes from an input to the deepest output where the C map changes, at most `MOST`, evenly spread.

    All paths pass them, where there are such nodes; else they are those of a longest path.
    """
    layers = depths(arch)
    end = max((arch.index[name] for name in arch.outputs), key=lambda v: (layers[v], v))
    path = _changing(arch, arch.dominators.chain(end)[::-1])
    if len(path) < FEWEST:
        path = _changing(arch, _longest(arch, layers, end))
    if not path or path[-1] != end:
        # What follows the last change is the same map, and the output is what one asks for.
        path = [*path[:-1], end]
    if len(path) <= MOST:
        return path
    return [path[round(k * (len(path) - 1) / (MOST - 1))] for k in range(MOST)]


def _changing(arch: Architecture, path: list[int]) -> list[int]:
    return [v for v in path if isinstance(arch.nodes[v].op, (Nonlinear, Sum, Concat, LayerNorm))]


def _longest(arch: Architecture, layers: tuple[int, ...], end: int) -> list[int]:
    path = [end]
    while sources := arch.predecessors[path[-1]]:
        path.append(max(sources, key=lambda u: layers[u]))
    return path[::-1]
