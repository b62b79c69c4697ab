"""Closed forms against independent oracles: mpmath integrals, Hermite series, two-dimensional quadrature."""

import itertools
import math
import pickle
import subprocess
import sys
from dataclasses import FrozenInstanceError
from fractions import Fraction
from functools import lru_cache

import numpy as np
import pytest
import sympy as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from qcmap.activations import CATALOGUE, Activation, activation
from qcmap.activations._exact import symbols
from qcmap.errors import ActivationError, ArgumentError
from tests.formulas import ENTRIES
from tests.oracles import FORMULAS, MP, _nodes, two_slopes_formula

C, Q, Q1, Q2, EPSILON = symbols()[1:]
VARIANCES = (Fraction(1, 7), Fraction(1), Fraction(9, 4))

# Activations beyond the catalogue: phi in mpmath, and its kinks.
OTHERS = {
    "Abs(u)": (abs, (0,)),
    "sign(u)": (MP.sign, (0,)),
    "Heaviside(u)": (lambda u: MP.one if u > 0 else MP.zero, (0,)),
    "exp(u)": (MP.exp, ()),
    "exp(-u**2/2)": (lambda u: MP.exp(-u * u / 2), ()),
    "Max(u - 0.3, 0)": (lambda u: max(u - MP.mpf("0.3"), MP.zero), (MP.mpf("0.3"),)),
    "Max(u, 0)**2": (lambda u: max(u, MP.zero) ** 2, (0,)),
    "u*Abs(u)": (lambda u: u * abs(u), (0,)),
    "u**3 - 3*u": (lambda u: u**3 - 3 * u, ()),
    "u*exp(-u**2/2)": (lambda u: u * MP.exp(-u * u / 2), ()),
    "sign(u)*exp(-u**2/2)": (lambda u: MP.sign(u) * MP.exp(-u * u / 2), (0,)),
    "sin(u)*exp(-u**2)": (lambda u: MP.sin(u) * MP.exp(-u * u), ()),
    "exp(u)*sin(u)": (lambda u: MP.exp(u) * MP.sin(u), ()),
    "sin(u) + 2*cos(u)": (lambda u: MP.sin(u) + 2 * MP.cos(u), ()),
    "u + sin(u)": (lambda u: u + MP.sin(u), ()),
    "(1 + erf(u))/2": (lambda u: (1 + MP.erf(u)) / 2, ()),
    "u*erf(2*u)": (lambda u: u * MP.erf(2 * u), ()),
    "u*erf(u)*exp(-u**2/3)": (lambda u: u * MP.erf(u) * MP.exp(-u * u / 3), ()),
    "sin(Abs(u))": (lambda u: MP.sin(abs(u)), (0,)),
    "erf(u - 1)": (lambda u: MP.erf(u - 1), ()),
    "exp(-Abs(u - 1))*u": (lambda u: MP.exp(-abs(u - 1)) * u, (1,)),
    "Piecewise((u, u < -1/2), (exp(-u), u < 2), (0, True))": (
        lambda u: u if u < -0.5 else MP.exp(-u) if u < 2 else MP.zero, (MP.mpf(-0.5), 2),
    ),
}  # fmt: skip
ALL = (*CATALOGUE, *OTHERS)


@lru_cache
def made(name):
    return activation(name) if name in CATALOGUE else Activation.from_sympy(name)


def phi_and_kinks(name):
    if name == "leaky_relu":
        formula = two_slopes_formula("0.01")
        return formula.value, formula.kinks
    return (FORMULAS[name].value, FORMULAS[name].kinks) if name in CATALOGUE else OTHERS[name]


def having(*fields):
    return [name for name in ALL if all(getattr(made(name).closed_forms, field) is not None for field in fields)]


