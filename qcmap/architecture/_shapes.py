"""Channel counts and locations of feature maps, as algebras."""

from __future__ import annotations

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
    WeightedMeanPool,
)
from qcmap.errors import ArchitectureError

Projection: TypeAlias = tuple[range, ...]
"""Along each axis, the input locations that the locations of a feature map stand for; () for one location of all."""


def _one(node: Node, values: list[object], what: str) -> None:
    if len({value for value in values if value is not None}) > 1:
        raise ArchitectureError(
            node.id, f"a {node.op.kind} takes maps of equal {what}, but got {values}", f"bring them to the same {what}"
        )


def _same_channels(node: Node, values: list[Channels | None]) -> Channels | None:
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
    assert isinstance(node.op, (Affine, Pool))
    if seen is None:
        return None
    try:
        visited = node.op.centres(extent(seen))
    except ArchitectureError as error:
        raise ArchitectureError(node.id, error.rule, error.remedy) from None
    return tuple(along[at.start : at.stop : at.step] for along, at in zip(seen, visited, strict=False))


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
        WeightedMeanPool: _one_location,
        Multiply: _broadcast_locations,
    },
)
