"""NPF, figure 3, and DGN, figure 6: the path kernel turns towards the labels; K_v and K_f are of one scale."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from examples.data import load
from examples.experiment import Cells, Experiment, Finding, Result, mean_and_error, shown
from examples.neural_paths.data import balanced, tensors, two_classes
from examples.neural_paths.training import Training, at_epochs, trained
from models.gated import DeepGatedNetwork
from models.gated_layers import fully_connected
from qcmap.nn import GateRecorder, gate_kernels
from qcmap.nn.train import Moment

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Settings:
    """4 against 7, labels -1 and 1, squared loss; w = 100, d = 5; ``each`` examples of each class are looked at."""

    base: str = "digits"
    train: int = 1200
    validation: int = 200
    width: int = 100
    depth: int = 5
    training: Training = field(default_factory=lambda: Training("adam", (3e-4,), epochs=40, loss="squared_error"))
    each: int = 100
    seeds: int = 5
    data: str | None = None


def one_seed(settings: Settings, seed: int) -> dict[str, Any]:
    """The measures of the gate recorder by epoch."""
    parts = two_classes(
        tensors(load(settings.base, settings.data, settings.train, settings.validation, seed=seed), flat=True)
    )
    x, y = balanced(parts["train"], settings.each)
    layout = fully_connected([settings.width] * (settings.depth - 1), 1)
    model = DeepGatedNetwork(layout, tuple(x.shape[1:]), "relu", seed=seed)
    recorder = GateRecorder(model, x, y)
    start = recorder.measured(model)
    run = trained(lambda: model, parts, settings.training, seed, [recorder])
    rows = [start, *(row["measured"] for row in run.result.epochs)]
    switched = [np.mean([v for k, v in row.items() if k.startswith("switched/")]) for row in rows[1:]]
    active = [np.mean([v for k, v in row.items() if k.startswith("active/")]) for row in rows]
    return {"nu": [row["nu"] for row in rows], "switched": [float(v) for v in switched],
            "active": [float(v) for v in active], "chosen": run.chosen}  # fmt: skip


def run(settings: Settings, cells: Cells) -> Result:
    """nu of the path kernel and gate switches over training."""
    rows = [
        cells({"alignment": asdict(settings), "seed": seed}, lambda seed=seed: one_seed(settings, seed))
        for seed in range(settings.seeds)
    ]
    curves = np.array([row["nu"] for row in rows])
    switched = np.array([row["switched"] for row in rows])
    fall = mean_and_error(curves[:, -1] / curves[:, 0])
    steps = float((np.diff(curves, axis=1) < 0).mean())
    findings = (
        Finding("nu of the path kernel falls while a ReLU network trains", bool((curves[:, -1] < curves[:, 0]).all()),
                f"nu from {shown(*mean_and_error(curves[:, 0]))} to {shown(*mean_and_error(curves[:, -1]))}, ratio "
                f"{shown(*fall)}; it falls in {steps:.0%} of the epochs"),
        Finding("gates switch less and less", bool((switched[:, -1] < switched[:, 0]).all()),
                f"gates that switch in an epoch from {switched[:, 0].mean():.2%} to {switched[:, -1].mean():.2%}"),
    )  # fmt: skip

    def draw() -> Figure:
        from qcmap.plot import new_figure

        figure, (left, middle, right) = new_figure(3, 4.5)
        left.plot(curves.T, color="C0", linewidth=0.8)
        left.set(xlabel="epoch", ylabel="nu of H", title="NPF fig. 3, DGN fig. 6")
        middle.plot(np.arange(1, switched.shape[1] + 1), switched.T, color="C1", linewidth=0.8)
        middle.set(xlabel="epoch", ylabel="gates that switched", yscale="log")
        right.plot(np.array([row["active"] for row in rows]).T, color="C2", linewidth=0.8)
        right.set(xlabel="epoch", ylabel="gates that are on", ylim=(0, 1))
        return figure

    return Result({"nu": curves.tolist(), "switched": switched.tolist()}, findings, draw)


@dataclass(frozen=True)
class KernelSettings:
    """A DLNPF network on ten classes; kernels of ``each`` examples of each class, over logits."""

    base: str = "digits"
    train: int = 1200
    validation: int = 200
    width: int = 64
    depth: int = 5
    training: Training = field(default_factory=lambda: Training("adam", (1e-3,), epochs=20))
    each: int = 5
    epochs: tuple[int, ...] = (1, 5, 10, 20)
    seeds: int = 3
    data: str | None = None


def kernels_of_seed(settings: KernelSettings, seed: int) -> dict[str, Any]:
    """Traces and Frobenius norms of K_v and K_f by epoch."""
    parts = tensors(load(settings.base, settings.data, settings.train, settings.validation, seed=seed), flat=True)
    x, _ = balanced(parts["train"], settings.each)
    layout = fully_connected([settings.width] * (settings.depth - 1), 10)

    def measure(moment: Moment) -> dict[str, float]:
        kernels = gate_kernels(moment.model, x, block=64)
        found = {}
        for name, kernel in (("v", kernels.values), ("f", kernels.features)):
            found |= {f"trace/{name}": float(np.trace(kernel)), f"norm/{name}": float(np.linalg.norm(kernel))}
        return found

    def make() -> DeepGatedNetwork:
        return DeepGatedNetwork(layout, tuple(x.shape[1:]), "dlnpf", seed=seed)

    run = trained(make, parts, settings.training, seed, [at_epochs(measure, settings.epochs)])
    rows = [row["measured"] for row in run.result.epochs if row.get("measured")]
    return {key: [row[key] for row in rows] for key in rows[0]} | {"chosen": run.chosen}


def run_kernels(settings: KernelSettings, cells: Cells) -> Result:
    """How large K_f is beside K_v."""
    rows = [
        cells({"kernels": asdict(settings), "seed": seed}, lambda seed=seed: kernels_of_seed(settings, seed))
        for seed in range(settings.seeds)
    ]
    ratios = {key: np.array([np.divide(row[f"{key}/f"], row[f"{key}/v"]) for row in rows]) for key in ("trace", "norm")}
    means = {key: zip(settings.epochs, r.mean(axis=0), strict=True) for key, r in ratios.items()}
    seen = "; ".join(
        f"{key} of K_f over that of K_v " + ", ".join(f"{value:.2f} (epoch {epoch})" for epoch, value in row)
        for key, row in means.items()
    )
    findings = (
        Finding("K_v and K_f are in the same scale: within a factor of ten",
                all(bool(((r > 0.1) & (r < 10)).all()) for r in ratios.values()), seen),
    )  # fmt: skip

    def draw() -> Figure:
        from qcmap.plot import new_figure

        figure, axes = new_figure(2, 5.0)
        for axis, key, label in zip(axes, ("trace", "norm"), ("trace", "Frobenius norm"), strict=True):
            for name in ("v", "f"):
                values = np.array([row[f"{key}/{name}"] for row in rows]).mean(axis=0)
                axis.plot(settings.epochs, values, marker=".", label=f"K_{name}")
            axis.set(xlabel="epoch", ylabel=label, yscale="log", title="NPF fig. 3, right")
            axis.legend()
        return figure

    return Result({key: r.tolist() for key, r in ratios.items()}, findings, draw)


ALIGNMENT = Experiment(
    "fig6",
    "nu of the normalised path kernel falls as a ReLU network trains (NPF, figure 3; DGN, figure 6)",
    {
        "tiny": Settings(train=200, validation=100, width=8, depth=3, each=5, seeds=2,
                         training=Training("adam", (3e-3,), epochs=4, loss="squared_error")),
        "small": Settings(),
        "paper": Settings("mnist", 50_000, 10_000,
                          training=Training("adam", (3e-4,), epochs=100, loss="squared_error")),
    },
    run,
)  # fmt: skip
KERNELS = Experiment(
    "fig3-kernels",
    "traces and Frobenius norms of K_v and K_f are in the same scale (NPF, figure 3, right)",
    {
        "tiny": KernelSettings(train=100, validation=100, width=8, depth=3, each=1, epochs=(1, 2), seeds=2,
                               training=Training("adam", (1e-3,), epochs=2)),
        "small": KernelSettings(),
        "paper": KernelSettings("mnist", 50_000, 10_000, 128, each=10, epochs=(1, 10, 20, 40, 60),
                                training=Training("adam", (3e-4,), epochs=60)),
    },
    run_kernels,
)  # fmt: skip
