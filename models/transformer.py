"""A small transformer encoder. Its attention multiplies feature maps, so shaping refuses it (DKS, section 21.1)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class SelfAttention(nn.Module):
    """Multi-head self-attention on [N, T, C]."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value, self.out = (nn.Linear(channels, channels) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        """The mixed tokens, of the same shape."""
        n, t, c = x.shape

        def split(y: Tensor) -> Tensor:
            return y.reshape(n, t, self.heads, c // self.heads).transpose(1, 2)

        mixed = functional.scaled_dot_product_attention(split(self.query(x)), split(self.key(x)), split(self.value(x)))
        return self.out(mixed.transpose(1, 2).reshape(n, t, c))


class EncoderLayer(nn.Module):
    """Layer norm and attention, layer norm and two dense layers, each added to the stream."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(channels), nn.LayerNorm(channels)
        self.attention = SelfAttention(channels, heads)
        self.expand, self.project = nn.Linear(channels, 4 * channels), nn.Linear(4 * channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """[N, T, C] to the same shape."""
        x = x + self.attention(self.norm1(x))
        return x + self.project(functional.gelu(self.expand(self.norm2(x))))


class Transformer(nn.Module):
    """An encoder of ``depth`` layers on tokens [N, T, channels], with a head on their mean."""

    def __init__(self, channels: int = 64, heads: int = 4, depth: int = 2, classes: int = 10, seed: int = 0) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.embed = nn.Linear(channels, channels)
            self.layers = nn.ModuleList(EncoderLayer(channels, heads) for _ in range(depth))
            self.head = nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Class scores [N, classes]."""
        x = self.embed(x)
        for layer in self.layers:
            x = layer(x)
        return self.head(x.mean(1))
