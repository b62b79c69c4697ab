"""Small pieces of a report's page: formulas, reasons, links to nodes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from qcmap._html import Markup, escape

ZETA, PSI, MU = "\N{GREEK SMALL LETTER ZETA}", "\N{GREEK SMALL LETTER PSI}", "\N{GREEK SMALL LETTER MU}"
PHI, PRIME = "\N{GREEK SMALL LETTER PHI}", "\N{PRIME}"
LONG = 420
"""Letters beyond which a formula is folded away."""


def formula(text: str) -> Markup:
    """A slope polynomial as text, such as ``psi^5 (w^2 psi + 1 - w^2)``, with raised exponents."""
    words = escape(text).replace(" - ", " \N{MINUS SIGN} ")
    words = re.sub(r"\^(\d+|\([^()]*\))", r"<sup>\1</sup>", words)
    return Markup(re.sub(r"\bpsi\b", "<i>\N{GREEK SMALL LETTER PSI}</i>", words))


def shown(text: str) -> Markup:
    """A formula on a line of its own, folded away if it is long."""
    if len(text) <= LONG:
        return Markup(f'<p class="formula">{formula(text)}</p>')
    return Markup(
        f"<details><summary>A formula of {len(text):,} letters</summary>"
        f'<p class="formula">{formula(text)}</p></details>'
    )


def reason(what: str, data: Mapping[str, Any]) -> Markup:
    """Why a part cannot be computed."""
    return Markup(f'<p class="reason"><b>{escape(what)} cannot be computed.</b> {escape(data["reason"])}.</p>')


def node(index: Mapping[str, int], name: str) -> Markup:
    """A link that selects a node in the graph."""
    return Markup(f'<a class="id" href="#graph" data-go="{index[name]}">{escape(name)}</a>')


def nodes(index: Mapping[str, int], names: Sequence[str], most: int = 12) -> Markup:
    """Links to nodes; many of them are folded away."""
    links = [node(index, name) for name in names]
    if len(links) <= most:
        return Markup(", ".join(links))
    return Markup(
        f"{', '.join(links[:3])} <details><summary>and {len(links) - 3} more</summary>{', '.join(links[3:])}</details>"
    )


def section(identity: str, title: str, note: str, body: Sequence[str], *, wide: bool = False) -> Markup:
    """A section of the page: a heading with a note beside it, and what it is about."""
    look = ' class="wide"' if wide else ""
    inner = "".join(body) if wide else f'<div class="body">{"".join(body)}</div>'
    heading = f'<h2 id="{identity}-heading">{escape(title)}</h2>'
    head = f"<div>{heading}</div><p>{note}</p>" if wide else f"{heading}<p>{note}</p>"
    return Markup(
        f'<section id="{identity}" aria-labelledby="{identity}-heading"{look}><div class="note">{head}</div>'
        f"{inner}</section>"
    )


def keys(*entries: tuple[str, str]) -> Markup:
    """What the lines of a chart are: (class, words) each."""
    drawn = [
        f'<span><svg class="chart" viewBox="0 0 32 12" aria-hidden="true"><path class="line {look}" d="M0,6H32"/></svg>'
        f"{escape(words)}</span>"
        for look, words in entries
    ]
    return Markup(f'<div class="keys">{"".join(drawn)}</div>')


def tidy(value: float) -> float:
    """A cosine without what rounding leaves of zero."""
    return 0.0 if abs(value) < 5e-14 else value


def sentence(text: str) -> str:
    """The text with a capital in front."""
    return text[:1].upper() + text[1:]


def plural(count: int, word: str) -> str:
    """A count and its noun."""
    return f"{count:,} {word}{'' if count == 1 else 's'}"
