"""The epsilons of layer norms: with one, what a norm gives has the q value v/(v + epsilon), v the moment it divides by.

Maps have 1 there (DKS, section 19.2): an epsilon is there for numbers, and 1e-5 below 1 no rule of the theory changes.
A measured q value shows it.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import fx, nn

from qcmap.architecture import LayerNorm
from qcmap.nn._network import GraphNetwork
from qcmap.nn.measuring._record import Recorder

_DEFAULT = 1e-5
"""torch's own, for a norm that no module and no call shows."""


def epsilons(recorder: Recorder, dtype: torch.dtype) -> dict[str, float]:
    """The epsilon of each norm over the channels of a location; ``dtype`` is that of the network's inputs."""
    nodes = [n for n in recorder.arch.nodes if isinstance(n.op, LayerNorm) and n.op.groups is None]
    if isinstance(recorder.model, GraphNetwork):
        return {}
    return {node.id: _epsilon(recorder, node.id, dtype) for node in nodes}


def _epsilon(recorder: Recorder, node: str, dtype: torch.dtype) -> float:
    if recorder.traced is None:
        return _of_module(recorder.modules.get(node), dtype)
    place = recorder.traced.places[node]
    if place.op == "call_module":
        return _of_module(recorder.traced.graph_module.get_submodule(str(place.target)), dtype)
    rms = "rms" in str(getattr(place.target, "__name__", place.target))
    return _of_value(_argument(place, 3 if rms else 4, None if rms else _DEFAULT), dtype)


def _argument(place: fx.Node, position: int, default: float | None) -> Any:
    """``eps`` of layer_norm(input, shape, weight, bias, eps) and rms_norm(input, shape, weight, eps)."""
    return place.args[position] if position < len(place.args) else place.kwargs.get("eps", default)


def _of_module(module: nn.Module | None, dtype: torch.dtype) -> float:
    return _of_value(getattr(module, "eps", _DEFAULT), dtype)


def _of_value(value: Any, dtype: torch.dtype) -> float:
    """torch's RMS norm without an epsilon takes the spacing of floats at 1."""
    return torch.finfo(dtype).eps if value is None else float(value)
