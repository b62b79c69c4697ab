"""Equivalent parameters of whole graphs: which feature map of the plain network stands for which of the shaped one.

DKS, section 18.2, has chains: phi_hat(u) = gamma (phi(alpha u + beta) + delta) between two affine layers, which absorb
the constants. In a graph each feature map x of the shaped network is represented in the plain one by

    x' = a x + b,    with numbers a > 0 and b for each channel,

such that every op of the plain network takes what its inputs represent to what its output represents:

- an activation reads a = alpha, b = beta; it gives phi = phi_hat / gamma - delta, so a = 1/gamma, b = -delta there;
- an affine layer reads any (a, b) and gives any (A, B): W' = A W / a, c' = A (c - W (b/a)) + B for biases c, where
  W (b/a) is the response to the constant map b/a. Beyond the border of a map zeros of x are b in x': pad with b;
- a layer norm reads any a, b that all channels share (its epsilon becomes a^2 epsilon), and gives any: gain g becomes
  A g, bias h becomes A h + B;
- a weighted sum of x_i with weights w_i takes weights A w_i / a_i and gives (A, A sum w_i b_i / a_i);
- upsampling keeps (a, b), and max pooling, since a > 0; mean pooling too where no padding counts; weighted mean pooling
  with weights summing to s makes b into s b; a concatenation joins channels;
- the network's inputs and outputs have a = 1, b = 0.

What an op gives may thus be asked for by its readers (activations, outputs), and what affine layers and layer norms
give is free. The shift of a sum is fixed by its branches, so one branch that comes from an affine layer and is read by
nothing else (its *slack*) takes up the difference: with B the shift asked for and b_j the others,

    b_slack = a_slack / w_slack (B / A - sum_j w_j b_j / a_j).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from qcmap.architecture import (
    Affine,
    Architecture,
    Concat,
    Input,
    LayerNorm,
    MaxPool,
    MeanPool,
    Node,
    Nonlinear,
    Sum,
    WeightedMeanPool,
)
from qcmap.errors import ArchitectureError
from qcmap.numeric import Shaping

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Affinity:
    """x' = scale * x + shift, channel by channel; one number where all channels have the same."""

    scale: Array
    shift: Array

    @staticmethod
    def of(scale: float, shift: float) -> Affinity:
        """The same for all channels."""
        return Affinity(np.array(float(scale)), np.array(float(shift)))

    @property
    def identity(self) -> bool:
        """Whether x' = x."""
        return bool((self.scale == 1).all() and (self.shift == 0).all())

    @property
    def origin(self) -> Array:
        """b/a, so that x' = 0 stands for x = -b/a."""
        return self.shift / self.scale

    def agrees(self, other: Affinity) -> bool:
        """Whether it is the same map, to rounding."""
        return bool(
            np.allclose(self.scale, other.scale, rtol=1e-13, atol=0)
            and np.allclose(self.shift, other.shift, rtol=1e-12, atol=1e-13)
        )


IDENTITY = Affinity.of(1, 0)


@dataclass
class Equivalence:
    """The affinities of all feature maps, by node id, and new weights of those sums that need others."""

    at: dict[str, Affinity]
    weights: dict[str, tuple[float, ...]] = field(default_factory=dict)


def equivalence(
    arch: Architecture, shaping: Shaping, pool_sums: Mapping[str, float], uncounted: Collection[str] = ()
) -> Equivalence:
    """The plain network's representation of every feature map.

    Parameters
    ----------
    arch, shaping
        The shaped architecture and its constants.
    pool_sums
        For each weighted mean pooling, the sum of its weights.
    uncounted
        The mean poolings that leave their padding out of their means.

    Raises
    ------
    ArchitectureError
        Naming a node whose readers ask for different constants, or that cannot give what they ask for.
    """
    return _Solver(arch, shaping, pool_sums, uncounted).solve()


_FREE = (Affine, LayerNorm)


