"""A layered layout of a directed acyclic graph, wrapped into columns like text (Sugiyama, Tagawa and Toda, 1981).

Rows are longest paths. A node whose readers lie below the next row has one vertical lane down to the last of them, made
of a point in each row between; its edges leave the lane where they are needed. Points and boxes of a row are ordered by
barycentres of their neighbours. Coordinates: chains of boxes and lanes become vertical lines that do not cross, so the
relation "left of" between them has no cycle, and a longest path in it packs them (the idea of Brandes and Koepf, 2001).
Lengths are inches, and y grows downwards.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeAlias

from qcmap.architecture._layout_rows import LANE, Rows

Point: TypeAlias = tuple[float, float]

CLEARANCE = 0.08
"""Room at each side of a box."""
GAP = 0.2
"""Least distance between the boxes of two rows."""
GUTTER = 0.3
"""Distance between two columns, lanes not counted."""
SINGLE = 8.5
"""A graph up to this high is not wrapped."""
PROPORTION = 1.2
"""Height over width that the wrapping aims at."""
REACHES = (10**9, 32, 8, 3)
"""Rows over which lanes stay straight: the next number is tried if the picture would be much wider than its rows."""
DETOUR = 0.35
"""How much more than one edge from a column to the next counts, in the logarithm of height over width."""


@dataclass(frozen=True, eq=False)
class Layout:
    """Where everything is, in inches; nodes are numbered as the predecessors that `layered` was given.

    Attributes
    ----------
    layers
        For each node, its layer: an edge goes from a lower to a higher number.
    columns
        For each node, the column of the page, from the left.
    centres
        For each node, the centre (x, y) of its box, y downwards.
    strokes
        Polylines that together draw every edge once: lanes are shared by the edges of one source.
    entries
        For each edge (u, v), the point on the top of v's box where it ends.
    width, height
        Size of the page; everything lies between 0 and these.
    """

    layers: tuple[int, ...]
    columns: tuple[int, ...]
    centres: tuple[Point, ...]
    strokes: tuple[tuple[Point, ...], ...]
    entries: dict[tuple[int, int], Point]
    width: float
    height: float
    _exits: tuple[Point, ...]
    _lanes: tuple[tuple[tuple[Point, ...], ...], ...]
    _rows: tuple[int, ...]

    def route(self, u: int, v: int) -> tuple[Point, ...]:
        """The polyline of the edge from u to v: from the bottom of one box to the top of the other."""
        between = self._lanes[u][: self._rows[v] - self._rows[u] - 1]
        return (self._exits[u], *(point for piece in between for point in piece), self.entries[u, v])


def layers_of(predecessors: Sequence[Sequence[int]]) -> list[int]:
    """For each node, the longest path to it; a node that reads nothing goes just above its first reader."""
    layers = [0] * len(predecessors)
    first = [math.inf] * len(predecessors)
    for v, sources in enumerate(predecessors):
        layers[v] = max((layers[u] + 1 for u in sources), default=0)
        for u in sources:
            first[u] = min(first[u], layers[v])
    for v, sources in enumerate(predecessors):
        if not sources and first[v] < math.inf:
            layers[v] = int(first[v]) - 1
    return layers


def layered(
    predecessors: Sequence[Sequence[int]],
    *,
    width: float,
    height: float,
    left: float = 0.0,
    groups: Sequence[Hashable] | None = None,
    single: float = SINGLE,
    proportion: float = PROPORTION,
) -> Layout:
    """Lay out a graph whose boxes all have the same ``width`` and ``height``.

    Parameters
    ----------
    predecessors
        For each node the nodes it reads, all with smaller numbers.
    width, height
        Of a box, in inches.
    left
        More room to the left of each box, in inches.
    groups
        For each node a label or None: columns break between groups where they can.
    single
        A graph up to this high is not wrapped, in inches.
    proportion
        Height over width that the wrapping aims at.

    Raises
    ------
    ArgumentError
        If the lanes of long edges pass more than 250,000 rows in all.
    """
    layers = layers_of(predecessors)
    last = list(layers)
    for v, sources in enumerate(predecessors):
        for u in sources:
            last[u] = max(last[u], layers[v])
    box = width + left + 2 * CLEARANCE
    pitch = height + 1.2 * GAP
    whole = groups or [None] * len(layers)
    breaks = [] if (max(layers) + 1) * pitch <= single else _breaks(layers, last, whole, box, pitch, proportion)
    graph = Rows(predecessors, layers, last, breaks)
    graph.order()
    sides = (width / 2 + left + CLEARANCE, width / 2 + CLEARANCE)
    least = sum(max(graph.extent(row, sides) for row in rows) for rows in graph.columns())
    x: list[float] = []
    for reach in REACHES:
        x = graph.place(*graph.align(reach), sides)
        extents = [graph.span(rows, x, sides) for rows in graph.columns()]
        if sum(end - start for start, end in extents) <= 1.5 * least:
            break
    return _page(graph, layers, x, sides, height)


def _spans(size: int, spans: list[tuple[int, int]]) -> list[int]:
    """For each k < size, how many spans (first, end) have first <= k < end."""
    change = [0] * (size + 1)
    for first, end in spans:
        if first < end:
            change[first] += 1
            change[end] -= 1
    total, counts = 0, []
    for step in change[:size]:
        total += step
        counts.append(total)
    return counts


def _breaks(
    layers: list[int], last: list[int], groups: Sequence[Hashable], box: float, pitch: float, proportion: float
) -> list[int]:
    """The layers after which a new column begins: balanced, few edges cut, groups whole, the page near a proportion."""
    size = max(layers) + 1
    lanes = _spans(size, [(layer + 1, end) for layer, end in zip(layers, last, strict=True)])
    cut = _spans(size, list(zip(layers, last, strict=True)))
    ends: dict[Hashable, tuple[int, int]] = {}
    for layer, group in zip(layers, groups, strict=True):
        if group is not None:
            low, high = ends.get(group, (layer, layer))
            ends[group] = (min(low, layer), max(high, layer))
    split = _spans(size, list(ends.values()))
    widths = [LANE * count for count in lanes]
    for layer in layers:
        widths[layer] += box
    cost = [3 * math.log(max(edges, 1)) + 2 * groups for edges, groups in zip(cut, split, strict=True)]
    best: tuple[float, list[int]] = (math.inf, [])
    for columns in range(1, size // 4 + 2):
        bounds = _balanced(size, columns, cost)
        high = pitch * max(b - a for a, b in pairwise(bounds))
        wide = sum(max(widths[a + 1 : b + 1]) + GUTTER + LANE * cut[b] for a, b in pairwise(bounds))
        ratio = high / wide / proportion
        detours = sum(max(cut[b] - 1, 0) for b in bounds[1:-1])
        best = min(best, (abs(math.log(ratio)) + DETOUR * math.log1p(detours), bounds[1:-1]))
        if ratio < 1:
            break
    return best[1]


def _balanced(size: int, columns: int, cost: list[float]) -> list[int]:
    """Bounds -1, b_1, ..., size - 1 of columns of nearly equal height, with breaks b_k of little cost.

    By dynamic programming; a column that is a quarter too high or too low costs as much as a quarter of a split group.
    """
    height = size / columns
    states: dict[int, tuple[float, tuple[int, ...]]] = {-1: (0.0, (-1,))}
    for k in range(1, columns + 1):
        middle, reach = height * k - 1, 0.45 * height
        near = range(max(0, math.ceil(middle - reach)), min(size - 1, int(middle + reach) + 1))
        candidates = sorted(near, key=lambda layer: (cost[layer], abs(layer - middle)))[:12]
        following: dict[int, tuple[float, tuple[int, ...]]] = {}
        for b in candidates if k < columns else [size - 1]:
            following[b] = min(
                (total + cost[b] + 8 * ((b - a) / height - 1) ** 2, (*bounds, b))
                for a, (total, bounds) in states.items()
                if a < b
            )
        states = following
    return list(states[size - 1][1])


def _page(graph: Rows, layers: list[int], x: list[float], sides: tuple[float, float], height: float) -> Layout:
    """Put the columns side by side and give every item its points on the page."""
    nodes = graph.nodes
    points: list[tuple[Point, ...]] = [()] * len(x)
    columns, start, bottom, right = [0] * nodes, 0.0, 0.0, 0.0
    for column, rows in enumerate(graph.columns()):
        low, high = graph.span(rows, x, sides)
        shift, right, y = start - low, start - low + high, 0.0
        for row in rows:
            here, count = graph.rows[row], len(graph.rows[row])
            if row in graph.breaks:
                # Out to the gutter: the leftmost lane leaves lowest and turns up last, so that none crosses another.
                for k, item in enumerate(here):
                    lane, level = right + GUTTER / 2 + LANE * (count - 1 - k), y + LANE * (count - k)
                    points[item] = ((x[item] + shift, y), (x[item] + shift, level), (lane, level))
                start = right + GUTTER + LANE * (count - 1)
                y += LANE * count
            elif row - 1 in graph.breaks:
                y = LANE * count
                for k, item in enumerate(here):
                    lane, level = points[graph.above[item][0]][-1][0], y - LANE * (k + 1)
                    points[item] = ((lane, level), (x[item] + shift, level), (x[item] + shift, y))
            else:
                for item in here:
                    points[item] = ((x[item] + shift, y), (x[item] + shift, y + height))
                    if item < nodes:
                        columns[item] = column
                y += height
            bottom = max(bottom, y)
            if row != rows[-1]:
                slant = max((abs(x[a] - x[b]) for a in here for b in graph.below[a]), default=0.0)
                y += GAP + min(0.06 * slant, 0.6)
    entries: dict[tuple[int, int], Point] = {}
    strokes = list(points[nodes:])
    for v in range(nodes):
        (centre, top), _ = points[v]
        arriving = sorted((points[a][-1][0] - centre, a) for a in graph.above[v])
        lefts, rights = [s for s in arriving if s[0] < -1e-9], [s for s in arriving if s[0] > 1e-9]
        for distance, a in arriving:
            # Edges from the sides enter beside the middle, in their order.
            rank = bisect_left(lefts, (distance, a)) - len(lefts) if distance < -1e-9 else 0
            rank = bisect_right(rights, (distance, a)) if distance > 1e-9 else rank
            port = centre + 0.6 * (sides[1] - CLEARANCE) * rank / max(len(lefts) if rank < 0 else len(rights), 1)
            entries[graph.source[a], v] = (port, top)
            strokes.append((points[a][-1], (port, top)))
    strokes += [(points[a][-1], points[b][0]) for a in range(len(x)) for b in graph.below[a] if b >= nodes]
    lanes = [*graph.first, len(x)]
    return Layout(
        layers=tuple(layers),
        columns=tuple(columns),
        centres=tuple((points[v][0][0], points[v][0][1] + height / 2) for v in range(nodes)),
        strokes=tuple(strokes),
        entries=entries,
        width=right,
        height=bottom,
        _exits=tuple(points[v][-1] for v in range(nodes)),
        _lanes=tuple(tuple(points[a:b]) for a, b in pairwise(lanes)),
        _rows=tuple(graph.row[:nodes]),
    )
