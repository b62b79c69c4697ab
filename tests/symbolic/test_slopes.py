"""Slope polynomials and the maximal slope function, against enumeration of subnetworks and paths."""

import copy
import math
import pickle

import numpy as np
import pytest
import sympy as sp
from hypothesis import given
from hypothesis import strategies as st

from qcmap.architecture import Affine, Architecture, Builder, Input, Node, Nonlinear, check, zoo
from qcmap.errors import ArchitectureError, ArgumentError, NumericalError, QCMapError
from qcmap.symbolic import maximal_slope, slope_polynomial
from tests import graphs
from tests.graphs import architectures, relabelled
from tests.oracles import MP

W = sp.Symbol("w", positive=True)
PSI = sp.Symbol("psi", positive=True)
PSIS = (1.0, 1.003, 1.2, 2.5, 40.0)


def close(got, want, relative=1e-13):
    return abs(MP.mpf(float(got)) - want) <= relative * abs(want)


# --- the papers' networks --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("depth", "printed"),
    [
        (50, "psi^5 (w^2 psi^2 + 1 - w^2)^4 (w^2 psi^3 + 1 - w^2)^12"),
        (101, "psi^5 (w^2 psi^2 + 1 - w^2)^4 (w^2 psi^3 + 1 - w^2)^29"),
        (152, "psi^5 (w^2 psi^2 + 1 - w^2)^4 (w^2 psi^3 + 1 - w^2)^46"),
    ],
)
def test_resnet_as_printed(depth, printed):
    arch = zoo.call(f"resnet_v2:depth={depth},residual_weight=w")
    polynomial = slope_polynomial(arch)
    assert str(polynomial) == printed
    assert polynomial.degree == depth - 1
    exponent = (depth - 2) // 3 - 4
    expected = PSI**5 * (W**2 * PSI**2 + 1 - W**2) ** 4 * (W**2 * PSI**3 + 1 - W**2) ** exponent
    assert polynomial.expr == expected


@pytest.mark.parametrize(("depth", "exponent"), [(28, 9), (250, 120), (10, 0), (16, 3)])
def test_wide_resnet(depth, exponent):
    polynomial = slope_polynomial(zoo.wide_resnet(depth, residual_weight=W))
    assert dict(polynomial.powers) == {"psi": 4}
    assert (
        sp.expand(polynomial.expr - PSI**4 * (W**2 * PSI + 1 - W**2) ** 3 * (W**2 * PSI**2 + 1 - W**2) ** exponent) == 0
    )
    assert str(polynomial) == "psi^4 (w^2 psi + 1 - w^2)^3" + {
        0: "", 1: " (w^2 psi^2 + 1 - w^2)"
    }.get(exponent, f" (w^2 psi^2 + 1 - w^2)^{exponent}")  # fmt: skip


@pytest.mark.parametrize("depth", [50, 101, 152])
def test_resnet_without_shortcuts(depth):
    assert str(slope_polynomial(zoo.resnet_v2(depth, shortcuts=False))) == f"psi^{depth - 1}"
    assert str(maximal_slope(zoo.resnet_v2(depth, shortcuts=False))) == f"psi^{depth - 1}"


@pytest.mark.parametrize("depth", [28, 250])
def test_wide_resnet_without_shortcuts(depth):
    assert str(slope_polynomial(zoo.wide_resnet(depth, shortcuts=False))) == f"psi^{depth - 3}"


def test_layer_norms_and_pools_do_not_change_slopes():
    plain, normed = (maximal_slope(zoo.resnet_v2(50, residual_weight=W, norm=norm)) for norm in (None, "layer"))
    assert str(plain) == str(normed)


def test_the_residual_branch_of_the_last_block_competes():
    """mu is the larger of p_f and the slope up to the end of the last residual branch (w^2 < 2/3, psi near 1)."""
    mu = maximal_slope(zoo.call("resnet_v2:depth=50,residual_weight=w"))
    assert {str(candidate.polynomial) for candidate in mu.candidates} == {
        "psi^5 (w^2 psi^2 + 1 - w^2)^4 (w^2 psi^3 + 1 - w^2)^12",
        "psi^7 (w^2 psi^2 + 1 - w^2)^4 (w^2 psi^3 + 1 - w^2)^11",
    }
    assert isinstance(mu.expr, sp.Max)
    for w2, psi in ((0.05, 1.01), (0.6, 1.01), (0.7, 1.01), (0.05, 5.0), (0.5, 1.3)):
        whole = psi**5 * (w2 * psi**2 + 1 - w2) ** 4 * (w2 * psi**3 + 1 - w2) ** 12
        branch = psi**7 * (w2 * psi**2 + 1 - w2) ** 4 * (w2 * psi**3 + 1 - w2) ** 11
        numeric = maximal_slope(zoo.resnet_v2(50, residual_weight=math.sqrt(w2)))
        assert close(numeric(psi), max(whole, branch))
        assert numeric.argmax(psi).target.endswith("conv3" if branch > whole else "head")


