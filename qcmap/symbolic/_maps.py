"""Extended Q and C maps in sympy: one walk over the graph (DKS, sections 7 and 9; docs/maps.md).

The value at a node is a pair of inputs' (c, q1, q2) and channel means. Sums add q and m values, m = c sqrt(q1 q2), with
squared weights (equations 12 and 13), concatenations average them by channels (8 and 9), an affine layer makes m into
weight_variance * m + bias_variance, a layer norm subtracts the product of the channel means and divides (section 19.2),
a gate multiplies by its variable, pooling is the identity.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import sympy

from qcmap.architecture import (
    TRANSPARENT,
    Affine,
    Algebra,
    Architecture,
    Concat,
    Gate,
    Input,
    LayerNorm,
    Node,
    Nonlinear,
    Op,
    Scale,
    Sum,
    refuse_without_maps,
)
from qcmap.errors import ArchitectureError
from qcmap.symbolic._activations import resolved
from qcmap.symbolic._local import Expr, LocalForms, uniform_c
from qcmap.symbolic._pair import Pair, cosine, gate_symbols, middle, refuse_depth, size, start_symbols
from qcmap.symbolic._shares import Share, exact, expression, shares_of
from qcmap.symbolic._slopes import only
from qcmap.symbolic._weights import channel_counts, refuse_unmapped


class SymbolicMaps:
    """The values (c, q1, q2) at every node.

    Parameters
    ----------
    arch
        The architecture; weights, channels and variances may be symbols.
    c, q1, q2
        Expressions for the inputs' values, the symbols of `start_symbols` if left out; q2 is q1 if only that is given.
    uniform
        All q values are 1 and activations are shaped (Q(1) = 1, C(0) = 0), so that each has a C map of c alone.
    stepwise
        Give what comes out of each activation symbols of its own, c_id, q1_id, q2_id, so that no expression grows with
        depth; `definitions` says what they stand for.
    own_q
        Whether inputs with a q value other than 1 (`Input.q`) keep it; if left out, exactly if no q value is given.

    Attributes
    ----------
    values
        The pair (c, q1, q2) at every node.
    definitions
        Pairs (symbol, expression) in the order in which they can be evaluated, as `sympy.cse` gives them; empty unless
        ``stepwise``.

    Raises
    ------
    ArchitectureError
        For correlated branches of a sum, a fan-in convolution, an op without maps, a layer norm of an input; for more
        than 100 activations on one path, unless ``stepwise``.
    """

    def __init__(
        self,
        arch: Architecture,
        c: Expr = None,
        q1: Expr = None,
        q2: Expr = None,
        *,
        uniform: bool = False,
        stepwise: bool = False,
        own_q: bool | None = None,
    ) -> None:
        refuse_without_maps(arch)
        self.arch, self.uniform, self.stepwise = arch, uniform, stepwise
        self.definitions: list[tuple[Expr, Expr]] = []
        if not (stepwise or (uniform and c == 1)):
            refuse_depth(arch)
        self.forms = {name: LocalForms(act) for name, act in resolved(arch).items()}
        symbols = start_symbols()
        one = sympy.Integer(1)
        first = symbols[1] if q1 is None else size("q1", q1)
        second = size("q2", q2) if q2 is not None else symbols[2] if q1 is None else first
        given = symbols[0] if c is None else cosine(c)
        self.start = Pair(given, one, one) if uniform else Pair(given, first, second)
        keep = (q1 is None and q2 is None if own_q is None else own_q) and not uniform

        def started(node: Node, values: list[Pair]) -> Pair:
            assert isinstance(node.op, Input)
            own = constant(node.op.q)
            return Pair(given, own, own) if keep and own != 1 else self.start

        rules: dict[type[Op], Callable[[Node, list[Pair]], Pair]] = {
            **dict.fromkeys(TRANSPARENT, _unchanged),
            Input: started,
            Affine: self._affine,
            Nonlinear: self._nonlinear,
            Sum: self._sum,
            Concat: self._concat,
            Scale: self._scale,
            LayerNorm: self._layer_norm,
            Gate: self._gate,
        }
        self.values: Mapping[str, Pair] = arch.fold(Algebra("symbolic C map", rules))

    def _affine(self, node: Node, values: list[Pair]) -> Pair:
        assert isinstance(node.op, Affine)
        (v,), op, zero = values, node.op, sympy.Integer(0)
        if self.uniform:
            refuse_unmapped(node)
        if self.uniform or (op.weight_variance == 1 and op.bias_variance == 0):
            return v._replace(mean1=zero, mean2=zero)
        a, b = constant(op.weight_variance), constant(op.bias_variance)
        q1, q2 = a * v.q1 + b, a * v.q2 + b
        c = v.c if b == 0 or v.same else (a * v.m + b) / middle(q1, q2)
        return Pair(c, q1, q2, zero, zero)

    def _nonlinear(self, node: Node, values: list[Pair]) -> Pair:
        assert isinstance(node.op, Nonlinear)
        (v,) = values
        if self.uniform:
            zero = sympy.Integer(0)
            return self._step(node, v._replace(c=uniform_c(node.op.name, v.c), mean1=zero, mean2=zero))
        forms = self.forms[node.op.name]
        q1, q2 = forms.second_moment(v.q1), forms.second_moment(v.q2)
        return self._step(node, Pair(forms.c_map(v.c, v.q1, v.q2), q1, q2, forms.mean(v.q1), forms.mean(v.q2)))

    def _step(self, node: Node, v: Pair) -> Pair:
        """The values of an activation, or symbols for those that are no numbers."""
        if not self.stepwise:
            return v

        def named(what: str, value: Expr, **assumptions: bool) -> Expr:
            if not value.free_symbols and not value.has(sympy.Function):
                return value
            symbol: Any = sympy.Symbol(f"{what}_{node.id}", **assumptions)
            self.definitions.append((symbol, value))
            return symbol

        q1 = named("q1", v.q1, positive=True)
        q2 = q1 if v.q2 == v.q1 else named("q2", v.q2, positive=True)
        return Pair(named("c", v.c, real=True), q1, q2, v.mean1, v.mean2)

    def shares(self, node: Node) -> tuple[list[Expr], list[Expr]]:
        """The factors with which a sum or concatenation adds its branches' m values, and their channel means."""
        if isinstance(node.op, Sum):
            weights = [constant(weight) for weight in node.op.weights]
            squares = [constant(weight**2) for weight in node.op.weights]
            return ([expression(s) for s in shares_of(squares)] if self.uniform else squares), weights
        counts: list[Share] = shares_of(channel_counts(self.arch, self.arch.index[node.id]))
        parts = [expression(count) for count in counts]
        return parts, parts

    def _sum(self, node: Node, values: list[Pair]) -> Pair:
        return _combined(values, *self.shares(node), uniform=self.uniform)

    def _concat(self, node: Node, values: list[Pair]) -> Pair:
        return _combined(values, *self.shares(node), uniform=self.uniform)

    def _scale(self, node: Node, values: list[Pair]) -> Pair:
        assert isinstance(node.op, Scale)
        (v,), a = values, constant(node.op.factor)
        if self.uniform:
            return v
        return Pair(v.c, a**2 * v.q1, a**2 * v.q2, *(None if mean is None else a * mean for mean in v[3:]))

    def _layer_norm(self, node: Node, values: list[Pair]) -> Pair:
        assert isinstance(node.op, LayerNorm)
        (v,), one, zero = values, sympy.Integer(1), sympy.Integer(0)
        if not node.op.centre:
            roots = (sympy.sqrt(v.q1), sympy.sqrt(v.q2))
            return Pair(v.c, one, one, *(None if m is None else m / r for m, r in zip(v[3:], roots, strict=True)))
        if v.mean1 is None or v.mean2 is None:
            if self.uniform:
                return v
            raise ArchitectureError(
                node.id, "a layer norm of a network input has no C map, since the input's channel mean is not known",
                "put an affine layer before it",
            )  # fmt: skip
        if v.same or (v.mean1 == 0 and v.mean2 == 0):
            return Pair(v.c, one, one, zero, zero)
        norm = middle(v.q1 - v.mean1**2, v.q2 - v.mean2**2)
        return Pair(sympy.cancel((v.m - v.mean1 * v.mean2) / norm), one, one, zero, zero)

    def _gate(self, node: Node, values: list[Pair]) -> Pair:
        assert isinstance(node.op, Gate)
        (v,), (g1, g2) = values, gate_symbols(node.op.name)
        if self.uniform:
            return v
        means = (None if mean is None else g * mean for g, mean in zip((g1, g2), v[3:], strict=True))
        return Pair(v.c, g1**2 * v.q1, g2**2 * v.q2, *means)


