"""The optimisers: a table of classes, where they come from, and their settings in section 27.5 of DKS."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, Literal

import torch
from torch import nn

from qcmap.errors import ArgumentError, MissingExtra
from qcmap.nn.train._choice import Choice, check_value, unknown


@dataclass(frozen=True)
class OptimizerRow:
    """One optimiser.

    Attributes
    ----------
    module, name
        Where its class is; imported when it is used.
    defaults
        Keyword arguments that differ from the class's own defaults.
    reads
        What the class is made from: the trainable parameters, or the model.
    state_classes
        Classes, as ``module.name``, that its state holds beside tensors, numbers and containers: a checkpoint may have
        these and no others.
    told
        Options that the run gives if they are left out: the name of its loss, its seed.
    """

    module: str
    name: str
    defaults: Mapping[str, Any] = field(default_factory=dict)
    reads: Literal["parameters", "model"] = "parameters"
    state_classes: tuple[str, ...] = ()
    told: tuple[str, ...] = ()


OPTIMIZERS: Mapping[str, OptimizerRow] = {
    "sgd": OptimizerRow("torch.optim", "SGD"),
    "adam": OptimizerRow("torch.optim", "Adam", {"eps": 1e-5}),
    "adamw": OptimizerRow("torch.optim", "AdamW"),
    "rmsprop": OptimizerRow("torch.optim", "RMSprop"),
    "kfac": OptimizerRow("qcmap.nn.train.kfac", "KFAC", reads="model", told=("loss", "seed")),
    "shampoo": OptimizerRow(
        "pytorch_optimizer", "ScalableShampoo",
        {"betas": (0.9, 0.99), "graft_type": 2, "matrix_eps": 1e-5, "start_preconditioning_step": 1,
         "preconditioning_compute_steps": 10},
        state_classes=(
            "pytorch_optimizer.optimizer.utils.preconditioner.PreConditioner",
            "pytorch_optimizer.optimizer.utils.partition.BlockPartitioner",
            "pytorch_optimizer.optimizer.utils.partition.PreConditionerType",
            "pytorch_optimizer.optimizer.utils.graft.AdaGradGraft",
        ),
    ),
    "soap": OptimizerRow("pytorch_optimizer", "SOAP"),
}  # fmt: skip
"""By name. Adam has the epsilon of section 27.5; Shampoo its epsilon, decay 0.99, momentum and AdaGrad grafting
(``graft_type`` 2), but inverses every ten steps. Its exponent multiplier of 3 is not among the library's options."""


def optimizer_for(
    choice: Choice, model: nn.Module, *, loss: str = "cross_entropy", seed: int = 0
) -> torch.optim.Optimizer:
    """The optimiser of a model's trainable parameters, for a run with this loss and seed.

    Raises
    ------
    ArgumentError
        For an unknown optimiser, an option that it does not have (the message says the nearest) or refuses, or a model
        without trainable parameters.
    MissingExtra
        If the optimiser's library is not installed.
    """
    if choice.name not in OPTIMIZERS:
        raise unknown("optimizer", choice.name, OPTIMIZERS, "optimiser")
    row = OPTIMIZERS[choice.name]
    parameters = [p for p in model.parameters() if p.requires_grad]
    if not parameters:
        raise ArgumentError("model", "it has no trainable parameters", "give a model with some")
    told = {"loss": loss, "seed": seed}
    options = {**row.defaults, **{name: told[name] for name in row.told}, **choice.options}
    _check_numbers(options)
    if "learning_rate" in options:
        options["lr"] = options.pop("learning_rate")
    make = _load(row)
    _check_names(make, choice)
    try:
        return make(model if row.reads == "model" else parameters, **options)
    except (ValueError, TypeError, IndexError) as error:
        raise ArgumentError("optimizer", f"{row.name} refuses its options ({error})", "change them") from error


def state_classes(choice: Choice) -> list[type]:
    """The classes that a checkpoint of this optimiser may hold beside plain data."""
    paths = (path.rpartition(".") for path in OPTIMIZERS[choice.name].state_classes)
    return [getattr(import_module(module), name) for module, _, name in paths]


def _load(row: OptimizerRow) -> Any:
    try:
        return getattr(import_module(row.module), row.name)
    except ModuleNotFoundError as error:
        raise MissingExtra("optimizer", f"{row.name} needs {error.name}", "pip install 'qcmap[train]'") from error


def check_rate(where: str, rate: float) -> None:
    """Raise `ArgumentError` unless a learning rate is positive and no larger than a float32 can be."""
    check_value(where, rate, float)
    if rate <= 0:
        raise ArgumentError(where, f"it must be positive, not {rate!r}", "give e.g. 3e-3")
    if rate > torch.finfo(torch.float32).max:
        raise ArgumentError(where, f"it must be at most 3.4e38, the largest float32, not {rate!r}", "give e.g. 3e-3")


def _check_numbers(options: Mapping[str, Any]) -> None:
    rate, momentum = options.get("learning_rate", 1.0), options.get("momentum", 0.0)
    check_rate("optimizer.learning_rate", rate)
    check_value("optimizer.momentum", momentum, float)
    for name, value in options.items():
        if isinstance(value, float) and math.isnan(value):
            raise ArgumentError(f"optimizer.{name}", "it is NaN", "give a number")
    if not 0 <= momentum < 1:
        raise ArgumentError("optimizer.momentum", f"it must lie in [0, 1), not {momentum!r}", "give e.g. 0.9")


def _check_names(make: Any, choice: Choice) -> None:
    """Raise `ArgumentError` for an option that is no keyword argument of the class."""
    rows = list(inspect.signature(make).parameters.values())[1:]
    known = {row.name for row in rows if row.kind is not inspect.Parameter.VAR_KEYWORD} - {"lr"}
    for name in choice.options:
        if name not in known | {"learning_rate"}:
            raise unknown(f"optimizer.{name}", name, known | {"learning_rate"}, f"option of {choice.name}")
