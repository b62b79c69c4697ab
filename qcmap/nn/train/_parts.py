"""What training works with: the model where it is called from, its optimiser, and the state of both."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from qcmap.errors import ArgumentError, DataError, NumericalError
from qcmap.nn.train._distributed import World, copied, shard
from qcmap.nn.train._losses import Loss
from qcmap.nn.train._optimizers import OPTIMIZERS, optimizer_for
from qcmap.nn.train._precision import Precision
from qcmap.nn.train._schedules import rate_factors
from qcmap.nn.train._settings import Settings


class Parts:
    """A model on its device, prepared for the settings' compilation, precision and processes, and its optimiser.

    ``example`` is a prepared input [1, ...] on the device.

    Attributes
    ----------
    model
        The model itself.
    called
        What evaluation calls: the model, compiled or not.
    forward
        What a training step calls: under DDP it wraps ``called``.
    """

    def __init__(self, model: nn.Module, settings: Settings, loss: Loss, world: World, example: Tensor) -> None:
        self.model, self.settings = model, settings
        self.sharded = world.size > 1 and settings.parallel == "fsdp"
        if self.sharded:
            if OPTIMIZERS[settings.optimizer.name].module != "torch.optim":
                raise ArgumentError("parallel", f"{settings.optimizer.name} cannot work on shards", "choose ddp")
            shard(model, world, example)
        self.called: Any = model
        if settings.compile is not None:
            try:
                self.called = torch.compile(model, backend=settings.compile)
            except Exception as error:  # torch has no common type for unknown backends
                known = ", ".join(torch.compiler.list_backends())
                raise ArgumentError(
                    "compile", f"torch has no backend {settings.compile!r} here", f"choose from {known}"
                ) from error
        self.forward: nn.Module = copied(self.called) if world.size > 1 and not self.sharded else self.called
        self.optimizer = optimizer_for(settings.optimizer, model, loss=loss.name, seed=settings.seed)
        self._curvature: Callable[[Tensor], None] | None = getattr(self.optimizer, "update_curvature", None)
        self.rates: list[float] = [float(group["lr"]) for group in self.optimizer.param_groups]
        self._factor = rate_factors(settings.schedule)
        self.precision = Precision(settings.precision, example.device)

    def set_rates(self, step: int, steps: int) -> float:
        """Give each parameter group its learning rate for a step; returns the first one's."""
        factor = self._factor(step, steps)
        for group, rate in zip(self.optimizer.param_groups, self.rates, strict=True):
            group["lr"] = rate * factor
        return self.rates[0] * factor

    def look_at(self, inputs: Tensor) -> bool:
        """Show an optimiser that measures curvature the inputs of the coming step; False if it is not finite there."""
        if self._curvature is not None:
            try:
                self._curvature(inputs)
            except NumericalError:
                return False
        return True

    def outputs(self, inputs: Tensor) -> Any:
        """What the model makes of a part of a batch; raises `DataError` if it does not train on so few examples."""
        try:
            return self.forward(inputs)
        except ValueError as error:  # as of a batch norm that has one number to a channel
            rule = f"the model does not train on {len(inputs)} of its examples ({error})"
            raise DataError("train", rule, "set drop_last, or another batch_size") from error

    def take_step(self) -> bool:
        """Clip, step, and forget the gradients; False, and no step, if an optimiser finds that it is not finite."""
        parameters = (p for p in self.model.parameters() if p.requires_grad)
        try:
            self.precision.step(self.optimizer, parameters, self.settings.clip_norm)
        except NumericalError:
            return False
        self.optimizer.zero_grad(set_to_none=True)
        return True

    def state(self) -> dict[str, Any]:
        """Model, optimiser, scaler and rates as plain data and tensors; shards are gathered, on the CPU."""
        if self.sharded:
            from torch.distributed.checkpoint.state_dict import StateDictOptions, get_state_dict

            options = StateDictOptions(full_state_dict=True, cpu_offload=True)
            model, optimizer = get_state_dict(self.model, self.optimizer, options=options)
        else:
            model, optimizer = self.model.state_dict(), self.optimizer.state_dict()
        scaler = self.precision.scaler.state_dict()
        return {"model": model, "optimizer": optimizer, "scaler": scaler, "rates": list(self.rates)}

    def load(self, state: dict[str, Any]) -> None:
        """Take over what `state` gave."""
        if self.sharded:
            from torch.distributed.checkpoint.state_dict import StateDictOptions, set_state_dict

            options = StateDictOptions(full_state_dict=True)
            set_state_dict(
                self.model, self.optimizer, model_state_dict=state["model"], optim_state_dict=state["optimizer"],
                options=options,
            )  # fmt: skip
        else:
            self.model.load_state_dict(state["model"])
            self.optimizer.load_state_dict(copy.deepcopy(state["optimizer"]))  # torch may keep what it is given
        self.precision.scaler.load_state_dict(state["scaler"])
        self.rates = list(state["rates"])
