"""The data of the experiments: digits, MNIST or CIFAR-10, whole, two classes of it, with random labels or pixels."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from qcmap.errors import ArgumentError
from qcmap.nn.train import Splits
from qcmap.nn.train.data import Images, read_cifar10, read_digits, read_mnist

Part = tuple[Tensor, Tensor]
Base = Mapping[str, Images]
SPLITS = ("train", "validation", "test")


def digits(folder: str | None, seed: int, train: int, validation: int) -> Base:
    """The 1,797 digits of scikit-learn, split at random by the seed; the rest of them is the test set."""
    images = read_digits()
    order = np.random.default_rng(seed).permutation(len(images))
    parts = np.split(order, [train, train + validation])
    return {split: images[part] for split, part in zip(SPLITS, parts, strict=True)}


def from_files(
    read: Callable[[Path], tuple[Images, Images]], name: str = ""
) -> Callable[[str | None, int, int, int], Base]:
    """Data of a folder: the first training images to train on, the last to validate; the same for all seeds.

    ``read`` gets the folder of this name in it, or the folder itself.
    """

    def base(folder: str | None, seed: int, train: int, validation: int) -> Base:
        if folder is None:
            raise ArgumentError("data", "paper size reads MNIST and CIFAR-10 from a folder", "name it with --data")
        images, test = read(Path(folder) / name)
        if train + validation > len(images):
            rule = f"{train} + {validation} examples are more than its {len(images)} to train on"
            raise ArgumentError("data", rule, "take fewer")
        return {"train": images[:train], "validation": images[-validation:], "test": test}

    return base


BASES: Mapping[str, Callable[[str | None, int, int, int], Base]] = {
    "digits": digits,
    "mnist": from_files(read_mnist, "mnist"),
    "cifar": from_files(read_cifar10),
}
"""From a folder, a seed, and the numbers of training and validation examples."""


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
