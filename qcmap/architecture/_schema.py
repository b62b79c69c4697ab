"""The schema of architecture files: how the fields of an op stand in a file. The ops themselves say which they have."""

from __future__ import annotations

import dataclasses
import difflib
import math
import re
from collections.abc import Callable, Iterable
from functools import cache
from numbers import Integral, Real
from typing import Any, NamedTuple

from qcmap.architecture._expressions import assumptions_of, write_expression
from qcmap.architecture._formula import DIGITS, FormulaError, read_expression
from qcmap.architecture._ops import Op
from qcmap.architecture._tree import Item, is_unicode, refusal
from qcmap.errors import ArchitectureError

UNFIT: Any = object()
"""What a `Kind` answers to a value that is not of it."""


class Reading:
    """A file being read: its name, the node being read, its symbols, and what equal texts in it share."""

    def __init__(self, file: str) -> None:
        self.file, self.node = file, ""
        self.symbols: dict[str, Any] = {}
        self.activations: dict[object, Any] = {}
        self._formulas: dict[str, Any] = {}

    def refuse(self, line: int, key: str, rule: str, remedy: str) -> ArchitectureError:
        """The error for a key of the node being read, or of the file."""
        return refusal(self.file, line, ", ".join(filter(None, (self.node, key))), rule, remedy)

    def refuse_keys(self, item: Item, allowed: Iterable[str], required: Iterable[str], what: str) -> None:
        """Raise `ArchitectureError` for a mapping with an unknown key, or without one that it needs."""
        known = list(allowed)
        for key, value in item.value.items():
            if key not in known:
                near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
                hint = f"did you mean {near[0]}?" if near else f"its keys: {', '.join(known) or 'none'}"
                raise self.refuse(value.key_line, key, f"{what} has no key {key!r}", hint)
        for key in required:
            if key not in item.value:
                raise self.refuse(item.line, key, f"{what} needs the key {key!r}", f"add {key}")

    def formula(self, key: str, item: Item) -> Any:
        """The sympy expression that a text means."""
        if item.value not in self._formulas:
            try:
                self._formulas[item.value] = read_expression(item.value, self.symbols)
            except FormulaError as error:
                remedy = error.remedy
                if "there is no symbol" in error.rule:
                    remedy += "; or declare it under 'symbols', as in symbols: {w: {positive: true}}"
                raise self.refuse(item.line, key, error.rule, remedy) from error
        return self._formulas[item.value]


class Writing:
    """An architecture being written: the node being written, the symbols met so far, and texts of equal formulas."""

    def __init__(self, owner: str) -> None:
        self.node = owner
        self.symbols: dict[str, Any] = {}
        self.assumptions: dict[str, dict[str, bool]] = {}
        self.activations: dict[object, Any] = {}
        self._formulas: dict[object, str] = {}

    def refuse(self, key: str, rule: str, remedy: str) -> ArchitectureError:
        """The error for a field of the node being written."""
        return ArchitectureError(str(self.node), f"{key} cannot be saved: {rule}", remedy)

    def formula(self, key: str, value: Any) -> str:
        """The text that means a sympy expression."""
        known = (type(value), value)
        if known not in self._formulas:
            try:
                for symbol in value.free_symbols:
                    if symbol.name not in self.symbols:
                        self.assumptions[symbol.name] = assumptions_of(symbol)
                    if self.symbols.setdefault(symbol.name, symbol) != symbol:
                        raise self.refuse(key, f"two different symbols are named {symbol.name}", "use one of them")
                self._formulas[known] = write_expression(value, self.symbols)
            except FormulaError as error:
                raise self.refuse(key, error.rule, error.remedy) from error
        return self._formulas[known]

    def text(self, key: str, value: object) -> str:
        """The value, refused unless it is a text that a file can hold."""
        if isinstance(value, str) and is_unicode(value):
            return str(value)
        raise self.refuse(key, f"{value!r} is no Unicode text", "give a str without surrogates")


