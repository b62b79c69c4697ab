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


@pytest.mark.filterwarnings("ignore:overflow", "ignore:invalid value")
@pytest.mark.parametrize("user", ["loss", "gradient", "context_losses"])
def test_a_loss_that_overflows_is_an_error(user):
    with pytest.raises(NumericalError, match=r"the loss overflows"):
        USERS[user]({edge: 1e200 * matrix for edge, matrix in WEIGHTS.items()})


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


@pytest.mark.parametrize("value", [np.nan, np.inf, "a", [1.0, np.nan]])
def test_moments_are_finite_numbers(value: Any) -> None:
    reduced = qc.gated.reduce(qc.gated.routing(3, 2))
    with pytest.raises(ArgumentError, match="S: it is no finite number"):
        reduced.substitute(S=value, D=1.0)
