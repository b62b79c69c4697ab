"""Looks Linear: exactly linear at initialization, with the linear maps that its weights say."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

import qcmap as qc
from qcmap.errors import ArchitectureError
from qcmap.nn import initialize, methods
from qcmap.nn.methods._looks_linear import odd_slope
from tests.nn.methods.residual import Residual


def _normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


class Linearized(Residual):
    """The same network without its activations, the projection and pooling as they are."""

    def __init__(self, **sizes: Any) -> None:
        super().__init__(activation=nn.Identity, **sizes)


@pytest.mark.parametrize("activation", [nn.ReLU, nn.SiLU, nn.GELU, nn.Softplus])
def test_a_residual_network_is_the_one_without_activations(activation: Any):
    """The plain network with identities for activations, and W the first half of (W, -W)."""
    model = Residual(activation=activation)
    linear = methods.looks_linear(model, _normal(2, 4, 9), seed=3)
    plain = Linearized()
    with torch.no_grad():
        for name, parameter in plain.named_parameters():
            both = linear.get_parameter(name)
            parameter.copy_(both[:, : parameter.shape[1]] if parameter.ndim > 1 else both)
            assert parameter.ndim == 1 or torch.equal(both, both[:, :4]) or torch.equal(both[:, 6:], -both[:, :6])
    x, y = _normal(7, 4, 9), _normal(7, 4, 9, seed=1)
    assert torch.allclose(linear(x), plain(x), rtol=1e-12, atol=1e-12)
    assert float(linear(x).detach().abs().max()) > 0.01
    assert torch.allclose(linear(2 * x - y), 2 * linear(x) - linear(y), atol=1e-12)
    assert linear.get_submodule("head").weight.shape == (5, 12)
    assert model.head.weight.shape == (5, 6)  # the model itself stays


class Dense(nn.Module):
    """In-place activations, a concatenation of activated and plain maps, a functional call, a flattened map."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv1d(2, 3, 3, padding=1), nn.Conv1d(5, 4, 3, padding=1)
        self.act, self.head = nn.LeakyReLU(0.2, inplace=True), nn.Linear(20, 2)
        self.double()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = torch.cat([x, self.act(self.first(x))], 1)
        return self.head(torch.relu(self.second(h)).flatten(1))


def test_concatenations_flattened_maps_and_activations_in_place():
    model = Dense()
    linear = methods.looks_linear(model, _normal(2, 2, 5), seed=1)
    x, y = _normal(6, 2, 5), _normal(6, 2, 5, seed=1)
    assert torch.allclose(linear(2 * x - y), 2 * linear(x) - linear(y), atol=1e-12)
    first, second, head = (p.detach() for n, p in initialize(Dense(), seed=1).named_parameters() if "weight" in n)
    h = torch.cat([x, torch.conv1d(x, first, padding=1)], 1)
    assert torch.allclose(linear(x), torch.conv1d(h, second, padding=1).flatten(1) @ head.T, atol=1e-12)


def test_a_small_change_of_weights_makes_it_nonlinear():
    model = Residual()
    linear = methods.looks_linear(model, _normal(2, 4, 9), seed=3)
    with torch.no_grad():
        linear.get_submodule("head").weight.add_(0.1 * _normal(5, 12))
    x = _normal(7, 4, 9)
    assert float((linear(x) + linear(-x)).detach().abs().max()) > 1e-3


def test_odd_slopes():
    found = {
        name: odd_slope(qc.activation(name))
        for name in ("relu", "swish", "gelu", "softplus", "bentid", "tanh", "selu", "relu6")
    }
    assert found == pytest.approx({**dict.fromkeys(("relu", "swish", "gelu", "softplus"), 1.0), "bentid": 2.0,
                                   "tanh": None, "selu": None, "relu6": None})  # fmt: skip


def _chain(*parts: nn.Module) -> nn.Sequential:
    return nn.Sequential(*parts).double()


REFUSED = {
    "tanh": ((nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 4)), r"1: tanh\(x\) - tanh\(-x\) is not proportional to x"),
    "ends": ((nn.Linear(4, 4), nn.ReLU()), "1: an output is not read by an affine layer"),
    "twice": ((nn.Linear(4, 4), nn.ReLU(), nn.SiLU(), nn.Linear(4, 4)), "2: it reads an activation"),
    "grouped": ((nn.Conv1d(4, 4, 3), nn.ReLU(), nn.Conv1d(4, 4, 3, groups=2)), "2: a grouped convolution separates"),
    "norm": ((nn.Linear(4, 4), nn.LayerNorm(4, elementwise_affine=False), nn.Linear(4, 4)), "1: .*layer_norm"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refusals_name_the_node(case: str):
    parts, message = REFUSED[case]
    example = _normal(2, 4, 9) if case == "grouped" else _normal(2, 4)
    with pytest.raises(ArchitectureError, match=message):
        methods.looks_linear(_chain(*parts), example)


def test_channels_last():
    model = _chain(nn.Linear(4, 6), nn.GELU(), nn.Linear(6, 3))
    x, y = _normal(2, 5, 4), _normal(2, 5, 4, seed=1)
    linear = methods.looks_linear(model, x)
    assert torch.allclose(linear(2 * x - y), 2 * linear(x) - linear(y), atol=1e-12)


def test_the_mode_stays():
    model = _chain(nn.Linear(4, 6), nn.Dropout(), nn.ReLU(), nn.Linear(6, 3))
    assert methods.looks_linear(model, _normal(2, 4)).training
    assert not methods.looks_linear(model.eval(), _normal(2, 4)).training
