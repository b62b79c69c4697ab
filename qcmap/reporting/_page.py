"""The page: one file, which asks for nothing from anywhere."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

from qcmap._html import escape
from qcmap.architecture import Architecture
from qcmap.architecture._svg import dark_style, style
from qcmap.reporting import _layers as layers
from qcmap.reporting import _sections as sections
from qcmap.reporting._collect import counts
from qcmap.reporting._graph import graph, listing
from qcmap.reporting._map import c_map

Data = dict[str, Any]

POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
"""What a browser may load for the page: nothing but what stands in it."""


def page(arch: Architecture, data: Data, title: str) -> str:
    """The whole page as HTML."""
    picture, view = graph(arch, data)
    curves, drawn = c_map(data)
    parts = {
        "graph": ("Graph", picture),
        "slopes": ("Slopes", sections.slopes(data, arch.index)),
        "maps": ("C map", curves),
        "constants": ("Constants", sections.constants(data)),
        "rules": ("Rules", sections.rules(data, arch.index)),
        "tangent": ("Tangent kernel", layers.tangent(data)),
        **({"measured": ("Measurements", layers.measured(data, arch.index))} if data["measured"] else {}),
        "nodes": ("Nodes", listing(arch, data)),
    }
    links = "".join(f'<li><a href="#{name}">{words}</a></li>' for name, (words, _) in parts.items())
    body = "".join(text for _, text in parts.values())
    home = files("qcmap.reporting")
    css = home.joinpath("page.css").read_text("utf-8") + style() + dark_style()
    script = home.joinpath("page.js").read_text("utf-8")
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{css}</style></head><body>"
        '<a class="skip" href="#graph">To the graph</a>'
        f"<main><header><h1>{escape(title)}</h1><p>{sections.summary(data, counts(data))}</p>"
        f'<nav aria-label="Sections"><ul>{links}</ul></nav></header>{body}'
        f"<footer><p>Made by qcmap {escape(data['version'])}. Everything here is at initialisation, for networks of"
        " infinite width unless it says measured.</p></footer></main>"
        f"{_json('data', data)}{_json('view', {**view, **drawn})}<script>{script}</script></body></html>"
    )


def _json(identity: str, data: Data) -> str:
    """Data for the script; no text in it can end the element or open a comment."""
    text = json.dumps(data, allow_nan=False, separators=(",", ":"), ensure_ascii=False)
    for letter in "<>&\u2028\u2029":
        text = text.replace(letter, f"\\u{ord(letter):04x}")
    return f'<script type="application/json" id="{identity}">{text}</script>'
