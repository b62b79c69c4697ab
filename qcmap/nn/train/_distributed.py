"""Several processes: which of them this one is, sums over all of them, and models that live in all of them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from qcmap.nn._modes import modes_restored


@dataclass(frozen=True)
class World:
    """The processes of a run and this one's place among them; a process by itself is a world of one."""

    rank: int = 0
    size: int = 1

    @staticmethod
    def here() -> World:
        """What torch.distributed says, if a process group was made."""
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            return World(torch.distributed.get_rank(), torch.distributed.get_world_size())
        return World()

    @property
    def leads(self) -> bool:
        """Whether this process writes files and shows progress."""
        return self.rank == 0

    def summed(self, numbers: Tensor) -> Tensor:
        """The sum over all processes, in place."""
        if self.size > 1:
            torch.distributed.all_reduce(numbers)
        return numbers


@contextmanager
def process_group() -> Iterator[torch.device | None]:
    """Join the group that torchrun announces, if it does, and leave it at the end; gives the device to use then.

    NCCL on GPUs, one for each process of a machine, and Gloo without.
    """
    if "RANK" not in os.environ or "WORLD_SIZE" not in os.environ or torch.distributed.is_initialized():
        yield None
        return
    device = torch.device("cpu")
    if torch.cuda.is_available():
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(device)
    torch.distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield device
    finally:
        torch.distributed.destroy_process_group()


def shard(model: nn.Module, world: World, example: Tensor) -> None:
    """Make the model's parameters shards that the processes share (FSDP2), in place.

    The modules nearest to the top that are called in a forward pass are gathered one by one.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    called: set[nn.Module] = set()
    hooks = [part.register_forward_pre_hook(lambda part, _: called.add(part)) for part in model.modules()]
    with torch.no_grad(), modes_restored(model):
        model.eval()(example)
    for hook in hooks:
        hook.remove()
    mesh = init_device_mesh(example.device.type, (world.size,))
    for part in _units(model, called):
        fully_shard(part, mesh=mesh)
    fully_shard(model, mesh=mesh)


def _units(module: nn.Module, called: set[nn.Module]) -> Iterator[nn.Module]:
    """The topmost modules below that are called and have parameters."""
    for child in module.children():
        if child not in called:
            yield from _units(child, called)
        elif any(True for _ in child.parameters()):
            yield child


def copied(model: nn.Module) -> nn.Module:
    """What to call in place of the model so that its gradients are means over all processes (DDP)."""
    device = next(model.parameters()).device
    return nn.parallel.DistributedDataParallel(model, [device] if device.type == "cuda" else None)


def without_meeting(forward: nn.Module, *, last: bool) -> Any:
    """A context in which a backward pass leaves the processes' gradients apart, unless it is the last of a step."""
    if last or not isinstance(forward, nn.parallel.DistributedDataParallel):
        return nullcontext()
    return forward.no_sync()
