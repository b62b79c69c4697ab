"""The experiments of the Neural Race Reduction at tiny size, and the parts they are made of."""

import json
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from click.testing import CliRunner

import qcmap as qc
from examples.command import command
from examples.data import SPLITS
from examples.experiment import Cells, perform
from examples.neural_race import banks, data, frozen, transfer, xor
from examples.neural_race.__main__ import main
from examples.neural_race.hierarchy import HIERARCHY, across, scale
from examples.neural_race.table import EXPERIMENTS
from qcmap.errors import ArgumentError, DataError, NumericalError
from tests.examples.calls import refused, runs_tiny
from tests.image_files import write_cifar10, write_mnist

pytestmark = pytest.mark.usefixtures("one_thread")

MUST_HOLD = {
    "fig3": ("ReLU networks follow the theory, a0 projected", "ReLU networks follow the theory, a0 gates settled"),
    "fig4": (
        "from decoupled weights the theory is exact",
        "hidden singular values are sqrt M larger",
        "the same from random weights",
    ),
    "fig5b": (
        "half of the top mode is learned after 34.3, 13.5, 3.9, 1.5 tau for P = 1, 4, 25, 100",
        "the more is shared, the faster",
        "in one network the most shared scheme wins",
    ),
}
"""What is true at the tiny size as well."""


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_figure_writes_numbers_and_picture(name, tmp_path):
    runs_tiny(main, name, tmp_path, MUST_HOLD.get(name, ()))


def test_bank_is_the_routing_network():
    """Loss and gradient agree with the flow of the library, which autograd and path sums confirm elsewhere."""
    bank = banks.Bank(3, 4, 8, 7, gain=0.9, seeds=(5, 6))
    routes = banks.neighbours(3, 2)
    x = torch.eye(4, dtype=torch.float64).expand(1, 3, 4, 4)
    losses = (banks.squared_error(bank(x), torch.tensor(HIERARCHY.T)) * routes).sum(dim=(1, 2))
    losses.sum().backward()
    network = qc.gated.routing(3, 2, width=8, data=(np.eye(4), HIERARCHY))
    for k, seed in enumerate((5, 6)):
        weights = qc.gated.random_weights(network, gain=0.9, seed=seed)
        loss, gradient = qc.gated.FullFlow(network).gradient(weights)
        assert losses[k].item() == pytest.approx(scale(6) * loss, rel=1e-13)
        assert bank.hidden.grad[k].numpy() == pytest.approx(scale(6) * gradient["hidden1"], rel=1e-11, abs=1e-12)
        assert bank.first.grad[k, 1].numpy() == pytest.approx(scale(6) * gradient["in1"], rel=1e-11, abs=1e-12)
        assert bank.last.grad[k, 14:].numpy() == pytest.approx(scale(6) * gradient["out2"], rel=1e-11, abs=1e-12)
    bent = banks.Bank(3, 4, 8, 7, gain=0.9, seeds=(5,), slope=0.0)
    h = torch.relu(torch.relu(x[0, 0] @ bent.first[0, 0].mT) @ bent.hidden[0].mT)
    assert torch.allclose(bent(x)[0, 0, :, 2], h @ bent.last[0, 14:].mT, atol=1e-14)


def test_descent_that_diverges_is_refused():
    bank = banks.Bank(2, 4, 4, 7, gain=1.0, seeds=(0,))
    x, targets = torch.eye(4, dtype=torch.float64).expand(1, 2, 4, 4), torch.tensor(HIERARCHY.T)
    optimiser = torch.optim.SGD(bank.weights, lr=100.0)
    with pytest.raises(NumericalError, match="smaller rate"):
        bank.descend(lambda _: banks.squared_error(bank(x), targets).sum(dim=(1, 2)), steps=20, optimiser=optimiser)


def test_routes():
    routes = banks.neighbours(5, 2)
    assert routes.nonzero().tolist() == [[0, 0], [0, 1], [1, 1], [1, 2], [2, 2], [2, 3], [3, 3], [3, 4], [4, 0], [4, 4]]
    for seed in range(5):
        scattered = banks.scattered(7, 3, seed)
        assert scattered.sum(dim=0).tolist() == scattered.sum(dim=1).tolist() == [3] * 7
    values = torch.arange(25.0).reshape(1, 5, 5)
    assert banks.mean_over(values, routes).item() == values[0][routes].mean().item()
    with pytest.raises(ArgumentError, match="none"):
        banks.mean_over(values, ~banks.neighbours(5, 5))


