"""YAML and JSON text as one tree whose items know their lines, and back."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from typing import Any

from qcmap.architecture._formula import DIGITS, short
from qcmap.errors import ArchitectureError

DEEPEST = 20
"""The deepest nesting of lists and mappings; the schema needs six."""

_WORDS: dict[str, bool | None] = {
    "": None, "~": None, "null": None, "Null": None, "NULL": None,
    "true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False,
}  # fmt: skip
_INTEGER = re.compile(r"[-+]?(?:0|[1-9][0-9]*)")
_DECIMAL = re.compile(r"[-+]?(?:(?:[0-9]+\.[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?|[0-9]+[eE][-+]?[0-9]+)")
_NOT_FINITE = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\],:]|[^\s{}\[\],:"]+')
_UNPRINTABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What YAML does not allow to stand in a file."""
_BREAK = re.compile("\r\n|[\n\r\x85\u2028\u2029]")
"""What YAML counts as the end of a line."""
_ESCAPED = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")
"""What JSON allows in a string, but YAML would refuse or take for a line break."""
_PLAIN = re.compile(r"[A-Za-z_][\w.()=/-]*(?: [\w(][\w.()=/-]*)*", re.ASCII)
"""Text that means itself without quotes, unless it is a word of `_RESERVED`."""
_RESERVED = frozenset({"true", "false", "yes", "no", "on", "off", "y", "n", "null", "nan", "inf", "infinity"})


class Item:
    """A value with the line it starts on, and the line of its key (0 if it has none).

    ``value`` is None, a bool, int, float or str, a list of items or a dictionary of items.
    """

    __slots__ = ("key_line", "line", "value")

    def __init__(self, value: Any, line: int, key_line: int = 0) -> None:
        self.value, self.line, self.key_line = value, line, key_line

    def __str__(self) -> str:
        if isinstance(self.value, (dict, list)):
            return "a mapping" if isinstance(self.value, dict) else "a list"
        return short(self.value) if isinstance(self.value, str) else json.dumps(self.value)


def refusal(file: str, line: int, keys: str, rule: str, remedy: str) -> ArchitectureError:
    """The error for a place in a file."""
    return ArchitectureError(f"{file}, line {line}{f', {keys}' if keys else ''}", rule, remedy)


def read_tree(text: str, file: str, *, as_json: bool) -> Item:
    """The one document of a text.

    Raises `ArchitectureError`, naming file and line, for text that is not YAML or JSON, is empty or has several
    documents, repeats a key, is nested too deeply, has a number that is not finite, or uses anchors, aliases or tags.
    """
    grow = _Growing(file)
    (_from_json if as_json else _from_yaml)(text, grow)
    if grow.root is None:
        raise refusal(file, 1, "", "the file is empty", "begin with 'qcmap: 1'")
    return grow.root


