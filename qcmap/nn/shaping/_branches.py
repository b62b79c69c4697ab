"""The weights of sums: normalized ones from a rule for residual branches (DKS, sections 9, 17.3, 23.3, M.1)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from numbers import Real
from typing import Literal, TypeAlias

import numpy as np

from qcmap.architecture import OPS, Affine, Algebra, Architecture, Concat, Input, LayerNorm, Node, Nonlinear, Sum
from qcmap.errors import ArchitectureError, ArgumentError

BranchRule: TypeAlias = "Callable[[str, tuple[str, ...]], Sequence[float]]"
ResidualWeight: TypeAlias = "float | Literal['q'] | BranchRule | None"
"""How the branches of sums are weighted.

None keeps the ratios of the model's own weights (equal ones for ``x + h``). A number w in (0, 1) is the weight of the
residual branch, and sqrt(1 - w^2) that of the shortcut. ``"q"`` gives each branch the share that its q value would have
if the sums stayed as they are: 1/sqrt(q + 1) for a residual branch beside a shortcut of q value q (appendix J). A
function gets a sum's node id and the ids of its branches and returns weights, which are then normalized.
"""


def check_residual_weight(rule: ResidualWeight) -> None:
    """Raise `ArgumentError` for anything but a rule."""
    if rule is None or callable(rule) or rule == "q":
        return
    if isinstance(rule, bool) or not isinstance(rule, Real) or not 0 < float(rule) < 1:
        raise ArgumentError(
            "residual_weight", f"it must lie strictly between 0 and 1, not {rule!r}",
            "give such a number, 'q', a function of a node and its branches, or None",
        )  # fmt: skip


def normalized_weights(arch: Architecture, rule: ResidualWeight) -> dict[str, tuple[tuple[float, ...], str]]:
    """For each sum, weights whose squares add up to 1, and how they came about, in words.

    A residual branch is the one with more activations on its longest path, or, if these are as many, more affine
    layers; the common part of two paths counts for both, so it makes no difference. Signs are those of the model's own
    weights.

    Raises
    ------
    ArchitectureError
        Naming a sum of three or more branches, for which a number does not say enough; or one for which a function
        gives something else than a finite weight for each branch, not all zero.
    """
    sums = [node for node in arch.nodes if isinstance(node.op, Sum)]
    if not sums:
        return {}
    if rule is None:
        return {node.id: (_unit(_own(node)), "the model's own weights, normalized") for node in sums}
    if callable(rule):
        return {node.id: (_from_function(node, rule), "weights of the given function, normalized") for node in sums}
    if rule == "q":
        q = _plain_q(arch)
        return {
            node.id: (_shares(node, q), "shares in the q value of the plain sum (DKS, appendix J)") for node in sums
        }
    return _residual(arch, sums, float(rule))


def _own(node: Node) -> list[float]:
    assert isinstance(node.op, Sum)
    return [float(weight) for weight in node.op.weights]


def _unit(weights: Sequence[float]) -> tuple[float, ...]:
    norm = math.hypot(*weights)
    return tuple(weight / norm for weight in weights)


def _from_function(node: Node, rule: BranchRule) -> tuple[float, ...]:
    found = rule(node.id, node.inputs)
    try:
        weights = np.asarray(found, dtype=np.float64)
    except (TypeError, ValueError):
        weights = np.empty(0)
    if weights.shape != (len(node.inputs),) or not np.isfinite(weights).all() or not weights.any():
        raise ArchitectureError(
            node.id, f"the function for its weights gave {found!r}",
            f"return {len(node.inputs)} finite numbers, not all zero",
        )  # fmt: skip
    return _unit(weights.tolist())


def _plain_q(arch: Architecture) -> dict[str, float]:
    """The q values of a network of unit-q layers whose sums stay as the model has them."""

    def mean(node: Node, values: list[float]) -> float:
        channels = [arch.channels[name] for name in node.inputs]
        if all(isinstance(k, int) for k in channels):
            return float(np.average(values, weights=np.array(channels, dtype=np.float64)))
        return float(np.mean(values))

    rules = {
        **dict.fromkeys(OPS.values(), lambda node, values: values[0]),
        **dict.fromkeys((Input, Nonlinear, LayerNorm), lambda node, values: 1.0),
        Concat: mean,
        Sum: lambda node, values: sum(w * w * q for w, q in zip(_own(node), values, strict=True)),
    }
    return arch.fold(Algebra("plain q values", rules))


def _shares(node: Node, q: dict[str, float]) -> tuple[float, ...]:
    return _unit([weight * math.sqrt(q[name]) for weight, name in zip(_own(node), node.inputs, strict=True)])


def _residual(arch: Architecture, sums: list[Node], weight: float) -> dict[str, tuple[tuple[float, ...], str]]:
    def longest(node: Node, values: list[tuple[int, int]]) -> tuple[int, int]:
        activations, affines = max(values, default=(0, 0))
        return activations + isinstance(node.op, Nonlinear), affines + isinstance(node.op, Affine)

    length = arch.fold(Algebra("longest paths", dict.fromkeys(OPS.values(), longest)))
    shortcut = math.sqrt((1 - weight) * (1 + weight))
    found: dict[str, tuple[tuple[float, ...], str]] = {}
    for node in sums:
        own = _own(node)
        if len(own) == 1:
            found[node.id] = (_unit(own), "a single branch")
            continue
        if len(own) > 2:
            raise ArchitectureError(
                node.id, f"one residual weight does not say how its {len(own)} branches are weighted",
                "give residual_weight a function of the node and its branches",
            )  # fmt: skip
        first, second = (length[name] for name in node.inputs)
        if first == second:
            found[node.id] = (_unit(own), "neither branch is longer, so none is a shortcut: own weights, normalized")
            continue
        pair = (weight, shortcut) if first > second else (shortcut, weight)
        which = node.inputs[0 if first > second else 1]
        signed = tuple(math.copysign(value, sign) for value, sign in zip(pair, own, strict=True))
        found[node.id] = (signed, f"residual weight {weight:.6g} on the branch {which!r}")
    return found
