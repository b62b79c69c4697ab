"""Reference architectures: the networks of the papers, and one for each kind of wiring beside them."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from typing import Any

from qcmap.architecture._architecture import Architecture
from qcmap.architecture.zoo._chains import densenet, mlp, multi_head, two_towers, unet
from qcmap.architecture.zoo._residual import RESIDUAL_WEIGHT, RESNET_BLOCKS, resnet_block, resnet_v2, wide_resnet
from qcmap.errors import ArchitectureError

__all__ = [
    "FAMILIES",
    "RESIDUAL_WEIGHT",
    "RESNET_BLOCKS",
    "call",
    "densenet",
    "mlp",
    "multi_head",
    "resnet_block",
    "resnet_v2",
    "two_towers",
    "unet",
    "wide_resnet",
]

FAMILIES: dict[str, Callable[..., Architecture]] = {
    family.__name__: family for family in (mlp, resnet_v2, wide_resnet, densenet, unet, two_towers, multi_head)
}
"""The families by name, as the command line calls them."""


_EXPRESSIONS = frozenset({"residual_weight", "weight_variance"})
_RULES = frozenset({"growing", "plain"})


def call(specification: str, **overrides: object) -> Architecture:
    """The architecture that a zoo call such as ``resnet_v2:depth=50,residual_weight=w`` means.

    A value is a number, ``true`` or ``yes``, ``false`` or ``no``, a word (an activation's name), or for
    ``residual_weight`` and ``weight_variance`` any expression that sympy reads; a bare name there becomes a positive
    symbol, but ``growing`` and ``plain`` are rules. Lists, such as the blocks of a densenet, keep their defaults.
    ``overrides`` are arguments that go before those of the call.

    Raises
    ------
    ArchitectureError
        For an unknown family or key, or a value of the wrong kind.
    """
    family, values = read_call(specification, FAMILIES)
    return FAMILIES[family](**{**values, **overrides})


def read_call(specification: str, families: Mapping[str, Callable[..., object]]) -> tuple[str, dict[str, object]]:
    """The family and the arguments that a call such as ``name:key=value,key=value`` means; raises as `call`."""
    family, _, arguments = specification.partition(":")
    if family not in families:
        raise ArchitectureError(
            specification or "ARCH", f"there is no family {family!r}", f"choose one of {', '.join(families)}"
        )
    allowed = inspect.signature(families[family]).parameters
    values: dict[str, object] = {}
    for item in filter(None, arguments.split(",")):
        key, equals, text = (part.strip() for part in item.partition("="))
        if key not in allowed:
            raise ArchitectureError(
                specification, f"{family} has no argument {key!r}", f"its arguments: {', '.join(allowed)}"
            )
        if key in values:
            raise ArchitectureError(specification, f"{key} is given twice", "give it once")
        if not equals:
            raise ArchitectureError(specification, f"{key} has no value", f"write {key}=value")
        values[key] = _value(text, specification, symbolic=key in _EXPRESSIONS)
    return family, values


def _value(text: str, specification: str, *, symbolic: bool) -> object:
    words = {"true": True, "yes": True, "false": False, "no": False, "none": None}
    if text.lower() in words:
        return words[text.lower()]
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    if not symbolic or text in _RULES:
        return text
    if not re.fullmatch(r"(?:[A-Za-z]\w*|\d+\.?\d*|\.\d+|[-+*/^() ])+", text):
        raise ArchitectureError(
            specification, f"{text!r} is not an expression", "write numbers, symbols, sqrt and + - * / ^ ( )"
        )
    import sympy

    parse: Any = sympy.sympify
    names = {name: sympy.Symbol(name, positive=True) for name in _identifiers(text)}
    try:
        return parse(text, locals=names)
    except (sympy.SympifyError, AttributeError, TypeError, SyntaxError, ValueError) as error:
        raise ArchitectureError(
            specification, f"{text!r} is not an expression", "write a number or a symbol"
        ) from error


def _identifiers(text: str) -> set[str]:
    """Names in the text that sympy does not know as functions."""
    return {name for name in re.findall(r"[A-Za-z_]\w*", text) if name not in {"sqrt", "pi", "Rational"}}
