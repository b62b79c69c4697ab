"""The gradient flow (3)-(4) of every edge as matrix expressions in the paper's notation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import sympy

from qcmap.architecture.gated._network import GatedNetwork
from qcmap.symbolic._local import Expr
from qcmap.symbolic.gated._paths import Statistics, statistics


@dataclass(frozen=True, eq=False)
class GradientFlow:
    """tau dW_e/dt of every edge as a sum over paths.

    Attributes
    ----------
    network
        The network.
    statistics
        Its paths, and which of their statistics are not zero.
    """

    network: GatedNetwork
    statistics: Statistics

    @cached_property
    def weights(self) -> Mapping[str, Expr]:
        """The matrix symbol W_e of each edge."""
        return {edge: sympy.MatrixSymbol(f"W_{edge}", *self._shape(edge)) for edge in self.network.edges}

    @cached_property
    def moments(self) -> Mapping[str, Expr]:
        """The matrix symbols ``Sigma_yx(p)`` and ``Sigma_x(j,p)`` that are not zero, by name; paths count from 1."""
        listed = self.statistics.paths
        found = {}
        for p in self.statistics.yx:
            name = f"Sigma_yx({p + 1})"
            found[name] = sympy.MatrixSymbol(name, self._size(listed[p].target), self._size(listed[p].source))
        for j, p in self.statistics.x:
            name = f"Sigma_x({j + 1},{p + 1})"
            found[name] = sympy.MatrixSymbol(name, self._size(listed[j].source), self._size(listed[p].source))
        return found

    @cached_property
    def equations(self) -> Mapping[str, Expr]:
        """``tau dW_e/dt``: equation (3) with the errors (4) written out."""
        return {edge: self._rate(edge) for edge in self.network.edges}

    def error(self, p: int) -> Expr:
        """The error (4) of path p (counted from 0)."""
        listed = self.statistics.paths
        path = listed[p]
        zero = sympy.ZeroMatrix(self._size(path.target), self._size(path.source))
        terms = [self.moments[f"Sigma_yx({p + 1})"]] if p in self.statistics.yx else []
        for j, other in enumerate(listed):
            if (j, p) in self.statistics.x:
                product = self._product(other.edges, self._size(other.source))
                terms.append(-product * self.moments[f"Sigma_x({j + 1},{p + 1})"])
        return sympy.MatAdd(*terms) if terms else zero

    def _rate(self, edge: str) -> Expr:
        terms = []
        for p in self.statistics.through(edge):
            path = self.statistics.paths[p]
            at = path.edges.index(edge)
            error = self.error(p)
            if isinstance(error, sympy.ZeroMatrix):
                continue
            before = self._product(path.edges[:at], self._size(path.source))
            after = self._product(path.edges[at + 1 :], self._shape(edge)[0])
            terms.append(after.T * error * before.T)
        return sympy.MatAdd(*terms) if terms else sympy.ZeroMatrix(*self._shape(edge))

    def _product(self, edges: Sequence[str], size: Any) -> Expr:
        """W of a path: the last edge on the left."""
        return sympy.MatMul(*(self.weights[edge] for edge in reversed(edges))) if edges else sympy.Identity(size)

    def _shape(self, edge: str) -> tuple[Any, Any]:
        return self._size(edge), self._size(self.network.architecture[edge].inputs[0])

    def _size(self, node: str) -> Any:
        """A layer's channels; the symbol n and the layer's first node where they are not known."""
        network = self.network
        members = [name for name, layer in network.layers.items() if layer == network.layers[node]]
        known = [size for name in members if (size := network.architecture.channels[name]) is not None]
        return known[0] if known else sympy.Symbol(f"n_{members[0]}", integer=True, positive=True)

    def __str__(self) -> str:
        """Paths that some context trains, their statistics (11)-(12) where these are symbols, and the flow.

        Symbols are those of one mode in the bases that the statistics share.
        """
        found = self.statistics
        trained = sorted({*found.yx, *(path for pair in found.x for path in pair)})
        lines = [f"path {k + 1}: {found.paths[k]}" for k in trained]
        if rest := len(found.paths) - len(trained):
            lines.append(f"trained in no context: {rest} of {len(found.paths)} paths, left out")
        for name, value in zip(self.moments, (*found.yx.values(), *found.x.values()), strict=True):
            if not isinstance(value, np.ndarray):
                lines.append(f"{name} = {value}")
        return "\n".join(lines + [f"tau dW_{edge}/dt = {rate}" for edge, rate in self.equations.items()])

    def _repr_latex_(self) -> str:
        rows = [rf"\tau \dot{{W}}_{{{edge}}} &= {sympy.latex(rate)}" for edge, rate in self.equations.items()]
        return "$\\begin{aligned}" + r" \\ ".join(rows) + "\\end{aligned}$"

    def __repr__(self) -> str:
        return f"<gradient flow of {len(self.network.edges)} edges along {len(self.statistics.paths)} paths>"


def gradient_flow(network: GatedNetwork, *, most: int = 1000) -> GradientFlow:
    """The gradient flow (3)-(6) of every edge as a sum over paths, for networks with few of them.

    Raises
    ------
    ArgumentError
        If the network has more than ``most`` paths.
    """
    return GradientFlow(network, statistics(network, most=most))