# What exists, written out here and in tests/formulas.py: a rule lost or gained by accident shows.
KNOWN = {
    **{name: entry.closed for name, entry in ENTRIES.items()},
    **dict.fromkeys(OTHERS, "kernel"),
    "erf(u - 1)": "mean",
    **dict.fromkeys(("Max(u - 0.3, 0)", "sin(Abs(u))", "exp(-Abs(u - 1))*u"), "moments"),
    "Piecewise((u, u < -1/2), (exp(-u), u < 2), (0, True))": "moments",
}
KERNELS, MOMENTS, MEANS = (
    sorted(name for name in ALL if KNOWN[name] in known)
    for known in (("kernel",), ("kernel", "moments"), ("kernel", "moments", "mean"))
)


def exact(number):
    return sp.Rational(str(number))


def number(expression, **values):
    """The expression at exact values, as an mpmath number of 32 digits."""
    replaced = expression.subs({getattr(symbols(), key): exact(value) for key, value in values.items()})
    assert not replaced.has(sp.I)
    return MP.mpf(str(sp.N(replaced, 32)))


def mpf(fraction):
    return MP.mpf(fraction.numerator) / fraction.denominator


@lru_cache
def grid(cuts):
    """Gauss-Legendre nodes in x with Gaussian weights on panels of width 1 (2 and more beyond 9), cut at ``cuts``."""
    ends = sorted({*map(MP.mpf, (-16, -13, -11, *range(-9, 10), 11, 13, 16)), *cuts})
    x, w = [], []
    for left, right in itertools.pairwise(ends):
        half, middle = (right - left) / 2, (right + left) / 2
        for node, weight in _nodes(4):
            x.append(middle + half * node)
            w.append(half * weight * MP.exp(-(x[-1] ** 2) / 2) / MP.sqrt(2 * MP.pi))
    return x, w


@lru_cache
def hermite_table(cuts):
    """Row n: the weights times He_n / sqrt(n!) at the nodes."""
    x, w = (np.array(column) for column in grid(cuts))
    rows = [w, w * x]
    for n in range(1, 22):
        rows.append((x * rows[-1] - MP.sqrt(n) * rows[-2]) / MP.sqrt(n + 1))
    return rows


def cuts_of(name, *variances):
    """Where phi(+-sqrt(q) x) has kinks, apart from 0, which is always an end of a panel."""
    found = {MP.mpf(kink) / MP.sqrt(mpf(q)) for kink in phi_and_kinks(name)[1] for q in variances}
    return tuple(sorted({sign * x for x in found for sign in (1, -1) if x}))


def sampled(name, q, *more):
    """Nodes and weights that respect the kinks at all the scales given, and phi(sqrt(q) x) there."""
    x, w = grid(cuts_of(name, q, *more))
    phi, scale = phi_and_kinks(name)[0], MP.sqrt(mpf(q))
    return x, w, [phi(scale * here) for here in x]


def hermite_numbers(name, q, count):
    """E[phi(sqrt(q) x) He_n(x)] / sqrt(n!) for n < count <= 23, by quadrature at 32 digits."""
    f = sampled(name, q)[2]
    return [MP.fdot(row, f) for row in hermite_table(cuts_of(name, q))[:count]]


# --- What exists -----------------------------------------------------------------------------------------------------


def test_which_exist():
    assert having("kernel") == [name for name in ALL if name in KERNELS]
    assert having("second_moment") == [name for name in ALL if name in MOMENTS]
    assert having("mean") == [name for name in ALL if name in MEANS]


@pytest.mark.parametrize("name", ALL)
def test_each_missing_one_has_a_remark(name):
    forms = made(name).closed_forms
    missing = [what for what in ("mean", "second_moment", "kernel") if getattr(forms, what) is None]
    assert [remark.split(":")[0] for remark in forms.remarks] == [what.replace("_", " ") for what in missing]
    assert all(len(remark) > 30 for remark in forms.remarks)
    assert forms is made(name).closed_forms
    assert "Float" not in sp.srepr(sp.Tuple(*(f for f in (forms.mean, forms.second_moment, forms.kernel) if f)))


