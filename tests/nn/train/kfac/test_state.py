"""Saving and loading the state of K-FAC, and what is refused."""

import io
import math
import sys

import pytest
import torch
from torch import nn

from qcmap.errors import ArgumentError, DataError, MissingExtra, NumericalError
from qcmap.nn.train import KFAC
from tests.nn.train.kfac.exact import blocks, normal, seeded


def network(width=5):
    return seeded(nn.Linear(4, width), nn.Tanh(), nn.Linear(width, 3), nn.LayerNorm(3)).float()


def advance(model, optimizer, steps):
    """Steps on batches of their own; the losses."""
    losses = []
    for step in steps:
        inputs = normal(6, 4, seed=step).float()
        labels = torch.randint(3, (6,), generator=torch.Generator().manual_seed(step))
        optimizer.zero_grad()
        optimizer.update_curvature(inputs)
        loss = nn.functional.cross_entropy(model(inputs), labels)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


@pytest.mark.parametrize("options", [{}, {"inverse_every": 3, "curvature_every": 2, "damping_every": 3}], ids=str)
@pytest.mark.parametrize("stop", [0, 4, 7])
def test_a_loaded_state_continues_to_the_same_bits(options, stop):
    model = network()
    whole = KFAC(model, 0.1, seed=5, **options)
    losses = advance(model, whole, range(stop))
    file = io.BytesIO()
    torch.save({"model": model.state_dict(), "optimizer": whole.state_dict()}, file)
    losses += advance(model, whole, range(stop, 11))

    file.seek(0)
    saved = torch.load(file, weights_only=True)
    again = network()
    again.load_state_dict(saved["model"])
    optimizer = KFAC(again, 0.7, momentum=0.1, seed=6, **options)
    optimizer.load_state_dict(saved["optimizer"])
    assert advance(again, optimizer, range(stop, 11)) == losses[stop:]
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True))


def test_a_loaded_state_is_a_copy():
    model = network()
    optimizer = KFAC(model, 0.1)
    advance(model, optimizer, range(2))
    state = optimizer.state_dict()
    other = KFAC(network(), 0.1)
    other.load_state_dict(state)
    before = {name: row["inputs"].clone() for name, row in blocks(other).items() if "inputs" in row}
    advance(model, optimizer, range(2, 5))
    assert all(torch.equal(blocks(other)[name]["inputs"], value) for name, value in before.items())


def state_of_kfac():
    model = network()
    optimizer = KFAC(model, 0.1)
    advance(model, optimizer, range(1))
    return optimizer.state_dict()


def test_states_of_others_are_refused_whole():
    state = state_of_kfac()
    model = network(6)
    optimizer = KFAC(model, 0.1)
    before = optimizer.state_dict()
    with pytest.raises(ArgumentError, match=r"0.weight has another shape .* saved with"):
        optimizer.load_state_dict(state)
    with pytest.raises(ArgumentError, match="state of another optimiser"):
        optimizer.load_state_dict(torch.optim.SGD(model.parameters(), 0.1).state_dict())
    with pytest.raises(ArgumentError, match=r"no trainable parameter '3.weight'"):
        KFAC(seeded(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3))).load_state_dict(state)
    with pytest.raises(ArgumentError, match="it does not fit"):
        KFAC(seeded(*network(), nn.Linear(3, 3)), 0.1).load_state_dict(state)
    after = optimizer.state_dict()
    assert after["param_groups"] == before["param_groups"]
    assert after["kfac"]["groups"] == before["kfac"]["groups"] == []


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"lr": 0.0}, "lr: it must be positive"),
        ({"lr": math.nan}, "lr: it must be positive"),
        ({"max_norm": -1.0}, "max_norm: it must be positive"),
        ({"momentum": 1.0}, r"momentum: it must lie in \[0, 1\)"),
        ({"decay": 1.0}, r"decay: it must lie in \[0, 1\)"),
        ({"inverse_every": 0}, "inverse_every: it must be a positive integer"),
        ({"curvature_every": 1.5}, "curvature_every: it must be a positive integer"),
        ({"damping": 1e-9}, "damping: it falls from"),
        ({"damping": math.inf}, "damping: it falls from"),
        ({"damping_decay": 1.1}, "damping: its decay"),
        ({"damping_every": True}, "damping: it decays after so many steps"),
        ({"loss": "hinge"}, "loss: it is one of cross_entropy, squared_error, not 'hinge'"),
        ({"fisher": "empirical"}, "fisher: it is one of sampled, exact"),
        ({"seed": -1}, "seed: a seed is an integer"),
    ],
    ids=str,
)
def test_arguments_out_of_range(options, match):
    with pytest.raises(ArgumentError, match=match):
        KFAC(network(), **options)


