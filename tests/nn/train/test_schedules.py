"""Schedules of the learning rate."""

from __future__ import annotations

import math

import pytest

from qcmap.nn.train import Choice
from qcmap.nn.train._schedules import rate_factors


def factors(schedule: Choice, steps: int) -> list[float]:
    """The factor of each step."""
    return [rate_factors(schedule)(step, steps) for step in range(steps)]


def test_warmup_rises_linearly_and_the_rest_counts_from_there():
    assert factors(Choice("constant", warmup=4), 6) == [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]
    assert factors(Choice("constant"), 3) == [1.0] * 3
    cosine = factors(Choice("cosine", warmup=2), 10)
    assert cosine[2:] == pytest.approx([math.cos(math.pi * k / 16) ** 2 for k in range(8)], rel=1e-12)


def test_cosine_ends_at_its_final_value():
    values = factors(Choice("cosine", final=0.1), 1000)
    assert values[0] == 1
    assert values[500] == pytest.approx(0.55)
    assert values[-1] == pytest.approx(0.1, abs=1e-5)
    assert values == sorted(values, reverse=True)


def test_steps_at_fractions_of_the_run():
    values = factors(Choice("step", at=(0.5, 0.75), factor=0.1), 8)
    assert values == pytest.approx([1, 1, 1, 1, 0.1, 0.1, 0.01, 0.01])