def test_results_can_be_kept():
    forms = activation("gelu").closed_forms
    assert repr(forms) == "<closed forms of gelu: mean, second_moment, kernel>"
    assert repr(activation("mish").closed_forms) == "<closed forms of mish: none>"
    assert pickle.loads(pickle.dumps(forms)) == forms
    assert pickle.loads(pickle.dumps(activation("gelu"))) is activation("gelu")
    own = Activation.from_sympy("Max(u - 1/3, 0)")
    assert own.closed_forms.mean is not None
    table = forms.to_dict()
    assert sp.sympify(table["kernel"], locals={str(s): s for s in symbols()}) == forms.kernel
    assert activation("tanh").closed_forms.to_dict()["kernel"] is None
    assert r"\operatorname{asin}" in forms._repr_latex_()
    assert len(activation("selu").closed_forms._repr_latex_()) < 600  # constants of 60 digits rounded
    assert activation("mish").closed_forms._repr_latex_() is None
    with pytest.raises(FrozenInstanceError):
        forms.mean = None


def test_sympy_is_not_imported_with_qcmap():
    code = "import sys, qcmap, qcmap.activations._exact; sys.exit('sympy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# --- Mean and Q map --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MEANS)
def test_mean_and_second_moment(name):
    forms = made(name).closed_forms
    for q in VARIANCES:
        _, w, f = sampled(name, q)
        assert abs(number(forms.mean, q=q) - MP.fdot(w, f)) < 1e-24
        if name in MOMENTS:
            want = MP.fdot(w, [value * value for value in f])
            got = number(forms.second_moment, q=q)
            assert abs(got / want - 1) < 1e-24
            wrong = forms.second_moment * (1 + Q / 10**20)
            assert abs(number(wrong, q=q) / want - 1) > 1e-24


_TERM = st.tuples(
    st.integers(-3, 3),
    st.integers(0, 3),
    st.sampled_from(["1", "exp(u)", "exp(-u/2)", "exp(-u**2)", "exp(u - u**2/3)"]),
)
_PHI = st.lists(_TERM, min_size=1, max_size=2)


@settings(max_examples=7)
@given(
    pieces=st.lists(_PHI, min_size=2, max_size=3),
    kinks=st.lists(st.sampled_from([-2, -0.5, 0, 0.75, 1.5]), min_size=2, max_size=2, unique=True).map(sorted),
    q=st.sampled_from(VARIANCES),
)
def test_random_pieces(pieces, kinks, q):
    texts = ["+".join(f"({k})*u**{n}*{factor}" for k, n, factor in piece) for piece in pieces]
    ends = [f"u < {kink}" for kink in kinks[: len(pieces) - 1]] + ["True"]
    text = "Piecewise(" + ",".join(f"({a}, {b})" for a, b in zip(texts, ends, strict=True)) + ")"
    if not sp.sympify(text).free_symbols:
        return
    functions = [eval(f"lambda u: {t} + 0*u", {"exp": MP.exp}) for t in texts]

    def phi(u):
        return functions[sum(u >= kink for kink in kinks[: len(pieces) - 1])](u)

    OTHERS[text] = (phi, tuple(kinks))
    try:
        _, w, f = sampled(text, q)
    finally:
        del OTHERS[text]
    forms = Activation.from_sympy(text).closed_forms
    want = MP.fdot(w, [value * value for value in f])
    assert abs(number(forms.second_moment, q=q) - want) < 1e-22 * (1 + want)
    assert abs(number(forms.mean, q=q) - MP.fdot(w, f)) < 1e-22 * (1 + want)


def test_decimals_are_read_exactly():
    slope = sp.Rational(1, 100)
    assert sp.simplify(activation("leaky_relu").closed_forms.second_moment - (1 + slope**2) * Q / 2) == 0
    scale = sp.Rational("1.0507009873554804934193349852946")
    assert activation("selu").closed_forms.second_moment.coeff(Q) == scale**2 / 2


