"""Small models and data for the tests of training."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from qcmap.nn import initialize
from qcmap.nn.train import Choice, Settings, Splits


def blobs(count: int = 90, seed: int = 0, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    """Three well separated Gaussian clouds in the plane."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(3, (count,), generator=generator)
    centres = torch.tensor([[0.0, 3.0], [3.0, -3.0], [-3.0, -3.0]])
    return (centres[labels] + 0.5 * torch.randn(count, 2, generator=generator)).to(dtype), labels


def net(dropout: float = 0.2, seed: int = 0) -> nn.Sequential:
    """A hidden layer with dropout and a batch norm, which has buffers."""
    first, last = initialize(nn.Sequential(nn.Linear(2, 8), nn.Linear(8, 3)), seed=seed)
    return nn.Sequential(first, nn.BatchNorm1d(8), nn.Tanh(), nn.Dropout(dropout), last)


def splits(count: int = 90) -> Splits:
    """Blobs to train on, to validate and to test."""
    return Splits.of_tensors(blobs(count), blobs(30, seed=1), blobs(30, seed=2))


def settings(**changes: Any) -> Settings:
    """Three epochs of nine steps, the last one smaller, with a schedule."""
    given: dict[str, Any] = {
        "epochs": 3,
        "batch_size": 11,
        "optimizer": Choice("sgd", learning_rate=0.05, momentum=0.9),
        "schedule": Choice("cosine", warmup=4),
        "record_every": 2,
    }
    return Settings(**{**given, **changes})


def double_net(seed: int = 0) -> nn.Sequential:
    """In float64, without what depends on how a batch is cut: a block and a head, so that there are parts to shard."""
    first, last = initialize(nn.Sequential(nn.Linear(2, 8), nn.Linear(8, 3)), seed=seed)
    return nn.Sequential(nn.Sequential(first, nn.Tanh()), last).double()


def double_splits() -> Splits:
    """In float64; 89 examples leave a last batch of one."""
    parts = ((89, 0), (30, 1), (31, 2))
    return Splits.of_tensors(*(blobs(count, seed, torch.float64) for count, seed in parts))
