"""Torch reference models, each with the architecture graph that describes it."""

from models.fixup import FixupWideResNet
from models.looks_linear import looks_linear_mlp, looks_linear_wide_resnet
from models.mlp import MLP

__all__ = ["MLP", "FixupWideResNet", "looks_linear_mlp", "looks_linear_wide_resnet"]
