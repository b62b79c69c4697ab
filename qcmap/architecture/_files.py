"""Architecture files: `load` and `save`, YAML or JSON by the suffix, one schema; docs/files.md describes it."""

from __future__ import annotations

import graphlib
import os
from collections.abc import Callable, Iterator
from typing import Any

from qcmap._atomic import write_whole
from qcmap.architecture._architecture import Architecture
from qcmap.architecture._expressions import ASSUMPTIONS, is_symbol_name, read_symbol
from qcmap.architecture._formula import FormulaError
from qcmap.architecture._node import Node, unknown_node
from qcmap.architecture._ops import OPS, Output
from qcmap.architecture._schema import TEXT, Reading, Writing, read_op, read_value, write_op
from qcmap.architecture._tree import Item, quoted, read_tree, rendered, yaml_text
from qcmap.errors import ArchitectureError

VERSION = 1
"""The version of the schema, the value of the key ``qcmap``."""

_TOP = ("qcmap", "name", "symbols", "nodes", "outputs")
_OF_NODE = ("id", "op", "inputs")


def load(path: str | os.PathLike[str]) -> Architecture:
    """The architecture in a file: YAML (``.yaml``, ``.yml``) or JSON (``.json``).

    ``load`` of a saved file equals what was saved. Nothing in a file is ever executed.

    Raises
    ------
    ArchitectureError
        If the file cannot be read, breaks the schema or holds no valid graph; the message names the file, the line, the
        node and the key, and says what was expected.
    """
    return architecture_of(*read_file(path))


def read_file(path: str | os.PathLike[str]) -> tuple[Reading, Item]:
    """The tree of a file; raises `ArchitectureError` if it cannot be read."""
    file, as_json = _format(path)
    try:
        with open(file, "rb") as stream:
            data = stream.read()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ArchitectureError(
            file, f"it cannot be read ({reason})", "give the path of an architecture file"
        ) from error
    try:
        # A byte order mark, as some editors write, is passed over.
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ArchitectureError(f"{file}, line {line}", "it is not UTF-8 text", "save it as UTF-8") from error
    return Reading(file), read_tree(text, file, as_json=as_json)


def save(arch: Architecture, path: str | os.PathLike[str]) -> None:
    """Write an architecture to a file: YAML (``.yaml``, ``.yml``) or JSON (``.json``).

    The file is written whole or not at all, and replaces one that is there.

    Raises
    ------
    ArchitectureError
        If the file cannot be written, or the architecture has what no file can hold: an activation without a formula,
        an unknown name of one, a constant that is neither a number nor a sympy expression of the grammar, or two
        symbols of one name.
    """
    write_file(arch, path)


def write_file(
    arch: Architecture, path: str | os.PathLike[str], contexts: Callable[[Writing], list[dict[str, Any]]] | None = None
) -> None:
    """Write an architecture, and the contexts of a gated network after it; raises as `save`."""
    file, as_json = _format(path)
    write_whole(file, _text(arch, contexts, as_json=as_json).encode(), error=ArchitectureError)


def _format(path: str | os.PathLike[str]) -> tuple[str, bool]:
    """The path as a text, and whether it is JSON."""
    try:
        file = os.fsdecode(path)
    except TypeError:
        raise ArchitectureError("path", f"a {type(path).__name__} is no path", "give the name of a file") from None
    suffix = os.path.splitext(file)[1].lower()
    if suffix not in (".yaml", ".yml", ".json"):
        raise ArchitectureError(file, f"there is no format for the suffix {suffix!r}", "use .yaml, .yml or .json")
    return file, suffix == ".json"


# --- Reading ---------------------------------------------------------------------------------------------------------


