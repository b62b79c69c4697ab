"""Slope polynomials as data, against sums over paths that are made here."""

import math
from collections import defaultdict
from fractions import Fraction

import numpy as np
import pytest
import sympy as sp
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from qcmap.architecture import Affine, Builder, Concat, LayerNorm, Nonlinear, Sum, raw_maps, zoo
from qcmap.errors import ArchitectureError, ArgumentError
from qcmap.symbolic import SlopePolynomial, q_values, slope_polynomial
from qcmap.symbolic._algebra import common_factor, mean_of, quotient, without_divisors
from qcmap.symbolic._polynomial import ONE, slope
from tests import graphs, oracles
from tests.symbolic.test_slopes import every_op

PSI = sp.Symbol("psi", positive=True)
NAMES = {
    "shared": lambda node: "psi",
    "activation": lambda node: f"psi_{node.op.name}",
    "layer": lambda node: f"psi_{node.id}",
}


def number(value):
    """An exact sympy number (or the expression itself)."""
    return value if hasattr(value, "free_symbols") else sp.Rational(Fraction(value))


def channels(arch, name):
    node = arch[name]
    if hasattr(node.op, "channels"):
        return number(node.op.channels)
    counts = [channels(arch, source) for source in node.inputs]
    return sum(counts) if isinstance(node.op, Concat) else counts[0]


def by_paths(arch, source, target, name=NAMES["shared"], q=None):
    """The slope of a subnetwork as a sum over its paths: exact, in sympy, expanded."""
    total = []
    stack = [(target, sp.Integer(1))]
    while stack:
        at, product = stack.pop()
        if at == source:
            total.append(product)
            continue
        node = arch[at]
        weights = [sp.Integer(1)] * len(node.inputs)
        if isinstance(node.op, (Sum, Concat)):
            weights = (
                [number(w) ** 2 for w in node.op.weights]
                if isinstance(node.op, Sum)
                else [channels(arch, name) for name in node.inputs]
            )
            if q is not None:
                weights = [w * number(q[u]) for w, u in zip(weights, node.inputs, strict=True)]
            weights = [w / sum(weights) for w in weights]
        if isinstance(node.op, Nonlinear):
            product *= sp.Symbol(name(node), positive=True)
        if isinstance(node.op, Affine) and q is not None and node.op.bias_variance != 0:
            product *= number(node.op.weight_variance) * number(q[node.inputs[0]]) / number(q[at])
        stack.extend((u, product * w) for u, w in zip(node.inputs, weights, strict=True) if w != 0)
    return sp.expand(sp.Add(*total))


def pairs(data, arch, count=3):
    found = sorted(graphs.subnetworks(arch))
    return data.draw(st.lists(st.sampled_from(found), min_size=1, max_size=count, unique=True))


@given(data=st.data())
def test_coefficients_are_sums_over_paths(data):
    arch = data.draw(every_op())
    for u, v in pairs(data, arch, 6):
        exact = graphs.slope_by_paths(arch, u, v)
        polynomial = slope_polynomial(arch, u, v)
        found = polynomial.coefficients
        assert {k: Fraction(int(c.p), int(c.q)) for k, c in enumerate(found) if c != 0} == exact
        assert len(found) == polynomial.degree + 1
        assert polynomial.expand() == sp.Add(*(sp.Rational(c) * PSI**k for k, c in exact.items()))
        assert sp.expand(polynomial.expr) == polynomial.expand()
        assert polynomial.is_rational


@given(data=st.data())
def test_roots_of_rationals_as_weights(data):
    """Exact sympy weights: the sum of squares is 1, so shares are exact."""
    arch = data.draw(every_op(max_nodes=8))
    for u, v in pairs(data, arch):
        plain = slope_polynomial(arch, u, v)
        rooted = slope_polynomial(with_roots(arch), u, v)
        assert plain == rooted
        assert plain.coefficients == rooted.coefficients


def with_roots(arch):
    """The weights of sums as normalized sympy roots."""
    from qcmap.architecture import Architecture, Node

    nodes = []
    for node in arch.nodes:
        op = node.op
        if isinstance(op, Sum):
            total = sum(int(w) ** 2 for w in op.weights)
            op = Sum(tuple(sp.sign(w) * sp.sqrt(sp.Rational(int(w) ** 2, total)) for w in op.weights))
        nodes.append(Node(node.id, op, node.inputs))
    return Architecture(arch.name, tuple(nodes), arch.outputs)


