"""Local and network maps: set-up, deep chains, and the growth of their cost with depth."""

import numpy as np
import pytest

import qcmap as qc
from qcmap.numeric import LocalMaps, network_maps

C = np.linspace(-1, 1, 1000)


@pytest.mark.parametrize("name", ["tanh", "softplus", "selu", "gelu", "hardtanh"])
def test_local_map_setup(benchmark, name):
    """Reach: 100 ms for the interpolant of one local C map."""
    benchmark(lambda: LocalMaps(name).c(C))


@pytest.mark.parametrize("depth", [10, 100, 1000, 10_000])
def test_chain(benchmark, depth):
    """Reach: 20 ms for 1,000 layers at 1,000 c values after set-up."""
    arch = qc.zoo.mlp(depth, activation="tanh")
    maps = network_maps(arch, qc.dks(arch, 1.5))
    maps.c(C)
    values = benchmark(maps.c, C)
    assert values[-1] == 1


def test_chain_set_up(benchmark):
    """All of it: a new object, the local map known."""
    arch = qc.zoo.mlp(1000, activation="tanh")
    shaping = qc.dks(arch, 1.5)
    benchmark.pedantic(lambda: network_maps(arch, shaping).c(C), rounds=5)


def test_resnet_152(benchmark):
    arch = qc.zoo.resnet_v2(152, residual_weight=0.5, activation="softplus")
    maps = network_maps(arch, qc.dks(arch, 1.5))
    benchmark(maps.c, C)
