"""Derivatives of the local maps of any order: against closed forms by mpmath, and against ball arithmetic."""

import math

import mpmath
import numpy as np
import pytest

import qcmap as qc
from qcmap.errors import ActivationError, ArgumentError, NumericalError, QCMapError
from qcmap.numeric import LocalMaps, Transform, local_maps
from tests.oracles import MP
from tests.pairs import PairMap

ORDERS = (1, 2, 3, 4)
EVERYWHERE = (-1.0, -1 + 1e-12, -0.999, -0.6, 0.0, 0.3, 0.9, 0.99, 1 - 1e-6, 1 - 1e-12, 1.0)
INSIDE = EVERYWHERE[1:-1]
PAIRS = ((1.0, 1.0), (0.01, 0.01), (100.0, 100.0), (0.3, 5.0))
CONSTANTS = (0.4, -0.3, 0.2, 1.7)


def exponential():
    return qc.Activation.from_sympy("exp(u)")


def asin_derivative(z, order):
    root = MP.sqrt(1 - z * z)
    return {1: 1 / root, 2: z / root**3, 3: (1 + 2 * z * z) / root**5, 4: (9 * z + 6 * z**3) / root**7}[order]


def erf_map(c, q1, q2, order):
    """asin(rho c) / sqrt(asin r1 asin r2)."""
    ratio = [2 * q / (1 + 2 * q) for q in (q1, q2)]
    rho = MP.sqrt(ratio[0] * ratio[1])
    return rho**order * asin_derivative(rho * c, order) / MP.sqrt(MP.asin(ratio[0]) * MP.asin(ratio[1]))


def sin_map(c, q1, q2, order):
    """Sinh(p c) / sqrt(sinh q1 sinh q2), p^2 = q1 q2."""
    p = MP.sqrt(q1 * q2)
    return p**order * (MP.cosh, MP.sinh)[order % 2 == 0](p * c) / MP.sqrt(MP.sinh(q1) * MP.sinh(q2))


def cos_map(c, q1, q2, order):
    p = MP.sqrt(q1 * q2)
    return p**order * (MP.sinh, MP.cosh)[order % 2 == 0](p * c) / MP.sqrt(MP.cosh(q1) * MP.cosh(q2))


def square_map(c, q1, q2, order):
    return (4 * c / 3, MP.mpf(4) / 3, MP.zero, MP.zero)[order - 1]


def exp_map(c, q1, q2, order):
    """Exp(p c - (q1 + q2) / 2)."""
    p = MP.sqrt(q1 * q2)
    return p**order * MP.exp(p * c - (q1 + q2) / 2)


SMOOTH = {"erf": erf_map, "sin": sin_map, "cos": cos_map, "square": square_map, "exp": exp_map}


def maps_of(name):
    return local_maps(exponential() if name == "exp" else name)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("q", PAIRS)
@pytest.mark.parametrize("name", SMOOTH)
def test_smooth_closed_forms(name, q, order):
    """At every c, both ends among them; many values at once, which take an interpolant, are the same."""
    if name == "exp" and max(q) > 10:
        q = (10.0, 10.0)
    want = np.array([float(SMOOTH[name](MP.mpf(c), *map(MP.mpf, q), order)) for c in EVERYWHERE])
    # By Cauchy and Schwarz no value is larger than this.
    bound = math.sqrt(math.prod(float(SMOOTH[name](MP.one, MP.mpf(p), MP.mpf(p), order)) for p in q))
    maps, tolerance = maps_of(name), (1e-12 if order <= 2 else 1e-11) * bound + 1e-14
    np.testing.assert_allclose(maps.dc(EVERYWHERE, *q, order=order), want, rtol=0, atol=tolerance)
    many = np.concatenate([EVERYWHERE, np.linspace(-0.9, 0.9, 9)])
    np.testing.assert_allclose(maps.dc(many, *q, order=order)[:11], want, rtol=0, atol=tolerance)
    assert maps.error(*q, order) >= np.abs(maps.dc(EVERYWHERE, *q, order=order) - want).max() - 1e-15 * bound


