"""What a gated network is to learn: contexts with their probability, their gates and their second moments."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any

import numpy as np

from qcmap.architecture.gated._checks import check_kind
from qcmap.architecture.gated._context import (
    Context,
    check_context,
    check_seen,
    checked_moment,
    context_number,
    own_moment,
)
from qcmap.architecture.gated._tables import Blocks, Coded, Integers
from qcmap.errors import DataError


@dataclass(frozen=True, eq=False)
class Gating:
    """Where a gating variable is not zero: contexts in order, and its values there."""

    contexts: Integers
    value: Coded


@dataclass(frozen=True, eq=False)
class GatedTask:
    """All contexts, stored by column so that hundreds of thousands of them are cheap.

    Attributes
    ----------
    contexts
        Their names.
    inputs, outputs
        The nodes that ``row`` and ``column`` of the moments count.
    probability, yy
        By context; ``yy`` is None if it was left out.
    gates
        By gating variable.
    xx, yx
        Second moments; ``xx`` has each pair once, row <= column.
    """

    contexts: tuple[str, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    probability: Coded
    gates: Mapping[str, Gating]
    xx: Blocks
    yx: Blocks
    yy: Coded | None = None

    @classmethod
    def of(cls, contexts: Sequence[Context], inputs: Sequence[str], outputs: Sequence[str]) -> GatedTask:
        """The task of these contexts for a network with these input and output nodes.

        Raises
        ------
        DataError
            Naming the context: an unknown node, a moment of the wrong kind, probabilities that are not positive or do
            not sum to 1, two contexts of one name, or none.
        """
        check_kind("contexts", contexts, Sequence, "give a list of them")
        if not contexts:
            raise DataError("task", "it has no context", "give at least one")
        for k, context in enumerate(contexts):
            check_context(f"contexts[{k}]", context)
        names = [context.name for context in contexts]
        if len(set(names)) < len(names):
            twice = next(name for k, name in enumerate(names) if name in names[:k])
            raise DataError(f"context {twice!r}", "two contexts have this name", "give each its own")
        ins, outs = ({node: k for k, node in enumerate(nodes)} for nodes in (inputs, outputs))
        xx: list[tuple[int, int, int, Any]] = []
        yx: list[tuple[int, int, int, Any]] = []
        for k, context in enumerate(contexts):
            pairs: dict[tuple[int, int], Any] = {}
            for (a, b), value in context.xx.items():
                i, j = _known(context, a, ins, "input"), _known(context, b, ins, "input")
                moment = checked_moment(context, value)
                pairs[min(i, j), max(i, j)] = moment.T if i > j and isinstance(moment, np.ndarray) else moment
            xx += [
                (k, i, j, own_moment(context, inputs[i], value) if i == j else value) for (i, j), value in pairs.items()
            ]
            for (v, u), value in context.yx.items():
                row, column = _known(context, v, outs, "output"), _known(context, u, ins, "input")
                moment = checked_moment(context, value)
                check_seen(context, u, moment, pairs.get((column, column)))
                yx.append((k, row, column, moment))
        kinds = {isinstance(value, np.ndarray): k for k, *_, value in (*xx, *yx)}
        if len(kinds) == 2:
            raise DataError(
                f"context {contexts[max(kinds.values())].name!r}", "there are matrices beside numbers for moments",
                "give matrices everywhere, or numbers of one mode",
            )  # fmt: skip
        gates: dict[str, list[tuple[int, Any]]] = {}
        for k, context in enumerate(contexts):
            for gate, value in context.gates.items():
                found = context_number(context, f"the gate {gate}", value)
                if found != 0:
                    gates.setdefault(gate, []).append((k, found))
        gating = {
            gate: Gating(np.array([k for k, _ in found], dtype=np.int64), Coded.of(value for _, value in found))
            for gate, found in gates.items()
        }
        yy = None
        if all(context.yy is not None for context in contexts):
            yy = Coded.of(context_number(context, "yy", context.yy) for context in contexts)
        elif any(context.yy is not None for context in contexts):
            lacking = next(context.name for context in contexts if context.yy is None)
            raise DataError(f"context {lacking!r}", "it has no yy, but others have", "give it to all or to none")
        probability = _probabilities(contexts)
        return cls(tuple(names), tuple(inputs), tuple(outputs), probability, gating, Blocks.of(xx), Blocks.of(yx), yy)

    @cached_property
    def is_matrix(self) -> bool:
        """Whether the moments are matrices; else each stands for one generic mode."""
        return any(isinstance(value, np.ndarray) and value.ndim == 2 for value in self.xx.value.values)

    def __repr__(self) -> str:
        return f"<gated task: {len(self.contexts)} contexts, {len(self.gates)} gating variables>"


def _known(context: Context, node: str, known: Mapping[str, int], kind: str) -> int:
    if node not in known:
        raise DataError(
            f"context {context.name!r}", f"{node!r} is no {kind} node", f"its {kind} nodes: {', '.join(known)}"
        )
    return known[node]


def _probabilities(contexts: Sequence[Context]) -> Coded:
    given = [context.probability for context in contexts]
    if all(value is None for value in given):
        return Coded.constant(Fraction(1, len(contexts)), len(contexts))
    for context, value in zip(contexts, given, strict=True):
        if getattr(value, "free_symbols", None):
            raise DataError(f"context {context.name!r}", f"its probability {value} is symbolic", "give a number")
        if value is None or not 0 < float(context_number(context, "its probability", value)) <= 1:
            raise DataError(
                f"context {context.name!r}", f"its probability is {value}, not in (0, 1]",
                "give one to every context, or to none",
            )  # fmt: skip
    total = math.fsum(map(float, given))
    if abs(total - 1) > 1e-12:
        raise DataError(
            "contexts", f"their probabilities sum to {total:.15g}, not to 1 "
            f"(the last is that of {contexts[-1].name!r})", "divide them by their sum",
        )  # fmt: skip
    return Coded.of(given)
