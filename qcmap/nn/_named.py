"""Torch models by name."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from typing import Any

from torch import nn

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
    sys.path.insert(0, str(Path.cwd()))
    try:
        found: Any = import_module(module)
        for part in attribute.split("."):
            found = getattr(found, part)
        model = found if isinstance(found, nn.Module) else found()
    except Exception as error:  # whatever a user's own code raises
        raise ArgumentError(
            specification, f"it cannot be made ({type(error).__name__}: {error})",
            "name something importable from here that makes the model without arguments",
        ) from error  # fmt: skip
    finally:
        sys.path.pop(0)
    if not isinstance(model, nn.Module):
        raise ArgumentError(specification, f"it makes no torch model but {type(model).__name__}", "name a torch model")
    return model
