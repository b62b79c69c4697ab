"""Weights, inputs and arguments that no network has: each is refused by name, and no NaN or traceback leaves."""

from typing import Any

import numpy as np
import pytest

import qcmap as qc
from qcmap.errors import ArgumentError, DataError, NumericalError
from qcmap.gated import (
    FullFlow,
    decouple,
    project,
    random_weights,
    reduce,
    respond,
    routing,
    similarity,
    singular_values,
)

NETWORK = routing(3, 2, width=5, data=(np.eye(4), np.diag([4.0, 3, 2, 1])))
WEIGHTS = random_weights(NETWORK)
PARTS = decouple(NETWORK)
USERS = {
    "loss": FullFlow(NETWORK).loss,
    "gradient": FullFlow(NETWORK).gradient,
    "context_losses": FullFlow(NETWORK).context_losses,
    "integrals": FullFlow(NETWORK).integrals,
    "flow": lambda weights: FullFlow(NETWORK).flow(weights, [0, 1]),
    "descend": lambda weights: FullFlow(NETWORK).descend(weights, 0.1, 1),
    "project": lambda weights: project(PARTS, reduce(PARTS), weights),
    "respond": lambda weights: respond(NETWORK, weights, {}, {}),
}


@pytest.mark.parametrize("user", USERS)
@pytest.mark.parametrize(
    ("weight", "message"),
    [
        (None, "(5, 5), not none"),
        (np.ones((5, 4)), "(5, 5), not (5, 4)"),
        (np.ones(5), "shape (5,)"),
        (np.full((5, 5), np.nan), "NaN"),
        (np.full((5, 5), np.inf), "infinity"),
        ("text", "not numbers"),
    ],
)
def test_weights_are_checked_wherever_they_are_used(user, weight, message):
    weights = {edge: matrix for edge, matrix in WEIGHTS.items() if edge != "hidden1"}
    with pytest.raises(ArgumentError) as caught:
        USERS[user](weights if weight is None else weights | {"hidden1": weight})
    assert caught.value.subject == "hidden1"
    assert message in caught.value.rule


HUGE = {edge: 1e200 * matrix for edge, matrix in WEIGHTS.items()}


@pytest.mark.parametrize("user", ["loss", "gradient", "context_losses"])
def test_a_loss_that_overflows_is_an_error(user):
    with pytest.raises(NumericalError, match=r"the loss overflows"):
        USERS[user](HUGE)


OVERFLOWS = {
    "gradient where the loss is finite": lambda: USERS["gradient"](
        {edge: 0 * matrix if edge.startswith("in") else matrix for edge, matrix in HUGE.items()}
    ),
    "integrals": lambda: USERS["integrals"](HUGE),
    "flow": lambda: USERS["flow"](HUGE),
    "reduced flow": lambda: qc.gated.solve(reduce(PARTS), 1e200, [0, 1]),
    "equilibrium": lambda: qc.gated.equilibrium(reduce(PARTS), 1e200),
    "coupled flow": lambda: qc.gated.coupled(NETWORK).solve(1e200, [0, 1]),
    "respond": lambda: respond(NETWORK, HUGE, {"x0": np.eye(4)}, {"from0": 1e200}),
    "similarity": lambda: similarity([1e200 * np.eye(2)]),
    "singular values": lambda: singular_values({"a": np.full((3, 3), 1.7e308)}),
}


@pytest.mark.parametrize("case", OVERFLOWS)
def test_what_overflows_is_an_error(case):
    with pytest.raises(NumericalError, match="overflows"):
        OVERFLOWS[case]()


ANYTHING: Any = 3
TAKERS = {
    "decouple": (lambda: decouple(ANYTHING), "network"),
    "coupled": (lambda: qc.gated.coupled(ANYTHING), "network"),
    "FullFlow": (lambda: FullFlow(ANYTHING), "network"),
    "random_weights": (lambda: random_weights(ANYTHING), "network"),
    "respond": (lambda: respond(ANYTHING, WEIGHTS, {}, {}), "network"),
    "elsewhere": (lambda: qc.gated.elsewhere(ANYTHING, WEIGHTS, []), "network"),
    "paths": (lambda: qc.gated.paths(ANYTHING), "network"),
    "gradient_flow": (lambda: qc.gated.gradient_flow(ANYTHING), "network"),
    "save": (lambda: qc.gated.save(ANYTHING, "network.yaml"), "network"),
    "first_integrals": (lambda: qc.gated.first_integrals(ANYTHING), "network"),
    "GatedNetwork": (lambda: qc.gated.GatedNetwork(ANYTHING, NETWORK.task), "architecture"),
    "with_task": (lambda: NETWORK.with_task(ANYTHING), "task"),
    "call": (lambda: qc.gated.call(ANYTHING), "specification"),
    "solve": (lambda: qc.gated.solve(ANYTHING, 0.1, [0, 1]), "reduced"),
    "descend": (lambda: qc.gated.descend(ANYTHING, 0.1, 0.1, 1), "reduced"),
    "equilibrium": (lambda: qc.gated.equilibrium(ANYTHING, 0.1), "reduced"),
    "race": (lambda: qc.gated.race(ANYTHING), "solution"),
    "decoupled_weights": (lambda: qc.gated.decoupled_weights(ANYTHING, reduce(PARTS), 0.1), "parts"),
    "project": (lambda: project(ANYTHING, reduce(PARTS), WEIGHTS), "parts"),
    "loss": (lambda: FullFlow(NETWORK).loss(ANYTHING), "weights"),
    "singular_values": (lambda: singular_values(ANYTHING), "weights"),
    "similarity": (lambda: similarity(ANYTHING), "activities"),
    "gates": (lambda: respond(NETWORK, WEIGHTS, {}, ANYTHING), "gates"),
}


