"""Counts of solutions: proved numbers, boxes that lose one, and the inequalities behind them against mpmath."""

from fractions import Fraction

import pytest
from flint import arb, ctx
from hypothesis import given, settings
from hypothesis import strategies as st

import qcmap as qc
from qcmap.activations import activation
from qcmap.errors import ArgumentError, NumericalError
from qcmap.numeric import certified_inverse, count_solutions, solve
from qcmap.numeric.proofs._ball_series import smooth_activation
from qcmap.numeric.proofs._balls import ball_activation
from qcmap.numeric.proofs._count_moments import Cell, Taylor, _energies, _hermite
from qcmap.numeric.proofs._count_smooth import SmoothCells
from qcmap.numeric.proofs._far_lines import with_far_lines
from tests import oracles
from tests.oracles import FORMULAS, MP

PSI = certified_inverse(qc.maximal_slope(qc.zoo.mlp(100)), 1.5, 30)
SWISH = ((0.0265613, -1.5208024), (0.1294936, 0.3494754), (0.1975522, -3.2914934))


def near(count, expected):
    return count.count == len(expected) and all(
        abs(float(a) - x) < 1e-6 and abs(float(b) - y) < 1e-6
        for (a, b), (x, y) in zip(count.solutions, expected, strict=True)
    )


def test_swish_down_to_scale_zero():
    count = count_solutions("swish", PSI, scale=(0, 0.3))
    assert near(count, SWISH)
    assert "3 solutions in (0, 0.3]" in repr(count)
    for a, b in count.solutions:
        dq, dc1, *_ = oracles.eliminated(FORMULAS["swish"], MP.mpf(float(a)), MP.mpf(float(b)))
        assert abs(dq - 1) < 1e-12
        assert abs(dc1 - MP.mpf(float(PSI))) < 1e-12


@pytest.mark.slow
def test_swish_in_the_whole_box():
    """The three solutions of the design's box are all."""
    assert near(count_solutions("swish", PSI), SWISH)


def test_boxes_that_leave_a_solution_out():
    assert near(count_solutions("swish", PSI, scale=(0, 0.3), shift=(-6, 0)), (SWISH[0], SWISH[2]))
    assert near(count_solutions("swish", PSI, scale=(0, 0.1)), SWISH[:1])
    empty = count_solutions("swish", PSI, scale=(0, 0.3), shift=(1, 6))
    assert empty.infeasible
    assert empty.to_dict()["count"] == 0


def test_a_mirror_pair():
    count = count_solutions("tanh", PSI, scale=(0, 0.25))
    assert near(count, ((0.0904379, 0.5601067), (0.0904379, -0.5601067))) or near(
        count, ((0.0904379, -0.5601067), (0.0904379, 0.5601067))
    )


def test_a_mirror_pair_in_uneven_boxes():
    """The half that is searched is the longer one, and only what lies in the box counts."""
    (a, b) = 0.0904379, 0.5601067
    assert near(count_solutions("tanh", PSI, scale=(0, 0.25), shift=(-0.1, 2)), ((a, b),))
    assert near(count_solutions("tanh", PSI, scale=(0, 0.25), shift=(-2, 0.1)), ((a, -b),))
    assert count_solutions("tanh", PSI, scale=(0, 0.25), shift=(-0.4, 0.5)).infeasible


def test_any_exact_psi():
    assert count_solutions("softplus", Fraction(3, 2), scale=(0.5, 0.6), shift=(1, 1.1)).infeasible


def test_with_a_kink():
    count = count_solutions("selu", PSI, scale=(0.07, 0.11), shift=(-0.4, -0.15))
    transform = solve(activation("selu"), float(PSI)).transform
    assert near(count, ((transform.input_scale, transform.input_shift),))


def test_the_square_is_infeasible():
    """Q'(1) = C'(1) for polynomials of degree two, so nothing has Q'(1) = 1 and C'(1) above it."""
    assert count_solutions("square", 1.1, scale=(1.0, 1.5), shift=(1.0, 2.0)).infeasible


def test_refusals():
    with pytest.raises(ArgumentError, match="psi"):
        count_solutions("swish", 1.0)
    with pytest.raises(ArgumentError, match="box"):
        count_solutions("swish", 1.1, scale=(2, 1))
    for bad in (3, 0, ("a", 3)):
        with pytest.raises(ArgumentError, match="two ends"):
            count_solutions("swish", 1.1, scale=bad)
    with pytest.raises(ArgumentError, match="two ends"):
        count_solutions("swish", 1.1, shift=6)
    with pytest.raises(ArgumentError, match="psi"):
        count_solutions("swish", "abc")
    with pytest.raises(NumericalError, match="more than 5 cells"):
        count_solutions("swish", 1.1, most_cells=5)
    with pytest.raises(ArgumentError, match="most_cells"):
        count_solutions("swish", 1.1, most_cells=0)
    with pytest.raises(ArgumentError, match="smooth down to 0"):
        count_solutions("selu", 1.1, scale=(0, 1))
    with pytest.raises(ArgumentError, match="input_shift / input_scale"):
        count_solutions("relu", 1.1)


