"""Numbers of the paper's figures 4 and 5b."""

import numpy as np
import pytest

import qcmap as qc
from qcmap.gated import FullFlow, decouple, decoupled_weights, descend, reduce, solve
from tests.gated.networks import HIERARCHY

SCALE = 8.0
"""The loss of Fig. 4, a sum over 28 routes of means over 4 x 7 outputs, is 8 times the loss (1), with its probability
1/28 of a route, its mean over 4 examples and its half. So a rate of 0.02 is one of 0.16."""


def test_figure_4_from_decoupled_weights():
    network = qc.gated.routing(7, 4, data=(np.eye(4), HIERARCHY))
    parts = decouple(network)
    reduced = reduce(parts)
    weights = decoupled_weights(parts, reduced, 0.08, seed=0)
    full = FullFlow(network).descend(weights, SCALE * 0.02, 200)
    theory = descend(reduced, 0.08, SCALE * 0.02, 200)
    assert SCALE * full.losses[[0, 100, 200]] == pytest.approx([244.0, 58.8, 17.9], abs=0.06)
    assert np.abs(SCALE * (full.losses - theory.losses)).max() < 1e-8
    for k in (50, 200):
        for edge, column in (("in3", "B1"), ("hidden1", "B2"), ("out5", "B3")):
            singular = np.linalg.svd(full.at(k)[edge], compute_uv=False)[:4]
            assert singular == pytest.approx(np.sort(theory[column][k])[::-1], rel=1e-10)


def test_loss_of_figure_4_is_eight_times_the_loss():
    network = qc.gated.routing(7, 4, data=(np.eye(4), HIERARCHY))
    weights = qc.gated.random_weights(network, gain=0.9, seed=1)
    total = 0.0
    for i in range(7):
        for k in range(4):
            j = (i + k) % 7
            output = weights[f"out{j}"] @ weights["hidden1"] @ weights[f"in{i}"]
            total += ((output - HIERARCHY) ** 2).mean()
    assert SCALE * FullFlow(network).loss(weights) == pytest.approx(total, rel=1e-13)


def test_figure_5b():
    """Half of the top mode is learned after 34.3, 13.5, 3.9, 1.5 tau: descent with the figure's step 0.05.

    The flow itself, without steps, is a little earlier.
    """
    stepped, flowing = [], []
    for paths in (1, 4, 25, 100):
        reduced = reduce(qc.gated.sharing(10, paths)).substitute(S=13.60, D=1)
        path = descend(reduced, 0.2, 0.05, 800)
        product = path["B1"] * path["B2"] * path["B3"]
        stepped.append(0.05 * int(np.argmax(product >= 6.8)))
        flowing.append(float(solve(reduced, 0.2, [0, 60]).times_to(0.5)[0]))
    assert stepped == pytest.approx([34.3, 13.5, 3.9, 1.5], abs=0.051)
    assert flowing == pytest.approx([34.13, 13.39, 3.76, 1.41], abs=0.01)
