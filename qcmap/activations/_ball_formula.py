"""A formula at complex balls (python-flint), and with it an activation's pieces and their derivatives of any order.

Every operation encloses its values on the ball it is given, and is not finite where it is not analytic on all of it:
roots, logarithms and inverse functions say so on their branch cuts, quotients at their poles.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from functools import lru_cache, reduce
from itertools import pairwise
from operator import add, mul
from typing import TYPE_CHECKING, Any

import numpy as np
from flint import acb, arb, ctx, fmpq
from numpy.typing import NDArray

from qcmap.activations._formula import _between, _kink_positions, _on_piece
from qcmap.errors import ActivationError

if TYPE_CHECKING:
    import sympy

Array = NDArray[np.float64]
BallFunction = Callable[[acb], acb]


def _root(z: acb) -> acb:
    return z.sqrt(analytic=True)


_FUNCTIONS: dict[str, BallFunction] = {
    **{name: getattr(acb, name) for name in ("exp", "sin", "cos", "tan", "sinh", "cosh", "tanh", "erf", "erfc")},
    "log": lambda z: z.log(analytic=True),
    # Zero times a root with the same branch cuts says where they are analytic.
    "atan": lambda z: z.atan() + 0 * _root(1 + z * z),
    "asinh": lambda z: z.asinh() + 0 * _root(1 + z * z),
}
"""By sympy's name."""


def at_balls(formula: sympy.Expr) -> BallFunction:
    """The formula in one variable, at the precision of each call.

    Floats mean the binary numbers that they are. Raises `ActivationError` for decimals beyond these, and for a function
    that it does not know.
    """
    import sympy as sp

    def build(e: Any) -> BallFunction:
        if e.is_Symbol:
            return lambda z: z
        if e.is_Rational or (e.is_Float and e._prec <= 53):
            ratio = Fraction(str(sp.Rational(e)))
            number = fmpq(ratio.numerator, ratio.denominator)
            return lambda z: acb(arb(number))
        if e is sp.pi:
            return lambda z: acb(arb.pi())
        if e is sp.E:
            return lambda z: acb(1).exp()
        if e.is_Add or e.is_Mul:
            parts, join = [build(part) for part in e.args], add if e.is_Add else mul
            return lambda z: reduce(join, (part(z) for part in parts))
        if e.is_Pow:
            base, exponent = build(e.base), e.exp
            if exponent.is_Integer:
                return lambda z: base(z) ** int(exponent)
            if (2 * exponent).is_Integer:
                return lambda z: _root(base(z)) ** int(2 * exponent)
            power = build(exponent)
            return lambda z: (power(z) * base(z).log(analytic=True)).exp()
        if e.is_Function and e.func.__name__ in _FUNCTIONS:
            function, argument = _FUNCTIONS[e.func.__name__], build(e.args[0])
            return lambda z: function(argument(z))
        raise ActivationError(
            str(formula), f"{e} is not known in ball arithmetic", f"use fractions, {', '.join(_FUNCTIONS)}"
        )

    return build(formula)


class BallPieces:
    """The analytic pieces between the kinks of a formula in the variable ``u``.

    Attributes
    ----------
    kinks
        The points between the pieces, in increasing order, as functions that give them at the precision of the call.
    """

    def __init__(self, expression: str) -> None:
        import sympy as sp

        self._u = sp.Symbol("u", real=True)
        parse: Any = sp.sympify
        phi = parse(expression, locals={"u": self._u})
        positions = _kink_positions(phi, self._u, expression)
        ends = [-float("inf"), *map(float, positions), float("inf")]
        self.kinks = [at_balls(position) for position in positions]
        self._derivatives = [[_on_piece(phi, self._u, _between(a, b))] for a, b in pairwise(ends)]
        self._compiled: dict[tuple[int, int], BallFunction] = {}

    def __len__(self) -> int:
        return len(self._derivatives)

    def derivative(self, piece: int, order: int) -> BallFunction:
        """The derivative, of order 0 or more, of a piece counted from the left."""
        import sympy as sp

        known = self._derivatives[piece]
        while len(known) <= order:
            known.append(sp.diff(known[-1], self._u))
        if (piece, order) not in self._compiled:
            self._compiled[piece, order] = at_balls(known[order])
        return self._compiled[piece, order]


@lru_cache(maxsize=64)
def ball_pieces(expression: str) -> BallPieces:
    """The pieces of a formula, made once."""
    return BallPieces(expression)


_PRECISIONS = 106, 212, 424, 848, 2000


def at_floats(function: BallFunction, u: Array) -> Array:
    """A real function at floats, to the last place; not a number where `_PRECISIONS` bits do not tell its value."""

    def one(x: float) -> float:
        for bits in _PRECISIONS:
            with ctx.workprec(bits):
                found = function(acb(x)).real
                # The last place of the value, or of the smallest float.
                if found.is_finite() and (found.rad() <= abs(found.mid()) * 2.0**-54 or found.rad() < 2.0**-1074):
                    return float(found.mid())
        return float("nan")

    return np.array([one(float(x)) for x in np.ravel(u)], dtype=np.float64).reshape(np.shape(u))
