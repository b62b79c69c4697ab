"""Branches of solutions: every point solves, ends are where closed forms and brute force put them, jumps are real."""

import itertools
import math

import numpy as np
import pytest
from scipy.optimize import brentq

import qcmap as qc
from qcmap.errors import ActivationError, ArgumentError, Infeasible
from qcmap.numeric import canonical_branch, follow, solve
from qcmap.numeric.shaping._moments import bends, slopes
from qcmap.numeric.shaping._solutions import STANDARD_BOX, solutions_of
from qcmap.numeric.shaping._systems import TAT
from qcmap.numeric.shaping._tat import solve_curvature
from tests import oracles
from tests.oracles import FORMULAS


@pytest.mark.parametrize("name", ["tanh", "softplus", "gelu", "selu", "softsign"])
def test_every_point_of_a_branch_solves(name):
    branch = follow(name, 1.001, 1.035)
    assert (branch.low.kind, branch.high.kind) == ("range", "range")
    assert (branch.target[0], branch.target[-1]) == pytest.approx((1.001, 1.035), abs=1e-11)
    assert (np.diff(branch.target) > 0).all()
    for k in range(0, branch.target.size, 7):
        dq, dc1, *_ = oracles.eliminated(FORMULAS[name], branch.input_scale[k], branch.input_shift[k])
        assert abs(dq - 1) < 1e-9
        assert abs(dc1 - branch.target[k]) < 1e-9
    # Continuous: neighbours are near.
    assert np.abs(np.diff(np.log(branch.input_scale))).max() < 0.4


@pytest.mark.parametrize("name", ["tanh", "gelu"])
@pytest.mark.parametrize("depth", [20, 100, 1000])
def test_a_branch_in_depth_is_what_dks_finds(name, depth):
    branch = follow(name, 1, 1.5, start=1.02)
    for zeta in (1.1, 1.5, 12.0):
        solution = qc.dks(qc.zoo.mlp(depth, activation=name), zeta).solutions[name]
        want = (solution.transform.input_scale, solution.transform.input_shift)
        assert branch(solution.psi) == pytest.approx(want, rel=1e-8)


@pytest.mark.parametrize(
    ("name", "limit"),
    # tanh^2 = 1/4; 12 u^2 = 4; tan^2 = 2; 12 u^2 = 3.
    [("tanh", -math.atanh(0.5)), ("erf", -1 / math.sqrt(3)), ("sin", -math.atan(math.sqrt(2))), ("atan", -0.5)],
)
def test_the_limit_of_small_psi(name, limit):
    """As psi falls to 1 the shift tends to a root of phi''^2 + 2 phi' phi'''."""
    branch = follow(name, 1, 1.1, start=1.01)
    assert branch.low.kind == "limit"
    assert branch.low.target == pytest.approx(1 + 1e-7, abs=1e-12)
    assert branch.low.input_shift == pytest.approx(limit, abs=2e-6)
    assert branch.low.input_shift == branch.input_shift[0]


def test_the_fold_of_the_sine():
    """By symmetry it is at b = -pi/2: with s = a^2, Q'(1) = 2 s / (e^s - 1) and C'(1) = s (1 + e^-s) / (1 - e^-s)."""
    branch = follow("sin", 1, 3.0, start=1.02)
    s = brentq(lambda s: math.expm1(s) - 2 * s, 0.5, 2, xtol=1e-15)
    assert branch.high.kind == "fold"
    assert branch.high.target == pytest.approx(s * (1 + math.exp(-s)) / (1 - math.exp(-s)), abs=1e-12)
    assert branch.high.input_scale == pytest.approx(math.sqrt(s), abs=1e-6)
    assert branch.high.input_shift == pytest.approx(-math.pi / 2, abs=1e-5)
    with pytest.raises(Infeasible):
        solve(qc.activation("sin"), branch.high.target + 1e-6)
    assert solve(qc.activation("sin"), branch.high.target - 1e-6).transform.input_scale < branch.high.input_scale


@pytest.mark.parametrize(("name", "high"), [("softplus", 4.0), ("bentid", 4.0), ("tanh", 40.0)])
def test_the_edge_of_the_box(name, high):
    """A branch that starts in the standard box goes on in the wide one."""
    branch = follow(name, 1.05, high)
    assert branch.high.kind == "edge"
    assert branch.high.input_scale == pytest.approx(30, abs=1e-9)
    assert solve(qc.activation(name), branch.target[0]).transform.input_scale < 3
    dq, dc1, *_ = oracles.eliminated(FORMULAS[name], branch.high.input_scale, branch.high.input_shift)
    assert abs(dq - 1) < 1e-9
    assert abs(dc1 - branch.high.target) < 1e-8


