"""Several processes give the curve of one, and a killed run goes on."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from qcmap.nn.train import Trainer
from tests.nn.train.nets import double_net, double_splits
from tests.nn.train.two_processes import WAYS

ROOT = Path(__file__).parents[3]


def figures(folder: Path) -> list[float]:
    """Losses and accuracies of all epochs and splits, in order."""
    rows = [json.loads(line) for line in (folder / "records.jsonl").read_text().splitlines()]
    epochs = [row for row in rows if row["kind"] == "epoch"]
    parts = [row for epoch in epochs for row in (epoch, epoch["validation"], epoch["test"])]
    return [part[name] for part in parts for name in ("loss", "accuracy")]


@pytest.mark.slow
def test_two_processes_give_the_curve_of_one(tmp_path):
    """With uneven shares, accumulation, clipping, a last batch of one example, and a stop in the middle of an epoch."""
    command = [sys.executable, "-m", "tests.nn.train.two_processes", str(tmp_path)]
    subprocess.run(command, check=True, cwd=ROOT, timeout=300)
    for name, chosen in WAYS.items():
        model = double_net()
        Trainer(model, double_splits(), chosen, output=tmp_path / "one" / name).train()
        assert figures(tmp_path / name) == pytest.approx(figures(tmp_path / "one" / name), abs=1e-12)
        trained = torch.load(tmp_path / name / "checkpoint.pt")["model"]
        assert trained.keys() == model.state_dict().keys()
        assert all(torch.allclose(value, trained[key], atol=1e-12) for key, value in model.state_dict().items())


@pytest.mark.slow
def test_a_run_that_is_killed_goes_on():
    """Twenty times in benchmarks/README.md; here three."""
    command = [sys.executable, "benchmarks/kill_resume.py", "--kills", "3", "--seed", "1"]
    result = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=300)
    assert result.returncode == 0, result.stderr
    assert "the same, bit by bit" in result.stdout
