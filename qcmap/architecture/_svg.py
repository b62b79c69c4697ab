"""The picture of a graph as SVG, without matplotlib: for pages and notebooks.

Positions are those of `_layout`; words are set in a fixed-width face, whose widths are known without measuring. A box
is the group ``<g class="node" data-n="POSITION">``, so that a page can select and colour it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from qcmap._html import escape
from qcmap.architecture import _draw_labels as labels
from qcmap.architecture import _draw_shapes as shapes
from qcmap.architecture._draw import PADDING, frames, scopes_of
from qcmap.architecture._layout import Layout, Point, layered
from qcmap.architecture._repeats import Block, Folded, folded
from qcmap.errors import ArgumentError

if TYPE_CHECKING:
    from qcmap.architecture._architecture import Architecture
    from qcmap.architecture._draw_labels import Line

UNIT = 96.0
"""Units of the SVG in an inch."""
ADVANCE = 0.62
"""The width of a letter of a fixed-width face, in font sizes; the common ones have 0.55 to 0.61."""
LONGEST = 26
"""Most letters in a line of a box; nine points of a scope's name stand for as many."""
SINGLE, PROPORTION = 4.6, 0.56
"""A graph up to this high (in inches) is one column; else its height over width aims at that of a screen."""
ROOM = 0.13
"""Room for the name along the side of a frame, in inches."""
MARGIN = 0.12
COLOURS = {**{kind: colour for kind, (_, colour) in shapes.STYLES.items()}, "op": shapes.OTHER[1]}
"""The colour of each kind of op, and of any other."""
FACE = "ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, 'Liberation Mono', monospace"


@dataclass(frozen=True)
class Drawing:
    """A picture: its SVG elements (without the outer tag), and its size in user units."""

    body: str
    width: float
    height: float

    def svg(self, attributes: str = "") -> str:
        """The whole picture; ``attributes`` go into its tag."""
        box = f'viewBox="0 0 {self.width:.1f} {self.height:.1f}"'
        return f'<svg xmlns="http://www.w3.org/2000/svg" {box} {attributes}>{self.body}</svg>'


def style(*, scope: str = ".qcmap-graph") -> str:
    """The rules that the pictures need, for everything below a selector; fills are custom properties of the kinds."""
    rows = [
        f"{scope} .{kind}{{fill:var(--{kind},{colour});stroke:var(--line-{kind},{_hex(shapes.darker(colour))})}}"
        for kind, colour in COLOURS.items()
    ]
    return "".join([
        f"{scope} text{{font-family:{FACE};fill:var(--ink,{labels.INK});stroke:none}}",
        f"{scope} .node text{{text-anchor:middle}}{scope} .node use{{stroke-width:.9}}",
        f"{scope} .end use{{stroke-width:2.4}}",
        f"{scope} .edges{{fill:none;stroke:var(--edge,{shapes.EDGE});stroke-width:1.1}}",
        f"{scope} .tips{{fill:var(--edge,{shapes.EDGE})}}",
        f"{scope} .frame{{fill:var(--frame,{shapes.GROUP_FILL});stroke:var(--frame-line,{shapes.GROUP_EDGE})}}",
        f"{scope} .repeated{{stroke:var(--edge,{shapes.EDGE});stroke-dasharray:5 3}}",
        f"{scope} .faint{{fill:var(--faint,{labels.FAINT})}}",
        *rows,
    ])  # fmt: skip


def dark_style(*, scope: str = ".qcmap-graph") -> str:
    """The colours of the pictures on a dark page."""
    rows = {"ink": "#e7e5df", "faint": "#b9bcc4", "edge": "#8d939e", "frame": "#1b1e23", "frame-line": "#3a3f48"}
    for kind, colour in {
        **{kind: colour for kind, (_, colour) in shapes.STYLES.items()},
        "op": shapes.OTHER[1],
    }.items():
        rows[kind] = _hex(tuple(0.08 + 0.28 * (part - 0.25) for part in shapes.components(colour)))
        rows[f"line-{kind}"] = _hex(tuple(0.72 * part for part in shapes.components(colour)))
    found = "".join(f"--{name}:{colour};" for name, colour in rows.items())
    return f"@media (prefers-color-scheme:dark){{{scope}{{{found}}}}}"


