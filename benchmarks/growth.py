"""How the cost of maps and tangent kernels grows: with depth to 10,000 layers and with inputs to 4,000.

``python benchmarks/growth.py`` writes results/growth-DATE.json and growth-DATE.png; medians of five runs each.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

import qcmap as qc
from qcmap.numeric import network_maps, ntk_gram
from qcmap.plot import new_figure

DEPTHS = (10, 30, 100, 300, 1000, 3000, 10_000)
INPUTS = (125, 250, 500, 1000, 2000, 4000)
C = np.linspace(-1, 1, 1000)
RESULTS = Path(__file__).parent / "results"


def median(function: Callable[[], object], runs: int = 5) -> float:
    """Seconds, the median of several runs."""
    seconds: list[float] = []
    for _ in range(runs):
        start = time.perf_counter()
        function()
        seconds.append(time.perf_counter() - start)
    return sorted(seconds)[runs // 2]


def by_depth(depth: int) -> dict[str, float]:
    """One shaped tanh chain: its constants known, the C map at 1,000 values and the tangent kernel of 100 inputs."""
    arch = qc.zoo.mlp(depth, activation="tanh")
    shaping = qc.dks(arch, 1.5)
    maps = network_maps(arch, shaping)
    maps.c(C)
    x = unit(100)
    return {
        "C map, 1,000 values": median(lambda: maps.c(C)),
        "tangent kernel, 100 inputs": median(lambda: ntk_gram(arch, x, shaping=shaping), 3 if depth <= 1000 else 1),
    }


def unit(count: int) -> np.ndarray:
    """Inputs of equal norm."""
    x = np.random.default_rng(0).standard_normal((count, 20))
    return x * np.sqrt(20) / np.linalg.norm(x, axis=1, keepdims=True)


def by_inputs(count: int) -> dict[str, float]:
    """The tangent kernel of 50 shaped layers."""
    arch = qc.zoo.mlp(50, activation="tanh")
    shaping, x = qc.dks(arch, 1.5), unit(count)
    return {"tangent kernel, 50 layers": median(lambda: ntk_gram(arch, x, shaping=shaping), 3)}


def main() -> None:
    """Measure, write and draw."""
    rows = {"depth": {n: by_depth(n) for n in DEPTHS}, "inputs": {n: by_inputs(n) for n in INPUTS}}
    name = f"growth-{datetime.now(tz=UTC):%Y-%m-%d}"
    (RESULTS / f"{name}.json").write_text(json.dumps(rows, indent=2) + "\n")
    figure, axes = new_figure(2)
    for ax, (what, found) in zip(axes, rows.items(), strict=True):
        sizes = list(found)
        for job in found[sizes[0]]:
            ax.loglog(sizes, [found[n][job] for n in sizes], marker=".", label=job)
        power = 1 if what == "depth" else 2
        first = max(found[sizes[-1]].values())
        ax.loglog(sizes, [first * (n / sizes[-1]) ** power for n in sizes], "k:", label=f"{what}^{power}")
        ax.set(xlabel=what, ylabel="seconds")
        ax.legend(fontsize="small")
    figure.savefig(RESULTS / f"{name}.png", dpi=120)
    print(json.dumps(rows, indent=2))


if __name__ == "__main__":
    main()
