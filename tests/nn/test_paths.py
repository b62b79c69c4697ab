"""The path kernel in torch is that of numpy, on every device at hand."""

import math

import numpy as np
import pytest
import torch

import qcmap as qc
import qcmap.nn as qnn
from qcmap.errors import ArgumentError, DataError, NumericalError
from qcmap.nn import path_kernel
from qcmap.nn._paths import times_power_of_two
from tests.paths.networks import TOWERS, integers, random_network, towers

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU"))]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("kind", ["dense", "convolution"])
def test_kernels_are_those_of_numpy(kind, device):
    for seed in range(8):
        arch = random_network(seed, kind)
        gates, _, x = integers(arch, seed)
        tensors = {name: torch.tensor(g) for name, g in gates.items()}
        found = path_kernel(arch, tensors, torch.tensor(x), device=device)
        assert found.device.type == device
        want = qc.path_kernel(arch, gates, x)
        np.testing.assert_allclose(found.cpu().numpy(), want, rtol=1e-13)
        single = path_kernel(arch, gates, x, device=device, dtype=torch.float32)
        np.testing.assert_allclose(single.cpu().numpy(), want, rtol=1e-5)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("kind", ["dense", "convolution"])
def test_counts_and_logarithms_are_those_of_numpy(kind, device, monkeypatch):
    monkeypatch.setattr("qcmap.nn._paths.block_side", lambda units: 1)
    monkeypatch.setattr("qcmap.nn._paths._LARGER", 1)
    for seed in range(4):
        arch = random_network(seed, kind)
        gates, _, x = integers(arch, seed)
        counts = qnn.active_paths(arch, gates, device=device)
        assert counts.dtype == torch.int64
        np.testing.assert_array_equal(counts.cpu().numpy(), qc.paths.active_paths(arch, gates))
        found = qnn.overlap(arch, gates, device=device).cpu().numpy()
        np.testing.assert_allclose(found, qc.paths.overlap(arch, gates), rtol=1e-13)
        for part, want in zip(
            qnn.log_path_kernel(arch, gates, x, device=device), qc.paths.log_path_kernel(arch, gates, x), strict=True
        ):
            np.testing.assert_allclose(part.cpu().numpy(), want, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("joined", TOWERS)
def test_logarithms_beyond_floats(joined, device):
    for arch, gates, want in towers(joined):
        found = qnn.log_path_kernel(arch, gates, torch.tensor([[1.0, 2], [3, -2]]), device=device)
        assert found.sign.tolist() == [[1, -1], [-1, 1]]
        np.testing.assert_allclose(found.logarithm.cpu().numpy(), want, rtol=1e-13, atol=1e-13)


def test_powers_of_two_are_exact():
    """Also where the factor is no float: 2^1000 of 2^-1060, and what falls below the least float."""
    a = np.array([1.25, -3.0, 2.0**-1060, 1.7e300, 0.0, 5e-324])
    for power in (0, 1, -1, 1001, -1003, 1060, 2000, -2000):
        with np.errstate(over="ignore", under="ignore"):
            want = np.ldexp(a, power)
        found = times_power_of_two(torch.tensor(a), torch.full((6,), power, dtype=torch.int32))
        np.testing.assert_array_equal(found.numpy(), want)


def test_blocks_cover_the_upper_half():
    arch = qc.zoo.mlp(2, width=5, in_channels=3, out_channels=1)
    random = np.random.default_rng(0)
    gates = {name: random.random((50, 5)) < 0.5 for name in qc.paths.Units.of(arch).activations}
    x, found = random.standard_normal((50, 3)), np.full((50, 50), np.nan)
    for rows, columns, values in qnn.path_kernel_blocks(arch, gates, x, side=20):
        found[rows, columns] = values.numpy()
    np.testing.assert_allclose(np.triu(found), np.triu(qc.path_kernel(arch, gates, x)), rtol=1e-12)


def test_gates_of_a_split_model_are_gates_of_its_graph():
    """A traced network's gates, with the ids of its graph, go straight to the kernel."""
    model = torch.nn.Sequential(
        torch.nn.Linear(6, 8, bias=False), torch.nn.ReLU(), torch.nn.Linear(8, 8, bias=False), torch.nn.ReLU(),
        torch.nn.Linear(8, 1, bias=False),
    ).double()  # fmt: skip
    x = torch.randn(7, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    split = qnn.split_gates(model, x)
    arch, gates = qnn.trace(model, x), split.gates(x)
    found = path_kernel(arch, {name: gate.detach() for name, gate in gates.items()}, x)
    want = x @ x.T
    for gate in gates.values():
        want = want * (gate @ gate.T)
    torch.testing.assert_close(found, want)
    weights = {
        name: p.detach().numpy() for name, p in zip(qc.paths.Units.of(arch).weights, model.parameters(), strict=True)
    }
    done = qc.paths.run_relu(arch, weights, x.numpy())
    np.testing.assert_allclose(done.outputs, model(x).detach().numpy(), rtol=1e-12)


def test_refusals():
    small = qc.zoo.mlp(1, width=3, in_channels=2, out_channels=1)
    arch = qc.zoo.mlp(300, width=100, in_channels=2, out_channels=1)
    gates, x = qc.paths.Gates.all_open(arch, 2), np.ones((2, 2))
    with pytest.raises(NumericalError, match="log_path_kernel"):
        path_kernel(arch, gates, x)
    with pytest.raises(NumericalError, match=r"Lambda: it is beyond the range of torch.float64; use active_paths, or"):
        qnn.overlap(arch, gates)
    with pytest.raises(NumericalError, match=r"has 20{600} paths, and floats count to 2\^53; use .*logarithms"):
        qnn.active_paths(arch, gates)
    found = qnn.log_path_kernel(arch, gates, x).logarithm[0, 1]  # inputs of 1: the remedy of both
    assert found == pytest.approx(math.log(2) + 300 * math.log(100), rel=1e-14)
    with pytest.raises(ArgumentError, match="float64 or float32"):
        path_kernel(arch, gates, x, dtype=torch.int64)
    for function, given in (
        (path_kernel, (x,)),
        (qnn.log_path_kernel, (x,)),
        (qnn.overlap, ()),
        (qnn.active_paths, ()),
    ):
        with pytest.raises(ArgumentError, match="device: torch has no 'nope' here"):
            function(small, qc.paths.Gates.all_open(small, 2), *given, device="nope")
    with pytest.raises(DataError, match="gates are 0 or 1"):
        qnn.active_paths(small, {"layer1.activation": np.full((2, 3), 0.5)})
