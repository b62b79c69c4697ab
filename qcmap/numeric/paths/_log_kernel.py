"""The path kernel of networks with more paths than floats can count: its sign and its logarithm."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import reduce
from typing import Any, NamedTuple

import numpy as np

from qcmap.architecture import Affine, Algebra, Architecture, Concat, Node, Sum, Units
from qcmap.numeric.paths._coactive import CoactiveWalk, Piece, Term, Value
from qcmap.numeric.paths._gates import Gates, Layered, gates_of, inputs_of
from qcmap.numeric.paths._kernel import KernelBlock, block_side, blocks_of, squared, to_floats

_LOWEST = -(2**30)
"""The exponent of 0: below that of any other value."""
Rule = Callable[[Node, list[Value]], Value]
Shifted = Callable[[Any, Any], Any]


class LogKernel(NamedTuple):
    """A kernel as ``sign * exp(logarithm)``, as of ``numpy.linalg.slogdet``; the logarithm of 0 is minus infinity."""

    sign: Any
    logarithm: Any


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
    inputs = inputs_of(given.units, x, given.count)
    kernel = LogKernel(*(np.empty((given.count, given.count)) for _ in range(2)))
    for rows, columns, block in log_blocks(given, inputs, to_floats, np, np.ldexp, block_side(given.units)):
        for matrix, values in zip(kernel, block, strict=True):
            matrix[rows, columns] = values
            matrix[columns, rows] = matrix[rows, columns].T
    return kernel


def log_blocks(
    gates: Gates, x: Layered, number: Any, library: Any, shifted: Shifted, side: int
) -> Iterator[KernelBlock]:
    """Blocks on and above the diagonal, whose values are a `LogKernel` that spreads to their shape.

    ``number`` is as for `blocks_of`, ``library`` numpy or torch, and ``shifted(a, k)`` is 2^k a, exactly.
    """
    # Inputs of one size for all examples, so that their products stay within floats.
    floats = {name: to_floats(array) for name, array in x.items()}
    power = np.frexp(np.max([np.abs(array).max(axis=(0, 2)) for array in floats.values()], axis=0))[1]
    near_one = {name: np.ldexp(array, -power[None, :, None]) for name, array in floats.items()}

    def total(walk: CoactiveWalk) -> LogKernel:
        mantissa, exponent = LogWalk(walk, library, shifted).total()
        with np.errstate(divide="ignore"):
            return LogKernel(
                library.sign(mantissa), library.log(abs(mantissa)) + exponent * (walk.one[0] * math.log(2))
            )

    for rows, columns, (sign, logarithm) in blocks_of(gates, near_one, gates, near_one, number, squared, side, total):
        taken = number((power[rows, None] + power[None, columns]) * math.log(2))
        yield KernelBlock(rows, columns, LogKernel(sign, logarithm + taken))


@dataclass(frozen=True, eq=False)
class LogWalk:
    """The rules of a walk with exponents."""

    walk: CoactiveWalk
    library: Any
    shifted: Shifted

    def total(self) -> tuple[Any, Any]:
        """The sum over all paths as mantissa and exponent."""
        arch, rules = self.walk.units.architecture, {}
        for kind, rule in self.walk.algebra.rules.items():
            rules[kind] = self._aligning(rule) if kind in (Sum, Concat) else self._kept(rule, normalise=kind is Affine)
        values = arch.fold(Algebra("logarithm of the path kernel", rules))
        aligned, exponent = self._aligned([values[name] for name in arch.outputs])
        return sum(piece.total().sum(0) for value in aligned for piece in value), exponent

    def _kept(self, rule: Rule, *, normalise: bool) -> Callable[[Node, list[_Scaled]], _Scaled]:
        def at(node: Node, values: list[_Scaled]) -> _Scaled:
            pieces = rule(node, [value.pieces for value in values])
            exponent = values[0].exponent if values else self._zero
            return self._normalised(pieces, exponent) if normalise else _Scaled(pieces, exponent)

        return at

    def _aligning(self, rule: Rule) -> Callable[[Node, list[_Scaled]], _Scaled]:
        def at(node: Node, values: list[_Scaled]) -> _Scaled:
            if isinstance(node.op, Sum):
                lowest, pairs = self._zero + _LOWEST, zip(values, node.op.weights, strict=True)
                values = [value if weight != 0 else value._replace(exponent=lowest) for value, weight in pairs]
            aligned, exponent = self._aligned(values)
            return _Scaled(rule(node, aligned), exponent)

        return at

    @property
    def _zero(self) -> Any:
        """The exponent of 1, an integer [1, 1]."""
        return self.library.frexp(self.walk.one[0] * 0)[1]

    def _normalised(self, pieces: Value, exponent: Any) -> _Scaled:
        """Behind an affine layer, whose pieces are one matrix each: the largest entry of each pair is near 1."""
        largest = self._largest(self.library.amax(abs(piece.terms[0].matrix), 0) for piece in pieces)
        power = self.library.frexp(largest)[1]
        return _Scaled(self._moved(pieces, -power), self.library.where(largest > 0, exponent + power, _LOWEST))

    def _aligned(self, values: list[_Scaled]) -> tuple[list[Value], Any]:
        exponents = [self.library.where(self._not_zero(value.pieces), value.exponent, _LOWEST) for value in values]
        exponent = self._largest(exponents)
        moved = (self._moved(value.pieces, own - exponent) for value, own in zip(values, exponents, strict=True))
        return list(moved), exponent

    def _largest(self, arrays: Iterable[Any]) -> Any:
        return reduce(self.library.maximum, arrays)

    def _not_zero(self, pieces: Value) -> Any:
        """For which pairs some entry is not 0, [n, n']: closed gates are factors, and leave the matrix as it is."""
        return sum(Piece(p.channels, tuple(map(self._marked, p.terms))).total().sum(0) for p in pieces) > 0

    def _marked(self, term: Term) -> Term:
        """1 for all that is not 0, so that nothing cancels or underflows."""
        parts = (None if a is None else (a != 0) * self.walk.one for a in (term.matrix, term.left, term.right))
        return Term(*parts)

    def _moved(self, pieces: Value, power: Any) -> Value:
        """Times 2^power."""
        shift = self.library.clip(power, -2000, 2000)
        return tuple(
            Piece(piece.channels, tuple(Term(self.shifted(t.matrix, shift), t.left, t.right) for t in piece.terms))
            for piece in pieces
        )
