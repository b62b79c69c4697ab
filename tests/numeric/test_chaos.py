"""The edge of chaos: against 30-digit integrals, closed forms, iteration of the maps, and random wide networks."""

import dataclasses
import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import qcmap as qc
from qcmap.activations import Activation
from qcmap.errors import ActivationError, ArchitectureError, ArgumentError, Infeasible, NumericalError
from qcmap.numeric import EdgeOfChaos, Transform, edge_of_chaos, edge_of_chaos_curve, local_maps
from qcmap.numeric.methods._chaos_search import zeros
from qcmap.numeric.methods._compare_methods import nearest_edge
from tests import oracles, wide
from tests.oracles import FORMULAS, MP

NAMES = ("tanh", "erf", "elu", "selu", "gelu", "swish", "relu", "softplus", "sigmoid", "hardtanh", "softsign")


def exact(name, q):
    """(w, b, V'(q)) of the edge of chaos at q, from the definitions, by 30-digit integrals."""
    s = oracles.samples(FORMULAS[name], MP.sqrt(q), 0)
    energy = MP.fsum(w * g * g for w, g in zip(s.w, s.first, strict=True))
    second = MP.fsum(w * f * f for w, f in zip(s.w, s.value, strict=True))
    slope = MP.fsum(w * f * g * x for w, f, g, x in zip(s.w, s.value, s.first, s.x, strict=True)) / MP.sqrt(q)
    return 1 / energy, q - second / energy, slope / energy


@pytest.mark.parametrize("name", NAMES)
def test_the_curve(name):
    q = [0.04, 2.0]
    found = edge_of_chaos_curve(name, q)
    for k, value in enumerate(q):
        w, b, slope = exact(name, MP.mpf(value))
        assert found.weight_variance[k] == pytest.approx(float(w), rel=2e-14)
        assert found.bias_variance[k] == pytest.approx(float(b), rel=1e-13, abs=2e-15 * value)
        assert found.q_slope[k] == pytest.approx(float(slope), rel=2e-14)
        assert found.attainable[k] == (b > -1e-20)


@pytest.mark.parametrize("name", ["tanh", "erf", "sin"])
def test_small_fixed_points_keep_their_digits(name):
    """b is of order q^3, 1e-12 of q here: the plain difference would have four digits."""
    q = MP.mpf(1e-6)
    b = exact(name, q)[1]
    assert 3e-19 < b < 2e-18
    assert edge_of_chaos_curve(name, 1e-6).bias_variance == pytest.approx(float(b), rel=1e-9)


def test_the_papers_tanh():
    """DKS, section 28.5.6 (after Xiao et al., 2018), solved at 30 digits."""
    found = edge_of_chaos("tanh", weight_variance=1.01)
    q = MP.findroot(lambda q: exact("tanh", q)[0] - MP.mpf(1.01), (MP.mpf("0.005"), MP.mpf("0.0051")), tol=1e-25)
    assert found.q_star == pytest.approx(float(q), rel=1e-12)
    assert found.bias_variance == pytest.approx(float(exact("tanh", q)[1]), rel=1e-11)
    assert f"{found.bias_variance:.6e}" == "1.654355e-07"
    assert f"{found.q_star:.3e}" == "5.037e-03"
    assert found.stability == "attractive"
    assert max(map(abs, found.residuals.values())) < 1e-13
    other = edge_of_chaos("tanh", bias_variance=found.bias_variance)
    assert other.weight_variance == pytest.approx(1.01, rel=1e-12)