# --- Kernels ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", KERNELS)
def test_kernel_is_the_hermite_series(name):
    """Mehler's formula at abs(c) = 0.1, where 23 terms leave 1e-23 of sqrt(Q Q), and at c = 0."""
    kernel = made(name).closed_forms.kernel
    q1, q2 = VARIANCES[0], VARIANCES[2]
    a, b = (hermite_numbers(name, q, 23) for q in (q1, q2))
    size = MP.sqrt(MP.fdot(a, a) * MP.fdot(b, b))
    assert abs(number(kernel, c=0, q1=q1, q2=q2) - a[0] * b[0]) < 1e-24 * size
    for c in (Fraction(1, 10), Fraction(-1, 10)):
        want = MP.fsum(x * y * mpf(c) ** n for n, (x, y) in enumerate(zip(a, b, strict=True)))
        assert abs(number(kernel, c=c, q1=q1, q2=q2) - want) < 1e-21 * size
        assert abs(number(kernel, c=c + Fraction(1, 10**18), q1=q1, q2=q2) - want) > 1e-21 * size


@pytest.mark.parametrize("name", KERNELS)
def test_kernel_at_the_ends(name):
    """c = 1 and -1 are one-dimensional integrals of phi(sqrt(q1) x) phi(+-sqrt(q2) x)."""
    forms, (phi, _) = made(name).closed_forms, phi_and_kinks(name)
    q1, q2 = VARIANCES[2], VARIANCES[0]
    x, w, f = sampled(name, q1, q2)
    size = MP.sqrt(number(forms.second_moment, q=q1) * number(forms.second_moment, q=q2))
    for c in (1, -1):
        want = MP.fsum(a * b * phi(c * MP.sqrt(mpf(q2)) * y) for y, a, b in zip(x, w, f, strict=True))
        assert abs(number(forms.kernel, c=c, q1=q1, q2=q2) - want) < 1e-24 * size
    assert abs(number(forms.kernel, c=1, q1=q1, q2=q1) / number(forms.second_moment, q=q1) - 1) < 1e-28
    assert abs(number(forms.c_map, c=1, q1=q1, q2=q1) - 1) < 1e-28


@pytest.mark.parametrize("name", KERNELS)
def test_kernel_is_the_double_integral(name):
    """The definition, in float64: panels in x, and for each x panels in the rest of u2 cut at the kinks."""
    act = made(name)
    q1, q2, c = 0.7, 1.3, -0.6
    nodes, weights = np.polynomial.legendre.leggauss(40)
    kinks = np.array([float(kink) for kink in phi_and_kinks(name)[1]])

    def panels(ends):
        half, middle = np.diff(ends) / 2, (ends[..., 1:] + ends[..., :-1]) / 2
        x = middle[..., None] + half[..., None] * nodes
        w = half[..., None] * weights * np.exp(-x * x / 2) / math.sqrt(2 * math.pi)
        return x.reshape(*ends.shape[:-1], -1), w.reshape(*ends.shape[:-1], -1)

    even = np.linspace(-10, 10, 9)
    x, w = panels(np.sort(np.concatenate([even, kinks / math.sqrt(q1)])))
    cuts = (kinks / math.sqrt(q2) - c * x[:, None]) / math.sqrt(1 - c * c)
    z, v = panels(np.sort(np.concatenate([np.broadcast_to(even, (x.size, even.size)), np.clip(cuts, -10, 10)], axis=1)))
    inner = np.sum(v * act(math.sqrt(q2) * (c * x[:, None] + math.sqrt(1 - c * c) * z)), axis=1)
    want = float(np.sum(w * act(math.sqrt(q1) * x) * inner))
    got = number(act.closed_forms.kernel, c="-0.6", q1="0.7", q2="1.3")
    assert abs(got - want) < 1e-12 * (1 + abs(want))
    if act.kernel is not None:
        assert abs(act.kernel(*np.array([c, q1, q2])) - got) < 2e-15


