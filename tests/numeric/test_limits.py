"""Where the numeric layer ends: it refuses, with a reason, what it cannot compute; near the border it stays right."""

import math

import numpy as np
import pytest
from scipy.optimize import brentq

import qcmap as qc
from qcmap.errors import ActivationError, ArgumentError, Infeasible, NumericalError
from qcmap.numeric import LocalMaps, local_maps, solve


@pytest.mark.parametrize("psi", [1.00005, 1.0001, 1.01, 1.02, 1.1, 1.2, 2.0])
@pytest.mark.parametrize("name", ["sigmoid", "tanh(u)", "3 + 2*tanh(u)"])
def test_mirror_pairs_take_the_negative_shift(name, psi):
    """Odd up to a constant: the pair differs by rounding only, which must not choose."""
    act = qc.activation(name) if name == "sigmoid" else qc.Activation.from_sympy(name)
    solution = solve(act, psi)
    assert solution.transform.input_shift < 0
    assert solution.others[0][1] == pytest.approx(-solution.transform.input_shift, rel=1e-5)


@pytest.mark.parametrize("name", ["tanh", "swish", "gelu", "selu", "softsign", "hardswish"])
def test_the_canonical_branch_goes_down_to_the_limit(name):
    """From psi - 1 = 1e-5 to 1e-7, input_scale falls as the root of psi - 1, and the shift tends to its limit."""
    act = qc.activation(name)
    far, near = solve(act, 1 + 1e-5).transform, solve(act, 1 + 1e-7).transform
    assert near.input_scale / far.input_scale == pytest.approx(0.1, rel=0.03)
    assert abs(near.input_shift) < 3.01
    assert abs(near.input_shift - far.input_shift) < 0.1
    with pytest.raises(ArgumentError, match="above 1"):
        solve(act, 1 + 1e-8)


def test_jumps_are_refused():
    """phi' of a jump holds a delta function: C'(1) is infinite. Inside (-1, 1) dC/dc counts it."""
    for expression in ("sign(u)", "sin(u) + Heaviside(u - 1)"):
        act = qc.Activation.from_sympy(expression)
        with pytest.raises(ActivationError, match="jumps by"):
            solve(act, 1.02)
        with pytest.raises(NumericalError, match="no finite derivative of order 1 at c = 1"):
            local_maps(act).dc([0.5, 1.0])
    sign = local_maps(qc.Activation.from_sympy("sign(u)"))
    for c in (0.5, -0.9, 0.99, 1 - 1e-9):
        assert float(sign.dc(c)) == pytest.approx(2 / math.pi / math.sqrt((1 - c) * (1 + c)), rel=1e-12)
    # The maps themselves are right: E sign sign = 2 arcsin(c) / pi.
    assert float(local_maps(qc.Activation.from_sympy("sign(u)")).c(0.5)) == pytest.approx(1 / 3, abs=1e-12)


def test_what_is_not_resolved_is_refused():
    with pytest.raises(NumericalError, match="oscillates too often"):
        local_maps("cos").dq(1e6)
    with pytest.raises(NumericalError, match="not resolved"):
        local_maps(qc.Activation.from_sympy("u + sin(u)")).c(0.5, 1e5, 1e5)
    with pytest.raises(NumericalError, match="constant or linear"):
        solve(qc.Activation.from_sympy("tanh(u) + 1000000000"), 1.02)


def test_scale_of_an_activation_does_not_matter():
    a, b = solve(qc.Activation.from_sympy("1e-10*tanh(u)"), 1.02), solve(qc.activation("tanh"), 1.02)
    assert a.transform.input_shift == pytest.approx(b.transform.input_shift, rel=1e-12)


def test_infeasible_tells_the_truth_about_the_exponential():
    """exp(a x + b) has, for any b and with t = a^2, C'(1) = t e^t / (e^t - 1) and Q'(1) = t (2 e^t - 1) / (e^t - 1)."""
    with pytest.raises(Infeasible) as error:
        solve(qc.Activation.from_sympy("exp(u)"), 1.02)
    assert error.value.condition == "Q'(1)"
    ((low, high),) = error.value.achievable
    t = brentq(lambda t: t * math.exp(t) / math.expm1(t) - 1.02, 1e-3, 1, xtol=1e-15)
    assert low == pytest.approx(high, abs=1e-9)
    assert low == pytest.approx(t * (2 * math.exp(t) - 1) / math.expm1(t), abs=1e-8)


@pytest.mark.parametrize("zeta", [1.01, 1.5, 100.0])
def test_depth_100000(zeta):
    assert qc.maximal_slope(qc.zoo.mlp(10**5)).inverse(zeta) == pytest.approx(math.exp(math.log(zeta) / 1e5), rel=1e-15)


def test_functions_that_lie_are_refused():
    for build, message in (
        (lambda: qc.Activation.from_sympy("I*u + tanh(u)"), "complex"),
        (lambda: qc.Activation.from_callable(lambda u: 1j * u + np.tanh(u)), "complex"),
        (lambda: qc.Activation.from_callable(np.tanh, derivative=np.tanh), "the derivative is wrong"),
        (lambda: qc.Activation.from_callable(np.tanh, kinks=0.0), "kinks must be finite"),
        (lambda: qc.activation(qc.activation("elu"), alpha=3.0), "takes no alpha"),
        (lambda: qc.activation(np.tanh, foo=3.0), "takes no foo"),
        (lambda: qc.activation(["tanh"]), "is not an activation"),
        *(
            (lambda text=text: qc.Activation.from_sympy(text), "write it with")
            for text in ("f(u)", "floor(u)", "u > 0", "Mod(u, 1)")
        ),
    ):
        with pytest.raises(ActivationError, match=message):
            build()


def test_network_maps_check_their_arguments_without_any_activation():
    b = qc.Builder()
    maps = qc.network_maps(b.build([b.affine(b.input("x"))]))
    with pytest.raises(ArgumentError, match="c values"):
        maps.c(5.0)
    with pytest.raises(ArgumentError, match="q values"):
        maps.q(-1.0)


@pytest.mark.parametrize("name", ["selu", "elu", "hardtanh", "relu6", "hardswish"])
def test_large_q_is_quick_for_pieces_that_do_not_oscillate(name):
    """At large q these are positively homogeneous or sign-like; the limit of C is known in closed form."""
    c = float(LocalMaps(name).c(0.5, 1e8, 1e8))
    relu = float(local_maps("relu").c(0.5))
    limit = {"hardtanh": 1 / 3, "relu6": 2 / 3}.get(name, relu)
    assert c == pytest.approx(limit, abs=2e-3)
