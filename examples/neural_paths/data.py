"""The data of the experiments as tensors: whole, two classes of them, with random labels or pixels."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from examples.data import Base
from qcmap.nn.train import Splits

Part = tuple[Tensor, Tensor]


def tensors(base: Base, *, flat: bool) -> dict[str, Part]:
    """Images [n, pixels] or [n, colours, height, width], centred by the training mean, and labels, by split."""
    mean = base["train"].scaled().mean(axis=0)
    found = {}
    for split, images in base.items():
        x = torch.tensor(images.scaled() - mean).permute(0, 3, 1, 2)
        found[split] = (x.flatten(1) if flat else x.contiguous(), torch.tensor(images.labels))
    return found


def random_labels(parts: Mapping[str, Part], seed: int) -> dict[str, Part]:
    """The same inputs, each with a class drawn at random."""
    random = torch.Generator().manual_seed(seed)
    classes = int(parts["train"][1].max()) + 1
    return {split: (x, torch.randint(classes, y.shape, generator=random)) for split, (x, y) in parts.items()}


def random_pixels(parts: Mapping[str, Part], seed: int) -> dict[str, Part]:
    """The pixels of each input [n, pixels] in a random order of its own."""
    random = torch.Generator().manual_seed(seed)
    found = {}
    for split, (x, y) in parts.items():
        order = torch.rand(x.shape, generator=random).argsort(dim=1)
        found[split] = (x.gather(1, order), y)
    return found


def two_classes(parts: Mapping[str, Part], negative: int = 4, positive: int = 7) -> dict[str, Part]:
    """The examples of two classes with the numbers -1 and +1 [n, 1]: "Binary"-MNIST of both papers is 4 against 7."""
    found = {}
    for split, (x, y) in parts.items():
        rows = (y == negative) | (y == positive)
        found[split] = (x[rows], torch.where(y[rows] == positive, 1.0, -1.0)[:, None])
    return found


def balanced(part: Part, each: int) -> Part:
    """The first examples of each class, so many of each; fewer where there are not as many."""
    x, y = part
    flat = y.reshape(len(y))
    rows = torch.cat([torch.nonzero(flat == label)[:each, 0] for label in flat.unique()])
    return x[rows], y[rows]


def splits(parts: Mapping[str, Part]) -> Splits:
    """For the training engine."""
    return Splits.of_tensors(parts["train"], validation=parts["validation"], test=parts["test"])
