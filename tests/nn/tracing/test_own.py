"""The layers of qcmap.nn in traced models."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import qcmap as qc
import qcmap.nn as qnn
from qcmap.architecture import Nonlinear, Sum, WeightedMeanPool
from qcmap.errors import TraceError
from qcmap.numeric import Transform


class Net(nn.Module):
    def __init__(self, transform: Transform, *, keepdim: bool = False) -> None:
        super().__init__()
        self.stem, self.act = nn.Conv2d(3, 6, 3, padding=1), qnn.ShapedActivation(transform)
        self.left, self.right = nn.Conv2d(6, 6, 3, padding=1), nn.Conv2d(6, 6, 1)
        self.sum, self.pool = qnn.NormalizedSum([0.6, 0.8]), qnn.WeightedMeanPool((8, 8), keepdim=keepdim)
        self.head = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        h = self.act(self.stem(x))
        return self.head(self.pool(self.sum(self.left(h), self.right(h))).flatten(1))


def transform() -> Transform:
    return qc.dks(qc.zoo.mlp(3, activation="softplus"), 1.5)["softplus"]


@pytest.mark.parametrize("keepdim", [False, True])
def test_each_layer_is_one_node_named_after_its_module(keepdim: bool) -> None:
    arch = qnn.trace(Net(transform(), keepdim=keepdim), torch.ones(2, 3, 8, 8))
    assert [node.id for node in arch.nodes][1:] == ["stem", "act", "left", "right", "sum", "pool", "head"]
    assert arch["sum"].op == Sum((0.6, 0.8))
    assert arch["sum"].inputs == ("left", "right")
    assert arch["pool"].op == WeightedMeanPool()


def test_a_shaped_activation_is_phi_hat() -> None:
    made = transform()
    op = qnn.trace(Net(made), torch.ones(2, 3, 8, 8))["act"].op
    assert isinstance(op, Nonlinear)
    u = np.linspace(-3, 3, 61)
    np.testing.assert_allclose(qc.activation(op.function)(u), made(u), rtol=1e-12, atol=1e-12)


def test_maps_of_a_traced_shaped_chain_are_those_that_shaping_promises() -> None:
    arch = qc.zoo.mlp(2, 8, "softplus", in_channels=8)
    phi = qc.dks(arch, 1.5)["softplus"]
    model = nn.Sequential(nn.Linear(8, 8), qnn.ShapedActivation(phi), nn.Linear(8, 8), qnn.ShapedActivation(phi))
    maps = qc.network_maps(qnn.trace(model, torch.ones(2, 8)))
    assert maps.q(1.0) == pytest.approx(1, abs=1e-9)
    assert maps.c(0.0) == pytest.approx(0, abs=1e-9)
    assert maps.dc(1.0) == pytest.approx(1.5, abs=1e-8)


def test_pln_is_refused_by_its_name() -> None:
    with pytest.raises(TraceError, match=r"0 .*per-location normalization prepares inputs.*trace the model behind it"):
        qnn.trace(nn.Sequential(qnn.PLN(), nn.Conv2d(4, 3, 3)), torch.ones(2, 3, 8, 8))


def test_a_function_of_the_users_own_is_refused() -> None:
    own = qc.Activation("mine", np.tanh, lambda u: 1 / np.cosh(u) ** 2, torch=qc.activation("tanh").torch)
    with pytest.raises(TraceError, match=r"act.*the formula of mine is not known"):
        qnn.trace(Net(Transform(own, 0.1, 0.0, 0.0, 1 / math.tanh(0.1))), torch.ones(2, 3, 8, 8))
