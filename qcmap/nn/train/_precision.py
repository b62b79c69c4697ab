"""Mixed precision: torch's autocast, and scaled gradients for fp16."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

_TYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


class Precision:
    """How forward and backward passes are computed, and how a step is taken from their gradients.

    Parameters
    ----------
    name
        ``"full"``, ``"bf16"`` or ``"fp16"``.
    device
        Where.
    """

    def __init__(self, name: str, device: torch.device) -> None:
        self.dtype = _TYPES.get(name)
        self.device = device.type
        self._factors: dict[float, Tensor] = {}  # scalars as tensors: making one takes longer than the product
        self.scaler = torch.amp.GradScaler(device.type, enabled=name == "fp16")

    def autocast(self) -> AbstractContextManager[Any]:
        """The context of a forward pass."""
        return nullcontext() if self.dtype is None else torch.autocast(self.device, self.dtype)

    def backward(self, loss: Tensor, weight: float) -> None:
        """Add the gradients of a loss times a weight, scaled where that is needed."""
        factor = self._factors.get(weight)
        if factor is None or factor.dtype != loss.dtype:
            factor = self._factors[weight] = torch.full_like(loss.detach(), weight)
        (self.scaler.scale(loss) if self.scaler.is_enabled() else loss).backward(factor)

    def step(
        self, optimizer: torch.optim.Optimizer, parameters: Iterable[nn.Parameter], clip_norm: float | None
    ) -> None:
        """Clip and take a step; one with an infinite scaled gradient is left out, and the scale is lowered."""
        if clip_norm is not None:
            self.scaler.unscale_(optimizer)
            nn.utils.clip_grad_norm_(parameters, clip_norm)
        if not self.scaler.is_enabled():
            optimizer.step()
            return
        self.scaler.step(optimizer)
        self.scaler.update()
