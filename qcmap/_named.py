"""Objects by name: ``package.module:attribute``."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from qcmap.errors import ArgumentError


def named(specification: str, ready: Callable[[Any], bool], remedy: str) -> Any:
    """What stands at ``package.module:attribute``, called without arguments unless it is ``ready`` as it is.

    The working folder is searched too.

    Raises
    ------
    ArgumentError
        With the ``remedy``, if it cannot be imported or called.
    """
    module, _, attribute = specification.partition(":")
    sys.path.insert(0, str(Path.cwd()))
    try:
        found: Any = import_module(module)
        for part in attribute.split("."):
            found = getattr(found, part)
        return found if ready(found) else found()
    except Exception as error:  # whatever a user's own code raises
        reason = f"it cannot be made ({type(error).__name__}: {error})"
        raise ArgumentError(specification, reason, remedy) from error
    finally:
        sys.path.pop(0)
