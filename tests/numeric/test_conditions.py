"""The issue's claim: every feasible activation meets all its conditions to 1e-12, checked at 32 digits."""

import math
from dataclasses import replace

import mpmath
import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.special import ndtr

import qcmap as qc
from qcmap.activations import CATALOGUE
from qcmap.errors import ActivationError, Infeasible, NumericalError
from qcmap.numeric import Conditions, Transform, conditions, solve
from qcmap.numeric.shaping._moments import slopes
from tests import oracles
from tests.oracles import FORMULAS, MP, formula_of

DEPTHS = (20, 50, 100, 1000)
ZETAS = (1.01, 1.5, 100.0)
NEVER = ("hardtanh", "identity", "relu6", "square")
FEASIBLE = tuple(name for name in CATALOGUE if name not in NEVER)
CASES = [(depth, zeta) for depth in DEPTHS for zeta in ZETAS]


def infeasible(name, depth, zeta):
    return name in NEVER or (name, depth, zeta) == ("bentid", 20, 100.0)


def exact_psi(depth, zeta):
    return MP.power(MP.mpf(zeta), MP.one / depth)


@pytest.mark.parametrize("name", FEASIBLE)
def test_all_conditions_by_the_oracle(name):
    for depth, zeta in CASES:
        if infeasible(name, depth, zeta):
            continue
        shaping = qc.dks(qc.zoo.mlp(depth, activation=name), zeta=zeta)
        transform, solution = shaping[name], shaping.solutions[name]
        q, dq, c0, dc1 = oracles.conditions(formula_of(transform.activation), **transform.constants)
        residuals = {"Q(1)": q - 1, "Q'(1)": dq - 1, "C(0)": c0, "C'(1)": dc1 - exact_psi(depth, zeta)}
        if name == "relu":
            del residuals["Q'(1)"]
        assert set(residuals) == set(solution.residuals)
        assert solution.conditions_met == len(residuals)
        assert max(map(abs, residuals.values())) < 1e-12, (depth, zeta, residuals)
        # A reported residual understates the true one by no more than its own rounding.
        for key, value in residuals.items():
            assert abs(solution.residuals[key] - float(value)) < 1e-13
        assert transform.input_scale > 0
        assert transform.output_scale > 0


def test_the_oracle_rejects_wrong_constants():
    """A relative change of 1e-11 in any constant shows."""
    constants = qc.dks(qc.zoo.mlp(50, activation="softplus"), zeta=1.5)["softplus"].constants
    psi = exact_psi(50, 1.5)
    for key in constants:
        q, dq, c0, dc1 = oracles.conditions(FORMULAS["softplus"], **{**constants, key: constants[key] * (1 + 1e-11)})
        assert max(abs(q - 1), abs(dq - 1), MP.sqrt(c0), abs(dc1 - psi)) > 1e-12


@pytest.mark.parametrize("name", ["tanh", "selu", "mish", "hardswish"])
def test_the_oracle_is_converged(name):
    constants = qc.dks(qc.zoo.mlp(20, activation=name), zeta=100)[name].constants
    coarse = oracles.conditions(FORMULAS[name], **constants)
    fine = oracles.conditions(FORMULAS[name], **constants, degree=5, width=1)
    assert max(abs(a - b) for a, b in zip(coarse, fine, strict=True)) < 1e-27


def test_the_oracle_is_mpmaths_quad():
    """Its rule against mp.quad with the moved kinks as break points."""
    a, b = MP.mpf("0.31"), MP.mpf("-0.2")
    points = [-12, -6, -2, (0 - b) / a, 4, 12]
    value = FORMULAS["selu"].value

    def density(x):
        return MP.exp(-x * x / 2) / MP.sqrt(2 * MP.pi)

    with mpmath.workdps(30):
        want = MP.quad(lambda x: value(a * x + b) ** 2 * density(x), points, method="gauss-legendre")
    assert abs(oracles.conditions(FORMULAS["selu"], a, b, 0, 1)[0] - want) < 1e-28


# --- what cannot be met ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NEVER)
def test_infeasible_everywhere(name):
    # Listing what clipped functions can reach takes seconds a case.
    for depth, zeta in [(20, 100.0), (1000, 1.01)] if name in ("hardtanh", "relu6") else CASES:
        with pytest.raises(Infeasible) as error:
            qc.dks(qc.zoo.mlp(depth, activation=name), zeta=zeta)
        assert error.value.condition in ("C'(1)", "Q'(1)")
        assert error.value.achievable
        assert error.value.remedy
        psi = float(exact_psi(depth, zeta))
        target = psi if error.value.condition == "C'(1)" else 1.0
        assert all(not low <= target <= high for low, high in error.value.achievable)
        assert all(low <= high for low, high in error.value.achievable)
        assert f"{error.value.achievable[0][0]:.8g}"[:6] in str(error.value)


