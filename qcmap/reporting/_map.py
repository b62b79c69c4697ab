"""The section on C maps: a curve that two sliders move through depth and slope bound."""

from __future__ import annotations

from typing import Any

from qcmap._html import Markup, number, table
from qcmap.reporting._words import PRIME, PSI, ZETA, keys, reason, section

Data = dict[str, Any]

MAP = {"size": 330, "left": 44, "top": 12}
"""The square in which C maps are drawn, in units of its SVG."""
READ = {
    "psi": f"{PSI}, of each layer",
    "slope": f"C{PRIME}(1)",
    "c0": "C(0)",
    "cm": "C(\N{MINUS SIGN}1)",
}
"""The numbers beside the curve, by the names that the script knows."""


def c_map(data: Data) -> tuple[Markup, Data]:
    """The C map by depth and slope bound, with sliders; and where its script draws."""
    found = data["maps"]
    note = (
        "What becomes of the cosine c of two inputs on its way through the network: the identity keeps all angles, a"
        f" flat curve forgets them. {ZETA} is the bound that shaping puts on all slopes."
    )
    given, shaped = found["given"], found["shaped"]
    reasons = [reason("The C map of the activations as they are", given)] if "reason" in given else []
    if all("reason" in one for one in shaped):
        reasons.append(reason("The C map of the shaped network", shaped[0]))
    if len(reasons) == 2:
        return section("maps", "The C map, by depth", note, reasons), {}
    size, left, top = MAP["size"], MAP["left"], MAP["top"]
    start, last = next(k for k, one in enumerate(shaped) if one["zeta"] == data["zeta"]), len(found["stops"]) - 1
    figure = (
        f'<figure><svg class="chart" id="map" viewBox="0 0 {left + size + 12} {top + size + 42}" role="img"'
        f' aria-label="C map from the inputs to the chosen layer; its values are in the table below">{_square()}'
        '<g class="others"><path id="others"/></g><path class="line given" id="given"/>'
        '<path class="line" id="curve"/></svg>'
        + keys(("", "shaped"), ("given", "as given"), ("third", "identity"))
        + "</figure>"
    )
    sliders = (
        '<div class="sliders"><label for="zeta">Global slope bound '
        f'{ZETA} = <output id="zeta-value" for="zeta"></output></label>'
        f'<input type="range" id="zeta" min="0" max="{len(shaped) - 1}" step="0.05" value="{start}">'
        '<label for="depth">Up to <output id="depth-value" class="id" for="depth"></output></label>'
        f'<input type="range" id="depth" min="0" max="{last}" step="1" value="{last}"></div>'
    )
    cells = [
        [title, *(Markup(f'<span id="read-{which}{name}"></span>') for which in ("", "given-"))]
        for name, title in READ.items()
    ]
    readout = table(("", "shaped", "as given"), cells, marks=("", "n", "n"))
    bounds = ", ".join(f"{one['zeta']:g}" for one in shaped)
    hint = (
        f'<p class="hint">Computed at {ZETA} = {bounds}; in between curves are'
        " interpolated. Thin lines are the other depths.</p>"
        '<p class="reason" id="map-reason" role="status"></p>'
    )
    rows = [[c, "", ""] for c in found["c"]]
    numbers = table(("c", "shaped", "as given"), rows, marks=("n", "n", "n"))
    values = (
        f'<details id="map-table"><summary>Values of these curves</summary><div class="scroll" tabindex="0">{numbers}'
        "</div></details>"
    )
    static = _static(data, start, last)
    body = [*reasons, f'<div class="pair">{figure}<div>{sliders}{readout}{hint}{values}</div></div>', static]
    return section("maps", "The C map, by depth", note, body), {"chart": MAP}


def _static(data: Data, start: int, last: int) -> str:
    """The curve in numbers, where scripts do not run."""
    curve = data["maps"]["shaped"][start].get("C")
    if curve is None:
        return ""
    rows = list(zip(data["maps"]["c"], curve[last], strict=True))
    return f"<noscript>{table(('c', 'C(c), shaped'), rows, marks=('n', 'n'))}</noscript>"


def _square() -> str:
    """Axes of the C map, and the identity."""
    size, left, top = MAP["size"], MAP["left"], MAP["top"]
    parts = []
    for value in (-1.0, -0.5, 0.0, 0.5, 1.0):
        u, v = left + (value + 1) / 2 * size, top + (1 - value) / 2 * size
        parts.append(
            f'<path class="grid" d="M{left},{v:.1f}h{size}M{u:.1f},{top}v{size}"/>'
            f'<text x="{left - 6}" y="{v + 4:.1f}" text-anchor="end">{number(value)}</text>'
            f'<text x="{u:.1f}" y="{top + size + 17}" text-anchor="middle">{number(value)}</text>'
        )
    parts.append(
        f'<path class="line third" d="M{left},{top + size}l{size},-{size}"/>'
        f'<text class="label" x="{left + size / 2}" y="{top + size + 36}" text-anchor="middle">c of the inputs</text>'
        f'<text class="label" text-anchor="middle" transform="translate(12 {top + size / 2}) rotate(-90)">C(c)</text>'
    )
    return "".join(parts)
