"""Deep Kernel Shaping: warm, cold, and beside a naive solver that follows section 22 of the paper to the letter."""

import subprocess
import sys

import numpy as np
import pytest
from scipy.optimize import root

import qcmap as qc

PSI = 1.5**0.01


def naive_dks(nodes: np.ndarray, weights: np.ndarray, start: tuple[float, float]) -> np.ndarray:
    """Softplus by scipy.optimize.root with one Gauss-Legendre rule on [-10, 10] (DKS, section 22)."""

    def residuals(constants: np.ndarray) -> list[float]:
        u = constants[0] * nodes + constants[1]
        f, slope = np.logaddexp(0, u), 1 / (1 + np.exp(-u))
        mean = weights @ f
        variance = weights @ (f - mean) ** 2
        factor = constants[0] / variance
        return [
            factor * (weights @ ((f - mean) * slope * nodes)) - 1,
            constants[0] * factor * (weights @ slope**2) - PSI,
        ]

    return root(residuals, start, method="hybr").x


@pytest.fixture(scope="module")
def fine_rule():
    """100,000 Gauss-Legendre nodes by their asymptotic formula (error 1e-9), with the normal density."""
    n = 100_000
    k = np.arange(1, n + 1)
    angle = np.pi * (4 * k - 1) / (4 * n + 2)
    x = 10 * (1 - 1 / (8 * n**2) + 1 / (8 * n**3)) * np.cos(angle)
    return x, 10 * np.pi / (n + 0.5) * np.sin(angle) * np.exp(-x * x / 2) / np.sqrt(2 * np.pi)


def test_warm_softplus(benchmark):
    """Reach: 2 ms."""
    arch = qc.zoo.mlp(100, activation="softplus")
    shaping = benchmark(lambda: qc.dks(arch, 1.5))
    assert max(map(abs, shaping.residuals()["softplus"].values())) < 1e-12


def test_naive_softplus(benchmark, fine_rule):
    """The paper's recipe, from its own first guess."""
    found = benchmark.pedantic(naive_dks, args=(*fine_rule, (1.0, 0.0)), rounds=5)
    assert found == pytest.approx([0.22802376, 0.40750958], abs=1e-6)


@pytest.mark.parametrize("name", ["tanh", "gelu", "selu", "relu", "leaky_relu"])
def test_warm_others(benchmark, name):
    arch = qc.zoo.mlp(100, activation=name)
    benchmark(lambda: qc.dks(arch, 1.5))


def test_cold_process(benchmark):
    """Reach: 0.6 s for the whole process."""
    command = [sys.executable, "-m", "qcmap", "dks", "resnet_v2:depth=50,residual_weight=0.2236"]
    command += ["--activation", "softplus"]
    benchmark.pedantic(lambda: subprocess.run(command, check=True, capture_output=True), rounds=7, warmup_rounds=1)


def test_local_map_setup(benchmark):
    """Reach: 100 ms for an interpolant of the C map (a target of the numeric layer, measured here from the start)."""
    from qcmap.numeric import LocalMaps

    benchmark(lambda: LocalMaps("selu").c(np.linspace(-1, 1, 100)))
