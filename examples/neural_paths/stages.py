"""NPF, figure 3, left: gates taken from a ReLU network at stages of its training, frozen, and values trained anew."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from examples.experiment import (
    Cells,
    Experiment,
    Finding,
    Result,
    above,
    mean_and_error,
    mean_and_interval,
    shown,
    shown_interval,
)
from examples.neural_paths.table2 import Settings as Row
from examples.neural_paths.training import Training, at_epochs, trained
from models.gated import DeepGatedNetwork
from qcmap.nn.train import Moment

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Settings:
    """A row of table 2, and the epochs after which gates are taken; FLNPF-i has those of stage i."""

    row: Row = field(default_factory=Row)
    stages: tuple[int, ...] = (1, 2, 4, 8, 16, 40)
    data: str | None = None


def one_seed(settings: Settings, seed: int) -> dict[str, float]:
    """Test accuracies in percent: of ReLU, of fixed random gates, and by stage."""
    row = settings.row
    parts, layout = row.parts(seed, settings.data), row.layout
    shape, stages = tuple(parts["train"][0].shape[1:]), {}

    def keep(moment: Moment) -> Mapping[str, float]:
        stages[moment.epoch] = copy.deepcopy(moment.model)
        return {}

    def accuracy(regime: str, own: int, learnt: Any = None, measures: Any = ()) -> float:
        def make() -> DeepGatedNetwork:
            return DeepGatedNetwork(layout, shape, regime, learnt=learnt, seed=own)

        return 100 * trained(make, parts, row.training, seed, measures).chosen

    found = {
        "relu": accuracy("relu", seed, measures=[at_epochs(keep, settings.stages)]),
        "random": accuracy("frnpf_ii", 1000 + seed),
    }
    return found | {str(stage): accuracy("flnpf", 1000 + seed, model) for stage, model in stages.items()}


def run(settings: Settings, cells: Cells) -> Result:
    """Test accuracy by stage."""
    rows = [
        cells({"stages": asdict(settings), "seed": seed}, lambda seed=seed: one_seed(settings, seed))
        for seed in range(settings.row.seeds)
    ]
    values = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    stats = {name: mean_and_error(row) for name, row in values.items()}
    names = [str(stage) for stage in settings.stages]
    slope = np.array([np.polyfit(np.arange(len(names)), [row[name] for name in names], 1)[0] for row in rows])
    rise, last = mean_and_error(slope), mean_and_interval(values["relu"] - values[names[-1]])
    drops = [mean_and_interval(values[b] - values[a]) for a, b in pairwise(names)]
    seen = ", ".join(f"{shown_accuracy(*stats[name])} ({name})" for name in ("random", *names, "relu"))
    findings = (
        Finding("accuracy rises with the stage at which gates were taken",
                above(slope) and all(mean > -half - 0.3 for mean, half in drops),
                f"test accuracy {seen}; slope {shown(*rise)} points a stage"),
        Finding("gates of the first stage are better than random ones", stats[names[0]][0] > stats["random"][0],
                f"{shown_accuracy(*stats[names[0]])} against {shown_accuracy(*stats['random'])}"),
        Finding("gates of the last stage do as well as ReLU, within error", last[0] <= last[1],
                f"ReLU is better by {shown_interval(*last)} points"),
    )  # fmt: skip

    def draw() -> Figure:
        from qcmap.plot import new_figure

        figure, (axis,) = new_figure(1, 5.5)
        axis.errorbar(range(1, len(names) + 1), [stats[n][0] for n in names], yerr=[stats[n][1] for n in names],
                      marker=".", label="FLNPF-i")  # fmt: skip
        for name, style in (("relu", "-"), ("random", "--")):
            axis.axhline(stats[name][0], color="black", linestyle=style, linewidth=0.8, label=name)
        axis.set(xlabel="stage", ylabel="test accuracy / %", title="NPF fig. 3, left")
        axis.legend()
        return figure

    return Result({name: row.tolist() for name, row in values.items()}, findings, draw)


def shown_accuracy(mean: float, error: float) -> str:
    """For people: percent."""
    return f"{mean:.2f} +- {error:.2f}"


STAGES = Experiment(
    "fig3-stages",
    "FLNPF-1 .. FLNPF-6 rise from 72% to 79.43%, from above random gates (67.09%) up to ReLU (NPF, figure 3, left)",
    {
        "tiny": Settings(Row(width=8, depth=3, train=60, validation=30, seeds=2, training=Training(epochs=2)), (1, 2)),
        "small": Settings(),
        "paper": Settings(
            Row("cifar", "gconv", width=64, train=41_000, training=Training("adam", (3e-4,), epochs=60)),
            (10, 20, 30, 40, 50, 60),
        ),
    },
    run,
)
