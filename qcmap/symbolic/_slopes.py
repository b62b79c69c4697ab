"""Slope polynomials and the maximal slope function of an architecture (DKS, sections 17 and 21.3).

The subnetworks are the pairs (u, v) where u dominates v. Slopes multiply along a chain of dominators,
p(u -> v) = p(u -> idom v) p(idom v -> v), and p(idom v -> v) is the mean over v's branches of p(idom v -> branch) with
the squares of the weights. Each p is at least 1 for psi >= 1, so a subnetwork never has a larger slope than one that
extends it upstream or downstream: mu(psi) is the maximum over the leaves of the dominator tree, each taken from its
topmost dominator. docs/dominators.md has the proof.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Literal

from qcmap.architecture import Affine, Architecture, Concat, LayerNorm, Node, Nonlinear, Sum, Weight, raw_maps
from qcmap.errors import ArchitectureError, ArgumentError
from qcmap.symbolic._activations import resolved
from qcmap.symbolic._algebra import mean_of, mean_polynomial
from qcmap.symbolic._polynomial import ONE, SlopePolynomial, product_of, slope
from qcmap.symbolic._shares import exact
from qcmap.symbolic._weights import mean_weights, q_value, refuse_unmapped

Layers = Literal["shared", "activation", "layer"]
_NAMES: dict[str, Callable[[Node], str]] = {
    "shared": lambda node: "psi",
    "activation": lambda node: f"psi_{node.op.name}",  # pyright: ignore[reportAttributeAccessIssue]
    "layer": lambda node: f"psi_{node.id}",
}


def slope_polynomial(
    arch: Architecture,
    source: str | None = None,
    target: str | None = None,
    *,
    layers: Layers = "shared",
    q: Mapping[str, Weight] | None = None,
) -> SlopePolynomial:
    """The slope polynomial of the subnetwork from ``source`` to ``target`` (DKS, section 21.3).

    Parameters
    ----------
    arch
        An architecture. Its pooling layers count as the identity; so do its layer norms, which is exact where their
        inputs have channel mean zero, as after affine or shaped layers (section 19.2).
    source, target
        Node ids; the only input and the only output if left out.
    layers
        ``"shared"``: all nonlinear layers have the slope psi; ``"activation"``: one slope psi_name for each activation;
        ``"layer"``: one slope psi_id for each nonlinear node.
    q
        The q value at each node, if they are not all equal (footnote 10); numbers or expressions.

    Raises
    ------
    ArchitectureError
        If the pair is not a subnetwork, a default is ambiguous, a q value is missing, or biases have a variance and no
        q values are given; also if q values are given and a layer norm's input has a channel mean that is not 0.
    """
    if not isinstance(layers, str) or layers not in _NAMES:
        raise ArgumentError("layers", f"it must be one of {', '.join(_NAMES)}, not {layers!r}", "use layers='shared'")
    if layers == "activation":
        resolved(arch)  # two activations of one name would share a slope
    above, below = subnetwork_ends(arch, source, target)
    return Factors(arch, _NAMES[layers], q).along(below, above)


def subnetwork_ends(arch: Architecture, source: str | None, target: str | None) -> tuple[int, int]:
    """The positions of the ends of a subnetwork; raises `ArchitectureError` if the pair is none."""
    return arch.ends(
        only(arch, arch.inputs, "source", "input") if source is None else source,
        only(arch, arch.outputs, "target", "output") if target is None else target,
    )


def only(arch: Architecture, candidates: Sequence[str], argument: str, what: str) -> str:
    """The one candidate for an argument that was left out; raises `ArchitectureError` if there are several."""
    if len(candidates) != 1:
        raise ArchitectureError(
            arch.name, f"it has {len(candidates)} {what}s, so {argument} must be given",
            f"pass {argument}= one of its nodes",
        )  # fmt: skip
    return candidates[0]


class Factors:
    """The factor p(idom v -> v) of each node, computed once."""

    def __init__(
        self, arch: Architecture, name: Callable[[Node], str] = _NAMES["shared"], q: Mapping[str, Weight] | None = None
    ) -> None:
        self.arch, self.parent, self.name, self.q = arch, arch.dominators.parent, name, q
        self.factor: list[SlopePolynomial] = []
        for v in range(len(arch.nodes)):
            self.factor.append(self._local(v))

    def _local(self, v: int) -> SlopePolynomial:
        node, parent = self.arch.nodes[v], self.parent[v]
        op = node.op
        if isinstance(op, Nonlinear):
            return slope(self.name(node))
        if isinstance(op, (Sum, Concat)) and parent >= 0:
            known = {parent: ONE}
            # In topological order, so that branches along one chain share their products.
            done = {u: self._product(u, known) for u in sorted(set(self.arch.predecessors[v]))}
            branches = [done[u] for u in self.arch.predecessors[v]]
            return mean_of(mean_weights(self.arch, v, self.q), branches)
        if isinstance(op, Affine) and op.bias_variance != 0 and self.q is not None:
            # m becomes weight_variance * m + bias_variance, and c = m / q, so C' = weight_variance * q_in / q_out.
            ratio = exact(op.weight_variance) * exact(q_value(self.q, node.inputs[0]))
            return mean_polynomial([(ratio / exact(q_value(self.q, node.id)), ONE)])
        refuse_unmapped(node)
        if isinstance(op, LayerNorm) and op.centre and self.q is not None and self._raw[node.inputs[0]] is not None:
            raise ArchitectureError(
                node.id, "its input has a channel mean, so its slope is not 1 and q values do not tell it",
                "use symbolic.c_derivative(arch, c=1)",
            )  # fmt: skip
        return ONE

    @cached_property
    def _raw(self) -> dict[str, str | None]:
        return raw_maps(self.arch)

    def along(self, below: int, above: int) -> SlopePolynomial:
        """p(above -> below), the product of the factors of the dominators strictly under ``above``."""
        return self._product(below, {above: ONE})

    def _product(self, below: int, known: dict[int, SlopePolynomial]) -> SlopePolynomial:
        """The product of the factors from ``below`` up to the first dominator with a known one; it is kept."""
        chain: list[int] = []
        while below not in known:
            chain.append(below)
            below = self.parent[below]
        result = product_of([known[below], *(self.factor[v] for v in chain if self.factor[v] is not ONE)])
        known[chain[0] if chain else below] = result
        return result
