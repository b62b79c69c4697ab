"""Mean loss and accuracy of a model on examples, in evaluation mode."""

from __future__ import annotations

import math

import torch
from torch import nn

from qcmap.nn._modes import modes_restored
from qcmap.nn.train._batches import Plan, parts_of
from qcmap.nn.train._distributed import World
from qcmap.nn.train._examples import Examples
from qcmap.nn.train._losses import Loss
from qcmap.nn.train._precision import Precision

_BATCH = 1024
"""Examples at once for those in memory; those from files are large, and have the batch of training."""


@torch.no_grad()
def evaluated(
    model: nn.Module, examples: Examples, loss: Loss, precision: Precision, device: torch.device, world: World,
    batch_size: int,
) -> dict[str, float] | None:  # fmt: skip
    """``loss`` and ``accuracy`` (if the loss knows hits), means over all examples; None if an output is not finite.

    Augmentations are as in training; give examples without. Each process computes its share.
    """
    size = batch_size if examples.threads else _BATCH * world.size
    plan = Plan(len(examples), size, -(-len(examples) // size), None)
    sums = torch.zeros(3, dtype=torch.float64, device=device)
    counted = False
    with modes_restored(model):
        model.eval()
        for part in parts_of(plan, examples, 0, 0, rank=world.rank, world=world.size, accumulate=1):
            inputs, targets = examples.prepared(part.inputs.to(device)), part.targets.to(device)
            with precision.autocast():
                outputs = model(inputs)
                total = loss.total(outputs, targets)
            hits = loss.hits(outputs, targets)
            counted = hits is not None
            finite = torch.isfinite(outputs).all() & torch.isfinite(total)
            if part.counts:
                sums += torch.stack(
                    [total.double(), (hits if hits is not None else total).double(), (~finite).double()]
                )
    total, hits_sum, broken = world.summed(sums).tolist()
    if broken or not math.isfinite(total):
        return None
    row = {"loss": total / len(examples)}
    return {**row, "accuracy": hits_sum / len(examples)} if counted else row
