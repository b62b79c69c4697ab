"""The shapes and colours of ops in pictures of a graph, and the curves of its edges: data, whatever draws them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from qcmap.architecture._layout import Point

Pen: TypeAlias = "tuple[str, tuple[Point, ...]]"
"""A movement of the pen as SVG has them: M, L, Q (one control point) or C (two), and its points."""

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
EDGE, GROUP_FILL, GROUP_EDGE = "#6b7280", "#f6f7f9", "#c9ced6"
INSET = 0.07
"""What the corners of a shape may take of a box's width at each side, in inches."""


def outline(shape: str, width: float, height: float) -> list[Pen]:
    """The outline of a shape in a box around (0, 0): its corners take at most `INSET` of the width at each side."""
    a, b = width / 2, height / 2
    if shape in ("pill", "round"):
        r = min(b, INSET * (1.8 if shape == "pill" else 1.0), a)
        corners = [(-a, -b), (a, -b), (a, b), (-a, b)]
        toward = [((0, r), (r, 0)), ((-r, 0), (0, r)), ((0, -r), (-r, 0)), ((r, 0), (0, -r))]
        pens: list[Pen] = []
        for (u, v), ((du, dv), (eu, ev)) in zip(corners, toward, strict=True):
            pens += [("L" if pens else "M", ((u + du, v + dv),)), ("Q", ((u, v), (u + eu, v + ev)))]
        return pens
    i = min(INSET, a / 2)
    points = {
        "hexagon": [(-a + i, -b), (a - i, -b), (a, 0), (a - i, b), (-a + i, b), (-a, 0)],
        "octagon": [
            (-a + i, -b), (a - i, -b), (a, -b + i), (a, b - i), (a - i, b), (-a + i, b), (-a, b - i), (-a, -b + i),
        ],
        "slant": [(-a + i, -b), (a, -b), (a - i, b), (-a, b)],
        "funnel": [(-a, -b), (a, -b), (a - i, b), (-a + i, b)],
    }.get(shape, [(-a, -b), (a, -b), (a, b), (-a, b)])  # fmt: skip
    return [("L" if k else "M", (point,)) for k, point in enumerate(points)]


def curves(strokes: Sequence[Sequence[Point]]) -> list[Pen]:
    """Edges along polylines; slanted pieces are curves that leave and arrive vertically."""
    pens: list[Pen] = []
    for stroke in strokes:
        pens.append(("M", (stroke[0],)))
        for (x, y), (u, v) in pairwise(stroke):
            straight = abs(x - u) < 1e-9 or abs(y - v) < 1e-9
            pens.append(("L", ((u, v),)) if straight else ("C", ((x, (y + v) / 2), (u, (y + v) / 2), (u, v))))
    return pens


def components(colour: str) -> tuple[float, float, float]:
    """Red, green and blue of a colour ``#rrggbb``, each from 0 to 1."""
    red, green, blue = (int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5))
    return red, green, blue


def darker(colour: str) -> tuple[float, float, float]:
    """The colour of an outline: darker and more saturated."""
    red, green, blue = (0.75 * part**3.5 for part in components(colour))
    return red, green, blue
