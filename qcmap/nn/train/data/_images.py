"""Images with labels, and how they become examples: channels first, normalised, with PLN."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from qcmap.errors import DataError
from qcmap.nn._pln import pln
from qcmap.nn.train._examples import Augmentation, Splits, TensorExamples


@dataclass(frozen=True, eq=False)
class Images:
    """Images [n, height, width, colours], bytes or numbers in [0, 1], and int64 labels [n]."""

    pixels: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, rows: slice | np.ndarray) -> Images:
        return Images(self.pixels[rows], self.labels[rows])

    def check(self, where: str, classes: int | None = None) -> None:
        """Raise `DataError`, naming where they come from, for a number of labels that is none or not that of images.

        With a number of classes, labels must be below it.
        """
        if len(self.pixels) != len(self.labels) or len(self.labels) == 0:
            rule = f"{len(self.pixels)} images do not go with {len(self.labels)} labels"
            raise DataError(where, rule, "fetch both files anew")
        if classes is not None and self.labels.max() >= classes:
            rule = f"it has a label {self.labels.max()}, but classes are 0 .. {classes - 1}"
            raise DataError(where, rule, "fetch it anew, or say official=False for other data in this format")

    def scaled(self) -> np.ndarray:
        """The pixels as float32 in [0, 1]."""
        divisor = 255 if self.pixels.dtype == np.uint8 else 1
        return (self.pixels / np.float32(divisor)).astype(np.float32)


class Normalization:
    """From images [b, colours, height, width], bytes or in [0, 1], to what a network reads.

    Colours are centred and scaled by the mean and standard deviation of the training images (DKS, 27.1), or left; then
    comes PLN, which adds a channel (10.2); then locations and channels become one axis if wanted, before PLN.
    """

    def __init__(self, mean: np.ndarray, deviation: np.ndarray, *, with_pln: bool, flat: bool) -> None:
        self.mean, self.deviation = (
            torch.from_numpy(v.astype(np.float32)).reshape(-1, 1, 1) for v in (mean, deviation)
        )
        self.with_pln, self.flat = with_pln, flat

    def __call__(self, images: Tensor) -> Tensor:
        """Float32, channels (and the one of PLN) on axis 1."""
        x = images.float() / 255 if images.dtype == torch.uint8 else images
        x = (x - self.mean.to(x)) / self.deviation.to(x)
        x = x.flatten(1) if self.flat else x
        return pln(x) if self.with_pln else x


def image_splits(
    train: Images, validation: Images | None, test: Images | None, *,
    normalize: bool, with_pln: bool, flat: bool, augmentation: Augmentation | None, facts: Mapping[str, Any],
) -> Splits:  # fmt: skip
    """Splits of images in memory, as they are; batches are normalised, and those to train on augmented."""
    colours = train.pixels.shape[3]
    mean, deviation = np.zeros(colours), np.ones(colours)
    if normalize:
        whole = train.scaled() if len(train) <= 10_000 else train[:: len(train) // 10_000].scaled()
        mean, deviation = whole.mean(axis=(0, 1, 2), dtype=np.float64), whole.std(axis=(0, 1, 2), dtype=np.float64)
    preparation = Normalization(mean, deviation, with_pln=with_pln, flat=flat)

    def examples(part: Images, change: Augmentation | None = None) -> TensorExamples:
        pixels = torch.from_numpy(part.pixels.transpose(0, 3, 1, 2).copy())
        return TensorExamples(pixels, torch.from_numpy(part.labels.copy()), change, preparation)

    held, last = (None if part is None else examples(part) for part in (validation, test))
    sizes = {name: len(part) for name, part in (("validation", validation), ("test", test)) if part is not None}
    sizes = {"train": len(train), **sizes}
    return Splits(examples(train, augmentation), held, last, {**facts, "examples": sizes})


def held_out(images: Images, count: int, where: str) -> tuple[Images, Images]:
    """All but the last ``count`` images, and those; raises `DataError` if too few are left."""
    if not 0 < count < len(images):
        raise DataError(where, f"{count} of {len(images)} training examples cannot be held out", "hold out fewer")
    return images[: len(images) - count], images[len(images) - count :]