@pytest.mark.parametrize(("family", "w"), [("resnet_v2", 0.2236), ("resnet_v2", 0.9), ("wide_resnet", 0.5)])
def test_zoo_networks_by_enumeration(family, w):
    """Every pair of the brute force, each slope evaluated node by node."""
    arch = zoo.call(f"{family}:residual_weight={w}")
    mu = maximal_slope(arch)
    sources = {u for u, v in graphs.subnetworks(arch)}
    for psi in (1.004, 1.7):
        want = max(max(graphs.slopes_from(arch, u, psi).values()) for u in ("input", "stem.conv", "group2.block1.sum"))
        assert close(mu(psi), want)
    assert "input" in sources


# --- random graphs ---------------------------------------------------------------------------------------------------


@given(arch=architectures(max_nodes=9), psi=st.sampled_from(PSIS) | st.floats(1, 100))
def test_every_subnetwork_by_its_paths(arch, psi):
    for u, v in graphs.subnetworks(arch):
        exact = graphs.slope_by_paths(arch, u, v)
        polynomial = slope_polynomial(arch, u, v)
        assert close(polynomial(psi), graphs.evaluate(exact, psi))
        assert polynomial.degree == max(exact)
        assert close(polynomial(1.0), MP.one)
        assert sum(exact.values()) == 1


@given(arch=architectures(max_nodes=10, max_inputs=3, zero_weights=True), psi=st.floats(1, 50))
def test_maximal_slope_is_the_maximum_of_all(arch, psi):
    mu, want = maximal_slope(arch), graphs.maximal_slope(arch, psi)
    assert close(mu(psi), want, 1e-12)
    assert close(max(float(c.polynomial(psi)) for c in mu.candidates), want, 1e-12)
    assert close(mu.expr.subs(PSI, sp.Float(psi, 20)).evalf(20), want, 1e-12)
    best = mu.argmax(psi)
    assert (best.source, best.target) in graphs.subnetworks(arch)
    assert close(graphs.evaluate(graphs.slope_by_paths(arch, best.source, best.target), psi), want, 1e-12)


@given(arch=architectures(max_nodes=9), psi=st.floats(1, 20))
def test_both_oracles_agree(arch, psi):
    for source in arch.index:
        for target, value in graphs.slopes_from(arch, source, psi).items():
            assert abs(graphs.evaluate(graphs.slope_by_paths(arch, source, target), psi) / value - 1) < 1e-25


@given(data=st.data())
def test_names_and_order_do_not_matter(data):
    arch = data.draw(architectures())
    moved, names = data.draw(relabelled(arch))
    a, b = maximal_slope(arch), maximal_slope(moved)
    assert {str(c.polynomial) for c in a.candidates} == {str(c.polynomial) for c in b.candidates}
    np.testing.assert_allclose(a(np.array(PSIS)), b(np.array(PSIS)), rtol=1e-14)
    for u, v in graphs.subnetworks(arch):
        assert str(slope_polynomial(arch, u, v)) == str(slope_polynomial(moved, names[u], names[v]))


@given(arch=architectures(one_output=True, max_inputs=1), psi=st.floats(1, 20))
def test_slope_of_a_composition_is_the_product(arch, psi):
    whole = slope_polynomial(arch)
    (output,) = arch.outputs
    for v in (v for u, v in graphs.subnetworks(arch) if u == arch.inputs[0]):
        if (v, output) in graphs.subnetworks(arch):
            first, second = slope_polynomial(arch, target=v), slope_polynomial(arch, v)
            assert first * second == whole or close(float(first(psi)) * float(second(psi)), MP.mpf(float(whole(psi))))


@given(arch=architectures())
def test_mu_is_increasing_convex_in_log_and_at_least_psi(arch):
    mu = maximal_slope(arch)
    s = np.linspace(0, 3, 31)
    logs = mu.log(s)
    assert logs[0] == pytest.approx(0, abs=1e-14)
    assert (logs >= s - 1e-13).all()
    assert (np.diff(logs) > 0).all()
    assert (np.diff(logs, 2) > -1e-12).all()


@given(arch=architectures(), zeta=st.sampled_from([1 + 1e-9, 1.01, 1.5, 100.0, 1e12]) | st.floats(1.0001, 1e6))
def test_inverse(arch, zeta):
    mu = maximal_slope(arch)
    psi = mu.inverse(zeta)
    assert psi > 1
    assert abs(graphs.maximal_slope(arch, psi) / zeta - 1) < 2e-14 * max(1, mu.candidates[0].polynomial.degree)
    exact = MP.findroot(lambda x: graphs.maximal_slope(arch, x) - MP.mpf(zeta), (psi * (1 - 1e-9), psi * (1 + 1e-9)),
                        solver="anderson", tol=1e-40, verify=False)  # fmt: skip
    assert abs(psi - exact) <= 1e-15 * exact * max(1, math.log(zeta) / 5)


