"""Files in the formats of MNIST and CIFAR-10, with few random images."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np

from qcmap.nn.train.data import CIFAR10_FILES


def idx(array: np.ndarray) -> bytes:
    """In the format of MNIST."""
    return struct.pack(f">BBBB{array.ndim}i", 0, 0, 8, array.ndim, *array.shape) + array.astype(np.uint8).tobytes()


def write_mnist(folder: Path, counts: tuple[int, int]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Four files; so many images to train and to test, labels 0, 1, ..., 9, 0, ..."""
    random, found = np.random.default_rng(0), {}
    folder.mkdir(exist_ok=True)
    for kind, count in zip(("train", "t10k"), counts, strict=True):
        found[kind] = images, labels = random.integers(0, 256, (count, 28, 28)), np.arange(count) % 10
        (folder / f"{kind}-images-idx3-ubyte").write_bytes(idx(images))
        (folder / f"{kind}-labels-idx1-ubyte").write_bytes(idx(labels))
    return found


def write_cifar10(folder: Path, counts: tuple[int, ...]) -> list[np.ndarray]:
    """Six batches of so many records in ``folder/cifar-10-batches-bin``; the last to test."""
    random, found = np.random.default_rng(0), []
    folder = folder / "cifar-10-batches-bin"
    folder.mkdir()
    for name, count in zip(CIFAR10_FILES.names, counts, strict=True):
        rows = random.integers(0, 256, (count, 3073)).astype(np.uint8)
        rows[:, 0] %= 10
        (folder / name).write_bytes(rows.tobytes())
        found.append(rows)
    return found
