"""The figures of steps, read without making an accelerator wait."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import torch
from torch import Tensor

from qcmap.nn.train._distributed import World

_LAG = 8
"""Steps that an accelerator may be ahead of what is known of them."""


class Watch:
    """Takes a few scalars of each step and gives their numbers back: on the CPU at once, on a GPU some steps later."""

    def __init__(self, device: torch.device) -> None:
        self.lag = _LAG if device.type == "cuda" else 0
        self._waiting: deque[tuple[Tensor, torch.cuda.Event]] = deque()

    def push(self, figures: Sequence[Tensor], world: World) -> list[list[float]]:
        """Take scalars to be summed over all processes; gives the figures of steps known by now, oldest first."""
        if self.lag == 0 and world.size == 1:
            return [[figure.item() for figure in figures]]
        together = world.summed(torch.stack([figure.double() for figure in figures]))
        if self.lag == 0:
            return [together.tolist()]
        copy = torch.empty(together.shape, dtype=together.dtype, pin_memory=True)
        copy.copy_(together, non_blocking=True)
        event = torch.cuda.Event()
        event.record()
        self._waiting.append((copy, event))
        return self._read(self.lag)

    def flush(self) -> list[list[float]]:
        """The figures of all steps that were not given back yet."""
        return self._read(0)

    def _read(self, left: int) -> list[list[float]]:
        rows: list[list[float]] = []
        while len(self._waiting) > left:
            copy, event = self._waiting.popleft()
            event.synchronize()
            rows.append(copy.tolist())
        return rows
