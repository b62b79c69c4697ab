"""C'(1) of each nonlinear layer, given by activation or node, and the largest slope that results."""

from __future__ import annotations

import math
from collections.abc import Mapping
from numbers import Real

from qcmap.architecture import Architecture, Concat, Nonlinear, Sum
from qcmap.errors import ArchitectureError, ArgumentError, NumericalError
from qcmap.symbolic import mean_weights
from qcmap.symbolic._shares import number, shares_of


def slopes_by_node(arch: Architecture, psi: Mapping[str, float]) -> dict[str, float]:
    """The psi of every nonlinear node, from a mapping of activation names and node ids; a node's own id comes first.

    Raises
    ------
    ArgumentError
        If a key means nothing or two things, a node has no value, or a value is not a finite number above 1.
    """
    layers = {node.id: node.op.name for node in arch.nodes if isinstance(node.op, Nonlinear)}
    names = set(layers.values())
    for key, value in psi.items():
        if key not in names and key not in layers:
            raise ArgumentError(
                "psi", f"{key!r} is neither an activation nor a nonlinear node of {arch.name}",
                f"it uses {', '.join(sorted(names))}",
            )  # fmt: skip
        if key in names and key in layers and layers[key] != key:
            raise ArgumentError("psi", f"{key!r} is both an activation and a node", "rename the node")
        if not (isinstance(value, Real) and math.isfinite(value) and value > 1):
            raise ArgumentError(f"psi[{key!r}]", f"it must be a finite number above 1, not {value!r}", "give one")
    found = {node: psi.get(node, psi.get(name)) for node, name in layers.items()}
    missing = [node for node, value in found.items() if value is None]
    if missing:
        raise ArgumentError(
            "psi", f"the node {missing[0]} ({layers[missing[0]]}) has no value",
            "give its activation or its id one",
        )  # fmt: skip
    return {node: float(value) for node, value in found.items() if value is not None}


def largest_slope(arch: Architecture, slopes: Mapping[str, float]) -> float:
    """The largest C_f'(1) over all subnetworks f, for local slopes of at least 1 by node (DKS, end of section 21.3).

    Slopes multiply along compositions and average in sums and concatenations. All are at least 1, so, as for equal
    slopes (docs/dominators.md), extending a subnetwork upstream never lowers its slope: the topmost dominator is tried
    for every node.

    Raises
    ------
    ArchitectureError
        If the architecture has no nonlinear layer.
    NumericalError
        If the largest slope overflows.
    """
    if not slopes:
        raise ArchitectureError(arch.name, "it has no nonlinear layer, so every slope is 1", "add an activation")
    parent, values = arch.dominators.parent, []
    for v, (node, above) in enumerate(zip(arch.nodes, parent, strict=True)):
        if above < 0:
            value = 1.0
        elif isinstance(node.op, (Sum, Concat)):
            shares = map(number, shares_of(mean_weights(arch, v)))
            value = math.fsum(share * values[u] for share, u in zip(shares, arch.predecessors[v], strict=True))
        else:
            value = values[above] * slopes.get(node.id, 1.0)
        values.append(value)
    largest = max(values)
    if not math.isfinite(largest):
        raise NumericalError(arch.name, "its largest slope is too large for a float", "use smaller values of psi")
    return largest