@given(data=st.data(), layers=st.sampled_from(["activation", "layer"]))
def test_several_slopes(data, layers):
    arch = data.draw(every_op(max_nodes=8, activations=("tanh", "relu", "erf")))
    for u, v in pairs(data, arch):
        want = by_paths(arch, u, v, NAMES[layers])
        polynomial = slope_polynomial(arch, u, v, layers=layers)
        assert sp.expand(polynomial.expr - want) == 0
        assert polynomial.expand() == want
        assert set(polynomial.slopes) == {symbol.name for symbol in want.free_symbols}
        values = {name: 1 + k / 7 for k, name in enumerate(polynomial.slopes)}
        got = polynomial({**values, "unused": 3.0})
        assert float(got) == pytest.approx(float(want.subs({s: values[s.name] for s in want.free_symbols})), rel=1e-12)
        shared = slope_polynomial(arch, u, v)
        one = sp.expand(want.subs(dict.fromkeys(want.free_symbols, PSI)))
        assert one == shared.expand()
        if len(polynomial.slopes) > 1:
            with pytest.raises(ArgumentError):
                _ = polynomial.coefficients
            with pytest.raises(ArgumentError):
                polynomial(1.5)
            with pytest.raises(ArgumentError, match="no value for"):
                polynomial({polynomial.slopes[0]: 1.5})


@given(data=st.data(), exact=st.booleans())
def test_q_values_weigh_branches(data, exact):
    """w_i^2 q_i over their sum (section 21.3, footnote 10)."""
    arch = data.draw(every_op(max_nodes=8))
    # With given q values a layer norm needs an input without channel mean.
    raw = raw_maps(arch)
    assume(not any(isinstance(node.op, LayerNorm) and raw[node.inputs[0]] for node in arch.nodes))
    number_of = st.integers(1, 9).map(sp.Integer if exact else float)
    q = {node.id: data.draw(number_of) for node in arch.nodes}
    for u, v in pairs(data, arch):
        polynomial = slope_polynomial(arch, u, v, q=q)
        want = by_paths(arch, u, v, q=q)
        assert sp.expand(sp.nsimplify(polynomial.expand()) - want) == 0
        if not exact:
            assert polynomial.expand() == want


def test_exact_q_values_give_exact_shares():
    """q_values(arch, q=1) are sympy numbers: the slope is rational, with float weights of sums."""
    b = Builder()
    x = b.input("x", channels=2)
    h = b.affine(b.activation(b.affine(x, 2), "relu"), 2)
    arch = b.build([b.sum([h, b.affine(x, 2)], [0.6, 0.8])])
    for q in (q_values(arch, 1), q_values(arch)):
        polynomial = slope_polynomial(arch, q=q)
        assert polynomial.expand() == sp.Rational(9, 41) * PSI + sp.Rational(32, 41)
        assert [Fraction(int(c.p), int(c.q)) for c in polynomial.coefficients] == [Fraction(32, 41), Fraction(9, 41)]


def test_symbolic_q_values():
    b = Builder()
    x = b.input("x", channels=2)
    h = b.affine(b.activation(b.affine(x, 2, name="u"), "tanh", name="t"), 2, name="h")
    arch = b.build([b.sum([h, b.affine(x, 2, name="s")], [1, 2], name="end")])
    a, d = sp.symbols("a d", positive=True)
    q = {"x": a, "u": a, "t": d, "h": d, "s": a, "end": 1}
    polynomial = slope_polynomial(arch, q=q)
    assert sp.simplify(polynomial.expr - (d * PSI + 4 * a) / (d + 4 * a)) == 0
    assert sp.simplify(polynomial.expr.subs(PSI, 1)) == 1
    with pytest.raises(ArchitectureError, match="symbolic"):
        polynomial(1.5)


