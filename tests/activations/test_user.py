"""Activations that a user brings: expressions and callables, their kinks, and every way to get them wrong."""

import math

import numpy as np
import pytest
import sympy as sp
from hypothesis import given
from hypothesis import strategies as st

import qcmap as qc
from qcmap.activations import CATALOGUE, Activation, activation
from qcmap.errors import ActivationError, QCMapError

u = sp.Symbol("u", real=True)


def positions(act):
    return [kink.at for kink in act.kinks]


def jumps(act):
    return [(kink.value, kink.slope, kink.curvature) for kink in act.kinks]


KINKED = {
    "Abs(u)": ([0], [(0, 2, 0)]),
    "Abs(u - 1) + Abs(u + 2)": ([-2, 1], [(0, 2, 0), (0, 2, 0)]),
    "Max(u, 0)": ([0], [(0, 1, 0)]),
    "Max(u, 0.1*u)": ([0], [(0, 0.9, 0)]),
    "Max(0, Min(u, 6))": ([0, 6], [(0, 1, 0), (0, -1, 0)]),
    "Max(u, -1, 1)": ([1], [(0, 1, 0)]),
    "Heaviside(u - 1)*u": ([1], [(1, 1, 0)]),
    "sign(u)*u**2": ([0], [(0, 0, 4)]),
    "Max(u, 0)**2": ([0], [(0, 0, 2)]),
    "Abs(Abs(u) - 1)": ([-1, 0, 1], [(0, 2, 0), (0, -2, 0), (0, 2, 0)]),
    "Max(Abs(u), 1)": ([-1, 1], [(0, 1, 0), (0, 1, 0)]),
    "Min(Max(u + 3, 0), 6)*u/6": ([-3, 3], [(0, -0.5, 1 / 3), (0, -0.5, -1 / 3)]),
    "Piecewise((u, u > 0), (exp(u) - 1, True))": ([0], [(0, 0, -1)]),
    "Piecewise((0, u < -1), (u + 1, u < 2), (3, True))": ([-1, 2], [(0, 1, 0), (0, -1, 0)]),
    "tanh(Abs(u))": ([0], [(0, 2, 0)]),
    "Abs(tanh(u - 0.5))": ([0.5], [(0, 2, 0)]),
    "tanh(u) + u/3": ([], []),
}


@pytest.mark.parametrize("text", KINKED)
class TestExpressions:
    def test_kinks_and_jumps(self, text):
        act = Activation.from_sympy(text)
        at, rows = KINKED[text]
        # A point where nothing jumps may be listed too: it costs a break, no digits.
        found = [kink for kink in act.kinks if abs(kink.value) + abs(kink.slope) + abs(kink.curvature) > 1e-12]
        np.testing.assert_allclose([kink.at for kink in found], at, atol=1e-12)
        np.testing.assert_allclose(
            np.array([(kink.value, kink.slope, kink.curvature) for kink in found]).reshape(-1, 3),
            np.array(rows, dtype=float).reshape(-1, 3), atol=1e-12,
        )  # fmt: skip

    @given(x=st.floats(-9, 9))
    def test_value_and_derivatives(self, text, x):
        act = Activation.from_sympy(text)
        if any(abs(x - at) < 1e-3 for at in positions(act)):
            return
        expression = sp.sympify(text)
        symbol = next(iter(expression.free_symbols))
        assert act(x) == pytest.approx(float(expression.subs(symbol, x)), rel=1e-13, abs=1e-13)
        h = 1e-4
        numbers = [float(expression.subs(symbol, x + k * h)) for k in (-1, 0, 1)]
        assert act.derivative(x) == pytest.approx((numbers[2] - numbers[0]) / (2 * h), abs=1e-6)
        assert act.derivative(x, 2) == pytest.approx((numbers[2] - 2 * numbers[1] + numbers[0]) / h**2, abs=1e-5)

    def test_shape(self, text):
        act = Activation.from_sympy(text)
        for shape in ((), (0,), (2, 3)):
            assert np.shape(act(np.full(shape, 0.3))) == shape
            assert np.shape(act.derivative(np.full(shape, 0.3))) == shape