def relu_map(c, order):
    s = MP.sqrt((1 - c) * (1 + c))
    return (1 - MP.acos(c) / MP.pi, 1 / (MP.pi * s), c / (MP.pi * s**3), (1 + 2 * c * c) / (MP.pi * s**5))[order - 1]


@pytest.mark.parametrize("order", ORDERS)
def test_relu(order):
    want = [float(relu_map(MP.mpf(c), order)) for c in INSIDE]
    np.testing.assert_allclose(local_maps("relu").dc(INSIDE, order=order), want, rtol=1e-13, atol=1e-15)
    np.testing.assert_allclose(local_maps("relu").dc(INSIDE, 0.2, 7.0, order=order), want, rtol=1e-13, atol=1e-15)
    many = np.linspace(-0.99, 0.99, 31)
    want = [float(relu_map(MP.mpf(c), order)) for c in many]
    np.testing.assert_allclose(local_maps("relu").dc(many, order=order), want, rtol=1e-13, atol=1e-15)


def shifted_relu_curvature(c, q1, q2, scale, shift, order):
    """For max(scale u + shift, 0), E[F'' F''] is a density: C'' = scale^2 sqrt(q1 q2) p(k1, k2; c) / norm."""
    scale, shift = MP.mpf(scale), MP.mpf(shift)
    roots = [MP.sqrt(MP.mpf(q)) for q in (q1, q2)]
    k, m = (-shift / (scale * root) for root in roots)
    norm = MP.one
    for root in roots:
        at, sd = shift / (scale * root), scale * root
        density = MP.exp(-at * at / 2) / MP.sqrt(2 * MP.pi)
        norm *= (shift**2 + sd**2) * MP.ncdf(at) + shift * sd * density

    def density(c):
        rest = 1 - c * c
        return MP.exp(-(k * k - 2 * c * k * m + m * m) / (2 * rest)) / (2 * MP.pi * MP.sqrt(rest))

    with mpmath.workdps(60):
        found = MP.taylor(density, c, order - 2)[-1] * math.factorial(order - 2)
    return scale**2 * roots[0] * roots[1] * found / MP.sqrt(norm)


@pytest.mark.parametrize("order", [2, 3, 4])
@pytest.mark.parametrize("q", [(1.0, 1.0), (1.0, 2.5), (0.3, 20.0)])
def test_shifted_kinks(q, order):
    """Kinks away from zero: apart for different q values, where the derivatives are finite at the ends."""
    maps = LocalMaps("relu", Transform(qc.activation("relu"), 0.7, -0.4, 0.0, 1.0))
    inside = (-0.99, -0.6, 0.0, 0.5, 0.93, 0.999)
    want = [float(shifted_relu_curvature(MP.mpf(c), *q, 0.7, -0.4, order)) for c in inside]
    scale = max(map(abs, want))
    np.testing.assert_allclose(maps.dc(inside, *q, order=order), want, rtol=1e-11, atol=1e-13 * scale)
    if q[0] != q[1]:
        assert abs(maps.dc([1.0, -1.0], *q, order=order)).max() < 1e-12 * scale


@pytest.mark.slow
@pytest.mark.parametrize("name", ["selu", "softsign", "hardtanh"])
@pytest.mark.parametrize("order", [2, 3, 4])
def test_kinked_near_the_ends(name, order):
    """By a formula without derivatives of phi."""
    cases = [((1.0, 1.0), (1.0, 0.0, 0.0, 1.0), [-0.97, 0.995][order % 2])]
    if name == "selu" and order == 3:
        cases.append(((1.0, 2.5), CONSTANTS, 0.95))
    for q, constants, c in cases:
        maps, oracle = LocalMaps(name, Transform(qc.activation(name), *constants)), PairMap(name, *q, constants)
        assert float(maps.dc(c, *q, order=order)) == pytest.approx(float(oracle.derivative(c, order)), rel=1e-11)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tanh", "gelu", "mish", "asinh"])
