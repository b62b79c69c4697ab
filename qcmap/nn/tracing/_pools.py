"""Pooling, means over the map, and upsampling."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch

from qcmap.architecture import MaxPool, MeanPool, Pool, Upsample
from qcmap.nn.tracing._axes import BATCH, CHANNEL, extent, joined
from qcmap.nn.tracing._calls import Call
from qcmap.nn.tracing._elementwise import one
from qcmap.nn.tracing._feature import Feature
from qcmap.nn.tracing._layers import over_map, tidy
from qcmap.nn.tracing._refusals import MIXING
from qcmap.nn.tracing._views import same

if TYPE_CHECKING:
    from qcmap.nn.tracing._translate import Rule, Translator


def _window(kind: type[Pool]) -> Rule:
    def rule(t: Translator, call: Call) -> Any:
        names = "input kernel_size stride padding " + (
            "dilation ceil_mode" if kind is MaxPool else "ceil_mode count_include_pad divisor_override"
        )
        given = call.bound(names)
        x = over_map(t, call, one(t, call, given))
        dims = len(call.shape) - 2
        kernel = _axes(given["kernel_size"], dims)
        stride, padding, dilation = (_axes(given.get(name) or default, dims) for name, default in (
            ("stride", kernel), ("padding", 0), ("dilation", 1),
        ))  # fmt: skip
        for what, values in (("strides", stride), ("paddings", padding)):
            if len(set(values)) > 1:
                raise t.error(call, f"its {what} {values} differ by axis", f"use equal {what}")
        if set(dilation) != {1}:
            raise t.error(call, "it is dilated", "use dilation 1")
        if given.get("divisor_override") not in (None, math.prod(kernel)):
            raise t.error(
                call, f"it divides sums over {math.prod(kernel)} locations by {given['divisor_override']}, so it is no"
                " mean, but a multiple of one [no-scalar-multiplier]", "leave divisor_override out",
            )  # fmt: skip
        if not x.locations:
            return same(t, call)
        op = kind(kernel, None if stride == kernel else stride[0], padding[0])
        reached = tuple(len(along) for along in op.centres(x.locations))
        if reached != call.shape[2:]:
            raise t.error(call, "its last windows reach over the edge of the map (ceil_mode)", "pad the map instead")
        return Feature(call.node, t.draft(call, op, x), tidy(call.shape[0], x.channels, reached), reached)

    return rule


def _with_indices(rule: Rule) -> Rule:
    return lambda t, call: (rule(t, call), None)


def _axes(value: Any, dims: int) -> tuple[int, ...]:
    values = tuple(value) if isinstance(value, (tuple, list)) else (value,)
    return values * dims if len(values) == 1 else values


def _adaptive(kind: type[Pool]) -> Rule:
    def rule(t: Translator, call: Call) -> Feature:
        x = over_map(t, call, one(t, call, call.bound("input")))
        after = call.shape[2:]
        if after == tuple(x.locations) or not x.locations:
            return same(t, call)
        if set(after) == {1}:
            return Feature(call.node, t.draft(call, kind(), x), tidy(call.shape[0], x.channels, after), ())
        if any(before % size for before, size in zip(x.locations, after, strict=True)):
            raise t.error(
                call, f"a map of {x.locations} locations has no equal windows for {after}",
                "choose a size that divides it, or 1",
            )  # fmt: skip
        kernel = tuple(before // size for before, size in zip(x.locations, after, strict=True))
        op = kind(kernel, None if len(set(kernel)) == 1 else kernel[0])
        return Feature(call.node, t.draft(call, op, x), tidy(call.shape[0], x.channels, after), after)

    return rule


def _mean(kind: type[Pool]) -> Rule:
    def rule(t: Translator, call: Call) -> Feature:
        given = call.bound("input dim keepdim")
        x = one(t, call, given)
        dim = given.get("dim")
        count = len(x.layout)
        axes = tuple(range(count)) if dim is None or dim == () else tuple(
            axis % count for axis in (dim if isinstance(dim, (tuple, list)) else (dim,))
        )  # fmt: skip
        rest = [axis for axis in range(1, count) if axis not in axes]
        x = t.seen(x, rest[0] if len(rest) == 1 else 1)
        over = joined(atom for axis in axes for atom in x.layout[axis])
        if not over:
            locations = x.locations
            draft = x.draft
        elif any(atom.key in (BATCH, CHANNEL) for atom in over) or extent(over) != math.prod(x.locations):
            raise t.error(
                call, "it reduces the batch, the channels or a part of the locations",
                "pool over all locations, or use a pooling layer",
            )  # fmt: skip
        else:
            locations, draft = (), t.draft(call, kind(), x)
        kept = call.node.meta["val"].ndim == count
        layout = tuple(() if axis in axes else x.layout[axis] for axis in range(count) if kept or axis not in axes)
        return Feature(call.node, draft, layout, locations)

    return rule


def _resized(t: Translator, call: Call) -> Feature:
    """Nearest upsampling by an integer factor along each axis; other modes mix locations, other sizes drop some."""
    given = call.bound("input size scale_factor mode align_corners recompute_scale_factor")
    x, after = over_map(t, call, one(t, call, given)), call.shape[2:]
    mode = "nearest" if call.name == "upsample_nearest" else given.get("mode", "nearest")
    if after == (tuple(x.locations) or (1,) * len(after)):
        return same(t, call)
    if mode not in ("nearest", "nearest-exact"):
        raise t.error(call, MIXING, "use mode='nearest' with an integer factor")
    if not x.locations:
        raise t.error(
            call, "it repeats a map that is the same for all locations, which stands for none of them",
            "take the connection out, or keep the map that was pooled",
        )  # fmt: skip
    factors = tuple(size // before for before, size in zip(x.locations, after, strict=True))
    op = Upsample(factors)
    scale = None if given.get("size") is not None else given.get("scale_factor")
    if 0 in factors or not _copies(op, x.locations, after, scale, mode):
        raise t.error(
            call, f"{list(after)} locations are not {list(x.locations)} repeated by an integer along each axis",
            "use an integer factor; to drop locations, a stride",
        )  # fmt: skip
    return Feature(call.node, t.draft(call, op, x), tidy(call.shape[0], x.channels, after), after)


def _copies(op: Upsample, before: tuple[int, ...], after: tuple[int, ...], scale: Any, mode: str) -> bool:
    """Whether torch takes the locations that the op says: it multiplies by a rounded factor."""
    factors = scale if isinstance(scale, (tuple, list)) else (scale,) * len(before)
    for size, wanted, factor, centres in zip(before, after, factors, op.centres(before), strict=True):
        ramp = torch.arange(size, dtype=torch.float64).reshape(1, 1, -1)
        resize: dict[str, Any] = {"size": wanted} if factor is None else {"scale_factor": float(factor)}
        if torch.nn.functional.interpolate(ramp, **resize, mode=mode).flatten().tolist() != list(centres):
            return False
    return True


_MAX, _AVG = _window(MaxPool), _window(MeanPool)
RULES: dict[str, Rule] = {
    "max_pool": _MAX,
    "max_pool_with_indices": _with_indices(_MAX),
    "avg_pool": _AVG,
    "adaptive_avg_pool": _adaptive(MeanPool),
    "adaptive_max_pool": _adaptive(MaxPool),
    "mean": _mean(MeanPool),
    "amax": _mean(MaxPool),
    "interpolate": _resized,
    "upsample_nearest": _resized,
}
