"""Files of gated networks: an architecture file with a list of contexts after it (docs/gated.md)."""

from __future__ import annotations

import os
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np

from qcmap.architecture._files import architecture_of, read_file, write_file
from qcmap.architecture._schema import KINDS, TEXT, Reading, Writing, read_value, write_value
from qcmap.architecture._tree import Item
from qcmap.architecture.gated._checks import check_kind
from qcmap.architecture.gated._context import Context
from qcmap.architecture.gated._network import GatedNetwork
from qcmap.architecture.gated._tables import Blocks, Coded
from qcmap.architecture.gated._task import GatedTask
from qcmap.errors import QCMapError

_NUMBER = KINDS["Weight"]
_KEYS = ("name", "probability", "gates", "xx", "yx", "yy", "inputs", "targets")


def load(path: str | os.PathLike[str]) -> GatedNetwork:
    """The gated network in a file: YAML (``.yaml``, ``.yml``) or JSON (``.json``).

    An architecture file with the key ``contexts``, a list. Each context has a ``name``; ``gates``, a mapping; and
    either data, ``inputs`` and ``targets`` by node, matrices [channels, examples], or moments, ``xx`` and ``yx``, lists
    of ``{of: [node, node], value: matrix or formula}``, and ``yy``, a number. ``probability`` may be left out.

    Raises
    ------
    ArchitectureError
        As `qcmap.load`, and naming file and line for a context that breaks the schema.
    DataError, ArchitectureError
        As `GatedTask.of` and `GatedNetwork`, naming the context or node.
    """
    reading, root = read_file(path)
    if not isinstance(root.value, dict) or "contexts" not in root.value:
        raise reading.refuse(root.line, "contexts", "a gated network needs the key 'contexts'", "add a list of them")
    listed = root.value.pop("contexts")
    arch = architecture_of(reading, root)
    if not isinstance(listed.value, list):
        raise reading.refuse(listed.line, "contexts", f"a list was expected, not {listed}", "write contexts: [...]")
    contexts = [_context(reading, item) for item in listed.value]
    return GatedNetwork(arch, GatedTask.of(contexts, arch.inputs, arch.outputs))


def save(network: GatedNetwork, path: str | os.PathLike[str]) -> None:
    """Write a gated network to a file, whole or not at all; `load` of it has the same moments to the last bit.

    Raises as `qcmap.save`.
    """
    check_kind("network", network, GatedNetwork, "build one, such as routing(7, 4)")
    write_file(network.architecture, path, lambda writing: _entries(writing, network.task))


def _context(reading: Reading, item: Item) -> Context:
    reading.node = "context"
    if not isinstance(item.value, dict):
        raise reading.refuse(item.line, "", f"a mapping was expected, not {item}", "write {name: ..., gates: {...}}")
    reading.refuse_keys(item, _KEYS, ("name",), "a context")
    name = read_value(TEXT, reading, "name", item.value["name"])
    reading.node = f"context {name!r}"

    def number(key: str, entry: Item) -> Any:
        return read_value(_NUMBER, reading, key, entry)

    def named(key: str, read: Callable[[str, Item], Any]) -> dict[str, Any]:
        entry = item.value.get(key)
        if entry is None:
            return {}
        if not isinstance(entry.value, dict):
            raise reading.refuse(entry.line, key, f"a mapping was expected, not {entry}", f"write {key}: {{...}}")
        return {node: read(f"{key}.{node}", value) for node, value in entry.value.items()}

    gates = named("gates", number)
    probability = number("probability", item.value["probability"]) if "probability" in item.value else None
    if "inputs" in item.value or "targets" in item.value:
        mixed = next((key for key in ("xx", "yx", "yy") if key in item.value), None)
        if mixed is not None:
            raise reading.refuse(item.value[mixed].line, mixed, "it has data and moments", "give one of the two")
        arrays = [named(key, lambda at, value: _matrix(reading, at, value)) for key in ("inputs", "targets")]
        try:
            return Context.from_data(name, gates, *arrays, probability=probability)
        except QCMapError as error:
            raise reading.refuse(item.line, "", error.rule, error.remedy) from error
    moments = [_moments(reading, key, item.value.get(key)) for key in ("xx", "yx")]
    yy = number("yy", item.value["yy"]) if "yy" in item.value else None
    return Context(name, gates, *moments, yy=yy, probability=probability)


def _moments(reading: Reading, key: str, item: Item | None) -> dict[tuple[str, str], Any]:
    if item is None:
        return {}
    if not isinstance(item.value, list):
        raise reading.refuse(item.line, key, f"a list was expected, not {item}", "write [{of: [a, b], value: ...}]")
    found = {}
    for n, entry in enumerate(item.value):
        at = f"{key}[{n}]"
        if not isinstance(entry.value, dict):
            raise reading.refuse(entry.line, at, f"a mapping was expected, not {entry}", "write {of: ..., value: ...}")
        reading.refuse_keys(entry, ("of", "value"), ("of", "value"), "a moment")
        of, value = entry.value["of"], entry.value["value"]
        if not isinstance(of.value, list) or len(of.value) != 2:
            raise reading.refuse(of.line, at, f"a pair of nodes was expected, not {of}", "write of: [a, b]")
        a, b = (read_value(TEXT, reading, f"{at}.of", node) for node in of.value)
        matrix = isinstance(value.value, list)
        found[a, b] = _matrix(reading, at, value) if matrix else read_value(_NUMBER, reading, at, value)
    return found


def _matrix(reading: Reading, key: str, item: Item) -> np.ndarray:
    rows = item.value if isinstance(item.value, list) else []
    if not rows or not all(isinstance(row.value, list) and len(row.value) == len(rows[0].value) for row in rows):
        raise reading.refuse(item.line, key, "a list of rows of equal length was expected", "write [[1, 0], [0, 1]]")
    return np.array([[float(read_value(_NUMBER, reading, key, entry)) for entry in row.value] for row in rows])


def _entries(writing: Writing, task: GatedTask) -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = []

    def plain(key: str, value: Any) -> Any:
        if isinstance(value, np.ndarray):
            return value.tolist()
        if isinstance(value, Fraction):
            import sympy

            value = sympy.Rational(value.numerator, value.denominator)
        return write_value(_NUMBER, writing, key, value)

    def at(coded: Coded, k: int) -> Any:
        return coded.values[coded.ids[k]]

    for k, name in enumerate(task.contexts):
        writing.node = f"context {name!r}"
        entries.append(
            {"name": writing.text("name", name), "probability": plain("probability", at(task.probability, k))}
        )
        entries[-1]["gates"] = {}
    for gate, gating in task.gates.items():
        for k, context in enumerate(gating.contexts):
            entries[context]["gates"][gate] = plain("gates", at(gating.value, k))
    tables: list[tuple[str, Blocks, tuple[str, ...]]] = [("xx", task.xx, task.inputs), ("yx", task.yx, task.outputs)]
    for key, blocks, rows in tables:
        for k, (context, row, column) in enumerate(zip(blocks.context, blocks.row, blocks.column, strict=True)):
            pair = {"of": [rows[row], task.inputs[column]], "value": plain(key, at(blocks.value, k))}
            entries[context].setdefault(key, []).append(pair)
    if task.yy is not None:
        for k, entry in enumerate(entries):
            entry["yy"] = plain("yy", at(task.yy, k))
    return entries
