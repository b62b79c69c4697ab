"""Certified Q and C values against closed forms and mpmath."""

from dataclasses import replace

import pytest
from flint import arb, ctx

import qcmap as qc
from qcmap.activations import activation
from qcmap.errors import ActivationError, ArgumentError, NumericalError
from qcmap.numeric import (
    Transform,
    certified_c,
    certified_curvature,
    certified_dc,
    certified_dq,
    certified_q,
    certify,
)  # fmt: skip
from qcmap.numeric.proofs._ball_planes import correlated
from qcmap.numeric.proofs._balls import ball_activation
from tests.oracles import MP


def near(ball, value, tolerance=1e-24):
    with ctx.workdps(50):
        return abs(ball - arb(MP.nstr(value, 32))) < arb(tolerance) and ball.rad() < arb(tolerance)


@pytest.mark.parametrize("c", ["-0.6", "0", "0.37", "0.95", "1"])
def test_relu(c):
    """The arc-cosine kernel (Cho and Saul 2009) and its derivative."""
    x = MP.mpf(c)
    angle = MP.acos(x)
    assert near(certified_c("relu", c, digits=25), (MP.sin(angle) + (MP.pi - angle) * MP.cos(angle)) / MP.pi)
    assert near(certified_dc("relu", c, digits=25), (MP.pi - angle) / MP.pi)


def test_erf_at_different_q_values():
    """Williams 1997: E erf(u1) erf(u2) = (2 / pi) arcsin(2 k / sqrt((1 + 2 q1) (1 + 2 q2)))."""
    q1, q2, c = MP.mpf("1.5"), MP.mpf("0.7"), MP.mpf("-0.3")

    def kernel(k, a, b):
        return 2 / MP.pi * MP.asin(2 * k / MP.sqrt((1 + 2 * a) * (1 + 2 * b)))

    expected = kernel(c * MP.sqrt(q1 * q2), q1, q2) / MP.sqrt(kernel(q1, q1, q1) * kernel(q2, q2, q2))
    assert near(certified_c("erf", "-0.3", "1.5", "0.7", digits=25), expected)
    assert near(certified_q("erf", "1.5", digits=25), kernel(q1, q1, q1))


def test_sine():
    """E sin^2(sqrt(q) x) = (1 - exp(-2 q)) / 2, and its derivative exp(-2 q)."""
    q = MP.mpf("0.8")
    assert near(certified_q("sin", "0.8"), (1 - MP.exp(-2 * q)) / 2)
    assert near(certified_dq("sin", "0.8"), MP.exp(-2 * q))
    expected = MP.exp(-q) * MP.sinh(q * MP.mpf("0.4")) / ((1 - MP.exp(-2 * q)) / 2)
    assert near(certified_c("sin", "0.4", "0.8", "0.8", digits=25), expected)
    # C''(1) = q^2 E sin^2 / E sin^2.
    assert near(certified_curvature("sin", "0.8"), q**2)


def test_the_conditions_at_certified_constants():
    psi = 1.01
    solution = qc.dks(qc.zoo.mlp(3, activation="selu"), psi=psi).solutions["selu"]
    exact = certify(solution, 30).constants
    assert certified_q("selu", transform=exact, digits=20).contains(1)
    assert certified_dq("selu", transform=exact, digits=20).contains(1)
    assert certified_dc("selu", 1, transform=exact, digits=20).contains(psi)
    assert certified_c("selu", 0, transform=exact, digits=12).contains(0)
    # The float constants are near, and are told apart.
    assert not certified_q("selu", transform=solution.transform, digits=25).contains(1)


def test_a_negative_scale_and_both_ends():
    plain, mirrored = Transform(activation("softplus"), 0.7, 0.2), Transform(activation("softplus"), -0.7, 0.2)
    for c in (-1, "0.5", 1):
        first, second = (certified_c("softplus", c, transform=t, digits=15) for t in (plain, mirrored))
        assert first.overlaps(second)
        assert abs(float(first) - float(qc.local_maps("softplus", plain).c(float(c)))) < 1e-12


@pytest.mark.parametrize("gap", ["0.0005", "1e-7", "1e-12"])
@pytest.mark.parametrize("sign", [1, -1])
def test_near_the_ends(gap, sign):
    """Closed forms at correlations where the density of the pair is a ridge, at different q values."""
    c = sign * (1 - MP.mpf(gap))
    q1, q2 = MP.mpf("0.8"), MP.mpf("1.5")
    norm = MP.sqrt(MP.asin(2 * q1 / (1 + 2 * q1)) * MP.asin(2 * q2 / (1 + 2 * q2)))
    side = MP.sqrt((1 + 2 * q1) * (1 + 2 * q2))
    text = MP.nstr(c, 20)
    sine = 2 * c * MP.sqrt(q1 * q2) / side
    assert near(certified_c("erf", text, "0.8", "1.5", digits=25), MP.asin(sine) / norm)
    slope = 2 * MP.sqrt(q1 * q2) / side / MP.sqrt(1 - sine**2) / norm
    assert near(certified_dc("erf", text, "0.8", "1.5", digits=25), slope)


