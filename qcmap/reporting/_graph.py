"""The graph of a report: the picture, whole and with equal blocks folded, and what its boxes can be coloured by."""

from __future__ import annotations

from typing import Any

from qcmap._html import Markup, escape, table
from qcmap.architecture import Architecture
from qcmap.architecture._repeats import folded
from qcmap.architecture._svg import LARGEST, SMALL, drawing
from qcmap.errors import ArgumentError
from qcmap.reporting import _words as words

WHOLE = LARGEST
"""Most nodes of a graph that is drawn, and listed, node by node; a larger one is folded."""

Data = dict[str, Any]


def graph(arch: Architecture, data: Data) -> tuple[Markup, Data]:
    """The section, and what the page's script needs for it."""
    blocks = folded(arch).blocks
    pictures = _pictures(arch, folds=bool(blocks))
    view: Data = {
        "blocks": [{"first": b.first, "size": b.size, "count": b.count} for b in blocks],
        "colours": _colours(data),
        "kinds": list(dict.fromkeys(node["op"] for node in data["nodes"])),
        "rulesOf": _rules_of(data),
    }
    note = (
        "Boxes are layers, read downwards and then by columns; dashed frames are blocks that are repeated. Drag to"
        " move, hold Ctrl and turn the wheel to zoom; with the keyboard, arrows move, + and \N{MINUS SIGN} zoom, 0"
        " fits, n and p go from node to node."
    )
    names = "".join(f'<option value="{escape(node["id"])}">' for node in data["nodes"][:WHOLE])
    body = [
        _controls(view, both=len(pictures) == 2, start=next(iter(pictures), "yes")),
        _canvas(arch, pictures),
        '<div class="legend" id="legend" aria-live="polite"></div>',
        '<div class="chosen" id="chosen" role="region" aria-label="The chosen node" aria-live="polite">'
        '<p class="hint">Choose a box to read what is known of it.</p></div>',
        f'<datalist id="names">{names}</datalist>',
    ]
    return words.section("graph", "The graph", note, body, wide=True), view


def _pictures(arch: Architecture, *, folds: bool) -> dict[str, str]:
    """SVG elements by whether blocks are folded, the one to show first in front; none if the graph is too large."""
    order = (["yes"] if folds else []) + (["no"] if len(arch.nodes) <= WHOLE else [])
    if len(arch.nodes) <= SMALL:
        order.reverse()
    found: dict[str, str] = {}
    for fold in order:
        try:
            picture = drawing(arch, fold=fold == "yes")
        except ArgumentError:  # too many long edges
            continue
        if picture.body.count('class="node ') > WHOLE:
            continue
        label = f"Graph of {arch.name}{' with repeated blocks folded' if fold == 'yes' else ''}; its nodes are listed"
        attributes = f'class="qcmap-graph" data-folded="{fold}" role="img" aria-label="{escape(label)} below"'
        found[fold] = picture.svg(attributes + (" hidden" if found else ""))
    return found


def _canvas(arch: Architecture, pictures: dict[str, str]) -> str:
    if not pictures:
        return f'<p class="reason">The graph of {len(arch.nodes):,} nodes is too large to draw.</p>'
    return (
        '<div class="canvas" id="canvas" tabindex="0" role="group" aria-label="Graph, movable and zoomable">'
        f"{''.join(pictures.values())}</div>"
    )


def _controls(view: Data, *, both: bool, start: str) -> str:
    options = "".join(f'<option value="{name}">{one["title"]}</option>' for name, one in view["colours"].items())
    radios = ""
    if both:
        choices = "".join(
            f'<label><input type="radio" name="fold" value="{value}"{" checked" * (value == start)}> {text}</label>'
            for value, text in (("yes", "folded"), ("no", "all"))
        )
        radios = f"<fieldset><legend>Blocks</legend>{choices}</fieldset>"
    return (
        f'<div class="controls"><label>Coloured by <select id="colour">{options}</select></label>{radios}'
        '<label>Find <input id="find" type="search" list="names" autocomplete="off"></label>'
        '<span class="hint" id="found" role="status"></span><span class="buttons">'
        '<button id="zoom-out" aria-label="Zoom out">\N{MINUS SIGN}</button>'
        '<button id="zoom-in" aria-label="Zoom in">+</button><button id="zoom-fit">Fit</button></span></div>'
    )