@settings(max_examples=15)
@given(st.lists(st.integers(-4, 4), min_size=2, max_size=6).filter(lambda row: any(row[1:])))
def test_kernels_of_polynomials(row):
    """E[x^m y^n] = sum over k of k! c^k A(m, k) A(n, k), with x^m = sum of A(m, k) He_k(x)."""

    def expansion(m, k):
        if k > m or (m - k) % 2:
            return 0
        half = (m - k) // 2
        return Fraction(math.factorial(m), 2**half * math.factorial(half) * math.factorial(k))

    u = sp.Symbol("u", real=True)
    act = Activation.from_sympy(sum(k * u**n for n, k in enumerate(row)))
    c, s1, s2 = Fraction(2, 5), Fraction(3, 2), Fraction(1, 3)
    want = sum(
        a * b * s1**m * s2**n * math.factorial(k) * c**k * expansion(m, k) * expansion(n, k)
        for (m, a), (n, b) in itertools.product(enumerate(row), repeat=2)
        for k in range(len(row))
    )
    values = {C: exact(c), Q1: exact(s1**2), Q2: exact(s2**2)}
    assert act.closed_forms.kernel.subs(values) == exact(want)


def test_known_formulas():
    """The formulas of the literature, symbolically: arc-cosine kernels, the arcsine kernel, the hyperbolic sine."""
    arc = sp.sqrt(1 - C**2) + (sp.pi / 2 + sp.asin(C)) * C
    assert sp.simplify(activation("relu").closed_forms.kernel - sp.sqrt(Q1 * Q2) * arc / (2 * sp.pi)) == 0
    assert sp.simplify(activation("relu").closed_forms.c_map - arc / sp.pi) == 0
    williams = 2 / sp.pi * sp.asin(2 * C * sp.sqrt(Q1 * Q2) / sp.sqrt((1 + 2 * Q1) * (1 + 2 * Q2)))
    assert sp.simplify(activation("erf").closed_forms.kernel - williams) == 0
    sinh = sp.sinh(C * sp.sqrt(Q1 * Q2)) / sp.sqrt(sp.sinh(Q1) * sp.sinh(Q2))
    assert sp.simplify(activation("sin").closed_forms.c_map - sinh) == 0
    assert activation("identity").closed_forms.c_map == C
    assert sp.expand(made("sign(u)").closed_forms.kernel - 2 * sp.asin(C) / sp.pi) == 0


@pytest.mark.parametrize("name", KERNELS)
def test_derivative_of_the_c_map(name):
    forms, c, h = made(name).closed_forms, Fraction(-2, 5), Fraction(1, 10**6)
    at = {"q1": VARIANCES[2], "q2": VARIANCES[0]}
    sides = [number(forms.c_map, c=c + k * h, **at) for k in (-2, -1, 1, 2)]
    want = (sides[0] - 8 * sides[1] + 8 * sides[2] - sides[3]) / (12 * mpf(h))
    assert abs(number(forms.c_map_derivative, c=c, **at) - want) < 1e-18 * (1 + abs(want))


# --- Hermite coefficients and series ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted({*MOMENTS, "erf(u - 1)"}))
def test_hermite_coefficients(name):
    q = VARIANCES[2]
    for n, want in enumerate(hermite_numbers(name, q, 4)):
        assert abs(number(made(name).hermite(n, exact(q))) - want) < 1e-23
        assert made(name).hermite(n, exact(q)) == made(name).hermite(n, Q).subs(Q, exact(q))


@pytest.mark.parametrize(("name", "ratio"), [("gelu", 1 / 2), ("erf", 2 / 3), ("sin", 0.1), ("exp(-u**2/2)", 1 / 2)])
def test_sum_of_squares_of_hermite_coefficients(name, ratio):
    """The sum of a_n^2 is Q; what is left after N terms falls as ratio^N."""
    squares = sum(number(made(name).hermite(n)) ** 2 for n in range(12))
    gap = number(made(name).closed_forms.second_moment, q=1) - squares
    assert 0 < gap < 2 * max(ratio**12, 1e-9)


@pytest.mark.parametrize("name", KERNELS)
def test_series_at_zero(name):
    """The error of the series below c^6 is O(c^6), for the closed kernel and a c of either sign."""
    forms, q = made(name).closed_forms, Fraction(3, 4)
    series = forms.series(0, 6, exact(q))
    for c in (Fraction(1, 10**3), Fraction(-1, 10**3)):
        assert abs(number(forms.c_map, c=c, q1=q, q2=q) - number(series, c=c)) < 20 * abs(mpf(c)) ** 6
    wrong = series + C**5 * Fraction(1, 10)
    assert abs(number(forms.c_map, c=c, q1=q, q2=q) - number(wrong, c=c)) > 20 * abs(mpf(c)) ** 6