# --- chains and examples ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("depth", [1, 2, 20, 50, 100, 1000, 10_000])
@pytest.mark.parametrize("zeta", [1 + 1e-6, 1.01, 1.5, 100, 1e6])
def test_inverse_of_a_chain(depth, zeta):
    mu = maximal_slope(zoo.mlp(depth))
    psi = mu.inverse(zeta)
    root = MP.findroot(lambda x: MP.log(x) * depth - MP.log(zeta), MP.power(zeta, MP.one / depth))
    assert abs(psi - root) <= 1e-15 * root
    assert float(mu(psi)) == pytest.approx(zeta, rel=2.3e-16 * (depth + 10))
    assert str(mu) == ("psi" if depth == 1 else f"psi^{depth}")


@pytest.mark.parametrize("zeta", [1.01, 1.5, 100])
def test_log_of_the_inverse_is_exact_at_depth(zeta):
    """mu(inverse(z)) = z to 1e-14: through logarithms, rounding psi alone costs depth * 1e-16."""
    for depth in (1, 3, 10, 30):
        mu = maximal_slope(zoo.mlp(depth))
        assert float(mu(mu.inverse(zeta))) == pytest.approx(zeta, rel=1e-14)


def whole_residual(depth):
    """One block over everything, equal weights: p = (1 + psi^D) / 2 at the sum, psi^D at the end of its branch."""
    b = Builder("one block")
    x = b.input("x", channels=2)
    h = x
    for _ in range(depth):
        h = b.activation(b.affine(h, 2), "tanh")
    return b, x, h


@pytest.mark.parametrize("depth", [1, 2, 7, 300])
def test_one_residual_block(depth):
    b, x, h = whole_residual(depth)
    arch = b.build([b.sum([h, x])])
    mu = maximal_slope(arch)
    power = "psi" if depth == 1 else f"psi^{depth}"
    assert str(slope_polynomial(arch)) == f"(0.5 {power} + 0.5)"
    # The whole network is always less steep than the branch alone: proved, not sampled (DKS, section 17.2).
    assert str(mu) == power
    for psi in (1.0, 1.01, 3.0):
        # The exponential of a logarithm L keeps L times the rounding unit.
        assert close(mu(psi), MP.mpf(psi) ** depth, 1e-15 * (1 + depth * psi))


def test_block_followed_by_one_more_layer():
    b, x, h = whole_residual(5)
    mu = maximal_slope(b.build([b.activation(b.sum([h, x]), "tanh")]))
    assert {str(c.polynomial) for c in mu.candidates} == {"psi^5", "psi (0.5 psi^5 + 0.5)"}
    for psi in (1.01, 1.2, 2.0, 3.0):
        assert close(mu(psi), max(MP.mpf(psi) ** 5, psi * (1 + MP.mpf(psi) ** 5) / 2))
        assert close(mu.expr.subs(PSI, psi), max(MP.mpf(psi) ** 5, psi * (1 + MP.mpf(psi) ** 5) / 2))
    assert isinstance(mu.expr, sp.Max)


def test_equal_blocks_are_powers():
    b = Builder()
    x = b.input("x", channels=2)
    for _ in range(40):
        h = b.activation(b.activation(x, "tanh"), "relu")
        x = b.sum([h, x], [0.6, 0.8])
    assert str(slope_polynomial(b.build([x]))) == "(0.36 psi^2 + 0.64)^40"


def test_concatenation_weights_are_channels():
    b = Builder()
    x = b.input("x", channels=1)
    y = b.activation(b.affine(x, 3), "tanh")
    assert str(slope_polynomial(b.build([b.concat([x, y])]))) == "(0.75 psi + 0.25)"


def test_several_inputs_need_a_source():
    b = Builder("two")
    x, y = b.input("x", channels=2), b.input("y", channels=2)
    s = b.sum([x, y])
    arch = b.build([b.activation(s, "tanh", name="out"), b.activation(b.activation(x, "tanh"), "tanh", name="other")])
    with pytest.raises(ArchitectureError, match="2 inputs"):
        slope_polynomial(arch)
    with pytest.raises(ArchitectureError, match="2 outputs"):
        slope_polynomial(arch, "x")
    with pytest.raises(ArchitectureError, match="avoids x"):
        slope_polynomial(arch, "x", "out")
    assert str(slope_polynomial(arch, s, "out")) == "psi"
    assert str(maximal_slope(arch)) == "psi^2"


def test_symbolic_weights_that_are_not_normalized_are_divided_by_their_sum():
    b = Builder()
    x = b.input("x", channels=1)
    v = sp.Symbol("v", positive=True)
    polynomial = slope_polynomial(b.build([b.sum([b.activation(x, "tanh"), x], [W, v])]))
    assert sp.simplify(polynomial.expr - (W**2 * PSI + v**2) / (W**2 + v**2)) == 0
    assert sp.simplify(polynomial.expr.subs(PSI, 1)) == 1


@given(w=st.floats(0.01, 0.99), psi=st.floats(1, 3))
def test_symbolic_and_numeric_agree(w, psi):
    symbolic, numeric = (maximal_slope(zoo.wide_resnet(16, residual_weight=x)) for x in (W, w))
    value = symbolic.expr.subs({W: w, PSI: psi})
    assert float(value) == pytest.approx(float(numeric(psi)), rel=1e-13)


