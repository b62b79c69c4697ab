"""A schedule of the learning rate found by a population, beside the best constant rate of a grid.

python -m examples.population                      FIRE PBT, 18 workers in one process: a minute on one core
python -m examples.population --plain --workers 12 plain PBT
python -m examples.population --parallel           a process for each worker on Ray Tune: pip install 'qcmap[tune]'
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np

from qcmap.nn.train import Choice, RunSettings, run, settings_from
from qcmap.nn.train.population import PopulationResult, PopulationSettings, scaled, train_population
from qcmap.plot import new_figure, save

if TYPE_CHECKING:
    from matplotlib.axes import Axes

RATES = (1e-4, 1e-1)


def settings(steps: int) -> RunSettings:
    """Twenty layers without skips or normalization, shaped by DKS, on the digits."""
    return settings_from(
        {
            "model": {"name": "zoo", "architecture": "mlp:depth=20,width=32,activation=tanh"},
            "data": "digits",
            "epochs": 1 + steps // 17,
            "steps": steps,
            "optimizer": {"name": "sgd", "momentum": 0.9},
        }
    )


def population(steps: int, workers: int, seed: int, *, plain: bool) -> PopulationSettings:
    """FIRE PBT, the paper's scaled down, or plain PBT; chosen by the loss on validation examples."""
    alone: dict[str, Any] = {"sub_populations": (workers,), "evaluators": 0, "min_steps_before_eval": ()}
    return scaled(
        steps, workers, rates=RATES, objective="validation", report_every=5, seed=seed, **(alone if plain else {})
    )


def grid(chosen: RunSettings, count: int) -> dict[float, Mapping[str, Any]]:
    """What constant rates end with, by rate: a mapping for validation and test each."""
    found: dict[float, Mapping[str, Any]] = {}
    for rate in np.geomspace(*RATES, count).tolist():
        options = {**chosen.optimizer.options, "learning_rate": rate}
        result = run(replace(chosen, optimizer=Choice(chosen.optimizer.name, **options), evaluate_every=chosen.epochs))
        if result.status == "finished":
            found[rate] = result.epochs[-1]
    return found


@dataclass(frozen=True)
class Comparison:
    """The last epochs of the best constant rate, chosen on validation examples, and of the schedule."""

    rate: float
    constant: Mapping[str, Any]
    schedule: Mapping[str, Any]

    @property
    def verdict(self) -> str:
        """Whether the schedule is at least as good on validation examples, with the numbers."""
        losses = self.schedule["validation"]["loss"], self.constant["validation"]["loss"]
        tests = self.schedule["test"], self.constant["test"]
        return (
            f"{'holds' if losses[0] <= losses[1] else 'FAILS'}: validation loss {losses[0]:.4f} with the schedule, "
            f"{losses[1]:.4f} with the best constant rate, {self.rate:.3g}; test loss {tests[0]['loss']:.4f} and "
            f"{tests[1]['loss']:.4f}, accuracy {tests[0]['accuracy']:.1%} and {tests[1]['accuracy']:.1%}"
        )


def compared(result: PopulationResult, constants: Mapping[float, Mapping[str, Any]]) -> Comparison:
    """The schedule, replayed by the engine, beside the best of the grid."""
    rate = min(constants, key=lambda rate: constants[rate]["validation"]["loss"])
    return Comparison(rate, constants[rate], run(result.replay()).epochs[-1])


def draw(axes: list[Axes], result: PopulationResult, comparison: Comparison) -> None:
    """Rates and objectives of all workers by step, and of the sequence that was best."""
    for worker in sorted({row.worker for row in result.trained}):
        rows = [row for row in result.trained if row.worker == worker]
        steps = [row.step for row in rows]
        axes[0].plot(steps, [row.rate for row in rows], color="0.8", linewidth=0.8)
        axes[1].plot(steps, [-row.objective for row in rows], color="0.8", linewidth=0.8)
    edges = [result.pieces[0].start, *(piece.stop for piece in result.pieces)]
    axes[0].stairs([piece.rate for piece in result.pieces], edges, baseline=None, color="C0", label="best sequence")
    axes[0].axhline(comparison.rate, color="C1", linestyle="--", label="best constant rate")
    steps, values = zip(*result.points, strict=True)
    axes[1].plot(steps, [-value for value in values], color="C0")
    axes[1].axhline(comparison.constant["validation"]["loss"], color="C1", linestyle="--")
    axes[0].set(xlabel="step", ylabel="learning rate", yscale="log")
    axes[1].set(xlabel="step", ylabel="validation loss", yscale="log")
    axes[0].legend(fontsize="small")


@click.command(help=__doc__)
@click.option("--steps", type=click.IntRange(20), default=300, show_default=True)
@click.option("--workers", type=click.IntRange(1), default=18, show_default=True)
@click.option("--rates", "count", type=click.IntRange(2), default=13, show_default=True, help="Of the grid.")
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--plain", is_flag=True, help="PBT: all workers in one sub-population, without evaluators.")
@click.option("--parallel", is_flag=True, help="On Ray Tune.")
@click.option("--output", type=click.Path(path_type=Path), default=Path("results/population"), show_default=True)
def main(steps: int, workers: int, count: int, seed: int, plain: bool, parallel: bool, output: Path) -> None:
    """Find a schedule, compare it with a grid of constant rates, and draw both."""
    chosen = settings(steps)
    result = train_population(
        chosen, population(steps, workers, seed, plain=plain), output=output, resume=True, parallel=parallel
    )
    comparison = compared(result, grid(chosen, count))
    figure, axes = new_figure(2)
    draw(axes, result, comparison)
    save(figure, output / "population.png")
    click.echo(repr(result))
    click.echo(comparison.verdict)


if __name__ == "__main__":
    main()
