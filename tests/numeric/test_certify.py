"""Certificates: against mpmath at higher precision, against flint's own integrator, and against wrong claims."""

import dataclasses
import math
from fractions import Fraction

import mpmath
import pytest
import sympy
from flint import acb, arb, ctx, fmpq
from hypothesis import given
from hypothesis import strategies as st

import qcmap as qc
from qcmap.activations import CATALOGUE, Activation, activation
from qcmap.activations._ball_formula import ball_pieces
from qcmap.errors import ActivationError, ArgumentError, NumericalError
from qcmap.numeric import Transform, certified_inverse, certify, certify_shaping, solve, tat
from qcmap.numeric.proofs._ball_integrals import moments, pieces_in, tail, window
from qcmap.numeric.proofs._ball_series import smooth_activation
from qcmap.numeric.proofs._balls import _BY_HAND, ball_activation
from qcmap.numeric.proofs._decimals import decimal, fraction, proved_digits
from qcmap.numeric.proofs._shaping_system import NAMES, System, krawczyk
from tests import oracles
from tests.oracles import FORMULAS, MP

TABLE = ("tanh", "softplus", "relu", "swish", "selu", "leaky_relu")
MP60 = mpmath.mp.clone()
MP60.dps = 60


def shaping(name):
    return qc.dks(qc.zoo.mlp(100, activation=name), zeta=1.5)


def near(ball, value, tolerance):
    """Whether an mpmath number is in a ball, up to the number's own error."""
    text = MP60.nstr(MP60.mpf(value), 55)
    with ctx.workdps(70):
        return abs(ball - arb(text)) < arb(tolerance)


@pytest.mark.parametrize("name", TABLE)
def test_fifty_digits_of_the_table(name):
    """The table of DKS, section 18.7, and leaky relu: proved, and the conditions hold by mpmath."""
    certificate = certify_shaping(shaping(name))[name]
    assert certificate.digits == 50
    for text in certificate.decimals.values():
        assert text == "0" or len(text.lstrip("-0.").replace(".", "")) == 50
    assert all(ball.contains(0) for ball in certificate.residuals.values())
    assert certificate.verify()
    values = [MP.mpf(certificate.decimals[constant]) for constant in NAMES]
    formula = (
        FORMULAS[name]
        if name != "leaky_relu"
        else oracles.two_slopes_formula(MP.mpf(certificate.decimals["negative_slope"]))
    )
    q, dq, c0, dc1 = oracles.conditions(formula, *values)
    psi = MP.power(MP.mpf("1.5"), MP.mpf(1) / 100)
    assert abs(q - 1) < 1e-26
    assert abs(dc1 - psi) < 1e-26
    assert c0 < 1e-26
    assert name == "relu" or abs(dq - 1) < 1e-26


def test_the_last_of_fifty_digits():
    """tanh with psi = 1.5^(1/100): mpmath's root finder at 60 digits agrees to all fifty."""
    certificate = certify_shaping(shaping("tanh"))["tanh"]
    psi = MP60.power(MP60.mpf("1.5"), MP60.mpf(1) / 100)
    nodes = [(x, w) for x, w in mpmath_rule()]

    def equations(a, b):
        rows = [(w, x, MP60.tanh(a * x + b)) for x, w in nodes]
        m = MP60.fsum(w * f for w, _, f in rows)
        v = MP60.fsum(w * (f - m) ** 2 for w, _, f in rows)
        slope = MP60.fsum(w * (f - m) * (1 - f * f) * x for w, x, f in rows)
        return a * slope / v - 1, a * a * MP60.fsum(w * (1 - f * f) ** 2 for w, _, f in rows) / v - psi

    start = certificate.decimals["input_scale"][:25], certificate.decimals["input_shift"][:25]
    a, b = MP60.findroot(equations, tuple(map(MP60.mpf, start)), tol=1e-104, maxsteps=4)
    assert near(certificate.constants["input_scale"], a, 1e-51)
    assert near(certificate.constants["input_shift"], b, 1e-51)


