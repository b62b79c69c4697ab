"""The sections of a report: for each part of the data what the page says about it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from qcmap._html import Markup, escape, number, table
from qcmap.reporting import _words as words
from qcmap.reporting._chart import Chart
from qcmap.reporting._words import MU, PHI, PRIME, PSI, ZETA, keys, node, reason, section

Data = dict[str, Any]
Index = Mapping[str, int]

_CONSTANTS = {
    "input_scale": "\N{GREEK SMALL LETTER ALPHA}, input scale",
    "input_shift": "\N{GREEK SMALL LETTER BETA}, input shift",
    "output_shift": "\N{GREEK SMALL LETTER DELTA}, output shift",
    "output_scale": "\N{GREEK SMALL LETTER GAMMA}, output scale",
}


def slopes(data: Data, index: Index) -> Markup:
    """The maximal slope function, its candidates and where zeta is attained."""
    found = data["slope"]
    note = (
        f"If every nonlinear layer has the slope {PSI} = C{PRIME}(1), a subnetwork has a slope that is a polynomial in"
        f" {PSI}. The largest of all is {MU}({PSI}): how far the wiring lets the network bend its inputs."
    )
    if "reason" in found:
        return section("slopes", "Slopes", note, [reason("The maximal slope function", found)])
    body = []
    if found["polynomial"] is not None:
        body += ["<h3>Of the whole network</h3>", words.shown(found["polynomial"]["polynomial"])]
    rows = [
        [
            node(index, one["source"]), node(index, one["target"]), _short(one["polynomial"]), one["degree"],
            ", ".join(f"{PSI} = {number(start, 5)}" for start in one["from"]) or "\N{EN DASH}",
        ]
        for one in found["candidates"]
    ]  # fmt: skip
    heads = ("from", "to", "slope polynomial", "degree", "largest from")
    candidates = table(heads, rows[:50], marks=("id", "id", "formula", "n", "n"))
    more = f'<p class="hint">and {len(rows) - 50} more</p>' if len(rows) > 50 else ""
    heading = f"<h3>The largest: {words.plural(len(rows), 'candidate')}</h3>"
    body.append(f'{heading}<div class="scroll">{candidates}</div>{more}')
    if found["psi"] is None:
        body.append(f'<p class="reason">{escape(found["why"])}.</p>')
        return section("slopes", "Slopes", note, body)
    ends = found["attained"]
    body.append(
        f"<p>{MU}({PSI}) = {data['zeta']:g} at {PSI} = <b>{number(found['psi'], 12)}</b>, attained from"
        f" {node(index, ends['source'])} to {node(index, ends['target'])}.</p>"
    )
    curve = found["curve"]
    chart = Chart(
        curve["psi"], curve["mu"], title=f"Maximal slope function of {data['architecture']}", x_label=PSI,
        y_label=f"{MU}({PSI})",
    )  # fmt: skip
    if len(curve["candidates"]) > 1:
        for values in curve["candidates"]:
            chart.line(curve["psi"], values, "thin")
    chart.line(curve["psi"], curve["mu"], "")
    chart.mark(found["psi"], data["zeta"], f"{ZETA} = {data['zeta']:g}")
    lines = [("", f"{MU}"), ("thin", "candidates")] if len(curve["candidates"]) > 1 else []
    body.append(f"<figure>{chart.svg()}{keys(*lines) if lines else ''}</figure>")
    return section("slopes", "Slopes", note, body)


def _short(text: str) -> Markup:
    return words.formula(text if len(text) <= words.LONG else f"{text[: words.LONG]} ...")


def constants(data: Data) -> Markup:
    """The constants of each activation, and how well they meet their conditions."""
    found = data["constants"]
    note = (
        f"Shaping puts \N{GREEK SMALL LETTER GAMMA} ({PHI}(\N{GREEK SMALL LETTER ALPHA} u +"
        f" \N{GREEK SMALL LETTER BETA}) + \N{GREEK SMALL LETTER DELTA}) in the place of {PHI}(u), at"
        f" {ZETA} = {data['zeta']:g}."
    )
    if "reason" in found:
        return section("constants", "Constants", note, [reason("Constants", found)])
    solved = {**found["activations"], **found.get("nodes", {})}
    rows = [[title, *(one[name] for one in solved.values())] for name, title in _CONSTANTS.items()]
    extra = dict.fromkeys(k for one in solved.values() for k in one if k not in _KNOWN)
    rows += [[name.replace("_", " "), *(one.get(name) for one in solved.values())] for name in extra]
    rows.append(["conditions met", *(", ".join(one["targets"]) for one in solved.values())])
    worst = [max(map(abs, one["residuals"].values())) for one in solved.values()]
    rows.append(["largest residual", *(f"{value:.1e}".replace("-", "\N{MINUS SIGN}") for value in worst)])
    rows.append(["solutions found", *(one["solutions_found"] for one in solved.values())])
    digits = [[row[0], *(number(cell, 13) if isinstance(cell, float) else cell for cell in row[1:])] for row in rows]
    text = table(("", *solved), digits, marks=("", *("n" for _ in solved)))
    warnings = [f'<p class="hint">{escape(words)}</p>' for one in solved.values() for words in one["warnings"]]
    return section("constants", "Constants", note, [f'<div class="scroll">{text}</div>', *warnings])


_KNOWN = {
    *_CONSTANTS, "activation", "psi", "conditions", "targets", "residuals", "solutions_found", "other_solutions",
    "searched", "warnings",
}  # fmt: skip


def rules(data: Data, index: Index) -> Markup:
    """The rules that are broken, each with its remedy."""
    note = "What the theory asks of a wiring. Errors keep a network from being shaped; warnings name a heuristic."
    if not data["rules"]:
        return section("rules", "Rules", note, ["<p>No rule is broken.</p>"])
    return section(
        "rules", "Rules", note, [f'<ul class="rules">{"".join(_rule(row, index) for row in data["rules"])}</ul>']
    )


def _rule(row: Data, index: Index) -> str:
    """A rule, with the message of the first node that breaks it if not all have the same."""
    found = row["found"]
    alike = len({one["message"] for one in found}) == 1
    message = found[0]["message"] if alike else f"{found[0]['node']}: {found[0]['message']}"
    others = "" if alike else f" Likewise {words.plural(len(found) - 1, 'other node')}."
    return (
        f'<li class="{row["severity"]}"><span class="severity">{row["severity"]}</span> {escape(message)}.{others}'
        f" <i>{escape(words.sentence(row['remedy']))}.</i>"
        f'<div class="nodes">{words.nodes(index, [one["node"] for one in found])}</div></li>'
    )


def summary(data: Data, counts: Data) -> str:
    """The first paragraph: what the network is, and what stands out."""
    said = [f"{words.plural(counts['nodes'], 'node')}, {words.plural(counts['activations'], 'activation')},"]
    said.append(f"the longest path passes {words.plural(counts['depth'], 'nonlinear layer')}.")
    psi = data["slope"].get("psi")
    if psi is not None:
        said.append(f"Its largest slope is {data['zeta']:g} when each activation has {PSI} = {number(psi, 7)}.")
    ends = data["values"]["given"].get("c0")
    if ends is not None and (end := ends[_position(data)]) is not None:
        said.append(f"As given it takes orthogonal inputs to the cosine {number(words.tidy(end), 4)}.")
    errors, warnings = counts["errors"], counts["warnings"]
    if errors:
        link = f'<a href="#rules">{words.plural(errors, "node")} break{"s" * (errors == 1)} a rule</a>'
        said.append(f"{link}, so it cannot be shaped as it is.")
    elif warnings:
        link = f'<a href="#rules">{words.plural(warnings, "node")} rest{"s" * (warnings == 1)} on a heuristic</a>'
        said.append(f"No rule is broken; {link}.")
    else:
        said.append("No rule is broken.")
    return " ".join(said)


def _position(data: Data) -> int:
    return next(k for k, node in enumerate(data["nodes"]) if node["id"] == data["outputs"][-1])