def drawing(arch: Architecture, *, fold: bool = False, values: Mapping[str, object] | None = None) -> Drawing:
    """The graph, with equal blocks in a row drawn once if ``fold``.

    Parameters
    ----------
    arch
        The architecture.
    fold
        Whether to fold; a folded block has a dashed frame that says how often it is repeated.
    values
        A label for each node id.

    Raises
    ------
    ArgumentError
        If the lanes of long edges pass too many rows.
    """
    return _Picture(arch, folded(arch) if fold else _whole(arch), values or {}).drawing()


SMALL = 40
"""Up to this many nodes a graph is shown unfolded where one picture has to do."""
LARGEST = 2_500
"""Most boxes of a picture in a notebook."""


def notebook(arch: Architecture) -> str | None:
    """A picture for notebooks, with repeated blocks folded in larger graphs; None if it would be too large."""
    fold = len(arch.nodes) > SMALL
    shown = folded(arch) if fold else _whole(arch)
    if len(shown.nodes) > LARGEST:
        return None
    try:
        picture = _Picture(arch, shown, {}).drawing()
    except ArgumentError:  # too many long edges
        return None
    size = f"width:{picture.width:.0f}px;max-width:100%;height:auto"
    look = f'class="qcmap-graph" role="img" aria-label="{escape(arch)}" style="{size}"'
    return f'<figure style="margin:0"><style>{style()}</style>{picture.svg(look)}</figure>'


def _whole(arch: Architecture) -> Folded:
    return Folded(tuple(range(len(arch.nodes))), arch.predecessors, ())


class _Picture:
    """What is drawn, and where."""

    def __init__(self, arch: Architecture, shown: Folded, values: Mapping[str, object]) -> None:
        self.arch, self.shown, self.values = arch, shown, values
        self.nodes = [arch.nodes[k] for k in shown.nodes]
        self.blocks = [shown.block(k) for k in shown.nodes]
        scopes = [
            scope if block is None else _repeated(arch, block)
            for scope, block in zip(scopes_of(self.nodes), self.blocks, strict=True)
        ]
        while True:
            self.scopes = scopes
            self.lines = [
                labels.lines(node, values, full=scope is None or (block is not None and not _one_scope(arch, block)))
                for node, scope, block in zip(self.nodes, scopes, self.blocks, strict=True)
            ]
            self.box = _box(self.lines)
            self.layout = self._layout()
            left = ROOM if any(scopes) else 0.0
            self.frames, unframed = frames(scopes, self.layout, self.box, left)
            if not unframed:
                return
            scopes = [None if scope in unframed else scope for scope in scopes]

    def _layout(self) -> Layout:
        return layered(
            self.shown.predecessors, width=self.box[0], height=self.box[1], left=ROOM if any(self.scopes) else 0.0,
            groups=self.scopes, single=SINGLE, proportion=PROPORTION,
        )  # fmt: skip

    def drawing(self) -> Drawing:
        # One page may hold both pictures of a graph; boxes of one name are alike in all graphs.
        size = f"{'folded' if self.shown.blocks else 'whole'}-{_n(self.box[0])}x{_n(self.box[1])}"
        used = dict.fromkeys(shapes.STYLES.get(node.op.kind, shapes.OTHER)[0] for node in self.nodes)
        parts = ["<defs>"]
        parts += [f'<path id="q-{shape}-{size}" d="{_d(shapes.outline(shape, *self.box))}z"/>' for shape in used]
        parts.append("</defs>")
        parts += self._frames()
        strokes = _d(shapes.curves(self.layout.strokes), MARGIN)
        tips = "".join(f"M{_xy(x, y, MARGIN)}l-3,-6.5h6z" for x, y in self.layout.entries.values())
        parts.append(f'<path class="edges" d="{strokes}"/><path class="tips" d="{tips}"/>')
        parts += [self._node(k, size) for k in range(len(self.nodes))]
        width, height = (UNIT * (x + 2 * MARGIN) for x in (self.layout.width, self.layout.height))
        return Drawing("".join(parts), width, height)

    def _frames(self) -> Iterable[str]:
        repeated = {scope for scope, block in zip(self.scopes, self.blocks, strict=True) if block is not None}
        for (scope, _), ((x, y), (u, v)) in self.frames.items():
            kind = "frame repeated" if scope in repeated else "frame"
            box = f'x="{_n(x + MARGIN)}" y="{_n(y + MARGIN)}" width="{_n(u - x)}" height="{_n(v - y)}"'
            letters = int((v - y) / (ADVANCE * labels.GROUP / 72))
            # How often matters most.
            words = scope.partition(",")[0] if scope in repeated and len(scope) > letters else scope
            words = _shortened(words, letters, end=True)
            at = _xy(x + 0.1, (y + v) / 2, MARGIN)
            yield (
                f'<rect class="{kind}" {box} rx="5"/><text class="faint side" text-anchor="middle"'
                f' font-size="{_n(labels.GROUP / 72)}" transform="translate({at}) rotate(-90)">{escape(words)}</text>'
            )

    def _node(self, k: int, size: str) -> str:
        node, lines = self.nodes[k], self.lines[k]
        shape = shapes.STYLES.get(node.op.kind, shapes.OTHER)[0]
        kind = node.op.kind if node.op.kind in shapes.STYLES else "op"
        end = " end" if node.id in self.arch.outputs else ""
        at = _xy(*self.layout.centres[k], MARGIN)
        parts = [
            f'<g class="node {kind}{end}" data-n="{self.shown.nodes[k]}" transform="translate({at})">',
            f'<title>{escape(node.id)}</title><use href="#q-{shape}-{size}"/>',
        ]
        y = -sum(line.points for line in lines) * labels.LINE / 2
        for line in lines:
            look = ' class="faint"' if line.colour == labels.FAINT else ' font-weight="bold"' if line.bold else ""
            words = _shortened(line.text, LONGEST, end=line.end)
            base = _n(y + 0.78 * line.points * labels.LINE)
            parts.append(f'<text y="{base}" font-size="{_n(line.points / 72)}"{look}>{escape(words)}</text>')
            y += line.points * labels.LINE
        return "".join([*parts, "</g>"])


