"""Pictures of architecture graphs (matplotlib, extra ``plot``)."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from typing import TYPE_CHECKING, Any, cast

from qcmap.architecture import _draw_labels as labels
from qcmap.architecture._layout import Layout, Point, layered
from qcmap.architecture._node import unknown_node
from qcmap.errors import ArgumentError, MissingExtra

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from qcmap.architecture._architecture import Architecture
    from qcmap.architecture._node import Node

MARGIN = 0.15
"""Around the picture, in inches."""
NARROWEST, LONGEST = 0.6, 1.7
"""Least and most room for the text in a box, in inches."""
PADDING = (0.18, 0.08)
"""What a box adds to the width and height of its text, in inches."""
GROUP_LABEL = 0.12
"""Room for the name along the side of a group, in inches."""
SMALLEST = 5.0
"""The smallest font, in points."""
OUTPUT = "network output"


def draw(
    arch: Architecture,
    *,
    values: Mapping[str, object] | None = None,
    ax: Axes | None = None,
    title: str | None = None,
    max_nodes: int = 2000,
) -> Figure:
    """Draw the graph: layers from top to bottom, wrapped into columns like text.

    Nodes whose ids share all but the last component, such as ``group1.block2``, are framed as a group.

    Parameters
    ----------
    arch
        The architecture.
    values
        A label for each node id: numbers are shown with four significant digits and colour the nodes; anything else is
        shown as `str` gives it, shortened if need be.
    ax
        Axes to draw into, at their present size; by default a figure of its own, as large as the graph needs.
    title
        A line above the picture; by default the architecture's name.
    max_nodes
        The most nodes that are drawn.

    Returns
    -------
    Figure
        The matplotlib figure, to save or to show. A box carries its node's id as ``gid``. In a figure of its own fonts
        have 6 points or more.

    Raises
    ------
    ArchitectureError
        For a value of an id that is no node.
    ArgumentError
        For more than ``max_nodes`` nodes, for too many long edges to draw, or axes so small that a font would have less
        than 5 points.
    MissingExtra
        Without matplotlib.
    """
    if len(arch.nodes) > max_nodes:
        raise ArgumentError(
            arch.name, f"it has {len(arch.nodes)} nodes, and max_nodes is {max_nodes}",
            "draw a subnetwork(source, target), or give a larger max_nodes",
        )  # fmt: skip
    for name in values or {}:
        if name not in arch.index:
            raise unknown_node(arch.name, str(name), arch.index)
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtra("draw", "it needs matplotlib", "pip install 'qcmap[plot]'") from error
    picture = _prepared(arch, dict(values or {}), arch.name if title is None else title)
    if ax is not None:
        _paint(picture, ax, _fit(picture, ax))
        return cast("Any", ax.figure).figure
    figure = Figure(figsize=(picture.width, picture.height))
    # Agg draws fewer than 2^16 pixels a side.
    figure.set_dpi(min(150.0, 60_000 / max(picture.width, picture.height)))
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, picture.width), ylim=(picture.height, 0))
    _paint(picture, axes, 1.0)
    # Notebooks show a figure that pyplot knows; this one shows itself.
    figure.__dict__["_repr_png_"] = partial(_png, figure)
    return figure


def _png(figure: Figure) -> bytes:
    buffer = BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


@dataclass(frozen=True)
class _Picture:
    """What is painted, and where; in inches from the upper left corner."""

    arch: Architecture
    values: dict[str, object]
    numbers: dict[str, float]
    title: str
    layout: Layout
    box: Point
    groups: dict[tuple[str, int], tuple[Point, Point]]
    legend: list[tuple[str, Point]]
    bar: float
    origin: Point
    width: float
    height: float

    def at(self, point: Point) -> Point:
        """A point of the layout on the page."""
        return point[0] + self.origin[0], point[1] + self.origin[1]


def _prepared(arch: Architecture, values: dict[str, object], title: str) -> _Picture:
    """Measure the labels, lay out the graph and make room for title, legend and colour bar."""
    scopes = scopes_of(arch.nodes)
    while True:
        box, left = _box(arch, values, scopes), GROUP_LABEL if any(scopes) else 0.0
        layout = layered(arch.predecessors, width=box[0], height=box[1], left=left, groups=scopes)
        groups, unframed = frames(scopes, layout, box, left)
        if not unframed:
            break
        # Their nodes need their full names, so boxes of another width.
        scopes = [None if scope in unframed else scope for scope in scopes]
    width = max(layout.width, labels.width(title, labels.TITLE), 2.6) + 2 * MARGIN
    numbers = {name: number for name, value in values.items() if (number := labels.number(value)) is not None}
    numbers = numbers if len(set(numbers.values())) > 1 else {}
    x, y = MARGIN, MARGIN + (0.28 if title else 0.0)
    legend: list[tuple[str, Point]] = []
    for kind in [*dict.fromkeys(node.op.kind for node in arch.nodes), OUTPUT]:
        length = 0.34 + labels.width(kind, labels.DETAIL) + 0.18
        if legend and x + length > width:
            x, y = MARGIN, y + 0.22
        legend.append((kind, (x, y)))
        x += length
    bar = y + 0.3
    top = bar + (0.36 if numbers else 0.0)
    origin = ((width - layout.width) / 2, top)
    height = top + layout.height + MARGIN
    return _Picture(arch, values, numbers, title, layout, box, groups, legend, bar, origin, width, height)


def _box(arch: Architecture, values: dict[str, object], scopes: list[str | None]) -> Point:
    """Width and height of a box that holds every label; nodes in no group have their full names."""
    wide, high = NARROWEST, 0.0
    for node, scope in zip(arch.nodes, scopes, strict=True):
        lines = labels.lines(node, values, full=scope is None)
        wide = max(wide, *(min(line.width, LONGEST) for line in lines))
        high = max(high, sum(line.points for line in lines) * labels.LINE)
    return wide + PADDING[0], high + PADDING[1]


def scopes_of(nodes: Sequence[Node]) -> list[str | None]:
    """For each node its scope, if another node shares it."""
    members = Counter(labels.scope(node.id) for node in nodes)
    return [scope if (scope := labels.scope(node.id)) and members[scope] > 1 else None for node in nodes]


def frames(
    scopes: list[str | None], layout: Layout, box: Point, left: float
) -> tuple[dict[tuple[str, int], tuple[Point, Point]], set[str]]:
    """A frame (two corners) for each group in each column, and the groups whose frames would meet another box."""
    members: dict[tuple[str, int], list[Point]] = defaultdict(list)
    boxes: dict[int, list[tuple[Point, str | None]]] = defaultdict(list)
    for scope, column, centre in zip(scopes, layout.columns, layout.centres, strict=True):
        boxes[column].append((centre, scope))
        if scope is not None:
            members[scope, column].append(centre)
    found: dict[tuple[str, int], tuple[Point, Point]] = {}
    unframed: set[str] = set()
    for (scope, column), centres in members.items():
        xs, ys = zip(*centres, strict=True)
        low = (min(xs) - box[0] / 2 - left - 0.04, min(ys) - box[1] / 2 - 0.06)
        high = (max(xs) + box[0] / 2 + 0.05, max(ys) + box[1] / 2 + 0.06)
        taken = [(x - box[0] / 2, y - box[1] / 2, x + box[0] / 2, y + box[1] / 2)
                 for (x, y), other in boxes[column] if other != scope]  # fmt: skip
        taken += [(*a, *b) for (_, other), (a, b) in found.items() if other == column]
        if any(x < high[0] and u > low[0] and y < high[1] and v > low[1] for x, y, u, v in taken):
            unframed.add(scope)
        else:
            found[scope, column] = (low, high)
    return found, unframed


def _fit(picture: _Picture, ax: Axes) -> float:
    """Set the limits of the axes around the picture; returns the scale of everything."""
    extent, dpi = ax.get_window_extent(), cast("Any", ax.figure).dpi
    wide, high = extent.width / dpi, extent.height / dpi
    scale, least = min(1.5, wide / picture.width, high / picture.height), SMALLEST / labels.DETAIL
    if scale < least:
        raise ArgumentError(
            picture.arch.name, f"axes of {wide:.1f} by {high:.1f} inches are too small for legible labels",
            f"give axes of {least * picture.width + 0.05:.1f} by {least * picture.height + 0.05:.1f} inches, or none",
        )  # fmt: skip
    x, y = (wide / scale - picture.width) / 2, (high / scale - picture.height) / 2
    ax.set(xlim=(-x, picture.width + x), ylim=(picture.height + y, -y))
    return scale


def _paint(picture: _Picture, ax: Axes, scale: float) -> None:
    """Add everything to the axes."""
    from qcmap.architecture._draw_paint import Brush, colouring

    ax.set_axis_off()
    ax.set_aspect("equal")
    brush, layout, box = Brush(ax, scale), picture.layout, picture.box
    colours = colouring(picture.numbers.values()) if picture.numbers else None
    if picture.title:
        brush.text(picture.title, (picture.width / 2, MARGIN + 0.14), labels.TITLE, weight="bold")
    for kind, (x, y) in picture.legend:
        brush.box("" if kind == OUTPUT else kind, (x + 0.14, y + 0.08), (0.28, 0.15), bold=kind == OUTPUT)
        brush.text(kind.replace("_", " "), (x + 0.34, y + 0.11), labels.DETAIL, ha="left")
    if colours is not None:
        brush.bar(colours, (2 * MARGIN, picture.bar))
    for (name, _), (low, high) in picture.groups.items():
        brush.group(name, picture.at(low), picture.at(high))
    strokes = [tuple(map(picture.at, stroke)) for stroke in layout.strokes]
    brush.edges(strokes, map(picture.at, layout.entries.values()))
    outputs = set(picture.arch.outputs)
    for node, centre, column in zip(picture.arch.nodes, layout.centres, layout.columns, strict=True):
        fill = None if colours is None else "white"
        if colours is not None and node.id in picture.numbers:
            fill = colours.to_rgba(cast("Any", picture.numbers[node.id]))
        brush.box(node.op.kind, picture.at(centre), box, fill=fill, bold=node.id in outputs, name=node.id)
        lines = labels.lines(node, picture.values, full=(labels.scope(node.id), column) not in picture.groups)
        brush.label(lines, picture.at(centre), box[0] - PADDING[0] + 0.02)
