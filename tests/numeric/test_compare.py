"""Initializations and the comparison of methods: against hand computation, 30-digit maps and random wide networks."""

import inspect
import json
import math

import numpy as np
import pytest
import sympy

import qcmap as qc
from qcmap.activations import Activation
from qcmap.architecture import Affine
from qcmap.errors import ActivationError, ArchitectureError, ArgumentError
from qcmap.numeric import compare, edge_of_chaos, initialization, initialized, network_maps, selu_like
from qcmap.numeric.methods._compare import CONTRAST, behaviour
from qcmap.numeric.methods._compare_methods import METHODS, nearest_edge
from tests import wide
from tests.oracles import FORMULAS, MP, samples

TANH = qc.zoo.mlp(6, width=32, activation="tanh", in_channels=32, out_channels=32)
RELU = qc.zoo.mlp(6, width=32, activation="relu", in_channels=32, out_channels=32)


def variances(arch):
    return {node.id: node.op.weight_variance for node in arch.nodes if isinstance(node.op, Affine)}


# --- Initializations -------------------------------------------------------------------------------------------------


def test_lecun_and_he():
    assert set(variances(initialized(RELU, "lecun")).values()) == {1.0}
    assert set(variances(initialized(RELU, "he")).values()) == {2.0}
    leaky = qc.zoo.mlp(3, activation=qc.activation("leaky_relu", negative_slope=0.25))
    found = initialization(leaky, "he")
    assert set(found.weight_variances.values()) == {2 / (1 + 0.25**2)}
    assert found.keeps_q
    assert not initialization(TANH, "he").keeps_q
    assert not initialization(RELU, "lecun").keeps_q


def test_he_keeps_every_q_of_relu_and_forward_only_one():
    maps = network_maps(initialized(RELU, "he"))
    for q in (0.1, 1.0, 7.0):
        values = maps.propagate_q(q)
        # The first layer doubles q once; after it nothing changes.
        assert [float(values[f"layer{k}.activation"]) for k in range(1, 7)] == pytest.approx([q] * 6, rel=1e-13)
    gelu = qc.zoo.mlp(6, activation="gelu")
    values = network_maps(initialized(gelu, "forward")).propagate_q(1.0)
    assert [float(values[f"layer{k}.affine"]) for k in range(1, 7)] == pytest.approx([1] * 6, rel=1e-12)
    assert float(network_maps(initialized(gelu, "forward")).propagate_q(2.0)["layer6.affine"]) > 2.1
    assert initialization(gelu, "forward").keeps_q


def test_forward_and_backward_at_thirty_digits():
    for name in ("gelu", "tanh", "relu", "elu"):
        s = samples(FORMULAS[name], 1, 0)
        second = MP.fsum(w * f * f for w, f in zip(s.w, s.value, strict=True))
        energy = MP.fsum(w * g * g for w, g in zip(s.w, s.first, strict=True))
        arch = qc.zoo.mlp(2, width=30, activation=name, in_channels=10, out_channels=6)
        forward, backward = (variances(initialized(arch, method)) for method in ("forward", "backward"))
        assert forward["layer2.affine"] == pytest.approx(float(1 / second), rel=1e-14)
        assert forward["layer1.affine"] == 1.0
        assert backward["head"] == pytest.approx(float(5 / energy), rel=1e-14)
        assert backward["layer1.affine"] == pytest.approx(1 / 3, rel=1e-15)


def test_glorot():
    """2 / (k + m) as a multiple of 1 / k; the filter size counts in both fans."""
    b = qc.Builder("net")
    h = b.input("x", channels=3)
    h = b.affine(h, 12, kernel=(5, 5), name="conv")
    h = b.activation(h, "tanh")
    arch = b.build([b.affine(h, 4, name="head")])
    fans = {"conv": (3 * 25, 12 * 25), "head": (12, 4)}
    found = variances(initialized(arch, "glorot"))
    for name, (k, m) in fans.items():
        assert found[name] == pytest.approx(2 / (k + m) * k, rel=1e-15)


