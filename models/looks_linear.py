"""Networks of the Looks Linear method: relu networks that are linear functions at initialization (DKS, section 26.5).

Written by hand, as Balduzzi et al. (2017) describe them. No zoo graph has their maps: relu(x) and relu(-x) are read
through mirrored weights (W, -W), which are not independent.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import cast

import torch
from torch import Tensor, nn

from models.mlp import check_sizes, empty_linear
from qcmap.architecture import zoo
from qcmap.nn import initialize


class MirroredReLU(nn.Module):
    """The concatenation of relu(x) and relu(-x) along axis 1: twice as many channels come out."""

    def forward(self, x: Tensor) -> Tensor:
        """[batch, k, ...] to [batch, 2k, ...]."""
        return torch.cat([torch.relu(x), torch.relu(-x)], dim=1)


def looks_linear_mlp(in_features: int, width: int, depth: int, out_features: int, *, seed: int = 0) -> nn.Sequential:
    """The fully-connected network of ``depth`` layers and a head, [batch, in_features] to [batch, out_features].

    Submodules are named like those of `models.MLP`. Weights are scaled uniform orthogonal before they are mirrored, so
    at initialization the network is the product of those matrices.

    Raises
    ------
    ArgumentError
        For a size that is not a positive integer.
    """
    check_sizes({"in_features": in_features, "width": width, "depth": depth, "out_features": out_features})
    layers = OrderedDict[str, nn.Module]()
    for layer in range(1, depth + 1):
        affine = empty_linear(in_features if layer == 1 else width, width)
        layers[f"layer{layer}"] = nn.Sequential(OrderedDict(affine=affine, activation=MirroredReLU()))
    layers["head"] = empty_linear(width, out_features)
    return _mirrored(nn.Sequential(layers), seed)


def looks_linear_wide_resnet(depth: int = 28, *, widen: int = 2, classes: int = 10, seed: int = 0) -> nn.Sequential:
    """The Wide-ResNet without shortcuts (DKS, sections 23.6 and 28.5.5), images [N, 3, H, W] to [N, classes].

    Submodules are named like the nodes of ``zoo.wide_resnet(depth, shortcuts=False)``. Weights are Delta orthogonal
    before they are mirrored.

    Raises
    ------
    ArchitectureError
        For a depth or width that `qcmap.zoo.wide_resnet` refuses.
    """
    arch = zoo.wide_resnet(depth, widen=widen, shortcuts=False, classes=classes)
    channels, groups = 16, OrderedDict[str, nn.Module](stem=nn.Sequential(OrderedDict(conv=_convolution(3, 16))))
    for group in range(3):
        width, blocks = 16 * widen * 2**group, OrderedDict[str, nn.Module]()
        for block in range(1, (depth - 4) // 6 + 1):
            first = _convolution(channels, width, 2 if group and block == 1 else 1)
            parts = OrderedDict[str, nn.Module](activation1=MirroredReLU(), conv1=first)
            parts.update(activation2=MirroredReLU(), conv2=_convolution(width, width))
            blocks[f"block{block}"] = nn.Sequential(parts)
            channels = width
        groups[f"group{group + 1}"] = nn.Sequential(blocks)
    pooled = OrderedDict[str, nn.Module](activation=MirroredReLU(), pool=nn.AdaptiveAvgPool2d(1), flatten=nn.Flatten())
    groups["final"] = nn.Sequential(pooled)
    groups["head"] = empty_linear(channels, cast("int", arch.channels["head"]))
    return _mirrored(nn.Sequential(groups), seed)


def _convolution(channels: int, out: int, stride: int = 1) -> nn.Conv2d:
    empty = nn.Conv2d(channels, out, 3, stride, 1, device="meta")
    return empty.to_empty(device=torch.get_default_device())


@torch.no_grad()
def _mirrored(model: nn.Sequential, seed: int) -> nn.Sequential:
    """Initialise a chain of layers, and let each after the first read the mirrored activations before it by (W, -W)."""
    initialize(model, seed=seed)
    layers = [module for module in model.modules() if isinstance(module, (nn.Linear, nn.Conv2d))]
    for layer in layers[1:]:
        layer.weight = nn.Parameter(torch.cat([layer.weight, -layer.weight], dim=1))
        name = "in_features" if isinstance(layer, nn.Linear) else "in_channels"
        setattr(layer, name, layer.weight.shape[1])
    return model
