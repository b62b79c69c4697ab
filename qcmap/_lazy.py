"""Modules whose names load what they need when they are first used (PEP 562)."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Mapping
from importlib import import_module


def lazy(
    module: str, package: str, homes: Mapping[str, Collection[str]], *, shown: Collection[str],
    submodules: Collection[str] = (),
) -> tuple[Callable[[str], object], Callable[[], list[str]]]:  # fmt: skip
    """``__getattr__`` and ``__dir__`` of a module.

    Parameters
    ----------
    module
        Its name.
    package
        What the modules in ``homes`` are named relative to.
    homes
        For each module, its names that are loaded from there.
    shown
        What ``dir`` lists, beside the submodules.
    submodules
        Of this one, loaded as well when they are used.
    """
    home_of = {name: home for home, names in homes.items() for name in names}

    def load(name: str) -> object:
        if name in submodules:
            return import_module(f"{module}.{name}")
        if name not in home_of:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        value = getattr(import_module(f"{package}.{home_of[name]}"), name)
        setattr(sys.modules[module], name, value)
        return value

    def listed() -> list[str]:
        return sorted({*shown, *submodules})

    return load, listed