def clipped_moments(low, high, a, b):
    """Q'(1) and C'(1) of clip(a x + b, low, high), normalized, from truncated normal moments in closed form."""
    left, right = (low - b) / a, (high - b) / a
    density = [math.exp(-t * t / 2) / math.sqrt(2 * math.pi) for t in (left, right)]
    inside = float(ndtr(right) - ndtr(left))
    first = density[0] - density[1]
    second = inside + left * density[0] - right * density[1]
    below, above = float(ndtr(left)), float(ndtr(-right))
    mean = low * below + high * above + a * first + b * inside
    square = low**2 * below + high**2 * above + a * a * second + 2 * a * b * first + b * b * inside
    variance = square - mean**2
    return a * (a * second + (b - mean) * first) / variance, a * a * inside / variance


@pytest.mark.parametrize(("name", "low", "high"), [("hardtanh", -1, 1), ("relu6", 0, 6)])
def test_what_clipped_functions_can_reach(name, low, high):
    """Where Q'(1) = 1, C'(1) is at least pi / (pi - 1), relu's value: an independent scan of the curve."""
    with pytest.raises(Infeasible) as error:
        solve(qc.activation(name), 1.2)
    (least, _), *_ = error.value.achievable
    assert error.value.condition == "C'(1)"
    assert least == pytest.approx(math.pi / (math.pi - 1), abs=1e-9)
    values = []
    for a in np.geomspace(0.02, 3, 25):
        shifts = np.linspace(low - 3 * a, (low + high) / 2, 400)
        gaps = np.array([clipped_moments(low, high, a, b)[0] - 1 for b in shifts])
        # Far from both kinks the function is linear, and the gap is rounding.
        gaps[np.abs(gaps) < 1e-9] = np.nan
        for k in np.flatnonzero(gaps[:-1] * gaps[1:] < 0):
            root = brentq(lambda b, a=a: clipped_moments(low, high, a, b)[0] - 1, shifts[k], shifts[k + 1], xtol=1e-14)
            values.append(clipped_moments(low, high, a, root)[1])
    assert len(values) > 5
    assert min(values) == pytest.approx(math.pi / (math.pi - 1), abs=1e-3)
    assert min(values) > least - 1e-6
    for value in values:
        assert any(first - 1e-3 <= value <= last + 1e-3 for first, last in error.value.achievable)


def test_the_closed_moments_are_those_of_the_oracle():
    dq, dc1, *_ = oracles.eliminated(FORMULAS["hardtanh"], 0.7, -0.4)
    assert clipped_moments(-1, 1, 0.7, -0.4) == pytest.approx((float(dq), float(dc1)), rel=1e-13)


@pytest.mark.parametrize("psi", [1.001, 1.3, 1.9])
def test_square_has_equal_slopes(psi):
    """Var (a x + b)^2 = 2 a^4 + 4 a^2 b^2 and Q'(1) = C'(1) = (4 a^4 + 4 a^2 b^2) / Var: never 1 and psi both."""
    a, b = 0.7, -1.3
    dq, dc1, *_ = oracles.eliminated(FORMULAS["square"], a, b)
    assert abs(dq - dc1) < 1e-28
    assert abs(dc1 - (4 * MP.mpf(a) ** 2 + 4 * MP.mpf(b) ** 2) / (2 * MP.mpf(a) ** 2 + 4 * MP.mpf(b) ** 2)) < 1e-28
    with pytest.raises(Infeasible) as error:
        solve(qc.activation("square"), psi)
    assert error.value.condition == "Q'(1)"
    np.testing.assert_allclose(error.value.achievable, [(psi, psi)], rtol=1e-8)


def test_identity_reaches_one_only():
    with pytest.raises(Infeasible) as error:
        solve(qc.activation("identity"), 1.1)
    assert error.value.achievable == ((1.0, 1.0),)


def test_what_bentid_can_reach():
    """At the largest searched scale the root of Q'(1) = 1 has the largest C'(1); its limit is 1 / (1 - 2 / (5 pi))."""
    with pytest.raises(Infeasible) as error:
        qc.dks(qc.zoo.mlp(20, activation="bentid"), zeta=100)
    ((least, most),) = error.value.achievable
    assert least == 1  # what lies below 1 + 1e-7 is not resolved
    shift = MP.findroot(
        lambda b: oracles.eliminated(FORMULAS["bentid"], 30, b)[0] - 1, (0.05, 0.1), solver="secant", tol=1e-20
    )
    assert most == pytest.approx(float(oracles.eliminated(FORMULAS["bentid"], 30, shift)[1]), abs=1e-9)
    assert most < 1 / (1 - 2 / (5 * math.pi))


# --- the function `conditions` ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CATALOGUE)
@pytest.mark.parametrize(
    "constants", [(1, 0, 0, 1), (0.05, 0.3, 0.2, 1.5), (-2, 0.4, 0.1, -1), (12, 5, 0, 0.1), (60, -20, 1, 1)]
)
def test_conditions_of_any_transform(name, constants):
    """Mirrored and wide transforms too; absolute accuracy against the size of the integrands."""
    if name == "identity" and constants[0] == 1:
        return
    got = conditions(Transform(qc.activation(name), *constants))
    q, dq, c0, dc1 = oracles.conditions(FORMULAS[name], *constants)
    assert isinstance(got, Conditions)
    assert got.q == pytest.approx(float(q), rel=2e-14)
    assert abs(got.dq - dq) < 1e-13 * (abs(dq) + abs(q) * (1 + abs(constants[0])))
    assert abs(got.c0 - c0) < 1e-13
    assert got.dc1 == pytest.approx(float(dc1), rel=2e-14)


