"""Kill a run with SIGKILL at random steps, resume it each time, and compare it with an undisturbed one, bit by bit.

``python benchmarks/kill_resume.py [--kills 20] [--seed 0]``. Each attempt is a process of its own, killed a random
moment after a random step, so that kills also hit evaluations and checkpoints being written.
"""

import json
import os
import random
import signal
import sys
import tempfile
import time
from pathlib import Path

import click
import torch
from torch import nn

from qcmap.nn import initialize
from qcmap.nn.train import Choice, Settings, Trainer, data

torch.set_num_threads(1)

DATA = data.teacher(examples=500, channels=16)  # before the attempts part, so that they begin at once

SETTINGS = Settings(
    epochs=12, batch_size=64, optimizer=Choice("adam", learning_rate=3e-3), schedule=Choice("cosine", warmup=20),
    record_every=1, checkpoint_every=3, clip_norm=1.0, accumulate=2,
)  # fmt: skip


def trainer(folder: Path | None) -> Trainer:
    """Of a small network with dropout and a batch norm, resumed from whatever the folder holds."""
    first, last = initialize(nn.Sequential(nn.Linear(17, 32), nn.Linear(32, 10)))
    model = nn.Sequential(first, nn.BatchNorm1d(32), nn.Tanh(), nn.Dropout(0.2), last)
    return Trainer(model, DATA, SETTINGS, output=folder, resume=True)


def attempt(folder: Path) -> int:
    """Start a process that trains; returns its number."""
    child = os.fork()
    if child == 0:
        try:
            trainer(folder).train()
        except BaseException as error:
            print(error, file=sys.stderr)
            os._exit(1)
        os._exit(0)
    return child


def lines(folder: Path) -> int:
    """How many records there are."""
    path = folder / "records.jsonl"
    return path.read_bytes().count(b"\n") if path.exists() else 0


def killed(folder: Path, steps: int, delay: float) -> tuple[bool, int]:
    """Kill an attempt so many records and seconds after it began; whether it was still running, and how far it was."""
    child = attempt(folder)
    start = None
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            if status != 0:
                raise SystemExit("an attempt failed")
            return False, lines(folder)
        if start is None and (folder / "configuration.json").exists():
            start = lines(folder)
        if start is not None and lines(folder) >= start + steps:
            break
        time.sleep(0.001)
    time.sleep(delay)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return True, lines(folder)


def rows(folder: Path) -> list[dict[str, object]]:
    """The records without their times."""
    kept = [json.loads(line) for line in (folder / "records.jsonl").read_text().splitlines()]
    return [{key: value for key, value in row.items() if key != "seconds"} for row in kept]


def same(a: object, b: object) -> bool:
    """Equal to the last bit, tensors included."""
    if isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)) and isinstance(b, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b


@click.command()
@click.option("--kills", default=20, show_default=True)
@click.option("--seed", default=0, show_default=True)
def main(kills: int, seed: int) -> None:
    """Exit with 1 unless curve and checkpoint are those of the undisturbed run."""
    chance = random.Random(seed)
    trainer(None)  # loads what the first optimiser needs, which the attempts then have
    with tempfile.TemporaryDirectory() as place:
        whole, broken = Path(place) / "whole", Path(place) / "broken"
        os.waitpid(attempt(whole), 0)
        total = SETTINGS.epochs * -(-len(DATA.train) // SETTINGS.batch_size)
        for kill in range(kills):
            steps, delay = chance.randrange(1, max(2, 3 * total // (2 * kills))), chance.uniform(0, 0.02)
            hit, reached = killed(broken, steps, delay)
            print(f"kill {kill + 1}: {f'at record {reached}' if hit else 'too late, the run had ended'}")
        if os.waitpid(attempt(broken), 0)[1] != 0:
            raise SystemExit("the last attempt failed")
        states = [torch.load(folder / "checkpoint.pt") for folder in (whole, broken)]
        if rows(whole) != rows(broken) or not same(*states):
            raise SystemExit("the resumed run differs from the undisturbed one")
    print(f"after {kills} kills the curve and the checkpoint are the same, bit by bit")


if __name__ == "__main__":
    main()
