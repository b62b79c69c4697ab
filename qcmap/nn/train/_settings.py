"""How a network is trained: the typed settings of a run."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any, Literal, get_type_hints

from qcmap.errors import ArgumentError
from qcmap.nn._random import generator_from
from qcmap.nn.train._choice import Choice, check_value, plain, unknown
from qcmap.nn.train._losses import LOSSES
from qcmap.nn.train._schedules import SCHEDULES, check_schedule

SPLITS = ("train", "validation", "test")
_POSITIVE = ("epochs", "steps", "batch_size", "accumulate", "evaluate_every", "record_every", "checkpoint_every")
FREE = {"changes_curve": False}
_SGD = Choice("sgd", learning_rate=3e-3, momentum=0.9)
_CONSTANT = Choice("constant")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How to train; the model and the data are given apart.

    Attributes
    ----------
    epochs
        Passes over the training examples.
    steps
        Optimiser steps at most; None for what the epochs take.
    batch_size
        Examples of one step, all processes and accumulated parts together.
    accumulate
        Parts that each process computes its share of a batch in, one after another.
    drop_last
        Leave out the last batch of an epoch where it is smaller than the others.
    optimizer
        A row of ``OPTIMIZERS``: sgd, adam, adamw, rmsprop, kfac, shampoo, soap; its options are those of the class that
        the row names, with ``learning_rate`` for ``lr``.
    schedule
        A row of ``SCHEDULES``: constant, cosine, step, pieces; ``warmup`` is a number of steps with a linearly rising
        rate.
    loss
        A row of ``LOSSES``: cross_entropy, squared_error.
    clip_norm
        The largest norm of a gradient, all parameters together; None for no clipping.
    precision
        ``"full"`` computes in the model's own type, ``"bf16"`` and ``"fp16"`` under torch's autocast, the latter with
        scaled gradients.
    compile
        A backend of ``torch.compile``, such as inductor, or None.
    parallel
        Under torchrun: ``"ddp"`` has a copy of the model in each process, ``"fsdp"`` shards it (FSDP2).
    evaluate
        Which of the splits train, validation and test that there are to evaluate, each apart.
    evaluate_every
        Epochs between evaluations; one comes at the end in any case.
    record_every
        Steps between records of single steps, or None for none.
    checkpoint_every
        Steps between checkpoints; None for one at the end of each epoch.
    seed
        Fixes the order of examples, augmentations and dropout.
    """

    epochs: int = 20
    steps: int | None = None
    batch_size: int = 64
    accumulate: int = 1
    drop_last: bool = False
    optimizer: Choice = _SGD
    schedule: Choice = _CONSTANT
    loss: str = "cross_entropy"
    clip_norm: float | None = None
    precision: Literal["full", "bf16", "fp16"] = "full"
    compile: str | None = None
    parallel: Literal["ddp", "fsdp"] = field(default="ddp", metadata=FREE)
    evaluate: tuple[str, ...] = ("validation", "test")
    evaluate_every: int = 1
    record_every: int | None = None
    checkpoint_every: int | None = field(default=None, metadata=FREE)
    seed: int = 0

    def __post_init__(self) -> None:
        hints = get_type_hints(type(self))
        for row in fields(self):
            value = getattr(self, row.name)
            if row.name in _POSITIVE and value is not None and (type(value) is not int or value < 1):
                raise ArgumentError(row.name, f"it must be a positive integer, not {value!r}", "give 1 or more")
            check_value(row.name, value, hints[row.name])
        generator_from(self.seed)
        if self.loss not in LOSSES:
            raise unknown("loss", self.loss, LOSSES, "loss")
        if self.clip_norm is not None and self.clip_norm <= 0:
            raise ArgumentError("clip_norm", f"it must be positive, not {self.clip_norm!r}", "give e.g. 1.0, or null")
        for split in self.evaluate:
            if split not in SPLITS:
                raise unknown("evaluate", split, SPLITS, "split")
        if self.schedule.name not in SCHEDULES:
            raise unknown("schedule", self.schedule.name, SCHEDULES, "schedule")
        check_schedule(self.schedule)

    def to_dict(self) -> dict[str, Any]:
        """The settings as JSON-ready data, as they stand in a file."""
        return {row.name: plain(getattr(self, row.name)) for row in fields(self)}

    def curve_settings(self) -> dict[str, Any]:
        """Those settings that the curve depends on: a run is resumed with the same ones."""
        free = {row.name for row in fields(self) if not row.metadata.get("changes_curve", True)}
        return {name: value for name, value in self.to_dict().items() if name not in free}
