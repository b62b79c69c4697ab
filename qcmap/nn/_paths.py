"""Path kernels and counts of paths in torch, on any device: the walk of `qcmap.path_kernel` with tensors."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from qcmap.architecture import Architecture, Units
from qcmap.errors import ArgumentError, NumericalError
from qcmap.numeric.paths._checks import shown
from qcmap.numeric.paths._gates import Gates, gates_of, inputs_of
from qcmap.numeric.paths._kernel import (
    ONES,
    OVERLAP,
    KernelBlock,
    block_side,
    blocks_of,
    count_paths,
    input_units,
    refuse_soft,
    squared,
)
from qcmap.numeric.paths._log_kernel import LogKernel, log_blocks

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
        For another type, or a device that torch does not have here.
    NumericalError
        If the kernel is beyond the range of the type.
    """
    given = gates_of(arch, _arrays(gates))
    blocks = path_kernel_blocks(given.units, given, x, device=device, dtype=dtype)
    return _whole(blocks, _empty(given.count, device, dtype))


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

    What `path_kernel` refuses is refused here.

    Parameters
    ----------
    arch, gates, x, device, dtype
        As for `path_kernel`.
    side
        Rows and columns of a block.
    """
    given, inputs = _given(arch, gates, x)
    number, side = _number(device, dtype), _side(given.units) if side is None else side
    blocks = blocks_of(given, inputs, given, inputs, number, squared, side)
    yield from _finite(blocks, "path kernel", f"it is beyond the range of {dtype}", "use log_path_kernel")


def overlap(
    arch: Architecture | Units,
    gates: Gates | Mapping[str, Any],
    *,
    device: torch.device | str | None = None,
    dtype: torch.dtype = torch.float64,
) -> Tensor:
    """Lambda(s, s'), [n, n], as `qcmap.paths.overlap` has it, computed by torch in blocks.

    Parameters
    ----------
    arch, gates, device, dtype
        As for `path_kernel`.

    Raises as `path_kernel`.
    """
    given = gates_of(arch, _arrays(gates))
    blocks = blocks_of(given, None, given, None, _number(device, dtype), squared, _side(given.units))
    finite = _finite(blocks, OVERLAP, f"it is beyond the range of {dtype}", ONES)
    return _whole(finite, _empty(given.count, device, dtype)) / input_units(given.units)


def active_paths(
    arch: Architecture | Units, gates: Gates | Mapping[str, Any], *, device: torch.device | str | None = None
) -> Tensor:
    """|Act(s, s')|, int64 [n, n], as `qcmap.paths.active_paths` has it, computed by torch in blocks: exact.

    Parameters
    ----------
    arch, gates, device
        As for `path_kernel`; gates of 0 and 1.

    Raises
    ------
    DataError, ArchitectureError, ArgumentError
        As `path_kernel`, and for gates that are not 0 or 1.
    NumericalError
        For an architecture of more than 2^53 paths, which floats cannot count.
    """
    given = gates_of(arch, _arrays(gates))
    refuse_soft(given)
    count = count_paths(given.units)
    if count > 2**53:
        raise NumericalError(
            "active_paths", f"{given.units.architecture.name} has {shown(count)} paths, and floats count to 2^53",
            "use qcmap.paths.active_paths for integers, or log_path_kernel of inputs 1 for logarithms",
        )  # fmt: skip
    number = _number(device, torch.float64)
    blocks = blocks_of(given, None, given, None, number, lambda constant: 1, _side(given.units))
    return _whole(blocks, torch.empty(given.count, given.count, dtype=torch.int64, device=device_named(device)))


def log_path_kernel(
    arch: Architecture | Units,
    gates: Gates | Mapping[str, Any],
    x: Any,
    *,
    device: torch.device | str | None = None,
) -> LogKernel:
    """The path kernel as sign and logarithm, float64 tensors [n, n], as `qcmap.paths.log_path_kernel` has it.

    With inputs 1 it is the logarithm of the number of active paths, d_in Lambda.

    Parameters
    ----------
    arch, gates, x, device
        As for `path_kernel`.

    Raises
    ------
    DataError, ArchitectureError, ArgumentError
        As `path_kernel`.
    """
    given, inputs = _given(arch, gates, x)
    found = torch.empty(2, given.count, given.count, dtype=torch.float64, device=device_named(device))
    number = _number(device, torch.float64)
    for rows, columns, values in log_blocks(given, inputs, number, torch, times_power_of_two, _side(given.units)):
        for matrix, part in zip(found, values, strict=True):
            _put(matrix, rows, columns, part)
    return LogKernel(found[0], found[1])


def device_named(device: torch.device | str | None) -> torch.device:
    """The device, that of new tensors for None; raises `ArgumentError` for one that torch does not have here."""
    if device is None:
        return torch.get_default_device()
    try:
        return torch.empty(0, device=device).device
    except (RuntimeError, AssertionError, TypeError) as error:
        raise ArgumentError("device", f"torch has no {device!r} here", "use 'cpu'") from error


def _given(arch: Architecture | Units, gates: Gates | Mapping[str, Any], x: Any) -> tuple[Gates, dict[str, Any]]:
    given = gates_of(arch, _arrays(gates))
    return given, inputs_of(given.units, _arrays(x) if isinstance(x, Mapping) else _array(x), given.count)


def _empty(count: int, device: torch.device | str | None, dtype: torch.dtype) -> Tensor:
    _number(device, dtype)  # refuses what is none
    return torch.empty(count, count, dtype=dtype, device=device_named(device))


def _number(device: torch.device | str | None, dtype: torch.dtype) -> Callable[[Any], Tensor]:
    if dtype not in (torch.float64, torch.float32):
        raise ArgumentError("dtype", f"kernels are float64 or float32, not {dtype}", "choose one")
    where = device_named(device)
    return lambda array: torch.as_tensor(np.ascontiguousarray(array)).to(where, dtype)


def _side(units: Units) -> int:
    return _LARGER * block_side(units)


def _finite(blocks: Iterator[KernelBlock], what: str, rule: str, remedy: str) -> Iterator[KernelBlock]:
    for rows, columns, values in blocks:
        if not torch.isfinite(values).all():
            raise NumericalError(what, rule, remedy)
        yield KernelBlock(rows, columns, values.expand(rows.stop - rows.start, columns.stop - columns.start))


def _whole(blocks: Iterator[KernelBlock], matrix: Tensor) -> Tensor:
    for rows, columns, values in blocks:
        _put(matrix, rows, columns, values.to(matrix.dtype))
    return matrix


def _put(matrix: Tensor, rows: slice, columns: slice, values: Tensor) -> None:
    matrix[rows, columns] = values
    if rows != columns:
        matrix[columns, rows] = matrix[rows, columns].T


def times_power_of_two(a: Tensor, power: Tensor) -> Tensor:
    """2^power a for |power| to 2000: by two factors made from their bits, as torch.ldexp and exp2 round."""
    half = power.to(torch.int64) // 2
    for part in (half, power - half):
        a = a * ((part + 1023) << 52).view(torch.float64)
    return a


def _array(value: Any) -> Any:
    if not isinstance(value, Tensor):
        return value
    found = value.detach().cpu()
    return (found.float() if found.dtype == torch.bfloat16 else found).numpy()


def _arrays(values: Gates | Mapping[str, Any]) -> Any:
    return {name: _array(v) for name, v in values.items()} if isinstance(values, Mapping) else values
