"""What the theory asks of a wiring (DKS, sections 3.2, 9, 19, 20, 21.1). A rule is a row: an op, a test, a remedy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from qcmap.architecture._architecture import Architecture
from qcmap.architecture._node import Node
from qcmap.architecture._ops import (
    Affine,
    BatchNorm,
    Concat,
    Gate,
    Input,
    LayerNorm,
    MaxPool,
    MeanPool,
    Multiply,
    Nonlinear,
    Op,
    Scale,
    Sum,
)
from qcmap.architecture._rewrite import is_normalized, squares_sum
from qcmap.architecture._sources import Facts, raw_maps
from qcmap.architecture._values import is_symbolic
from qcmap.errors import ActivationError, ArchitectureError

WIDE = 8
"""The least number of channels in a group of a group normalization: its error is 0.2/8 at most (docs/norms.md)."""


@dataclass(frozen=True)
class Violation:
    """A rule that a node breaks. Shaping refuses errors; warnings name the heuristic that a result rests on."""

    node: str
    rule: str
    message: str
    remedy: str
    severity: Literal["error", "warning"] = "error"

    def __str__(self) -> str:
        return f"{self.node}: {self.message}; {self.remedy} [{self.rule}, {self.severity}]"


@dataclass(frozen=True)
class Rule:
    """One rule: ``broken`` gives the message for a node with this op that breaks it, None for one that does not."""

    name: str
    op: type[Op]
    broken: Callable[[Facts, Node], str | None]
    remedy: str
    severity: Literal["error", "warning"] = "error"


def _always(message: str) -> Callable[[Facts, Node], str | None]:
    return lambda facts, node: message


def _raw_branch(facts: Facts, node: Node) -> str | None:
    for name in node.inputs:
        origin = facts.raw[name]
        if origin is not None:
            what = f"{name!r} is" if name == origin else f"{name!r} depends linearly on {origin!r},"
            kind = facts.arch[origin].op.kind
            article = "an" if kind[0] in "aio" else "a"
            return f"sums need outputs of affine layers, but {what} {article} {kind} (DKS, sections 9 and 21.1)"
    return None


def _correlated(facts: Facts, node: Node) -> str | None:
    reason = facts.correlation(node)
    return None if reason is None else f"{reason}, so they are correlated (DKS, section 9)"


def _unnormalized(facts: Facts, node: Node) -> str | None:
    assert isinstance(node.op, Sum)
    if is_normalized(node.op):
        return None
    total = squares_sum(node.op)
    found = str(total) if is_symbolic(total) else f"{float(total):.12g}"
    return f"the squares of its weights add up to {found}, not to 1 (DKS, section 17.3)"


def _not_after_affine(facts: Facts, node: Node) -> str | None:
    origin = facts.raw[node.inputs[0]]
    if origin is None or _follows_activation(facts, node) is not None:
        return None
    return f"its input depends on {origin!r} by no affine layer, so it is not Gaussian (DKS, sections 3.2 and 7.3)"


def _follows_activation(facts: Facts, node: Node) -> str | None:
    before = facts.arch[node.inputs[0]]
    if not isinstance(before.op, Nonlinear):
        return None
    return f"it follows the activation {before.id!r} with no affine layer between them (DKS, section 3.2)"


def _mean_unknown(facts: Facts, node: Node) -> str | None:
    assert isinstance(node.op, LayerNorm)
    origin = facts.raw[node.inputs[0]]
    if not node.op.centre or origin is None or not isinstance(facts.arch[origin].op, Input):
        return None
    return f"it reads the input {origin!r}, whose channel mean is not known (DKS, section 19.2)"


def _in_group(facts: Facts, node: Node) -> int | None:
    """The channels in a group of a grouped layer; None if it has one group or is not known."""
    groups, channels = getattr(node.op, "groups", None), facts.arch.channels[node.inputs[0]]
    return channels // groups if isinstance(channels, int) and groups is not None else None


def _narrow_norm(facts: Facts, node: Node) -> str | None:
    width = _in_group(facts, node)
    if width is None or width >= WIDE:
        return None
    return f"moments of groups of {width} channels stay random at any width (docs/norms.md; DKS, section 19.2)"


def _group_norm(facts: Facts, node: Node) -> str | None:
    assert isinstance(node.op, LayerNorm)
    if node.op.groups is None:
        return None
    return "it takes moments over locations too, so equal q values make it a layer norm (DKS, section 19.2)"


def _narrow_layer(facts: Facts, node: Node) -> str | None:
    assert isinstance(node.op, Affine)
    if node.op.groups == 1:
        return None
    width = _in_group(facts, node)
    if width is None or not 1 < width < WIDE:
        return None
    return (
        f"each output mixes {width} channels of its group, so it is Gaussian to order 1/{width} only (DKS, section 5.1)"
    )


@lru_cache(maxsize=256)
def _other_name(name: str) -> str | None:
    """What to use instead of a name that no activation has; None for a known one. Deep networks ask again and again."""
    from qcmap.activations import activation

    try:
        activation(name)
    except ActivationError as error:
        return error.remedy
    return None


def _unknown_activation(facts: Facts, node: Node) -> str | None:
    assert isinstance(node.op, Nonlinear)
    remedy = _other_name(node.op.function) if isinstance(node.op.function, str) else None
    return None if remedy is None else f"no activation is called {node.op.function!r}, {remedy} (DKS, section 21.1)"


def _dependent_parameters(facts: Facts, node: Node) -> str | None:
    assert isinstance(node.op, Affine)
    if not facts.repeats_parameters(node):
        return None
    return f"its parameters {node.op.parameters!r} are those of a layer that it depends on (DKS, section 4.1)"


def _spread_filter(facts: Facts, node: Node) -> str | None:
    assert isinstance(node.op, Affine)
    if node.op.init == "delta" or set(node.op.kernel) <= {1}:
        return None
    return "a fan-in initialised filter mixes locations, so it has no Q and C maps (DKS, sections 4.1 and 5.4)"


def _other_variance(facts: Facts, node: Node) -> str | None:
    assert isinstance(node.op, Affine)
    if node.op.weight_variance == 1 and node.op.bias_variance == 0:
        return None
    weights, biases = node.op.weight_variance, node.op.bias_variance
    return f"weights of variance {weights}/k and biases of variance {biases} change q values (DKS, sections 4.1, 21.2)"


def _input_q(facts: Facts, node: Node) -> str | None:
    assert isinstance(node.op, Input)
    if node.op.q == 1:
        return None
    return f"its q value is {node.op.q}, but all inputs need the same one, 1 (DKS, sections 10 and 16.1)"


def _misaligned(facts: Facts, node: Node) -> str | None:
    if facts.meets_copies(node):
        return None  # no other strides align those: the rule `upsampling-heuristic`
    known = [seen for name in node.inputs if (seen := facts.locations.get(name)) is not None]
    if all(seen == known[0] for seen in known):
        return None
    return "its branches stand for different locations of the input (DKS, section 5.5)"


def _beside_copies(facts: Facts, node: Node) -> str | None:
    if not facts.meets_copies(node):
        return None
    return (
        "upsampled locations meet others, so its C map is a mixture of those of different locations of the input, and"
        " holds where their c values agree (docs/graph.md; DKS, section 20.1.2)"
    )


RULES: tuple[Rule, ...] = (
    Rule("sum-of-affine-outputs", Sum, _raw_branch, "put an affine layer on that branch"),
    Rule(
        "independent-branches", Sum, _correlated,
        "put an affine layer with parameters of its own on every branch but one",
    ),
    Rule("normalized-sum", Sum, _unnormalized, "divide the weights by the root of that, as arch.normalized() does"),
    Rule("affine-before-activation", Nonlinear, _not_after_affine, "put an affine layer before it"),
    Rule(
        "consecutive-activations", Nonlinear, _follows_activation,
        "fuse the two into one activation, as qcmap.symbolic.fused(arch) does",
    ),
    Rule("known-activation", Nonlinear, _unknown_activation, "give a name of the catalogue or an Activation"),
    Rule("known-channel-mean", LayerNorm, _mean_unknown, "put an affine layer before it"),
    Rule("wide-groups", LayerNorm, _narrow_norm, f"use groups of at least {WIDE} channels, or a layer norm"),
    Rule("independent-parameters", Affine, _dependent_parameters, "give it parameters of its own"),
    Rule("delta-initialization", Affine, _spread_filter, "use init='delta'"),
    Rule("unit-variance", Affine, _other_variance, "use weight_variance=1 and bias_variance=0"),
    Rule("unit-input-q", Input, _input_q, "normalize its location vectors (per-location normalization)"),
    Rule("aligned-locations", Sum, _misaligned, "give its branches the same strides and paddings"),
    Rule("aligned-locations", Concat, _misaligned, "give its branches the same strides and paddings"),
    Rule(
        "no-scalar-multiplier", Scale,
        _always("a multiplication by a constant changes q values (DKS, section 21.1)"),
        "take it out, as arch.normalized() does",
    ),
    Rule(
        "no-batch-norm", BatchNorm,
        _always("batch normalization mixes examples, so it has no Q and C maps (DKS, section 19.1)"),
        "take it out, or use a layer norm",
    ),
    Rule(
        "no-multiplication", Multiply, _always("a product of feature maps has no Q and C maps (DKS, section 21.1)"),
        "take it out",
    ),
    Rule(
        "no-multiplication", Gate, _always("a gate multiplies by what depends on the input (DKS, section 21.1)"),
        "give its variable a value with arch.substitute(...), then use arch.normalized()",
    ),
    Rule(
        "max-pool-heuristic", MaxPool, _always("max pooling is treated as the identity map (DKS, section 20.2)"),
        "keep it early and small, or replace it by a convolution", "warning",
    ),
    Rule(
        "group-norm-heuristic", LayerNorm, _group_norm, "use a layer norm over the channels of each location", "warning"
    ),
    Rule("narrow-groups", Affine, _narrow_layer, f"use groups of at least {WIDE} channels", "warning"),
    Rule(
        "upsampling-heuristic", Sum, _beside_copies, "keep the factors small, or take the connection out", "warning"
    ),
    Rule(
        "upsampling-heuristic", Concat, _beside_copies, "keep the factors small, or take the connection out", "warning"
    ),
    Rule(
        "mean-pool-heuristic", MeanPool, _always("mean pooling is treated as the identity map (DKS, section 20.1)"),
        "use weighted mean pooling", "warning",
    ),
)  # fmt: skip


_MAPS_NEED = frozenset({"independent-branches", "delta-initialization", "consecutive-activations", "wide-groups"})


def refuse_without_maps(arch: Architecture) -> None:
    """Raise `ArchitectureError` for the first rule broken without which the formulas for q and c values are wrong.

    An activation may read a network input, which then stands for the output of an affine layer, as in a subnetwork
    (DKS, section 7.3).
    """
    raw = raw_maps(arch)
    for violation in check(arch):
        origin = raw[arch[violation.node].inputs[0]] if violation.rule == "affine-before-activation" else None
        if violation.rule in _MAPS_NEED or (origin is not None and not isinstance(arch[origin].op, Input)):
            raise ArchitectureError(violation.node, violation.message, violation.remedy)


def check(arch: Architecture) -> list[Violation]:
    """Every rule of `RULES` that the architecture breaks, rule by rule, in node order.

    Raises
    ------
    ArchitectureError
        If maps of different channels or extents are added, or a kernel does not fit: then it is no network at all.
    """
    return list(arch.violations)


def broken_rules(arch: Architecture) -> list[Violation]:
    """What `check` lists, found anew."""
    facts = Facts(arch)
    by_op: dict[type[Op], list[Node]] = {}
    for node in arch.nodes:
        by_op.setdefault(type(node.op), []).append(node)
    found: list[Violation] = []
    for rule in RULES:
        for node in by_op.get(rule.op, ()):
            message = rule.broken(facts, node)
            if message is not None:
                found.append(Violation(node.id, rule.name, message, rule.remedy, rule.severity))
    return found
