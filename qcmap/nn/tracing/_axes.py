"""What the axes of a tensor mean: which hold the batch, the channels and the locations of a feature map.

An axis is a row of atoms, each a part of the batch, of the channels or of one axis of the locations. Reshaping cuts and
joins atoms, permuting moves them; a layer may then ask whether an axis holds exactly the channels. An axis of size 1
has no atoms.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Sequence
from typing import NamedTuple, TypeAlias

BATCH, CHANNEL = "batch", "channel"


class Atom(NamedTuple):
    """A digit of an index: ``key`` says of what, an entry of index i here counts for ``i * stride`` there.

    Keys are `BATCH`, `CHANNEL`, the number of an axis of locations, or anything else for an axis of a network input of
    which it is not known yet whether it holds channels or locations.
    """

    key: Hashable
    size: int
    stride: int = 1


Axis: TypeAlias = tuple[Atom, ...]
Layout: TypeAlias = tuple[Axis, ...]


def joined(atoms: Iterable[Atom]) -> Axis:
    """An axis of these atoms, with neighbours that are one index made one atom, and none of size 1."""
    found: list[Atom] = []
    for atom in atoms:
        if atom.size == 1:
            continue
        if found and found[-1].key == atom.key and found[-1].stride == atom.size * atom.stride:
            atom = Atom(atom.key, found.pop().size * atom.size, atom.stride)
        found.append(atom)
    return tuple(found)


def extent(axis: Axis) -> int:
    """The size of an axis."""
    return math.prod(atom.size for atom in axis)


def reshaped(layout: Layout, shape: Sequence[int]) -> Layout | None:
    """The layout after a reshape to these sizes; None if an index would be cut where it has no digit."""
    rest = [atom for axis in reversed(layout) for atom in reversed(axis)]
    result: list[Axis] = []
    for size in shape:
        taken: list[Atom] = []
        while size > 1:
            if not rest:
                return None
            atom = rest.pop()
            if size % atom.size == 0:
                taken.append(atom)
                size //= atom.size
            elif atom.size % size == 0:
                inner = atom.size // size
                taken.append(Atom(atom.key, size, atom.stride * inner))
                rest.append(Atom(atom.key, inner, atom.stride))
                size = 1
            else:
                return None
        result.append(joined(taken))
    return None if rest else tuple(result)


def whole(axis: Axis, key: Hashable, size: int) -> bool:
    """Whether an axis holds all of one index, in any order, and nothing else."""
    return extent(axis) == size and all(atom.key == key for atom in axis)


def in_order(axis: Axis, key: Hashable, size: int) -> bool:
    """Whether an axis is exactly one index."""
    return axis == (() if size == 1 else (Atom(key, size),))
