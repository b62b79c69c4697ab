"""Activation functions in torch: those that torch lacks, and the way from an `Activation` to its torch counterpart."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from qcmap.activations import Activation
from qcmap.errors import ActivationError

__all__ = ["bentid", "torch_function"]


def bentid(u: Tensor) -> Tensor:
    """The bent identity (sqrt(u^2 + 1) - 1)/2 + u, elementwise on a floating tensor of any shape.

    Written as u^2 / (2 (sqrt(u^2 + 1) + 1)) + u, which does not cancel at small u.
    """
    square = u * u
    return square / (2 * (torch.sqrt(square + 1) + 1)) + u


def torch_function(activation: Activation) -> Callable[[Tensor], Tensor]:
    """The torch counterpart of an activation: a differentiable elementwise function of tensors of any shape.

    Raises
    ------
    ActivationError
        If the activation has no torch counterpart, or the installed torch lacks the function it names.
    """
    counterpart = activation.torch
    if counterpart is None:
        raise ActivationError(
            activation.name,
            "it has no torch counterpart",
            "give it one: dataclasses.replace(activation, torch=TorchFunction('package.module.function'))",
        )
    return resolve(activation.name, counterpart.path, counterpart.arguments)


def resolve(name: str, path: str, arguments: Mapping[str, Any]) -> Callable[[Tensor], Tensor]:
    """The function at a dotted path with keyword arguments filled in, for the activation called ``name``.

    Raises
    ------
    ActivationError
        If it cannot be imported.
    """
    module, _, attribute = path.rpartition(".")
    try:
        function = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise ActivationError(
            name,
            f"its torch counterpart {path!r} cannot be imported ({error})",
            "name an importable function, or install a torch that has it",
        ) from error
    return functools.partial(function, **arguments) if arguments else function
