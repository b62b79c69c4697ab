"""The matplotlib artists of an architecture's picture: boxes by the kind of op, edges, groups, legend."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from matplotlib.cm import ScalarMappable
from matplotlib.collections import EllipseCollection, PolyCollection
from matplotlib.colors import LinearSegmentedColormap, LogNorm, Normalize, to_rgb
from matplotlib.patches import PathPatch
from matplotlib.path import Path

from qcmap.architecture import _draw_labels as labels

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from qcmap.architecture._draw_labels import Line
    from qcmap.architecture._layout import Point

STYLES: dict[str, tuple[str, str]] = {
    "input": ("pill", "#dedede"),
    "output": ("pill", "#c4c9d1"),
    "affine": ("box", "#cfe1f5"),
    "activation": ("round", "#fddcb5"),
    "sum": ("hexagon", "#cdebc5"),
    "concat": ("hexagon", "#b5e2dc"),
    "multiply": ("hexagon", "#f9c9d4"),
    "scale": ("slant", "#e2daf1"),
    "gate": ("slant", "#f7c6bf"),
    "layer_norm": ("octagon", "#fff3b5"),
    "batch_norm": ("octagon", "#eadca6"),
    "max_pool": ("funnel", "#d9c3e6"),
    "mean_pool": ("funnel", "#e9cfe0"),
    "weighted_mean_pool": ("funnel", "#d5d3ee"),
    "upsample": ("funnel", "#d3e4ee"),
}
"""Shape and colour by the kind of op; any other op is a grey box."""
OTHER = ("box", "#ececec")
RAMP = ("#ffffd9", "#d8f0b8", "#a3dcc3", "#6cc7d3")
"""Colours of values, light enough for dark text."""
EDGE, GROUP_FILL, GROUP_EDGE = "#6b7280", "#f6f7f9", "#c9ced6"
INSET = 0.07
"""What the corners of a shape may take of a box's width at each side, in inches."""
BAR = (2.4, 0.11)
"""Width and height of the colour bar, in inches."""


def outline(shape: str, centre: Point, width: float, height: float) -> Path:
    """The outline of a shape in a box: its corners take at most `INSET` of the width at each side."""
    x, y = centre
    a, b = width / 2, height / 2
    if shape in ("pill", "round"):
        r = min(b, INSET * (1.8 if shape == "pill" else 1.0), a)
        corners = [(-a, -b), (a, -b), (a, b), (-a, b)]
        toward = [((0, r), (r, 0)), ((-r, 0), (0, r)), ((0, -r), (-r, 0)), ((r, 0), (0, -r))]
        points, codes = [], []
        for (u, v), ((du, dv), (eu, ev)) in zip(corners, toward, strict=True):
            points += [(u + du, v + dv), (u, v), (u + eu, v + ev)]
            codes += [Path.LINETO if codes else Path.MOVETO, Path.CURVE3, Path.CURVE3]
    else:
        i = min(INSET, a / 2)
        points = {
            "hexagon": [(-a + i, -b), (a - i, -b), (a, 0), (a - i, b), (-a + i, b), (-a, 0)],
            "octagon": [
                (-a + i, -b), (a - i, -b), (a, -b + i), (a, b - i), (a - i, b), (-a + i, b), (-a, b - i), (-a, -b + i),
            ],
            "slant": [(-a + i, -b), (a, -b), (a - i, b), (-a, b)],
            "funnel": [(-a, -b), (a, -b), (a - i, b), (-a + i, b)],
        }.get(shape, [(-a, -b), (a, -b), (a, b), (-a, b)])  # fmt: skip
        codes = [Path.MOVETO] + [Path.LINETO] * (len(points) - 1)
    vertices = [(x + u, y + v) for u, v in points]
    return Path([*vertices, vertices[0]], [*codes, Path.CLOSEPOLY])


def colouring(numbers: Iterable[float]) -> ScalarMappable:
    """The colour map of values: logarithmic for positive numbers that span more than two decades."""
    least, most = min(numbers), max(numbers)
    norm = LogNorm(least, most) if least > 0 and most > 100 * least else Normalize(least, most)
    return ScalarMappable(norm, LinearSegmentedColormap.from_list("values", RAMP))


def darker(colour: str) -> tuple[float, float, float]:
    """The colour of an outline: darker and more saturated."""
    red, green, blue = (0.75 * part**3.5 for part in to_rgb(colour))
    return red, green, blue


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
        shape, colour = STYLES.get(kind, OTHER)
        line = 1.8 if bold else 1.2 if fill is not None else 0.7
        patch = PathPatch(
            outline(shape, centre, *size), facecolor=colour if fill is None else fill, edgecolor=darker(colour),
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

    def edges(self, strokes: list[tuple[Point, ...]], tips: Iterable[Point]) -> None:
        """Edges along polylines, with dots where they fork, and their tips.

        Slanted pieces are drawn as curves that leave and arrive vertically.
        """
        points: list[Point] = []
        codes: list[Any] = []
        for stroke in strokes:
            points.append(stroke[0])
            codes.append(Path.MOVETO)
            for (x, y), (u, v) in pairwise(stroke):
                if abs(x - u) < 1e-9 or abs(y - v) < 1e-9:
                    points.append((u, v))
                    codes.append(Path.LINETO)
                else:
                    points += [(x, (y + v) / 2), (u, (y + v) / 2), (u, v)]
                    codes += [Path.CURVE4] * 3
        if points:
            path = Path(points, codes)
            self.axes.add_patch(PathPatch(path, fill=False, edgecolor=EDGE, linewidth=0.8 * self.scale, zorder=2))
        starts = Counter(stroke[0] for stroke in strokes)
        forks = [point for point, count in starts.items() if count > 1]
        size = [0.045] * len(forks)
        dots = EllipseCollection(
            size, size, [0.0] * len(forks), units="xy", offsets=forks, offset_transform=self.axes.transData,
            facecolors=EDGE, edgecolors="none", zorder=2.5,
        )  # fmt: skip
        self.axes.add_collection(dots, autolim=False)
        heads = [[(x - 0.028, y - 0.065), (x + 0.028, y - 0.065), (x, y)] for x, y in tips]
        self.axes.add_collection(PolyCollection(heads, facecolors=EDGE, edgecolors="none", zorder=2.5), autolim=False)

    def group(self, name: str, low: Point, high: Point) -> None:
        """A shaded rectangle from ``low`` to ``high`` with its name along the left side."""
        (x, y), (u, v) = low, high
        corner = outline("round", ((x + u) / 2, (y + v) / 2), u - x, v - y)
        style = {"facecolor": GROUP_FILL, "edgecolor": GROUP_EDGE, "linewidth": 0.6 * self.scale, "zorder": 1}
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