def _one_scope(arch: Architecture, block: Block) -> bool:
    """Whether all nodes of the first repetition are in one scope, so that their last names tell them apart."""
    return len({labels.scope(node.id) for node in arch.nodes[block.first : block.first + block.size]}) == 1


def _repeated(arch: Architecture, block: Block) -> str:
    """What is written beside a folded block."""
    first, last = block.first, block.first + block.size * (block.count - 1)
    times = f"{block.count} times"
    if not _one_scope(arch, block) or not (name := labels.scope(arch.nodes[first].id)):
        return f"{times}, from {arch.nodes[first].id}"
    return f"{times}, {name} to {labels.scope(arch.nodes[last].id).rpartition('.')[2]}"


def _box(lines: list[list[Line]]) -> Point:
    """Width and height of a box that holds every label."""
    wide = max(min(len(line.text), LONGEST) * ADVANCE * line.points for node in lines for line in node) / 72
    high = max(sum(line.points for line in node) for node in lines) * labels.LINE
    return max(wide, 0.7) + PADDING[0], high + PADDING[1]


def _shortened(text: str, letters: int, *, end: bool) -> str:
    """As much of the start (with ``end``, of the end) of a text as fits, and an ellipsis."""
    if len(text) <= letters:
        return text
    kept = max(letters - 1, 0)
    return f"…{text[len(text) - kept :]}" if end else f"{text[:kept]}…"


def _n(inches: float) -> str:
    """A length in user units, short."""
    return f"{inches * UNIT:.1f}".removesuffix(".0")


def _xy(x: float, y: float, margin: float = 0.0) -> str:
    return f"{_n(x + margin)},{_n(y + margin)}"


def _d(pens: Iterable[shapes.Pen], margin: float = 0.0) -> str:
    """Movements of the pen as the data of a path."""
    return "".join(name + " ".join(_xy(x, y, margin) for x, y in points) for name, points in pens)


def _hex(colour: Iterable[float]) -> str:
    return "#" + "".join(f"{round(255 * part):02x}" for part in colour)
