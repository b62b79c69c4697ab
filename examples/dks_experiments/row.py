"""A row of the table: curves that are compared, what the paper reports, and the orderings that must show."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from examples.dks_experiments.ordering import Ordering, Quantity, filled, measured
from examples.dks_experiments.setup import Scale, Setup
from examples.dks_experiments.training import compared
from examples.experiment import Cells, Experiment, Result

if TYPE_CHECKING:
    from matplotlib.figure import Figure

QUANTITIES: tuple[Quantity, ...] = ("speed", "train", "test")


@dataclass(frozen=True)
class Row:
    """An experiment of the paper.

    Attributes
    ----------
    name, title
        On the command line, and of the figure.
    section
        Of the paper.
    reports
        What the paper reports.
    setups
        What is compared, by label.
    orderings
        What must show for the paper's report to hold.
    """

    name: str
    title: str
    section: str
    reports: str
    setups: Mapping[str, Setup]
    orderings: tuple[Ordering, ...]

    def experiment(self, scales: Mapping[str, Scale]) -> Experiment:
        """The row as an experiment of `examples.command`."""
        return Experiment(self.name, f"section {self.section}: {self.reports}", scales, self.run)

    def run(self, scale: Scale, cells: Cells) -> Result:
        """Train everything, and check every ordering."""
        found = compared(self.setups, scale, cells)
        numbers = {label: {**row, **_summary(row, scale.epochs)} for label, row in found.items()}
        findings = tuple(ordering.check(found, scale.epochs) for ordering in self.orderings)
        return Result(numbers, findings, lambda: self.figure(found, scale.epochs))

    def figure(self, found: Mapping[str, Mapping[str, Any]], epochs: int) -> Figure:
        """Training and test accuracy by epoch: means over seeds, with standard errors."""
        from qcmap.plot import new_figure

        figure, panels = new_figure(2, 4.6, 3.4)
        for axes, name in zip(panels, ("accuracy", "test"), strict=True):
            for k, (label, row) in enumerate(found.items()):
                curves = filled(row, name, epochs)
                mean, error = curves.mean(axis=0), curves.std(axis=0, ddof=1) / np.sqrt(len(curves))
                at = np.arange(1, epochs + 1)
                color, style = f"C{k % 10}", ("-", "--", ":")[k // 10]
                axes.plot(at, mean, style, color=color, label=label, linewidth=1.2)
                axes.fill_between(at, mean - error, mean + error, color=color, alpha=0.2, linewidth=0)
            axes.set(
                xlabel="epoch", ylabel={"accuracy": "training accuracy", "test": "test accuracy"}[name], ylim=(0, 1.02)
            )
        panels[0].set_title(f"{self.section}: {self.title}", fontsize="small", loc="left")
        panels[1].legend(fontsize="x-small", loc="center left", bbox_to_anchor=(1.02, 0.5))
        return figure


def _summary(row: Mapping[str, Any], epochs: int) -> dict[str, list[float]]:
    return {name: measured(row, name, epochs).round(6).tolist() for name in QUANTITIES}
