"""Steps of K-FAC: averages, damping, inverses, momentum and the bound on the norm of an update."""

import math

import pytest
import torch
from torch import nn

from qcmap.errors import ArgumentError, DataError
from qcmap.nn.train import KFAC
from qcmap.nn.train.kfac._damping import Damping
from tests.nn.train.kfac.exact import blocks, normal, seeded

FREE = {"momentum": 0.0, "max_norm": math.inf}


def network():
    return seeded(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3), nn.LayerNorm(3))


def batch(seed):
    return normal(6, 4, seed=seed), torch.randint(3, (6,), generator=torch.Generator().manual_seed(seed))


def take_step(model, optimizer, seed):
    """A step on the batch with this seed: gradients and moves of all parameters, by path."""
    inputs, labels = batch(seed)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    optimizer.zero_grad()
    optimizer.update_curvature(inputs)
    nn.functional.cross_entropy(model(inputs), labels).backward()
    optimizer.step()
    gradients = {name: p.grad.clone() for name, p in model.named_parameters()}
    return gradients, {name: p.detach() - before[name] for name, p in model.named_parameters()}


def dense(row, damping):
    """The damped block as a matrix, from its factors and the formulas of Martens and Grosse (2015), section 6.3."""
    if row["kind"] == "diagonal":
        return torch.diag(row["diagonal"] + damping)
    a, g = row["inputs"], row["outputs"]
    pi = torch.sqrt((a.trace() / len(a)) / (g.trace() / len(g)))
    eye = torch.eye(len(a), dtype=a.dtype), torch.eye(len(g), dtype=g.dtype)
    return torch.kron(g + math.sqrt(damping) / pi * eye[1], a + pi * math.sqrt(damping) * eye[0])


def flat(row, tensors):
    weight, *bias = (tensors[name] for name in row["names"])
    return torch.cat([weight.flatten(1), *(b[:, None] for b in bias)], 1).flatten() if bias else weight.flatten()


def test_a_step_solves_with_the_damped_blocks():
    model = network()
    optimizer = KFAC(model, 0.3, damping=0.02, **FREE)
    gradients, moves = take_step(model, optimizer, 0)
    for row in blocks(optimizer).values():
        expected = -0.3 * torch.linalg.solve(dense(row, 0.02), flat(row, gradients))
        torch.testing.assert_close(flat(row, moves), expected, rtol=1e-11, atol=1e-13)


