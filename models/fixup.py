"""A Wide-ResNet with the Fixup initialization: no normalization, residual branches zero at first (DKS, section 26.6).

Written by hand, as Zhang, Dauphin and Ma (2019) describe it. No zoo graph has its maps: scalar biases and multipliers
are trained, and a branch of zeros has no c values.
"""

from __future__ import annotations

import math
from typing import cast

import torch
from torch import Tensor, nn

from models.mlp import empty_linear
from qcmap.architecture import zoo
from qcmap.nn import initialize


class Bias(nn.Module):
    """Adds one trainable number, initially 0."""

    def __init__(self) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        """X plus the number."""
        return x + self.bias


class FixupBlock(nn.Module):
    """Two convolutions, each after a relu, with scalar biases around them and a multiplier at the end.

    A block that changes the number of channels has a convolution in its shortcut, which reads the first relu.
    """

    def __init__(self, channels: int, out: int, stride: int) -> None:
        super().__init__()
        self.bias1, self.bias2, self.bias3, self.bias4 = (Bias() for _ in range(4))
        self.conv1 = _convolution(channels, out, 3, stride)
        self.conv2 = _convolution(out, out, 3, 1)
        self.multiplier = nn.Parameter(torch.ones(()))
        self.shortcut = None if channels == out else _convolution(channels, out, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        """[N, channels, H, W] to [N, out, H/stride, W/stride]."""
        h = torch.relu(self.bias1(x))
        shortcut = x if self.shortcut is None else self.shortcut(h)
        h = torch.relu(self.bias3(self.conv1(self.bias2(h))))
        return shortcut + self.multiplier * self.conv2(self.bias4(h))


class FixupWideResNet(nn.Module):
    """The Wide-ResNet of DKS, section 23.6, with plain sums, relus and Fixup, images [N, 3, H, W] to [N, classes].

    Submodules that are nodes of `qcmap.zoo.wide_resnet` have their ids. With L blocks, the first convolution of a block
    has He's weights times 1/sqrt(L), the second is zero, and so is the head; stem and shortcuts have He's weights.
    Then the change of a branch after the first steps does not grow with L (Zhang, Dauphin and Ma, 2019).

    Raises
    ------
    ArchitectureError
        For a depth or width that `qcmap.zoo.wide_resnet` refuses.
    """

    def __init__(self, depth: int = 28, *, widen: int = 2, classes: int = 10, seed: int = 0) -> None:
        super().__init__()
        arch = zoo.wide_resnet(depth, widen=widen, residual_weight="plain", classes=classes)
        self.stem = nn.Module()
        self.stem.add_module("conv", _convolution(3, 16, 3, 1))
        channels = 16
        for group in range(3):
            width, blocks = 16 * widen * 2**group, nn.Module()
            for block in range(1, (depth - 4) // 6 + 1):
                blocks.add_module(f"block{block}", FixupBlock(channels, width, 2 if group and block == 1 else 1))
                channels = width
            self.add_module(f"group{group + 1}", blocks)
        self.bias1, self.bias2 = Bias(), Bias()
        self.head = empty_linear(channels, cast("int", arch.channels["head"]))
        self._draw(seed)

    @property
    def blocks(self) -> list[FixupBlock]:
        """All blocks, from the input on."""
        return [module for module in self.modules() if isinstance(module, FixupBlock)]

    @torch.no_grad()
    def _draw(self, seed: int) -> None:
        random = torch.Generator().manual_seed(seed)
        for layer in self.modules():
            if isinstance(layer, (nn.Conv2d, nn.Linear)):
                initialize(layer, "gaussian", delta=False, gain=math.sqrt(2), generator=random)
        self.head.weight.zero_()
        for block in self.blocks:
            block.conv1.weight /= math.sqrt(len(self.blocks))
            block.conv2.weight.zero_()

    def forward(self, x: Tensor) -> Tensor:
        """Class scores."""
        h = self.get_submodule("stem.conv")(x)
        for block in self.blocks:
            h = block(h)
        return self.head(self.bias2(torch.relu(self.bias1(h)).mean((2, 3))))


def _convolution(channels: int, out: int, size: int, stride: int) -> nn.Conv2d:
    empty = nn.Conv2d(channels, out, size, stride, size // 2, bias=False, device="meta")
    return empty.to_empty(device=torch.get_default_device())
