"""MNIST from its four official files, and other data in the same format."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from qcmap.errors import DataError
from qcmap.nn.train.data._files import Files, check_official, read_file
from qcmap.nn.train.data._images import Images

_PACKED = {
    "train-images-idx3-ubyte": (9912422, "f68b3c2dcbeaaa9fbdd348bbdeb94873"),
    "train-labels-idx1-ubyte": (28881, "d53e105ee54ea40749a09fcbcd1e9432"),
    "t10k-images-idx3-ubyte": (1648877, "9fb629c4189551a2d022fa330f9573f3"),
    "t10k-labels-idx1-ubyte": (4542, "ec29112dd5afa0611ce80d1b7f02629c"),
}
"""Sizes and MD5 hashes of the gzipped files."""
MNIST_FILES = Files(
    tuple(_PACKED), True, "put the official {names} of MNIST (or these with the ending .gz) into {folder}"
)
_UNPACKED = {
    "train-images-idx3-ubyte": 16 + 60000 * 784,
    "train-labels-idx1-ubyte": 8 + 60000,
    "t10k-images-idx3-ubyte": 16 + 10000 * 784,
    "t10k-labels-idx1-ubyte": 8 + 10000,
}


def read_mnist(folder: Path, *, official: bool = True) -> tuple[Images, Images]:
    """Training and test images [n, 28, 28, 1] and labels, from the four files, gzipped or not, in a folder.

    Parameters
    ----------
    folder
        Where the files are, under their official names.
    official
        Whether sizes and, of gzipped files, hashes must be those of MNIST. Without it other data in the format are
        read too.

    Raises
    ------
    DataError
        If a file is missing (the message says which to put where), truncated or no MNIST file.
    """
    MNIST_FILES.check(folder)
    train, test = (
        Images(
            _read(folder, f"{kind}-images-idx3-ubyte", 3, official=official)[..., None],
            _read(folder, f"{kind}-labels-idx1-ubyte", 1, official=official).astype(np.int64),
        )
        for kind in ("train", "t10k")
    )
    for images in (train, test):
        images.check(str(folder), 10 if official else None)
    return train, test


def _read(folder: Path, name: str, axes: int, *, official: bool) -> np.ndarray:
    """The bytes of a file with so many axes; four bytes say type and axes, four the size of each axis."""
    path = folder / name
    if not path.exists():
        path = folder / f"{name}.gz"
    raw = read_file(path)
    if official:
        check_official(path, *(_PACKED[name] if path.suffix == ".gz" else (_UNPACKED[name], None)))
    header = 4 + 4 * axes
    shape = np.frombuffer(raw[4:header], dtype=">i4") if len(raw) >= header else np.zeros(0, int)
    if len(shape) != axes or len(raw) != header + int(np.prod(shape)) or raw[:4] != bytes((0, 0, 8, axes)):
        raise DataError(str(path), "it is no MNIST file of bytes, or a truncated one", "fetch it anew")
    return np.frombuffer(raw, dtype=np.uint8, offset=header).reshape(shape)
