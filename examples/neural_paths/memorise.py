"""NPF, appendix D, and DGN, experiment 1: a table of numbers learned through fixed random gates, by depth and width."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from examples.experiment import Cells, Experiment, Finding, Result, mean_and_error, shown
from examples.neural_paths.descent import Array, Stack, fixed_gates, signs, spectra

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Settings:
    """n numbers uniform in [-1, 1]; gates Bernoulli(mu), weights +-1/sqrt(mu w), rate 0.1 / rho_max(K_0).

    For each width, ``runs`` networks take ``steps`` gradient steps: enough for the depths to part, and few enough that
    no error is at rounding. Narrow networks differ so much between runs that depths 6 and 8 are not told apart by ten.
    """

    count: int = 200
    mu: float = 0.5
    widths: tuple[int, ...] = (25, 500)
    depths: tuple[int, ...] = (2, 4, 6, 8, 12, 16, 20)
    steps: tuple[int, ...] = (200, 20)
    runs: tuple[int, ...] = (50, 10)
    at_once: int = 5
    seed: int = 0


@dataclass(frozen=True)
class Cell:
    """Runs of one width and depth.

    Eigenvalues [runs, n] of K_0 / d, an entry on and one off its diagonal [runs], and error ratios [steps + 1, runs].
    """

    eigenvalues: Array
    diagonal: Array
    other: Array
    ratios: Array


def cell(settings: Settings, width: int, depth: int, steps: int, count: int) -> Cell:
    """All ``count`` runs of a width and a depth."""
    random = torch.Generator().manual_seed(settings.seed)
    parts = []
    for start in range(0, count, settings.at_once):
        runs = min(settings.at_once, count - start)
        shape = runs, settings.count, width
        gates = [(torch.rand(shape, generator=random) < settings.mu).float() for _ in range(depth - 1)]
        weights = signs(runs, 1, width, depth, (settings.mu * width) ** -0.5, random, torch.float32)
        y = 2 * torch.rand(runs, settings.count, generator=random) - 1
        stack, x = Stack(weights, fixed_gates(gates)), torch.ones(runs, settings.count, 1)
        kernel = stack.kernel(x)
        eigenvalues = spectra(kernel)
        rates = torch.tensor(0.1 / eigenvalues[:, -1], dtype=torch.float32)
        entries = kernel.double().numpy() / depth
        ratios = stack.descend(x, y, rates, steps)
        parts.append((eigenvalues / depth, entries[:, 0, 0], entries[:, 0, 1], ratios.T))
    eigenvalues, diagonal, other, ratios = (np.concatenate(rows) for rows in zip(*parts, strict=True))
    return Cell(eigenvalues, diagonal, other, ratios.T)


def run(settings: Settings, cells: Cells) -> Result:
    """Spectra and convergence by width and depth, beside equation (23)."""
    found = {
        (width, depth): cell(settings, width, depth, steps, count)
        for width, steps, count in zip(settings.widths, settings.steps, settings.runs, strict=True)
        for depth in settings.depths
    }
    last = {key: mean_and_error(one.ratios[-1]) for key, one in found.items()}
    findings = []
    for width, wanted in zip(settings.widths, ((8,), (8, 12, 16)), strict=True):
        best = min(settings.depths, key=lambda depth: last[width, depth][0])
        seen = ", ".join(f"{shown(*last[width, depth])} (d={depth})" for depth in settings.depths)
        around = "8" if width == settings.widths[0] else "about 12"
        findings.append(
            Finding(f"at width {width} convergence gets better to depth {around}, then worse", best in wanted,
                    f"||e||^2/||e_0||^2 after {settings.steps[settings.widths.index(width)]} steps {seen}")
        )  # fmt: skip
    narrow, wide = settings.widths[0], settings.widths[-1]
    gaps = {width: np.array([_gap(settings, found[width, d], d) for d in settings.depths]) for width in (narrow, wide)}
    findings.append(
        Finding("the wider network's spectrum is nearer to the ideal one at every depth",
                bool((gaps[wide] < gaps[narrow]).all()),
                "largest distance of the e.c.d.f. from the ideal, by depth: "
                + "; ".join(f"{_row(gap)} (w={width})" for width, gap in gaps.items()))
    )  # fmt: skip
    off = np.array([mean_and_error(found[wide, d].eigenvalues[:, -1]) for d in settings.depths])
    ideal = np.array([1 + (settings.count - 1) * settings.mu ** (d - 1) for d in settings.depths])
    findings.append(
        Finding(f"at width {wide} rho_max follows 1 + (n - 1) mu^(d-1) to depth 6",
                bool((abs(off[:3, 0] / ideal[:3] - 1) < 0.25).all()),
                f"measured {_row(off[:, 0])}, ideal {_row(ideal)}")
    )  # fmt: skip

    def draw() -> Figure:
        from qcmap.plot import new_figure

        figure, axes = new_figure(5, 4.0)
        n = settings.count
        for depth in settings.depths:
            axes[0].plot(ideal_ecdf(n, settings.mu, depth), label=f"d={depth}")
            for k, width in enumerate((narrow, wide)):
                one = found[width, depth]
                axes[1 + 2 * k].plot(np.cumsum(one.eigenvalues, axis=1).mean(axis=0), label=f"d={depth}")
                axes[2 + 2 * k].plot(one.ratios.mean(axis=1), label=f"d={depth}")
        titles = "ideal", f"w={narrow}", f"w={narrow}", f"w={wide}", f"w={wide}"
        for k, (axis, title) in enumerate(zip(axes, titles, strict=True)):
            rates = k in (2, 4)
            axis.set(title=title, xlabel="step" if rates else "eigenvalue", yscale="log" if rates else "linear",
                     ylabel="||e||^2 / ||e_0||^2" if rates else "cumulative sum of eigenvalues of K/d")  # fmt: skip
        axes[0].legend(fontsize="small")
        return figure

    numbers = {
        f"w={width} d={depth}": {
            "ratio": list(last[width, depth]),
            "largest": list(mean_and_error(one.eigenvalues[:, -1])),
            "median": list(mean_and_error(np.median(one.eigenvalues, axis=1))),
            "smallest": list(mean_and_error(one.eigenvalues[:, 0])),
            "diagonal": list(mean_and_error(one.diagonal)),
            "other": list(mean_and_error(one.other)),
        }
        for (width, depth), one in found.items()
    }
    return Result(numbers, tuple(findings), draw)


def ideal_ecdf(count: int, mu: float, depth: int) -> Array:
    """The running sums of the eigenvalues of E K_0 / d: 1 - mu^(d-1), n - 1 times, and 1 + (n-1) mu^(d-1)."""
    off = mu ** (depth - 1)
    return np.cumsum([*[1 - off] * (count - 1), 1 + (count - 1) * off])


def _gap(settings: Settings, one: Cell, depth: int) -> float:
    ideal = ideal_ecdf(settings.count, settings.mu, depth)
    return float(abs(np.cumsum(one.eigenvalues, axis=1).mean(axis=0) - ideal).max())


def _row(values: Array) -> str:
    return ", ".join(f"{value:.3g}" for value in values)


MEMORISE = Experiment(
    "exp1",
    "convergence improves to depth 8 at width 25 and to depth 12 at width 500, then worsens (NPF, figures 6, 7; DGN, "
    "figures 1 to 3)",
    {
        "tiny": Settings(count=20, widths=(8, 40), depths=(2, 4, 6), steps=(5, 5), runs=(2, 2)),
        "small": Settings(),
        "paper": Settings(steps=(1000, 100), runs=(100, 20)),
    },
    run,
)
