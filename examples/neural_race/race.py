"""Fig. 5(b, c): sharing schemes race, and transfer to untrained routes as more of them are trained."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from examples.experiment import Cells, Experiment, Finding, Result, listed, mean_and_error
from examples.neural_race.banks import Bank, mean_over, neighbours, scattered
from examples.neural_race.hierarchy import ZERO, item_bank, route_errors
from qcmap.gated import descend, race, reduce, sharing, solve

if TYPE_CHECKING:
    from matplotlib.figure import Figure

HALF_TIMES = {1: 34.3, 4: 13.5, 25: 3.9, 100: 1.5}
"""Seen when the project was planned: time to half of the top mode over tau, by paths P through each hidden matrix."""


@dataclass(frozen=True)
class Schemes:
    """M, the schemes P, S and D of the top mode, the start of all scalars and the step in tau."""

    domains: int = 10
    shared: tuple[int, ...] = (1, 4, 25, 100)
    singular: float = 13.60
    start: float = 0.2
    step: float = 0.05
    time: float = 50.0


def schemes(settings: Schemes, cells: Cells) -> Result:
    """Each scheme alone, by flow and by descent, and all of them in one network."""
    curves, half, flowing = {}, {}, {}
    steps = round(settings.time / settings.step)
    for shared in settings.shared:
        reduced = reduce(sharing(settings.domains, shared)).substitute(S=settings.singular, D=1)
        descent = descend(reduced, settings.start, settings.step, steps)
        curves[shared] = descent.learned()[:, 0]
        half[shared] = settings.step * int(np.argmax(curves[shared] >= 0.5))
        flow = solve(reduced, settings.start, [0.0, settings.time])
        flowing[shared] = float(flow.times_to(0.5)[0])
    together = reduce(sharing(settings.domains, settings.shared))
    contest = race(solve(together.substitute(S=settings.singular, D=1), settings.start, [0.0, settings.time]))
    members = dict(zip(map(str, together.symbols), together.quotient.classes, strict=True))
    share = {
        int(members[variables[0]][0].split("_")[1].removeprefix("P")): float(learned)
        for variables, learned in zip(contest.schemes, contest.learned[:, -1, 0], strict=True)
    }
    want = [HALF_TIMES[shared] for shared in settings.shared]
    times = list(half.values())
    findings = (
        Finding("half of the top mode is learned after 34.3, 13.5, 3.9, 1.5 tau for P = 1, 4, 25, 100",
                bool(np.allclose(times, want, atol=0.051)),
                f"{_times(times)}; without steps {_times(flowing.values())}"),
        Finding("the more is shared, the faster", times == sorted(times, reverse=True), "in this order of P"),
        Finding("in one network the most shared scheme wins",
                max(share, key=lambda p: share[p]) == max(settings.shared),
                ", ".join(f"P = {p} learns {share[p]:.2%}" for p in settings.shared)),
    )  # fmt: skip

    def draw() -> Figure:
        from qcmap.plot import new_figure

        figure, (axes,) = new_figure(1)
        for shared, curve in curves.items():
            axes.plot(settings.step * np.arange(len(curve)), curve, label=f"P = {shared}")
        axes.set(xlabel="time / tau", ylabel="share of the top mode learned", title="Fig. 5(b): sharing schemes")
        axes.legend(fontsize="small")
        return figure

    return Result({"half_times": half, "flow": flowing, "shares": share}, findings, draw)


def _times(values: Iterable[float]) -> str:
    return ", ".join(f"{value:.2f}" for value in values)


@dataclass(frozen=True)
class Transfer:
    """M, the numbers K of trained outputs for each input; the rate is ``rate / K`` in the sum over trained routes."""

    domains: int = 10
    trained: tuple[int, ...] = (1, 2, 3, 4, 5, 6, 7, 8, 9, 10)
    hidden: int = 64
    gain: float = 0.2
    rate: float = 0.05
    steps: int = 600
    seeds: int = 10


def transfer(settings: Transfer, cells: Cells) -> Result:
    """Errors on trained and untrained routes, for routes to neighbours (as in Fig. 4d) and for scattered ones."""
    seeds, domains = range(settings.seeds), settings.domains
    table: dict[str, dict[int, dict[str, list[float]]]] = {"neighbours": {}, "scattered": {}}
    for layout, rows in table.items():
        for trained in settings.trained:
            if layout == "neighbours":
                routes = neighbours(domains, trained).expand(settings.seeds, domains, domains)
            else:
                routes = torch.stack([scattered(domains, trained, seed) for seed in seeds])
            bank = item_bank(domains, settings.hidden, gain=settings.gain, seeds=seeds)
            errors, _ = train(bank, routes, settings.rate / trained, settings.steps)
            rows[trained] = {"trained": mean_over(errors, routes).tolist()}
            if trained < domains:
                rows[trained]["untrained"] = mean_over(errors, ~routes).tolist()
    findings = []
    for layout, rows in table.items():
        ends = {(k, kind): np.array(values) for k, row in rows.items() for kind, values in row.items()}
        stats = {key: mean_and_error(values) for key, values in ends.items()}
        few = [k for k in rows if k <= 0.2 * domains]
        many = [k for k in rows if 0.4 * domains <= k < domains]
        worst = max(stats[k, "trained"][0] for k in rows)
        seen = listed({k: row["untrained"] for k, row in rows.items() if k < domains}, "K = {}")
        findings += [
            Finding(f"{layout}: trained routes are learned for every K", worst < 0.05, f"error {worst:.2g} at most"),
            Finding(f"{layout}: untrained routes are learned from 40% on, and not at 20% or below",
                    all(stats[k, "untrained"][0] < 0.05 for k in many)
                    and all(stats[k, "untrained"][0] > 0.5 for k in few),
                    f"error {seen}"),
        ]  # fmt: skip

    def draw() -> Figure:
        from qcmap.plot import new_figure

        figure, panels = new_figure(2)
        for axes, (layout, rows) in zip(panels, table.items(), strict=True):
            curves(axes, {k / domains: row for k, row in rows.items()})
            axes.set(
                xlabel="K / M", ylabel="error / mean square of targets", yscale="log", title=f"Fig. 5(c), {layout}"
            )
        return figure

    return Result({"error": table}, tuple(findings), draw)


def train(bank: Bank, routes: torch.Tensor, rate: float, steps: int) -> tuple[torch.Tensor, np.ndarray]:
    """Descend on the sum over trained routes of the mean squared error.

    Returns the error of every route, [seeds, M, M], as a share of that of a network that answers zero; and the loss
    before each step, [steps, seeds].
    """
    losses = []

    def loss(_: int) -> torch.Tensor:
        value = (route_errors(bank) * routes).sum(dim=(1, 2))
        losses.append(value.detach().numpy())
        return value

    bank.descend(loss, steps=steps, optimiser=torch.optim.SGD(bank.weights, lr=rate))
    with torch.no_grad():
        return route_errors(bank) / ZERO, np.stack(losses)


def curves(axes: object, rows: dict[float, dict[str, list[float]]]) -> None:
    """Trained and untrained errors with standard errors over a setting."""
    from matplotlib.axes import Axes

    assert isinstance(axes, Axes)
    for kind, color in (("trained", "tab:blue"), ("untrained", "tab:orange")):
        points = [(at, *mean_and_error(np.array(row[kind]))) for at, row in rows.items() if kind in row]
        at, mean, error = zip(*points, strict=True)
        axes.errorbar(at, mean, yerr=error, color=color, marker=".", capsize=2, label=f"{kind} routes")
    axes.legend(fontsize="small")


SCHEMES = Experiment(
    "fig5b",
    "greater degrees of sharing reliably lead to faster singular value dynamics",
    {"tiny": Schemes(time=36.0), "small": Schemes(), "paper": Schemes()},
    schemes,
)
TRANSFER = Experiment(
    "fig5c",
    "shared representations begin to dominate reliably when about 40% of routes are trained",
    {
        "tiny": Transfer(domains=4, trained=(1, 3), hidden=16, steps=40, seeds=2),
        "small": Transfer(),
        "paper": Transfer(),
    },
    transfer,
)
