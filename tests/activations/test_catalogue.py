"""Laws that every activation of the catalogue obeys, against independent mpmath formulas."""

import math
import warnings

import mpmath
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from qcmap.activations import CATALOGUE, activation
from tests.formulas import FORMULAS, MP, Formula

POINTS = st.floats(-700, 700) | st.floats(-8, 8) | st.floats(-1e-3, 1e-3)
POLYNOMIAL = ("hardswish", "hardtanh", "identity", "leaky_relu", "relu", "relu6", "square")
NEGATIVE_ZERO_AND_FAR = np.array([-700.0, -300.0, -40.0, -0.0, 0.0, 1e-300, 40.0, 300.0, 700.0])


def away_from_kinks(name, u):
    return all(abs(u - kink) > 1e-6 for kink in FORMULAS[name].kinks)


def close(got, want, u):
    """Within rounding of the size of the result, or of u where phi(u) cancels."""
    return abs(MP.mpf(float(got)) - want) <= MP.mpf("2e-15") * (1 + abs(want) + abs(u))


def test_the_oracle_knows_every_name():
    assert set(CATALOGUE) == set(FORMULAS)


@pytest.mark.parametrize("name", CATALOGUE)
class TestEveryActivation:
    """One class of laws: a new catalogue row is tested by all of them at once."""

    @given(u=POINTS)
    @example(u=0.3)
    def test_value_is_the_formula(self, name, u):
        assert close(activation(name)(u), FORMULAS[name].value(MP.mpf(u)), u)

    @given(u=POINTS)
    @example(u=0.3)
    def test_first_derivative_is_the_formula(self, name, u):
        if away_from_kinks(name, u):
            assert close(activation(name).derivative(u), FORMULAS[name].first(MP.mpf(u)), u)

    @given(u=st.floats(-20, 20))
    @example(u=0.3)
    def test_derivatives_are_those_of_the_value_by_mpmath(self, name, u):
        if not all(abs(u - kink) > 0.01 for kink in FORMULAS[name].kinks):
            return
        act, formula = activation(name), FORMULAS[name]
        want1 = MP.diff(formula.value, u, 1, h=MP.mpf("1e-12"))
        want2 = MP.diff(formula.first, u, 1, h=MP.mpf("1e-12"))
        assert abs(float(act.derivative(u, 1)) - want1) < 1e-10 * (1 + abs(u))
        assert abs(float(act.derivative(u, 2)) - want2) < 1e-10 * (1 + abs(u))

    def test_finite_without_warnings_far_out(self, name):
        act = activation(name)
        with warnings.catch_warnings(), np.errstate(over="raise", invalid="raise", divide="raise"):
            warnings.simplefilter("error")
            for result in (
                act(NEGATIVE_ZERO_AND_FAR),
                act.derivative(NEGATIVE_ZERO_AND_FAR, 1),
                act.derivative(NEGATIVE_ZERO_AND_FAR, 2),
            ):
                assert result.shape == NEGATIVE_ZERO_AND_FAR.shape
                assert np.isfinite(result).all()

    @pytest.mark.parametrize("shape", [(), (1,), (0,), (2, 3), (2, 1, 2)])
    def test_shapes_are_kept(self, name, shape):
        act = activation(name)
        u = np.full(shape, 0.3)
        for result in (act(u), act.derivative(u), act.derivative(u, 2)):
            assert np.shape(result) == shape
            assert np.asarray(result).dtype == np.float64

    @given(u=POINTS)
    def test_parity(self, name, u):
        act = activation(name)
        if act.parity is not None:
            assert act(-u) == (act(u) if act.parity == "even" else -act(u))

    def test_parity_is_stated_where_it_holds(self, name):
        u = MP.mpf("0.7371")
        value = FORMULAS[name].value
        holds = "odd" if value(-u) == -value(u) else "even" if value(-u) == value(u) else None
        assert activation(name).parity == holds

    @given(u=st.floats(-50, 50), factor=st.floats(0.01, 10))
    def test_homogeneity(self, name, u, factor):
        act = activation(name)
        if act.homogeneity is not None:
            np.testing.assert_allclose(act(factor * u), factor**act.homogeneity * act(u), rtol=1e-14, atol=1e-300)

    def test_homogeneity_is_stated_where_it_holds(self, name):
        value = FORMULAS[name].value
        degree = {value(MP.mpf(u) * 2) / value(MP.mpf(u)) if value(MP.mpf(u)) else None for u in (-1.37, 0.77, 5.1)}
        degree.discard(None)
        expected = {1: 2, 2: 4}
        if len(degree) == 1 and degree <= set(expected.values()):
            assert expected[activation(name).homogeneity] in degree
        else:
            assert activation(name).homogeneity is None

    def test_two_slopes_are_the_function(self, name):
        act = activation(name)
        if act.two_slopes is not None:
            left, right = act.two_slopes
            assert act(-3.0) == -3 * left
            assert act(3.0) == 3 * right

    def test_kinks_are_those_of_the_formula(self, name):
        assert tuple(kink.at for kink in activation(name).kinks) == FORMULAS[name].kinks

    def test_jumps_are_as_stated(self, name):
        act, h = activation(name), MP.mpf("1e-14")
        for kink in act.kinks:
            formula, sides = FORMULAS[name], (kink.at - h, kink.at + h)
            below, above = (formula.value(u) for u in sides)
            assert abs(above - below - MP.mpf(kink.value)) < 1e-12
            below, above = (formula.first(u) for u in sides)
            assert abs(above - below - MP.mpf(kink.slope)) < 1e-12
            second = [MP.diff(formula.first, u, 1, h=MP.mpf("1e-18")) for u in sides]
            assert abs(second[1] - second[0] - MP.mpf(kink.curvature)) < 1e-10
            assert (kink.value, kink.slope, kink.curvature) != (0, 0, 0)

    def test_continuous_with_two_derivatives_elsewhere(self, name):
        act = activation(name)
        grid = np.linspace(-12.00013, 12.00017, 40_001)
        step = grid[1] - grid[0]
        for function in (act.value, act.first, act.second):
            jumps = np.abs(np.diff(function(grid)))
            for kink in act.kinks:
                jumps[np.searchsorted(grid, kink.at) - 1] = 0
            # |phi'|, |phi''| and |phi'''| are below 30 for every row.
            assert jumps.max() < 30 * step

    def test_length_and_centre_bound_the_singularities(self, name):
        """Cauchy: the integral of (z - c) phi'(z) over a circle about c vanishes where the piece inside is analytic.

        No singularity nearer to the centre than ``length``, and none nearer to a real u than half of abs(u - centre).
        """
        act = activation(name)
        if name in POLYNOMIAL:
            assert math.isinf(act.length)
            return
        if math.isinf(act.length):
            # Entire pieces: circles of radius 3 that cross no kink.
            discs = [(c, 3.0) for c in (-8.0, -3.6, 0.0, 3.6) if all(abs(c - kink.at) > 3 for kink in act.kinks)]
        else:
            offsets = (0.5, 1.0, 1.6, 2.4, 3.5) if act.kinks else (0.0, 0.5, 1.0, 1.6, 2.4, 3.5)
            smallest = 0 if act.kinks else 1
            discs = [
                (act.centre + sign * offset * act.length, 0.93 * act.length * max(smallest, offset / 2))
                for offset in offsets for sign in (1, -1)
            ]  # fmt: skip
        assert discs
        count = 320
        for centre, radius in discs:
            points = [MP.mpf(centre) + radius * MP.expjpi(MP.mpf(2 * k) / count) for k in range(count)]
            # phi' has the singularities of phi, and no branches of a logarithm.
            values = [FORMULAS[name].first(z) for z in points]
            integral = MP.fsum((z - centre) * f for z, f in zip(points, values, strict=True)) / count
            assert abs(integral) < MP.mpf("1e-5") * max(1, *map(abs, values)), (centre, radius)

    @given(u=st.floats(-30, 30))
    @example(u=-0.25)
    def test_sympy_expression_is_the_value(self, name, u):
        expression = activation(name).sympy
        (symbol,) = expression.free_symbols
        got = expression.subs(symbol, symbol.func("x")).subs("x", mpmath.mpf(u)).evalf(25)
        assert abs(MP.mpf(str(got)) - FORMULAS[name].value(MP.mpf(u))) < 1e-14 * (1 + abs(u))

    def test_torch_counterpart_is_the_value(self, name):
        torch = pytest.importorskip("torch")
        from qcmap.nn import torch_function

        u = np.concatenate([np.linspace(-30, 30, 241), [-700.0, 700.0]])
        got = torch_function(activation(name))(torch.tensor(u, dtype=torch.float64)).numpy()
        np.testing.assert_allclose(got, activation(name)(u), rtol=1e-13, atol=1e-13)

    def test_one_object_a_name(self, name):
        assert activation(name) is activation(name)
        assert name in repr(activation(name))


