"""Which examples make a step, and in which order: functions of the seed and the step, so that a run can go on anywhere.

Nothing here remembers anything. The order of an epoch, the random numbers of an augmentation and the seed of dropout
come from the run's seed and the number of the epoch or step, hashed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from qcmap.nn.train._examples import Examples
from qcmap.nn.train._randomness import derived_seed

_NONE = torch.empty(1, 0)


@dataclass(frozen=True)
class Plan:
    """How an epoch is cut into steps.

    Attributes
    ----------
    examples, batch_size
        How many examples there are, and how many a step has.
    steps
        Steps of an epoch.
    seed
        Of the order and of augmentations; None for the examples' own order.
    """

    examples: int
    batch_size: int
    steps: int
    seed: int | None

    def size(self, step: int) -> int:
        """Examples of a step, counted from 0."""
        return min(self.batch_size, self.examples - step % self.steps * self.batch_size)

    def seen(self, step: int) -> int:
        """Examples that the epoch has used after so many steps, one at least."""
        return min(self.examples, ((step - 1) % self.steps + 1) * self.batch_size)

    def order(self, epoch: int) -> Tensor:
        """A random order of the examples, another one each epoch (from 0)."""
        if self.seed is None:
            return torch.arange(self.examples)
        source = torch.Generator().manual_seed(derived_seed(self.seed, "order", epoch))
        return torch.randperm(self.examples, generator=source)

    def uniforms(self, step: int, count: int, draws: int) -> Tensor:
        """The random numbers [count, draws] that the augmentations of a step use."""
        if draws == 0:
            return _NONE.expand(count, 0)
        source = torch.Generator().manual_seed(derived_seed(self.seed, "augmentation", step))
        return torch.rand(count, draws, generator=source)


class Part(NamedTuple):
    """A part of a step's batch on this process.

    Attributes
    ----------
    inputs, targets
        The examples.
    counts
        False for an example that only fills an empty share and must not count.
    last
        Whether the step is taken after this part.
    size
        Examples of the whole batch, all parts and processes together.
    """

    inputs: Tensor
    targets: Tensor
    counts: bool
    last: bool
    size: int


def parts_of(
    plan: Plan, examples: Examples, epoch: int, start: int, *, rank: int, world: int, accumulate: int
) -> Iterator[Part]:
    """The parts of an epoch's batches that this process computes, from the batch with number ``start`` on.

    Process r of w has examples r, r + w, ... of each batch. The random numbers of an example do not depend on how many
    processes there are.
    """
    requests = _requests(plan, examples.draws, epoch, start, rank=rank, world=world, accumulate=accumulate)
    if examples.threads == 0:
        for request in requests:
            inputs, targets = examples.batch(request.indices, request.uniforms)
            yield Part(inputs, targets, request.counts, request.last, request.size)
        return
    with ThreadPoolExecutor(1) as pool:
        ahead: deque[tuple[_Request, Future[tuple[Tensor, Tensor]]]] = deque()
        for request in requests:
            ahead.append((request, pool.submit(examples.batch, request.indices, request.uniforms)))
            if len(ahead) > examples.threads:
                yield _finished(*ahead.popleft())
        while ahead:
            yield _finished(*ahead.popleft())


class _Request(NamedTuple):
    """A `Part` before its examples are read."""

    indices: Tensor
    uniforms: Tensor
    counts: bool
    last: bool
    size: int


def _requests(
    plan: Plan, draws: int, epoch: int, start: int, *, rank: int, world: int, accumulate: int
) -> Iterator[_Request]:
    batches = plan.order(epoch).split(plan.batch_size)[start : plan.steps]
    for batch, indices in enumerate(batches, start=start):
        size = len(indices)
        uniforms = plan.uniforms(epoch * plan.steps + batch, size, draws)
        if world == accumulate == 1:
            yield _Request(indices, uniforms, True, True, size)
            continue
        share, drawn = indices[rank::world], uniforms[rank::world]
        counts = len(share) > 0
        if not counts:
            share, drawn = indices[:1], uniforms[:1]
        cuts = max(1, min(accumulate, size // world))  # as many on each process, which may have to meet
        pieces = list(zip(share.tensor_split(cuts), drawn.tensor_split(cuts), strict=True))
        for k, (some, random) in enumerate(pieces, start=1):
            yield _Request(some, random, counts, k == cuts, size)


def _finished(request: _Request, read: Future[tuple[Tensor, Tensor]]) -> Part:
    inputs, targets = read.result()
    return Part(inputs, targets, request.counts, request.last, request.size)