def test_a_chain_of_100_000_layers_grows_linearly():
    nodes = [Node("x", Input(1))]
    for k in range(100_000):
        nodes.append(Node(f"a{k}", Affine(1) if k % 2 else Nonlinear("tanh"), (nodes[-1].id,)))
    mu = maximal_slope(Architecture("chain", tuple(nodes), (nodes[-1].id,)))
    assert mu.inverse(1.5) == pytest.approx(1.5 ** (1 / 50_000), rel=1e-15)
    assert str(mu) == "psi^50000"


def test_deep_blocks_without_recursion():
    b = Builder()
    x = b.input("x", channels=1)
    for _ in range(3_000):
        x = b.sum([b.activation(x, "tanh"), x], [0.6, 0.8])
    arch = b.build([x])
    assert str(slope_polynomial(arch)) == "(0.36 psi + 0.64)^3000"
    assert maximal_slope(arch).inverse(1.5) == pytest.approx(1 + (1.5 ** (1 / 3000) - 1) / 0.36, rel=1e-6)


def nested(depth):
    """Each block's branch holds the next: means inside means."""
    b = Builder("nested")
    entries = [b.input("x", channels=1)]
    for _ in range(depth):
        entries.append(b.activation(entries[-1], "tanh"))
    h = entries[-1]
    for entry in reversed(entries[:-1]):
        h = b.sum([h, entry])
    return b.build([h])


def test_nested_blocks_in_numbers():
    mu = maximal_slope(nested(400))
    assert float(mu(1.5)) == pytest.approx(1.5**400, rel=1e-12)
    assert mu.inverse(2.0) == pytest.approx(2 ** (1 / 400), rel=1e-14)


@pytest.mark.parametrize("depth", [3, 60, 150])
def test_nested_blocks_as_polynomials(depth):
    arch = nested(depth)
    exact = MP.one
    for _ in range(depth):
        exact = (exact * MP.mpf("1.5") + 1) / 2
    assert close(slope_polynomial(arch)(1.5), exact, 1e-12)
    assert float(maximal_slope(arch).candidates[-1].polynomial(1.0)) == pytest.approx(1)


# --- shapes and errors -----------------------------------------------------------------------------------------------


def test_vectorised():
    mu = maximal_slope(zoo.resnet_v2(50))
    psi = np.array([[1.0, 1.1], [1.2, 2.0]])
    assert mu(psi).shape == (2, 2)
    assert np.shape(mu(1.1)) == ()
    assert mu(np.empty((0, 3))).shape == (0, 3)
    assert mu(psi)[1, 0] == mu(1.2)
    polynomial = slope_polynomial(zoo.resnet_v2(50))
    assert polynomial(psi).shape == (2, 2)


def complete(error):
    assert isinstance(error, QCMapError)
    assert error.subject
    assert error.rule
    assert error.remedy


@pytest.mark.parametrize("psi", [0.999, 0, -1, math.nan, math.inf, [1.0, 0.5]])
def test_psi_out_of_range(psi):
    for function in (maximal_slope(zoo.mlp(3)), maximal_slope(zoo.mlp(3)).argmax, slope_polynomial(zoo.mlp(3))):
        with pytest.raises(ArgumentError) as error:
            function(psi)
        complete(error.value)


@pytest.mark.parametrize("zeta", [1, 1.0, 0.5, 0, -2, math.nan, math.inf, None, "2"])
def test_zeta_out_of_range(zeta):
    with pytest.raises(ArgumentError) as error:
        maximal_slope(zoo.mlp(3)).inverse(zeta)
    complete(error.value)


def test_numpy_numbers_are_numbers():
    mu = maximal_slope(zoo.mlp(3))
    assert mu.inverse(np.float64(1.5)) == mu.inverse(1.5)


def test_overflow_is_an_error_and_the_logarithm_is_not():
    mu = maximal_slope(zoo.mlp(1000))
    with pytest.raises(NumericalError) as error:
        mu(3.0)
    complete(error.value)
    assert float(mu.log(math.log(3))) == pytest.approx(1000 * math.log(3))


def test_symbolic_weights_have_no_numbers():
    mu = maximal_slope(zoo.resnet_v2(50, residual_weight=W))
    for function in (mu, mu.inverse, mu.candidates[0].polynomial, mu.argmax):
        with pytest.raises(ArchitectureError) as error:
            function(1.5)
        complete(error.value)
        assert "substitute" in error.value.remedy


def test_no_nonlinear_layer():
    b = Builder("flat")
    with pytest.raises(ArchitectureError, match="no nonlinear layer") as error:
        maximal_slope(b.build([b.affine(b.input())]))
    complete(error.value)


def test_unknown_nodes():
    for source, target in (("nothing", None), (None, "nothing")):
        with pytest.raises(ArchitectureError) as error:
            slope_polynomial(zoo.mlp(2), source, target)
        complete(error.value)


