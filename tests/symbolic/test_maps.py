"""Q and C maps in sympy, against the numeric maps, random wide networks and what holds for every map."""

import math
import signal
from fractions import Fraction
from functools import lru_cache

import numpy as np
import pytest
import sympy as sp
from hypothesis import given, settings
from hypothesis import strategies as st

import qcmap as qc
from qcmap.activations import Activation
from qcmap.architecture import Builder, zoo
from qcmap.errors import ArchitectureError, QCMapError
from qcmap.numeric import network_maps
from qcmap.symbolic import SymbolicMaps, c_derivative, c_map, q_map, q_values, slope_polynomial
from tests import wide
from tests.oracles import MP

C = sp.Symbol("c", real=True)
Q, Q1, Q2, W = sp.symbols("q q1 q2 w", positive=True)
CLOSED = ("relu", "erf", "sin", "square", "leaky_relu", "identity")
NAMED = ("tanh", "softplus", "swish", "gelu", "elu")


@st.composite
def mapped(draw, *, max_steps=5, activations=(*CLOSED, *NAMED), max_inputs=2, biases=True, norms=True):
    """A random graph that keeps the rules of independence, with every op that has maps but gates; one output."""
    b = Builder("mapped")

    def affine(x, channels=4):
        options = {}
        if biases and draw(st.booleans()):
            options = {
                "weight_variance": draw(st.sampled_from([0.5, 2.0])),
                "bias_variance": draw(st.sampled_from([0.0, 0.25])),
            }
        return b.affine(x, channels, **options)

    width = {affine(b.input(channels=4)): 4 for _ in range(draw(st.integers(1, max_inputs)))}
    kinds = ["activation", "activation", "sum", "concat", "scale", "pool", *(["norm"] if norms else [])]
    for _ in range(draw(st.integers(1, max_steps))):
        ids = list(width)
        pick = st.sampled_from(ids[-2:]) | st.sampled_from(ids)
        kind, x = draw(st.sampled_from(kinds)), draw(pick)
        if kind == "activation":
            width[b.activation(affine(x), draw(st.sampled_from(activations)))] = 4
        elif kind == "sum":
            branches = [x, *draw(st.lists(pick, min_size=1, max_size=2))]
            weights = [draw(st.sampled_from([0.6, -0.8, 0.5, 1.0])) for _ in branches]
            # One branch may stay as it is: a layer of its own makes each of the others independent of it.
            width[b.sum([affine(y) for y in branches], weights)] = 4
        elif kind == "concat":
            branches = [x, *draw(st.lists(pick, min_size=0, max_size=2))]
            width[b.concat(branches)] = sum(width[y] for y in branches)
        elif kind == "scale":
            width[b.scale(x, draw(st.sampled_from([-2.0, 0.3])))] = width[x]
        elif kind == "norm":
            width[b.layer_norm(x)] = width[x]
        else:
            width[draw(st.sampled_from([b.max_pool, b.mean_pool, b.weighted_mean_pool]))(x)] = width[x]
    used = {u for node in b._nodes.values() for u in node.inputs}
    last = b.concat([name for name in width if name not in used])
    return b.build([b.output(b.activation(affine(last), draw(st.sampled_from(activations))))])


@lru_cache(maxsize=64)
def local(name):
    return qc.local_maps(qc.activation(name))


def numeric_maps():
    found = {}
    for name in (*NAMED, *CLOSED, "hardtanh", "relu6", "selu", "cos"):
        maps = local(name)
        found |= {f"C_{name}": maps.c, f"Q_{name}": maps.q, f"M_{name}": maps.mean, f"dC_{name}": maps.dc}
    return found


def plain(expression):
    """The expression with names that python can have."""
    return expression.replace(
        lambda part: isinstance(part, sp.Function) and type(part).__name__.endswith("'"),
        lambda part: sp.Function("d" + type(part).__name__.rstrip("'"))(*part.args),
    )


def in_numbers(expression, symbols):
    return sp.lambdify(symbols, plain(expression), modules=[numeric_maps(), "scipy", "numpy"])


def chain(*functions, **options):
    b = Builder("chain")
    x = b.input("x", channels=4)
    for k, function in enumerate(functions):
        x = b.activation(b.affine(x, 4, name=f"u{k}", **options), function, name=f"h{k}")
    return b.build([x])


