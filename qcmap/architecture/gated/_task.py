"""What a gated network is to learn: contexts with their probability, their gates and their second moments."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from typing import Any

import numpy as np

from qcmap.architecture.gated._tables import Blocks, Coded, Integers
from qcmap.errors import DataError

RANK = 1e-12
"""Eigenvalues of <x x^T> below this share of the largest count as zero."""


@dataclass(frozen=True)
class Context:
    """One context: which gates are open, and the data seen there (NRR, section 2: gates are part of the data set).

    Attributes
    ----------
    name
        What messages call it.
    gates
        The values of gating variables; those left out are closed (0).
    xx
        Second moments ``<x_a x_b^T>`` of pairs (a, b) of input nodes; one order of a pair is enough. Left out: no data.
    yx
        Moments ``<y_v x_u^T>`` of pairs (output node, input node).
    yy
        ``<|y|^2>``, summed over the output nodes; the least that fits the other moments if left out.
    probability
        Of the context; the same for all of them if left out.

    A moment is a matrix, or a number or sympy expression that stands for one generic mode (S and D of the paper).
    """

    name: str
    gates: Mapping[str, Any] = field(default_factory=dict)
    xx: Mapping[tuple[str, str], Any] = field(default_factory=dict)
    yx: Mapping[tuple[str, str], Any] = field(default_factory=dict)
    yy: Any = None
    probability: Any = None

    @classmethod
    def from_data(
        cls,
        name: str,
        gates: Mapping[str, Any],
        inputs: Mapping[str, Any],
        targets: Mapping[str, Any],
        probability: Any = None,
    ) -> Context:
        """A context from examples: arrays [channels, examples] by input node and by output node.

        Raises
        ------
        DataError
            For arrays that are not matrices, that hold a NaN, or whose numbers of examples differ.
        """
        x = {node: _matrix(name, node, value) for node, value in inputs.items()}
        y = {node: _matrix(name, node, value) for node, value in targets.items()}
        counts = {value.shape[1] for value in (*x.values(), *y.values())}
        if len(counts) != 1 or counts == {0}:
            raise DataError(
                f"context {name!r}", f"its arrays have {sorted(counts)} examples", "give arrays [channels, examples]"
            )
        n = counts.pop()
        names = list(x)
        xx = {(a, b): x[a] @ x[b].T / n for k, a in enumerate(names) for b in names[k:]}
        yx = {(v, u): y[v] @ x[u].T / n for v in y for u in x}
        return cls(name, gates, xx, yx, float(sum((value**2).sum() for value in y.values()) / n), probability)


def _matrix(context: str, node: str, value: Any) -> np.ndarray:
    try:
        array = np.asarray(value, dtype=float)
    except (TypeError, ValueError):
        raise DataError(f"context {context!r}", f"the data of {node} are not numbers", "give an array") from None
    if array.ndim != 2:
        raise DataError(
            f"context {context!r}", f"{node} has an array of shape {array.shape}", "give one [channels, examples]"
        )
    if not np.isfinite(array).all():
        raise DataError(f"context {context!r}", f"the data of {node} have a NaN or infinity", "clean the data first")
    return array


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
        if not contexts:
            raise DataError("task", "it has no context", "give at least one")
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
                moment = _moment(context, value)
                pairs[min(i, j), max(i, j)] = moment.T if i > j and isinstance(moment, np.ndarray) else moment
            xx += [(k, i, j, _own(context, inputs[i], value) if i == j else value) for (i, j), value in pairs.items()]
            for (v, u), value in context.yx.items():
                row, column = _known(context, v, outs, "output"), _known(context, u, ins, "input")
                moment = _moment(context, value)
                _check_seen(context, u, moment, pairs.get((column, column)))
                yx.append((k, row, column, moment))
        gates: dict[str, list[tuple[int, Any]]] = {}
        for k, context in enumerate(contexts):
            for gate, value in context.gates.items():
                number = _number(context, f"the gate {gate}", value)
                if number != 0:
                    gates.setdefault(gate, []).append((k, number))
        gating = {
            gate: Gating(np.array([k for k, _ in found], dtype=np.int64), Coded.of(value for _, value in found))
            for gate, found in gates.items()
        }
        yy = None
        if all(context.yy is not None for context in contexts):
            yy = Coded.of(_number(context, "yy", context.yy) for context in contexts)
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


def _number(context: Context, what: str, value: Any) -> Any:
    """A number or sympy expression as it is, a numpy number as a plain one; raises `DataError` for anything else."""
    if hasattr(value, "free_symbols"):
        return value
    value = value.item() if isinstance(value, np.generic) else value
    if not isinstance(value, (int, float, Fraction)) or not math.isfinite(value):
        raise DataError(f"context {context.name!r}", f"{what} is {value!r}", "give finite numbers")
    return value


def _moment(context: Context, value: Any) -> Any:
    if hasattr(value, "free_symbols") or np.isscalar(value) or isinstance(value, Fraction):
        return _number(context, "a moment", value)
    try:
        array = np.asarray(value, dtype=float)
    except (TypeError, ValueError):
        raise DataError(f"context {context.name!r}", "a moment is no matrix of numbers", "give one") from None
    if array.ndim != 2 or not np.isfinite(array).all():
        raise DataError(
            f"context {context.name!r}", f"a moment is a finite matrix, not an array of shape {array.shape}",
            "give a matrix [channels, channels]",
        )  # fmt: skip
    return array


def _own(context: Context, node: str, value: Any) -> Any:
    """A moment <x x^T>, which is symmetric and has no negative eigenvalue; made exactly symmetric."""
    if not isinstance(value, np.ndarray):
        if not hasattr(value, "free_symbols") and value < 0:
            raise DataError(f"context {context.name!r}", f"<x x^T> of {node} is {value}", "give second moments")
        return value
    scale = float(np.abs(value).max(initial=0.0))
    if value.shape[0] != value.shape[1] or np.abs(value - value.T).max(initial=0.0) > 1e-12 * scale:
        raise DataError(f"context {context.name!r}", f"<x x^T> of {node} is not symmetric", "give second moments")
    value = (value + value.T) / 2
    if np.linalg.eigvalsh(value)[0] < -1e-10 * scale:
        raise DataError(f"context {context.name!r}", f"<x x^T> of {node} is not positive", "give second moments")
    return value


def _check_seen(context: Context, node: str, cross: Any, own: Any) -> None:
    """Raise `DataError` where a target goes with an input that is zero: |<y x>|^2 <= <y^2> <x^2>."""
    name, remedy = f"context {context.name!r}", "give moments of one data set"
    if own is None:
        raise DataError(name, f"it has <y x^T> of {node}, but no <x x^T>", "give both")
    if isinstance(cross, np.ndarray) and isinstance(own, np.ndarray) and cross.shape[1] == len(own):
        values, vectors = np.linalg.eigh(own)
        unseen = vectors[:, values <= RANK * values[-1]]
        if np.linalg.norm(cross @ unseen) > 1e-7 * np.linalg.norm(cross):
            raise DataError(name, f"<y x^T> has directions that <x x^T> of {node} has not", remedy)
    elif not isinstance(cross, np.ndarray) and not isinstance(own, np.ndarray) and cross != 0 and own == 0:
        raise DataError(name, f"<x x^T> of {node} is 0, but its <y x^T> is not", remedy)


def _probabilities(contexts: Sequence[Context]) -> Coded:
    given = [context.probability for context in contexts]
    if all(value is None for value in given):
        return Coded.constant(Fraction(1, len(contexts)), len(contexts))
    for context, value in zip(contexts, given, strict=True):
        if getattr(value, "free_symbols", None):
            raise DataError(f"context {context.name!r}", f"its probability {value} is symbolic", "give a number")
        if value is None or not 0 < float(_number(context, "its probability", value)) <= 1:
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
