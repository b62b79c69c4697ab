"""Bad input: every error names the node or the context."""

from fractions import Fraction

import numpy as np
import pytest
import sympy

import qcmap as qc
from qcmap.architecture import Affine, Architecture, Input, Node, Sum
from qcmap.errors import ArchitectureError, ArgumentError, DataError
from qcmap.gated import Context, GatedNetwork, GatedTask, reduce, solve


def chain(**changes):
    """Input, gated hidden layer, output, with one op changed."""
    b = qc.Builder("chain")
    x = b.input("x", 2)
    h = b.gate(b.affine(x, 3, name="w1", **changes), "g", name="h")
    return b.build([b.output(b.affine(h, 1, name="w2"), name="y")])


GOOD = Context.from_data("good", {"g": 1}, {"x": np.eye(2)}, {"y": [[1.0, 2.0]]})


def network(arch, *contexts):
    return GatedNetwork(arch, GatedTask.of(contexts, arch.inputs, arch.outputs))


def test_a_good_one_is_taken():
    assert network(chain(), GOOD).edges == ("w1", "w2")


def test_cycles_are_refused():
    nodes = (
        Node("x", Input(2)),
        Node("a", Affine(2), ("s",)),
        Node("s", Sum((1.0, 1.0)), ("x", "a")),
        Node("y", Affine(1), ("s",)),
    )
    with pytest.raises(ArchitectureError, match=r"cycle: (a -> s|s -> a)"):
        Architecture("loop", nodes, ("y",))


def test_gates_on_inputs_are_refused():
    b = qc.Builder("gated input")
    x = b.gate(b.input("x", 2), "g", name="gate_x")
    arch = b.build([b.output(b.affine(x, 1), name="y")])
    with pytest.raises(ArchitectureError, match=r"gate_x: it gates the input x"):
        network(arch, GOOD)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"bias_variance": 1.0}, "w1: it has a bias"),
        ({"kernel": (3,)}, "w1: it is a convolution"),
        ({"parameters": "p"}, "w1: it shares its parameters"),
    ],
)
def test_other_layers_are_refused(change, message):
    with pytest.raises(ArchitectureError, match=message):
        network(chain(**change), GOOD)


def test_activations_are_refused():
    b = qc.Builder("nonlinear")
    h = b.activation(b.affine(b.input("x", 2), 3), "relu", name="act")
    with pytest.raises(ArchitectureError, match=r"act: .*made of affine layers"):
        network(b.build([b.output(b.affine(h, 1), name="y")]), GOOD)


def test_sums_of_different_channels_are_refused():
    b = qc.Builder("uneven")
    x = b.input("x", 2)
    s = b.sum([b.affine(x, 3), b.affine(x, 4)], [1, 1], name="s")
    with pytest.raises(ArchitectureError, match=r"s: a sum takes maps of equal channels"):
        network(b.build([b.output(b.affine(s, 1), name="y")]), GOOD)


@pytest.mark.parametrize(
    ("contexts", "message"),
    [
        ([], "no context"),
        ([GOOD, GOOD], "'good': two contexts"),
        ([Context.from_data("wide", {"g": 1}, {"x": np.eye(3)}, {"y": [[1.0, 2, 3]]})], "'wide': .*does not match x"),
        ([Context.from_data("tall", {"g": 1}, {"x": np.eye(2)}, {"y": np.eye(2)})], "'tall': .*does not match y"),
        ([Context("lost", {"g": 1}, {("z", "z"): np.eye(2)})], "'lost': 'z' is no input node"),
        ([Context("gate", {"q9": 1}, GOOD.xx, GOOD.yx)], "'gate': chain has no gate 'q9'"),
        ([Context("shut", {}, GOOD.xx, GOOD.yx)], "'shut': its gates close every path"),
        ([Context("nan", {"g": float("nan")}, GOOD.xx, GOOD.yx)], "'nan': the gate g is nan"),
        ([Context("skew", {"g": 1}, {("x", "x"): np.array([[1.0, 2], [0, 1]])}, GOOD.yx)], "'skew': .*not symmetric"),
        ([Context("neg", {"g": 1}, {("x", "x"): -np.eye(2)}, GOOD.yx)], "'neg': .*not positive"),
        ([Context("a", {"g": 1}, GOOD.xx, GOOD.yx, None, 0.5), Context("b", {"g": 1}, GOOD.xx, GOOD.yx, None, 0.4)],
         "sum to 0.9.*'b'"),
        ([Context("a", {"g": 1}, GOOD.xx, GOOD.yx, None, 0.5), Context("b", {"g": 1}, GOOD.xx, GOOD.yx)],
         "'b': its probability is None"),
        ([Context("sym", {"g": 1}, GOOD.xx, GOOD.yx, None, sympy.Symbol("p"))], "'sym': its probability p is symbolic"),
        ([Context("a", {"g": 1}, GOOD.xx, GOOD.yx, 1.0, 0.5), Context("b", {"g": 1}, GOOD.xx, GOOD.yx, None, 0.5)],
         "'b': it has no yy"),
    ],
)  # fmt: skip
def test_bad_contexts_are_named(contexts, message):
    with pytest.raises(DataError, match=message):
        network(chain(), *contexts)


