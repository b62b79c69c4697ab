"""Comparing curves: overlap, advantage, sign test, against exact cases and enumeration."""

from __future__ import annotations

from math import comb

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qcmap.nn.train.population._curves import Overlap, advantage, chance, overlap, smoothed

CURVES = st.lists(st.floats(-5, 0), min_size=1, max_size=25)


def line(start: float, slope: float, length: int) -> list[float]:
    return [start + slope * k for k in range(length)]


@pytest.mark.parametrize("length", [1, 2, 3, 6, 7, 8, 20])
def test_a_straight_curve_is_smooth(length):
    assert smoothed(line(-3, 0.2, length)) == pytest.approx(line(-3, 0.2, length), abs=1e-12)


def test_smoothing_takes_noise_away():
    noise = np.random.default_rng(0).normal(size=400)
    assert np.std(smoothed(noise)) == pytest.approx(1 / np.sqrt(7), rel=0.15)


def test_curves_meet_where_the_lower_one_reaches_the_other_start():
    low, high = line(-3, 0.25, 16), line(-2, 0.1, 9)
    assert overlap(low, high) == Overlap(4, 0, 9)
    assert overlap(high, low) == Overlap(0, 4, 9)
    assert overlap(low, low) == Overlap(0, 0, 16)
    assert overlap(low, line(2, 0.1, 9)) is None


def test_the_faster_curve_has_the_advantage_however_late_it_began():
    """Both at -2: one gains 0.25 a point, the other 0.1; over 9 points each 8 steps."""
    low, high = line(-3, 0.25, 16), line(-2, 0.1, 9)
    assert advantage(low, high) == pytest.approx(8 * 0.25 - 8 * 0.1)
    assert advantage(high, low) == pytest.approx(-(8 * 0.25 - 8 * 0.1))


def test_curves_that_never_meet_are_compared_as_they_are():
    assert advantage(line(-1, 0.0, 5), line(-3, 0.1, 8)) == pytest.approx(-1 + 3 - 0.4)


@given(CURVES, CURVES)
def test_advantages_of_a_pair_are_opposite(one, other):
    assert advantage(one, other) == -advantage(other, one) or smoothed(one)[0] == smoothed(other)[0]
    assert 0 < chance(one, other) <= 1


@given(CURVES, st.floats(-2, 2))
def test_a_shift_of_both_changes_neither_sign_nor_chance(one, shift):
    other = line(-2.5, 0.05, 12)
    moved = [value + shift for value in one], [value + shift for value in other]
    if overlap(one, other) == overlap(*moved):  # rounding may move where they meet
        assert advantage(*moved) == pytest.approx(advantage(one, other), abs=1e-9)


def test_the_sign_test_sums_binomials():
    random = np.random.default_rng(3)
    for length in (1, 2, 5, 9):
        one, other = random.integers(-4, 0, size=(2, length)).astype(float).tolist()
        where = overlap(one, other) or Overlap(0, 0, length)
        pairs = [(one[where.first + k], other[where.second + k]) for k in range(where.length)]
        wins, differ = sum(a > b for a, b in pairs), sum(a != b for a, b in pairs)
        exact = sum(comb(differ, k) for k in range(wins, differ + 1)) / 2**differ
        assert chance(one, other) == pytest.approx(exact, rel=1e-12)


def test_how_many_points_are_significant():
    """The first is a tie, all others are above: 2^-(n - 1), so that eight points are needed for 0.01."""
    faster, slower = line(-2, 0.3, 9), line(-2, 0.1, 9)
    assert [chance(faster[:n], slower[:n]) < 0.01 for n in (6, 7, 8, 9)] == [False, False, True, True]
    assert chance(faster, slower) == pytest.approx(2.0**-8, rel=1e-12)
    assert chance(slower, faster) == 1
    assert chance(slower, slower) == 1
