"""The experiments of Deep Kernel Shaping at tiny size, and the parts they are made of."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from examples.dks_experiments import page, training
from examples.dks_experiments.__main__ import main
from examples.dks_experiments.data import some_inputs, splits_of
from examples.dks_experiments.methods import METHODS, made_trainable
from examples.dks_experiments.networks import MODELS
from examples.dks_experiments.ordering import Ordering, measured
from examples.dks_experiments.row import Row
from examples.dks_experiments.setup import Network, Setup, chance_of, run_of
from examples.dks_experiments.table import CIFAR, EXPERIMENTS, ROWS, SCALES, SMALL, TINY
from examples.experiment import Cells
from qcmap.activations import activation
from qcmap.errors import ArgumentError, DataError
from qcmap.nn.train import OPTIMIZERS, Choice, Settings
from tests.examples.calls import refused

SECTIONS = (
    "28.2", "28.3", "28.4", *(f"28.5.{k}" for k in range(1, 8)), "M.1", "M.2", "M.3", *(f"N.{k}" for k in range(1, 10)),
    "K",
)  # fmt: skip


pytestmark = pytest.mark.usefixtures("one_thread")


def test_the_table_has_every_section():
    assert set(SECTIONS) <= set(EXPERIMENTS)
    assert "M.3, M.4" in {row.section for row in ROWS}
    assert all(set(experiment.sizes) >= {"tiny", "small", "paper"} for experiment in EXPERIMENTS.values())


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_a_row_says_what_it_compares(row):
    assert row.orderings
    for ordering in row.orderings:
        assert {ordering.better, ordering.worse} <= set(row.setups)
    for setup in row.setups.values():
        assert setup.method in METHODS
        activation(setup.activation)
        for scale in SCALES.values():
            options = {"learning_rate": scale.rates[setup.optimizer][0], **scale.optimizers.get(setup.optimizer, {})}
            choice = Choice(setup.optimizer, **options)
            Settings(epochs=scale.epochs, optimizer=choice, schedule=Choice(scale.schedule))
            assert choice.name in OPTIMIZERS
            assert scale.networks[setup.layers].model in MODELS


def test_one_row_from_the_command_to_the_page(tmp_path):
    result = CliRunner().invoke(main, ["28.5.4", "K", "--size", "tiny", "--output", str(tmp_path / "out")])
    assert result.exit_code == 0, result.output
    report = json.loads((tmp_path / "out" / "28.5.4.json").read_text())
    assert report["verdict"] in ("holds", "fails")
    assert len(report["findings"]) == 2
    row = report["numbers"]["fan-in selu"]
    assert row["rate"] == TINY.rates["sgd"][0]
    assert [len(run["accuracy"]) for run in row["runs"]] == [1, 1]
    assert row["speed"] == [run["accuracy"][0] for run in row["runs"]]
    assert (tmp_path / "out" / "28.5.4.png").read_bytes().startswith(b"\x89PNG")

    docs = tmp_path / "docs.md"
    docs.write_text(
        "Before\n<!-- results: summary -->\n<!-- end -->\n<!-- results: 28.5.4 -->\nstale numbers\n<!-- end -->\n"
        "<!-- results: M.1 -->\n<!-- end -->\nafter\n"
    )
    written = CliRunner().invoke(page.main, [str(tmp_path / "out"), str(docs)])
    assert written.exit_code == 0, written.output
    text = docs.read_text()
    assert text.startswith("Before\n")
    count = len(report["findings"]) + 3
    assert f"Of {count} orderings " in text
    assert "CPU minutes" in text
    assert text.endswith("after\n")
    assert "stale" not in text
    assert f"| fan-in selu | {TINY.rates['sgd'][0]:g} (edge) |" in text
    assert "Not run yet." in text
    assert (tmp_path / "figures" / "dks_experiments" / "28.5.4.png").exists()


def test_what_was_finished_is_not_trained_again(tmp_path, monkeypatch):
    """A row that breaks off goes on where it was, and another row shares its runs."""
    setups = {"a": Setup("drawn"), "b": Setup("fan_in")}
    scale, trained = replace(TINY, rates={"sgd": (1e-3, 1e-2)}), []

    def fake(run, folder=None):
        if len(trained) == 5 and broken:
            raise KeyboardInterrupt
        trained.append(run)
        return {"status": "finished", "validation": [run.rate], "accuracy": [0.5], "test": [0.5], "loss": [1.0]}

    monkeypatch.setattr(training, "train", fake)
    broken = True
    with pytest.raises(KeyboardInterrupt):
        training.compared(setups, scale, Cells(tmp_path / "cells.json"))
    broken = False
    found = training.compared(setups, scale, Cells(tmp_path / "cells.json"))
    assert len(trained) == 2 * 2 + 2 * 2
    assert len({json.dumps([r.setup.method, r.rate, r.seed]) for r in trained}) == 8
    assert found["a"]["rate"] == 1e-3
    training.compared({"c": Setup("fan_in")}, scale, Cells(tmp_path / "cells.json"))
    assert len(trained) == 8


def test_the_rate_has_the_least_validation_loss_and_does_not_diverge():
    tried = {
        0.1: {"status": "diverged", "validation": [0.1]},
        0.01: {"status": "finished", "validation": [1.0, 0.4]},
        0.001: {"status": "finished", "validation": [0.9, 0.6]},
    }
    assert training._best(tried) == 0.01


def test_parts_are_computed_by_other_processes(tmp_path):
    cells = Cells(tmp_path / "cells.json")
    settings = [{"k": 1}, {"k": 2}, {"k": 1}]
    assert cells.every(settings, dict, [[("v", 1)], [("v", 2)], [("v", 1)]], workers=1) == [
        {"v": 1},
        {"v": 2},
        {"v": 1},
    ]
    assert 0 <= cells.seconds < 1
    assert Cells(tmp_path / "cells.json").every(settings, json.loads, settings, workers=1)[1] == {"v": 2}


def test_a_run_is_resumed_from_its_folder(tmp_path):
    run = run_of(Setup("dks", "softplus"), TINY, 1e-3, 3, 2)
    whole = training.train(run, tmp_path / "run")
    assert (tmp_path / "run" / "checkpoint.pt").exists()
    again = training.train(run, tmp_path / "run")
    alone = training.train(run)
    for name in ("status", "accuracy", "validation", "test", "loss"):
        assert whole[name] == again[name] == alone[name]
    kept = replace(TINY, keep=True, rates={"sgd": (1e-3,)}, seeds=(0, 1))
    training.compared({"a": Setup("drawn")}, kept, Cells(tmp_path / "cells.json"))
    assert len(list((tmp_path / "runs").glob("*/summary.json"))) == 3


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("layers", ["dense", "convolutional"])
def test_every_method_makes_a_network(method, layers):
    setup = Setup(method, "relu", layers=layers, skips=method == "fixup", stem="convolution")
    splits = splits_of(run_of(setup, TINY, 1e-3, 0, 1))
    x = some_inputs(splits, 32)
    model = MODELS["deep"](setup, TINY.networks[layers], x.shape[1], 10).double()
    made = made_trainable(model, x, setup, 0)
    outputs = made(x)
    assert outputs.shape == (32, 10)
    assert outputs.isfinite().all()
    if method == "equivalent":
        shaped = made_trainable(model, x, replace(setup, method="dks"), 0)
        assert torch.allclose(outputs, shaped(x), rtol=1e-9, atol=1e-9)
    if method == "looks_linear":
        middle = made((x[:1] + x[1:2]) / 2)
        assert torch.allclose(middle, (outputs[:1] + outputs[1:2]) / 2, atol=1e-12)


def test_networks_have_the_layers_they_say():
    def affine(setup, depth):
        model = MODELS["deep"](setup, Network("deep", depth, 4), 2, 10)
        return sum(isinstance(part, torch.nn.Linear | torch.nn.Conv2d) for part in model.modules())

    assert affine(Setup(), 50) == affine(Setup(layers="convolutional", stem="max"), 50) == 50
    assert affine(Setup(layers="convolutional"), 50) == 51
    wide = MODELS["wide_resnet"](Setup("dks", "tanh"), Network("wide_resnet", 10, 2), 4, 10)
    x = torch.randn(4, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    assert made_trainable(wide, x, Setup("dks", "tanh"), 0)(x).shape == (4, 10)
    with pytest.raises(ArgumentError, match="imagenet"):
        MODELS["wide_resnet"](Setup(stem="convolution"), Network("wide_resnet", 10, 2), 4, 10)


def test_parity_is_whether_a_digit_is_odd():
    digits, odd = (splits_of(run_of(Setup(task=task), TINY, 1e-3, 0, 1)) for task in ("classes", "parity"))
    for (_, given), (_, made) in zip(digits.parts(), odd.parts(), strict=True):
        assert (made.targets == given.targets % 2).all()
    assert chance_of(Setup(task="parity"), TINY) == 0.5
    assert chance_of(Setup(), TINY) == 0.1


def test_a_run_leaves_the_initial_network_as_it_was():
    """All rates start from one network that is made once."""
    run = run_of(Setup("fan_in", "relu", norm=True, skips=True), TINY, 1e-2, 7, 1)
    first = training.train(run)
    other = training.train(replace(run, rate=1e-3))
    assert other["loss"] != first["loss"]
    assert training.train(run) == first
    training._start.cache_clear()
    assert training.train(run) == first


def test_inputs_a_hundred_times_as_large():
    def inputs(**changes):
        return some_inputs(splits_of(run_of(Setup(**changes), TINY, 1e-3, 0, 1)), 8)

    assert torch.allclose(inputs(), inputs(scale=100.0), atol=1e-6)
    assert torch.allclose(100 * inputs(pln=False), inputs(pln=False, scale=100.0))
    assert inputs().shape[1] == inputs(pln=False).shape[1] + 1


def _found(**accuracies):
    return {
        label: {"chance": 0.1, "runs": [{"accuracy": [value - 0.1, value], "test": [value, value]} for value in values]}
        for label, values in accuracies.items()
    }


@pytest.mark.parametrize(
    ("relation", "first", "second", "holds"),
    [
        (">>", 0.9, 0.7, True), (">>", 0.9, 0.8, False), (">", 0.9, 0.88, True), (">", 0.9, 0.899, False),
        (">=", 0.9, 0.915, True), (">=", 0.9, 0.93, False), ("~", 0.9, 0.94, True), ("~", 0.9, 0.96, False),
        ("~", 0.96, 0.9, False),
    ],
)  # fmt: skip
def test_orderings(relation, first, second, holds):
    wobble = np.array([-1e-3, 0, 1e-3])
    found = _found(a=first + wobble, b=second + wobble)
    assert Ordering("a", relation, "b").check(found, 2).holds == holds
    assert Ordering("a", relation, "b", "test").check(found, 2).holds == holds


def test_noise_forgives_and_is_named():
    """What is apart by less than half its 95% interval is neither better nor worse."""
    found = _found(a=[0.9, 0.7, 0.5], b=[0.6, 0.8, 1.0])
    assert not Ordering("b", ">", "a").check(found, 2).holds
    for relation in (">=", "~"):
        finding = Ordering("a", relation, "b").check(found, 2)
        assert finding.holds
        assert finding.seen.endswith("which noise forgives")
    assert "noise" not in Ordering("b", ">=", "a").check(found, 2).seen


@pytest.mark.parametrize(("errors", "holds"), [(3.5, False), (4.5, True)])
def test_three_seeds_ask_for_students_quantile(errors, holds):
    """The differences of seeds count: 0.1 -+ 0.1 sqrt 3 / errors, with a standard error of 0.1 / errors."""
    spread = 0.1 * 3**0.5 / errors
    found = _found(a=[0.7 - spread, 0.6, 0.5 + spread], b=[0.6, 0.5, 0.4])
    assert Ordering("a", ">", "b").check(found, 2).holds == holds


def test_a_run_that_diverged_counts_as_chance():
    runs = [{"accuracy": [0.8], "test": [0.8], "status": "diverged"}, {"accuracy": [0.8, 0.9], "test": [0.8, 0.9]}]
    for chance in (0.1, 0.5):
        row = {"chance": chance, "runs": runs}
        assert measured(row, "speed", 2) == pytest.approx([(0.8 + chance) / 2, 0.85])
        assert measured(row, "test", 2).tolist() == [chance, 0.9]


def test_divergence_is_a_result():
    run = run_of(Setup("drawn", "relu"), TINY, 1e30, 0, 2)
    found = training.train(run)
    assert found["status"] == "diverged"
    row = Row("x", "x", "x", "x", {}, ())
    figure = row.figure({"a": {"chance": 0.1, "runs": [found, found]}}, 2)
    assert figure.axes


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ([], 2, "28.2"),
        (["28.9"], 2, "28.9"),
        (["28.2", "--size", "paper"], 1, "name it with --data"),
        (["28.2", "--size", "paper", "--data", "nowhere"], 1, "cifar-10-binary.tar.gz"),
    ],
)
def test_bad_calls_say_what_to_do(arguments, code, message, tmp_path):
    refused(main, arguments, code, message, tmp_path)


def test_a_page_without_blocks_is_refused(tmp_path):
    docs = tmp_path / "docs.md"
    docs.write_text("nothing")
    with pytest.raises(DataError, match="no blocks"):
        CliRunner().invoke(page.main, [str(tmp_path), str(docs)], catch_exceptions=False)
    assert docs.read_text() == "nothing"


def test_sizes_of_the_paper():
    assert (CIFAR.networks["dense"], CIFAR.batch_size) == (Network("wide_resnet", 250, 2), 1024)
    assert CIFAR.epochs * (45_000 // 1024 + 1) == pytest.approx(25_000, rel=0.02)
    assert SMALL.networks["dense"].depth == 50
    assert len(SMALL.seeds) == 3
