"""Runs from configuration files: what they say, what is refused, the command line."""

from __future__ import annotations

import json
import os
import resource
import tempfile
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from qcmap.cli import main
from qcmap.errors import ArgumentError
from qcmap.nn import GraphNetwork, ShapedModel
from qcmap.nn.train import Choice, data, read_run, run, settings_from
from qcmap.nn.train._models import build_model
from qcmap.nn.train.data._images import image_splits
from tests.nn.train.nets import net

TEACHER = """
model: {name: zoo, architecture: "mlp:depth=3,width=16,activation=tanh", zeta: 1.2}
data: {name: teacher, examples: 96, channels: 7, outputs: 4}
epochs: 2
batch_size: 32
optimizer:
  name: sgd
  learning_rate: 1e-2
schedule: cosine
evaluate: [validation]
"""


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text(TEACHER)
    return path


def test_a_file_and_changes_become_settings(config, tmp_path):
    settings = read_run(config, ["epochs=1", "optimizer.momentum=0.5", "schedule.warmup=2", "data.seed=3"])
    assert settings.epochs == 1
    assert settings.optimizer == Choice("sgd", learning_rate=0.01, momentum=0.5)
    assert settings.schedule == Choice("cosine", warmup=2)
    assert settings.evaluate == ("validation",)
    assert read_run(config, ["optimizer=adam"]).optimizer == Choice("adam")
    again = tmp_path / "run.json"
    again.write_text(json.dumps(settings.to_dict()))
    assert read_run(again) == settings
    assert settings_from(settings.to_dict() | {"evaluate": ("validation",)}) == settings


REFUSED = [
    ("epochs: 2", "epoch: 2", r"run.yaml, line 4, epoch: there is no setting 'epoch'; did you mean epochs\?"),
    ("epochs: 2", "epochs: many", "run.yaml, line 4, epochs: it must be a positive integer, not 'many'"),
    ("epochs: 2", "precision: fp8", "run.yaml, line 4, precision: it must be 'full' or 'bf16' or 'fp16', not 'fp8'"),
    ("schedule: cosine", "schedule: {name: cosine, warmpu: 3}", "run.yaml, line 9, schedule.warmpu: .*no option 'warm"),
    ("schedule: cosine", "schedule: {warmup: 3}", "run.yaml, line 9, schedule: it must be a name, or a mapping with"),
    ("data: {name: teacher", "data: {name: teachr", "data: there is no data set 'teachr'; did you mean teacher"),
    ("channels: 7", "chanels: 7", "data.chanels: there is no option 'chanels'; did you mean channels"),
    ("channels: 7", "channels: seven", "data.channels: it must be an integer, not 'seven'"),
    ("name: zoo", "name: zo", "model: there is no model 'zo'; did you mean zoo"),
    ("zeta: 1.2", "zeta: 0.9", "zeta"),
    ("batch_size: 32", "batch_size: 97", "a batch of 97 is larger than the 96 training examples"),
    ("epochs: 2", "device: gpu", "device: there is no 'gpu' here"),
    ("model:", "modell:", "line 2, modell: there is no setting 'modell'; did you mean model"),
    ("epochs: 2", "epochs: [", "run.yaml, line"),
]


@pytest.mark.parametrize(("old", "new", "message"), REFUSED)
def test_refused_configurations(config, tmp_path, old, new, message):
    config.write_text(TEACHER.replace(old, new))
    result = CliRunner().invoke(main, ["train", str(config), "--output", str(tmp_path / "out"), "--quiet"])
    assert result.exit_code == 1
    assert pytest.raises(AssertionError, match=message).matches(AssertionError(result.output)), result.output
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("epochs", "a change is key=value"),
        ("epohcs=3", "--set, epohcs: .*did you mean epochs"),
        ("=3", "key=value"),
        ("epochs.foo=3", "--set epochs.foo=3: epochs is 2, which has no options; set epochs itself"),
    ],
)
def test_refused_changes(config, change, message):
    with pytest.raises(ArgumentError, match=message):
        read_run(config, [change])


def test_a_run_from_the_command_line(config, tmp_path):
    arguments = ["train", str(config), "--output", str(tmp_path / "out"), "--set", "seed=3", "--json"]
    first = CliRunner().invoke(main, arguments)
    assert first.exit_code == 0, first.output
    summary = json.loads(first.output)
    assert summary["status"] == "finished"
    assert set(summary["last"]["validation"]) == {"loss", "accuracy"}
    assert json.loads((tmp_path / "out" / "configuration.json").read_text())["settings"]["seed"] == 3
    second = CliRunner().invoke(main, arguments)
    assert second.exit_code == 1
    assert "it holds a run" in second.output
    again = CliRunner().invoke(main, [*arguments, "--resume"])
    assert json.loads(again.output) == summary


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("epohcs=3", "--set, epohcs: there is no setting 'epohcs'; did you mean epochs"),
        ("epochs", "a change is key=value"),
        ("batch_size=97", "a batch of 97 is larger than the 96 training examples"),
        ("optimizer.learning_rate=-1", "optimizer.learning_rate: it must be positive, not -1"),
    ],
)
def test_refused_changes_on_the_command_line(config, tmp_path, change, message):
    _ended(["train", str(config), "--set", change, "--output", str(tmp_path / "out"), "--quiet"], message)
    assert not (tmp_path / "out").exists()


