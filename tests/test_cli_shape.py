"""The command ``qcmap shape``."""

import json

import pytest
import torch
from click.testing import CliRunner

import qcmap.nn as qnn
from qcmap.cli import main


def run(*arguments):
    return CliRunner().invoke(main, ["shape", *map(str, arguments)])


def test_a_model_is_shaped_reported_and_saved(tmp_path):
    report, saved = tmp_path / "out.md", tmp_path / "model.pt"
    result = run(
        "tests.cli_models:resnet", "--input", "3x32x32", "--zeta", "1.3", "--batch-norm", "remove",
        "--residual-weight", "0.3", "--report", report, "--save", saved,
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "zeta=1.3" in result.stdout
    assert "activation: 7" in result.stdout
    assert "max pooling is treated as the identity map" in result.stderr
    assert report.read_text().startswith("# ResNet, shaped")
    model = torch.load(saved, weights_only=False)
    assert isinstance(model, qnn.ShapedModel)
    assert model(torch.randn(2, 3, 32, 32)).shape == (2, 10)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.pt", "out.md"]


def test_json():
    result = run("tests.cli_models:ready", "--input", "16", "--method", "tat", "--tau", "0.1", "--json")
    data = json.loads(result.stdout)
    assert data["shaping"]["tau"] == 0.1
    assert {change["kind"] for change in data["changes"]} == {"activation", "weights"}


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("tests.cli_models:resnet", "--input", "3x32x32"), 1, "batch_norm='remove'"),
        (("tests.cli_models:nothing", "--input", "16"), 1, "AttributeError"),
        (("tests.cli_models:no_model", "--input", "16"), 1, "no torch model but int"),
        (("tests.cli_models:broken", "--input", "16"), 1, "no such folder"),
        (("tests.cli_models", "--input", "16"), 1, "package.module:callable"),
        (("nowhere.at_all:model", "--input", "16"), 1, "ModuleNotFoundError"),
        (("tests.cli_models:chain", "--input", "16x0"), 2, "not a list of sizes"),
        (("tests.cli_models:chain",), 2, "Missing option '--input'"),
        (("tests.cli_models:chain", "--input", "16", "--residual-weight", "x"), 2, "neither a number nor q"),
        (("tests.cli_models:chain", "--input", "16", "--save", "/nowhere/at/all.pt"), 1, "cannot be written"),
    ],
)
def test_bad_input_is_one_line(arguments, code, words):
    result = run(*arguments)
    assert result.exit_code == code
    assert words in result.output
    assert "Traceback" not in result.output
