"""Measured q and c values of a shaped ResNet-50 with wide bottlenecks, means over seeds, beside the predictions.

    python benchmarks/measured_resnet.py [seeds [width]]

prints how many standard errors the means of 20 seeds are off, at worst, and the largest standard error, for the shaped
network and for the same network with the weights that torch gives it. The paper's ResNet-50 has width 64; bottlenecks
are four times as wide here. Width 32 takes 4 CPU minutes, width 64 four times as many, and 9 GB.
"""

import sys
import time
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import qcmap.nn as qnn
from models import resnet_v2


def main(seeds: int, width: int) -> None:
    """Print both lines."""
    torch.set_num_threads(1)
    x = qnn.pln(torch.randn(6, 2, 16, 16, generator=torch.Generator().manual_seed(0)))
    options = {
        "width": width,
        "widen": 4,
        "stem": "cifar",
        "activation": "tanh",
        "norm": None,
        "residual_weight": 0.05**0.5,
    }

    def plain(seed: int) -> torch.nn.Module:
        return resnet_v2(50, seed=seed, **options).eval()

    start = time.perf_counter()
    shaped = qnn.shape(plain(0), x, zeta=1.5)
    print(f"trace and shape: {time.perf_counter() - start:.1f} s, {len(shaped.architecture.nodes)} nodes")
    build = {
        "shaped": lambda seed: qnn.shape(plain(seed), x, zeta=1.5, seed=seed),
        "as it is": plain,
    }
    for name, make in build.items():
        start = time.perf_counter()
        given = {} if name == "shaped" else {"architecture": shaped.architecture, "shaping": shaped.shaping}
        found = qnn.measure_seeds(make, x, seeds=seeds, locations=16, pairs=15, **given)
        print(f"{name}: {found!r}, threshold {found.threshold:.2f}, {time.perf_counter() - start:.0f} s", flush=True)


if __name__ == "__main__":
    given = [int(value) for value in sys.argv[1:]]
    main(*given, *(20, 32)[len(given) :])