def constant(value: Any) -> Expr:
    """A constant of the wiring as an exact expression: a float is the simplest fraction within its rounding."""
    return expression(exact(value))


def _unchanged(node: Node, values: list[Pair]) -> Pair:
    return values[0]


def _combined(values: list[Pair], shares: list[Expr], mean_shares: list[Expr], *, uniform: bool) -> Pair:
    def total(parts: list[Expr]) -> Expr:
        return sympy.Add(*(share * part for share, part in zip(shares, parts, strict=True)))

    means: list[Expr | None] = []
    for known in ([v.mean1 for v in values], [v.mean2 for v in values]):
        complete = all(mean is not None for mean in known)
        means.append(sympy.Add(*(s * mean for s, mean in zip(mean_shares, known, strict=True))) if complete else None)
    if uniform:
        return Pair(total([v.c for v in values]), sympy.Integer(1), sympy.Integer(1), *means)
    q1, q2 = total([v.q1 for v in values]), total([v.q2 for v in values])
    alike = all(v.c == values[0].c and v.q1 == values[0].q1 and v.q2 == values[0].q2 for v in values)
    if alike or all(v.same for v in values):
        return Pair(values[0].c, q1, q2, *means)
    return Pair(total([v.m for v in values]) / middle(q1, q2), q1, q2, *means)


