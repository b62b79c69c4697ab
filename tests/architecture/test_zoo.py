"""The zoo: every network obeys the same laws, and has the layers its name says."""

import math

import pytest
import sympy as sp

from qcmap.architecture import Affine, Input, LayerNorm, MeanPool, Nonlinear, Sum, is_symbolic, zoo

NETWORKS = {
    "mlp": lambda **k: zoo.mlp(7, 16, in_channels=3, out_channels=10, **k),
    "mlp of depth 1": lambda **k: zoo.mlp(1, **k),
    "resnet 50": lambda **k: zoo.resnet_v2(50, **k),
    "resnet 101": lambda **k: zoo.resnet_v2(101, **k),
    "resnet 152": lambda **k: zoo.resnet_v2(152, **k),
    "resnet 200": lambda **k: zoo.resnet_v2(200, **k),
    "resnet 50 without shortcuts": lambda **k: zoo.resnet_v2(50, shortcuts=False, **k),
    "resnet 50 with layer norm": lambda **k: zoo.resnet_v2(50, norm="layer", **k),
    "wide resnet 10": lambda **k: zoo.wide_resnet(10, **k),
    "wide resnet 28": lambda **k: zoo.wide_resnet(28, widen=10, **k),
    "wide resnet 250 without shortcuts": lambda **k: zoo.wide_resnet(250, shortcuts=False, **k),
}
NONLINEAR = [7, 1, 49, 100, 151, 199, 49, 49, 7, 25, 247]


def longest(arch):
    """The number of nonlinear layers on the longest path."""
    best = {}
    for node in arch.nodes:
        best[node.id] = max((best[u] for u in node.inputs), default=0) + isinstance(node.op, Nonlinear)
    return max(best.values())


@pytest.mark.parametrize("name", NETWORKS)
class TestEveryNetwork:
    def test_one_input_and_one_output(self, name):
        arch = NETWORKS[name]()
        assert arch.inputs == ("input",)
        assert len(arch.outputs) == 1

    def test_depth_is_the_longest_path(self, name):
        assert longest(NETWORKS[name]()) == NONLINEAR[list(NETWORKS).index(name)]

    def test_channels_agree(self, name):
        channels = NETWORKS[name]().channels
        assert channels if "depth 1" in name else all(channels.values())

    def test_sums_are_normalized(self, name):
        for node in NETWORKS[name]().nodes:
            if isinstance(node.op, Sum):
                assert sum(weight**2 for weight in node.op.weights) == pytest.approx(1, abs=1e-15)

    def test_activation_is_used(self, name):
        assert NETWORKS[name](activation="gelu").activations == ("gelu",)

    def test_ids_are_unique_and_the_graph_is_rebuilt_equal(self, name):
        arch = NETWORKS[name]()
        assert len(set(arch.index)) == len(arch.nodes)
        assert NETWORKS[name]() == arch

    def test_every_activation_follows_an_affine_layer_or_a_sum_of_them(self, name):
        arch = NETWORKS[name]()
        for node in arch.nodes:
            if isinstance(node.op, Nonlinear):
                assert not isinstance(arch[node.inputs[0]].op, (Nonlinear, Input))


def count(arch, kind):
    return sum(isinstance(node.op, kind) for node in arch.nodes)


@pytest.mark.parametrize(("depth", "blocks"), [(50, 16), (101, 33), (152, 50), (200, 66)])
def test_resnet_blocks(depth, blocks):
    arch = zoo.resnet_v2(depth)
    assert count(arch, Sum) == blocks == (depth - 2) // 3
    assert count(arch, Nonlinear) == depth - 1
    # Three convolutions a block, four transition shortcuts, the stem and the head.
    assert count(arch, Affine) == 3 * blocks + 4 + 2
    assert arch.channels["final.pool"] == 2048
    assert arch.channels["head"] == 1000


@pytest.mark.parametrize("depth", [10, 16, 28, 250])
def test_wide_resnet_blocks(depth):
    arch = zoo.wide_resnet(depth, widen=3)
    assert count(arch, Sum) == (depth - 4) // 2
    assert count(arch, Nonlinear) == depth - 3
    assert count(arch, Affine) == depth - 4 + 3 + 2
    assert arch.channels["final.pool"] == 192


def test_layer_norm_precedes_each_activation():
    arch = zoo.resnet_v2(50, norm="layer")
    assert count(arch, LayerNorm) == 49
    assert all(isinstance(arch[n.inputs[0]].op, LayerNorm) for n in arch.nodes if isinstance(n.op, Nonlinear))


def test_without_shortcuts_there_are_no_sums():
    for arch in (zoo.resnet_v2(50, shortcuts=False), zoo.wide_resnet(28, shortcuts=False)):
        assert count(arch, Sum) == 0
        assert count(arch, MeanPool) == 1


def test_symbolic_residual_weight():
    w = sp.Symbol("w", positive=True)
    weights = zoo.resnet_v2(50, residual_weight=w)["group1.block1.sum"].op.weights
    assert weights[0] == w
    assert sp.simplify(weights[1] ** 2 - (1 - w**2)) == 0
    assert sp.simplify(sum(x**2 for x in weights)) == 1


@pytest.mark.parametrize("weight", [1e-9, 0.5, math.sqrt(0.5), 1 - 1e-9, sp.Rational(3, 5), sp.sqrt(2) / 2])
def test_numeric_residual_weights(weight):
    weights = zoo.wide_resnet(10, residual_weight=weight)["group1.block1.sum"].op.weights
    assert not any(map(is_symbolic, weights))
    assert float(sum(x**2 for x in weights)) == pytest.approx(1, abs=1e-15)


class TestCall:
    def test_plain(self):
        assert zoo.call("mlp") == zoo.mlp()
        assert zoo.call("mlp:") == zoo.mlp()
        assert zoo.call("mlp:depth=3,width=8,activation=gelu") == zoo.mlp(3, 8, "gelu")
        assert zoo.call("mlp: depth = 3 , width = 8") == zoo.mlp(3, 8)
        assert zoo.call("mlp:depth=3,width=none") == zoo.mlp(3)

    def test_booleans_and_floats(self):
        assert zoo.call("resnet_v2:depth=50,shortcuts=False") == zoo.resnet_v2(50, shortcuts=False)
        assert zoo.call("resnet_v2:residual_weight=0.3") == zoo.resnet_v2(residual_weight=0.3)
        assert zoo.call("resnet_v2:norm=layer") == zoo.resnet_v2(norm="layer")
        assert zoo.call("wide_resnet:depth=28,widen=10") == zoo.wide_resnet(28, widen=10)

    def test_symbols_and_expressions(self):
        w = sp.Symbol("w", positive=True)
        assert zoo.call("resnet_v2:residual_weight=w") == zoo.resnet_v2(residual_weight=w)
        arch = zoo.call("resnet_v2:residual_weight=sqrt(1/20)")
        assert float(arch["group1.block1.sum"].op.weights[0]) == pytest.approx(math.sqrt(0.05))

    @pytest.mark.parametrize("name", ["beta", "S", "E", "I", "N", "gamma", "lambda_", "x1"])
    def test_names_that_sympy_knows_are_symbols_here(self, name):
        weights = zoo.call(f"resnet_v2:residual_weight={name}")["group1.block1.sum"].op.weights
        assert weights[0] == sp.Symbol(name, positive=True)
