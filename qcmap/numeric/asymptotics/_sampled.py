"""Random networks of finite width, sampled exactly in distribution without their weight matrices.

For P input columns Z (k x P) write Z = B R with r <= min(k, P) orthonormal columns in B. A layer needs W only through
W B, and the law of W B is that of W's first r columns, since both laws of weights are invariant under rotations of the
inputs:

- Gaussian weights of variance a/k: W B is m x r with independent entries of variance a/k;
- scaled uniform orthogonal weights (DKS, section 4.1): for m >= k W is sqrt(m/k) times an isometry, so W B is sqrt(m/k)
  times a uniformly random orthonormal frame of r vectors in R^m; for m < k it is the first m rows of one in R^k.

So a layer takes r m random numbers instead of m k, and nothing is left out, however small the width.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from qcmap.architecture import (
    Affine,
    Algebra,
    Architecture,
    Concat,
    Input,
    LayerNorm,
    Node,
    Nonlinear,
    Output,
    Scale,
    Sum,
    Upsample,
)
from qcmap.errors import ArchitectureError, ArgumentError
from qcmap.numeric.maps._arguments import integer, numbers
from qcmap.numeric.maps._network import network_maps
from qcmap.numeric.maps._shaping import Shaping
from qcmap.numeric.maps._walk import Kept

Array = NDArray[np.float64]


def sampled_networks(
    arch: Architecture,
    inputs: Mapping[str, ArrayLike],
    *,
    networks: int,
    weights: Literal["gaussian", "orthogonal"] = "gaussian",
    shaping: Shaping | None = None,
    kept: Kept | None = None,
    epsilons: Mapping[str, float] | None = None,
    seed: int = 0,
) -> Iterator[dict[str, Array]]:
    """The feature maps at every node of independent random networks, for the same inputs.

    Parameters
    ----------
    arch
        With numbers of channels in its affine layers and no pooling, gate, batch norm or product.
    inputs
        For each input node its feature map, [channels, samples] or [channels, samples, locations].
    networks
        How many networks to draw.
    weights
        Gaussian or scaled uniform orthogonal; times the root of ``weight_variance`` either way. Biases are Gaussian.
        Convolutions are Delta-initialised, so that a location depends on one location.
    shaping
        The transforms of the activations; as they are if left out.
    kept
        Where locations are dropped or repeated, as for `NetworkMaps.propagate_from`.
    epsilons
        Of layer norms, by node id; 0 if left out.
    seed
        Of all networks.

    Yields
    ------
    One network at a time: [channels, samples, locations] at every node, keyed by id.

    Raises
    ------
    ArgumentError
        For inputs of the wrong shape, or missing ones.
    ArchitectureError
        Naming the node: channels that are not numbers, or an op that is not a function of single locations.
    """
    if not (isinstance(weights, str) and weights in ("gaussian", "orthogonal")):
        raise ArgumentError("weights", f"there is no initialization {weights!r}", "choose 'gaussian' or 'orthogonal'")
    count = integer(networks, least=1, name="networks")
    maps = network_maps(arch, shaping)
    if arch.symbols:
        what = f"it has symbols or gates: {', '.join(arch.symbols)}"
        raise ArchitectureError(arch.name, what, "give them numbers with arch.substitute(...)")
    given = {name: _feature_map(name, inputs) for name in arch.inputs}
    random = np.random.default_rng(integer(seed, least=0, name="seed"))
    transforms = {node.id: maps.local(node.id).transform for node in arch.nodes if isinstance(node.op, Nonlinear)}
    layers = _Layers(random, orthogonal=weights == "orthogonal")
    rules = {
        Input: lambda node, values: given[node.id],
        Nonlinear: lambda node, values: transforms[node.id](values[0]),
        Output: lambda node, values: values[0],
        Upsample: lambda node, values: values[0],  # its copies are in `kept`
        Affine: layers,
        Sum: _sum,
        Concat: lambda node, values: np.concatenate(values),
        Scale: lambda node, values: float(node.op.factor) * values[0],
        LayerNorm: lambda node, values: _layer_norm(node, values, (epsilons or {}).get(node.id, 0.0)),
    }
    algebra = Algebra("sampled network", rules)

    def at(node: Node, values: list[Array]) -> Array:
        if kept is not None and node.id in kept:
            values = [z[:, :, locations] for z, locations in zip(values, kept[node.id], strict=True)]
        return algebra.at(node, values)

    located = Algebra("sampled network", dict.fromkeys(rules, at))
    for _ in range(count):
        layers.shared = {}
        yield arch.fold(located)


class _Layers:
    """Affine layers of one network after the other."""

    def __init__(self, random: np.random.Generator, *, orthogonal: bool) -> None:
        self.random, self.orthogonal = random, orthogonal
        self.shared: dict[str, tuple[list[Array], Array]] = {}

    def __call__(self, node: Node, values: list[Array]) -> Array:
        op, z = node.op, values[0]
        assert isinstance(op, Affine)
        if not isinstance(op.channels, int):
            raise ArchitectureError(node.id, "its number of channels is not known", "give it one")
        columns = z.reshape(len(z), -1)
        scale, spread = math.sqrt(op.weight_variance), math.sqrt(op.bias_variance)
        if op.parameters is None:
            groups = np.split(columns, op.groups)
            u = np.concatenate([self._drawn(op.channels // op.groups, part) for part in groups])
            bias = self._normal(op.channels, 1) if spread else 0.0
        else:
            # Layers that share their parameters are dependent: one matrix for all of them.
            if op.parameters not in self.shared:
                blocks = [self._drawn(op.channels // op.groups, np.eye(len(z) // op.groups)) for _ in range(op.groups)]
                self.shared[op.parameters] = blocks, self._normal(op.channels, 1)
            blocks, bias = self.shared[op.parameters]
            parts = zip(blocks, np.split(columns, op.groups), strict=True)
            u = np.concatenate([block @ part for block, part in parts])
        return (scale * u + spread * bias).reshape(op.channels, *z.shape[1:])

    def _normal(self, rows: int, columns: int) -> Array:
        return self.random.standard_normal((rows, columns))

    def _drawn(self, m: int, z: Array) -> Array:
        """W z for a new W, m x k."""
        k = len(z)
        r = np.linalg.qr(z, mode="r")
        if not self.orthogonal:
            return self._normal(m, len(r)) @ r / math.sqrt(k)
        frame, triangle = np.linalg.qr(self._normal(max(m, k), len(r)))
        frame *= np.where(triangle.diagonal() < 0, -1.0, 1.0)  # without it the frame is not uniformly distributed
        return frame[:m] @ r * math.sqrt(max(m / k, 1.0))


def _feature_map(name: str, inputs: Mapping[str, ArrayLike]) -> Array:
    if not isinstance(inputs, Mapping) or name not in inputs:
        raise ArgumentError("inputs", f"there is no feature map for {name!r}", "give one for each input node")
    z = numbers("inputs", inputs[name])
    if z.ndim not in (2, 3) or not z.size or not np.isfinite(z).all():
        what = f"{name!r} is a finite array [channels, samples] or [channels, samples, locations], not {z.shape}"
        raise ArgumentError("inputs", what, "give such an array")
    return z.reshape(*z.shape[:2], -1)


def _sum(node: Node, values: list[Array]) -> Array:
    assert isinstance(node.op, Sum)
    return np.add.reduce([float(weight) * z for weight, z in zip(node.op.weights, values, strict=True)])


def _layer_norm(node: Node, values: list[Array], epsilon: float) -> Array:
    assert isinstance(node.op, LayerNorm)
    if node.op.groups is not None:
        raise ArchitectureError(node.id, "its moments are over all locations", "sample what is before and after it")
    centred = values[0] - values[0].mean(axis=0) if node.op.centre else values[0]
    return centred / np.sqrt((centred**2).mean(axis=0) + epsilon)
