"""The neural path kernel in torch, on any device: the walk of `qcmap.path_kernel` with tensors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from qcmap.architecture import Architecture, Units
from qcmap.errors import ArgumentError, NumericalError
from qcmap.numeric.paths._gates import Gates, gates_of, inputs_of
from qcmap.numeric.paths._kernel import KernelBlock, block_side, blocks_of, squared

_LARGER = 8
"""Blocks have this many times the rows of those of `qcmap.path_kernel`, which are made for a processor's cache."""


def path_kernel(
    arch: Architecture | Units,
    gates: Gates | Mapping[str, Any],
    x: Any,
    *,
    device: torch.device | str | None = None,
    dtype: torch.dtype = torch.float64,
) -> Tensor:
    """The neural path kernel H, [n, n], as `qcmap.path_kernel` has it, computed by torch.

    Parameters
    ----------
    arch, gates, x
        As for `qcmap.path_kernel`; arrays or tensors.
    device
        Where to compute; that of tensors made by default if left out.
    dtype
        float64, or float32: relative errors are then about 1e-7 times the number of layers, and counts above 2^24 are
        rounded.

    Raises
    ------
    DataError, ArchitectureError
        As `qcmap.path_kernel`.
    ArgumentError
        For another type.
    NumericalError
        If the kernel is beyond the range of the type.
    """
    given = gates_of(arch, _arrays(gates))
    matrix = torch.empty(given.count, given.count, dtype=dtype, device=device)
    for rows, columns, values in path_kernel_blocks(given.units, given, x, device=device, dtype=dtype):
        matrix[rows, columns] = values
        matrix[columns, rows] = values.T
    return matrix


def path_kernel_blocks(
    arch: Architecture | Units,
    gates: Gates | Mapping[str, Any],
    x: Any,
    *,
    device: torch.device | str | None = None,
    dtype: torch.dtype = torch.float64,
    side: int | None = None,
) -> Iterator[KernelBlock]:
    """The kernel of `path_kernel` in blocks on and above the diagonal; gates and inputs move to the device in parts.

    Parameters
    ----------
    arch, gates, x, device, dtype
        As for `path_kernel`.
    side
        Rows and columns of a block.

    Raises as `path_kernel`.
    """
    if dtype not in (torch.float64, torch.float32):
        raise ArgumentError("dtype", f"kernels are float64 or float32, not {dtype}", "choose one")
    given = gates_of(arch, _arrays(gates))
    units = given.units
    inputs = inputs_of(units, _arrays(x) if isinstance(x, Mapping) else _array(x), given.count)

    def convert(array: Any) -> Tensor:
        return torch.as_tensor(np.ascontiguousarray(array)).to(device or torch.get_default_device(), dtype)

    side = _LARGER * block_side(units) if side is None else side
    for rows, columns, values in blocks_of(given, inputs, given, inputs, convert, squared, side):
        if not torch.isfinite(values).all():
            raise NumericalError("path kernel", f"it is beyond the range of {dtype}", "use qcmap.paths.log_path_kernel")
        yield KernelBlock(rows, columns, values.expand(rows.stop - rows.start, columns.stop - columns.start))


def _array(value: Any) -> Any:
    return value.detach().cpu().numpy() if isinstance(value, Tensor) else value


def _arrays(values: Gates | Mapping[str, Any]) -> Any:
    return {name: _array(v) for name, v in values.items()} if isinstance(values, Mapping) else values
