"""Lumping, decoupling and first integrals: the reduced dynamics are those of the network."""

import numpy as np
import pytest
import sympy
from hypothesis import given, settings
from hypothesis import strategies as st

import qcmap as qc
from qcmap.errors import ArgumentError, NumericalError
from qcmap.gated import FullFlow, decouple, decoupled_weights, reduce, solve
from qcmap.numeric.gated._reduce import scalars
from tests.gated.networks import HIERARCHY
from theory_checks.gated_networks import diagonal_network

SEEDS = st.integers(0, 10**6)
B1, B2, B3, S, D, C = (*sympy.symbols("B1:4 S D", positive=True), sympy.Symbol("C", real=True))
ERROR = S - B2 * B1**2 * D


def same(found, want) -> bool:
    return sympy.simplify(found - want) == 0


@pytest.mark.parametrize(("m", "k"), [(1, 1), (2, 1), (7, 4), (12, 5)])
def test_routing_gives_the_papers_equations(m, k):
    reduced = reduce(qc.gated.routing(m, k), balanced=True)
    if m == 1:  # a chain: all three matrices are balanced, so one variable is left
        assert same(reduced.equations[B1], B1**2 * (S - B1**3 * D))
        return
    assert same(reduced.equations[B2], B1**2 * ERROR)
    assert same(reduced.equations[B1], B2 * B1 * ERROR / m)
    assert reduced.integrals == (m * B1**2 - B2**2,)
    assert reduced.ratios() == {B1: 1, B2: sympy.sqrt(m)}
    equation = reduced.scalar()
    assert equation.variable == B2
    assert same(equation.rate, (B2**2 + C) / m * (S - B2 * (B2**2 + C) * D / m))
    assert equation.constants == {C: m * B1**2 - B2**2}


@pytest.mark.parametrize("paths", [1, 4, 9, 36])
def test_sharing_gives_the_papers_equations(paths):
    reduced = reduce(qc.gated.sharing(6, paths))
    p, m = sympy.sqrt(paths), 6
    error = S - B1 * B2 * B3 * D
    rates = [p / m**2 * B2 * B3 * error, paths * B1 * B3 * error / m**2, p / m**2 * B1 * B2 * error]
    assert all(same(found, want) for found, want in zip(reduced.equations.values(), rates, strict=True))
    assert list(reduced.ratios().values()) == [1, sympy.root(paths, 4), 1]


def test_exclusive_or():
    """Equations (21)-(23), from the data: S = sqrt 2, D = 2 in each context of probability 1/4."""
    reduced = reduce(qc.gated.xor(), balanced=True)
    (values,) = (tuple(float(v[0]) for v in reduced.values.values()),)
    assert values == pytest.approx((np.sqrt(2), 2), rel=1e-14)
    t, a0 = sympy.symbols("t u0", positive=True)
    ((product, solution),) = reduced.scalar().explicit(t, a0).items()
    assert product == B1**2
    s, d = sympy.sqrt(2) / 4, sympy.Rational(1, 2)
    want = (s / d) / (1 - (1 - s / (d * a0)) * sympy.exp(-2 * s * t))
    assert same(solution.subs({S: sympy.sqrt(2), D: 2}), want)
    loss = sympy.Rational(1, 2) + reduced.loss.subs({S: sympy.sqrt(2), D: 2})
    assert same(loss, sympy.Rational(1, 2) - sympy.sqrt(2) * B1**2 + B1**4)


def test_contextual_task():
    """Equations (24)-(29): a linear network learns [1/2 1/2], pathways [1 0] and [0 1]."""
    for gated, want in ((False, [[0.5, 0.5]]), (True, [[1, 0], [0, 1]])):
        network = qc.gated.contextual(gated=gated)
        parts = decouple(network)
        reduced = reduce(parts)
        weights = decoupled_weights(parts, reduced, solve(reduced, 0.1, [0, 200]).values[-1])
        names = ("first", "second") if gated else ("always",)
        found = [(weights[f"out_{name}"] @ weights[f"in_{name}"])[0] for name in names]
        assert np.abs(np.array(found) - want).max() < 1e-8