WEIGHTS = (sp.sqrt(1 - W**2), W)


def residual(blocks, act="tanh", weights=WEIGHTS):
    b = Builder("residual")
    x = b.affine(b.input("x", channels=4), 4)
    for _ in range(blocks):
        x = b.sum([x, b.affine(b.activation(b.affine(x, 4), act), 4)], weights)
    return b.build([x])


# --- against numbers -------------------------------------------------------------------------------------------------


@settings(max_examples=12)
@given(arch=mapped(max_steps=4))
def test_maps_are_the_numeric_ones(arch):
    numeric, maps = qc.network_maps(arch), SymbolicMaps(arch)
    points = [(0.3, 1.0, 1.0), (-0.6, 0.5, 2.0), (0.9, 1.5, 0.7), (0.0, 1.0, 2.0)]
    for name in {arch.nodes[len(arch.nodes) // 2].id, arch.outputs[0]}:
        value = maps.values[name]
        for kind, expression in (("c", value.c), ("q1", value.q1), ("q2", value.q2)):
            function = in_numbers(expression, (C, Q1, Q2))
            for point in points:
                want = getattr(numeric.propagate(*point)[name], kind)
                assert float(function(*point)) == pytest.approx(float(want), rel=1e-9, abs=1e-9)
    assert q_map(arch, q=Q1).free_symbols <= {Q1}


@settings(max_examples=10)
@given(arch=mapped(max_steps=4), c=st.floats(-0.9, 0.9))
def test_derivatives_are_those_of_the_numeric_maps(arch, c):
    """A central difference of fourth order, good to about 1e-9 of the values around."""
    numeric, h = qc.network_maps(arch), 1e-3
    for q1, q2 in ((1.0, 1.0), (0.5, 2.0)):
        values = [float(numeric.c(c + k * h, q1, q2)) for k in (-2, -1, 1, 2)]
        want = (values[0] - 8 * values[1] + 8 * values[2] - values[3]) / (12 * h)
        got = in_numbers(c_derivative(arch), (C, Q1, Q2))(c, q1, q2)
        assert float(got) == pytest.approx(want, rel=1e-6, abs=1e-7)


@settings(max_examples=15)
@given(arch=mapped(activations=CLOSED, max_steps=4), c=st.sampled_from([-0.8, -0.3, 0.2, 0.7]))
def test_closed_forms_are_differentiated(arch, c):
    q = sp.Rational(3, 2)
    expression = c_map(arch, q1=q)
    function = sp.lambdify(C, expression, modules="mpmath")
    derivative = sp.lambdify(C, c_derivative(arch, q1=q), modules="mpmath")
    import mpmath

    with mpmath.workdps(30):
        point = mpmath.mpf(c)
        assert mpmath.almosteq(mpmath.diff(function, point), derivative(point), 1e-10, 1e-10)


@settings(max_examples=15)
@given(arch=mapped())
def test_a_pair_of_equal_inputs_stays_one(arch):
    """C(1, q, q) = 1 exactly, for symbols and for numbers."""
    for q in (Q, sp.Integer(1), sp.Rational(1, 3)):
        assert c_map(arch, c=1, q1=q) == 1
        assert all(value.c == 1 for value in SymbolicMaps(arch, 1, q).values.values())


@pytest.mark.parametrize("act", [*CLOSED, *NAMED])
@pytest.mark.parametrize("q", [Q, sp.Integer(1)])
def test_equal_inputs_with_biases_and_norms_stay_equal(act, q):
    biased = chain(act, act, bias_variance=0.5)
    assert c_map(biased, c=1, q1=q) == 1
    b = Builder()
    x = b.activation(b.affine(b.input("x", channels=4), 4), act)
    normed = b.build([b.activation(b.affine(b.layer_norm(x), 4), act)])
    assert c_map(normed, c=1, q1=q) == 1
    assert c_map(residual(2, act), c=1, q1=q) == 1


@settings(max_examples=15)
@given(arch=mapped(max_steps=2), c=st.sampled_from([-1, 0, 1, sp.Rational(1, 2)]))
def test_nothing_undefined_leaves(arch, c):
    for q1, q2 in ((1, 1), (1, 2), (Q1, Q2)):
        for expression in (c_map(arch, None, c, q1, q2), q_map(arch, q=q1)):
            assert not expression.has(sp.nan, sp.zoo, sp.oo, -sp.oo)
    value = in_numbers(c_map(arch, None, c, 1, 2), ())()
    assert np.isfinite(value)
    want = float(qc.network_maps(arch).c(float(c), 1.0, 2.0))
    assert complex(value).real == pytest.approx(want, abs=1e-6)


@pytest.mark.parametrize("act", [*CLOSED, *NAMED, "cos", "hardtanh", "relu6", "selu"])
def test_slopes_at_one_by_closed_forms(act):
    """At c = 1 closed forms may have removable singularities: the slope is the numeric C'(1) all the same."""
    for q in (1.0, 0.5):
        got = in_numbers(c_derivative(chain(act, act), c=1, q1=sp.Rational(q)), ())()
        maps = local(act)
        between = maps.q(q)
        want = float(maps.dc(1.0, q, q)) * float(maps.dc(1.0, between, between))
        assert float(got) == pytest.approx(want, rel=1e-7)


def test_steps_have_no_slope_at_one():
    step = Activation.from_sympy("sign(u)", name="step")
    arch = chain("relu", step)
    assert c_map(arch, c=1, q1=1) == 1
    assert not c_map(arch, c=-1, q1=1).has(sp.nan, sp.zoo)
    with pytest.raises(QCMapError):
        c_derivative(arch, c=1, q1=1)
    assert sp.simplify(c_map(chain(step), q1=1) - 2 * sp.asin(C) / sp.pi) == 0


@pytest.mark.parametrize(
    ("c", "q1", "q2"), [(0, 0, 0), (0, -1, 1), (2, 1, 1), (sp.nan, 1, 1), (0, sp.oo, 1), (0, 1, 0)]
)
def test_values_out_of_range_are_refused(c, q1, q2):
    """As network_maps does: c in [-1, 1], q above 0 and finite."""
    for arch in (chain("relu", "relu"), chain("tanh", bias_variance=0.5)):
        with pytest.raises(QCMapError):
            c_map(arch, None, c, q1, q2)


# --- against random wide networks ------------------------------------------------------------------------------------


def a_bit_of_everything():
    b = Builder("a bit of everything")
    x = b.input("x", channels=1)
    h = b.activation(b.affine(x, 1, weight_variance=1.5, bias_variance=0.3, name="first"), "relu", name="relu")
    n = b.layer_norm(h, name="norm")
    t = b.activation(b.affine(n, 1, name="second"), "softplus", name="softplus")
    j = b.concat([t, b.affine(n, 2, weight_variance=0.5, name="wide")], name="join")
    g = b.gate(b.affine(j, 1, name="third"), "g", name="gate")
    s = b.sum([g, b.affine(h, 1, name="skip")], [0.6, -0.5], name="sum")
    m = b.layer_norm(b.scale(b.activation(s, "swish", name="swish"), -2.0, name="scale"), name="renorm")
    return b.build([b.output(b.activation(b.affine(m, 1, bias_variance=0.2, name="last"), "tanh", name="tanh"))])


def test_wide_networks_agree():
    """60 networks of width 256: each of 36 values within 5.5 standard errors and 3/256 for the finite width.

    A false alarm has a probability of about 1e-6; the seed is fixed.
    """
    arch, q1, q2, gates = a_bit_of_everything(), 0.8, 1.3, (0.7, 1.2)
    found = wide.measured(arch, {"x": (0.4, q1, q2)}, 256, 60, seed=11, gates={"g": np.array(gates)})
    maps = SymbolicMaps(arch, sp.Rational(2, 5), sp.Rational(4, 5), sp.Rational(13, 10))
    values = {sp.Symbol("g", positive=True): gates[0], sp.Symbol("g'", positive=True): gates[1]}
    for name in ("first", "relu", "norm", "softplus", "join", "gate", "sum", "renorm", "tanh"):
        pair = maps.values[name]
        want = [float(in_numbers(e.subs(values), ())()) for e in (pair.q1, pair.q2, pair.m, pair.c)]
        got = found[name]
        allowed = 5.5 * got.error[:, 0] + 3 / 256 * np.maximum(np.abs(want), 0.3)
        assert (np.abs(got.mean[:, 0] - want) <= allowed).all(), name


# --- laws ------------------------------------------------------------------------------------------------------------


def same(one, other):
    """Equality of expressions by their values at two points."""
    for point in ({C: 0.3, Q: 1.2, Q1: 0.8, Q2: 1.7, W: 0.4}, {C: -0.5, Q: 0.6, Q1: 2.1, Q2: 1.1, W: 0.7}):
        symbols = tuple(point)
        a, b = (float(in_numbers(sp.sympify(e), symbols)(*point.values())) for e in (one, other))
        if a != pytest.approx(b, rel=1e-10, abs=1e-12):
            return False
    return True


SIMPLE = ("relu", "tanh", "square", "softplus")


@settings(max_examples=8)
@given(
    first=mapped(max_steps=2, max_inputs=1, activations=SIMPLE),
    second=mapped(max_steps=2, max_inputs=1, activations=SIMPLE),
)
def test_composition(first, second):
    from qcmap.architecture import Architecture, Node

    start = first.outputs[0]
    inner = [Node(f"f.{n.id}", n.op, tuple(f"f.{u}" for u in n.inputs)) for n in first.nodes if n.id != start]
    end = f"f.{first[start].inputs[0]}"
    rest = [
        Node(f"s.{n.id}", n.op, tuple(end if u == second.inputs[0] else f"s.{u}" for u in n.inputs))
        for n in second.nodes
        if n.id != second.inputs[0]
    ]
    whole = Architecture("whole", (*inner, *rest))
    assert same(c_map(whole), c_map(second, None, c_map(first), q_map(first, q=Q1), q_map(first, q=Q2)))
    assert same(q_map(whole), q_map(second, q=q_map(first)))
    assert same(c_derivative(whole), c_derivative(second, None, c_map(first), q_map(first, q=Q1), q_map(first, q=Q2))
                * c_derivative(first))  # fmt: skip


def test_closed_maps():
    relu = sp.sqrt(1 - C**2) / sp.pi + C * (1 - sp.acos(C) / sp.pi)
    assert same(c_map(chain("relu")), relu)
    assert q_map(chain("relu", "relu")) == Q / 4
    assert q_map(chain("relu", weight_variance=2.0)) == Q
    assert same(c_map(chain("relu", "relu")), relu.subs(C, relu))
    arc = 2 * C * sp.sqrt(Q1 * Q2) / sp.sqrt((1 + 2 * Q1) * (1 + 2 * Q2))
    size = sp.asin(2 * Q1 / (1 + 2 * Q1)) * sp.asin(2 * Q2 / (1 + 2 * Q2))
    assert same(c_map(chain("erf")), sp.asin(arc) / sp.sqrt(size))
    sine = sp.sinh(C * sp.sqrt(Q1 * Q2)) / sp.sqrt(sp.sinh(Q1) * sp.sinh(Q2))
    assert same(c_map(chain("sin")), sine)
    assert same(c_map(chain("square")), (1 + 2 * C**2) / 3)
    assert q_map(chain("square")) == 3 * Q**2


def test_scaling_and_gates():
    b = Builder()
    x = b.input("x", channels=2)
    g = b.gate(b.scale(x, -3.0), "g")
    arch = b.build([g])
    g1, g2 = sp.Symbol("g", positive=True), sp.Symbol("g'", positive=True)
    value = SymbolicMaps(arch).values[g]
    assert (value.c, value.q1, value.q2) == (C, 9 * g1**2 * Q1, 9 * g2**2 * Q2)
    assert q_map(arch.substitute(g=2.0)) == 36 * Q
    assert c_map(arch, uniform=True) == C


@pytest.mark.parametrize("name", ["c", "q", "q1", "q2", "psi"])
def test_symbols_of_formulas_are_taken(name):
    """Symbols of gates, weights and channels must not be mistaken for the values of inputs."""
    b = Builder()
    x = b.input("x", channels=2)
    with pytest.raises(ArchitectureError, match=name):
        b.gate(x, name, name="g")
    with pytest.raises(ArchitectureError, match=name):
        b.scale(x, sp.Symbol(name, positive=True))


def test_biases():
    arch = chain("identity", weight_variance=2.0, bias_variance=0.5)
    assert q_map(arch) == 2 * Q + sp.Rational(1, 2)
    assert same(c_map(arch, q1=Q), (2 * C * Q + sp.Rational(1, 2)) / (2 * Q + sp.Rational(1, 2)))
    symbolic = chain("relu", weight_variance=W, bias_variance=sp.Symbol("b", positive=True))
    assert q_map(symbolic) == (W * Q + sp.Symbol("b", positive=True)) / 2


def test_a_layer_norm_takes_the_mean_away():
    b = Builder()
    h = b.activation(b.affine(b.input("x", channels=4), 4), "relu")
    arch = b.build([b.layer_norm(h)])
    relu = sp.sqrt(1 - C**2) / sp.pi + C * (1 - sp.acos(C) / sp.pi)
    # E relu(x) = 1/sqrt(2 pi) and E relu(x)^2 = 1/2 at q = 1.
    assert same(c_map(arch), (relu / 2 - 1 / (2 * sp.pi)) / (sp.Rational(1, 2) - 1 / (2 * sp.pi)))
    assert q_map(arch) == 1
    assert same(c_map(arch, c=0), 0)


def test_several_inputs():
    b = Builder()
    x, y = b.input("x", channels=1), b.input("y", channels=3)
    arch = b.build([b.concat([x, b.activation(b.affine(y, 3), "relu")])])
    relu = sp.sqrt(1 - C**2) / sp.pi + C * (1 - sp.acos(C) / sp.pi)
    assert q_map(arch) == Q / 4 + 3 * Q / 8
    assert same(c_map(arch), (C / 4 + 3 * relu / 8) / sp.Rational(5, 8))


@settings(max_examples=20)
@given(arch=mapped(biases=False))
def test_uniform_maps(arch):
    """All q values 1: c maps are mixtures of compositions, 1 at c = 1, and 0 at c = 0."""
    expression = c_map(arch, uniform=True)
    assert expression.subs(C, 1) == 1 == c_map(arch, c=1, uniform=True)
    assert expression.subs(C, 0) == 0 == c_map(arch, c=0, uniform=True)
    maps = SymbolicMaps(arch, uniform=True)
    assert all((value.q1, value.q2) == (1, 1) for value in maps.values.values())
    ones = dict.fromkeys(c_derivative(arch, c=1, uniform=True).free_symbols, 1)
    assert sp.simplify(c_derivative(arch, c=1, uniform=True).subs(ones)) == 1


@settings(max_examples=20)
@given(arch=mapped(biases=False, max_inputs=1, max_steps=6))
def test_the_slope_polynomial_is_the_derivative_at_one(arch):
    expression = c_map(arch, uniform=True)
    by_sympy = sp.diff(expression, C).subs(C, 1).doit()
    polynomial = slope_polynomial(arch, layers="activation")
    assert sp.expand(by_sympy - polynomial.expr) == 0
    assert sp.expand(c_derivative(arch, c=1, uniform=True) - polynomial.expr) == 0


def test_the_slope_of_a_symbolic_resnet_is_the_derivative_at_one():
    arch = residual(2)
    by_sympy = sp.diff(c_map(arch, uniform=True), C).subs(C, 1).doit()
    polynomial = slope_polynomial(arch, layers="activation").expr
    assert sp.expand(by_sympy - polynomial) == 0
    assert sp.expand(c_derivative(arch, c=1, uniform=True) - polynomial) == 0


def test_uniform_maps_have_no_biases():
    """slope_polynomial refuses biases, whose slope is below 1; the uniform map must not pass over them."""
    with pytest.raises(ArchitectureError, match="u0"):
        c_map(chain("tanh", bias_variance=0.5), uniform=True)


@settings(max_examples=10)
@given(w=st.sampled_from([0.2, 0.5, 0.9]))
def test_substitution_before_and_after(w):
    arch = residual(1, "relu")
    exact = sp.Rational(Fraction(str(w)))
    assert same(c_map(arch).subs(W, exact), c_map(arch.substitute(w=w)))
    assert same(q_map(arch).subs(W, exact), q_map(arch.substitute(w=w)))


def test_all_q_values():
    found = q_values(chain("relu", "square"))
    assert found == {"x": Q, "u0": Q, "h0": Q / 2, "u1": Q / 2, "h1": 3 * Q**2 / 4}
    assert q_values(chain("tanh"), 1)["h0"] == sp.Function("Q_tanh")(1) or str(q_values(chain("tanh"), 1)["h0"]) == (
        "Q_tanh(1)"
    )
    assert q_map(chain("tanh", "relu"), "h0").is_positive


# --- named functions -------------------------------------------------------------------------------------------------


def test_named_functions():
    expression = c_map(chain("tanh"))
    assert str(expression) == "C_tanh(c, q1, q2)"
    assert sp.latex(expression)
    assert expression.is_real
    function = expression.func
    assert function is c_map(chain("tanh", "tanh")).func
    assert function(1, Q, Q) == 1
    assert function(1, Q1, Q2) != 1
    assert function(C, Q, Q).subs(C, 1) == 1
    assert str(sp.diff(function(C, Q1, Q2), C)) == "C_tanh'(c, q1, q2)"
    assert str(sp.diff(function(C, Q1, Q2), C, 2)) == "C_tanh''(c, q1, q2)"
    assert sp.diff(function(C**2, Q1, Q2), C) == 2 * C * sp.diff(function(C, Q1, Q2), C).subs(C, C**2)
    assert sp.diff(function(C, Q1, Q2), Q1).has(sp.Derivative, sp.Subs)
    assert sp.diff(function(C, Q1, Q2), W) == 0
    shaped = c_map(chain("tanh"), uniform=True)
    assert (str(shaped), shaped.subs(C, 1), shaped.subs(C, 0)) == ("C_tanh(c)", 1, 0)
    assert sp.diff(shaped, C).subs(C, 1) == sp.Symbol("psi_tanh", positive=True)
    assert shaped.func != function


def test_derivatives_can_be_lambdified():
    """A prime is no part of a python name, so a printed derivative cannot be read back."""
    expression = c_derivative(chain("tanh"), q1=1)
    function = sp.lambdify(C, expression, modules=[numeric_maps(), "numpy"])
    assert callable(function)


def test_activations_of_one_name_are_told_apart_or_refused():
    """network_maps refuses them: two different activations are called leaky_relu."""
    one, other = (qc.activation("leaky_relu", negative_slope=x) for x in (0.1, 0.5))
    arch = chain(one, other)
    for use in (
        lambda: c_map(arch, uniform=True), lambda: c_derivative(arch, uniform=True),
        lambda: slope_polynomial(arch, layers="activation"),
    ):  # fmt: skip
        with pytest.raises(QCMapError, match="leaky_relu"):
            use()


def test_callables_of_one_name_are_told_apart_or_refused():
    arch = chain(*(Activation.from_callable(f, name="mine") for f in (np.tanh, np.sin)))
    with pytest.raises(QCMapError, match="mine"):
        c_map(arch)


# --- depth -----------------------------------------------------------------------------------------------------------


def quick(work, seconds=5):
    """What ``work`` returns; interrupted if it takes longer."""

    def stop(*_):
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        return work()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_slopes_of_deep_networks():
    for arch in (zoo.resnet_v2(152, residual_weight=W), zoo.resnet_v2(152)):
        found = quick(lambda arch=arch: c_derivative(arch, c=1, uniform=True))
        want = slope_polynomial(arch, layers="activation").expr
        (psi,) = want.free_symbols - {W}
        for w, value in ((0.2, 1.01), (0.7, 1.2)):
            point = {W: w, psi: value}
            assert float(found.subs(point)) == pytest.approx(float(want.subs(point)), rel=1e-12)


def test_deep_chains_of_named_functions():
    assert quick(lambda: c_map(chain(*["tanh"] * 60))).func.__name__ == "C_tanh"
    assert quick(lambda: c_derivative(chain(*["tanh"] * 60), q1=1)).is_Mul


@pytest.mark.parametrize("blocks", [4, 10])
def test_q_maps_of_residual_networks(blocks):
    for act, w in (("tanh", W), ("relu", W), ("tanh", sp.Rational(1, 5)), ("softplus", sp.Rational(1, 5))):
        for q in (Q, sp.Integer(1)):
            arch = residual(blocks, act, (sp.sqrt(1 - w**2), w))
            expression = quick(lambda arch=arch, q=q: q_map(arch, q=q), 5)
            assert expression.free_symbols <= {Q, W}


def test_the_q_map_of_a_resnet():
    assert quick(lambda: q_map(zoo.resnet_v2(50, residual_weight=0.2)))


def test_closed_forms_of_a_chain_of_ten():
    arch = chain(*["relu"] * 10)
    assert not quick(lambda: c_map(arch, c=C, q1=1)).has(sp.nan)
    maps = quick(lambda: SymbolicMaps(arch, sp.Rational(1, 2), 1, stepwise=True))
    known = {}
    for symbol, definition in maps.definitions:
        known[symbol] = definition.subs(known).evalf(30)
    want = sp.Rational(1, 2)
    for _ in range(10):
        want = ((sp.sqrt(1 - want**2) + want * (sp.pi - sp.acos(want))) / sp.pi).evalf(30)
    assert abs(maps.values[arch.outputs[0]].c.subs(known) - want) < 1e-25


# --- errors ----------------------------------------------------------------------------------------------------------


def refused(build, node):
    b = Builder("refused")
    arch = b.build([build(b, b.input("x", channels=2))])
    for function in (c_map, q_map, q_values, c_derivative, SymbolicMaps, lambda a: c_map(a, uniform=True)):
        with pytest.raises(ArchitectureError) as error:
            function(arch)
        assert error.value.subject == node
        assert error.value.remedy


def test_correlated_sums():
    refused(lambda b, x: b.sum([b.activation(x, "tanh"), x], name="bad"), "bad")
    refused(lambda b, x: b.sum([u := b.affine(x, 2), u], name="bad"), "bad")


def test_ops_without_maps():
    refused(lambda b, x: b.batch_norm(x, name="bad"), "bad")
    refused(lambda b, x: b.multiply([x, x], name="bad"), "bad")
    refused(lambda b, x: b.affine(x, 2, kernel=(3, 3), init="fan_in", name="bad"), "bad")


def test_layer_norms_of_inputs():
    b = Builder()
    x = b.input("x", channels=2)
    arch = b.build([b.layer_norm(b.concat([b.max_pool(x), b.affine(x, 2)]), name="bad")])
    with pytest.raises(ArchitectureError) as error:
        c_map(arch)
    assert error.value.subject == "bad"
    assert c_map(arch, uniform=True) == C


def test_unknown_channels_of_a_concatenation():
    b = Builder()
    x = b.input("x")
    arch = b.build([b.concat([x, b.activation(b.affine(x), "tanh")], name="bad")])
    for function in (c_map, q_map):
        with pytest.raises(ArchitectureError) as error:
            function(arch)
        assert error.value.subject == "bad"


def test_several_outputs():
    b = Builder("two")
    x = b.input("x", channels=2)
    arch = b.build([b.activation(b.affine(x, 2), "relu", name="r"), b.activation(b.affine(x, 2), "square", name="s")])
    for function in (c_map, q_map, c_derivative):
        with pytest.raises(ArchitectureError) as error:
            function(arch)
        assert error.value.subject == "two"
    assert q_map(arch, "r") == Q / 2
    assert q_map(arch, "s") == 3 * Q**2
    with pytest.raises(ArchitectureError):
        q_map(arch, "t")


def test_numbers_are_read_exactly():
    assert q_map(chain("identity", weight_variance=0.05)) == Q / 20
    assert not c_map(residual(1, weights=(0.6, 0.8))).atoms(sp.Float)
    assert float(MP.mpf(1)) == 1 == math.floor(1.0)


def test_inputs_keep_q_values_of_their_own():
    """2 (9/25) + 3 (16/25) at the sum, in sympy as in numbers; given values go before them."""
    b = Builder()
    x, y = b.input("x", channels=2, q=2.0), b.input("y", channels=2, q=3.0)
    total = b.sum([b.affine(x, 2), b.affine(b.activation(b.affine(y, 2), "erf"), 2)], [0.6, 0.8], name="s")
    arch = b.build([b.activation(total, "relu")])
    numeric = network_maps(arch).propagate(0.3)
    values = q_values(arch)
    for name, pair in numeric.items():
        assert float(values[name]) == pytest.approx(float(pair.q1), rel=1e-13)
        assert float(c_map(arch, name, c=sp.Rational(3, 10))) == pytest.approx(float(pair.c), abs=1e-13)
    step = 1e-6
    low, high = (float(network_maps(arch).c(0.3 + sign * step)) for sign in (-1, 1))
    assert float(c_derivative(arch, c=sp.Rational(3, 10))) == pytest.approx((high - low) / (2 * step), rel=1e-8)
    assert q_map(arch, "s", q=sp.Integer(1)) != values["s"]