def only_output(arch: Architecture, target: str | None) -> str:
    """The target, or the only output; raises `ArchitectureError` if there are several."""
    return only(arch, arch.outputs, "target", "output") if target is None else arch[target].id


def q_values(arch: Architecture, q: Expr = None) -> dict[str, Expr]:
    """The q value at every node as an expression, for input q values ``q``.

    If it is left out, inputs have their own (`Input.q`), and those without one the positive symbol q.
    """
    start = sympy.Symbol("q", positive=True) if q is None else q
    return {name: value.q1 for name, value in SymbolicMaps(arch, 1, start, own_q=q is None).values.items()}


def q_map(arch: Architecture, target: str | None = None, q: Expr = None) -> Expr:
    """The extended Q map of an architecture in sympy (DKS, section 7.2).

    Parameters
    ----------
    arch
        The architecture; all of its inputs get the q value ``q``.
    target
        A node id; the only output if left out.
    q
        An expression; the positive symbol q if left out, or an input's own q value if it has one.

    Raises
    ------
    ArchitectureError
        As `SymbolicMaps`.
    """
    return q_values(arch, q)[only_output(arch, target)]


def c_map(
    arch: Architecture,
    target: str | None = None,
    c: Expr = None,
    q1: Expr = None,
    q2: Expr = None,
    *,
    uniform: bool = False,
) -> Expr:
    """The extended C map of an architecture in sympy (DKS, section 7.2).

    Parameters
    ----------
    arch
        The architecture; all of its inputs get the same values.
    target
        A node id; the only output if left out.
    c, q1, q2
        Expressions; the symbols c (real), q1 and q2 (positive) if left out, or an input's own q value if it has one; q2
        is q1 if only that is given.
    uniform
        The C map of the shaped network: all q values 1, and for each activation a function of c alone with C(0) = 0,
        C(1) = 1 and C'(1) = psi.

    Raises
    ------
    ArchitectureError
        As `SymbolicMaps`.
    """
    return SymbolicMaps(arch, c, q1, q2, uniform=uniform).values[only_output(arch, target)].c
