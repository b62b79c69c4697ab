"""Extended maps of whole networks: composition, sums, concatenations, layer norms, and what shaping promises."""

import math

import numpy as np
import pytest
import sympy as sp
from hypothesis import given, settings
from hypothesis import strategies as st

import qcmap as qc
from qcmap.errors import ArchitectureError, QCMapError
from qcmap.numeric import local_maps, network_maps
from tests.graphs import architectures, propagated, relabelled

CLOSED = ("relu", "erf", "sin")
RELU, SOFT = local_maps("relu"), local_maps("softplus")
PLAIN = ("affine", "activation", "activation", "max_pool", "mean_pool", "weighted_mean_pool")


def kernel(name):
    """E phi(u1) phi(u2) from its moments, by the closed form of the catalogue."""
    closed = qc.activation(name).kernel

    def moment(m, a, b):
        return float(closed(np.clip(m / math.sqrt(a * b), -1, 1), np.float64(a), np.float64(b)))

    return moment


@given(
    arch=architectures(independent=True, activations=CLOSED, unary=PLAIN),
    c=st.floats(-0.99, 1), q1=st.floats(0.1, 5), q2=st.floats(0.1, 5),
)  # fmt: skip
def test_values_at_every_node(arch, c, q1, q2):
    got = network_maps(arch).propagate(c, q1, q2)
    for node, (m, a, b) in propagated(arch, (c, q1, q2), kernel, math.sqrt).items():
        assert float(got[node].q1) == pytest.approx(a, rel=1e-12)
        assert float(got[node].q2) == pytest.approx(b, rel=1e-12)
        assert float(got[node].c) * math.sqrt(a * b) == pytest.approx(m, abs=1e-10 * math.sqrt(a * b))


@given(data=st.data())
def test_names_and_order_do_not_matter(data):
    arch = data.draw(architectures(independent=True, activations=CLOSED, unary=PLAIN))
    moved, names = data.draw(relabelled(arch))
    a, b = network_maps(arch).propagate(0.3, 1.5, 0.7), network_maps(moved).propagate(0.3, 1.5, 0.7)
    for node, values in a.items():
        np.testing.assert_allclose(values[:3], b[names[node]][:3], rtol=1e-13)


@given(
    arch=architectures(independent=True, activations=CLOSED, unary=PLAIN, one_output=True, max_inputs=1),
    c=st.floats(-1, 1),
)
@settings(max_examples=15)
def test_composition_of_graphs_is_composition_of_maps(arch, c):
    (output,) = arch.outputs
    maps = network_maps(arch)
    for v in arch.dominators.chain(arch.index[output])[1:-1]:
        middle = arch.nodes[v].id
        first = network_maps(arch.subnetwork(arch.inputs[0], middle))
        second = network_maps(arch.subnetwork(middle, output))
        q = float(first.q(2.0))
        assert float(maps.q(2.0)) == pytest.approx(float(second.q(q)), rel=1e-12)
        inner = float(np.clip(first.c(c, 2.0, 2.0), -1, 1))
        assert float(maps.c(c, 2.0, 2.0)) == pytest.approx(float(second.c(inner, q, q)), abs=1e-12)


def test_a_chain_is_the_iterated_local_map():
    arch, maps = qc.zoo.mlp(6, activation="softplus"), local_maps("softplus")
    q, c = 1.0, np.array([0.2, 0.9])
    for _ in range(6):
        c, q = maps.c(c, q, q), float(maps.q(q))
    np.testing.assert_allclose(network_maps(arch).c([0.2, 0.9]), c, rtol=1e-13)
    assert float(network_maps(arch).q()) == pytest.approx(q, rel=1e-14)


def normed(activation="relu"):
    b = qc.Builder("normed")
    h = b.activation(b.affine(b.input("x")), activation)
    return b.build([b.layer_norm(h, name="norm")])


def test_layer_norm_after_relu():
    """C_LN = (C_relu Q - mean^2) / (Q - mean^2); with Q = 1/2, mean^2 = 1 / (2 pi) its slope at 1 is pi / (pi - 1)."""
    maps = network_maps(normed())
    c = np.array([-1, -0.3, 0.0, 0.6, 1.0])
    relu = (np.sqrt(1 - c**2) + (math.pi - np.arccos(c)) * c) / (2 * math.pi)
    np.testing.assert_allclose(maps.c(c), (relu - 1 / (2 * math.pi)) / (0.5 - 1 / (2 * math.pi)), atol=1e-14)
    assert float(maps.c(0.0)) == pytest.approx(0, abs=1e-14)
    assert float(maps.q(7.0)) == 1.0
    h = 1e-8
    assert float((1 - maps.c(1 - h)) / h) == pytest.approx(math.pi / (math.pi - 1), abs=1e-3)


def test_layer_norm_of_two_q_values():
    maps, local = network_maps(normed("softplus")), local_maps("softplus")
    means, moments = local.mean([0.5, 2.0]), local.q([0.5, 2.0])
    m = float(local.c(0.3, 0.5, 2.0)) * math.sqrt(moments.prod()) - means.prod()
    assert float(maps.c(0.3, 0.5, 2.0)) == pytest.approx(m / math.sqrt((moments - means**2).prod()), abs=1e-14)


