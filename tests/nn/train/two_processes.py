"""Two processes train together, stop, and go on: run as ``python -m tests.nn.train.two_processes FOLDER``.

The processes are forks of this one, in the environment that torchrun gives.
"""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

import torch

from qcmap.errors import QCMapError
from qcmap.nn.train import Trainer
from qcmap.nn.train._distributed import process_group
from tests.nn.train.nets import double_net, double_splits, settings

WAYS = {
    "ddp": settings(accumulate=2, clip_norm=0.5),
    "fsdp": settings(accumulate=2, clip_norm=0.5, parallel="fsdp"),
}


def train(folder: Path) -> None:
    """Each way to step 13 with a checkpoint, then to the end from it and other weights."""
    torch.set_num_threads(1)
    with process_group():
        for name, chosen in WAYS.items():
            Trainer(double_net(), double_splits(), chosen, output=folder / name).train(13)
            Trainer(double_net(seed=5), double_splits(), chosen, output=folder / name, resume=True).train()


def main() -> None:
    """Fork, train, and exit with 1 if a process fails."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), WORLD_SIZE="2")
    Trainer(double_net(), double_splits(), settings())  # loads what the first optimiser needs
    children = []
    for rank in range(2):
        child = os.fork()
        if child == 0:
            os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank))
            try:
                train(Path(sys.argv[1]))
            except (QCMapError, RuntimeError, ValueError) as error:
                print(f"process {rank}: {error}", file=sys.stderr, flush=True)
                os._exit(1)
            os._exit(0)
        children.append(child)
    sys.exit(max(os.waitpid(child, 0)[1] for child in children) != 0)


if __name__ == "__main__":
    main()