def test_the_singularity_test_can_fail():
    """tanh has a pole at i pi / 2: a circle beyond it has a residue."""
    count = 256
    points = [2 * MP.expjpi(MP.mpf(2 * k) / count) for k in range(count)]
    assert abs(MP.fsum(z * MP.tanh(z) for z in points) / count) > 1


@pytest.mark.parametrize("slope", [-1.0, -0.3, 0.0, 0.2, 1.0])
@given(u=POINTS)
def test_leaky_relu_with_its_slope(slope, u):
    act = activation("leaky_relu", negative_slope=slope)
    assert act(u) == (u if u > 0 else slope * u)
    assert act.kinks[0].slope == 1 - slope
    assert act.two_slopes == (slope, 1.0)
    assert act.parameters["negative_slope"] == slope


@pytest.mark.parametrize("alpha", [0.3, 1.7])
@pytest.mark.parametrize("name", ["elu", "celu"])
def test_exponential_units_with_alpha(name, alpha):
    act = activation(name, alpha=alpha)
    width = alpha if name == "celu" else 1

    def value(u):
        return u if u > 0 else alpha * MP.expm1(u / width)

    formula = Formula(value, lambda u: MP.diff(value, u), (0,))
    for u in (-30.0, -1.2, -1e-9, 0.4, 5.0):
        assert close(act(u), formula.value(MP.mpf(u)), u)
        assert abs(act.derivative(u) - (1 if u > 0 else alpha / width * math.exp(u / width))) < 1e-14
    assert act.kinks[0].slope == pytest.approx(1 - alpha / width, abs=1e-15)
    assert act.kinks[0].curvature == pytest.approx(-alpha / width**2)
    assert float(act.sympy.subs(next(iter(act.sympy.free_symbols)), -1.2)) == pytest.approx(float(act(-1.2)), rel=1e-14)


