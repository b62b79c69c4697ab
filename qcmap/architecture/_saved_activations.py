"""Activations in files: a name, a name with parameters, or a formula."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from qcmap.architecture._formula import FormulaError, read_expression
from qcmap.architecture._schema import TEXT, UNFIT, Reading, Writing, read_value
from qcmap.architecture._tree import Item
from qcmap.errors import ActivationError

if TYPE_CHECKING:
    from qcmap.activations import Activation

_FORMULA_KEYS = ("formula", "name", "length")
_UNBOUNDED = "inf"
"""The length of an activation whose pieces are polynomials: JSON has no infinity."""
_PROBE = np.linspace(-8.0, 8.0, 65) + 0.0078125


def read_activation(reading: Reading, key: str, item: Item) -> str | Activation:
    """The activation of a node: a name stays a text, a mapping becomes an object, equal mappings the same one.

    Raises `ArchitectureError`, naming line and key, for an unknown name or parameter or a formula that is refused.
    """
    if isinstance(item.value, str):
        if item.value not in reading.activations:
            _catalogued(reading, key, item, item.value, {})
            reading.activations[item.value] = item.value
        return reading.activations[item.value]
    if "formula" in item.value:
        return _from_formula(reading, key, item)
    if "name" not in item.value:
        raise reading.refuse(item.line, key, "an activation needs the key 'name' or 'formula'", "add one of them")
    name = read_value(TEXT, reading, f"{key}.name", item.value["name"])
    parameters: dict[str, Any] = {}
    for parameter, value in item.value.items():
        if parameter != "name":
            if type(value.value) not in (int, float):
                raise reading.refuse(
                    value.line, f"{key}.{parameter}", f"a number was expected, not {value}", "give a number"
                )
            parameters[parameter] = value.value
    return _catalogued(reading, key, item, name, parameters)


def _catalogued(reading: Reading, key: str, item: Item, name: str, parameters: dict[str, Any]) -> Activation:
    from qcmap.activations import activation

    try:
        return activation(name, **parameters)
    except (ActivationError, OverflowError, TypeError, ZeroDivisionError) as error:
        rule, remedy = (error.rule, error.remedy) if isinstance(error, ActivationError) else (str(error), "correct it")
        raise reading.refuse(item.line, key, f"{name!r}: {rule}", remedy) from error


def _from_formula(reading: Reading, key: str, item: Item) -> Activation:
    reading.refuse_keys(item, _FORMULA_KEYS, (), "an activation with a formula")
    formula = read_value(TEXT, reading, f"{key}.formula", item.value["formula"])
    name = read_value(TEXT, reading, f"{key}.name", item.value["name"]) if "name" in item.value else None
    length: Any = 1.0
    if "length" in item.value:
        given = item.value["length"]
        length = math.inf if given.value == _UNBOUNDED else given.value
        if type(length) not in (int, float) or not length > 0:
            raise reading.refuse(
                given.line, f"{key}.length", f"a positive number or 'inf' was expected, not {given}", "give one"
            )
    known = (formula, name, repr(length))
    if known not in reading.activations:
        try:
            reading.activations[known] = _made(formula, name, length)
        except (ActivationError, FormulaError) as error:
            raise reading.refuse(item.value["formula"].line, f"{key}.formula", error.rule, error.remedy) from error
    return reading.activations[known]


def _made(formula: str, name: str | None, length: float) -> Activation:
    """The activation of a formula in ``u``. The formula is parsed here: `from_sympy` would evaluate a text."""
    import sympy as sp

    from qcmap.activations import from_sympy

    return from_sympy(read_expression(formula, {"u": sp.Symbol("u", real=True)}), name=name, length=length)


def write_activation(writing: Writing, key: str, value: Any) -> Any:
    """What a file holds for the function of a node.

    Raises `ArchitectureError`, naming node and field, for an unknown name, or an activation that would be loaded as
    another one: one without a formula, or whose formula does not say all of it.
    """
    from qcmap.activations import Activation, activation

    if isinstance(value, str):
        try:
            activation(value)
        except ActivationError as error:
            raise writing.refuse(key, f"{value!r}: {error.rule}", error.remedy) from error
        return str(value)
    if not isinstance(value, Activation):
        return UNFIT
    if value not in writing.activations:
        writing.activations[value] = _as_catalogued(value) or _as_formula(writing, key, value)
    return writing.activations[value]


def _as_catalogued(value: Activation) -> dict[str, Any] | None:
    """Name and parameters, if the catalogue has this very activation (or had, before its cache forgot it)."""
    from qcmap.activations import CATALOGUE, activation

    if value.name not in CATALOGUE:
        return None
    if activation(value.name) is value:
        return {"name": value.name}
    parameters: dict[str, Any] = dict(value.parameters)
    # A name and its parameters say everything about a row that has parameters; the others are single objects.
    if parameters and _facts(activation(value.name, **parameters)) == _facts(value):
        return {"name": value.name, **parameters}
    return None


def _as_formula(writing: Writing, key: str, value: Activation) -> dict[str, Any]:
    """Formula, name and length, if they make the same activation again."""
    if value.expression is None:
        raise writing.refuse(
            key, f"the activation {value.name!r} has no formula", "build it with Activation.from_sympy instead"
        )
    data: dict[str, Any] = {"formula": writing.text(key, value.expression)}
    if value.name != value.expression:
        data["name"] = writing.text(key, value.name)
    if value.length != 1.0:
        data["length"] = _UNBOUNDED if math.isinf(value.length) else value.length
    try:
        again = _made(value.expression, data.get("name"), value.length)
    except (ActivationError, FormulaError) as error:
        raise writing.refuse(key, f"its formula cannot be read back ({error.rule})", error.remedy) from error
    if _facts(again) != _facts(value) or not _same_values(again, value):
        raise writing.refuse(
            key, f"the formula {value.expression} does not say all about {value.name!r}",
            "build it with Activation.from_sympy, with exact numbers or decimals of at most 15 digits",
        )  # fmt: skip
    return data


def _facts(value: Activation) -> dict[str, Any]:
    """Everything about an activation but its functions."""
    apart = ("value", "first", "second", "kernel")
    facts = {field.name: getattr(value, field.name) for field in dataclasses.fields(value) if field.name not in apart}
    return {**facts, "parameters": dict(value.parameters), "kernel": value.kernel is None}


def _same_values(one: Activation, other: Activation) -> bool:
    """Whether two activations and their derivatives agree to the bit at a set of points."""
    if one.second is None or other.second is None:
        return False
    pairs = ((one.value, other.value), (one.first, other.first), (one.second, other.second))
    return all(np.array_equal(f(_PROBE), g(_PROBE)) for f, g in pairs)
