"""The rows of a layered drawing: which item goes where in its row, and the x of each (see `_layout`)."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right, insort
from collections.abc import Sequence
from itertools import pairwise

from qcmap.errors import ArgumentError

LANE = 0.1
"""Distance between the lanes of long edges, in inches."""
MAX_POINTS = 250_000
"""Most points of lanes."""


class Rows:
    """The rows of items: nodes 0, 1, ... and then the points of lanes; a break adds two rows that only lanes pass."""

    def __init__(
        self, predecessors: Sequence[Sequence[int]], layers: list[int], last: list[int], breaks: list[int]
    ) -> None:
        nodes = len(layers)
        before = [2 * bisect_left(breaks, layer) for layer in range(max(layers) + 1)]
        self.row = [layer + before[layer] for layer in layers]
        ends = [layer + before[layer] for layer in last]
        self.nodes, self.breaks = nodes, [layer + 2 * k + 1 for k, layer in enumerate(breaks)]
        lengths = [max(0, end - row - 1) for row, end in zip(self.row, ends, strict=True)]
        if nodes + sum(lengths) > MAX_POINTS + nodes:
            raise ArgumentError(
                "draw", f"the long edges of this graph pass {sum(lengths)} rows, and {MAX_POINTS} is the most",
                "draw a subnetwork(source, target)",
            )  # fmt: skip
        self.rows: list[list[int]] = [[] for _ in range(max(self.row) + 1)]
        for v, row in enumerate(self.row):
            self.rows[row].append(v)
        self.first: list[int] = []
        """For each node, the first point of its lane."""
        self.source = list(range(nodes))
        for u, length in enumerate(lengths):
            self.first.append(len(self.row))
            for row in range(self.row[u] + 1, self.row[u] + 1 + length):
                self.rows[row].append(len(self.row))
                self.row.append(row)
                self.source.append(u)
        self.above: list[list[int]] = [[] for _ in self.row]
        self.below: list[list[int]] = [[] for _ in self.row]
        for u, length in enumerate(lengths):
            for a, b in pairwise([u, *range(self.first[u], self.first[u] + length)]):
                self._link(a, b)
        for v, sources in enumerate(predecessors):
            for u in dict.fromkeys(sources):
                self._link(self.at(u, self.row[v] - 1), v)
        self.position = [0] * len(self.row)

    def _link(self, a: int, b: int) -> None:
        self.below[a].append(b)
        self.above[b].append(a)

    def at(self, u: int, row: int) -> int:
        """The node u itself or the point of its lane in this row."""
        return u if row == self.row[u] else self.first[u] + row - self.row[u] - 1

    def columns(self) -> list[range]:
        """The rows of each column."""
        starts = [0, *(exit_row + 1 for exit_row in self.breaks), len(self.rows)]
        return [range(start, end) for start, end in pairwise(starts)]

    def extent(self, row: int, sides: tuple[float, float]) -> float:
        """The width of a row without gaps; ``sides`` is the room of a box left and right of its centre."""
        return sum(sum(sides) if item < self.nodes else LANE for item in self.rows[row])

    def span(self, rows: range, x: list[float], sides: tuple[float, float]) -> tuple[float, float]:
        """From where to where rows reach."""
        ends = [(self.rows[row][0], self.rows[row][-1]) for row in rows]
        low = min(x[a] - (sides[0] if a < self.nodes else LANE / 2) for a, _ in ends)
        return low, max(x[b] + (sides[1] if b < self.nodes else LANE / 2) for _, b in ends)

    def order(self, sweeps: int = 8) -> None:
        """Order each row by barycentres, down and up in turn, and keep the order with the fewest crossings."""
        self._sweep(self.rows, self.above, first=True)
        best, fewest = [list(row) for row in self.rows], self._crossings()
        for sweep in range(sweeps):
            if not fewest:
                break
            if sweep % 2:
                self._sweep(self.rows, self.above)
            else:
                self._sweep(self.rows[::-1], self.below)
            crossings = self._crossings()
            if crossings < fewest:
                best, fewest = [list(row) for row in self.rows], crossings
        self.rows = best
        for row in best:
            self._number(row)

    def _number(self, row: list[int]) -> None:
        for k, item in enumerate(row):
            self.position[item] = k

    def _sweep(self, rows: list[list[int]], neighbours: list[list[int]], *, first: bool = False) -> None:
        for row in rows:
            centre = {}
            for item in row:
                near = neighbours[item]
                alone = len(self.rows) if first else self.position[item]
                centre[item] = sum(self.position[other] for other in near) / len(near) if near else alone
            # At first, a lane keeps to the right of the boxes that read the same node.
            row.sort(key=lambda item: (centre[item], item if first else self.position[item]))
            self._number(row)

    def _crossings(self) -> int:
        total = 0
        for row in self.rows:
            ends: list[int] = []
            for a in row:
                here = [self.position[b] for b in self.below[a]]
                total += sum(len(ends) - bisect_right(ends, end) for end in here)
                for end in here:
                    insort(ends, end)
        return total

    def align(self, reach: int) -> tuple[int, list[int]]:
        """Gather items into vertical paths that do not cross: their number, and for each item its path.

        In each gap between rows edges are taken by importance: those on a longest path of the graph, then lanes, then
        the others by the longest path that they lie on. Only the first kind continues over each ``reach``-th row, and
        none from one column to the next.
        """
        top, bottom = [0] * self.nodes, [0] * len(self.row)
        for row in self.rows:
            for v in row:
                if v < self.nodes:
                    top[v] = max((top[self.source[a]] + 1 for a in self.above[v]), default=0)
        for row in reversed(self.rows):
            for a in row:
                # A point of a lane counts for the nodes that it leads to.
                bottom[a] = max((bottom[b] + (a < self.nodes) for b in self.below[a]), default=0)
        longest = max(bottom[v] for v in self.rows[0])
        path_of, paths = [-1] * len(self.row), 0
        entries = {exit_row + 1 for exit_row in self.breaks}
        for level, row in enumerate(self.rows):
            candidates = []
            for b in row if level not in entries else ():
                for a in self.above[b]:
                    length = top[self.source[a]] + 1 + bottom[b]
                    lane = a >= self.nodes and b >= self.nodes
                    if level % reach == 0 and length < longest:
                        continue
                    candidates.append((length < longest, not lane, -length, self.position[a], self.position[b], a, b))
            taken: list[tuple[int, int]] = []
            for *_, above, below, a, b in sorted(candidates):
                k = bisect_left(taken, (above, below))
                free = path_of[b] < 0 and (k == 0 or (taken[k - 1][0] < above and taken[k - 1][1] < below))
                if free and (k == len(taken) or (taken[k][0] > above and taken[k][1] > below)):
                    taken.insert(k, (above, below))
                    path_of[b] = path_of[a]
            for b in row:
                if path_of[b] < 0:
                    path_of[b], paths = paths, paths + 1
        return paths, path_of

    def place(self, paths: int, path_of: list[int], sides: tuple[float, float], rounds: int = 4) -> list[float]:
        """For each item its x: paths packed to the left, then drawn to the medians of their neighbours."""
        half = (LANE / 2, LANE / 2)
        right_of: list[dict[int, float]] = [{} for _ in range(paths)]
        left_of: list[dict[int, float]] = [{} for _ in range(paths)]
        for row in self.rows:
            for a, b in pairwise(row):
                apart = (sides if a < self.nodes else half)[1] + (sides if b < self.nodes else half)[0]
                p, q = path_of[a], path_of[b]
                right_of[p][q] = left_of[q][p] = max(apart, right_of[p].get(q, 0.0))
        x, waiting = [0.0] * paths, [len(left) for left in left_of]
        order = [p for p, count in enumerate(waiting) if not count]
        for p in order:
            for q, apart in right_of[p].items():
                x[q] = max(x[q], x[p] + apart)
                waiting[q] -= 1
                if not waiting[q]:
                    order.append(q)
        near: list[list[int]] = [[] for _ in range(paths)]
        for item, others in enumerate(self.below):
            for other in others:
                if path_of[item] != path_of[other]:
                    near[path_of[item]].append(path_of[other])
                    near[path_of[other]].append(path_of[item])
        for turn in range(rounds):
            for p in order if turn % 2 else reversed(order):
                if near[p]:
                    wanted = sorted(x[q] for q in near[p])
                    most = min((x[q] - apart for q, apart in right_of[p].items()), default=math.inf)
                    least = max((x[q] + apart for q, apart in left_of[p].items()), default=-math.inf)
                    x[p] = max(least, min(most, wanted[len(wanted) // 2]))
        return [x[p] for p in path_of]
