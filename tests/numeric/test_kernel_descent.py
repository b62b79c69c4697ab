"""Kernel gradient descent against running it: steps by matrix products, flow by an ODE solver, limits by inverses."""

import math

import numpy as np
import pytest
from scipy.integrate import solve_ivp

import qcmap as qc
from qcmap.errors import ArgumentError, NumericalError
from qcmap.numeric import KernelDescent, condition_number, ntk_gram
from tests.numeric.test_gram import chain, inputs

RANDOM = np.random.default_rng(24)
FEATURES = RANDOM.standard_normal((9, 12))
K = FEATURES[:6] @ FEATURES[:6].T
CROSS = FEATURES[6:] @ FEATURES[:6].T
Y, START = RANDOM.standard_normal((6, 2)), RANDOM.standard_normal((6, 2))
TEST_START = RANDOM.standard_normal((3, 2))
TOP = float(np.linalg.eigvalsh(K)[-1])


def by_steps(steps, rate, ridge=0.0, features=FEATURES, y=Y):
    """Gradient descent on the parameters of a linear model with these features: the kernel regime itself."""
    w = np.zeros((features.shape[1], y.shape[1]))
    train = features[:6]
    for _ in range(steps):
        w -= rate * (train.T @ (START + train @ w - y) + ridge * w)
    return START + train @ w, TEST_START + features[6:] @ w


