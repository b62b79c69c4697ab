"""What gates must be: one tensor a layer, of the layer's shape, within the range of the gate function.

And what layers must be: their paths are those of the graph.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from qcmap.architecture import Affine
from qcmap.errors import ArchitectureError, DataError
from qcmap.nn.tracing import Traced

Range = tuple[float, float]


def check_shapes(gates: Mapping[str, Any], wanted: Mapping[str, tuple[int, ...]], batch: int) -> None:
    """Raise `DataError`, naming the layer, unless there is a tensor [batch, *shape] for each layer and no other."""
    if set(gates) != set(wanted):
        missing, foreign = sorted(set(wanted) - set(gates)), sorted(set(gates) - set(wanted))
        raise DataError(
            "gates", f"there are none for {', '.join(missing)}" if missing else f"no layer is called {foreign[0]!r}",
            f"give one tensor for each of {', '.join(wanted)}",
        )  # fmt: skip
    for name, shape in wanted.items():
        gate = gates[name]
        if not isinstance(gate, Tensor) or tuple(gate.shape) != (batch, *shape):
            what = f"shape {list(gate.shape)}" if isinstance(gate, Tensor) else type(gate).__name__
            raise DataError(name, f"its gates are {[batch, *shape]} for these inputs, not {what}", "give that shape")


def check_ranges(gates: Mapping[str, Tensor], ranges: Mapping[str, Range]) -> None:
    """Raise `DataError`, naming the layer, for a gate outside its range, or NaN."""
    for name, gate in gates.items():
        low, high = ranges[name]
        inside = (gate >= low) & (gate <= high)
        if not bool(inside.all()):
            worst = gate[~inside].flatten()[0].item()
            raise DataError(name, f"a gate lies in [{low:g}, {high:g}], but one is {worst:g}", "clip the gates")


def check_borders(found: Traced) -> None:
    """Raise `ArchitectureError`, naming the module, for padding by values of the map that the graph does not have."""
    for node in found.architecture.nodes:
        place = found.places[node.id]
        if not isinstance(node.op, Affine) or place.op != "call_module" or node.op.padding == "circular":
            continue
        module = found.graph_module.get_submodule(str(place.target))
        if not isinstance(module, nn.modules.conv._ConvNd) or module.padding_mode == "zeros":
            continue
        if any(module._reversed_padding_repeated_twice):
            raise ArchitectureError(
                node.id, f"its padding {module.padding} is {module.padding_mode}: paths that start from what it repeats"
                " at the border are not those of the graph",
                "pad with zeros, or circularly by half of the kernel",
            )  # fmt: skip
