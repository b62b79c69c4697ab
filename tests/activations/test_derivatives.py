"""Derivatives of any order and their jumps, against mpmath's Taylor coefficients of independent formulas."""

import math
import pickle
import warnings
from dataclasses import replace

import numpy as np
import pytest

from qcmap.activations import CATALOGUE, Activation, activation
from qcmap.activations._derivatives import logistic_derivative
from qcmap.errors import ActivationError, ArgumentError
from tests.oracles import FORMULAS, MP

POINTS = (0.013, -0.45, 0.8, -1.1, 1.7, -2.6, 3.3, -5.2, 9.6, -40.0, 1e4, -1e4)
FAR = np.array([-1e4, -700.0, -40.0, -0.0, 0.0, 1e-300, 40.0, 700.0, 1e4])


def taylor(function, u, order):
    """Derivatives 0 to ``order`` of an mpmath function, from finite differences at 50 digits."""
    with MP.workdps(50):
        return [float(MP.factorial(m) * c) for m, c in enumerate(MP.taylor(function, MP.mpf(u), order))]


@pytest.mark.parametrize("name", CATALOGUE)
class TestEveryActivation:
    def test_ten_orders(self, name):
        """Within 1e-13 of the largest value of that order, here at most 3e-15."""
        act = activation(name)
        want = np.array([taylor(FORMULAS[name].value, u, 10) for u in POINTS]).T
        for order in range(1, 11):
            size = np.abs(want[order]).max()
            np.testing.assert_allclose(act.derivative(POINTS, order), want[order], rtol=0, atol=1e-13 * size)
        np.testing.assert_array_equal(act.derivative(POINTS, 0), act(POINTS))

    def test_pieces_are_the_fields(self, name):
        """The fast paths of order 1 and 2 and the pieces agree."""
        act = activation(name)
        u = np.concatenate([np.linspace(-9.03, 9.01, 301), [kink.at for kink in act.kinks]])
        assert len(act.pieces) == len(act.kinks) + 1
        for order, function in ((1, act.first), (2, act.second)):
            np.testing.assert_allclose(act._by_pieces(u, order), function(u), rtol=1e-13, atol=2e-15)

    def test_finite_far_out_without_warnings(self, name):
        act = activation(name)
        with warnings.catch_warnings(), np.errstate(over="raise", invalid="raise", divide="raise"):
            warnings.simplefilter("error")
            for order in range(1, 13):
                for k, piece in enumerate(act.pieces):
                    low = act.kinks[k - 1].at if k else -math.inf
                    high = act.kinks[k].at if k < len(act.kinks) else math.inf
                    assert np.isfinite(piece(FAR[(low <= FAR) & (high >= FAR)], order)).all()

    @pytest.mark.parametrize("shape", [(), (1,), (0,), (2, 3)])
    def test_shapes_are_kept(self, name, shape):
        for order in (0, 3, 14):
            result = activation(name).derivative(np.full(shape, 0.3), order)
            assert result.shape == shape
            assert result.dtype == np.float64

    def test_jumps(self, name):
        """One-sided differences of the formula, which is continuous at its kinks."""
        act = activation(name)
        for kink in act.kinks:
            assert [act.jump(kink, order) for order in range(3)] == [kink.value, kink.slope, kink.curvature]
            for order in range(1, 7):
                with MP.workdps(40):
                    right, left = (MP.diff(FORMULAS[name].value, kink.at, order, direction=d) for d in (1, -1))
                assert abs(act.jump(kink.at, order) - (right - left)) < 1e-11
                # The pieces themselves have the jumps that the row states.
                k = act.kinks.index(kink)
                sides = [float(piece(np.array(kink.at), order)) for piece in act.pieces[k : k + 2]]
                assert abs(sides[1] - sides[0] - (right - left)) < 1e-11

    def test_the_row_survives_pickling(self, name):
        assert pickle.loads(pickle.dumps(activation(name))) is activation(name)


@pytest.mark.parametrize("name", sorted(set(CATALOGUE) - {"selu"}))
def test_those_of_the_formula(name):
    """What a row without pieces of its own has: within a unit in the last place of mpmath at 50 digits."""
    row = activation(name)
    act = replace(row, pieces=())
    u = np.array([0.013, -0.45, 0.8, -2.6, 9.6, -40.0])
    u = u[[all(u[k] != kink.at for kink in row.kinks) for k in range(u.size)]]
    for order in (1, 2, 3, 6):
        want = np.array([taylor(FORMULAS[name].value, x, 6)[order] for x in u])
        found = act._by_pieces(u, order)
        np.testing.assert_allclose(found, want, rtol=5e-16, atol=1e-25)
        assert act.derivative(u, order) == pytest.approx(row.derivative(u, order), rel=1e-12, abs=1e-13)
    for kink in act.kinks:
        assert act.jump(kink, 3) == pytest.approx(row.jump(kink, 3), abs=1e-15)
    assert act.derivative(np.array([-700.0, 0.0, 700.0]), 4).shape == (3,)


