"""The training examples at tiny size."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from examples import sweep_zeta, train_shaped_mlp, train_shaped_resnet, train_without_normalisation
from qcmap.nn.train import read_run, run

ROOT = Path(__file__).parents[2]


def printed(command, *arguments: str) -> list[str]:
    """The lines that a command prints, torch's global generator left as it was."""
    with torch.random.fork_rng():
        result = CliRunner().invoke(command, list(arguments))
    assert result.exit_code == 0, result.output
    return result.output.splitlines()


def last(line: str) -> float:
    """The last percentage of a line."""
    return float(re.findall(r"([\d.]+)%", line)[-1])


def test_shaped_mlp_is_ahead_of_the_plain_one_and_goes_on(tmp_path):
    arguments = "--depth", "20", "--epochs", "1", "--output", str(tmp_path)
    shaped, plain = printed(train_shaped_mlp.main, *arguments)
    assert last(shaped) > 60 > last(plain)
    assert printed(train_shaped_mlp.main, *arguments) == [shaped, plain]


def test_shaped_resnet():
    lines = printed(train_shaped_resnet.main, "--depth", "10", "--epochs", "1", "--examples", "64")
    assert [line.split(":")[0] for line in lines] == ["shaped", "plain"]
    assert all("finished" in line for line in lines)


def test_a_model_of_ones_own():
    changed, norms, shaped = printed(train_without_normalisation.main, "--blocks", "3", "--epochs", "2")
    assert "'batch_norm': 3" in changed
    assert min(last(norms), last(shaped)) > 80


def test_a_sweep_has_a_folder_for_each_run(tmp_path):
    lines = printed(
        sweep_zeta.main, "--zeta", "1.5", "--zeta", "1e6", "--depth", "10", "--epochs", "1", "--output", str(tmp_path)
    )  # fmt: skip
    assert lines[0].startswith("zeta 1.5, seed 0: training ")
    assert (last(lines[0]) if "%" in lines[0] else 0) > (last(lines[1]) if "%" in lines[1] else 0)
    assert (tmp_path / "zeta-1.5-seed-0" / "summary.json").exists()


@pytest.mark.slow
def test_two_processes_of_torchrun_give_the_curve_of_one(tmp_path):
    changes = ["dtype=float64", "epochs=2", "batch_size=62"]
    command = [ROOT / "examples" / "distributed.sh", "2", tmp_path / "two", "--quiet"]
    command += [part for change in changes for part in ("--set", change)]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    subprocess.run(command, check=True, cwd=ROOT, env={**os.environ, "PATH": path}, capture_output=True, timeout=300)
    rows = [json.loads(line) for line in (tmp_path / "two" / "records.jsonl").read_text().splitlines()]
    one = run(read_run(ROOT / "examples" / "distributed.yaml", changes))
    assert [row["loss"] for row in rows] == pytest.approx(one.curve("loss"), abs=1e-6)
    assert [row["validation"]["loss"] for row in rows] == pytest.approx(one.curve("validation.loss"), abs=1e-6)
    assert json.loads((tmp_path / "two" / "configuration.json").read_text())["processes"] == 2