@given(data=st.data())
def test_biases_with_q_values(data):
    """With biases an affine layer has the slope weight_variance * q_in / q_out."""
    b = Builder()
    x = b.input("x", channels=2)
    ids = [x]
    for _ in range(data.draw(st.integers(1, 6))):
        u = b.affine(
            data.draw(st.sampled_from(ids)), 2, weight_variance=data.draw(st.sampled_from([1.0, 0.5, 2.0])),
            bias_variance=data.draw(st.sampled_from([0.0, 0.25, 1.0])),
        )  # fmt: skip
        ids.append(data.draw(st.sampled_from([lambda y: b.activation(y, "relu"), lambda y: y]))(u))
        if data.draw(st.booleans()):
            ids.append(b.sum([data.draw(st.sampled_from(ids)), ids[-1]], [1, 2]))
    used = {u for node in b._nodes.values() for u in node.inputs}
    arch = b.build([name for name in b._nodes if name not in used])
    q = {node.id: float(data.draw(st.integers(1, 5))) for node in arch.nodes}
    for u, v in pairs(data, arch):
        polynomial = slope_polynomial(arch, u, v, q=q)
        want = by_paths(arch, u, v, q=q)
        assert polynomial.expand() == want
        assert float(polynomial(1.5)) == pytest.approx(float(want.subs(PSI, 1.5)), rel=1e-12)
        assert polynomial.degree == sp.degree(want, PSI)


def test_biases_without_q_values_and_missing_ones():
    b = Builder()
    x = b.input("x", channels=2)
    arch = b.build([b.activation(b.affine(x, 2, bias_variance=0.5, name="a"), "tanh", name="t")])
    with pytest.raises(ArchitectureError, match="a: with biases"):
        slope_polynomial(arch)
    with pytest.raises(ArchitectureError, match="a: it has no q value"):
        slope_polynomial(arch, q={"x": 1.0, "t": 1.0})
    for bad in (0, -1.0, math.inf, math.nan):
        with pytest.raises(ArchitectureError, match="not a positive number"):
            slope_polynomial(arch, q={"x": 1.0, "t": 1.0, "a": bad})
    with pytest.raises(ArgumentError, match="layers"):
        slope_polynomial(arch, layers="each")


def test_symbolic_channel_counts():
    k, m = sp.symbols("k m", positive=True, integer=True)
    b = Builder()
    x = b.input("x", channels=k)
    y = b.activation(b.affine(x, m), "tanh")
    z = b.concat([x, y])
    arch = b.build([b.concat([z, b.activation(b.affine(z, 3), "relu")])])
    want = by_paths(arch, "x", arch.outputs[0])
    polynomial = slope_polynomial(arch)
    assert sp.simplify(polynomial.expr - want) == 0
    assert sp.simplify(polynomial.expr - ((k + m * PSI) + 3 * (k + m * PSI) / (k + m) * PSI) / (k + m + 3)) == 0
    numeric = slope_polynomial(arch.substitute(k=2, m=6))
    assert numeric.expand() == sp.expand(polynomial.expr.subs({k: 2, m: 6}))


@given(data=st.data())
def test_folds(data):
    """A fold with one's own operations: degrees, values at 1, exact values at 3/2, the number of means."""
    arch = data.draw(every_op(max_nodes=8))
    (u, v), *_ = pairs(data, arch, 1)
    polynomial = slope_polynomial(arch, u, v)
    point = Fraction(3, 2)
    value = polynomial.fold(
        lambda powers, factors: math.prod([point**e for _, e in powers]) * math.prod([x**e for x, e in factors]),
        lambda terms: sum(share * x for share, x in terms),
    )
    exact = graphs.slope_by_paths(arch, u, v)
    assert value == sum(c * point**k for k, c in exact.items())
    degree = polynomial.fold(
        lambda powers, factors: sum(e for _, e in powers) + sum(d * e for d, e in factors),
        lambda terms: max(d for _, d in terms),
    )
    assert degree == polynomial.degree == max(exact)


# --- algebra ---------------------------------------------------------------------------------------------------------


@st.composite
def polynomials(draw, depth=2):
    """Products of slopes and of means of smaller such products."""
    result = ONE
    for _ in range(draw(st.integers(0, 2))):
        result = result * slope()
    if depth:
        for _ in range(draw(st.integers(0, 2))):
            parts = draw(st.lists(polynomials(depth=depth - 1), min_size=1, max_size=3))
            weights = draw(st.lists(st.integers(1, 3), min_size=len(parts), max_size=len(parts)))
            result = result * mean_of(weights, parts) ** draw(st.integers(1, 2))
    return result