def test_glorot_loses_eight_ninths_on_alternating_widths():
    """DKS, section 26.1: widths n and 2n, identity activations."""
    b = qc.Builder("alternating")
    h = b.input("x", channels=8)
    for k in range(6):
        h = b.affine(h, 16 if k % 2 == 0 else 8, name=f"layer{k}")
    arch = initialized(b.build([h]), "glorot")
    assert float(network_maps(arch).q(1.0)) == pytest.approx((8 / 9) ** 3, rel=1e-14)
    stats = wide.measured(arch, {"x": wide.pair(0.3, 1.0, 1.0, 160, np.random.default_rng(2))}, 20, 80, seed=11)
    mean, error = stats["layer5"].mean[0, 0], stats["layer5"].error[0, 0]
    assert abs(mean - (8 / 9) ** 3) < 5 * error


def test_glorot_with_symbolic_channels_and_without_any():
    n = sympy.Symbol("n", positive=True, integer=True)
    arch = qc.zoo.mlp(1, width=None, activation="tanh")
    with pytest.raises(ArchitectureError, match="channels"):
        initialized(arch, "glorot")
    b = qc.Builder("symbolic")
    h = b.affine(b.input("x", channels=n), 2 * n, name="layer")
    found = initialization(b.build([h]), "glorot")
    assert sympy.simplify(found.weight_variances["layer"] - sympy.Rational(2, 3)) == 0
    json.dumps(found.to_dict())


def test_biases_go_and_nothing_else_changes():
    b = qc.Builder("net")
    h = b.affine(b.input("x", channels=4), 4, weight_variance=0.3, bias_variance=0.2, name="a", kernel=(3,), stride=2)
    arch = b.build([b.affine(b.activation(h, "relu"), 4, name="b")])
    op = initialized(arch, "he")["a"].op
    assert (op.weight_variance, op.bias_variance, op.kernel, op.stride) == (2.0, 0.0, (3,), 2)
    assert arch["a"].op.weight_variance == 0.3
    assert [node.id for node in initialized(arch, "he").nodes] == [node.id for node in arch.nodes]


def test_layers_that_read_different_things():
    b = qc.Builder("mixed")
    x = b.affine(b.input("x", channels=4), 4, name="first")
    joined = b.concat([b.activation(x, "relu"), b.activation(x, "tanh")])
    arch = b.build([b.affine(joined, 4, name="last")])
    with pytest.raises(ArchitectureError, match="last") as caught:
        initialized(arch, "forward")
    assert "relu" in str(caught.value)
    assert "tanh" in str(caught.value)
    assert variances(initialized(arch, "he"))["last"] == 2.0
    assert set(initialization(arch, "lecun").q_factors["last"]) == {"relu", "tanh"}
    with pytest.raises(ArgumentError, match="lecun"):
        initialized(arch, "xavier")


def test_what_an_initialization_shows():
    found = initialization(TANH, "glorot")
    assert "glorot" in repr(found)
    plain = json.loads(json.dumps(found.to_dict()))
    assert plain["keeps_q"] is False
    assert plain["q_factors"]["layer2.affine"]["tanh"] == pytest.approx(0.3942944903978412, rel=1e-12)
    assert "25.3" in plain["condition"]


# --- The comparison --------------------------------------------------------------------------------------------------


