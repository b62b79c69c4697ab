"""Training steps of Wide-ResNets and checks of predictions on the device there is, a GPU or the CPU.

``python -m benchmarks.device [--size tiny|full] [--device cuda]`` writes ``results/device-NAME-DATE.json``:
images per second and memory of steps by the engine in bf16 with compile, on synthetic data of CIFAR's size, of a
Wide-ResNet with its norms and skips, without them, and without them and shaped, by SGD and by K-FAC; and measured q and
c values of a shaped network of depth 100 and width 512 beside the predicted ones, in float32 and bf16.
"""

from __future__ import annotations

import argparse
import json
import platform
import re
import resource
import statistics
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from torch import nn

import qcmap as qc
import qcmap.nn as qnn
from models import wide_resnet
from qcmap._atomic import write_whole
from qcmap.nn.train import Choice, Settings, Splits, Trainer

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Size:
    """Of the networks, their batches, and how often steps are timed: the median of ``repeats`` times ``steps``."""

    depth: int = 40
    widen: int = 4
    batch: int = 256
    extent: int = 32
    warm_up: int = 20
    steps: int = 20
    repeats: int = 5
    compile: str | None = "inductor"
    layers: int = 100
    width: int = 512
    seeds: int = 20


SIZES = {
    "tiny": Size(10, 2, 4, 8, 1, 1, 2, None, 4, 32, 3),
    "full": Size(),
}
NETWORKS = ("norms and skips", "plain", "shaped")
OPTIMIZERS = {
    "sgd": {"learning_rate": 1e-4, "momentum": 0.9},
    "kfac": {"learning_rate": 1e-5},
    "kfac, curvature each tenth step": {"learning_rate": 1e-5, "curvature_every": 10},
}


def network(name: str, size: Size) -> nn.Module:
    """A Wide-ResNet with softplus; all but the first of ``NETWORKS`` have neither norms nor skips."""
    whole = name == NETWORKS[0]
    model = wide_resnet(
        size.depth, widen=size.widen, activation="softplus", norm="batch" if whole else None, shortcuts=whole,
        resolution=size.extent,
    )  # fmt: skip
    return qnn.shape(model, torch.zeros(2, 3, size.extent, size.extent)) if name == "shaped" else model


def steps(name: str, optimizer: str, size: Size, device: torch.device) -> dict[str, Any]:
    """Images per second, milliseconds of a step, peak memory in MiB, and the status at the end, of one case."""
    generator = torch.Generator().manual_seed(0)
    examples = 4 * size.batch
    images = torch.randn(examples, 3, size.extent, size.extent, generator=generator)
    labels = torch.randint(10, (examples,), generator=generator)
    last = size.warm_up + size.steps * size.repeats
    settings = Settings(
        epochs=-(-last // 4), batch_size=size.batch, precision="bf16", compile=size.compile, evaluate=(),
        optimizer=Choice(optimizer.split(",")[0], **OPTIMIZERS[optimizer]),
    )  # fmt: skip
    if size.compile is not None:
        torch.compiler.reset()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    trainer = Trainer(network(name, size), Splits.of_tensors((images, labels)), settings, device=device)
    taken = []
    for until in range(size.warm_up, last + 1, size.steps):
        _wait(device)
        start = time.perf_counter()
        trainer.train(until)
        _wait(device)
        taken.append((time.perf_counter() - start) / size.steps)
    step = statistics.median(taken[1:])
    return {
        "images_per_second": round(size.batch / step, 1),
        "milliseconds": round(1e3 * step, 3),
        "peak_mib": round(_peak_bytes(device) / 2**20),
        "status": trainer.status,
    }


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _peak_bytes(device: torch.device) -> int:
    """Of this case on a GPU; of the process so far on the CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def predictions(dtype: torch.dtype, size: Size, device: torch.device) -> dict[str, Any]:
    """How far means over seeds of a shaped tanh network's q and c values are from the predicted ones."""
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(16, 64, generator=generator) + 0.7 * torch.randn(1, 64, generator=generator)
    inputs = qnn.pln(rows).to(device, dtype)
    arch = qc.zoo.mlp(size.layers, width=size.width, activation="tanh", in_channels=inputs.shape[1])
    shaping = qc.dks(arch, 1.5)

    def build(seed: int) -> nn.Module:
        return qnn.GraphNetwork(arch, shaping, seed=seed).to(device, dtype)

    found = qnn.measure_seeds(build, inputs, seeds=size.seeds, pairs=32)
    inside = sum(max(abs(row.q.score), abs(row.c.score)) <= 3 for row in found.rows)
    return {
        "nodes": len(found.rows),
        "within_3_standard_errors": inside,
        "worst_score": round(found.worst, 2),
        "threshold": round(found.threshold, 2),
        "disagreeing": len(found.disagreeing),
        "largest_error": round(found.largest_error, 5),
    }


def measured(size: Size, device: torch.device) -> dict[str, Any]:
    """All cases, as the file has them."""
    training = {
        f"{name}, {optimizer}": steps(name, optimizer, size, device) for name in NETWORKS for optimizer in OPTIMIZERS
    }
    rates = {case: row["images_per_second"] for case, row in training.items()}
    return {
        "device": device_name(device),
        "date": datetime.now(UTC).date().isoformat(),
        "versions": {"qcmap": qc.__version__, "torch": torch.__version__, "python": platform.python_version()},
        "size": vars(size),
        "training": training,
        "ratios": {
            "shaped / plain, sgd": round(rates["shaped, sgd"] / rates["plain, sgd"], 3),
            **{
                f"{optimizer} / sgd, shaped": round(rates[f"shaped, {optimizer}"] / rates["shaped, sgd"], 3)
                for optimizer in OPTIMIZERS
                if optimizer != "sgd"
            },
        },
        "predictions": {
            str(dtype).removeprefix("torch."): predictions(dtype, size, device)
            for dtype in (torch.float32, torch.bfloat16)
        },
    }


def device_name(device: torch.device) -> str:
    """As its maker calls it."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{platform.machine()} cpu, {torch.get_num_threads()} threads"


def main(arguments: list[str] | None = None) -> Path:
    """Measure, write the file, and print it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", choices=SIZES, default="full")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--output", type=Path, default=RESULTS)
    given = parser.parse_args(arguments)
    found = measured(SIZES[given.size], torch.device(given.device))
    text = json.dumps(found, indent=1, allow_nan=False) + "\n"
    words = re.sub(r"[^a-z0-9]+", "-", found["device"].lower()).strip("-")
    given.output.mkdir(parents=True, exist_ok=True)
    path = given.output / f"device-{words}-{found['date']}.json"
    write_whole(path, text.encode())
    print(text, end="")
    return path


if __name__ == "__main__":
    main()