def test_inverses_and_damping_stay_for_a_number_of_steps():
    model = network()
    options = {"damping": 0.02, "damping_decay": 0.5, "damping_every": 2, "inverse_every": 4}
    optimizer = KFAC(model, 0.1, **options, **FREE)
    matrices = {}
    for step in range(9):
        gradients, moves = take_step(model, optimizer, step)
        if step % 4 == 0:
            damping = 0.02 * 0.5 ** (step // 2)
            matrices = {
                name: dense(row, damping) for name, row in blocks(optimizer).items() if row["kind"] != "diagonal"
            }
        for name, matrix in matrices.items():
            row = blocks(optimizer)[name]
            expected = -0.1 * torch.linalg.solve(matrix, flat(row, gradients))
            torch.testing.assert_close(flat(row, moves), expected, rtol=1e-9, atol=1e-12)


def test_factors_are_exponential_averages_of_measurements():
    model, seeds = network(), range(5)
    optimizer = KFAC(model, decay=0.7, fisher="exact")
    alone = []
    for seed in seeds:
        optimizer.update_curvature(batch(seed)[0])
        single = KFAC(model, fisher="exact")
        single.update_curvature(batch(seed)[0])
        alone.append(blocks(single)["2.weight"])
    weights = torch.tensor([0.7 ** (4 - seed) for seed in seeds], dtype=torch.float64)
    for key in ("inputs", "outputs"):
        expected = torch.einsum("k,kij->ij", weights / weights.sum(), torch.stack([row[key] for row in alone]))
        torch.testing.assert_close(blocks(optimizer)["2.weight"][key], expected, rtol=1e-13, atol=1e-15)


def test_momentum_adds_what_is_left_of_earlier_velocities():
    moved, steady = network(), network()
    options = {"damping": 0.1, "max_norm": math.inf, "fisher": "exact", "inverse_every": 100}
    optimizer = KFAC(moved, 0.2, momentum=0.5, **options)
    _, first = take_step(moved, optimizer, 0)
    before = {name: p.detach().clone() for name, p in moved.named_parameters()}
    gradients, second = take_step(moved, optimizer, 0)
    plain = KFAC(steady, 0.2, momentum=0.0, **options)
    take_step(steady, plain, 0)
    assert all(torch.equal(p, before[name]) for name, p in steady.named_parameters())
    _, alone = take_step(steady, plain, 0)
    for name in gradients:
        torch.testing.assert_close(second[name], alone[name] + 0.5 * first[name], rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("lr", [1e-4, 1.0, 100.0])
def test_the_norm_of_an_update_is_bounded(lr):
    """sqrt(d^T F d) of what was added to the parameters is at most 0.01, and just that where the step was cut."""
    model = network()
    optimizer = KFAC(model, lr, max_norm=0.01, damping_every=1)
    for step in range(4):
        _, moves = take_step(model, optimizer, step)
        rows = blocks(optimizer)
        square = sum(flat(row, moves) @ damped_now(row) @ flat(row, moves) for row in rows.values())
        undamped = sum(flat(row, moves) @ dense(row, 0.0) @ flat(row, moves) for row in rows.values())
        assert undamped.sqrt() <= square.sqrt() <= 0.01 * (1 + 1e-9)
        if lr >= 1:
            assert square.sqrt() == pytest.approx(0.01, rel=1e-9)


def damped_now(row):
    """The block of the current averages with the damping of the last inverse."""
    if row["kind"] == "diagonal":
        return torch.diag(row["diagonal"] + row["damping"])
    a, g = row["inputs"], row["outputs"]
    eye = torch.eye(len(a), dtype=a.dtype), torch.eye(len(g), dtype=g.dtype)
    return torch.kron(g + row["damping"][1] * eye[1], a + row["damping"][0] * eye[0])


def test_the_damping_of_the_paper():
    schedule = Damping()
    assert [schedule.at(step) for step in (0, 49)] == [1e-3, 1e-3]
    assert schedule.at(50) == pytest.approx(0.98e-3, rel=1e-14)
    assert schedule.at(50 * 341) == pytest.approx(1e-3 * 0.98**341, rel=1e-12)
    assert schedule.at(50 * 341) > 1e-6 == schedule.at(50 * 342)


def test_curvature_is_measured_every_so_many_steps():
    model = network()
    optimizer = KFAC(model, curvature_every=3)
    weights = []
    for step in range(7):
        take_step(model, optimizer, step)
        weights.append(blocks(optimizer)["0.weight"]["weight"])
    assert weights == pytest.approx([1, 1, 1, 1.99, 1.99, 1.99, 1 + 0.99 * 1.99])


def test_a_closure_computes_the_loss():
    model = network()
    optimizer = KFAC(model, 1e-2)
    inputs, labels = batch(0)
    optimizer.update_curvature(inputs)

    def closure():
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(inputs), labels)
        loss.backward()
        return loss

    first = optimizer.step(closure)
    assert nn.functional.cross_entropy(model(inputs), labels) < first


def test_it_trains_where_a_factor_vanishes():
    """Dead units have inputs and derivatives that are zero."""
    model = seeded(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3))
    with torch.no_grad():
        model[0].bias.fill_(-100)
    optimizer = KFAC(model, 0.1)
    for step in range(3):
        take_step(model, optimizer, step)
    assert all(bool(p.isfinite().all()) for p in model.parameters())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lr": math.inf}, "lr: it must be finite"),
        ({"lr": "fast"}, "lr: it must be positive, not 'fast'"),
        ({"momentum": "0.9"}, r"momentum: it must lie in \[0, 1\), not '0.9'"),
    ],
    ids=str,
)
def test_a_step_of_no_number_is_refused(options, message):
    """With an infinite rate a step of bounded norm was NaN."""
    with pytest.raises(ArgumentError, match=message):
        KFAC(network(), **options)


def test_a_batch_that_the_model_does_not_run_on_is_named():
    with pytest.raises(DataError, match="inputs: Sequential does not run on it"):
        KFAC(network()).update_curvature(torch.zeros(2, 9))