def chain(name, depth, q, weights, biases=0.0):
    """q after each layer, C'(0), C'(1) and C(0) of a chain of affine layer and activation, by 30-digit Hermite sums.

    C(0) and C'(0) need E f f at the c value of each layer, here by the Hermite series with 40 terms (c <= 0.6).
    """
    slope0 = slope1 = MP.mpf(1)
    c = MP.mpf(0)
    qs = []
    for _ in range(depth):
        m = weights * c * q + biases
        q_in = weights * q + biases
        c_in = m / q_in
        slope0, slope1 = slope0 * weights * q / q_in, slope1 * weights * q / q_in
        s = samples(FORMULAS[name], MP.sqrt(q_in), 0)
        weighted = [w * f for w, f in zip(s.w, s.value, strict=True)]
        before, here, a = [MP.mpf(0)] * len(s.x), [MP.mpf(1)] * len(s.x), []
        for n in range(40):
            a.append(MP.fdot(weighted, here))
            up, down = 1 / MP.sqrt(n + 1), MP.sqrt(MP.mpf(n) / (n + 1))
            before, here = here, [up * x * h - down * p for x, h, p in zip(s.x, here, before, strict=True)]
        q = MP.fdot(weighted, s.value)
        c = MP.fsum(a[n] ** 2 * c_in**n for n in range(40)) / q
        slope0 *= MP.fsum(n * a[n] ** 2 * c_in ** (n - 1) for n in range(1, 40)) / q
        slope1 *= q_in * MP.fsum(w * g * g for w, g in zip(s.w, s.first, strict=True)) / q
        qs.append(q)
    return qs, c, slope0, slope1


@pytest.mark.parametrize(("name", "method", "weights", "biases"), [
    ("tanh", "plain", 1, 0), ("swish", "he", 2, 0), ("tanh", "edge_of_chaos", None, 0.05), ("gelu", "forward", None, 0),
])  # fmt: skip
def test_rows_at_thirty_digits(name, method, weights, biases):
    depth = 3
    arch = qc.zoo.mlp(depth, activation=name)
    if method == "edge_of_chaos":
        weights = edge_of_chaos(name, bias_variance=biases).weight_variance
    if method == "forward":
        # Its first layer has 1; a first layer with the factor on an input of 1 / factor is the same.
        weights = variances(initialized(arch, "forward"))["layer2.affine"]
    start = MP.mpf(1) / weights if method == "forward" else MP.mpf(1)
    row = compare(arch, [method], options={method: {"bias_variance": biases}} if biases else None)[method]
    qs, c, slope0, slope1 = chain(name, depth, start, MP.mpf(weights), MP.mpf(biases))
    assert row.q == pytest.approx(float(qs[-1]), rel=1e-11)
    assert (row.c0, row.c_slope_0, row.c_slope_1) == pytest.approx([float(c), float(slope0), float(slope1)], abs=1e-10)
    assert row.nl == pytest.approx(math.sqrt(1 - float(slope0)), abs=1e-9)
    assert row.na == pytest.approx(math.sqrt(1 - float(slope0 / slope1)), abs=1e-9)


def test_numbers_of_a_row_belong_together():
    """Bounds of DKS, theorem 13, and its relatives hold for every row; mu bounds C_f'(1)."""
    methods = ["plain", "he", "forward", "edge_of_chaos", "selu", "dks"]
    for arch in (
        qc.zoo.mlp(8, activation="relu"), qc.zoo.mlp(8, activation="gelu"),
        qc.zoo.wide_resnet(16, activation="tanh", residual_weight=0.6),
    ):  # fmt: skip
        for row in compare(arch, methods).rows.values():
            assert row.possible, row.reason
            assert (1 - row.c_slope_0) / 4 - 1e-9 <= row.deviation <= 2 * (1 - row.c_slope_0) + 1e-9
            assert row.nl**2 == pytest.approx(1 - row.c_slope_0, abs=1e-12)
            assert row.q_min <= row.q <= row.q_max
            assert -1 <= row.c_minus1 <= row.c0 <= 1
            if row.mu is not None:
                assert row.c_slope_1 <= row.mu * (1 + 1e-4)