def architecture_of(reading: Reading, root: Item) -> Architecture:
    """The architecture that a tree means."""
    if not isinstance(root.value, dict):
        raise reading.refuse(root.line, "", f"a mapping was expected, not {root}", f"begin with 'qcmap: {VERSION}'")
    top = root.value
    # First of all: a file of a later version may well have other keys.
    if "qcmap" not in top:
        raise reading.refuse(root.line, "qcmap", "an architecture file needs the key 'qcmap'", f"add qcmap: {VERSION}")
    version = top["qcmap"]
    if type(version.value) is not int or version.value != VERSION:
        newer = type(version.value) is int and version.value > VERSION
        raise reading.refuse(
            version.line, "qcmap", f"the schema version {VERSION} was expected, not {version}",
            "read it with a newer qcmap" if newer else f"write qcmap: {VERSION}",
        )  # fmt: skip
    reading.refuse_keys(root, _TOP, ("name", "nodes"), "an architecture file")
    name = read_value(TEXT, reading, "name", top["name"])
    if "symbols" in top:
        _read_symbols(reading, top["symbols"])
    items = _list(reading, "nodes", top["nodes"])
    nodes = [_node(reading, item) for item in items]
    reading.node = ""
    lines = _checked(reading, nodes, items)
    outputs = _list(reading, "outputs", top["outputs"]) if "outputs" in top else []
    ids = tuple(read_value(TEXT, reading, f"outputs[{n}]", item) for n, item in enumerate(outputs))
    for output, item in zip(ids, outputs, strict=True):
        if output not in lines:
            error = unknown_node(name, output, lines)
            raise reading.refuse(item.line, "outputs", error.rule, error.remedy)
    if not ids and not any(isinstance(node.op, Output) for node in nodes):
        line = top["outputs"].line if "outputs" in top else root.line
        raise reading.refuse(line, "outputs", "an architecture has at least one output", "name an output node")
    try:
        return Architecture(name, tuple(nodes), ids)
    except ArchitectureError as error:
        # Only a cycle and a node that is not used are left; a cycle is reported for the whole graph.
        node = _in_a_cycle(nodes) or error.subject
        reading.node = f"node {node!r}"
        raise reading.refuse(lines.get(node, root.line), "inputs", error.rule, error.remedy) from error


def _in_a_cycle(nodes: list[Node]) -> str | None:
    try:
        graphlib.TopologicalSorter({node.id: node.inputs for node in nodes}).prepare()
    except graphlib.CycleError as error:
        return error.args[1][0]
    return None


def _list(reading: Reading, key: str, item: Item) -> list[Item]:
    if not isinstance(item.value, list):
        raise reading.refuse(item.line, key, f"a list was expected, not {item}", f"write {key}: [...]")
    return item.value


def _read_symbols(reading: Reading, item: Item) -> None:
    """Declare the symbols of the file with their assumptions."""
    if not isinstance(item.value, dict):
        raise reading.refuse(item.line, "symbols", f"a mapping was expected, not {item}", "write symbols: {w: {}}")
    for name, assumed in item.value.items():
        key = f"symbols.{name}"
        if not is_symbol_name(name):
            raise reading.refuse(assumed.key_line, key, f"{name!r} cannot name a symbol", "use letters and digits")
        if not isinstance(assumed.value, dict):
            raise reading.refuse(
                assumed.line,
                key,
                f"a mapping of assumptions was expected, not {assumed}",
                "write {} or {positive: true}",
            )
        reading.refuse_keys(assumed, ASSUMPTIONS, (), f"the symbol {name}")
        for assumption, value in assumed.value.items():
            if not isinstance(value.value, bool):
                raise reading.refuse(
                    value.line, f"{key}.{assumption}", f"true or false was expected, not {value}", "give one of them"
                )
        try:
            reading.symbols[name] = read_symbol(name, {key: value.value for key, value in assumed.value.items()})
        except FormulaError as error:
            raise reading.refuse(assumed.line, key, error.rule, error.remedy) from error


def _node(reading: Reading, item: Item) -> Node:
    """The node of one entry."""
    reading.node = ""
    if not isinstance(item.value, dict):
        raise reading.refuse(item.line, "nodes", f"a mapping was expected, not {item}", "write {id: ..., op: ...}")
    for key in ("id", "op"):
        if key not in item.value:
            raise reading.refuse(item.line, key, f"a node needs the key {key!r}", f"add {key}")
    name = read_value(TEXT, reading, "id", item.value["id"])
    reading.node = f"node {name!r}"
    kind = read_value(TEXT, reading, "op", item.value["op"])
    if kind not in OPS:
        error = unknown_node("op", kind, OPS)
        hint = error.remedy if "did you mean" in error.remedy else f"choose one of {', '.join(OPS)}"
        raise reading.refuse(item.value["op"].line, "op", f"there is no op {kind!r}", hint)
    op = read_op(reading, OPS[kind], item, _OF_NODE)
    inputs: tuple[str, ...] = ()
    if "inputs" in item.value:
        entries = _list(reading, "inputs", item.value["inputs"])
        inputs = tuple(read_value(TEXT, reading, f"inputs[{n}]", entry) for n, entry in enumerate(entries))
    return Node(name, op, inputs)


