"""CIFAR-10 from its official binary version."""

from __future__ import annotations

import io
import tarfile
import zlib
from pathlib import Path

import numpy as np

from qcmap.errors import DataError
from qcmap.nn.train.data._files import Files, check_official, read_file
from qcmap.nn.train.data._images import Images

FOLDER, ARCHIVE = "cifar-10-batches-bin", "cifar-10-binary.tar.gz"
CIFAR10_FILES = Files(
    (*(f"data_batch_{k}.bin" for k in range(1, 6)), "test_batch.bin"), False,
    f"unpack the official {ARCHIVE} beside it, so that {{folder}} has {{names}}",
)  # fmt: skip
_RECORD = 1 + 3 * 32 * 32
_ARCHIVE = (170052171, "c32a1d4ab5d03f1284b67883e8d87530")
_BATCH = 10000 * _RECORD


def read_cifar10(folder: Path, *, official: bool = True) -> tuple[Images, Images]:
    """Training and test images [n, 32, 32, 3] and labels, from the six batches or the archive that has them.

    Parameters
    ----------
    folder
        Has ``cifar-10-batches-bin`` or else ``cifar-10-binary.tar.gz``.
    official
        Whether the archive must have the official size and hash, and the unpacked batches their official sizes.

    Raises
    ------
    DataError
        If a file is missing (the message says which to put where), truncated or no CIFAR-10 file.
    """
    archive = folder / ARCHIVE
    if not (folder / FOLDER).exists() and archive.exists():
        if official:
            check_official(archive, *_ARCHIVE)
        parts = [(f"{archive}: {name}", raw) for name, raw in _unpacked(archive)]
    else:
        CIFAR10_FILES.check(folder / FOLDER)
        paths = [folder / FOLDER / name for name in CIFAR10_FILES.names]
        parts = [(str(path), read_file(path)) for path in paths]
        if official:
            for path in paths:
                check_official(path, _BATCH, None)
    batches = [_batch(where, raw) for where, raw in parts]
    images, labels = (np.concatenate(arrays) for arrays in zip(*batches[:-1], strict=True))
    train, test = Images(images, labels), Images(*batches[-1])
    for part in (train, test):
        part.check(str(folder), 10 if official else None)
    return train, test


def _unpacked(archive: Path) -> list[tuple[str, bytes]]:
    try:
        raw = io.BytesIO(read_file(archive))
        with tarfile.open(fileobj=raw) as files:
            found = {name: files.extractfile(f"{FOLDER}/{name}") for name in CIFAR10_FILES.names}
            return [(name, stream.read()) for name, stream in found.items() if stream is not None]
    except (tarfile.TarError, KeyError, EOFError, zlib.error) as error:
        raise DataError(str(archive), f"it cannot be unpacked ({error})", "fetch it anew") from error


def _batch(where: str, raw: bytes) -> tuple[np.ndarray, np.ndarray]:
    if len(raw) == 0 or len(raw) % _RECORD:
        raise DataError(
            where, f"it is no CIFAR-10 batch of {_RECORD}-byte records, or a truncated one", "unpack it anew"
        )
    rows = np.frombuffer(raw, dtype=np.uint8).reshape(-1, _RECORD)
    return rows[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1), rows[:, 0].astype(np.int64)
