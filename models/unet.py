"""A U-net with nearest upsampling; tracing gives the graph of `qcmap.zoo.unet`."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from models.densenet import Concat
from qcmap.nn import activation_module


class Stage(nn.Module):
    """Filters of 3x3, each with an activation."""

    def __init__(self, channels: int, width: int, count: int, activation: str) -> None:
        super().__init__()
        self.count = count
        for k in range(1, count + 1):
            self.add_module(f"conv{k}", nn.Conv2d(channels if k == 1 else width, width, 3, padding=1))
            self.add_module(f"activation{k}", activation_module(activation))

    def forward(self, x: Tensor) -> Tensor:
        """[N, channels, H, W] to [N, width, H, W]."""
        for k in range(1, self.count + 1):
            x = self.get_submodule(f"activation{k}")(self.get_submodule(f"conv{k}")(x))
        return x


class Down(Stage):
    """A stage whose result is kept for the way up, and the filter of stride 2 that leads down from it."""

    def __init__(self, channels: int, width: int, count: int, activation: str) -> None:
        super().__init__(channels, width, count, activation)
        self.pool = nn.Conv2d(width, 2 * width, 3, stride=2, padding=1)


class Up(Stage):
    """A 1x1 filter, upsampling by 2, concatenation with what went down past it, and a stage."""

    def __init__(self, width: int, count: int, activation: str) -> None:
        super().__init__(2 * width, width, count, activation)
        self.conv, self.upsample, self.join = nn.Conv2d(2 * width, width, 1), nn.Upsample(scale_factor=2), Concat()

    def joined(self, x: Tensor, skip: Tensor) -> Tensor:
        """[N, 2 width, H, W] and [N, width, 2 H, 2 W] to [N, width, 2 H, 2 W]."""
        return self(self.join(self.upsample(self.conv(x)), skip))


class UNet(nn.Module):
    """``depth`` levels down and up, channels doubled from level to level; images [N, 3, H, W] to [N, classes, H, W].

    H and W are multiples of 2^depth. Weights are torch's defaults, drawn with ``seed``.
    """

    def __init__(
        self, depth: int = 4, channels: int = 64, convolutions: int = 2, *, activation: str = "relu", classes: int = 2,
        seed: int = 0,
    ) -> None:  # fmt: skip
        super().__init__()
        self.depth = depth
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            for level in range(1, depth + 1):
                width = channels * 2 ** (level - 1)
                self.add_module(f"down{level}", Down(3 if level == 1 else width, width, convolutions, activation))
            self.bottom = Stage(channels * 2**depth, channels * 2**depth, convolutions, activation)
            for level in range(depth, 0, -1):
                self.add_module(f"up{level}", Up(channels * 2 ** (level - 1), convolutions, activation))
            self.head = nn.Conv2d(channels, classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Scores of every location."""
        skips = []
        for level in range(1, self.depth + 1):
            down = self.get_submodule(f"down{level}")
            skips.append(down(x))
            x = down.get_submodule("pool")(skips[-1])
        x = self.bottom(x)
        for level in range(self.depth, 0, -1):
            up = self.get_submodule(f"up{level}")
            assert isinstance(up, Up)
            x = up.joined(x, skips[level - 1])
        return self.head(x)
