"""Torch reference models, each with the architecture graph that describes it."""

from models.convnext import ConvNeXt
from models.densenet import DenseNet
from models.fixup import FixupWideResNet
from models.gated import DeepGatedNetwork, MemorisationNetwork
from models.looks_linear import looks_linear_mlp, looks_linear_wide_resnet
from models.mlp import MLP
from models.resnet import ResNet, resnet_v2, wide_resnet
from models.transformer import Transformer
from models.unet import UNet

__all__ = [
    "MLP",
    "ConvNeXt",
    "DeepGatedNetwork",
    "DenseNet",
    "FixupWideResNet",
    "MemorisationNetwork",
    "ResNet",
    "Transformer",
    "UNet",
    "looks_linear_mlp",
    "looks_linear_wide_resnet",
    "resnet_v2",
    "wide_resnet",
]
