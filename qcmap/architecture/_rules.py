"""What the wiring must satisfy before a network can be shaped. A rule is a row: an op, a test, a message, a remedy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from qcmap.architecture._architecture import Algebra, Architecture, Node
from qcmap.architecture._ops import (
    Affine,
    Concat,
    Input,
    LayerNorm,
    MaxPool,
    MeanPool,
    Nonlinear,
    Op,
    Scale,
    Sum,
    WeightedMeanPool,
    is_symbolic,
)


@dataclass(frozen=True)
class Violation:
    """A rule that a node breaks. Shaping refuses errors; warnings name the heuristic that a result rests on."""

    node: str
    rule: str
    message: str
    remedy: str
    severity: Literal["error", "warning"] = "error"


@dataclass(frozen=True)
class _Rule:
    """One rule: ``broken`` says which of the nodes with this op break it."""

    name: str
    op: type[Op]
    broken: Callable[[Architecture, list[Node]], list[Node]]
    message: str
    remedy: str
    severity: Literal["error", "warning"] = "error"


def _unnormalized(arch: Architecture, nodes: list[Node]) -> list[Node]:
    return [node for node in nodes if isinstance(node.op, Sum) and not _sums_to_one(node.op)]


def _sums_to_one(op: Sum) -> bool:
    total = sum(weight**2 for weight in op.weights)
    if is_symbolic(total):
        import sympy

        simplify: Any = sympy.simplify
        return simplify(total - 1) == 0
    return abs(float(total) - 1) <= 1e-12


def _dependent(arch: Architecture, nodes: list[Node]) -> list[Node]:
    """Sums two of whose branches are correlated, so that equations 12 and 13 miss a cross term.

    Every feature map is a function of *sources*: inputs, outputs of affine layers, and what nonlinear ops give (which
    keeps the sources of its argument too). An affine layer's output has mean zero over its weights, given all that does
    not depend on them; inputs and what nonlinear ops give are *raw*, without that property. So branches are
    uncorrelated if they share no source and at most one holds a raw one. Sets of sources are bit masks.
    """
    bits = {node.id: 1 << position for position, node in enumerate(arch.nodes)}
    raw = sum(bits[node.id] for node in arch.nodes if isinstance(node.op, _RAW))

    def own(node: Node, values: list[int]) -> int:
        return bits[node.id]

    def joined(node: Node, values: list[int]) -> int:
        result = 0
        for value in values:
            result |= value
        return result

    def added(node: Node, values: list[int]) -> int:
        return own(node, values) | values[0]

    rules: dict[type[Op], Callable[[Node, list[int]], int]] = {Input: own, Affine: own}
    rules |= dict.fromkeys((Nonlinear, LayerNorm, MaxPool), added)
    rules |= dict.fromkeys((Sum, Concat, Scale, MeanPool, WeightedMeanPool), joined)
    sources = arch.fold(Algebra("set of sources", rules))
    found: list[Node] = []
    for node in nodes:
        seen, raws = 0, 0
        for value in (sources[name] for name in node.inputs):
            raws += bool(value & raw)
            if value & seen or raws > 1:
                found.append(node)
                break
            seen |= value
    return found


_RAW = (Input, Nonlinear, LayerNorm, MaxPool)


def _all(arch: Architecture, nodes: list[Node]) -> list[Node]:
    return nodes


RULES: tuple[_Rule, ...] = (
    _Rule(
        "independent-branches", Sum, _dependent,
        "sums need outputs of independent affine layers, but two of its branches are correlated (DKS, section 9)",
        "put an affine layer of its own on every branch but one",
    ),
    _Rule(
        "normalized-sum", Sum, _unnormalized, "the squares of a sum's weights must add up to 1 (DKS, section 17.3)",
        "divide the weights by the root of their sum of squares",
    ),
    _Rule(
        "no-scalar-multiplier", Scale, _all, "a multiplication by a constant changes q values (DKS, section 21.1)",
        "take it out",
    ),
    _Rule(
        "max-pool-heuristic", MaxPool, _all, "max pooling is treated as the identity map (DKS, section 20.2)",
        "keep it early and small, or replace it by a convolution", "warning",
    ),
    _Rule(
        "mean-pool-heuristic", MeanPool, _all, "mean pooling is treated as the identity map (DKS, section 20.1)",
        "use weighted mean pooling", "warning",
    ),
)  # fmt: skip


def check(arch: Architecture) -> list[Violation]:
    """Every rule of `RULES` that the architecture breaks, rule by rule, in node order."""
    by_op: dict[type[Op], list[Node]] = {}
    for node in arch.nodes:
        by_op.setdefault(type(node.op), []).append(node)
    return [
        Violation(node.id, rule.name, rule.message, rule.remedy, rule.severity)
        for rule in RULES
        if rule.op in by_op
        for node in rule.broken(arch, by_op[rule.op])
    ]