class Sometimes(nn.Module):
    """A model that leaves a layer out for large batches."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x):
        return self.second(x) if len(x) > 3 else self.second(self.first(x))


def test_models_and_batches_that_do_not_go_together():
    with pytest.raises(ArgumentError, match="model: it has no trainable parameters"):
        KFAC(nn.ReLU())
    with pytest.raises(ArgumentError, match=r"KFAC.step: no curvature was measured; call update_curvature"):
        KFAC(network()).step()
    with pytest.raises(ArgumentError, match="model: no dense or 2-d convolutional layer"):
        KFAC(nn.LayerNorm(4)).update_curvature(torch.zeros(2, 4))
    with pytest.raises(DataError, match="inputs: they must be one tensor"):
        KFAC(network()).update_curvature(torch.zeros(0, 4))
    with pytest.raises(DataError, match=r"model: it must return one tensor \[batch, \.\.\.\]"):
        KFAC(seeded(nn.Linear(4, 1), nn.Flatten(0))).update_curvature(normal(2, 4))
    optimizer = KFAC(Sometimes())
    optimizer.update_curvature(torch.ones(2, 4))
    with pytest.raises(DataError, match=r"first.weight: this batch does not pass through it"):
        optimizer.update_curvature(torch.ones(5, 4))
    maps = KFAC(nn.Conv2d(1, 2, 1))
    maps.update_curvature(torch.ones(2, 1, 3, 3))
    with pytest.raises(DataError, match="inputs: 2 examples have 8 labels, but in the first batch each had 9"):
        maps.update_curvature(torch.ones(2, 1, 2, 2))


def test_nothing_that_is_not_finite_reaches_parameters_or_averages():
    model = network()
    optimizer = KFAC(model, 0.1)
    advance(model, optimizer, range(2))
    before = [p.clone() for p in model.parameters()]
    average = blocks(optimizer)["0.weight"]["inputs"].clone()
    with pytest.raises(NumericalError, match="model: its outputs have a NaN"):
        optimizer.update_curvature(torch.full((6, 4), math.nan))
    assert torch.equal(average, blocks(optimizer)["0.weight"]["inputs"])
    model[0].weight.grad[0, 0] = math.inf
    with pytest.raises(NumericalError, match=r"KFAC.step: a gradient has a NaN or infinity"):
        optimizer.step()
    assert all(torch.equal(p, q) for p, q in zip(before, model.parameters(), strict=True))


def test_a_singular_factor_without_damping_is_named():
    model = network().double()
    optimizer = KFAC(model, 0.1, damping=0.0, least_damping=0.0)
    optimizer.update_curvature(normal(8, 4) * torch.tensor([1.0, 1, 0, 1], dtype=torch.float64))
    with pytest.raises(NumericalError, match=r"0.weight: its Kronecker factor with damping 0 is singular"):
        optimizer.step()


def test_without_curvlinops_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "curvlinops", None)
    with pytest.raises(MissingExtra, match=r"KFAC: it needs curvlinops; pip install 'qcmap\[train\]'"):
        KFAC(network())
