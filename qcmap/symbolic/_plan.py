"""The slopes of all subnetworks from the top of the network, compiled for numbers.

Only sums and concatenations need work. Between two of them a node's log slope is that of its *anchor*, the last mean
among its dominators (or the virtual root), plus a count of nonlinear layers times s = log psi. Most means are blocks:
all their branches have the anchor of their dominator, so that their factor depends on weights and counts alone and is
computed once for all blocks with the same ones.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from qcmap.architecture import Architecture, Concat, Nonlinear, Sum, Weight
from qcmap.symbolic._weights import mean_weights, numeric, refuse_unmapped

Array = NDArray[np.float64]
Branches = tuple[tuple[float, int, int], ...]
"""For each branch its weight, its anchor, and its count of layers beyond that of the dominator."""


class MeanStep(NamedTuple):
    """A mean: its dominator's anchor and count, and either the shape of a block (an index) or branches."""

    anchor: int
    layers: int
    shape: int
    branches: Branches


class Plan:
    """The compiled graph.

    Attributes
    ----------
    steps
        One for each mean, in topological order; anchor k + 1 is step k, anchor 0 the virtual root.
    shapes
        The distinct blocks: (weight, count) for each branch.
    ends
        The leaves of the dominator tree that may be steepest: (anchor, count, node).
    """

    def __init__(self, arch: Architecture, q: Mapping[str, Weight] | None = None) -> None:
        tree = arch.dominators
        anchors, counts = [0] * (len(arch.nodes) + 1), [0] * (len(arch.nodes) + 1)
        shapes: dict[tuple[tuple[float, int], ...], int] = {}
        self.steps: list[MeanStep] = []
        for v, node in enumerate(arch.nodes):
            above, op = tree.parent[v], node.op
            # The last slot stands for the virtual root above the inputs.
            anchors[v], counts[v] = anchors[above], counts[above]
            if isinstance(op, Nonlinear):
                counts[v] += 1
            elif isinstance(op, (Sum, Concat)) and above >= 0:
                weights = numeric(node.id, mean_weights(arch, v, q))
                total = math.fsum(weights)
                base, start = anchors[above], counts[above]
                branches = tuple(
                    (w / total, anchors[u], counts[u] - (start if anchors[u] == base else 0))
                    for w, u in zip(weights, arch.predecessors[v], strict=True)
                    if w
                )
                shape = -1
                if all(anchor == base for _, anchor, _ in branches):
                    shape = shapes.setdefault(tuple((w, n) for w, _, n in branches), len(shapes))
                self.steps.append(MeanStep(base, start, shape, () if shape >= 0 else branches))
                anchors[v], counts[v] = len(self.steps), 0
            else:
                refuse_unmapped(node)
        self.shapes = tuple(shapes)
        best: dict[int, tuple[int, int]] = {}
        for v in tree.leaves:
            best[anchors[v]] = max(best.get(anchors[v], (-1, -1)), (counts[v], -v))
        self.ends = [(anchor, count, -v) for anchor, (count, v) in best.items()]

    def logs(self, s: float) -> tuple[list[float], list[float]]:
        """At each anchor, log p(exp s) from the top and its derivative in s."""
        blocks = [_mean([(w, n * s, n) for w, n in shape]) for shape in self.shapes]
        logs, slopes = [0.0], [0.0]
        for anchor, count, shape, branches in self.steps:
            base, rate = logs[anchor] + count * s, slopes[anchor] + count
            if shape < 0:
                parts = [
                    (w, n * s + (logs[a] - base if a != anchor else 0.0), n + (slopes[a] if a != anchor else rate))
                    for w, a, n in branches
                ]
                gain, slope = _mean(parts)
                logs.append(base + gain)
                slopes.append(slope)
            else:
                gain, slope = blocks[shape]
                logs.append(base + gain)
                slopes.append(rate + slope)
        return logs, slopes

    def largest(self, s: float) -> tuple[float, float, int]:
        """The largest log p(exp s) over all subnetworks, its derivative in s, and the node where it is attained."""
        logs, slopes = self.logs(s)
        # Of equal slopes the one that grows fastest, so that at psi = 1 the derivative is that from the right.
        anchor, count, node = max(self.ends, key=lambda end: (logs[end[0]] + end[1] * s, slopes[end[0]] + end[1]))
        return logs[anchor] + count * s, slopes[anchor] + count, node

    def largest_at(self, s: Array) -> tuple[Array, Array]:
        """The largest log p(exp s) and its derivative in s, for s of shape [n]."""
        blocks = [_means([(w, n * s, np.full_like(s, n)) for w, n in shape]) for shape in self.shapes]
        logs, slopes = np.zeros((len(self.steps) + 1, s.size)), np.zeros((len(self.steps) + 1, s.size))
        for k, (anchor, count, shape, branches) in enumerate(self.steps, start=1):
            base, rate = logs[anchor] + count * s, slopes[anchor] + count
            if shape < 0:
                parts = [
                    (w, n * s + (logs[a] - base if a != anchor else 0.0), n + (slopes[a] if a != anchor else rate))
                    for w, a, n in branches
                ]
                gain, slope = _means(parts)
                logs[k], slopes[k] = base + gain, slope
            else:
                gain, slope = blocks[shape]
                logs[k], slopes[k] = base + gain, rate + slope
        best, rates = np.full(s.shape, -math.inf), np.zeros(s.shape)
        for anchor, count, _ in self.ends:
            here, rate = logs[anchor] + count * s, slopes[anchor] + count
            rates = np.where((here > best) | ((here == best) & (rate > rates)), rate, rates)
            best = np.maximum(best, here)
        return best, rates


def _mean(parts: list[tuple[float, float, float]]) -> tuple[float, float]:
    """The log of sum_j w_j exp(r_j), with sum_j w_j = 1, and the mean of the given slopes; parts are (w, r, slope)."""
    top = max(rise for _, rise, _ in parts)
    masses = [w * math.exp(rise - top) for w, rise, _ in parts]
    total = math.fsum(masses)
    slope = math.fsum(mass * slope for mass, (_, _, slope) in zip(masses, parts, strict=True)) / total
    # log1p keeps the digits of a mean close to 1, as at great depth.
    return (math.log1p(math.fsum(w * math.expm1(r) for w, r, _ in parts)) if top < 9 else top + math.log(total)), slope


def _means(parts: list[tuple[float, Array, Array]]) -> tuple[Array, Array]:
    """`_mean` for arrays."""
    top = np.max([rise for _, rise, _ in parts], axis=0)
    masses = [w * np.exp(rise - top) for w, rise, _ in parts]
    total = np.sum(masses, axis=0)
    slope = np.sum([mass * slope for mass, (_, _, slope) in zip(masses, parts, strict=True)], axis=0) / total
    near = np.sum([w * np.expm1(np.minimum(rise, 9.0)) for w, rise, _ in parts], axis=0)
    return np.where(top < 9, np.log1p(near), top + np.log(total)), slope
