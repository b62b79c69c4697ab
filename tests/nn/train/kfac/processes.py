"""Training by K-FAC in two processes, each with half of the batch; run as a module it is the second one."""

import sys
from datetime import timedelta

import torch
from torch import distributed, nn

from qcmap.nn.train import KFAC
from tests.nn.train.kfac.exact import normal, seeded

HALF = 4


def trained(rank: int, size: int) -> list[torch.Tensor]:
    """The parameters after four steps on this process's part of eight examples."""
    model: nn.Module = seeded(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
    wrapped = nn.parallel.DistributedDataParallel(model) if size > 1 else model
    optimizer = KFAC(wrapped, 0.3, fisher="exact", inverse_every=2)
    part = slice(rank * HALF, (rank + 1) * HALF) if size > 1 else slice(None)
    for step in range(4):
        inputs, labels = normal(2 * HALF, 3, seed=step)[part], (torch.arange(2 * HALF) % 2)[part]
        optimizer.zero_grad()
        optimizer.update_curvature(inputs)
        nn.functional.cross_entropy(wrapped(inputs), labels).backward()
        optimizer.step()
    return [parameter.detach() for parameter in model.parameters()]


def in_group(rank: int, file: str) -> list[torch.Tensor]:
    """The same as one of two processes that meet through a file."""
    store = distributed.FileStore(file, 2)
    distributed.init_process_group("gloo", store=store, rank=rank, world_size=2, timeout=timedelta(seconds=120))
    try:
        return trained(rank, 2)
    finally:
        distributed.destroy_process_group()


if __name__ == "__main__":
    in_group(1, sys.argv[1])