def test_squares_and_exponentials_in_closed_form():
    """u^2: w = 1 / (4q), b = q / 4 and V' = 6 w q; exp: w = e^-2q, b = q - 1 and V' = 2."""
    found = edge_of_chaos("square", bias_variance=0.25)
    assert (found.q_star, found.weight_variance, found.q_slope) == pytest.approx((1, 0.25, 1.5), rel=1e-13)
    assert found.stability == "repelling"
    grow = Activation.from_sympy("exp(u)")
    found = edge_of_chaos(grow, bias_variance=1.5, q_range=(1e-3, 6.0))
    assert (found.q_star, found.weight_variance, found.q_slope) == pytest.approx((2.5, math.exp(-5), 2), rel=1e-10)
    with pytest.raises(Infeasible) as caught:
        edge_of_chaos(grow, weight_variance=1.0, q_range=(1e-3, 4.0))
    ((low, high),) = caught.value.achievable
    assert (low, high) == pytest.approx((math.exp(-8), math.exp(-2)), rel=1e-9)


def test_a_function_that_grows_fast():
    """exp again, where its mass is far out: w = e^-2q and b = q - 1 up to q = 81; then its squares overflow."""
    grow = Activation.from_sympy("exp(u)")
    q = np.array([4.0, 9.0, 16.0, 81.0])
    found = edge_of_chaos_curve(grow, q)
    np.testing.assert_allclose(found.weight_variance * np.exp(2 * q), 1, rtol=1e-12)
    np.testing.assert_allclose(found.bias_variance, q - 1, rtol=1e-12)
    np.testing.assert_allclose(found.q_slope, 2, rtol=1e-12)
    with pytest.raises(NumericalError, match="not finite"):
        edge_of_chaos_curve(grow, [1.0, 1e4])
    found = edge_of_chaos(grow, bias_variance=0.01)
    assert (found.q_star, found.weight_variance) == pytest.approx((1.01, math.exp(-2.02)), rel=1e-12)
    assert found.curvature == pytest.approx(1.01, rel=1e-12)
    low, high = (float(end.strip("[]")) for end in found.searched.split(" or ")[0].removeprefix("q* in ").split(", "))
    assert low == 1e-10
    assert 80 < high < 200


def test_what_is_not_resolved_is_refused():
    """tanh(50 u) at q = 1 is tanh at 2500; a length of 1 would be wrong by a thousandth of w."""
    w, b, slope = exact("tanh", MP.mpf(2500))
    steep = Activation.from_sympy("tanh(50*u)")
    found = edge_of_chaos_curve(steep, 1.0)
    assert float(found.weight_variance) == pytest.approx(float(w) / 2500, rel=1e-10)
    assert float(found.bias_variance) == pytest.approx(float(b) / 2500, rel=1e-10)
    assert float(found.q_slope) == pytest.approx(float(slope), rel=1e-9)
    wrong = dataclasses.replace(steep, length=1.0)
    with pytest.raises(NumericalError, match="not resolved"):
        edge_of_chaos_curve(wrong, 1.0)
    with pytest.raises(NumericalError, match="nearest"):
        nearest_edge(wrong)
    assert nearest_edge(steep).weight_variance == pytest.approx(float(w) / 2500, rel=1e-10)
    # The search leaves those q* out, and says so.
    part = edge_of_chaos(wrong, bias_variance=1e-6)
    assert float(part.searched.split(", ")[1].split("]")[0]) < 1
    assert part.q_star == pytest.approx(edge_of_chaos(steep, bias_variance=1e-6).q_star, rel=1e-8)


def test_stability_next_to_neutral():
    """tanh near q = 0 has w = 1 + 2q and V' = 1 - 2q."""
    found = edge_of_chaos("tanh", weight_variance=1 + 1e-9)
    assert found.q_star == pytest.approx(5e-10, rel=1e-5)
    assert found.q_slope - 1 == pytest.approx(-1e-9, rel=1e-4)
    assert found.stability == "attractive"
    assert edge_of_chaos("relu", weight_variance=2.0).stability == "neutral"


