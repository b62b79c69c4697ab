"""Networks without residual blocks: chains, towers and heads, dense concatenation, nested skips."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral
from typing import TYPE_CHECKING, Literal

from qcmap.architecture._architecture import Architecture
from qcmap.architecture._builder import Builder
from qcmap.architecture._ops import Affine, Nonlinear
from qcmap.errors import ArchitectureError

if TYPE_CHECKING:
    from qcmap.architecture._ops import Named


def positive(value: object, model: str, what: str = "depth") -> int:
    """The value as an int; raises `ArchitectureError`, naming the model, unless it is a positive integer."""
    if isinstance(value, bool) or not isinstance(value, Integral) or value < 1:
        raise ArchitectureError(model, f"{what} must be a positive integer, not {value!r}", f"give {what}=1 or more")
    return int(value)


def counts(value: object, model: str, what: str) -> tuple[int, ...]:
    """The value as a tuple of positive integers; raises `ArchitectureError`, naming the model, unless it is one."""
    if isinstance(value, str) or not isinstance(value, Sequence) or not value:
        raise ArchitectureError(model, f"{what} is a list of counts, not {value!r}", f"give {what}=[2, 3]")
    return tuple(positive(item, model, what) for item in value)


def mlp(
    depth: int = 100,
    width: int | None = None,
    activation: str | Named = "tanh",
    *,
    in_channels: int | None = None,
    out_channels: int | None = None,
) -> Architecture:
    """A fully-connected network of ``depth`` combined layers.

    Node ids are ``input``, ``layer1.affine``, ``layer1.activation``, ... and, if ``out_channels`` is given, ``head``,
    an affine layer. Its slope polynomial is psi^depth.
    """
    b = Builder(f"mlp(depth={positive(depth, 'mlp')})")
    h = b.input("input", channels=in_channels)
    affine, function = Affine(width), Nonlinear(activation)
    for layer in range(1, depth + 1):
        h = b.add(affine, (h,), f"layer{layer}.affine")
        h = b.add(function, (h,), f"layer{layer}.activation")
    if out_channels is not None:
        h = b.affine(h, out_channels, name="head")
    return b.build(outputs=[h])


def two_towers(
    depth: int = 3,
    joint: int = 2,
    width: int = 64,
    activation: str | Named = "tanh",
    *,
    in_channels: Sequence[int] = (16, 32),
    out_channels: int = 1,
) -> Architecture:
    """A network with several inputs: one tower of ``depth`` combined layers each, concatenated, then a joint part.

    The joint part has ``joint`` combined layers and an affine head. No subnetwork reaches from an input across the
    concatenation, so the largest slope is that of a tower, psi^depth, or of the joint part, psi^joint.
    """
    b = Builder(f"two_towers(depth={positive(depth, 'two_towers')})")
    ends = []
    for k, channels in enumerate(counts(in_channels, "two_towers", "in_channels"), start=1):
        h = b.input(f"input{k}", channels=channels)
        ends.append(_layers(b, h, depth, width, activation, f"tower{k}"))
    h = b.concat(ends, name="join")
    h = _layers(b, h, positive(joint, "two_towers", "joint"), width, activation, "joint")
    return b.build(outputs=[b.affine(h, out_channels, name="head")])


def multi_head(
    depth: int = 4,
    head_depths: Sequence[int] = (1, 2, 5),
    width: int = 64,
    activation: str | Named = "tanh",
    *,
    in_channels: int = 16,
    out_channels: int = 1,
) -> Architecture:
    """A trunk of ``depth`` combined layers with a head of its own depth for each output.

    The maximal slope is psi^(depth + the largest head depth).
    """
    b = Builder(f"multi_head(depth={positive(depth, 'multi_head')})")
    trunk = _layers(b, b.input("input", channels=in_channels), depth, width, activation, "trunk")
    for k, layers in enumerate(counts(head_depths, "multi_head", "head_depths"), start=1):
        h = _layers(b, trunk, layers, width, activation, f"head{k}")
        b.output(b.affine(h, out_channels, name=f"head{k}.affine"), name=f"output{k}")
    return b.build()


def _layers(b: Builder, h: str, count: int, width: int, activation: str | Named, name: str) -> str:
    for layer in range(1, count + 1):
        h = b.affine(h, width, name=f"{name}.layer{layer}.affine")
        h = b.activation(h, activation, name=f"{name}.layer{layer}.activation")
    return h


def densenet(
    blocks: Sequence[int] = (6, 12, 24, 16),
    growth: int = 32,
    *,
    activation: str | Named = "tanh",
    norm: Literal["layer"] | None = None,
    classes: int = 1000,
) -> Architecture:
    """A network with dense concatenation, like DenseNet: every layer of a block reads all outputs before it.

    Each layer is a bottleneck: activation, 1x1 convolution to 4 ``growth`` channels, activation, 3x3 convolution to
    ``growth`` channels, concatenated with what it read. Between blocks, an activation, a 1x1 convolution that halves
    the channels, and 2x2 mean pooling. ``blocks`` counts the layers of each block; (6, 12, 24, 16) is DenseNet-121.
    """
    if norm not in (None, "layer"):
        raise ArchitectureError(
            "densenet", f"norm must be None or 'layer', not {norm!r}", "use 'layer': batch norm has no Q/C maps"
        )
    blocks = counts(blocks, "densenet", "blocks")
    b = Builder(f"densenet(blocks={blocks})")

    def activate(x: str, name: str) -> str:
        x = b.layer_norm(x, name=f"{name}.norm") if norm == "layer" else x
        return b.activation(x, activation, name=f"{name}.activation")

    channels = 2 * positive(growth, "densenet", "growth")
    h = b.affine(
        b.input("input", channels=3, locations=(224, 224)), channels, kernel=(7, 7), stride=2, name="stem.conv"
    )
    h = b.max_pool(h, (3, 3), stride=2, padding=1, name="stem.pool")
    for k, layers in enumerate(blocks, start=1):
        for layer in range(1, layers + 1):
            name = f"block{k}.layer{layer}"
            inner = b.affine(activate(h, f"{name}.first"), 4 * growth, kernel=(1, 1), name=f"{name}.conv1")
            inner = b.affine(activate(inner, f"{name}.second"), growth, kernel=(3, 3), name=f"{name}.conv2")
            h = b.concat([h, inner], name=f"{name}.concat")
            channels += growth
        if k < len(blocks):
            channels //= 2
            h = b.affine(activate(h, f"transition{k}"), channels, kernel=(1, 1), name=f"transition{k}.conv")
            h = b.mean_pool(h, (2, 2), name=f"transition{k}.pool")
    h = b.mean_pool(activate(h, "final"), name="final.pool")
    return b.build(outputs=[b.affine(h, classes, name="head")])


def unet(
    depth: int = 4,
    channels: int = 64,
    convolutions: int = 2,
    *,
    activation: str | Named = "tanh",
    skip: Literal["concat", "sum"] = "concat",
    resolution: int | None = None,
    classes: int = 2,
) -> Architecture:
    """Nested skips, like U-net: level k of ``depth`` levels joins what goes down past it with what comes up from below.

    Each level has ``convolutions`` combined layers on its way down and as many on its way up, with ``channels`` doubled
    from level to level. Going down is a convolution of stride 2; going up is a 1x1 convolution and nearest upsampling
    by 2. ``skip="sum"`` adds two affine outputs with weights 1/sqrt(2) instead of concatenating. ``resolution``, a
    multiple of 2^depth, is the extent of the images; without it locations are not known.
    """
    if skip not in ("concat", "sum"):
        raise ArchitectureError("unet", f"skip must be 'concat' or 'sum', not {skip!r}", "use skip='concat'")
    b = Builder(f"unet(depth={positive(depth, 'unet')})")

    def stage(h: str, count: int, width: int, name: str) -> str:
        for k in range(1, count + 1):
            h = b.affine(h, width, kernel=(3, 3), name=f"{name}.conv{k}")
            h = b.activation(h, activation, name=f"{name}.activation{k}")
        return h

    positive(convolutions, "unet", "convolutions")
    extent = None if resolution is None else (positive(resolution, "unet", "resolution"),) * 2
    h, skips = b.input("input", channels=3, locations=extent), []
    for level in range(1, depth + 1):
        width = channels * 2 ** (level - 1)
        h = stage(h, convolutions, width, f"down{level}")
        skips.append(h)
        h = b.affine(h, 2 * width, kernel=(3, 3), stride=2, name=f"down{level}.pool")
    h = stage(h, convolutions, channels * 2**depth, "bottom")
    for level in range(depth, 0, -1):
        width, past = channels * 2 ** (level - 1), skips[level - 1]
        h = b.affine(h, width, kernel=(1, 1), name=f"up{level}.conv")
        h = b.upsample(h, (2, 2), name=f"up{level}.upsample")
        if skip == "sum":
            h = b.sum([h, b.affine(past, width, kernel=(1, 1), name=f"up{level}.skip")], name=f"up{level}.join")
        else:
            h = b.concat([h, past], name=f"up{level}.join")
        h = stage(h, convolutions, width, f"up{level}")
    return b.build(outputs=[b.affine(h, classes, kernel=(1, 1), name="head")])
