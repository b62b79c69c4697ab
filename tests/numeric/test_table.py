"""The table of DKS section 18.7 (100 layers, zeta = 1.5), as far as it is right, and where it is not."""

import pytest

import qcmap as qc
from tests import oracles
from tests.oracles import FORMULAS, MP

# alpha, beta, delta, gamma as printed; the entries after the bar are off by more than half a unit of the last digit.
PRINTED = {
    "tanh": ("0.090438", "-0.56011", "0.50500", "14.9025"),
    "softplus": ("0.22802", "0.40751", "-0.92372", "7.30325"),
    "relu": ("0.387604", "1.0000", "-1.0006", "2.5916"),
    "swish": ("0.12945", "0.349475", "-0.20889", "11.50455"),
    "selu": ("0.088294", "-0.25244", "0.38694", "8.25434"),
}
WRONG = {"relu": (0, 3), "swish": (0,), "selu": (0, 1, 2, 3)}
PSI = MP.power(MP.mpf("1.5"), MP.mpf(1) / 100)


def constants(name):
    t = qc.dks(qc.zoo.mlp(100, activation=name), zeta=1.5)[name]
    return t.input_scale, t.input_shift, t.output_shift, t.output_scale


def exact(name):
    """The root near qcmap's by mpmath's findroot at 32 digits: alpha, beta, delta, gamma."""
    alpha, beta, *_ = constants(name)
    formula = FORMULAS[name]
    if name == "relu":
        alpha = MP.findroot(lambda a: oracles.eliminated(formula, a, 1)[1] - PSI, alpha, tol=1e-22)
        beta = MP.one
    else:

        def equations(a, b):
            dq, dc1, *_ = oracles.eliminated(formula, a, b)
            return (dq - 1) / (PSI - 1), (dc1 - PSI) / (PSI - 1)

        alpha, beta = MP.findroot(equations, (alpha, beta), tol=1e-40, maxsteps=8)
    *_, mean, variance = oracles.eliminated(formula, alpha, beta)
    return alpha, beta, -mean, 1 / MP.sqrt(variance)


@pytest.mark.parametrize("name", PRINTED)
def test_table(name):
    ours, roots = constants(name), exact(name)
    for k, (got, root, text) in enumerate(zip(ours, roots, PRINTED[name], strict=True)):
        assert abs(got - root) < 1e-12 * max(1, abs(root))
        digits = len(text.split(".")[1])
        off = abs(MP.mpf(text) - root)
        if k in WRONG.get(name, ()):
            assert off > MP.mpf("0.5") / 10**digits, f"{text} is right"
            assert f"{got:.{digits}f}" != text
        else:
            assert off <= MP.mpf("0.5000001") / 10**digits
            assert f"{got:.{digits}f}" == text


def test_printed_values_that_are_wrong_miss_the_conditions():
    """The printed selu constants leave residuals that rounding to their digits does not explain."""
    alpha, beta, delta, gamma = PRINTED["selu"]
    q, dq, c0, dc1 = oracles.conditions(FORMULAS["selu"], MP.mpf(alpha), MP.mpf(beta), MP.mpf(delta), MP.mpf(gamma))
    # Half a unit of each printed digit moves Q(1) and Q'(1) by less than 5e-6.
    assert max(abs(q - 1), abs(dq - 1), c0, abs(dc1 - PSI)) > 1.5e-5
    ours = oracles.conditions(FORMULAS["selu"], *(round(value, 6) for value in constants("selu")))
    assert max(abs(ours[0] - 1), abs(ours[1] - 1)) < 1.5e-5
