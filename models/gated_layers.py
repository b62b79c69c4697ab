"""Layouts of gated networks, and the layers of one: affine layers with gates between them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import torch
from torch import Tensor, nn

from models.mlp import check_sizes
from qcmap.errors import ArgumentError, DataError
from qcmap.nn.gates import check_finite, check_shapes

Elementwise = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Layer:
    """One layer of weights, and what comes before it.

    Attributes
    ----------
    channels
        Its outputs; 0 for no weights at all, which ends a layout with the mean.
    kernel
        The size of a convolution that keeps all locations, one an axis; empty for a fully-connected layer.
    join
        What is done to the map that it reads: nothing, all locations into channels, or their mean.
    circular
        Whether a convolution goes round the border; otherwise it is padded with zeros.
    """

    channels: int
    kernel: tuple[int, ...] = ()
    join: Literal["", "flatten", "mean"] = ""
    circular: bool = False

    def widened(self, times: int) -> Layer:
        """The layer with so many times as many outputs."""
        return replace(self, channels=times * self.channels)


Layout: TypeAlias = tuple[Layer, ...]
"""Layers in order; all but the last have gates behind them."""


def fully_connected(widths: Sequence[int], outputs: int) -> Layout:
    """Hidden layers of these widths: FC of NPF, section 6.1, is ``[128] * 4``."""
    return (*(Layer(width) for width in widths), Layer(outputs))


def vconv(channels: Sequence[int] = (64, 64, 128, 128), hidden: Sequence[int] = (256,), outputs: int = 10) -> Layout:
    """3 x 3 convolutions, then fully-connected layers that read all locations (NPF, section 6.1; DGN, experiment 6)."""
    return _convolutional(channels, hidden, outputs, "flatten")


def gconv(channels: Sequence[int] = (64, 64, 128, 128), hidden: Sequence[int] = (256,), outputs: int = 10) -> Layout:
    """`vconv` with global average pooling behind the convolutions (NPF, section 6.1)."""
    return _convolutional(channels, hidden, outputs, "mean")


def circular(layers: int, kernel: int) -> Layout:
    """Circular convolutions of one channel along one axis, then the mean over locations (DGN, section 4)."""
    return (*(Layer(1, (kernel,), circular=True) for _ in range(layers)), Layer(0, join="mean"))


def _convolutional(
    channels: Sequence[int], hidden: Sequence[int], outputs: int, join: Literal["flatten", "mean"]
) -> Layout:
    first, *rest = (*hidden, outputs)
    return (
        *(Layer(count, (3, 3)) for count in channels),
        Layer(first, join=join),
        *(Layer(count) for count in rest),
    )


class GatedLayers(nn.Module):
    """Layers of weights with gates between them, given from outside or computed from the layers' own outputs.

    Modules are called ``layer1``, ``layer2``, ...; a layer's gates have its name. Their weights are not filled:
    `qcmap.nn.initialize` does that.

    Parameters
    ----------
    layout
        The layers.
    shape
        Of one input: (channels,) or (channels, *locations).
    bias
        Whether layers have biases.

    Raises
    ------
    ArgumentError
        For a size that is not a positive integer, or a layer that does not fit the map before it.
    """

    def __init__(self, layout: Layout, shape: tuple[int, ...], *, bias: bool = False) -> None:
        super().__init__()
        check_sizes({f"shape[{k}]": size for k, size in enumerate(shape)})
        self.layout, self.shape = layout, shape
        self.gate_shapes: dict[str, tuple[int, ...]] = {}
        for k, row in enumerate(layout, start=1):
            name = f"layer{k}"
            channels, *locations = shape = _joined_shape(shape, row.join)
            if row.channels or k < len(layout):
                if len(row.kernel) != len(locations):
                    raise ArgumentError(
                        "layout", f"{name} has a kernel of {len(row.kernel)} axes for a map of {len(locations)}",
                        "say how its locations are joined, or give one size an axis",
                    )  # fmt: skip
                check_sizes({f"channels of {name}": row.channels})
                self.add_module(name, _affine(row, channels, bias=bias))
                shape = (row.channels, *locations)
            if k < len(layout):
                self.gate_shapes[name] = shape

    @property
    def gated_names(self) -> tuple[str, ...]:
        """The layers that have gates behind them."""
        return tuple(self.gate_shapes)

    def forward(self, x: Tensor, gates: Mapping[str, Tensor]) -> Tensor:
        """Outputs [batch, outputs] for inputs [batch, *shape] and gates [batch, channels, *locations] by layer.

        Raises
        ------
        DataError
            Naming the layer whose gates are missing, of another shape or not finite.
        """
        check_shapes(gates, self.gate_shapes, len(x))
        check_finite(gates)
        return self._run(x, lambda name, q: q * gates[name])

    def gated(self, x: Tensor, passed: Elementwise) -> Tensor:
        """Outputs if each layer hands on a function of its own output: ReLU, soft-ReLU and linear networks."""
        return self._run(x, lambda name, q: passed(q))

    def gates(self, x: Tensor, gate: Elementwise, passed: Elementwise) -> dict[str, Tensor]:
        """The gates of each layer, functions of its output, if each layer hands on another function of it."""
        found: dict[str, Tensor] = {}

        def taken(name: str, q: Tensor) -> Tensor:
            found[name] = gate(q)
            return passed(q)

        self._run(x, taken)
        return found

    def _run(self, x: Tensor, gated: Callable[[str, Tensor], Tensor]) -> Tensor:
        if tuple(x.shape[1:]) != self.shape:
            raise DataError("x", f"one input has the shape {list(x.shape[1:])}", f"give [batch, *{list(self.shape)}]")
        layers = dict(self.named_children())
        for k, row in enumerate(self.layout, start=1):
            name = f"layer{k}"
            x = _JOINS[row.join](x)
            if name in layers:
                x = layers[name](x)
            if name in self.gate_shapes:
                x = gated(name, x)
        return x


_JOINS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "": lambda x: x,
    "flatten": lambda x: x.flatten(1),
    "mean": lambda x: x.flatten(2).mean(2),
}


def _joined_shape(shape: tuple[int, ...], join: str) -> tuple[int, ...]:
    return {"": shape, "flatten": (math.prod(shape),), "mean": shape[:1]}[join]


_CONVOLUTIONS = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}


def _affine(row: Layer, channels: int, *, bias: bool) -> nn.Module:
    """A layer whose memory is not filled: torch's own initialization would advance the global generator."""
    if not row.kernel:
        layer: nn.Module = nn.Linear(channels, row.channels, bias=bias, device="meta")
    else:
        layer = _CONVOLUTIONS[len(row.kernel)](
            channels, row.channels, row.kernel, padding="same", bias=bias, device="meta",
            padding_mode="circular" if row.circular else "zeros",
        )  # fmt: skip
    return layer.to_empty(device=torch.get_default_device())