@pytest.mark.parametrize("name", [name for name in CATALOGUE if name != "selu"])
def test_the_catalogue_through_its_own_formula(name):
    """from_sympy of a row's formula is the row: values, derivatives and kinks."""
    row = activation(name)
    act = Activation.from_sympy(row.expression)
    x = np.linspace(-7.03, 7.01, 41)
    np.testing.assert_allclose(act(x), row(x), rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(act.derivative(x), row.derivative(x), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(act.derivative(x, 2), row.derivative(x, 2), rtol=1e-11, atol=1e-12)
    assert set(positions(row)) <= set(positions(act))
    for kink in row.kinks:
        (twin,) = [other for other in act.kinks if other.at == kink.at]
        np.testing.assert_allclose(
            (twin.value, twin.slope, twin.curvature), (kink.value, kink.slope, kink.curvature), atol=1e-14
        )


def test_any_symbol_and_activation_entry():
    x = sp.Symbol("x")
    for spec in (sp.tanh(x), sp.Abs(x), sp.Max(x, 0)):
        act = activation(spec)
        assert act(0.5) == pytest.approx(float(spec.subs(x, sp.Rational(1, 2))))
    assert activation(sp.tanh(x), kinks=()).name == "tanh(x)"
    assert Activation.from_sympy("tanh(u)", name="mine").name == "mine"
    given_back = activation("tanh")
    assert activation(given_back) is given_back


def test_expression_round_trip():
    act = Activation.from_sympy(sp.tanh(sp.Symbol("z")) * 2)
    assert act.sympy == 2 * sp.tanh(u)


@pytest.mark.parametrize("spec", ["a*u + b", "3", "sin(x)*y"])
def test_expression_with_other_than_one_variable(spec):
    with pytest.raises(ActivationError, match="free symbols") as error:
        Activation.from_sympy(spec)
    complete(error.value)


def test_expression_whose_kinks_cannot_be_listed():
    with pytest.raises(ActivationError, match="kinks") as error:
        Activation.from_sympy("Abs(sin(u))")
    assert "from_callable" in str(error.value)


@pytest.mark.parametrize("spec", ["1/u", "log(u)"])
def test_expression_that_is_not_finite(spec):
    """Either refused when made, or when evaluated there: never a silent NaN."""
    with np.errstate(all="ignore"), pytest.raises(QCMapError) as error:
        Activation.from_sympy(spec)(np.array([-1.0, 0.0, 1.0]))
    complete(error.value)


def test_malformed_expression():
    with pytest.raises(QCMapError) as error:
        Activation.from_sympy("tanh(u")
    complete(error.value)


# --- callables -------------------------------------------------------------------------------------------------------

CALLABLES = {
    "tanh": (np.tanh, (), 1.5, lambda x: 1 / np.cosh(x) ** 2),
    "elu": (
        lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0))), (0.0,), 1.0, lambda x: np.exp(np.minimum(x, 0)),
    ),
    "softsign": (lambda x: x / (1 + np.abs(x)), (0.0,), 1.0, lambda x: (1 + np.abs(x)) ** -2.0),
    "clip": (lambda x: np.clip(x, -0.5, 2), (2.0, -0.5), 1.0, lambda x: ((x > -0.5) & (x < 2)) * 1.0),
    "narrow": (lambda x: np.arctan(20 * x), (), 0.05, lambda x: 20 / (1 + 400 * x * x)),
    "step": (lambda x: np.where(x > 1, x + 2, x), (1.0,), 1.0, np.ones_like),
}  # fmt: skip


