"""Figs. 7-10: routing networks on transformed images, by share of trained routes and by gain of the initial weights."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from examples.data import check_files
from examples.experiment import Cells, Experiment, Finding, Result, listed, mean_and_error
from examples.neural_race.banks import Bank, cross_entropy, error_rate, mean_over, neighbours
from examples.neural_race.data import Domains, images, transformed
from examples.neural_race.race import curves

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Rows = dict[float, dict[str, list[float]]]
"""Trained and untrained test errors of each seed, by share of trained routes or by gain."""


@dataclass(frozen=True)
class Panel:
    """One curve of a figure: data and labels; several seeds train side by side.

    ``rate`` is the step in the sum over input domains of the mean cross-entropy of a route, of which ``batch`` random
    examples are seen. ``slope`` is the negative slope of the hidden layers, 1 for linear ones. ``examples`` is how many
    training examples of MNIST and CIFAR-10 are taken.
    """

    inputs: str
    labels: str = "random"
    base: str = "digits"
    domains: int = 10
    trained: int = 4
    slope: float = 1.0
    gain: float = 0.1
    hidden: int = 64
    batch: int = 8
    rate: float = 0.03
    momentum: float = 0.9
    steps: int = 600
    seeds: int = 3
    examples: int = 10_000


@dataclass(frozen=True)
class Settings:
    """A figure: panels, numbers K of trained outputs or gains with their rates and steps, and where data are.

    ``transfer`` is the share of trained routes from which on the paper reports transfer, and ``checks`` how often
    validation examples are looked at.
    """

    panels: tuple[Panel, ...]
    trained: tuple[int, ...] = (1, 2, 3, 4, 8)
    gains: tuple[tuple[float, float, int], ...] = ()
    transfer: float = 0.4
    data: str = ""
    checks: int = 10


def cell(panel: Panel, data: str, checks: int) -> dict[str, list[float]]:
    """Train one bank; test errors of each seed on trained and untrained routes.

    Each seed's network is that of the check (there are ``checks``, evenly spaced) where its validation error on trained
    routes is least, so neither untrained routes nor test examples choose it.
    """
    domains = _domains(panel.base, panel.inputs, panel.labels, panel.domains, panel.examples, data)
    bank = Bank(
        panel.domains, domains.channels, panel.hidden, domains.classes, gain=panel.gain, slope=panel.slope,
        seeds=range(panel.seeds), dtype=torch.float32,
    )  # fmt: skip
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    bank.to(device)
    routes = neighbours(panel.domains, panel.trained).to(device)
    x, labels = (
        {split: torch.from_numpy(a).to(device) for split, a in arrays.items()}
        for arrays in (domains.inputs, domains.labels)
    )
    generator = torch.Generator().manual_seed(0)
    each = torch.arange(panel.domains)[None, :, None]

    @torch.no_grad()
    def errors(split: str) -> torch.Tensor:
        """[2, seeds]: the errors on trained and untrained routes, in blocks of examples."""
        total = torch.zeros(2, panel.seeds, dtype=torch.float64, device=device)
        for rows in torch.split(torch.arange(len(labels[split])), 256):
            wanted = labels[split][rows].expand(panel.seeds, panel.domains, len(rows), panel.domains)
            wrong = error_rate(bank(x[split][None, :, rows]), wanted)
            parts = [mean_over(wrong, routes), mean_over(wrong, ~routes)]
            total += torch.stack(parts) * len(rows) / len(labels[split])
        return total

    def loss(_: int) -> torch.Tensor:
        rows = torch.randint(len(labels["train"]), (panel.seeds, panel.domains, panel.batch), generator=generator)
        values = cross_entropy(bank(x["train"][each, rows]), labels["train"][rows])
        return (values * routes).sum(dim=(1, 2)) / panel.trained

    least = torch.full((panel.seeds,), 2.0, dtype=torch.float64, device=device)
    best = torch.ones(2, panel.seeds, dtype=torch.float64, device=device)
    optimiser = torch.optim.SGD(bank.weights, lr=panel.rate, momentum=panel.momentum)
    for _ in range(checks):
        bank.descend(loss, steps=panel.steps // checks, optimiser=optimiser)
        held = errors("validation")[0]
        best, least = torch.where(held < least, errors("test"), best), torch.minimum(held, least)
    return {"trained": best[0].tolist(), "untrained": best[1].tolist()}


@cache
def _domains(base: str, inputs: str, labels: str, domains: int, examples: int, data: str) -> Domains:
    found = images(base, data, examples)
    if base != "cifar":
        return transformed(found, inputs, labels, domains)
    from examples.neural_race.frozen import frozen_features

    return transformed(found, inputs, labels, domains, encode=frozen_features(found))


def run(settings: Settings, cells: Cells) -> Result:
    """All cells of a figure, a finding for each panel; whether the data are there is looked up before the first."""
    for base in {panel.base for panel in settings.panels} - {"digits"}:
        check_files(base, settings.data)
    table: dict[str, Rows] = {}
    for panel in settings.panels:
        if settings.gains:
            variants = {g: replace(panel, gain=g, rate=rate, steps=steps) for g, rate, steps in settings.gains}
        else:
            variants = {k / panel.domains: replace(panel, trained=k) for k in settings.trained}
        table[_name(panel)] = {
            at: cells(
                {"cell": asdict(p), "checks": settings.checks}, lambda p=p: cell(p, settings.data, settings.checks)
            )
            for at, p in variants.items()
        }
    findings = [
        found
        for name, rows in table.items()
        for found in (by_gain(name, rows) if settings.gains else by_share(name, rows, settings.transfer))
    ]

    def draw() -> Figure:
        from qcmap.plot import new_figure

        figure, panels = new_figure(len(table), 3.6)
        for axes, (name, rows) in zip(panels, table.items(), strict=True):
            curves(axes, rows)
            axes.set(xlabel="gain" if settings.gains else "K / M", ylabel="test error", ylim=(0, 1), title=name)
            axes.title.set_fontsize("small")
            if settings.gains:
                axes.set_xscale("log")
        return figure

    return Result({"error": table}, tuple(findings), draw)


def by_share(name: str, rows: Rows, share: float) -> list[Finding]:
    """From this share of trained routes on, untrained ones are as good, and at the least share they are not.

    As good: their test error is at most 0.05 larger.
    """
    gaps = {at: np.array(row["untrained"]) - np.array(row["trained"]) for at, row in rows.items()}
    stats = {at: mean_and_error(gap) for at, gap in gaps.items()}
    first = next((at for at in rows if all(stats[later][0] < 0.05 for later in rows if later >= at)), None)
    seen = _untrained(rows, "{:.0%}")
    worst = max(float(np.mean(row["trained"])) for row in rows.values())
    return [
        Finding(f"{name}: trained routes are learned at every share", worst < 0.2, f"error {worst:.3f} at most"),
        Finding(f"{name}: untrained routes are as good from {share:.0%} on, and not at the least share",
                first is not None and min(rows) < first <= share,
                ("never" if first is None else f"from {first:.0%} on") + f"; error on untrained routes {seen}"),
    ]  # fmt: skip


def by_gain(name: str, rows: Rows) -> list[Finding]:
    """Transfer from small initial weights alone, where a gain that has learned the trained routes counts."""
    means = {at: {kind: float(np.mean(values)) for kind, values in row.items()} for at, row in rows.items()}
    learned = [at for at in rows if means[at]["trained"] < 0.2]
    gap = {at: means[at]["untrained"] - means[at]["trained"] for at in learned}
    lost = [f"{at:g}" for at in rows if at not in learned]
    trained = ", ".join(f"{means[at]['trained']:.3f} ({at:g})" for at in rows)
    return [
        Finding(f"{name}: trained routes are learned from every scale", not lost,
                f"not from gain {', '.join(lost)}: error {trained}" if lost else f"error {trained}"),
        Finding(f"{name}: of those that learn, only small scales transfer",
                len(gap) > 1 and gap[min(gap)] < 0.05 and gap[max(gap)] > 0.2,
                f"error on untrained routes {_untrained(rows, 'gain {:g}')}"),
    ]  # fmt: skip


def _untrained(rows: Rows, label: str) -> str:
    return listed({at: row["untrained"] for at, row in rows.items()}, label)


def _name(panel: Panel) -> str:
    kind = {1.0: "linear", 0.0: "ReLU"}.get(panel.slope, f"leaky ReLU {panel.slope:g}")
    return f"{panel.base} {panel.inputs}, {panel.labels} labels, {kind}, M = {panel.domains}"


def _panels(**changes: Any) -> tuple[Panel, ...]:
    return tuple(Panel(inputs, **changes) for inputs in ("rotated", "permuted"))


PAPER = Panel("permuted", base="mnist", domains=40, hidden=128, rate=1e-4, steps=1_250_000, seeds=10)
"""Table 1: 1000 epochs of batches of 8 from 10,000 examples of each domain."""
CIFAR = replace(PAPER, inputs="rotated", base="cifar", hidden=1024)
PAPER_SHARES = (1, 4, 8, 12, 16, 20, 28, 36)
PAPER_GAINS = tuple((gain, 1e-4, PAPER.steps) for gain in (10.0, 1.0, 0.1, 0.01, 0.001, 0.0001))
TINY = (Panel("rotated", domains=3, trained=2, hidden=8, steps=20, seeds=2),)


def _trials(domains: int) -> Settings:
    """Fig. 9 for more domains, a tenth and a quarter of whose routes are trained; hours on a few cores."""
    linear = Panel("permuted", domains=domains, gain=0.07, steps=1500, seeds=2)
    return Settings((replace(linear, slope=0.01), linear), trained=(domains // 10, domains // 4), transfer=0.25)


SHARES = Experiment(
    "fig8",
    "training accuracy always high; untrained routes as good as trained ones from about 40% trained on (so Fig. 7b, c)",
    {
        "tiny": Settings(TINY, trained=(1, 2), checks=2),
        "small": Settings(_panels() + _panels(labels="lexicographic")),
        "paper": Settings(
            (
                CIFAR,
                replace(PAPER, domains=100),
                PAPER,
                replace(PAPER, inputs="rotated"),
                replace(PAPER, labels="lexicographic"),
            ),
            trained=PAPER_SHARES,
        ),
    },
    run,
)
LEAKY = Experiment(
    "fig9",
    "with leaky ReLU (0.01) untrained routes are as good as trained ones when about 25% are trained",
    {
        "tiny": Settings((replace(TINY[0], slope=0.01),), trained=(1, 2), checks=2),
        "small": Settings(
            _panels(slope=0.01, gain=0.3, steps=800) + _panels(slope=0.0, gain=0.3, steps=800),
            trained=(1, 2, 3, 4, 6),
            transfer=0.3,
        ),
        "trials-20": _trials(20),
        "trials-40": _trials(40),
        "paper": Settings(
            (replace(PAPER, slope=0.01), replace(PAPER, slope=0.01, inputs="rotated")),
            trained=(1, 4, 8, 10, 12, 16, 20),
            transfer=0.25,
        ),
    },
    run,
)
GAINS = Experiment(
    "fig10",
    "performance on trained routes reasonably good for all scales; transfer at small scales only (so Fig. 7d)",
    {
        "tiny": Settings(TINY, gains=((1.0, 0.01, 20), (0.1, 0.03, 20)), checks=2),
        "small": Settings(
            _panels(seeds=5),
            gains=(
                (10.0, 2e-3, 600),
                (1.0, 0.01, 600),
                (0.1, 0.03, 600),
                (0.01, 0.03, 1600),
                (1e-3, 0.03, 4000),
                (1e-4, 0.03, 4000),
            ),
        ),
        "paper": Settings(
            tuple(replace(PAPER, trained=10, **changes) for changes in ({"domains": 100}, {}, {"inputs": "rotated"})),
            gains=PAPER_GAINS,
        ),
    },
    run,
)