def test_bad_examples_are_named():
    with pytest.raises(DataError, match=r"context 'c': its arrays have \[2, 3\] examples"):
        Context.from_data("c", {}, {"x": np.eye(2)}, {"y": np.ones((1, 3))})
    with pytest.raises(DataError, match=r"the data of x have a NaN"):
        Context.from_data("c", {}, {"x": [[np.nan]]}, {"y": [[1.0]]})
    with pytest.raises(DataError, match=r"x has an array of shape"):
        Context.from_data("c", {}, {"x": [1.0]}, {"y": [[1.0]]})


def test_moments_that_no_data_have_are_named():
    loud = Context("loud", {"g": 1}, {("x", "x"): np.diag([1.0, 0])}, {("y", "x"): np.array([[0, 1.0]])})
    with pytest.raises(DataError, match=r"'loud': .*directions that"):
        qc.gated.FullFlow(network(chain(), loud))
    quiet = Context("quiet", {"g": 1}, {("x", "x"): np.eye(2)}, {("y", "x"): np.array([[3.0, 0]])}, 1.0)
    with pytest.raises(DataError, match=r"'quiet': .*explains 9"):
        qc.gated.FullFlow(network(chain(), quiet))


def test_rank_deficient_data_are_handled():
    """Two equal examples of three-dimensional inputs: one mode, and the flow of the full network."""
    arch = qc.gated.skips(2, width=3, data=(np.ones((3, 2)), np.array([[1.0, 1.0]]))).architecture
    found = qc.gated.skips(2, width=3, data=(np.ones((3, 2)), np.array([[1.0, 1.0]])))
    parts = qc.gated.decouple(found)
    assert (parts.count, parts.exact, arch.channels["x"]) == (1, True, 3)
    reduced = reduce(parts)
    times = np.linspace(0, 2, 3)
    full = qc.gated.FullFlow(found).flow(qc.gated.decoupled_weights(parts, reduced, 0.3), times)
    assert solve(reduced, 0.3, times).losses == pytest.approx(full.losses, rel=1e-9, abs=1e-12)


def test_targets_that_inputs_do_not_predict_are_told():
    flat = Context.from_data("flat", {"g": 1}, {"x": np.array([[1.0, -1], [0, 0]])}, {"y": [[1.0, 1.0]]})
    with pytest.raises(ArgumentError, match=r"all its moments <y x\^T> are zero"):
        reduce(network(chain(), flat))


def test_requests_that_make_no_sense_are_refused():
    reduced = reduce(qc.gated.routing(3, 2))
    with pytest.raises(ArgumentError, match="D, S have no numbers"):
        solve(reduced, 0.1, [0, 1])
    numbers = reduced.substitute(S=1, D=1)
    for start, message in (({"B1": 1}, "B2, B3"), (np.ones((3, 2)), "does not fit"), (np.nan, "NaN")):
        with pytest.raises(ArgumentError, match=message):
            solve(numbers, start, [0, 1])
    for times in ([1, 2], [0, 1, 1], [0]):
        with pytest.raises(ArgumentError, match=r"times"):
            solve(numbers, 0.1, times)
    with pytest.raises(ArgumentError, match=r"no symbol of the moments"):
        reduced.substitute(Q=2)
    with pytest.raises(ArgumentError, match=r"stay in"):
        solve(numbers, 0.1, [0, 1])(2.0)
    with pytest.raises(ArgumentError, match=r"B9"):
        _ = solve(numbers, 0.1, [0, 1])["B9"]
    with pytest.raises(ArgumentError, match=r"w1: its weights have the shape"):
        qc.gated.FullFlow(network(chain(), GOOD)).loss({})
    half_open = Context("half", {"g": sympy.Symbol("g", positive=True)}, GOOD.xx, GOOD.yx)
    assert "B2*g*(-B1*B2*D*g + S)" in str(reduce(network(chain(), half_open)))
    with pytest.raises(ArgumentError, match=r"g: it is symbolic"):
        qc.gated.FullFlow(network(chain(), half_open))
    with pytest.raises(ArgumentError, match=r"symbols or modes"):
        qc.gated.FullFlow(qc.gated.routing(2, 1))
    with pytest.raises(ArgumentError, match=r"more than 10"):
        qc.gated.paths(qc.gated.routing(5, 2), most=10)


def test_contexts_of_equal_gates_are_one():
    half = Context("a", {"g": 1}, GOOD.xx, GOOD.yx, GOOD.yy, Fraction(1, 2))
    other = Context("b", {"g": 1}, {("x", "x"): 3 * GOOD.xx["x", "x"]}, GOOD.yx, GOOD.yy, Fraction(1, 2))
    parts = qc.gated.decouple(network(chain(), half, other))
    assert parts.network.task.contexts == ("a",)
    assert parts.network.task.xx.value.values[0] == pytest.approx(2 * GOOD.xx["x", "x"])
