"""The experiments on neural paths at tiny size, and the parts they are made of."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy.stats import ttest_1samp

import qcmap.nn as qnn
from examples.data import SPLITS, load
from examples.experiment import Cells, mean_and_interval
from examples.neural_paths import adapting, data, descent, memorise, soft, stages, table2, training
from examples.neural_paths.__main__ import main
from examples.neural_paths.table import EXPERIMENTS
from models.gated import DeepGatedNetwork, MemorisationNetwork
from models.gated_layers import fully_connected
from qcmap.errors import NumericalError
from qcmap.nn.train.data import Images
from tests.examples.calls import refused, runs_tiny

pytestmark = pytest.mark.usefixtures("one_thread")

MUST_HOLD = {
    "exp8": ("E K_0 / d = 1", "the first ratio e_1^2 / e_0^2 is about 0.81 at every depth", "K grows while training"),
    "fig3-kernels": ("K_v and K_f are in the same scale: within a factor of ten",),
}
"""What is true at the tiny size as well."""


@pytest.mark.parametrize("name", [name for name in EXPERIMENTS if name not in ("table2-sgd", "table2-vconv", "exp4")])
def test_every_experiment_writes_numbers_and_picture(name, tmp_path):
    runs_tiny(main, name, tmp_path, MUST_HOLD.get(name, ()))


def _stack(gating, runs=2, inputs=3, width=4, depth=4):
    random = torch.Generator().manual_seed(1)
    sizes = [inputs, *[width] * (depth - 1), 1]
    weights = [0.4 * torch.randn(runs, k, m, generator=random).double() for k, m in pairwise(sizes)]  # signs would tie
    x = torch.randn(runs, 5, inputs, generator=random, dtype=torch.float64)
    return descent.Stack(weights, gating), x, torch.randn(runs, 5, generator=random, dtype=torch.float64)


@pytest.mark.parametrize("gating", [descent.relu_gates, descent.open_gates], ids=["relu", "open"])
def test_kernels_and_descent_of_a_stack_are_those_of_autograd(gating):
    stack, x, y = _stack(gating)
    regime = "relu" if gating is descent.relu_gates else "linear"
    rates, kernel = torch.tensor([0.01, 0.03], dtype=torch.float64), stack.kernel(x)
    models = []
    for run in range(2):
        model = DeepGatedNetwork(fully_connected([4, 4, 4], 1), (3,), regime).double()
        for p, w in zip(model.parameters(), stack.weights, strict=True):
            p.data.copy_(w[run].T)
        wanted = qnn.empirical_ntk(model, x[run], parameterization="standard").total
        np.testing.assert_allclose(kernel[run].numpy(), wanted, rtol=1e-10, atol=1e-12)
        models.append(model)
    ratios = stack.descend(x, y, rates, 3)
    for run, model in enumerate(models):
        optimiser = torch.optim.SGD(model.parameters(), lr=rates[run].item())
        errors = []
        for _ in range(4):
            optimiser.zero_grad()
            loss = (model(x[run])[:, 0] - y[run]).square().sum() / 2
            errors.append(loss.item())
            loss.backward()
            optimiser.step()
        np.testing.assert_allclose(ratios[:, run], np.array(errors) / errors[0], rtol=1e-10)


def test_a_stack_with_fixed_gates_is_the_memorisation_network():
    model = MemorisationNetwork(6, 5, 3, mu=0.5, seed=4).double()
    index = torch.arange(6.0).double()[:, None]
    gates = [gate[None].double() for gate in model.gates(index).values()]
    stack = descent.Stack([p.detach().T[None] for p in model.parameters()], descent.fixed_gates(gates))
    x = torch.ones(1, 6, 1, dtype=torch.float64)
    torch.testing.assert_close(stack.run(x)[2][0], model(index)[:, 0])
    wanted = qnn.empirical_ntk(model, index, parameterization="standard").total
    np.testing.assert_allclose(stack.kernel(x)[0].numpy(), wanted, rtol=1e-10, atol=1e-12)


def test_descent_that_diverges_is_refused():
    stack, x, y = _stack(descent.open_gates)
    with pytest.raises(NumericalError, match="smaller rate"):
        stack.descend(x, y, torch.full((2,), 100.0).double(), 30)


def test_ideal_spectrum_is_that_of_the_matrix():
    matrix = np.full((7, 7), 0.5**3) + (1 - 0.5**3) * np.eye(7)
    wanted = np.cumsum(np.linalg.eigvalsh(matrix))
    np.testing.assert_allclose(memorise.ideal_ecdf(7, 0.5, 4), wanted, rtol=1e-12)


def test_verdicts_of_table_2_can_fail():
    good = {"relu": 98, "flnpf": 97, "dlnpf": 97.5, "frnpf_ii": 92, "frnpf_di": 92}
    noise = np.array([0.1, -0.2, 0.0, 0.2, -0.1])

    def verdicts(**changes):
        rows = {k: v + np.roll(noise, j) for j, (k, v) in enumerate({**good, **changes}.items())}
        return [finding.holds for finding in table2.findings(rows, rows)]

    assert verdicts() == [True, True, True]
    assert verdicts(frnpf_di=94) == [False, True, True]
    assert verdicts(flnpf=92) == [True, False, True]
    assert verdicts(relu=95) == [True, True, False]


def test_intervals_are_those_of_student():
    values = np.array([0.3, -0.2, 0.5, 1.1])
    mean, half = mean_and_interval(values)
    interval = ttest_1samp(values, 0).confidence_interval(0.95)
    np.testing.assert_allclose([mean - half, mean + half], [interval.low, interval.high], rtol=1e-12)


@pytest.mark.parametrize(("seeds", "holds"), [(3, True), (5, False)])
def test_verdicts_within_error_count_the_seeds(seeds, holds):
    """A difference of 3.5 standard errors: Student's quantile is 4.30 with three seeds, 2.78 with five."""
    spread = np.arange(seeds) - (seeds - 1) / 2
    relu = 90 + spread + 3.5 * spread.std(ddof=1) / np.sqrt(seeds)
    row = table2.Settings(seeds=seeds)

    def found(run, rows):
        result = run(lambda given, compute: rows[given["seed"]])
        return next(finding.holds for finding in result.findings if "as well as ReLU" in finding.says)

    by_stage = [{"relu": value, "random": 50.0, "1": 80.0, "2": 90.0} for value in relu]
    assert found(lambda cells: stages.run(stages.Settings(row, (1, 2)), cells), by_stage) == holds
    settings = soft.Settings(row, betas=(1, 2), epsilons=(0.1,))
    by_gate = [{n: {"test": v if n == "relu" else 90.0, "train": 90.0} for n in settings.names} for v in relu]
    assert found(lambda cells: soft.run(settings, cells), by_gate) == holds


