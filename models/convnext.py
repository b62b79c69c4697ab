"""A network like ConvNeXt: depthwise filters and layer norms on the residual stream, dense layers on channels last."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from qcmap.nn import ChannelNorm, activation_module


class Block(nn.Module):
    """Depthwise 7x7 filter, layer norm, two dense layers with an activation between, layer scale, and the sum."""

    def __init__(self, channels: int, activation: str, layer_scale: float) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(channels, channels, 7, padding=3, groups=channels)
        self.norm = nn.LayerNorm(channels)
        self.expand, self.project = nn.Linear(channels, 4 * channels), nn.Linear(4 * channels, channels)
        self.activation = activation_module(activation)
        self.scale = nn.Parameter(torch.full((channels,), layer_scale))

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] to the same shape."""
        h = self.norm(self.depthwise(x).permute(0, 2, 3, 1))
        h = self.scale * self.project(self.activation(self.expand(h)))
        return x + h.permute(0, 3, 1, 2)


class ConvNeXt(nn.Module):
    """Stages of blocks, with a layer norm and a strided filter between them; images [N, 3, H, W] to [N, classes].

    Weights are torch's defaults, drawn with ``seed``. Shaping makes the layer scales weights of the sums.
    """

    def __init__(
        self,
        depths: Sequence[int] = (3, 3, 9, 3),
        width: int = 96,
        *,
        activation: str = "gelu",
        layer_scale: float = 1e-6,
        classes: int = 1000,
        seed: int = 0,
    ) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.stem = nn.Conv2d(3, width, 4, stride=4)
            self.stages = nn.Sequential()
            for k, depth in enumerate(depths):
                channels = width * 2**k
                if k:
                    down = nn.Sequential(ChannelNorm(channels // 2), nn.Conv2d(channels // 2, channels, 2, stride=2))
                    self.stages.add_module(f"down{k}", down)
                blocks = (Block(channels, activation, layer_scale) for _ in range(depth))
                self.stages.add_module(f"stage{k + 1}", nn.Sequential(*blocks))
            last = width * 2 ** (len(depths) - 1)
            self.norm, self.head = nn.LayerNorm(last), nn.Linear(last, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Class scores."""
        return self.head(self.norm(self.stages(self.stem(x)).mean((2, 3))))
