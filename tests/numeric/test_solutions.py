"""Which solution is canonical, whatever the order of calls; the Jacobian and the quadrature under the solver."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import qcmap as qc
from qcmap.activations import CATALOGUE
from qcmap.errors import NumericalError
from qcmap.numeric import solve
from qcmap.numeric.maps._quadrature import gaussian_rule
from qcmap.numeric.shaping._moments import slopes
from qcmap.numeric.shaping._solutions import STANDARD_BOX, roots
from tests import oracles
from tests.oracles import FORMULAS, MP

PSI = 1.5**0.01
SOLVED = tuple(n for n in CATALOGUE if n not in ("hardtanh", "identity", "relu6", "square", "relu", "leaky_relu"))


def test_swish_has_three_solutions():
    found = [(root.input_scale, root.input_shift) for root in roots(qc.activation("swish"), PSI)]
    assert len(found) == 3
    assert found[0] == pytest.approx((0.1295, 0.3495), abs=5e-5)
    assert min(found) == pytest.approx((0.0266, -1.5208), abs=5e-5)
    assert max(found) == pytest.approx((0.1976, -3.2915), abs=5e-5)
    solution = solve(qc.activation("swish"), PSI)
    assert len(solution.others) == 2
    assert solution.transform.input_shift == found[0][1]


@pytest.mark.parametrize("name", SOLVED)
@pytest.mark.parametrize("psi", [1.0001, PSI, 1.05])
def test_every_solution_solves_and_the_canonical_is_first(name, psi):
    act = qc.activation(name)
    solution = solve(act, psi)
    first = (solution.transform.input_scale, solution.transform.input_shift)
    for scale, shift in (first, *solution.others):
        assert scale > 0
        dq, dc1, *_ = oracles.eliminated(FORMULAS[name], scale, shift)
        assert abs(dq - 1) < 1e-9
        assert abs(dc1 - MP.mpf(psi)) < 1e-9
        assert (round(abs(first[1]), 9), first[1]) <= (round(abs(shift), 9), shift)


@pytest.mark.parametrize("name", [name for name in SOLVED if qc.activation(name).parity])
def test_odd_and_even_activations_take_the_negative_shift(name):
    solution = solve(qc.activation(name), PSI)
    scale, shift = solution.transform.input_scale, solution.transform.input_shift
    assert shift < 0
    assert any((a, b) == pytest.approx((scale, -shift), rel=1e-9) for a, b in solution.others)


@pytest.mark.parametrize("name", ["softplus", "selu", "swish"])
@given(data=st.data())
def test_no_solution_is_missed_by_random_starts(name, data):
    """Newton's method by scipy from random points of the box finds only listed solutions."""
    from scipy.optimize import root as find

    act = qc.activation(name)
    known = [(r.input_scale, r.input_shift) for r in roots(act, PSI)]
    start = data.draw(st.tuples(st.floats(-4.5, 0.5), st.floats(-5.5, 5.5)))

    def equations(point):
        values, _ = slopes(act, np.exp(np.clip(point[:1], -12, 5)), np.clip(point[1:], -50, 50))
        excess = np.maximum(values.c_excess[0], 1e-14)
        return np.nan_to_num([values.q_excess[0] / excess, np.log(excess / (PSI - 1))], nan=50.0)

    # MINPACK's first steps are as long as the unknowns, and fail at 5e-324: they count from a point outside the starts.
    outside = np.array([1.0, 0.0])
    result = find(lambda unknowns: equations(unknowns + outside), start - outside, tol=1e-11)
    point = result.x + outside
    scale, shift = float(np.exp(min(point[0], 50.0))), float(point[1])
    inside = STANDARD_BOX.holds(np.array(scale), np.array(shift))
    if result.success and inside and np.abs(equations(point)).max() < 1e-9:
        assert any((scale, shift) == pytest.approx(pair, rel=1e-5, abs=1e-6) for pair in known)


SCRIPT = """
import qcmap as qc, numpy as np, random
state, python = np.random.get_state()[1].tolist(), random.getstate()
for depth, zeta, name in {order}:
    t = qc.dks(qc.zoo.mlp(depth, activation=name), zeta=zeta)[name]
    print(depth, zeta, name, *map(float.hex, t.constants.values()))
assert np.random.get_state()[1].tolist() == state and random.getstate() == python
"""


