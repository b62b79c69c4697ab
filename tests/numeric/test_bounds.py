"""Bounds on C maps against random positive definite functions: no draw may break one, and some attain them."""

import math

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qcmap.errors import ArgumentError
from qcmap.numeric import (
    deviation_bounds,
    edge_envelope,
    flatness,
    geometric_envelope,
    negative_lower_bound,
    odd_bound,
    slope_at_one_bound,
    slope_bound,
)

BATCH, DEGREE = 400, 30
GRID = np.linspace(-1, 1, 401)
EXAMPLES = settings(max_examples=30, deadline=None)
"""30 batches of 400: 12,000 functions a test."""


def functions(seed, kind):
    """Rows of coefficients b_i >= 0 with sum 1: dense, sparse and extreme ones, of the given parity or slope at 1."""
    rng = np.random.default_rng(seed)
    index = np.arange(DEGREE + 1)
    b = rng.gamma(10 ** rng.uniform(-2, 1, (BATCH, 1)), size=(BATCH, DEGREE + 1)) + 1e-300
    b *= rng.random(b.shape) < rng.choice([0.1, 0.5, 1.0], (BATCH, 1))
    power = rng.integers(0, DEGREE + 1, BATCH)
    b /= np.maximum(b.sum(axis=1, keepdims=True), 1e-300)
    b *= 10 ** rng.uniform(-8, 0, (BATCH, 1))
    b[np.arange(BATCH), power] += 1 - b.sum(axis=1)
    if kind == "odd":
        b = b[:, (index - 1) // 2 * 2 + 1] * (index % 2)
        b[:, 1] += 1e-6
    if kind == "no constant":
        b[:, 0] = 0
        b[:, 1] += 1e-9
    b /= b.sum(axis=1, keepdims=True)
    if kind in ("flat", "edge"):
        slope = (b @ index)[:, None]
        share = (1.0 if kind == "edge" else rng.uniform(0.05, 0.999, (BATCH, 1))) / np.maximum(slope, 1.0)
        b = np.where(slope > share, b * share, b)
        b[:, 0] += 1 - b.sum(axis=1)
        # Rows whose slope was below 1 stay flat; for the edge they are dropped.
        if kind == "edge":
            b = b[np.abs(b @ index - 1) < 1e-12]
    return b


def value(b, c):
    """C(c) row by row, for c of shape (rows,) or (rows, points)."""
    c = np.asarray(c, dtype=float)
    result = np.zeros(c.shape)
    for coefficients in b.T[::-1]:
        result = result * c + (coefficients if c.ndim == 1 else coefficients[:, None])
    return result


def slope(b, c):
    return value(b[:, 1:] * np.arange(1, b.shape[1]), c)


def fixed_points(b):
    """c* by bisection on C(c) - c over [0, 1), where the sign changes at most once."""
    low, high = np.zeros(len(b)), np.full(len(b), 1 - 1e-9)
    inside = value(b, high) < high
    for _ in range(80):
        middle = (low + high) / 2
        above = value(b, middle) > middle
        low, high = np.where(above, middle, low), np.where(above, high, middle)
    return np.where(inside, high, 1.0)


SEEDS = st.integers(0, 2**32 - 1)


@given(seed=SEEDS)
@EXAMPLES
def test_theorem_13(seed):
    b = functions(seed, "any")
    grid = np.broadcast_to(GRID, (len(b), GRID.size))
    away, steep = np.abs(value(b, grid) - grid).max(axis=1), np.abs(slope(b, grid) - 1).max(axis=1)
    c0, dc0, dc1 = b[:, 0], b[:, 1], slope(b, np.ones(len(b)))
    for found in (deviation_bounds(c0, dc1, dc0), deviation_bounds(c0, dc1)):
        for number, interval in ((away, found.value), (steep, found.slope)):
            # The grid may miss a maximum by its step squared, from below only.
            assert (number <= interval.upper * (1 + 1e-9) + 1e-9).all()
            assert (number >= interval.lower * (1 - 1e-3) - 1e-6).all()
    zero = deviation_bounds(np.zeros(3), [1.0, 1.1, 1.5])
    np.testing.assert_allclose(zero.value.upper, [0, 0.2, 1.0], atol=1e-15)
    np.testing.assert_allclose(zero.slope.upper, [0, 0.3, 1.5], atol=1e-15)


def test_theorem_13_is_attained():
    """(1 - a) c + a c^2: C(-1) + 1 = 2 a = 2 (1 - C'(0)), C'(-1) - 1 = -3 a; the quarter by w (1 + c^2) / 2 + ... ."""
    a = 0.3
    found = deviation_bounds(0.0, 1 + a, 1 - a)
    assert abs((1 - a) * -1 + a + 1) == pytest.approx(float(found.value.upper))
    assert abs((1 - a) - 2 * a - 1) == pytest.approx(float(found.slope.upper))


@given(seed=SEEDS)
@EXAMPLES
def test_proposition_20_and_25(seed):
    b = functions(seed, "any")
    rng = np.random.default_rng(seed)
    c = rng.uniform(0.001, 0.999, len(b)) * rng.choice([-1, 1], len(b))
    flat = flatness(c, np.clip(value(b, np.abs(c)), b[:, 0], 1), b[:, 0])
    assert ((value(b, c) - b[:, 0]) / c <= flat + 1e-12).all()
    bound = slope_bound(c, flat, b[:, 0])
    assert (np.abs(slope(b, c)) <= bound * (1 + 1e-9) + 1e-9).all()
    assert (bound <= slope_bound(c, flat) * (1 + 1e-12) + 1e-15).all()
    x = np.abs(c)
    proved = (flat > 0) & (flat <= math.exp(-1 / math.e))
    with np.errstate(divide="ignore", invalid="ignore"):
        printed = flat * np.log(flat) * (1 + x) / (x * np.log(x))
    assert (slope_bound(c, flat)[proved] <= printed[proved] * (1 + 1e-12)).all()
    steep = slope(b, np.ones(len(b)))
    assert (slope_at_one_bound(1 - x, flat, b[:, 0]) <= steep + 1e-9).all()
    assert (slope_at_one_bound(1 - x, flat, b[:, 0]) >= (1 - b[:, 0] - flat) / (1 - x) - 1e-9).all()


@pytest.mark.parametrize("k", [1, 2, 3, 7])
def test_the_slope_bound_is_attained_by_powers(k):
    c = np.array([-0.9, 0.2, 0.7])
    np.testing.assert_allclose(slope_bound(c, np.abs(c) ** (k - 1)), k * np.abs(c) ** (k - 1), rtol=1e-12)
    assert float(slope_bound(0.5, 0.0)) == 0.0
    assert float(slope_at_one_bound(0.5, 1.0)) == pytest.approx(1.0)


@pytest.mark.parametrize("kind", ["any", "flat", "no constant"])
@given(seed=SEEDS)
@settings(max_examples=10, deadline=None)
def test_theorems_40_and_41(kind, seed):
    b = functions(seed, kind)
    rng = np.random.default_rng(seed)
    nontrivial = b[:, 2:].sum(axis=1) > 1e-6
    b = b[nontrivial]
    point = fixed_points(b)
    # Where c* is next to 1 the rounding of C itself decides the side of the fixed point.
    keep = (point == 1) & (slope(b, np.ones(len(b))) < 1 - 1e-6) | (point < 1 - 1e-4)
    b, point = b[keep], point[keep]
    s = np.minimum(slope(b, point), 1)
    positive, negative = rng.uniform(0, 1, len(b)), -rng.uniform(0, 1, len(b))
    gap = np.where(np.abs(positive - point) < 1e-6, 1.0, positive - point)
    quotient = np.where(gap == 1.0, s, np.clip((value(b, positive) - point) / gap, 0, 1))
    size = np.maximum(-negative, 1e-12)
    other = np.clip((value(b, size) - b[:, 0]) / size, 0, 1)
    up, down = positive, negative
    for n in range(12):
        lower, upper = geometric_envelope(positive, n, point, s, quotient)
        assert (up >= lower - 1e-8).all()
        assert (up <= upper + 1e-8).all()
        assert (down >= negative_lower_bound(negative, n, b[:, 0], other, point, s) - 1e-8).all()
        if kind == "flat":
            assert (down >= 1 - slope(b, np.ones(len(b))) ** n * (1 - negative) - 1e-12).all()
        up, down = value(b, up), value(b, down)


@given(seed=SEEDS)
@EXAMPLES
def test_theorem_42_corrected(seed):
    b = functions(seed, "odd")
    rng = np.random.default_rng(seed)
    c_hat = rng.uniform(0.01, 1, len(b))
    first = value(b, c_hat)
    c = c_hat * rng.uniform(-1, 1, len(b))
    for n in range(8):
        assert (np.abs(c) <= odd_bound(c_hat, np.minimum(first, c_hat), n) + 1e-12).all()
        c = value(b, c)


def test_theorem_42_as_printed_fails():
    c = 0.5
    for _ in range(2):
        c = 0.9 * c + 0.1 * c**3
    assert c == pytest.approx(0.426, abs=1e-3)
    assert c > 0.5**2
    assert c <= float(odd_bound(0.5, 0.9 * 0.5 + 0.1 * 0.125, 2))


@given(seed=SEEDS)
@EXAMPLES
def test_the_edge(seed):
    b = functions(seed, "edge")
    rng = np.random.default_rng(seed)
    start = rng.uniform(0, 1, len(b))
    index = np.arange(b.shape[1])
    curvature = b @ (index * (index - 1.0))
    first, c = np.clip(value(b, start), start, 1), start
    for n in range(20):
        lower, upper = edge_envelope(start, n, first, curvature)
        assert (c >= lower - 1e-11).all()
        assert (c <= upper + 1e-11).all()
        c = value(b, c)


def test_the_edge_over_many_layers():
    """c -> (1 + 2 c + c^2) / 4: 1 - C^n(c) ~ 4 / n; both bounds have this order."""
    with mpmath.workdps(30):
        e = mpmath.mpf(1) / 2
        for _ in range(3000):
            e -= e * e / 4
    lower, upper = edge_envelope(0.5, 3000, (1 + 1 + 0.25) / 4, 0.5)
    assert 1 - float(upper) <= float(e) <= 1 - float(lower)
    assert (1 - float(lower)) / (1 - float(upper)) < 1.2
    lower, upper = edge_envelope(0.5, [0, 5], 0.6, math.inf)
    np.testing.assert_allclose(upper, [0.5, 1.0])
    np.testing.assert_allclose(edge_envelope([0.3, 1.0], [2, 2], [1.0, 1.0], 0.0).lower, [1.0, 1.0])


@pytest.mark.parametrize(
    ("call", "subject"),
    [
        (lambda: deviation_bounds(0.5, 0.2), "dc1"),
        (lambda: deviation_bounds(0.5, 2.0, 0.7), "dc0"),
        (lambda: deviation_bounds(0.1, 1.0, 0.2), "dc1"),
        (lambda: deviation_bounds(math.nan, 1.0), "c0"),
        (lambda: slope_bound(1.0, 0.5), "c"),
        (lambda: slope_bound(0.5, 0.8, 0.5), "flat"),
        (lambda: slope_at_one_bound(0.0, 0.5), "eps"),
        (lambda: flatness(0.0, 0.5, 0.1), "c"),
        (lambda: flatness(0.5, 0.1, 0.5), "value"),
        (lambda: geometric_envelope(-0.5, 1, 1.0, 0.5, 0.5), "c"),
        (lambda: geometric_envelope(0.5, 1.5, 1.0, 0.5, 0.5), "n"),
        (lambda: edge_envelope(0.5, 1, 0.3, 1.0), "value"),
        (lambda: odd_bound(0.5, 0.6, 1), "value"),
        (lambda: odd_bound(0.0, 0.0, 1), "c_hat"),
        (lambda: negative_lower_bound(0.5, 1, 0.1, 0.5, 1.0, 0.5), "c"),
    ],
)
def test_refusals(call, subject):
    with pytest.raises(ArgumentError) as error:
        call()
    assert error.value.subject == subject