def mpmath_rule():
    """The trapezoidal rule for the normal density, whose error for tanh(0.09 x - 0.56) is below 1e-58."""
    step = MP60.mpf("0.22")
    for k in range(-77, 78):
        x = k * step
        yield x, step * MP60.exp(-x * x / 2) / MP60.sqrt(2 * MP60.pi)


@pytest.mark.parametrize("digits", [10, 100])
def test_any_number_of_digits(digits):
    certificate = certify(solve(activation("softplus"), 1.01), digits)
    assert min(proved_digits(ball) for ball in certificate.constants.values()) >= digits
    with ctx.workdps(140):
        finer = certify(solve(activation("softplus"), 1.01), 120)
    for name in NAMES:
        assert certificate.constants[name].overlaps(finer.constants[name])


@pytest.mark.parametrize(("name", "how"), [("swish", {"tau": 0.3}), ("leaky_relu", {"eta": 0.9})])
def test_tailored(name, how):
    solution = tat(qc.zoo.mlp(20, activation=name), **how).solutions[name]
    certificate = certify(solution, 40)
    assert certificate.verify()
    assert set(certificate.residuals) == set(solution.targets)


@pytest.mark.parametrize(("name", "zeta"), [("tanh", 1.0003), ("softplus", 1.0001)])
def test_nearly_dependent_conditions(name, zeta):
    """A thousand layers with zeta near 1: psi - 1 is 1e-7 or so, and the steps of the test are long."""
    certificate = certify_shaping(qc.dks(qc.zoo.mlp(1000, activation=name), zeta=zeta), 30)[name]
    assert certificate.verify()
    values = [MP.mpf(certificate.decimals[constant]) for constant in NAMES]
    q, dq, c0, dc1 = oracles.conditions(FORMULAS[name], *values)
    psi = MP60.power(MP60.mpf(zeta), MP60.mpf(1) / 1000)
    # Thirty digits of constants up to 1e4 or so.
    assert abs(q - 1) < 1e-18
    assert abs(dq - 1) < 1e-18
    assert c0 < 1e-18
    assert abs(dc1 - psi) < 1e-18


def test_tau_is_the_bound():
    """Nineteen layers in a row: C''(1) is tau / 19 exactly, and not the float nearest to it."""
    shaping = tat(qc.zoo.mlp(19, activation="softplus"), tau=0.3)
    through_tau, through_float = (certify_shaping(shaping, 30, given=given)["softplus"] for given in ("tau", "psi"))
    exact = Fraction(0.3) / 19
    with ctx.workprec(200):
        assert through_tau.targets["C''(1)"].contains(arb(fmpq(exact.numerator, exact.denominator)))
        assert not through_float.targets["C''(1)"].overlaps(through_tau.targets["C''(1)"])
    assert through_tau.decimals != through_float.decimals
    assert (through_tau.sources["C''(1)"], through_float.sources["C''(1)"]) == ("given", "float")
    assert certify_shaping(shaping, 30)["softplus"].decimals == through_tau.decimals


def test_what_is_held():
    solution = qc.dks(qc.zoo.mlp(100, activation="swish"), zeta=1.5, q_slope="minimise").solutions["swish"]
    certificate = certify(solution, 20)
    assert certificate.held == ("input_shift",)
    assert "input_shift held" in repr(certificate)
    assert certificate.to_dict()["held"] == ["input_shift"]
    assert "smallest Q'(1)" in certificate.method
    leaky = certify(tat(qc.zoo.mlp(9, activation="leaky_relu"), eta=0.5).solutions["leaky_relu"], 20)
    assert leaky.sources["C(0)"] == "float"
    assert certify(shaping("tanh").solutions["tanh"], 20).held == ()


