"""Kinks that were not declared: found and named where they are, and nowhere else."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import erf

from qcmap.activations import CATALOGUE, Activation, activation
from qcmap.activations._search import undeclared_kinks
from qcmap.errors import ActivationError

SMOOTH = {
    "tanh(20 u)": (lambda u: np.tanh(20 * u), 1.0),
    "tanh(300 u)": (lambda u: np.tanh(300 * u), 1.0),
    "atan(300 u)": (lambda u: np.arctan(300 * u), 1.0),
    "asinh(2000 u)": (lambda u: np.arcsinh(2000 * u), 1.0),
    "sin(5 u)": (lambda u: np.sin(5 * u), 1.0),
    "sin(30 u)": (lambda u: np.sin(30 * u), 1.0),
    "sin(u^2)": (lambda u: np.sin(u * u), 1.0),
    "1/(1 + 25 u^2)": (lambda u: 1 / (1 + 25 * u * u), 1.0),
    "narrow bump": (lambda u: np.exp(-1000 * (u - 0.3) ** 2), 1.0),
    "softplus(50 u)": (lambda u: np.logaddexp(0, 50 * u) / 50, 1 / 50),
    "softplus(50 u), length 1": (lambda u: np.logaddexp(0, 50 * u) / 50, 1.0),
    "exp(u)": (np.exp, 1.0),
    "exp(20 u)": (lambda u: np.exp(20 * u), 1.0),
    "exp(u^2)": (lambda u: np.exp(u * u), 1.0),
    "exp(exp(u)), which overflows": (lambda u: np.exp(np.exp(u)), 1.0),
    "exp(u) sin(3 u)": (lambda u: np.exp(u) * np.sin(3 * u), 1.0),
    "u^20": (lambda u: u**20, math.inf),
    "0": (np.zeros_like, 1.0),
    "1e-10 tanh(u)": (lambda u: 1e-10 * np.tanh(u), 1.0),
    "tanh(u) + 1e9": (lambda u: np.tanh(u) + 1e9, 1.0),
    "sin(u) / u": (lambda u: np.sin(u) / u, 1.0),
    # Formulas that lose digits.
    "log(1 + exp(20 u))": (lambda u: np.log(1 + np.exp(20 * u)), 1.0),
    "u (1 + erf(u / sqrt 2)) / 2": (lambda u: u * (1 + erf(u / math.sqrt(2))) / 2, 1.0),
    "u tanh(log(1 + exp(u)))": (lambda u: u * np.tanh(np.log(1 + np.exp(u))), 1.0),
    "log(u + sqrt(u^2 + 1))": (lambda u: np.log(u + np.sqrt(u * u + 1)), 1.0),
    "(exp(u) - 1 - u) / u^2": (lambda u: (np.exp(u) - 1 - u) / u**2, 1.0),
}
BASES = {
    "tanh": np.tanh,
    "u": lambda u: 1.0 * u,
    "softplus": lambda u: np.log1p(np.exp(u)),
    "sin(3 u)": lambda u: np.sin(3 * u),
}


def found(function, declared=(), interval=(-20.0, 20.0), length=1.0):
    with np.errstate(all="ignore"):
        return undeclared_kinks(function, declared, interval, length, "it")


@pytest.mark.parametrize("case", SMOOTH)
def test_no_false_alarm(case):
    function, length = SMOOTH[case]
    assert found(function, length=length) == []


@pytest.mark.parametrize("name", CATALOGUE)
def test_no_false_alarm_in_the_catalogue(name):
    act = activation(name)
    assert found(act.value, tuple(kink.at for kink in act.kinks), length=act.length) == []


@given(
    shift=st.floats(-3, 3), scale=st.floats(0.05, 30), name=st.sampled_from(["tanh", "swish", "gelu", "mish", "sin"])
)
@settings(max_examples=60)
def test_no_false_alarm_for_scaled_ones(shift, scale, name):
    act = activation(name)
    assert found(lambda u: act.value(scale * u + shift)) == []


@given(
    at=st.floats(-15, 15) | st.sampled_from([0.0, 0.1, 0.5, 1.0, 1 / 3, -2.5, 0.381966011250105, 12.381966, 19.3]),
    kind=st.sampled_from([(0, 1.0), (0, 1e-6), (1, 1.0), (1, 1e-3), (2, 1.0), (2, 0.1)]),
    base=st.sampled_from(sorted(BASES)),
    sign=st.sampled_from([1, -1]),
)
@settings(max_examples=400)
def test_jumps_of_value_slope_and_curvature_are_found(at, kind, base, sign):
    """To 1e-6, once each. The positions drawn include the ends of the search's own panels."""
    order, size = kind

    def kinked(u):
        return BASES[base](u) + sign * size * np.where(u > at, (u - at) ** order / math.factorial(order), 0.0)

    (place,) = found(kinked)
    assert abs(place - at) < 1e-6


