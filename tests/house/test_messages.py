"""Every error that is raised on purpose, read from the sources: three parts, and remedies that can be followed."""

from __future__ import annotations

import ast
import importlib
import re
from pathlib import Path

from qcmap import errors

ROOT = Path(__file__).parents[2]
FAMILY = {name for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, errors.QCMapError)}


def messages() -> list[tuple[str, list[ast.expr]]]:
    """Where each is raised, and its arguments without keywords."""
    found = []
    for path in sorted((ROOT / "qcmap").rglob("*.py")):
        found += [
            (f"{path.relative_to(ROOT)}:{node.lineno}", node.args)
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in FAMILY
        ]
    return found


def exists(name: str) -> bool:
    """Whether a dotted name leads somewhere, by attributes or modules."""
    first, *parts = {"qc": "qcmap", "qnn": "qcmap.nn"}.get(name.split(".")[0], "qcmap").split(".") + name.split(".")[1:]
    found = importlib.import_module(first)
    for part in parts:
        if not hasattr(found, part):
            try:
                importlib.import_module(f"{found.__name__}.{part}")
            except ImportError:
                return False
        found = getattr(found, part)
    return True


def test_each_has_a_subject_a_rule_and_a_remedy():
    found = messages()
    assert len(found) > 500
    for where, arguments in found:
        assert len(arguments) == 3 or any(isinstance(a, ast.Starred) for a in arguments), where
        for argument in arguments[1:]:
            if isinstance(argument, ast.Constant):
                assert argument.value, where
                assert not argument.value.removesuffix("...").endswith("."), where


def test_names_in_messages_exist():
    assert not exists("qcmap.no_such_name")
    for where, arguments in messages():
        text = " ".join(ast.unparse(argument) for argument in arguments)
        for name in re.findall(r"\b(?:qcmap|qc|qnn)(?:\.[A-Za-z_]+)+", text):
            assert exists(name), f"{where}: {name}"
