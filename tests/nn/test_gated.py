"""Gated networks in torch: the loss and descent of numpy, and models with fixed gates read as graphs."""

import numpy as np
import pytest
import torch
from torch import nn

import qcmap as qc
import qcmap.nn as qnn
from qcmap.errors import ArchitectureError, ArgumentError, NumericalError, TraceError
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


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rate": "a"}, "rate: it must be"),
        ({"steps": 2.5}, "steps: it must be"),
        ({"every": True}, "every: it must be"),
    ],
    ids=["rate", "steps", "every"],
)
def test_descent_takes_numbers_of_its_kind(change, message):
    network = qc.gated.xor(4)
    with pytest.raises(ArgumentError, match=message):
        qnn.GatedModule(network, random_weights(network)).descend(**{"rate": 0.1, "steps": 2, **change})


@pytest.mark.parametrize("seed", [3, 8])
def test_the_flow_is_that_of_numpy(seed):
    network, _ = random_network(seed)
    weights = random_weights(network, gain=0.6, kind="gaussian", seed=seed)
    module, times = qnn.GatedModule(network, weights), [0, 0.5, 2]
    here, there = module.flow(times), FullFlow(network).flow(weights, times)
    assert np.abs(here.losses - there.losses).max() < 1e-8
    for edge, matrices in there.weights.items():
        assert np.abs(here.weights[edge] - matrices).max() < 1e-8
        assert np.array_equal(module.weights[edge].detach().numpy(), here.weights[edge][-1])
    with pytest.raises(ArgumentError, match="dtype: rounding"):
        module.float().flow(times)


def test_data_go_with_the_module_to_another_type_or_device():
    network, _ = random_network(8)
    weights = random_weights(network, gain=0.6, kind="gaussian", seed=8)
    module = qnn.GatedModule(network, weights)
    assert list(module.state_dict()) == [name for name, _ in module.named_parameters()]
    assert module.float()().dtype == torch.float32
    assert module().item() == pytest.approx(FullFlow(network).loss(weights), rel=1e-5)
    assert module.to("meta")().device.type == "meta"


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


class Traced(nn.Module):
    """A model whose forward is the given function of the model, x and g."""

    def __init__(self, forward):
        super().__init__()
        self.a, self.b = nn.Linear(2, 3, bias=False), nn.Linear(2, 3, bias=False)
        self.rule = forward

    def forward(self, x, g):
        return self.rule(self, x, g)


def test_the_factor_of_torch_add_is_the_weight_of_the_sum():
    model = Traced(lambda m, x, g: torch.add(m.a(x) * g, m.b(input=x), alpha=-2)).double()
    arch, weights = qnn.trace_gated(model, {"x": 2}, ("g",))
    x = np.random.default_rng(0).standard_normal((2, 5))
    context = Context.from_data("one", {"g": 0.5}, {"x": x}, {"y": np.ones((3, 5))})
    loss = FullFlow(GatedNetwork(arch, GatedTask.of([context], arch.inputs, arch.outputs))).loss(weights)
    with torch.no_grad():
        assert loss == pytest.approx(float(((model(torch.tensor(x.T), 0.5) - 1) ** 2).sum() / 10), rel=1e-12)


@pytest.mark.parametrize(
    ("forward", "error", "message"),
    [
        (lambda m, x, g: m.a(g), ArchitectureError, "a: a is not part"),
        (lambda m, x, g: torch.add(input=m.a(x), other=m.b(x)), ArchitectureError, "add is not part"),
        (lambda m, x, g: torch.add(m.a(x), m.b(x), alpha=g), ArchitectureError, "add is not part"),
        (lambda m, x, g: m.a(x) + x, ArchitectureError, "adds 3 channels to 2"),
        (lambda m, x, g: (m.a(x), g), ArchitectureError, "output is not part"),
        (lambda m, x, g: [m.a(x)], ArchitectureError, "output is not part"),
        (lambda m, x, g: m.a(x) if g > 0 else m.b(x), TraceError, "Traced: torch cannot trace it"),
    ],
    ids=["gate-linear", "keywords", "gated-factor", "sizes", "gate-output", "list", "if"],
)
def test_models_of_another_kind_are_refused_by_name(forward, error, message):
    with pytest.raises(error, match=message):
        qnn.trace_gated(Traced(forward), {"x": 2}, ("g",))


@pytest.mark.parametrize(
    ("inputs", "gates", "error", "message"),
    [
        ({"x": 5}, ("g",), ArchitectureError, "a: it reads 2 channels, but its source has 5"),
        ({"x": 2, "z": 2}, ("g",), ArgumentError, "z: forward has no argument"),
        ({"x": 2}, ("g", "h"), ArgumentError, "h: forward has no argument"),
        ({"x": 2, "g": 1}, ("g",), ArgumentError, "g: it is named both"),
        ({"x": 2.5}, ("g",), ArgumentError, "x: it must be a positive integer"),
        ({"x": 2}, "g", ArgumentError, "gates: its type"),
        (["x"], ("g",), ArgumentError, "inputs: its type"),
    ],
    ids=["channels", "input", "gate", "both", "count", "text", "names"],
)
def test_inputs_and_gates_are_those_of_forward(inputs, gates, error, message):
    with pytest.raises(error, match=message):
        qnn.trace_gated(Traced(lambda m, x, g: m.a(x) * g), inputs, gates)


def test_a_model_is_a_torch_module():
    with pytest.raises(ArgumentError, match="model: its type must be Module"):
        qnn.trace_gated(lambda x: x, {"x": 2})
