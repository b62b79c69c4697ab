"""DGN, experiments 3 to 5 and figures 7, 8: gates that adapt, gates that are frozen, gates that were learnt before."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from examples.data import load
from examples.experiment import Cells, Experiment, Finding, Result, above, mean_and_error, shown
from examples.neural_paths.data import Part, balanced, tensors, two_classes
from examples.neural_paths.training import Training, at_epochs, trained
from models.gated import DeepGatedNetwork
from models.gated_layers import fully_connected
from qcmap.errors import NumericalError
from qcmap.nn import GateFunction, empirical_ntk, gate_kernels
from qcmap.nn.train import Measure, Moment
from qcmap.paths import nu

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NETWORKS: Mapping[str, tuple[str, bool]] = {
    "relu": ("relu", False),
    "soft-relu": ("soft_relu", False),
    "soft-galu": ("soft_galu", False),
    "galu": ("galu", False),
    "frozen relu": ("frnpf_di", False),
    "learnt gates": ("flnpf", True),
}
"""The regime, and whether its gates are those of the trained ReLU network: experiments 3 (first four), 4, 5."""
ADAPTING = ("relu", "soft-relu", "soft-galu")


@dataclass(frozen=True)
class Settings:
    """4 against 7, labels -1 and 1, squared loss; d = 6, beta = 4; w = 100 in the paper.

    ``aligned`` examples of each class are those whose kernels are compared with the labels, after ``kernels`` epochs.
    """

    base: str = "digits"
    train: int = 200
    validation: int = 300
    width: int = 64
    depth: int = 6
    beta: float = 4.0
    training: Training = field(default_factory=lambda: Training("adam", (1e-3,), epochs=60, loss="squared_error"))
    aligned: int = 15
    kernels: tuple[int, ...] = (1, 10, 60)
    seeds: int = 20
    data: str | None = None

    def parts(self, seed: int) -> dict[str, Part]:
        """The examples of a seed."""
        return two_classes(tensors(load(self.base, self.data, self.train, self.validation, seed=seed), flat=True))


def aligning(x: Tensor, y: Tensor) -> Measure:
    """nu of the tangent kernel, and of its part that adapts gates where they have parameters of their own."""

    def measure(moment: Moment) -> dict[str, float]:
        model = moment.model
        kernels = {"nu/K": lambda: empirical_ntk(model, x, parameterization="standard", block=64).total}
        if isinstance(model, DeepGatedNetwork) and model.features is not None and model.gate.hard:
            kernels = {"nu/K": lambda: gate_kernels(model, x, block=64).values}
        elif isinstance(model, DeepGatedNetwork) and model.features is not None:
            kernels["nu/K_a"] = lambda: gate_kernels(model, x, block=64).features
        return _nus(kernels, y.numpy())

    return measure


def _nus(kernels: Mapping[str, Callable[[], np.ndarray]], labels: np.ndarray) -> dict[str, float]:
    found = {}
    for name, kernel in kernels.items():
        matrix = kernel()
        if name == "nu/K_a":
            found["trace/K_a"] = float(np.trace(matrix))
        try:
            found[name] = nu(matrix, labels.reshape(-1))
        except NumericalError:
            continue
    return found


def one_seed(settings: Settings, seed: int) -> dict[str, Any]:
    """All networks on one split: test accuracy and error, and nu over training."""
    parts = settings.parts(seed)
    x, y = balanced(parts["train"], settings.aligned)
    layout, shape = fully_connected([settings.width] * (settings.depth - 1), 1), tuple(x.shape[1:])
    found: dict[str, Any] = {}
    learnt: nn.Module | None = None
    for name, (regime, copies) in NETWORKS.items():

        def make(regime: str = regime, copies: bool = copies, learnt: Any = learnt) -> DeepGatedNetwork:
            gate = GateFunction(settings.beta) if regime.startswith("soft") else None
            own = 1000 + seed if copies else seed
            return DeepGatedNetwork(layout, shape, regime, gate=gate, learnt=learnt if copies else None, seed=own)

        run_ = trained(make, parts, settings.training, seed, [at_epochs(aligning(x, y), settings.kernels)])
        learnt = run_.model if name == "relu" else learnt
        rows = [row["measured"] for row in run_.result.epochs if "nu/K" in row["measured"]]
        with torch.no_grad():
            test = parts["test"]
            error = (run_.model(test[0]) - test[1]).square().mean().item()
        found[name] = {
            **run_.to_dict(), "error": error,
            "nu": [row["nu/K"] for row in rows], "nu of K_a": [row.get("nu/K_a") for row in rows],
        }  # fmt: skip
    return found


def cells_of(settings: Settings, cells: Cells) -> list[dict[str, Any]]:
    """One cell a seed, shared by the experiments of this file."""
    return [
        cells({"adapting": asdict(settings), "seed": seed}, lambda seed=seed: one_seed(settings, seed))
        for seed in range(settings.seeds)
    ]


def _compared(rows: list[dict[str, Any]], better: str, worse: str, key: str, scale: float = 1.0) -> np.ndarray:
    return scale * np.array([row[better][key] - row[worse][key] for row in rows])


def _table(rows: list[dict[str, Any]], names: tuple[str, ...], key: str) -> str:
    return ", ".join(f"{name} {shown(*mean_and_error(np.array([row[name][key] for row in rows])))}" for name in names)


def run_for(pairs: tuple[tuple[str, str], ...], says: str) -> Callable[[Settings, Cells], Result]:
    """The experiment that says of each pair that the first network generalises better than the second."""

    def run(settings: Settings, cells: Cells) -> Result:
        rows = cells_of(settings, cells)
        names = tuple(dict.fromkeys(name for pair in pairs for name in pair))
        findings = []
        for key, what, sign in (("chosen", "test accuracy", 1), ("error", "squared error on test examples", -1)):
            gains = {pair: _compared(rows, *pair, key, sign) for pair in pairs}
            findings.append(
                Finding(f"{says}: {what}", all(map(above, gains.values())),
                        f"{_table(rows, names, key)}; gains "
                        + ", ".join(f"{a} over {b} {shown(*mean_and_error(gain))}" for (a, b), gain in gains.items()))
            )  # fmt: skip
        fitted = all(row[name]["train"] > 0.97 for row in rows for name in names)
        findings.append(Finding("all networks fit the training examples", fitted, _table(rows, names, "train")))

        def draw() -> Figure:
            from qcmap.plot import new_figure

            figure, (left, middle, right) = new_figure(3, 4.5)
            for name in names:
                left.plot(np.mean([row[name]["loss"] for row in rows], axis=0), label=name)
            left.set(xlabel="epoch", ylabel="training loss", yscale="log", title=says)
            left.legend(fontsize="small")
            for axis, key, label in ((middle, "chosen", "test accuracy"), (right, "error", "squared test error")):
                axis.boxplot([[row[name][key] for row in rows] for name in names], tick_labels=names)
                axis.set(ylabel=label)
            return figure

        numbers = {
            name: {key: [row[name][key] for row in rows] for key in ("chosen", "error", "train")} for name in names
        }
        return Result(numbers, tuple(findings), draw)

    return run


def run_alignment(settings: Settings, cells: Cells) -> Result:
    """nu of the tangent kernels of all networks over training."""
    rows = cells_of(settings, cells)
    curves = {name: np.array([row[name]["nu"] for row in rows]) for name in NETWORKS}
    end = {name: mean_and_error(curve[:, -1]) for name, curve in curves.items()}

    def below(one: str, other: str) -> np.ndarray:
        return np.log(curves[other][:, -1] / curves[one][:, -1])

    adapting = {name: below(name, "galu") for name in ADAPTING}
    learnt = below("learnt gates", "galu")
    fall = {name: np.log(curves[name][:, 0] / curves[name][:, -1]) for name in ADAPTING}
    seen = ", ".join(f"{name} {m:.3g} +- {e:.1g}" for name, (m, e) in end.items())
    findings = (
        Finding("nu of K is smaller at the end where gates adapt than where they are frozen",
                all(map(above, adapting.values())), f"{seen}; log ratios to galu {_logs(adapting)}"),
        Finding("nu of K is smaller with learnt gates than with frozen random ones", above(learnt),
                f"log ratio {shown(*mean_and_error(-learnt))}"),
        Finding("nu of K falls while gates adapt", all(map(above, fall.values())),
                f"log ratio of the last to the first {_logs(fall)}"),
    )  # fmt: skip

    def draw() -> Figure:
        from qcmap.plot import new_figure

        figure, (left, right) = new_figure(2, 5.0)
        for name, curve in curves.items():
            left.plot(settings.kernels, curve.mean(axis=0), marker=".", label=name)
        soft = np.array([row["soft-galu"]["nu of K_a"] for row in rows], dtype=float)
        right.plot(settings.kernels, np.nanmean(soft, axis=0), marker=".")
        left.set(xlabel="epoch", ylabel="nu of K", yscale="log", title="Fig. 8")
        right.set(xlabel="epoch", ylabel="nu of K_a, soft-galu", yscale="log")
        left.legend(fontsize="small")
        return figure

    return Result({name: curve.tolist() for name, curve in curves.items()}, findings, draw)


def _logs(rows: Mapping[str, np.ndarray]) -> str:
    return ", ".join(f"{name} {shown(*mean_and_error(-row))}" for name, row in rows.items())


_SIZES = {
    "tiny": Settings(train=150, validation=100, width=8, depth=3, aligned=5, kernels=(1, 2), seeds=2,
                     training=Training("adam", (1e-3,), epochs=2, loss="squared_error")),
    "small": Settings(),
    "paper": Settings("mnist", 50_000, 10_000, 100, aligned=100, kernels=(1, 20, 40, 60, 80, 100), seeds=5,
                      training=Training("rmsprop", (1e-4,), epochs=100, loss="squared_error")),
}  # fmt: skip


def _row(name: str, reports: str, run: Callable[[Settings, Cells], Result]) -> Experiment:
    return Experiment(name, reports, _SIZES, run)


ADAPTING_GATES = (
    _row("exp3", "networks whose gates adapt generalise better than GaLU with frozen gates (DGN, figure 7)",
         run_for(tuple((name, "galu") for name in ADAPTING), "adapting gates generalise better than frozen ones")),
    _row("exp4", "a ReLU network generalises better than one frozen at equal initial weights (DGN, figure 7)",
         run_for((("relu", "frozen relu"),), "gates that adapt generalise better than the same gates frozen")),
    _row("exp5", "gates learnt before generalise better than random ones: the lottery is in the gates (DGN, figure 7)",
         run_for((("learnt gates", "galu"),), "learnt gates generalise better than random ones")),
    _row("fig8", "nu of K is smaller for adapting and learnt gates than for frozen and random ones (DGN, figure 8)",
         run_alignment),
)  # fmt: skip
