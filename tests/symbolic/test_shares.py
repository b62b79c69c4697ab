"""Exact weights: the simplest fraction near a float, and shares that add up to 1."""

import math
from fractions import Fraction

import pytest
import sympy as sp
from hypothesis import given
from hypothesis import strategies as st

from qcmap.errors import ArchitectureError
from qcmap.symbolic._shares import exact, expression, identity, is_rational, number, shares_of, simplest, text

TOLERANCE = Fraction(1, 2**50)
W = sp.Symbol("w", positive=True)


def within(fraction, value):
    return abs(fraction - Fraction(value)) <= TOLERANCE * abs(Fraction(value))


def by_search(value, largest):
    """The smallest denominator of a fraction within the tolerance, by trying all of them; None if there is none."""
    given_value = Fraction(value)
    for denominator in range(1, largest + 1):
        if within(Fraction(round(given_value * denominator), denominator), value):
            return denominator
    return None


@given(numerator=st.integers(-3000, 3000), denominator=st.integers(1, 3000))
def test_the_fraction_that_was_meant(numerator, denominator):
    assert simplest(numerator / denominator) == Fraction(numerator, denominator)


@given(numerator=st.integers(1, 2000), denominator=st.integers(1, 2000), steps=st.integers(-3, 3))
def test_a_few_roundings_do_not_matter(numerator, denominator, steps):
    value = numerator / denominator
    for _ in range(abs(steps)):
        value = math.nextafter(value, math.copysign(math.inf, steps))
    assert simplest(value) == Fraction(numerator, denominator)


@given(value=st.floats(1e-3, 1e3) | st.floats(-1, 1).filter(lambda x: abs(x) > 1e-3))
def test_by_trying_all_denominators(value):
    found = simplest(value)
    assert within(found, value)
    assert by_search(value, min(found.denominator - 1, 2000)) is None


@given(value=st.floats(-1e15, 1e15, allow_nan=False) | st.floats(-1e-300, 1e-300))
def test_any_float(value):
    found = simplest(value)
    assert within(found, value)
    if value:
        assert (found > 0) == (value > 0)


@given(value=st.floats(2.0**50, 1e300))
def test_large_floats_stand_for_near_integers(value):
    assert within(simplest(value), value)
    assert simplest(value).denominator == 1


@pytest.mark.parametrize("value", [0.0, 1.0, -3.0, 2.0**60, 5e-324, 1e-310, 1e308, 2.0**-60])
def test_extreme_floats(value):
    assert within(simplest(value), value)


@pytest.mark.parametrize(
    ("weights", "shares"),
    [
        ((math.sqrt(0.05), math.sqrt(0.95)), (Fraction(1, 20), Fraction(19, 20))),
        ((0.6, 0.8), (Fraction(9, 25), Fraction(16, 25))),
        ((1 / math.sqrt(3),) * 3, (Fraction(1, 3),) * 3),
        ((1 / math.sqrt(2), 1 / math.sqrt(2)), (Fraction(1, 2),) * 2),
        ((3, 4), (Fraction(9, 25), Fraction(16, 25))),
        ((1.0, 0.0), (Fraction(1), Fraction(0))),
        ((math.sqrt(1 / 7), math.sqrt(2 / 7), math.sqrt(4 / 7)), (Fraction(1, 7), Fraction(2, 7), Fraction(4, 7))),
    ],
)
def test_squares_of_roots(weights, shares):
    assert tuple(shares_of([w**2 for w in weights])) == shares


@given(weights=st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=8))
def test_shares_add_up_to_one(weights):
    shares = shares_of(weights)
    assert all(isinstance(share, Fraction) for share in shares)
    assert sum(shares) == 1
    total = sum(map(Fraction, weights))
    for share, weight in zip(shares, weights, strict=True):
        assert abs(share / (Fraction(weight) / total) - 1) < Fraction(1, 2**47)


@given(data=st.data())
def test_shares_do_not_depend_on_the_order(data):
    weights = data.draw(st.lists(st.floats(1e-6, 1e6), min_size=2, max_size=6))
    order = data.draw(st.permutations(range(len(weights))))
    shares = shares_of(weights)
    assert shares_of([weights[k] for k in order]) == [shares[k] for k in order]


@given(counts=st.lists(st.integers(1, 4096), min_size=1, max_size=5))
def test_counts_are_exact(counts):
    assert shares_of(counts) == [Fraction(count, sum(counts)) for count in counts]


@pytest.mark.parametrize(
    "weights",
    [
        [W**2, 1 - W**2],
        [W**2, 1.0],
        [sp.Rational(1, 3), sp.Rational(2, 3)],
        [sp.sqrt(2), 1.0],
        [sp.pi, sp.E, 0.5],
        [sp.Symbol("k", positive=True, integer=True), 4],
        [sp.cos(W) ** 2, sp.sin(W) ** 2],
    ],
)
def test_symbolic_shares_add_up_to_one(weights):
    shares = shares_of(weights)
    assert sp.simplify(sp.Add(*map(expression, shares))) == 1
    total = sp.Add(*map(sp.nsimplify, weights))
    for share, weight in zip(shares, weights, strict=True):
        assert sp.simplify(expression(share) - sp.nsimplify(weight) / total) == 0


def test_rational_expressions_are_fractions():
    assert shares_of([sp.Rational(1, 3), sp.Rational(2, 3)]) == [Fraction(1, 3), Fraction(2, 3)]
    assert shares_of([sp.sqrt(2) ** 2, 2.0]) == [Fraction(1, 2)] * 2
    assert exact(sp.Rational(2, 6)) == Fraction(1, 3)
    assert exact(0.05) == Fraction(1, 20)
    assert is_rational(exact(sp.Integer(3)))
    assert not is_rational(exact(sp.sqrt(2)))


def test_sympy_floats_are_floats():
    """A sympy Float stands for the number that was meant, as a float does."""
    shares = shares_of([sp.Float(0.36), sp.Float(0.64)])
    assert shares == [Fraction(9, 25), Fraction(16, 25)]
    assert exact(sp.Float(0.05)) == Fraction(1, 20)


def test_numbers_times_exact_expressions_stay_exact():
    """Squared float weights times exact q values, as slope_polynomial(arch, q=q_values(arch)) makes them."""
    assert is_rational(shares_of([0.36 * sp.Rational(1, 2), 0.64 * sp.Integer(1)])[0])


def test_texts_and_numbers():
    assert text(Fraction(1, 20)) == "0.05"
    assert text(W**2) == "w^2"
    assert number(Fraction(1, 3)) == 1 / 3
    assert number(sp.sqrt(2)) == pytest.approx(math.sqrt(2))
    with pytest.raises(ArchitectureError, match="w a number"):
        number(W**2)


def test_identities():
    other = sp.Symbol("w")
    assert identity(Fraction(2, 4)) == identity(Fraction(1, 2))
    assert len({identity(share) for share in (Fraction(1, 2), W, other, 2 * W, sp.sqrt(2), Fraction(1, 3))}) == 6