class Kind(NamedTuple):
    """One type of a field: what a file should have there, and the two translations, which may answer `UNFIT`."""

    expected: str
    read: Callable[[Reading, str, Item], Any]
    write: Callable[[Writing, str, Any], Any]


def _read_integer(reading: Reading, key: str, item: Item) -> Any:
    return item.value if type(item.value) is int else UNFIT


def _write_integer(writing: Writing, key: str, value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, Integral):
        return UNFIT
    if len(str(value)) > DIGITS:
        raise writing.refuse(key, f"an integer has at most {DIGITS} digits", "make it smaller")
    return int(value)


def _read_number(reading: Reading, key: str, item: Item) -> Any:
    """A number, or the sympy expression that a text means."""
    if isinstance(item.value, str):
        return reading.formula(key, item)
    return item.value if type(item.value) in (int, float) else UNFIT


def _write_number(writing: Writing, key: str, value: Any) -> Any:
    """Integers and floats as they are, sympy expressions (its numbers too) as text."""
    if hasattr(value, "free_symbols"):
        return writing.formula(key, value)
    if isinstance(value, Integral):
        return _write_integer(writing, key, int(value))
    # A fraction that is no float is UNFIT, as is what is not finite: a file cannot hold it.
    fits = isinstance(value, Real) and math.isfinite(value) and float(value) == value
    return float(value) if fits else UNFIT


def _read_count(reading: Reading, key: str, item: Item) -> Any:
    return UNFIT if type(item.value) is float else _read_number(reading, key, item)


def _write_count(writing: Writing, key: str, value: Any) -> Any:
    return writing.formula(key, value) if hasattr(value, "free_symbols") else _write_integer(writing, key, value)


def _several(kind: Kind) -> Kind:
    """A list of values of one kind, a tuple in the op."""

    def read(reading: Reading, key: str, item: Item) -> Any:
        if not isinstance(item.value, list):
            return UNFIT
        return tuple(read_value(kind, reading, f"{key}[{n}]", value) for n, value in enumerate(item.value))

    def write(writing: Writing, key: str, value: Any) -> Any:
        if not isinstance(value, tuple):
            return UNFIT
        return [write_value(kind, writing, f"{key}[{n}]", part) for n, part in enumerate(value)]

    return Kind(f"a list, each {kind.expected}", read, write)


def _one_of(choices: tuple[str | None, ...]) -> Kind:
    """One of some words, or null."""

    def read(reading: Reading, key: str, item: Item) -> Any:
        return item.value if isinstance(item.value, str | None) and item.value in choices else UNFIT

    def write(writing: Writing, key: str, value: Any) -> Any:
        return value if isinstance(value, str | None) and value in choices else UNFIT

    return Kind(" or ".join("null" if choice is None else repr(choice) for choice in choices), read, write)


def _read_truth(reading: Reading, key: str, item: Item) -> Any:
    return item.value if isinstance(item.value, bool) else UNFIT


def _write_truth(writing: Writing, key: str, value: Any) -> Any:
    return value if isinstance(value, bool) else UNFIT


def _read_text(reading: Reading, key: str, item: Item) -> Any:
    return item.value if isinstance(item.value, str) else UNFIT


def _write_text(writing: Writing, key: str, value: Any) -> Any:
    return writing.text(key, value) if isinstance(value, str) else UNFIT


def _read_function(reading: Reading, key: str, item: Item) -> Any:
    from qcmap.architecture._saved_activations import read_activation

    return read_activation(reading, key, item) if isinstance(item.value, (str, dict)) else UNFIT


def _write_function(writing: Writing, key: str, value: Any) -> Any:
    from qcmap.architecture._saved_activations import write_activation

    return write_activation(writing, key, value)


_INTEGER = Kind("an integer", _read_integer, _write_integer)
_NUMBER = Kind("a number or a formula", _read_number, _write_number)
TEXT = Kind("a text", _read_text, _write_text)
KINDS: dict[str, Kind] = {
    "None": _one_of((None,)),
    "int": _INTEGER,
    "bool": Kind("true or false", _read_truth, _write_truth),
    "str": TEXT,
    "Locations": _several(_INTEGER),
    "Channels": Kind("an integer or a formula", _read_count, _write_count),
    "Weight": _NUMBER,
    "tuple[Weight, ...]": _several(_NUMBER),
    "str | Named": Kind("the name of an activation, or a mapping", _read_function, _write_function),
}
"""Every type that a field of an op has, as its annotation says it. Unions of them and literals need no row."""


