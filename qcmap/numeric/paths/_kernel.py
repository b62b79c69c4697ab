"""The neural path kernel, the overlap of active sub-networks, and the number of paths (NPF, sections 2.1 and 2.2)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from qcmap.architecture import Affine, Algebra, Architecture, Gate, MaxPool, Node, Nonlinear, Pool, Units
from qcmap.errors import ArgumentError, DataError, NumericalError
from qcmap.numeric.paths._checks import finite
from qcmap.numeric.paths._coactive import CoactiveWalk, Piece, Side, Term, Value, windows
from qcmap.numeric.paths._gates import Gates, Layered, gates_of, inputs_of

Array = NDArray[np.float64]

_SIDE = 512
"""Rows and columns of a block for a network with one location: its arrays stay in the cache."""


OVERLAP = "Lambda"
ONES = "use active_paths, or log_path_kernel of inputs 1: the logarithm of d_in Lambda"


class KernelBlock(NamedTuple):
    """A part of a kernel matrix: ``matrix[rows, columns]`` is ``values``."""

    rows: slice
    columns: slice
    values: Any


class _Counting(CoactiveWalk):
    """Paths whatever the gates: activations let everything through, max pooling every location of its windows."""

    @property
    def algebra(self) -> Algebra[Value]:
        through = {kind: lambda node, values: values[0] for kind in (Nonlinear, Gate)}
        return Algebra("path count", {**super().algebra.rules, **through, MaxPool: self._every})

    def _every(self, node: Node, values: list[Value]) -> Value:
        taps = self.units.taps(node.id)
        return tuple(Piece(p.channels, tuple(Term(windows(t.matrix, taps)) for t in p.terms)) for p in values[0])


def count_paths(arch: Architecture | Units) -> int:
    """P, the number of paths from any unit of any input to any unit of any output, exactly.

    A path passes one unit of each feature map on its way, one tap of each window, and one branch of each sum. It is
    counted by one walk over the graph.

    Raises
    ------
    ArchitectureError
        For a network that has no paths, as `Units.of`.
    """
    units = arch if isinstance(arch, Units) else Units.of(arch)
    side = Side({}, {}, {}, None)
    walk = _Counting(units, side, side, np.ones((1, 1, 1), dtype=object), _exact, lambda constant: 1)
    return int(walk.total()[0, 0])


def active_paths(
    arch: Architecture | Units, gates: Gates | Mapping[str, Any], gates2: Gates | Mapping[str, Any] | None = None
) -> NDArray[Any]:
    """The number of paths that are active for both of two examples, |Act(s, s')| (NPF, Definition 2.2).

    Parameters
    ----------
    arch
        The architecture, or its units.
    gates, gates2
        Gates of 0 and 1 for n and n' examples (see `Gates.of`); the first again if the second are left out.

    Returns
    -------
    counts
        [n, n'], exact: of type int64, or Python's integers where there are more than 2^53 paths.

    Raises
    ------
    DataError
        For gates that are not 0 or 1, and as `Gates.of`.
    ArchitectureError
        As `Units.of`.
    """
    one, two = _both(arch, gates, gates2)
    refuse_soft(one, two)
    if count_paths(one.units) <= 2**53:
        return _matrix(one, None, two, None, float, lambda constant: 1).astype(np.int64)
    return _matrix(one, None, two, None, _exact, lambda constant: 1)


def overlap(
    arch: Architecture | Units, gates: Gates | Mapping[str, Any], gates2: Gates | Mapping[str, Any] | None = None
) -> Array:
    """Lambda(s, s'), the active paths that two examples share for each input unit (NPF, Definition 2.2).

    This is |Act(s, s')| / d_in, where d_in is the number of input units. With soft gates it is the sum of the products
    of both activities; a path counts with the square of the constants on it (weights of sums, factors, 1/k of a mean).
    H = Sigma * Lambda, Lemma 2.1, holds where the same number of paths starts at each input unit, as in fully-connected
    networks; else `path_kernel` weighs each input unit with its own.

    Raises as `path_kernel`.
    """
    one, two = _both(arch, gates, gates2)
    return _finite(_matrix(one, None, two, None, float, squared), OVERLAP, ONES) / input_units(one.units)


def refuse_soft(*gates: Gates) -> None:
    """Raise `DataError` unless all gates are 0 or 1, for which alone paths are active or not."""
    if not all(part.binary for part in gates):
        raise DataError("gates", "active paths have all gates on, so gates are 0 or 1", "use overlap for soft gates")


def input_units(units: Units) -> int:
    """d_in, the number of units of all inputs."""
    return sum(units.size(name) for name in units.architecture.inputs)


def path_kernel(
    arch: Architecture | Units,
    gates: Gates | Mapping[str, Any],
    x: Any,
    gates2: Gates | Mapping[str, Any] | None = None,
    x2: Any = None,
    *,
    exact: bool = False,
) -> NDArray[Any]:
    """The neural path kernel H(s, s') = <phi_s, phi_s'>, without enumeration of paths (NPF, Lemma 2.1).

    phi_s(p) is the input where the path starts times the gates on it times the constants on it. If there are several
    output units, H is the sum over the paths to each.

    Parameters
    ----------
    arch
        The architecture, or its units.
    gates
        Gates of n examples, see `Gates.of`.
    x
        Inputs [n, channels, *extent], or a mapping of such arrays by input node.
    gates2, x2
        Another set, of n' examples; the first again if left out.
    exact
        Compute with Python's integers and fractions: exact, and slow. All given floats are taken as they are.

    Returns
    -------
    kernel
        [n, n'], float64, or Python's numbers with ``exact``.

    Raises
    ------
    DataError
        Naming the node: gates or inputs of the wrong shape, outside of their range or missing.
    ArchitectureError
        Naming the node: an op that has no paths, a bias, unknown channels or locations.
    NumericalError
        If the kernel is beyond the range of floats; use ``exact`` or `log_path_kernel`.
    """
    one, two = _both(arch, gates, gates2)
    inputs = inputs_of(one.units, x, one.count)
    if (gates2 is None) != (x2 is None):
        raise ArgumentError("x2", "a second set of examples has gates and inputs", "give both gates2 and x2")
    inputs2 = inputs if x2 is None else inputs_of(two.units, x2, two.count)
    if exact:
        return _matrix(one, inputs, two, inputs2, _exact, _exact_square)
    return _finite(_matrix(one, inputs, two, inputs2, float, squared))


def path_kernel_blocks(
    arch: Architecture | Units, gates: Gates | Mapping[str, Any], x: Any, *, side: int | None = None
) -> Iterator[KernelBlock]:
    """The path kernel of `path_kernel` in blocks, of which only those on and above the diagonal are given.

    Memory is that of one block and of the gates, which keep their type: 20,000 examples of 640 gates take 13 MB as
    booleans, where their kernel takes 3.2 GB. What `path_kernel` refuses is refused here.

    Parameters
    ----------
    arch, gates, x
        As for `path_kernel`.
    side
        Rows and columns of a block; chosen to fit the cache if left out.
    """
    one, _ = _both(arch, gates, None)
    inputs = inputs_of(one.units, x, one.count)
    for rows, columns, values in blocks_of(
        one, inputs, one, inputs, to_floats, squared, block_side(one.units) if side is None else side
    ):
        shape = (rows.stop - rows.start, columns.stop - columns.start)
        yield KernelBlock(rows, columns, np.broadcast_to(_finite(values), shape))


def _both(
    arch: Architecture | Units, gates: Gates | Mapping[str, Any], gates2: Gates | Mapping[str, Any] | None
) -> tuple[Gates, Gates]:
    one = gates_of(arch, gates)
    return one, one if gates2 is None else gates_of(one.units, gates2)


def _matrix(one: Gates, x: Layered | None, two: Gates, x2: Layered | None, convert: Any, factor: Any) -> NDArray[Any]:
    """The whole matrix, filled by symmetry."""
    matrix = np.empty((one.count, two.count), dtype=np.float64 if convert is float else object)
    number = to_floats if convert is float else convert
    for rows, columns, values in blocks_of(one, x, two, x2, number, factor, block_side(one.units)):
        matrix[rows, columns] = values
        if one is two and rows != columns:
            matrix[columns, rows] = matrix[rows, columns].T
    return matrix


def blocks_of(
    one: Gates,
    x: Layered | None,
    two: Gates,
    x2: Layered | None,
    number: Any,
    factor: Any,
    side: int,
    total: Callable[[CoactiveWalk], Any] = CoactiveWalk.total,
) -> Iterator[KernelBlock]:
    """Blocks of values that spread to their shape; only those on and above the diagonal if both sets are the same.

    ``number`` makes of arrays what the walk computes with: floats, exact numbers, tensors of a device; ``total`` what
    is wanted of the walk.
    """
    unit = number(np.ones((1, 1, 1)))
    for rows in slices(one.count, side):
        left = Side.of(one.rows(rows), _some(x, rows), number)
        for columns in slices(two.count, side):
            if one is two and columns.start < rows.start:
                continue
            right = left if one is two and rows == columns else Side.of(two.rows(columns), _some(x2, columns), number)
            with np.errstate(over="ignore", invalid="ignore"):  # what leaves is checked
                values = total(CoactiveWalk(one.units, left, right, unit, number, factor))
            yield KernelBlock(rows, columns, values)


def block_side(units: Units) -> int:
    """Rows and columns of a block whose arrays, of all locations of the largest map, stay small."""
    places = max(units.places(node.id) for node in units.architecture.nodes)
    taps = max((len(units.taps(node.id)) for node in units.architecture.nodes if isinstance(node.op, (Affine, Pool))),
               default=1)  # fmt: skip
    return max(8, int(_SIDE / math.sqrt(max(places, taps))))


def slices(count: int, side: int) -> list[slice]:
    """Consecutive ranges of at most ``side``; raises `ArgumentError` for a side that is no positive integer."""
    if isinstance(side, bool) or not isinstance(side, int) or side < 1:
        raise ArgumentError("side", f"it is a number of rows, not {side!r}", "give 1 or more")
    return [slice(first, min(first + side, count)) for first in range(0, count, side)]


def _some(x: Layered | None, rows: slice) -> Layered | None:
    return None if x is None else {name: array[:, rows] for name, array in x.items()}


def _finite(matrix: Array, what: str = "path kernel", remedy: str = "use exact=True, or log_path_kernel") -> Array:
    finite(what, remedy, matrix)
    return matrix


def to_floats(array: NDArray[Any]) -> Array:
    """As contiguous float64; raises `NumericalError` for integers beyond them."""
    try:
        return np.ascontiguousarray(array, dtype=np.float64)
    except OverflowError as error:
        raise NumericalError("x", "it is beyond the range of floats", "use path_kernel with exact=True") from error


def squared(constant: Any) -> float:
    """The square of a constant of the wiring."""
    return float(constant) ** 2


def exact_number(value: Any) -> int | Fraction:
    """A float as the fraction that it is."""
    fraction = Fraction(value)
    return fraction.numerator if fraction.denominator == 1 else fraction


def _exact_square(constant: Any) -> int | Fraction:
    return exact_number(exact_number(constant) ** 2)


_exact = np.vectorize(lambda value: exact_number(value.item() if hasattr(value, "item") else value), otypes=[object])
