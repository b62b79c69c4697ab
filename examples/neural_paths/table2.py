"""NPF, table 2: the regimes of a deep gated network ranked by test accuracy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from examples.data import load
from examples.experiment import Cells, Experiment, Finding, Result, mean_and_error, mean_and_interval, shown_interval
from examples.neural_paths.data import Part, tensors
from examples.neural_paths.training import Training, trained
from models.gated import DeepGatedNetwork
from models.gated_layers import Layout, fully_connected, gconv, vconv

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LAYOUTS = {
    "fc": lambda width, depth, hidden, outputs: fully_connected([width] * (depth - 1), outputs),
    "vconv": lambda width, depth, hidden, outputs: vconv((width, width, 2 * width, 2 * width), (hidden,), outputs),
    "gconv": lambda width, depth, hidden, outputs: gconv((width, width, 2 * width, 2 * width), (hidden,), outputs),
}
"""By name; ``width`` is that of hidden layers or of the first convolutions, ``hidden`` that of the layer behind."""
REGIMES = ("relu", "flnpf", "dlnpf", "frnpf_ii", "frnpf_di")


@dataclass(frozen=True)
class Settings:
    """One row of the table: a network, an optimiser and data; ``data`` is the folder of MNIST and CIFAR-10."""

    base: str = "digits"
    network: str = "fc"
    width: int = 64
    depth: int = 5
    hidden: int = 256
    train: int = 600
    validation: int = 300
    training: Training = field(default_factory=Training)
    seeds: int = 5
    data: str | None = None

    @property
    def layout(self) -> Layout:
        """Of all its networks."""
        return LAYOUTS[self.network](self.width, self.depth, self.hidden, 10)

    def parts(self, seed: int, folder: str | None = None) -> dict[str, Part]:
        """The examples of a seed, from another folder if it is given."""
        base = load(self.base, folder or self.data, self.train, self.validation, seed=seed)
        return tensors(base, flat=self.network == "fc")


def one_seed(settings: Settings, seed: int) -> dict[str, Any]:
    """All regimes on one split; the fixed learnt gates are those of the trained ReLU network."""
    parts = settings.parts(seed)
    shape, found, learnt = tuple(parts["train"][0].shape[1:]), {}, None
    for regime in REGIMES:

        def make(regime: str = regime, learnt: Any = learnt) -> DeepGatedNetwork:
            # Dependent starts are those of the ReLU network; all others are independent of it.
            own = seed if regime in ("relu", "frnpf_di") else 1000 + seed
            return DeepGatedNetwork(settings.layout, shape, regime, learnt=learnt, seed=own)

        run_ = trained(make, parts, settings.training, seed)
        learnt = run_.model if regime == "relu" else learnt
        found[regime] = run_.to_dict()
    return found


def run(settings: Settings, cells: Cells) -> Result:
    """Test accuracies by regime over seeds, and differences on equal splits."""
    rows = [
        cells({"table2": asdict(settings), "seed": seed}, lambda seed=seed: one_seed(settings, seed))
        for seed in range(settings.seeds)
    ]
    accuracy = {regime: np.array([100 * row[regime]["chosen"] for row in rows]) for regime in REGIMES}
    train = {regime: np.array([100 * row[regime]["train"] for row in rows]) for regime in REGIMES}

    def draw() -> Figure:
        from qcmap.plot import new_figure

        figure, (left, right) = new_figure(2, 5.5)
        left.boxplot(list(accuracy.values()), tick_labels=list(accuracy))
        left.set(ylabel="test accuracy / %", title=f"{settings.network}, {settings.training.optimizer}")
        for regime in REGIMES:
            right.plot(np.mean([row[regime]["loss"] for row in rows], axis=0), label=regime)
        right.set(xlabel="epoch", ylabel="training loss", yscale="log")
        right.legend(fontsize="small")
        return figure

    return Result({"accuracy": _plain(accuracy), "train": _plain(train)}, findings(accuracy, train), draw)


def findings(accuracy: Mapping[str, np.ndarray], train: Mapping[str, np.ndarray]) -> tuple[Finding, ...]:
    """What table 2 says, by differences of runs on equal splits."""
    seen = ", ".join(f"{regime} {m:.2f} +- {e:.2f}" for regime, (m, e) in _stats(accuracy).items())
    fitted = ", ".join(f"{regime} {values.mean():.1f}" for regime, values in train.items())
    random, learnt = ("frnpf_ii", "frnpf_di"), ("flnpf", "dlnpf")
    apart = mean_and_interval(accuracy["frnpf_ii"] - accuracy["frnpf_di"])
    gains = {(a, b): mean_and_interval(accuracy[a] - accuracy[b]) for a in learnt for b in random}
    tops = {other: mean_and_interval(accuracy["relu"] - accuracy[other]) for other in learnt}
    return (
        Finding("fixed random gates do as well from dependent as from independent starts", abs(apart[0]) <= apart[1],
                f"difference {shown_interval(*apart)}; all: {seen}; on training examples: {fitted}"),
        Finding("learnt gates do better than fixed random ones", all(mean > error for mean, error in gains.values()),
                "; ".join(f"{a} - {b} {shown_interval(*gain)}" for (a, b), gain in gains.items())),
        Finding("ReLU is at the top or within error", all(mean >= -error for mean, error in tops.values()),
                "; ".join(f"relu - {other} {shown_interval(*top)}" for other, top in tops.items())),
    )  # fmt: skip


def _stats(values: Mapping[str, np.ndarray]) -> dict[str, tuple[float, float]]:
    return {name: mean_and_error(row) for name, row in values.items()}


def _plain(values: Mapping[str, np.ndarray]) -> dict[str, list[float]]:
    return {name: row.tolist() for name, row in values.items()}


SGD = Training("sgd", (0.1, 0.01, 0.001), epochs=100)
ADAM = Training("adam", (3e-4,), epochs=100)
_TINY = Settings(width=8, depth=3, hidden=8, train=60, validation=30, seeds=2, training=Training(epochs=2))
_SMALL = Settings()
_CONVOLUTIONS = Settings(width=8, hidden=32, seeds=3)
_MNIST = Settings("mnist", width=128, train=50_000, training=ADAM)
_CIFAR = Settings("cifar", width=64, train=41_000, training=ADAM)


def _row(name: str, reports: str, tiny: Settings, small: Settings, paper: Settings) -> Experiment:
    return Experiment(name, reports, {"tiny": tiny, "small": small, "paper": paper}, run)


TABLE2 = (
    _row(
        "table2",
        "FC, Adam, MNIST: 96.02 (II), 96.09 (DI), 98.22 (DLNPF), 97.82 (FLNPF), 98.14 (ReLU)",
        _TINY,
        _SMALL,
        _MNIST,
    ),
    _row(
        "table2-sgd",
        "FC, SGD, MNIST: 95.85 (II), 95.85 (DI), 97.86 (DLNPF), 97.10 (FLNPF), 97.85 (ReLU)",
        replace(_TINY, training=Training("sgd", (0.1, 0.01), epochs=2)),
        replace(_SMALL, training=Training("sgd", (0.1, 0.01))),
        replace(_MNIST, training=SGD),
    ),
    _row(
        "table2-gconv",
        "GCONV, Adam, CIFAR-10: 67.09 (II), 67.08 (DI), 77.12 (DLNPF), 79.68 (FLNPF), 80.32 (ReLU)",
        replace(_TINY, network="gconv", width=2),
        replace(_CONVOLUTIONS, network="gconv"),
        replace(_CIFAR, network="gconv"),
    ),
    _row(
        "table2-vconv",
        "VCONV, Adam, CIFAR-10: 64.86 (II), 64.68 (DI), 69.45 (DLNPF), 71.40 (FLNPF), 72.43 (ReLU)",
        replace(_TINY, network="vconv", width=2),
        replace(_CONVOLUTIONS, network="vconv", seeds=5),
        replace(_CIFAR, network="vconv"),
    ),
)
"""Adam on all three networks, and SGD on the first."""