def test_a_kink_at_the_end_of_the_window():
    """The window is widened if the kink's ball meets its end; the continued piece beyond would not be bounded."""
    act = ball_activation(activation("relu"))
    with ctx.workprec(60):
        a, b = arb(1), arb(-window(60), 1e-3)
        with pytest.raises(NumericalError, match="end of the window"):
            pieces_in(act, a, b, window(60))
        mean = moments(act, a, b, [(1, 0, 0, 0)])[1, 0, 0, 0]
        t = MP.mpf(float(window(60)))
        assert mean.contains(arb(MP.nstr(MP.npdf(t) - t * MP.erfc(t / MP.sqrt(2)) / 2, 30)))


@given(st.sampled_from(sorted(_BY_HAND)), st.floats(-6, 6), st.floats(-0.4, 0.4), st.floats(0, 0.05))
def test_balls_written_by_hand_meet_those_of_the_formula(name, u, height, radius):
    """phi, phi' and phi'' at complex balls, by hand and from sympy's derivatives of the row's formula."""
    pieces = ball_pieces(activation(name).expression)
    with ctx.workprec(80):
        at = acb(arb(u, radius), arb(height, radius))
        for order, by_hand in enumerate(_BY_HAND[name](at)):
            assert by_hand.overlaps(pieces.derivative(0, order)(at))
            assert radius > 1e-3 or by_hand.rad() < max(1e-15, 100 * radius)


def test_balls_are_not_finite_where_the_formula_is_not_analytic():
    for name, at in (("atan", acb(0, arb(1.2, 0.3))), ("asinh", acb(arb(0, 0.1), 2)), ("softsign", acb(-1))):
        for jet in ball_activation(activation(name)).pieces[-1:]:
            assert not any(value.is_finite() for value in jet(at))


def test_wrong_constants_are_refused():
    solution = shaping("tanh").solutions["tanh"]
    for constant in NAMES:
        moved = dataclasses.replace(
            solution.transform, **{constant: getattr(solution.transform, constant) * (1 + 1e-5)}
        )
        with pytest.raises(NumericalError, match="not near a solution"):
            certify(dataclasses.replace(solution, transform=moved), 20)


def test_wrong_certificates_do_not_verify():
    certificate = certify(shaping("selu").solutions["selu"], 30)
    for constant in NAMES:
        with ctx.workdps(50):
            wrong = {**certificate.constants, constant: certificate.constants[constant] + arb("1e-28")}
        assert not dataclasses.replace(certificate, constants=wrong).verify()


def test_a_box_without_a_solution_is_not_proved_to_have_one():
    act, targets = ball_activation(activation("tanh")), {"Q(1)": 1, "Q'(1)": 1, "C(0)": 0}
    solution = shaping("tanh").solutions["tanh"]
    with ctx.workprec(120):
        system = System(act, {**{k: arb(v) for k, v in targets.items()}, "C'(1)": arb(solution.psi)}, {})
        point = [arb(value) for value in solution.transform.constants.values()]
        radii = [arb(1) / 10**8] * 4
        assert krawczyk(system, point, radii) is not None
        point[1] += arb(1) / 10**7
        assert krawczyk(system, [value.mid() for value in point], radii) is None


def test_float_errors_are_upper_bounds():
    solution = shaping("swish").solutions["swish"]
    certificate = certify(solution, 40)
    for name, value in solution.transform.constants.items():
        distance = abs(Fraction(certificate.decimals[name]) - Fraction(value))
        assert distance <= Fraction(certificate.float_errors[name]) + Fraction(1, 10**38)
        assert certificate.float_errors[name] < 1e-9


