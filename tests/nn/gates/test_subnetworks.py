"""Active and sensitive gates against autograd, one gate and one parameter at a time."""

import numpy as np
import pytest
import torch
from torch import nn

import qcmap.nn as qnn
from qcmap.errors import ArgumentError, DataError


def network():
    with torch.random.fork_rng():
        torch.manual_seed(3)
        model = nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 1)).double()
        return model, torch.randn(6, 3, dtype=torch.float64)


def test_active_gates_and_overlaps():
    model, x = network()
    found = qnn.subnetworks(qnn.split_gates(model, x).gates, x)
    on = (model[0](x) > 0).numpy()
    assert (found.active["1"] == on).all()
    assert found.shares()["1"] == pytest.approx(on.mean())
    for s in range(6):
        for t in range(6):
            wanted = (on[s] & on[t]).sum() / on[s].sum() if on[s].any() else 0
            assert found.overlap("1")[s, t] == pytest.approx(wanted)
    assert found.sensitive is None
    assert "overlap" in str([column.header for column in found.table().columns])
    assert f"<td>{on.mean():.3f}</td>" in found._repr_html_()


def test_switches():
    model, x = network()
    split = qnn.split_gates(model, x)
    before, old = qnn.subnetworks(split.gates, x), (model[0](x) > 0)
    with torch.no_grad():
        model[0].weight.neg_()
    after = qnn.subnetworks(split.follow(model).gates, x)
    assert after.switched(before)["1"] == pytest.approx((old != (model[0](x) > 0)).double().mean().item())
    with pytest.raises(ArgumentError, match="layers or inputs"):
        after.switched(qnn.subnetworks(split.gates, x[:3]))


def test_sensitive_gates_are_those_of_autograd():
    model, x = network()
    gate = qnn.GateFunction(4.0)
    split = qnn.split_gates(model, x, gate=gate)
    threshold = 0.6
    found = qnn.subnetworks(split.gates, x, sensitive_above=threshold)
    for layer in ("1", "3"):
        wanted = np.zeros(found.active[layer].shape)
        for s, i in np.ndindex(wanted.shape):
            value = split.gates(x[s : s + 1])[layer][0, i]
            grads = torch.autograd.grad(value, list(split.gates.parameters()), allow_unused=True)
            wanted[s, i] = max(g.abs().max() for g in grads if g is not None)
        assert (found.sensitive[layer] == (wanted > threshold)).all()
        assert 0 < found.sensitive[layer].mean() < 1
    hard = qnn.subnetworks(qnn.split_gates(model, x).gates, x, sensitive_above=0.0)
    assert not any(mask.any() for mask in hard.sensitive.values())


def test_active_gates_are_not_sensitive():
    """DGN, section 3.1, with the factor that the printed bound lacks: the largest derivative of a pre-activation."""
    model, x = network()
    gate, tau = qnn.GateFunction(4.0), 0.9
    split = qnn.split_gates(model, x, gate=gate)
    largest = 0.0
    for s in range(len(x)):
        for q in split.gates.preactivations(x[s : s + 1]).values():
            for entry in q[0]:
                grads = torch.autograd.grad(entry, list(split.gates.parameters()), retain_graph=True, allow_unused=True)
                largest = max(largest, *(g.abs().max().item() for g in grads if g is not None))
    found = qnn.subnetworks(
        split.gates, x, active_above=tau, sensitive_above=gate.largest_slope(tau) * largest * (1 + 1e-12)
    )
    assert not any((found.active[k] & found.sensitive[k]).any() for k in found.active)
    assert any(mask.any() for mask in found.active.values())
    loose = qnn.subnetworks(split.gates, x, active_above=tau, sensitive_above=0.01)
    assert any((loose.active[k] & loose.sensitive[k]).any() for k in loose.active)


@pytest.mark.parametrize("threshold", [-0.1, float("nan"), float("inf")])
def test_thresholds(threshold):
    model, x = network()
    split = qnn.split_gates(model, x)
    with pytest.raises(ArgumentError, match="active_above"):
        qnn.subnetworks(split.gates, x, active_above=threshold)
    with pytest.raises(ArgumentError, match="sensitive_above"):
        qnn.subnetworks(split.gates, x, sensitive_above=threshold)


@pytest.mark.parametrize("threshold", ["x", None, -1, float("nan"), float("inf")])
def test_thresholds_are_numbers(threshold):
    split = qnn.split_gates(nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)), torch.zeros(2, 3))
    with pytest.raises(ArgumentError, match=r"^active_above: a threshold"):
        qnn.subnetworks(split.gates, torch.zeros(2, 3), active_above=threshold)


def test_inputs_are_examples_of_the_model():
    split = qnn.split_gates(nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)), torch.zeros(2, 3))
    for call in (split.path_kernel, lambda x: qnn.subnetworks(split.gates, x)):
        with pytest.raises(DataError, match=r"^input: one example has the shape \[4\]; give \[batch, 3\]"):
            call(torch.zeros(5, 4))
        with pytest.raises(DataError, match="no examples"):
            call(torch.zeros(0, 3))
