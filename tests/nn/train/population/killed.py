"""A model one of whose worker processes is killed while it trains."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from torch import Tensor, nn

from qcmap.nn import initialize

DRIVER, MARKER = "QCMAP_TEST_DRIVER", "QCMAP_TEST_MARKER"
AFTER = 9
"""Calls until then: of checks, of a round, and of some steps of the next."""


class Killed(nn.Module):
    """A small network; with a marker to write, the first process to come that far writes its number and dies."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = initialize(nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3)), seed=0)
        self.calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        if DRIVER in os.environ and os.environ[DRIVER] != str(os.getpid()) and self.calls > AFTER:
            marker = Path(os.environ[MARKER])
            if not marker.exists():
                marker.write_text(str(os.getpid()))
                os.kill(os.getpid(), signal.SIGKILL)
        return self.layers(x)