@pytest.mark.parametrize(
    "name",
    ["relu", "gelu", "erf", "exp(u)", "sign(u)", "u*Abs(u)", "u**3 - 3*u", "sign(u)*exp(-u**2/2)"],
)
def test_series_at_one(name):
    forms, q, small = made(name).closed_forms, Fraction(3, 4), Fraction(1, 10**9)
    series = forms.series(1, 2, exact(q))
    gap = number(forms.c_map, c=1 - small, q1=q, q2=q) - number(series, epsilon=small)
    assert abs(gap) < 100 * mpf(small) ** 2
    assert abs(gap + mpf(small) ** 1.5 / 100) > 100 * mpf(small) ** 2


def test_known_series():
    root = sp.sqrt(2)
    relu, sign = activation("relu").closed_forms, made("sign(u)").closed_forms
    assert sp.expand(relu.series(1, 2) - (1 - EPSILON + 2 * root / (3 * sp.pi) * EPSILON ** sp.Rational(3, 2))) == 0
    assert sp.expand(sign.series(1, 1) - (1 - 2 * root / sp.pi * sp.sqrt(EPSILON))) == 0
    assert sp.expand(relu.series(0, 3) - (1 / sp.pi + C / 2 + C**2 / (2 * sp.pi))) == 0
    assert activation("sin").closed_forms.series(1, 2, Q).coeff(EPSILON) == -Q / sp.tanh(Q)


def test_series_at_zero_without_a_kernel():
    """The Hermite coefficients suffice: hardtanh, whose kernel is not elementary."""
    forms, coefficients = activation("hardtanh").closed_forms, hermite_numbers("hardtanh", Fraction(1), 4)
    want = MP.fsum(a * a * MP.mpf("0.1") ** n for n, a in enumerate(coefficients))
    assert abs(number(forms.series(0), c="0.1") - want / number(forms.second_moment, q=1)) < 1e-24
    assert forms.c_map is None
    assert forms.c_map_derivative is None


# --- Refusals --------------------------------------------------------------------------------------------------------


def test_refusals():
    with pytest.raises(ActivationError, match="no formula"):
        _ = Activation.from_callable(np.tanh).closed_forms
    forms = activation("relu").closed_forms
    for n in (-1, 1.5, "2"):
        with pytest.raises(ArgumentError, match="Hermite coefficient has an index"):
            forms.hermite(n)
    for q in (0, -1.0, math.nan, math.inf, "x y", None, sp.Symbol("free")):
        with pytest.raises(ArgumentError, match="must be positive"):
            forms.hermite(1, q)
        with pytest.raises(ArgumentError, match="must be positive"):
            forms.series(q=q)
    with pytest.raises(ArgumentError, match="expanded at c = 0 or c = 1"):
        forms.series(at=-1)
    with pytest.raises(ArgumentError, match="positive number"):
        forms.series(terms=0)
    with pytest.raises(ActivationError, match="no closed form"):
        activation("tanh").hermite(1)
    with pytest.raises(ActivationError, match="remarks"):
        activation("elu").closed_forms.series(at=1)
    with pytest.raises(ActivationError, match="remarks"):
        activation("tanh").closed_forms.series()
    assert forms.hermite(1, 0.25) == sp.Rational(1, 4)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("exp(u**2/9)", "large q"),
        ("exp(u**3)", "degree"),
        ("erf(u**2)", "degree"),
        ("erf(u)**2", "neither"),
        ("sin(u)*erf(u)", "complex"),
        ("cos(Max(u, 1))", "complex"),
        ("Abs(erf(u))", "error function"),
        ("Abs(u - 1)", "orthant"),
        ("Max(erf(u), 0)", "no rule"),
    ],
)
def test_what_is_outside_the_rules_says_so(text, reason):
    remarks = Activation.from_sympy(text).closed_forms.remarks
    assert any(reason in remark for remark in remarks)
