"""A gated network's flow, folded to the few values that differ: the circuit that lumping leaves.

The flow of an edge e (NRR (10), summed per context instead of per path) is

    tau d b_e / dt = sum over lanes (c, u) of  back(e, c, u) * front(source of e, c, u),

``front(n, c, u)`` being what arrives at node n of a unit at input u, ``back`` what comes back from the errors
``error(v, c, u) = probability_c (S_c(v, u) - sum_u' front(v, c, u') D_c(u', u))`` at the outputs v. Each of these is a
*cell*: a linear form in other cells, times an edge's b at an edge. Cells of one colour have the same form in colours
(docs/gated.md), so one of each is computed. Values are sympy expressions, arrays over modes, or matrices.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple


class Operations(NamedTuple):
    """The arithmetic of a circuit: scalars (sympy, arrays over modes) or matrices."""

    one: Callable[[int | None], Any]
    forward: Callable[[Any, Any], Any]
    backward: Callable[[Any, Any], Any]
    outer: Callable[[Any, Any], Any]
    through: Callable[[Any, Any, bool], Any]


def _plain(a: Any, b: Any) -> Any:
    return a * b


SCALARS = Operations(lambda _: 1, _plain, _plain, _plain, lambda front, moment, _: front * moment)
"""Sympy expressions, floats, or arrays with an entry for each mode."""


@dataclass(frozen=True)
class One:
    """A unit at an input of so many channels (None: a scalar)."""

    channels: int | None


@dataclass(frozen=True)
class Front:
    """A cell behind an edge of a class: b times a cell."""

    edge: int
    cell: int


@dataclass(frozen=True)
class Back:
    """The same on the way back."""

    edge: int
    cell: int


@dataclass(frozen=True)
class Mix:
    """A sum of cells with weights (positions in the table ``weights``)."""

    terms: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Error:
    """An error at an output: probability (S - sum of cells times D). S is -1 where it is zero.

    ``terms`` are (position of D, whether transposed, cell).
    """

    probability: int
    target: int
    terms: tuple[tuple[int, bool, int], ...]


Cell = One | Front | Back | Mix | Error


@dataclass(frozen=True, eq=False)
class Quotient:
    """The circuit of a lumped network.

    Attributes
    ----------
    classes
        The edges (ids) of each class, which share their b.
    cells
        One of each colour, in an order of evaluation.
    flows
        For each class, (count, back cell, front cell): tau db/dt is the sum of count * back * front.
    losses
        (count, error cell, front cell) at the outputs.
    weights, probabilities, targets, inputs
        Tables of values: gates and weights, probabilities, S, D.
    """

    classes: tuple[tuple[str, ...], ...]
    cells: tuple[Cell, ...]
    flows: tuple[tuple[tuple[int, int, int], ...], ...]
    losses: tuple[tuple[int, int, int], ...]
    weights: tuple[Any, ...]
    probabilities: tuple[Any, ...]
    targets: tuple[Any, ...]
    inputs: tuple[Any, ...]

    def map(self, convert: Callable[[str, Any], Any]) -> Quotient:
        """The same circuit with converted table entries; ``convert`` is given the table's name and the entry."""
        tables = ("weights", "probabilities", "targets", "inputs")
        changed = {name: tuple(convert(name, value) for value in getattr(self, name)) for name in tables}
        return Quotient(self.classes, self.cells, self.flows, self.losses, **changed)

    def merge(self, groups: Sequence[Sequence[int]]) -> Quotient:
        """The circuit on the subspace where the classes of each group have equal b."""
        where = {old: new for new, group in enumerate(groups) for old in group}

        def moved(cell: Cell) -> Cell:
            if isinstance(cell, Front):
                return Front(where[cell.edge], cell.cell)
            return Back(where[cell.edge], cell.cell) if isinstance(cell, Back) else cell

        classes = tuple(tuple(edge for old in group for edge in self.classes[old]) for group in groups)
        return Quotient(
            classes, tuple(map(moved, self.cells)), tuple(self.flows[group[0]] for group in groups), self.losses,
            self.weights, self.probabilities, self.targets, self.inputs,
        )  # fmt: skip

    def values(self, b: Sequence[Any], ops: Operations = SCALARS) -> list[Any]:
        """The value of every cell."""
        values: list[Any] = []
        for cell in self.cells:
            match cell:
                case One(channels):
                    value = ops.one(channels)
                case Front(edge, source):
                    value = ops.forward(b[edge], values[source])
                case Back(edge, source):
                    value = ops.backward(b[edge], values[source])
                case Mix(terms):
                    parts = [values[k] if self.weights[w] == 1 else self.weights[w] * values[k] for w, k in terms]
                    value = sum(parts[1:], start=parts[0])
                case Error(probability, target, terms):
                    value = 0 if target < 0 else self.targets[target]
                    for moment, turned, k in terms:
                        value = value - ops.through(values[k], self.inputs[moment], turned)
                    value = self.probabilities[probability] * value
            values.append(value)
        return values

    def flow(self, b: Sequence[Any], ops: Operations = SCALARS) -> list[Any]:
        """tau db/dt for each class."""
        values = self.values(b, ops)
        found = []
        for terms in self.flows:
            parts = [count * ops.outer(values[back], values[front]) for count, back, front in terms]
            found.append(sum(parts[1:], start=parts[0]) if parts else b[0] * 0)
        return found

    def loss(self, b: Sequence[Any], inner: Callable[[Any, Any], Any] = _plain, ops: Operations = SCALARS) -> Any:
        """The loss (1) less its value at b = 0: -1/2 of the sum of front * (probability * S + error).

        ``inner`` is the product that sums a pair of cells up to a number: of scalars, or of matrices entrywise.
        """
        values, total = self.values(b, ops), 0
        for count, error, front in self.losses:
            cell = self.cells[error]
            assert isinstance(cell, Error)
            target = 0 if cell.target < 0 else self.probabilities[cell.probability] * self.targets[cell.target]
            total = total - count * inner(target + values[error], values[front]) / 2
        return total