def test_section_26_as_a_table():
    """What the section says about each method on a deep chain."""
    deep = compare(qc.zoo.mlp(100, activation="relu"), ["he", "edge_of_chaos", "selu", "dks"])
    assert compare(qc.zoo.mlp(10, activation="relu"), ["lecun"])["lecun"].q == pytest.approx(2.0**-10, rel=1e-12)
    assert deep["he"].q == pytest.approx(1, rel=1e-12)
    for method in ("he", "edge_of_chaos"):
        assert deep[method].behaviour == "collapsed"
        assert deep[method].c0 > 0.996  # section 12.1
        assert deep[method].c_slope_1 == pytest.approx(1, abs=1e-4)
    assert deep["selu"].behaviour == "exploded"
    assert deep["selu"].c_slope_1 == pytest.approx((0.5 / (0.5 - 0.5 / math.pi)) ** 100, rel=1e-9)
    assert deep["dks"].behaviour == "well-behaved"
    assert deep["dks"].mu == pytest.approx(1.5, rel=1e-9)
    assert deep["dks"].c_slope_1 == pytest.approx(1.5, rel=1e-6)
    selu = compare(qc.zoo.mlp(100, activation="selu"), ["selu"])["selu"]
    assert selu.c_slope_1 == pytest.approx(1.005e3, rel=5e-4)  # section 26.3
    # "Reasonably well behaved" (section 26.3) it is not: docs/errata.md.
    assert selu.behaviour == "exploded"
    assert (selu.c_slope_0, selu.c_minus1, selu.deviation) == pytest.approx((0.051, -0.038, 0.962), abs=5e-4)
    assert selu.mu == pytest.approx(selu.c_slope_1, rel=1e-6)


def test_mu_at_another_q_value():
    """One activation at q = 3: psi is its C'(1) there, and mu(psi) = psi is the slope of the network."""
    b = qc.Builder("one")
    arch = b.build([b.activation(b.affine(b.input("x"), weight_variance=3.0), "tanh")])
    row = compare(arch, ["plain"])["plain"]
    assert row.mu == pytest.approx(row.c_slope_1, rel=1e-12)
    _, _, _, slope = chain("tanh", 1, MP.mpf(1), MP.mpf(3))
    assert row.mu == pytest.approx(float(slope), rel=1e-11)
    assert compare(qc.zoo.mlp(2, activation="tanh"), ["plain"])["plain"].mu is None


def test_selu_of_the_comparison_is_selu_like():
    rows = compare(qc.zoo.mlp(4, activation="elu"), ["selu"])
    plain = compare(qc.zoo.mlp(4, activation="selu"), ["plain"])
    for field in ("q", "c_minus1", "c_slope_0", "c_slope_1", "q_slope"):
        assert getattr(rows["selu"], field) == pytest.approx(getattr(plain["plain"], field), rel=1e-9)
    assert "repels" in compare(qc.zoo.mlp(2, activation="gelu"), ["selu"])["selu"].note
    assert rows["selu"].q_slope == pytest.approx(selu_like().q_slope ** 4, rel=1e-9)


def test_what_is_impossible_has_a_row_with_the_reason():
    rows = compare(qc.zoo.mlp(3, activation="softplus"), ["edge_of_chaos", "plain", "glorot"])
    assert not rows["edge_of_chaos"].possible
    assert "no edge of chaos" in rows["edge_of_chaos"].reason
    assert rows["edge_of_chaos"].q is None
    assert "channels" in rows["glorot"].reason
    assert rows["plain"].possible
    assert "no edge of chaos" in str(rows)
    assert "attracts" in compare(qc.zoo.mlp(2, activation="square"), ["edge_of_chaos"])["edge_of_chaos"].reason
    assert not compare(qc.zoo.mlp(2, activation="square"), ["dks"])["dks"].possible
    b = qc.Builder("two")
    h = b.activation(b.affine(b.input("x")), "relu")
    two = b.build([b.activation(b.affine(h), "tanh")])
    assert "one activation" in compare(two, ["edge_of_chaos"])["edge_of_chaos"].reason
    growing = compare(qc.zoo.mlp(12, activation="square"), ["he"])["he"]
    assert "not finite" in growing.reason