def test_concatenation_of_unknown_channels():
    b = Builder()
    x = b.input("x")
    arch = b.build([b.concat([b.activation(x, "tanh"), x], name="join")])
    for function in (slope_polynomial, lambda a: maximal_slope(a)(1.5)):
        with pytest.raises(ArchitectureError) as error:
            function(arch)
        complete(error.value)
        assert error.value.subject == "join"


def test_presentation():
    mu = maximal_slope(zoo.resnet_v2(50, residual_weight=W))
    assert repr(mu).startswith("<maximal slope max{psi^")
    assert mu._repr_latex_().startswith("$")
    data = mu.to_dict()
    assert data["maximal_slope"] == str(mu)
    assert len(data["candidates"]) == 2
    polynomial = slope_polynomial(zoo.mlp(3))
    assert repr(polynomial) == "<slope polynomial psi^3>"
    assert polynomial.to_dict() == {"polynomial": "psi^3", "degree": 3}
    assert str(slope_polynomial(zoo.mlp(3), "input", "input")) == "1"
    assert str(polynomial**2) == "psi^6"


# --- every op, adversarially -----------------------------------------------------------------------------------------


@st.composite
def every_op(draw, *, max_nodes=10, max_inputs=3, activations=("tanh", "relu"), sums=True):
    """A random graph with every op that has a slope; weights of sums are small integers, not normalized.

    It keeps no rule of independence: slopes do not ask for it. Without ``sums`` every mean is a concatenation.
    """
    b = Builder("every op")
    width = {b.input(channels=draw(st.integers(1, 3))): 0 for _ in range(draw(st.integers(1, max_inputs)))}
    width = {name: b._nodes[name].op.channels for name in width}
    kinds = ["affine", "conv", "activation", "activation", "activation", "concat", "scale", "gate", "unary"]
    for _ in range(draw(st.integers(1, max_nodes))):
        ids = list(width)
        pick = st.sampled_from(ids[-3:]) | st.sampled_from(ids)
        kind, x = draw(st.sampled_from([*kinds, "sum", "sum", "sum"] if sums else kinds)), draw(pick)
        if kind == "affine":
            channels = draw(st.integers(1, 3))
            width[b.affine(x, channels, weight_variance=draw(st.sampled_from([1.0, 2.0])))] = channels
        elif kind == "conv":
            kernel, stride = draw(st.sampled_from([((3, 3), 2), ((5, 5), 1), ((1, 1), 3)]))
            width[b.affine(x, 2, kernel=kernel, stride=stride)] = 2
        elif kind == "activation":
            width[b.activation(x, draw(st.sampled_from(activations)))] = width[x]
        elif kind == "scale":
            width[b.scale(x, draw(st.sampled_from([-2.0, 0.3, 7.0])))] = width[x]
        elif kind == "gate":
            width[b.gate(x, draw(st.sampled_from(["g", "h"])))] = width[x]
        elif kind == "unary":
            ops = {
                "norm": b.layer_norm, "max": lambda y: b.max_pool(y, (3, 3), stride=2, padding=1),
                "mean": b.mean_pool, "weighted": b.weighted_mean_pool,
            }  # fmt: skip
            width[ops[draw(st.sampled_from(sorted(ops)))](x)] = width[x]
        elif kind == "concat":
            branches = [x, *draw(st.lists(pick, min_size=0, max_size=2))]
            width[b.concat(branches)] = sum(width[y] for y in branches)
        else:
            same = st.sampled_from([y for y in ids if width[y] == width[x]])
            branches = [x, *draw(st.lists(same, min_size=0, max_size=3))]
            weights = [draw(st.integers(-3, 3)) for _ in branches]
            weights[0] = weights[0] or 2
            width[b.sum(branches, weights)] = width[x]
    last = list(width)[-1]
    width[b.activation(last, activations[0])] = width[last]
    used = {u for node in b._nodes.values() for u in node.inputs}
    sinks = [name for name in width if name not in used]
    outputs = [b.output(name) if draw(st.booleans()) else name for name in sinks]
    return b.build(outputs)


def every_slope(arch):
    """The distinct slope polynomials of all subnetworks, by enumeration."""
    found = {tuple(sorted(graphs.slope_by_paths(arch, u, v).items())) for u, v in graphs.subnetworks(arch)}
    return [dict(items) for items in found]


@given(arch=every_op(), psi=st.sampled_from(PSIS) | st.floats(1, 100))
def test_every_op_by_enumeration(arch, psi):
    mu, slopes = maximal_slope(arch), every_slope(arch)
    values = [graphs.evaluate(slope, psi) for slope in slopes]
    want = max(values)
    assert close(mu(psi), want, 1e-12)
    assert close(mu([psi, 1.0])[0], want, 1e-12)
    assert close(max(c.polynomial(psi) for c in mu.candidates), want, 1e-12)
    assert close(mu.log(math.log(psi)) + 1, MP.log(want) + 1, 1e-13)
    # At a crossing the derivative is that of one of those that are largest.
    rates = [
        graphs.evaluate({d - 1: c * d for d, c in slope.items() if d}, psi)
        for slope, value in zip(slopes, values, strict=True)
        if value > want * (1 - MP.mpf("1e-12"))
    ]
    for got in (mu.derivative(psi), mu.derivative([psi, psi])[1]):
        assert min(abs(MP.mpf(float(got)) - rate) for rate in rates) <= 1e-11 * max(rates)


