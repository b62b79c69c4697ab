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
    """From 1 to ``final`` >= 0 along half a cosine."""
    _check_factors("final", final)
    return final + (1 - final) * (1 + math.cos(math.pi * done)) / 2


def _step(done: float, *, at: tuple[float, ...] = (0.5, 0.75), factor: float = 0.1) -> float:
    """Times ``factor`` >= 0 at each of the given fractions of the run."""
    _check_factors("factor", factor)
    _check_fractions(at)
    return factor ** sum(done >= fraction for fraction in at)


def _pieces(done: float, *, at: tuple[float, ...] = (), factors: tuple[float, ...] = (1.0,)) -> float:
    """The first of ``factors`` >= 0, and the next one from each of the given fractions of the run on."""
    _check_factors("factors", *factors)
    _check_fractions(at)
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


def _check_factors(option: str, *values: float) -> None:
    for value in values:
        if value < 0:
            rule = f"it is multiplied with the learning rate, which must not fall below 0, not {value!r}"
            raise ArgumentError(f"schedule.{option}", rule, "give 0 or more")


def _check_fractions(at: tuple[float, ...]) -> None:
    for fraction in at:
        if not 0 <= fraction <= 1:
            rule = f"it has fractions of the run, in [0, 1], not {fraction!r}"
            raise ArgumentError("schedule.at", rule, "divide steps by those of the run")


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
