"""Schedules of the learning rate: factors that depend on the step alone."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Mapping
from functools import partial

from qcmap.errors import ArgumentError
from qcmap.nn.train._choice import Choice, check_options, check_value


def _constant(done: float) -> float:
    """1 throughout."""
    return 1.0


def _cosine(done: float, *, final: float = 0.0) -> float:
    """From 1 to ``final`` along half a cosine."""
    return final + (1 - final) * (1 + math.cos(math.pi * done)) / 2


def _step(done: float, *, at: tuple[float, ...] = (0.5, 0.75), factor: float = 0.1) -> float:
    """Times ``factor`` at each of the given fractions of the run."""
    return factor ** sum(done >= fraction for fraction in at)


def _pieces(done: float, *, at: tuple[float, ...] = (), factors: tuple[float, ...] = (1.0,)) -> float:
    """The first of ``factors``, and the next one from each of the given fractions of the run on."""
    if len(factors) != len(at) + 1:
        rule = f"{len(factors)} factors do not fit {len(at)} changes"
        raise ArgumentError("schedule.factors", rule, "give one more factor than fractions")
    if list(at) != sorted(at):
        raise ArgumentError("schedule.at", f"{at} are not in order", "give rising fractions of the run")
    return factors[bisect_right(at, done)]


SCHEDULES: Mapping[str, Callable[..., float]] = {
    "constant": _constant,
    "cosine": _cosine,
    "step": _step,
    "pieces": _pieces,
}
"""By name: from the fraction of the run that is done, in [0, 1), to the factor. All take ``warmup`` as well: so many
steps rise linearly to 1 first, and the fraction counts from there."""


def check_schedule(schedule: Choice) -> None:
    """Raise `ArgumentError` for options that the schedule does not have, of another type, or that do not fit."""
    options = dict(schedule.options)
    warmup = options.pop("warmup", 0)
    check_value("schedule.warmup", warmup, int)
    if warmup < 0:
        raise ArgumentError("schedule.warmup", f"it is a number of steps, not {warmup}", "give 0 or more")
    check_options("schedule", SCHEDULES[schedule.name], options.items())
    SCHEDULES[schedule.name](0.0, **options)


def rate_factors(schedule: Choice) -> Callable[[int, int], float]:
    """From a step, counted from 0, and the steps of the run to the factor of the learning rate."""
    options = dict(schedule.options)
    warmup = options.pop("warmup", 0)
    after = partial(SCHEDULES[schedule.name], **options)

    def factor(step: int, steps: int) -> float:
        return (step + 1) / warmup if step < warmup else after((step - warmup) / max(1, steps - warmup))

    return factor
