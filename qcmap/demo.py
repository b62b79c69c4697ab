"""The demo: formulas, constants, training on real data, predictions against measurements, a picture."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from qcmap.activations import CATALOGUE
from qcmap.architecture import Architecture, zoo
from qcmap.errors import Infeasible, MissingExtra
from qcmap.numeric import Solution, dks
from qcmap.symbolic import maximal_slope, slope_polynomial

if TYPE_CHECKING:
    from rich.console import Console
    from torch import Tensor

    from qcmap.nn import GraphNetwork, History

ZETA = 1.5
DEPTH, WIDTH = 50, 64
BATCH, LEARNING_RATE, EPOCHS = 32, 1e-3, 10


@dataclass(frozen=True)
class Network:
    """One network of the comparison: its activation, and its shaping or the gain of its fan-in initialization."""

    activation: str
    shaped: bool = False
    gain: float = 1.0

    def build(self, seed: int = 0) -> GraphNetwork:
        """The torch network, `DEPTH` layers of `WIDTH`, for the digits with the channel that PLN adds."""
        from qcmap.nn import GraphNetwork

        arch = architecture(self.activation)
        shaping = dks(arch, ZETA) if self.shaped else None
        weights = "orthogonal" if self.shaped else "gaussian"
        return GraphNetwork(arch, shaping, weights=weights, gain=self.gain, seed=seed)


NETWORKS: dict[str, Network] = {
    "shaped tanh": Network("tanh", shaped=True),
    "shaped softplus": Network("softplus", shaped=True),
    "fan-in tanh": Network("tanh"),
    "fan-in softplus": Network("softplus"),
    "He relu": Network("relu", gain=math.sqrt(2)),
}


DRAWS = {"shaped tanh": range(20, 40), "shaped softplus": range(40, 60)}
"""Seeds of the weight draws whose q and c values are measured, 20 each. Means of 20 skewed draws over 50 layers stray
more than three standard errors at some layer in one block of seeds out of eight (0 to 19 is one: 3.1)."""


def architecture(activation: str) -> Architecture:
    """The network of the comparison: `DEPTH` combined layers of `WIDTH` and a head, without skips or normalizers."""
    return zoo.mlp(DEPTH, WIDTH, activation, in_channels=65, out_channels=10)


def digits(*, double: bool = False) -> tuple[Tensor, Tensor]:
    """scikit-learn's 1,797 handwritten digits: inputs [1797, 65] after PLN (float32 or float64), labels [1797]."""
    import torch
    from sklearn.datasets import load_digits

    from qcmap.nn import pln

    data: Any = load_digits()
    dtype = torch.float64 if double else torch.float32
    return pln(torch.tensor(data.data, dtype=dtype)), torch.tensor(data.target)


def slopes() -> list[dict[str, Any]]:
    """Maximal slope functions of the residual networks and skip-free ones, and their inverses at `ZETA`."""
    calls = [f"resnet_v2:depth={depth}" for depth in (50, 101, 152)] + ["wide_resnet:depth=28"]
    rows: list[dict[str, Any]] = []
    for call in calls:
        symbolic, numeric = zoo.call(f"{call},residual_weight=w"), zoo.call(call)
        mu = maximal_slope(numeric)
        rows.append(
            {
                "architecture": symbolic.name,
                "slope_polynomial": str(slope_polynomial(symbolic)),
                "maximal_slope": str(maximal_slope(symbolic)),
                "psi": mu.inverse(ZETA),
            }
        )
    return rows


def constants(depth: int = 100) -> dict[str, Solution | Infeasible]:
    """The constants of every catalogue activation at this depth, or the reason why there are none."""
    rows: dict[str, Solution | Infeasible] = {}
    for name in CATALOGUE:
        try:
            rows[name] = dks(zoo.mlp(depth, activation=name), ZETA).solutions[name]
        except Infeasible as reason:
            rows[name] = reason
    return rows


def train(
    names: Iterable[str] = NETWORKS, *, epochs: int = EPOCHS, seed: int = 0, progress: bool = True
) -> dict[str, History]:
    """Train networks of `NETWORKS`, all if no names are given, on the digits with SGD and momentum 0.9."""
    from qcmap.nn import fit

    data = digits()
    return {
        name: fit(
            NETWORKS[name].build(seed),
            data,
            epochs=epochs,
            batch_size=BATCH,
            learning_rate=LEARNING_RATE,
            seed=seed,
            progress=progress,
        )
        for name in names
    }


@dataclass(frozen=True)
class Layers:
    """q and c values by layer: predictions, and means over weight draws with their standard errors.

    The c values are means over pairs of inputs.
    """

    q_predicted: tuple[float, ...]
    q_mean: tuple[float, ...]
    q_error: tuple[float, ...]
    c_predicted: tuple[float, ...]
    c_mean: tuple[float, ...]
    c_error: tuple[float, ...]


def measured(network: Network, *, seeds: range, samples: int = 256) -> Layers:
    """q and c values after each activation at initialisation, in float64, for several draws of the weights."""
    from qcmap.nn import measure

    inputs = digits(double=True)[0][:samples]
    q, c, predicted = [], [], []
    for seed in seeds:
        rows = measure(network.build(seed).double(), inputs, networks=0).rows
        kept = [row for row in rows if row.op == "activation"]
        q.append([row.q_mean for row in kept])
        c.append([row.c_measured.mean() for row in kept])
        predicted = [(row.q_predicted, float(row.c_predicted.mean())) for row in kept]
    q_predicted, c_predicted = zip(*predicted, strict=True)
    return Layers(q_predicted, *_mean_and_error(q), c_predicted, *_mean_and_error(c))


