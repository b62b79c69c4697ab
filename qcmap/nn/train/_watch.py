"""The figures of steps, read without making an accelerator wait, and correct predictions, counted many at a time."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import torch
from torch import Tensor

from qcmap.nn.train._distributed import World
from qcmap.nn.train._losses import Loss

_LAG = 8
"""Steps that an accelerator may be ahead of what is known of them."""
_STEPS, _NUMBERS = 32, 2**20
"""Steps whose predictions wait to be counted, and numbers in them, at most."""


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


class Hits:
    """Counts correct predictions of several steps at once: for small models counting each is a tenth of the work."""

    def __init__(self, loss: Loss) -> None:
        self._count = loss.hits
        self._waiting: list[tuple[Tensor, Tensor]] = []
        self._numbers = 0

    def push(self, outputs: Tensor, targets: Tensor) -> float:
        """Take predictions and targets; gives the hits among those that were counted now."""
        if self._waiting and outputs.shape[1:] != self._waiting[0][0].shape[1:]:
            return self.flush() + self.push(outputs, targets)
        self._waiting.append((outputs, targets))
        self._numbers += outputs.numel()
        return self.flush() if len(self._waiting) == _STEPS or self._numbers > _NUMBERS else 0.0

    def flush(self) -> float:
        """The hits among all that wait."""
        if not self._waiting:
            return 0.0
        hits = self._count(*map(torch.cat, zip(*self._waiting, strict=True)))
        self.forget()
        return 0.0 if hits is None else hits.item()

    def forget(self) -> None:
        """Count none of those that wait."""
        self._waiting, self._numbers = [], 0