@given(arch=every_op(), psi=st.lists(st.sampled_from(PSIS) | st.floats(1, 1e6), min_size=2, max_size=6))
def test_vectorised_calls_are_scalar_calls(arch, psi):
    mu = maximal_slope(arch)
    psi = np.array(psi)
    for function in (mu, mu.candidates[0].polynomial, mu.candidates[-1].polynomial):
        np.testing.assert_allclose(function(psi), [float(function(x)) for x in psi], rtol=1e-14)
        np.testing.assert_array_equal(function(psi[:, None]).ravel(), function(psi))
    np.testing.assert_allclose(mu.log(np.log(psi)), [float(mu.log(np.log(x))) for x in psi], rtol=1e-14, atol=1e-300)
    positive = psi[psi > 1]
    np.testing.assert_allclose(mu.derivative(positive), [float(mu.derivative(x)) for x in positive], rtol=1e-13)


@given(arch=every_op(max_nodes=8), s=st.sampled_from([1e-12, 1e-6, 5.0, 8.99, 9.01, 700.0, 1e4]))
def test_logarithms_do_not_overflow(arch, s):
    """log mu(exp s) to 1e-14, relatively: also where it is tiny, and far above the largest float."""
    want = max(MP.log(graphs.evaluate(slope, MP.exp(MP.mpf(s)))) for slope in every_slope(arch))
    mu = maximal_slope(arch)
    for got in (mu.log(s), mu.log([s, 2 * s])[0]):
        assert abs(MP.mpf(float(got)) - want) <= 1e-14 * want


@given(arch=every_op(max_nodes=8), zeta=st.sampled_from([1 + 1e-12, 1 + 1e-9, 1.3, 1e8, 1e100, 1e300]))
def test_inverse_of_every_op(arch, zeta):
    """psi = exp(s), and s is right to a few roundings: psi to (2 + 3 s) of them."""
    mu, slopes = maximal_slope(arch), every_slope(arch)
    psi = mu.inverse(zeta)
    low, high = MP.zero, MP.log(MP.mpf(zeta))
    for _ in range(110):
        middle = (low + high) / 2
        above = max(graphs.evaluate(slope, MP.exp(middle)) for slope in slopes) >= MP.mpf(zeta)
        low, high = (low, middle) if above else (middle, high)
    assert abs(psi - MP.exp(high)) <= 2.3e-16 * MP.exp(high) * (2 + 3 * high)
    several = mu.inverse(np.array([[zeta, 1.5], [2.0, 1e9]]))
    assert several.shape == (2, 2)
    assert several.tolist() == [[psi, mu.inverse(1.5)], [mu.inverse(2.0), mu.inverse(1e9)]]
    assert mu.inverse([zeta]).shape == (1,)
    assert mu.inverse(np.array([])).shape == (0,)


@pytest.mark.parametrize("zeta", [[1.5, 1.0], [math.nan], [[2.0], [math.inf]], ["2", "x"], [None], True])
def test_inverse_of_arrays_out_of_range(zeta):
    with pytest.raises(ArgumentError) as error:
        maximal_slope(zoo.mlp(3)).inverse(zeta)
    complete(error.value)


@given(data=st.data())
def test_relabelling_gives_the_same_candidates(data):
    arch = data.draw(every_op())
    moved, names = data.draw(relabelled(arch))
    for u, v in graphs.subnetworks(arch):
        a, b = slope_polynomial(arch, u, v), slope_polynomial(moved, names[u], names[v])
        assert a == b
        assert (hash(a), a.digest, str(a), a.degree) == (hash(b), b.digest, str(b), b.degree)
    # Equal polynomials may be factored differently; which one stands for both is up to the order.
    one, other = ({c.polynomial.coefficients for c in maximal_slope(x).candidates} for x in (arch, moved))
    assert one == other


def test_the_derivative_at_one_is_that_of_a_subnetwork_that_bends():
    """At psi = 1 all slopes are 1, also that of an output without nonlinear layers; mu has the largest derivative."""
    b = Builder()
    x = b.input("x", channels=2)
    flat = b.affine(x, 2)
    steep = b.activation(b.concat([x]), "tanh")
    mu = maximal_slope(b.build([flat, steep]))
    assert float(mu.derivative(1.0)) == 1
    assert mu.derivative([1.0, 1.0]).tolist() == [1, 1]


def test_a_polynomial_that_overflows_is_an_error():
    with pytest.raises(NumericalError):
        slope_polynomial(zoo.mlp(1000))(3.0)


def test_biases_with_q_values_are_no_candidates():
    """With biases slopes are below 1, so a factor is no smaller than the product, and leaves do not serve."""
    b = Builder()
    x = b.input("x", channels=2)
    for _ in range(2):
        x = b.activation(b.affine(x, 2, bias_variance=0.5), "tanh")
    arch = b.build([x])
    with pytest.raises(ArchitectureError) as error:
        maximal_slope(arch, q={node.id: 1.0 + node.id.startswith("affine") for node in arch.nodes})
    assert error.value.subject == "affine1"