def test_what_a_formula_cannot_tell():
    with pytest.raises(ActivationError, match="it has 1 kinks, not 0"):
        Activation("wrong", np.abs, np.sign, expression="Abs(u)").derivative(1.0, 3)
    with pytest.raises(ActivationError, match=r"zeta.*not known in ball arithmetic"):
        Activation("zeta", np.exp, np.exp, expression="zeta(u)").derivative(3.0, 3)
    # selu has more decimals than a float: no rounded number takes their place in silence.
    with pytest.raises(ActivationError, match="not known in ball arithmetic"):
        replace(activation("selu"), pieces=()).derivative(-1.0, 3)


@pytest.mark.parametrize("order", [12, 13, 24])
def test_high_orders_of_the_logistic_family(order):
    """Eulerian numbers up to 12, poles beyond; mish takes complex arguments."""
    for name in ("tanh", "softplus", "swish", "mish", "gelu", "gelu_tanh", "bentid"):
        u = np.array([0.35, -0.8, 2.2])
        with MP.workdps(60):
            want = np.array([float(MP.taylor(FORMULAS[name].value, MP.mpf(x), order)[-1]) for x in u])
        got = activation(name).derivative(u, order) / math.factorial(order)
        np.testing.assert_allclose(got, want, rtol=0, atol=1e-13 * np.abs(want).max())


def test_the_two_sums_of_the_logistic_function_agree(monkeypatch):
    u = np.linspace(-6, 6, 101)
    by_numbers = logistic_derivative(u, 12)
    monkeypatch.setattr("qcmap.activations._derivatives._MOST_BY_EULERIAN", 11)
    by_poles = logistic_derivative(u, 12)
    np.testing.assert_allclose(by_poles, by_numbers, rtol=0, atol=1e-13 * np.abs(by_numbers).max())
    assert not np.array_equal(by_poles, by_numbers)


@pytest.mark.parametrize(("name", "alpha"), [("elu", 0.3), ("celu", 1.7)])
def test_exponential_units_with_alpha(name, alpha):
    act, width = activation(name, alpha=alpha), alpha if name == "celu" else 1.0
    for order in range(1, 9):
        want = alpha / width**order * math.exp(-1.2 / width)
        assert act.derivative(-1.2, order) == pytest.approx(want, rel=1e-14)
        assert act.jump(0.0, order) == pytest.approx((order == 1) - alpha / width**order, abs=1e-13)


# --- expressions and callables ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["tanh", "softplus", "hardswish", "softsign", "gelu"])
def test_orders_of_an_expression(name):
    row = activation(name)
    act, u = Activation.from_sympy(row.expression), np.linspace(-6.03, 6.01, 31)
    for order in range(6):
        np.testing.assert_allclose(act.derivative(u, order), row.derivative(u, order), rtol=0, atol=1e-11)
        for kink in row.kinks:
            assert act.jump(kink.at, order) == pytest.approx(row.jump(kink.at, order), abs=1e-12)


def test_an_expression_survives_pickling():
    act, u = Activation.from_sympy("Max(u, 0)*exp(-u) + tanh(u)"), np.linspace(-6.03, 6.01, 31)
    act.derivative(u, 4)
    again = pickle.loads(pickle.dumps(act))
    assert again.kinks == act.kinks
    for order in range(6):
        np.testing.assert_array_equal(again.derivative(u, order), act.derivative(u, order))


def test_jumps_of_an_expression():
    """(max(u, 0))^3 e^u: the right piece u^3 + u^4 + u^5 / 2 + ... has derivatives 0, 0, 0, 6, 24, 60 at 0."""
    act = Activation.from_sympy("Max(u, 0)**3*exp(u)")
    assert [act.jump(0.0, order) for order in range(6)] == [0, 0, 0, 6, 24, 60]


SECOND = {
    "tanh": (np.tanh, 1.5),
    "atan": (np.arctan, 1.0),
    "softplus": (lambda u: np.logaddexp(0, u), 3.0),
    "bentid": (lambda u: (np.sqrt(u * u + 1) - 1) / 2 + u, 1.0),
    "elu": (lambda u: np.where(u > 0, u, np.expm1(np.minimum(u, 0))), 1.0),
    "softsign": (lambda u: u / (1 + np.abs(u)), 1.0),
    "sin": (np.sin, 1.0),
}