@pytest.mark.parametrize("taker", TAKERS)
def test_arguments_of_another_kind_are_named(taker):
    call, name = TAKERS[taker]
    with pytest.raises(ArgumentError, match=f"^{name}: "):
        call()


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("steps", lambda: FullFlow(NETWORK).descend(WEIGHTS, 0.1, ANYTHING / 2)),
        ("rate", lambda: qc.gated.descend(reduce(PARTS), 0.1, float("nan"), 2)),
        ("seed", lambda: random_weights(NETWORK, seed=-1)),
        ("sweeps", lambda: project(PARTS, reduce(PARTS), WEIGHTS, sweeps=0)),
        ("times", lambda: qc.gated.solve(reduce(PARTS), 0.1, ANYTHING)),
        ("rtol", lambda: qc.gated.solve(reduce(PARTS), 0.1, [0, 1], rtol=-1)),
        ("atol", lambda: FullFlow(NETWORK).flow(WEIGHTS, [0, 1], atol=0)),
        ("start", lambda: qc.gated.coupled(NETWORK).solve([np.eye(2)], [0, 1])),
        ("balanced", lambda: reduce(NETWORK, balanced="no" if ANYTHING else False)),
        ("width", lambda: routing(3, 2, width=0)),
    ],
)
def test_options_out_of_range_are_named(name, call):
    with pytest.raises(ArgumentError, match=f"^{name}: "):
        call()


def test_projection_takes_its_own_network_and_some_weights():
    for other in (reduce(routing(3, 2)), reduce(routing(2, 1, data=(np.eye(4), np.eye(4))))):
        with pytest.raises(ArgumentError, match=r"^reduced: it is not that of routing:M=3,K=2"):
            project(PARTS, other, WEIGHTS)
    with pytest.raises(ArgumentError, match=r"^weights: their squared norm is 0"):
        project(PARTS, reduce(PARTS), {edge: 0 * matrix for edge, matrix in WEIGHTS.items()})


@pytest.mark.parametrize("gain", [-1, np.nan, np.inf])
def test_gains_are_sizes(gain):
    with pytest.raises(ArgumentError, match=r"^gain: "):
        random_weights(NETWORK, gain=gain)


@pytest.mark.parametrize("tolerance", [-1, np.nan, 1])
def test_tolerances_are_relative(tolerance):
    with pytest.raises(ArgumentError, match=r"^tolerance: "):
        reduce(NETWORK, tolerance=tolerance)


def test_what_is_no_network_is_not_reduced():
    number: Any = 3
    with pytest.raises(ArgumentError, match=r"^network: a int is no gated network"):
        reduce(number)


@pytest.mark.parametrize(("value", "message"), [(np.full((4, 1), np.nan), "NaN"), ([["a"]] * 4, "numbers")])
def test_inputs_are_finite_numbers(value, message):
    with pytest.raises(DataError, match=f"^x0: .*{message}"):
        respond(NETWORK, WEIGHTS, {"x0": value}, {"from0": 1})


@pytest.mark.parametrize("value", [np.nan, np.inf, "open"])
def test_gates_are_finite_numbers(value):
    with pytest.raises(ArgumentError, match=r"finite number|no number"):
        respond(NETWORK, WEIGHTS, {"x0": np.eye(4)}, {"from0": value})


def test_similarity_takes_activities_of_equal_channels():
    for pair in ([np.eye(2), np.eye(3)], [np.eye(2), np.ones(2)]):
        with pytest.raises(ArgumentError, match=r"^activities\[1\]: its shape"):
            similarity(pair)
    with pytest.raises(DataError, match=r"^activities\[0\]: .*NaN"):
        similarity([np.full((2, 2), np.nan)])


@pytest.mark.parametrize("weight", [np.ones(3), np.full((2, 2), np.nan), "text"])
def test_singular_values_are_those_of_matrices(weight):
    with pytest.raises(ArgumentError, match=r"^a: its weights"):
        singular_values({"a": weight})