def test_smooth_near_the_end(name):
    for order, q, c in ((2, (1.0, 1.0), -0.99), (3, (1.0, 4.0), 0.999), (4, (1.0, 1.0), 0.999)):
        oracle, maps = PairMap(name, *q), local_maps(name)
        bound = math.sqrt(math.prod(float(maps.dc(1.0, p, p, order)) for p in q))
        want = float(oracle.derivative(c, order))
        assert float(maps.dc(c, *q, order=order)) == pytest.approx(want, abs=1e-12 * bound)


@pytest.mark.parametrize("name", ["selu", "hardswish", "mish"])
@pytest.mark.parametrize("order", [2, 4])
def test_moderate_correlations(name, order):
    """By the Hermite series of ball arithmetic, different q values and a transform."""
    oracle = PairMap(name, 0.7, 3.0, CONSTANTS)
    maps = LocalMaps(name, Transform(qc.activation(name), *CONSTANTS))
    c = (-0.85, -0.2, 0.0, 0.6, 0.88)
    want = np.array([float(oracle.derivative(value, order)) for value in c])
    # The kinks of hardswish lie ten standard deviations out, so that almost nothing is left of its derivatives.
    atol = max(1e-13 * np.abs(want).max(), 5e-15)
    np.testing.assert_allclose(maps.dc(c, 0.7, 3.0, order=order), want, rtol=1e-12, atol=atol)


class TestInfinite:
    """A kinked activation's derivatives are infinite at the ends from some order on; the error says so."""

    @pytest.mark.parametrize(
        ("name", "order", "ends"),
        [
            ("relu", 2, (1.0, -1.0)), ("selu", 2, (1.0, -1.0)), ("hardtanh", 2, (1.0, -1.0)), ("relu6", 3, (1.0,)),
            ("celu", 3, (1.0, -1.0)), ("softsign", 3, (1.0, -1.0)), ("hardswish", 4, (1.0, -1.0)),
        ],
    )  # fmt: skip
    def test_order(self, name, order, ends):
        maps = local_maps(name)
        for c in ends:
            with pytest.raises(NumericalError, match="derivative of order") as error:
                maps.dc(c, order=order)
            assert error.value.subject == name
            assert error.value.remedy
        with pytest.raises(NumericalError):
            maps.dc(np.linspace(-1, 1, 30), order=order)
        with pytest.raises(NumericalError):
            maps.error(order=order)

    @pytest.mark.parametrize(("name", "order"), [("celu", 2), ("softsign", 2), ("selu", 1), ("relu", 1)])
    def test_finite_before(self, name, order):
        """E[phi'' phi''] of celu and softsign is finite: their slopes are continuous."""
        maps = local_maps(name)
        near = maps.dc([-1 + 1e-12, 1 - 1e-12], order=order)
        np.testing.assert_allclose(maps.dc([-1.0, 1.0], order=order), near, rtol=0, atol=1e-5 * near.max())
        assert math.isfinite(maps.error(order=order))

    def test_kinks_that_do_not_meet(self):
        """The kinks of relu6 are not symmetric, but zero is its own mirror image."""
        maps = LocalMaps("relu6", Transform(qc.activation("relu6"), 1.0, 1.0))
        assert abs(float(maps.dc(-1.0, order=2))) < 10
        with pytest.raises(NumericalError):
            maps.dc(1.0, order=2)


# --- Q maps ----------------------------------------------------------------------------------------------------------