def _counted(name, weight_variance):
    """Solutions by a fine scan with the trapezoidal rule: sign changes of w E phi'^2 - 1 where b >= 0."""
    x = np.linspace(-9, 9, 1601)
    w = np.exp(-x * x / 2)
    w /= w.sum()
    q, act = np.geomspace(1e-4, 100, 1501), qc.activation(name)
    u = np.sqrt(q)[:, None] * x
    energy, second = (act.first(u) ** 2) @ w, (act.value(u) ** 2) @ w
    gap = np.sign(weight_variance * energy - 1)
    k = np.flatnonzero(gap[1:] * gap[:-1] < 0)
    return [math.sqrt(q[i] * q[i + 1]) for i in k if q[i] - weight_variance * second[i] >= 0]


@pytest.mark.parametrize(("name", "weights"), [
    ("gelu", (1.956, 1.97, 2.3, 3.9)), ("swish", (1.968, 1.97, 2.5)), ("mish", (1.94, 2.0, 2.7)), ("tanh", (1.5, 3.0)),
])  # fmt: skip
def test_all_solutions_are_found(name, weights):
    for weight in weights:
        found = edge_of_chaos(name, weight_variance=weight)
        mine = sorted(one.q_star for one in (found, *found.others) if 1e-4 < one.q_star < 100)
        assert mine == pytest.approx(sorted(_counted(name, weight)), rel=5e-3)
        assert found.stability == "attractive" or all(one.stability == "repelling" for one in found.others)


@given(log_q=st.floats(-4, 4), name=st.sampled_from(["tanh", "gelu", "elu", "softsign", "erf", "sigmoid"]))
@settings(max_examples=30, deadline=None)
def test_every_attainable_point_is_among_the_solutions(log_q, name):
    point = edge_of_chaos_curve(name, 10.0**log_q)
    if not point.attainable or point.bias_variance < 1e-12:
        return
    for given_one in ("weight_variance", "bias_variance"):
        found = edge_of_chaos(name, **{given_one: float(getattr(point, given_one))})
        # Near an extremum of w the fixed point moves as the root of the rounding of w.
        assert min(abs(one.q_star / 10.0**log_q - 1) for one in (found, *found.others)) < 1e-6


def test_attractive_solutions_come_first():
    """A function that first grows faster than u, then saturates: small fixed points repel, and large ones attract."""
    act = Activation.from_sympy("u*(1 + u**2)/(1 + u**2/4)**2")
    found = edge_of_chaos(act, weight_variance=0.8)
    (other,) = found.others
    assert (found.stability, other.stability) == ("attractive", "repelling")
    assert found.q_star > other.q_star > 0
    assert found.q_slope < 1 < other.q_slope
    found = edge_of_chaos(act, weight_variance=1.0)
    assert (found.stability, found.others[-1].stability) == ("attractive", "slowly repelling")
    assert found.others[-1].q_star == 0
    assert found.others[0].others == ()


def test_an_extremum_counts_once_or_twice():
    x = np.linspace(0, 1, 41)
    for depth, count in ((-1e-9, 2), (0.0, 1), (1e-9, 0)):
        function = lambda t, d=depth: (t - 0.5123) ** 2 + d  # noqa: E731
        found = zeros(function, x, np.array([function(t) for t in x]))
        assert len(found) == count or (depth == 0.0 and 1 <= len(found) <= 2)
        assert all(abs(t - 0.5123) < 1e-4 for t in found)
    values = np.array([0.0, 0.0, -1.0, 2.0, 0.0, 0.0, 1.0, 0.0, 0.0])
    assert zeros(lambda t: t - 2.5, np.arange(9.0), values) == [2.5, 4, 7]