def value_of(polynomial):
    return {k: c for k, c in enumerate(polynomial.coefficients) if c != 0}


@given(a=polynomials(), b=polynomials(), c=polynomials())
def test_products(a, b, c):
    assert a * b == b * a
    assert (a * b) * c == a * (b * c)
    assert a**3 == a * a * a
    assert a**0 == ONE == SlopePolynomial()
    assert (a * b).flint == a.flint * b.flint
    assert (a * b).degree == a.degree + b.degree
    assert a.divides(a * b)
    assert quotient(a * b, b) == a
    assert str(a * b) == str(b * a)
    common = common_factor(a * c, b * c)
    assert c.divides(common)
    assert common.divides(a * c)
    assert common == common_factor(b * c, a * c)
    assert not a.divides(b) or (a(np.linspace(1, 4, 9)) <= b(np.linspace(1, 4, 9)) * (1 + 1e-13)).all()


@given(parts=st.lists(polynomials(), min_size=1, max_size=4), data=st.data())
def test_means(parts, data):
    weights = data.draw(st.lists(st.integers(0, 4), min_size=len(parts), max_size=len(parts)).filter(any))
    mean = mean_of(weights, parts)
    total = sum(weights)
    want = defaultdict(Fraction)
    for weight, part in zip(weights, parts, strict=True):
        for k, coefficient in value_of(part).items():
            want[k] += Fraction(weight, total) * Fraction(int(coefficient.p), int(coefficient.q))
    found = {k: Fraction(int(c.p), int(c.q)) for k, c in value_of(mean).items()}
    assert found == {k: c for k, c in want.items() if c}
    order = data.draw(st.permutations(range(len(parts))))
    assert mean_of([weights[k] for k in order], [parts[k] for k in order]) == mean
    # A common factor leaves the mean; equal terms are one.
    common = data.draw(polynomials(depth=1))
    assert mean_of(weights, [common * part for part in parts]).flint == common.flint * mean.flint
    assert mean_of(weights * 2, parts * 2) == mean
    assert mean_of([3], [common]) == common


@given(parts=st.lists(polynomials(), min_size=1, max_size=6))
def test_divisors_go(parts):
    kept = without_divisors(parts)
    assert all(any(p.divides(q) for q in kept) for p in parts)
    assert all(p is q or not p.divides(q) for p in kept for q in kept)


def test_products_are_not_reduced_to_other_forms():
    """Equal as functions, but written as different products: == is about the form."""
    square = mean_of([1, 1], [slope(), ONE]) ** 2
    sum_of = mean_of([1, 2, 1], [slope() ** 2, slope(), ONE])
    assert square.flint == sum_of.flint
    assert square != sum_of


def test_texts_latex_and_data():
    polynomial = slope_polynomial(zoo.wide_resnet(16, residual_weight=sp.Symbol("w", positive=True)))
    assert polynomial._repr_latex_().startswith("$\\psi^{4}")
    assert polynomial.to_dict() == {"polynomial": str(polynomial), "degree": polynomial.degree}
    w = sp.Symbol("w", positive=True)
    psi = sp.Symbol("psi", positive=True)
    read = sp.sympify(str(polynomial).replace("^", "**").replace(" (", "*(").replace("w**2 psi", "w**2*psi"),
                      locals={"w": w, "psi": psi})  # fmt: skip
    assert sp.expand(read - polynomial.expr) == 0


def test_hash_is_that_of_the_form():
    mean = mean_of([1, 2], [slope(), ONE])
    assert {mean: 1}[mean_of([2, 4], [slope(), ONE])] == 1
    assert mean != 3
    assert (mean.factors[0][0] == 3) is False
    assert slope("psi_tanh") != slope("psi_relu")


@settings(max_examples=10)
@given(psi=st.floats(1, 1e100))
def test_log_of_large_values(psi):
    polynomial = slope() ** 5000 * mean_of([1, 3], [slope() ** 4, ONE])
    mp = oracles.MP
    want = 5000 * mp.log(psi) + mp.log((mp.mpf(psi) ** 4 + 3) / 4)
    assert abs(mp.mpf(float(polynomial.log(np.log(psi)))) - want) <= 1e-14 * (1 + want)