def _checked(reading: Reading, nodes: list[Node], items: list[Item]) -> dict[str, int]:
    """The line of each id; raises `ArchitectureError`, with the line, for what is wrong with a node on its own."""
    lines: dict[str, int] = {}
    for node, item in zip(nodes, items, strict=True):
        if node.id in lines:
            raise reading.refuse(
                item.value["id"].line, "id", f"the id {node.id!r} is taken, by line {lines[node.id]}",
                "give every node its own id",
            )  # fmt: skip
        lines[node.id] = item.line
    for node, item in zip(nodes, items, strict=True):
        reading.node = f"node {node.id!r}"
        for source, entry in zip(node.inputs, item.value["inputs"].value if node.inputs else (), strict=True):
            if source not in lines:
                error = unknown_node(node.id, source, lines)
                raise reading.refuse(entry.line, "inputs", error.rule, error.remedy)
        try:
            node.op.check(node.id, len(node.inputs))
        except ArchitectureError as error:
            raise reading.refuse(item.line, "", error.rule, error.remedy) from error
    reading.node = ""
    return lines


# --- Writing ---------------------------------------------------------------------------------------------------------


def _text(arch: Architecture, contexts: Callable[[Writing], list[dict[str, Any]]] | None, *, as_json: bool) -> str:
    writing = Writing(arch.name)
    name = writing.text("name", arch.name)
    nodes = [_entry(writing, node) for node in arch.nodes]
    writing.node = arch.name
    outputs = [writing.text("outputs", output) for output in arch.outputs]
    entries = contexts(writing) if contexts is not None else []
    symbols = dict(sorted(writing.assumptions.items()))
    lines = _json_lines if as_json else _yaml_lines
    return "\n".join(lines(name, symbols, nodes, outputs, entries)) + "\n"


def _entry(writing: Writing, node: Node) -> dict[str, Any]:
    """A node as data, which says it is read back as the same node."""
    writing.node = node.id
    kind = type(node.op).kind
    if OPS.get(kind) is not type(node.op):
        raise writing.refuse("op", f"a file cannot hold the op {type(node.op).__name__}", "use an op of OPS")
    if not isinstance(node.inputs, tuple):
        raise writing.refuse("inputs", f"{node.inputs!r} is not a tuple", "give a tuple of ids")
    entry: dict[str, Any] = {"id": writing.text("id", node.id), "op": kind}
    if node.inputs:
        entry["inputs"] = [writing.text("inputs", name) for name in node.inputs]
    return {**entry, **write_op(writing, node.op)}


def _yaml_lines(
    name: str, symbols: dict[str, dict[str, bool]], nodes: list[dict[str, Any]], outputs: list[str],
    contexts: list[dict[str, Any]],
) -> Iterator[str]:  # fmt: skip
    yield f"qcmap: {VERSION}"
    yield f"name: {yaml_text(name)}"
    if symbols:
        yield "symbols:"
        yield from (f"  {yaml_text(symbol)}: {rendered(assumed, yaml_text)}" for symbol, assumed in symbols.items())
    yield "nodes:"
    yield from (f"  - {rendered(node, yaml_text)}" for node in nodes)
    yield f"outputs: {rendered(outputs, yaml_text)}"
    if contexts:
        yield "contexts:"
        yield from (f"  - {rendered(context, yaml_text)}" for context in contexts)


def _json_lines(
    name: str, symbols: dict[str, dict[str, bool]], nodes: list[dict[str, Any]], outputs: list[str],
    contexts: list[dict[str, Any]],
) -> Iterator[str]:  # fmt: skip
    yield "{"
    yield f'  "qcmap": {VERSION},'
    yield f'  "name": {quoted(name)},'
    if symbols:
        yield f'  "symbols": {rendered(symbols, quoted)},'
    yield '  "nodes": ['
    last = len(nodes) - 1
    yield from (f"    {rendered(node, quoted)}{',' if n < last else ''}" for n, node in enumerate(nodes))
    yield "  ],"
    yield f'  "outputs": {rendered(outputs, quoted)}{"," if contexts else ""}'
    if contexts:
        yield '  "contexts": ['
        last = len(contexts) - 1
        yield from (f"    {rendered(context, quoted)}{',' if n < last else ''}" for n, context in enumerate(contexts))
        yield "  ]"
    yield "}"
