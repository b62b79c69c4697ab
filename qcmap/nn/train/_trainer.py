"""The engine: one loop for every run, that can stop and go on at any step."""

from __future__ import annotations

import copy
import math
import os
import time
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from qcmap.nn._modes import device_of, modes_restored
from qcmap.nn.train._batches import Part, parts_of
from qcmap.nn.train._check import check_examples, check_fit, check_precision, device_named, dtype_of, plan_of
from qcmap.nn.train._checkpoint import check_same_model, check_same_run, read_checkpoint, write_checkpoint
from qcmap.nn.train._choice import plain
from qcmap.nn.train._distributed import World, without_meeting
from qcmap.nn.train._evaluate import evaluated
from qcmap.nn.train._examples import Splits
from qcmap.nn.train._losses import LOSSES, Loss
from qcmap.nn.train._measures import Measure, Moment, measured
from qcmap.nn.train._optimizers import check_rate, state_classes
from qcmap.nn.train._parts import Parts
from qcmap.nn.train._progress import Bar, Silent, progress_bar
from qcmap.nn.train._randomness import derived_seed, own_randomness, seed_everything
from qcmap.nn.train._records import (
    CHECKPOINT,
    CONFIGURATION,
    SUMMARY,
    Records,
    prepared_folder,
    read_configuration,
    versions,
    write_json,
)
from qcmap.nn.train._result import Result, Status
from qcmap.nn.train._settings import Settings
from qcmap.nn.train._watch import Hits, Watch


