"""The words in the picture of an architecture: what they say and how wide they are."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from numbers import Number, Real
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from qcmap.architecture._node import Node
    from qcmap.architecture._ops import Weight

ID, DETAIL, VALUE, GROUP, TITLE = 7.0, 6.0, 6.5, 6.0, 11.0
"""Font sizes, in points."""
LINE = 1.2 / 72
"""The height of a line of text, in inches for each point of the font size."""
INK, FAINT = "#1f2430", "#485060"
FONT = "DejaVu Sans"
"""The font, which comes with matplotlib, so that it is there and its widths are known."""


@lru_cache(maxsize=20_000)
def width(text: str, points: float) -> float:
    """The width of a line of text, in inches, at a font size in points; of its first 300 characters if it is longer."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path

    font = FontProperties(family=FONT, size=points)
    # Small sizes are rounded to whole pixels when drawn, hence the allowance.
    return 1.06 * text_to_path.get_text_width_height_descent(text[:300], font, ismath=False)[0] / 72


def shortened(text: str, points: float, room: float, *, end: bool = False) -> str:
    """The text, or as much of its start (with ``end``, of its end) as fits in ``room`` inches, and an ellipsis."""
    if width(text, points) <= room and len(text) <= 300:
        return text
    low, high = 0, min(len(text), 300)
    while low < high:
        middle = (low + high + 1) // 2
        part = text[len(text) - middle :] if end else text[:middle]
        low, high = (middle, high) if width(f"{part}…", points) <= room else (low, middle - 1)
    return f"…{text[len(text) - low :]}" if end else f"{text[:low]}…"


def scope(node: str) -> str:
    """The group of a node: its id without the last component."""
    return node.rpartition(".")[0]


def detail(node: Node) -> str:
    """What the op's data say, in a few characters; empty if there is nothing to say."""
    op, kind = node.op, node.op.kind
    if kind in ("activation", "gate"):
        return str(getattr(op, "name", ""))
    if kind == "sum":
        weights: tuple[Weight, ...] = getattr(op, "weights", ())
        return ", ".join(_plain(w) for w in weights) if len(weights) <= 3 else f"{len(weights)} branches"
    if kind == "scale":
        return f"times {_plain(getattr(op, 'factor', ''))}"
    kernel, stride, channels = (getattr(op, name, None) for name in ("kernel", "stride", "channels"))
    parts = ["x".join(map(str, kernel))] if kernel else []
    parts += [str(channels)] if channels is not None else []
    parts += [f"/{stride}"] if kernel and stride not in (1, None) else []
    return ", ".join(parts)


@dataclass(frozen=True, slots=True)
class Line:
    """A line of text in a box: its font size in points, bold or not, its colour, which end is kept if it is long."""

    text: str
    points: float
    bold: bool = False
    colour: str = INK
    end: bool = False

    @property
    def width(self) -> float:
        """In inches."""
        return width(self.text, self.points)

    def within(self, room: float) -> str:
        """The text, shortened to ``room`` inches."""
        return shortened(self.text, self.points, room, end=self.end)


def lines(node: Node, values: Mapping[str, object], *, full: bool) -> list[Line]:
    """The lines of a node's box: its id (or the last component of it), its op's data and its value."""
    result = [Line(node.id if full else node.id.rpartition(".")[2] or node.id, ID, end=True)]
    if text := detail(node):
        result.append(Line(text, DETAIL, colour=FAINT))
    if node.id in values:
        result.append(Line(label(values[node.id]), VALUE, bold=True))
    return result


def _plain(value: object) -> str:
    text = label(value)
    return text if not isinstance(value, float) or len(text) < 6 else f"{value:.3g}"


def number(value: object) -> float | None:
    """The value as a finite real number, or None; an array or tensor with one element counts as a number."""
    value = _item(value)
    if isinstance(value, bool) or not isinstance(value, Real):
        return None
    try:
        result = float(value)
    except (OverflowError, TypeError, ValueError):
        return None
    return result if math.isfinite(result) else None


def _item(value: object) -> object:
    item = getattr(value, "item", None)
    if callable(item):
        try:
            return item()
        except (TypeError, ValueError, RuntimeError):
            return value
    return value


def label(value: object) -> str:
    """A number with four significant digits, anything else as `str` gives it, on one line."""
    value = _item(value)
    if isinstance(value, Number) and not isinstance(value, bool):
        try:
            return format(float(value) if isinstance(value, Real) else value, ".4g")
        except (OverflowError, TypeError, ValueError):
            pass
    return " ".join(str(value).split())