@pytest.mark.parametrize("case", CALLABLES)
@given(x=st.floats(-6, 6))
def test_derivative_of_a_callable(case, x):
    function, kinks, length, slope = CALLABLES[case]
    act = Activation.from_callable(function, kinks=kinks, length=length)
    if all(abs(x - kink) > 1e-12 for kink in kinks):
        exact = float(slope(np.array(x)))
        # Interpolation is least exact at the end of its window, next to a kink.
        assert float(act.derivative(np.array(x))) == pytest.approx(exact, abs=1e-9 * max(1, 1 / length))


def test_kinks_of_a_callable_are_sorted_and_measured():
    function, kinks, length, _ = CALLABLES["clip"]
    act = Activation.from_callable(function, kinks=(*kinks, 2.0), length=length)
    assert positions(act) == [-0.5, 2.0]
    np.testing.assert_allclose([kink.slope for kink in act.kinks], [1, -1], atol=1e-7)
    assert [kink.value for kink in act.kinks] == [0, 0]
    step = Activation.from_callable(CALLABLES["step"][0], kinks=(1.0,))
    assert step.kinks[0].value == pytest.approx(2, abs=1e-7)
    assert step.kinks[0].slope == 0


def test_derivative_given():
    act = Activation.from_callable(np.sin, np.cos, name="sine")
    assert act.derivative(0.3) == math.cos(0.3)
    assert act.name == "sine"


def test_closely_spaced_kinks():
    def zigzag(x):
        return np.abs(x) + np.abs(x - 1e-3)

    act = Activation.from_callable(zigzag, kinks=(0.0, 1e-3))
    np.testing.assert_allclose(act.derivative(np.array([-1.0, 5e-4, 1.0])), [-2, 0, 2], atol=1e-9)


def test_scalar_functions_of_the_catalogue_names():
    assert activation(np.tanh).name == "tanh"
    assert activation(lambda x: np.abs(x), kinks=(0.0,)).kinks[0].slope == pytest.approx(2, abs=1e-7)


# --- errors ----------------------------------------------------------------------------------------------------------


def complete(error):
    assert isinstance(error, QCMapError)
    assert error.subject
    assert error.rule
    assert error.remedy
    assert str(error) == f"{error.subject}: {error.rule}; {error.remedy}"


def raised(function, *args, **kwargs):
    with pytest.raises(QCMapError) as error:
        function(*args, **kwargs)
    complete(error.value)
    return error.value


@pytest.mark.parametrize(
    ("wrong", "near"), [("tanhh", "tanh"), ("sotfplus", "softplus"), ("sillu", "silu"), ("leakyrelu", "leaky_relu")]
)
def test_unknown_name_gives_the_nearest(wrong, near):
    error = raised(activation, wrong)
    assert isinstance(error, ActivationError)
    assert near in error.remedy
    assert error.subject == wrong


def test_unknown_name_far_from_all_lists_them():
    assert "tanh" in raised(activation, "zzzzzzzzzz").remedy


def test_wrong_parameters():
    assert "negative_slope" in str(raised(activation, "leaky_relu", alpha=1.0))
    assert "none" in raised(activation, "tanh", alpha=1.0).remedy
    for bad in (math.nan, math.inf, "1"):
        assert "finite" in str(raised(activation, "elu", alpha=bad))
    for bad in (0.0, -1.0):
        assert "positive" in str(raised(activation, "celu", alpha=bad))
    raised(activation, "relu", kinks=(0.0,))


@pytest.mark.parametrize(
    ("function", "word"),
    [
        (np.sum, "shape"),
        (lambda x: x.ravel(), "shape"),
        (lambda x: x[None], "shape"),
        (lambda x: 1.0, "shape"),
        (lambda x: x * math.nan, "not finite"),
        (lambda x: np.where(x > 1, np.inf, x), "not finite"),
        (lambda x: "no", "array"),
        (lambda x: math.tanh(x), "array"),
        (lambda x: None, ""),
        (lambda x, y: x, "array"),
    ],
)
def test_callables_that_do_not_act_elementwise(function, word):
    error = raised(Activation.from_callable, function, name="mine")
    assert isinstance(error, ActivationError)
    assert word in str(error)
    assert error.subject == "mine"


