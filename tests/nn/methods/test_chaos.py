"""The edge of chaos: q* stays, and C'(1) = 1, in wide networks.

Seeds are fixed. Bounds are 6.2 standard errors of the mean over networks, estimated from their spread: for 40 networks
the false-alarm rate of such a t value is below 1e-6.
"""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

import qcmap as qc
from qcmap.errors import ArgumentError
from qcmap.nn import methods

DEPTH, WIDTH, NETWORKS = 8, 200, 40


def _network() -> nn.Sequential:
    parts: list[nn.Module] = []
    for _ in range(DEPTH):
        parts += [nn.Linear(WIDTH, WIDTH, dtype=torch.float64), nn.Tanh()]
    return nn.Sequential(*parts)


def _within(values: torch.Tensor, wanted: float) -> bool:
    error = float(values.std()) / math.sqrt(len(values))
    return abs(float(values.mean()) - wanted) < 6.2 * error


@pytest.mark.parametrize("weights", ["orthogonal", "gaussian"])
def test_q_stays_at_the_fixed_point_and_differences_keep_their_size(weights):
    """The mean squared size of a small difference is multiplied by C'(1) = 1 a layer, from q* on."""
    edge = qc.edge_of_chaos("tanh", bias_variance=0.05)
    network, random = _network(), torch.Generator().manual_seed(4)
    x = torch.full((1, WIDTH), math.sqrt(edge.input_q), dtype=torch.float64)
    qs, growth, wrong = [], [], []
    for _ in range(NETWORKS):
        methods.edge_of_chaos(network, edge, weights, generator=random)
        direction = torch.randn(1, WIDTH, generator=random, dtype=torch.float64)
        with torch.no_grad():
            u, t, values = x, direction, []
            for part in network:
                if isinstance(part, nn.Linear):
                    u, t = part(u), t @ part.weight.T
                    values.append((float(u.square().mean()), float(t.square().mean())))
                else:
                    u, t = torch.tanh(u), t * (1 - torch.tanh(u) ** 2)
        qs.append([q for q, _ in values])
        growth.append(values[-1][1] / values[0][1])
        with torch.no_grad():
            wrong.append(float(methods.fan_in(network, generator=random)[:-1](x).square().mean()))
    for layer, q in enumerate(torch.tensor(qs).T):
        assert _within(q, edge.q_star), layer
    assert _within(torch.tensor(growth), 1.0)
    assert not _within(torch.tensor(wrong), edge.q_star)


def test_without_biases_in_the_limit():
    """At q* = 0 tanh has w = 1 and b = 0, which layers without biases can have."""
    edge = qc.edge_of_chaos("tanh", bias_variance=0.0)
    layer = methods.edge_of_chaos(nn.Linear(5, 5, bias=False, dtype=torch.float64), edge)
    assert torch.allclose(layer.weight @ layer.weight.T, torch.eye(5, dtype=torch.float64), atol=1e-14)


def test_refusals():
    edge = qc.edge_of_chaos("tanh", weight_variance=1.05)
    with pytest.raises(ArgumentError, match=r"0: it has no biases to give variance .*bias=True"):
        methods.edge_of_chaos(nn.Sequential(nn.Linear(5, 5, bias=False)), edge)
    with pytest.raises(ArgumentError, match="weights: there is no 'uniform' edge"):
        methods.edge_of_chaos(nn.Linear(5, 5), edge, "uniform")
