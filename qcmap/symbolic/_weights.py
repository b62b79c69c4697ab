"""The weights with which sums and concatenations average slopes, curvatures and m values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from qcmap.architecture import (
    TRANSPARENT,
    Affine,
    Architecture,
    Concat,
    Gate,
    Input,
    LayerNorm,
    Node,
    Nonlinear,
    Scale,
    Sum,
    Weight,
    is_symbolic,
)
from qcmap.errors import ArchitectureError
from qcmap.symbolic._shares import exact, expression

_SLOPED = frozenset((Input, Affine, Nonlinear, Sum, Concat, Scale, LayerNorm, Gate, *TRANSPARENT))


def channel_counts(arch: Architecture, v: int) -> tuple[Weight, ...]:
    """The channels of what a concatenation reads; all 1 if it reads the same map several times.

    Raises `ArchitectureError` if a count is not known.
    """
    node = arch.nodes[v]
    known: list[Weight] = []
    for name in node.inputs:
        count = arch.channels[name]
        if count is None:
            break
        known.append(count)
    if len(known) == len(node.inputs):
        return tuple(known)
    if len(set(node.inputs)) == 1:
        return (1.0,) * len(node.inputs)
    raise ArchitectureError(
        node.id, "a concatenation averages slopes by channel counts, but one is not known", "give every affine channels"
    )


def mean_weights(arch: Architecture, v: int, q: Mapping[str, Weight] | None = None) -> tuple[Weight, ...]:
    """The weights with which a sum or concatenation averages the slopes of its branches, up to their sum.

    The squared weights of a sum (DKS, equation 13) or the channel counts of a concatenation (equation 9), each times
    the q value of its branch: w_i^2 q_i (section 21.3, footnote 10, which prints q_i in each term). ``q`` maps node
    ids to q values; equal ones, which drop out, if left out.
    """
    node = arch.nodes[v]
    op = node.op
    weights = tuple(weight**2 for weight in op.weights) if isinstance(op, Sum) else channel_counts(arch, v)
    if q is None:
        return weights
    sizes = [q_value(q, name) for name in node.inputs]
    if any(hasattr(size, "free_symbols") for size in sizes):
        return tuple(expression(exact(w)) * expression(exact(size)) for w, size in zip(weights, sizes, strict=True))
    return tuple(w * size for w, size in zip(weights, sizes, strict=True))


def q_value(q: Mapping[str, Weight], name: str) -> Weight:
    """The q value of a node; raises `ArchitectureError` if there is none, or it is not above 0."""
    if name not in q:
        raise ArchitectureError(name, "it has no q value", "give one for every node, as symbolic.q_values(arch) does")
    value = q[name]
    if hasattr(value, "free_symbols"):
        return value
    if not 0 < float(value) < float("inf"):
        raise ArchitectureError(name, f"its q value {value} is not a positive number", "give positive q values")
    return float(value)


def refuse_unmapped(node: Node) -> None:
    """Raise `ArchitectureError` for an op without a slope, or an affine layer whose biases have a variance."""
    if type(node.op) not in _SLOPED:
        raise ArchitectureError(node.id, f"a {node.op.kind} has no C map, so no slope", "take it out")
    if isinstance(node.op, Affine) and node.op.bias_variance != 0:
        raise ArchitectureError(
            node.id, "with biases of positive variance its slope is below 1 and depends on q values",
            "use bias_variance=0, or slope_polynomial(arch, q=...)",
        )  # fmt: skip


def numeric(node: str, weights: Sequence[Weight]) -> list[float]:
    """The weights as floats; raises `ArchitectureError`, naming the node, for symbols."""
    for weight in weights:
        if is_symbolic(weight):
            raise ArchitectureError(
                node, f"the squared weight {weight} is symbolic, so slopes have no numeric value here",
                "give its symbols numbers with arch.substitute(...)",
            )  # fmt: skip
    return [float(weight) for weight in weights]