class _Growing:
    """Puts items together as they come, without recursion."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.root: Item | None = None
        self.open: list[tuple[Item, list[tuple[str, int]], str]] = []
        """What is not closed yet: the item, its key that waits for a value, and the key it has itself."""

    def add(self, value: Any, line: int) -> Item:
        """Add a value where the text is: as the document, an element, or the value of the key before it."""
        if not self.open:
            self.root = item = Item(value, line)
            return item
        parent, keys, _ = self.open[-1]
        if isinstance(parent.value, list):
            item = Item(value, line)
            parent.value.append(item)
        elif keys:
            key, key_line = keys.pop()
            parent.value[key] = item = Item(value, line, key_line)
        else:
            raise refusal(self.file, line, "", f"a key must be a text, not {Item(value, line)}", "write a word")
        return item

    def begin(self, value: Any, line: int) -> None:
        """Open a list or a mapping."""
        if len(self.open) == DEEPEST:
            raise refusal(self.file, line, self.key, f"it is nested more than {DEEPEST} deep", "keep to the schema")
        own = self.open[-1][1][-1][0] if self.open and self.open[-1][1] else ""
        self.open.append((self.add(value, line), [], own))

    def end(self) -> None:
        """Close what was opened last."""
        self.open.pop()

    def scalar(self, text: str, line: int, *, plain: bool) -> None:
        """Add a key or a value; ``plain`` ones, without quotes, may be numbers or words such as true."""
        if not is_unicode(text):
            raise refusal(self.file, line, self.key, f"{text!r} has half of a surrogate pair", "write the character")
        if self.open:
            parent, keys, _ = self.open[-1]
            if isinstance(parent.value, dict) and not keys:
                if text in parent.value:
                    raise refusal(self.file, line, text, f"the key {short(text)} is given twice", "give it once")
                keys.append((text, line))
                return
        self.add(self.resolved(text, line) if plain else text, line)

    def resolved(self, text: str, line: int) -> Any:
        """What a text without quotes means: a number, a truth value, null or itself (YAML 1.2, and JSON)."""
        if text in _WORDS:
            return _WORDS[text]
        if text[0].isalpha():
            return text
        if _INTEGER.fullmatch(text):
            if len(text) > DIGITS:
                raise refusal(self.file, line, self.key, f"an integer has at most {DIGITS} digits", "make it smaller")
            return int(text)
        if _NOT_FINITE.fullmatch(text) or (_DECIMAL.fullmatch(text) and not math.isfinite(float(text))):
            raise refusal(self.file, line, self.key, f"{short(text)} is not a finite number", "give a finite number")
        return float(text) if _DECIMAL.fullmatch(text) else text

    @property
    def key(self) -> str:
        """The key whose value is being read, if there is one."""
        return next((keys[-1][0] if keys else own for _, keys, own in reversed(self.open) if keys or own), "")


def _from_yaml(text: str, grow: _Growing) -> None:
    import yaml

    bad = _UNPRINTABLE.search(text)
    if bad:
        line = text.count("\n", 0, bad.start()) + 1
        raise refusal(grow.file, line, "", f"YAML does not allow the character {bad[0]!r}", "write it as an escape")
    loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    documents = 0
    try:
        for event in yaml.parse(text, Loader=loader):
            kind, line = type(event), event.start_mark.line + 1
            if kind is yaml.AliasEvent or getattr(event, "anchor", None) or getattr(event, "tag", None):
                raise refusal(grow.file, line, grow.key, "anchors, aliases and tags are not read", "write it out")
            if kind is yaml.ScalarEvent:
                grow.scalar(event.value, line, plain=event.implicit[0])
            elif kind is yaml.MappingStartEvent or kind is yaml.SequenceStartEvent:
                grow.begin({} if kind is yaml.MappingStartEvent else [], line)
            elif kind is yaml.MappingEndEvent or kind is yaml.SequenceEndEvent:
                grow.end()
            elif kind is yaml.DocumentStartEvent:
                documents += 1
                if documents > 1:
                    raise refusal(grow.file, line, "", "it has several documents", "keep one architecture a file")
    except (yaml.YAMLError, OverflowError, ValueError) as error:
        mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        last = 1 + len(_BREAK.findall(text.rstrip()))
        line = last if mark is None else min(mark.line + 1, last)
        raise refusal(
            grow.file, line, "", f"it is not YAML: {problem}", "correct this line or the one before"
        ) from error


def _from_json(text: str, grow: _Growing) -> None:
    if not text.strip():
        return
    try:
        # For the syntax alone. Numbers stay text: Python refuses to convert the longest with an error of its own.
        json.loads(text, parse_int=str, parse_float=str, parse_constant=str)
    except json.JSONDecodeError as error:
        line = min(error.lineno, 1 + text.rstrip().count("\n"))
        raise refusal(grow.file, line, "", f"it is not JSON: {error.msg}", "correct this line") from error
    except RecursionError:
        # The walk below finds the line where it is nested too deeply.
        pass
    line, last = 1, 0
    for match in _TOKEN.finditer(text):
        token = match[0]
        line += text.count("\n", last, match.start())
        last = match.start()
        if token in "{[":
            grow.begin({} if token == "{" else [], line)
        elif token in "}]":
            grow.end()
        elif token[0] == '"':
            grow.scalar(json.loads(token) if "\\" in token else token[1:-1], line, plain=False)
        elif token in ("NaN", "Infinity", "-Infinity"):
            raise refusal(grow.file, line, grow.key, f"{token} is not a finite number", "give a finite number")
        elif token not in ",:":
            grow.scalar(token, line, plain=True)


def is_unicode(text: str) -> bool:
    """Whether the text has no half of a surrogate pair, which no file can hold."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def quoted(text: str) -> str:
    """The text as a JSON string that YAML reads alike."""
    return _ESCAPED.sub(lambda match: f"\\u{ord(match[0]):04x}", json.dumps(text, ensure_ascii=False))


def yaml_text(text: str) -> str:
    """The text as YAML: without quotes where every reader of YAML 1.1 and 1.2 takes it for a text."""
    return text if _PLAIN.fullmatch(text) and text.lower() not in _RESERVED else quoted(text)


def rendered(value: Any, text: Callable[[str], str]) -> str:
    """A value on one line, as JSON or flow-style YAML according to how ``text`` writes strings."""
    if isinstance(value, str):
        return text(value)
    if isinstance(value, dict):
        return "{" + ", ".join(f"{text(key)}: {rendered(item, text)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(rendered(item, text) for item in value) + "]"
    if isinstance(value, float):
        digits = float.__repr__(value)
        # YAML 1.1 takes 1e-05 for a text, 1.0e-05 for a number.
        return digits.replace("e", ".0e") if "e" in digits and "." not in digits else digits
    return json.dumps(value)
