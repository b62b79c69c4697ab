"""One scalar equation tau dB/dt = f(B): its time as a closed form, explicit solutions, steady states.

1/f is split into partial fractions. A term p/q with q irreducible integrates to a sum over the roots r of q of
p(r)/q'(r) log(B - r), written as logarithm or arctangent for degrees 1 and 2. For equation (15), with b = B2 and
P = M S - D b (b^2 + C), which is M S modulo b^2 + C,

    M^2 / ((b^2 + C) P)  =  (M / S) (1 / (b^2 + C) + D b / P) :

1/(b^2 + C) gives arctan(b / sqrt C) / sqrt C for C > 0, the area tangent for C < 0 and -1/b for C = 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, NamedTuple, TypeAlias

import mpmath as mp
import numpy as np
import sympy

from qcmap.architecture.gated._checks import checked_number
from qcmap.errors import ArgumentError, NumericalError
from qcmap.symbolic._local import Expr, readable
from qcmap.symbolic.gated._clock import Clock, Term
from qcmap.symbolic.gated._exact import check_finite, exact

_DIGITS = 60
_ROUNDING = mp.mpf(10) ** -20
"""Squares that are negative by less are zero."""
_FARTHEST = 1e12
"""Solutions that grow without bound are followed so far from their start."""

Stability: TypeAlias = Literal["stable", "unstable", "half-stable"]


class SteadyState(NamedTuple):
    """A value that the flow leaves in place. ``half-stable`` attracts from one side only."""

    value: float
    stability: Stability


@dataclass(frozen=True)
class ScalarEquation:
    """``tau d variable / dt = rate``.

    Attributes
    ----------
    squares
        The squares of the eliminated variables.
    constants
        What the constants C in them are: the first integrals, at any time.
    """

    variable: Expr
    rate: Expr
    squares: Mapping[Expr, Expr]
    constants: Mapping[Expr, Expr]

    @property
    def roots(self) -> int:
        """How many square roots the rate has."""
        return sum(1 for power in self.rate.atoms(sympy.Pow) if not power.exp.is_Integer)

    def substitute(self, **values: Any) -> ScalarEquation:
        """With numbers for symbols, taken exactly.

        Raises
        ------
        ArgumentError
            For a name that is no symbol of the equation, or a value that is no finite number, or not positive where the
        symbol is.
        """
        known = {symbol.name: symbol for symbol in self.rate.free_symbols - {self.variable}}
        for name in values:
            if name not in known:
                raise ArgumentError(name, "it is no symbol of the equation", f"choose from {', '.join(sorted(known))}")
        given = {known[name]: _number(known[name], value) for name, value in values.items()}
        squares = {symbol: square.subs(given) for symbol, square in self.squares.items()}
        constants = {symbol: integral for symbol, integral in self.constants.items() if symbol not in given}
        return ScalarEquation(self.variable, sympy.factor(self.rate.subs(given)), squares, constants)

    @cached_property
    def fractions(self) -> tuple[tuple[Expr, Expr, int], ...]:
        """1/rate as terms ``numerator / denominator**power``, the denominators irreducible.

        Raises
        ------
        ArgumentError
            If the rate has square roots or is zero.
        """
        if self.roots or self.rate == 0:
            raise ArgumentError(
                str(self.variable), f"its rate {readable(self.rate)} is not a polynomial, or is zero",
                "take another variable, or balanced dynamics",
            )  # fmt: skip
        found = []
        for term in sympy.Add.make_args(sympy.apart(1 / self.rate, self.variable)):
            over, under = sympy.fraction(sympy.together(term))
            constant, factors = sympy.factor_list(under, self.variable)
            free = [factor for factor, _ in factors if not factor.has(self.variable)]
            factors = [(factor, power) for factor, power in factors if factor.has(self.variable)]
            assert not free, self.rate
            if not factors:
                found.append((over / under, sympy.Integer(1), 1))
                continue
            ((factor, power),) = factors
            found.append((sympy.factor(over / constant), factor, power))
        return tuple(found)

    @cached_property
    def time(self) -> Expr:
        """``t / tau`` as a function of the variable, up to a constant."""
        terms = [self._integral(*fraction) for fraction in self.fractions]
        return sympy.Add(*terms)

    def _integral(self, over: Expr, under: Expr, power: int) -> Expr:
        b = self.variable
        poly = sympy.Poly(under, b)
        if power > 1 or poly.degree() == 0:
            return sympy.integrate(over / under**power, b)
        if poly.degree() == 1:
            return sympy.factor(over / poly.LC()) * sympy.log(sympy.Abs(b - poly.nth(0) * -1 / poly.LC()))
        if poly.degree() == 2 and poly.nth(1) == 0:
            c, slope = sympy.factor(poly.nth(0) / poly.LC()), sympy.Poly(over, b)
            odd = sympy.factor(slope.nth(1) / poly.LC() / 2) * sympy.log(sympy.Abs(b**2 + c))
            return odd + sympy.factor(slope.nth(0) / poly.LC()) * reciprocal_integral(b, c)
        r = sympy.Dummy("r")
        weight = sympy.factor(over.subs(b, r) / poly.diff(b).as_expr().subs(b, r))
        return sympy.RootSum(poly.as_expr().subs(b, r), sympy.Lambda(r, weight * sympy.log(b - r)), x=r, auto=False)

    def explicit(self, time: Expr | None = None, start: Expr | None = None) -> Mapping[Expr, Expr]:
        """The solution of tau dB/dt = alpha B - beta B^(k+1), a logistic curve in u = B^k; keyed by u.

        u(t) = (alpha/beta) / (1 - (1 - alpha/(beta u0)) exp(-k alpha t / tau)), (21) of the paper for k = 2. ``time``
        is in units of tau (the symbol t) and ``start`` is u0.

        Raises
        ------
        ArgumentError
            If the equation is not of this kind.
        """
        b = self.variable
        terms = dict(sympy.Poly(sympy.expand(self.rate), b).terms()) if not self.roots else {}
        degrees = sorted(degree for (degree,) in terms)
        if len(degrees) != 2 or degrees[0] != 1:
            raise ArgumentError(
                str(b), f"the rate {readable(self.rate)} is not alpha {b} - beta {b}^k", "use time, the implicit form"
            )
        k = degrees[1] - 1
        alpha, beta = terms[(1,)], -terms[(degrees[1],)]
        t = sympy.Symbol("t", real=True) if time is None else time
        u0 = sympy.Symbol("u0", positive=True) if start is None else start
        decay = sympy.exp(-k * alpha * t)
        return {b**k: (alpha / beta) / (1 - (1 - alpha / (beta * u0)) * decay)}

    def elapsed(self, start: float, end: float) -> float:
        """The time in units of tau from one value to another, by the closed form in 60 digits.

        Raises
        ------
        ArgumentError
            If the equation has symbols left, a value is no finite number, or a steady state lies between the values.
        """
        self._numbers("elapsed")
        start, end = checked_number("start", start), checked_number("end", end)
        between = [value for value, _ in self._rest if min(start, end) <= value <= max(start, end)]
        if between:
            raise ArgumentError(
                "end", f"the steady state {float(between[0]):.6g} lies between", "stay on one side of it"
            )
        return float(self._clock(start).elapsed(mp.mpf(end)))

    def at(self, time: float, start: float) -> float:
        """The variable at a time (in units of tau) from its value at time 0, by inverting the closed form.

        Right to double precision, near steady states too, and relative to 0 if that is one.

        Raises
        ------
        ArgumentError
            If the equation has symbols left, an argument is not finite, an eliminated square is negative at the start,
            or the solution runs off to infinity before that time.
        """
        rate = self._numbers("at")
        time, start = checked_number("time", time), checked_number("start", start)
        with mp.workdps(_DIGITS):
            for symbol, square in self.squares.items():
                if sympy.lambdify(self.variable, square, "mpmath")(mp.mpf(start)) < -_ROUNDING:
                    raise ArgumentError("start", f"{symbol}^2 is negative at {start:g}", "give a larger start")
            direction = mp.sign(mp.re(rate(mp.mpf(start))))
        if direction == 0 or time == 0:
            return start
        up = (direction > 0) == (time > 0)
        ahead = [value for value, _ in self._rest if (value > start if up else value < start)]
        if ahead:
            return self._clock(start).towards(time, min(ahead) if up else max(ahead))
        found = self._clock(start).beyond(time, up=up, farthest=_FARTHEST)
        if found is None:
            raise ArgumentError(
                "time", f"the solution grows beyond {_FARTHEST:g} before {time:g}", "give an earlier time"
            )
        return found

    def _clock(self, start: float) -> Clock:
        return Clock(self._terms, start)

    @cached_property
    def _terms(self) -> list[Term]:
        """What `Clock` needs of the fractions."""
        found: list[Term] = []
        for over, under, power in self.fractions:
            if power > 1 or not under.has(self.variable):
                found.append((sympy.lambdify(self.variable, self._integral(over, under, power), "mpmath"), None))
            else:
                residue = sympy.lambdify(self.variable, over / sympy.diff(under, self.variable), "mpmath")
                found.append((residue, sympy.Poly(under, self.variable).all_coeffs()))
        return found

    def _numbers(self, what: str) -> Any:
        left = sorted(symbol.name for symbol in self.rate.free_symbols - {self.variable})
        if left:
            raise ArgumentError(what, f"the equation has the symbols {', '.join(left)}", "give them numbers first")
        return sympy.lambdify(self.variable, self.rate, "mpmath")

    @property
    def steady_states(self) -> tuple[SteadyState, ...]:
        """The values where the rate is zero and the eliminated squares are not negative, with their stability.

        Raises
        ------
        ArgumentError
            If the equation has symbols left.
        NumericalError
            If a root cannot be told from another.
        """
        return tuple(SteadyState(float(value), stability) for value, stability in self._rest)

    @cached_property
    def _rest(self) -> tuple[tuple[Any, Stability], ...]:
        """The steady states in many digits."""
        rate = self._numbers("steady_states")
        over = sympy.Poly(sympy.fraction(sympy.together(self.rate))[0], self.variable)
        squares = [sympy.lambdify(self.variable, square, "mpmath") for square in self.squares.values()]
        listed: list[Any] = list(over.real_roots())
        roots = sorted(set(listed), key=lambda root: root.evalf(30))
        found: list[tuple[Any, Stability]] = []
        with mp.workdps(_DIGITS):
            values = [mp.mpf(str(root.evalf(_DIGITS))) for root in roots]
            for k, value in enumerate(values):
                if any(square(value) < -_ROUNDING for square in squares):
                    continue
                left = (values[k - 1] + value) / 2 if k else value - 1
                right = (values[k + 1] + value) / 2 if k + 1 < len(values) else value + 1
                below, above = mp.sign(mp.re(rate(left))), mp.sign(mp.re(rate(right)))
                if below == 0 or above == 0:
                    raise NumericalError(
                        str(self.variable), "two steady states are too close to tell", "give other values"
                    )
                kind = "stable" if below > 0 > above else "unstable" if below < 0 < above else "half-stable"
                found.append((value, kind))
        return tuple(found)

    def __str__(self) -> str:
        return f"tau d{self.variable}/dt = {readable(self.rate)}"

    def _repr_latex_(self) -> str:
        return rf"$\tau \dot{{{self.variable}}} = {sympy.latex(self.rate)}$"

    def to_dict(self) -> dict[str, Any]:
        """The equation, what was eliminated and the constants, as strings that sympy reads."""
        return {
            "variable": str(self.variable),
            "rate": readable(self.rate),
            "squares": {str(symbol): readable(square) for symbol, square in self.squares.items()},
            "constants": {str(symbol): readable(integral) for symbol, integral in self.constants.items()},
        }


def _number(symbol: Expr, value: Any) -> Expr:
    """A value for a symbol, exactly; raises `ArgumentError` for what is no finite number that the symbol can be."""
    check_finite(symbol.name, value)
    if np.ndim(value):
        raise ArgumentError(symbol.name, f"it must be one number, not {value!r}", "take one mode at a time")
    found = exact(value)
    if symbol.is_positive and found.is_positive is False:
        raise ArgumentError(symbol.name, f"it stands for a positive number, not {value}", "give one")
    return found


def reciprocal_integral(b: Expr, c: Expr) -> Expr:
    """The integral of 1/(b^2 + c): by the sign of c where that is known, by cases where it is not."""
    cases = {
        "positive": lambda: sympy.atan(b / sympy.sqrt(c)) / sympy.sqrt(c),
        "negative": lambda: sympy.log(sympy.Abs((b - sympy.sqrt(-c)) / (b + sympy.sqrt(-c)))) / (2 * sympy.sqrt(-c)),
        "zero": lambda: -1 / b,
    }
    for name, made in cases.items():
        if getattr(c, f"is_{name}"):
            return made()
    return sympy.Piecewise((cases["positive"](), c > 0), (cases["negative"](), c < 0), (cases["zero"](), True))
