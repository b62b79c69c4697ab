"""Closed-form dual kernels against Hermite expansions and two-dimensional mpmath integrals."""

import math

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qcmap.activations import CATALOGUE, activation
from qcmap.numeric import LocalMaps, Transform
from tests.oracles import MP, HermiteMap, formula_of, two_slopes_formula
from tests.pairs import PairMap

CLOSED = tuple(name for name in CATALOGUE if activation(name).kernel is not None)


def kernel(act, c, q1, q2):
    return float(act.kernel(*np.array([c, q1, q2], dtype=float)))


def test_which_have_closed_forms():
    assert set(CLOSED) == {"cos", "erf", "identity", "leaky_relu", "relu", "sin", "square"}


@pytest.mark.parametrize("name", CLOSED)
@pytest.mark.parametrize(("q1", "q2"), [(0.01, 0.01), (1.0, 1.0), (0.3, 4.0), (100.0, 2.0)])
def test_kernel_is_the_hermite_series(name, q1, q2):
    act = activation(name)
    first, second = (HermiteMap(formula_of(act), q) for q in (q1, q2))
    size = math.sqrt(first.moment * second.moment)
    for c in (-0.9, -0.4, 0.0, 0.25, 0.85):
        assert abs(kernel(act, c, q1, q2) - size * first.c(second, c)) < 2e-14 * size
    assert kernel(act, 1.0, q1, q1) == pytest.approx(first.moment, rel=2e-14)


@pytest.mark.parametrize("slope", [-1.0, -0.5, 0.3])
def test_kernel_of_two_slopes(slope):
    act, oracle = activation("leaky_relu", negative_slope=slope), HermiteMap(two_slopes_formula(slope), 1.0)
    for c in (-0.8, 0.1, 0.7):
        assert kernel(act, c, 1, 1) == pytest.approx(oracle.moment * oracle.c(oracle, c), abs=2e-14)


@pytest.mark.parametrize("name", ["erf", "sin"])
def test_kernel_is_the_double_integral(name):
    """The definition itself, once, for smooth functions: E over (x, y) by mpmath's Gauss-Legendre rule."""
    act, phi, c, q1, q2 = activation(name), formula_of(activation(name)).value, MP.mpf("0.6"), 1, MP.mpf("0.5")
    context = mpmath.mp.clone()
    context.dps = 15

    def integrand(x, y):
        return phi(MP.sqrt(q1) * x) * phi(MP.sqrt(q2) * (c * x + MP.sqrt(1 - c * c) * y)) * MP.exp(-(x * x + y * y) / 2)

    panels = [-9, -6, -3, 0, 3, 6, 9]
    want = context.quad(integrand, panels, panels, method="gauss-legendre", maxdegree=4) / (2 * MP.pi)
    assert abs(kernel(act, 0.6, 1.0, 0.5) - want) < 1e-13


@given(c=st.floats(-1, 1), q1=st.floats(1e-6, 1e6), q2=st.floats(1e-6, 1e6))
@pytest.mark.parametrize("name", CLOSED)
def test_symmetry_and_cauchy_schwarz(name, c, q1, q2):
    act = activation(name)
    value = kernel(act, c, q1, q2)
    assert value == pytest.approx(kernel(act, c, q2, q1), rel=1e-13, abs=1e-300)
    bound = math.sqrt(kernel(act, 1.0, q1, q1) * kernel(act, 1.0, q2, q2))
    assert abs(value) <= bound * (1 + 1e-9)
    assert math.isfinite(value)
    if act.parity == "odd":
        assert kernel(act, -c, q1, q2) == pytest.approx(-value, rel=1e-13, abs=1e-300)
    if act.parity == "even":
        assert kernel(act, -c, q1, q2) == pytest.approx(value, rel=1e-13, abs=1e-300)


@pytest.mark.parametrize("q", [1e4, 1e8])
def test_erf_keeps_digits_at_large_q(q):
    """1 - Q(q) = 1 - (2/pi) asin(2q / (1 + 2q)) needs the digits of 1 - sine."""
    want = 2 / MP.pi * MP.asin(2 * MP.mpf(q) / (1 + 2 * MP.mpf(q)))
    assert abs((1 - kernel(activation("erf"), 1, q, q)) / (1 - want) - 1) < 1e-10


@pytest.mark.parametrize("gap", [1e-4, 1e-8, 1e-12])
def test_relu_near_one(gap):
    """1 - C(1 - gap) of relu against the arc-cosine formula at 32 digits, for the float 1 - gap."""
    c = 1 - gap
    exact = (MP.sqrt(1 - MP.mpf(c) ** 2) + (MP.pi - MP.acos(c)) * c) / (2 * MP.pi)
    assert abs(kernel(activation("relu"), c, 1, 1) - exact) < 2e-16


@pytest.mark.parametrize("name", ["sin", "cos"])
@pytest.mark.parametrize("scale", [-0.4, 0.03])
@pytest.mark.parametrize("q", [(1.0, 1.0), (1.0, 100.0)])
def test_waves_with_all_constants(name, scale, q):
    """Shifted waves by ball arithmetic; the offset cancels the mean, as in shaped layers."""
    constants = (scale, -0.6, -math.cos(-0.6) if name == "cos" else -math.sin(-0.6), 1.7)
    maps, oracle = LocalMaps(name, Transform(activation(name), *constants)), PairMap(name, *q, constants)
    c = np.array([-1 + 1e-9, -0.6, 0.0, 0.8, 1 - 1e-12])
    exact = [oracle.both(value) for value in c.tolist()]
    for order, found in enumerate((maps.c(c, *q), maps.dc(c, *q))):
        want = [float(pair[order]) for pair in exact]
        worst = np.abs(found - want).max()
        assert worst < 2e-14 * np.abs(want).max()
        assert worst <= maps.error(*q, order) < 1e-12 * np.abs(want).max()


@pytest.mark.parametrize("name", ["relu", "erf", "square", "leaky_relu"])
def test_a_negative_scale_changes_nothing(name):
    """As (u1, u2) and -(u1, u2) are alike."""
    act, c = activation(name), np.linspace(-1, 1, 5)
    one, other = (LocalMaps(act, Transform(act, scale, 0.0, 0.3, 1.2)) for scale in (0.7, -0.7))
    np.testing.assert_array_equal(one.c(c, 2.0, 0.3), other.c(c, 2.0, 0.3))
    mirrored = Transform(act, -0.7, 1e-9, 0.3, 1.2)
    np.testing.assert_allclose(LocalMaps(act, mirrored).c(c, 2.0, 0.3), one.c(c, 2.0, 0.3), atol=1e-8)
