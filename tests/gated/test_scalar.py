"""Equation (15) and other scalar equations: closed forms against numerical integration, steady states."""

import pytest
import sympy
from scipy.integrate import solve_ivp

import qcmap as qc
from qcmap.errors import ArgumentError
from qcmap.gated import reduce
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
