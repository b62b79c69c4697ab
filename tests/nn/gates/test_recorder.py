"""The gate recorder in the training engine, against gates that are computed apart."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

import qcmap.nn as qnn
from qcmap.errors import ArchitectureError, ArgumentError, DataError
from qcmap.nn.train import Settings, Splits, Trainer


def data():
    random = torch.Generator().manual_seed(5)
    x = torch.randn(40, 3, generator=random, dtype=torch.float64)
    return x, torch.where(x[:, :1] * x[:, 1:2] > 0, 1.0, -1.0).double()


def network():
    with torch.random.fork_rng():
        torch.manual_seed(4)
        return nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 1)).double()


def enumerated(model, x):
    """The path kernel of two hidden layers of 8, path by path."""
    first = model[0](x) > 0
    second = model[2](torch.relu(model[0](x))) > 0
    features = [
        x[:, i] * first[:, j] * second[:, k] for i in range(3) for j in range(8) for k in range(8)
    ]  # fmt: skip
    phi = torch.stack(features, dim=1).detach().numpy()
    return phi @ phi.T


def test_what_is_recorded_over_training():
    model, (x, y) = network(), data()
    probe, labels, models = x[:12], y[:12], []
    recorder = qnn.GateRecorder(model, probe, labels)

    def keep(moment):
        models.append(copy.deepcopy(moment.model))
        return {}

    settings = Settings(epochs=3, batch_size=10, loss="squared_error")
    result = Trainer(model, Splits.of_tensors((x, y)), settings, each_epoch=[recorder, keep]).train()
    gates = [[(one[0](probe) > 0), one[2](torch.relu(one[0](probe))) > 0] for one in models]
    for epoch, row in enumerate(result.epochs):
        for layer, name in enumerate(("1", "3")):
            assert row["measured"][f"active/{name}"] == pytest.approx(gates[epoch][layer].double().mean().item())
            if epoch == 0:
                assert f"switched/{name}" not in row["measured"]
            else:
                changed = gates[epoch][layer] != gates[epoch - 1][layer]
                assert row["measured"][f"switched/{name}"] == pytest.approx(changed.double().mean().item())
        kernel = enumerated(models[epoch], probe)
        inverse = np.linalg.inv(kernel / np.trace(kernel))
        assert row["measured"]["nu"] == pytest.approx((labels.T.numpy() @ inverse @ labels.numpy()).item(), rel=1e-6)


def test_sensitive_gates_are_recorded_too():
    """Against derivatives of each soft gate by autograd, before and after weights have changed."""
    model, (x, _) = network(), data()
    probe, soft = x[:5], qnn.GateFunction(4.0, 0.1)
    recorder = qnn.GateRecorder(model, probe, gate=soft, active_above=0.9, sensitive_above=0.8)
    for scale in (1.0, 3.0):
        with torch.no_grad():
            model[0].weight *= scale
        found, weights = recorder.measured(model), list(model.parameters())
        first = model[0](probe)
        for name, q in (("1", first), ("3", model[2](torch.relu(first)))):
            gates = soft(q)
            largest = torch.tensor([
                max(d.abs().max() for d in torch.autograd.grad(gate, weights, retain_graph=True, allow_unused=True)
                    if d is not None)
                for gate in gates.flatten()
            ])  # fmt: skip
            assert 0 < found[f"sensitive/{name}"] < 1
            assert found[f"sensitive/{name}"] == pytest.approx((largest > 0.8).double().mean().item(), abs=1e-12)
            assert found[f"active/{name}"] == pytest.approx((gates > 0.9).double().mean().item(), abs=1e-12)


def test_nu_is_left_out_where_the_kernel_is_singular():
    model, (x, y) = network(), data()
    twice = torch.cat([x[:3], x[:3]])
    assert "nu" not in qnn.GateRecorder(model, twice, y[:6]).measured(model)


def test_bad_arguments():
    model, (x, y) = network(), data()
    for labels in (y[:3], torch.full((12,), torch.nan)):
        with pytest.raises(DataError, match="labels"):
            qnn.GateRecorder(model, x[:12], labels)
    with pytest.raises(ArgumentError, match="sensitive_above: hard gates have no derivatives"):
        qnn.GateRecorder(model, x, sensitive_above=0.1)
    with pytest.raises(ArgumentError, match="active_above: a threshold"):
        qnn.GateRecorder(model, x, active_above=-1)
    with pytest.raises(ArchitectureError, match="tanh"):
        qnn.GateRecorder(nn.Sequential(nn.Linear(3, 2), nn.Tanh()).double(), x)
