"""Affine layers and normalizations."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from qcmap.architecture import Affine, BatchNorm, Input, LayerNorm
from qcmap.nn.tracing._axes import BATCH, CHANNEL, Atom, Layout, extent, in_order, joined, whole
from qcmap.nn.tracing._calls import Call
from qcmap.nn.tracing._elementwise import one
from qcmap.nn.tracing._feature import Constant, Draft, Feature

if TYPE_CHECKING:
    from qcmap.nn.tracing._translate import Rule, Translator


def tidy(batch: int, channels: int, spatial: Sequence[int]) -> Layout:
    """The layout [batch, channels, locations...]."""
    atoms = [Atom(BATCH, batch), Atom(CHANNEL, channels), *(Atom(k, size) for k, size in enumerate(spatial))]
    return tuple(joined([atom]) for atom in atoms)


def over_map(t: Translator, call: Call, x: Feature) -> Feature:
    """The feature map, refused unless its axes are batch, channels and all locations in order."""
    x = t.seen(x, 1)
    spatial = x.layout[2:]
    fits = whole(x.layout[0], BATCH, extent(x.layout[0])) and whole(x.layout[1], CHANNEL, x.channels)
    if x.locations:
        fits = fits and len(spatial) == len(x.locations)
        fits = fits and all(
            in_order(axis, k, size) for k, (axis, size) in enumerate(zip(spatial, x.locations, strict=False))
        )
    else:
        fits = fits and not any(spatial)
    if not fits:
        raise t.error(
            call, "the axes that it slides over are not those of the locations, or axis 1 is not that of the channels",
            "bring the feature map to [batch, channels, locations...] first",
        )  # fmt: skip
    return x


def _conv(t: Translator, call: Call) -> Feature:
    given = call.bound("input weight bias stride padding dilation groups padding_mode")
    x = over_map(t, call, one(t, call, given))
    weight = weight_of(t, call, given["weight"])
    out, _, *kernel = weight.shape
    dims = len(kernel)
    stride, dilation = (_axes(given.get(name, 1), dims) for name in ("stride", "dilation"))
    shape = call.shape[2:]
    groups, border = int(given.get("groups", 1)), _border(given, kernel)
    if x.locations or any(size > 1 for size in shape):
        op = Affine(
            out, tuple(kernel), _equal(t, call, "strides", stride), _padding(t, call, given, kernel, dilation),
            groups=groups, dilation=_equal(t, call, "dilations", dilation), border=border,
        )  # fmt: skip
        locations = tuple(shape)
    else:
        # One location without an axis: the filter has its centre there, and reads padding elsewhere.
        op, locations = Affine(out, groups=groups, border=border), ()
    draft = t.draft(call, op, x, weight=weight.parameter)
    return Feature(call.node, draft, tidy(call.shape[0], out, shape), locations)


def _linear(t: Translator, call: Call) -> Feature:
    given = call.bound("input weight bias")
    x = t.seen(one(t, call, given), -1)
    weight = weight_of(t, call, given["weight"])
    out, last = weight.shape[0], x.layout[-1]
    layout = (*x.layout[:-1], joined([Atom(CHANNEL, out)]))
    if whole(last, CHANNEL, x.channels):
        draft = t.draft(call, Affine(out), x, weight=weight.parameter)
        return Feature(call.node, draft, layout, x.locations)
    grid = [Atom(CHANNEL, x.channels), *(Atom(k, size) for k, size in enumerate(x.locations))]
    if last != joined(grid):
        raise t.error(
            call, "the axis that it acts on mixes locations, or channels and some of the locations",
            "move the channels to the last axis, or pool over the locations first",
        )  # fmt: skip
    # All of the map at once: a filter as large as the map, whose weights are spread over it.
    draft = t.draft(call, Affine(out, x.locations, 1, 0, init="fan_in"), x, weight=weight.parameter)
    return Feature(call.node, draft, layout, ())


def _matrix_product(t: Translator, call: Call) -> Feature:
    """Refused: of two feature maps, or a layer whose weights are not where those of layers are."""
    if len(call.features) > 1:
        raise t.error(
            call, "a product of feature maps has no Q and C maps (DKS, section 21.1) [no-multiplication]",
            "take it out; for a layer use nn.Linear or F.linear",
        )  # fmt: skip
    raise t.error(
        call, "it multiplies a feature map by a matrix of the model: a linear layer, but weights are looked for in"
        " layers, as [out, in]", "write nn.Linear, or F.linear(x, weight) with a parameter of that shape",
    )  # fmt: skip


def weight_of(t: Translator, call: Call, weight: Any) -> Constant:
    """The weights of an affine layer; refused unless they are a parameter as it stands."""
    if isinstance(weight, Feature):
        raise t.error(
            call, "its weights are computed from the network's input, a product of feature maps [no-multiplication]",
            "use a layer with parameters of its own",
        )  # fmt: skip
    if not isinstance(weight, Constant):
        name = t.parameter_name(weight)
        if name is None:
            raise t.error(call, _COMPUTED, "use the plain layer: shaping initializes its weights itself")
        return Constant(call.node, tuple(weight.shape), name)
    if weight.parameter is None:
        raise t.error(call, _COMPUTED, "use the plain layer: shaping initializes its weights itself")
    return weight


_COMPUTED = "its weights are computed from parameters (weight standardization, a parametrization?), not a parameter"


def _axes(value: Any, dims: int) -> tuple[int, ...]:
    values = tuple(value) if isinstance(value, (tuple, list)) else (value,)
    return values * dims if len(values) == 1 else values


def _equal(t: Translator, call: Call, what: str, values: tuple[int, ...]) -> int:
    if len(set(values)) > 1:
        raise t.error(call, f"its {what} {values} differ by axis", f"use equal {what}")
    return int(values[0])


def _padding(
    t: Translator, call: Call, given: Mapping[str, Any], kernel: Sequence[int], dilation: tuple[int, ...]
) -> Any:
    """The padding as an `Affine` has it: "same" if every axis is padded by half of its kernel."""
    pads = _pads(given, len(kernel))
    same = pads == ("same",) * len(kernel) or all(
        size % 2 and 2 * pad == d * (size - 1) for pad, size, d in zip(pads, kernel, dilation, strict=True)
    )
    return "same" if same else _equal(t, call, "paddings", pads)


def _border(given: Mapping[str, Any], kernel: Sequence[int]) -> Any:
    """What an `Affine` reads in its padding: zeros too if it has none."""
    padded = any(pad and size > 1 for pad, size in zip(_pads(given, len(kernel)), kernel, strict=True))
    return given.get("padding_mode", "zeros") if padded else "zeros"


def _pads(given: Mapping[str, Any], dims: int) -> tuple[Any, ...]:
    padding = given.get("padding", 0)
    return _axes(0 if padding == "valid" else padding, dims)


def _embedding(t: Translator, call: Call) -> Feature:
    """A row of a table for each token: an affine layer of vectors that are 1 at the token and 0 elsewhere."""
    given = call.bound("input weight padding_idx max_norm")
    if given.get("max_norm"):
        raise t.error(call, "it scales the rows that it looks up (max_norm)", "leave max_norm out")
    weight = given.get("weight") if call.module is None else getattr(call.module, "weight", None)
    if isinstance(given.get("input"), Constant):
        weight = given["input"]  # aten has them the other way round
    source = next(iter(call.node.all_input_nodes))
    found = weight_of(t, call, weight)
    tokens, channels = found.shape
    name = t.recording.inputs.get(source)
    if name is None:
        raise t.error(call, "it looks up what is no input of the network", "look up the tokens as they come in")
    locations = call.shape[1:-1]
    given_input = t.inputs[name]
    if given_input.draft is None:
        given_input.draft = Draft(Input(tokens, locations or None), [], source, name)
    op = given_input.draft.op
    if not isinstance(op, Input) or op.channels != tokens:
        raise t.error(call, "two tables of different sizes look up one input", "give each an input of its own")
    module = str(call.node.target) if call.module is not None else None
    draft = Draft(Affine(channels), [given_input.draft], call.node, call.name, module, found.parameter, [source])
    atoms = [Atom(BATCH, call.shape[0]), *(Atom(k, size) for k, size in enumerate(locations)), Atom(CHANNEL, channels)]
    return Feature(call.node, draft, tuple(joined([atom]) for atom in atoms), tuple(locations))


def _layer_norm(t: Translator, call: Call) -> Feature:
    given = call.bound("input normalized_shape")
    return _normed(t, call, one(t, call, given), given["normalized_shape"], centre=True)


def _rms_norm(t: Translator, call: Call) -> Feature:
    given = call.bound("input normalized_shape")
    return _normed(t, call, one(t, call, given), given["normalized_shape"], centre=False)


def _normed(t: Translator, call: Call, x: Feature, normalized: Any, *, centre: bool) -> Feature:
    count = len(normalized) if isinstance(normalized, (tuple, list)) else 1
    x = t.seen(x, len(x.layout) - count)
    axes = joined(atom for axis in x.layout[-count:] for atom in axis)
    if whole(axes, CHANNEL, x.channels):
        op = LayerNorm(centre=centre)
    elif extent(axes) == x.channels * math.prod(x.locations) and all(atom.key != BATCH for atom in axes):
        op = LayerNorm(centre=centre, groups=1)
    else:
        raise t.error(
            call, "it takes moments over locations, or over a part of the channels",
            "let it normalize the channels of each location, or the whole map",
        )  # fmt: skip
    return Feature(call.node, t.draft(call, op, x), x.layout, x.locations)


def _group_norm(t: Translator, call: Call) -> Feature:
    given = call.bound("input num_groups")
    x = t.seen(one(t, call, given), 1)
    if not whole(x.layout[1], CHANNEL, x.channels):
        raise t.error(call, "axis 1 is not that of the channels", "bring the feature map to [batch, channels, ...]")
    return Feature(call.node, t.draft(call, LayerNorm(groups=int(given["num_groups"])), x), x.layout, x.locations)


def _batch_norm(t: Translator, call: Call) -> Feature:
    x = t.seen(call.features[0], 1)
    if not whole(x.layout[1], CHANNEL, x.channels):
        raise t.error(call, "axis 1 is not that of the channels", "bring the feature map to [batch, channels, ...]")
    return Feature(call.node, t.draft(call, BatchNorm(), x), x.layout, x.locations)


RULES: dict[str, Rule] = {
    "conv": _conv,
    "linear": _linear,
    **dict.fromkeys(("matmul", "einsum", "addmm", "baddbmm", "addbmm", "inner", "tensordot"), _matrix_product),
    "embedding": _embedding,
    "layer_norm": _layer_norm,
    "rms_norm": _rms_norm,
    "group_norm": _group_norm,
    "batch_norm": _batch_norm,
}
