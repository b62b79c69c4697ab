"""Self-normalizing activations: against 30-digit integrals, the published constants, and random wide networks."""

import dataclasses
import itertools
import math

import numpy as np
import pytest

import qcmap as qc
from qcmap.activations import CATALOGUE, Activation
from qcmap.errors import ActivationError, ArgumentError, Infeasible, NumericalError
from qcmap.numeric import Transform, local_maps, selu_like
from tests import oracles, wide
from tests.oracles import FORMULAS, MP, SELU_ALPHA, SELU_SCALE


def expectations(name, output_shift, output_scale):
    """E of f, f^2, f', f'^2, f f', f f' x, f x and f (x^2 - 1) for f = gamma (phi + delta), by 30-digit integrals."""
    s = oracles.samples(FORMULAS[name], 1, 0)
    f = [MP.mpf(output_scale) * (value + MP.mpf(output_shift)) for value in s.value]
    g = [MP.mpf(output_scale) * first for first in s.first]
    rows = zip(s.w, s.x, f, g, strict=True)
    terms = [
        (w * a, w * a * a, w * b, w * b * b, w * a * b, w * a * b * x, w * a * x, w * a * (x * x - 1))
        for w, x, a, b in rows
    ]
    return [MP.fsum(column) for column in zip(*terms, strict=True)]


def test_elu_becomes_selu():
    """The constants of Klambauer et al. (2017), correctly rounded."""
    found = selu_like()
    t = found.transform
    assert t.activation.name == "elu"
    assert t.output_scale == float(SELU_SCALE)
    assert t.activation.parameters["alpha"] == float(SELU_ALPHA)
    assert (t.input_scale, t.input_shift, t.output_shift) == (1, 0, 0)
    assert found.parameter == "alpha"
    u = np.linspace(-5, 5, 101)
    assert t(u) == pytest.approx(qc.activation("selu")(u), rel=1e-15)


def test_the_constants_of_selu_at_thirty_digits():
    """The closed forms in the docstring, in mpmath, are the published digits."""
    tail = lambda x: MP.erfc(x / MP.sqrt(2)) / 2  # noqa: E731
    one, two = MP.exp(MP.mpf(1) / 2) * tail(1), MP.exp(2) * tail(2)
    alpha = 1 / (MP.sqrt(2 * MP.pi) * (MP.mpf(1) / 2 - one))
    gamma = (MP.mpf(1) / 2 + alpha**2 * (two - 2 * one + MP.mpf(1) / 2)) ** (-MP.mpf(1) / 2)
    assert abs(alpha - SELU_ALPHA) < 1e-30
    assert abs(gamma - SELU_SCALE) < 1e-30


def test_klambauers_jacobian():
    """The matrix (0, 0.088834; 0, 0.782648) at omega = 0, tau = 1 (Klambauer et al., 2017, theorem 1)."""
    found = selu_like()
    assert np.round(found.jacobian(), 6) == pytest.approx(np.array([[0, 0.088835], [0, 0.782648]]), abs=1e-9)
    assert found.eigenvalues == (0, found.q_slope)
    assert found.q_slope == pytest.approx(0.782648, abs=5e-7)
    assert found.attractive
    assert found.reason == ""


@pytest.mark.parametrize("name", ["tanh", "softplus", "gelu", "celu", "relu", "swish", "sigmoid", "square", "hardtanh"])
def test_any_activation_by_scale_and_shift(name):
    found = selu_like(name)
    assert found.parameter == "output_shift"
    mean, second, slope, energy, product, q_slope, linear, bend = expectations(
        name, found.transform.output_shift, found.transform.output_scale
    )
    assert abs(mean) < 2e-15
    assert abs(second - 1) < 5e-15
    assert abs(slope - linear) < 1e-25  # Stein's lemma
    assert found.q_slope == pytest.approx(float(q_slope), abs=1e-14)
    assert found.c_slope == pytest.approx(float(slope) ** 2, abs=1e-14)
    assert found.c_slope_at_1 == pytest.approx(float(energy), rel=1e-14)
    for omega in (0.0, 1.0, -2.5):
        want = [[omega * float(slope), float(bend) / 2], [2 * omega * float(product), float(q_slope)]]
        assert found.jacobian(omega) == pytest.approx(np.array(want), abs=1e-14)


@pytest.mark.parametrize("omega", [0.0, 0.7])
@pytest.mark.parametrize("name", ["elu", "gelu"])
def test_the_jacobian_by_differences(name, omega):
    """Central differences of the map of (mean, variance) itself, with another quadrature."""
    found = selu_like(name)
    x, w = np.polynomial.legendre.leggauss(400)
    halves = [(10 * (x - 1) / 2, 5 * w), (10 * (x + 1) / 2, 5 * w)]

    def step(mean, variance):
        # The kink of elu at 0 splits the line.
        first = second = 0.0
        centre, root = omega * mean, math.sqrt(variance)
        for z, weight in halves:
            density = weight * np.exp(-(((z - centre) / root) ** 2) / 2) / (root * math.sqrt(2 * math.pi))
            f = found.transform(z)
            first, second = first + np.sum(density * f), second + np.sum(density * f * f)
        return np.array([first, second - first**2])

    assert step(0.0, 1.0) == pytest.approx([0, 1], abs=1e-13)
    h = 1e-4
    columns = [(step(h, 1) - step(-h, 1)) / (2 * h), (step(0, 1 + h) - step(0, 1 - h)) / (2 * h)]
    assert found.jacobian(omega) == pytest.approx(np.array(columns).T, abs=1e-7)