def test_relu_has_every_fixed_point():
    for given_one in ({"weight_variance": 2.0}, {"bias_variance": 0.0}):
        found = edge_of_chaos("relu", **given_one)
        assert (found.weight_variance, found.bias_variance, found.q_star) == pytest.approx((2, 0, 1), rel=1e-15)
        assert found.stability == "neutral"
        assert found.c([0.0, 1.0, -1.0]) == pytest.approx([1 / math.pi, 1, 0], abs=1e-15)
    for given_one, only in (("weight_variance", 2.0), ("bias_variance", 0.0)):
        with pytest.raises(Infeasible) as caught:
            edge_of_chaos("relu", **{given_one: 1.5})
        ((low, high),) = caught.value.achievable
        assert (low, high) == pytest.approx((only, only), abs=1e-13)
        assert caught.value.condition == given_one
    assert edge_of_chaos("leaky_relu", bias_variance=0).weight_variance == pytest.approx(2 / 1.0001, rel=1e-14)


@pytest.mark.parametrize(("name", "weight", "stability"), [
    ("tanh", 1.0, "slowly attractive"), ("swish", 4.0, "slowly repelling"), ("elu", 1.0, "slowly attractive"),
    ("erf", math.pi / 4, "slowly attractive"), ("relu6", 2.0, "neutral"),
    ("selu", 2 / (oracles.SELU_SCALE**2 * (1 + oracles.SELU_ALPHA**2)), "slowly attractive"),
])  # fmt: skip
def test_without_biases_the_fixed_point_is_zero(name, weight, stability):
    found = edge_of_chaos(name, bias_variance=0.0)
    assert (found.q_star, found.q_slope, found.stability) == (0, 1, stability)
    assert found.weight_variance == pytest.approx(float(weight), rel=1e-14)
    assert found.input_q == 0
    # The maps just above zero tell the same: q values fall, rise or stay, and C has the limit's values.
    maps, q = local_maps(name), 1e-7
    drift = weight * float(maps.q(q)) / q - 1
    sign = {"slowly attractive": -1, "slowly repelling": 1, "neutral": 0}[stability]
    assert math.copysign(1, drift) == sign if sign else abs(drift) < 1e-12
    c = np.array([-0.9, 0.1, 0.7])
    assert found.c(c) == pytest.approx(maps.c(c, q, q), abs=2e-3)
    same = edge_of_chaos(name, weight_variance=found.weight_variance)
    assert 0 in {one.q_star for one in (same, *same.others)}


def test_q_values_go_where_it_says():
    """Iterating V from near q* comes closer by the factor q_slope, or leaves; for tanh with q* = 0, q_n ~ 1/(2n)."""
    for name, options in (
        ("tanh", {"bias_variance": 0.04}),
        ("swish", {"bias_variance": 0.04}),
        ("elu", {"weight_variance": 1.6}),
    ):
        found = edge_of_chaos(name, **options)
        maps = local_maps(name)
        steps = [found.q_star * (1 + 1e-5)]
        for _ in range(3):
            steps.append(found.weight_variance * float(maps.q(steps[-1])) + found.bias_variance)
        gaps = np.array(steps) - found.q_star
        assert gaps[1:] / gaps[:-1] == pytest.approx(found.q_slope, rel=1e-4)
        assert (found.stability == "attractive") == (abs(gaps[-1]) < abs(gaps[0]))
    q, maps = 1.0, local_maps("tanh")
    for _ in range(400):
        q = float(maps.q(q))
    assert q == pytest.approx(1 / 800, rel=0.02)


@pytest.mark.parametrize(("name", "options"), [
    ("tanh", {"bias_variance": 0.04}), ("gelu", {"weight_variance": 1.97}), ("elu", {"bias_variance": 0.1}),
])  # fmt: skip
def test_the_map_of_c(name, options):
    """Against the Hermite series; its slope at 1 is 1, and 1 - c falls like 2 / (C''(1) n)."""
    found = edge_of_chaos(name, **options)
    series = oracles.HermiteMap(FORMULAS[name], found.q_star)
    c = np.array([-0.8, 0.0, 0.5])
    want = [
        (found.weight_variance * series.moment * series.c(series, x) + found.bias_variance) / found.q_star for x in c
    ]
    assert found.c(c) == pytest.approx(want, abs=1e-12)
    assert found.c([1.0, 1 - 1e-6]) == pytest.approx([1, 1 - 1e-6], abs=1e-9)
    powers = np.arange(series.a.size) * (np.arange(series.a.size) - 1) * series.a**2
    if name == "gelu":
        assert found.curvature == pytest.approx(found.weight_variance * powers.sum() / found.q_star, rel=1e-9)
    if name == "tanh":
        value = 0.5
        for _ in range(800):
            value = float(found.c(value))
        assert (1 - value) * found.curvature * 800 / 2 == pytest.approx(1, rel=0.02)


