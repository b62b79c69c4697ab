"""Running a model: leaving each module's training flag as it was, finding its device, naming what does not fit it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain

import torch
from torch import nn

from qcmap.errors import DataError


@contextmanager
def modes_restored(model: nn.Module) -> Iterator[None]:
    """Give every module its own training flag back at the end, also after an error."""
    flags = [(module, module.training) for module in model.modules()]
    try:
        yield
    finally:
        for module, training in flags:
            module.training = training


@contextmanager
def running(model: nn.Module, given: str) -> Iterator[None]:
    """Raise `DataError`, naming what was ``given`` to the model, for an error of torch while it runs."""
    try:
        yield
    except (RuntimeError, ValueError, IndexError) as error:
        first = str(error).strip().partition("\n")[0]
        what = f"{type(model).__name__} does not run on it ({first})"
        raise DataError(given, what, "give the shape, dtype and device that it takes") from error


def device_of(model: nn.Module) -> torch.device:
    """The device of the first parameter or buffer; the CPU for a model that has neither."""
    first = next(chain(model.parameters(), model.buffers()), None)
    return torch.device("cpu") if first is None else first.device
