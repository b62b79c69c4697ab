"""The benchmark of a device at tiny size: what it writes, and that its steps and predictions are real ones."""

import json

import pytest
import torch

from benchmarks.device import NETWORKS, OPTIMIZERS, main

pytestmark = pytest.mark.usefixtures("one_thread")


def test_the_benchmark_of_a_device_at_tiny_size(tmp_path):
    path = main(["--size", "tiny", "--output", str(tmp_path)])
    assert path.name.startswith("device-")
    found = json.loads(path.read_text())
    assert found["device"]
    assert found["versions"]["torch"] == torch.__version__
    assert set(found["training"]) == {f"{name}, {optimizer}" for name in NETWORKS for optimizer in OPTIMIZERS}
    for row in found["training"].values():
        assert row["status"] == "finished" or row["status"] == "running"
        assert row["images_per_second"] == pytest.approx(4 / row["milliseconds"] * 1e3, rel=0.05)
        assert row["peak_mib"] > 0
    assert set(found["predictions"]) == {"float32", "bfloat16"}
    for row in found["predictions"].values():
        assert row["nodes"] > 4
        assert row["disagreeing"] == 0