def test_parts_of_the_data():
    parts = data.tensors(load("digits", None, 600, 300, seed=3), flat=True)
    assert [len(parts[split][1]) for split in SPLITS] == [600, 300, 897]
    assert parts["train"][0].mean(dim=0).abs().max() < 1e-6
    other = data.tensors(load("digits", None, 600, 300, seed=4), flat=False)
    assert other["test"][0].shape == (897, 1, 8, 8)
    binary = data.two_classes(parts)
    rows = (parts["test"][1] == 4) | (parts["test"][1] == 7)
    assert torch.equal(binary["test"][0], parts["test"][0][rows])
    assert torch.equal(binary["test"][1][:, 0] > 0, parts["test"][1][rows] == 7)
    x, y = data.balanced(binary["train"], 10)
    assert x.shape == (20, 64)
    assert y.sum() == 0
    labels, pixels = data.random_labels(parts, 0), data.random_pixels(parts, 0)
    assert (labels["train"][1] == parts["train"][1]).float().mean() < 0.2
    assert torch.equal(labels["train"][0], parts["train"][0])
    assert torch.equal(pixels["test"][0].sort(dim=1).values, parts["test"][0].sort(dim=1).values)
    assert not torch.equal(pixels["test"][0], parts["test"][0])


def test_paper_sizes_run_on_files(monkeypatch):
    """The rows of paper size on data of MNIST's and CIFAR's shape, a few examples and one epoch."""
    random = np.random.default_rng(0)

    def images(shape, count):
        return Images(random.integers(0, 256, (count, *shape)).astype(np.uint8), np.arange(count) % 10)

    def fake(name, *_, **__):
        shape = {"mnist": (28, 28, 1), "cifar": (32, 32, 3)}[name]
        return dict(zip(SPLITS, (images(shape, n) for n in (40, 20, 20)), strict=True))

    monkeypatch.setattr(table2, "load", fake)
    for name in ("table2", "table2-gconv"):
        paper = EXPERIMENTS[name].sizes["paper"]
        parts = paper.parts(0)
        x, y = parts["train"][0][:1], parts["train"][1][:1]
        model = DeepGatedNetwork(paper.layout, tuple(x.shape[1:]), "dlnpf", seed=0)
        torch.nn.functional.cross_entropy(model(x), y).backward()
        assert all(p.grad is not None for p in model.values.parameters())


def test_the_epoch_and_the_rate_are_chosen_on_validation_examples():
    parts = data.tensors(load("digits", None, 200, 100), flat=True)
    chosen = training.Training("sgd", (1e-6, 0.1), epochs=4)

    def make():
        return DeepGatedNetwork(fully_connected([16], 10), (64,), "relu", seed=0)

    found = training.trained(make, parts, chosen, 0)
    assert found.rate == 0.1
    validation, test = (found.result.curve(f"{split}.accuracy") for split in ("validation", "test"))
    assert found.chosen == test[int(np.argmax(validation))]
    assert found.validation == max(validation)
    with pytest.raises(NumericalError, match="diverges"):
        training.trained(make, parts, training.Training("sgd", (1e30,), epochs=2), 0)


def test_right_signs():
    parts = data.two_classes(data.tensors(load("digits", None, 200, 100), flat=True))
    settings = training.Training("adam", (1e-2,), epochs=10, loss="squared_error")
    found = training.trained(
        lambda: DeepGatedNetwork(fully_connected([8], 1), (64,), "relu", seed=0), parts, settings, 0
    )
    x, y = parts["test"]
    with torch.no_grad():
        assert found.last == pytest.approx(((found.model(x) > 0) == (y > 0)).float().mean().item())
    assert found.last > 0.8


def test_cells_are_shared_between_the_experiments_of_one_training(tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(adapting, "one_seed", lambda settings, seed: calls.append(seed) or {"seed": seed})
    settings = adapting.Settings(seeds=2)
    path = tmp_path / "cells.json"
    assert adapting.cells_of(settings, Cells(path)) == adapting.cells_of(settings, Cells(path))
    assert calls == [0, 1]
    assert soft.soft_name(4, 0.1) == "beta 4, epsilon 0.1"
    assert stages.shown_accuracy(97.123, 0.456) == "97.12 +- 0.46"


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ([], 2, "name a figure"),
        (["fig1"], 2, "fig1"),
        (["table2", "--size", "paper"], 1, "name it with --data"),
        (["table2", "--size", "paper", "--data", "nowhere"], 1, "train-images-idx3-ubyte"),
    ],
)
def test_bad_calls_say_what_to_do(arguments, code, message, tmp_path):
    refused(main, arguments, code, message, tmp_path)
