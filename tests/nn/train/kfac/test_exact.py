"""K-FAC's blocks and steps against exact Fisher matrices, where it is exact."""

import pytest
import torch
from torch import nn

from qcmap.nn.train import KFAC
from tests.nn.train.kfac.exact import blocks, cases, fisher_block, normal, seeded

CASES = cases()


def rows(optimizer: KFAC) -> list[dict]:
    return list(blocks(optimizer).values())


def measured(model, inputs, **options) -> list[dict]:
    optimizer = KFAC(model, fisher="exact", **options)
    optimizer.update_curvature(inputs)
    return rows(optimizer)


@pytest.mark.parametrize("name", CASES)
def test_blocks_are_those_of_the_exact_fisher_matrix(name):
    case = CASES[name]
    found = measured(case.model, case.inputs, loss=case.loss)
    assert {n for row in found for n in row["names"]} == {n for n, _ in case.model.named_parameters()}
    for row in found:
        exact = fisher_block(case.model, row["names"], case.inputs, case.loss)
        torch.testing.assert_close(torch.kron(row["outputs"], row["inputs"]), exact, rtol=1e-12, atol=1e-14)


def test_cross_entropy_at_each_location_is_a_mean_over_locations():
    """A 1 x 1 convolution without weights: the Hessians are equal at all locations, so that K-FAC is exact."""
    model = seeded(nn.Conv2d(2, 3, 1))
    with torch.no_grad():
        model[0].weight.zero_()
    inputs = normal(2, 2, 2, 3)
    (row,) = measured(model, inputs)
    exact = fisher_block(model, row["names"], inputs, "cross_entropy")
    torch.testing.assert_close(torch.kron(row["outputs"], row["inputs"]), exact, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("loss", ["cross_entropy", "squared_error"])
def test_sampled_labels_have_the_exact_mean(loss):
    """Means of G over 200 copies of two examples, 30 times; 5 standard errors, one seed."""
    model, inputs = seeded(nn.Linear(4, 3)), normal(2, 4)
    (exact,) = measured(model, inputs, loss=loss)
    run = KFAC(model, loss=loss, decay=0.0, seed=3)
    samples = []
    for _ in range(30):
        run.update_curvature(inputs.repeat(200, 1))
        samples.append(rows(run)[0]["outputs"])
    stacked = torch.stack(samples)
    error = (stacked.mean(0) - exact["outputs"]).abs()
    assert (error <= 5 * stacked.std(0) / len(samples) ** 0.5 + 1e-12).all()
    assert stacked.std(0).min() > 0


@pytest.mark.parametrize("fisher", ["sampled", "exact"])
def test_diagonal_of_parameters_without_factors(fisher):
    """Gains of a norm: the mean of the diagonal over 150 measurements, to 5 standard errors, one seed."""
    model, inputs = seeded(nn.Linear(4, 3), nn.LayerNorm(3), nn.Linear(3, 3)), normal(5, 4)
    model[2].requires_grad_(requires_grad=False)
    exact = fisher_block_of_vector(model, "1.weight", inputs)
    run = KFAC(model, decay=0.0, fisher=fisher)
    samples = []
    for _ in range(150):
        run.update_curvature(inputs)
        samples.append(next(row["diagonal"] for row in rows(run) if row["names"] == ("1.weight",)))
    stacked = torch.stack(samples)
    assert run.blocks == {"0.weight": "Kronecker", "0.bias": "Kronecker", "1.weight": "diagonal", "1.bias": "diagonal"}
    assert ((stacked.mean(0) - exact).abs() <= 5 * stacked.std(0) / 150**0.5).all()


def fisher_block_of_vector(model, name, inputs):
    outputs = model(inputs)
    total = torch.zeros_like(dict(model.named_parameters())[name])
    for row in outputs:
        p = row.softmax(0).detach()
        for k in range(len(row)):
            (gradient,) = torch.autograd.grad(
                row.log_softmax(0)[k], dict(model.named_parameters())[name], retain_graph=True
            )
            total += p[k] * gradient.square() / len(outputs)
    return total


def test_one_undamped_step_solves_least_squares():
    """Natural gradient descent on a dense layer with squared error is Newton's method on a quadratic."""
    model, inputs, targets = seeded(nn.Linear(4, 3)), normal(9, 4), normal(9, 3, seed=1)
    optimizer = KFAC(
        model, 1.0, momentum=0, damping=0, least_damping=0, max_norm=float("inf"), loss="squared_error", fisher="exact"
    )
    optimizer.update_curvature(inputs)
    ((model(inputs) - targets).square().sum() / 2 / len(inputs)).backward()
    optimizer.step()
    design = torch.cat([inputs, torch.ones(9, 1, dtype=torch.float64)], dim=1)
    solution = torch.linalg.lstsq(design, targets).solution
    torch.testing.assert_close(model[0].weight.T, solution[:4], rtol=1e-11, atol=1e-12)
    torch.testing.assert_close(model[0].bias, solution[4], rtol=1e-11, atol=1e-12)
