"""The path kernel of networks with more paths than floats can count: its sign and its logarithm."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from qcmap.architecture import Affine, Algebra, Architecture, Concat, Node, Sum, Units
from qcmap.numeric.paths._coactive import CoactiveWalk, Piece, Side, Term, Value
from qcmap.numeric.paths._gates import Gates, gates_of, inputs_of
from qcmap.numeric.paths._kernel import block_side, slices, squared, to_floats

Array = NDArray[np.float64]


_LOWEST = -(2**40)
"""The exponent of 0: below that of any other value."""


class LogKernel(NamedTuple):
    """A kernel as ``sign * exp(logarithm)``, as of ``numpy.linalg.slogdet``; the logarithm of 0 is minus infinity."""

    sign: Array
    logarithm: Array


class _Scaled(NamedTuple):
    """A value 2^exponent times that of the pieces, with an exponent for each pair of examples."""

    pieces: Value
    exponent: Any


def log_path_kernel(arch: Architecture | Units, gates: Gates | Mapping[str, Any], x: Any) -> LogKernel:
    """The neural path kernel of `path_kernel` as sign and logarithm, for any number of paths.

    The walk is the same, with a power of two taken out for each pair of examples behind each affine layer: exact apart
    from rounding, but parts of one feature map that are 2^1000 times smaller than others are taken for 0.

    Parameters
    ----------
    arch, gates, x
        As for `path_kernel`.

    Returns
    -------
    kernel
        Sign and logarithm, [n, n] each.

    Raises
    ------
    DataError, ArchitectureError
        As `path_kernel`.
    """
    given = gates_of(arch, gates)
    inputs, side = inputs_of(given.units, x, given.count), block_side(given.units)
    sign, logarithm = (np.empty((given.count, given.count)) for _ in range(2))
    blocks = [
        (rows, Side.of(given.rows(rows), {name: a[:, rows] for name, a in inputs.items()}, to_floats))
        for rows in slices(given.count, side)
    ]
    for rows, left in blocks:
        for columns, right in blocks:
            walk = CoactiveWalk(given.units, left, right, np.ones((1, 1, 1)), to_floats, squared)
            mantissa, exponent = _total(walk)
            sign[rows, columns] = np.sign(mantissa)
            with np.errstate(divide="ignore"):
                logarithm[rows, columns] = np.log(np.abs(mantissa)) + exponent * math.log(2)
    return LogKernel(sign, logarithm)


def _total(walk: CoactiveWalk) -> tuple[Array, Array]:
    arch, rules = walk.units.architecture, {}
    for kind, rule in walk.algebra.rules.items():
        rules[kind] = _aligning(rule) if kind in (Sum, Concat) else _kept(rule, normalise=kind is Affine)
    values = arch.fold(Algebra("logarithm of the path kernel", rules))
    aligned, exponent = _aligned([values[name] for name in arch.outputs])
    sums = [piece.total().sum(0) for value in aligned for piece in value]
    return np.sum(sums, axis=0), exponent


def _kept(rule: Callable[[Node, list[Value]], Value], *, normalise: bool) -> Callable[[Node, list[_Scaled]], _Scaled]:
    def at(node: Node, values: list[_Scaled]) -> _Scaled:
        pieces = rule(node, [value.pieces for value in values])
        exponent = values[0].exponent if values else np.zeros((1, 1), dtype=np.int64)
        return _normalised(pieces, exponent) if normalise else _Scaled(pieces, exponent)

    return at


def _aligning(rule: Callable[[Node, list[Value]], Value]) -> Callable[[Node, list[_Scaled]], _Scaled]:
    def at(node: Node, values: list[_Scaled]) -> _Scaled:
        if isinstance(node.op, Sum):
            pairs = zip(values, node.op.weights, strict=True)
            values = [value if weight != 0 else _Scaled(value.pieces, _LOWEST) for value, weight in pairs]
        aligned, exponent = _aligned(values)
        return _Scaled(rule(node, aligned), exponent)

    return at


def _normalised(pieces: Value, exponent: Any) -> _Scaled:
    """Behind an affine layer, whose pieces are one matrix each: the largest entry of each pair is near 1."""
    largest = np.max([np.abs(piece.terms[0].matrix).max(axis=0) for piece in pieces], axis=0)
    power = np.frexp(largest)[1].astype(np.int64)
    return _Scaled(_shifted(pieces, -power), np.where(largest > 0, exponent + power, _LOWEST))


def _aligned(values: list[_Scaled]) -> tuple[list[Value], Any]:
    exponents = [np.where(_not_zero(value.pieces), value.exponent, _LOWEST) for value in values]
    exponent = np.max(np.broadcast_arrays(*exponents), axis=0)
    return [_shifted(value.pieces, own - exponent) for value, own in zip(values, exponents, strict=True)], exponent


def _not_zero(pieces: Value) -> Any:
    """For which pairs some entry is not 0, [n, n']: gates are factors, and closed ones leave the matrix as it is."""
    marked = [Piece(p.channels, tuple(_marked(term) for term in p.terms)).total().sum(axis=0) for p in pieces]
    return np.sum(np.broadcast_arrays(*marked), axis=0) > 0


def _marked(term: Term) -> Term:
    """1 for all that is not 0, so that nothing cancels or underflows."""
    left, right = (None if a is None else (a != 0).astype(float) for a in (term.left, term.right))
    return Term((term.matrix != 0).astype(float), left, right)


def _shifted(pieces: Value, power: Any) -> Value:
    """Times 2^power."""
    shift = np.clip(power, -2000, 2000).astype(np.int32)
    return tuple(
        Piece(piece.channels, tuple(Term(np.ldexp(t.matrix, shift), t.left, t.right) for t in piece.terms))
        for piece in pieces
    )
