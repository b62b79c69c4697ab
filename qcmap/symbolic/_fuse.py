"""Consecutive activations as one (DKS, section 3.2)."""

from __future__ import annotations

from collections import Counter
from typing import Any

from qcmap.activations import Activation, activation
from qcmap.architecture import Architecture, Change, Node, Nonlinear, Rewrite


def fused(arch: Architecture) -> Rewrite:
    """The architecture with each activation that follows another one composed with it, and what was changed.

    A node keeps its id and computes the composition; the activation before it goes, unless something else reads it.

    Raises
    ------
    ActivationError
        If one of the two has no formula, or their composition no activation.
    """
    readers = Counter(name for node in arch.nodes for name in node.inputs)
    nodes: dict[str, Node] = {}
    made: dict[tuple[Any, Any], Activation] = {}
    changes: list[Change] = []
    for node in arch.nodes:
        before = nodes[node.inputs[0]] if node.inputs else None
        if isinstance(node.op, Nonlinear) and before is not None and isinstance(before.op, Nonlinear):
            pair = (node.op.function, before.op.function)
            whole = made[pair] = made[pair] if pair in made else _composed(*pair)
            changes.append(Change(node.id, f"{node.op.name} after {before.id}", whole.name))
            readers[before.id] -= 1
            readers[before.inputs[0]] += 1
            if not readers[before.id] and before.id not in arch.outputs:
                del nodes[before.id]
                readers[before.inputs[0]] -= 1
            node = Node(node.id, Nonlinear(whole), before.inputs)
        nodes[node.id] = node
    if not changes:
        return Rewrite(arch, ())
    return Rewrite(Architecture(arch.name, tuple(nodes.values()), arch.outputs), tuple(changes))


def _composed(outer: Any, inner: Any) -> Activation:
    last, first = activation(outer).sympy, activation(inner).sympy
    (u,) = last.free_symbols or (None,)
    composition: Any = last if u is None else last.subs(u, first)
    return Activation.from_sympy(composition, name=f"{_label(outer)}({_label(inner)})")


def _label(function: Any) -> str:
    """A name that tells activations with different parameters apart."""
    act = activation(function)
    parameters = ", ".join(f"{key}={value!r}" for key, value in act.parameters.items())
    return f"{act.name}[{parameters}]" if parameters and not isinstance(function, str) else act.name
