"""What tailored activation transformations bound: C''(1) and C(0), at their largest over subnetworks.

(Zhang, Botev and Martens, 2022; docs/tailored.md has the derivations.) Both take activations whose C maps have
C'(1) = 1.

*Curvature.* If all local slopes at 1 are 1, second derivatives at 1 add along compositions,
(g o h)''(1) = g''(1) h'(1)^2 + g'(1) h''(1) = g''(1) + h''(1), and sums average them. With one local value kappa that
is kappa times the derivative of the slope polynomial at psi = 1, which follows the same rules. Curvatures are at least
0, so the dominator argument holds, and the maximum is at a leaf.

*C(0).* C_f(0) for f = h o g is C_h(C_g(0)). C maps are increasing on [0, 1] with C_g(0) >= 0, so extending a subnetwork
upstream never lowers C_f(0). Downstream it does not either if every local map has C(c) >= c on [0, 1], as a convex one
with C'(1) <= 1 has. With C'(1) > 1 that fails, and leaves do not serve: the maximum is then over all nodes, still each
from its topmost dominator. It is taken over all nodes here, so it is right in both cases.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from qcmap.architecture import OPS, Algebra, Architecture, Concat, Input, Node, Nonlinear, Op, Sum
from qcmap.errors import ArchitectureError, ArgumentError, NumericalError
from qcmap.symbolic._activations import resolved
from qcmap.symbolic._shares import Share, expression, is_rational, number, shares_of
from qcmap.symbolic._slopes import subnetwork_ends
from qcmap.symbolic._weights import mean_weights, refuse_unmapped

if TYPE_CHECKING:
    import sympy

LocalMap = Callable[[Any], Any]
"""A local C map of c alone: of a number, or of a sympy expression."""


@dataclass(frozen=True)
class Extreme:
    """A subnetwork and its value."""

    source: str
    target: str
    value: Any


def _shares(arch: Architecture, v: int) -> list[Share]:
    return shares_of(mean_weights(arch, v))


class _Curvatures:
    """For each node, kappa's factor in the curvature from its topmost dominator, exactly."""

    def __init__(self, arch: Architecture) -> None:
        self.arch, parent = arch, arch.dominators.parent
        self.total: list[Any] = []
        self.top: list[int] = []
        for v, node in enumerate(arch.nodes):
            refuse_unmapped(node)
            above, sources = parent[v], arch.predecessors[v]
            self.top.append(v if above < 0 else self.top[above])
            if above < 0:
                self.total.append(0)
            elif isinstance(node.op, (Sum, Concat)):
                self.total.append(sum(s * self.total[u] for s, u in zip(_shares(arch, v), sources, strict=True)))
            else:
                self.total.append(self.total[above] + int(isinstance(node.op, Nonlinear)))


def curvature(arch: Architecture, source: str | None = None, target: str | None = None) -> sympy.Expr:
    """C_f''(1) of a subnetwork in units of the local C''(1), all local slopes being C'(1) = 1.

    The mean number of nonlinear layers on a path, drawn backwards with the squared weights of sums; exact.

    Raises
    ------
    ArchitectureError
        As `slope_polynomial`.
    """
    above, below = subnetwork_ends(arch, source, target)
    inner = arch.subnetwork(arch.nodes[above].id, arch.nodes[below].id)
    return expression(_as_share(_Curvatures(inner).total[inner.index[arch.nodes[below].id]]))


def _as_share(value: Any) -> Share:
    from fractions import Fraction

    return Fraction(value) if isinstance(value, int) else value


class MaximalCurvature:
    """The largest C_f''(1) over all subnetworks f, for local maps with C'(1) = 1 and C''(1) = kappa.

    It is ``coefficient`` times kappa.
    """

    def __init__(self, arch: Architecture) -> None:
        if not any(isinstance(node.op, Nonlinear) for node in arch.nodes):
            raise ArchitectureError(arch.name, "it has no nonlinear layer, so no curvature", "add an activation")
        self.architecture = arch

    @cached_property
    def candidates(self) -> tuple[Extreme, ...]:
        """The subnetworks that may attain the maximum: one if all weights are numbers, else those at leaves."""
        arch, found = self.architecture, _Curvatures(self.architecture)
        rows: dict[Any, Extreme] = {}
        for v in reversed(arch.dominators.leaves):
            value = found.total[v]
            rows.setdefault(value, Extreme(arch.nodes[found.top[v]].id, arch.nodes[v].id, value))
        if all(is_rational(value) for value in rows):
            best = max(rows)
            return (Extreme(rows[best].source, rows[best].target, expression(_as_share(best))),)
        return tuple(Extreme(row.source, row.target, expression(_as_share(row.value))) for row in rows.values())

    @property
    def coefficient(self) -> sympy.Expr:
        """The largest curvature in units of kappa: an exact number, or the Max of several expressions."""
        import sympy

        if len(self.candidates) == 1:
            return self.candidates[0].value
        maximum: Any = sympy.Max
        return maximum(*(candidate.value for candidate in self.candidates))

    def __call__(self, kappa: float) -> float:
        """The largest C_f''(1) for local curvature kappa >= 0; raises `ArgumentError` for other kappa."""
        return self._number() * _positive("kappa", kappa, zero=True)

    def inverse(self, tau: float) -> float:
        """The kappa at which the largest C_f''(1) is tau > 0; raises `ArgumentError` for other tau."""
        return _positive("tau", tau) / self._number()

    def _number(self) -> float:
        coefficient: Any = self.coefficient
        if coefficient.free_symbols:
            raise ArchitectureError(
                self.architecture.name,
                "its curvature depends on symbols",
                "give them numbers with arch.substitute(...)",
            )
        return float(coefficient)

    def __repr__(self) -> str:
        return f"<maximal curvature {self.coefficient} kappa>"


