"""Which examples make a step: every example once an epoch, in an order of the seed and the epoch alone."""

from __future__ import annotations

import time

import torch

from qcmap.nn.train import TensorExamples
from qcmap.nn.train._batches import Plan, parts_of
from tests.nn.train.nets import blobs


def numbers(plan: Plan, epoch: int, start: int = 0, *, rank: int = 0, world: int = 1, accumulate: int = 1):
    """The parts as (numbers of examples, whether they count, whether a step follows)."""
    examples = TensorExamples(torch.arange(plan.examples)[:, None].float(), torch.zeros(plan.examples))
    parts = parts_of(plan, examples, epoch, start, rank=rank, world=world, accumulate=accumulate)
    return [(part.inputs[:, 0].int().tolist(), part.counts, part.last) for part in parts]


def test_every_example_once_an_epoch_in_another_order():
    plan = Plan(50, 8, 7, seed=3)
    orders = [[k for some, _, _ in numbers(plan, epoch) for k in some] for epoch in range(3)]
    assert all(sorted(order) == list(range(50)) for order in orders)
    assert len({tuple(order) for order in orders}) == 3
    assert orders[1] == [k for some, _, _ in numbers(plan, 1) for k in some]
    assert orders[0] != [k for some, _, _ in numbers(Plan(50, 8, 7, seed=4), 0) for k in some]
    assert numbers(plan, 2, 5) == numbers(plan, 2)[5:]
    assert [k for some, _, _ in numbers(Plan(50, 8, 7, seed=None), 4) for k in some] == list(range(50))


def test_processes_and_parts_share_a_batch():
    plan = Plan(17, 8, 3, seed=0)
    whole = [sorted(some) for some, _, _ in numbers(plan, 0)]
    shares = [numbers(plan, 0, rank=rank, world=3, accumulate=2) for rank in range(3)]
    steps = [[[]] for _ in shares]
    for own, share in zip(steps, shares, strict=True):
        for some, counts, last in share:
            own[-1] += some if counts else []
            if last:
                own.append([])
    together = zip(*(own[:-1] for own in steps), strict=True)
    assert [sorted(k for own in parts for k in own) for parts in together] == whole
    assert [[last for _, _, last in share] for share in shares] == [[False, True] * 2 + [True]] * 3


def test_examples_from_files_come_in_order_however_long_they_take():
    class Slow(TensorExamples):
        """Takes longer for some batches."""

        def batch(self, indices, uniforms):
            time.sleep(0.002 * int(indices[0] % 3))
            return super().batch(indices, uniforms)

    quick, slow = TensorExamples(*blobs(50)), Slow(*blobs(50))
    object.__setattr__(slow, "threads", 2)
    plan = Plan(50, 8, 7, seed=3)
    pairs = zip(*(parts_of(plan, e, 0, 0, rank=0, world=1, accumulate=1) for e in (quick, slow)), strict=True)
    assert all(torch.equal(a.inputs, b.inputs) for a, b in pairs)
