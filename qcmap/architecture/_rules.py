"""What the wiring must satisfy before a network can be shaped. A rule is a row: an op, a test, a message, a remedy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from qcmap.architecture._architecture import Architecture, Node
from qcmap.architecture._ops import MaxPool, MeanPool, Op, Scale, Sum, is_symbolic


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
    name: str
    op: type[Op]
    broken: Callable[[Node], bool]
    message: str
    remedy: str
    severity: Literal["error", "warning"] = "error"


def _unnormalized(node: Node) -> bool:
    assert isinstance(node.op, Sum)
    total = sum(weight**2 for weight in node.op.weights)
    if is_symbolic(total):
        import sympy

        simplify: Any = sympy.simplify
        return simplify(total - 1) != 0
    return abs(float(total) - 1) > 1e-12


def _always(_: Node) -> bool:
    return True


RULES: tuple[_Rule, ...] = (
    _Rule(
        "normalized-sum", Sum, _unnormalized, "the squares of a sum's weights must add up to 1 (DKS, section 17.3)",
        "divide the weights by the root of their sum of squares",
    ),
    _Rule(
        "no-scalar-multiplier", Scale, _always, "a multiplication by a constant changes q values (DKS, section 21.1)",
        "take it out",
    ),
    _Rule(
        "max-pool-heuristic", MaxPool, _always, "max pooling is treated as the identity map (DKS, section 20.2)",
        "keep it early and small, or replace it by a convolution", "warning",
    ),
    _Rule(
        "mean-pool-heuristic", MeanPool, _always, "mean pooling is treated as the identity map (DKS, section 20.1)",
        "use weighted mean pooling", "warning",
    ),
)  # fmt: skip


def check(arch: Architecture) -> list[Violation]:
    """Every rule of `RULES` that the architecture breaks, in node order."""
    return [
        Violation(node.id, rule.name, rule.message, rule.remedy, rule.severity)
        for node in arch.nodes
        for rule in _BY_OP.get(type(node.op), ())
        if rule.broken(node)
    ]


_BY_OP: dict[type[Op], list[_Rule]] = {}
for _rule in RULES:
    _BY_OP.setdefault(_rule.op, []).append(_rule)