@cache
def kind_of(annotation: str) -> Kind:
    """The kind of fields with this annotation; raises `KeyError` if `KINDS` needs a row for it."""
    if annotation in KINDS:
        return KINDS[annotation]
    if annotation.startswith("Literal["):
        return _one_of(tuple(re.findall(r"""['"]([^'"]*)['"]""", annotation)))
    parts = annotation.split(" | ")
    if len(parts) == 1:
        raise KeyError(f"no row for the type {annotation}")
    kinds = [kind_of(part) for part in parts]

    def read(reading: Reading, key: str, item: Item) -> Any:
        return next((found for kind in kinds if (found := kind.read(reading, key, item)) is not UNFIT), UNFIT)

    def write(writing: Writing, key: str, value: Any) -> Any:
        return next((found for kind in kinds if (found := kind.write(writing, key, value)) is not UNFIT), UNFIT)

    return Kind(" or ".join(kind.expected for kind in kinds), read, write)


def read_value(kind: Kind, reading: Reading, key: str, item: Item) -> Any:
    """The value of an item; raises `ArchitectureError`, naming its line and key, if it is of another kind."""
    value = kind.read(reading, key, item)
    if value is UNFIT:
        hint = f'write "{item.value}", with quotes' if kind is TEXT and not isinstance(item.value, (dict, list)) else ""
        raise reading.refuse(
            item.line, key, f"{kind.expected} was expected, not {item}", hint or f"give {kind.expected}"
        )
    return value


def write_value(kind: Kind, writing: Writing, key: str, value: Any) -> Any:
    """The data that mean a value; raises `ArchitectureError`, naming node and field, if a file cannot hold it."""
    data = kind.write(writing, key, value)
    if data is UNFIT:
        expected = kind.expected.replace("a list, each", "a tuple, each")
        raise writing.refuse(key, f"{value!r} is not {expected}", f"give {expected}, a float or a sympy expression"
                             if kind is _NUMBER else f"give {expected}")  # fmt: skip
    return data


class Field(NamedTuple):
    """A field of an op in a file."""

    name: str
    kind: Kind
    required: bool
    default: str
    """How the default is written, as Python shows it; "" if there is none. It tells 1 from 1.0."""


@cache
def fields_of(op: type[Op]) -> tuple[Field, ...]:
    """The fields of an op, from its dataclass."""
    found = []
    for field in dataclasses.fields(op):
        kind, required = kind_of(str(field.type)), field.default is dataclasses.MISSING
        default = "" if required else repr(write_value(kind, Writing(op.kind), field.name, field.default))
        found.append(Field(field.name, kind, required, default))
    return tuple(found)


def read_op(reading: Reading, op: type[Op], node: Item, other_keys: tuple[str, ...]) -> Op:
    """The op of a node; raises `ArchitectureError`, naming line and key, for a wrong key or value."""
    fields = fields_of(op)
    names = [field.name for field in fields]
    required = [field.name for field in fields if field.required]
    article = "an" if op.kind[0] in "aio" else "a"
    reading.refuse_keys(node, [*other_keys, *names], required, f"{article} {op.kind}")
    given = {
        field.name: read_value(field.kind, reading, field.name, node.value[field.name])
        for field in fields
        if field.name in node.value
    }
    return op(**given)


def write_op(writing: Writing, op: Op) -> dict[str, Any]:
    """The fields of an op that differ from their defaults; raises `ArchitectureError` for what no file can hold."""
    data = {}
    for field in fields_of(type(op)):
        value = write_value(field.kind, writing, field.name, getattr(op, field.name))
        if field.required or repr(value) != field.default:
            data[field.name] = value
    return data
