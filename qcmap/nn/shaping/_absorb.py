"""What becomes of a layer's parameters when its input and its output stand for other maps, and the way back."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn

from qcmap.errors import ArchitectureError
from qcmap.nn.shaping._equivalent import Affinity, Array
from qcmap.nn.shaping._sites import Site

Original: TypeAlias = "tuple[Tensor, Tensor | None]"
"""The weight and the bias of a layer before anything is changed, in float64."""


def wide(tensor: Tensor) -> Tensor:
    """A tensor's numbers in float64."""
    return tensor.detach().to("cpu", torch.float64)


@torch.no_grad()
def set_to(parameter: Tensor, value: Tensor) -> None:
    """Give a parameter new numbers, rounded to its type."""
    parameter.copy_(value.reshape(parameter.shape))


def _rows(values: Array, like: Tensor, axis_size: int) -> Tensor:
    """One number for each of ``axis_size`` channels; a channel of several flattened locations repeats its own."""
    if values.ndim and axis_size % len(values):
        raise ArchitectureError(
            "fold", f"{len(values)} channels do not make {axis_size} features", "keep the shaped network"
        )
    repeated = np.repeat(values, axis_size // len(values)) if values.ndim else np.full(axis_size, float(values))
    return torch.from_numpy(repeated).to(like)


def _columns(values: Array, weight: Tensor, groups: int) -> Tensor:
    """Numbers of input channels, in the layout of a weight [out, in/groups, *kernel]."""
    rows, columns = weight.shape[0] // groups, weight.shape[1]
    per_group = _rows(values, weight, columns * groups).reshape(groups, 1, columns)
    return per_group.expand(groups, rows, columns).reshape(weight.shape[0], columns, *[1] * (weight.ndim - 2))


def absorb(site: Site, original: Original, inputs: Affinity, outputs: Affinity) -> None:
    """W' = A W / a and c' = A (c - W (b/a)) + B; a table, of which one row is read at a time, becomes A E + B."""
    weight, old = original
    if site.looked_up:
        scale, shift = (_rows(v, weight, weight.shape[1]) for v in (outputs.scale, outputs.shift))
        set_to(site.weight, scale * weight + shift)
        return
    scale, shift = (_rows(v, weight, weight.shape[0]) for v in (outputs.scale, outputs.shift))
    response = (weight * _columns(inputs.origin, weight, site.groups)).flatten(1).sum(1)
    bias = scale * ((0 if old is None else old) - response) + shift
    column = scale.reshape(-1, *[1] * (weight.ndim - 1))
    set_to(site.weight, column * weight / _columns(inputs.scale, weight, site.groups))
    if old is not None or bool(bias.any()):
        filled = site.with_bias()
        assert filled.bias is not None
        set_to(filled.bias, bias)


def release(site: Site, weight: Tensor, plain_bias: Tensor | None, inputs: Affinity, outputs: Affinity) -> None:
    """W = W' a / A and c = (c' - B) / A + W (b/a); the inverse of `absorb`."""
    if site.looked_up:
        scale, shift = (_rows(v, weight, weight.shape[1]) for v in (outputs.scale, outputs.shift))
        set_to(site.weight, (weight - shift) / scale)
        return
    scale, shift = (_rows(v, weight, weight.shape[0]) for v in (outputs.scale, outputs.shift))
    given = torch.zeros_like(scale) if plain_bias is None else wide(plain_bias)
    column = scale.reshape(-1, *[1] * (weight.ndim - 1))
    old = weight * _columns(inputs.scale, weight, site.groups) / column
    response = (old * _columns(inputs.origin, weight, site.groups)).flatten(1).sum(1)
    set_to(site.weight, old)
    if site.bias is not None or plain_bias is not None:
        filled = site.with_bias()
        assert filled.bias is not None
        set_to(filled.bias, (given - shift) / scale + response)


def absorb_norm(norm: Any, original: Original, inputs: Affinity, outputs: Affinity) -> None:
    """Gain A g, bias A h + B, epsilon a^2 epsilon."""
    gain, bias = original
    scale, shift = _gains(outputs, gain)
    set_to(norm.weight, scale * gain)
    if hasattr(norm, "bias"):
        if bias is None:
            norm.bias = nn.Parameter(torch.zeros_like(norm.weight))
        set_to(norm.bias, shift if bias is None else scale * bias + shift)
    # The epsilon of an RMSNorm may be None, the rounding of the type.
    eps = torch.finfo(norm.weight.dtype).eps if norm.eps is None else norm.eps
    norm.eps = eps * float(inputs.scale) ** 2


def release_norm(norm: Any, plain: Original, outputs: Affinity) -> None:
    """The inverse of `absorb_norm`; epsilon is the shaped model's."""
    gain, bias = plain
    scale, shift = _gains(outputs, gain)
    set_to(norm.weight, gain / scale)
    if bias is not None:
        set_to(norm.bias, (bias - shift) / scale)


def _gains(outputs: Affinity, gain: Tensor) -> tuple[Tensor, Tensor]:
    """Scale and shift for each entry of a gain [channels], or of any shape if all channels have the same."""
    if gain.ndim > 1 and (outputs.scale.ndim or outputs.shift.ndim):
        raise ArchitectureError(
            "fold", "a norm of whole maps, whose channels have different constants, cannot take them up",
            "normalize the channels of each location, or keep the shaped network",
        )  # fmt: skip
    scale, shift = (_rows(v, gain, len(gain)) for v in (outputs.scale, outputs.shift))
    return (scale, shift) if gain.ndim == 1 else (scale[0].expand_as(gain), shift[0].expand_as(gain))