def test_thresholds():
    assert behaviour(CONTRAST - 1e-9, 1.0, 1.9) == "collapsed"
    assert behaviour(CONTRAST - 1e-9, 2.1, 1.9) == "exploded"
    assert behaviour(1.0, 1.0, 5e-4) == "linear"
    assert behaviour(0.9, 1.5, 0.4) == "well-behaved"
    # Sigmoid chains go to c* = 1 with C'(1) < 1; a chaotic tanh chain to c* = 0; identity is linear.
    assert compare(qc.zoo.mlp(20, activation="sigmoid"), ["plain"])["plain"].behaviour == "collapsed"
    b = qc.Builder("chaotic")
    h = b.input("x")
    for _ in range(20):
        h = b.activation(b.affine(h, weight_variance=4.0), "tanh")
    assert compare(b.build([h]), ["plain"])["plain"].behaviour == "exploded"
    assert compare(qc.zoo.mlp(3, activation="identity"), ["plain"])["plain"].behaviour == "linear"


def test_the_nearest_edge():
    assert nearest_edge(qc.activation("tanh")).q_star == pytest.approx(1, rel=1e-15)
    assert nearest_edge(qc.activation("relu")).weight_variance == pytest.approx(2, rel=1e-14)
    found = nearest_edge(qc.activation("swish"))
    curve = qc.numeric.edge_of_chaos_curve("swish", [found.q_star * 10 ** (-1 / 40), found.q_star])
    assert curve.q_slope[0] > 1 >= curve.q_slope[1]
    # What the row reports for it is what edge_of_chaos finds.
    same = edge_of_chaos("swish", weight_variance=found.weight_variance)
    assert min(abs(one.q_star / found.q_star - 1) for one in (same, *same.others)) < 1e-8


def test_options_and_the_grid():
    arch = qc.zoo.mlp(3, activation="tanh")
    rows = compare(arch, ["dks"], options={"dks": {"zeta": 1.1}})
    assert rows["dks"].c_slope_1 == pytest.approx(1.1, rel=1e-9)
    assert "1.1" in rows["dks"].note
    only = compare(arch, ["plain"], c=[0.0, 1.0])["plain"]
    assert only.deviation == pytest.approx(0, abs=1e-14)  # tanh is odd
    fine = compare(arch, ["plain"])["plain"]
    assert fine.deviation == pytest.approx(network_maps(arch).deviation().value, rel=1e-4)


def test_tailored_activations():
    rows = compare(qc.zoo.mlp(20, activation="softplus"), ["tat"], options={"tat": {"tau": 0.2}})
    assert rows["tat"].c_slope_1 == pytest.approx(1, abs=1e-9)
    assert rows["tat"].q == pytest.approx(1, abs=1e-9)
    leaky = compare(qc.zoo.mlp(20, activation="leaky_relu"), ["tat"])["tat"]
    assert leaky.c0 == pytest.approx(0.9, abs=1e-9)


def mixed(first, second, depth):
    b = qc.Builder("mixed")
    h = b.input("x", channels=4)
    for _ in range(depth):
        h = b.affine(h, 4)
        h = b.concat([b.activation(h, first), b.activation(h, second)])
    return b.build([b.affine(h, 4)])


def test_activations_of_both_kinds():
    rows = compare(mixed("relu", "gelu", 1))
    assert "slope" in rows["tat"].reason
    assert rows["dks"].possible
    deep = mixed("leaky_relu", "gelu", 20)
    for options in ({"eta": 0.8}, {"eta": 0.8, "tau": 0.3}):
        assert compare(deep, ["tat"], options={"tat": options})["tat"].note == "tau = 0.3, eta = 0.8"
    assert "eta = 0.9" in compare(mixed("leaky_relu", "gelu", 60), ["tat"])["tat"].note


