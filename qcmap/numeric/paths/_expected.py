"""Expected kernels over random weights, with gates fixed, of any architecture (NPF, Theorem 5.1; DGN, Lemma 4.1).

Weights are independent with mean 0 and variance sigma^2 of each layer; nothing else about them enters. The output is
linear in the weights W_e of each layer e, y = a + <W_e, b> with a, b independent of W_e, so

    E y y' = E a a' + sigma_e^2 E <b, b'>,    E K_e = E <b, b'> = d(E y y') / d(sigma_e^2).

The expected tangent kernel is thus the derivative of the expected product of outputs along all variances at once: one
walk with dual numbers. The walk is over pairs of units, since paths that share all their weights, such as those of a
convolution that start at different locations, have values that are correlated.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qcmap.architecture import (
    Affine,
    Architecture,
    Concat,
    Gate,
    Input,
    MaxPool,
    MeanPool,
    Node,
    Nonlinear,
    Scale,
    Sum,
    Units,
)
from qcmap.errors import ArchitectureError
from qcmap.numeric.paths._checks import finite
from qcmap.numeric.paths._gates import Gates, Layered, gates_of, inputs_of
from qcmap.numeric.paths._weights import scales_of

Array = NDArray[np.float64]
Range = tuple[int, int]
"""The first of some channels of a node, and how many."""


@dataclass(frozen=True, eq=False)
class ExpectedKernels:
    """Expectations over weights for every pair of examples, [n, n], summed over output units.

    Attributes
    ----------
    outputs
        E y(x_s) y(x_s').
    tangent
        E K_v(s, s'), the expected tangent kernel for fixed gates.
    """

    outputs: Array
    tangent: Array

    def __repr__(self) -> str:
        return f"<expected kernels of {len(self.outputs)} examples>"


def expected_kernels(
    arch: Architecture | Units, gates: Gates | Mapping[str, Any], x: Any, scale: float | Mapping[str, float]
) -> ExpectedKernels:
    """E y y' and E K_v over independent weights of mean 0 and standard deviation ``scale``, for gates fixed.

    In a fully-connected chain of d layers they are sigma^(2d) H and d sigma^(2(d-1)) H (NPF, Theorem B.1), whatever the
    distribution of the weights and the width. Memory grows with the square of the number of locations.

    Parameters
    ----------
    arch, gates, x
        As for `qcmap.path_kernel`.
    scale
        sigma, of all layers or by name.

    Raises
    ------
    DataError
        For gates or inputs that do not fit, or a layer without a scale.
    ArgumentError
        For a scale that is not positive.
    ArchitectureError
        For layers that share parameters, and as `Units.of`.
    NumericalError
        If floats do not hold the kernels.
    """
    given = gates_of(arch, gates)
    units = given.units
    for node, layer in units.layers.items():
        if list(units.layers.values()).count(layer) > 1:
            raise ArchitectureError(node, "it shares its parameters, so the output is not linear in them", "unroll it")
    walk = _Pairs(given, inputs_of(units, x, given.count), scales_of(units, scale))
    count = given.count
    outputs, tangent = np.zeros((count, count)), np.zeros((count, count))
    with np.errstate(over="ignore", invalid="ignore"):  # what leaves is checked
        for name in units.architecture.outputs:
            whole = (0, units.channels[name])
            value, rate = walk.pair(name, whole, name, whole)
            outputs += np.einsum("stcll->st", value)
            tangent += np.einsum("stcll->st", rate)
    finite("expected_kernels", "scale the weights", outputs, tangent)
    return ExpectedKernels(outputs, tangent)


class _Pairs:
    """E u_s(c, l) v_s'(c', l') and its derivative along all variances, [n, n, channels, locations, locations].

    Only equal positions within two ranges of channels are needed. Of two nodes the later one in the order of the graph
    is expanded; an affine node is independent of every earlier one, and has mean 0.
    """

    def __init__(self, gates: Gates, inputs: Layered, scales: Mapping[str, float]) -> None:
        self.units, self.gates, self.inputs, self.scales = gates.units, gates, inputs, scales
        self.arch = gates.units.architecture
        # Inputs come first wherever they stand, so that every node but an input is expanded before them.
        inner = [node.id for node in self.arch.nodes if not isinstance(node.op, Input)]
        self._rank = {name: k for k, name in enumerate((*self.arch.inputs, *inner))}
        self._known: dict[tuple[str, Range, str, Range], tuple[Array, Array]] = {}

    def pair(self, u: str, cu: Range, v: str, cv: Range) -> tuple[Array, Array]:
        """The expectation and its rate for channels of two nodes."""
        if self._rank[u] > self._rank[v]:
            value, rate = self.pair(v, cv, u, cu)
            return value.transpose(1, 0, 2, 4, 3), rate.transpose(1, 0, 2, 4, 3)
        key = (u, cu, v, cv)
        if key not in self._known:
            self._known[key] = self._found(u, cu, self.arch[v], cv)
        return self._known[key]

    def _found(self, u: str, cu: Range, node: Node, cv: Range) -> tuple[Array, Array]:
        op = node.op
        if isinstance(op, Affine):
            return self._affine(u, cu, node, cv)
        if isinstance(op, Input):
            return self._inputs(u, cu, node, cv)
        if isinstance(op, Sum):
            terms = zip(node.inputs, op.weights, strict=True)
            return self._sum([self._times(self.pair(u, cu, source, cv), float(w)) for source, w in terms])
        if isinstance(op, Scale):
            return self._times(self.pair(u, cu, node.inputs[0], cv), float(op.factor))
        if isinstance(op, Concat):
            return self._concat(u, cu, node, cv)
        value, rate = self.pair(u, cu, node.inputs[0], cv)
        if isinstance(op, Nonlinear):
            gate = self.gates.values[node.id][:, :, cv[0] : cv[0] + cv[1]].transpose(1, 2, 0)[None, :, :, None, :]
            return value * gate, rate * gate
        if isinstance(op, Gate):
            gate = self.gates.variables[op.name][None, :, None, None, None]
            return value * gate, rate * gate
        if isinstance(op, (MeanPool, MaxPool)):
            return self._pool(node, cv, value), self._pool(node, cv, rate)
        return value, rate

    def _affine(self, u: str, cu: Range, node: Node, cv: Range) -> tuple[Array, Array]:
        n, size = self.gates.count, cu[1]
        shape = (n, n, size, self.units.places(u), self.units.places(node.id))
        if u != node.id or cu != cv:  # ranges differ where channels do: independent rows of weights
            return np.zeros(shape), np.zeros(shape)
        assert isinstance(node.op, Affine)
        before = self.units.channels[node.inputs[0]] // node.op.groups
        own = self.units.channels[node.id] // node.op.groups
        variance = np.float64(self.scales[self.units.layers[node.id]]) ** 2
        values, rates = np.empty(shape), np.empty(shape)
        for group in range(node.op.groups):
            first, last = (np.clip(group * own - cu[0], 0, size), np.clip((group + 1) * own - cu[0], 0, size))
            if first == last:
                continue
            source = (group * before, before)
            value, rate = self.pair(node.inputs[0], source, node.inputs[0], source)
            value, rate = (self._both_windows(node, part.sum(axis=2)) for part in (value, rate))
            values[:, :, first:last] = (variance * value)[:, :, None]
            rates[:, :, first:last] = (variance * rate + value)[:, :, None]
        return values, rates

    def _both_windows(self, node: Node, value: Array) -> Array:
        """The sum over taps of what both windows read with it: [n, n, l, l'] before the layer to behind it."""
        total: Any = 0
        for tap in self.units.taps(node.id):
            inside = (tap >= 0).astype(float)
            total = total + value[:, :, tap][:, :, :, tap] * inside[:, None] * inside
        return total

    def _inputs(self, u: str, cu: Range, node: Node, cv: Range) -> tuple[Array, Array]:
        one, two = (self.inputs[name][:, :, c : c + size].astype(float) for name, (c, size) in ((u, cu), (node.id, cv)))
        value = np.einsum("lsc,mtc->stclm", one, two)
        return value, np.zeros_like(value)

    def _concat(self, u: str, cu: Range, node: Node, cv: Range) -> tuple[Array, Array]:
        at, parts = 0, []
        for source in node.inputs:
            first, last = max(at, cv[0]), min(at + self.units.channels[source], cv[0] + cv[1])
            if first < last:
                size = last - first
                parts.append(self.pair(u, (cu[0] + first - cv[0], size), source, (first - at, size)))
            at += self.units.channels[source]
        return np.concatenate([p[0] for p in parts], axis=2), np.concatenate([p[1] for p in parts], axis=2)

    def _pool(self, node: Node, cv: Range, value: Array) -> Array:
        taps, total = self.units.taps(node.id), np.zeros(())
        for position, tap in enumerate(taps):
            if isinstance(node.op, MeanPool):
                weight: Any = 1 / len(taps)
            else:
                chosen = self.gates.choices[node.id][:, :, cv[0] : cv[0] + cv[1]] == position
                weight = chosen.transpose(1, 2, 0)[None, :, :, None, :]
            total = total + value[..., tap] * (tap >= 0) * weight
        return total

    @staticmethod
    def _times(pair: tuple[Array, Array], factor: float) -> tuple[Array, Array]:
        return pair[0] * factor, pair[1] * factor

    @staticmethod
    def _sum(pairs: list[tuple[Array, Array]]) -> tuple[Array, Array]:
        return np.add.reduce([p[0] for p in pairs]), np.add.reduce([p[1] for p in pairs])