def test_a_solution_on_the_edge_is_not_decided():
    _, b = count_solutions("swish", PSI, scale=(0.12, 0.14), shift=(0.3, 0.4)).solutions[0]
    with pytest.raises(NumericalError):
        count_solutions("swish", PSI, scale=(0.12, 0.14), shift=(0.3, float(b)))


@settings(max_examples=15, deadline=None)
@given(
    st.sampled_from(["swish", "tanh", "softplus", "gelu", "mish", "atan"]),
    st.floats(0.02, 0.2), st.floats(-5, 5), st.floats(-1, 1), st.floats(-1, 1),
)  # fmt: skip
def test_inequalities_enclose_the_conditions(name, scale, shift, x, y):
    """At a point of the cell both models hold what mpmath finds: s d - (psi - 1) w and n."""
    act, psi = activation(name), MP.mpf("1.01")
    with ctx.workprec(64):
        s, b = arb(scale**2, scale**2 * 0.1), arb(shift, 0.05)
        gap, n = SmoothCells(smooth_activation(act), 0.3, 6.0).models(s, b, arb("0.01"))
    # Well inside, so that rounding of the point does not leave the cell.
    point = (
        MP.sqrt(MP.mpf(scale) ** 2 * (1 + MP.mpf(y) * MP.mpf("0.099"))),
        MP.mpf(shift) + MP.mpf(x) * MP.mpf("0.0499"),
    )
    dq, dc1, _, variance = oracles.eliminated(FORMULAS[name], *point)
    square = point[0] ** 2
    inside(gap, (dc1 - psi) * variance / square, x, y)
    inside(n, (dq - 1) * variance / square**2, x, y)


@settings(max_examples=10, deadline=None)
@given(
    st.sampled_from(["swish", "selu", "hardtanh", "gelu_tanh"]),
    st.floats(0.3, 2), st.floats(-3, 3), st.floats(-1, 1), st.floats(-1, 1),
)  # fmt: skip
def test_moments_enclose_the_conditions(name, scale, shift, x, y):
    low, high = scale**2 * 0.9, scale**2 * 1.1
    cell = Cell(low, high, shift - 0.1 * scale, shift + 0.1 * scale)
    with ctx.workprec(90):
        e, n = Taylor(ball_activation(activation(name)), cell, arb("1.01"), 7).equations
    point = (
        MP.sqrt(MP.mpf(scale) ** 2 * (1 + MP.mpf(y) * MP.mpf("0.099"))),
        MP.mpf(shift) + MP.mpf(x * scale) * MP.mpf("0.099"),
    )
    dq, dc1, _, variance = oracles.eliminated(FORMULAS[name], *point)
    inside(n, (dq - 1) * variance, x, y)
    inside(e, (dc1 - MP.mpf("1.01")) * variance, x, y)


def test_lines_far_out_count_what_they_lack():
    """With an end so near that its error shows: bounds from the pieces hold the true moments, but not without it."""
    own, a, b, line = ball_activation(activation("gelu_tanh")), arb(2), arb(0.5), (arb(0.9), arb(0.6))
    (lines, gap), none = with_far_lines(own, 5), (arb(0), arb(0))
    with ctx.workprec(60):
        cases = (own, none), (lines, gap), (lines, none)
        for true, held, lost in zip(*(_hermite(*case, a, b, line, 6) for case in cases), strict=True):
            assert all(h.contains(t) for t, h in zip(true, held, strict=True))
            assert not any(x.overlaps(t) for t, x in zip(true, lost, strict=True))
        for true, held, lost in zip(*(_energies(*case, a, b, line, 6) for case in cases), strict=True):
            assert held > true
            assert held > lost


@pytest.mark.parametrize("bits", [5, 20, 60])
def test_ends_of_lines(bits):
    """The error at the end is at most the bound, further out it is less, and the bound is not wasteful."""
    act, (value, slope) = with_far_lines(ball_activation(activation("gelu_tanh")), bits)
    assert slope < arb(2) ** -bits
    end, phi, first = MP.mpf(float(act.kinks[1])), FORMULAS["gelu_tanh"].value, FORMULAS["gelu_tanh"].first
    with MP.workdps(60):
        for u in (end, end * MP.mpf("1.01"), end + 1):
            assert max(abs(u - phi(u)), abs(phi(-u))) <= MP.mpf(float(value))
            assert max(abs(1 - first(u)), abs(first(-u))) <= MP.mpf(float(slope))
        assert 1.5 * abs(end - phi(end)) > MP.mpf(float(value))
        assert 1.5 * abs(1 - first(end)) > MP.mpf(float(slope))


def inside(model, value, x, y):
    """Whether the model's polynomial at (x, y), nearly the point of the cell, holds the value; and its range does."""
    assert model.range.overlaps(arb(float(value), abs(float(value)) * 1e-14))
    at = model.c + model.x * x + model.y * y + model.xx * x * x + model.xy * x * y + model.yy * y * y
    slack = 0.02 * float((abs(model.x) + abs(model.y) + abs(model.xx) + abs(model.xy) + abs(model.yy)).upper())
    assert at.overlaps(arb(float(value), slack + 1e-14 * abs(float(value))))
