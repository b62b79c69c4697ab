"""The graph: order, folds, dominators, subnetworks and substitution."""

import dataclasses
import math
import random
import time

import pytest
import sympy as sp
from hypothesis import given
from hypothesis import strategies as st

from qcmap.architecture import (
    Affine,
    Algebra,
    Architecture,
    Builder,
    Concat,
    DominatorTree,
    Input,
    LayerNorm,
    MaxPool,
    MeanPool,
    Node,
    Nonlinear,
    Op,
    Scale,
    Sum,
    WeightedMeanPool,
    is_symbolic,
    zoo,
)
from qcmap.errors import ArchitectureError
from tests import graphs
from tests.graphs import architectures, relabelled

OPS = (Input, Affine, Nonlinear, Sum, Concat, Scale, LayerNorm, MaxPool, MeanPool, WeightedMeanPool)


def describe(node, values):
    return (node.op, *values)


DESCRIPTION = Algebra("description", dict.fromkeys(OPS, describe))
"""The whole history of a node as nested tuples: two folds agree only if the graphs do."""


@given(arch=architectures())
def test_nodes_are_in_topological_order(arch):
    place = {node.id: k for k, node in enumerate(arch.nodes)}
    assert all(place[u] < place[node.id] for node in arch.nodes for u in node.inputs)
    assert arch.index == place
    assert all(tuple(arch.nodes[u].id for u in arch.predecessors[v]) == arch.nodes[v].inputs for v in place.values())
    assert set(arch.inputs) == {node.id for node in arch.nodes if not node.inputs}


@given(data=st.data())
def test_a_fold_does_not_depend_on_names_or_order(data):
    arch = data.draw(architectures())
    moved, names = data.draw(relabelled(arch))
    here, there = arch.fold(DESCRIPTION), moved.fold(DESCRIPTION)
    assert {names[v]: value for v, value in here.items()} == there


def test_given_order_is_kept_where_it_can_be():
    nodes = (Node("b", Affine(), ("a",)), Node("x", Input()), Node("a", Affine(), ("x",)), Node("c", Affine(), ("a",)))
    arch = Architecture("net", nodes, ("b", "c"))
    assert [node.id for node in arch.nodes] == ["x", "a", "b", "c"]
    ordered = (nodes[1], nodes[2], nodes[3], nodes[0])
    assert Architecture("net", ordered, ("b", "c")).nodes == ordered


@given(arch=architectures(max_nodes=14, max_inputs=3))
def test_dominators_are_those_of_brute_force(arch):
    pairs = graphs.subnetworks(arch)
    tree, ids = arch.dominators, [node.id for node in arch.nodes]
    for u in range(len(ids)):
        for v in range(len(ids)):
            assert tree.dominates(u, v) == ((ids[u], ids[v]) in pairs)
    for v in range(len(ids)):
        chain = tree.chain(v)
        assert chain[0] == v
        assert {ids[u] for u in chain} == {u for u, w in pairs if w == ids[v]}
        assert tree.depth[v] == len(chain) - 1
        assert tree.parent[v] == (chain[1] if len(chain) > 1 else -1)
    strict = {u for u, v in pairs if u != v}
    assert {ids[v] for v in tree.leaves} == set(ids) - strict


@given(data=st.data())
def test_dominators_of_deep_graphs(data):
    """Long jumps of the skew-binary pointers, against the definition of the nearest common ancestor."""
    count = data.draw(st.integers(1, 300))
    seed = random.Random(data.draw(st.integers(0, 2**32)))
    predecessors = [()]
    for v in range(1, count):
        sources = [v - 1 - min(v - 1, int(seed.expovariate(1))) for _ in range(seed.choice([1, 1, 2, 3]))]
        predecessors.append(tuple(sources))
    tree = DominatorTree(predecessors)
    chains = [{0}]
    for v in range(1, count):
        chains.append(set.intersection(*(chains[u] for u in predecessors[v])) | {v})
        assert set(tree.chain(v)) == chains[v]


@given(arch=architectures(max_nodes=9))
def test_subnetworks_exist_exactly_for_dominating_pairs(arch):
    pairs = graphs.subnetworks(arch)
    history = arch.fold(DESCRIPTION)
    for u in arch.index:
        for v in arch.index:
            if u == v:
                continue
            if (u, v) not in pairs:
                with pytest.raises(ArchitectureError) as error:
                    arch.subnetwork(u, v)
                assert error.value.subject == v
                assert u in str(error.value)
            else:
                part = arch.subnetwork(u, v)
                assert part.inputs == (u,)
                assert part.outputs == (v,)
                assert part.channels == {name: arch.channels[name] for name in part.index}
                assert replaced(part.fold(DESCRIPTION)[v], part[u].op, history[u]) == history[v]


def replaced(tree, op, value):
    """The history with the stand-in input replaced by the history of the node it stands for."""
    return value if tree == (op,) else (tree[0], *(replaced(branch, op, value) for branch in tree[1:]))


def test_subnetwork_of_a_node_itself_is_the_identity():
    arch = zoo.mlp(2, 8)
    part = arch.subnetwork("layer1.affine", "layer1.affine")
    assert [node.id for node in part.nodes] == ["layer1.affine"]
    assert part.channels == {"layer1.affine": 8}


