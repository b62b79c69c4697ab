"""Files of data sets: where they should be, whether they are whole, and whether they are the official ones."""

from __future__ import annotations

import gzip
import hashlib
import zlib
from dataclasses import dataclass
from pathlib import Path

from qcmap.errors import DataError


@dataclass(frozen=True)
class Files:
    """The official files of a data set.

    Attributes
    ----------
    names
        What they are called.
    packed
        Whether each may have the ending ``.gz`` as well.
    remedy
        What to do if some are missing, with ``{names}`` and ``{folder}`` to fill in.
    """

    names: tuple[str, ...]
    packed: bool
    remedy: str

    def check(self, folder: Path) -> None:
        """Raise `DataError` unless all are in the folder, saying which to put where."""
        endings = ("", ".gz") if self.packed else ("",)
        missing = [name for name in self.names if not any((folder / f"{name}{ending}").exists() for ending in endings)]
        if missing:
            remedy = self.remedy.format(names=", ".join(missing), folder=folder)
            raise DataError(str(folder / missing[0]), "it is not there", remedy)


def read_file(path: Path) -> bytes:
    """The bytes of a file, unpacked if its name ends in ``.gz``; raises `DataError` if that cannot be done."""
    try:
        raw = path.read_bytes()
        return gzip.decompress(raw) if path.suffix == ".gz" else raw
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(str(path), f"it cannot be read, it may be truncated ({error})", "fetch it anew") from error


def check_official(path: Path, size: int, md5: str | None) -> None:
    """Raise `DataError` unless a file has the official size, and the official hash where there is one."""
    found = path.stat().st_size
    if found != size:
        rule = f"it has {found} bytes, but the official file has {size}"
        raise DataError(str(path), rule, "fetch it anew, or say official=False for other data in this format")
    if md5 is not None:
        with open(path, "rb") as stream:
            digest = hashlib.file_digest(stream, "md5").hexdigest()
        if digest != md5:
            rule = f"its MD5 hash is {digest}, but that of the official file is {md5}"
            raise DataError(str(path), rule, "fetch it anew, or say official=False for other data in this format")
