"""The path kernel in torch is that of numpy, on every device at hand."""

import numpy as np
import pytest
import torch

import qcmap as qc
import qcmap.nn as qnn
from qcmap.errors import ArgumentError, NumericalError
from qcmap.nn import path_kernel
from tests.paths.networks import integers, random_network

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
    arch = qc.zoo.mlp(300, width=100, in_channels=2, out_channels=1)
    gates, x = qc.paths.Gates.all_open(arch, 2), np.ones((2, 2))
    with pytest.raises(NumericalError, match="log_path_kernel"):
        path_kernel(arch, gates, x)
    with pytest.raises(ArgumentError, match="float64 or float32"):
        path_kernel(arch, gates, x, dtype=torch.int64)
