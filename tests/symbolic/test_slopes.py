"""Slope polynomials and the maximal slope function, against enumeration of subnetworks and paths."""

import math

import numpy as np
import pytest
import sympy as sp
from hypothesis import given
from hypothesis import strategies as st

from qcmap.architecture import Affine, Architecture, Builder, Input, Node, Nonlinear, zoo
from qcmap.errors import ArchitectureError, ArgumentError, NumericalError, QCMapError
from qcmap.symbolic import maximal_slope, slope_polynomial
from tests import oracles
from tests.oracles import MP, architectures, relabelled

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
    sources = {u for u, v in oracles.subnetworks(arch)}
    for psi in (1.004, 1.7):
        want = max(max(oracles.slopes_from(arch, u, psi).values()) for u in ("input", "stem.conv", "group2.block1.sum"))
        assert close(mu(psi), want)
    assert "input" in sources


# --- random graphs ---------------------------------------------------------------------------------------------------


@given(arch=architectures(max_nodes=9), psi=st.sampled_from(PSIS) | st.floats(1, 100))
def test_every_subnetwork_by_its_paths(arch, psi):
    for u, v in oracles.subnetworks(arch):
        exact = oracles.slope_by_paths(arch, u, v)
        polynomial = slope_polynomial(arch, u, v)
        assert close(polynomial(psi), oracles.evaluate(exact, psi))
        assert polynomial.degree == max(exact)
        assert close(polynomial(1.0), MP.one)
        assert sum(exact.values()) == 1


@given(arch=architectures(max_nodes=10, max_inputs=3, zero_weights=True), psi=st.floats(1, 50))
def test_maximal_slope_is_the_maximum_of_all(arch, psi):
    mu, want = maximal_slope(arch), oracles.maximal_slope(arch, psi)
    assert close(mu(psi), want, 1e-12)
    assert close(max(float(c.polynomial(psi)) for c in mu.candidates), want, 1e-12)
    assert close(mu.expr.subs(PSI, sp.Float(psi, 20)).evalf(20), want, 1e-12)
    best = mu.argmax(psi)
    assert (best.source, best.target) in oracles.subnetworks(arch)
    assert close(oracles.evaluate(oracles.slope_by_paths(arch, best.source, best.target), psi), want, 1e-12)


@given(arch=architectures(max_nodes=9), psi=st.floats(1, 20))
def test_both_oracles_agree(arch, psi):
    for source in arch.index:
        for target, value in oracles.slopes_from(arch, source, psi).items():
            assert abs(oracles.evaluate(oracles.slope_by_paths(arch, source, target), psi) / value - 1) < 1e-25


@given(data=st.data())
def test_names_and_order_do_not_matter(data):
    arch = data.draw(architectures())
    moved, names = data.draw(relabelled(arch))
    a, b = maximal_slope(arch), maximal_slope(moved)
    assert {str(c.polynomial) for c in a.candidates} == {str(c.polynomial) for c in b.candidates}
    np.testing.assert_allclose(a(np.array(PSIS)), b(np.array(PSIS)), rtol=1e-14)
    for u, v in oracles.subnetworks(arch):
        assert str(slope_polynomial(arch, u, v)) == str(slope_polynomial(moved, names[u], names[v]))


@given(arch=architectures(one_output=True, max_inputs=1), psi=st.floats(1, 20))
def test_slope_of_a_composition_is_the_product(arch, psi):
    whole = slope_polynomial(arch)
    (output,) = arch.outputs
    for v in (v for u, v in oracles.subnetworks(arch) if u == arch.inputs[0]):
        if (v, output) in oracles.subnetworks(arch):
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
    assert abs(oracles.maximal_slope(arch, psi) / zeta - 1) < 2e-14 * max(1, mu.candidates[0].polynomial.degree)
    exact = MP.findroot(lambda x: oracles.maximal_slope(arch, x) - MP.mpf(zeta), (psi * (1 - 1e-9), psi * (1 + 1e-9)),
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
