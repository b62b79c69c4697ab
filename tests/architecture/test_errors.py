"""Bad wiring is refused by an error that names the node, the rule and the remedy."""

import itertools
import math

import pytest
import sympy as sp

from qcmap.architecture import (
    Affine,
    Algebra,
    Architecture,
    BatchNorm,
    Builder,
    Concat,
    Gate,
    Input,
    LayerNorm,
    MaxPool,
    MeanPool,
    Multiply,
    Node,
    Nonlinear,
    Output,
    Scale,
    Sum,
    WeightedMeanPool,
    zoo,
)
from qcmap.errors import ArchitectureError, QCMapError


def raised(function, *args, **kwargs):
    with pytest.raises(QCMapError) as error:
        function(*args, **kwargs)
    error = error.value
    assert isinstance(error, ArchitectureError)
    assert error.subject
    assert error.rule
    assert error.remedy
    assert str(error) == f"{error.subject}: {error.rule}; {error.remedy}"
    return error


def net(*nodes, outputs=("y",)):
    return Architecture("net", (Node("x", Input(4)), *nodes), outputs)


UNARY = [
    Affine(), Nonlinear("tanh"), Scale(2.0), LayerNorm(), MaxPool(), MeanPool(), WeightedMeanPool(), Gate("g"),
    Output(), BatchNorm(),
]  # fmt: skip


class TestGraphs:
    def test_repeated_id(self):
        error = raised(net, Node("y", Affine(), ("x",)), Node("y", Affine(), ("x",)))
        assert error.subject == "y"

    def test_unknown_input_gives_the_nearest_ids(self):
        error = raised(net, Node("block1.conv", Affine(), ("x",)), Node("y", Affine(), ("block1.conf",)))
        assert error.subject == "y"
        assert "block1.conf" in error.rule
        assert "block1.conv" in error.remedy

    def test_unknown_output(self):
        error = raised(net, Node("head", Affine(), ("x",)), outputs=("haed",))
        assert "head" in error.remedy

    def test_no_output(self):
        raised(net, outputs=())

    def test_no_nodes(self):
        raised(Architecture, "empty", (), ("y",))

    def test_unused_node(self):
        error = raised(net, Node("loose", Affine(), ("x",)), Node("y", Affine(), ("x",)))
        assert error.subject == "loose"

    def test_unused_input(self):
        assert raised(net, Node("x2", Input(4)), Node("y", Affine(), ("x",))).subject == "x2"

    def test_cycle_is_named(self):
        error = raised(
            net,
            Node("a", Sum((0.6, 0.8)), ("x", "c")),
            Node("b", Affine(), ("a",)),
            Node("c", Affine(), ("b",)),
            Node("y", Affine(), ("c",)),
        )
        assert "cycle" in error.rule
        cycle = error.rule.split(": ")[1].split(" -> ")
        assert cycle[0] == cycle[-1]
        assert set(cycle) == {"a", "b", "c"}
        # Written along the flow: b reads a, c reads b, a reads c.
        reads = {"a": "c", "b": "a", "c": "b"}
        assert all(reads[later] == earlier for earlier, later in itertools.pairwise(cycle))

    def test_self_loop(self):
        assert "a -> a" in raised(net, Node("a", Affine(), ("a",)), Node("y", Sum((1, 1)), ("a", "x"))).rule

    def test_long_cycle_without_recursion(self):
        count = 20_000
        nodes = [Node(f"n{k}", Affine(), (f"n{(k - 1) % count}",)) for k in range(count)]
        assert "cycle" in raised(net, *nodes, Node("y", Affine(), ("x",))).rule

    @pytest.mark.parametrize("op", UNARY, ids=lambda op: op.kind)
    @pytest.mark.parametrize("inputs", [(), ("x", "x")])
    def test_wrong_number_of_inputs(self, op, inputs):
        error = raised(net, Node("y", op, inputs))
        assert error.subject == "y"
        assert str(len(inputs)) in error.rule

    @pytest.mark.parametrize("op", [Concat(), Sum(()), Multiply()])
    def test_sums_and_concatenations_of_nothing(self, op):
        assert raised(net, Node("y", op)).subject == "y"

    def test_input_that_reads(self):
        assert raised(net, Node("y", Input(), ("x",))).subject == "y"

    def test_unequal_channels(self):
        arch = net(Node("a", Affine(3), ("x",)), Node("y", Sum((0.6, 0.8)), ("a", "x")))
        assert raised(lambda: arch.channels).subject == "y"

    def test_unequal_extents(self):
        arch = net(
            Node("z", Input(4, (6, 6))), Node("a", Affine(4, (3, 3), stride=2), ("z",)),
            Node("y", Concat(), ("a", "z")), Node("end", Concat(), ("x", "y")), outputs=("end",),
        )  # fmt: skip
        error = raised(lambda: arch.locations)
        assert error.subject == "y"
        assert "locations" in error.rule

    def test_an_output_is_not_read(self):
        error = raised(net, Node("end", Output(), ("x",)), Node("y", Affine(), ("end",)))
        assert error.subject == "y"
        assert "end" in error.rule

    def test_algebra_without_a_rule_names_op_and_node(self):
        error = raised(net(Node("y", MaxPool(), ("x",))).fold, Algebra("thing", {Input: lambda node, values: 0}))
        assert error.subject == "y"
        assert "thing" in error.rule
        assert "MaxPool" in error.remedy

    def test_unknown_node_lookup(self):
        arch = zoo.mlp(3)
        assert "layer2.affine" in raised(lambda: arch["layer2.afine"]).remedy
        raised(arch.subnetwork, "nothing", "layer1.affine")


