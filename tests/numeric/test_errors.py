"""Shaping refuses what it cannot do, with the node, the rule and the remedy."""

import math

import numpy as np
import pytest
import sympy as sp

import qcmap as qc
from qcmap import numeric
from qcmap.errors import ActivationError, ArchitectureError, ArgumentError, NumericalError, QCMapError
from qcmap.numeric import Transform, solve


def raised(kind, function, *args, **kwargs):
    with pytest.raises(kind) as error:
        function(*args, **kwargs)
    assert isinstance(error.value, QCMapError)
    assert error.value.subject
    assert error.value.rule
    assert error.value.remedy
    return error.value


@pytest.mark.parametrize("zeta", [1, 1.0, 0.99, 0, -3, math.nan, math.inf, "1.5"])
def test_zeta(zeta):
    assert raised(ArgumentError, qc.dks, qc.zoo.mlp(5), zeta=zeta).subject == "zeta"


@pytest.mark.parametrize("psi", [1, 0.5, -1, math.nan, math.inf])
def test_psi(psi):
    assert raised(ArgumentError, qc.dks, qc.zoo.mlp(5), psi=psi).subject == "psi"
    assert raised(ArgumentError, solve, qc.activation("tanh"), psi).subject == "psi"


def test_psi_and_zeta():
    assert "both" in raised(ArgumentError, qc.dks, qc.zoo.mlp(5), 1.5, psi=1.1).rule


def test_psi_too_near_one():
    raised(ArgumentError, qc.dks, qc.zoo.mlp(5), psi=1 + 1e-12)
    raised(ArgumentError, qc.dks, qc.zoo.mlp(1000), 1 + 1e-9)


@pytest.mark.parametrize("excess", [1.1e-10, 1e-9, 1e-7])
@pytest.mark.parametrize("name", ["tanh", "selu", "leaky_relu", "relu"])
def test_psi_just_above_one_is_solved_or_refused(name, excess):
    try:
        solution = solve(qc.activation(name), 1 + excess)
    except QCMapError:
        return
    assert max(map(abs, solution.residuals.values())) <= 1e-10


def test_unnormalized_sum():
    b = qc.Builder()
    x = b.input("x")
    heavy = b.sum([b.affine(x), b.affine(x)], [1, 1], name="add")
    error = raised(ArchitectureError, qc.dks, b.build([b.activation(heavy, "tanh")]))
    assert error.subject == "add"
    assert "squares" in error.rule


def test_scalar_multiplier():
    b = qc.Builder()
    h = b.activation(b.scale(b.affine(b.input("x")), 2.0, name="twice"), "tanh")
    assert raised(ArchitectureError, qc.dks, b.build([h])).subject == "twice"


def test_unknown_activation_names_the_node():
    error = raised(ActivationError, qc.dks, qc.zoo.mlp(3, activation="tahn"))
    assert "layer1.activation" in error.subject
    assert "tanh" in error.remedy
    raised(ActivationError, qc.network_maps, qc.zoo.mlp(3, activation="tahn"))


def test_no_nonlinear_layer():
    b = qc.Builder()
    raised(ArchitectureError, qc.dks, b.build([b.affine(b.input())]))


def test_symbolic_weights():
    w = sp.Symbol("w", positive=True)
    assert "substitute" in raised(ArchitectureError, qc.dks, qc.zoo.resnet_v2(50, residual_weight=w)).remedy


def test_two_activations_of_one_name():
    b = qc.Builder()
    x = b.input("x")
    for k in (1.0, 2.0):
        x = b.activation(b.affine(x), qc.Activation.from_callable(lambda u, k=k: np.tanh(k * u), name="same"))
    assert "same" in raised(ActivationError, qc.dks, b.build([x])).rule


def test_asking_for_an_activation_that_is_not_there():
    shaping = qc.dks(qc.zoo.mlp(3, activation="tanh"))
    error = raised(ActivationError, lambda: shaping["relu"])
    assert "tanh" in error.remedy


def test_overflowing_zeta():
    raised(NumericalError, qc.dks, qc.zoo.mlp(5000), psi=2.0)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_transform_constants(bad):
    for k in range(4):
        raised(ArgumentError, Transform, qc.activation("tanh"), *(bad if k == j else 1.0 for j in range(4)))
    raised(ArgumentError, Transform, qc.activation("tanh"), 0.0)
    raised(ArgumentError, Transform, qc.activation("tanh"), 1.0, 0.0, 0.0, 0.0)


def test_a_callable_is_shaped_like_the_catalogue():
    act = qc.Activation.from_callable(np.tanh, lambda u: 1 / np.cosh(u) ** 2, name="mine", length=1.5)
    mine = qc.dks(qc.zoo.mlp(100, activation=act))["mine"]
    known = qc.dks(qc.zoo.mlp(100, activation="tanh"))["tanh"]
    for a, b in zip(mine.constants.values(), known.constants.values(), strict=True):
        assert abs(a) == pytest.approx(abs(b), rel=1e-10)
    # Without its derivative, too, to what interpolation leaves.
    rough = qc.dks(qc.zoo.mlp(20, activation=qc.Activation.from_callable(np.tanh, length=1.5)))
    assert rough["tanh"].input_scale == pytest.approx(
        qc.dks(qc.zoo.mlp(20, activation="tanh"))["tanh"].input_scale, rel=1e-6
    )


def test_a_sympy_activation_is_shaped():
    act = qc.Activation.from_sympy("log(1 + exp(u))", length=3.1)
    got = qc.dks(qc.zoo.mlp(100, activation=act))[act.name]
    want = qc.dks(qc.zoo.mlp(100, activation="softplus"))["softplus"]
    assert got.constants == pytest.approx(want.constants, rel=1e-9)


def test_plain_data():
    import json

    shaping = qc.dks(qc.zoo.mlp(10, activation="swish"))
    data = json.loads(json.dumps(shaping.to_dict()))
    assert data["zeta"] == 1.5
    assert data["activations"]["swish"]["input_scale"] == shaping["swish"].input_scale
    assert "shaping of mlp" in repr(shaping)
    t = shaping["swish"]
    inner = qc.activation("swish")(t.input_scale * np.array([0.3, -2.0]) + t.input_shift)
    np.testing.assert_allclose(t([0.3, -2.0]), t.output_scale * (inner + t.output_shift), rtol=1e-15)
    h = 1e-6
    assert float(t.derivative(0.4)) == pytest.approx(float(t(0.4 + h) - t(0.4 - h)) / (2 * h), abs=1e-8)


@pytest.mark.parametrize(
    "call",
    [
        lambda: qc.dks("x"),
        lambda: numeric.tat("x"),
        lambda: numeric.unit_q("x"),
        lambda: numeric.solve("tanh", 1.2),
        lambda: numeric.conditions(numeric.Transform("tanh")),
        lambda: qc.dks(qc.zoo.mlp(3), psi=[1.1]),
        lambda: qc.dks(qc.zoo.mlp(3), psi="1.1"),
    ],
)
def test_wrong_types_are_argument_errors(call):
    with pytest.raises(ArgumentError):
        call()


@pytest.mark.parametrize("name", ["input_scale", "output_scale"])
def test_a_scale_of_zero_is_named(name):
    with pytest.raises(ArgumentError) as error:
        numeric.Transform(qc.activation("tanh"), **{name: 0.0})
    assert error.value.subject == name
