"""Bounds on C maps against random positive definite functions: true ones survive, false ones are refuted."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import find, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from theory_checks import dks_deviation, dks_flatness
from theory_checks.oracles import ACTIVATIONS
from theory_checks.positive_definite import FAMILIES, Array, Bound, activations, batch, describe, expression

DRAWS = 10_000
"""Functions to which each statement must have applied."""


def batches(count: int = 2000, degrees: tuple[int, int] = (1, 50)) -> st.SearchStrategy[Array]:
    """One example is a batch of functions from all families; hypothesis chooses the degree and the seed."""
    return st.builds(
        lambda seed, degree: batch(np.random.default_rng(seed), count, degree),
        st.integers(0, 2**32 - 1),
        st.integers(*degrees),
    )


def attack(examine: Callable[[Array], None], strategy: st.SearchStrategy[Array], examples: int = 15) -> None:
    settings(max_examples=examples, deadline=None)(given(strategy)(examine))()


def survive(bounds: Mapping[str, Bound], tolerance: float) -> None:
    tried: Counter[str] = Counter()

    def examine(b: Array) -> None:
        for name, bound in bounds.items():
            excess = bound.excess(b)
            worst = int(excess.argmax())
            assert excess[worst] <= tolerance, f"{bound.claim}: {describe(b[worst])}"
            tried[name] += bound.applications(b)

    attack(examine, batches(), examples=50)
    assert min(tried[name] for name in bounds) >= DRAWS, tried


def test_theorem_13_survives_with_its_sharp_constant():
    survive(dks_deviation.theorem() | {"sharp": dks_deviation.theorem(below=dks_deviation.SHARP)["below"]}, 1e-12)


def test_propositions_19_20_and_25_survive():
    survive(dks_flatness.secants() | dks_flatness.CORRECTED | dks_flatness.steep_end(), 1e-11)


@pytest.mark.parametrize(
    ("name", "tightened"),
    [
        ("below", dks_deviation.theorem(below=dks_deviation.SHARP + 1e-3)),
        ("above", dks_deviation.theorem(above=1.99)),
        ("slopes", dks_deviation.theorem(slopes=1.99)),
        ("centred", dks_deviation.theorem(centred=1.99)),
        ("centred slopes", dks_deviation.theorem(centred_slopes=2.99)),
        ("size", dks_flatness.secants(lambda b: dks_flatness.flatness(b) * 0.999)),
        ("end", dks_flatness.steep_end(power=1.01)),
        ("printed", dks_flatness.SLOPES),
    ],
)
def test_batches_refute_what_is_slightly_wrong(name, tightened):
    b = batch(np.random.default_rng(1), 1000, 12)
    assert tightened[name].excess(b).max() > 1e-4


def test_proposition_22_survives():
    depth, tried = 2000, Counter()

    def examine(b: Array) -> None:
        at_1 = b @ np.arange(b.shape[1])
        assert at_1.max() <= 1 + 1e-12
        gap = dks_flatness.dichotomy(b, dks_flatness.at_minus_one(b, depth), at_1**depth)
        assert gap.max() < 2e-3, describe(b[gap.argmax()])
        even = (b[:, 1::2] == 0).all(axis=1)
        tried.update(all=len(b), steep=int((even & (at_1 > 1 - 1e-12)).sum()))

    strategy = st.builds(
        lambda seed, degree: dks_flatness.contracting(np.random.default_rng(seed), 3000, degree),
        st.integers(0, 2**32 - 1),
        st.integers(2, 8),
    )
    attack(examine, strategy, examples=12)
    assert tried["all"] >= DRAWS
    assert tried["steep"] >= 100  # even, with slope 1 at 1: the slope at -1 stays -1


class Activations:
    """Polynomial activations sum_i (+-) sqrt(b_i) h_i, with norms and C maps by quadrature that is exact for them.

    C is computed in the plane, from its definition, and interpolated at as many points as it has coefficients.
    """

    def __init__(self, b: Array, seed: int = 0) -> None:
        self.b, count, degree = b, len(b), b.shape[1] - 1
        roots = np.sqrt([math.factorial(i) for i in range(degree + 1)])
        self.coefficients = np.sqrt(b) * np.random.default_rng(seed).choice([-1.0, 1.0], b.shape) / roots
        x, weights = (np.asarray(z, dtype=np.float64) for z in np.polynomial.hermite_e.hermegauss(degree + 2))
        weights /= weights.sum()
        self.x, self.weights = x, weights
        self.phi = self.values(x)
        self.rate = self.values(x, np.polynomial.hermite_e.hermeder(self.coefficients.T))
        points = np.cos(math.pi * (np.arange(degree + 1) + 0.5) / (degree + 1))
        self.c_values = np.empty((count, degree + 1))
        for k, c in enumerate(points):
            other = self.values((c * x[:, None] + math.sqrt(1 - c * c) * x[None, :]).ravel()).reshape(count, len(x), -1)
            self.c_values[:, k] = np.einsum("ni,nij,i,j->n", self.phi, other, weights, weights, optimize=True)
        self.dual = np.linalg.solve(np.vander(points, increasing=True), self.c_values.T).T

    def values(self, x: Array, coefficients: NDArray[Any] | None = None) -> Array:
        chosen = self.coefficients.T if coefficients is None else coefficients
        return np.asarray(np.polynomial.hermite_e.hermeval(x, chosen), dtype=np.float64)

    def mean(self, h: Array) -> Array:
        return h @ self.weights


def nl_squared(phi: Activations) -> Array:
    """Of the definition in section 13.3."""
    share = phi.mean(phi.phi * phi.x)[:, None]
    return phi.mean((phi.phi - share * phi.x) ** 2) / phi.mean(phi.phi**2)


def na_squared(phi: Activations) -> Array:
    """Of the definition in section 13.4."""
    return phi.mean((phi.rate - phi.mean(phi.rate)[:, None]) ** 2) / phi.mean(phi.rate**2)


def test_equation_28_and_propositions_16_and_18_hold_for_random_activations():
    tried = Counter()

    def examine(b: Array) -> None:
        b = b[b[:, 0] < 0.99]
        phi, powers = Activations(b), np.arange(b.shape[1])
        assert np.abs(phi.dual - b).max() < 1e-10  # a_i^2 from i = 0
        norm, at_0, at_1 = phi.dual.sum(axis=1), phi.dual[:, 1], phi.dual @ powers
        assert np.abs(nl_squared(phi) - (1 - at_0 / norm)).max() < 1e-10
        na = na_squared(phi)
        assert np.abs(na - (1 - at_0 / at_1)).max() < 1e-8
        assert (na >= 1 - norm / at_1 - 1e-8).all()
        tried["functions"] += len(b)

    attack(examine, batches(1000, degrees=(2, 8)), examples=30)
    assert tried["functions"] >= DRAWS


WEIGHTS = st.lists(st.integers(0, 9), min_size=2, max_size=5).filter(any)


def normalised(weights: list[int]) -> Array:
    return np.array([weights]) / sum(weights)


def test_identity_map_refutes_proposition_20():
    identity = np.array([[0.0, 1.0]])
    assert dks_flatness.SLOPES["printed"].excess(identity)[0] == pytest.approx(1)
    for bound in dks_flatness.CORRECTED.values():
        assert bound.excess(identity)[0] <= 1e-12


@pytest.mark.parametrize("threshold", [0.76, 0.9])
def test_hypothesis_refutes_proposition_20_above_its_condition(threshold):
    """Already C(c) = 1 - w + w c with w > exp(-0.2785) = 0.757 is a counterexample at c = 0.278."""
    printed = dks_flatness.SLOPES["printed"]
    bound = Bound(printed.claim, printed.smaller, printed.larger, lambda b: dks_flatness.flatness(b) <= threshold)
    weights = st.tuples(st.integers(0, 99), st.integers(1, 99))
    found = find(weights, lambda w: bound.excess(normalised(list(w)))[0] > 1e-4)
    assert found[1] / sum(found) <= threshold


def test_hypothesis_refutes_equation_28_from_1_and_the_first_display_of_d3():
    def printed_sum_misses(weights: list[int]) -> bool:
        phi = Activations(normalised(weights))
        return abs(phi.dual.sum() - phi.b[0, 1:].sum()) > 0.01

    assert find(WEIGHTS, printed_sum_misses)[0] > 0

    def printed_display_misses(weights: list[int]) -> bool:
        phi = Activations(normalised(weights))
        return bool(any(weights[1:]) and abs(na_squared(phi)[0] - nl_squared(phi)[0]) > 0.01)

    assert any(find(WEIGHTS, printed_display_misses)[1:])


def test_families_are_positive_definite_and_differ():
    random = np.random.default_rng(0)
    for degree in (1, 2, 9, 60):
        for name, draw in FAMILIES.items():
            b = draw(random, 50, degree)
            assert b.shape == (50, degree + 1), name
            assert b.min() >= 0, name
            assert np.abs(b.sum(axis=1) - 1).max() < 1e-13, name
    assert not FAMILIES["odd"](random, 20, 9)[:, ::2].any()
    assert not FAMILIES["even"](random, 20, 9)[:, 1::2].any()
    assert (FAMILIES["flat"](random, 20, 9) @ np.arange(10) <= 1 + 1e-12).all()


def test_activations_are_their_hermite_series():
    rows = activations(60)
    assert len(rows) == 12
    relu = (1 / math.pi, 1 / 2, 1 / (2 * math.pi), 0.0, 1 / (24 * math.pi))
    found = rows[list(ACTIVATIONS).index("relu")]
    assert found[:5] / found[1] * 0.5 == pytest.approx(relu, abs=1e-12)


def test_bound_says_where_it_applies_and_by_how_much_it_fails():
    bound = Bound("C'(0) <= 1/2", lambda b: b[:, 1], lambda b: np.full(len(b), 0.5), lambda b: b[:, 0] == 0)
    b = np.array([[0.0, 1.0, 0.0], [0.1, 0.9, 0.0], [0.0, 0.25, 0.75]])
    assert bound.excess(b) == pytest.approx([1 / 3, 0, 0])
    assert bound.applications(b) == 2
    assert [describe(row) for row in b] == ["c", "0.1 + 0.9 c", "0.25 c + 0.75 c^2"]
    assert [expression(p, "u") for p in ([0, 0], [2, -1], [Fraction(1, 3), 0, -3])] == ["0", "2 - u", "1/3 - 3 u^2"]
