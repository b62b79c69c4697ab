"""Pairs of inputs through networks of relu-like activations, followed by their angles.

In deep relu networks c tends to 1, and 1 - c, on which everything depends, loses its digits. Here the gap e = 1 - c and
theta = arccos c are carried instead. For f with slopes l and r on either side of zero, and k = (r - l)^2 / (pi (l^2 +
r^2)), equation 15 gives C(c) = c + k (sin theta - theta cos theta): the gap becomes e - k (sin theta - theta cos
theta), and C' = 1 - k theta. With equal q values all other ops average gaps: weights w_i and shares s_i = w_i^2 q_i / q
give e = sum s_i e_i, and a bias gives weight_variance * q_in / q_out * e. Without biases the network is homogeneous,
and the same holds for any two q values.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from qcmap.architecture import Affine, Architecture, Concat, Gate, Input, LayerNorm, Node, Nonlinear, Sum
from qcmap.numeric.maps._local import LocalMaps
from qcmap.numeric.maps._walk import State
from qcmap.symbolic import mean_weights

Array = NDArray[np.float64]

_SMALL = 0.7
_SERIES = [(-1) ** (k + 1) * 2 * k / math.factorial(2 * k + 1) for k in range(1, 10)]


class _Pair(NamedTuple):
    """Gap and angle; the angle is computed from the gap when it is not known."""

    gap: Array
    theta: Array | None = None

    def angle(self) -> Array:
        if self.theta is not None:
            return self.theta
        near = 2 * np.arcsin(np.sqrt(np.minimum(self.gap, 1.0) / 2))
        far = math.pi - 2 * np.arcsin(np.sqrt(np.clip(2 - self.gap, 0.0, 1.0) / 2))
        return np.where(self.gap < 1, near, far)


class AngleWalk:
    """The walk forward; `AngleWalk.of` gives None where it does not apply."""

    def __init__(self, arch: Architecture, below: list[int], slopes: Mapping[str, tuple[float, float]]) -> None:
        self.arch, self.below, self.slopes = arch, below, slopes
        self.homogeneous = all(
            not isinstance(op, Affine) or op.bias_variance == 0 for op in (arch.nodes[v].op for v in below)
        )

    @classmethod
    def of(cls, arch: Architecture, below: Iterable[int], local: Mapping[str, LocalMaps]) -> AngleWalk | None:
        """The walk for the nodes ``below``, if all activations are of degree 1 and there is no layer norm."""
        below, slopes = list(below), dict[str, tuple[float, float]]()
        for node in (arch.nodes[v] for v in below):
            if isinstance(node.op, (LayerNorm, Gate)):
                return None
            if isinstance(node.op, Nonlinear):
                transform = local[node.id].transform
                two = transform.activation.two_slopes
                if two is None or transform.input_shift != 0 or transform.output_shift != 0:
                    return None
                slopes[node.id] = two
        return cls(arch, below, slopes) if slopes else None

    def __call__(self, theta: Array, q: Mapping[str, Array]) -> tuple[dict[str, State], dict[str, Array]]:
        """The values at every node and the slopes of the local C maps, for angles (n,) and the q value at each node."""
        start = _Pair(2 * np.sin(theta / 2) ** 2, theta)
        pairs: dict[str, _Pair] = {}
        slopes: dict[str, Array] = {}
        for node in (self.arch.nodes[v] for v in self.below):
            inputs = [pairs[name] for name in node.inputs]
            if isinstance(node.op, Input):
                pairs[node.id] = start
            elif isinstance(node.op, Nonlinear):
                pairs[node.id], slopes[node.id] = _bent(inputs[0], *self.slopes[node.id])
            elif isinstance(node.op, (Affine, Sum, Concat)):
                pairs[node.id] = self._averaged(node, inputs, q)
            else:
                (pairs[node.id],) = inputs
        values = {name: State((1 - pair.gap,), q[name], q[name]) for name, pair in pairs.items()}
        return values, slopes

    def _averaged(self, node: Node, inputs: list[_Pair], q: Mapping[str, Array]) -> _Pair:
        op, out = node.op, float(q[node.id])
        if isinstance(op, Affine):
            if op.bias_variance == 0:
                return inputs[0]
            factors = [float(op.weight_variance)]
        elif isinstance(op, Sum):
            factors = [float(weight) ** 2 for weight in op.weights]
        else:
            counts = [float(k) for k in mean_weights(self.arch, self.arch.index[node.id])]
            factors = [count / sum(counts) for count in counts]
        shares = [factor * float(q[name]) / out for factor, name in zip(factors, node.inputs, strict=True)]
        return _Pair(np.add.reduce([share * pair.gap for share, pair in zip(shares, inputs, strict=True)]))


def _bent(pair: _Pair, left: float, right: float) -> tuple[_Pair, Array]:
    """Behind an activation with these slopes: the pair, and the slope of the C map."""
    size, theta = left * left + right * right, pair.angle()
    k = (right - left) ** 2 / (math.pi * size)
    # 1 - k theta, exact at pi too, where relu has 0.
    return _Pair(pair.gap - k * _bulge(theta)), 2 * left * right / size + k * (math.pi - theta)


def _bulge(theta: Array) -> Array:
    """Sin theta - theta cos theta without cancellation."""
    small = np.minimum(theta, _SMALL)
    square = small * small
    series = np.full(theta.shape, _SERIES[-1])
    for coefficient in reversed(_SERIES[:-1]):
        series *= square
        series += coefficient
    if theta.max(initial=0.0) <= _SMALL:
        return small * square * series
    return np.where(theta <= _SMALL, small * square * series, np.sin(theta) - theta * np.cos(theta))