class TestOps:
    @pytest.mark.parametrize("channels", [0, -1, 1.5, True, "4", math.nan])
    def test_channels(self, channels):
        b = Builder()
        assert "positive integer" in raised(b.input, channels=channels).rule
        assert "positive integer" in raised(b.affine, b.input("x"), channels, name="wide").rule

    @pytest.mark.parametrize("options", [{"kernel": (0,)}, {"kernel": (3, -1)}, {"stride": 0}, {"stride": None}])
    def test_convolutions(self, options):
        b = Builder()
        assert raised(b.affine, b.input("x"), 4, name="conv", **options).subject == "conv"

    @pytest.mark.parametrize("weights", [(), (1.0,), (0.5, 0.5, 0.5)])
    def test_sum_weights_of_wrong_length(self, weights):
        b = Builder()
        x = b.input("x")
        error = raised(b.sum, [x, x], weights, name="add")
        assert error.subject == "add"
        assert f"{len(weights)} for 2" in error.rule
        assert raised(net, Node("y", Sum(weights), ("x", "x"))).subject == "y"

    @pytest.mark.parametrize("weight", [math.nan, math.inf, -math.inf, "w", None, 1j, sp.nan, sp.oo, sp.I])
    def test_weights_that_are_not_finite_numbers(self, weight):
        b = Builder()
        x = b.input("x")
        assert raised(b.sum, [x, x], (0.5, weight), name="add").subject == "add"
        assert raised(b.scale, x, weight, name="times").subject == "times"

    def test_zeros(self):
        b = Builder()
        x = b.input("x")
        assert "zero" in raised(b.sum, [x, x], (0, 0.0)).rule
        assert "zero" in raised(b.scale, x, 0).rule
        b.build([b.sum([x, x], (0, 1))])

    def test_sum_and_concat_of_nothing(self):
        b = Builder()
        raised(b.sum, [])
        raised(b.concat, [])
        raised(b.sum, [], [])


class TestBuilder:
    def test_repeated_id(self):
        b = Builder("mine")
        b.input("x")
        error = raised(b.input, "x")
        assert error.subject == "x"
        assert "mine" in error.rule

    def test_unknown_input(self):
        b = Builder()
        b.input("stem")
        error = raised(b.affine, "stom", name="y")
        assert "'stom'" in str(error)

    def test_a_refused_node_is_not_added(self):
        b = Builder()
        x = b.input("x")
        raised(b.affine, x, -1, name="y")
        b.affine(x, 1, name="y")
        b.build(["y"])

    def test_build_with_unknown_or_no_outputs(self):
        b = Builder()
        b.input("x")
        raised(b.build, ["y"])
        raised(b.build, [])

    def test_given_and_counted_names_do_not_collide_silently(self):
        b = Builder()
        x = b.input("x")
        b.affine(x, name="affine1")
        raised(b.affine, x)


class TestZoo:
    @pytest.mark.parametrize("family", [zoo.mlp, zoo.resnet_v2, zoo.wide_resnet])
    @pytest.mark.parametrize("depth", [0, -1, 1.5, "50", None, True, math.nan])
    def test_depth(self, family, depth):
        assert "depth" in raised(family, depth).rule

    @pytest.mark.parametrize("depth", [77, 1, 49, 51])
    def test_resnet_depths(self, depth):
        error = raised(zoo.resnet_v2, depth)
        assert str(depth) in error.rule
        assert "50, 101, 152, 200" in error.remedy

    @pytest.mark.parametrize(("depth", "near"), [(29, 28), (4, 10), (3, 10), (250 - 1, 250), (9, 10), (1, 10)])
    def test_wide_resnet_depths(self, depth, near):
        error = raised(zoo.wide_resnet, depth)
        assert f"depth={near}" in error.remedy
        zoo.wide_resnet(near)

    @pytest.mark.parametrize("weight", [0, 1, 1.0, 0.0, -0.5, 1.5, math.nan, math.inf, "w", None])
    @pytest.mark.parametrize("family", [zoo.resnet_v2, zoo.wide_resnet])
    def test_residual_weight(self, family, weight):
        assert "residual_weight" in raised(family, residual_weight=weight).rule

    @pytest.mark.parametrize("widen", [0, 1, -1, 1.5, True, "2"])
    def test_widen(self, widen):
        assert "widen" in raised(zoo.wide_resnet, widen=widen).rule

    @pytest.mark.parametrize("family", [zoo.resnet_v2, zoo.wide_resnet])
    def test_norm(self, family):
        assert "norm" in raised(family, norm="group").rule

    @pytest.mark.parametrize("width", [0, -3, 2.5])
    def test_widths(self, width):
        raised(zoo.mlp, 3, width)
        raised(zoo.mlp, 3, 4, in_channels=width)
        raised(zoo.mlp, 3, 4, out_channels=width)
        raised(zoo.resnet_v2, 50, classes=width)

    @pytest.mark.parametrize(
        "text",
        [
            "resnet", "resnet_v2:dept=50", "resnet_v2:50", "resnet_v2:depth=77", "mlp:depth=0", "mlp:depth=x",
            "wide_resnet:depth=29", "mlp:depth", "mlp:=3", "resnet_v2:residual_weight=", "resnet_v2:residual_weight=w+",
            "resnet_v2:residual_weight=0", "resnet_v2:residual_weight=nan", "resnet_v2:norm=group", "mlp:width=-1",
            "resnet_v2:shortcuts=maybe", "resnet_v2:residual_weight=2*pi",
        ],
    )  # fmt: skip
    def test_calls(self, text):
        raised(zoo.call, text)

    def test_call_names_its_families_and_arguments(self):
        assert "resnet_v2" in raised(zoo.call, "resnet:depth=50").remedy
        assert "depth" in raised(zoo.call, "resnet_v2:dept=50").remedy
