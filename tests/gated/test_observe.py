"""Random starts, coupled modes, races and what trained networks show."""

import numpy as np
import pytest

import qcmap as qc
from qcmap.errors import ArgumentError, DataError
from qcmap.gated import (
    FullFlow,
    coupled,
    decouple,
    decoupled_weights,
    descend,
    project,
    race,
    random_weights,
    reduce,
    respond,
    routing,
    sharing,
    similarity,
    solve,
)
from tests.gated.networks import HIERARCHY
from theory_checks.gated_networks import random_network

FIGURE_4 = routing(7, 4, data=(np.eye(4), HIERARCHY))


def test_projection_returns_decoupled_weights_as_they_are():
    parts = decouple(FIGURE_4)
    reduced = reduce(parts)
    start = np.random.default_rng(1).uniform(0.2, 1, (3, 4))
    weights = decoupled_weights(parts, reduced, start, seed=5)
    found = project(parts, reduced, weights)
    assert found.share == pytest.approx(1, rel=1e-12)
    assert found.start == pytest.approx(start, rel=1e-6)
    assert found.departure([0, 5, 10]) < 1e-6
    assert all(np.abs(found.weights[edge] - weights[edge]).max() < 1e-6 for edge in weights)


def test_projection_is_a_stationary_point():
    """No small rotation of a hidden layer brings the decoupled weights nearer to the given ones."""
    parts = decouple(routing(3, 2, width=6, data=(np.eye(4), HIERARCHY)))
    reduced = reduce(parts)
    weights = random_weights(parts.network, gain=0.5, seed=2)
    found = project(parts, reduced, weights)

    def distance(near):
        return sum(float(((near[edge] - weights[edge]) ** 2).sum()) for edge in weights)

    norm = sum(float((matrix**2).sum()) for matrix in weights.values())
    assert distance(found.weights) == pytest.approx((1 - found.share) * norm, rel=1e-9)
    random = np.random.default_rng(0)
    for _ in range(10):
        skew = 1e-3 * random.standard_normal((6, 6))
        turn = np.linalg.qr(np.eye(6) + skew - skew.T)[0]
        turn = turn * np.sign(np.diag(turn))
        moved = {e: turn @ w if e.startswith("in") else w @ turn.T if e == "hidden1" else w
                 for e, w in found.weights.items()}  # fmt: skip
        assert distance(moved) >= distance(found.weights) - 1e-12


def test_departure_of_a_projection():
    """Against the two flows side by side; smaller for weights that are nearly decoupled."""
    network = routing(3, 2, width=6, data=(np.eye(4), HIERARCHY))
    parts = decouple(network)
    reduced, times = reduce(parts), np.linspace(0, 20, 5)
    random, near = random_weights(network, gain=0.3, seed=2), decoupled_weights(parts, reduced, 0.3)
    found = project(parts, reduced, random)
    full, theory = FullFlow(network).flow(random, times).losses, solve(reduced, found.start, times).losses
    assert found.departure(times) == pytest.approx(np.abs(theory - full).max() / full[0], rel=1e-9)
    moved = {edge: near[edge] + 0.01 * random[edge] for edge in near}
    assert 0 < project(parts, reduced, moved).departure(times) < 0.01 * found.departure(times)


