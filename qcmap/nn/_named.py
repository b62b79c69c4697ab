"""Torch models by name."""

from __future__ import annotations

from torch import nn

from qcmap._named import named
from qcmap.errors import ArgumentError


def read_model(specification: str) -> nn.Module:
    """The torch model that ``package.module:callable`` makes, or that stands there; the working folder is searched too.

    Raises
    ------
    ArgumentError
        If it cannot be imported or called without arguments, or is no model.
    """
    module, _, attribute = specification.partition(":")
    if not module or not attribute:
        raise ArgumentError(specification, "a model is named package.module:callable", "give both, with a colon")
    model = named(
        specification, lambda found: isinstance(found, nn.Module),
        "name something importable from here that makes the model without arguments",
    )  # fmt: skip
    if not isinstance(model, nn.Module):
        raise ArgumentError(specification, f"it makes no torch model but {type(model).__name__}", "name a torch model")
    return model