def test_curvature():
    assert math.isinf(edge_of_chaos("relu", bias_variance=0).curvature)
    assert edge_of_chaos("tanh", bias_variance=0).curvature == 0
    assert math.isinf(edge_of_chaos("selu", bias_variance=0).curvature)
    # sin: E sin'^2 = (1 + e^-2q) / 2 and E sin''^2 = (1 - e^-2q) / 2.
    found = edge_of_chaos("sin", bias_variance=0.1)
    assert found.curvature == pytest.approx(found.q_star * math.tanh(found.q_star), rel=1e-12)


def test_without_an_edge():
    with pytest.raises(Infeasible, match="no edge of chaos") as caught:
        edge_of_chaos("softplus", weight_variance=3.0)
    assert caught.value.achievable == ()
    # The remedy it names works.
    shifted = Transform(qc.activation("softplus"), output_shift=-float(local_maps("softplus").mean(1.0)))
    weight = float(edge_of_chaos_curve("softplus", 1.0, transform=shifted).weight_variance)
    found = edge_of_chaos("softplus", weight_variance=weight, transform=shifted)
    assert min(abs(one.q_star - 1) for one in (found, *found.others)) < 1e-9


@pytest.mark.parametrize(("name", "given_one"), [
    ("elu", "weight_variance"), ("gelu", "weight_variance"), ("sigmoid", "weight_variance"),
    ("square", "bias_variance"),
])  # fmt: skip
def test_what_is_achievable(name, given_one):
    """Both ends are sharp: a little inside there is a solution, a little outside there is none."""
    with pytest.raises(Infeasible) as caught:
        edge_of_chaos(name, **{given_one: 1e8})
    *alone, (low, high) = caught.value.achievable
    # The limit q* = 0 of elu, which has w = 1 + O(sqrt(q)), stands alone below the searched range.
    assert alone == ([(1.0, 1.0)] if name == "elu" else [])
    for value, good in ((low, True), (high, True), (low, False), (high, False)):
        inward = (1 if value == low else -1) * (1 if good else -1)
        target = value * (1 + 1e-7 * inward)
        if good:
            assert edge_of_chaos(name, **{given_one: target}).bias_variance >= 0
        else:
            with pytest.raises(Infeasible):
                edge_of_chaos(name, **{given_one: target})


def test_a_transform_moves_the_edge():
    """tanh(a u) at q is tanh at a^2 q: q* and b divide by a^2, and so does w, which meets a^2 in f'^2."""
    a = 3.0
    plain = edge_of_chaos("tanh", bias_variance=0.09)
    scaled = edge_of_chaos("tanh", bias_variance=0.09 / a**2, transform=Transform(qc.activation("tanh"), a))
    assert scaled.q_star == pytest.approx(plain.q_star / a**2, rel=1e-12)
    assert scaled.weight_variance == pytest.approx(plain.weight_variance / a**2, rel=1e-12)
    flipped = edge_of_chaos("selu", bias_variance=0.0, transform=Transform(qc.activation("selu"), -1.0))
    assert flipped.weight_variance == pytest.approx(edge_of_chaos("selu", bias_variance=0.0).weight_variance)


