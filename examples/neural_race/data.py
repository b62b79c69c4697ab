"""Domains of input and output transformations over a base data set: digits, MNIST or CIFAR-10 (NRR, appendix D)."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import islice, permutations
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from qcmap.errors import ArgumentError, DataError

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
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    images = (np.asarray(images) / 16).reshape(-1, 8, 8, 1).astype(np.float32)
    order = np.random.default_rng(0).permutation(len(images))
    parts = dict(zip(SPLITS, np.split(order, [round(0.6 * len(order)), round(0.8 * len(order))]), strict=True))
    return Base(
        {split: images[part] for split, part in parts.items()},
        {split: np.asarray(labels)[part].astype(np.int64) for split, part in parts.items()},
    )


@dataclass(frozen=True)
class Files:
    """The official files of a data set.

    Attributes
    ----------
    folder
        Where they are, in the folder that ``--data`` names.
    names
        What they are called.
    packed
        Whether each may have the ending ``.gz`` as well.
    remedy
        What to do if some are missing, with ``{names}`` and ``{folder}`` to fill in.
    """

    folder: str
    names: tuple[str, ...]
    packed: bool
    remedy: str


OFFICIAL: Mapping[str, Files] = {
    "mnist": Files(
        "mnist",
        tuple(f"{kind}-{what}" for kind in ("train", "t10k") for what in ("images-idx3-ubyte", "labels-idx1-ubyte")),
        True,
        "put the official {names} of MNIST (or these with the ending .gz) into {folder}",
    ),
    "cifar": Files(
        "cifar-10-batches-bin",
        (*(f"data_batch_{k}.bin" for k in range(1, 6)), "test_batch.bin"),
        False,
        "unpack the official cifar-10-binary.tar.gz beside it, so that {folder} has {names}",
    ),
}
"""By the name of the data set."""


def check_files(base: str, folder: Path) -> None:
    """Raise `DataError` unless the official files are there, saying which to put where; ``"digits"`` needs none."""
    if base not in OFFICIAL:
        return
    files = OFFICIAL[base]
    where = folder / files.folder
    endings = ("", ".gz") if files.packed else ("",)
    missing = [name for name in files.names if not any((where / f"{name}{ending}").exists() for ending in endings)]
    if missing:
        remedy = files.remedy.format(names=", ".join(missing), folder=where)
        raise DataError(str(where / missing[0]), "it is not there", remedy)


def mnist(folder: Path, examples: int = 10_000) -> Base:
    """MNIST from the four official files, gzipped or not, in ``folder/mnist``.

    Raises
    ------
    DataError
        If a file is missing (the message says which to put where) or is no MNIST file.
    """
    check_files("mnist", folder)

    def read(name: str, header: int) -> NDArray[np.uint8]:
        path = folder / OFFICIAL["mnist"].folder / name
        packed = path.with_name(f"{name}.gz")
        try:
            raw = path.read_bytes() if path.exists() else gzip.decompress(packed.read_bytes())
        except (OSError, EOFError) as error:
            raise DataError(str(packed), f"it cannot be read ({error})", "fetch it anew") from error
        shape = np.frombuffer(raw[4:header], dtype=">i4")
        if len(raw) != header + int(np.prod(shape)) or raw[:4] != bytes((0, 0, 8, len(shape))):
            raise DataError(str(path), "it is no MNIST file of bytes", "fetch it anew")
        return np.frombuffer(raw, dtype=np.uint8, offset=header).reshape(shape)

    arrays = {
        kind: (read(f"{kind}-images-idx3-ubyte", 16)[..., None], read(f"{kind}-labels-idx1-ubyte", 8))
        for kind in ("train", "t10k")
    }
    return _official(arrays["train"], arrays["t10k"], examples)


def cifar(folder: Path, examples: int = 10_000) -> Base:
    """CIFAR-10 from the official binary version, in ``folder/cifar-10-batches-bin``.

    Raises
    ------
    DataError
        If a file is missing (the message says which to put where) or is no CIFAR-10 file.
    """
    check_files("cifar", folder)

    def read(name: str) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        path = folder / OFFICIAL["cifar"].folder / name
        raw = np.frombuffer(path.read_bytes(), dtype=np.uint8)
        if len(raw) == 0 or len(raw) % 3073:
            raise DataError(str(path), "it is no CIFAR-10 batch of 3073-byte records", "unpack it anew")
        rows = raw.reshape(-1, 3073)
        return rows[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1), rows[:, 0]

    batches = [read(f"data_batch_{k}.bin") for k in range(1, 6)]
    images, labels = (np.concatenate(parts) for parts in zip(*batches, strict=True))
    return _official((images, labels), read("test_batch.bin"), examples)


def _official(train: tuple[NDArray[np.uint8], ...], test: tuple[NDArray[np.uint8], ...], examples: int) -> Base:
    """The first examples to train, the last training examples, a fifth as many, to validate, the first to test."""
    held = max(1, examples // 5)
    if len(train[0]) < examples + held:
        raise DataError("data", f"{len(train[0])} training examples are too few", f"have {examples + held} at least")
    parts = {
        "train": (train, slice(examples)),
        "validation": (train, slice(-held, None)),
        "test": (test, slice(held * 5)),
    }
    return Base(
        {split: (source[0][rows] / np.float32(255)).astype(np.float32) for split, (source, rows) in parts.items()},
        {split: source[1][rows].astype(np.int64) for split, (source, rows) in parts.items()},
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
