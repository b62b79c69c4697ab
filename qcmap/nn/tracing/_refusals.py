"""Calls that no node stands for, and why: a row each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qcmap.nn.tracing._calls import Call

if TYPE_CHECKING:
    from qcmap.nn.tracing._translate import Rule, Translator

_PRODUCT = "a product of feature maps has no Q and C maps (DKS, section 21.1) [no-multiplication]"
_ATTENTION = f"attention is a product: {_PRODUCT}"
MIXING = "it mixes locations with weights that are not drawn, so it has no Q and C maps (DKS, section 20.1)"
_MOVING = "it moves entries between channels and locations"
_CHOOSING = "which entries it takes depends on their values"
_TAKE_OUT = "take it out, or trace the parts of the model around it"

_ROWS: dict[str, tuple[str, str]] = {
    **dict.fromkeys(("bilinear", "addcmul", "outer", "dot"), (
        _PRODUCT, "take it out; for a layer use nn.Linear or F.linear",
    )),
    **dict.fromkeys(("scaled_dot_product_attention", "multi_head_attention", "multi_head_attention_forward"), (
        _ATTENTION, _TAKE_OUT,
    )),
    **dict.fromkeys(("softmax", "log_softmax", "softmin"), (
        "a softmax mixes channels or locations by weights that depend on the input, a product [no-multiplication]",
        "take it out; a final softmax belongs into the loss",
    )),
    **dict.fromkeys(("glu", "normalize", "cosine_similarity", "norm", "linalg_vector_norm", "linalg_norm"), (
        _PRODUCT, "take it out, or use a normalization layer of torch.nn",
    )),
    **dict.fromkeys(("var", "std", "var_mean", "std_mean", "prod", "logsumexp", "cumsum", "cumprod", "sum"), (
        "it is a statistic of a feature map, which is no feature map", "use normalization or pooling layers",
    )),
    **dict.fromkeys(("max", "min", "maximum", "minimum", "argmax", "argmin", "topk", "sort", "where", "masked_fill",
                     "gather", "index_select", "scatter", "eq", "ne", "lt", "le", "gt", "ge", "median"), (
        _CHOOSING, "use activations and pooling layers",
    )),
    **dict.fromkeys(("grid_sample", "lp_pool", "fractional_max_pool", "local_response_norm"), (
        MIXING, "use a convolution",
    )),
    **dict.fromkeys(("upsample_linear", "upsample_bilinear", "upsample_bicubic", "upsample_trilinear"), (
        MIXING, "use mode='nearest' with an integer factor",
    )),
    **dict.fromkeys(("pixel_shuffle", "pixel_unshuffle", "fold", "unfold", "im2col", "col2im", "channel_shuffle"), (
        _MOVING, "use a convolution",
    )),
    **dict.fromkeys(("roll", "flip", "stack", "hstack", "vstack", "repeat", "repeat_interleave", "tile"), (
        "it moves, copies or stacks locations", "keep every location in its place, and concatenate channels",
    )),
    **dict.fromkeys(("chunk", "split", "split_with_sizes", "tensor_split", "unbind", "narrow", "select", "slice"), (
        "it takes a part of a feature map", "use a layer for each part",
    )),
    "conv_transpose": (
        "a transposed convolution with a Delta filter leaves all locations but those it reaches at zero",
        "use a convolution",
    ),
    "instance_norm": (
        "instance normalization takes moments of single channels, which stay random at any width (docs/norms.md)",
        "use GroupNorm with wide groups, or LayerNorm over the channels",
    ),
    "rrelu": ("its slope is random in training", "use LeakyReLU"),
    "hardshrink": ("it jumps", "use Softshrink or Tanhshrink"),
    "embedding_bag": ("it mixes locations", "use Embedding"),
    "pad": (
        "padding apart from a layer adds locations that stand for none of the input", "give the layer padding=..."
    ),
}  # fmt: skip


def _refused(rule: str, remedy: str) -> Rule:
    def refuse(t: Translator, call: Call) -> None:
        raise t.error(call, rule, remedy)

    return refuse


RULES: dict[str, Rule] = {name: _refused(*row) for name, row in _ROWS.items()}
