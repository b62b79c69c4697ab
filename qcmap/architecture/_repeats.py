"""Equal blocks in a row, folded into one: how a deep network is shown on a page.

A node is a *neck* if every edge across it, in topological order, starts at it. Between two necks lies a segment, which
reads nothing but itself and the neck above; a network is the chain of its segments. Segments with the same ops and the
same wiring are equal, and a block is a run of segments that is repeated without a gap. One repetition then stands for
all: whatever reads the last one reads the first.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from qcmap.architecture._architecture import Architecture

LONGEST = 64
"""Most segments in a block."""
WORTH = 4
"""A block is folded if that leaves out at least so many nodes."""


@dataclass(frozen=True)
class Block:
    """A block of ``size`` nodes from position ``first`` on, ``count`` times in a row."""

    first: int
    size: int
    count: int

    def repetitions(self, node: int) -> range:
        """The positions of the nodes that the node at a position in the first repetition stands for."""
        return range(node, self.first + self.size * self.count, self.size)


@dataclass(frozen=True)
class Folded:
    """A graph with equal blocks folded.

    Attributes
    ----------
    nodes
        The positions, in the architecture, of the nodes that stay.
    predecessors
        For each of them, the places in ``nodes`` of what it reads.
    blocks
        What was folded, in order.
    """

    nodes: tuple[int, ...]
    predecessors: tuple[tuple[int, ...], ...]
    blocks: tuple[Block, ...]

    def block(self, node: int) -> Block | None:
        """The block that the node at a position lies in, if there is one."""
        return next((b for b in self.blocks if b.first <= node < b.first + b.size * b.count), None)


def folded(arch: Architecture) -> Folded:
    """The graph with equal blocks in a row folded into one, in time linear in its nodes and edges."""
    bounds = _necks(arch.predecessors)
    same = _classes(arch, bounds)
    blocks = _blocks(same, bounds)
    stands = list(range(len(arch.nodes)))
    for block in blocks:
        for node in range(block.first + block.size, block.first + block.size * block.count):
            stands[node] = block.first + (node - block.first) % block.size
    kept = [node for node, first in enumerate(stands) if node == first]
    place = {node: k for k, node in enumerate(kept)}
    predecessors = tuple(tuple(place[stands[u]] for u in arch.predecessors[node]) for node in kept)
    return Folded(tuple(kept), predecessors, tuple(blocks))


def _necks(predecessors: Sequence[Sequence[int]]) -> list[int]:
    """Ends of the segments: -1, then the position of every neck; the last node ends the last segment."""
    last = list(range(len(predecessors)))
    for v, sources in enumerate(predecessors):
        for u in sources:
            last[u] = v
    ends, reach = [-1], -1
    for v in range(len(predecessors)):
        # All that was read so far by nodes behind v was v itself.
        if reach <= v:
            ends.append(v)
        reach = max(reach, last[v])
    if ends[-1] != len(predecessors) - 1:
        ends.append(len(predecessors) - 1)
    return ends


def _classes(arch: Architecture, bounds: Sequence[int]) -> NDArray[np.intp]:
    """A number for each segment, equal for equal ones."""
    alone = {arch.index[name] for name in (*arch.inputs, *arch.outputs)}
    known: dict[Hashable, int] = {}
    found: list[int] = []
    for start, end in pairwise(bounds):
        nodes = range(start + 1, end + 1)
        # An input or an output is like no other node.
        wiring = tuple(
            (arch.nodes[v].op, tuple(v - u for u in arch.predecessors[v]), v if v in alone else None) for v in nodes
        )
        found.append(known.setdefault(wiring, len(known)))
    return np.array(found, dtype=np.intp)


def _blocks(same: NDArray[np.intp], bounds: Sequence[int]) -> list[Block]:
    """Repeated runs from left to right; at each place the one that leaves out most nodes, the shortest of several."""
    size = len(same)
    periods = range(1, min(LONGEST, size // 2) + 1)
    runs = []
    for period in periods:
        # runs[p][i]: how many segments from i on are equal to those p further.
        differ = np.flatnonzero(np.append(same[:-period] != same[period:], True))
        runs.append(differ[np.searchsorted(differ, np.arange(size - period + 1))] - np.arange(size - period + 1))
    blocks: list[Block] = []
    i = 0
    while i < size:
        best, saved = None, WORTH - 1
        for period in periods:
            if i + 2 * period > size:
                break
            count = 1 + int(runs[period - 1][i]) // period
            first, length = bounds[i] + 1, bounds[i + period] - bounds[i]
            if (count - 1) * length > saved:
                best, saved = (Block(first, length, count), period), (count - 1) * length
        if best is None:
            i += 1
        else:
            blocks.append(best[0])
            i += best[1] * best[0].count
    return blocks