def test_a_low_end_inside_the_range_is_no_limit():
    branch = follow("tanh", 1.5, 2.0, start=1.7)
    assert (branch.low.kind, branch.high.kind) == ("range", "range")
    assert (branch.low.target, branch.high.target) == pytest.approx((1.5, 2.0), abs=1e-11)
    assert branch(1.6) == pytest.approx(follow("tanh", 1.5, 2.0)(1.6), rel=1e-9)
    assert follow("tanh", 1, 2.0).low.kind == "limit"


@pytest.mark.parametrize("arguments", [("a", 2.0), (1.1, None), (1.1, 2.0, "x")])
def test_ranges_are_numbers(arguments):
    low, high, *start = arguments
    with pytest.raises(ArgumentError):
        follow("tanh", low, high, start=start[0] if start else None)


def test_a_branch_wants_a_number_and_points_may_be_of_numpy():
    branch = follow("tanh", 1.1, 1.2)
    for wrong in ("a", None, math.nan):
        with pytest.raises(ArgumentError, match="branch lies over"):
            branch(wrong)
    assert canonical_branch("tanh", 1.1, 1.2, points=np.int64(4)).target.size == 4
    with pytest.raises(ArgumentError, match="method"):
        follow("tanh", 1.1, 1.2, method=[1])  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("name", ["tanh", "softplus", "elu"])
def test_tailored_branches(name):
    branch = follow(name, 0, 0.3, start=0.05, method="tat")
    assert (branch.low.kind, branch.high.kind) == ("limit", "range")
    for kappa in (1e-4, 0.02, 0.25):
        transform = solve_curvature(qc.activation(name), kappa).transform
        assert branch(kappa) == pytest.approx((transform.input_scale, transform.input_shift), rel=1e-7)
    scale, shift = branch.input_scale, branch.input_shift
    _, _, found = bends(qc.activation(name), scale, shift)
    np.testing.assert_allclose(np.exp(found.log_curvature[0]), branch.target, rtol=1e-9)


def test_following_does_not_depend_on_the_start():
    one, other = follow("gelu", 1.001, 1.3), follow("gelu", 1.001, 1.3, start=1.2)
    for psi in (1.002, 1.05, 1.29):
        assert one(psi) == pytest.approx(other(psi), rel=1e-8)


# --- the canonical solution ------------------------------------------------------------------------------------------


def test_one_branch_has_no_jumps():
    found = canonical_branch("tanh", 1, 2.0)
    assert found.jumps == ()
    for psi, scale, shift in list(zip(found.target, found.input_scale, found.input_shift, strict=True))[3::6]:
        transform = solve(qc.activation("tanh"), float(psi)).transform
        assert (scale, shift) == pytest.approx((transform.input_scale, transform.input_shift), rel=1e-9)


def test_the_canonical_selu_jumps():
    """First where a solution on the other side comes nearer to shift 0, then where that one ends at its kink."""
    found = canonical_branch("selu", 1.001, 1.06, points=12)
    nearer, edge = found.jumps
    assert (nearer.reason, edge.reason) == ("nearer", "edge")
    assert nearer.below[1] < 0 < nearer.above[1]
    assert abs(nearer.below[1]) == pytest.approx(abs(nearer.above[1]), rel=1e-6)
    # Both are solutions, at 32 digits.
    for scale, shift in (nearer.below, nearer.above):
        dq, dc1, *_ = oracles.eliminated(FORMULAS["selu"], scale, shift)
        assert abs(dq - 1) < 1e-8
        assert abs(dc1 - nearer.target) < 1e-8
    # At its kink selu is two lines, with t = 0 and this C'(1).
    slope = float(oracles.SELU_ALPHA)
    limit = 1 / (1 - (1 - slope) ** 2 / (math.pi * (1 + slope**2)))
    assert edge.target == pytest.approx(limit, abs=1e-5)
    assert edge.below[0] == pytest.approx(1e-4, rel=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "low", "high"), [("selu", 1.001, 1.06), ("swish", 1.2, 1.7), ("gelu", 1.3, 1.9)])
