"""A network with dense concatenation; tracing gives the graph of `qcmap.zoo.densenet`."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from qcmap.architecture import Architecture, zoo
from qcmap.nn import ChannelNorm, activation_module


class Activate(nn.Module):
    """An optional layer norm over the channels, then the activation."""

    def __init__(self, channels: int, activation: str, *, norm: bool) -> None:
        super().__init__()
        self.norm = ChannelNorm(channels) if norm else None
        self.activation = activation_module(activation)

    def forward(self, x: Tensor) -> Tensor:
        """The activated map."""
        return self.activation(x if self.norm is None else self.norm(x))


class Concat(nn.Module):
    """Concatenation of channels."""

    def forward(self, *maps: Tensor) -> Tensor:
        """[N, C1 + C2 + ..., H, W]."""
        return torch.cat(maps, dim=1)


class Layer(nn.Module):
    """A bottleneck whose output is concatenated with its input."""

    def __init__(self, channels: int, growth: int, activation: str, *, norm: bool) -> None:
        super().__init__()
        self.first = Activate(channels, activation, norm=norm)
        self.conv1 = nn.Conv2d(channels, 4 * growth, 1)
        self.second = Activate(4 * growth, activation, norm=norm)
        self.conv2 = nn.Conv2d(4 * growth, growth, 3, padding=1)
        self.concat = Concat()

    def forward(self, x: Tensor) -> Tensor:
        """[N, channels, H, W] to [N, channels + growth, H, W]."""
        return self.concat(x, self.conv2(self.second(self.conv1(self.first(x)))))


class Transition(nn.Module):
    """Between blocks: an activation, a 1x1 convolution that halves the channels, mean pooling of 2x2."""

    def __init__(self, channels: int, activation: str, *, norm: bool) -> None:
        super().__init__()
        activate = Activate(channels, activation, norm=norm)
        self.norm, self.activation = activate.norm, activate.activation
        self.conv, self.pool = nn.Conv2d(channels, channels // 2, 1), nn.AvgPool2d(2)

    def forward(self, x: Tensor) -> Tensor:
        """[N, channels, H, W] to [N, channels/2, H/2, W/2]."""
        return self.pool(self.conv(self.activation(x if self.norm is None else self.norm(x))))


class DenseNet(nn.Module):
    """DenseNet with ``blocks`` layers in each block, (6, 12, 24, 16) for DenseNet-121; images [N, 3, H, W].

    ``architecture`` is the graph that it traces to. Weights are torch's defaults, drawn with ``seed``.
    """

    def __init__(
        self,
        blocks: Sequence[int] = (6, 12, 24, 16),
        growth: int = 32,
        *,
        activation: str = "relu",
        norm: bool = False,
        classes: int = 1000,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.architecture: Architecture = zoo.densenet(
            blocks, growth, activation=activation, norm="layer" if norm else None, classes=classes
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            channels = 2 * growth
            self.stem = nn.Sequential()
            self.stem.add_module("conv", nn.Conv2d(3, channels, 7, 2, 3))
            self.stem.add_module("pool", nn.MaxPool2d(3, 2, 1))
            self.parts = []
            for k, count in enumerate(blocks, start=1):
                block = nn.Sequential()
                for layer in range(1, count + 1):
                    block.add_module(f"layer{layer}", Layer(channels, growth, activation, norm=norm))
                    channels += growth
                self._part(f"block{k}", block)
                if k < len(blocks):
                    self._part(f"transition{k}", Transition(channels, activation, norm=norm))
                    channels //= 2
            self.final = Activate(channels, activation, norm=norm)
            self.final.add_module("pool", nn.AdaptiveAvgPool2d(1))
            self.head = nn.Linear(channels, classes)

    def _part(self, name: str, module: nn.Module) -> None:
        self.add_module(name, module)
        self.parts.append(name)

    def forward(self, x: Tensor) -> Tensor:
        """Class scores [N, classes]."""
        h = self.stem(x)
        for name in self.parts:
            h = self.get_submodule(name)(h)
        pooled = self.final.get_submodule("pool")(self.final(h))
        return self.head(torch.flatten(pooled, 1))