@pytest.mark.parametrize("ridge", [0.0, 0.7])
@pytest.mark.parametrize("factor", [0.3, 1.0, 1.7])
def test_discrete_descent_is_descent_on_parameters(factor, ridge):
    """Equation 21, below, at and above the rate 1/lambda_1."""
    rate = factor / (TOP + ridge)
    descent = KernelDescent(K, Y, START, rate=rate, ridge=ridge)
    times = [0, 1, 2, 17, 300]
    train, test = descent.train(times), descent.predict(CROSS, times, TEST_START)
    assert train.shape == (5, 6, 2)
    assert test.shape == (5, 3, 2)
    for k, steps in enumerate(times):
        want = by_steps(steps, rate, ridge)
        assert train[k] == pytest.approx(want[0], rel=1e-9, abs=1e-10)
        assert test[k] == pytest.approx(want[1], rel=1e-9, abs=1e-10)
        assert descent.loss(steps) == pytest.approx(0.5 * np.sum((Y - want[0]) ** 2), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("ridge", [0.0, 0.4])
def test_flow_is_the_ode(ridge):
    """With ridge the function follows f' = K (y - f) - ridge (f - f(0)), jointly on training and test inputs."""
    joint, start = FEATURES @ FEATURES[:6].T, np.concatenate([START, TEST_START])

    def rate(_, flat):
        f = flat.reshape(9, 2)
        return (joint @ (Y - f[:6]) - ridge * (f - start)).ravel()

    times = np.array([0.0, 0.01, 0.1, 0.5])
    flow = solve_ivp(rate, (0, 0.5), start.ravel(), method="DOP853", t_eval=times, rtol=1e-12, atol=1e-12)
    descent = KernelDescent(K, Y, START, ridge=ridge)
    want = flow.y.T.reshape(4, 9, 2)
    assert descent.train(times) == pytest.approx(want[:, :6], rel=1e-9, abs=1e-9)
    assert descent.predict(CROSS, times, TEST_START) == pytest.approx(want[:, 6:], rel=1e-9, abs=1e-9)
    assert descent.loss(times) == pytest.approx(0.5 * np.sum((Y - want[:, :6]) ** 2, axis=(1, 2)), rel=1e-8)


@pytest.mark.parametrize("rate", [None, 1.0 / TOP, 1.5 / TOP])
def test_infinite_time_is_equation_22(rate):
    descent = KernelDescent(K, Y, START, rate=rate)
    assert descent.train(math.inf) == pytest.approx(Y, rel=1e-10)
    want = TEST_START + CROSS @ np.linalg.solve(K, Y - START)
    assert descent.predict(CROSS, [1, math.inf], TEST_START)[1] == pytest.approx(want, rel=1e-9)
    assert descent.loss([math.inf]) == pytest.approx([0], abs=1e-20)
    ridge = KernelDescent(K, Y[:, 0], rate=rate, ridge=0.3)
    assert ridge.predict(CROSS, math.inf) == pytest.approx(
        CROSS @ np.linalg.solve(K + 0.3 * np.eye(6), Y[:, 0]), rel=1e-9
    )


def test_rate_one_over_the_largest_eigenvalue_and_factors():
    descent = KernelDescent(K, Y, rate=1 / TOP)
    values = np.linalg.eigvalsh(K)[::-1]
    assert descent.eigenvalues == pytest.approx(values, rel=1e-12)
    assert descent.residual_factors == pytest.approx(1 - values / TOP, rel=1e-12, abs=1e-15)
    assert descent.largest_rate == pytest.approx(2 / TOP)
    # The paper's expression for the loss, equation after 21.
    gaps = np.linalg.eigh(K)[1][:, ::-1].T @ Y
    want = [0.5 * np.sum((1 - values / TOP)[:, None] ** (2 * t) * gaps**2) for t in (0, 3, 50)]
    assert descent.loss([0, 3, 50]) == pytest.approx(want, rel=1e-10)
    late = descent.loss([500, 501])
    assert late[1] / late[0] == pytest.approx((1 - 1 / condition_number(K)) ** 2, rel=1e-6)
    assert KernelDescent(K, Y).residual_factors == pytest.approx(np.exp(-values), rel=1e-9)
    assert np.isfinite(KernelDescent(K, Y, rate=3 / TOP).train(5)).all()  # it diverges, but not beyond floats yet


def test_singular_kernels():
    """Two equal inputs with different targets: finite times are exact, the limit is refused or projected."""
    twice = np.concatenate([FEATURES[:5], FEATURES[4:5], FEATURES[6:]])
    kernel, cross = twice[:6] @ twice[:6].T, twice[6:] @ twice[:6].T
    rate = 0.9 / float(np.linalg.eigvalsh(kernel)[-1])
    descent = KernelDescent(kernel, Y, START, rate=rate)
    assert descent.rank == 5
    for steps in (1, 40):
        want = by_steps(steps, rate, features=twice)
        assert descent.train(steps) == pytest.approx(want[0], rel=1e-9)
        assert descent.predict(cross, steps, TEST_START) == pytest.approx(want[1], rel=1e-9)
    with pytest.raises(NumericalError, match=r"singular to rounding .rank 5 of 6.*singular='project'"):
        descent.train(math.inf)
    with pytest.raises(NumericalError, match="kernel"):
        descent.loss([1, math.inf])
    for how in (None, rate):
        limit = KernelDescent(kernel, Y, START, rate=how, singular="project")
        want = START + kernel @ np.linalg.pinv(kernel) @ (Y - START)
        assert limit.train(math.inf) == pytest.approx(want, rel=1e-9)
        assert limit.loss(math.inf) == pytest.approx(0.5 * np.sum((Y - want) ** 2), rel=1e-9)
        want = TEST_START + cross @ np.linalg.pinv(kernel) @ (Y - START)
        assert limit.predict(cross, math.inf, TEST_START) == pytest.approx(want, rel=1e-8)
    assert np.isfinite(KernelDescent(kernel, Y, ridge=1e-3).train(math.inf)).all()
    nothing = KernelDescent(np.zeros((6, 6)), Y, START)
    assert nothing.train([0, 5.0]) == pytest.approx(np.stack([START, START]))
    assert nothing.rank == 0
    assert nothing.largest_rate == math.inf
    assert nothing.loss(3.0) == pytest.approx(0.5 * np.sum((Y - START) ** 2))


def test_small_steps_become_the_flow():
    """expm1 and log1p: 1 - (1 - rate l)^t keeps its digits for tiny rates."""
    flow = KernelDescent(K, Y, START).train(0.1) - START
    steps = KernelDescent(K, Y, START, rate=1e-13).train(10**12) - START
    assert steps == pytest.approx(flow, rel=1e-9)
    for rate in (1.0, None):
        tiny = KernelDescent(1e-20 * K, Y, rate=rate).train(1)
        assert tiny == pytest.approx(1e-20 * K @ Y, rel=1e-9, abs=1e-32)


def test_early_stopping():
    y = Y[:, 0]
    descent = KernelDescent(K, y, ridge=0.0)
    times = np.concatenate([[0.0], np.geomspace(1e-4, 10, 60)])
    held_out = np.array([0.3, -0.2, 0.1])
    losses = 0.5 * np.sum((held_out - descent.predict(CROSS, times)) ** 2, axis=1)
    best = descent.best_time(CROSS, held_out, times[::-1])
    assert best.time == times[np.argmin(losses)]
    assert best.loss == pytest.approx(losses.min(), rel=1e-12)
    flat = descent.best_time(np.zeros((3, 6)), held_out, [3.0, 1.0, 2.0])
    assert flat.time == 1.0  # a tie: the earliest


def test_layers_of_a_network():
    """Section 24.3.3: training only some layers takes the sum of their kernels."""
    arch = chain("erf", "relu", weights=1.5)
    x = inputs(9, 4)
    gram = ntk_gram(arch, x[:6], per_layer=True)
    cross = ntk_gram(arch, x[6:], x[:6], per_layer=True)
    some = ["affine1", "head"]
    descent = KernelDescent(gram.of(some), Y[:, 0])
    want = cross.of(some) @ np.linalg.solve(gram.terms["affine1"] + gram.terms["head"], Y[:, 0])
    assert descent.predict(cross.of(some), math.inf) == pytest.approx(want, rel=1e-7)
    whole = KernelDescent(gram, Y[:, 0])
    assert whole.train(math.inf) == pytest.approx(Y[:, 0], rel=1e-8)
    assert whole.loss(1.0) < descent.loss(1.0)


def test_condition_numbers():
    assert condition_number(K) == pytest.approx(np.linalg.cond(K), rel=1e-9)
    assert condition_number(np.ones((4, 4))) == math.inf
    assert condition_number([[2.0]]) == 1
    shaped = qc.zoo.mlp(30)
    x = inputs(20, 30)
    assert condition_number(ntk_gram(shaped, x, shaping=qc.dks(shaped))) < 60
    assert condition_number(ntk_gram(chain(*["erf"] * 30, biases=0.5), x)) > 1e6  # collapsing: nearly of rank one


def test_result_and_refusals():
    descent = KernelDescent(K, Y, rate=0.5 / TOP)
    assert repr(descent) == f"<kernel descent on 6 inputs: steps of {0.5 / TOP:g}, ridge 0>"
    assert repr(KernelDescent(K, Y, ridge=0.5)) == "<kernel descent on 6 inputs: gradient flow, ridge 0.5>"
    assert descent.to_dict()["rank"] == 6
    assert descent.train(np.zeros((2, 3))).shape == (2, 3, 6, 2)
    assert descent.eigenvectors.shape == (6, 6)
    bad = {
        "it is not symmetric": lambda: KernelDescent(K + np.triu(K, 1), Y),
        "not of shape": lambda: KernelDescent(K[:5], Y),
        "the eigenvalue -": lambda: KernelDescent(K - 2 * np.eye(6) * TOP / 3, Y).rank,
        "not finite": lambda: KernelDescent(K * np.nan, Y),
        r"targets have the shape \(6,\) or": lambda: KernelDescent(K, Y[:5]),
        "does not broadcast": lambda: KernelDescent(K, Y, np.zeros(5)),
        "a step size is positive": lambda: KernelDescent(K, Y, rate=0.0),
        "ridge: it is finite and at least 0": lambda: KernelDescent(K, Y, ridge=-1.0),
        "'refuse' or 'project'": lambda: KernelDescent(K, Y, singular="ignore"),
        "times are at least 0, not -1": lambda: descent.train([1, -1]),
        "times are at least 0, not nan": lambda: KernelDescent(K, Y).train(np.nan),
        "2.5 is no whole number of steps": lambda: descent.train(2.5),
        r"it has the shape \(m, 6\)": lambda: descent.predict(CROSS.T, 1),
        "held-out targets have the shape": lambda: descent.best_time(CROSS, Y, [1]),
        "there is none to choose from": lambda: descent.best_time(CROSS, TEST_START, []),
    }
    for match, call in bad.items():
        with pytest.raises(ArgumentError, match=match):
            call()
    fast = KernelDescent(K, Y, rate=2.5 / TOP)
    with pytest.raises(NumericalError, match="diverge beyond all floats"):
        fast.train(10_000)
    with pytest.raises(NumericalError, match="do not converge; use a rate below"):
        fast.loss(math.inf)
    with pytest.raises(NumericalError, match="diverge"):
        fast.loss(10_000)


@pytest.mark.parametrize("rate", [None, 0.5])
@pytest.mark.parametrize("ridge", [0.0, 1e-3])
def test_late_times_of_singular_kernels_reach_the_limit(rate, ridge):
    """Rounding in the null space of K is not multiplied by the time."""
    x = np.random.default_rng(5).standard_normal((12, 6))
    x[7] = x[2]
    full = np.asarray(ntk_gram(qc.zoo.mlp(3, activation="relu"), x))
    kernel, cross, y = full[:8, :8], full[8:, :8], np.random.default_rng(6).standard_normal(8)
    step = None if rate is None else rate * KernelDescent(kernel, y, ridge=ridge).largest_rate
    descent = KernelDescent(kernel, y, rate=step, ridge=ridge, singular="project")
    assert descent.rank == 7
    inverse = np.linalg.pinv(kernel) if ridge == 0 else np.linalg.inv(kernel + ridge * np.eye(8))
    train, test = kernel @ inverse @ y, cross @ inverse @ y
    for t in (1e6, 1e10, 1e16, 1e18, math.inf):
        assert descent.train(t) == pytest.approx(train, abs=1e-8), t
        assert descent.predict(cross, t) == pytest.approx(test, abs=1e-8), t
        assert descent.predict(kernel, t) == pytest.approx(train, abs=1e-8), t


def test_nearly_equal_inputs():
    """A part of k(x) in the null space that is no rounding counts, until the eigenvalue's own rounding does."""
    features = np.array([[1.0, 0.0], [1.0, 1e-9], [1.0, 1.0]])
    kernel, cross, y = features[:2] @ features[:2].T, features[2:] @ features[:2].T, np.array([0.5, 1.5])
    descent = KernelDescent(kernel, y)
    assert descent.rank == 1
    # k(x) is (1, 1 + 1e-9): 5e-10 (-1, 1) of it is along the null space, where y has 1/2 (-1, 1).
    for t in (1e3, 1e6, 1e8):
        assert descent.predict(cross, t) == pytest.approx([1.0 + 2 * 5e-10 * 0.5 * t], rel=2e-7), t
    with pytest.raises(NumericalError, match=r"cross: .*rank 1 of 2"):
        descent.predict(cross, 1e14)


def test_numbers_beyond_floats_and_of_other_types_are_refused():
    for act, name in {
        lambda: KernelDescent(np.diag([1e5, 0]), [1e5, 1e5]).predict([[1.0, 1e300]], 1.7e308): "targets: ",
        lambda: KernelDescent(K, Y * 1e200).predict(CROSS * 1e150, 9.0): "targets: .*beyond all floats",
        lambda: KernelDescent(K, Y * 1e200).loss(0): "targets: .*beyond all floats",
        lambda: KernelDescent(K * 1e200, Y): "kernel: .*overflow",
    }.items():
        with pytest.raises((NumericalError, ArgumentError), match=name):
            act()
    for act, name in {
        lambda: KernelDescent("a", Y): "kernel",
        lambda: KernelDescent([[1.0, 2.0], [1.0]], Y): "kernel",
        lambda: KernelDescent(K, Y * 1j): "targets",
        lambda: KernelDescent(K, Y, rate="a"): "rate",
        lambda: KernelDescent(K, Y, ridge=None): "ridge",
        lambda: KernelDescent(K, Y).train("a"): "times",
        lambda: KernelDescent(K, Y).predict(CROSS + 1j, 1.0): "cross",
        lambda: condition_number("a"): "kernel",
    }.items():
        with pytest.raises(ArgumentError, match=f"^{name}: "):
            act()
