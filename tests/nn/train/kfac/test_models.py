"""Which parameters of which models get Kronecker factors, and what measuring leaves alone."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional

import qcmap.nn as qnn
from models.mlp import MLP
from qcmap.nn.train import KFAC
from tests.nn.train.kfac.exact import blocks, normal, seeded


class Functional(nn.Module):
    """Layers as calls of functions."""

    def __init__(self):
        super().__init__()
        self.kernel = nn.Parameter(normal(3, 2, 3, 3, seed=1))
        self.weight = nn.Parameter(normal(4, 3, seed=2))
        self.bias = nn.Parameter(normal(4, seed=3))

    def forward(self, x):
        h = torch.conv2d(x, self.kernel, padding=1, stride=(2, 2)).tanh().mean((2, 3))
        return functional.linear(h, self.weight, bias=self.bias)


class Mixed(nn.Module):
    """A tied weight, a layer called twice, a grouped convolution, attention, two that are lost, and one dense layer."""

    def __init__(self):
        super().__init__()
        self.twice, self.once, self.tied = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4, bias=False)
        self.grouped = nn.Conv2d(4, 4, 1, groups=2)
        self.attention = nn.MultiheadAttention(4, 2, batch_first=True)
        self.unused, self.lost = nn.Linear(2, 2), nn.Linear(4, 4)

    def forward(self, x):
        self.lost(x)
        h = self.twice(self.twice(x)).relu() @ self.tied.weight
        h = self.grouped(h[:, :, None, None]).flatten(1)
        h = self.attention(h[:, None], h[:, None], h[:, None], need_weights=False)[0][:, 0]
        return self.tied(self.once(h))


def kinds(model, inputs, **options):
    optimizer = KFAC(model, **options)
    optimizer.update_curvature(inputs)
    return optimizer.blocks


def factors(model, inputs):
    optimizer = KFAC(model, fisher="exact", loss="squared_error")
    optimizer.update_curvature(inputs)
    return blocks(optimizer)


def test_calls_of_functions_have_the_factors_of_layers():
    model = Functional().double()
    layers = nn.Sequential(nn.Conv2d(2, 3, 3, padding=1, stride=2, bias=False), nn.Tanh(), nn.AdaptiveAvgPool2d(1))
    layers = layers.extend([nn.Flatten(), nn.Linear(3, 4)]).double()
    layers.load_state_dict({"0.weight": model.kernel, "4.weight": model.weight, "4.bias": model.bias})
    inputs = normal(3, 2, 5, 5)
    found, expected = factors(model, inputs), factors(layers, inputs)
    for name, other in (("kernel", "0.weight"), ("weight", "4.weight")):
        for key in ("inputs", "outputs"):
            torch.testing.assert_close(found[name][key], expected[other][key], rtol=1e-12, atol=1e-13)


def test_shaped_models_have_factors_for_all_their_layers():
    plain = MLP(6, 8, 3, 4, "softplus").double()
    inputs = normal(5, 6)
    for model in (plain, qnn.shape(plain, inputs), qnn.fold(qnn.shape(plain, inputs))):
        assert set(kinds(model, inputs).values()) == {"Kronecker"}
    shaped = qnn.shape(Functional().double(), normal(3, 2, 6, 6))
    assert set(kinds(shaped, normal(3, 2, 6, 6)).values()) == {"Kronecker"}


def test_other_uses_of_parameters_have_a_diagonal():
    found = kinds(Mixed(), torch.randn(3, 4, generator=torch.Generator().manual_seed(0)))
    assert {name for name, kind in found.items() if kind == "Kronecker"} == {"once.weight", "once.bias"}
    assert set(found) == {name for name, _ in Mixed().named_parameters()}


def test_frozen_parameters_are_left_alone():
    model = seeded(nn.Linear(4, 3), nn.Linear(3, 3), nn.Linear(3, 2))
    model[0].weight.requires_grad_(requires_grad=False)
    model[1].bias.requires_grad_(requires_grad=False)
    found = kinds(model, normal(3, 4))
    assert found == {
        "0.bias": "diagonal", "1.weight": "Kronecker", "2.weight": "Kronecker", "2.bias": "Kronecker"
    }  # fmt: skip


def test_buffers_modes_gradients_and_global_generators_stay():
    model = seeded(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Dropout(0.5), nn.Linear(5, 3))
    before, state = copy.deepcopy(model.state_dict()), torch.random.get_rng_state()
    kinds(model, normal(6, 4))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert torch.equal(state, torch.random.get_rng_state())
    assert model.training
    assert all(parameter.grad is None for parameter in model.parameters())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_factors_do_not_depend_on_autocast():
    model = seeded(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3)).float()
    inputs = normal(6, 4).float()
    plain = factors(model, inputs)
    with torch.autocast("cpu", torch.bfloat16):
        under = factors(model, inputs)
    for name, row in plain.items():
        for key in ("inputs", "outputs"):
            assert under[name][key].dtype == torch.float32
            assert torch.equal(under[name][key], row[key])


def test_wrappers_are_looked_through():
    model = seeded(nn.Linear(4, 3))
    compiled = torch.compile(model, backend="eager")
    assert kinds(compiled, normal(2, 4)) == {"0.weight": "Kronecker", "0.bias": "Kronecker"}


@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16])
def test_factors_of_half_precision_models_are_float32(half):
    model = seeded(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 2)).to(half)
    optimizer = KFAC(model, 0.1)
    optimizer.update_curvature(normal(3, 4).to(half))
    assert blocks(optimizer)["0.weight"]["inputs"].dtype == torch.float32
    nn.functional.cross_entropy(model(normal(3, 4).to(half)), torch.tensor([0, 1, 1])).backward()
    optimizer.step()
    assert all(parameter.dtype == half and bool(parameter.isfinite().all()) for parameter in model.parameters())
