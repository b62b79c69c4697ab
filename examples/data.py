"""The images of experiments in three parts: scikit-learn's digits, MNIST or CIFAR-10."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

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

Base = Mapping[str, Images]
"""Images and labels by split."""
SPLITS = ("train", "validation", "test")
FILES: Mapping[str, tuple[str, Files]] = {
    "mnist": ("mnist", MNIST_FILES),
    "cifar": ("cifar-10-batches-bin", CIFAR10_FILES),
}
"""By the name of the data: where its files are, in the folder that ``--data`` names, and which they are."""
_READ: Mapping[str, Callable[..., tuple[Images, Images]]] = {
    "mnist": lambda folder, official: read_mnist(folder / "mnist", official=official),
    "cifar": lambda folder, official: read_cifar10(folder, official=official),
}


def check_files(name: str, folder: str | Path | None) -> Path:
    """The folder, if it has the official files of these data.

    Raises
    ------
    ArgumentError
        If no folder is named.
    DataError
        If a file is missing; the message says which to put where.
    """
    if not folder:
        raise ArgumentError("data", f"{name} is read from a local folder", "name it with --data")
    place, files = FILES[name]
    files.check(Path(folder) / place)
    return Path(folder)


def load(
    name: str, folder: str | Path | None, train: int, validation: int, *,
    test: int | None = None, seed: int = 0, official: bool = True,
) -> Base:  # fmt: skip
    """So many examples to train on, so many to validate, and the rest, or those of the files, to test.

    Parameters
    ----------
    name
        ``"digits"``, which the seed splits at random, ``"mnist"`` or ``"cifar"``: the first training images of the
        files and the last, whatever the seed.
    folder
        Has the files.
    test
        How many to test, the first ones; all by default.
    official
        Whether files must be those of the data sets, not others in their format.

    Raises
    ------
    ArgumentError
        If files are needed and no folder is named.
    DataError
        If a file is missing or no such file, or has too few examples.
    """
    if name == "digits":
        parts = split_digits(seed, train, validation)
    else:
        images, last = _READ[name](check_files(name, folder), official)
        if train + validation > len(images):
            rule = f"its {len(images)} training examples are too few for {train} + {validation}"
            raise DataError(name, rule, "take fewer")
        parts = images[:train], images[len(images) - validation :], last
    found = dict(zip(SPLITS, parts, strict=True))
    return {**found, "test": found["test"][:test]}
