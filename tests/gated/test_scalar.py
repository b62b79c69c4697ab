"""Equation (15) and other scalar equations: closed forms against numerical integration, steady states."""

import math

import mpmath as mp
import pytest
import sympy
from scipy.integrate import solve_ivp

import qcmap as qc
from qcmap.errors import ArgumentError
from qcmap.gated import ScalarEquation, reduce
from qcmap.symbolic.gated._scalar import reciprocal_integral

B, C = sympy.Symbol("B2", positive=True), sympy.Symbol("C", real=True)


@pytest.fixture(scope="module")
def fifteen():
    return reduce(qc.gated.routing(7, 4), balanced=True).scalar()


def printed(b, c, s=13.6, d=1.0, m=7):
    """Equation (15), as it stands in the paper."""
    return (b**2 + c) / m * (s - b * (b**2 + c) * d / m)


@pytest.mark.parametrize("c", [-1, -1e-6, 0, 1e-6, 1])
def test_closed_form_of_15(fifteen, c):
    equation = fifteen.substitute(S=13.6, D=1, C=c)
    for start in (1.2, 0.3 if c > -0.05 else 1.05, 6.0):
        for time in (0.05, 0.4, 2.0):
            want = solve_ivp(lambda _, b: printed(b, c), (0, time), [start], method="DOP853", rtol=3e-14, atol=1e-14)
            assert equation.at(time, start) == pytest.approx(want.y[0, -1], rel=1e-10)
            if time < 0.1:  # later the solution is at rest, to more digits than a float has
                assert equation.elapsed(start, want.y[0, -1]) == pytest.approx(time, rel=1e-10)


def test_closed_form_has_the_pieces_of_the_derivation(fifteen):
    """(M / S) (1/(b^2 + C) + D b / P) with P = M S - D b (b^2 + C); docstring of the module."""
    assert len(fifteen.fractions) == 2
    total = sum(over / under**power for over, under, power in fifteen.fractions)
    assert sympy.simplify(total - 1 / fifteen.rate) == 0
    text = str(fifteen.time)
    assert "atan" in text
    assert "RootSum" in text


@pytest.mark.parametrize("value", [2, -2, 0])
def test_time_differentiates_to_one_over_the_rate(fifteen, value):
    equation = fifteen.substitute(C=value, S=sympy.Rational(136, 10), D=1)
    b = equation.variable
    slope = sympy.diff(equation.time.doit(), b)
    for point in (1.7, 2.5):
        found = complex(slope.subs(b, point).evalf())
        assert found.real == pytest.approx(1 / printed(point, value), rel=1e-12)
        assert abs(found.imag) < 1e-12


def test_the_integral_of_a_reciprocal_square_is_continuous_in_the_constant():
    """Differences of the cases C > 0, C = 0 and C < 0 meet in the limit."""
    exact = reciprocal_integral(B, sympy.Integer(0))
    for c in (sympy.Rational(1, 10**12), -sympy.Rational(1, 10**12)):
        near = reciprocal_integral(B, c)
        gap = (near.subs(B, 3) - near.subs(B, 1)) - (exact.subs(B, 3) - exact.subs(B, 1))
        assert abs(gap.evalf(30)) < 1e-11


def test_limits_in_time(fifteen):
    """At infinite time the solution is the steady state B2 (B2^2 + C) = M S / D."""
    equation = fifteen.substitute(S=13.6, D=1, C=0)
    end = (7 * 13.6) ** (1 / 3)
    assert equation.at(1e6, 0.1) == pytest.approx(end, rel=1e-14)
    assert [state.stability for state in equation.steady_states] == ["half-stable", "stable"]
    assert equation.steady_states[-1].value == pytest.approx(end, rel=1e-14)


def logistic(t, b):
    return 1 / (1 + (1 / b - 1) * mp.exp(-t))


def decaying(t, b):
    u = b**2 / (1 + b**2) * mp.exp(-2 * t)
    return mp.sqrt(u / (1 - u))


