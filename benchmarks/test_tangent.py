"""Tangent kernels: of 100 inputs beside iterated two-dimensional quadrature, of many inputs, and of deep networks."""

import math

import numpy as np
import pytest

import qcmap as qc
from qcmap.numeric import gram_blocks, ntk, ntk_gram


def inputs(n: int, d: int = 100, seed: int = 0) -> np.ndarray:
    """Normalised: q values of 1."""
    x = np.random.default_rng(seed).standard_normal((n, d))
    return x * math.sqrt(d) / np.linalg.norm(x, axis=1, keepdims=True)


def iterated_quadrature(shaping: qc.Shaping, depth: int, x: np.ndarray, order: int = 32) -> np.ndarray:
    """The naive way: every layer, every pair, E[f f] and E[f' f'] by a tensor Gauss-Hermite rule."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(order)
    weights = weights / math.sqrt(2 * math.pi)
    f = shaping["tanh"]
    left, slope = f(nodes), f.derivative(nodes)
    c = np.clip(x @ x.T / x.shape[1], -1, 1)
    theta = c.copy()
    for _ in range(depth):
        values, slopes = np.empty_like(c), np.empty_like(c)
        for i in range(len(c)):
            s = np.sqrt(np.maximum(0, 1 - c[i] ** 2))
            u = c[i][:, None, None] * nodes[:, None] + s[:, None, None] * nodes
            values[i] = np.einsum("i,j,nij->n", weights * left, weights, f(u), optimize=True)
            slopes[i] = np.einsum("i,j,nij->n", weights * slope, weights, f.derivative(u), optimize=True)
        theta = theta * slopes  # the next layer's own term is added as its input's c
        c = np.clip(values, -1, 1)
        theta += c
    return theta - c


def test_ntk_100_inputs_50_layers(benchmark):
    """Beside the naive way, in the same run; its first layers check the values."""
    arch, x = qc.zoo.mlp(50), inputs(100)
    shaping = qc.dks(arch, 1.5)
    small, few = qc.zoo.mlp(2), x[:8]
    naive = iterated_quadrature(qc.dks(small, 1.5), 2, few)
    assert np.abs(ntk_gram(small, few, shaping=qc.dks(small, 1.5)).matrix - naive).max() < 1e-5
    assert benchmark(lambda: ntk_gram(arch, x, shaping=shaping)).error < 1e-9


def test_iterated_quadrature_100_inputs_50_layers(benchmark):
    """The naive way."""
    shaping, x = qc.dks(qc.zoo.mlp(50), 1.5), inputs(100)
    benchmark.pedantic(iterated_quadrature, args=(shaping, 50, x), rounds=1)


@pytest.mark.parametrize("n", [250, 500, 1000, 2000, 4000])
def test_ntk_gram_50_layers(benchmark, n):
    """Reach: 1 s for 1,000 inputs. All entries, both triangles."""
    arch, x = qc.zoo.mlp(50), inputs(n)
    shaping = qc.dks(arch, 1.5)
    result = benchmark.pedantic(ntk_gram, args=(arch, x), kwargs={"shaping": shaping}, rounds=3)
    assert result.error < 1e-9


def test_streamed_4000_inputs(benchmark):
    """The same matrix block by block: memory does not grow with the number of inputs."""
    arch, x = qc.zoo.mlp(50), inputs(4000)
    shaping = qc.dks(arch, 1.5)

    def trace() -> float:
        blocks = gram_blocks(arch, x, shaping=shaping)
        return sum(float(np.trace(b.values)) for b in blocks if b.rows == b.columns)

    assert benchmark.pedantic(trace, rounds=1) > 0


@pytest.mark.parametrize("depth", [10, 100, 1000, 10_000])
@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_ntk_gram_by_depth(benchmark, activation, depth):
    """100 inputs; relu at the edge of chaos as it is, tanh shaped."""
    if activation == "relu":
        b = qc.Builder("relu")
        h = b.input("x")
        for _ in range(depth):
            h = b.activation(b.affine(h, weight_variance=2.0), "relu")
        arch, shaping = b.build(outputs=[b.affine(h)]), None
    else:
        arch = qc.zoo.mlp(depth)
        shaping = qc.dks(arch, 1.5)
    result = benchmark.pedantic(ntk_gram, args=(arch, inputs(100)), kwargs={"shaping": shaping}, rounds=1)
    assert result.error < 1e-6 * result.matrix.max()


def test_all_layers_of_a_chain(benchmark):
    """Every layer's kernel at 1,000 c values, 50 layers."""
    arch, c = qc.zoo.mlp(50), np.cos(np.linspace(0, math.pi, 1000))
    shaping = qc.dks(arch, 1.5)
    benchmark(lambda: ntk(arch, c, 1.0, 1.0, shaping=shaping).total)