def test_what_a_certificate_refuses():
    solution = shaping("tanh").solutions["tanh"]
    for digits in (0, -3, 1.5, True):
        with pytest.raises(ArgumentError, match="digits"):
            certify(solution, digits)
    with pytest.raises(ArgumentError, match="psi"):
        certify(solution, psi=arb("1.2"))
    with pytest.raises(NumericalError, match="not known well enough"):
        certify(solution, 30, psi=arb(solution.psi, 1e-12))
    for digits in ("a", -5):
        with pytest.raises(ArgumentError, match="digits"):
            certified_inverse(qc.maximal_slope(qc.zoo.mlp(3)), "1.1", digits)
    with pytest.raises(ArgumentError, match="maximal_slope"):
        certified_inverse(qc.zoo.mlp(3), "1.1")
    with pytest.raises(ArgumentError, match="spacing of floats"):
        certified_inverse(qc.maximal_slope(qc.zoo.mlp(3)), 1 + Fraction(1, 10**300))
    with pytest.raises(ArgumentError, match="result of dks or tat"):
        certify_shaping(qc.zoo.mlp(3))
    with pytest.raises(ArgumentError, match="solution"):
        certify("tanh")
    with pytest.raises(ArgumentError, match="given"):
        certify_shaping(shaping("tanh"), given="tau")
    own = Activation.from_callable(lambda u: u / (1 + abs(u)), kinks=(0.0,), name="mine")
    with pytest.raises(ActivationError, match="callable"):
        certify(dataclasses.replace(solution, transform=dataclasses.replace(solution.transform, activation=own)))


def test_plain_data():
    plain = certify(shaping("relu").solutions["relu"], 20).to_dict()
    assert plain["digits"] == 20
    assert set(plain["constants"]) == set(NAMES)
    assert "input_shift" not in plain["unique_within"]
    assert plain["constants"]["input_shift"] == "1.0000000000000000000"


@pytest.mark.parametrize("name", CATALOGUE)
@pytest.mark.parametrize(("scale", "shift"), [("0.7", "-0.3"), ("2.3", "0.9")])
def test_moments_of_the_catalogue(name, scale, shift):
    """Q'(1), C'(1), mean and variance from balls of 20 digits hold those of mpmath at 30."""
    act = ball_activation(activation(name))
    with ctx.workprec(90):
        wanted = [(1, 0, 0, 0), (2, 0, 0, 0), (1, 1, 0, 1), (0, 1, 0, 1), (0, 2, 0, 0)]
        a, b = arb(scale), arb(shift)
        m, ff, fgx, gx, gg = moments(act, a, b, wanted).values()
        variance = ff - m * m
        ours = a * (fgx - m * gx) / variance, a * a * gg / variance, m, variance
    theirs = oracles.eliminated(oracles.formula_of(activation(name)), MP.mpf(scale), MP.mpf(shift))
    for ball, value in zip(ours, theirs, strict=True):
        assert ball.rad() < 1e-20
        assert near(ball, value, 1e-19)


@given(
    st.sampled_from(["tanh", "swish", "selu", "hardswish", "mish", "softsign"]), st.floats(0.05, 3), st.floats(-4, 4)
)
def test_coarse_balls_hold_fine_ones(name, scale, shift):
    """At 24 bits the error bounds matter, so they must hold: the 120-bit value lies inside."""
    act = ball_activation(activation(name))
    wanted = [(1, 0, 0, 0), (2, 0, 0, 0), (0, 2, 0, 2), (0, 0, 1, 0)]
    with ctx.workprec(24):
        coarse = moments(act, arb(scale), arb(shift), wanted)
    with ctx.workprec(120):
        fine = moments(act, arb(scale), arb(shift), wanted)
    for monomial in wanted:
        assert coarse[monomial].overlaps(fine[monomial])
        assert fine[monomial].rad() < 1e-25


@pytest.mark.parametrize("name", CATALOGUE)
def test_growth_bounds_hold(name):
    act, own = activation(name), ball_activation(activation(name))
    for u in (-50.0, -6.3, -2.9, -1.1, -0.2, 0.1, 0.9, 1.3, 2.4, 5.9, 40.0):
        for (size, power), value in zip(own.growth, (act(u), act.derivative(u), act.derivative(u, 2)), strict=True):
            assert abs(float(value)) <= float(size) * max(1.0, abs(u)) ** power * (1 + 1e-12)


