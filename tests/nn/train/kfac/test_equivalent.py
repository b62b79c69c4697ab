"""K-FAC trains a shaped network and its equivalent alike (DKS, section 18.3, appendix N.7); docs/kfac.md proves it."""

import math

import pytest
import torch
from torch import nn

import qcmap.nn as qnn
from models.mlp import MLP
from qcmap.nn.train import KFAC
from tests.nn.train.kfac.exact import normal

STEPS = 8


def convolutions():
    layers = nn.Conv2d(2, 3, 3, padding=1), nn.Tanh(), nn.Conv2d(3, 3, 3, padding=1), nn.Tanh()
    model = nn.Sequential(*layers, nn.Conv2d(3, 3, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten()).double()
    inputs = normal(60, 2, 4, 4)
    return qnn.shape(model, inputs, zeta=1.3), inputs


def dense():
    inputs = normal(40, 5)
    return qnn.shape(MLP(5, 6, 3, 4, "softplus").double(), inputs), inputs


def trained(model, inputs, make):
    """What the model gives on other inputs after each of some steps, [steps, ...]."""
    optimizer, seen = make(model), []
    others = normal(*inputs.shape, seed=9)
    targets = normal(*model(inputs).shape, seed=1)
    for _ in range(STEPS):
        optimizer.zero_grad()
        if isinstance(optimizer, KFAC):
            optimizer.update_curvature(inputs)
        ((model(inputs) - targets).square().sum() / 2 / len(inputs)).backward()
        optimizer.step()
        seen.append(model(others).detach())
    return torch.stack(seen)


def kfac(damping, fisher="sampled", max_norm=0.5):
    """Steps of 0.05 without a bound leave the minimum, and what runs away multiplies rounding."""
    options = {"damping": damping, "least_damping": damping, "fisher": fisher, "inverse_every": 3, "max_norm": max_norm}
    return lambda model: KFAC(model, 0.02, loss="squared_error", seed=2, **options)


@pytest.mark.parametrize("max_norm", [0.05, math.inf])
@pytest.mark.parametrize(("make", "fisher"), [(dense, "sampled"), (dense, "exact"), (convolutions, "exact")])
def test_undamped_trajectories_of_equivalent_networks_agree(make, fisher, max_norm):
    shaped, inputs = make()
    plain = qnn.fold(shaped)
    first, second = (trained(model, inputs, kfac(0.0, fisher, max_norm)) for model in (shaped, plain))
    assert (first[-1] - first[0]).abs().max() > 0.1
    torch.testing.assert_close(first, second, rtol=1e-8, atol=1e-8)


def test_damping_and_gradient_descent_tell_them_apart():
    """The test above can fail: it does for damped steps, by little, and for gradient descent, by much."""
    for make, least in ((kfac(1e-3), 1e-4), (lambda model: torch.optim.SGD(model.parameters(), 0.05), 1e-2)):
        shaped, inputs = dense()
        first, second = (trained(model, inputs, make) for model in (shaped, qnn.fold(shaped)))
        assert (first - second).abs().max() > least