def test_callable_with_a_wrong_derivative_shape():
    assert "derivative" in str(raised(Activation.from_callable, np.tanh, np.sum))


def test_callable_whose_failure_comes_later():
    act = Activation.from_callable(lambda x: np.where(np.abs(x) > 100, np.nan, x), name="late")
    assert "not finite" in str(raised(act, np.array([1.0, 200.0])))


@pytest.mark.parametrize("kinks", [(math.nan,), (math.inf,), (0.0, -math.inf)])
def test_kinks_that_are_not_finite(kinks):
    assert "finite" in str(raised(Activation.from_callable, np.tanh, kinks=kinks))


@pytest.mark.parametrize("length", [0.0, -1.0, math.nan])
def test_lengths_that_are_not_positive(length):
    assert "length" in str(raised(Activation.from_callable, np.tanh, length=length))
    assert "length" in str(raised(Activation.from_sympy, "tanh(u)", length=length))


@pytest.mark.parametrize(("text", "distance"), [
    ("tanh(u)", math.pi / 2), ("tanh(3*u)", math.pi / 6), ("tanh(5*u)", math.pi / 10), ("tanh(50*u)", math.pi / 100),
    ("1/(1 + 25*u**2)", 0.2), ("log(1 + exp(20*u))", math.pi / 20), ("exp(4*u)", math.inf), ("u + sin(u)/2", math.inf),
])  # fmt: skip
def test_a_length_that_is_too_large_is_made_smaller(text, distance):
    """``distance`` is that from 0 to the nearest pole or branch point; a power of two below it and below 2 is used."""
    symbol = sp.Symbol("u", real=True)
    numeric = sp.lambdify(symbol, sp.sympify(text, locals={"u": symbol}), modules=["numpy"])
    for act in (Activation.from_sympy(text), Activation.from_callable(numeric)):
        assert min(1.0, distance) / 2 <= act.length <= min(1.0, distance)
    assert Activation.from_callable(numeric, length=0.01).length == 0.01


def test_a_length_that_nothing_mends_stays():
    steep = Activation.from_callable(lambda x: np.tanh(50 * (x - 3)))
    assert steep.length == 1.0
    assert Activation.from_callable(np.abs, search=None).length == 1.0


def test_a_given_derivative_is_compared_to_1e_7():
    def slope(x, error):
        return (1 - np.tanh(x) ** 2) * (1 + error)

    assert Activation.from_callable(np.tanh, lambda x: slope(x, 2e-8)).derivative(0.0) == 1 + 2e-8
    for error in (4e-6, 2e-7, -2e-7):
        assert "wrong" in str(raised(Activation.from_callable, np.tanh, lambda x, e=error: slope(x, e)))
    steep = Activation.from_callable(lambda x: np.tanh(20 * x), lambda x: 20 / np.cosh(20 * x) ** 2)
    assert steep.derivative(0.0) == 20


@pytest.mark.parametrize("name", [name for name in CATALOGUE if not any(k.value for k in activation(name).kinks)])
def test_right_derivatives_are_not_refused(name):
    row = activation(name)
    act = Activation.from_callable(row.value, row.first, tuple(kink.at for kink in row.kinks), length=row.length)
    assert act.length == row.length


def test_arguments_that_are_no_numbers():
    for call in (activation("tanh"), activation("tanh").derivative):
        for bad in ("a", [1.0, "b"], 1j, [[1.0], [1.0, 2.0]]):
            raised(call, bad)


def test_no_formula_without_one():
    with pytest.raises(ActivationError, match="formula"):
        _ = Activation.from_callable(np.tanh).sympy


@pytest.mark.parametrize("spec", [3, 2.5, None, ["tanh"]])
def test_specifications_that_mean_nothing(spec):
    raised(activation, spec)


def test_public_names():
    assert qc.activation("tanh") is activation("tanh")
    assert qc.Activation is Activation