@pytest.mark.parametrize("weight", [1e200, 1e-200])
def test_weights_beyond_the_range_of_squares(weight):
    b = Builder()
    x = b.input("x", channels=2)
    with pytest.raises(ArchitectureError, match="square of the weight") as error:
        b.sum([b.activation(x, "tanh"), x], [weight, weight], name="join")
    assert error.value.subject == "join"


def similar_blocks(order):
    """Two blocks in a row whose texts agree in the first 80 characters and more."""
    b = Builder()
    x = b.input("x", channels=1)
    for first, second in order:
        chain = [x]
        for _ in range(9):
            chain.append(b.activation(chain[-1], "tanh"))
        x = b.sum(chain[1:], [7.0, 5.0, first, second, 3.0, 3.0, 3.0, 3.0, 3.0])
    return b.build([x])


def test_blocks_that_agree_in_their_first_characters():
    numbers = [(1.0, 2.0), (2.0, 1.0), (1.5, math.sqrt(2.75)), (0.5, math.sqrt(4.75))]
    one = slope_polynomial(similar_blocks(numbers))
    assert len({mean.label for mean, _ in one.factors}) == 1
    assert len(one.factors) == 4
    for order in ([3, 2, 1, 0], [1, 0, 3, 2], [2, 3, 0, 1]):
        other = slope_polynomial(similar_blocks([numbers[k] for k in order]))
        assert one == other
        assert (hash(one), str(one), one.expr) == (hash(other), str(other), other.expr)
        assert one.divides(other)
    assert slope_polynomial(similar_blocks(numbers[:3])) != slope_polynomial(similar_blocks(numbers[1:]))


@given(data=st.data())
def test_means_of_similar_blocks_in_any_order(data):
    from qcmap.symbolic._algebra import mean_of

    numbers = [(1.0, 2.0), (2.0, 1.0), (1.5, math.sqrt(2.75))]
    blocks = [slope_polynomial(similar_blocks([pair])) for pair in numbers]
    weights = data.draw(st.lists(st.sampled_from([1, 2]), min_size=3, max_size=3))
    order = data.draw(st.permutations(range(3)))
    one = mean_of(weights, blocks)
    other = mean_of([weights[k] for k in order], [blocks[k] for k in order])
    assert one == other
    assert str(one) == str(other)


# --- size ------------------------------------------------------------------------------------------------------------


def u_net(levels):
    """Nested skips around a chain: no node but the input dominates a decoder's."""
    b = Builder("U-net")
    entries = [b.input("x", channels=1)]
    for _ in range(levels):
        entries.append(b.activation(entries[-1], "tanh"))
    h = entries[-1]
    for entry in reversed(entries[:-1]):
        h = b.sum([b.activation(h, "tanh"), entry])
    return b.build([h])


def densenet(layers):
    """Each layer's map is concatenated to all before: blocks of different weights in a row."""
    b = Builder("densenet")
    x = b.input("x", channels=4)
    for _ in range(layers):
        x = b.concat([x, b.activation(b.affine(x, 4), "tanh")])
    return b.build([x])


def joined_at_the_end(layers):
    """One concatenation of all layers of a chain."""
    b = Builder("joined at the end")
    maps = [b.input("x", channels=4)]
    for _ in range(layers):
        maps.append(b.activation(b.affine(maps[-1], 4), "tanh"))
    return b.build([b.concat(maps)])


def nested_value(levels, psi):
    value = MP.one
    for _ in range(levels):
        value = (value * psi**2 + 1) / 2
    return value


@pytest.mark.parametrize("levels", [1, 2, 4000])
def test_u_nets_do_not_recurse(levels):
    arch = u_net(levels)
    polynomial, again = slope_polynomial(arch), slope_polynomial(u_net(levels))
    assert polynomial == again
    assert hash(polynomial) == hash(again)
    assert polynomial.degree == 2 * levels
    assert polynomial.is_rational
    assert polynomial.slopes == ("psi",)
    psi = MP.mpf(1001) / 1000
    assert close(polynomial(1.001), nested_value(levels, psi), 1e-11)
    if levels < 1000:
        assert str(polynomial).count("(") == levels
    else:  # too long to be written out: means get names
        assert str(polynomial).startswith("M4000, M1 = 0.5 psi^2 + 0.5, M2 = 0.5 psi^2 M1 + 0.5")
    mu = maximal_slope(arch)
    # The encoder, the first way up of the decoder after it, and every subnetwork that ends at a decoder's activation.
    assert float(mu(1.001)) >= float(polynomial(1.001))
    assert float(mu(mu.inverse(1.5))) == pytest.approx(1.5, rel=1e-12)


