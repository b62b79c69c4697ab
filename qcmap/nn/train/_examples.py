"""Examples to train on and to evaluate: what a batch is, tensors in memory, and splits."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import torch
from torch import Tensor


class Examples(Protocol):
    """Examples by number. Randomness is given, so that a batch depends on nothing else."""

    @property
    def targets(self) -> Tensor:
        """One for each example: int64 classes [n], or numbers [n, ...]."""
        ...

    @property
    def draws(self) -> int:
        """How many uniform random numbers in [0, 1) an augmentation uses for one example."""
        ...

    @property
    def threads(self) -> int:
        """Batches to prepare ahead, for examples that are read from files; 0 for those in memory."""
        ...

    def __len__(self) -> int:
        """How many examples there are."""
        ...

    def batch(self, indices: Tensor, uniforms: Tensor) -> tuple[Tensor, Tensor]:
        """Inputs and targets of the examples with these numbers [b] and uniform random numbers [b, draws]."""
        ...

    def prepared(self, inputs: Tensor) -> Tensor:
        """The inputs of a batch as the model reads them, once they are on its device: normalised, say."""
        ...

    def placed(self, device: torch.device) -> Examples:
        """The same examples, on the device if they are in memory."""
        ...

    def cast(self, dtype: torch.dtype) -> Examples:
        """The same examples with floating-point inputs and targets of another type."""
        ...


@dataclass(frozen=True)
class Augmentation:
    """A random change of images: ``change(images [b, ...], uniforms [b, draws])`` gives images of any size."""

    draws: int
    change: Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class TensorExamples:
    """Examples in memory.

    Attributes
    ----------
    inputs
        [n, ...], of any type that ``preparation`` reads.
    targets
        As for `Examples`.
    augmentation
        Applied to a batch of inputs first, or None.
    preparation
        Applied to a batch of inputs last, such as a normalization, or None.
    dtype
        What prepared inputs become; their own type if None.
    """

    inputs: Tensor
    targets: Tensor
    augmentation: Augmentation | None = None
    preparation: Callable[[Tensor], Tensor] | None = None
    dtype: torch.dtype | None = None
    threads: int = field(default=0, init=False)

    @property
    def draws(self) -> int:
        """What the augmentation uses."""
        return 0 if self.augmentation is None else self.augmentation.draws

    def __len__(self) -> int:
        return len(self.targets)

    def batch(self, indices: Tensor, uniforms: Tensor) -> tuple[Tensor, Tensor]:
        """Inputs and targets, where the tensors are."""
        where = indices.to(self.targets.device)
        inputs = self.inputs.index_select(0, where)
        if self.augmentation is not None:
            inputs = self.augmentation.change(inputs, uniforms.to(inputs.device))
        return inputs, self.targets.index_select(0, where)

    def prepared(self, inputs: Tensor) -> Tensor:
        """What the preparation makes of them."""
        found = inputs if self.preparation is None else self.preparation(inputs)
        return found if self.dtype is None else found.to(self.dtype)

    def placed(self, device: torch.device) -> TensorExamples:
        """The same examples with their tensors on the device."""
        return replace(self, inputs=self.inputs.to(device), targets=self.targets.to(device))

    def cast(self, dtype: torch.dtype) -> TensorExamples:
        """The same examples in another floating-point type."""
        inputs, targets = (t.to(dtype) if t.is_floating_point() else t for t in (self.inputs, self.targets))
        return replace(self, inputs=inputs, targets=targets, dtype=dtype)


@dataclass(frozen=True)
class Splits:
    """Examples to train on, to choose by, and to report on.

    Attributes
    ----------
    train, validation, test
        Validation examples are never trained on; either of the last two may be None.
    facts
        What records say of the data: name, sizes, how they were split.
    """

    train: Examples
    validation: Examples | None = None
    test: Examples | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)

    @staticmethod
    def of_tensors(
        train: tuple[Tensor, Tensor],
        validation: tuple[Tensor, Tensor] | None = None,
        test: tuple[Tensor, Tensor] | None = None,
    ) -> Splits:
        """Splits of pairs of inputs and targets."""
        held, last = (None if part is None else TensorExamples(*part) for part in (validation, test))
        return Splits(TensorExamples(*train), held, last)

    def parts(self) -> Iterator[tuple[str, Examples]]:
        """The splits there are, by name."""
        for name in ("train", "validation", "test"):
            examples: Examples | None = getattr(self, name)
            if examples is not None:
                yield name, examples

    def changed(self, change: Callable[[Examples], Examples]) -> Splits:
        """The same splits with a change made to each."""
        return replace(self, **{name: change(examples) for name, examples in self.parts()})

    def placed(self, device: torch.device) -> Splits:
        """The same splits, in the memory of the device where they are in memory."""
        return self.changed(lambda examples: examples.placed(device))

    def cast(self, dtype: torch.dtype) -> Splits:
        """The same splits in another floating-point type."""
        return self.changed(lambda examples: examples.cast(dtype))

    def example(self) -> Tensor:
        """One prepared training input [1, ...], such as `qcmap.nn.shape` reads."""
        return first_of(self.train)[0]


def first_of(examples: Examples) -> tuple[Tensor, Tensor]:
    """The first example as a prepared batch, its augmentation in the middle of its range."""
    inputs, targets = examples.batch(torch.zeros(1, dtype=torch.int64), torch.full((1, examples.draws), 0.5))
    return examples.prepared(inputs), targets