def _colours(data: Data) -> Data:
    """What boxes can be coloured by: values either lie in the data (``at``) or are given here."""
    found: Data = {"kind": {"title": "kind of layer", "kind": "kinds"}, "rules": {"title": "rules", "kind": "rules"}}
    zeta = f"shaped, \N{GREEK SMALL LETTER ZETA} = {data['zeta']:g}"
    titles = {
        "slope": "slope C\N{PRIME}(1) from the inputs",
        "q": "q value",
        "c0": "c value of orthogonal inputs",
    }
    for name, title in titles.items():
        for which, added in (("shaped", zeta), ("given", "as given")):
            values = data["values"][which].get(name)
            if values is not None and any(value is not None for value in values):
                at = ["values", which, name]
                found[f"{name}-{which}"] = {"title": f"{title}, {added}", "kind": "values", "at": at}
    for which, added in (("shaped", zeta), ("given", "as given")):
        terms = data["tangent"][which].get("terms")
        if terms:
            values = [terms.get(node["id"], [None])[0] for node in data["nodes"]]
            found[f"tangent-{which}"] = {
                "title": f"tangent kernel of the layer at c = 1, {added}", "kind": "values", "values": values,
            }  # fmt: skip
    for one in data["measured"]:
        if "rows" in one:
            rows = {row["node"]: row["score"] for row in one["rows"]}
            values = [rows.get(node["id"]) for node in data["nodes"]]
            found[f"measured-{len(found)}"] = {
                "title": f"departure from the prediction in sampling errors, {one['what']}", "kind": "values",
                "values": values,
            }  # fmt: skip
    return found


def _rules_of(data: Data) -> dict[str, list[int]]:
    """For each position of a node that breaks rules, their places in the list of rules."""
    index = {node["id"]: k for k, node in enumerate(data["nodes"])}
    found: dict[str, list[int]] = {}
    for place, row in enumerate(data["rules"]):
        for one in row["found"]:
            found.setdefault(str(index[one["node"]]), []).append(place)
    return found


def listing(arch: Architecture, data: Data) -> Markup:
    """The graph as a table: what it shows, for those who do not see it."""
    positions = range(len(data["nodes"])) if len(data["nodes"]) <= WHOLE else folded(arch).nodes
    index = arch.index
    columns = {
        "q, as given": data["values"]["given"].get("q"),
        "slope, as given": data["values"]["given"].get("slope"),
        "slope, shaped": data["values"]["shaped"].get("slope"),
    }
    columns = {title: values for title, values in columns.items() if values is not None}
    broken = {one["node"] for row in data["rules"] for one in row["found"]}
    rows = []
    for k in list(positions)[:WHOLE]:
        node = data["nodes"][k]
        reads = Markup(", ".join(escape(data["nodes"][u]["id"]) for u in node["reads"]) or "\N{EN DASH}")
        what = f"{node['op'].replace('_', ' ')}{', ' if node['detail'] else ''}{node['detail']}"
        rules = "breaks a rule" if node["id"] in broken else ""
        rows.append([words.node(index, node["id"]), what, reads, *(v[k] for v in columns.values()), rules])
    head = ["node", "layer", "reads", *columns, "rules"]
    marks = ["id", "", "id", *("n" for _ in columns), ""]
    title = "The nodes" if len(rows) == len(arch.nodes) else f"{len(rows):,} of the {len(arch.nodes):,} nodes"
    text = table(head, rows, caption="In the order in which they are computed.", marks=marks)
    note = "What the graph shows, in words. Slopes are C\N{PRIME}(1) from the inputs to the node."
    inner = f'<details><summary>Show the table</summary><div class="scroll" tabindex="0">{text}</div></details>'
    return words.section("nodes", title, note, [inner])
