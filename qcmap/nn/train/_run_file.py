"""Configurations of runs in YAML or JSON files, with changes from the command line."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, get_type_hints

from qcmap.architecture._tree import Item, read_tree
from qcmap.errors import ArchitectureError, ArgumentError
from qcmap.nn.train._choice import Choice, unknown
from qcmap.nn.train._run import RunSettings


def read_run(path: str | Path, changes: Iterable[str] = ()) -> RunSettings:
    """The settings that a file has, with changes such as ``optimizer.learning_rate=0.1``.

    Parameters
    ----------
    path
        A file in JSON if its name ends in ``.json``, else in YAML. Its keys are the attributes of `RunSettings`; a
        choice is a mapping with a name and options, or a name alone.
    changes
        ``key=value``, with a dot before an option of a choice. The value is read as YAML. ``optimizer=adam`` is another
        choice without options.

    Raises
    ------
    ArgumentError
        Naming file, line and key: for a file that cannot be read, an unknown key (the message says the nearest), a
        value of another type or out of its range.
    """
    file = str(path)
    try:
        text = Path(path).read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise ArgumentError(file, f"it cannot be read ({error})", "give a YAML or JSON file") from error
    tree = _tree(text, file, as_json=file.lower().endswith(".json"))
    if not isinstance(tree.value, dict):
        raise ArgumentError(file, f"it is {tree}, not a mapping", "begin with a key such as 'model:'")
    content, lines = _plain(tree), _lines(tree)
    for change in changes:
        _apply(change, content, lines)
    return settings_from(content, {key: f"{file}, line {line}" if line else "--set" for key, line in lines.items()})


def settings_from(content: Mapping[str, Any], places: Mapping[str, str] | None = None) -> RunSettings:
    """The settings of a mapping of plain data, such as a file has; ``places`` says where each key comes from."""
    where = places or {}
    hints = get_type_hints(RunSettings)
    known = {row.name for row in fields(RunSettings)}
    given: dict[str, Any] = {}
    for key, value in content.items():
        if key not in known:
            raise _placed(unknown(key, key, known, "setting"), where)
        given[key] = _choice(key, value, where) if hints[key] is Choice else value
    for key in ("model", "data"):
        if key not in given:
            raise ArgumentError(key, "it is needed", f"add {key}: {{name: ...}}")
    try:
        return RunSettings(**given)
    except ArgumentError as error:
        raise _placed(error, where) from error


def _choice(key: str, value: Any, where: Mapping[str, str]) -> Choice:
    options = {"name": value} if isinstance(value, str) else value
    if not isinstance(options, dict) or not isinstance(options.get("name"), str):
        error = ArgumentError(key, f"it must be a name, or a mapping with a name, not {value!r}", "add name: ...")
        raise _placed(error, where)
    return Choice(options["name"], **{name: entry for name, entry in options.items() if name != "name"})


def _placed(error: ArgumentError, where: Mapping[str, str]) -> ArgumentError:
    """The same error, with the place that the key at fault comes from."""
    key = error.subject
    place = where.get(key) or where.get(key.partition(".")[0])
    return error if place is None else ArgumentError(f"{place}, {key}", error.rule, error.remedy)


def _tree(text: str, where: str, *, as_json: bool) -> Item:
    try:
        return read_tree(text, where, as_json=as_json)
    except ArchitectureError as error:
        raise ArgumentError(error.subject, error.rule, error.remedy) from error


def _plain(item: Item) -> Any:
    if isinstance(item.value, dict):
        return {key: _plain(entry) for key, entry in item.value.items()}
    return tuple(map(_plain, item.value)) if isinstance(item.value, list) else item.value


def _lines(tree: Item) -> dict[str, int]:
    """The line of each key, and of each option of a choice."""
    found: dict[str, int] = {}
    for key, item in tree.value.items():
        found[key] = item.key_line
        if isinstance(item.value, dict):
            found.update({f"{key}.{option}": entry.key_line for option, entry in item.value.items()})
    return found


def _apply(change: str, content: dict[str, Any], lines: dict[str, int]) -> None:
    """Make a change to the content, and forget the line of what it replaces."""
    key, equals, text = change.partition("=")
    if not equals or not key:
        raise ArgumentError(f"--set {change}", "a change is key=value", "write e.g. epochs=5")
    value = _plain(_tree(f"value: {text}", f"--set {change}", as_json=False))["value"]
    owner, dot, option = key.partition(".")
    if not dot:
        content[key] = value
    else:
        held = content.get(owner, {})
        if not isinstance(held, (str, dict)):
            raise ArgumentError(f"--set {change}", f"{owner} is {held!r}, which has no options", f"set {owner} itself")
        content[owner] = {**({"name": held} if isinstance(held, str) else held), option: value}
    lines[key] = 0