@pytest.mark.parametrize("name", CATALOGUE)
def test_attractive_where_iterating_the_maps_says_so(name):
    found = selu_like(name, parameter="output_shift")
    maps = local_maps(found.transform.activation, found.transform)
    assert maps.q(1.0) == pytest.approx(1, abs=1e-13)
    assert maps.c(0.0) == pytest.approx(0, abs=1e-13)
    if found.attractive:
        # relu6 has 1 - Q'(1) = 2e-8 and Q'' > 0, so q = 1 attracts only what is nearer than that.
        for q in (0.99, 1.01) if name != "relu6" else ():
            assert abs(float(maps.q(q)) - 1) < abs(q - 1)
        assert abs(float(maps.c(0.1))) < 0.1
        assert found.reason == ""
    else:
        assert found.reason
    if abs(found.q_slope) > 1 + 1e-9:
        assert "repels" in found.reason
        assert abs(float(maps.q(1.001)) - 1) > 0.001
    assert (found.c_slope == pytest.approx(1, abs=1e-12)) == (name == "identity")


def test_relu_is_neutral_to_first_order():
    """E f f' x = (E phi^2 - E phi E phi' x) / Var phi, and phi' x = phi for functions with two slopes."""
    assert selu_like("relu").q_slope == pytest.approx(1, abs=1e-14)
    assert "neutral" in selu_like("leaky_relu").reason
    assert "linear" in selu_like("identity").reason


def test_which_parameter():
    given = qc.activation("elu", alpha=2.0)
    shifted = selu_like(given)
    assert shifted.parameter == "output_shift"
    assert shifted.transform.activation is given
    assert selu_like(given, parameter="alpha").transform == selu_like("elu").transform
    assert selu_like("elu", parameter="output_shift").transform.output_shift < 0
    for name, parameter in (("celu", "alpha"), ("leaky_relu", "negative_slope")):
        with pytest.raises(Infeasible, match="linear"):
            selu_like(name, parameter=parameter)
    with pytest.raises(ArgumentError, match="tanh"):
        selu_like("tanh", parameter="alpha")


def test_celu_has_a_positive_mean():
    """What the error says: E celu falls to 0 with alpha and does not reach it."""
    means = [float(local_maps(qc.activation("celu", alpha=alpha)).mean(1.0)) for alpha in (0.1, 1.0, 10.0, 1000.0)]
    assert all(a > b > 0 for a, b in itertools.pairwise(means))


def test_refused():
    step = Activation.from_callable(np.sign, derivative=np.zeros_like, kinks=(0.0,), name="sign")
    with pytest.raises(ActivationError, match="jumps"):
        selu_like(step)
    constant = Activation.from_callable(np.ones_like, derivative=np.zeros_like, name="one")
    with pytest.raises(NumericalError, match="variance"):
        selu_like(constant)
    undeclared = Activation("abs", lambda u: np.abs(u - 0.3), lambda u: np.sign(u - 0.3))
    with pytest.raises(NumericalError, match="kinks"):
        selu_like(undeclared)
    with pytest.raises(ArgumentError):
        selu_like().jacobian(math.inf)


def test_what_it_shows():
    found = selu_like()
    assert repr(found) == (
        "<self-normalizing elu, alpha=1.673263242: output_scale=1.050700987, output_shift=0, attractive>"
    )
    assert "not attractive" in repr(selu_like("gelu"))
    plain = found.to_dict()
    assert plain["alpha"] == found.transform.activation.parameters["alpha"]
    assert plain["attractive"] is True
    assert plain["Q'(1)"] == found.q_slope
    assert isinstance(found.transform, Transform)


def test_a_wide_random_network_normalizes_itself():
    """From q = 1.5 and c = 0.4 a SELU chain heads for 1 and 0 as the maps say: 4 numbers at five standard errors."""
    act = qc.activation("selu")
    wide.ACTIVATIONS.setdefault("selu", act.value)
    arch = qc.zoo.mlp(6, activation="selu")
    stats = wide.measured(arch, {"input": wide.pair(0.4, 1.5, 1.5, 300, np.random.default_rng(1))}, 300, 60, seed=3)
    maps = qc.numeric.network_maps(arch)
    for layer in (2, 6):
        name = f"layer{layer}.activation"
        mean, error = stats[name].mean[:, 0], stats[name].error[:, 0]
        for k, want in ((0, float(maps.at(name).q(1.5))), (3, float(maps.at(name).c(0.4, 1.5, 1.5)))):
            assert abs(mean[k] - want) < 5 * error[k] + layer / 300
    assert abs(float(maps.q(1.5)) - 1) < 0.3


def test_a_function_that_grows_fast():
    """exp(4u): mean e^8 and variance e^32 - e^16, with the mass of f^2 at x = 8."""
    found = selu_like(Activation.from_sympy("exp(4*u)"))
    variance = math.exp(32) - math.exp(16)
    assert found.transform.output_shift == pytest.approx(-math.exp(8), rel=1e-12)
    assert found.transform.output_scale == pytest.approx(variance**-0.5, rel=1e-12)
    # E[(e^4x - m) 4 e^4x x] = 4 (8 e^32 - 4 m e^8) with m = e^8, and E f'^2 = 16 e^32.
    assert found.q_slope == pytest.approx(4 * (8 * math.exp(32) - 4 * math.exp(16)) / variance, rel=1e-12)
    assert found.c_slope_at_1 == pytest.approx(16 * math.exp(32) / variance, rel=1e-12)
    with pytest.raises(NumericalError):
        selu_like(Activation.from_sympy("exp(20*u)"))
    steep = dataclasses.replace(Activation.from_sympy("tanh(50*u)"), length=2.0)
    with pytest.raises(NumericalError, match="not resolved"):
        selu_like(steep)


@pytest.mark.parametrize("bad", ["a", None, math.nan, True, [1.0]])
def test_weight_sums_that_are_no_numbers(bad):
    with pytest.raises(ArgumentError):
        selu_like().jacobian(bad)
