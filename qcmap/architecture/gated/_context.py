"""A context of a gated task, and what its numbers and moments must be."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np

from qcmap.architecture.gated._checks import check_kind, real_array
from qcmap.errors import DataError

LARGEST = 1e50
"""Larger data overflow when moments are multiplied."""
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

    A moment is a matrix of numbers, or a number or sympy expression (no sympy matrix) that stands for one generic mode
    (S and D of the paper).
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
        for what, arrays in (("inputs", inputs), ("targets", targets)):
            check_kind(what, arrays, Mapping, "give arrays by node")
        x = {node: _matrix(name, node, value) for node, value in inputs.items()}
        y = {node: _matrix(name, node, value) for node, value in targets.items()}
        counts = {value.shape[1] for value in (*x.values(), *y.values())}
        if len(counts) != 1 or counts == {0}:
            raise DataError(
                f"context {name!r}",
                f"its arrays have {sorted(counts)} examples, but need equally many, 1 or more",
                "give arrays [channels, examples]",
            )
        n = counts.pop()
        names = list(x)
        xx = {(a, b): x[a] @ x[b].T / n for k, a in enumerate(names) for b in names[k:]}
        yx = {(v, u): y[v] @ x[u].T / n for v in y for u in x}
        return cls(name, gates, xx, yx, float(sum((value**2).sum() for value in y.values()) / n), probability)


def _matrix(context: str, node: str, value: Any) -> np.ndarray:
    array = real_array(value)
    if array is None:
        raise DataError(f"context {context!r}", f"the data of {node} are not real numbers", "give an array")
    if array.ndim != 2:
        raise DataError(
            f"context {context!r}", f"{node} has an array of shape {array.shape}", "give one [channels, examples]"
        )
    if not np.isfinite(array).all():
        raise DataError(f"context {context!r}", f"the data of {node} have a NaN or infinity", "clean the data first")
    if np.abs(array).max(initial=0.0) > LARGEST:
        raise DataError(f"context {context!r}", f"the data of {node} are above {LARGEST:g}", "give another unit")
    return array


def check_context(name: str, context: Context) -> None:
    """Raise `ArgumentError` unless it is a context whose name is a text, with gates and moments by name."""
    check_kind(name, context, Context, "make it with Context or Context.from_data")
    check_kind(f"{name}.name", context.name, str, "name it")
    for field_name in ("gates", "xx", "yx"):
        check_kind(f"{name}.{field_name}", getattr(context, field_name), Mapping, "give values by name")
    for pair in (*context.xx, *context.yx):
        if not isinstance(pair, tuple) or len(pair) != 2:
            raise DataError(f"context {context.name!r}", f"{pair!r} is no pair of nodes", "give moments by (a, b)")


def context_number(context: Context, what: str, value: Any) -> Any:
    """A number or sympy expression as it is, a numpy number as a plain one; raises `DataError` for anything else."""
    if hasattr(value, "free_symbols"):
        return value
    value = value.item() if isinstance(value, np.generic) else value
    if not isinstance(value, (int, float, Fraction)) or not math.isfinite(value):
        raise DataError(f"context {context.name!r}", f"{what} is {value!r}", "give finite numbers")
    return value


def checked_moment(context: Context, value: Any) -> Any:
    if hasattr(value, "free_symbols") and hasattr(value, "shape"):
        raise DataError(
            f"context {context.name!r}", "a moment is a sympy matrix, but symbols stand for one mode",
            "split it with exact_modes, or give an array",
        )  # fmt: skip
    if hasattr(value, "free_symbols") or np.isscalar(value) or isinstance(value, Fraction):
        return context_number(context, "a moment", value)
    array = real_array(value)
    if array is None:
        raise DataError(f"context {context.name!r}", "a moment is no matrix of numbers", "give one")
    if array.ndim != 2 or not np.isfinite(array).all():
        raise DataError(
            f"context {context.name!r}", f"a moment is a finite matrix, not an array of shape {array.shape}",
            "give a matrix [channels, channels]",
        )  # fmt: skip
    if np.abs(array).max(initial=0.0) > LARGEST**2:
        raise DataError(f"context {context.name!r}", f"a moment is above {LARGEST**2:g}", "give another unit")
    return array


def own_moment(context: Context, node: str, value: Any) -> Any:
    """A moment <x x^T>, which is symmetric and has no negative eigenvalue; made exactly symmetric."""
    if not isinstance(value, np.ndarray):
        if not hasattr(value, "free_symbols") and value < 0:
            raise DataError(
                f"context {context.name!r}", f"<x x^T> of {node} is {value}, which no square is", "give second moments"
            )
        return value
    scale = float(np.abs(value).max(initial=0.0))
    if value.shape[0] != value.shape[1] or np.abs(value - value.T).max(initial=0.0) > 1e-12 * scale:
        raise DataError(f"context {context.name!r}", f"<x x^T> of {node} is not symmetric", "give second moments")
    value = (value + value.T) / 2
    if np.linalg.eigvalsh(value)[0] < -1e-10 * scale:
        raise DataError(f"context {context.name!r}", f"<x x^T> of {node} is not positive", "give second moments")
    return value


def check_seen(context: Context, node: str, cross: Any, own: Any) -> None:
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
