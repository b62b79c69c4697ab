"""Some paths of an architecture, however many it has."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import TypeAlias

import numpy as np

from qcmap.architecture import Affine, Architecture, Concat, Input, Node, Pool, Sum, Units
from qcmap.numeric.maps._arguments import integer

Unit: TypeAlias = tuple[str, tuple[int, ...]]
"""A node, and the position (channel, *location) of a unit of it."""


def first_paths(arch: Architecture | Units, most: int = 5) -> list[tuple[Unit, ...]]:
    """Up to so many paths, each as its units from input to output, without listing all.

    Raises
    ------
    ArgumentError
        For a number below 1.
    ArchitectureError
        As `Units.of`.
    """
    units = arch if isinstance(arch, Units) else Units.of(arch)
    return list(islice(_paths(units), integer(most, least=1, name="most")))


def _paths(units: Units) -> Iterator[tuple[Unit, ...]]:
    """Depth first, back from the outputs: every unit is on a path."""
    arch = units.architecture
    for output in arch.outputs:
        for unit in range(units.size(output)):
            way = [(output, unit)]
            branches = [_before(units, arch[output], unit)]
            while branches:
                step = next(branches[-1], None)
                if step is None:
                    branches.pop()
                    way.pop()
                    continue
                way.append(step)
                if isinstance(arch[step[0]].op, Input):
                    yield tuple(_placed(units, *at) for at in reversed(way))
                    way.pop()
                else:
                    branches.append(_before(units, arch[step[0]], step[1]))


def _placed(units: Units, node: str, unit: int) -> Unit:
    return node, tuple(map(int, np.unravel_index(unit, units.shape(node))))


def _before(units: Units, node: Node, unit: int) -> Iterator[tuple[str, int]]:
    """The units that a unit reads."""
    op, places = node.op, units.places(node.id)
    channel, place = divmod(unit, places)
    if isinstance(op, (Affine, Pool)):
        (source,) = node.inputs
        before, read = units.channels[source], units.taps(node.id)[:, place]
        if isinstance(op, Affine):
            size = before // op.groups
            first = channel // (units.channels[node.id] // op.groups) * size
            into = range(first, first + size)
        else:
            into = range(channel, channel + 1)
        yield from ((source, c * units.places(source) + int(at)) for c in into for at in read if at >= 0)
    elif isinstance(op, Concat):
        for source in node.inputs:
            if 0 <= channel < units.channels[source]:
                yield source, channel * places + place
            channel -= units.channels[source]
    elif isinstance(op, Sum):
        yield from ((source, unit) for source, weight in zip(node.inputs, op.weights, strict=True) if weight != 0)
    elif node.inputs:
        yield node.inputs[0], unit
