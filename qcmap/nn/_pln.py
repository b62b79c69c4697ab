"""Per-location normalization (PLN): every location vector of an input gets dimension-normalised squared norm 1."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn

from qcmap.errors import ArgumentError, DataError


def pln(
    x: Tensor,
    channel_axis: int = 1,
    variant: Literal["mean", "constant"] = "mean",
    *,
    batch_axis: int | None = 0,
) -> Tensor:
    """Add a channel to every location vector, then scale it to ||y||^2 = channels (DKS, section 10.2).

    With k channels, the location vector x_i becomes sqrt(k + 1) (x_i, e) / sqrt(||x_i||^2 + e^2), where the extra
    channel e is sqrt((1/k) E_j ||x_j||^2), the mean over the locations j of the same example (``"mean"``: it loses the
    norm of the whole example), or 1 (``"constant"``: it loses nothing, see `pln_inverse`). The q value of every
    location is then 1.

    Parameters
    ----------
    x
        Floating, any shape with a channel axis; the axes that are neither channels nor batch are locations.
    channel_axis
        The axis of the k channels.
    variant
        Which extra channel.
    batch_axis
        The axis of the examples; None if ``x`` is one example.

    Returns
    -------
    The shape of ``x`` with k + 1 channels, the extra one last; its dtype and device. Computed in float32 at least, and
    with the largest element scaled to 1 first, so that no square overflows or vanishes.

    Raises
    ------
    ArgumentError
        For an unknown variant, an axis that ``x`` does not have, or one axis for channels and batch.
    DataError
        For integers, an empty or non-finite ``x``, or an example that is zero under ``"mean"`` (0/0). A compiled or
        exported graph looks at shapes only: a branch on values would split it.
    """
    _check_variant(variant)
    channel = _axis(x, channel_axis, "channel_axis")
    batch = None if batch_axis is None else _axis(x, batch_axis, "batch_axis")
    if channel == batch:
        raise ArgumentError("batch_axis", f"axis {batch} is the channel axis too", "give another axis, or None")
    wide = _checked(x, batch)
    k = wide.shape[channel]
    if variant == "mean":
        example = tuple(axis for axis in range(wide.ndim) if axis != batch)
        size = wide.detach().abs().amax(example, keepdim=True)
        if _has_values(x) and not bool((size > 0).all()):
            raise DataError("x", "an example is zero at every location, so its norm is 0/0", "use variant='constant'")
        wide = wide / size
        extra = wide.square().mean(example, keepdim=True).sqrt()
    else:
        size = wide.detach().abs().amax(channel, keepdim=True).clamp(min=1)
        wide, extra = wide / size, 1 / size
    one = [1 if axis == channel else n for axis, n in enumerate(wide.shape)]
    y = torch.cat([wide, extra.expand(one)], channel)
    return (y * (math.sqrt(k + 1) / torch.linalg.vector_norm(y, dim=channel, keepdim=True))).to(x.dtype)


class PLN(nn.Module):
    """`pln` as a module, to stand in front of a model whose first layer takes one channel more.

    Parameters, errors and shapes are those of `pln`. It has no parameters or state.
    """

    def __init__(
        self,
        channel_axis: int = 1,
        variant: Literal["mean", "constant"] = "mean",
        *,
        batch_axis: int | None = 0,
    ) -> None:
        super().__init__()
        _check_variant(variant)
        self.channel_axis, self.batch_axis = channel_axis, batch_axis
        self.variant: Literal["mean", "constant"] = variant

    def forward(self, x: Tensor) -> Tensor:
        """``x`` with one channel more and a q value of 1 at every location."""
        return pln(x, self.channel_axis, self.variant, batch_axis=self.batch_axis)

    def extra_repr(self) -> str:
        """The axes and the variant."""
        return f"channel_axis={self.channel_axis}, variant={self.variant!r}, batch_axis={self.batch_axis}"


def pln_inverse(y: Tensor, channel_axis: int = 1) -> Tensor:
    """The x that ``pln(x, channel_axis, "constant")`` made ``y`` of: the first k channels over the last one.

    Since y = s (x, 1) with s > 0 (DKS, section 10.2), dividing by the last channel gives x. The relative error is a few
    rounding errors of y's dtype. Returns k channels, the dtype and device of ``y``.

    Raises
    ------
    ArgumentError
        For an axis that ``y`` does not have.
    DataError
        For integers, an empty or non-finite ``y``, fewer than two channels, or a last channel that is not positive.
    """
    channel = _axis(y, channel_axis, "channel_axis")
    wide = _checked(y, None, "y")
    k = wide.shape[channel] - 1
    if k < 1:
        raise DataError("y", "PLN gives two channels or more, but y has one", "give the result of pln")
    x, extra = wide.split([k, 1], channel)
    if not bool((extra > 0).all()):
        raise DataError("y", "the last channel is not positive everywhere", "give the result of pln(..., 'constant')")
    return (x / extra).to(y.dtype)


def _check_variant(variant: str) -> None:
    if variant not in ("mean", "constant"):
        raise ArgumentError("variant", f"there is no variant {variant!r} of PLN", "choose 'mean' or 'constant'")


def _axis(x: Tensor, axis: int, name: str) -> int:
    """The axis counted from 0."""
    if not isinstance(x, Tensor):
        raise DataError("x", f"PLN takes a tensor, not {type(x).__name__}", "convert with torch.as_tensor")
    if isinstance(axis, bool) or not isinstance(axis, int) or not -x.ndim <= axis < x.ndim:
        raise ArgumentError(
            name, f"a tensor of shape {list(x.shape)} has no axis {axis!r}", f"give an axis below {x.ndim}"
        )
    return axis % x.ndim


def _has_values(x: Tensor) -> bool:
    """Whether the entries can be looked at: not in a graph that is being made, where tensors have shapes only."""
    return not torch.compiler.is_compiling() and not x.is_meta and type(x) in (Tensor, nn.Parameter)


def _checked(x: Tensor, batch: int | None, name: str = "x") -> Tensor:
    """The tensor in float32 at least; raises `DataError` if it is not floating, is empty or has a NaN or infinity."""
    if not x.is_floating_point():
        raise DataError(name, f"PLN takes floating-point tensors, not {x.dtype}", "convert with x.float()")
    if any(n == 0 for axis, n in enumerate(x.shape) if axis != batch):
        raise DataError(name, f"its shape {list(x.shape)} has no channels or no locations", "give at least one of each")
    if _has_values(x) and not bool(torch.isfinite(x).all()):
        raise DataError(name, "it has a NaN or infinity", "clean the data first")
    return x.to(torch.promote_types(x.dtype, torch.float32))