@pytest.mark.parametrize(
    ("alias", "name"),
    [("silu", "swish"), ("logistic", "sigmoid"), ("bent_identity", "bentid"), ("arctan", "atan"), ("arcsinh", "asinh")],
)
def test_aliases(alias, name):
    assert activation(alias) is activation(name)


@pytest.mark.parametrize("name", CATALOGUE)
def test_value_and_derivatives_at_once(name):
    """`jet` beside the three functions one by one; far out on the left each is as exact as its own size."""
    act = activation(name)
    u = np.concatenate([np.linspace(-40, 40, 4001), [0.0, 1e-9, -1e-9, 300.0, -300.0]])
    for order in (1, 2):
        found = act.jet(u, order)
        assert len(found) == order + 1
        for values, k in zip(found, range(order + 1), strict=True):
            np.testing.assert_allclose(values, act.derivative(u, k), rtol=2e-13, atol=1e-300)


def test_default_activations_stay_the_same_objects():
    """However many others there have been: pickling and shaping tell the catalogue's own by identity."""
    before = [activation(name) for name in CATALOGUE]
    for k in range(400):
        activation("leaky_relu", negative_slope=0.3 + k / 1000)
    assert all(activation(act.name) is act for act in before)
    assert activation("leaky_relu", negative_slope=0.01) is activation("leaky_relu")
