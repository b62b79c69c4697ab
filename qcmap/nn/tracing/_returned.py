"""What a forward returns, as the output of the recorded graph."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import torch
from torch import Tensor, fx

from qcmap.errors import TraceError

_PLAIN = bool, int, float, complex, str, bytes, torch.dtype, torch.device, torch.SymInt
"""What an output may have besides tensors: as it is, for all inputs."""


class Writer(Protocol):
    """What writes calls down, and knows the node of each tensor."""

    graph: fx.Graph

    def lift(self, value: Any) -> Any: ...


def returned(value: Any, found: list[tuple[str | None, fx.Node]], writer: Writer, key: str | None = None) -> Any:
    """The value with nodes in place of tensors; ``found`` gets each of these nodes with its key in a dictionary.

    Raises
    ------
    TraceError
        For objects that may hold tensors where they are not seen.
    """
    if isinstance(value, Tensor):
        node = writer.lift(value)
        found.append((key, node))
        return node
    if isinstance(value, Mapping):
        items = {name: returned(item, found, writer, str(name)) for name, item in value.items() if item is not None}
        return items if type(value) is dict else writer.graph.call_function(type(value), (), items)
    if isinstance(value, (tuple, list)):
        items = [returned(item, found, writer, key) for item in value]
        if hasattr(value, "_fields"):
            return writer.graph.call_function(type(value), tuple(items))
        return type(value)(items)
    if value is not None and not isinstance(value, _PLAIN):
        raise TraceError(
            "output", f"it has a {type(value).__name__}, which may hold tensors",
            "return tensors, or tuples, lists or dicts of them",
        )  # fmt: skip
    return writer.lift(value)
