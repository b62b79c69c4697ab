"""Maps at their limits: bad arguments, extreme q, fast growth, steep activations, closed forms of transforms."""

import dataclasses
import math
import subprocess
import sys

import numpy as np
import pytest

import qcmap as qc
from qcmap import numeric
from qcmap.errors import ArchitectureError, ArgumentError, NumericalError
from qcmap.numeric import LocalMaps, Transform, local_maps, network_maps

RELU, CHAIN = local_maps("relu"), qc.zoo.mlp(3, activation="tanh")


@pytest.mark.parametrize(
    "call",
    [
        lambda: RELU.c("a"),
        lambda: RELU.c(1j),
        lambda: RELU.c([[1], [1, 2]]),
        lambda: RELU.q("x"),
        lambda: RELU.c(np.zeros(3), np.ones(4)),
        lambda: RELU.hermite(3, [1, 2]),
        lambda: RELU.error([1, 2], 1),
        lambda: RELU.nl([1, 2]),
        lambda: RELU.deviation([1, 2]),
        lambda: RELU.dc(0.5, order=200),
        lambda: network_maps(CHAIN).c(np.zeros(3), np.ones(4)),
        lambda: network_maps(CHAIN).propagate(np.zeros(3), np.ones(4)),
        lambda: network_maps("x"),
        lambda: network_maps(CHAIN, "x"),
        lambda: network_maps(CHAIN, qc.dks(qc.zoo.mlp(5, activation="relu"), 1.5)),
        lambda: network_maps(qc.zoo.mlp(7, activation="tanh"), qc.dks(CHAIN, 1.5)),
        lambda: local_maps("tanh", Transform(qc.activation("relu"), 2.0)),
        lambda: local_maps("tanh", 3),
        lambda: local_maps("tanh").iterated(0.3, 4, 2.0, 3.0),
        lambda: RELU.c(np.ma.masked_array([0.5, 7.0], mask=[False, True])),
        lambda: RELU.q(np.datetime64("2020")),
        lambda: network_maps(CHAIN).dc(0.5, order=1 + 0j),
        lambda: network_maps(CHAIN).propagate_jet(0.5, order=np.zeros(0)),
        lambda: numeric.conditions(None),
        lambda: numeric.conditions(Transform(qc.activation("tanh")), order=8),
        lambda: numeric.edge_of_chaos("tanh", weight_variance=1.2, transform=3),
        lambda: numeric.edge_of_chaos("tanh", weight_variance=10**400),
        lambda: numeric.edge_of_chaos("tanh", weight_variance=1.2, q_range=np.array(0.3)),
        lambda: numeric.dynamics("tanh", q=[1, [2, 3]]),
        lambda: numeric.growing("tanh", 3, 0.5, residual_weight=1e200),
        lambda: numeric.growing("tanh", 3, 0.5, residual_weight=1e-200, shortcut_weight=0),
        lambda: numeric.growing("tanh", 3, 0.5, shaping=qc.dks(CHAIN, 1.5)),
        lambda: numeric.q_fixed_points(None, RELU.dq),
        lambda: numeric.q_fixed_points(RELU.q, RELU.dq, grid=1.5),
        lambda: numeric.ntk_gram(None, np.eye(3)),
        lambda: next(numeric.sampled_networks(None, {}, networks=1)),
        lambda: next(numeric.sampled_networks(CHAIN, 3, networks=1)),
        lambda: numeric.selu_like("elu", parameter=[]),
        lambda: numeric.solve(qc.activation("tanh"), 10**400),
        lambda: numeric.solve(qc.activation("tanh"), 1.1, q_slope=np.zeros(0)),
        lambda: qc.dks(CHAIN, psi=10**400),
        lambda: qc.tat(CHAIN, tau=10**400),
        lambda: numeric.follow("tanh", 1.1, 10**400),
        lambda: numeric.certified_q("tanh", digits=10**400),
    ],
)
def test_bad_arguments(call):
    with pytest.raises(ArgumentError) as error:
        call()
    assert error.value.remedy


def test_nodes_are_named_by_text():
    shaping = qc.dks(CHAIN, 1.5)
    for call in (CHAIN.__getitem__, shaping.at, network_maps(CHAIN).at, lambda node: qc.ntk(CHAIN, 0.5, target=node)):
        with pytest.raises(ArchitectureError, match="no node"):
            call(["layer1.affine"])


def test_no_q_values_give_no_values():
    maps = network_maps(CHAIN)
    assert maps.c(0.5, []).shape == (0,)
    assert maps.dc([0.5], [1.0], np.zeros((2, 0))).shape == (2, 0)
    assert maps.propagate(0.5, np.zeros((2, 0)))[maps.target].c.shape == (2, 0)


@pytest.mark.parametrize("q", [1e-300, 1e300])
def test_sampling_errors_at_q_whose_square_is_no_float(q):
    with pytest.raises(NumericalError, match="squares"):
        numeric.sampling_error("tanh", 0.5, width=10, depth=2, q=q)


def test_q_values_of_blocks_leave_the_floats():
    with pytest.raises(NumericalError, match="after 3 blocks"):
        numeric.growing("relu", 5, 0.5, residual_weight=0, shortcut_weight=1e60)


