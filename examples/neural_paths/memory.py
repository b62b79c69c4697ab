"""DGN, figure 5: GaLU and ReLU networks fit images, random labels and random pixels; ReLU generalises better."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from examples.data import load
from examples.experiment import Cells, Experiment, Finding, Result, above, mean_and_error, shown
from examples.neural_paths.data import Part, random_labels, random_pixels, tensors
from examples.neural_paths.stages import shown_accuracy
from examples.neural_paths.training import Training, trained
from models.gated import DeepGatedNetwork
from models.gated_layers import fully_connected

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TASKS: Mapping[str, Callable[[Mapping[str, Part], int], Mapping[str, Part]]] = {
    "images": lambda parts, seed: parts,
    "random labels": random_labels,
    "random pixels": random_pixels,
}
KINDS = ("galu", "relu")


@dataclass(frozen=True)
class Settings:
    """Widths 512, 512, 256, 256, 128, 64, 10 and softmax in the paper."""

    base: str = "digits"
    train: int = 600
    validation: int = 300
    widths: tuple[int, ...] = (128, 128, 64, 64, 32, 16)
    training: Training = field(default_factory=lambda: Training("adam", (1e-3,), epochs=60))
    seeds: int = 3
    data: str | None = None


def one_seed(settings: Settings, seed: int) -> dict[str, Any]:
    """Both networks on the three tasks."""
    base = tensors(load(settings.base, settings.data, settings.train, settings.validation, seed=seed), flat=True)
    found: dict[str, Any] = {}
    for task, change in TASKS.items():
        parts = change(base, seed)
        for kind in KINDS:

            def make(kind: str = kind) -> DeepGatedNetwork:
                return DeepGatedNetwork(
                    fully_connected(settings.widths, 10), tuple(base["train"][0].shape[1:]), kind, seed=seed
                )

            found[f"{task}, {kind}"] = trained(make, parts, settings.training, seed).to_dict()
    return found


def run(settings: Settings, cells: Cells) -> Result:
    """Training curves by task and network, and test accuracy on images."""
    rows = [
        cells({"memory": asdict(settings), "seed": seed}, lambda seed=seed: one_seed(settings, seed))
        for seed in range(settings.seeds)
    ]
    train = {key: mean_and_error(np.array([100 * row[key]["train"] for row in rows])) for key in rows[0]}
    test = {kind: np.array([100 * row[f"images, {kind}"]["chosen"] for row in rows]) for kind in KINDS}
    loss = {key: np.array([row[key]["loss"] for row in rows]) for key in rows[0]}
    areas = {task: np.log(loss[f"{task}, galu"] / loss[f"{task}, relu"]).mean(axis=1) for task in TASKS}
    findings = (
        Finding("both networks fit images, random labels and random pixels", all(m > 95 for m, _ in train.values()),
                "accuracy on training examples " + ", ".join(f"{m:.1f} ({key})" for key, (m, _) in train.items())),
        Finding("GaLU trains faster", all(above(-area) for area in areas.values()),
                "mean log of the loss over that of ReLU "
                + ", ".join(f"{shown(*mean_and_error(area))} ({task})" for task, area in areas.items())),
        Finding("ReLU generalises better", above(test["relu"] - test["galu"]),
                f"test accuracy {', '.join(f'{k} {shown_accuracy(*mean_and_error(v))}' for k, v in test.items())}"),
    )  # fmt: skip

    def draw() -> Figure:
        from qcmap.plot import new_figure

        figure, axes = new_figure(4, 4.0)
        for axis, task in zip(axes, TASKS, strict=False):
            for kind in KINDS:
                axis.plot(loss[f"{task}, {kind}"].mean(axis=0), label=kind)
            axis.set(xlabel="epoch", ylabel="training loss", yscale="log", title=task)
        axes[0].legend()
        axes[3].boxplot(list(test.values()), tick_labels=list(test))
        axes[3].set(ylabel="test accuracy / %", title="images")
        return figure

    accuracies = {kind: values.tolist() for kind, values in test.items()}
    numbers = {"train": train, "test": accuracies, "areas": {task: mean_and_error(a) for task, a in areas.items()}}
    return Result(numbers, findings, draw)


MEMORY = Experiment(
    "fig5",
    "both fit to about 100%, GaLU a bit faster; test accuracy 96.5 (GaLU) and 98.5 (ReLU) (DGN, figure 5)",
    {
        "tiny": Settings(train=60, validation=30, widths=(8, 4), training=Training(epochs=2), seeds=2),
        "small": Settings(),
        "paper": Settings(
            "mnist", 50_000, 10_000, (512, 512, 256, 256, 128, 64), Training("adam", (3e-4,), epochs=100)
        ),
    },
    run,
)