def test_undeclared_kinks_are_refused():
    for function in (lambda u: np.abs(u - 0.1), lambda u: np.maximum(u, 0.3), lambda u: np.clip(u, -0.7, 1)):
        with pytest.raises(NumericalError, match="kinks"):
            conditions(Transform(qc.Activation.from_callable(function, name="kinked", search=None)))
        with pytest.raises(ActivationError, match="not declared"):
            qc.Activation.from_callable(function, name="kinked")


def test_undeclared_kinks_are_refused_by_dks():
    def kinked(u):
        return np.where(u > 0.01, u, np.expm1(np.minimum(u, 0.01)) + (0.01 - np.expm1(0.01)))

    slope = lambda u: np.where(u > 0.01, 1.0, np.exp(np.minimum(u, 0.01)))  # noqa: E731
    act = qc.Activation.from_callable(kinked, slope, search=None)
    with pytest.raises(NumericalError, match="kinks"):
        qc.dks(qc.zoo.mlp(50, activation=act), zeta=1.5)
    declared = qc.Activation.from_callable(kinked, slope, kinks=(0.01,))
    assert max(map(abs, qc.dks(qc.zoo.mlp(50, activation=declared), zeta=1.5).residuals()["kinked"].values())) < 1e-12


def test_a_finer_scale_than_declared_is_refused():
    act = qc.Activation.from_callable(lambda u: np.arctan(300 * u), lambda u: 300 / (1 + 9e4 * u * u), name="narrow")
    with pytest.raises(NumericalError, match="length"):
        conditions(Transform(replace(act, length=1.0)))


# --- functions that grow fast ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("scale", [0.5, 3.0, 5.0, 12.0])
def test_exponential_growth_is_integrated_in_full(scale):
    """For exp(a x), t = a^2: Q(1) = e^(2t), Q'(1) = 2 t Q(1), C(0) = e^-t, C'(1) = t: mass sits around x = 2 a."""
    act, t = qc.Activation.from_sympy("exp(u)", name="exp"), scale**2
    got = conditions(Transform(act, scale))
    assert (got.q, got.dq) == pytest.approx((math.exp(2 * t), 2 * t * math.exp(2 * t)), rel=1e-13)
    assert (got.c0, got.dc1) == pytest.approx((math.exp(-t), t), rel=1e-13)
    values, _ = slopes(act, np.array([scale]), np.zeros(1))
    assert values.c_excess[0] == pytest.approx(t / -math.expm1(-t) - 1, rel=1e-11)


def test_growth_beyond_reach_is_refused():
    act = qc.Activation.from_sympy("exp(u)", name="exp")
    with pytest.raises(NumericalError, match="input_scale"):
        conditions(Transform(act, 20.0))
    values, _ = slopes(act, np.array([5.0, 25.0]), np.zeros(2))
    assert np.isfinite(values.c_excess[0])
    assert np.isnan(values.c_excess[1])
    # C'(1) = t / (1 - e^-t) is 25 at a = 5 to rounding, and Q'(1) = t (2 - e^-t) / (1 - e^-t) is 50 there.
    assert solve(act, 25.0, None).transform.input_scale == pytest.approx(5, rel=1e-9)
    with pytest.raises(Infeasible) as error:
        solve(act, 25.0)
    assert error.value.achievable[0] == pytest.approx((50, 50), rel=1e-8)


# --- intervals that can be reached -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["sin", "gelu", "swish", "mish"])
def test_reported_ends_are_the_true_ones(name):
    act = qc.activation(name)
    with pytest.raises(Infeasible) as error:
        solve(act, 3.0)
    ((low, high),) = error.value.achievable
    assert low == 1
    dq, dc1, *_ = oracles.eliminated(FORMULAS[name], *_constants(solve(act, 1 + (high - 1) * (1 - 1e-6))))
    assert abs(dq - 1) < 1e-9
    assert high - 2e-6 < dc1 < high
    with pytest.raises(Infeasible):
        solve(act, 1 + (high - 1) * (1 + 1e-6))


def _constants(solution):
    return solution.transform.input_scale, solution.transform.input_shift


def test_slopes_that_solve_lie_in_one_interval():
    with pytest.raises(Infeasible) as error:
        solve(qc.activation("tanh"), 1.084471771, q_slope=-5)
    ((low, high),) = error.value.achievable
    for slope in (low + 1e-6, 0.82, 0.87, high - 1e-6):
        assert solve(qc.activation("tanh"), 1.084471771, q_slope=slope).q_slope == pytest.approx(slope, abs=1e-9)
    for slope in (low - 1e-6, high + 1e-6):
        with pytest.raises(Infeasible):
            solve(qc.activation("tanh"), 1.084471771, q_slope=slope)
