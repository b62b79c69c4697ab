"""Activation functions in torch: those that torch lacks, and the way from an `Activation` to its torch counterpart."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from qcmap.activations import Activation, TorchFunction
from qcmap.errors import ActivationError

__all__ = ["bentid", "torch_function"]


def bentid(u: Tensor) -> Tensor:
    """The bent identity (sqrt(u^2 + 1) - 1)/2 + u, elementwise on a floating tensor of any shape.

    Written as u^2 / (2 (sqrt(u^2 + 1) + 1)) + u, which does not cancel at small u.
    """
    square = u * u
    return square / (2 * (torch.sqrt(square + 1) + 1)) + u


def counterpart_of(activation: Activation) -> TorchFunction:
    """Where torch has an activation: its own counterpart, or its formula, evaluated by torch.

    Raises
    ------
    ActivationError
        If it has neither.
    """
    if activation.torch is not None:
        return activation.torch
    if activation.expression is None:
        raise ActivationError(
            activation.name,
            "it has no torch counterpart",
            "give it one: dataclasses.replace(activation, torch=TorchFunction('package.module.function'))",
        )
    return TorchFunction(_FORMULA, {"expression": activation.expression})


def torch_function(activation: Activation) -> Callable[[Tensor], Tensor]:
    """The torch counterpart of an activation: a differentiable elementwise function of tensors of any shape.

    Raises
    ------
    ActivationError
        If the activation has no torch counterpart, or the installed torch lacks the function it names.
    """
    counterpart = counterpart_of(activation)
    return resolve(activation.name, counterpart.path, counterpart.arguments)


@functools.lru_cache(maxsize=256)
def formula(expression: str) -> Callable[[Tensor], Tensor]:
    """A formula in ``u``, as sympy writes it, as a function of tensors.

    log(1 + exp(a)) and 1/(1 + exp(a)) are evaluated as softplus and sigmoid, whose values and derivatives stay finite
    where exp(a) is not.

    Raises
    ------
    ActivationError
        For a function that torch lacks.
    """
    import sympy as sp

    u, a = sp.Symbol("u", real=True), sp.Wild("a")
    parse: Any = sp.sympify
    softplus, sigmoid = sp.Function("softplus"), sp.Function("sigmoid")
    parsed = parse(expression, locals={"u": u})
    parsed = parsed.replace(sp.log(1 + sp.exp(a)), softplus(a)).replace(1 / (1 + sp.exp(a)), sigmoid(-a))
    unknown = {str(f.func) for f in parsed.atoms(sp.Function)} - set(_TORCH)
    if unknown or parsed.free_symbols != {u}:
        raise ActivationError(
            expression, f"its formula cannot be evaluated by torch ({', '.join(sorted(unknown)) or 'its variable'})",
            "give it a counterpart: dataclasses.replace(activation, torch=TorchFunction('package.module.function'))",
        )  # fmt: skip
    return sp.lambdify(u, parsed, modules=[_TORCH, "math"])


def _extreme(pick: Callable[[Tensor, Tensor], Tensor]) -> Callable[..., Tensor]:
    def of(*values: Any) -> Tensor:
        like = next(value for value in values if isinstance(value, Tensor))
        return functools.reduce(
            pick, (torch.as_tensor(value, dtype=like.dtype, device=like.device) for value in values)
        )

    return of


_TORCH: dict[str, Callable[..., Tensor]] = {
    **{name: getattr(torch, name) for name in ("exp", "log", "sin", "cos", "tan", "sinh", "cosh", "tanh", "sqrt")},
    **{name: getattr(torch, name) for name in ("asin", "acos", "atan", "asinh", "erf", "erfc", "sign", "sigmoid")},
    "softplus": torch.nn.functional.softplus,
    "Abs": torch.abs,
    "Max": _extreme(torch.maximum),
    "Min": _extreme(torch.minimum),
}
"""The functions of formulas, by sympy's name."""
_FORMULA = f"{__name__}.formula"


def resolve(name: str, path: str, arguments: Mapping[str, Any]) -> Callable[[Tensor], Tensor]:
    """The function at a dotted path with keyword arguments filled in, for the activation called ``name``.

    Raises
    ------
    ActivationError
        If it cannot be imported.
    """
    if path == _FORMULA:
        return formula(**arguments)
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
