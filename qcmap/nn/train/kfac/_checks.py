"""What a K-FAC optimiser is made from: its model without wrappers, and arguments in their ranges."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from torch import nn

from qcmap.errors import ArgumentError


def unwrapped(model: nn.Module) -> nn.Module:
    """The model inside wrappers of torch.compile and of data parallelism."""
    while True:
        inner = getattr(model, "_orig_mod", None)
        if inner is None and isinstance(model, nn.parallel.DistributedDataParallel):
            inner = model.module
        if inner is None:
            return model
        model = inner


def check_parameters(parameters: Mapping[str, nn.Parameter]) -> None:
    """Raise `ArgumentError` if there are none, or one is sharded."""
    if not parameters:
        raise ArgumentError("model", "it has no trainable parameters", "give a model with some")
    for name, parameter in parameters.items():
        if hasattr(parameter, "placements"):
            raise ArgumentError(name, "it is sharded, and K-FAC needs whole layers", "use data parallelism (DDP)")


def check_positive(**values: float) -> None:
    """Raise `ArgumentError` for a value that is not positive, by its name."""
    for name, value in values.items():
        if not _is_number(value) or not value > 0:
            raise ArgumentError(name, f"it must be positive, not {value!r}", "give e.g. 1e-3")


def check_counts(**values: int) -> None:
    """Raise `ArgumentError` for a value that is not a positive integer."""
    for name, value in values.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ArgumentError(name, f"it must be a positive integer, not {value!r}", "give 1 or more")


def check_fractions(**values: float) -> None:
    """Raise `ArgumentError` for a value outside [0, 1)."""
    for name, value in values.items():
        if not _is_number(value) or not 0 <= value < 1:
            raise ArgumentError(name, f"it must lie in [0, 1), not {value!r}", "give e.g. 0.9")


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def check_among(name: str, value: str, known: Collection[str]) -> None:
    """Raise `ArgumentError` for a value that is none of the known ones."""
    if value not in known:
        raise ArgumentError(name, f"it is one of {', '.join(known)}, not {value!r}", "choose one of these")
