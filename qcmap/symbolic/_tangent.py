"""Derivatives of extended maps, and the infinite-width tangent kernel in sympy (DKS, 8.2 and 24.4; docs/tangent.md).

The kernel of the parameters of an affine node v is the m value at its output, times the derivative of the network's
output m value in it: Theta_v = m_v * d m_out / d m_v. For a chain of combined layers with bias variance 0 this is
equation 23, q_D C_g(c) C_h'(C_g(c)). One walk forward gives the m values, one backward all derivatives: q values do not
depend on c (section 8.2). sympy's own derivative of a C map would take as many terms as the network has paths.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

import sympy

from qcmap.architecture import (
    Affine,
    Architecture,
    Concat,
    DominatorTree,
    Gate,
    LayerNorm,
    Node,
    Nonlinear,
    Scale,
    Sum,
    is_depthwise,
)
from qcmap.errors import ArchitectureError, NumericalError
from qcmap.symbolic._local import Expr, readable, uniform_c
from qcmap.symbolic._maps import SymbolicMaps, constant, only_output
from qcmap.symbolic._pair import Pair, gate_symbols, middle


@dataclass(frozen=True)
class TangentKernel:
    """The tangent kernel of a network: one term for the parameters of each affine node.

    The parameters are those of the NTK parameterisation, of variance 1: a weight is sqrt(weight_variance / k) times its
    parameter, a bias sqrt(bias_variance) times its own. With weight variance 1 and bias variance 0 only weights count.
    ``definitions`` are those of `SymbolicMaps`, if the kernel was made step by step.
    """

    terms: Mapping[str, Expr]
    definitions: tuple[tuple[Expr, Expr], ...] = ()

    @cached_property
    def total(self) -> Expr:
        """The kernel of all parameters."""
        return sympy.Add(*self.terms.values())

    def _repr_latex_(self) -> str:
        return f"${sympy.latex(self.total)}$"

    def to_dict(self) -> dict[str, object]:
        """The terms and their sum as strings that sympy reads."""
        terms = {node: readable(term) for node, term in self.terms.items()}
        return {"terms": terms, "total": readable(self.total)}


def tangent_kernel(
    arch: Architecture,
    target: str | None = None,
    c: Expr = None,
    q1: Expr = None,
    q2: Expr = None,
    *,
    uniform: bool = False,
    stepwise: bool = False,
) -> TangentKernel:
    """The tangent kernel of an architecture in the limit of infinite width, for a pair of inputs.

    Parameters are those of `qcmap.symbolic.SymbolicMaps`. The output is averaged over its channels.

    Raises
    ------
    ArchitectureError
        As `c_map`, and for affine layers that share their parameters.
    NumericalError
        Where it is infinite: at c = 1 behind an activation that jumps.
    """
    owners: dict[str, str] = {}
    for node in arch.nodes:
        if isinstance(node.op, Affine) and node.op.parameters is not None:
            first = owners.setdefault(node.op.parameters, node.id)
            if first != node.id:
                what = f"it shares the parameters {node.op.parameters!r} with {first!r}, so the kernel has cross terms"
                raise ArchitectureError(node.id, what, "give each layer parameters of its own")
        refuse_kernel(arch, node)
    end = arch.index[only_output(arch, target)]
    maps = SymbolicMaps(arch, c, q1, q2, uniform=uniform, stepwise=stepwise)
    rates = _backward(maps, end)
    terms = {
        node.id: _finite(maps.values[node.id].m * rate, maps, node.id)
        for node, rate in zip(arch.nodes, rates, strict=True)
        if isinstance(node.op, Affine) and rate != 0
    }
    return TangentKernel(terms, tuple(maps.definitions))


def refuse_kernel(arch: Architecture, node: Node) -> None:
    """Raise `ArchitectureError` for a depthwise convolution: its kernel is no product of forward and backward values.

    The one weight of a channel meets that channel's forward and backward value only, which depend on each other.
    """
    if is_depthwise(arch, node):
        raise ArchitectureError(
            node.id, "the tangent kernel of a depthwise convolution has no formula", "take it out, or use groups=1"
        )


def c_derivative(
    arch: Architecture,
    target: str | None = None,
    c: Expr = None,
    q1: Expr = None,
    q2: Expr = None,
    *,
    uniform: bool = False,
) -> Expr:
    """The derivative of the extended C map in the input's c value (DKS, section 8.2).

    Parameters are those of `qcmap.symbolic.c_map`. With ``uniform=True`` and c=1 it is the slope polynomial, in one
    slope psi_name for each activation.

    Raises
    ------
    ArchitectureError
        As `c_map`.
    NumericalError
        Where it is infinite: at c = 1 behind an activation that jumps.
    """
    maps = SymbolicMaps(arch, c, q1, q2, uniform=uniform)
    name = only_output(arch, target)
    rates, end = _backward(maps, arch.index[name]), maps.values[name]
    starts = [(rates[arch.index[source]], maps.values[source]) for source in arch.inputs]
    rate = sympy.Add(*(rate * middle(start.q1, start.q2) for rate, start in starts))
    return _finite(rate / middle(end.q1, end.q2), maps, name)


def _finite(result: Expr, maps: SymbolicMaps, node: str) -> Expr:
    """The expression; raises `NumericalError` if it is infinite, which it can be where c is a number."""
    if maps.start.c.is_number and result.has(sympy.zoo, sympy.nan, sympy.oo):
        raise NumericalError(node, "the slope of a C map is infinite there", "ask for c below 1")
    return result


def _backward(maps: SymbolicMaps, end: int) -> list[Expr]:
    """The derivative of the m value at a node in that of every node, factored.

    Derivatives multiply along post-dominators, the nodes that all paths to the end pass: those of a block are a factor
    of all that comes before. So an expression is as large as the network, not as the number of its paths.
    """
    arch = maps.arch
    readers: list[list[tuple[int, Expr]]] = [[] for _ in range(end + 1)]
    reached = {end}
    for v in range(end, -1, -1):
        if v in reached:
            node = arch.nodes[v]
            inputs = [maps.values[name] for name in node.inputs]
            for u, rate in zip(arch.predecessors[v], _rates(maps, node, inputs), strict=True):
                readers[u].append((v, rate))
                reached.add(u)
    # The post-dominators are the dominators of the graph with its edges turned round.
    order = sorted(reached, reverse=True)
    position = {v: k for k, v in enumerate(order)}
    parent = DominatorTree([[position[v] for v, _ in readers[u]] for u in order]).parent
    local: list[Expr] = [sympy.Integer(1)]
    rates: list[Expr] = [sympy.Integer(0)] * len(arch.nodes)
    rates[end] = sympy.Integer(1)
    for k, u in enumerate(order[1:], start=1):
        above, terms = parent[k], []
        for v, rate in readers[u]:
            here, factors = position[v], [rate]
            while here != above:
                factors.append(local[here])
                here = parent[here]
            terms.append(sympy.Mul(*factors))
        local.append(sympy.Add(*terms))
        rates[u] = rates[order[above]] * local[k]
    return rates


def _rates(maps: SymbolicMaps, node: Node, inputs: list[Pair]) -> list[Expr]:
    """The derivative of a node's m value in those of its inputs."""
    rule = _RULES.get(type(node.op))
    return [sympy.Integer(1)] * len(inputs) if rule is None else rule(maps, node, inputs)


