"""Architectures from architectures: numbers for symbols, normalized sums."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from qcmap.architecture._node import Node
from qcmap.architecture._ops import Gate, Op, Scale, Sum
from qcmap.architecture._values import is_symbolic
from qcmap.errors import ArchitectureError

if TYPE_CHECKING:
    from qcmap.architecture._architecture import Architecture
    from qcmap.architecture._ops import Weight


class Change(NamedTuple):
    """What a rewriting did to a node."""

    node: str
    before: str
    after: str

    def __str__(self) -> str:
        return f"{self.node}: {self.before} -> {self.after}"


class Rewrite(NamedTuple):
    """A rewritten architecture and the changes, in node order (none: it is the given one)."""

    architecture: Architecture
    changes: tuple[Change, ...]


def _constants(op: Op) -> list[Any]:
    """The values of an op's fields that may be symbolic."""
    found: list[Any] = []
    for name in op.constants:
        value = getattr(op, name)
        found.extend(value if isinstance(value, tuple) else (value,))
    return found


def symbols_of(nodes: Iterable[Node]) -> tuple[str, ...]:
    """The names of all symbols and gating variables, sorted."""
    names: set[str] = set()
    for node in nodes:
        if isinstance(node.op, Gate):
            names.add(node.op.name)
        elif node.op.constants:
            names.update(str(s) for value in _constants(node.op) if is_symbolic(value) for s in value.free_symbols)
    return tuple(sorted(names))


def substituted(arch: Architecture, values: Mapping[str, Weight]) -> Architecture:
    """`Architecture.substitute`."""
    for name in values:
        if name not in arch.symbols:
            known = ", ".join(arch.symbols) or "none"
            raise ArchitectureError(arch.name, f"it has no symbol {name!r}", f"its symbols: {known}")

    # Exact values stay exact; a float makes floats.
    exact = all(hasattr(given, "free_symbols") for given in values.values())

    def number(field: str, value: Any) -> Any:
        if isinstance(value, tuple):
            return tuple(number(field, item) for item in value)
        if not is_symbolic(value):
            return value
        # By name: a symbol with assumptions is not equal to the plain symbol that its name would make.
        try:
            result = value.subs({s: values[s.name] for s in value.free_symbols if s.name in values})
        except (TypeError, ValueError, AttributeError) as error:
            raise ArchitectureError(arch.name, f"{values} are not numbers ({error})", "give numbers") from error
        if is_symbolic(result) or not result.is_extended_real:
            # What is no real number stays as it is, for the op's own check to refuse.
            return result
        if field == "channels" and result.is_integer:
            return int(result)
        return result if exact and not result.is_Float else float(result)

    def changed(op: Op) -> Op:
        if isinstance(op, Gate):
            if op.name in values and values[op.name] == 0:
                raise ArchitectureError(op.name, "a closed gate lets nothing pass", "take out the nodes behind it")
            return Scale(values[op.name]) if op.name in values else op
        if not any(map(is_symbolic, _constants(op))):
            return op
        return dataclasses.replace(op, **{name: number(name, getattr(op, name)) for name in op.constants})

    nodes = tuple(Node(node.id, changed(node.op), node.inputs) for node in arch.nodes)
    return type(arch)(arch.name, nodes, arch.outputs)


def normalized(arch: Architecture) -> Rewrite:
    """`Architecture.normalized`."""
    changes: list[Change] = []
    stands_for: dict[str, str] = {}
    nodes: list[Node] = []
    for node in arch.nodes:
        inputs = tuple(stands_for.get(name, name) for name in node.inputs)
        op = node.op
        if isinstance(op, Scale):
            stands_for[node.id] = inputs[0]
            changes.append(Change(node.id, f"multiplication by {op.factor}", "taken out"))
            continue
        if isinstance(op, Sum):
            op = _unit(op)
            if op != node.op:
                changes.append(Change(node.id, f"weights {_listed(node.op)}", f"weights {_listed(op)}"))
        nodes.append(Node(node.id, op, inputs))
    if not changes:
        return Rewrite(arch, ())
    outputs = tuple(dict.fromkeys(stands_for.get(name, name) for name in arch.outputs))
    return Rewrite(type(arch)(arch.name, tuple(nodes), outputs), tuple(changes))


def squares_sum(op: Sum) -> Any:
    """The sum of the squared weights: a float, or a simplified sympy expression."""
    if any(hasattr(weight, "free_symbols") for weight in op.weights):
        import sympy

        simplify: Any = sympy.simplify
        return simplify(sympy.Add(*(weight**2 for weight in op.weights)))
    return math.fsum(float(weight) ** 2 for weight in op.weights)


def is_normalized(op: Sum) -> bool:
    """Whether the squared weights add up to 1 (symbols: by sympy's simplification; numbers: to 1e-12)."""
    total = squares_sum(op)
    return total == 1 if is_symbolic(total) else abs(float(total) - 1) <= 1e-12


def _unit(op: Sum) -> Sum:
    if is_normalized(op):
        return op
    total = squares_sum(op)
    if not hasattr(total, "free_symbols"):
        return Sum(tuple(float(weight) / math.sqrt(total) for weight in op.weights))
    import sympy

    root: Any = sympy.sqrt(total)
    return Sum(tuple(sympy.simplify(weight / root) for weight in op.weights))


def _listed(op: Op) -> str:
    assert isinstance(op, Sum)
    return ", ".join(
        str(weight) if hasattr(weight, "free_symbols") else f"{float(weight):.6g}" for weight in op.weights
    )