class _Solver:
    def __init__(
        self, arch: Architecture, shaping: Shaping, pool_sums: Mapping[str, float], uncounted: Collection[str]
    ) -> None:
        self.arch, self.shaping, self.pool_sums, self.uncounted = arch, shaping, pool_sums, uncounted
        self.readers: dict[str, list[Node]] = {node.id: [] for node in arch.nodes}
        for node in arch.nodes:
            for name in node.inputs:
                self.readers[name].append(node)
        self.asked: dict[str, Affinity | None] = {}
        self.slack: dict[str, bool] = {}
        self.found: dict[str, Affinity | None] = {}
        self.weights: dict[str, tuple[float, ...]] = {}

    def solve(self) -> Equivalence:
        for node in reversed(self.arch.nodes):
            self.asked[node.id] = self._asked(node)
            self.slack[node.id] = self._is_slack(node)
        for node in self.arch.nodes:
            self.found[node.id] = given = self._given(node)
            want = self.asked[node.id]
            if given is not None and want is not None and not given.agrees(want):
                readers = ", ".join(repr(reader.id) for reader in self.readers[node.id]) or "the output"
                raise ArchitectureError(
                    node.id, f"{readers} would have to read it with constants that it cannot give (DKS, section 18.2)",
                    "put an affine layer there, or keep the shaped network",
                )  # fmt: skip
        return Equivalence({name: IDENTITY if one is None else one for name, one in self.found.items()}, self.weights)

    # --- what the readers ask for, backwards ---

    def _asked(self, node: Node) -> Affinity | None:
        wanted: list[tuple[str, Affinity]] = []
        if node.id in self.arch.outputs:
            wanted.append(("the output", IDENTITY))
        for reader in self.readers[node.id]:
            one = self._asked_by(reader, node.id)
            if one is not None:
                wanted.append((repr(reader.id), one))
        for name, one in wanted[1:]:
            if not one.agrees(wanted[0][1]):
                raise ArchitectureError(
                    node.id, f"{wanted[0][0]} and {name} read it with different constants, so no parameters of a plain"
                    " network are equivalent (DKS, section 18.2)",
                    "put an affine layer on one of the two branches, or keep the shaped network",
                )  # fmt: skip
        return wanted[0][1] if wanted else None

    def _asked_by(self, reader: Node, name: str) -> Affinity | None:
        if isinstance(reader.op, Nonlinear):
            transform = self.shaping.at(reader.id)
            return Affinity.of(transform.input_scale, transform.input_shift)
        want = self.asked[reader.id]
        if want is None:
            return None
        if isinstance(reader.op, WeightedMeanPool):
            return Affinity(want.scale, want.shift / self.pool_sums[reader.id])
        if reader.op.transparent:
            return want
        if isinstance(reader.op, Concat):
            start, parts = 0, []
            for source in reader.inputs:
                size = self._channels(source)
                if source == name:
                    parts.append(Affinity(*(_part(v, start, size) for v in (want.scale, want.shift))))
                start += size
            return parts[0]
        return None

    def _channels(self, name: str) -> int:
        channels = self.arch.channels[name]
        if not isinstance(channels, int):
            raise ArchitectureError(name, "its channels are not known", "give all inputs and affine layers channels")
        return channels

    def _is_slack(self, node: Node) -> bool:
        """Whether its constants may be chosen for the one sum that reads it."""
        readers = self.readers[node.id]
        if self.asked[node.id] is not None or len(readers) != 1 or node.id in self.arch.outputs:
            return False
        if not (node.op.transparent or isinstance(node.op, _FREE)):
            return False
        return isinstance(readers[0].op, Sum) or (readers[0].op.transparent and self.slack[readers[0].id])

    # --- what nodes give, forwards; None is slack, which the sum decides ---

    def _given(self, node: Node) -> Affinity | None:
        op = node.op
        if isinstance(op, Input):
            return IDENTITY
        if isinstance(op, Nonlinear):
            transform = self.shaping.at(node.id)
            return Affinity.of(1 / transform.output_scale, -transform.output_shift)
        if isinstance(op, _FREE):
            return None if self.slack[node.id] else (self.asked[node.id] or IDENTITY)
        if isinstance(op, Sum):
            return self._sum(node, op)
        values = [self.found[name] for name in node.inputs]
        if op.transparent:
            return self._passed(node, values[0])
        if isinstance(op, Concat):
            return self._joined(node, [value or IDENTITY for value in values])
        raise ArchitectureError(
            node.id, f"there are no equivalent parameters behind a {op.kind}", "keep the shaped network"
        )

    def _passed(self, node: Node, value: Affinity | None) -> Affinity | None:
        if value is None:
            return None
        if isinstance(node.op, MaxPool) and not (value.scale > 0).all():
            raise ArchitectureError(
                node.id, "maxima turn into minima under a negative scale", "keep the shaped network"
            )
        if isinstance(node.op, WeightedMeanPool):
            return Affinity(value.scale, value.shift * self.pool_sums[node.id])
        counted = isinstance(node.op, MeanPool) and node.op.padding and node.id not in self.uncounted
        if counted and value.shift.any():
            raise ArchitectureError(
                node.id, "its padding counts as zeros, which a shift would change", "use count_include_pad=False"
            )
        return value

    def _joined(self, node: Node, values: list[Affinity]) -> Affinity:
        if all(value.scale.ndim == value.shift.ndim == 0 and value.agrees(values[0]) for value in values):
            return values[0]
        sizes = [self._channels(name) for name in node.inputs]

        def joined(of: Callable[[Affinity], Array]) -> Array:
            return np.concatenate([np.broadcast_to(of(v), (k,)) for v, k in zip(values, sizes, strict=True)])

        return Affinity(joined(lambda v: v.scale), joined(lambda v: v.shift))

    def _sum(self, node: Node, op: Sum) -> Affinity:
        weights = [float(weight) for weight in op.weights]
        known = {k: value for k, name in enumerate(node.inputs) if (value := self.found[name]) is not None}
        loose = [k for k in range(len(weights)) if k not in known]
        want = self.asked[node.id]
        scale = want.scale if want is not None else next(iter(known.values()), IDENTITY).scale
        shift = sum((weights[k] * known[k].origin for k in known), start=np.zeros(()))
        takes_up = next((k for k in loose if weights[k]), None)
        result = Affinity(scale, scale * shift if want is None or takes_up is None else want.shift)
        for k in loose:
            left = (result.origin - shift) / weights[k] if k == takes_up else np.zeros(())
            self._settle(node.inputs[k], Affinity(scale, scale * left))
        self._reweigh(node, weights, scale, known)
        return result

    def _settle(self, name: str, value: Affinity) -> None:
        """Give a slack branch, and the poolings that it comes through, its constants."""
        self.found[name] = value
        node = self.arch[name]
        if node.op.transparent:
            if isinstance(node.op, WeightedMeanPool):
                value = Affinity(value.scale, value.shift / self.pool_sums[name])
            self._settle(node.inputs[0], value)
            self._passed(node, value)

    def _reweigh(self, node: Node, weights: list[float], scale: Array, known: Mapping[int, Affinity]) -> None:
        new = list(weights)
        for k, value in known.items():
            ratio = np.unique(scale / value.scale)
            if np.ptp(ratio) > 1e-13 * ratio.max():
                raise ArchitectureError(
                    node.id, "its channels have different constants, for which a sum has no weights",
                    "put an affine layer before the sum",
                )  # fmt: skip
            new[k] *= 1.0 if np.allclose(ratio, 1, rtol=1e-13) else float(ratio[0])
        if new != weights:
            self.weights[node.id] = tuple(new)


def _part(values: Array, start: int, size: int) -> Array:
    return values if values.ndim == 0 else values[start : start + size]