MOMENTS = {
    "erf": lambda q: 2 / MP.pi * MP.asin(2 * q / (1 + 2 * q)),
    "sin": lambda q: (1 - MP.exp(-2 * q)) / 2,
    "cos": lambda q: (1 + MP.exp(-2 * q)) / 2,
    "exp": lambda q: MP.exp(2 * q),
    "square": lambda q: 3 * q * q,
    "relu": lambda q: q / 2,
}


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("name", MOMENTS)
def test_dq_closed_forms(name, order):
    for q in (0.05, 1.0, 9.0):
        point, moment = MP.mpf(q), MOMENTS[name]
        want = float(mpmath_derivative(moment, point, order))
        # Integration by parts moves i - 1 derivatives: rounding is that of Q / q^i.
        size = float(moment(point)) / q**order
        assert float(maps_of(name).dq(q, order)) == pytest.approx(want, rel=1e-13, abs=1e-12 * size)


def mpmath_derivative(function, point, order):
    """By Cauchy's integral on a small circle: exact to many digits for analytic functions."""
    radius, count = point / 4, 64
    total = MP.zero
    for k in range(count):
        turn = MP.expjpi(MP.mpf(2) * k / count)
        total += function(point + radius * turn) / turn**order
    return MP.re(total / count) * math.factorial(order) / radius**order


@pytest.mark.parametrize("order", [2, 3])
@pytest.mark.parametrize("name", ["tanh", "selu", "hardswish", "softsign"])
def test_dq_from_hermite_coefficients(name, order):
    """Q' = sum n a_n^2 / q is the same as C'(1) Q / q; one order up by differences of Q' in ball arithmetic."""
    maps, q, h = local_maps(name), 1.7, 1e-2
    steps = np.arange(-4, 5)
    exact = [float(PairMap(name, q + k * h, q + k * h).moments[0]) for k in steps]
    weights = np.linalg.solve(
        np.vander(steps * h, increasing=True).T, np.eye(9)[order] * math.factorial(order)
    )  # fmt: skip
    assert float(maps.dq(q, order)) == pytest.approx(float(weights @ exact), rel=1e-6)


# --- Hermite coefficients --------------------------------------------------------------------------------------------


def hermite_sin(n, q):
    return q ** (MP.mpf(n) / 2) * MP.exp(-q / 2) * MP.sin(n * MP.pi / 2) / MP.sqrt(MP.factorial(n))


def hermite_exp(n, q):
    return q ** (MP.mpf(n) / 2) * MP.exp(q / 2) / MP.sqrt(MP.factorial(n))


def hermite_square(n, q):
    return {0: q, 2: q * MP.sqrt(2)}.get(n, MP.zero)


def hermite_relu(n, q):
    if n == 1:
        return MP.sqrt(q) / 2
    if n % 2:
        return MP.zero
    # He_(n-2)(0) = (-1)^m (2 m - 1)!!, 2 m = n - 2, is -1 for n = 0 as well: E[relu] = sqrt(q / (2 pi)).
    m = n // 2 - 1
    value = MP.one if n == 0 else (-1) ** m * MP.fac2(2 * m - 1)
    return MP.sqrt(q / (2 * MP.pi)) * value / MP.sqrt(MP.factorial(n))


def hermite_erf(n, q):
    """sqrt(n!) times the coefficient of c^n in asin: C(c) = sum a_n^2 c^n, and erf's signs alternate."""
    if n % 2 == 0:
        return MP.zero
    k, r = (n - 1) // 2, 2 * q / (1 + 2 * q)
    square = 2 / MP.pi * MP.binomial(2 * k, k) / (MP.mpf(4) ** k * (2 * k + 1)) * r**n
    return (-1) ** k * MP.sqrt(square)


HERMITE = {
    "sin": hermite_sin,
    "exp": hermite_exp,
    "square": hermite_square,
    "relu": hermite_relu,
    "erf": hermite_erf,
}


