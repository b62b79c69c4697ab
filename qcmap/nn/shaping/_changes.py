"""What shaping did to a model, node by node, and why."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Literal

from qcmap.architecture import Violation

Kind = Literal[
    "activation", "sum", "batch_norm", "layer_norm", "pool", "scale", "bias", "weights", "hook", "kept"
]  # fmt: skip


@dataclass(frozen=True)
class Change:
    """One change: the node, what it was, what it is now, and the reason with its place in the paper."""

    node: str
    kind: Kind
    before: str
    after: str
    why: str


@dataclass(frozen=True)
class Report:
    """All that `qcmap.nn.shape` changed and all that the result rests on.

    ``str(report)`` is Markdown.

    Attributes
    ----------
    model, method
        The name of the architecture, and the method with its parameters, in words.
    changes
        What was replaced, removed or initialised, in the order of the network.
    warnings
        The heuristics that the predictions rest on.
    """

    model: str
    method: str
    changes: tuple[Change, ...]
    warnings: tuple[Violation, ...] = ()

    def counts(self) -> dict[str, int]:
        """How many changes of each kind there are."""
        found: dict[str, int] = {}
        for change in self.changes:
            found[change.kind] = found.get(change.kind, 0) + 1
        return found

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain data."""
        return {
            "model": self.model,
            "method": self.method,
            "changes": [asdict(change) for change in self.changes],
            "warnings": [asdict(warning) for warning in self.warnings],
        }

    def __str__(self) -> str:
        lines = [f"# {self.model}, shaped", "", self.method, "", *_table(self.changes)]
        if self.warnings:
            lines += ["", "## What the predictions rest on", ""]
            lines += [f"- `{w.node}`: {w.message}; {w.remedy}" for w in self.warnings]
        return "\n".join(lines)

    def __repr__(self) -> str:
        counts = ", ".join(f"{n} {kind}" for kind, n in self.counts().items())
        return f"<report on {self.model}: {counts or 'nothing changed'}>"


def _table(changes: Iterable[Change]) -> list[str]:
    """A Markdown table, with what a node was, what it is, and why."""
    rows = [f"| `{c.node}` | {_cell(c.before)} | {_cell(c.after)} | {_cell(c.why)} |" for c in changes]
    return ["| node | before | after | why |", "|---|---|---|---|", *rows]


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
