"""A small residual network."""

from __future__ import annotations

import torch
from torch import nn


class Residual(nn.Module):
    """A stem, residual blocks relu-conv-relu-conv (one with a projection), pooling and a head."""

    def __init__(self, blocks: int = 3, width: int = 6, activation: type[nn.Module] = nn.ReLU, kernel: int = 3) -> None:
        super().__init__()
        self.stem = nn.Conv1d(4, width, kernel, padding="same")
        for k in range(blocks):
            self.add_module(f"a{k}", activation())
            self.add_module(f"conv{k}", nn.Conv1d(width, width, kernel, padding="same"))
            self.add_module(f"b{k}", activation())
            self.add_module(f"out{k}", nn.Conv1d(width, width, kernel, padding="same"))
        self.projection = nn.Conv1d(width, width, 1)
        self.act, self.head = activation(), nn.Linear(width, 5)
        self.blocks = blocks
        self.double()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[batch, 4, locations] to [batch, 5]."""
        h = self.stem(x)
        for k in range(self.blocks):
            a, conv, b, out = (getattr(self, f"{name}{k}") for name in ("a", "conv", "b", "out"))
            z = a(h)
            h = out(b(conv(z))) + (self.projection(z) if k == 1 else h)
        return self.head(self.act(h).mean(2))
