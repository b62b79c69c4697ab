"""Curvature and C(0) at their largest over subnetworks, by enumeration."""

import math
from fractions import Fraction
from functools import reduce
from operator import add

import pytest
import sympy as sp
from hypothesis import given, settings
from hypothesis import strategies as st

import qcmap as qc
from qcmap.architecture import Builder, Concat, Input, Nonlinear, Sum, zoo
from qcmap.errors import ArchitectureError, ArgumentError, NumericalError, QCMapError
from qcmap.symbolic import curvature, maximal_c0, maximal_curvature, slope_polynomial
from tests import graphs
from tests.symbolic.test_slopes import every_op, residual

C = sp.Symbol("c")
KAPPA = sp.Symbol("kappa", positive=True)
W = sp.Symbol("w", positive=True)
PSI = sp.Symbol("psi", positive=True)


def composed(arch, source, start, local, number=sp.Rational):
    """The c values at all nodes that ``source`` dominates, from ``start`` at it."""
    inside = {v for u, v in graphs.subnetworks(arch) if u == source}
    values = {source: start}
    for node in arch.nodes:
        if node.id not in inside or node.id == source:
            continue
        if isinstance(node.op, (Sum, Concat)):
            shares = [number(share) for share in graphs._shares(arch, node)]
            values[node.id] = reduce(add, (s * values[u] for s, u in zip(shares, node.inputs, strict=True) if s != 0))
        else:
            value = values[node.inputs[0]]
            values[node.id] = local(value) if isinstance(node.op, Nonlinear) else value
    return values


def leaky(alpha):
    """The C map of a leaky relu of slopes 1 and alpha, shifted and scaled to nothing: it has C'(1) = 1, C(c) >= c."""

    def local(c):
        c = min(max(float(c), -1.0), 1.0)
        share = (1 - alpha) ** 2 / (1 + alpha**2)
        return c + share * (math.sqrt(1 - c * c) - c * math.acos(c)) / math.pi

    return local


# --- curvature -------------------------------------------------------------------------------------------------------


@given(arch=every_op(max_nodes=9))
def test_curvature_is_the_derivative_of_the_slope_polynomial(arch):
    for u, v in graphs.subnetworks(arch):
        want = sum(degree * c for degree, c in graphs.slope_by_paths(arch, u, v).items())
        found = curvature(arch, u, v)
        assert found == sp.Rational(want)
        assert sp.diff(slope_polynomial(arch, u, v).expand(), PSI).subs(PSI, 1) == found


@settings(max_examples=15)
@given(arch=every_op(max_nodes=7, max_inputs=1))
def test_curvature_is_the_second_derivative_of_the_c_map(arch):
    """Local maps c + kappa / 2 (c - 1)^2 composed, with e = c - 1 and terms above e^2 left out at every layer."""

    def local(value):
        first, second = value
        # g(h(e)) with h = first e + second e^2 and g = h + kappa / 2 h^2.
        return sp.Matrix([first, second + KAPPA / 2 * first**2])

    for source in arch.index:
        for target, value in composed(arch, source, sp.Matrix([1, 0]), local).items():
            assert value[0] == 1
            assert sp.expand(2 * value[1] - KAPPA * curvature(arch, source, target)) == 0


@given(arch=every_op(), kappa=st.floats(0, 10), tau=st.floats(0.01, 100))
def test_maximal_curvature_by_enumeration(arch, kappa, tau):
    pairs = graphs.subnetworks(arch)
    values = {
        pair: sum(degree * c for degree, c in graphs.slope_by_paths(arch, *pair).items()) for pair in pairs
    }  # fmt: skip
    found = maximal_curvature(arch)
    assert found.coefficient == sp.Rational(max(values.values()))
    (best,) = found.candidates
    assert values[best.source, best.target] == max(values.values())
    assert found(kappa) == pytest.approx(float(max(values.values())) * kappa, rel=1e-15)
    assert found(found.inverse(tau)) == pytest.approx(tau, rel=1e-14)


def test_symbolic_curvature():
    arch = residual(5, lambda k: (W, sp.sqrt(1 - W**2)))
    assert sp.expand(curvature(arch) - 5 * W**2) == 0
    found = maximal_curvature(arch)
    assert found.coefficient.subs(W, sp.Rational(1, 2)) == sp.Rational(4, 4) + 1
    with pytest.raises(ArchitectureError, match="substitute"):
        found(1.0)
    with pytest.raises(ArchitectureError):
        found.inverse(1.0)
    assert maximal_curvature(zoo.mlp(7)).coefficient == 7


@pytest.mark.parametrize("bad", [-1, math.nan, math.inf, None, "1", True])
def test_arguments_of_the_curvature(bad):
    found = maximal_curvature(zoo.mlp(3))
    for use in (found, found.inverse):
        with pytest.raises(ArgumentError) as error:
            use(bad)
        assert error.value.remedy
    assert found(0) == 0
    with pytest.raises(ArgumentError):
        found.inverse(0)


