"""Calls that move entries without changing them, and those that do nothing at initialization."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import fx

from qcmap.nn.tracing._axes import reshaped
from qcmap.nn.tracing._calls import Call
from qcmap.nn.tracing._feature import Feature

if TYPE_CHECKING:
    from qcmap.nn.tracing._translate import Rule, Translator

_PRIMES = (2, 3, 5, 7, 11, 13, 17, 19)


def same(t: Translator, call: Call) -> Feature:
    """The feature map that it reads."""
    (x, *_) = call.features
    return replace(x, place=call.node)


def _reshaped(t: Translator, call: Call) -> Feature:
    x = t.seen(call.features[0])
    layout = reshaped(x.layout, call.shape)
    if layout is None:
        raise t.error(
            call, f"the new shape {list(call.shape[1:])} cuts channels or locations where they have no grid",
            "reshape so that channels and locations stay apart",
        )  # fmt: skip
    return replace(x, place=call.node, layout=layout)


def _permuted(t: Translator, call: Call) -> Feature:
    x = t.seen(call.features[0])
    probe = torch.empty(_PRIMES[: len(x.layout)], device="meta")
    moved = _again(call.node, probe)
    return replace(x, place=call.node, layout=tuple(x.layout[_PRIMES.index(size)] for size in moved.shape))


def _again(node: fx.Node, first: Any) -> Any:
    """A call with another first argument."""
    target: Any = node.target
    args, kwargs = (first, *node.args[1:]), dict(node.kwargs)
    return getattr(first, target)(*args[1:], **kwargs) if node.op == "call_method" else target(*args, **kwargs)


def _expanded(t: Translator, call: Call) -> Feature:
    x = call.features[0]
    before = tuple(x.place.meta["val"].shape)
    if tuple(call.node.meta["val"].shape) != before:
        raise t.error(call, "it copies a feature map to more locations or channels", "use a layer for that")
    return same(t, call)


def _item(t: Translator, call: Call) -> Any:
    """An item of several results, or a view of a tensor that only adds axes of size 1 or leaves them out."""
    source, index = call.positional[0], call.positional[1]
    if isinstance(source, tuple):
        return source[index]
    before = source.place.meta["val"]
    if before.numel() != call.node.meta["val"].numel():
        raise t.error(
            call, "it takes a part of a feature map", "use a layer with the wanted channels, a pooling or a stride"
        )
    whole = index if isinstance(index, tuple) else (index,)
    if not all(part is None or part is Ellipsis or isinstance(part, (slice, int)) for part in whole):
        raise t.error(call, "it picks entries by a tensor of indices", "use layers instead")
    if any(isinstance(part, slice) and part.step not in (None, 1) for part in whole):
        raise t.error(call, "it picks entries", "use layers instead")
    return _reshaped(t, call)


RULES: dict[str, Rule] = {
    **dict.fromkeys(
        ("identity", "dropout", "alpha_dropout", "feature_dropout", "feature_alpha_dropout", "native_dropout",
         "contiguous", "clone", "to", "float", "double", "half", "bfloat16", "detach", "alias", "requires_grad_",
         "type", "cpu", "cuda", "data", "checkpoint", "lift_fresh"),
        same,
    ),
    **dict.fromkeys(
        ("view", "reshape", "flatten", "unflatten", "squeeze", "unsqueeze", "view_as", "reshape_as", "ravel"), _reshaped
    ),
    **dict.fromkeys(("permute", "transpose", "adjoint", "mH", "H"), _permuted),
    "expand": _expanded,
    "expand_as": _expanded,
    "broadcast_to": _expanded,
    "getitem": _item,
}  # fmt: skip
