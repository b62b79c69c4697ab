"""Features from a frozen network: what the head of a trained classifier reads (NRR, appendix D)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

import qcmap as qc
import qcmap.nn as qnn
from examples.data import Base
from examples.neural_race.data import Array
from models.mlp import MLP


def frozen_features(base: Base, *, width: int = 512, depth: int = 4, epochs: int = 20) -> Callable[[Array], Array]:
    """Train a shaped softplus MLP of ``models`` on the training images; returns images to features [examples, width].

    The network learns from upright images, and is frozen then. (The paper takes the first two groups of a ResNet-18
    that was trained on all of CIFAR-10.)
    """
    images, labels = base["train"].scaled(), base["train"].labels
    channels, classes = images[0].size, int(labels.max()) + 1
    shaping = qc.dks(qc.zoo.mlp(depth, activation="softplus"), 1.5)
    model = MLP(channels, width, depth, classes, "softplus", shaping)
    mean = images.mean(axis=0)
    scale = float(np.sqrt(((images - mean) ** 2).mean()))

    def tensor(batch: Array) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray((batch - mean) / scale)).flatten(1)

    qnn.fit(model, (tensor(images), torch.from_numpy(labels)), epochs=epochs, progress=False)
    body = nn.Sequential(*list(model.children())[:-1]).eval()

    @torch.no_grad()
    def encode(batch: Array) -> Array:
        return torch.cat([body(part) for part in torch.split(tensor(batch), 1024)]).numpy()

    return encode