def test_architectures_without_curvature():
    b = Builder("flat")
    flat = b.build([b.affine(b.input())])
    with pytest.raises(ArchitectureError, match="no nonlinear layer"):
        maximal_curvature(flat)
    assert curvature(flat) == 0
    b = Builder()
    biased = b.build([b.activation(b.affine(b.input(), bias_variance=1.0, name="bad"), "tanh")])
    for use in (curvature, lambda a: maximal_curvature(a).coefficient, lambda a: maximal_c0(a)(leaky(0.1))):
        with pytest.raises(ArchitectureError) as error:
            use(biased)
        assert error.value.subject == "bad"


def test_presentation_of_the_curvature():
    found = maximal_curvature(zoo.wide_resnet(16, residual_weight=W))
    assert repr(found)
    assert len(found.candidates) >= 1


# --- C(0) ------------------------------------------------------------------------------------------------------------


@given(arch=every_op(), alpha=st.sampled_from([0.0, 0.01, 0.3, 0.9]))
def test_maximal_c0_of_leaky_relus(arch, alpha):
    local = leaky(alpha)
    rows = {
        (source, target): value
        for source in arch.index
        for target, value in composed(arch, source, 0.0, local, number=float).items()
    }
    found = maximal_c0(arch)
    assert found(local) == pytest.approx(max(rows.values()), rel=1e-13)
    best = found.argmax(local)
    assert rows[best.source, best.target] == pytest.approx(max(rows.values()), rel=1e-13)


@given(arch=every_op(), a=st.sampled_from([0.3, 1.0]), b=st.sampled_from([0.0, 0.05, 0.4]))
def test_maximal_c0_with_slopes_above_one(arch, a, b):
    """C(c) = b + (1 - a - b) c + a c^2, increasing, with C'(1) = 1 + a - b: downstream layers may lower C(0)."""
    if a + b > 1:
        return

    def local(c):
        return b + (1 - a - b) * c + a * c * c

    rows = [max(composed(arch, source, 0.0, local, number=float).values()) for source in arch.index]
    assert maximal_c0(arch)(local) == pytest.approx(max(rows), rel=1e-13, abs=1e-300)


@settings(max_examples=15)
@given(arch=every_op(max_nodes=6))
def test_symbolic_c0(arch):
    b = sp.Symbol("b", positive=True)

    def local(c):
        return b + (1 - b) * c

    found = maximal_c0(arch).values(local, zero=sp.Integer(0))
    tree = arch.dominators
    for node in arch.nodes:
        top = arch.nodes[tree.chain(arch.index[node.id])[-1]].id
        want = composed(arch, top, sp.Integer(0), local)[node.id]
        assert sp.expand(found[node.id] - want) == 0


def test_symbolic_c0_of_symbolic_weights():
    arch = residual(1, lambda k: (W, sp.sqrt(1 - W**2)))
    b = sp.Symbol("b", positive=True)
    found = maximal_c0(arch).values(lambda c: b + (1 - b) * c, zero=sp.Integer(0))
    assert sp.simplify(found[arch.outputs[0]] - W**2 * b) == 0
    with pytest.raises(ArchitectureError):
        maximal_c0(arch)(leaky(0.1))


def test_local_maps_by_name():
    b = Builder()
    x = b.activation(b.activation(b.input(), "relu"), "tanh")
    arch = b.build([x])
    found = maximal_c0(arch)
    assert found({"relu": lambda c: 0.2 + 0.8 * c, "tanh": lambda c: c**3}) == pytest.approx(0.2)
    assert found.argmax({"relu": lambda c: 0.2 + 0.8 * c, "tanh": lambda c: c**3}).target == "activation1"
    with pytest.raises(QCMapError):
        found({"relu": lambda c: c})


@pytest.mark.parametrize("local", [lambda c: c + 0.7, lambda c: c - 0.1, lambda c: math.nan, lambda c: math.inf])
def test_what_is_no_c_map(local):
    with pytest.raises(NumericalError):
        maximal_c0(zoo.mlp(2))(local)


def test_leaky_relus_as_they_are():
    """The C map above is that of the catalogue's leaky relu."""
    for alpha in (0.0, 0.3):
        maps = qc.local_maps(qc.activation("leaky_relu", negative_slope=alpha) if alpha else qc.activation("relu"))
        for c in (-0.9, 0.0, 0.4):
            assert leaky(alpha)(c) == pytest.approx(float(maps.c(c)), abs=1e-12)
    assert isinstance(zoo.mlp(1).nodes[0].op, Input)
    assert Fraction(1, 2) == 0.5
