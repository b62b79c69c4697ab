"""Averages over the processes of a torch.distributed group; a process without a group is by itself."""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor, distributed


def process_rank() -> int:
    """The place of this process in the group."""
    return distributed.get_rank() if _grouped() else 0


def average_over_processes(tensors: Iterable[Tensor]) -> None:
    """Replace each tensor by its mean over the processes, in place."""
    if _grouped():
        for tensor in tensors:
            distributed.all_reduce(tensor)
            tensor.div_(distributed.get_world_size())


def _grouped() -> bool:
    return distributed.is_available() and distributed.is_initialized()
