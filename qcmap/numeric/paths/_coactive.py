"""The walk that counts co-active paths: the network with all weights 1, gates G_s G_s' and inputs x_s x_s'.

It carries, for every pair of examples at once, the sum over all paths to a unit of the squared constants, the products
of the gates of both examples and the product of both inputs. Behind a layer with weights 1 this is the same for all
channels, so it is one number a pair and location, and gates enter as factors: the value at unit (c, l) for (s, s') is a
sum of terms M[l, s, s'] a[l, s, c] b[l, s', c]. The next layer sums over channels by a matrix product. That makes the
cost of a layer that of one product [n, channels] [channels, n'], whatever the number of paths (docs/paths.md).

Arrays may be numpy's (float64, or object for exact integers and fractions) or torch tensors.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from typing import Any

import numpy as np

from qcmap.architecture import (
    Affine,
    Algebra,
    Concat,
    Gate,
    Input,
    MaxPool,
    MeanPool,
    Node,
    Nonlinear,
    Output,
    Scale,
    Sum,
    Units,
)
from qcmap.numeric.paths._gates import Gates, Layered

Factor = Callable[[Any], Any]
"""The square of a constant of the wiring, as the number that the walk computes with."""


@dataclass(frozen=True, slots=True)
class Term:
    """M[l, s, s'] a[l, s, c] b[l, s', c]; without a and b, M for all channels."""

    matrix: Any
    left: Any = None
    right: Any = None

    def times(self, left: Any, right: Any) -> Term:
        """With more factors a and b."""
        if self.left is None:
            return Term(self.matrix, left, right)
        return Term(self.matrix, self.left * left, self.right * right)

    def scaled(self, factor: Any) -> Term:
        """With a factor on M."""
        return Term(self.matrix * factor, self.left, self.right)

    def part(self, channels: slice) -> Term:
        """For a range of the channels."""
        if self.left is None:
            return self
        return Term(self.matrix, self.left[..., channels], self.right[..., channels])

    def total(self, channels: int) -> Any:
        """The sum over channels, [l, s, s']."""
        if self.left is None:
            return self.matrix * channels
        product = self.left @ self.right.swapaxes(1, 2)
        product *= self.matrix
        return product


@dataclass(frozen=True, slots=True)
class Piece:
    """The value on a range of channels, a sum of terms."""

    channels: int
    terms: tuple[Term, ...]

    def merged(self) -> Piece:
        """All terms without factors made one."""
        plain = [term.matrix for term in self.terms if term.left is None]
        if len(plain) < 2:
            return self
        return Piece(self.channels, (Term(sum(plain[1:], plain[0])), *(t for t in self.terms if t.left is not None)))

    def total(self) -> Any:
        """The sum over channels, [l, s, s']."""
        totals = [term.total(self.channels) for term in self.terms]
        return sum(totals[1:], totals[0])


Value = tuple[Piece, ...]


@dataclass(frozen=True, eq=False)
class Side:
    """What one of the two sets of examples brings: gates and inputs, [locations, n, channels], as the walk's numbers.

    ``inputs`` are None for inputs of 1, which count paths.
    """

    gates: Mapping[str, Any]
    variables: Mapping[str, Any]
    choices: Layered
    inputs: Mapping[str, Any] | None

    @classmethod
    def of(cls, gates: Gates, inputs: Layered | None, convert: Callable[[Any], Any]) -> Side:
        """Converted from numpy arrays."""
        values = {name: convert(array) for name, array in gates.values.items()}
        variables = {name: convert(array) for name, array in gates.variables.items()}
        given = None if inputs is None else {name: convert(array) for name, array in inputs.items()}
        return cls(values, variables, gates.choices, given)


class CoactiveWalk:
    """The walk for two sets of examples.

    Parameters
    ----------
    units
        Of the architecture.
    left, right
        The two sets of examples.
    one
        The array of the one number 1, [1, 1, 1].
    convert
        From numpy arrays to the walk's.
    factor
        The square of a constant.
    """

    def __init__(
        self, units: Units, left: Side, right: Side, one: Any, convert: Callable[[Any], Any], factor: Factor
    ) -> None:
        self.units, self.left, self.right = units, left, right
        self.one, self.convert, self.factor = one, convert, factor

    def total(self) -> Any:
        """The sum over all paths to all units of all outputs, [n, n'] (or [1, 1] where nothing depends on examples)."""
        values = self.units.architecture.fold(self.algebra)
        sums = [piece.total().sum(0) for name in self.units.architecture.outputs for piece in values[name]]
        return sum(sums[1:], sums[0])

    @property
    def algebra(self) -> Algebra[Value]:
        """The rules by op."""
        return Algebra(
            "path kernel",
            {
                Input: self._input,
                Affine: self._affine,
                Nonlinear: self._gates,
                Gate: self._variable,
                Sum: self._sum,
                Scale: lambda node, values: _scaled(values[0], self.factor(node.op.factor)),  # pyright: ignore[reportAttributeAccessIssue]
                Concat: lambda node, values: tuple(piece for value in values for piece in value),
                MeanPool: self._mean_pool,
                MaxPool: self._max_pool,
                Output: lambda node, values: values[0],
            },
        )

    def _input(self, node: Node, values: list[Value]) -> Value:
        channels, places = self.units.channels[node.id], self.units.places(node.id)
        term = Term(self.one[[0] * places])
        if self.left.inputs is not None and self.right.inputs is not None:
            term = term.times(self.left.inputs[node.id], self.right.inputs[node.id])
        return (Piece(channels, (term,)),)

    def _affine(self, node: Node, values: list[Value]) -> Value:
        assert isinstance(node.op, Affine)
        groups, taps = node.op.groups, self.units.taps(node.id)
        before = self.units.channels[node.inputs[0]]
        bounds = [k * (before // groups) for k in range(1, groups)]
        pieces = _split(values[0], bounds)
        made, at, here, total = [], 0, before // groups, None
        for piece in pieces:
            total = piece.total() if total is None else total + piece.total()
            at += piece.channels
            if at == here:
                made.append(Piece(self.units.channels[node.id] // groups, (Term(windows(total, taps)),)))
                here, total = here + before // groups, None
        return tuple(made)

    def _gates(self, node: Node, values: list[Value]) -> Value:
        return self._with(values[0], self.left.gates[node.id], self.right.gates[node.id])

    @staticmethod
    def _with(value: Value, left: Any, right: Any) -> Value:
        made, at = [], 0
        for piece in value:
            channels = slice(at, at + piece.channels)
            terms = (term.times(left[..., channels], right[..., channels]) for term in piece.terms)
            made.append(Piece(piece.channels, tuple(terms)))
            at += piece.channels
        return tuple(made)

    def _variable(self, node: Node, values: list[Value]) -> Value:
        assert isinstance(node.op, Gate)
        both = self.left.variables[node.op.name][:, None] * self.right.variables[node.op.name][None, :]
        return _scaled(values[0], both)

    def _sum(self, node: Node, values: list[Value]) -> Value:
        assert isinstance(node.op, Sum)
        scaled = [_scaled(value, self.factor(w)) for value, w in zip(values, node.op.weights, strict=True) if w != 0]
        ends = sorted({end for value in scaled for end in _ends(value)})
        aligned = [_split(value, ends[:-1]) for value in scaled]
        rows = zip(*aligned, strict=True)
        return tuple(Piece(row[0].channels, tuple(t for piece in row for t in piece.terms)).merged() for row in rows)

    def _mean_pool(self, node: Node, values: list[Value]) -> Value:
        taps = self.units.taps(node.id)
        share = self.factor(Fraction(1, len(taps)))
        made = []
        for piece in values[0]:
            plain = [Term(windows(term.matrix, taps)) for term in piece.terms if term.left is None]
            gated = [
                Term(tapped(term.matrix, tap), tapped(term.left, tap), tapped(term.right, tap))
                for term in piece.terms if term.left is not None for tap in taps
            ]  # fmt: skip
            made.append(Piece(piece.channels, (*plain, *gated)).merged())
        return _scaled(tuple(made), share)

    def _max_pool(self, node: Node, values: list[Value]) -> Value:
        chosen = self.left.choices[node.id], self.right.choices[node.id]
        made: list[list[Term]] = [[] for _ in values[0]]
        for position, tap in enumerate(self.units.taps(node.id)):
            left, right = (self.convert(choice == position) for choice in chosen)
            at = 0
            for piece, terms in zip(values[0], made, strict=True):
                channels = slice(at, at + piece.channels)
                for term in piece.terms:
                    factors = [None if a is None else tapped(a, tap) for a in (term.left, term.right)]
                    moved = Term(tapped(term.matrix, tap), *factors)
                    terms.append(moved.times(left[..., channels], right[..., channels]))
                at += piece.channels
        return tuple(Piece(piece.channels, tuple(terms)) for piece, terms in zip(values[0], made, strict=True))


def windows(value: Any, taps: Any) -> Any:
    """The sum over the locations that each window reads: [locations, ...] to [windows, ...]."""
    if taps.shape == (1, 1):
        return value
    total = tapped(value, taps[0])
    for tap in taps[1:]:
        total += tapped(value, tap)
    return total


def tapped(value: Any, tap: Any) -> Any:
    """What one tap of each window reads, 0 outside of the map."""
    read = value[tap]  # -1 reads the last location, put right below
    if (tap < 0).any():
        read[np.flatnonzero(tap < 0)] = 0
    return read


def _scaled(value: Value, factor: Any) -> Value:
    if isinstance(factor, (int, float, Fraction)) and factor == 1:
        return value
    return tuple(Piece(piece.channels, tuple(term.scaled(factor) for term in piece.terms)) for piece in value)


def _ends(value: Value) -> list[int]:
    """The running ends of the pieces."""
    return np.cumsum([piece.channels for piece in value]).tolist()


def _split(value: Value, bounds: list[int]) -> Value:
    """The same value with pieces that end at these channels, too."""
    made, at = [], 0
    for piece in value:
        cuts = [0, *(bound - at for bound in bounds if at < bound < at + piece.channels), piece.channels]
        for first, last in pairwise(cuts):
            made.append(Piece(last - first, tuple(term.part(slice(first, last)) for term in piece.terms)))
        at += piece.channels
    return tuple(made)
