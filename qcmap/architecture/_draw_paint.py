"""The matplotlib artists of an architecture's picture: boxes by the kind of op, edges, groups, legend."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from matplotlib.cm import ScalarMappable
from matplotlib.collections import EllipseCollection, PolyCollection
from matplotlib.colors import LinearSegmentedColormap, LogNorm, Normalize
from matplotlib.patches import PathPatch
from matplotlib.path import Path

from qcmap.architecture import _draw_labels as labels
from qcmap.architecture import _draw_shapes as shapes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from qcmap.architecture._draw_labels import Line
    from qcmap.architecture._layout import Point

RAMP = ("#ffffd9", "#d8f0b8", "#a3dcc3", "#6cc7d3")
"""Colours of values, light enough for dark text."""
BAR = (2.4, 0.11)
"""Width and height of the colour bar, in inches."""


CODES = {
    "M": (Path.MOVETO,),
    "L": (Path.LINETO,),
    "Q": (Path.CURVE3, Path.CURVE3),
    "C": (Path.CURVE4, Path.CURVE4, Path.CURVE4),
}


def path_of(pens: list[shapes.Pen], origin: Point = (0.0, 0.0), *, closed: bool = False) -> Path:
    """The pen's movements from an origin as a matplotlib path."""
    points = [(origin[0] + x, origin[1] + y) for _, points in pens for x, y in points]
    codes = [code for name, _ in pens for code in CODES[name]]
    return Path([*points, points[0]], [*codes, Path.CLOSEPOLY]) if closed else Path(points, codes)


def colouring(numbers: Iterable[float]) -> ScalarMappable:
    """The colour map of values: logarithmic for positive numbers that span more than two decades."""
    least, most = min(numbers), max(numbers)
    norm = LogNorm(least, most) if least > 0 and most > 100 * least else Normalize(least, most)
    return ScalarMappable(norm, LinearSegmentedColormap.from_list("values", RAMP))


@dataclass(frozen=True)
class Brush:
    """Adds artists to axes whose data are inches, y downwards; fonts and lines are ``scale`` times their usual size."""

    axes: Axes
    scale: float

    def text(self, text: str, at: Point, points: float, **options: Any) -> None:
        """A line of text with its baseline at ``at``; ``points`` is the font size before scaling."""
        style = {"ha": "center", "va": "baseline", "color": labels.INK, "zorder": 4, **options}
        self.axes.text(
            *at, text, fontsize=points * self.scale, family=labels.FONT, parse_math=False, usetex=False, **style
        )

    def box(
        self, kind: str, centre: Point, size: Point, *, fill: Any = None, bold: bool = False, name: str | None = None
    ) -> None:
        """A box in the style of its kind; ``fill`` is another colour than the kind's, ``bold`` marks an output."""
        shape, colour = shapes.STYLES.get(kind, shapes.OTHER)
        line = 1.8 if bold else 1.2 if fill is not None else 0.7
        patch = PathPatch(
            path_of(shapes.outline(shape, *size), centre, closed=True),
            facecolor=colour if fill is None else fill, edgecolor=shapes.darker(colour),
            linewidth=line * self.scale, zorder=3,
        )  # fmt: skip
        patch.set_gid(name)
        self.axes.add_patch(patch)

    def label(self, lines: list[Line], centre: Point, width: float) -> None:
        """Lines of text in the middle of a box, shortened to ``width``."""
        x, y = centre
        y -= sum(line.points for line in lines) * labels.LINE / 2
        for line in lines:
            style = {"color": line.colour, "weight": "bold" if line.bold else "normal"}
            self.text(line.within(width), (x, y + 0.75 * line.points * labels.LINE), line.points, **style)
            y += line.points * labels.LINE

    def edges(self, strokes: list[tuple[Point, ...]], ends: Iterable[Point]) -> None:
        """Edges along polylines, with dots where they fork, and their tips.

        Slanted pieces are drawn as curves that leave and arrive vertically.
        """
        if strokes:
            path = path_of(shapes.curves(strokes))
            self.axes.add_patch(
                PathPatch(path, fill=False, edgecolor=shapes.EDGE, linewidth=0.8 * self.scale, zorder=2)
            )
        starts = Counter(stroke[0] for stroke in strokes)
        forks = [point for point, count in starts.items() if count > 1]
        size = [0.045] * len(forks)
        dots = EllipseCollection(
            size, size, [0.0] * len(forks), units="xy", offsets=forks, offset_transform=self.axes.transData,
            facecolors=shapes.EDGE, edgecolors="none", zorder=2.5,
        )  # fmt: skip
        self.axes.add_collection(dots, autolim=False)
        heads = [[(x - 0.028, y - 0.065), (x + 0.028, y - 0.065), (x, y)] for x, y in ends]
        self.axes.add_collection(
            PolyCollection(heads, facecolors=shapes.EDGE, edgecolors="none", zorder=2.5), autolim=False
        )

    def group(self, name: str, low: Point, high: Point) -> None:
        """A shaded rectangle from ``low`` to ``high`` with its name along the left side."""
        (x, y), (u, v) = low, high
        corner = path_of(shapes.outline("round", u - x, v - y), ((x + u) / 2, (y + v) / 2), closed=True)
        style = {
            "facecolor": shapes.GROUP_FILL,
            "edgecolor": shapes.GROUP_EDGE,
            "linewidth": 0.6 * self.scale,
            "zorder": 1,
        }
        self.axes.add_patch(PathPatch(corner, **style))
        text = labels.shortened(name, labels.GROUP, v - y - 0.06, end=True)
        self.text(
            text, (x + 0.075, (y + v) / 2), labels.GROUP, rotation=90, va="center", color=labels.FAINT,
            rotation_mode="default",
        )  # fmt: skip

    def bar(self, colours: ScalarMappable, at: Point) -> None:
        """A horizontal colour bar with its upper left corner at ``at``."""
        (left, right), (bottom, top) = self.axes.get_xlim(), self.axes.get_ylim()
        x, y = (at[0] - left) / (right - left), (bottom - at[1] - BAR[1]) / (bottom - top)
        inset = self.axes.inset_axes((x, y, BAR[0] / (right - left), BAR[1] / (bottom - top)))
        bar = self.axes.figure.colorbar(colours, cax=inset, orientation="horizontal")
        bar.ax.tick_params(labelsize=labels.DETAIL * self.scale, length=2 * self.scale, pad=1.5 * self.scale)
        bar.outline.set_linewidth(0.5 * self.scale)
