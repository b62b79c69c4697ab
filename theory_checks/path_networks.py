"""Fully-connected gated networks written down plainly: the oracles of the checks on neural paths.

A network of depth d has weight matrices W_1, ..., W_d and gates [n, width] for each of its d - 1 hidden layers. Paths
are listed by `itertools.product`; the output is linear in each single weight, so its derivative is a difference.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

import qcmap as qc

Array = NDArray[Any]


@dataclass(frozen=True, eq=False)
class Plain:
    """A chain with its inputs [n, d_in], and gates [n, width] by hidden layer."""

    x: Array
    gates: tuple[Array, ...]

    @classmethod
    def random(
        cls, seed: int, depth: int, width: int, inputs: int = 2, examples: int = 3, *, soft: bool = False
    ) -> Plain:
        """Inputs near 1, and gates that are on with probability 0.7, or uniform."""
        random = np.random.default_rng(seed)
        drawn = [random.random((examples, width)) for _ in range(depth - 1)]
        return cls(random.standard_normal((examples, inputs)), tuple(g if soft else 1.0 * (g < 0.7) for g in drawn))

    @property
    def sizes(self) -> list[int]:
        """Units of the input, hidden and output layers."""
        return [self.x.shape[1], *(g.shape[1] for g in self.gates), 1]

    @property
    def depth(self) -> int:
        """d."""
        return len(self.gates) + 1

    @property
    def shapes(self) -> list[tuple[int, int]]:
        """Of the weight matrices."""
        return [(after, before) for before, after in zip(self.sizes, self.sizes[1:], strict=False)]

    @property
    def count(self) -> int:
        """The number of weights."""
        return sum(a * b for a, b in self.shapes)

    @property
    def arch(self) -> qc.Architecture:
        """The same chain as an architecture; hidden layers have one width."""
        inputs, width = self.sizes[:2]
        return qc.zoo.mlp(self.depth - 1, width=width, activation="relu", in_channels=inputs, out_channels=1)

    @property
    def named_gates(self) -> dict[str, Array]:
        """Gates as qcmap takes them."""
        return {f"layer{k}.activation": gate for k, gate in enumerate(self.gates, start=1)}

    def named(self, flat: Array) -> dict[str, Array]:
        """Weights as qcmap takes them."""
        names = [*(f"layer{k}.affine" for k in range(1, self.depth)), "head"]
        return dict(zip(names, self.matrices(flat), strict=True))

    def matrices(self, flat: Array) -> list[Array]:
        """Weights from one row."""
        bounds = np.cumsum([a * b for a, b in self.shapes])[:-1]
        return [part.reshape(shape) for part, shape in zip(np.split(flat, bounds), self.shapes, strict=True)]

    def outputs(self, flat: Array) -> Array:
        """y of every example (NPF, Table 1)."""
        *hidden, last = self.matrices(flat)
        z = self.x
        for matrix, gate in zip(hidden, self.gates, strict=True):
            z = (z @ matrix.T) * gate
        return (z @ last.T)[:, 0]

    def gradient(self, flat: Array) -> Array:
        """psi [n, weights]: the output with a weight 1 larger, less the output."""
        here = self.outputs(flat)
        return np.stack([self.outputs(flat + one) - here for one in np.eye(len(flat))], axis=1)

    def kernel(self, flat: Array) -> Array:
        """K [n, n]."""
        psi = self.gradient(flat)
        return psi @ psi.T

    def paths(self) -> list[tuple[int, ...]]:
        """All paths, as the units they pass."""
        return list(product(*map(range, self.sizes)))

    def activity(self, path: Sequence[int]) -> Array:
        """A(x_s, p) [n]."""
        return np.prod([g[:, i] for g, i in zip(self.gates, path[1:-1], strict=True)], axis=0)

    def features(self) -> Array:
        """Phi^T [n, P]."""
        return np.stack([self.x[:, p[0]] * self.activity(p) for p in self.paths()], axis=1)

    def weights_on(self, path: Sequence[int]) -> tuple[int, ...]:
        """The numbers of the weights on a path."""
        starts = np.cumsum([0, *(a * b for a, b in self.shapes)])
        return tuple(
            int(starts[k]) + path[k + 1] * self.shapes[k][1] + path[k] for k in range(self.depth)
        )  # fmt: skip

    def sensitivities(self, flat: Array) -> Array:
        """phi_p [P, weights] (NPF, Definition 3.1): the products of the other weights."""
        rows = np.zeros((len(self.paths()), self.count))
        for row, path in zip(rows, self.paths(), strict=True):
            on = self.weights_on(path)
            for weight in on:
                row[weight] = np.prod([flat[other] for other in on if other != weight])
        return rows


def signs(count: int) -> Iterator[Array]:
    """All rows of +-1."""
    for row in product((1.0, -1.0), repeat=count):
        yield np.array(row)
