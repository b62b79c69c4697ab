"""The values that symbolic maps carry, and the values that they start from."""

from __future__ import annotations

from typing import Any, NamedTuple

import sympy

from qcmap.architecture import OPS, Algebra, Architecture, Node, Nonlinear
from qcmap.errors import ArchitectureError, ArgumentError
from qcmap.symbolic._local import Expr


class Pair(NamedTuple):
    """What a pair of inputs becomes at a node, in sympy; the channel means are None where not known."""

    c: Expr
    q1: Expr
    q2: Expr
    mean1: Expr | None = None
    mean2: Expr | None = None

    @property
    def m(self) -> Expr:
        """The m value, c sqrt(q1 q2)."""
        return self.c * middle(self.q1, self.q2)

    @property
    def same(self) -> bool:
        """Whether both inputs have the same values here, so that c stays 1."""
        return self.c == 1 and self.q1 == self.q2 and self.mean1 == self.mean2


def middle(q1: Expr, q2: Expr) -> Expr:
    """sqrt(q1 q2), without a root where the two are the same."""
    return q1 if q1 == q2 else sympy.sqrt(q1) * sympy.sqrt(q2)


def start_symbols() -> tuple[Expr, Expr, Expr]:
    """The symbols c, q1, q2 of a network's input: c real, q1 and q2 positive."""
    real: Any = sympy.Symbol("c", real=True)
    return real, sympy.Symbol("q1", positive=True), sympy.Symbol("q2", positive=True)


def gate_symbols(name: str) -> tuple[Expr, Expr]:
    """The values of a gating variable for the two inputs: positive symbols ``name`` and ``name'``."""
    return sympy.Symbol(name, positive=True), sympy.Symbol(f"{name}'", positive=True)


_DEEPEST = 100


def refuse_depth(arch: Architecture) -> None:
    """Raise `ArchitectureError` for a path of more activations than sympy's recursion bears."""

    def deeper(node: Node, values: list[int]) -> int:
        return max(values, default=0) + isinstance(node.op, Nonlinear)

    depth = arch.fold(Algebra("depth", dict.fromkeys(OPS.values(), deeper)))
    for name, layers in depth.items():
        if layers > _DEEPEST:
            raise ArchitectureError(
                name, f"its expression nests {layers} maps, too deep for sympy",
                "use SymbolicMaps(arch, stepwise=True), or qcmap.network_maps for numbers",
            )  # fmt: skip


def size(name: str, value: Any) -> Expr:
    given = sympy.sympify(value)
    if given.is_number and not (given.is_finite and given.is_positive):
        raise ArgumentError(name, f"q values are positive and finite, not {value}", "check the inputs")
    return given


def cosine(value: Any) -> Expr:
    given = sympy.sympify(value)
    if given.is_number and not (given.is_real and abs(given) <= 1):
        raise ArgumentError("c", f"c values lie in [-1, 1], not {value}", "check the inputs")
    return given