class Trainer:
    """A run: a model, its data and settings, and how far it is.

    On the CPU a run is a function of its arguments: stopped after any step and resumed from its checkpoint, it goes on
    bit by bit as if it had not been stopped. The order of examples, augmentations and dropout come from the seed and
    the number of the step alone.

    Parameters
    ----------
    model
        Any module; trained in place, and moved to the device.
    data
        The splits; see `Splits.of_tensors` for pairs of tensors.
    settings
        How to train.
    output
        A folder for configuration, records (JSON lines), checkpoint and summary; None writes nothing.
    resume
        Go on from the folder's checkpoint if there is one. Without it a folder that holds a run is refused.
    loss
        A loss of your own instead of the settings' named one.
    each_epoch
        Quantities measured after each epoch.
    each_step
        Quantities measured after each step that is recorded (``record_every``).
    device
        Where; the model's own device if None.
    facts
        What the configuration says of model and data beside the settings: a run is resumed with the same facts.

    Raises
    ------
    ArgumentError
        For a model without trainable parameters, a batch larger than the data, an unusable option, a folder that
        cannot be written or holds another run.
    DataError
        For data that do not fit each other or the model, labels out of range, a checkpoint that is damaged or of
        another model. In either case nothing has been changed or written.
    """

    def __init__(
        self,
        model: nn.Module,
        data: Splits,
        settings: Settings | None = None,
        *,
        output: str | os.PathLike[str] | None = None,
        resume: bool = False,
        loss: Loss | None = None,
        each_epoch: Sequence[Measure] = (),
        each_step: Sequence[Measure] = (),
        device: torch.device | str | None = None,
        facts: Mapping[str, Any] | None = None,
    ) -> None:
        self.settings = settings or Settings()
        self.world = World.here()
        self.model, self.loss = model, loss or LOSSES[self.settings.loss]
        self.each_epoch, self.each_step = tuple(each_epoch), tuple(each_step)
        self.device = device_of(model) if device is None else device_named(device)
        dtype = dtype_of(model)
        check_precision(self.settings.precision, dtype)
        for name, examples in data.parts():
            check_examples(name, examples, dtype)
        self.plan = plan_of(self.settings, len(data.train), self.world)
        self.steps = min(self.settings.epochs * self.plan.steps, self.settings.steps or 2**62)
        model.to(self.device)
        self.data = data.placed(self.device)
        fits = [check_fit(name, model, examples, self.loss, self.device) for name, examples in self.data.parts()]
        self._knows_hits = fits[0]
        self.parts = Parts(model, self.settings, self.loss, self.world, self.data.example().to(self.device))
        self.step, self.status = 0, "running"
        self.status: Status
        self.sums = [0.0, 0.0]  # losses and hits of the epoch so far
        self._watch = Watch(self.device)
        # Several processes add their hits up step by step, and compiled models on GPUs may reuse the memory of outputs.
        self._hits = Hits(self.loss) if self.world.size == 1 and self.device.type == "cpu" else None
        configuration = {**self.settings.curve_settings(), "facts": plain({**data.facts, **(facts or {})})}
        self._configuration = configuration
        self.folder = None if output is None else prepared_folder(output, resume=resume or not self.world.leads)
        self.records = Records(self.folder if self.world.leads else None)
        if self.folder is not None:
            self._open(resume=resume)

    @property
    def learning_rate(self) -> float:
        """The first parameter group's learning rate before the schedule's factor; setting it scales all groups."""
        return self.parts.rates[0]

    @learning_rate.setter
    def learning_rate(self, rate: float) -> None:
        check_rate("learning_rate", rate)
        scale = rate / self.parts.rates[0]
        self.parts.rates = [own * scale for own in self.parts.rates]

    @property
    def epoch(self) -> int:
        """Epochs that are complete."""
        return self.step // self.plan.steps

    def train(self, until: int | None = None, *, progress: bool = False) -> Result:
        """Train until the given step, or to the end; torch's global generators are left as they were.

        Raises
        ------
        ArgumentError
            If the folder cannot be written any more: the old checkpoint is whole.
        DataError
            If the model does not train on so few examples as a last batch or a part has.
        """
        last = self.steps if until is None else min(until, self.steps)
        shown = progress and self.world.leads
        with (
            modes_restored(self.model),
            own_randomness(self.device),
            progress_bar(self.settings.epochs, self.epoch, shown=shown) as bar,
        ):
            self._started = time.perf_counter()
            while self.status == "running" and self.step < last:
                self._run_epoch(last, bar)
            self._settle()
        if self.status == "running" and self.step == self.steps:
            self.status = "finished"
            self._save()
        if self.folder is not None and self.world.leads and self.status != "running":
            write_json(self.folder / SUMMARY, self.result().to_dict())
        return self.result()

    def result(self) -> Result:
        """Where the run stands and what it recorded so far."""
        rows = self.records.rows
        epochs, steps = (tuple(row for row in rows if row["kind"] == kind) for kind in ("epoch", "step"))
        return Result(self.status, self.step, epochs, steps)

    def state(self) -> dict[str, Any]:
        """All that the run needs to go on, as plain data and tensors: a copy, which further steps do not change."""
        return copy.deepcopy(self._live_state())

    def _live_state(self) -> dict[str, Any]:
        self._settle()
        return {
            "configuration": self._configuration,
            "step": self.step,
            "status": self.status,
            "sums": list(self.sums),
            "records": len(self.records.rows),
            **self.parts.state(),
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` gave, here or in a run with the same settings; the records stay as they are."""
        self.parts.load(dict(state))
        self.step, self.status, self.sums = state["step"], state["status"], list(state["sums"])
        if self._hits is not None:
            self._hits.forget()

    def _open(self, *, resume: bool) -> None:
        """Load the checkpoint to be resumed, if there is one, and write the configuration."""
        assert self.folder is not None
        path = self.folder / CHECKPOINT
        if resume and path.exists():
            state = read_checkpoint(path, state_classes(self.settings.optimizer))
            check_same_run(path, state["configuration"], self._configuration)
            check_same_model(path, state["model"], self.model)
            self.records.go_back(state["records"])
            self.load(state)
        else:
            if (self.folder / CONFIGURATION).exists():
                held, facts = read_configuration(self.folder, "settings", "facts")
                kept = {**{name: held.get(name) for name in self._configuration}, "facts": facts}
                check_same_run(self.folder / CONFIGURATION, kept, self._configuration)
            if self.world.leads:
                self.records.go_back(0)
        if self.world.leads:
            write_json(
                self.folder / CONFIGURATION,
                {
                    "settings": self.settings.to_dict(), "facts": self._configuration["facts"],
                    "versions": versions(), "device": str(self.device), "processes": self.world.size,
                },
            )  # fmt: skip

    def _run_epoch(self, last: int, bar: Bar | Silent) -> None:
        """Train to the end of the epoch, or until a step, or until a loss is not finite."""
        epoch, start = divmod(self.step, self.plan.steps)
        self.model.train()
        parts = parts_of(
            self.plan, self.data.train, epoch, start,
            rank=self.world.rank, world=self.world.size, accumulate=self.settings.accumulate,
        )  # fmt: skip
        self._seed_step()
        figures: list[Tensor] = []
        for part in parts:
            own = self._backward(part, first=not figures)
            figures = [a + b for a, b in zip(figures, own, strict=True)] if figures else own
            if not part.last:
                continue
            if not self._count(self._watch.push(figures, self.world)):
                return
            rate = self.parts.set_rates(self.step, self.steps)
            if not self.parts.take_step():
                self.status = "diverged"
                return
            self.step += 1
            bar.step(1 / self.plan.steps)
            if self._after_step(rate, bar) and self.step < last and self.step % self.plan.steps:
                figures = []
                self._seed_step()
            else:
                return

    def _seed_step(self) -> None:
        """Fix what dropout draws in the next step."""
        seed_everything(derived_seed(self.settings.seed, "step", self.step, self.world.rank), self.device)

    def _backward(self, part: Part, *, first: bool) -> list[Tensor]:
        """Add a part's gradients; returns the sum of its losses and, unless they are counted later, its hits."""
        inputs = self.data.train.prepared(part.inputs.to(self.device, non_blocking=True))
        targets = part.targets.to(self.device, non_blocking=True)
        if first and not self.parts.look_at(inputs):
            return [torch.full((), math.nan, device=self.device)] * (2 if self._hits is None else 1)
        with without_meeting(self.parts.forward, last=part.last):
            with self.parts.precision.autocast():
                outputs = self.parts.outputs(inputs)
                total = self.loss.total(outputs, targets)
            self.parts.precision.backward(total, self.world.size / part.size if part.counts else 0.0)
        if self._hits is not None:
            self.sums[1] += self._hits.push(outputs.detach(), targets)
            return [total.detach()]
        hits = self.loss.hits(outputs.detach(), targets)
        own = [total.detach(), torch.zeros_like(total) if hits is None else hits]
        return own if part.counts else [torch.zeros_like(figure) for figure in own]

    def _count(self, rows: Sequence[Sequence[float]]) -> bool:
        """Add the figures of steps to the epoch's; False, and the end of the run, once a loss is not finite."""
        for loss, *hits in rows:
            if self.status == "running" and not math.isfinite(loss):
                self.status = "diverged"
            if self.status == "running":
                self.sums = [self.sums[0] + loss, self.sums[1] + sum(hits)]
                self._last_loss = loss
        return self.status == "running"

    def _settle(self) -> bool:
        """Count what all steps so far left to be counted; False once a loss is not finite."""
        if self._hits is not None:
            self.sums[1] += self._hits.flush()
        return self._count(self._watch.flush())

    def _after_step(self, rate: float, bar: Bar | Silent) -> bool:
        """Record, evaluate and save where it is due; False once something was not finite."""
        every, ends = self.settings.record_every, self.step % self.plan.steps == 0 or self.step == self.steps
        if every is not None and self.step % every == 0:
            if not self._count(self._watch.flush()):
                return False
            row = {
                "kind": "step",
                "step": self.step,
                "learning_rate": rate,
                "loss": self._last_loss / self.plan.size(self.step - 1),
            }
            self.records.add({**row, **self._measured(self.each_step, rate)})
        if ends and not self._close_epoch(rate, bar):
            return False
        due = self.settings.checkpoint_every
        if (ends if due is None else self.step % due == 0) and self.step < self.steps:
            self._save()
        return self.status == "running"

    def _close_epoch(self, rate: float, bar: Bar | Silent) -> bool:
        """Evaluate, measure and record an epoch."""
        if not self._settle():
            return False
        epoch, (loss, hits) = -(-self.step // self.plan.steps), self.sums
        examples = self.plan.seen(self.step)
        row: dict[str, Any] = {"kind": "epoch", "epoch": epoch, "step": self.step, "learning_rate": rate}
        row["loss"] = loss / examples
        if self._knows_hits:
            row["accuracy"] = hits / examples
        if epoch % self.settings.evaluate_every == 0 or self.step == self.steps:
            for name, part in self.data.parts():
                if name in self.settings.evaluate:
                    figures = evaluated(
                        self.parts.called, part, self.loss, self.parts.precision, self.device, self.world,
                        self.settings.batch_size,
                    )  # fmt: skip
                    if figures is None:
                        self.status = "diverged"
                        return False
                    row[name] = figures
        row.update(self._measured(self.each_epoch, rate))
        row["seconds"] = round(time.perf_counter() - self._started, 4)
        self._started = time.perf_counter()
        self.sums = [0.0, 0.0]
        self.records.add(row)
        bar.epoch(epoch, row)
        return True

    def _measured(self, measures: Sequence[Measure], rate: float) -> dict[str, dict[str, float | None]]:
        return measured(measures, Moment(self.model, self.data, self.epoch, self.step, rate))

    def _save(self) -> None:
        """Write a checkpoint, if there is a folder; the records it counts on come first."""
        if self.folder is not None:
            state = self._live_state()
            if self.world.leads:
                self.records.keep()
                write_checkpoint(self.folder / CHECKPOINT, state)