@pytest.mark.parametrize("name", ["tanh", "softplus", "swish", "gelu", "mish", "atan", "asinh", "bentid"])
def test_smooth_ones_near_the_ends(name):
    """Beside the numeric layer, and beside the other method where both work."""
    transform = Transform(activation(name), 0.6, -0.3, 0.1, 1.2)
    maps = qc.local_maps(name, transform)
    for c in (1 - 1e-9, -1 + 1e-6):
        ball = certified_c(name, c, "0.7", "1.1", transform, digits=18)
        assert abs(float(ball) - float(maps.c(c, 0.7, 1.1))) < 2e-15


def test_taylor_beside_rectangles():
    act, line = ball_activation(activation("tanh")), (arb(1), arb("0.2"))
    with ctx.workprec(53):
        taylor = correlated(act, 1, arb("0.99"), line, line)
        rectangles = correlated(replace(act, name="tanh by rectangles"), 1, arb("0.99"), line, line)
        assert taylor.overlaps(rectangles)
        assert taylor.rad() < 1e-13
        assert rectangles.rad() < 1e-11
        assert taylor.rad() < rectangles.rad() / 10


def test_refusals():
    with pytest.raises(ArgumentError, match="q values"):
        certified_q("tanh", -1)
    with pytest.raises(ArgumentError, match="c values"):
        certified_c("tanh", "1.1")
    with pytest.raises(ArgumentError, match="digits"):
        certified_q("tanh", digits=0)
    with pytest.raises(ArgumentError, match="not a finite number"):
        certified_q("tanh", float("nan"))
    with pytest.raises(ActivationError, match="infinite"):
        certified_curvature("relu")
    with pytest.raises(NumericalError, match="rectangles"):
        certified_c("selu", "0.9995")
    with pytest.raises(ArgumentError, match="up to 1000000"):
        certified_dq("tanh", 1e7)
    with pytest.raises(ArgumentError, match="not a finite number"):
        certified_q("tanh", True)
    with pytest.raises(NumericalError, match="near to 1"):
        certified_c("relu", "0.9999999")
    with pytest.raises(NumericalError, match="could not be proved"):
        certified_q("tanh", arb(1, 1e-5), digits=20)
    with pytest.raises(ActivationError, match="callable"):
        certified_q(qc.Activation.from_callable(lambda u: u * u, name="mine"))


PLAIN = {"input_scale": 1, "input_shift": 0, "output_shift": 0, "output_scale": 1}


def test_constants_carry_their_activation():
    shaping = qc.dks(qc.zoo.mlp(100, activation="leaky_relu"), zeta=1.5)
    certificate = certify(shaping.solutions["leaky_relu"], 30)
    assert certified_q("leaky_relu", 1, certificate.constants, 20).contains(1)
    assert certified_dc("leaky_relu", 1, transform=certificate.constants, digits=20).overlaps(
        certificate.targets["C'(1)"]
    )
    # The name takes the slope of the transform.
    assert abs(certified_q("leaky_relu", 1, shaping["leaky_relu"]) - 1) < 1e-14
    with pytest.raises(ArgumentError, match="negative_slope"):
        certified_q(activation("leaky_relu", negative_slope=0.1), 1, certificate.constants)
    with pytest.raises(ArgumentError, match="not of"):
        certified_q(activation("leaky_relu", negative_slope=0.1), 1, shaping["leaky_relu"])
    with pytest.raises(ArgumentError, match="tanh has none"):
        certified_q("tanh", 1, certificate.constants)
    with pytest.raises(ArgumentError, match="not of"):
        certified_q("tanh", 1, Transform(activation("swish")))


@pytest.mark.parametrize(
    ("constants", "match"),
    [
        ({"input_scale": 0}, "it is zero"),
        ({"output_scale": 0}, "it is zero"),
        ({"input_shift": arb("nan")}, "not a finite number"),
        ({"input_scal": 1}, "no constant"),
    ],
)
def test_bad_constants(constants, match):
    with pytest.raises(ArgumentError, match=match):
        certified_q("relu", 1, {**PLAIN, **constants})
    with pytest.raises(ArgumentError, match="must hold"):
        certified_q("relu", 1, {"input_scale": 1})
    with pytest.raises(NumericalError, match="holds zero"):
        certified_q("relu", 1, {**PLAIN, "input_scale": arb(0, 1)})
