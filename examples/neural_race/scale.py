"""Fig. 6: small initial weights learn in stages and transfer, large ones learn exponentially and do not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from examples.experiment import Cells, Experiment, Finding, Result, listed, mean_and_error
from examples.neural_race.banks import mean_over, neighbours
from examples.neural_race.hierarchy import across, item_bank, items
from examples.neural_race.race import curves, train

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Settings:
    """The network of Fig. 4, and gains of its initial weights."""

    domains: int = 7
    trained: int = 4
    hidden: int = 64
    gains: tuple[float, ...] = (0.2, 0.5, 1.0, 1.5, 2.0, 2.5)
    rate: float = 0.02
    steps: int = 500
    seeds: int = 10


def run(settings: Settings, cells: Cells) -> Result:
    """Training curves, errors on trained and untrained routes, and similarity across domains by gain."""
    routes = neighbours(settings.domains, settings.trained)
    losses: dict[float, np.ndarray] = {}
    rows: dict[float, dict[str, list[float]]] = {}
    alike: dict[float, list[float]] = {}
    for gain in settings.gains:
        bank = item_bank(settings.domains, settings.hidden, gain=gain, seeds=range(settings.seeds))
        errors, losses[gain] = train(bank, routes, settings.rate, settings.steps)
        with torch.no_grad():
            h = bank.represent(items(settings.domains)).numpy()
        rows[gain] = {"trained": mean_over(errors, routes).tolist(), "untrained": mean_over(errors, ~routes).tolist()}
        alike[gain] = [across(one) for one in h]
    small, large = min(settings.gains), max(settings.gains)
    shot = {gain: row["untrained"] for gain, row in rows.items()}
    untrained = {gain: mean_and_error(np.array(values)) for gain, values in shot.items()}
    similar = {gain: mean_and_error(np.array(values)) for gain, values in alike.items()}
    worst = max(float(np.mean(row["trained"])) for row in rows.values())
    steepest = {gain: int(np.argmax(-np.diff(curve.mean(axis=1)))) for gain, curve in losses.items()}
    findings = (
        Finding("trained routes are learned from every scale", worst < 0.01, f"error {worst:.2g} at most"),
        Finding("small weights learn in stages, large ones exponentially",
                steepest[small] > 10 and steepest[large] == 0,
                f"the loss falls fastest at step {', '.join(f'{k} (gain {g:g})' for g, k in steepest.items())}"),
        Finding("only small weights transfer", untrained[small][0] < 0.05 and untrained[large][0] > 0.5,
                "error on untrained routes " + listed(shot, "gain {:g}")),
        Finding("representations go from common to separate", similar[small][0] > 0.9 and similar[large][0] < 0.3,
                "similarity across domains " + listed(alike, "gain {:g}")),
    )  # fmt: skip

    def draw() -> Figure:
        from qcmap.plot import new_figure

        figure, (left, middle, right) = new_figure(3, 4.2)
        for gain, curve in losses.items():
            left.plot(curve.mean(axis=1), label=f"gain {gain:g}")
        left.set(xlabel="step", ylabel="training loss", yscale="log", ylim=(1e-3, None), title="Fig. 6(a)")
        left.legend(fontsize="small")
        curves(middle, rows)
        middle.set(xlabel="gain", ylabel="error / mean square of targets", title="Fig. 6(b)")
        mean, error = zip(*similar.values(), strict=True)
        right.errorbar(list(similar), mean, yerr=error, marker=".")
        right.set(xlabel="gain", ylabel="similarity across domains", ylim=(0, 1), title="Fig. 6(c)")
        return figure

    return Result({"error": rows, "similarity": alike, "steepest": steepest}, findings, draw)


SCALE = Experiment(
    "fig6",
    "training error vanishes from every scale; stages and transfer from small weights only",
    {
        "tiny": Settings(domains=3, trained=2, hidden=16, gains=(0.5, 2.0), steps=30, seeds=2),
        "small": Settings(),
        "paper": Settings(),
    },
    run,
)