def test_gates_that_settle_give_the_start_of_the_pathway():
    """Each unit's weights integrated through the switch of its gate while outputs are far below targets.

    Small steps: a unit slides along the edge of the half-plane where it is active.
    """
    random = np.random.default_rng(3)
    first, second = random.standard_normal((1, 40, 2)), random.standard_normal((1, 40))
    rate, end = np.sqrt(2) / 4, 12.0

    def flow(state):
        w, v = state[:80].reshape(40, 2), state[80:]
        active = w @ xor.X.T > 0
        pull = (active * xor.Y) @ xor.X / 4
        return np.concatenate([(v[:, None] * pull).ravel(), (pull * w).sum(axis=1)])

    state, step = np.concatenate([first.ravel(), second.ravel()]), 0.002
    for _ in range(round(end / step)):
        state = state + step * flow(state)
    hidden = np.maximum(state[:80].reshape(40, 2) @ xor.X.T, 0)
    product = xor.Y * (state[80:] @ hidden) / np.sqrt(2)
    found = product * (1 + rate * step) ** (-2 * round(end / step))
    assert xor.settled(first, second)[0] == pytest.approx(found, rel=5e-3)
    assert np.abs(xor.projected(first, second)[0] / found - 1).max() > 0.1


def test_theory_is_equation_21():
    times, a0 = np.linspace(0, 30, 7), np.array([1e-4, 0.01])
    s, d = np.sqrt(2) / 4, 0.5
    a = (s / d) / (1 - (1 - s / (d * a0)) * np.exp(-2 * s * times[:, None]))
    assert xor.theory(a0, times) == pytest.approx(0.5 - np.sqrt(2) * a + a**2, rel=1e-12)


def test_similarity_across_domains():
    h = np.zeros((2, 3, 5))
    h[0, range(3), range(3)] = 2.0
    h[1, range(3), range(3)] = 3.0
    assert across(h) == pytest.approx(1)
    h[1] = np.roll(h[1], 1, axis=0)
    assert across(h) == pytest.approx(0)


def test_verdicts_can_fail():
    def rows(**untrained):
        return {float(at[1:]) / 10: {"trained": [0.05, 0.06], "untrained": [e, e]} for at, e in untrained.items()}

    assert all(found.holds for found in transfer.by_share("x", rows(k1=0.9, k4=0.07, k9=0.06), 0.4))
    assert not transfer.by_share("x", rows(k1=0.9, k4=0.3, k9=0.06), 0.4)[1].holds
    assert not transfer.by_share("x", rows(k1=0.06, k4=0.06, k9=0.06), 0.4)[1].holds
    assert not transfer.by_share("x", rows(k1=0.9, k4=0.07, k9=0.3), 0.4)[1].holds
    assert all(found.holds for found in transfer.by_gain("x", rows(k1=0.06, k100=0.8)))
    assert not transfer.by_gain("x", rows(k1=0.3, k100=0.8))[1].holds
    lost = {**rows(k100=0.8), 0.1: {"trained": [0.9, 0.9], "untrained": [0.9, 0.9]}}
    assert [found.holds for found in transfer.by_gain("x", lost)] == [False, False]


def test_domains_are_transformed_images():
    base = data.images("digits")
    assert [len(base[split].labels) for split in SPLITS] == [1078, 360, 359]
    permuted = data.transformed(base, "permuted", "lexicographic", 10)
    assert (permuted.count, permuted.channels, permuted.classes) == (10, 64, 10)
    raw = base["test"].scaled().reshape(-1, 64) - base["train"].scaled().reshape(-1, 64).mean(axis=0)
    assert np.sort(permuted.inputs["test"][3], axis=1) == pytest.approx(np.sort(raw, axis=1), abs=1e-6)
    moved = permuted.labels["test"]
    assert (moved[:, 0] == base["test"].labels).all()
    assert (moved[base["test"].labels < 6] == base["test"].labels[base["test"].labels < 6, None]).all()
    assert (moved != base["test"].labels[:, None]).any()
    turned = data.transformed(base, "rotated", "random", 2)
    quarter = np.stack([np.rot90(image[..., 0]).ravel() for image in base["test"].scaled()])
    centre = np.stack([np.rot90(image[..., 0]).ravel() for image in base["train"].scaled()]).mean(axis=0)
    assert turned.inputs["test"][1] == pytest.approx(quarter - centre, abs=1e-5)
    assert (turned.labels["test"][:, 0] != base["test"].labels).any()
    with pytest.raises(ArgumentError, match="mirrored"):
        data.transformed(base, "mirrored", "random", 2)


