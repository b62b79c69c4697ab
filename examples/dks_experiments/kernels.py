"""Appendix K: empirical q values by layer, for three values of Q'(1)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from examples.dks_experiments.data import some_inputs
from examples.dks_experiments.methods import made_trainable
from examples.dks_experiments.networks import deep
from examples.dks_experiments.setup import Network, Setup
from examples.experiment import Cells, Experiment, Finding, Result
from qcmap.nn import PlainActivation
from qcmap.nn.train import Choice
from qcmap.nn.train.data import load_data

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SLOPES = (0.95, 1.0, 1.01)


@dataclass(frozen=True)
class Settings:
    """Dense softplus networks at initialisation, and how many digits they see.

    A layer adds noise of variance v/m, and deviations grow as sqrt(v/m sum_j Q'(1)^(2j)) while they are small (theory
    check dks-56): at depth 50 by 1.3 times more for 1.01 than for 1, at depth 100 by 1.8 times, and large ones more.
    """

    depth: int = 100
    width: int = 64
    networks: int = 10
    examples: int = 192


def empirical_q(slope: float, settings: Settings) -> np.ndarray:
    """[networks, layers, examples]: ||v||^2 / dim(v) at the input of each activation, after the given Q'(1)."""
    inputs = some_inputs(load_data(Choice("digits")).cast(torch.float64), settings.examples)
    setup = Setup("dks", "softplus", options={"q_slope": slope})
    found = []
    for seed in range(settings.networks):
        model = deep(setup, Network("deep", settings.depth, settings.width), inputs.shape[1], 10).double()
        found.append(_by_layer(made_trainable(model, inputs, setup, seed), inputs))
    return np.stack(found)


@torch.no_grad()
def _by_layer(model: nn.Module, inputs: Tensor) -> np.ndarray:
    """[layers, examples]."""
    rows: list[np.ndarray] = []

    def look(_: nn.Module, given: Any) -> None:
        rows.append(given[0].square().mean(1).numpy())

    hooks = [part.register_forward_pre_hook(look) for part in model.modules() if isinstance(part, PlainActivation)]
    model(inputs)
    for hook in hooks:
        hook.remove()
    return np.stack(rows)


def run(settings: Settings, cells: Cells) -> Result:
    """Mean over examples, spread over examples and networks, and the orderings."""
    q = {slope: empirical_q(slope, settings) for slope in SLOPES}
    by_layer = {slope: np.sqrt(np.square(values - 1).mean(axis=(0, 2))) for slope, values in q.items()}
    spread = {slope: float(values[-1]) for slope, values in by_layer.items()}
    growth = {slope: float(values[-1] / values[len(values) // 5]) for slope, values in by_layer.items()}
    seen = ", ".join(f"{spread[s]:.3g} (Q' = {s:g})" for s in SLOPES)
    findings = (
        Finding(
            "from a fifth of the depth on, the spread about 1 stays for Q'(1) = 0.95", growth[0.95] < 1.5,
            f"it grows {growth[0.95]:.2f} times, {growth[1.0]:.2f} for 1, {growth[1.01]:.2f} for 1.01",
        ),
        Finding("it is larger for 1", spread[1.0] > spread[0.95], f"spread at the last layer {seen}"),
        Finding("for 1.01 it is twice that for 1", spread[1.01] > 2 * spread[1.0], f"spread at the last layer {seen}"),
    )  # fmt: skip
    numbers = {
        str(slope): {
            "mean": values.mean(axis=(0, 2)).tolist(),
            "deviation": values.std(axis=(0, 2)).tolist(),
            "spread": by_layer[slope].tolist(),
        }
        for slope, values in q.items()
    }

    def draw() -> Figure:
        from qcmap.plot import new_figure

        figure, panels = new_figure(3, 3.4, 3.0)
        for axes, (slope, values) in zip(panels, q.items(), strict=True):
            layers = np.arange(1, values.shape[1] + 1)
            mean, deviation = values.mean(axis=(0, 2)), values.std(axis=(0, 2))
            axes.errorbar(layers, mean, yerr=deviation, elinewidth=0.6, linewidth=1)
            axes.plot(layers, values.mean(axis=2).T, color="gray", linewidth=0.5, alpha=0.6)
            axes.set(xlabel="layer", title=f"Q'(1) = {slope:g}", ylim=(0, 3))
        panels[0].set_ylabel("empirical q value")
        return figure

    return Result(numbers, findings, draw)


KERNELS = Experiment(
    "K",
    "appendix K: average empirical q values stay near 1 for Q'(1) = 0.95 and 1, with more variance for 1, and diverge "
    "rapidly for 1.01",
    {
        "tiny": Settings(depth=6, width=16, networks=2, examples=16),
        "small": Settings(),
        "paper": Settings(depth=50, width=1024, networks=3),
    },
    run,
)