def maximal_curvature(arch: Architecture) -> MaximalCurvature:
    """The largest C_f''(1) over all subnetworks, as a multiple of the local C''(1), all local slopes being 1.

    Raises
    ------
    ArchitectureError
        If the architecture has no nonlinear layer.
    """
    return MaximalCurvature(arch)


class MaximalC0:
    """The largest C_f(0) over all subnetworks f, as a function of the local C map (one for all layers, or by name).

    q values are taken as equal, pooling and layer norms as the identity.
    """

    def __init__(self, arch: Architecture) -> None:
        self.architecture = arch

    def values(self, local: LocalMap | Mapping[str, LocalMap], zero: Any = 0.0) -> dict[str, Any]:
        """C_f(0) from each node's topmost dominator to the node, by id; ``zero`` is the c value to start from."""
        arch, parent = self.architecture, self.architecture.dominators.parent
        if isinstance(local, Mapping):
            resolved(arch)  # two activations of one name would share a map

        def mapped(node: Node, values: list[Any]) -> Any:
            assert isinstance(node.op, Nonlinear)
            if isinstance(local, Mapping) and node.op.name not in local:
                raise ArgumentError("local", f"it has no map for {node.op.name}", f"give one: {node.id} needs it")
            return (local[node.op.name] if isinstance(local, Mapping) else local)(values[0])

        def mixed(node: Node, values: list[Any]) -> Any:
            v = arch.index[node.id]
            if parent[v] < 0:
                return zero
            exact = hasattr(zero, "free_symbols")
            shares = [expression(share) if exact else number(share) for share in _shares(arch, v)]
            return sum(share * value for share, value in zip(shares, values, strict=True))

        def same(node: Node, values: list[Any]) -> Any:
            refuse_unmapped(node)
            return values[0]

        rules: dict[type[Op], Callable[[Node, list[Any]], Any]] = {
            **dict.fromkeys(OPS.values(), same),
            Input: lambda node, values: zero,
            Nonlinear: mapped,
            Sum: mixed,
            Concat: mixed,
        }
        return arch.fold(Algebra("C(0)", rules))

    def argmax(self, local: LocalMap | Mapping[str, LocalMap]) -> Extreme:
        """The subnetwork with the largest C_f(0); raises as a call does."""
        arch, tree = self.architecture, self.architecture.dominators
        values = {node: float(value) for node, value in self.values(local).items()}
        bad = next((node for node, value in values.items() if not -1e-9 <= value <= 1 + 1e-9), None)
        if bad is not None:
            raise NumericalError(bad, f"its C(0) is {values[bad]:g}", "give a C map, which sends [0, 1] into [0, 1]")
        best = max(values, key=values.__getitem__)
        return Extreme(arch.nodes[tree.chain(arch.index[best])[-1]].id, best, values[best])

    def __call__(self, local: LocalMap | Mapping[str, LocalMap]) -> float:
        """The largest C_f(0), for a local C map of floats that is increasing on [0, 1] with C(0) >= 0.

        Raises
        ------
        NumericalError
            If a value leaves [0, 1]: then ``local`` is no C map.
        """
        return self.argmax(local).value


def maximal_c0(arch: Architecture) -> MaximalC0:
    """The largest C_f(0) over all subnetworks of an architecture, as a function of the local C map."""
    return MaximalC0(arch)


def _positive(name: str, value: float, *, zero: bool = False) -> float:
    try:
        number = math.nan if isinstance(value, (bool, str)) else float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not (number < math.inf and (number > 0 or (zero and number == 0))):
        least = "of at least 0" if zero else "above 0"
        raise ArgumentError(name, f"it must be a finite number {least}, not {value!r}", "give such a number")
    return number
