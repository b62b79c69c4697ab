"""Mean and variance of the tangent kernel of fully-connected chains of any width, with gates fixed (docs/paths.md).

E K^2 is a sum over four paths p_a, p_a', p_b, p_b' and two weights theta_a, theta_b (NPF, Prop. B.3 (18)). A term is
not zero only if the paths share their weights in pairs in every layer (Prop. B.5). Between two layers the four pass one
unit, or two units in one of three pairings, so E K^2 is a product of small matrices: a walk with four numbers, and with
dual numbers that mark where theta_a and theta_b lie.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from qcmap.architecture import Affine, Architecture, Input, Node, Nonlinear, Output, Scale, Units
from qcmap.errors import ArchitectureError, NumericalError
from qcmap.numeric.paths._gates import Gates, Layered, gates_of, inputs_of
from qcmap.numeric.paths._moments import KernelMoments
from qcmap.numeric.paths._weights import Kind, check_kind, check_layers, scales_of

Array = NDArray[np.float64]


class _Counts(NamedTuple):
    """How many units, weighed by gates or inputs, the four paths may pass, [n, n] each.

    ``one``: all pass one unit. ``same``: p_a and p_a' pass one, p_b and p_b' another. ``crossed`` and ``turned``: p_a
    passes one with p_b, or with p_b'.
    """

    one: Any
    same: Any
    crossed: Any
    turned: Any

    @classmethod
    def of(cls, left: Array, right: Array) -> _Counts:
        """For values [n, units] of the first and the second example of each pair."""
        one = (left**2) @ (right**2).T
        product = (left @ right.T) ** 2
        squares = np.outer((left**2).sum(axis=1), (right**2).sum(axis=1))
        return cls(one, product - one, squares - one, product - one)

    def times(self, other: _Counts) -> _Counts:
        """Entry by entry."""
        return _Counts(*(a * b for a, b in zip(self, other, strict=True)))


class _Marked(NamedTuple):
    """What no mark, one mark and both marks give; both weights are alike, so one mark stands for either."""

    none: _Counts
    either: _Counts
    both: _Counts


def chain_moments(
    arch: Architecture | Units,
    gates: Gates | Mapping[str, Any],
    x: Any,
    scale: float | Mapping[str, float],
    kind: Kind = "sign",
) -> KernelMoments:
    """Mean and variance of K_v(s, s') over weights of a fully-connected chain, exactly, for gates fixed.

    For a linear network of depth d, width w and one input, with w sigma^2 = 1, the variance is
    (2/3) (d - 2) (d - 1) (2 d - 3) / w + O(d^4 / w^2): 4/3 d^3 / w, not max(d^2 / w, d^3 / w^2) as in DGN, Theorem 2.3.

    Parameters
    ----------
    arch
        Affine layers, activations and constants one after the other; its units for one location.
    gates, x
        As for `qcmap.path_kernel`.
    scale
        sigma, of all layers or by name.
    kind
        Weights +-sigma, or Gaussian ones.

    Raises
    ------
    ArchitectureError
        Naming the node: an op that chains do not have, or a convolution.
    DataError
        As `qcmap.path_kernel`.
    NumericalError
        If the moments are beyond the range of floats.
    """
    check_kind(kind)
    given = gates_of(arch, gates)
    with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is refused
        mean, second = _walked(given, inputs_of(given.units, x, given.count), scales_of(given.units, scale), kind)
        variance = second - mean**2
    if not (np.isfinite(mean).all() and np.isfinite(variance).all()):
        raise NumericalError("chain_moments", "the moments are beyond the range of floats", "scale the weights")
    return KernelMoments(mean, np.maximum(variance, 0))


def _walked(gates: Gates, inputs: Layered, sigmas: dict[str, float], kind: Kind) -> tuple[Array, Array]:
    """E K and E K^2, [n, n] each."""
    units = gates.units
    check_layers(units)
    for node in units.architecture.nodes:
        _refuse(units, node)
    fourth = 1.0 if kind == "sign" else 3.0
    state: _Marked | None = None
    kernel: Any = 0
    rate: Any = 0
    weights: Any = 0  # what each unit of a layer is multiplied with, for each example
    for node in units.architecture.nodes:
        op = node.op
        if isinstance(op, Input):
            weights = inputs[node.id][0].astype(float)
        elif isinstance(op, Nonlinear):
            weights = weights * gates.values[node.id][0]
        elif isinstance(op, Scale):
            weights = weights * float(op.factor)
        elif isinstance(op, Affine):
            state, kernel, rate = _entered(state, weights, kernel, rate)
            variance = np.float64(sigmas[units.layers[node.id]]) ** 2
            state = _through(state, variance, fourth)
            kernel, rate = variance * kernel, variance * rate + kernel
            weights = np.ones((gates.count, units.channels[node.id]))
    return _ended(state, weights, rate)


def _refuse(units: Units, node: Node) -> None:
    op = node.op
    chain = isinstance(op, (Input, Affine, Nonlinear, Scale, Output)) and units.places(node.id) == 1
    dense = not isinstance(op, Affine) or (op.groups == 1 and op.parameters is None)
    if not (chain and dense) or len(units.architecture.outputs) > 1 or len(units.architecture.inputs) > 1:
        raise ArchitectureError(
            node.id, "it is not part of a fully-connected chain with one input and one output",
            "use monomial_moments, or expected_kernels for the mean",
        )  # fmt: skip


def _entered(state: _Marked | None, weights: Array, kernel: Any, rate: Any) -> tuple[_Marked, Any, Any]:
    """Units of a layer with their gates and inputs, before the next one."""
    counts = _Counts.of(weights, weights)
    overlap = weights @ weights.T
    if state is None:
        zero = _Counts(0, 0, 0, 0)
        return _Marked(counts, zero, zero), overlap, 0 * overlap
    return _Marked(*(counts.times(part) for part in state)), overlap * kernel, overlap * rate


def _through(state: _Marked, variance: float, fourth: float) -> _Marked:
    """Through a layer of weights, to what each unit, or pair of units, behind it has."""
    square = variance**2

    def plain(v: _Counts) -> _Counts:
        every = v.one + v.same + v.crossed + v.turned
        return _Counts(
            square * (every + (fourth - 1) * v.one),
            *(square * (v.one + pair) for pair in (v.same, v.crossed, v.turned)),
        )

    def marked(v: _Counts, factor: float) -> _Counts:
        """Theta lies here, for one pair or both: its paths share it, and the other two share a weight of their own."""
        both = factor * (v.one + v.same)
        return _Counts(both, both, 0, 0)

    def added(*parts: _Counts) -> _Counts:
        return _Counts(*(sum(entries) for entries in zip(*parts, strict=True)))

    none, either, both = state
    once = marked(either, variance)
    return _Marked(
        plain(none), added(plain(either), marked(none, variance)), added(plain(both), once, once, marked(none, 1.0))
    )


def _ended(state: _Marked | None, weights: Array, rate: Any) -> tuple[Array, Array]:
    """At the outputs: p_a and p_a' end in one unit, and p_b and p_b' do."""
    assert state is not None  # an architecture with no affine layer has no weights
    overlap = weights @ weights.T
    counts = _Counts.of(weights, weights)
    both = state.both.times(counts)
    return overlap * rate, both.one + both.same