def test_several_at_once_and_next_to_declared_ones():
    def zigzag(u):
        return np.abs(u) + np.abs(u - 0.02) + np.abs(u - 3)

    np.testing.assert_allclose(found(zigzag), [0, 0.02, 3], atol=1e-9)
    np.testing.assert_allclose(found(zigzag, (0.0, 3.0)), [0.02], atol=1e-9)
    np.testing.assert_allclose(found(zigzag, (0.0201, 3.0, 0.0)), [0.02], atol=1e-9)
    assert found(zigzag, (0.0, 0.02, 3.0)) == []
    assert found(lambda u: np.abs(np.sin(u))) == pytest.approx([math.pi * k for k in range(-6, 7)], abs=1e-9)


def test_only_inside_the_interval():
    assert found(lambda u: np.abs(u - 5), interval=(-4.0, 4.0)) == []
    assert found(lambda u: np.abs(u - 50)) == []
    assert found(lambda u: np.abs(u - 50), interval=(0.0, 100.0)) == pytest.approx([50])


@pytest.mark.parametrize(
    ("function", "at"),
    [
        (lambda u: np.sqrt(np.abs(u)), 0.0),
        (lambda u: np.cbrt(u - 0.1), 0.1),
        (lambda u: 1 / (u - 0.3), 0.3),
        (lambda u: u * np.log(np.abs(u) + 1e-300), 0.0),
    ],
)
def test_cusps_and_poles(function, at):
    assert found(function) == pytest.approx([at], abs=1e-6)


# --- what the user reads ---------------------------------------------------------------------------------------------


def message(build):
    with pytest.raises(ActivationError) as error:
        build()
    assert error.value.rule
    assert error.value.remedy
    return str(error.value)


def test_a_callable_is_told_where_its_kink_is():
    text = message(lambda: Activation.from_callable(lambda u: np.maximum(u, 0.7), name="mine"))
    assert text == "mine: it has a kink at u = 0.7, which was not declared; declare all: pass kinks=(0.7,)"
    text = message(lambda: Activation.from_callable(lambda u: np.clip(u, -1, 1 / 3), kinks=(-1,), name="mine"))
    assert "at u = 0.333333333333, " in text
    assert text.endswith("kinks=(-1, 0.333333333333)")
    assert "and 7 more" in message(lambda: Activation.from_callable(lambda u: np.abs(np.sin(u))))
    assert "kinks at u = -1, 1, which" in message(lambda: activation(lambda u: np.clip(u, -1, 1)))


def test_a_kink_declared_wrongly():
    text = message(lambda: Activation.from_callable(lambda u: np.abs(u - 1 / 3), kinks=(0.333333,)))
    assert "next to its declared kink u = 0.333333, near u = 0.333333333" in text
    assert "u = 0.31, which" in message(lambda: Activation.from_callable(lambda u: np.abs(u - 0.31), kinks=(0.3,)))
    assert Activation.from_callable(lambda u: np.abs(u - 1 / 3), kinks=(1 / 3,)).kinks[0].slope == pytest.approx(2)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("asin(sin(u))", "kinks at"),
        ("1/u", "a kink at u = 0,"),
        ("sqrt(Abs(u))", "next to its declared kink u = 0.0"),
        ("sqrt(5 - u)", "not finite"),
    ],
)
def test_an_expression_is_told_too(text, words):
    assert words in message(lambda: Activation.from_sympy(text))


def test_the_search_can_be_left_out_or_moved():
    def bent(u):
        return np.abs(u - 5)

    assert Activation.from_callable(bent, search=None).kinks == ()
    assert Activation.from_callable(bent, search=(-4, 4)).kinks == ()
    assert "asin" in Activation.from_sympy("asin(sin(u))", search=None).name
    for search in ((1, 0), (0, math.inf), 3, ("a", "b"), (1, 2, 3)):
        assert "interval" in message(lambda search=search: Activation.from_callable(bent, search=search))


def test_noise_and_speed_that_hide_kinks():
    single = message(lambda: Activation.from_callable(lambda u: np.tanh(u.astype(np.float32))))
    assert "relative noise" in single
    assert "float64" in single
    assert "relative noise" in message(lambda: Activation.from_callable(lambda u: np.sin(1e5 * u)))
    assert "too fast" in message(lambda: Activation.from_callable(lambda u: np.sin(1e3 * u)))


def test_values_that_are_not_numbers():
    assert "not finite) at u = " in message(lambda: Activation.from_callable(lambda u: np.sqrt(5 - u)))
