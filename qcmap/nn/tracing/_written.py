"""How torch.fx writes a call that a mode of torch hands over: out of place, special methods as functions."""

from __future__ import annotations

import inspect
import operator
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch._ops import OpOverload
from torch.overrides import resolve_name

_ARITHMETIC = "add", "sub", "mul", "truediv", "floordiv", "pow"
_OPERATORS: Mapping[str, tuple[Callable[..., Any], bool]] = {
    **{f"__{name}__": (getattr(operator, name), False) for name in (
        "add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul", "neg", "abs", "getitem", "eq", "ne", "lt",
        "le", "gt", "ge", "and_", "or_", "invert",
    )},
    **{f"__i{name}__": (getattr(operator, name), False) for name in _ARITHMETIC},
    **{f"__r{name}__": (getattr(operator, name), True) for name in (*_ARITHMETIC, "matmul")},
    "__and__": (operator.and_, False),
    "__or__": (operator.or_, False),
    "__idiv__": (operator.truediv, False),
    "__rdiv__": (operator.truediv, True),
}  # fmt: skip
"""Tensor's special methods as functions of `operator`, and whether the operands are swapped."""


DROPOUTS: Mapping[Any, Callable[[float], nn.Module]] = {
    nn.functional.dropout: nn.Dropout,
    nn.functional.dropout1d: nn.Dropout1d,
    nn.functional.dropout2d: nn.Dropout2d,
    nn.functional.dropout3d: nn.Dropout3d,
    nn.functional.alpha_dropout: nn.AlphaDropout,
    nn.functional.feature_alpha_dropout: nn.FeatureAlphaDropout,
}


def is_leaf(module: nn.Module, leaves: tuple[type[nn.Module], ...]) -> bool:
    """Whether a call of the module is one call in the graph: its forward is one of torch.nn, containers apart."""
    home = getattr(type(module).forward, "__module__", None) or ""
    composed = ("torch.nn.modules.container", "torch.nn.modules.transformer", "torch.nn.modules.module")
    return isinstance(module, leaves) or (home.startswith("torch.nn.modules.") and home not in composed)


def storage(value: Tensor) -> int:
    """What tells the memory of tensors apart."""
    return value.untyped_storage()._cdata


def has_tensor(value: Any) -> bool:
    """Whether a value is a tensor, or a tuple or list with one in it."""
    if isinstance(value, Tensor):
        return True
    return isinstance(value, (tuple, list)) and any(map(has_tensor, value))


def plain_name(func: Any) -> str:
    """The name of a function of torch, without the mark of working in place."""
    return str(getattr(func, "__name__", func)).removesuffix("_")


def as_written(func: Any, args: tuple, kwargs: dict) -> tuple[tuple[str, Any, tuple, dict], bool]:
    """A call as torch.fx writes it, out of place, and whether it was in place."""
    if isinstance(func, OpOverload):
        return ("call_function", func, args, kwargs), func._schema.name.endswith("_")
    name, full = str(func.__name__), str(resolve_name(func) or "")
    if name == "__get__":
        return ("call_function", getattr, (args[0], func.__self__.__name__), {}), False
    if name in _OPERATORS:
        target, swapped = _OPERATORS[name]
        return ("call_function", target, args[::-1] if swapped else args, kwargs), name.startswith("__i")
    in_place = name.endswith("_") and not name.endswith("__")
    if full.startswith("torch.Tensor."):
        plain = name.removesuffix("_") if in_place else name
        return ("call_method", plain if hasattr(Tensor, plain) else name, args, kwargs), in_place
    if in_place:
        plain = name.removesuffix("_")
        module = torch if hasattr(torch, plain) else nn.functional
        return ("call_function", getattr(module, plain, func), args, kwargs), True
    if inspect.isfunction(func) and "inplace" in (parameters := inspect.signature(func).parameters):
        position = list(parameters).index("inplace")
        asked = kwargs.get("inplace", args[position] if len(args) > position else False)
        if asked:
            args = args[:position]
            kwargs = {key: value for key, value in kwargs.items() if key != "inplace"}
        return ("call_function", func, args, kwargs), bool(asked)
    return ("call_function", func, args, kwargs), False
