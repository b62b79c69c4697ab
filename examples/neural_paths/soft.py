"""DGN, experiments 6 and 7: training gates alone, and soft gates by their steepness (table 4)."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from examples.experiment import Cells, Experiment, Finding, Result, above, mean_and_error, mean_and_interval
from examples.neural_paths.stages import shown_accuracy
from examples.neural_paths.table2 import Settings as Row
from examples.neural_paths.training import Training, trained
from models.gated import DeepGatedNetwork
from qcmap.nn import GateFunction

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Settings:
    """A row of table 2; beta and epsilon of soft-ReLU networks."""

    row: Row = field(default_factory=lambda: Row(seeds=10))
    betas: tuple[float, ...] = (1, 2, 4, 8, 16)
    epsilons: tuple[float, ...] = (0.1, 0.4)
    data: str | None = None

    @property
    def names(self) -> dict[str, tuple[str, GateFunction | None]]:
        """Regime and gate by name: linear, ReLU, and every soft gate."""
        soft = {
            soft_name(beta, epsilon): ("soft_relu", GateFunction(beta, epsilon))
            for epsilon in self.epsilons
            for beta in self.betas
        }
        return {"linear": ("linear", None), "relu": ("relu", None), **soft}


def soft_name(beta: float, epsilon: float) -> str:
    """Of a row of table 4."""
    return f"beta {beta:g}, epsilon {epsilon:g}"


def one_seed(settings: Settings, seed: int) -> dict[str, dict[str, float]]:
    """Accuracies in percent of all rows on one split, from equal weights."""
    parts = settings.row.parts(seed, settings.data)
    shape, found = tuple(parts["train"][0].shape[1:]), {}
    for name, (regime, gate) in settings.names.items():

        def make(regime: str = regime, gate: Any = gate) -> DeepGatedNetwork:
            return DeepGatedNetwork(settings.row.layout, shape, regime, gate=gate, seed=seed)

        one = trained(make, parts, settings.row.training, seed)
        found[name] = {"test": 100 * one.chosen, "train": 100 * one.train}
    return found


def run(settings: Settings, cells: Cells) -> Result:
    """Table 4."""
    rows = [
        cells({"soft": asdict(settings), "seed": seed}, lambda seed=seed: one_seed(settings, seed))
        for seed in range(settings.row.seeds)
    ]
    test = {name: np.array([row[name]["test"] for row in rows]) for name in settings.names}
    train = {name: float(np.mean([row[name]["train"] for row in rows])) for name in settings.names}
    stats = {name: mean_and_error(values) for name, values in test.items()}
    findings = []
    for epsilon in settings.epsilons:
        grid = [soft_name(beta, epsilon) for beta in settings.betas]
        slopes = np.array([np.polyfit(np.log(settings.betas), [row[n]["test"] for n in grid], 1)[0] for row in rows])
        mean, error = mean_and_error(slopes)
        findings.append(
            Finding(f"accuracy rises with beta, epsilon {epsilon:g}", above(slopes),
                    ", ".join(f"{shown_accuracy(*stats[n])} ({b:g})" for n, b in zip(grid, settings.betas, strict=True))
                    + f"; slope in log beta {shown_accuracy(mean, error)} points")
        )  # fmt: skip
    steep = soft_name(settings.betas[-1], settings.epsilons[0])
    apart = mean_and_interval(test["relu"] - test[steep])
    findings += [
        Finding("steep soft gates do as well as ReLU, within error", abs(apart[0]) <= apart[1],
                f"{steep} {shown_accuracy(*stats[steep])}, relu {shown_accuracy(*stats['relu'])}"),
        Finding("the linear network is far below", above(test["relu"] - test["linear"]),
                f"linear {shown_accuracy(*stats['linear'])}, on training examples {train['linear']:.1f}; relu "
                f"{shown_accuracy(*stats['relu'])}, on training examples {train['relu']:.1f}"),
    ]  # fmt: skip

    def draw() -> Figure:
        from qcmap.plot import new_figure

        figure, (axis,) = new_figure(1, 5.5)
        for epsilon in settings.epsilons:
            points = [stats[soft_name(beta, epsilon)] for beta in settings.betas]
            axis.errorbar(settings.betas, [m for m, _ in points], yerr=[e for _, e in points], marker=".",
                          label=f"epsilon {epsilon:g}")  # fmt: skip
        for name, style in (("relu", "-"), ("linear", "--")):
            axis.axhline(stats[name][0], color="black", linestyle=style, linewidth=0.8, label=name)
        axis.set(xlabel="beta", ylabel="test accuracy / %", title="DGN table 4")
        axis.legend()
        return figure

    numbers = {name: {"test": values.tolist(), "train": train[name]} for name, values in test.items()}
    return Result(numbers, tuple(findings), draw)


@dataclass(frozen=True)
class GatesOnlySettings:
    """A row of table 2, and the steepness of gates. A printed infinite beta lets no gradient through."""

    row: Row = field(default_factory=lambda: Row(seeds=3))
    beta: float = 4.0
    data: str | None = None


def gates_only_seed(settings: GatesOnlySettings, seed: int) -> dict[str, float]:
    """Accuracies in percent of a network of which only the gates are trained, and of the same before."""
    parts = settings.row.parts(seed, settings.data)

    def make() -> DeepGatedNetwork:
        shape = tuple(parts["train"][0].shape[1:])
        return DeepGatedNetwork(settings.row.layout, shape, "gates_only", gate=GateFunction(settings.beta), seed=seed)

    x, y = parts["test"]
    before = (make()(x).argmax(1) == y).float().mean().item()
    one = trained(make, parts, settings.row.training, seed)
    return {"before": 100 * before, "test": 100 * one.chosen, "train": 100 * one.train}


def run_gates_only(settings: GatesOnlySettings, cells: Cells) -> Result:
    """Test accuracy by training gates alone."""
    rows = [
        cells({"gates only": asdict(settings), "seed": seed}, lambda seed=seed: gates_only_seed(settings, seed))
        for seed in range(settings.row.seeds)
    ]
    test, before, train = (np.array([row[key] for row in rows]) for key in ("test", "before", "train"))
    findings = (
        Finding("gates alone learn: far above chance with random, frozen values", bool(test.min() > 40),
                f"test accuracy {shown_accuracy(*mean_and_error(test))}, on training examples {train.mean():.1f}, "
                f"before training {shown_accuracy(*mean_and_error(before))}"),
    )  # fmt: skip

    def draw() -> Figure:
        from qcmap.plot import new_figure

        figure, (axis,) = new_figure(1, 4.0)
        axis.bar(["before", "test", "train"], [before.mean(), test.mean(), train.mean()])
        axis.set(ylabel="accuracy / %", title="DGN experiment 6: gates alone")
        return figure

    return Result({"test": test.tolist(), "before": before.tolist(), "train": train.tolist()}, findings, draw)


_TINY = Row(width=8, depth=3, train=60, validation=30, seeds=2, training=Training(epochs=1))
_CIFAR = Row("cifar", "vconv", width=64, train=41_000, training=Training("adam", (3e-4,), epochs=60))
TABLE4 = Experiment(
    "exp7",
    "test accuracy by beta 1 .. 24: .59 .64 .68 .71 .71 .72 .72 .72 (epsilon .1); ReLU .71; linear .39 (DGN, table 4)",
    {
        "tiny": Settings(_TINY, betas=(1, 16), epsilons=(0.1,)),
        "small": Settings(),
        "paper": Settings(_CIFAR, betas=(1, 2, 4, 8, 12, 16, 20, 24)),
    },
    run,
)
GATES_ONLY = Experiment(
    "exp6",
    "56% on CIFAR-10 by tuning gates alone (DGN, experiment 6)",
    {"tiny": GatesOnlySettings(_TINY), "small": GatesOnlySettings(), "paper": GatesOnlySettings(_CIFAR)},
    run_gates_only,
)
