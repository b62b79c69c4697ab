"""What a run writes down: JSON lines, its configuration with versions, and a summary, in one folder."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from qcmap._atomic import write_whole
from qcmap.errors import ArgumentError, DataError
from qcmap.nn.train._choice import plain

CONFIGURATION, RECORDS, CHECKPOINT, SUMMARY = "configuration.json", "records.jsonl", "checkpoint.pt", "summary.json"


def versions() -> dict[str, str]:
    """The versions of what a run's numbers depend on."""
    from qcmap import __version__

    return {
        "qcmap": __version__,
        "torch": torch.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
    }


def finite(number: float) -> float | None:
    """The number, or None for what JSON has no word for."""
    value = float(number)
    return value if np.isfinite(value) else None


class Records:
    """Rows in memory and, with a folder, lines of ``records.jsonl`` as well, each written as it comes."""

    def __init__(self, folder: Path | None) -> None:
        self.path = None if folder is None else folder / RECORDS
        self.rows: list[dict[str, Any]] = []

    def add(self, row: Mapping[str, Any]) -> None:
        """Append a row; raises `ArgumentError`, naming the file, if it cannot be written."""
        self.rows.append(dict(row))
        if self.path is not None:
            try:
                with open(self.path, "a") as stream:
                    stream.write(json.dumps(row, allow_nan=False) + "\n")
            except OSError as error:
                raise _unwritable(self.path, error) from error

    def keep(self) -> None:
        """See to it that all rows so far are on the disk, for a checkpoint counts on them."""
        if self.path is not None and self.path.exists():
            try:
                with open(self.path, "a") as stream:
                    os.fsync(stream.fileno())
            except OSError as error:
                raise _unwritable(self.path, error) from error

    def go_back(self, count: int) -> None:
        """Read the first ``count`` rows from the file, and take away what was written after them.

        Raises
        ------
        DataError
            If the file has fewer, or is no file of records.
        """
        if self.path is None:
            self.rows = self.rows[:count]
            return
        try:
            lines = self.path.read_text().splitlines()[:count] if self.path.exists() else []
            self.rows = [json.loads(line) for line in lines]
        except (OSError, ValueError) as error:
            raise DataError(str(self.path), f"it cannot be read ({error})", "start the run anew elsewhere") from error
        if len(self.rows) < count:
            rule = f"it has {len(self.rows)} lines, but the checkpoint was made after {count}"
            raise DataError(str(self.path), rule, "start the run anew in another folder")
        write_whole(self.path, "".join(f"{line}\n" for line in lines).encode())


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON file whole or not at all."""
    write_whole(path, (json.dumps(plain(content), indent=1, allow_nan=False) + "\n").encode())


def read_configuration(folder: Path, *parts: str) -> list[dict[str, Any]]:
    """These mappings of the configuration in a folder; raises `DataError` if they cannot be read."""
    path = folder / CONFIGURATION
    try:
        content = json.loads(path.read_text())
        return [dict(content[part]) for part in parts]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(str(path), f"it is no configuration of a run ({error})", "give another folder") from error


def prepared_folder(output: str | os.PathLike[str], *, resume: bool) -> Path:
    """The folder of a run, made if it is not there.

    Raises
    ------
    ArgumentError
        If it cannot be made, or holds a run that is not to be resumed.
    """
    folder = Path(output)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        held = [name for name in (CHECKPOINT, CONFIGURATION, RECORDS, SUMMARY) if (folder / name).exists()]
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ArgumentError(
            str(folder), f"it cannot be made a folder ({reason})", "give a folder you may write to"
        ) from error
    if held and not resume:
        raise ArgumentError(str(folder), f"it holds a run ({held[0]})", "resume it, or give another folder")
    return folder


def _unwritable(path: Path, error: OSError) -> ArgumentError:
    return ArgumentError(str(path), f"it cannot be written ({error.strerror})", "make room, then resume the run")