def _ended(arguments, message):
    """The command ends with one line that says why, and without a traceback."""
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 1, result.output
    assert isinstance(result.exception, SystemExit)
    assert message in result.output
    assert "Traceback" not in result.output


@contextmanager
def _nobody():
    """Without the rights of root, which may write to folders that are read-only."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


def test_a_folder_that_is_read_only_is_named(config):
    with tempfile.TemporaryDirectory() as name:
        there = Path(name, "run.yaml")
        there.write_text(config.read_text())
        Path(name).chmod(0o555)
        read_run(config)
        train = ["train", str(there), "--quiet", "--output"]
        with _nobody():
            _ended([*train, name], f"{name}/records.jsonl: it cannot be written (Permission denied)")
            _ended([*train, f"{name}/out"], f"{name}/out: it cannot be made a folder (Permission denied)")
        assert os.listdir(name) == ["run.yaml"]


def test_a_full_disk_ends_the_command_and_the_run_goes_on_later(config, tmp_path):
    """The operating system refuses files above a size, as a full disk does."""
    train = ["train", str(config), "--quiet", "--output", str(tmp_path / "out")]
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        _ended(train, "checkpoint.pt: it cannot be written (File too large)")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not list((tmp_path / "out").glob(".qcmap-*"))
    assert CliRunner().invoke(main, [*train, "--resume"]).exit_code == 0


def test_bytes_are_read_in_double_precision_too():
    images = data.Images(np.full((4, 2, 2, 1), 51, dtype=np.uint8), np.zeros(4, dtype=np.int64))
    splits = image_splits(
        images, None, None, normalize=False, with_pln=False, flat=True, augmentation=None, facts={}
    ).cast(torch.float64)  # fmt: skip
    assert splits.example().dtype == torch.float64
    assert splits.example()[0, 0].item() == pytest.approx(0.2, abs=1e-7)


def test_squared_error_in_double_precision(config):
    changes = ["loss=squared_error", "data.classes=false", "dtype=float64", "epochs=20"]
    result = run(read_run(config, changes))
    losses = result.curve("validation.loss")
    assert losses[-1] < losses[0]
    assert "accuracy" not in result.epochs[-1]


class Wide(torch.nn.Sequential):
    """A user's own model, which torch initialises from its global generator."""

    def __init__(self) -> None:
        layers = (torch.nn.Linear(8, 16), torch.nn.Tanh(), torch.nn.Linear(16, 16), torch.nn.Tanh())
        super().__init__(*layers, torch.nn.Linear(16, 4))


def test_a_split_of_the_digits_has_a_seed():
    with pytest.raises(ArgumentError, match="seed: a seed is an integer"):
        data.digits(seed=-1)


def test_a_network_of_the_zoo_has_an_output_for_each_class_of_any_split():
    splits = data.digits(train=3)
    assert int(splits.train.targets.max()) < 9
    zoo = Choice("zoo", architecture="mlp:depth=2,width=8,activation=tanh")
    assert build_model(zoo, splits, 0)(splits.example()).shape == (1, 10)


def test_models_by_name():
    splits = data.teacher(examples=20, channels=7, outputs=4)
    network = build_model(Choice("zoo", architecture="mlp:depth=2,width=8,activation=relu", method="none"), splits, 0)
    assert isinstance(network, GraphNetwork)
    assert network(splits.example()).shape == (1, 4)
    tailored = Choice("zoo", architecture="mlp:depth=4,width=8,activation=tanh", method="tat", tau=0.2)
    assert build_model(tailored, splits, 0).shaping is not None
    path = f"{__name__}:Wide"
    state = torch.get_rng_state()
    same = [build_model(Choice("import", path=path), splits, seed)[0].weight for seed in (0, 0, 1)]
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(same[0], same[1])
    assert not torch.equal(same[0], same[2])
    assert isinstance(build_model(Choice("import", path=path, method="dks", zeta=1.1), splits, 0), ShapedModel)
    with pytest.raises(ArgumentError, match=r"model.path: it is needed; give text"):
        build_model(Choice("import"), splits, 0)
    assert net()(torch.zeros(2, 2)).shape == (2, 3)
