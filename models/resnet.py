"""The modified ResNet-V2 and Wide-ResNet of Deep Kernel Shaping, and their relatives (DKS, section 23).

Submodules are named after the nodes of the graphs of `qcmap.zoo`: tracing a model gives the graph of its
``architecture``, name by name.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from qcmap.architecture import Architecture, zoo
from qcmap.architecture.zoo import RESNET_BLOCKS, resnet_block
from qcmap.nn import ChannelNorm, NormalizedSum, WeightedMeanPool, activation_module

Norm = Literal["batch", "layer"]
Convolution = tuple[int, int, int]
"""Channels, kernel size and stride."""


class Add(nn.Module):
    """The plain sum of two branches."""

    def forward(self, residual: Tensor, shortcut: Tensor) -> Tensor:
        """The sum."""
        return residual + shortcut


class Block(nn.Module):
    """A pre-activated residual block: norm, activation and convolution, several times, then the sum with the shortcut.

    A block that changes the number of channels has a convolution in its shortcut, which reads the first activation of
    the residual branch (DKS, footnote 11).
    """

    def __init__(self, channels: int, convolutions: Sequence[Convolution], settings: _Settings) -> None:
        super().__init__()
        self.count = len(convolutions)
        out, stride, current = convolutions[-1][0], math.prod(step for *_, step in convolutions), channels
        for k, (width, size, step) in enumerate(convolutions, start=1):
            settings.activate(self, current, str(k))
            self.add_module(f"conv{k}", settings.convolution(current, width, size, step))
            current = width
        changes = settings.shortcuts and channels != out
        self.shortcut = settings.convolution(channels, out, 1, stride) if changes else None
        self.sum = settings.sum() if settings.shortcuts else None

    def forward(self, x: Tensor) -> Tensor:
        """[N, channels, H, W] to [N, out, H/stride, W/stride]."""
        h, shortcut = x, x
        for k in range(1, self.count + 1):
            h = activated(self, h, str(k))
            if k == 1 and self.shortcut is not None:
                shortcut = self.shortcut(h)
            h = self.get_submodule(f"conv{k}")(h)
        return h if self.sum is None else self.sum(h, shortcut)


def activated(owner: nn.Module, x: Tensor, suffix: str = "") -> Tensor:
    """The optional norm and the activation that `_Settings.activate` gave a module."""
    norm = getattr(owner, f"norm{suffix}")
    return getattr(owner, f"activation{suffix}")(x if norm is None else norm(x))


class _Settings:
    """What all blocks of a network share."""

    def __init__(self, activation: str, norm: Norm | None, residual_weight: float | None, *, shortcuts: bool) -> None:
        self.activation, self.norm, self.weight, self.shortcuts = activation, norm, residual_weight, shortcuts

    def convolution(self, channels: int, out: int, size: int, stride: int) -> nn.Conv2d:
        """A convolution, with biases if no batch norm has them."""
        return nn.Conv2d(channels, out, size, stride, size // 2, bias=self.norm != "batch")

    def activate(self, owner: nn.Module, channels: int, suffix: str = "") -> None:
        """Give a module an activation and the norm before it."""
        norms: dict[str | None, Callable[[], nn.Module | None]] = {
            None: lambda: None,
            "batch": lambda: nn.BatchNorm2d(channels),
            "layer": lambda: ChannelNorm(channels),
        }
        owner.add_module(f"norm{suffix}", norms[self.norm]())
        owner.add_module(f"activation{suffix}", activation_module(self.activation))

    def sum(self) -> nn.Module:
        """A plain sum, or a normalized one."""
        if self.weight is None:
            return Add()
        return NormalizedSum([self.weight, math.sqrt((1 - self.weight) * (1 + self.weight))])


class _Stem(nn.Module):
    """The first convolution, with max pooling for large images."""

    def __init__(self, conv: nn.Conv2d, *, pool: bool) -> None:
        super().__init__()
        self.conv, self.pool = conv, nn.MaxPool2d(3, 2, 1) if pool else None

    def forward(self, x: Tensor) -> Tensor:
        """The feature map that the first block reads."""
        return self.conv(x) if self.pool is None else self.pool(self.conv(x))


class _Final(nn.Module):
    """The last activation and global pooling, [N, C, H, W] to [N, C]."""

    def __init__(self, channels: int, settings: _Settings, pool: nn.Module) -> None:
        super().__init__()
        settings.activate(self, channels)
        self.pool = pool

    def forward(self, x: Tensor) -> Tensor:
        """The features that the head reads."""
        return torch.flatten(self.pool(activated(self, x)), 1)


class ResNet(nn.Module):
    """A residual network from its stem, groups of blocks, last pooling and affine head.

    Made by `resnet_v2` and `wide_resnet`. ``architecture`` is the graph that it traces to.
    """

    def __init__(
        self,
        stem: _Stem,
        groups: Sequence[Sequence[Block]],
        final: _Final,
        head: nn.Linear,
        architecture: Architecture,
    ) -> None:
        super().__init__()
        self.stem = stem
        for number, blocks in enumerate(groups, start=1):
            group = nn.Module()
            for k, block in enumerate(blocks, start=1):
                group.add_module(f"block{k}", block)
            self.add_module(f"group{number}", group)
        self.groups = len(groups)
        self.final, self.head, self.architecture = final, head, architecture

    def forward(self, x: Tensor) -> Tensor:
        """Images [N, 3, H, W] to class scores [N, classes]."""
        h = self.stem(x)
        for number in range(1, self.groups + 1):
            for block in self.get_submodule(f"group{number}").children():
                h = block(h)
        return self.head(self.final(h))


def resnet_v2(
    depth: int = 50,
    *,
    activation: str = "relu",
    residual_weight: float | None = None,
    shortcuts: bool = True,
    norm: Norm | None = "batch",
    pooling: Literal["mean", "weighted"] = "mean",
    width: int = 64,
    widen: int = 1,
    stem: Literal["imagenet", "cifar"] = "imagenet",
    resolution: int | None = None,
    classes: int = 1000,
    seed: int = 0,
) -> ResNet:
    """ResNet-V2 (DKS, sections 23.1 to 23.5) for images [N, 3, resolution, resolution].

    Arguments are those of `qcmap.zoo.resnet_v2`; without ``residual_weight`` sums are plain. ``resolution`` (224, or 32
    for the stem ``"cifar"``) matters to weighted pooling alone. Weights are torch's defaults, drawn with ``seed``.
    """
    arch = zoo.resnet_v2(
        depth, activation=activation, residual_weight="plain" if residual_weight is None else residual_weight,
        shortcuts=shortcuts, norm=norm, pooling=pooling, width=width, widen=widen, stem=stem, classes=classes,
    )  # fmt: skip
    settings = _Settings(activation, norm, residual_weight, shortcuts=shortcuts)
    plan = [
        [resnet_block(depth, width * 2**g, 1 + (g > 0 and b == 0), widen) for b in range(n)]
        for g, n in enumerate(RESNET_BLOCKS[depth])
    ]
    return _built(arch, settings, plan, width, stem == "imagenet", pooling, resolution, classes, seed)


def wide_resnet(
    depth: int = 28,
    *,
    widen: int = 2,
    activation: str = "relu",
    residual_weight: float | None = None,
    shortcuts: bool = True,
    norm: Norm | None = "batch",
    pooling: Literal["mean", "weighted"] = "mean",
    resolution: int | None = None,
    classes: int = 10,
    seed: int = 0,
) -> ResNet:
    """The Wide-ResNet for CIFAR-10 (DKS, section 23.6); arguments as for `qcmap.zoo.wide_resnet` and `resnet_v2`."""
    arch = zoo.wide_resnet(
        depth, activation=activation, residual_weight="plain" if residual_weight is None else residual_weight,
        widen=widen, shortcuts=shortcuts, norm=norm, pooling=pooling, classes=classes,
    )  # fmt: skip
    settings = _Settings(activation, norm, residual_weight, shortcuts=shortcuts)
    plan = [
        [[(16 * widen * 2**g, 3, 1 + (g > 0 and b == 0)), (16 * widen * 2**g, 3, 1)] for b in range((depth - 4) // 6)]
        for g in range(3)
    ]
    return _built(arch, settings, plan, 16, False, pooling, resolution, classes, seed)


def _built(
    arch: Architecture,
    settings: _Settings,
    plan: Sequence[Sequence[Sequence[Convolution]]],
    width: int,
    large: bool,
    pooling: Literal["mean", "weighted"],
    resolution: int | None,
    classes: int,
    seed: int,
) -> ResNet:
    """The network of a plan, its weights drawn without touching torch's global generator."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        extent = resolution or (224 if large else 32)
        conv = settings.convolution(3, width, 7 if large else 3, 2 if large else 1)
        extent = -(-extent // 4) if large else extent
        channels, groups = width, []
        for blocks in plan:
            group = []
            for convolutions in blocks:
                group.append(Block(channels, convolutions, settings))
                channels = convolutions[-1][0]
                extent = -(-extent // math.prod(step for *_, step in convolutions))
            groups.append(group)
        pool: Any = nn.AdaptiveAvgPool2d(1) if pooling == "mean" else WeightedMeanPool((extent, extent), seed=seed)
        final = _Final(channels, settings, pool)
        return ResNet(_Stem(conv, pool=large), groups, final, nn.Linear(channels, classes), arch)
