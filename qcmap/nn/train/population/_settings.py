"""How a population is made up and how it chooses: the constants of DKS, section 27.4."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal, get_type_hints

from qcmap.errors import ArgumentError
from qcmap.nn._random import generator_from
from qcmap.nn.train._choice import check_value, plain

RATES: Mapping[str, tuple[float, float]] = {"kfac": (1e-7, 1e-3)}
"""Between which rates workers start, log-uniformly, by optimiser; all others have `OTHER_RATES`."""
OTHER_RATES = (1e-5, 1.0)


@dataclass(frozen=True, kw_only=True)
class PopulationSettings:
    """A population; the defaults are those of DKS, section 27.4, for 25,000 steps on CIFAR-10.

    Attributes
    ----------
    sub_populations
        Workers of P1, P2, ...; a single number and no evaluators is plain population-based training.
    evaluators
        Workers that train copies of the members of P2, P3, ... with the rates of the sub-population before.
    rates
        Between which learning rates workers start, log-uniformly; by the optimiser if None.
    explore
        A copied learning rate is multiplied by a uniform random number between these two.
    fraction
        So many of the worst of a sub-population copy one of so many of the best.
    ready_every
        Steps between two such choices.
    report_every
        Steps between two points of a curve.
    max_eval_steps
        Steps after which an evaluation has to be significant.
    min_steps_before_eval
        Steps before the members of P2, P3, ... are evaluated.
    significance
        The level of the sign test by which an evaluator has overtaken.
    objective
        ``"train"``: minus the mean loss of the steps since the last report; ``"validation"``: minus the loss on the
        validation examples.
    seed
        Fixes rates and choices; the run's own seed fixes everything else.

    Raises
    ------
    ArgumentError
        For a value of another type or out of its range, or sizes that do not fit each other.
    """

    sub_populations: tuple[int, ...] = (8, 8, 8)
    evaluators: int = 12
    rates: tuple[float, float] | None = None
    explore: tuple[float, float] = (0.8, 1.25)
    fraction: float = 0.25
    ready_every: int = 50
    report_every: int = 10
    max_eval_steps: int = 360
    min_steps_before_eval: tuple[int, ...] = (250, 500)
    significance: float = 0.01
    objective: Literal["train", "validation"] = "train"
    seed: int = 0

    def __post_init__(self) -> None:
        hints = get_type_hints(type(self))
        for row in fields(self):
            check_value(row.name, getattr(self, row.name), hints[row.name])
        generator_from(self.seed)
        if not self.sub_populations or min(self.sub_populations) < 1:
            raise ArgumentError("sub_populations", f"{self.sub_populations} has an empty one", "give e.g. [8, 8, 8]")
        for name in ("ready_every", "report_every", "max_eval_steps"):
            if getattr(self, name) < 1:
                raise ArgumentError(name, f"it must be a positive number of steps, not {getattr(self, name)}", "give 1")
        if self.ready_every % self.report_every:
            raise ArgumentError(
                "report_every", f"{self.report_every} does not divide ready_every, {self.ready_every}", "give a divisor"
            )
        for name, low, high in (("fraction", 0.0, 0.5), ("significance", 0.0, 1.0)):
            if not low < getattr(self, name) <= high:
                raise ArgumentError(
                    name,
                    f"it must lie in ({low:g}, {high:g}], not be {getattr(self, name)}",
                    "leave it out for the paper's",
                )
        for name in ("rates", "explore"):
            bounds = getattr(self, name)
            if bounds is not None and not 0 < bounds[0] <= bounds[1]:
                raise ArgumentError(name, f"{bounds} is no interval of positive numbers", "give [lower, upper]")
        self._check_evaluation()

    def _check_evaluation(self) -> None:
        """Sub-populations after the first need evaluators and a beginning each; the first needs neither."""
        later = len(self.sub_populations) - 1
        if (self.evaluators > 0) != (later > 0) or self.evaluators < 0:
            rule = f"{self.evaluators} evaluators do not fit {later + 1} sub-populations"
            raise ArgumentError("evaluators", rule, "give some for P2, P3, ..., and none for P1 alone")
        if later and len(self.min_steps_before_eval) != later:
            rule = f"{len(self.min_steps_before_eval)} numbers do not fit {later} sub-populations after the first"
            raise ArgumentError("min_steps_before_eval", rule, "give one each")
        if any(steps < 0 for steps in self.min_steps_before_eval):
            raise ArgumentError(
                "min_steps_before_eval",
                f"numbers of steps are not below 0, as in {self.min_steps_before_eval}",
                "give 0 or more",
            )

    @property
    def workers(self) -> int:
        """Members and evaluators together."""
        return sum(self.sub_populations) + self.evaluators

    def rates_for(self, optimizer: str) -> tuple[float, float]:
        """Between which rates workers start with this optimiser."""
        return self.rates or RATES.get(optimizer, OTHER_RATES)

    def to_dict(self) -> dict[str, Any]:
        """The settings as JSON-ready data."""
        return {row.name: plain(getattr(self, row.name)) for row in fields(self)}


PAPER: Mapping[str, PopulationSettings] = {
    "cifar10": PopulationSettings(),
    "imagenet": PopulationSettings(
        ready_every=500, report_every=50, max_eval_steps=7200, min_steps_before_eval=(5000, 10000)
    ),
}
"""By data set, as in DKS, section 27.4: for 25,000 and 200,000 steps."""


def scaled(steps: int, workers: int = 9, *, choices: int = 30, **changes: Any) -> PopulationSettings:
    """The paper's population for CIFAR-10 made smaller: the same proportions for fewer workers and steps.

    Parameters
    ----------
    steps
        Of the run.
    workers
        In all: two ninths to each of three sub-populations, the rest evaluators. Fewer than nine are one
        sub-population.
    choices
        How often a member is ready; the paper has 500, which leave a short run no time between two.
    changes
        Other settings than those that follow.

    Raises
    ------
    ArgumentError
        As `PopulationSettings`, and for fewer workers or steps than one.
    """
    for name, value in (("steps", steps), ("workers", workers), ("choices", choices)):
        if value < 1:
            raise ArgumentError(name, f"it must be positive, not {value}", "give 1 or more")
    paper = PopulationSettings()
    report = max(1, round(steps / choices / (paper.ready_every // paper.report_every)))
    ready = report * (paper.ready_every // paper.report_every)
    share = 2 * workers // 9
    made: dict[str, Any] = {"sub_populations": (workers,), "evaluators": 0, "min_steps_before_eval": ()}
    if share:
        made = {
            "sub_populations": (share,) * 3,
            "evaluators": workers - 3 * share,
            "min_steps_before_eval": tuple(s * ready // paper.ready_every for s in paper.min_steps_before_eval),
        }
    longest = round(paper.max_eval_steps * ready / paper.ready_every)
    return PopulationSettings(
        **{**made, "ready_every": ready, "report_every": report, "max_eval_steps": longest, **changes}
    )
