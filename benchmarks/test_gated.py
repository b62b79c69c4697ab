"""Gated networks: reduction and solution of large routing networks, beside the full simulation."""

import time
from statistics import median

import numpy as np
import pytest

import qcmap as qc
from qcmap.gated import FullFlow, decouple, decoupled_weights, descend, random_weights, reduce, solve

HIERARCHY = np.array([6, 4, 4, 3, 3, 3, 3])[:, None] * np.array(
    [[1, 1, 1, 1], [1, 1, 0, 0], [0, 0, 1, 1], *np.eye(4).tolist()]
)
"""The outputs of Fig. 4."""
DATA = np.eye(4), HIERARCHY
TIMES = np.linspace(0, 2000, 101)
STEPS, RATE = 2000, 1.0


def test_derive_reduce_integrate_100_40(benchmark):
    """Symbols to the flow of each class of edges, integrals, ratios, (15), and the top mode in time. Reach: 1 s.

    The flow of single edges as sums over paths is left out: there are 10,000 paths.
    """

    def all_of_it() -> float:
        reduced = reduce(qc.gated.routing(100, 40))
        assert str(reduced.equations[reduced.symbols[1]]) == "B1*B3*(-B1*B2*B3*D + S)"
        balanced = reduced.balanced()
        assert str(balanced.ratios()[balanced.symbols[1]]) == "10"
        assert "C" in str(balanced.scalar())
        return float(solve(reduced.substitute(S=3.4, D=0.25), 0.08, TIMES)["B2"][-1, 0])

    assert benchmark.pedantic(all_of_it, rounds=3, warmup_rounds=1) > 5


def test_from_data_100_40(benchmark):
    """The same from data: 4,000 contexts merged, decoupled, lumped and solved for all four modes."""
    solution = benchmark.pedantic(
        lambda: solve(reduce(qc.gated.routing(100, 40, data=DATA)), 0.08, TIMES), rounds=3, warmup_rounds=1
    )
    assert solution.losses[-1] < 1e-6 * solution.losses[0]


def test_reduced_descent_100_40(benchmark):
    """2,000 steps of descent of the reduced network, which the simulation below takes one by one."""
    reduced = reduce(qc.gated.routing(100, 40, data=DATA))
    benchmark.pedantic(descend, args=(reduced, 0.08, RATE, STEPS), rounds=3)


def test_simulated_step_100_40(benchmark):
    """One step of the full simulation, hidden layers of 64: 201 matrices, 4,000 contexts of 4 examples."""
    network = qc.gated.routing(100, 40, data=DATA)
    flow, weights = FullFlow(network), random_weights(network)
    benchmark.pedantic(flow.gradient, args=(weights,), rounds=10, warmup_rounds=1)


def test_simulation_takes_a_thousand_times_as_long(benchmark):
    """Step for step, a simulated descent from decoupled weights and the reduced one, equal: medians of processor time.

    Other work on the machine lengthens single measurements; they alternate, so that none has it to itself.
    """
    network = qc.gated.routing(100, 40, data=DATA)
    parts = decouple(network)
    reduced, flow = reduce(parts), FullFlow(network)
    weights, few = decoupled_weights(parts, reduced, 0.08), 10
    simulated, lumped = [], []

    def both() -> None:
        start = time.process_time()
        full = flow.descend(weights, RATE, few, every=few)
        between = time.process_time()
        theory = descend(reduced, 0.08, RATE, STEPS)
        simulated.append((between - start) / few * STEPS)
        lumped.append(time.process_time() - between)
        assert theory.losses[few] == pytest.approx(full.losses[1], rel=1e-10)

    benchmark.pedantic(both, rounds=7, warmup_rounds=1)
    ratio = median(simulated) / median(lumped)
    benchmark.extra_info["ratio"] = ratio
    print(f"simulation {median(simulated):.0f} s, reduced {median(lumped):.3f} s: {ratio:.0f} times")
    assert ratio >= 1000


def test_reduce_1000_400(benchmark):
    """400,000 trained routes, build and reduce. Reach: 30 s and 4 GB."""
    reduced = benchmark.pedantic(lambda: reduce(qc.gated.routing(1000, 400)), rounds=1)
    assert [len(edges) for edges in reduced.quotient.classes] == [1000, 1, 1000]


@pytest.mark.parametrize("domains", [50, 100, 200, 400])
def test_reduce_by_size(benchmark, domains):
    """Routes grow with the square of the domains, and so does the time."""
    benchmark.pedantic(lambda: reduce(qc.gated.routing(domains, domains // 2)), rounds=3)