@pytest.mark.parametrize("q", [0.01, 1.0, 9.0])
@pytest.mark.parametrize("name", HERMITE)
def test_hermite_coefficients(name, q):
    n = np.array([[0, 1, 2, 3], [4, 7, 40, 41]])
    want = np.array([[float(HERMITE[name](int(k), MP.mpf(q))) for k in row] for row in n])
    size = math.sqrt(float(MOMENTS[name](MP.mpf(q))))
    got = maps_of(name).hermite(n, q)
    assert got.shape == n.shape
    np.testing.assert_allclose(got, want, rtol=0, atol=2e-15 * size)
    np.testing.assert_allclose(maps_of(name).hermite(3, q), want[0, 3], rtol=0, atol=2e-15 * size)


@pytest.mark.parametrize("name", ["relu", "erf"])
def test_high_hermite_coefficients(name):
    for n in (2000, 2001, 5000):
        want = float(HERMITE[name](n, MP.mpf(100)))
        assert float(local_maps(name).hermite(n, 100.0)) == pytest.approx(want, abs=1e-14)


def test_hermite_coefficients_sum_to_the_maps():
    maps, n = local_maps("mish"), np.arange(200)
    a = maps.hermite(n, 1.0)
    assert float(a @ a) == pytest.approx(float(maps.q(1.0)), rel=1e-14)
    assert float((a * a) @ 0.4**n) == pytest.approx(float(maps.c(0.4) * maps.q(1.0)), rel=1e-14)


# --- Errors ----------------------------------------------------------------------------------------------------------


def test_exponential_overflows():
    maps = local_maps(exponential())
    for call in (
        maps.q,
        maps.dq,
        lambda q: maps.c(0.5, q, q),
        lambda q: maps.dc(0.5, q, q),
        lambda q: maps.hermite(2, q),
    ):
        with pytest.raises(QCMapError, match="not finite") as error:
            call(1e4)
        assert error.value.remedy


def sign_like():
    return qc.Activation.from_callable(lambda u: np.where(u > 0, 1.0, -1.0), kinks=(0.0,), name="sign")


class TestJump:
    """The sign function: C = 2 asin(c) / pi."""

    def test_map(self):
        c = np.array([-1.0, -0.999, -0.3, 0.0, 0.6, 1 - 1e-8, 1.0])
        np.testing.assert_allclose(local_maps(sign_like()).c(c), 2 * np.arcsin(c) / math.pi, rtol=0, atol=1e-10)

    @pytest.mark.parametrize("order", ORDERS)
    def test_derivatives_inside(self, order):
        for act in (sign_like(), qc.Activation.from_sympy("sign(u)")):
            maps = local_maps(act)
            # Above order 2 a callable's derivatives are unknown: only the series is left.
            near = (-0.95, 0.995, 1 - 1e-6) if order <= 2 or act.expression else ()
            for c in (-0.6, -0.3, 0.5, 0.6, *near):
                want = float(2 / MP.pi * asin_derivative(MP.mpf(c), order))
                assert float(maps.dc(c, order=order)) == pytest.approx(want, rel=1e-10)

    def test_ends_and_q(self):
        maps = local_maps(sign_like())
        for c in (1.0, -1.0):
            with pytest.raises(NumericalError):
                maps.dc(c)
        with pytest.raises(NumericalError):
            maps.error(order=1)
        with pytest.raises((ActivationError, NumericalError)):
            maps.dq(1.0)


@pytest.mark.parametrize("order", [0, -1, 1.5, True, "2", None])
def test_order_must_be_a_positive_integer(order):
    maps = local_maps("tanh")
    for call in (lambda: maps.dc(0.5, order=order), lambda: maps.dq(1.0, order)):
        with pytest.raises(ArgumentError) as error:
            call()
        assert isinstance(error.value, QCMapError)
        assert error.value.subject == "order"


@pytest.mark.parametrize("n", [-1, 1.5, 1 << 15, [0, -3]])
def test_hermite_index(n):
    with pytest.raises(ArgumentError) as error:
        local_maps("tanh").hermite(n)
    assert error.value.subject == "n"