def test_brute_force_sees_the_same_jumps(name, low, high):
    """Solving at 200 points: the solution moves far between two neighbours where, and only where, a jump lies."""
    found = canonical_branch(name, low, high, points=9)
    grid = np.linspace(low, high, 200)
    shifts = [solve(qc.activation(name), float(psi)).transform.input_shift for psi in grid]
    seen = [(a, b) for (a, x), (b, y) in itertools.pairwise(zip(grid, shifts, strict=True)) if abs(x - y) > 0.1]
    assert len(seen) == len(found.jumps) > 0
    for (a, b), jump in zip(seen, found.jumps, strict=True):
        assert a <= jump.target <= b


def test_where_solutions_end():
    found = canonical_branch("sin", 1.5, 3.0, points=5)
    (jump,) = found.jumps
    assert (jump.reason, jump.above) == ("none above", None)
    assert found.input_scale.mask.tolist() == found.input_shift.mask.tolist() == [t > jump.target for t in found.target]
    assert found.to_dict()["input_shift"][-1] is None
    assert jump.target == pytest.approx(follow("sin", 1.5, 3.0).high.target, abs=1e-7)
    (jump,) = canonical_branch("hardtanh", 1.2, 2.0, points=4).jumps
    assert (jump.reason, jump.below) == ("none below", None)
    assert jump.target == pytest.approx(math.pi / (math.pi - 1), abs=1e-6)
    assert canonical_branch("square", 1.2, 2.0, points=3).jumps == ()


def test_a_tailored_canonical_branch():
    found = canonical_branch("softplus", 0.2, 0.6, points=5, method="tat")
    (jump,) = found.jumps
    assert jump.reason == "edge"
    assert jump.below[0] == pytest.approx(3, rel=1e-6)
    assert len(solutions_of(TAT, qc.activation("softplus"), jump.target - 1e-3, STANDARD_BOX)) == 2
    assert len(solutions_of(TAT, qc.activation("softplus"), jump.target + 1e-3, STANDARD_BOX)) == 1


# --- refusals --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "call",
    [
        lambda: follow("tanh", 1.2, 1.1),
        lambda: follow("tanh", 0.5, 1.1),
        lambda: follow("tanh", 1.1, math.inf),
        lambda: follow("tanh", 1.1, 1.2, start=1.3),
        lambda: follow("tanh", 1.1, 1.2, method="other"),
        lambda: follow("hardtanh", 1.1, 1.2),
        lambda: follow("tanh", 1.1, 1.2)(1.3),
        lambda: canonical_branch("tanh", 1.1, 1.2, points=1),
        lambda: canonical_branch("tanh", math.nan, 1.2),
    ],
)
def test_bad_arguments(call):
    with pytest.raises(ArgumentError):
        call()


def test_closed_forms_and_corners_have_no_branch():
    with pytest.raises(ActivationError, match="closed form"):
        follow("relu", 1.1, 1.2)
    with pytest.raises(ActivationError, match="closed form"):
        canonical_branch("leaky_relu", 1.1, 1.2)
    with pytest.raises(Infeasible, match="slope jumps"):
        follow("selu", 0.1, 0.2, method="tat")


def test_plain_data():
    import json

    branch = json.loads(json.dumps(follow("tanh", 1.01, 1.02).to_dict()))
    assert branch["high"]["kind"] == "range"
    found = canonical_branch("hardtanh", 1.2, 2.0, points=3)
    data = json.loads(json.dumps(found.to_dict()))
    assert data["input_scale"][0] is None
    assert data["jumps"][0]["below"] is None
    assert "none below" in repr(found)
    assert "fold" in repr(follow("sin", 1.5, 3.0))


def test_a_wrong_point_is_seen():
    """The residual checks above can fail: points moved by 1e-4 do not solve."""
    branch = follow("tanh", 1.01, 1.02)
    values, _ = slopes(qc.activation("tanh"), branch.input_scale * 1.0001, branch.input_shift)
    assert np.abs(values.c_excess + 1 - branch.target).min() > 1e-7


def test_a_branch_goes_on_from_one_box_to_the_next():
    """Softplus leaves the standard box at psi = 1.2008 and goes on in the wide one: one branch, to its edge."""
    (jump,) = canonical_branch("softplus", 1.1, 1.6, points=5).jumps
    assert (jump.reason, jump.above) == ("none above", None)
    assert jump.below[0] == pytest.approx(30, rel=1e-6)