def test_tails_are_bounded():
    act = ball_activation(activation("swish"))
    a, b, start = arb("0.8"), arb("0.4"), arb(3)
    bound = tail(act, a, b, start, (2, 0, 0, 1))
    f = FORMULAS["swish"].value

    def integrand(x):
        return x * MP.npdf(x) * sum(f(MP.mpf("0.8") * side * x + MP.mpf("0.4")) ** 2 for side in (1, -1))

    assert MP.quad(integrand, [3, 5, 9, 14]) <= MP.mpf(float(bound))


@pytest.mark.parametrize("name", [name for name in CATALOGUE if smooth_activation(activation(name))])
def test_strips(name):
    """The bounds on strips, and the series, against the jets at complex points."""
    smooth, jet = smooth_activation(activation(name)), ball_activation(activation(name)).pieces[0]
    for x in (-30.0, -7.0, -2.2, -1.0, -0.3, 0.0, 0.4, 1.2, 3.0, 25.0):
        for share in (-1.0, 0.5, 1.0):
            u = acb(x, share * smooth.strip)
            value, slope, curvature = jet(u)
            assert value.abs_lower() <= smooth.size * max(1.0, float(u.abs_upper())) ** smooth.power
        from flint import arb_series

        ctx.cap = 10
        series = smooth.series(arb_series([arb(x), 1], 3))
        value, slope, curvature = jet(acb(x))
        assert series[0].overlaps(value.real)
        assert series[1].overlaps(slope.real)
        assert (2 * series[2]).overlaps(curvature.real)


@given(st.fractions(-(10**6), 10**6), st.integers(1, 30))
def test_decimals_are_rightly_rounded(value, digits):
    with ctx.workprec(400):
        text = decimal(arb(fmpq(value.numerator, value.denominator)), digits)
    if text is None:
        return
    error = abs(Fraction(text) - value)
    unit = Fraction(10) ** (math.floor(math.log10(abs(value))) - digits + 1) if value else Fraction(1)
    assert error <= unit * Fraction(501, 1000)


def test_inverse_of_a_chain_is_a_root():
    psi = certified_inverse(qc.maximal_slope(qc.zoo.mlp(100)), 1.5, 60)
    root = MP60.power(MP60.mpf("1.5"), MP60.mpf(1) / 100)
    assert near(psi, root, 1e-53)
    assert psi.rad() < (psi - 1).lower() * arb("1e-60")


def test_inverse_of_a_residual_network():
    """The exact polynomial, in sympy, lies below zeta at one end of the ball and above at the other."""
    mu = qc.maximal_slope(qc.zoo.resnet_v2(depth=50, residual_weight=0.2236067977499789))
    psi = certified_inverse(mu, "1.1", 20)
    (symbol,) = mu.expr.free_symbols
    with ctx.workdps(40):
        ends = [fraction(psi.lower()), fraction(psi.upper())]
    low, high = (mu.expr.subs(symbol, sympy.Rational(end.numerator, end.denominator)) for end in ends)
    assert low.evalf(40) < sympy.Rational(11, 10) < high.evalf(40)


@pytest.mark.parametrize("zeta", [1, 0.5, math.nan, math.inf, "x", True, None])
def test_inverse_refuses(zeta):
    with pytest.raises(ArgumentError, match="zeta"):
        certified_inverse(qc.maximal_slope(qc.zoo.mlp(3)), zeta)


def test_psi_given_as_a_float_or_through_zeta():
    tanh = shaping("tanh")
    through_zeta, through_psi = (certify_shaping(tanh, 30, given=given)["tanh"] for given in ("zeta", "psi"))
    assert through_psi.targets["C'(1)"].rad() == 0
    assert through_zeta.decimals != through_psi.decimals
    assert isinstance(tanh["tanh"], Transform)
