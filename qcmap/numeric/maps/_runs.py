"""Runs of equal layers, each of which is iterated at once."""

from __future__ import annotations

from collections.abc import Mapping

from qcmap.architecture import Affine, Architecture, Nonlinear
from qcmap.numeric.maps._local import LocalMaps

Runs = Mapping[str, int]
"""For nodes of a run of equal layers: how often to apply the layer here; 0 for all but the last."""


def equal_layers(arch: Architecture, maps: Mapping[str, LocalMaps], target: str) -> dict[str, int]:
    """Runs of equal nonlinear layers that nothing else reads, up to ``target``; see `Runs`."""
    readers: dict[str, int] = dict.fromkeys((node.id for node in arch.nodes), 0)
    for node in arch.nodes:
        for name in node.inputs:
            readers[name] += 1
    readers[target] += 1
    behind: dict[str, str] = {}
    """For a node, the nonlinear node that it passes on unchanged and alone."""
    runs: dict[str, int] = {}
    for node in arch.nodes:
        op = node.op
        last = behind.get(node.inputs[0]) if len(node.inputs) == 1 and readers[node.inputs[0]] == 1 else None
        if isinstance(op, Nonlinear):
            if last is not None and maps[last] is maps[node.id]:
                runs[node.id], runs[last] = runs.get(last, 1) + 1, 0
            behind[node.id] = node.id
        elif last is not None and (
            op.transparent or (isinstance(op, Affine) and (op.weight_variance, op.bias_variance) == (1, 0))
        ):
            behind[node.id] = last
    return runs
