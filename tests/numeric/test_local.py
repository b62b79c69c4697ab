"""Local Q and C maps of every activation: against Hermite expansions of mpmath values, and by their invariants."""

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import qcmap as qc
from qcmap.activations import CATALOGUE
from qcmap.errors import ArgumentError, NumericalError, QCMapError
from qcmap.numeric import LocalMaps, Transform, local_maps
from tests.oracles import FORMULAS, MP, hermite_map, samples

QS = (0.01, 1.0, 100.0)
C = (-0.9, -0.35, 0.0, 0.5, 0.9)


@pytest.mark.parametrize("name", CATALOGUE)
class TestEveryActivation:
    """One class of laws: a new catalogue row is tested by all of them at once."""

    @pytest.mark.parametrize("q", QS)
    def test_moments(self, name, q):
        maps, oracle = local_maps(name), hermite_map(name, q)
        assert float(maps.q(q)) == pytest.approx(oracle.moment, rel=1e-14)
        assert float(maps.dq(q)) == pytest.approx(oracle.slope, rel=1e-13, abs=1e-15)
        assert float(maps.mean(q)) == pytest.approx(oracle.mean, abs=1e-14 * (1 + math.sqrt(oracle.moment)))

    @pytest.mark.parametrize("q", QS)
    def test_c_map_and_slope(self, name, q):
        maps, oracle = local_maps(name), hermite_map(name, q)
        want = [oracle.c(oracle, c) for c in C]
        np.testing.assert_allclose(maps.c(C, q, q), want, rtol=0, atol=5e-15)
        slopes = [oracle.c(oracle, c, derivative=True) for c in C]
        np.testing.assert_allclose(maps.dc(C, q, q), slopes, rtol=2e-14, atol=1e-14)

    def test_different_q_values(self, name):
        maps, first, second = local_maps(name), hermite_map(name, 0.01), hermite_map(name, 1.0)
        want = [first.c(second, c) for c in C]
        np.testing.assert_allclose(maps.c(C, 0.01, 1.0), want, rtol=0, atol=5e-15)
        np.testing.assert_allclose(maps.c(C, 1.0, 0.01), want, rtol=0, atol=5e-15)
        slopes = [first.c(second, c, derivative=True) for c in C]
        np.testing.assert_allclose(maps.dc(C, 0.01, 1.0), slopes, rtol=2e-14, atol=1e-14)

    def test_ends(self, name):
        """C(1, q, q) = 1, C(-1) and C(1, q1, q2) by one-dimensional mpmath integrals."""
        maps, formula = local_maps(name), FORMULAS[name]
        assert float(maps.c(1.0)) == pytest.approx(1, abs=2e-15)
        root = MP.sqrt(MP.mpf(0.5))
        s = samples(formula, 1, 0, more=[k * sign / r for k in formula.kinks for sign in (1, -1) for r in (1, root)])
        small = [formula.value(root * x) for x in s.x]
        norm = MP.sqrt(MP.fdot(s.w, [f * f for f in s.value]) * MP.fdot(s.w, [f * f for f in small]))
        assert float(maps.c(1.0, 1.0, 0.5)) == pytest.approx(
            float(MP.fsum(w * f * g for w, f, g in zip(s.w, s.value, small, strict=True)) / norm), abs=3e-15
        )
        mirrored = [formula.value(-x) for x in s.x]
        square = MP.fdot(s.w, [f * f for f in s.value])
        assert float(maps.c(-1.0)) == pytest.approx(
            float(MP.fsum(w * f * g for w, f, g in zip(s.w, s.value, mirrored, strict=True)) / square), abs=3e-15
        )

    @settings(max_examples=4)
    @given(q=st.floats(0.05, 20), start=st.floats(0, 0.3))
    def test_invariants(self, name, q, start):
        maps = local_maps(name)
        c = np.linspace(start, 1, 8)
        value = maps.c(c, q, q)
        assert value[-1] == pytest.approx(1, abs=1e-14)
        assert (np.abs(maps.c(-c, q, q)) <= 1).all()
        assert (value >= -1e-15).all()
        # C(0) = mean^2 / Q: increasing and convex on [0, 1], its power series having no negative coefficient.
        # C is evaluated at q rounded to 13 digits.
        assert float(maps.c(0.0, q, q)) == pytest.approx(float(maps.mean(q) ** 2 / maps.q(q)), abs=3e-13)
        assert (np.diff(value) >= -1e-14).all()
        assert (np.diff(value, 2) >= -1e-13).all()
        slope = maps.dc(c, q, q)
        assert (slope >= -1e-14).all()
        assert (np.diff(slope) >= -1e-12 * slope[-1]).all()
        # The mean value theorem on each interval.
        steps = np.diff(value) / np.diff(c)
        assert (steps <= slope[1:] + 1e-11).all()
        assert (steps >= slope[:-1] - 1e-11).all()

    @settings(max_examples=4)
    @given(q=st.floats(0.05, 20))
    def test_dq_is_the_derivative_of_q(self, name, q):
        maps, h = local_maps(name), 1e-3 * q
        steps = np.array([-2, -1, 1, 2]) * h
        difference = float(maps.q(q + steps) @ np.array([1, -8, 8, -1]) / (12 * h))
        assert float(maps.dq(q)) == pytest.approx(difference, rel=1e-8, abs=1e-9)

    @pytest.mark.parametrize("transform", [None, (0.4, -0.3, 0.2, 1.7)])
    def test_interpolant_is_the_direct_integral(self, name, transform):
        if name == "identity" and transform is not None:
            return
        act = qc.activation(name)
        maps = LocalMaps(act, None if transform is None else Transform(act, *transform))
        many = np.cos(np.linspace(0, math.pi, 27))
        few = [1, 5, 13, 20]
        np.testing.assert_allclose(maps.c(many)[few], maps.c(many[few]), rtol=0, atol=2e-14)
        assert maps.c(many).shape == many.shape
        if FORMULAS[name].kinks == ():
            np.testing.assert_allclose(maps.dc(many)[few], maps.dc(many[few]), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", ["relu", "erf", "sin", "square", "leaky_relu", "cos"])
def test_closed_forms_are_the_general_quadrature(name):
    """The same function without its kernel, close to c = 1 as well."""
    import dataclasses

    act = qc.activation(name)
    plain = LocalMaps(dataclasses.replace(act, kernel=None))
    c = np.array([-1.0, -0.9999, -0.3, 0.0, 0.7, 0.99, 0.9999, 1 - 1e-8, 1.0])
    for q1, q2 in ((1.0, 1.0), (0.3, 5.0)):
        np.testing.assert_allclose(local_maps(act).c(c, q1, q2), plain.c(c, q1, q2), rtol=0, atol=1e-14)
    np.testing.assert_allclose(local_maps(act).q([0.2, 4.0]), plain.q([0.2, 4.0]), rtol=1e-14)


def test_relu_slope_in_closed_form():
    """dC/dc = 1 - arccos(c) / pi, also where interpolated."""
    for c in (np.array([-1, -0.5, 0.3, 0.9999, 1.0]), np.linspace(-1, 1, 101)):
        np.testing.assert_allclose(local_maps("relu").dc(c), 1 - np.arccos(c) / math.pi, rtol=0, atol=1e-13)


def test_shaped_map_meets_its_conditions():
    shaping = qc.dks(qc.zoo.mlp(30, activation="swish"), zeta=1.5)
    maps = local_maps("swish", shaping["swish"])
    assert float(maps.q()) == pytest.approx(1, abs=1e-13)
    assert float(maps.dq()) == pytest.approx(1, abs=1e-12)
    assert float(maps.c(0.0)) == pytest.approx(0, abs=1e-14)
    assert float(maps.dc(1.0)) == pytest.approx(shaping.psi, abs=1e-12)


@given(c=st.floats(-1, 1), q1=st.floats(0.1, 10), q2=st.floats(0.1, 10))
@settings(max_examples=10)
@pytest.mark.parametrize("name", ["softplus", "hardtanh", "selu"])
def test_symmetry_in_q(name, c, q1, q2):
    maps = local_maps(name)
    assert float(maps.c(c, q1, q2)) == pytest.approx(float(maps.c(c, q2, q1)), abs=2e-13)
    assert abs(float(maps.c(c, q1, q2))) <= 1


def test_broadcasting():
    maps = local_maps("tanh")
    c, q1, q2 = np.array([[0.1], [0.9]]), np.array([0.5, 1.0, 2.0]), 1.0
    got = maps.c(c, q1, q2)
    assert got.shape == (2, 3)
    assert got[1, 2] == pytest.approx(float(maps.c(0.9, 2.0, 1.0)), abs=1e-15)
    assert maps.q(np.ones((2, 0))).shape == (2, 0)
    assert np.shape(maps.c(0.3)) == ()
    assert np.shape(maps.dc(0.3)) == ()
    assert np.shape(maps.dq(2.0)) == ()


def test_one_object_for_each_activation():
    assert local_maps("tanh") is local_maps(qc.activation("tanh"))


@pytest.mark.parametrize("c", [1.001, -1.1, math.nan, math.inf, [0.5, 2.0]])
def test_c_out_of_range(c):
    for name in ("tanh", "relu"):
        for function in (local_maps(name).c, local_maps(name).dc):
            with pytest.raises(ArgumentError) as error:
                function(c)
            assert isinstance(error.value, QCMapError)
            assert error.value.subject == "c"


@pytest.mark.parametrize("q", [0, -1, math.nan, math.inf])
def test_q_out_of_range(q):
    maps = local_maps("tanh")
    calls = (maps.q, maps.dq, maps.mean, lambda q: maps.c(0.1, q), lambda q: maps.dc(0.1, 1, q))
    for call in calls:
        with pytest.raises(ArgumentError) as error:
            call(q)
        assert error.value.remedy


def test_rounding_beyond_one_is_forgiven():
    assert float(local_maps("tanh").c(1 + 1e-13)) == pytest.approx(1, abs=1e-14)


def test_a_constant_has_no_c_map():
    zero = qc.Activation.from_callable(np.zeros_like, name="zero")
    with pytest.raises(NumericalError, match="zero"):
        local_maps(zero).c(0.5)


@pytest.mark.parametrize("name", ["tanh", "hardtanh", "cos"])
def test_symmetric_functions_have_exact_zeros_among_their_coefficients(name):
    act = qc.activation(name)
    maps = local_maps(dataclasses.replace(act, kernel=None), Transform(act, -1.3, 0.0, 0.4, 2.0))
    values = maps.hermite(range(9))
    if act.parity == "odd":
        assert values[0] == 0.8
        assert not values[2::2].any()
        assert float(local_maps(act).c(0)) == 0
    else:
        assert not values[1::2].any()
    # The others are those that the quadrature of a shifted copy has, where nothing is known of its symmetry.
    near = local_maps(act, Transform(act, -1.3, 1e-9, 0.4, 2.0)).hermite(range(9))
    assert np.abs(values - near).max() < 1e-8