def _affine(maps: SymbolicMaps, node: Node, inputs: list[Pair]) -> list[Expr]:
    assert isinstance(node.op, Affine)
    return [sympy.Integer(1) if maps.uniform else constant(node.op.weight_variance)]


def _nonlinear(maps: SymbolicMaps, node: Node, inputs: list[Pair]) -> list[Expr]:
    assert isinstance(node.op, Nonlinear)
    (v,) = inputs
    if maps.uniform:
        return [uniform_c(node.op.name, v.c, 1)]
    out = maps.values[node.id]
    slope = maps.forms[node.op.name].c_map(v.c, v.q1, v.q2, order=1)
    return [middle(out.q1, out.q2) / middle(v.q1, v.q2) * slope]


def _mixed(maps: SymbolicMaps, node: Node, inputs: list[Pair]) -> list[Expr]:
    return maps.shares(node)[0]


def _scale(maps: SymbolicMaps, node: Node, inputs: list[Pair]) -> list[Expr]:
    assert isinstance(node.op, Scale)
    return [sympy.Integer(1) if maps.uniform else constant(node.op.factor) ** 2]


def _layer_norm(maps: SymbolicMaps, node: Node, inputs: list[Pair]) -> list[Expr]:
    assert isinstance(node.op, LayerNorm)
    (v,) = inputs
    if maps.uniform:
        return [sympy.Integer(1)]
    if not node.op.centre:
        return [1 / middle(v.q1, v.q2)]
    assert v.mean1 is not None, node  # else the walk forward has raised
    assert v.mean2 is not None, node
    return [1 / middle(v.q1 - v.mean1**2, v.q2 - v.mean2**2)]


def _gate(maps: SymbolicMaps, node: Node, inputs: list[Pair]) -> list[Expr]:
    assert isinstance(node.op, Gate)
    g1, g2 = gate_symbols(node.op.name)
    return [sympy.Integer(1) if maps.uniform else g1 * g2]


_RULES: Mapping[type, Callable[[SymbolicMaps, Node, list[Pair]], list[Expr]]] = {
    Affine: _affine,
    Nonlinear: _nonlinear,
    Sum: _mixed,
    Concat: _mixed,
    Scale: _scale,
    LayerNorm: _layer_norm,
    Gate: _gate,
}
