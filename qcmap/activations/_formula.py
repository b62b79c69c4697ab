"""Activations from sympy expressions: their kinks, their analytic pieces, and derivatives of any order of these."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from qcmap.activations._activation import Activation, Array, Function, Kink
from qcmap.activations._checked import MISTAKES, SEARCH, Checked, Real, refuse_undeclared_kinks
from qcmap.activations._length import checked_length, safe_length
from qcmap.errors import ActivationError

if TYPE_CHECKING:
    import sympy


def from_sympy(
    expression: sympy.Expr | str,
    *,
    name: str | None = None,
    length: float = 1.0,
    search: tuple[float, float] | None = SEARCH,
) -> Activation:
    """An activation from a sympy expression (or a string that sympy reads) in one variable.

    Kinks are the real zeros of the arguments of Abs, sign and Heaviside, the points where the arguments of Max and Min
    cross, and the ends of the pieces of a Piecewise. The derivatives are sympy's, without delta functions: their
    weights are the jumps of the kinks. The property ``closed_forms`` of the result integrates the expression exactly
    where that is possible.

    Other points where the expression is not analytic (a pole, a root, asin(sin(u))) are searched for in the interval
    ``search``, unless it is None; `from_callable` says what that finds, and what becomes of a ``length`` that is too
    large. Where a value or a derivative exceeds the range
    of float64, evaluating it raises `ActivationError`.

    Raises
    ------
    ActivationError
        If the expression has not exactly one variable, or a kink cannot be found exactly (then use `from_callable`).
    """
    try:
        return _from_sympy(expression, name, length, search)
    except (*MISTAKES, NotImplementedError, SyntaxError) as error:
        raise ActivationError(
            name or str(expression),
            f"sympy cannot read, split or evaluate it ({error})",
            "write it with elementary functions, or use Activation.from_callable",
        ) from error


def _from_sympy(
    expression: sympy.Expr | str, name: str | None, length: float, search: tuple[float, float] | None
) -> Activation:
    import sympy as sp

    parsed: Any = sp.sympify(expression)
    label = name or str(parsed)
    length = checked_length(length, label)
    if parsed.has(sp.I):
        raise ActivationError(label, "it is complex", "give a real function")
    if len(parsed.free_symbols) != 1:
        raise ActivationError(
            label, f"it has {len(parsed.free_symbols)} free symbols instead of one", "substitute numbers for the others"
        )
    u = sp.Symbol("u", real=True)
    phi = parsed.subs(next(iter(parsed.free_symbols)), u)
    positions = _kink_positions(phi, u, label)
    ends = [float(position) for position in positions]
    inside = [-math.inf, *ends, math.inf]
    samples = [_between(a, b) for a, b in pairwise(inside)]
    orders: list[list[Any]] = [[_on_piece(phi, u, sample) for sample in samples]]
    for _ in range(2):
        orders.append([sp.diff(piece, u) for piece in orders[-1]])
    joined = [_Joined(tuple(pieces), u, tuple(ends)) for pieces in orders]
    functions = [Checked(function, label, f"derivative {n} of it") for n, function in enumerate(joined)]
    value = Real(joined[0], label, "derivative 0 of it")
    refuse_undeclared_kinks(
        value,
        tuple(ends),
        search,
        length,
        label,
        lambda every: (
            "write it with Abs, Max, Min or Piecewise, or declare all of them to "
            f"Activation.from_callable: kinks={every}"
        ),
    )
    kinks = tuple(
        _kink(end, [(pieces[k + 1] - pieces[k]).subs(u, position) for pieces in orders], label)
        for k, (end, position) in enumerate(zip(ends, positions, strict=True))
    )
    pieces = tuple(_Piece(piece, u, label) for piece in orders[0])
    length = safe_length(value, tuple(ends), length)
    return Activation(label, *functions, kinks=kinks, pieces=pieces, length=length, expression=str(phi))


def _kink(at: float, jumps: list[Any], label: str) -> Kink:
    """The kink with these jumps, which sympy may have found to be infinite."""
    if not all(jump.is_finite for jump in jumps):
        raise ActivationError(
            label,
            f"a derivative up to the second is infinite at its kink u = {at:.6g}",
            "give pieces that are analytic",
        )
    return Kink(at, *map(float, jumps))


@dataclass(frozen=True)
class _Piece:
    """The derivatives of an analytic piece, each formed when it is first asked for; equal if the formulas are."""

    expression: Any
    symbol: Any
    label: str
    known: dict[int, tuple[Any, Function]] = field(default_factory=dict, compare=False, repr=False)

    def __call__(self, u: Array, order: int) -> Array:
        return self._derivative(order)[1](u)

    def _derivative(self, order: int) -> tuple[Any, Function]:
        import sympy as sp

        if order not in self.known:
            formula = sp.diff(self._derivative(order - 1)[0], self.symbol) if order else self.expression
            numeric: Any = sp.lambdify(self.symbol, formula, modules=["scipy", "numpy"])
            function = Real(lambda u: numeric(u) + 0 * u, self.label, f"derivative {order} of it")
            self.known[order] = formula, function
        return self.known[order]

    def __reduce__(self) -> tuple[Any, ...]:
        """Without the derivatives, which are functions of lambdify."""
        return _Piece, (self.expression, self.symbol, self.label)


def _between(a: float, b: float) -> float:
    """A point inside the interval (a, b), which may be unbounded."""
    return {(True, True): 0.0, (True, False): b - 1, (False, True): a + 1}.get(
        (math.isinf(a), math.isinf(b)), (a + b) / 2
    )


def _on_piece(phi: Any, u: sympy.Symbol, sample: float) -> sympy.Expr:
    """The smooth expression that phi equals on the piece, free of kinks, that holds ``sample``."""
    import sympy as sp

    def at(expression: sp.Expr) -> sp.Expr:
        return expression.subs(u, sample)

    def largest(*arguments: sp.Expr) -> sp.Expr:
        return max(arguments, key=lambda argument: float(at(argument)))

    def smallest(*arguments: sp.Expr) -> sp.Expr:
        return min(arguments, key=lambda argument: float(at(argument)))

    def branch(*pieces: tuple[sp.Expr, sp.Basic]) -> sp.Expr:
        return next(value for value, condition in pieces if condition.subs(u, sample) == sp.true)

    return (
        phi.replace(sp.Piecewise, branch)
        .replace(sp.Abs, lambda a: a * sp.sign(at(a)))
        .replace(sp.sign, lambda a: sp.sign(at(a)))
        .replace(sp.Heaviside, lambda a, *_: sp.Integer(1 if at(a) > 0 else 0))
        .replace(sp.Max, largest)
        .replace(sp.Min, smallest)
    )


@dataclass(frozen=True, eq=False)
class _Joined:
    """The numeric function that follows each piece on its own interval (and is evaluated nowhere else)."""

    pieces: tuple[Any, ...]
    symbol: Any
    ends: tuple[float, ...]

    @cached_property
    def numeric(self) -> list[Function]:
        """The pieces as functions of numpy."""
        import sympy as sp

        make: Any = sp.lambdify
        return [make(self.symbol, piece, modules=["scipy", "numpy"]) for piece in self.pieces]

    def __call__(self, x: Array) -> Array:
        result = np.empty_like(x)
        piece_of = np.searchsorted(np.array(self.ends), x, side="left")
        for k, piece in enumerate(self.numeric):
            here = piece_of == k
            result[here] = piece(x[here])
        return result

    def __reduce__(self) -> tuple[Any, ...]:
        """Without the functions of lambdify."""
        return _Joined, (self.pieces, self.symbol, self.ends)


def _kink_positions(phi: Any, u: sympy.Symbol, label: str) -> list[Any]:
    import sympy as sp

    crossings: set[Any] = set()
    for atom in phi.atoms(sp.Abs, sp.sign, sp.Heaviside):
        crossings.add(atom.args[0])
    for atom in phi.atoms(sp.Max, sp.Min):
        crossings.update(a - b for i, a in enumerate(atom.args) for b in atom.args[:i])
    for atom in phi.atoms(sp.Piecewise):
        for _, condition in atom.args:
            crossings.update(relation.lhs - relation.rhs for relation in condition.atoms(sp.core.relational.Relational))
    positions: set[Any] = set()
    for crossing in crossings:
        zeros: Any = sp.solveset(crossing, u, sp.S.Reals)
        if not isinstance(zeros, sp.FiniteSet) and zeros is not sp.S.EmptySet:
            raise ActivationError(
                label, f"the kinks where {crossing} = 0 cannot be listed", "use Activation.from_callable with its kinks"
            )
        positions.update(zeros)
    return sorted(positions, key=float)
