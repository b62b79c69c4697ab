"""Domains of input and output transformations over a base data set: digits, MNIST or CIFAR-10 (NRR, appendix D)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import islice, permutations
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from qcmap.errors import ArgumentError, DataError
from qcmap.nn.train.data import (
    CIFAR10_FILES,
    MNIST_FILES,
    Files,
    Images,
    read_cifar10,
    read_mnist,
    split_digits,
)

Array: TypeAlias = NDArray[np.float32]
Labels: TypeAlias = NDArray[np.int64]

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class Base:
    """Images [examples, height, width, colours] with values in [0, 1], and labels, by split."""

    images: Mapping[str, Array]
    labels: Mapping[str, Labels]


def digits() -> Base:
    """The 1,797 digits of scikit-learn, 8 x 8: in a fixed random order, 60% to train, 20% each to validate and test."""
    return _base(dict(zip(SPLITS, split_digits(), strict=True)))


OFFICIAL: Mapping[str, Files] = {"mnist": MNIST_FILES, "cifar": CIFAR10_FILES}
"""Files by the name of the data set."""
FOLDERS = {"mnist": "mnist", "cifar": "cifar-10-batches-bin"}
"""Where they are, in the folder that ``--data`` names."""


def check_files(base: str, folder: Path) -> None:
    """Raise `DataError` unless the official files are there, saying which to put where; ``"digits"`` needs none."""
    if base in OFFICIAL:
        OFFICIAL[base].check(folder / FOLDERS[base])


def mnist(folder: Path, examples: int = 10_000) -> Base:
    """MNIST, or other data in its format, from the four files, gzipped or not, in ``folder/mnist``.

    Raises
    ------
    DataError
        If a file is missing (the message says which to put where) or is no MNIST file.
    """
    return _official(*read_mnist(folder / FOLDERS["mnist"], official=False), examples)


def cifar(folder: Path, examples: int = 10_000) -> Base:
    """CIFAR-10, or other data in its format, from the binary version in ``folder/cifar-10-batches-bin``.

    Raises
    ------
    DataError
        If a file is missing (the message says which to put where) or is no CIFAR-10 file.
    """
    return _official(*read_cifar10(folder, official=False), examples)


def _official(train: Images, test: Images, examples: int) -> Base:
    """The first examples to train, the last training examples, a fifth as many, to validate, the first to test."""
    held = max(1, examples // 5)
    if len(train) < examples + held:
        raise DataError("data", f"{len(train)} training examples are too few", f"have {examples + held} at least")
    return _base({"train": train[:examples], "validation": train[-held:], "test": test[: held * 5]})


def _base(parts: Mapping[str, Images]) -> Base:
    return Base(
        {split: images.scaled() for split, images in parts.items()},
        {split: images.labels for split, images in parts.items()},
    )


@dataclass(frozen=True)
class Domains:
    """Inputs [M, examples, channels] by split, and for each split the label of each example in each output domain.

    Labels are [examples, M]. Inputs are centred in each domain by their training mean.
    """

    inputs: Mapping[str, Array]
    labels: Mapping[str, Labels]

    @property
    def count(self) -> int:
        """M."""
        return next(iter(self.inputs.values())).shape[0]

    @property
    def channels(self) -> int:
        """Channels of an input."""
        return next(iter(self.inputs.values())).shape[2]

    @property
    def classes(self) -> int:
        """Classes, the same in each output domain."""
        return int(max(labels.max() for labels in self.labels.values())) + 1


def transformed(
    base: Base, inputs: str, labels: str, domains: int, seed: int = 0, *, turn: float = 180.0,
    encode: Callable[[Array], Array] | None = None,
) -> Domains:  # fmt: skip
    """M input domains (``"rotated"`` or ``"permuted"``) and M output domains (``"random"`` or ``"lexicographic"``).

    Rotations are by ``turn * i / M`` degrees (the text's 180; the published code turns by 270). Lexicographic
    permutations of the classes are the first M in that order, as in the published code: for M = 10 they differ in the
    last four classes, for M = 40 in the last five. ``encode`` maps transformed images to the features that are used.

    Raises
    ------
    ArgumentError
        For a transformation of another name.
    """
    if inputs not in INPUTS or labels not in LABELS:
        raise ArgumentError("inputs, labels", f"there is no {inputs}, {labels}", f"choose from {INPUTS} and {LABELS}")
    random = np.random.default_rng(seed)
    pixels = base.images["train"][0].size // base.images["train"].shape[3]
    orders = [random.permutation(pixels) for _ in range(domains)]
    classes = int(base.labels["train"].max()) + 1
    if labels == "random":
        table = np.stack([random.permutation(classes) for _ in range(domains)])
    else:
        table = np.array(list(islice(permutations(range(classes)), domains)))

    def moved(images: Array, i: int) -> Array:
        if inputs == "permuted":
            flat = images.reshape(len(images), pixels, images.shape[3])
            return flat[:, orders[i]].reshape(images.shape)
        from scipy.ndimage import rotate

        return np.asarray(rotate(images, turn * i / domains, axes=(1, 2), reshape=False, order=1), dtype=np.float32)

    def features(images: Array, i: int) -> Array:
        changed = moved(images, i)
        return (changed if encode is None else encode(changed)).reshape(len(images), -1)

    found = {split: np.stack([features(images, i) for i in range(domains)]) for split, images in base.images.items()}
    mean = found["train"].mean(axis=1, keepdims=True)
    return Domains(
        {split: (x - mean).astype(np.float32) for split, x in found.items()},
        {split: table[:, y].T.astype(np.int64) for split, y in base.labels.items()},
    )


INPUTS = ("rotated", "permuted")
LABELS = ("random", "lexicographic")
