"""The full flow: autograd is the oracle; paths, moments and first integrals."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import qcmap as qc
from qcmap.gated import FullFlow, random_weights
from tests.gated.networks import HIERARCHY, autograd
from theory_checks.gated_networks import random_network

SEEDS = st.integers(0, 10**6)


def close(found: dict, want: dict, tolerance: float) -> bool:
    scale = max(np.abs(matrix).max() for matrix in want.values())
    return max(np.abs(found[edge] - want[edge]).max() for edge in want) <= tolerance * scale


@given(SEEDS)
def test_gradient_is_that_of_autograd(seed):
    network, contexts = random_network(seed)
    weights = random_weights(network, gain=0.8, kind="gaussian", seed=seed)
    loss, gradient = FullFlow(network).gradient(weights)
    want_loss, want = autograd(network.architecture, contexts, weights)
    assert loss == pytest.approx(want_loss, rel=1e-10)
    assert close(gradient, want, 1e-10)


@given(SEEDS)
def test_path_sums_are_the_gradient_of_autograd(seed):
    """Equations (3)-(6) with every path enumerated."""
    network, contexts = random_network(seed)
    weights = random_weights(network, gain=0.8, kind="gaussian", seed=seed)
    _, want = autograd(network.architecture, contexts, weights)
    found = qc.gated.statistics(network)

    def product(edges, size):
        total = np.eye(size)
        for edge in edges:
            total = weights[edge] @ total
        return total

    channels = network.architecture.channels
    rates = {edge: np.zeros_like(matrix) for edge, matrix in weights.items()}
    for p, path in enumerate(found.paths):
        error = np.zeros((channels[path.target], channels[path.source])) + found.yx.get(p, 0)
        for j, other in enumerate(found.paths):
            if (j, p) in found.x:
                error = error - product(other.edges, channels[other.source]) @ found.x[j, p]
        for k, edge in enumerate(path.edges):
            before = product(path.edges[:k], channels[path.source])
            after = product(path.edges[k + 1 :], weights[edge].shape[0])
            rates[edge] += after.T @ error @ before.T
    assert close({edge: -rate for edge, rate in rates.items()}, want, 1e-10)


@settings(max_examples=10)
@given(SEEDS)
def test_every_hidden_layer_has_a_first_integral(seed):
    network, _ = random_network(seed)
    flow = FullFlow(network)
    path = flow.flow(random_weights(network, gain=0.7, seed=seed), np.linspace(0, 2, 3))
    start = flow.integrals(path.at(0))
    assert set(start) == set(network.hidden)
    for k in (1, 2):
        for layer, value in flow.integrals(path.at(k)).items():
            assert np.abs(value - start[layer]).max() < 1e-8


def test_symbolic_equations_are_the_gradient():
    """The matrix expressions, with numbers put in, on a network of two paths that compete."""
    import sympy

    network = qc.gated.skips(2, width=3, data=(np.eye(2), np.array([[2.0, 1.0]])))
    weights = random_weights(network, gain=0.7)
    flow = qc.gated.gradient_flow(network)
    numbers = {flow.weights[edge]: sympy.Matrix(matrix) for edge, matrix in weights.items()}
    for name, symbol in flow.moments.items():
        key = tuple(int(k) - 1 for k in name[name.index("(") + 1 : -1].split(","))
        table = flow.statistics.yx if len(key) == 1 else flow.statistics.x
        numbers[symbol] = sympy.Matrix(table[key[0] if len(key) == 1 else key])
    _, gradient = FullFlow(network).gradient(weights)
    for edge, rate in flow.equations.items():
        value = np.array(rate.subs(numbers).doit().tolist(), dtype=float)
        assert np.abs(value + gradient[edge]).max() < 1e-14
    assert str(flow.equations["w1"]) == ("W_w2.T*(Sigma_yx(1) - W_skip2*Sigma_x(2,1) - W_w2*W_w1*Sigma_x(1,1))")


def test_routing_statistics():
    """Equations (11)-(12): 1/(K M) for each trained path, and none between different paths."""
    network = qc.gated.routing(5, 2)
    found = qc.gated.statistics(network)
    assert len(found.paths) == 25
    assert len(found.yx) == len(found.x) == 10
    assert {str(value) for value in found.yx.values()} == {"S/10"}
    assert all(j == p and str(value) == "D/10" for (j, p), value in found.x.items())


def test_descent_is_one_step_of_the_gradient_at_a_time():
    network = qc.gated.routing(3, 2, width=8, data=(np.eye(4), HIERARCHY))
    flow, weights = FullFlow(network), random_weights(network)
    path = flow.descend(weights, 0.1, 4, every=2)
    now = weights
    for _ in range(4):
        _, gradient = flow.gradient(now)
        now = {edge: matrix - 0.1 * gradient[edge] for edge, matrix in now.items()}
    assert path.times.tolist() == [0, 2, 4]
    assert all(np.array_equal(path.at(2)[edge], now[edge]) for edge in now)


def test_random_weights():
    network = qc.gated.routing(2, 1, width=8, data=(np.eye(4), HIERARCHY))
    weights = random_weights(network, gain=0.2, seed=3)
    for matrix in weights.values():
        assert np.linalg.svd(matrix)[1] == pytest.approx(0.2)
    assert not np.allclose(weights["in0"], weights["in1"])
    drawn = random_weights(qc.gated.xor(4000), gain=2.0, kind="gaussian")["in0"]
    assert drawn.std() * np.sqrt(2) == pytest.approx(2.0, rel=0.05)  # seven standard deviations
    xavier = random_weights(qc.gated.xor(4000), gain=2.0, kind="xavier")["in0"]
    assert xavier.std() * np.sqrt(4002 / 2) == pytest.approx(2.0, rel=0.05)