def test_random_starts_of_figure_4():
    """Orthogonal starts of gain 0.2: ratios near sqrt 7, and the theory from projected scalars, nothing fitted.

    Errors are root mean squares over 250 steps, relative to the loss at the start; the projection's time to learn the
    top mode is off by a few steps, which on the steep part is a large error for a short time.
    """
    parts = decouple(FIGURE_4)
    reduced, flow, errors = reduce(parts), FullFlow(FIGURE_4), []
    for seed in range(2):
        weights = random_weights(FIGURE_4, gain=0.2, seed=seed)
        run = flow.descend(weights, 0.16, 250)
        theory = descend(reduced, project(parts, reduced, weights).start, 0.16, 250)
        errors.append(float(np.sqrt(np.mean((theory.losses - run.losses) ** 2)) / run.losses[0]))
        top = {e: np.linalg.svd(run.weights[e][200], compute_uv=False)[0] for e in ("in0", "hidden1", "out0")}
        # Expected were 2.57-2.61; at gain 0.2 it settles above, near 2.615 (docs/neural_race.md, Figure 4): up to 2.65.
        assert 2.57 < top["hidden1"] / top["in0"] < 2.65
        assert 2.57 < top["hidden1"] / top["out0"] < 2.65
        # Two parts of the ratio (docs/neural_race.md): along the hidden direction v the first integral gives sqrt 7;
        # what the outer matrices keep off it makes their own singular values larger.
        end = run.at(-1)
        (_, hidden, right), outer = np.linalg.svd(end["hidden1"]), [end[f"in{i}"] for i in range(7)]
        v, first = right[0], FIGURE_4.layers["h1"]
        along = np.array([float(((matrix.T @ v) ** 2).sum()) for matrix in outer])
        assert hidden[0] ** 2 == pytest.approx(along.sum() - v @ flow.integrals(end)[first] @ v, rel=1e-12)
        assert 2.640 < hidden[0] / np.sqrt(along.mean()) < 7**0.5
        own = np.array([np.linalg.svd(matrix, compute_uv=False)[0] ** 2 for matrix in outer])
        assert 0.05 < float((own - along).mean()) < 0.1
    assert errors == pytest.approx([0.107, 0.048], abs=0.01)


def test_coupled_flow_is_the_full_one():
    random = np.random.default_rng(0)
    x = random.standard_normal((4, 20))
    y = random.standard_normal((5, 4)) @ x + 0.1 * random.standard_normal((5, 20))
    network = routing(3, 2, width=8, data=(x, y))
    found = coupled(network)
    times = np.linspace(0, 10, 5)
    losses, values = found.solve(0.3, times)
    full = FullFlow(network).flow(found.weights(values[0]), times)
    assert losses == pytest.approx(full.losses, rel=1e-8)
    assert all(np.abs(found.weights(values[-1])[e] - full.at(-1)[e]).max() < 1e-8 for e in network.edges)
    assert found.variables == 4 * 4 + 4 * 4 + 5 * 4 - 4
    assert found.departure(0.3, times) > 0.01


def test_coupled_flow_of_diagonalizable_data_is_the_decoupled_one():
    found = coupled(FIGURE_4)
    assert found.blocks == ((0,), (1,), (2,), (3,))
    assert found.variables == 12
    assert found.departure(0.08, np.linspace(0, 30, 4)) < 1e-9


def test_coupled_blocks():
    """Two pairs of modes that data couple among themselves only."""
    random = np.random.default_rng(3)
    x = np.zeros((4, 16))
    x[:2, :8], x[2:, 8:] = random.standard_normal((2, 8)), random.standard_normal((2, 8))
    y = np.zeros((4, 16))
    y[:2, :8], y[2:, 8:] = random.standard_normal((2, 8)), random.standard_normal((2, 8))
    found = coupled(routing(2, 1, width=6, data=(x, y)))
    assert sorted(map(len, found.blocks)) == [2, 2]
    assert found.variables == 3 * (4 + 4)


def test_most_shared_scheme_wins():
    reduced = reduce(sharing(10, (1, 4, 25, 100))).substitute(S=13.6, D=1)
    found = race(solve(reduced, 0.2, np.linspace(0, 30, 4)))
    assert found.winner == [3]
    assert (np.diff(found.learned[:, -1, 0]) > 0).all()
    assert found.learned[:, -1].sum() == pytest.approx(1, abs=1e-9)
    assert found.margin > 100
    assert found.alike == (100, 25, 4, 1)
    assert found.schemes == tuple((f"B{k + 1}", f"B{k + 2}", f"B{k + 3}") for k in (0, 3, 6, 9))
    with pytest.raises(ArgumentError, match="all paths"):
        race(solve(reduce(routing(3, 2)).substitute(S=1, D=1), 0.1, [0, 1]))


