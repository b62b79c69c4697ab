"""Graphs and slopes: small and large, and beside enumeration of all subnetworks."""

from collections import defaultdict

import numpy as np
import pytest

import qcmap as qc
from qcmap.architecture import Nonlinear, Sum


def residual(nodes: int) -> qc.Architecture:
    """A chain of residual blocks with two nonlinear layers each."""
    b = qc.Builder("residual")
    h, count = b.affine(b.input("x")), 2
    while count < nodes:
        r = b.affine(b.activation(b.affine(b.activation(h, "tanh")), "tanh"))
        h, count = b.sum([r, h], [0.6, 0.8]), count + 5
    return b.build(outputs=[h])


def enumerated(arch: qc.Architecture, psi: float) -> float:
    """The largest slope over all subnetworks, by trying every source: a pair (u, v) counts if all of v lies below u."""
    reads = [[arch.index[name] for name in node.inputs] for node in arch.nodes]
    best = 1.0
    for u in range(len(reads)):
        slope: dict[int, float] = defaultdict(float, {u: 1.0})
        inside = {u}
        for v in range(u + 1, len(reads)):
            if reads[v] and inside.issuperset(reads[v]):
                op = arch.nodes[v].op
                weights = [w**2 for w in op.weights] if isinstance(op, Sum) else [1.0] * len(reads[v])
                slope[v] = sum(w * slope[p] for w, p in zip(weights, reads[v], strict=True))
                slope[v] *= psi if isinstance(op, Nonlinear) else 1.0
                inside.add(v)
        best = max(best, *slope.values())
    return best


def test_maximal_slope_and_inverse_resnet_152(benchmark):
    """Reach: 3 ms."""
    arch = qc.zoo.resnet_v2(152)
    assert arch.dominators.leaves
    benchmark(lambda: qc.maximal_slope(arch).inverse(1.5))


def test_maximal_slope_resnet_152(benchmark):
    """One value, beside enumeration."""
    mu = qc.maximal_slope(qc.zoo.resnet_v2(152))
    assert benchmark(lambda: float(mu(1.01))) == pytest.approx(enumerated(mu.architecture, 1.01), rel=1e-12)


def test_enumerated_slope_resnet_152(benchmark):
    """The naive way: every source, every node below it."""
    arch = qc.zoo.resnet_v2(152)
    benchmark.pedantic(enumerated, args=(arch, 1.01), rounds=5)


@pytest.mark.parametrize("nodes", [10_000, 100_000])
def test_large_residual_graph(benchmark, nodes):
    """Build, check, the maximal slope at 100 values, its inverse. Reach: 3 s for 100,000 nodes, a tenth for 10,000."""

    def all_of_it() -> float:
        arch = residual(nodes)
        assert not qc.check(arch)
        mu = qc.maximal_slope(arch)
        mu(np.linspace(1, 1.0001, 100))
        return mu.inverse(1.5)

    assert benchmark.pedantic(all_of_it, rounds=5) > 1


def test_exact_envelope(benchmark):
    """Candidates with their exact crossing points, from the graph: a 10-layer skip with one more layer."""

    def pieces() -> int:
        b = qc.Builder("skip")
        x = h = b.affine(b.input())
        for _ in range(10):
            h = b.affine(b.activation(h, "tanh"))
        return len(qc.maximal_slope(b.build([b.activation(b.sum([x, h]), "tanh")])).pieces)

    assert benchmark(pieces) == 2
