"""The networks: deep and narrow, dense or convolutional, with or without shortcuts and batch norms; and the paper's."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import Tensor, nn

from examples.dks_experiments.setup import Network, Setup
from models import resnet_v2, wide_resnet
from qcmap.errors import ArgumentError
from qcmap.nn import activation_module


class Block(nn.Module):
    """A pre-activated block of two layers: norm, activation and affine layer, twice, and the sum with its input."""

    def __init__(self, layers: list[nn.Module], *, skips: bool) -> None:
        super().__init__()
        self.residual, self.skips = nn.Sequential(*layers), skips

    def forward(self, x: Tensor) -> Tensor:
        """A map of the same shape."""
        return x + self.residual(x) if self.skips else self.residual(x)


def deep(setup: Setup, network: Network, channels: int, classes: int) -> nn.Sequential:
    """A stem, blocks of two layers of one width and a head, ``depth`` affine layers in all.

    Dense: [batch, channels]. Convolutional: [batch, channels, height, width], filters of 3 x 3; one more convolution,
    with stride 2, follows the first layer, or max pooling if the setup says so, and all locations are pooled before the
    head. Q and C maps hold across a convolution, and not across max pooling (DKS, section 20.2).
    """
    width, image = network.width, setup.layers == "convolutional"

    def affine(inputs: int, stride: int = 1) -> nn.Module:
        return nn.Conv2d(inputs, width, 3, stride, 1) if image else nn.Linear(inputs, width)

    def activated() -> list[nn.Module]:
        norm: list[nn.Module] = [(nn.BatchNorm2d if image else nn.BatchNorm1d)(width)] if setup.norm else []
        return [*norm, activation_module(setup.activation)]

    stem = [affine(channels)]
    if image:
        reduced = [nn.MaxPool2d(3, 2, 1)] if setup.stem == "max" else [*activated(), affine(width, 2)]
        stem.extend(reduced)
    blocks = [
        Block([*activated(), affine(width), *activated(), affine(width)], skips=setup.skips)
        for _ in range((network.depth - 2) // 2)
    ]
    pool = [nn.AdaptiveAvgPool2d(1), nn.Flatten()] if image else []
    return nn.Sequential(*stem, *blocks, *activated(), *pool, nn.Linear(width, classes))


def _resnet(setup: Setup, network: Network, channels: int, classes: int) -> nn.Module:
    norm, width = "batch" if setup.norm else None, network.width
    model = resnet_v2(
        network.depth, activation=setup.activation, shortcuts=setup.skips, norm=norm, width=width, classes=classes
    )
    if setup.stem == "convolution":
        replaced = nn.Sequential(activation_module(setup.activation), nn.Conv2d(width, width, 3, 2, 1))
        model.get_submodule("stem").add_module("pool", replaced)
    return _reading(model, channels)


def _wide_resnet(setup: Setup, network: Network, channels: int, classes: int) -> nn.Module:
    if setup.stem is not None:
        raise ArgumentError("stem", "a Wide-ResNet pools nothing after its stem", "run the size imagenet")
    norm = "batch" if setup.norm else None
    return _reading(
        wide_resnet(
            network.depth, widen=network.width, activation=setup.activation, shortcuts=setup.skips, norm=norm,
            classes=classes,
        ),
        channels,
    )  # fmt: skip


def _reading(model: nn.Module, channels: int) -> nn.Module:
    """The model with a first convolution that reads so many channels: PLN adds one."""
    conv = model.get_submodule("stem.conv")
    assert isinstance(conv, nn.Conv2d)
    sizes = conv.kernel_size[0], conv.stride[0], conv.padding[0]
    model.get_submodule("stem").add_module(
        "conv", nn.Conv2d(channels, conv.out_channels, *sizes, bias=conv.bias is not None)
    )
    return model


MODELS: Mapping[str, Callable[[Setup, Network, int, int], nn.Module]] = {
    "deep": deep,
    "resnet_v2": _resnet,
    "wide_resnet": _wide_resnet,
}
"""By name: from a setup, a size, input channels and classes to a model whose weights a method draws."""
