"""Checkpoints: all that a run needs to go on, in one file that is written whole or not at all."""

from __future__ import annotations

import io
import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from qcmap._atomic import write_whole
from qcmap.errors import ArgumentError, DataError

FORMAT = 1
_KINDS: Mapping[str, type] = {
    "configuration": dict, "step": int, "status": str, "sums": list, "records": int, "model": dict, "optimizer": dict,
    "scaler": dict, "rates": list,
}  # fmt: skip


def write_checkpoint(path: Path, state: Mapping[str, Any]) -> None:
    """Write plain data and tensors; raises `ArgumentError`, naming the file, and leaves an older one as it was."""
    held = io.BytesIO()
    torch.save({"format": FORMAT, **state}, held)
    write_whole(path, held.getbuffer())


def read_checkpoint(path: Path, classes: list[type]) -> dict[str, Any]:
    """What `write_checkpoint` wrote, on the CPU.

    Only plain data, tensors and the given classes are read, so that a file from elsewhere runs no code. The sums of all
    parts are checked first, for torch does not look at them: a number with a wrong bit would be taken for another.

    Raises
    ------
    DataError
        If the file cannot be read, is damaged, or is no checkpoint of this format.
    """
    try:
        with zipfile.ZipFile(path) as whole:
            damaged = whole.testzip()
        if damaged is not None:
            raise zipfile.BadZipFile(f"the checksum of {damaged} is wrong")
        with torch.serialization.safe_globals(classes):  # pyright: ignore[reportArgumentType]
            state = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise DataError(
            str(path), "it holds more than plain data and tensors", "start the run anew elsewhere"
        ) from error
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, zipfile.BadZipFile) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(
            str(path), f"it is no readable checkpoint ({reason})", "start the run anew elsewhere"
        ) from error
    fits = isinstance(state, dict) and all(isinstance(state.get(name), kind) for name, kind in _KINDS.items())
    if not fits or state.get("format") != FORMAT:
        raise DataError(str(path), f"it is no checkpoint of format {FORMAT}", "start the run anew elsewhere")
    return state


def check_same_run(path: Path, kept: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Raise `ArgumentError`, naming the first difference, unless a checkpoint is of a run with these settings."""
    for name in {**kept, **now}:
        if kept.get(name) != now.get(name):
            raise ArgumentError(
                str(path), f"it is of a run with {name} {kept.get(name)!r}, not {now.get(name)!r}",
                "resume with the same settings, or give another folder",
            )  # fmt: skip


def check_same_model(path: Path, kept: Mapping[str, Any], model: nn.Module) -> None:
    """Raise `DataError`, naming a parameter or buffer, unless the tensors are those of the model."""
    own = {name: tensor for name, tensor in model.state_dict().items() if isinstance(tensor, torch.Tensor)}
    for name in {**kept, **own}:
        old, new = kept.get(name), own.get(name)
        if old is None or new is None:
            where = "the model" if new is None else "the checkpoint"
            raise _other(path, f"{where} has no {name}")
        if old.shape != new.shape or old.dtype != new.dtype:
            rule = f"{name} is {old.dtype} {list(old.shape)} there, but {new.dtype} {list(new.shape)} in the model"
            raise _other(path, rule)


def _other(path: Path, why: str) -> DataError:
    return DataError(
        str(path), f"it is a checkpoint of another model ({why})", "give that model, or a folder of its own"
    )