def test_order_of_calls_and_global_random_state_do_not_matter():
    calls = [(100, 1.5, "swish"), (20, 100.0, "gelu"), (20, 100.0, "bentid"), (50, 1.5, "selu"), (100, 1.5, "tanh")][:5]
    calls[2] = (50, 100.0, "bentid")
    outputs = []
    for order in (calls, calls[::-1], calls[2:] + calls[:2]):
        run = subprocess.run(
            [sys.executable, "-c", SCRIPT.format(order=order)], capture_output=True, text=True, check=True
        )
        outputs.append(sorted(run.stdout.splitlines()))
    assert outputs[0] == outputs[1] == outputs[2]
    here = qc.dks(qc.zoo.mlp(100, activation="swish"), zeta=1.5)["swish"]
    assert " ".join(map(float.hex, here.constants.values())) in "\n".join(outputs[0])


def test_one_shaping_for_several_activations():
    b = qc.Builder()
    x = b.input("x")
    for name in ("tanh", "gelu", "relu"):
        x = b.activation(b.affine(x), name)
    shaping = qc.dks(b.build([x]), zeta=1.5)
    assert shaping.psi == pytest.approx(1.5 ** (1 / 3), rel=1e-15)
    assert set(shaping.solutions) == {"tanh", "gelu", "relu"}
    for name in ("tanh", "gelu"):
        assert shaping[name] == solve(qc.activation(name), shaping.psi).transform


# --- moments and their Jacobian --------------------------------------------------------------------------------------

POINTS = [(0.02, 0.3), (0.4, -0.7), (1.7, 1.1), (2.9, -5.0)]


@pytest.mark.parametrize("name", CATALOGUE)
def test_moments_and_jacobian(name):
    """Values against the oracle, derivatives against differences of the oracle's values."""
    act, formula = qc.activation(name), FORMULAS[name]
    scale, shift = np.array(POINTS).T
    values, jacobian = slopes(act, scale, shift)
    for k, (a, b) in enumerate(POINTS):
        dq, dc1, mean, variance = oracles.eliminated(formula, a, b)
        if variance < 1e-12:
            continue
        size = float(dc1) * 1e-13 * (1 + float(abs(mean) / MP.sqrt(variance)))
        assert abs(values.q_excess[k] - (dq - 1)) < size
        assert abs(values.c_excess[k] - (dc1 - 1)) < size
        assert abs(values.mean[k] - mean) < 1e-14 * (1 + abs(mean))
        assert values.variance[k] == pytest.approx(float(variance), rel=1e-12)
        h = MP.mpf("1e-8")
        up, down = (oracles.eliminated(formula, a * MP.exp(s * h), b) for s in (1, -1))
        right, left = (oracles.eliminated(formula, a, b + s * h) for s in (1, -1))
        for got, high, low in (
            (jacobian.q_scale[k], up[0], down[0]),
            (jacobian.c_scale[k], up[1], down[1]),
            (jacobian.q_shift[k], right[0], left[0]),
            (jacobian.c_shift[k], right[1], left[1]),
        ):
            want = (high - low) / (2 * h)
            # Of order 1 / scale through integration by parts, and of order 1 / h^2 through the third derivative.
            assert abs(got - want) < 1e-9 * (1 + abs(want)) / min(a, 1), (a, b)


@pytest.mark.parametrize("name", ["hardtanh", "relu6"])
def test_constant_functions_are_marked(name):
    values, _ = slopes(qc.activation(name), np.array([0.01]), np.array([-9.0]))
    assert np.isnan(values.q_excess[0])
    assert np.isnan(values.c_excess[0])


@pytest.mark.parametrize("name", CATALOGUE)
@given(
    scale=st.floats(1e-4, 1e3) | st.sampled_from([1e-3, 1.0, 30.0, 1e3]),
    shift=st.floats(-10, 10), sign=st.sampled_from([1, -1]),
)  # fmt: skip
def test_weights_sum_to_one_and_have_gaussian_moments(name, scale, shift, sign):
    act = qc.activation(name)
    if act.oscillates and 10 * scale + abs(shift) > 1024:
        # A sine or cosine that no affordable rule resolves is refused.
        with pytest.raises(NumericalError, match="oscillates too often"):
            gaussian_rule(act, np.array([sign * scale]), np.array([shift]))
        return
    x, w = gaussian_rule(act, np.array([sign * scale]), np.array([shift]))
    assert abs(w.sum() - 1) < 4e-15
    assert abs((w * x * x).sum() - 1) < 1e-14
    assert abs((w * x).sum()) < 1e-14
    assert (w >= 0).all()
