"""Extended Q and C maps: q and c values at every node of an architecture (DKS, section 7)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from qcmap.architecture import (
    Affine,
    Algebra,
    Architecture,
    Concat,
    Gate,
    Input,
    LayerNorm,
    MaxPool,
    MeanPool,
    Node,
    Nonlinear,
    Output,
    Scale,
    Sum,
    WeightedMeanPool,
    is_symbolic,
    refuse_without_maps,
)
from qcmap.errors import ArchitectureError, NumericalError
from qcmap.numeric._dks import Shaping
from qcmap.numeric._local import LocalMaps, correlation, local_maps, positive
from qcmap.symbolic import mean_weights, resolved

Array = NDArray[np.float64]


class PairValues(NamedTuple):
    """What a pair of inputs becomes at a node: c and the two q values, and the two channel means where known."""

    c: Array
    q1: Array
    q2: Array
    mean1: Array | None = None
    mean2: Array | None = None


class NetworkMaps:
    """The extended maps of an architecture: with the transforms of a shaping, or with the activations as they are.

    One walk over the graph gives the values at every node. Sums add m values (c times the root of the q values) with
    squared weights (equations 12 and 13), concatenations average them by channels (equations 8 and 9), an affine layer
    makes m into weight_variance * m + bias_variance, pooling is the identity, and a layer norm subtracts the product of
    the channel means (section 19.2.1).
    """

    def __init__(self, arch: Architecture, shaping: Shaping | None = None) -> None:
        self.architecture, self.shaping = arch, shaping
        refuse_without_maps(arch)
        self._maps: dict[str, LocalMaps] = {}
        for name, act in resolved(arch).items():
            transform = None if shaping is None else shaping[name]
            self._maps[name] = local_maps(act, transform)

    def propagate(
        self, c: ArrayLike, q1: ArrayLike | None = None, q2: ArrayLike | None = None
    ) -> dict[str, PairValues]:
        """The values at every node, for input c in [-1, 1] and q1, q2 > 0 that broadcast together; keyed by node id.

        Every input node gets the same c, and the same q values if they are given; else its own q (`Input.q`).
        """

        def nonlinear(node: Node, values: list[PairValues]) -> PairValues:
            assert isinstance(node.op, Nonlinear)
            maps, (value,) = self._maps[node.op.name], values
            q1, q2 = maps.q(value.q1), maps.q(value.q2)
            c = maps.c(value.c, value.q1, value.q2)
            return PairValues(c, q1, q2, maps.mean(value.q1), maps.mean(value.q2))

        def unchanged(node: Node, values: list[PairValues]) -> PairValues:
            return values[0]

        def affine(node: Node, values: list[PairValues]) -> PairValues:
            zero = np.zeros_like(values[0].c)
            return _affine(node, values[0])._replace(mean1=zero, mean2=zero)

        def given(node: Node, values: list[PairValues]) -> PairValues:
            assert isinstance(node.op, Input)
            own = _number(node.id, node.op.q)
            pair = (positive("q1", own if q1 is None else q1), positive("q2", own if q2 is None else q2))
            return PairValues(*np.broadcast_arrays(correlation(c), *pair))

        rules = {
            Input: given,
            Affine: affine,
            Nonlinear: nonlinear,
            Sum: self._sum,
            Concat: self._concat,
            Scale: _scale,
            LayerNorm: _layer_norm,
            MaxPool: unchanged,
            MeanPool: unchanged,
            WeightedMeanPool: unchanged,
            Output: unchanged,
            Gate: _gate,
        }
        return self.architecture.fold(Algebra("C map", rules))

    def propagate_q(self, q: ArrayLike | None = None) -> dict[str, Array]:
        """The q value at every node, for input q > 0 of any shape; keyed by node id."""
        return {node: values.q1 for node, values in self.propagate(1.0, q, q).items()}

    def q(self, q: ArrayLike | None = None) -> Array:
        """The Q map from the input to the (only) output."""
        return self.propagate_q(q)[self._output]

    def c(self, c: ArrayLike, q1: ArrayLike | None = None, q2: ArrayLike | None = None) -> Array:
        """The C map from the input to the (only) output."""
        return self.propagate(c, q1, q2)[self._output].c

    def q_at(self, node: str, q: ArrayLike | None = None) -> Array:
        """The q value at a node, for input q > 0 of any shape."""
        return self.propagate_q(q)[self.architecture[node].id]

    @property
    def _output(self) -> str:
        if len(self.architecture.outputs) != 1:
            raise ArchitectureError(
                self.architecture.name, "it has several outputs", "use propagate(...) and choose a node"
            )
        return self.architecture.outputs[0]

    def _sum(self, node: Node, values: list[PairValues]) -> PairValues:
        assert isinstance(node.op, Sum)
        weights = [_number(node.id, weight) for weight in node.op.weights]
        return _combined(values, [weight**2 for weight in weights], weights)

    def _concat(self, node: Node, values: list[PairValues]) -> PairValues:
        counts = [float(k) for k in mean_weights(self.architecture, self.architecture.index[node.id])]
        shares = [count / sum(counts) for count in counts]
        return _combined(values, shares, shares)


def _combined(values: list[PairValues], shares: list[float], mean_shares: list[float]) -> PairValues:
    """Q and m values added with ``shares``, channel means with ``mean_shares``."""
    q1 = np.add.reduce([share * v.q1 for share, v in zip(shares, values, strict=True)])
    q2 = np.add.reduce([share * v.q2 for share, v in zip(shares, values, strict=True)])
    m = np.add.reduce([share * v.c * np.sqrt(v.q1 * v.q2) for share, v in zip(shares, values, strict=True)])
    means: list[Array | None] = []
    for known in ([v.mean1 for v in values], [v.mean2 for v in values]):
        present = [mean for mean in known if mean is not None]
        complete = len(present) == len(known)
        means.append(
            np.add.reduce([share * mean for share, mean in zip(mean_shares, present, strict=True)])
            if complete
            else None
        )
    return PairValues(np.clip(m / np.sqrt(q1 * q2), -1.0, 1.0), q1, q2, *means)


def _affine(node: Node, v: PairValues) -> PairValues:
    assert isinstance(node.op, Affine)
    weights, biases = _number(node.id, node.op.weight_variance), _number(node.id, node.op.bias_variance)
    if (weights, biases) == (1.0, 0.0):
        return v
    m = weights * v.c * np.sqrt(v.q1 * v.q2) + biases
    q1, q2 = weights * v.q1 + biases, weights * v.q2 + biases
    return PairValues(np.clip(m / np.sqrt(q1 * q2), -1.0, 1.0), q1, q2)


def _gate(node: Node, values: list[PairValues]) -> PairValues:
    assert isinstance(node.op, Gate)
    name = node.op.name
    raise ArchitectureError(
        node.id, f"the gating variable {name} has no value", f"give it one with arch.substitute({name}=...)"
    )


def _scale(node: Node, values: list[PairValues]) -> PairValues:
    assert isinstance(node.op, Scale)
    a, (v,) = _number(node.id, node.op.factor), values
    return PairValues(
        v.c, a * a * v.q1, a * a * v.q2,
        None if v.mean1 is None else a * v.mean1, None if v.mean2 is None else a * v.mean2,
    )  # fmt: skip


def _layer_norm(node: Node, values: list[PairValues]) -> PairValues:
    (v,) = values
    if v.mean1 is None or v.mean2 is None:
        raise ArchitectureError(
            node.id, "a layer norm of a network input has no C map, since the input's channel mean is not known",
            "put an affine layer before it",
        )  # fmt: skip
    if not ((v.q1 > v.mean1**2) & (v.q2 > v.mean2**2)).all():
        raise NumericalError(node.id, "its input is constant over channels, so 0/0 is left", "take the layer norm out")
    m = v.c * np.sqrt(v.q1 * v.q2) - v.mean1 * v.mean2
    norm = np.sqrt((v.q1 - v.mean1**2) * (v.q2 - v.mean2**2))
    one, zero = np.ones_like(v.c), np.zeros_like(v.c)
    return PairValues(np.clip(m / norm, -1.0, 1.0), one, one, zero, zero)


def _number(node: str, weight: object) -> float:
    if is_symbolic(weight):
        raise ArchitectureError(
            node, f"the weight {weight} is symbolic, so q values have no numeric value here",
            "give its symbols numbers with arch.substitute(...)",
        )  # fmt: skip
    return float(weight)  # pyright: ignore[reportArgumentType]


def network_maps(arch: Architecture, shaping: Shaping | None = None) -> NetworkMaps:
    """The extended Q and C maps of an architecture (DKS, section 7), shaped or not."""
    return NetworkMaps(arch, shaping)