@pytest.fixture(scope="module")
def official(tmp_path_factory):
    """A folder with MNIST and CIFAR-10 in the official formats, of 48 random training and 40 test images each."""
    folder = tmp_path_factory.mktemp("official")
    write_mnist(folder / "mnist", (48, 40))
    write_cifar10(folder, (10, 10, 10, 10, 8, 40))
    return folder


def shrunk(experiment):
    """The experiment at paper size with every panel as it is, but 3 or 6 domains, small layers and two steps."""
    paper = experiment.sizes["paper"]
    panels = tuple(
        replace(p, domains=p.domains // 20 + 1, trained=2, hidden=8, steps=2, seeds=2, examples=40)
        for p in paper.panels
    )
    gains = tuple((gain, rate, 2) for gain, rate, _ in paper.gains)
    return replace(experiment, sizes={"paper": replace(paper, panels=panels, trained=(1, 2), gains=gains, checks=2)})


@pytest.mark.parametrize("name", ["fig8", "fig9", "fig10"])
def test_paper_size_runs_on_the_official_files(name, official, tmp_path, monkeypatch):
    """Its whole way, from the files to the picture, on every panel of the paper; two steps teach nothing."""
    monkeypatch.setattr(frozen, "frozen_features", partial(frozen.frozen_features, width=8, depth=2, epochs=1))
    run = command({name: shrunk(EXPERIMENTS[name])}, "", "results")
    result = CliRunner().invoke(run, [name, "--size", "paper", "--data", str(official), "--output", str(tmp_path)])
    assert result.exit_code == 0, result.output
    report = json.loads((tmp_path / f"{name}.json").read_text())
    assert len(report["numbers"]["error"]) == len(EXPERIMENTS[name].sizes["paper"].panels)
    assert all(0 <= e <= 1 for rows in report["numbers"]["error"].values() for row in rows.values()
               for errors in row.values() for e in errors)  # fmt: skip
    assert (tmp_path / f"{name}.png").exists()


def test_missing_files_are_named_before_anything_runs(official, tmp_path):
    """Fig. 8 needs both data sets: the one that is there is not trained on before the other is missed."""
    (tmp_path / "cifar-10-batches-bin").symlink_to(official / "cifar-10-batches-bin")
    settings = replace(EXPERIMENTS["fig8"].sizes["paper"], data=str(tmp_path))
    with pytest.raises(DataError, match=r"put the official train-images-idx3-ubyte, .* into .*mnist"):
        EXPERIMENTS["fig8"].run(settings, Cells())


def test_features_of_a_frozen_network():
    base, state = data.images("digits"), torch.get_rng_state()
    encode = frozen.frozen_features(base, width=16, depth=2, epochs=3)
    features = encode(base["test"].scaled())
    assert features.shape == (359, 16)
    assert (encode(base["test"].scaled()[:5]) == features[:5]).all()
    assert torch.equal(torch.get_rng_state(), state)


def test_parts_of_a_run_are_kept(tmp_path):
    calls, path = [], tmp_path / "cells.json"

    def compute():
        calls.append(1)
        return {"trained": [0.1]}

    assert Cells(path)({"k": 1}, compute) == Cells(path)({"k": 1}, compute) == {"trained": [0.1]}
    assert len(calls) == 1
    Cells(path)({"k": 2}, compute)
    assert len(calls) == 2
    path.write_text("{")
    with pytest.raises(DataError, match="delete it"):
        Cells(path)


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ArgumentError, match=r"run: it cannot be made a folder \(Not a directory\)"):
        perform(EXPERIMENTS["fig8"], "tiny", tmp_path / "file" / "run")


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ([], 2, "name a figure"),
        (["fig1"], 2, "fig1"),
        (["fig10", "--size", "paper"], 1, "name it with --data"),
        (["fig10", "--size", "paper", "--data", "nowhere"], 1, "put the official train-images-idx3-ubyte, "),
    ],
)
def test_bad_calls_say_what_to_do(arguments, code, message, tmp_path):
    refused(main, arguments, code, message, tmp_path)
