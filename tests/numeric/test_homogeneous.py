"""Functions that are linear on either side of zero: closed forms against the general quadrature and the oracle."""

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import qcmap as qc
from qcmap.activations import Activation, Kink
from qcmap.errors import Infeasible
from qcmap.numeric import Transform, conditions, solve
from qcmap.numeric.shaping._homogeneous import with_two_slopes
from tests import oracles
from tests.oracles import MP, two_slopes_formula


def two_slopes(left, right=1.0, **options):
    return Activation(
        f"slopes {left:g} {right:g}",
        lambda u: np.where(u > 0, right * u, left * u), lambda u: np.where(u > 0, right, left), np.zeros_like,
        kinks=(Kink(0.0, slope=right - left),), homogeneity=1, two_slopes=(left, right), **options,
    )  # fmt: skip


ABSOLUTE = two_slopes(-1.0)


@pytest.mark.parametrize("psi", [1.0001, 1.01, 1.2, 1.4])
@pytest.mark.parametrize("act", [qc.activation("relu"), ABSOLUTE, two_slopes(0.3), two_slopes(-0.4)], ids=str)
def test_three_conditions(act, psi):
    left = act.two_slopes[0]
    try:
        solution = solve(act, psi)
    except Infeasible as error:
        ((low, high),) = error.achievable
        assert not low <= psi <= high
        return
    q, _, c0, dc1 = oracles.conditions(two_slopes_formula(left), **solution.transform.constants)
    assert max(abs(q - 1), c0, abs(dc1 - MP.mpf(psi))) < 1e-12
    assert set(solution.residuals) == {"Q(1)", "C(0)", "C'(1)"}
    assert abs(solution.transform.input_shift) in (0.0, 1.0)
    general = conditions(solution.transform)
    assert (general.q, general.c0, general.dc1) == pytest.approx((1, 0, psi), abs=1e-12)


def test_relu_is_the_papers():
    t = qc.dks(qc.zoo.mlp(100, activation="relu"), zeta=1.5)["relu"]
    assert t.input_shift == 1.0
    assert t.input_scale > 0


def test_relu_at_zero_shift_has_slope_pi_over_pi_minus_one():
    found = conditions(Transform(qc.activation("relu"), 1, 0, -1 / math.sqrt(2 * math.pi), 1))
    assert found.dc1 * found.q == pytest.approx(0.5)
    t = solve(qc.activation("relu"), math.pi / (math.pi - 1) * (1 + 1e-9)).transform
    assert abs(t.input_shift / t.input_scale) < 1e-6


@given(psi=st.floats(1.00001, math.pi / (math.pi - 2)))
def test_leaky_relu_meets_four_conditions(psi):
    solution = solve(qc.activation("leaky_relu"), psi)
    slope = solution.transform.activation.parameters["negative_slope"]
    assert -1 <= slope < 1
    assert solution.transform.input_shift == 0
    assert solution.conditions_met == 4
    residuals = oracles.conditions(two_slopes_formula(slope), **solution.transform.constants)
    assert max(abs(r - w) for r, w in zip(residuals, (1, 1, 0, MP.mpf(psi)), strict=True)) < 1e-13
    # 1 - 1/psi = (1 - l)^2 / (pi (1 + l^2)), from the paper's arc-cosine kernel.
    assert (1 - slope) ** 2 / (math.pi * (1 + slope**2)) == pytest.approx(1 - 1 / psi, abs=1e-13)


def test_the_absolute_value_is_the_most_that_leaky_relu_reaches():
    """Q'(1) = 1 needs t = 0, where C'(1) peaks at l = -1, or l = -h / (1 - h), along which C'(1) falls with abs(t)."""
    most = math.pi / (math.pi - 2)
    values = []
    for t in (0.0, -0.01, -0.3, -1.0, -3.0):
        density, mass = (float(f(MP.mpf(t))) for f in (MP.npdf, MP.ncdf))
        share = (1 - mass) * (density + t * mass) / density
        dq, dc1, *_ = oracles.eliminated(two_slopes_formula(-share / (1 - share)), 1, t)
        assert abs(dq - 1) < 1e-12
        values.append(float(dc1))
    assert values[0] == pytest.approx(most, abs=1e-13)
    assert sorted(values, reverse=True) == values


@pytest.mark.parametrize("psi", [2.752, 2.8, 50.0, 1e8])
def test_leaky_relu_beyond_the_absolute_value_is_infeasible(psi):
    with pytest.raises(Infeasible) as error:
        solve(qc.activation("leaky_relu"), psi)
    ((low, high),) = error.value.achievable
    assert low == 1
    assert high == pytest.approx(math.pi / (math.pi - 2), abs=1e-9)


def test_the_slope_given_does_not_matter():
    for slope in (0.5, -0.2):
        act = qc.activation("leaky_relu", negative_slope=slope)
        assert solve(act, 1.1).transform == solve(qc.activation("leaky_relu"), 1.1).transform


def test_a_fixed_slope_has_three_conditions():
    act = dataclasses.replace(qc.activation("leaky_relu", negative_slope=0.2), free_slope=False)
    solution = solve(act, 1.05)
    assert solution.conditions_met == 3
    assert max(map(abs, solution.residuals.values())) < 1e-12


@given(left=st.floats(-1.5, 1.5), t=st.floats(-5, 5), scale=st.floats(0.1, 3))
def test_general_quadrature_of_two_slopes(left, t, scale):
    """Stein's lemma: E phi'^2 = l^2 + (1 - l^2) P(t)."""
    shift = t * scale
    found = conditions(Transform(two_slopes(left), scale, shift))
    mass = MP.ncdf(MP.mpf(shift) / MP.mpf(scale))
    want = float(scale**2 * (left**2 + (1 - left**2) * mass))
    assert found.dc1 * found.q == pytest.approx(want, rel=1e-12, abs=1e-14)


@pytest.mark.parametrize(("formula", "name"), [("Max(u, 0)", "relu"), ("3*Max(u, 0)", "relu"), ("Abs(u)", None)])
def test_a_users_own_function_of_two_lines_is_recognised(formula, name):
    """C'(1) and t do not depend on the size of phi; the transform keeps the user's function."""
    act = qc.Activation.from_sympy(formula, name="own")
    solution = solve(act, 1.2)
    assert solution.transform.activation is act
    assert max(map(abs, solution.residuals.values())) < 1e-12
    if name:
        catalogue = solve(qc.activation(name), 1.2).transform
        assert solution.transform.input_scale == pytest.approx(catalogue.input_scale, rel=1e-13)
    almost = qc.Activation.from_sympy("Max(u, 0) + 1e-6*tanh(u)", name="almost")
    assert with_two_slopes(almost) is almost
