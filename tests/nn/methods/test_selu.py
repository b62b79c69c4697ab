"""Self-normalizing networks: SELU with LeCun's Gaussian weights drives q to 1 and c to 0 (DKS, section 26.3)."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import nn

import qcmap as qc
from qcmap.nn import methods

DEPTH, WIDTH, NETWORKS = 30, 256, 20
C, Q = 0.8, 2.5


def test_q_and_c_follow_their_maps_to_the_fixed_point():
    """Means over networks within 6.2 of their standard errors (rate 6e-6 at 20 networks) and the limit's 1/width."""
    layers: list[nn.Module] = []
    for _ in range(DEPTH):
        layers += [nn.Linear(WIDTH, WIDTH, dtype=torch.float64), nn.SELU()]
    network, random = nn.Sequential(*layers), torch.Generator().manual_seed(5)
    x = torch.zeros(2, WIDTH, dtype=torch.float64)
    x[:, :2] = math.sqrt(Q * WIDTH) * torch.tensor([[1.0, 0.0], [C, math.sqrt(1 - C * C)]])
    found = []
    with torch.no_grad():
        for _ in range(NETWORKS):
            h = methods.fan_in(network, generator=random)(x)
            gram = (h @ h.T / WIDTH).numpy()
            found.append((gram[0, 0], gram[1, 1], gram[0, 1] / math.sqrt(gram[0, 0] * gram[1, 1])))
    means, errors = np.mean(found, axis=0), np.std(found, axis=0) / math.sqrt(NETWORKS)
    arch = qc.zoo.mlp(DEPTH, activation="selu")
    end = qc.network_maps(arch).propagate(C, Q, Q)[f"layer{DEPTH}.activation"]
    wanted = np.array([float(end.q1), float(end.q2), float(end.c)])
    assert np.all(np.abs(means - wanted) < 6.2 * errors + 1 / WIDTH)
    assert np.all(np.abs(wanted[:2] - 1) < 0.01)
    assert 0 < wanted[2] < C - 0.25