@pytest.mark.parametrize("name", SECOND)
def test_second_derivative_of_a_callable(name):
    """Within 1e-8 of abs(phi) around u, over length^2; the jump in curvature is measured."""
    (function, length), row = SECOND[name], activation(name)
    kinks = tuple(kink.at for kink in row.kinks)
    act = Activation.from_callable(function, kinks=kinks, length=length)
    u = np.concatenate([np.linspace(-8.03, 8.01, 203), [1e-9, -1e-9, 0.1]])
    size = 1 + np.abs(u) * (name in ("softplus", "bentid", "elu"))
    assert (np.abs(act.derivative(u, 2) - row.derivative(u, 2)) < 1e-8 * size).all()
    for kink in row.kinks:
        assert act.jump(kink.at, 2) == pytest.approx(kink.curvature, abs=1e-8)
        assert [act.jump(kink.at, order) for order in (0, 1)] == pytest.approx([kink.value, kink.slope], abs=1e-9)


def test_third_derivative_with_a_given_first():
    act = Activation.from_callable(np.sin, np.cos)
    u = np.linspace(-7, 7, 41)
    np.testing.assert_allclose(act.derivative(u, 2), -np.sin(u), atol=1e-11)
    np.testing.assert_allclose(act.derivative(u, 3), -np.cos(u), atol=1e-8)


def test_what_a_callable_does_not_tell():
    act = Activation.from_callable(np.tanh, name="mine")
    with pytest.raises(ActivationError, match=r"above order 2 are not known.*from_sympy"):
        act.derivative(0.3, 3)
    with pytest.raises(ActivationError, match="above order 3"):
        Activation.from_callable(np.sin, np.cos).derivative(0.3, 4)
    kinked = Activation.from_callable(np.abs, kinks=(0.0,))
    with pytest.raises(ActivationError, match="above order 2"):
        kinked.jump(0.0, 3)


def test_a_second_derivative_that_is_not_found_is_refused():
    """A scale finer than declared, or kinks too close: an error, not a number of little worth."""
    steep = Activation.from_callable(lambda u: np.tanh(20 * (u - 3)), name="steep")
    with pytest.raises(ActivationError, match="order 2 is not found to 1e-08"):
        steep.derivative(3.1, 2)
    t = math.tanh(2)
    for length in (1.5 / 20, 1.0):  # a length that is too large is made smaller
        right = Activation.from_callable(lambda u: np.tanh(20 * u), length=length)
        assert right.derivative(0.1, 2) == pytest.approx(-800 * t * (1 - t * t), abs=400e-8)
    close = Activation.from_callable(lambda u: np.abs(u) + np.abs(u - 1e-3), kinks=(0.0, 1e-3))
    with pytest.raises(ActivationError, match="not found"):
        close.derivative(5e-4, 2)
    assert [kink.curvature for kink in close.kinks] == [0, 0]
    np.testing.assert_allclose(close.derivative([-1.0, 1.0], 2), 0, atol=1e-8)


# --- errors ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", [-1, 1.0, "1", None, True, 1.5])
def test_orders_that_are_none(order):
    for call in (activation("tanh").derivative, activation("relu").jump):
        with pytest.raises(ArgumentError, match="order of a derivative"):
            call(0.0, order)


def test_numpy_integers_are_orders():
    assert activation("square").derivative(3.0, np.int64(2)) == 2


def test_orders_beyond_float64():
    for name in ("tanh", "softsign", "gelu_tanh", "atan"):
        with pytest.raises(ActivationError, match="order 400"):
            activation(name).derivative(0.3, 400)


@pytest.mark.parametrize("u", [math.nan, math.inf, [0.0, -math.inf]])
def test_arguments_that_are_not_finite(u):
    with pytest.raises(ArgumentError, match="not finite"):
        activation("tanh").derivative(u, 3)


def test_points_without_a_kink():
    with pytest.raises(ArgumentError, match=r"no kink at u = 0.1; its kinks: -1.0, 1.0"):
        activation("hardtanh").jump(0.1)
    with pytest.raises(ArgumentError, match="its kinks: none"):
        activation("tanh").jump(0.0)


def test_an_activation_without_pieces():
    act = Activation("bare", np.tanh, np.cosh)
    for order in (2, 3):
        with pytest.raises(ActivationError, match="not known"):
            act.derivative(0.0, order)


def test_overflow_is_an_error_and_no_warning():
    act = Activation.from_sympy("exp(u)")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for order in range(5):
            with pytest.raises(ActivationError, match="not finite"):
                act.derivative(np.array([0.0, 1000.0]), order)
        with pytest.raises(ActivationError, match="not finite at u = 1000"):
            act(np.array([0.0, 1000.0]))