@pytest.mark.parametrize("op", ["sum", "concat"])
def test_layer_norm_sees_means_through_sums_concats_and_scales(op):
    b = qc.Builder()
    x = b.affine(b.input("x"), 4)
    relu = b.activation(x, "relu")
    # A sum adds q values only if its branches are uncorrelated: here one of them is the output of an affine layer.
    h = b.sum([relu, b.affine(x, 4)], [0.6, 0.8]) if op == "sum" else b.concat([relu, b.activation(x, "softplus")])
    mean_shares, shares = ((0.6, 0.8), (0.36, 0.64)) if op == "sum" else ((0.5, 0.5), (0.5, 0.5))
    plain, scaled = b.layer_norm(h), b.layer_norm(b.scale(h, -2.0))
    values = network_maps(b.build([plain, scaled])).propagate(0.4)
    first = RELU.q(1.0), RELU.mean(1.0), RELU.c(0.4) * RELU.q(1.0)
    second = (1.0, 0.0, 0.4) if op == "sum" else (SOFT.q(1.0), SOFT.mean(1.0), SOFT.c(0.4) * SOFT.q(1.0))
    total, m = (shares[0] * float(first[k]) + shares[1] * float(second[k]) for k in (0, 2))
    average = mean_shares[0] * float(first[1]) + mean_shares[1] * float(second[1])
    for node in (plain, scaled):
        assert float(values[node].c) == pytest.approx((m - average**2) / (total - average**2), abs=1e-14)
        assert float(values[node].q1) == 1.0


def test_layer_norm_of_an_input_is_refused():
    b = qc.Builder()
    with pytest.raises(ArchitectureError, match="layer norm") as error:
        network_maps(b.build([b.layer_norm(b.input("x"), name="norm")])).c(0.5)
    assert error.value.subject == "norm"


# --- shaped ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["tanh", "softplus", "relu", "selu", "leaky_relu"])
@pytest.mark.parametrize(("depth", "zeta"), [(10, 1.5), (10, 20.0)])
def test_shaped_mlp(name, depth, zeta):
    arch = qc.zoo.mlp(depth, activation=name)
    maps = network_maps(arch, qc.dks(arch, zeta=zeta))
    assert float(maps.q()) == pytest.approx(1, abs=1e-12)
    assert float(maps.c(0.0)) == pytest.approx(0, abs=1e-11)
    assert float(maps.c(1.0)) == pytest.approx(1, abs=1e-12)
    # C'(1) by a difference from below: kinked maps have a term of order (1 - c)^(3/2), so two steps remove it.
    h = 1e-6
    one, four = ((1 - float(maps.c(1 - k * h))) / (k * h) for k in (1, 4))
    assert 2 * one - four == pytest.approx(zeta, rel=2e-4)


@pytest.mark.parametrize("text", ["resnet_v2:depth=50,activation=softplus", "wide_resnet:depth=28"])
def test_shaped_residual_networks_have_q_one_everywhere(text):
    arch = qc.zoo.call(text)
    maps = network_maps(arch, qc.dks(arch, zeta=1.5))
    assert max(abs(float(q) - 1) for q in maps.propagate_q().values()) < 1e-12
    assert float(maps.c(0.0)) == pytest.approx(0, abs=1e-12)
    c = maps.propagate(1 - 1e-6)
    slopes = {node: (1 - float(v.c)) / 1e-6 for node, v in c.items()}
    assert max(slopes.values()) == pytest.approx(1.5, rel=1e-4)


@given(arch=architectures(independent=True, activations=("erf", "sin"), unary=PLAIN))
@settings(max_examples=8)
def test_shaped_random_networks(arch):
    shaping = qc.dks(arch, psi=1.05)
    values = network_maps(arch, shaping).propagate(0.0)
    inputs = set(arch.inputs)
    assert all(abs(float(v.q1) - 1) < 1e-11 for v in values.values())
    assert all(abs(float(v.c)) < 1e-11 for node, v in values.items() if node not in inputs)
    assert shaping.zeta == pytest.approx(float(qc.maximal_slope(arch)(1.05)))


def test_shapes_and_names():
    maps = network_maps(qc.zoo.mlp(3))
    assert maps.c(np.full((2, 3), 0.3)).shape == (2, 3)
    assert maps.q(np.ones(4)).shape == (4,)
    assert float(maps.q_at("layer1.affine", 2.0)) == 2.0
    with pytest.raises(ArchitectureError, match="layer1"):
        maps.q_at("layer1.afine")


def test_several_outputs_need_a_choice():
    b = qc.Builder("two heads")
    x = b.activation(b.affine(b.input("x")), "tanh")
    maps = network_maps(b.build([b.affine(x), b.affine(x)]))
    for call in (maps.q, lambda: maps.c(0.5)):
        with pytest.raises(ArchitectureError, match="several outputs"):
            call()
    assert set(maps.propagate(0.5)) == {"x", "affine1", "activation1", "affine2", "affine3"}


def test_symbolic_weights_are_refused():
    w = sp.Symbol("w", positive=True)
    with pytest.raises(ArchitectureError, match="symbolic"):
        network_maps(qc.zoo.wide_resnet(10, residual_weight=w)).c(0.5)


@pytest.mark.parametrize(("c", "q"), [(1.5, 1.0), (math.nan, 1.0), (0.5, -1.0), (0.5, math.nan), (0.5, 0.0)])
def test_values_out_of_range(c, q):
    with pytest.raises(QCMapError):
        network_maps(qc.zoo.mlp(3)).c(c, q, q)