def test_every_option_of_a_method():
    """Those of the functions behind them, by their signatures; and each does what it does there."""
    for method, function in (("dks", qc.dks), ("tat", qc.numeric.tat)):
        own = set(inspect.signature(function).parameters) - {"arch"}
        assert set(inspect.signature(METHODS[method]).parameters) - {"arch"} == own
    arch = qc.zoo.mlp(3, activation="softplus")
    for options in ({"q_slope": None}, {"psi": 1.1, "q_slope": 1.05}, {"psi": {"softplus": 1.2}}):
        row, shaping = compare(arch, ["dks"], options={"dks": options})["dks"], qc.dks(arch, **options)
        maps = network_maps(arch, shaping)
        assert row.c_slope_1 == pytest.approx(float(maps.dc(1.0)), rel=1e-12)
        assert row.q_slope == pytest.approx(float(maps.dq()), rel=1e-12)
    elu = qc.zoo.mlp(3, activation="elu")
    shifted = compare(elu, ["selu"], options={"selu": {"parameter": "output_shift"}})["selu"]
    assert shifted.q_slope == pytest.approx(selu_like("elu", parameter="output_shift").q_slope ** 3, rel=1e-9)
    gelu = qc.zoo.mlp(3, activation="gelu")
    options = {"edge_of_chaos": {"weight_variance": 1.97, "q_range": (10.0, 100.0)}}
    assert "q* = 45.47" in compare(gelu, ["edge_of_chaos"], options=options)["edge_of_chaos"].note


def test_arguments_of_the_wrong_kind():
    arch = qc.zoo.mlp(2, activation="tanh")
    for call in (
        lambda: compare("x"), lambda: compare(arch, 3), lambda: compare(arch, [3]), lambda: compare(arch, [["dks"]]),
        lambda: compare(arch, ["dks"], options=3), lambda: compare(arch, ["dks"], options={"dks": 3}),
        lambda: compare(arch, ["dks"], options={3: {}}), lambda: initialization("x", "he"),
        lambda: initialization(arch, ["he"]), lambda: initialized(None, "he"),
    ):  # fmt: skip
        with pytest.raises(ArgumentError):
            call()


def test_bad_arguments():
    arch = qc.zoo.mlp(2, activation="tanh")
    for methods in ([], "dks", ["nothing"]):
        with pytest.raises(ArgumentError):
            compare(arch, methods)
    for options in ({"dks": {"depth": 3}}, {"other": {}}, {"dks": {"zeta": 0.5}}, {"plain": {"q": 1}}):
        with pytest.raises(ArgumentError):
            compare(arch, ["dks", "plain"], options=options)
    for grid in ([], [2.0], [math.nan]):
        with pytest.raises(ArgumentError):
            compare(arch, ["plain"], c=grid)
    with pytest.raises(ActivationError, match="layer1"):
        compare(qc.zoo.mlp(2, activation="tanhh"), ["plain"])
    with pytest.raises(ArchitectureError, match="several outputs"):
        compare(qc.zoo.multi_head(1, (1, 1)), ["plain"])
    with pytest.raises(ArgumentError, match="not compared"):
        compare(arch, ["plain"])["dks"]


def test_what_a_comparison_shows():
    rows = compare(TANH, ["plain", "glorot", "edge_of_chaos"])
    text = str(rows).splitlines()
    assert len(text) == 5
    assert text[0] == TANH.name
    assert text[1].startswith("method")
    assert "q* = 1" in text[4]
    plain = json.loads(json.dumps(rows.to_dict()))
    assert set(plain["rows"]) == {"plain", "glorot", "edge_of_chaos"}
    assert plain["rows"]["plain"]["behaviour"] == "well-behaved"
    assert "plain" in repr(rows)
    assert "well-behaved" in repr(rows["plain"])
    assert next(iter(METHODS)) == "plain"


def test_a_users_own_activation():
    act = Activation.from_sympy("u + sin(u)/2", name="wavy")
    rows = compare(qc.zoo.mlp(2, activation=act), ["plain", "selu", "edge_of_chaos", "forward"])
    assert all(row.possible for row in rows.rows.values())
    assert rows["selu"].q == pytest.approx(1, abs=1e-12)