def test_a_chain_of_200_000_nodes():
    count = 200_000
    nodes = [Node("n0", Input(1))] + [Node(f"n{k}", Nonlinear("tanh"), (f"n{k - 1}",)) for k in range(1, count)]
    start = time.perf_counter()
    arch = Architecture("chain", tuple(nodes), (f"n{count - 1}",))
    assert arch.dominators.dominates(1, count - 1)
    assert not arch.dominators.dominates(count - 1, 1)
    assert arch.dominators.leaves == (count - 1,)
    assert arch.channels[f"n{count - 1}"] == 1
    assert time.perf_counter() - start < 20


def test_a_reversed_chain_is_put_in_order():
    count = 50_000
    nodes = [Node("n0", Input())] + [Node(f"n{k}", Affine(), (f"n{k - 1}",)) for k in range(1, count)]
    arch = Architecture("chain", tuple(reversed(nodes)), (f"n{count - 1}",))
    assert arch.nodes == tuple(nodes)


def test_a_ladder_of_many_merges_is_fast():
    """Two long branches that meet at every rung: the worst case for common ancestors."""
    b = Builder()
    x = b.input("x", channels=2)
    left = right = x
    for k in range(10_000):
        left, right = b.affine(left, 2, name=f"l{k}"), b.affine(right, 2, name=f"r{k}")
    start = time.perf_counter()
    arch = b.build([b.sum([left, right], name="y")])
    assert arch.dominators.parent[arch.index["y"]] == arch.index["x"]
    assert time.perf_counter() - start < 10


class TestSubstitute:
    def net(self):
        w, v = sp.symbols("w v", positive=True)
        b = Builder()
        x = b.input("x", channels=2)
        y = b.scale(x, 2 * v, name="scale")
        return b.build([b.sum([x, y], [w, sp.sqrt(1 - w**2)], name="sum")])

    def test_numbers(self):
        arch = self.net().substitute(w=0.6, v=2)
        weights = arch["sum"].op.weights
        assert weights == (0.6, 0.8)
        assert all(isinstance(weight, float) for weight in weights)
        assert arch["scale"].op.factor == 4.0

    def test_part_of_the_symbols(self):
        arch = self.net().substitute(w=0.6)
        assert arch["sum"].op.weights == (0.6, 0.8)
        assert is_symbolic(arch["scale"].op.factor)

    def test_expressions(self):
        t = sp.Symbol("t", positive=True)
        assert self.net().substitute(w=sp.sin(t))["sum"].op.weights[0] == sp.sin(t)

    def test_the_original_stays(self):
        arch = self.net()
        arch.substitute(w=0.6)
        assert is_symbolic(arch["sum"].op.weights[0])

    def test_values_that_break_a_rule(self):
        for bad in (math.nan, math.inf, 2):
            with pytest.raises(ArchitectureError):
                self.net().substitute(w=bad)

    def test_zoo_network_is_the_numeric_one(self):
        w = sp.Symbol("w", positive=True)
        for family in (zoo.resnet_v2, zoo.wide_resnet):
            symbolic, numeric = family(residual_weight=w).substitute(w=0.3), family(residual_weight=0.3)
            for a, b in zip(symbolic.nodes, numeric.nodes, strict=True):
                assert (a.id, a.inputs, type(a.op)) == (b.id, b.inputs, type(b.op))
                if isinstance(a.op, Sum):
                    assert a.op.weights == pytest.approx(b.op.weights, abs=1e-15)


def test_default_sum_is_normalized():
    b = Builder()
    x = b.input("x")
    for n in range(1, 6):
        weights = b.build([b.sum([x] * n, name=f"s{n}")])[f"s{n}"].op.weights
        assert sum(weight**2 for weight in weights) == pytest.approx(1, abs=1e-15)
        b = Builder()
        x = b.input("x")


def test_frozen():
    arch = zoo.mlp(2)
    for thing, attribute in ((arch, "name"), (arch.nodes[0], "id"), (arch.nodes[1].op, "stride")):
        with pytest.raises((dataclasses.FrozenInstanceError, AttributeError)):
            setattr(thing, attribute, "other")


def test_equal_graphs_are_equal_and_kinds_distinct():
    assert zoo.mlp(3, 4) == zoo.mlp(3, 4)
    assert zoo.mlp(3, 4) != zoo.mlp(3, 5)
    assert len({op.kind for op in OPS}) == len(OPS)
    assert all(issubclass(op, Op) for op in OPS)


def test_activations_in_order_of_first_use():
    b = Builder()
    x = b.input("x")
    for name in ("tanh", "relu", "tanh", "gelu"):
        x = b.activation(x, name)
    assert b.build([x]).activations == ("tanh", "relu", "gelu")


def test_concat_adds_channels():
    b = Builder()
    x, y, z = b.input("x", channels=3), b.input("y", channels=5), b.input("z")
    arch = b.build([b.concat([x, y], name="known"), b.concat([x, z], name="unknown")])
    assert arch.channels["known"] == 8
    assert arch.channels["unknown"] is None
