"""Small charts as SVG: axes, lines and points in the page's own colours."""

from __future__ import annotations

import math
from collections.abc import Sequence

from qcmap._html import escape, number

WIDTH, HEIGHT = 460, 300
LEFT, RIGHT, TOP, BOTTOM = 58, 12, 14, 40

Values = Sequence[float | None]


class Chart:
    """A chart under construction: `line` and `points` add to it, `svg` ends it.

    Parameters
    ----------
    x, y
        The values that have to fit; with ``log_y`` those of y that are positive.
    title
        What is shown, for those who do not see it.
    log_y
        Whether y is drawn logarithmically.
    """

    def __init__(
        self, x: Values, y: Values, *, title: str, x_label: str, y_label: str, log_y: bool = False,
        height: int = HEIGHT,
    ) -> None:  # fmt: skip
        self.title, self.x_label, self.y_label, self.log_y, self.height = title, x_label, y_label, log_y, height
        self.x_range = _range([v for v in x if v is not None])
        self.y_range = _range([self._y(v) for v in y if v is not None and (v > 0 or not log_y)])
        self.parts: list[str] = []

    def _y(self, value: float) -> float:
        return math.log10(value) if self.log_y else value

    def at(self, x: float, y: float) -> tuple[float, float]:
        """A point of the chart in units of the SVG."""
        (x0, x1), (y0, y1) = self.x_range, self.y_range
        return (
            LEFT + (x - x0) / (x1 - x0) * (WIDTH - LEFT - RIGHT),
            self.height - BOTTOM - (self._y(y) - y0) / (y1 - y0) * (self.height - TOP - BOTTOM),
        )

    def _drawn(self, x: Values, y: Values) -> list[tuple[float, float] | None]:
        return [
            None if a is None or b is None or (self.log_y and b <= 0) else self.at(a, b)
            for a, b in zip(x, y, strict=True)
        ]

    def line(self, x: Values, y: Values, look: str) -> None:
        """A line, broken where a value is missing; ``look`` is its class."""
        steps, pen = [], "M"
        for point in self._drawn(x, y):
            if point is None:
                pen = "M"
                continue
            steps.append(f"{pen}{point[0]:.1f},{point[1]:.1f}")
            pen = "L"
        self.parts.append(f'<path class="line {look}" d="{"".join(steps)}"/>')

    def points(self, x: Values, y: Values, look: str) -> None:
        """A dot for each pair."""
        dots = [
            f"M{p[0] - 2.2:.1f},{p[1]:.1f}a2.2,2.2 0 1 0 4.4,0a2.2,2.2 0 1 0 -4.4,0" for p in self._drawn(x, y) if p
        ]
        self.parts.append(f'<path class="dots {look}" d="{"".join(dots)}"/>')

    def bars(self, x: Values, low: Values, high: Values, look: str) -> None:
        """A vertical bar for each x."""
        ends = zip(self._drawn(x, low), self._drawn(x, high), strict=True)
        bars = [f"M{a[0]:.1f},{a[1]:.1f}V{b[1]:.1f}" for a, b in ends if a and b]
        self.parts.append(f'<path class="line {look}" d="{"".join(bars)}"/>')

    def mark(self, x: float, y: float, text: str) -> None:
        """A point with lines to both axes, and what it is."""
        u, v = self.at(x, y)
        floor = self.height - BOTTOM
        left = u > WIDTH - 160
        self.parts.append(
            f'<path class="line mark" d="M{LEFT},{v:.1f}H{u:.1f}V{floor}"/>'
            f'<circle class="dots mark" cx="{u:.1f}" cy="{v:.1f}" r="3.5"/>'
            f'<text x="{u + (-8 if left else 8):.1f}" y="{v + 16:.1f}"{" text-anchor=end" if left else ""}>'
            f"{escape(text)}</text>".replace("text-anchor=end", 'text-anchor="end"')
        )

    def svg(self) -> str:
        """The whole chart."""
        floor = self.height - BOTTOM
        axes: list[str] = []
        for value in ticks(*self.x_range):
            u = LEFT + (value - self.x_range[0]) / (self.x_range[1] - self.x_range[0]) * (WIDTH - LEFT - RIGHT)
            axes.append(
                f'<path class="tick" d="M{u:.1f},{floor}v4"/>'
                f'<text x="{u:.1f}" y="{floor + 17}" text-anchor="middle">{number(value)}</text>'
            )
        for value in ticks(*self.y_range, whole=self.log_y):
            v = floor - (value - self.y_range[0]) / (self.y_range[1] - self.y_range[0]) * (floor - TOP)
            words = number(value) if not self.log_y else _power(value)
            axes.append(
                f'<path class="grid" d="M{LEFT},{v:.1f}H{WIDTH - RIGHT}"/>'
                f'<text x="{LEFT - 7}" y="{v + 4:.1f}" text-anchor="end">{words}</text>'
            )
        middle = (LEFT + WIDTH - RIGHT) / 2
        return (
            f'<svg class="chart" viewBox="0 0 {WIDTH} {self.height}" role="img" aria-label="{escape(self.title)}">'
            f'{"".join(axes)}<path class="axis" d="M{LEFT},{TOP}V{floor}H{WIDTH - RIGHT}"/>{"".join(self.parts)}'
            f'<text class="label" x="{middle}" y="{self.height - 5}" text-anchor="middle">{escape(self.x_label)}</text>'
            f'<text class="label" text-anchor="middle" transform="translate(13 {(TOP + floor) / 2}) rotate(-90)">'
            f"{escape(self.y_label)}</text></svg>"
        )


def _range(values: list[float]) -> tuple[float, float]:
    """An interval with room around the values."""
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    room = 0.04 * (high - low) or max(abs(high), 1.0) * 0.05
    return (low if low == 0 else low - room), high + room


def _power(value: float) -> str:
    power = number(value)
    return f'10<tspan dy="-5" font-size="9">{power}</tspan>'


def ticks(low: float, high: float, *, whole: bool = False) -> list[float]:
    """Three to seven round numbers in an interval; ``whole`` ones if asked for, if only one."""
    step = 10 ** math.floor(math.log10((high - low) / 3))
    step = next(step * k for k in (1, 2, 5, 10) if (high - low) / (step * k) <= 6)
    if whole:
        step = max(1.0, math.ceil(step))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    digits = max(0, -math.floor(math.log10(step)))
    return [round(k * step, digits) + 0.0 for k in range(first, last + 1)]