def test_applied_to_an_architecture():
    found = edge_of_chaos("tanh", bias_variance=0.04)
    arch = found.apply(qc.zoo.mlp(5, activation="tanh", out_channels=3))
    ops = [arch[name].op for name in ("layer1.affine", "layer5.affine", "head")]
    assert {(op.weight_variance, op.bias_variance) for op in ops} == {(found.weight_variance, 0.04)}
    q = qc.numeric.network_maps(arch).propagate_q(found.input_q)
    assert [float(q[f"layer{k}.affine"]) for k in range(1, 6)] == pytest.approx([found.q_star] * 5, rel=1e-12)
    with pytest.raises(ArchitectureError, match="relu"):
        found.apply(qc.zoo.mlp(2, activation="relu"))


def test_a_wide_random_network_is_there():
    """q and c of sampled networks at the edge, five standard errors for 2 x 4 numbers: false alarms below 1e-5."""
    found = edge_of_chaos("tanh", bias_variance=0.2)
    arch = found.apply(qc.zoo.mlp(4, activation="tanh"))
    first, c = wide.pair(0.3, found.input_q, found.input_q, 400, np.random.default_rng(0)), 0.3
    stats = wide.measured(arch, {"input": first}, 400, 60, seed=5)
    for k in range(1, 5):
        weight, bias = found.weight_variance, found.bias_variance
        c = (weight * found.input_q * c + bias) / found.q_star if k == 1 else float(found.c(c))
        mean, error = stats[f"layer{k}.affine"].mean[:, 0], stats[f"layer{k}.affine"].error[:, 0]
        # The bias at finite width 400 is below 1/400 of the value.
        assert abs(mean[0] - found.q_star) < 5 * error[0] + found.q_star / 400
        assert abs(mean[3] - c) < 5 * error[3] + 1 / 400


def test_bad_arguments():
    for options in ({}, {"weight_variance": 1.0, "bias_variance": 0.0}):
        with pytest.raises(ArgumentError, match="exactly one"):
            edge_of_chaos("tanh", **options)
    for options in (
        {"weight_variance": 0.0}, {"weight_variance": math.nan}, {"bias_variance": -1e-3}, {"bias_variance": "1"},
        {"bias_variance": True},
        *({"bias_variance": 0.1, "q_range": bad} for bad in ((1.0, 1.0), (1,), "ab", (1e-300, 1e300), 3, ("a", "b"))),
    ):  # fmt: skip
        with pytest.raises(ArgumentError):
            edge_of_chaos("tanh", **options)
    with pytest.raises(ArgumentError, match="relu"):
        edge_of_chaos("tanh", bias_variance=0.1, transform=Transform(qc.activation("relu")))
    with pytest.raises(ArgumentError):
        edge_of_chaos_curve("tanh", [1.0, -1.0])
    step = Activation.from_callable(lambda u: np.where(u > 0, 1.0, 0.0), kinks=(0.0,), name="step")
    with pytest.raises(ActivationError, match="jumps"):
        edge_of_chaos(step, bias_variance=0.1)
    constant = Activation.from_callable(np.ones_like, derivative=np.zeros_like, name="one")
    for call in (lambda: edge_of_chaos(constant, bias_variance=0.1), lambda: edge_of_chaos_curve(constant, 1.0)):
        with pytest.raises(NumericalError):
            call()


def test_what_it_shows():
    found = edge_of_chaos("gelu", weight_variance=1.97)
    assert "gelu" in repr(found)
    plain = found.to_dict()
    assert plain["weight_variance"] == 1.97
    assert len(plain["other_solutions"]) == len(found.others) == 1
    assert isinstance(found, EdgeOfChaos)
    curve = edge_of_chaos_curve("softplus", np.geomspace(0.1, 10, 6).reshape(2, 3))
    assert curve.weight_variance.shape == (2, 3)
    assert not curve.attainable.any()
    assert "0 of them" in repr(curve)
    assert len(list(itertools.chain(*curve.to_dict()["q_star"]))) == 6
