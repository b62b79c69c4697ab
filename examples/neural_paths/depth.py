"""DGN, experiments 2 and 8: depth in GaLU and ReLU networks, and in linear ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from examples.experiment import Cells, Experiment, Finding, Result, mean_and_error, shown
from examples.neural_paths.descent import Array, Stack, fixed_gates, open_gates, relu_gates, signs, spectra

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Settings:
    """x uniform in [-1, 1]^2, y in [-1, 1]; weights +-sqrt(2/w), and rate 0.1 / rho_max(K_0)."""

    count: int = 100
    width: int = 100
    depths: tuple[int, ...] = (2, 4, 6, 8, 12, 16, 20)
    steps: int = 400
    runs: int = 5
    seed: int = 0


KINDS = ("galu", "relu")


def one_depth(settings: Settings, depth: int) -> dict[str, tuple[Array, Array]]:
    """Eigenvalues [runs, n] of K_0 over the largest, and error ratios [steps + 1, runs], on equal data and weights."""
    random = torch.Generator().manual_seed(settings.seed)
    sigma, runs = (2 / settings.width) ** 0.5, settings.runs
    x = 2 * torch.rand(runs, settings.count, 2, generator=random) - 1
    y = 2 * torch.rand(runs, settings.count, generator=random) - 1

    def drawn() -> list[torch.Tensor]:
        return signs(runs, 2, settings.width, depth, sigma, random, torch.float32)

    weights = drawn()
    _, gates, _ = Stack(drawn(), relu_gates).run(x)
    found = {}
    for kind, gating in zip(KINDS, (fixed_gates(gates), relu_gates), strict=True):
        stack = Stack(weights, gating)
        eigenvalues = spectra(stack.kernel(x))
        rates = torch.tensor(0.1 / eigenvalues[:, -1], dtype=torch.float32)
        found[kind] = eigenvalues / eigenvalues[:, -1:], stack.descend(x, y, rates, settings.steps)
    return found


def run(settings: Settings, cells: Cells) -> Result:
    """Spectra and convergence by depth of GaLU networks, whose gates another network gives, and of ReLU networks."""
    found = {depth: one_depth(settings, depth) for depth in settings.depths}
    last = {kind: [mean_and_error(found[d][kind][1][-1]) for d in settings.depths] for kind in KINDS}
    median = {kind: [mean_and_error(np.median(found[d][kind][0], axis=1)) for d in settings.depths] for kind in KINDS}
    deep = [k for k, depth in enumerate(settings.depths) if depth > 2]
    galu, relu = last["galu"], last["relu"]

    def listed(rows: list[tuple[float, float]]) -> str:
        return ", ".join(f"{shown(*row)} (d={d})" for d, row in zip(settings.depths, rows, strict=True))

    best = int(np.argmin([mean for mean, _ in galu]))
    findings = (
        Finding("GaLU networks train faster than ReLU networks, at every depth above 2",
                all(galu[k][0] < relu[k][0] for k in deep),
                f"||e||^2/||e_0||^2 after {settings.steps} steps: GaLU {listed(galu)}; ReLU {listed(relu)}"),
        Finding("the median eigenvalue over the largest is higher for GaLU, at every depth above 2",
                all(median["galu"][k][0] > median["relu"][k][0] for k in deep),
                f"GaLU {listed(median['galu'])}; ReLU {listed(median['relu'])}"),
        Finding("depth helps GaLU networks: the best is deeper than 4", settings.depths[best] > 4,
                f"the best has d={settings.depths[best]}"),
    )  # fmt: skip

    def draw() -> Figure:
        from qcmap.plot import new_figure

        figure, axes = new_figure(4, 4.0)
        for depth, row in found.items():
            for k, kind in enumerate(KINDS):
                axes[2 * k].plot(np.cumsum(row[kind][0], axis=1).mean(axis=0), label=f"d={depth}")
                axes[2 * k + 1].plot(row[kind][1].mean(axis=1), label=f"d={depth}")
        for k, kind in enumerate(KINDS):
            axes[2 * k].set(title=kind, xlabel="eigenvalue", ylabel="cumulative sum, largest scaled to 1")
            axes[2 * k + 1].set(title=kind, xlabel="step", ylabel="||e||^2 / ||e_0||^2", yscale="log")
        axes[0].legend(fontsize="small")
        return figure

    return Result({"ratio": last, "median": median}, findings, draw)


@dataclass(frozen=True)
class LinearSettings:
    """One example x = y = 1; weights +-1/sqrt(w), rate 0.1 / d. ``draws`` times ``runs`` networks at the start."""

    width: int = 100
    depths: tuple[int, ...] = (2, 4, 6, 8, 10)
    steps: int = 20
    runs: int = 100
    draws: int = 10
    seed: int = 0


def linear_stack(settings: LinearSettings, depth: int, random: torch.Generator) -> Stack:
    """Linear networks at their start."""
    return Stack(
        signs(settings.runs, 1, settings.width, depth, settings.width**-0.5, random, torch.float64), open_gates
    )


def linear_depth(settings: LinearSettings, depth: int) -> tuple[Array, Array, Array, Array]:
    """K_0 / d of all draws, and for each step and run [steps + 1, runs]: e^2 / e_0^2, K / d, and the weights' norm.

    The norm is that of all weights over that at first.
    """
    random = torch.Generator().manual_seed(settings.seed)
    x, y = torch.ones(settings.runs, 1, 1).double(), torch.ones(settings.runs, 1).double()
    draws = [linear_stack(settings, depth, random).kernel(x)[:, 0, 0].numpy() / depth for _ in range(settings.draws)]
    stack = linear_stack(settings, depth, random)
    rates = torch.full((settings.runs,), 0.1 / depth).double()
    kernels, norms, ratios = [], [], [np.ones(settings.runs)]
    for step in range(settings.steps + 1):
        kernels.append(stack.kernel(x)[:, 0, 0].numpy() / depth)
        norms.append(torch.stack([w.square().sum((1, 2)) for w in stack.weights]).sum(0).sqrt().numpy())
        if step < settings.steps:
            ratios.append(ratios[-1] * stack.descend(x, y, rates, 1)[1])
    return np.concatenate(draws), np.stack(ratios), np.stack(kernels), np.stack(norms) / norms[0]


def run_linear(settings: LinearSettings, cells: Cells) -> Result:
    """The first ratio against 0.81, and how K and the weights grow."""
    found = {depth: linear_depth(settings, depth) for depth in settings.depths}
    start = {d: mean_and_error(draws) for d, (draws, *_) in found.items()}
    first = {d: mean_and_error(ratios[1]) for d, (_, ratios, *_) in found.items()}
    predicted = {d: float(((1 - 0.1 * kernels[0]) ** 2).mean()) for d, (*_, kernels, _) in found.items()}
    mean = {d: ratios.mean(axis=1) for d, (_, ratios, *_) in found.items()}
    whole = {d: float(curve[-1] ** (1 / settings.steps)) for d, curve in mean.items()}
    grown = {d: mean_and_error(kernels[-1] / kernels[0]) for d, (*_, kernels, _) in found.items()}

    def listed(rows: dict[int, tuple[float, float]]) -> str:
        return ", ".join(f"{m:.4g} +- {e:.1g} (d={d})" for d, (m, e) in rows.items())

    findings = (
        Finding("E K_0 / d = 1", all(abs(m - 1) < 4 * e + 1e-12 for m, e in start.values()), listed(start)),
        Finding("the first ratio e_1^2 / e_0^2 is about 0.81 at every depth",
                all(abs(m - 0.81) < 0.03 for m, _ in first.values()),
                f"{listed(first)}; mean of (1 - 0.1 K_0/d)^2: "
                + ", ".join(f"{value:.4g}" for value in predicted.values())),
        Finding("afterwards the error falls faster than at 0.81",
                all(ratio < 0.81 for ratio in whole.values()),
                f"mean ratio a step over {settings.steps} steps "
                + ", ".join(f"{ratio:.3f} (d={d})" for d, ratio in whole.items())),
        Finding("K grows while training", all(m > 1 for m, _ in grown.values()), f"K_end / K_0 {listed(grown)}"),
    )  # fmt: skip

    def draw() -> Figure:
        from qcmap.plot import new_figure

        figure, axes = new_figure(4, 4.0)
        axes[0].errorbar(list(start), [m for m, _ in start.values()], yerr=[e for _, e in start.values()], marker=".")
        axes[0].set(xlabel="depth", ylabel="K_0 / d", title="Fig. 10")
        for depth, (_, ratios, kernels, norms) in found.items():
            for axis, rows in zip(axes[1:], (ratios, kernels, norms), strict=True):
                axis.plot(rows.mean(axis=1), label=f"d={depth}")
        axes[1].plot(0.81 ** np.arange(settings.steps + 1), "k:", label="0.81^t")
        axes[1].set(xlabel="step", ylabel="e^2 / e_0^2", yscale="log")
        axes[2].set(xlabel="step", ylabel="K / d")
        axes[3].set(xlabel="step", ylabel="norm of weights / that at first")
        axes[1].legend(fontsize="small")
        return figure

    numbers = {"first": first, "start": start, "grown": grown, "ratio a step": whole}
    return Result({k: {str(d): v for d, v in rows.items()} for k, rows in numbers.items()}, findings, draw)


DEPTH = Experiment(
    "exp2",
    "spectrum and convergence of GaLU networks get better with depth, and beat those of ReLU (DGN, figure 4)",
    {
        "tiny": Settings(count=10, width=10, depths=(2, 4), steps=5, runs=2),
        "small": Settings(),
        "paper": Settings(steps=2000),
    },
    run,
)
LINEAR = Experiment(
    "exp8",
    "e_{t+1}^2 / e_t^2 = 0.81 at every depth at first, then faster, since K grows (DGN, experiment 8, figure 10)",
    {
        "tiny": LinearSettings(depths=(2, 4), steps=5, runs=50, draws=2),
        "small": LinearSettings(),
        "paper": LinearSettings(draws=100),
    },
    run_linear,
)
