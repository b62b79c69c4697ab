"""Domains of input and output transformations over a base data set: digits, MNIST or CIFAR-10 (NRR, appendix D)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import islice, permutations
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from examples.data import Base, load
from qcmap.errors import ArgumentError

Array: TypeAlias = NDArray[np.float32]
Labels: TypeAlias = NDArray[np.int64]


def images(name: str, folder: str | Path | None = None, examples: int = 10_000) -> Base:
    """The 1,797 digits, 60% of them to train, 20% each to validate and test; or data of files.

    Of files, the first ``examples`` are to train, the last, a fifth as many, to validate, and as many as to train to
    test; they need not be the official ones.
    """
    if name == "digits":
        return load(name, None, 1078, 360)
    held = max(1, examples // 5)
    return load(name, folder, examples, held, test=5 * held, official=False)


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
    random, scaled = np.random.default_rng(seed), {split: part.scaled() for split, part in base.items()}
    pixels = scaled["train"][0].size // scaled["train"].shape[3]
    orders = [random.permutation(pixels) for _ in range(domains)]
    classes = int(base["train"].labels.max()) + 1
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

    found = {split: np.stack([features(x, i) for i in range(domains)]) for split, x in scaled.items()}
    mean = found["train"].mean(axis=1, keepdims=True)
    return Domains(
        {split: (x - mean).astype(np.float32) for split, x in found.items()},
        {split: table[:, part.labels].T.astype(np.int64) for split, part in base.items()},
    )


INPUTS = ("rotated", "permuted")
LABELS = ("random", "lexicographic")
