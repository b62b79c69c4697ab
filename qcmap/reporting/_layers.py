"""The sections that go layer by layer: the tangent kernel, and predictions against measurements."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from qcmap._html import Markup, escape, number, table
from qcmap.reporting import _words as words
from qcmap.reporting._chart import Chart
from qcmap.reporting._words import ZETA, keys, reason, section, sentence

Data = dict[str, Any]
Index = Mapping[str, int]


def tangent(data: Data) -> Markup:
    """The tangent kernel, layer by layer."""
    found = data["tangent"]
    note = (
        "The part of each layer's parameters in the tangent kernel of an infinitely wide network at initialisation,"
        " which says how fast gradient descent moves its outputs, for pairs of inputs of cosine c."
    )
    body, figures, rows = [], [], []
    for which, title in (("shaped", f"shaped, {ZETA} = {data['zeta']:g}"), ("given", "as given")):
        part = found[which]
        if "reason" in part:
            body.append(reason(f"The tangent kernel, {title},", part))
            continue
        terms = list(part["terms"].values())
        x = [float(k) for k in range(1, len(terms) + 1)]
        values = [[term[k] for term in terms] for k in range(len(found["c"]))]
        known = [abs(v) for line in values for v in line if v]
        log = bool(known) and min(line for line in values[0] if line or line == 0) >= 0 and max(known) > 1e3 * max(
            min((abs(v) for v in values[0] if v), default=1.0), 1e-300
        )  # fmt: skip
        chart = Chart(
            x, [v for line in values for v in line], title=f"Tangent kernel by layer, {title}", x_label="layer",
            y_label="tangent kernel", log_y=log,
        )  # fmt: skip
        for line, look in zip(values, ("", "second", "third"), strict=True):
            chart.line(x, line, look)
        total = ", ".join(f"{number(v, 5)} at c = {c:g}" for v, c in zip(part["total"], found["c"], strict=True))
        figures.append(
            f"<figure>{chart.svg()}<figcaption>{escape(sentence(title))}. In all: {total}.</figcaption></figure>"
        )
        rows.append((title, part["terms"]))
    if figures:
        looks = zip(("", "second", "third"), (f"c = {c:g}" for c in found["c"]), strict=True)
        body.append(f'<div class="pair">{"".join(figures)}</div>{keys(*looks)}')
        body.append(_terms(rows, found["c"]))
    return section("tangent", "Tangent kernel, by layer", note, body)


def _terms(parts: Sequence[tuple[str, Mapping[str, Sequence[float]]]], c: Sequence[float]) -> str:
    """The terms as a table; of very many layers the first thousand."""
    names = list(parts[0][1])[:1000]
    head = ["layer", *(f"c = {one:g}, {title}" for title, _ in parts for one in c)]
    rows = [[name, *(value for _, terms in parts for value in terms[name])] for name in names]
    text = table(head, rows, marks=("id", *("n" for _ in head[1:])))
    return f'<details><summary>Values, layer by layer</summary><div class="scroll" tabindex="0">{text}</div></details>'


def measured(data: Data, index: Index) -> Markup:
    """Predictions against measurements, for each version of the model that was measured."""
    note = (
        "The q and c values of the model's own feature maps beside those that its maps predict. A departure counts in"
        " sampling errors: how far random networks of this wiring and these widths scatter."
    )
    body: list[str] = []
    for one in data["measured"]:
        body.append(f"<h3>{escape(sentence(one['what']))}</h3>")
        if "reason" in one:
            body.append(reason("A comparison", one))
            continue
        rows, off = one["rows"], one["disagreeing"]
        limit = number(one["threshold"], 3)
        verdict = f"No node departs by more than {limit} sampling errors."
        if off:
            many = "departs" if len(off) == 1 else "depart"
            verdict = (
                f"{words.plural(len(off), 'node')} of {len(rows)} {many} by more than {limit} sampling errors:"
                f" {words.nodes(index, off)}"
            )
        body.append(f"<div>{verdict}</div>")
        body.append(f'<div class="pair">{_measured_charts(one)}</div>')
        text = table(
            ("node", "q", "predicted", "sampling error", "c off by", "score"),
            [[row["node"], *(_four(row[k]) for k in _COLUMNS)] for row in rows[:1000]],
            caption=f"{one['samples']} samples, {one['pairs']} pairs, {one['networks']} sampled networks.",
            marks=("id", "n", "n", "n", "n", "n"),
        )
        body.append(
            f'<details><summary>Values, node by node</summary><div class="scroll" tabindex="0">{text}</div></details>'
        )
    return section("measured", "Predictions against measurements", note, body)


_COLUMNS = ("q", "q_predicted", "q_error", "c_deviation", "score")


def _four(value: float | None) -> str:
    return number(value, 4)


def _measured_charts(one: Data) -> str:
    rows = one["rows"]
    x = [float(k) for k in range(len(rows))]
    q = [row["q"] for row in rows]
    predicted = [row["q_predicted"] for row in rows]
    error = [row["q_error"] or 0.0 for row in rows]
    low = [a - 2 * e for a, e in zip(predicted, error, strict=True)]
    high = [a + 2 * e for a, e in zip(predicted, error, strict=True)]
    log = min(*q, *predicted) > 0 and max(*q, *predicted) > 100 * min(*q, *predicted)
    low = [max(v, min(*q, *predicted)) for v in low] if log else low
    first = Chart(
        x, [*q, *predicted, *low, *high], title=f"q values of the model {one['what']}", x_label="node, in order",
        y_label="q", log_y=log, height=250,
    )  # fmt: skip
    first.bars(x, low, high, "thin")
    first.line(x, predicted, "second")
    first.points(x, q, "")
    score = [row["score"] for row in rows]
    second = Chart(
        x, [0.0, one["threshold"], *score], title=f"Departures of the model {one['what']}", x_label="node, in order",
        y_label="departure, sampling errors", height=250, log_y=max((s for s in score if s), default=0.0) > 100,
    )  # fmt: skip
    second.line([x[0], x[-1]], [one["threshold"]] * 2, "third")
    second.points(x, score, "")
    return (
        f"<figure>{first.svg()}<figcaption>Dots are measured; the line is predicted, bars are two sampling errors."
        f"</figcaption></figure><figure>{second.svg()}<figcaption>Above the dotted line a node disagrees.</figcaption>"
        "</figure>"
    )
