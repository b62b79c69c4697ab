"""Gated networks in torch: the loss and descent of numpy, and models with fixed gates read as graphs."""

import numpy as np
import pytest
import torch
from torch import nn

import qcmap as qc
import qcmap.nn as qnn
from qcmap.errors import ArchitectureError, ArgumentError, NumericalError
from qcmap.gated import Context, FullFlow, GatedNetwork, GatedTask, random_weights
from theory_checks.gated_networks import random_network


@pytest.mark.parametrize("seed", [3, 8, 21])
def test_loss_gradient_and_descent_are_those_of_numpy(seed):
    network, _ = random_network(seed)
    weights = random_weights(network, gain=0.6, kind="gaussian", seed=seed)
    flow, module = FullFlow(network), qnn.GatedModule(network, weights)
    loss, gradient = flow.gradient(weights)
    found = module()
    found.backward()
    assert found.item() == pytest.approx(loss, rel=1e-12)
    for edge, parameter in module.weights.items():
        got = np.zeros_like(weights[edge]) if parameter.grad is None else parameter.grad.numpy()
        assert np.abs(got - gradient[edge]).max() < 1e-10
    here, there = qnn.GatedModule(network, weights).descend(0.02, 10, every=5), flow.descend(weights, 0.02, 10, every=5)
    assert here.times.tolist() == there.times.tolist() == [0, 5, 10]
    assert here.losses == pytest.approx(there.losses, rel=1e-10)


def test_descent_that_diverges_is_told():
    network = qc.gated.xor(4)
    module = qnn.GatedModule(network, random_weights(network, gain=5.0))
    with pytest.raises(NumericalError, match="diverges"):
        module.descend(10.0, 200)
    with pytest.raises(ArgumentError, match="must be positive"):
        module.descend(-1.0, 5)


class TwoPathways(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(2, 3, bias=False), nn.Linear(2, 3, bias=False)
        self.out = nn.Linear(3, 1, bias=False)
        self.skip = nn.Linear(2, 1, bias=False)

    def forward(self, x, a, b):
        return self.out(self.first(x) * a + b * self.second(x)) + 0.5 * self.skip(x)


def test_a_torch_model_with_gates_becomes_a_gated_network():
    model = TwoPathways().double()
    arch, weights = qnn.trace_gated(model, {"x": 2}, ("a", "b"))
    assert set(weights) == {"first", "second", "out", "skip"}
    x, y = np.random.default_rng(0).standard_normal((2, 5)), np.ones((1, 5))
    gates = ({"a": 1.0}, {"a": 0.5, "b": 2.0})
    contexts = [Context.from_data(f"{k}", g, {"x": x}, {"y": y}) for k, g in enumerate(gates)]
    network = GatedNetwork(arch, GatedTask.of(contexts, arch.inputs, arch.outputs))
    losses = FullFlow(network).context_losses(weights)
    for given, loss in zip(gates, losses, strict=True):
        with torch.no_grad():
            output = model(torch.tensor(x.T), given.get("a", 0.0), given.get("b", 0.0))
        assert loss == pytest.approx(float(((output - 1) ** 2).mean() / 2), rel=1e-12)


def broken(change):
    model = TwoPathways()
    change(model)
    return model


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (broken(lambda m: setattr(m, "out", nn.Linear(3, 1))), "out: it has a bias"),
        (broken(lambda m: setattr(m, "out", nn.ReLU())), "out: it is a ReLU"),
        (broken(lambda m: setattr(m, "second", m.first)), "first: it is used twice"),
    ],
)
def test_other_models_are_refused(model, message):
    with pytest.raises(ArchitectureError, match=message):
        qnn.trace_gated(model, {"x": 2}, ("a", "b"))


def test_every_argument_is_an_input_or_a_gate():
    with pytest.raises(ArgumentError, match="b: it is an argument of forward"):
        qnn.trace_gated(TwoPathways(), {"x": 2}, ("a",))


class Squared(nn.Module):
    def forward(self, x):
        return x * x


def test_other_operations_are_refused():
    with pytest.raises(ArchitectureError, match="mul is not part of a gated linear network"):
        qnn.trace_gated(Squared(), {"x": 2})
