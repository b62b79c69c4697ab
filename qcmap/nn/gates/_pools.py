"""Max pooling as gates: each window takes one of its taps, and given which, it is linear (docs/deep_gates.md)."""

from __future__ import annotations

import math
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from qcmap.architecture import MaxPool
from qcmap.architecture._units import taps_of
from qcmap.errors import ArchitectureError
from qcmap.nn.tracing import Traced


class Windows(nn.Module):
    """The windows of one max pooling: what it reads to its choices, or with given choices to what it gives then.

    Attributes
    ----------
    name
        Its node id.
    taps
        Which location each tap of each window reads, [taps, windows]; -1 in the padding.
    shape
        Of the choices of one example: (channels, *extent), wherever the model has its channels.
    """

    taps: Tensor

    def __init__(
        self, name: str, taps: NDArray[np.int64], shape: tuple[int, ...], axes: tuple[int, int], after: tuple[int, ...]
    ) -> None:
        super().__init__()
        self.name, self.shape, self.axes, self.after = name, shape, axes, after
        self.register_buffer("taps", torch.from_numpy(taps), persistent=False)

    @classmethod
    def of(cls, found: Traced, name: str) -> Windows:
        """Those of a node of a traced model.

        Raises
        ------
        ArchitectureError
            Naming the node: if its map has other axes than batch, channels and locations in order.
        """
        arch, (read,), place = found.architecture, found.reads[name], found.places[name]
        op, source = arch[name].op, arch[name].inputs[0]
        assert isinstance(op, MaxPool)
        before, after = (tuple(map(len, arch.locations[node] or ())) for node in (source, name))
        axes = read.meta.get("channel_axis"), found.channel_axes.get(name)
        if None in axes:
            raise ArchitectureError(
                name, "its maps have other axes than batch, channels and all locations, or it gives indices too",
                "pool the map as [batch, channels, *locations], without return_indices",
            )  # fmt: skip
        into, out_of = cast("tuple[int, int]", axes)
        shape = tuple(place.meta["shape"][1:])
        rest = shape[: out_of - 1] + shape[out_of:]
        return cls(name, taps_of(op, before), (shape[out_of - 1], *after), (into, out_of), rest)

    def forward(self, x: Tensor, choices: Tensor | None = None) -> Tensor:
        """`choices`, or `chosen` if they are given."""
        return self.choices(x) if choices is None else self.chosen(x, choices)

    def located(self, x: Tensor) -> Tensor:
        """A map as the pooling reads it, to [batch, channels, locations]."""
        return x.movedim(self.axes[0], 1).flatten(2)

    def choices(self, x: Tensor) -> Tensor:
        """The tap of the largest entry of each window, the first of equal ones, int64 [batch, *shape]."""
        inside = self.taps >= 0
        found = self.located(x)[:, :, self.taps.clamp(min=0)].masked_fill(~inside, -math.inf).argmax(2)
        # A window of minus infinities is not in its padding.
        first = inside.long().argmax(0)
        kept = torch.where(self.read(found) >= 0, found, first)
        return kept.reshape(len(kept), *self.shape)

    def read(self, taps: Tensor) -> Tensor:
        """Which locations taps [batch, channels, ...] read, [batch, channels, windows]."""
        flat = taps.long().reshape(*taps.shape[:2], self.taps.shape[1])
        return self.taps[flat, torch.arange(self.taps.shape[1], device=taps.device)]

    def chosen(self, x: Tensor, choices: Tensor) -> Tensor:
        """What the pooling gives if its windows take these taps."""
        taken = self.located(x).gather(2, self.read(choices))
        return taken.reshape(*taken.shape[:2], *self.after).movedim(1, self.axes[1])

    def extra_repr(self) -> str:
        """How many windows, of how many taps."""
        return f"{self.taps.shape[1]} windows of {self.taps.shape[0]} taps"