def test_margins_and_modes_that_nobody_carries():
    """Mode by mode: a winner, none (no target), and one that carries alone, the others' weights being zero."""
    reduced = reduce(sharing(4, (1, 16))).substitute(S=[2.0, 0.0, 1.0], D=1)
    start = {f"B{k}": 0.2 if k > 3 else [0.2, 0.2, 0.0] for k in range(1, 7)}
    found = race(solve(reduced, start, [0, 20]))
    assert found.winner.tolist() == [1, -1, 1]
    one, sixteen = found.learned[:, -1]
    assert found.margin.tolist() == [sixteen[0] / one[0], 1.0, np.inf]
    assert "number 2, nobody, number 2" in repr(found)
    assert found.to_dict()["winner"] == [1, -1, 1]


@pytest.mark.parametrize(
    ("network", "count"), [(qc.gated.xor(4), 4), (qc.gated.contextual(4), 2), (sharing(4, 4), 4)], ids=str
)
def test_schemes_that_learn_alike_do_not_race(network, count):
    reduced = reduce(network)
    if not network.task.is_matrix:
        reduced = reduced.substitute(S=1, D=1)
    with pytest.raises(ArgumentError, match=f"its {count} schemes learn alike"):
        race(solve(reduced, 0.2, [0, 1]))


def test_responses_are_those_of_the_plain_network():
    network, contexts = random_network(11)
    weights = random_weights(network, seed=4)
    context = contexts[-1]
    values = respond(network, weights, context["inputs"], context["gates"])
    loss = sum(((values[v] - context["targets"][v]) ** 2).sum(axis=0).mean() for v in network.architecture.outputs) / 2
    assert FullFlow(network).context_losses(weights)[-1] == pytest.approx(loss, rel=1e-10)


def test_zero_shot_and_shared_representation():
    """Figs. 4g and 4h: untrained routes are learned as well, items look alike from every domain."""
    weights = FullFlow(FIGURE_4).descend(random_weights(FIGURE_4), 0.16, 600, every=600).at(-1)
    rest = routing(7, 4, data=(np.eye(4), HIERARCHY), trained=False)
    assert len(rest.task.contexts) == 21
    losses = FullFlow(rest).context_losses(weights)
    assert losses.max() < 0.01
    assert losses.max() > FullFlow(FIGURE_4).context_losses(weights).max()
    context = qc.gated.Context.from_data("new", {"from0": 1, "to5": 1}, {"x0": np.eye(4)}, {"y5": HIERARCHY})
    again = qc.gated.elsewhere(FIGURE_4, weights, [context])
    assert again == pytest.approx(losses[rest.task.contexts.index("0->5")], rel=1e-10)
    hidden = [respond(FIGURE_4, weights, {f"x{i}": np.eye(4)}, {f"from{i}": 1})["h1"] for i in (0, 3)]
    table = similarity(hidden)
    assert np.abs(table[:4, :4] - table[:4, 4:]).max() < 0.1 * table.max()
    assert qc.gated.singular_values(weights)["hidden1"][0] == pytest.approx(4.56, abs=0.1)


def test_bad_requests():
    weights = random_weights(FIGURE_4)
    with pytest.raises(ArgumentError, match="no from9"):
        respond(FIGURE_4, weights, {}, {"from9": 1})
    with pytest.raises(DataError, match="x0"):
        respond(FIGURE_4, weights, {"x0": np.eye(3)}, {})
    with pytest.raises(ArgumentError, match="all routes"):
        routing(3, 3, trained=False)
    with pytest.raises(ArgumentError, match="square of a divisor"):
        sharing(10, 9)
