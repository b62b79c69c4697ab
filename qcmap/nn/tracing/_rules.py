"""The tables of tracing, put together: the rule of each call by its common name, and that name for each module."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from torch import nn

from qcmap.activations._rows import ALIASES
from qcmap.nn.tracing import _elementwise, _layers, _own, _pools, _refusals, _views, _wiring
from qcmap.nn.tracing._calls import common

if TYPE_CHECKING:
    from qcmap.nn.tracing._translate import Rule

RULES: Mapping[str, Rule] = {
    **_refusals.RULES,
    **_views.RULES,
    **_elementwise.RULES,
    **_wiring.RULES,
    **_layers.RULES,
    **_pools.RULES,
    **_own.RULES,
}
"""What each call means."""

_SPATIAL = {
    "Conv": "conv", "ConvTranspose": "conv_transpose", "BatchNorm": "batch_norm", "InstanceNorm": "instance_norm",
    "MaxPool": "max_pool", "AvgPool": "avg_pool", "AdaptiveMaxPool": "adaptive_max_pool",
    "AdaptiveAvgPool": "adaptive_avg_pool", "Dropout": "dropout", "ConstantPad": "pad", "ZeroPad": "pad",
    "ReflectionPad": "pad", "ReplicationPad": "pad", "CircularPad": "pad", "LPPool": "lp_pool",
}  # fmt: skip
_PLAIN = {
    "Linear": "linear", "Embedding": "embedding", "Identity": "identity", "Flatten": "flatten",
    "Unflatten": "unflatten", "Dropout": "dropout", "AlphaDropout": "alpha_dropout",
    "FeatureAlphaDropout": "feature_alpha_dropout", "SyncBatchNorm": "batch_norm", "LayerNorm": "layer_norm",
    "GroupNorm": "group_norm", "RMSNorm": "rms_norm", "RReLU": "rrelu", "GLU": "glu", "Softmax": "softmax",
    "LogSoftmax": "log_softmax", "Softmin": "softmax", "Softmax2d": "softmax",
    "Upsample": "interpolate", "UpsamplingNearest2d": "interpolate", "UpsamplingBilinear2d": "interpolate",
    "PixelShuffle": "pixel_shuffle", "PixelUnshuffle": "pixel_unshuffle", "ChannelShuffle": "channel_shuffle",
    "MultiheadAttention": "multi_head_attention", "LocalResponseNorm": "local_response_norm",
    "Bilinear": "bilinear", "Fold": "fold", "Unfold": "unfold",
    "Hardshrink": "hardshrink", "EmbeddingBag": "embedding_bag", "CosineSimilarity": "cosine_similarity",
}  # fmt: skip
_ACTIVATIONS = {name.replace("_", ""): common(name) for name in (*_elementwise.RULES, *ALIASES)}
"""Modules of activations have the names of their functions, but for capitals."""
OWN: tuple[type[nn.Module], ...] = tuple(_own.MODULES)
"""The modules of this package, each one call."""
MODULES: Mapping[type[nn.Module], str] = {
    **{getattr(nn, name): word for name, word in _PLAIN.items() if hasattr(nn, name)},
    **{getattr(nn, name): _ACTIVATIONS[name.lower()] for name in dir(nn) if name.lower() in _ACTIVATIONS},
    **{
        getattr(nn, f"{name}{n}d"): word
        for name, word in _SPATIAL.items()
        for n in (1, 2, 3)
        if hasattr(nn, f"{name}{n}d")
    },
    **_own.MODULES,
}
"""The common name of what a module of torch.nn or of this package calls."""
