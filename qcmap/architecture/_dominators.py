"""The dominator tree of a DAG, in O(edges * log nodes), without recursion.

A node u dominates v if every path from an input to v passes through u; then, and only then, v is a function of the
feature map at u alone, so the subnetworks of DKS (section 3.1) are exactly the pairs (u, v) where u dominates v. A
virtual root above all inputs (position -1) makes this a tree for networks with several inputs. The immediate dominator
of v is the nearest common ancestor, in the tree built so far, of the nodes that v reads (Cooper, Harvey and Kennedy
2001); in a topological order one pass is enough. Common ancestors are found with skew-binary jump pointers (Myers
1983).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property


class DominatorTree:
    """The dominator tree of a graph given by its predecessors in topological order.

    Attributes
    ----------
    parent
        The immediate dominator of each node; -1 is the virtual root.
    depth
        The number of strict dominators of each node.
    """

    parent: list[int]
    depth: list[int]

    def __init__(self, predecessors: Sequence[Sequence[int]]) -> None:
        # One slot more than nodes: slot -1, the last, is the virtual root.
        count = len(predecessors)
        self.parent, self.depth = [-1] * count, [0] * count
        self._depth = [0] * (count + 1)
        self._jump = [-1] * (count + 1)
        self._up = [-1] * (count + 1)
        for v, sources in enumerate(predecessors):
            self._attach(v, self._common(sources))

    def _attach(self, v: int, above: int) -> None:
        depth, jump = self._depth, self._jump
        self.parent[v] = self._up[v] = above
        depth[v] = depth[above] + 1
        self.depth[v] = depth[above]
        skip = jump[above]
        # Jump lengths follow the skew-binary numbers: two equal jumps in a row merge into one.
        jump[v] = jump[skip] if depth[above] - depth[skip] == depth[skip] - depth[jump[skip]] else above

    def _common(self, sources: Sequence[int]) -> int:
        if not sources:
            return -1
        nearest = sources[0]
        for other in sources[1:]:
            nearest = self._meet(nearest, other)
        return nearest

    def _lift(self, v: int, depth: int) -> int:
        """The ancestor of v at a depth, virtual root included."""
        while self._depth[v] > depth:
            v = self._jump[v] if self._depth[self._jump[v]] >= depth else self._up[v]
        return v

    def _meet(self, a: int, b: int) -> int:
        depth = min(self._depth[a], self._depth[b])
        a, b = self._lift(a, depth), self._lift(b, depth)
        while a != b:
            if self._jump[a] != self._jump[b]:
                a, b = self._jump[a], self._jump[b]
            else:
                a, b = self._up[a], self._up[b]
        return a

    def dominates(self, above: int, below: int) -> bool:
        """Whether every path from an input to ``below`` passes through ``above`` (a node dominates itself)."""
        return self._lift(below, self._depth[above]) == above

    @cached_property
    def leaves(self) -> tuple[int, ...]:
        """The nodes that dominate no other node."""
        inner = set(self.parent)
        return tuple(v for v in range(len(self.parent)) if v not in inner)

    def chain(self, below: int, above: int = -1) -> list[int]:
        """The dominators of ``below`` from itself up to, and without, ``above`` (the virtual root if left out)."""
        found: list[int] = []
        while below != above:
            found.append(below)
            below = self.parent[below]
        return found