@pytest.mark.parametrize("data", [np.eye(4), 3, "xy", (np.eye(2), [["a", "b"]])])
def test_data_are_two_arrays(data):
    with pytest.raises(ArgumentError, match=r"^data: they are not two arrays"):
        routing(3, 2, data=data)


@pytest.mark.parametrize("value", [np.nan, np.inf, "a", [1.0, np.nan], [], np.ones((2, 2)), True])
def test_moments_are_finite_numbers(value: Any) -> None:
    reduced = qc.gated.reduce(qc.gated.routing(3, 2))
    with pytest.raises(ArgumentError, match="S: it is no finite number"):
        reduced.substitute(S=value, D=1.0)


@pytest.mark.parametrize("moments", [{"D": 0}, {"S": 1, "D": -1}, {"S": [1, 1], "D": [1, 0]}])
def test_no_inputs_along_a_mode_with_a_target_are_refused(moments: Any) -> None:
    with pytest.raises(ArgumentError, match=r"^D: <x x\^T> is (0|-1) along mode [12], whose <y x\^T> is not zero"):
        qc.gated.reduce(routing(3, 2)).substitute(**moments)


def test_a_mode_without_targets_may_have_no_inputs():
    reduced = qc.gated.reduce(routing(3, 2)).substitute(S=[1, 0], D=[1, 0])
    found = qc.gated.solve(reduced, 0.5, [0, 40])
    assert found.learned()[-1] == pytest.approx([1, 0], abs=1e-9)
    assert found.times_to()[1] == np.inf


@pytest.mark.parametrize(
    ("xx", "yx", "message"),
    [
        ({("x", "x"): 0}, {("y", "x"): 1.0}, r"<x x\^T> of x is 0"),
        ({("x", "x"): -1}, {("y", "x"): 1.0}, r"<x x\^T> of x is -1"),
        ({}, {("y", "x"): 1.0}, r"no <x x\^T>"),
        ({("x", "x"): np.diag([1.0, 0])}, {("y", "x"): [[0, 1.0]]}, "directions"),
        ({("x", "x"): np.nan}, {("y", "x"): 1.0}, "nan"),
        ({("x", "x"): [[1.0], [2, 3]]}, {("y", "x"): 1.0}, "no matrix of numbers"),
        ({("x", "x"): "D"}, {("y", "x"): 1.0}, "is 'D'"),
        ({("x", "x"): 1.0}, {("y", "x"): [[1.0]]}, "matrices beside numbers"),
        ({("x", "x"): [[1e200]]}, {}, "above 1e"),
        ({"x": [[1.0]]}, {}, "'x' is no pair"),
    ],
)
def test_moments_of_no_data_are_refused(xx: Any, yx: Any, message: str) -> None:
    with pytest.raises(DataError, match=f"^context 'c': .*{message}"):
        qc.gated.GatedTask.of([qc.gated.Context("c", {}, xx, yx)], ["x"], ["y"])


@pytest.mark.parametrize("value", ["open", None, np.nan])
def test_gates_of_contexts_are_numbers(value: Any) -> None:
    with pytest.raises(DataError, match=r"^context 'c': the gate g is"):
        qc.gated.GatedTask.of([qc.gated.Context("c", {"g": value}, {("x", "x"): 1}, {})], ["x"], ["y"])


@pytest.mark.parametrize(
    ("contexts", "name"),
    [
        (3, "contexts"),
        (["a"], r"contexts\[0\]"),
        ([qc.gated.Context(ANYTHING)], r"contexts\[0\]\.name"),
        ([qc.gated.Context("c", ANYTHING)], r"contexts\[0\]\.gates"),
    ],
    ids=["none", "text", "name", "gates"],
)
def test_contexts_are_a_list_of_contexts(contexts: Any, name: str) -> None:
    with pytest.raises(ArgumentError, match=f"^{name}: its type must be"):
        qc.gated.GatedTask.of(contexts, ["x"], ["y"])


@pytest.mark.parametrize(
    ("x", "message"), [([["a"]], "not real numbers"), ([[1j]], "not real numbers"), ([[1e60]], "above 1e")]
)
def test_data_are_real_numbers_that_can_be_squared(x: Any, message: str) -> None:
    with pytest.raises(DataError, match=f"^context 'c': the data of x are {message}"):
        qc.gated.Context.from_data("c", {}, {"x": x}, {"y": [[1.0]]})
    with pytest.raises(ArgumentError, match=r"^data: they are "):
        routing(2, 1, data=(x, [[1.0]]))


def test_rest_is_found_after_a_long_plateau_and_from_rest_itself():
    """Ten layers from 0.3 learn after some 10,000 tau; an explicit solver must not go on to a million."""
    reduced = reduce(routing(3, 1, hidden_layers=9)).substitute(S=2, D=1)
    found = qc.gated.equilibrium(reduced, 0.3)
    again = qc.gated.equilibrium(reduced, found.values)
    for rest in (found, again):
        assert rest.values.prod() == pytest.approx(2, rel=1e-8)
        assert rest.stable.all()
