"""Channel counts and locations of feature maps, as algebras."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TypeAlias

from qcmap.architecture._node import Algebra, Node
from qcmap.architecture._ops import (
    OPS,
    Affine,
    Channels,
    Concat,
    Input,
    MaxPool,
    MeanPool,
    Multiply,
    Pool,
    Upsample,
    WeightedMeanPool,
)
from qcmap.errors import ArchitectureError

Projection: TypeAlias = tuple[Sequence[int], ...]
"""Along each axis, the input locations that the locations of a feature map stand for; () for one location of all.

Equal distances make a range, whatever they were computed from, so that equal places compare as equal.
"""


def _one(node: Node, values: list[object], what: str) -> None:
    if len({value for value in values if value is not None}) > 1:
        raise ArchitectureError(
            node.id, f"a {node.op.kind} takes maps of equal {what}, but got {values}", f"bring them to the same {what}"
        )


def _same_channels(node: Node, values: list[Channels | None]) -> Channels | None:
    if len(values) == 1:
        return values[0]
    _one(node, [*values], "channels")
    return next((value for value in values if value is not None), None)


def _own_channels(node: Node, values: list[Channels | None]) -> Channels | None:
    assert isinstance(node.op, Input)
    return node.op.channels


def _concat_channels(node: Node, values: list[Channels | None]) -> Channels | None:
    known = [value for value in values if value is not None]
    return sum(known[1:], known[0]) if len(known) == len(values) else None


def _affine_channels(node: Node, values: list[Channels | None]) -> Channels | None:
    assert isinstance(node.op, Affine)
    (before,) = values
    if isinstance(before, int) and before % node.op.groups:
        raise ArchitectureError(
            node.id, f"{before} channels do not fall into {node.op.groups} equal groups", "use groups that divide them"
        )
    return node.op.channels


CHANNELS: Algebra[Channels | None] = Algebra(
    "channel count",
    {
        **dict.fromkeys(OPS.values(), _same_channels),
        Input: _own_channels,
        Affine: _affine_channels,
        Concat: _concat_channels,
    },
)


def extent(projection: Projection) -> tuple[int, ...]:
    """The number of locations along each axis."""
    return tuple(map(len, projection))


def _input_locations(node: Node, values: list[Projection | None]) -> Projection | None:
    assert isinstance(node.op, Input)
    return None if node.op.locations is None else tuple(map(range, node.op.locations))


def _window_locations(node: Node, values: list[Projection | None]) -> Projection | None:
    (seen,) = values
    assert isinstance(node.op, (Affine, Pool, Upsample))
    if seen is None:
        return None
    try:
        visited = node.op.centres(extent(seen))
    except ArchitectureError as error:
        raise ArchitectureError(node.id, error.rule, error.remedy) from None
    return tuple(_places(along, at) for along, at in zip(seen, visited, strict=False))


def _places(along: Sequence[int], at: Sequence[int]) -> Sequence[int]:
    """What an axis stands for at these positions."""
    found = along[at.start : at.stop : at.step] if isinstance(at, range) else tuple(along[k] for k in at)
    steps = {after - before for before, after in pairwise(found)} or {1}
    if isinstance(found, range) or not found or len(steps) > 1 or 0 in steps:
        return found
    (step,) = steps
    return range(found[0], found[0] + step * len(found), step)


def _same_locations(node: Node, values: list[Projection | None]) -> Projection | None:
    known = [value for value in values if value is not None]
    _one(node, [extent(value) for value in known], "locations")
    return known[0] if known else None


def _broadcast_locations(node: Node, values: list[Projection | None]) -> Projection | None:
    """Of a product, whose factors may be the same for all locations."""
    known = [value for value in values if value is not None and extent(value)]
    return _same_locations(node, [*known] or values)


def _one_location(node: Node, values: list[Projection | None]) -> Projection | None:
    return ()


LOCATIONS: Algebra[Projection | None] = Algebra(
    "locations",
    {
        **dict.fromkeys(OPS.values(), _same_locations),
        Input: _input_locations,
        Affine: _window_locations,
        MaxPool: _window_locations,
        MeanPool: _window_locations,
        Upsample: _window_locations,
        WeightedMeanPool: _one_location,
        Multiply: _broadcast_locations,
    },
)