def _mean_and_error(draws: list[list[float]]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    table = np.array(draws)
    return tuple(table.mean(axis=0)), tuple(table.std(axis=0, ddof=1) / math.sqrt(len(table)))


def picture(histories: Mapping[str, History], layers: Mapping[str, Layers], path: Path) -> Path:
    """Accuracy by epoch, q by layer and c by layer, side by side."""
    from qcmap import plot

    figure, (left, middle, right) = plot.new_figure(3)
    plot.accuracy(left, histories)
    for (name, row), line in zip(layers.items(), ("-", "--"), strict=True):
        plot.by_layer(middle, row.q_predicted, row.q_mean, row.q_error, label=name, quantity="q value", linestyle=line)
        plot.by_layer(
            right, row.c_predicted, row.c_mean, row.c_error, label=name, quantity="mean c value", linestyle=line
        )
    middle.set(title="q values at initialisation", ylim=(0.8, 1.2))
    right.set(title="c values at initialisation")
    return plot.save(figure, path)


def run(output: Path, *, epochs: int = EPOCHS, quiet: bool = False) -> dict[str, Any]:
    """Run all five parts, print them (unless quiet), and return what they found as plain data."""
    from rich.console import Console

    _require_extras()
    import torch

    console = Console(quiet=quiet)
    torch.set_num_threads(1)  # matrices this small are slower on two threads
    formulas = slopes()
    _show_slopes(console, formulas)
    found = constants()
    _show_constants(console, found)
    console.rule(f"3. Training {DEPTH}-layer networks of width {WIDTH} on the digits")
    histories = train(epochs=epochs, progress=not quiet)
    _show_training(console, histories)
    layers = {name: measured(NETWORKS[name], seeds=seeds) for name, seeds in DRAWS.items()}
    _show_layers(console, layers)
    path = picture(histories, layers, output / "demo.png")
    console.rule("5. Picture")
    console.print(f"{path.resolve()}", soft_wrap=True, highlight=False)
    return {
        "slopes": formulas,
        "constants": {
            name: {"infeasible": str(row)} if isinstance(row, Infeasible) else row.to_dict()
            for name, row in found.items()
        },
        "training": {name: history.to_dict() for name, history in histories.items()},
        "layers": {name: asdict(row) for name, row in layers.items()},
        "picture": str(path),
    }


def _require_extras() -> None:
    """Raise `MissingExtra` before anything is computed, not after a minute."""
    for module in ("torch", "sklearn", "matplotlib"):
        if find_spec(module) is None:
            raise MissingExtra("the demo", f"it needs {module}", "pip install 'qcmap[train,plot]'")


def _show_slopes(console: Console, rows: list[dict[str, Any]]) -> None:
    console.rule("1. Maximal slope functions")
    for row in rows:
        console.print(f"[bold]{row['architecture']}[/], residual weight w", highlight=False)
        console.print(f"  whole network  p(psi) = {row['slope_polynomial']}", highlight=False, soft_wrap=True)
        console.print(f"  maximal slope mu(psi) = {row['maximal_slope']}", highlight=False, soft_wrap=True)
        console.print(f"  mu(psi) = {ZETA} at psi = {row['psi']:.15g} for w^2 = 0.05", highlight=False)


def _show_constants(console: Console, found: Mapping[str, Solution | Infeasible]) -> None:
    from rich.table import Table

    console.rule(f"2. Constants at depth 100, zeta {ZETA}")
    table = Table("activation", "input scale", "input shift", "output shift", "output scale", "worst residual")
    for name, row in found.items():
        if isinstance(row, Solution):
            worst = f"{max(map(abs, row.residuals.values())):.0e}"
            table.add_row(name, *(f"{value:.6g}" for value in row.transform.constants.values()), worst)
    console.print(table)
    for name, row in found.items():
        if isinstance(row, Solution) and row.conditions_met == 3:
            console.print(f"[bold]{name}[/] meets three conditions: homogeneous, it has no freedom left for Q'(1) = 1")
        elif isinstance(row, Solution) and row.transform.activation.free_slope:
            slope = row.transform.activation.parameters["negative_slope"]
            console.print(f"[bold]{name}[/] has its negative slope as the fourth unknown: {slope:.6g}", highlight=False)
        elif isinstance(row, Infeasible):
            console.print(f"[bold]{name}[/] has none: {row.rule}", highlight=False, soft_wrap=True)


def _show_training(console: Console, histories: Mapping[str, History]) -> None:
    from rich.table import Table

    epochs = max(len(history.train_accuracy) for history in histories.values())
    shown = range(1, epochs + 1) if epochs <= 10 else sorted({*range(1, 6), *range(epochs, 5, -max(1, epochs // 5))})
    table = Table("epoch", *map(str, shown), title="training accuracy")
    for name, history in histories.items():
        reached = len(history.train_accuracy)
        cells = [f"{history.train_accuracy[epoch - 1]:.0%}" if epoch <= reached else "-" for epoch in shown]
        table.add_row(name, *cells)
    console.print(table)


def _show_layers(console: Console, layers: Mapping[str, Layers]) -> None:
    from rich.table import Table

    console.rule("4. q and c values at initialisation")
    table = Table(
        "network",
        "layer",
        "q",
        "q measured",
        "c",
        "c measured",
        title="predictions, and means over 20 draws of the weights",
    )
    for name, row in layers.items():
        for layer in (1, 10, 25, DEPTH):
            k = layer - 1
            table.add_row(
                name,
                str(layer),
                f"{row.q_predicted[k]:.3f}",
                f"{row.q_mean[k]:.3f} ± {row.q_error[k]:.3f}",
                f"{row.c_predicted[k]:.3f}",
                f"{row.c_mean[k]:.3f} ± {row.c_error[k]:.3f}",
            )
    console.print(table)