class TestScaleFree:
    """C maps of positively homogeneous activations do not depend on q, at any q."""

    @pytest.mark.parametrize("q", [(1e200, 1.0), (1e-200, 1e-200), (1e-300, 1e300)])
    def test_extreme_q(self, q):
        for name in ("relu", "leaky_relu", "square"):
            maps = local_maps(name)
            assert float(maps.c(0.5, *q)) == float(maps.c(0.5))
            assert float(maps.dc(0.5, *q)) == float(maps.dc(0.5))

    def test_until_q_vanishes(self):
        deep = network_maps(qc.zoo.mlp(600, activation="relu"))
        want = 0.5
        for _ in range(600):
            want = (math.sqrt((1 - want) * (1 + want)) + (math.pi - math.acos(want)) * want) / math.pi
        assert float(deep.c(0.5)) == pytest.approx(want, abs=1e-12)
        assert float(deep.q()) == pytest.approx(2.0**-600, rel=1e-12)
        with pytest.raises(NumericalError, match="range of floating-point"):
            network_maps(qc.zoo.mlp(2000, activation="relu")).q()


@pytest.mark.parametrize("q", [1.0, 9.0, 16.0, 100.0])
def test_fast_growth(q):
    """C(c) = exp(q (c - 1)) and Q = exp(2 q) for the exponential, whose mass lies at x = 2 sqrt(q)."""
    maps = local_maps(qc.Activation.from_sympy("exp(u)"))
    assert float(maps.q(q)) == pytest.approx(math.exp(2 * q), rel=1e-13)
    for c in (-0.9, 0.3, 0.9, 0.99):
        assert float(maps.c(c, q, q)) == pytest.approx(math.exp(q * (c - 1)), rel=1e-12, abs=1e-14)
        assert float(maps.dc(c, q, q)) == pytest.approx(q * math.exp(q * (c - 1)), rel=1e-11, abs=1e-13 * q)


@pytest.mark.parametrize("steepness", [3, 5, 20])
def test_one_by_one_and_many_agree(steepness):
    maps = local_maps(qc.Activation.from_sympy(f"tanh({steepness}*u)"))
    many = np.array([-0.95, -0.8, 0.7, 0.75, 0.9, 0.95, 0.99])
    together = maps.c(np.concatenate([many, np.linspace(-0.6, 0.6, 10)]))[: many.size]
    assert np.abs(together - maps.c(many)).max() <= maps.error() < 1e-12


@pytest.mark.parametrize(
    ("name", "constants"),
    [
        ("erf", (-0.7, 0.0, 0.3, 2.0)),
        ("cos", (-0.7, 0.0, 0.3, 2.0)),
        ("sin", (3.0, 0.0, -0.2, 0.5)),
        ("relu", (0.7, 0.0, 0.3, -2.0)),
        ("square", (-1.2, 0.0, -0.4, 1.0)),
    ],
)
def test_closed_forms_of_transforms(name, constants):
    """Against the same function without its kernel."""
    act = qc.activation(name)
    bare = dataclasses.replace(act, kernel=None)
    closed, general = LocalMaps(act, Transform(act, *constants)), LocalMaps(bare, Transform(bare, *constants))
    c = [-0.99, -0.5, 0.3, 0.9, 1.0]
    for q in ((1.0, 1.0), (0.5, 2.0)):
        np.testing.assert_allclose(closed.c(c, *q), general.c(c, *q), rtol=0, atol=1e-13)
        np.testing.assert_allclose(closed.dc(c, *q), general.dc(c, *q), rtol=0, atol=1e-12)
    np.testing.assert_allclose(closed.q([0.5, 2.0]), general.q([0.5, 2.0]), rtol=1e-13)


def test_measures_use_the_inputs_own_q():
    b = qc.Builder("q of 4")
    maps = network_maps(b.build([b.activation(b.affine(b.input("x", q=4.0), 8), "tanh")]))
    local = local_maps("tanh")
    assert maps.nl() == pytest.approx(local.nl(4.0), rel=1e-14)
    assert maps.na() == pytest.approx(local.na(4.0), rel=1e-14)
    assert maps.deviation().value == pytest.approx(local.deviation(4.0).value, rel=1e-12)
    assert float(maps.flatness(0.5)) == pytest.approx(float(local.flatness(0.5, 4.0)), rel=1e-14)
    assert maps.nl(1.0) == pytest.approx(local.nl(), rel=1e-14)


def test_a_million_layers_stop_at_the_fixed_point():
    shaping = qc.dks(qc.zoo.mlp(20, activation="softplus"), 1.5)
    maps = local_maps("softplus", shaping["softplus"])
    np.testing.assert_allclose(maps.iterated([0.5, 0.9, 1.0], 10**6), [0, 0, 1], rtol=0, atol=1e-13)


@pytest.mark.parametrize("order", ["sorted(names)", "sorted(names, reverse=True)"])
def test_public_names_are_no_modules(order):
    """Importing a part of the package must not hide a function of the same name."""
    program = (
        "import types, qcmap, qcmap.numeric as n\n"
        f"names = [*n.__all__]\nfor name in {order}: getattr(n, name)\n"
        "bad = [x for m in (n, qcmap) for x in m.__all__ if isinstance(getattr(m, x), types.ModuleType)]\n"
        "assert bad in ([], ['zoo']), bad"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
