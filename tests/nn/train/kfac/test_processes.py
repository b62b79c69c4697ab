"""Two processes with half of the batch each take the steps of one with all of it."""

import subprocess
import sys
from pathlib import Path

import torch

from tests.nn.train.kfac.processes import in_group, trained

ROOT = Path(__file__).parents[4]


def test_two_processes_take_the_steps_of_one(tmp_path):
    file = str(tmp_path / "store")
    command = [sys.executable, "-m", "tests.nn.train.kfac.processes", file]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as other:
        together = in_group(0, file)
        _, errors = other.communicate()
    assert other.returncode == 0, errors
    for one, two in zip(trained(0, 1), together, strict=True):
        torch.testing.assert_close(one, two, rtol=1e-11, atol=1e-12)