def test_texts_of_u_nets_take_linear_memory():
    """The text has some 20 characters a level; making it must not keep the texts of all inner means."""
    import tracemalloc

    peaks = []
    for levels in (500, 1000, 2000):
        polynomial = slope_polynomial(u_net(levels))
        tracemalloc.start()
        assert len(str(polynomial)) > 15 * levels
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[2] < 3 * peaks[1]


@pytest.mark.slow
def test_a_u_net_of_20_000_levels():
    arch = u_net(20_000)
    polynomial = slope_polynomial(arch)
    assert polynomial == slope_polynomial(arch)
    assert close(polynomial(1.001), nested_value(20_000, MP.mpf(1001) / 1000), 1e-10)
    assert maximal_slope(arch).inverse(1.5) > 1


def test_u_net_coefficients():
    coefficients = slope_polynomial(u_net(150)).coefficients
    assert len(coefficients) == 301
    assert sum(coefficients) == 1
    # A path leaves the chain at level k with probability 2^-(k + 1).
    assert all(coefficients[2 * k] * 2 ** (k + 1) == 1 for k in range(1, 150))


@pytest.mark.parametrize("make", [u_net, densenet])
def test_deep_polynomials_are_copied_and_pickled(make):
    polynomial = slope_polynomial(make(600))
    assert pickle.loads(pickle.dumps(polynomial)) == polynomial
    assert copy.deepcopy(polynomial) == polynomial


def test_densenet_slopes():
    polynomial = slope_polynomial(densenet(300))
    value = MP.one
    for k in range(1, 301):
        value *= (MP.mpf(11) / 10 + k) / (1 + k)
    assert close(polynomial(1.1), value, 1e-12)
    mu = maximal_slope(densenet(300))
    last = value / (MP.mpf(11) / 10 + 300) * 301 * MP.mpf(11) / 10
    assert close(mu(1.1), max(value, last), 1e-12)


def test_one_concatenation_of_a_long_chain():
    """One mean of 500 branches along a chain, whose dominators are not walked again and again."""
    assert slope_polynomial(joined_at_the_end(500)).degree == 500


def test_candidates_of_a_u_net():
    """Every decoder activation that is not followed by the end is no leaf: 1 + levels candidates, in linear time."""
    mu = maximal_slope(u_net(400))
    assert all(c.polynomial.degree <= 800 for c in mu._undivided)
    assert close(max(float(c.polynomial(1.01)) for c in mu._undivided), MP.mpf(float(mu(1.01))), 1e-12)


def residual(blocks, weights=lambda k: (0.6, 0.8)):
    """A residual network of valid wiring: five nodes a block."""
    b = Builder("residual")
    x = b.affine(b.input("x", channels=4), 4)
    for k in range(blocks):
        x = b.sum([b.affine(b.activation(b.affine(b.layer_norm(x), 4), "tanh"), 4), x], weights(k))
    return b.build([x])


@pytest.mark.slow
def test_a_residual_network_of_100_000_nodes():
    arch = residual(20_000)
    assert not [v for v in check(arch) if v.severity == "error"]
    mu = maximal_slope(arch)
    assert str(slope_polynomial(arch)) == "(0.36 psi + 0.64)^20000"
    assert mu.inverse(1.5) == pytest.approx(1 + math.expm1(math.log(1.5) / 19_999.6) / 0.36, rel=1e-6)
    assert {str(c.polynomial) for c in mu._undivided} == {"psi (0.36 psi + 0.64)^19999", "(0.36 psi + 0.64)^20000"}


def test_memory_of_a_residual_network():
    """A gigabyte would be ten times as many nodes; the trace makes everything ten times as slow."""
    import tracemalloc

    arch = residual(2_000)
    tracemalloc.start()
    mu = maximal_slope(arch)
    assert str(slope_polynomial(arch)) == "(0.36 psi + 0.64)^2000"
    assert mu.inverse(1.5) > 1
    assert len({str(c.polynomial) for c in mu._undivided}) == 2
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2**30 / 10


def test_blocks_of_different_weights():
    arch = residual(300, lambda k: (math.sqrt(1 / (k + 2)), math.sqrt(1 - 1 / (k + 2))))
    mu = maximal_slope(arch)
    want = MP.mpf(1)
    for k in range(300):
        want *= 1 + (MP.mpf(1.01) - 1) / (k + 2)
    assert close(slope_polynomial(arch)(1.01), want, 1e-12)
    assert close(max(float(c.polynomial(1.01)) for c in mu._undivided), MP.mpf(float(mu(1.01))), 1e-12)


@pytest.mark.slow
def test_a_chain_of_300_000_nodes():
    nodes, ops = [Node("x", Input(1))], (Affine(1), Nonlinear("tanh"))
    for k in range(300_000):
        nodes.append(Node(f"a{k}", ops[k % 2], (nodes[-1].id,)))
    arch = Architecture("chain", tuple(nodes), (nodes[-1].id,))
    assert check(arch) == []
    mu = maximal_slope(arch)
    assert str(slope_polynomial(arch)) == str(mu) == "psi^150000"
    assert mu.inverse(1.5) == pytest.approx(1.5 ** (1 / 150_000), rel=1e-15)
