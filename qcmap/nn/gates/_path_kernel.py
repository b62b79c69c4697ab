"""The neural path kernel of a torch model's own gates, on the CPU by numpy or on another device by torch."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from qcmap.architecture import Architecture, BatchNorm, Input, Node
from qcmap.nn._paths import path_kernel_blocks as device_blocks
from qcmap.numeric.paths._gates import Gates
from qcmap.numeric.paths._kernel import KernelBlock, path_kernel_blocks

if TYPE_CHECKING:
    from qcmap.nn.gates._split import SplitModel

Array = NDArray[np.float64]


def path_architecture(arch: Architecture) -> Architecture:
    """The graph that paths go through: without batch norms, which in evaluation mode scale each channel by a weight."""
    instead: dict[str, str] = {}
    nodes = []
    for node in arch.nodes:
        inputs = tuple(instead.get(name, name) for name in node.inputs)
        if isinstance(node.op, BatchNorm):
            instead[node.id] = inputs[0]
        else:
            nodes.append(Node(node.id, node.op, inputs))
    return Architecture(arch.name, tuple(nodes), tuple(instead.get(name, name) for name in arch.outputs))


def gates_of(split: SplitModel, inputs: tuple[Tensor, ...], block: int) -> Gates:
    """The gates of a split model, so many inputs at once; hard gates and choices of few taps take one byte."""
    found: dict[str, list[NDArray[Any]]] = {}
    kinds = {name: torch.uint8 if len(part.taps) <= 256 else torch.int32 for name, part in split.values.windows.items()}
    for name, slopes in split.gates.slopes.items():
        kinds[name] = torch.uint8 if split.gates.function.hard and slopes == (0, 1) else torch.float64
    with torch.no_grad():
        for parts in zip(*(x.split(block) for x in inputs), strict=True):
            for name, gate in split.gates(*parts).items():
                gate = _ordered(split, name, gate)
                found.setdefault(name, []).append(gate.to(kinds[name]).cpu().numpy())
    largest = max(high for _, high in split.gates.ranges.values())
    return Gates.of(
        path_architecture(split.architecture),
        {name: np.concatenate(rows) for name, rows in found.items()},
        largest=largest,
    )


def inputs_by_node(split: SplitModel, inputs: tuple[Tensor, ...]) -> dict[str, NDArray[Any]]:
    """The inputs of a split model by input node; tokens are vectors that are 1 at the token and 0 elsewhere."""
    found = {}
    for name, x in zip(split.architecture.inputs, inputs, strict=True):
        if x.is_floating_point():
            values = _ordered(split, name, x.detach())
        else:
            op = split.architecture[name].op
            assert isinstance(op, Input), name
            assert isinstance(op.channels, int), name
            values = functional.one_hot(x.long(), op.channels).movedim(-1, 1)
        found[name] = values.double().cpu().numpy()
    return found


def _ordered(split: SplitModel, name: str, values: Tensor) -> Tensor:
    """What a node has for each example, as [n, channels * locations] in the order of its units."""
    if name not in split.orders:
        return values
    sizes, axes = split.orders[name]
    parts = values.reshape(len(values), *sizes).permute(0, *(axis + 1 for axis in axes))
    return parts.reshape(len(values), math.prod(sizes))


def kernel_blocks(
    gates: Gates, inputs: Mapping[str, NDArray[Any]], device: torch.device, side: int | None = None
) -> Iterator[KernelBlock]:
    """The blocks of the path kernel on and above the diagonal, float64 arrays.

    Raises
    ------
    NumericalError
        If the kernel is beyond the range of floats.
    """
    if device.type == "cpu":
        return path_kernel_blocks(gates.units, gates, inputs, side=side)
    blocks = device_blocks(gates.units, gates, inputs, device=device, side=side)
    return (block._replace(values=block.values.cpu().numpy()) for block in blocks)


def whole(blocks: Iterator[KernelBlock], count: int) -> Array:
    """The matrix [n, n] of blocks on and above the diagonal."""
    matrix = np.empty((count, count))
    for rows, columns, values in blocks:
        matrix[rows, columns] = values
        matrix[columns, rows] = values.T
    return matrix
