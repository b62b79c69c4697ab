"""The data sets by name, with their options."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch

from qcmap.errors import ArgumentError, DataError
from qcmap.nn._random import generator_from
from qcmap.nn.train._choice import Choice, check_options, unknown
from qcmap.nn.train._examples import Splits
from qcmap.nn.train.data._augment import crop_and_mirror
from qcmap.nn.train.data._cifar10 import read_cifar10
from qcmap.nn.train.data._digits import split_digits
from qcmap.nn.train.data._imagenet import DEVIATION, MEAN, FolderExamples, image_files
from qcmap.nn.train.data._images import Images, Normalization, held_out, image_splits
from qcmap.nn.train.data._mnist import read_mnist
from qcmap.nn.train.data._teacher import teacher_splits


def digits(*, pln: bool = True, flat: bool = True, seed: int = 0, train: int | None = None) -> Splits:
    """scikit-learn's digits, 64 channels flat or one channel of 8 x 8: 60%, 20% and 20% in an order of the seed.

    PLN adds a channel. ``train`` is how many of the first training examples to use; all if None.
    """
    first, second, third = split_digits(seed)
    return image_splits(
        _some(first, train, "digits"), second, third,
        normalize=False, with_pln=pln, flat=flat, augmentation=None, facts={"data": "digits"},
    )  # fmt: skip


def mnist(
    *, folder: str, official: bool = True, pln: bool = True, flat: bool = True, validation: int = 10_000,
    train: int | None = None,
) -> Splits:  # fmt: skip
    """MNIST from a folder with its four files; the last training examples are held out to validate."""
    rest, test = read_mnist(Path(folder), official=official)
    first, held = held_out(rest, validation, "data.validation")
    return image_splits(
        _some(first, train, folder), held, test,
        normalize=True, with_pln=pln, flat=flat, augmentation=None, facts={"data": "mnist"},
    )  # fmt: skip


def cifar10(
    *, folder: str, official: bool = True, pln: bool = True, flat: bool = False, validation: int = 5_000,
    augment: bool = False, train: int | None = None,
) -> Splits:  # fmt: skip
    """CIFAR-10 from a folder with its binary version; the last training examples are held out to validate.

    Colours are centred and scaled (DKS, 27.1); ``augment`` shifts by up to four pixels and mirrors.
    """
    rest, test = read_cifar10(Path(folder), official=official)
    first, held = held_out(rest, validation, "data.validation")
    return image_splits(
        _some(first, train, folder), held, test,
        normalize=True, with_pln=pln, flat=flat, augmentation=crop_and_mirror() if augment else None,
        facts={"data": "cifar10"},
    )  # fmt: skip


def imagenet(
    *, folder: str, official: bool = True, pln: bool = True, size: int = 224, validation: int = 10_000, seed: int = 0
) -> Splits:
    """ImageNet from ``folder/train/CLASS/`` and ``folder/val/CLASS/``, cropped and mirrored at random (DKS, 27.1).

    The paper holds out the last 10,000 training images of an order it does not give; here they are drawn at random with
    the seed. Its usual validation images are the test images.
    """
    generator_from(seed)
    if size < 1:
        raise ArgumentError("data.size", f"it must be positive, not {size}", "give e.g. 224")
    preparation = Normalization(MEAN, DEVIATION, with_pln=pln, flat=False)
    paths, labels = image_files(Path(folder), "train", official=official)
    if not 0 < validation < len(paths):
        rule = f"{validation} of {len(paths)} training images cannot be held out"
        raise DataError("data.validation", rule, "hold out fewer")
    order = np.random.default_rng(seed).permutation(len(paths))

    def part(rows: np.ndarray, *, random: bool) -> FolderExamples:
        chosen = tuple(paths[row] for row in rows)
        return FolderExamples(chosen, torch.tensor([labels[row] for row in rows]), size, random, preparation)

    last, numbers = image_files(Path(folder), "val", official=official)
    return Splits(
        part(np.sort(order[validation:]), random=True),
        part(np.sort(order[:validation]), random=False),
        FolderExamples(tuple(last), torch.tensor(numbers), size, False, preparation),
        {
            "data": "imagenet",
            "examples": {"train": len(paths) - validation, "validation": validation, "test": len(last)},
        },
    )


def teacher(
    *, examples: int = 1024, channels: int = 32, outputs: int = 10, depth: int = 2, width: int = 64,
    activation: str = "tanh", classes: bool = True, seed: int = 0, pln: bool = True,
) -> Splits:  # fmt: skip
    """Gaussian inputs with the outputs of a random MLP, or the class of the largest; PLN adds a channel."""
    splits = teacher_splits(
        examples=examples, channels=channels, outputs=outputs, depth=depth, width=width, activation=activation,
        classes=classes, seed=seed, with_pln=pln,
    )  # fmt: skip
    return Splits(splits.train, splits.validation, splits.test, {"data": "teacher"})


DATASETS: Mapping[str, Callable[..., Splits]] = {
    row.__name__: row for row in (digits, mnist, cifar10, imagenet, teacher)
}
"""By name: from keyword arguments, the options of a configuration, to splits."""


def load_data(choice: Choice) -> Splits:
    """The splits of a data set by name, with options.

    Raises
    ------
    ArgumentError
        For an unknown data set or option (the message says the nearest), or a value of another type.
    DataError
        If files are missing (the message says which to put where), truncated or not the official ones.
    """
    if choice.name not in DATASETS:
        raise unknown("data", choice.name, DATASETS, "data set")
    check_options("data", DATASETS[choice.name], choice.options.items())
    return DATASETS[choice.name](**choice.options)


def _some(images: Images, count: int | None, where: str) -> Images:
    if count is None:
        return images
    if not 0 < count <= len(images):
        raise DataError(where, f"there are {len(images)} training examples, not {count}", "ask for fewer")
    return images[:count]
