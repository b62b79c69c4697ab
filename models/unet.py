"""A U-net. Its upsampling makes locations of others, so that skips meet maps of other places: shaping refuses it.

`qcmap.zoo.unet` is the graph of its wiring, if every location stood for one of the input (DKS, section 5.5).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

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


class UNet(nn.Module):
    """``depth`` levels down and up, channels doubled from level to level; images [N, 3, H, W] to [N, classes, H, W]."""

    def __init__(
        self, depth: int = 4, channels: int = 64, convolutions: int = 2, *, activation: str = "relu", classes: int = 2,
        seed: int = 0,
    ) -> None:  # fmt: skip
        super().__init__()
        widths = [channels * 2**level for level in range(depth + 1)]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            starts = [3, *widths[1:depth]]
            self.down = nn.ModuleList(
                Stage(k, w, convolutions, activation) for k, w in zip(starts, widths[:-1], strict=True)
            )
            self.pools = nn.ModuleList(nn.Conv2d(w, 2 * w, 3, stride=2, padding=1) for w in widths[:-1])
            self.bottom = Stage(widths[-1], widths[-1], convolutions, activation)
            self.rise = nn.ModuleList(nn.Conv2d(2 * w, w, 1) for w in widths[:-1])
            self.up = nn.ModuleList(Stage(2 * w, w, convolutions, activation) for w in widths[:-1])
            self.head = nn.Conv2d(channels, classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Scores of every location."""
        skips = []
        for stage, pool in zip(self.down, self.pools, strict=True):
            skips.append(stage(x))
            x = pool(skips[-1])
        x = self.bottom(x)
        for stage, rise, skip in zip(reversed(self.up), reversed(self.rise), reversed(skips), strict=True):
            x = stage(torch.cat([nn.functional.interpolate(rise(x), scale_factor=2.0), skip], dim=1))
        return self.head(x)