@settings(max_examples=12)
@given(SEEDS)
def test_reduced_flow_is_the_full_flow_from_decoupled_weights(seed):
    network = diagonal_network(seed)
    parts = decouple(network)
    assert parts.exact
    reduced = reduce(parts)
    start = np.random.default_rng(seed).uniform(0.1, 0.8, size=scalars(reduced, 0.0).shape)
    times = np.linspace(0, 4, 5)
    solution = solve(reduced, start, times)
    full = FullFlow(network).flow(decoupled_weights(parts, reduced, start, seed=seed), times, rtol=1e-11, atol=1e-13)
    for k in range(len(times)):
        want = decoupled_weights(parts, reduced, solution.values[k], seed=seed)
        assert max(np.abs(full.at(k)[edge] - want[edge]).max() for edge in want) < 1e-9
    assert np.diff(solution.losses) == pytest.approx(np.diff(full.losses), rel=1e-6, abs=1e-9)
    assert solution.drift < 1e-9


@pytest.mark.parametrize(
    "network",
    [
        qc.gated.routing(3, 2, width=5, data=(np.eye(4), HIERARCHY)),
        qc.gated.routing(4, 1, hidden_layers=3, width=4, data=(np.eye(4), HIERARCHY)),
        qc.gated.sharing(4, (1, 4), width=4, data=(np.eye(4), HIERARCHY)),
        qc.gated.tree(2, 3, width=4, data=(np.eye(4), HIERARCHY)),
        qc.gated.multimodal(3, 2, width=6, data=(np.eye(4), HIERARCHY)),
        qc.gated.skips(3, width=2, data=(np.eye(4), HIERARCHY)),
        qc.gated.xor(4),
    ],
    ids=lambda network: network.architecture.name,
)
def test_lumped_is_unlumped(network):
    """From equal values in each class, the full network stays where the lumped one goes."""
    parts = decouple(network)
    reduced = reduce(parts)
    start = scalars(reduced, 0.0) + np.linspace(0.3, 0.5, len(reduced.symbols))[:, None]
    times = np.linspace(0, 3, 4)
    solution = solve(reduced, start, times)
    full = FullFlow(network).flow(decoupled_weights(parts, reduced, start), times, rtol=1e-11, atol=1e-13)
    want = [decoupled_weights(parts, reduced, row) for row in solution.values]
    assert max(np.abs(full.at(k)[e] - want[k][e]).max() for k in range(4) for e in want[k]) < 1e-9
    assert solution.losses == pytest.approx(full.losses, rel=1e-10)
    if network.architecture.name.startswith("routing:M=3"):
        assert len(reduced.symbols) < len(network.edges)


def test_narrow_layers_carry_the_strongest_modes():
    network = qc.gated.routing(2, 2, width=2, data=(np.eye(4), HIERARCHY))
    solution = solve(reduce(network), 0.3, [0, 60])
    assert solution.learned()[-1] == pytest.approx([1, 1, 0, 0], abs=1e-6)


def test_partition_is_the_coarsest_of_the_stable_ones():
    """A shift of the domains moves all edges of a routing network, a lopsided task fewer."""
    assert [len(edges) for edges in reduce(qc.gated.routing(9, 4)).quotient.classes] == [9, 1, 9]
    arch = qc.gated.routing(3, 1).architecture
    contexts = [
        qc.gated.Context(f"{k}", {f"from{k}": 1, f"to{k}": 1}, {(f"x{k}", f"x{k}"): 1.0}, {(f"y{k}", f"x{k}"): s})
        for k, s in enumerate((2.0, 2.0, 3.0))
    ]
    network = qc.gated.GatedNetwork(arch, qc.gated.GatedTask.of(contexts, arch.inputs, arch.outputs))
    assert reduce(network).quotient.classes == (("in0", "in1"), ("in2",), ("hidden1",), ("out0", "out1"), ("out2",))


def test_data_that_are_not_diagonalizable_are_told():
    random = np.random.default_rng(0)
    data = (random.standard_normal((4, 20)), random.standard_normal((5, 20)))
    network = qc.gated.routing(2, 1, data=data)
    assert decouple(network).residual > 0.01
    with pytest.raises(NumericalError, match=r"not jointly diagonalizable.*coupled"):
        reduce(network)


def test_several_schemes_leave_no_single_ratio():
    reduced = reduce(qc.gated.sharing(4, (1, 16)))
    with pytest.raises(ArgumentError, match="do not fix the ratios"):
        reduced.ratios()
    with pytest.raises(ArgumentError, match="leave 2 equations"):
        reduced.scalar()