CLOSED = {
    "decay": (-B * (1 + B**2), decaying, [(1e-9, 1.0), (30, 1.0), (700, 1.0), (740, 1.0), (-0.3, 1.0)]),
    "logistic": (
        B * (1 - B), logistic, [(1, 1e-300), (69, 1e-30), (40, 0.5), (1e11, 0.5), (-100, 0.5), (3, 1.5), (-0.9, 1.5)]
    ),
    "exponential": (B, lambda t, b: b * mp.exp(t), [(1, 1e-30), (20, 1.0), (2, -3.0)]),
    "tangent": (1 + B**2, lambda t, b: mp.tan(t + mp.atan(b)), [(1e-300, 0.0), (1e-30, 1e-40), (1, 0.0)]),
    "half-stable": (B**2, lambda t, b: b / (1 - b * t), [(-1e6, 1.0), (1e10, -1.0), (0.5, 1.0)]),
    "irrational": (
        B * (2 - B**2), lambda t, b: mp.sqrt(2 / (1 - (1 - 2 / b**2) * mp.exp(-4 * t))), [(0.1, 1e-160), (20, 1e-5)]
    ),
    "small": (
        sympy.Rational(1, 10**20) - B,
        lambda t, b: mp.mpf(10) ** -20 + (b - mp.mpf(10) ** -20) * mp.exp(-t),
        [(45, 1.0), (50, 1.0)],
    ),
}  # fmt: skip
"""Rates with their solutions, and times and starts, near steady states and far from them."""


@pytest.mark.parametrize("name", CLOSED)
def test_the_value_at_a_time_is_right_to_the_last_digit(name):
    """mpmath in 60 digits, the error relative to the value: near the steady state 0 too."""
    rate, solution, points = CLOSED[name]
    equation = ScalarEquation(B, sympy.factor(rate), {}, {})
    with mp.workdps(400):
        for time, start in points:
            want = float(solution(mp.mpf(time), mp.mpf(start)))
            assert equation.at(time, start) == pytest.approx(want, rel=1e-15, abs=5e-324)


def test_a_start_beside_a_steady_state_leaves_it():
    """The double next to sqrt 2 is not sqrt 2: what it differs by decays or grows as e^(-4 t)."""
    equation = ScalarEquation(B, B * (2 - B**2), {}, {})
    above = math.nextafter(math.sqrt(2), 2)
    assert equation.at(1, above) == math.sqrt(2)
    with mp.workdps(50):
        grown = mp.sqrt(2 / (1 - (1 - 2 / mp.mpf(above) ** 2) * mp.exp(28)))
        assert equation.at(-7, above) == pytest.approx(float(grown), rel=1e-15)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "1", None])
def test_times_and_values_are_finite_numbers(fifteen, value):
    equation = fifteen.substitute(S=1, D=1, C=1)
    for name, call in (
        ("time", lambda: equation.at(value, 1)),
        ("start", lambda: equation.at(1, value)),
        ("end", lambda: equation.elapsed(0.5, value)),
        ("S", lambda: fifteen.substitute(S=value)),
    ):
        with pytest.raises(ArgumentError, match=f"^{name}: .*finite number"):
            call()


def test_values_that_symbols_cannot_have_are_refused(fifteen):
    for name, value in (("D", 0), ("S", -1), ("S", [1, 2])):
        with pytest.raises(ArgumentError, match=rf"^{name}: it (stands for a positive|must be one) number"):
            fifteen.substitute(**{name: value})
    with pytest.raises(ArgumentError, match=r"B1\^2 is negative at 0.5"):
        fifteen.substitute(S=1, D=1, C=-1).at(1, 0.5)


def test_steady_states_of_the_three_kinds(fifteen):
    """Where B1^2 = (B2^2 + C) / M is not negative: for C < 0 the edge of that region is a steady state."""
    below = fifteen.substitute(S=13.6, D=1, C=-1).steady_states
    assert [(round(s.value, 9), s.stability) for s in below[:2]] == [(-1.0, "stable"), (1.0, "unstable")]
    (only,) = fifteen.substitute(S=13.6, D=1, C=1).steady_states
    assert only.stability == "stable"
    assert only.value * (only.value**2 + 1) == pytest.approx(7 * 13.6, rel=1e-13)


def test_deeper_networks_keep_an_implicit_solution():
    equation = reduce(qc.gated.routing(5, 2, hidden_layers=4), balanced=True).scalar().substitute(C=1, S=2, D=1)
    want = solve_ivp(lambda _, b: float(equation.rate.subs(equation.variable, b[0])), (0, 1.5), [0.7], method="DOP853",
                     rtol=1e-13, atol=1e-14)  # fmt: skip
    assert equation.at(1.5, 0.7) == pytest.approx(want.y[0, -1], rel=1e-10)


def test_what_has_no_closed_form_is_refused(fifteen):
    with pytest.raises(ArgumentError, match="not a polynomial"):
        _ = reduce(qc.gated.tree(3, 2)).scalar().time
    with pytest.raises(ArgumentError, match="not alpha"):
        fifteen.explicit()
    with pytest.raises(ArgumentError, match=r"symbols C, D, S"):
        fifteen.elapsed(1, 2)
    with pytest.raises(ArgumentError, match="steady state"):
        fifteen.substitute(S=1, D=1, C=0).elapsed(1, 9)
    with pytest.raises(ArgumentError, match="no symbol"):
        fifteen.substitute(M=3)
