"""A named choice with options, such as an optimiser, and checks of names and values that people write."""

from __future__ import annotations

import difflib
import inspect
import sys
import types
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from qcmap.errors import ArgumentError


@dataclass(frozen=True, init=False, repr=False)
class Choice:
    """A row of a table, by name, and options for it: ``Choice("sgd", learning_rate=0.1, momentum=0.9)``.

    What the options are is up to the row; they are checked where the choice is used.
    """

    name: str
    options: Mapping[str, Any]

    def __init__(self, name: str, /, **options: Any) -> None:
        object.__setattr__(self, "name", name)
        object.__setattr__(self, "options", types.MappingProxyType(options))

    def __repr__(self) -> str:
        return f"Choice({', '.join((repr(self.name), *(f'{key}={value!r}' for key, value in self.options.items())))})"

    def __reduce__(self) -> tuple[Any, ...]:
        return _restored, (self.name, dict(self.options))

    def to_dict(self) -> dict[str, Any]:
        """The name and the options as one mapping of plain data, as they stand in a file."""
        return {"name": self.name, **{key: plain(value) for key, value in self.options.items()}}


def _restored(name: str, options: dict[str, Any]) -> Choice:
    """A choice from its parts, for pickle and copy."""
    return Choice(name, **options)


def plain(value: Any) -> Any:
    """The value as JSON has it."""
    if isinstance(value, Choice):
        return value.to_dict()
    if isinstance(value, Mapping):
        return {str(key): plain(entry) for key, entry in value.items()}
    return [plain(entry) for entry in value] if isinstance(value, (list, tuple)) else value


def unknown(where: str, name: str, known: Iterable[str], what: str) -> ArgumentError:
    """The error for a name that is not one of the known ones; it says the nearest, or all."""
    names = sorted(known)
    near = difflib.get_close_matches(str(name), names, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]}?" if near else f"choose from {', '.join(names) or 'nothing: it has no options'}"
    return ArgumentError(where, f"there is no {what} {name!r}", hint)


def check_value(where: str, value: object, hint: Any) -> None:
    """Raise `ArgumentError` unless the value is of the annotated type. Numbers are finite; an integer is a number."""
    if not _fits(value, hint):
        raise ArgumentError(where, f"it must be {_words(hint)}, not {value!r}", "give such a value")


def check_options(where: str, function: Callable[..., object], options: Iterable[tuple[str, object]]) -> None:
    """Raise `ArgumentError` for options that a function does not take as keyword arguments, or of another type."""
    parameters = inspect.signature(function).parameters
    known = {name for name, row in parameters.items() if row.kind == inspect.Parameter.KEYWORD_ONLY}
    hints = get_type_hints(function)
    given = dict(options)
    for name, value in given.items():
        if name not in known:
            raise unknown(f"{where}.{name}", name, known, "option")
        check_value(f"{where}.{name}", value, hints[name])
    for name in known - set(given):
        if parameters[name].default is inspect.Parameter.empty:
            raise ArgumentError(f"{where}.{name}", "it is needed", f"give {_words(hints[name])}")


def _fits(value: object, hint: Any) -> bool:
    if hint is None or hint is type(None):
        return value is None
    if hint is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= sys.float_info.max
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    origin, parts = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return any(_fits(value, part) for part in parts)
    if origin is Literal:
        return any(type(value) is type(part) and value == part for part in parts)
    if origin is tuple:
        if not isinstance(value, tuple):
            return False
        kinds = parts[:1] * len(value) if parts[-1] is Ellipsis else parts
        return len(kinds) == len(value) and all(map(_fits, value, kinds))
    return not isinstance(hint, type) or isinstance(value, hint)


_WORDS = {int: "an integer", float: "a finite number", bool: "true or false", str: "text", type(None): "null"}


def _words(hint: Any) -> str:
    """What a type is called in a message."""
    origin, parts = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return " or ".join(map(_words, parts))
    if origin is Literal:
        return " or ".join(map(repr, parts))
    if origin is tuple:
        kinds = parts[:1] if parts[-1] is Ellipsis else parts
        return f"a list of {', '.join(map(_words, kinds))}"
    if hint is Choice:
        return "a choice with a name"
    return _WORDS.get(hint, getattr(hint, "__name__", str(hint)))
