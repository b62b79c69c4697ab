"""The reduced dynamics of a gated network: lumped equations, first integrals, ratios, one scalar equation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any

import numpy as np
import sympy

from qcmap.architecture.gated._network import GatedNetwork
from qcmap.errors import ArgumentError
from qcmap.symbolic._local import Expr, readable
from qcmap.symbolic.gated._exact import check_finite, exact
from qcmap.symbolic.gated._integrals import Row, integral_rows, null_space
from qcmap.symbolic.gated._quotient import Error, Quotient
from qcmap.symbolic.gated._scalar import ScalarEquation


@dataclass(frozen=True, eq=False)
class Reduced:
    """The flow of a decoupled gated network on the classes of its coarsest equitable partition.

    One equation for each class, mode by mode; times are in units of tau.

    Attributes
    ----------
    network
        The network with the moments of its modes.
    quotient
        The circuit that computes the flow.
    modes
        The number of modes, None if S and D are symbols of a generic one.
    widths
        For each class, how many of the modes, strongest first, its edges have room for; None if all.
    """

    network: GatedNetwork
    quotient: Quotient
    modes: int | None = None
    widths: tuple[int, ...] | None = None

    @cached_property
    def symbols(self) -> tuple[Expr, ...]:
        """B1, B2, ...: one for each class, in graph order, positive."""
        return tuple(sympy.Symbol(f"B{k + 1}", positive=True) for k in range(len(self.quotient.classes)))

    @cached_property
    def classes(self) -> Mapping[Expr, tuple[str, ...]]:
        """The edges that share each variable."""
        return dict(zip(self.symbols, self.quotient.classes, strict=True))

    @cached_property
    def values(self) -> Mapping[Expr, Any]:
        """What the symbols S and D stand for, if the moments are numbers: an array with an entry for each mode."""
        found: dict[Expr, Any] = {}
        for letter, table in (("S", self.quotient.targets), ("D", self.quotient.inputs)):
            arrays = [value for value in table if isinstance(value, np.ndarray)]
            for k, value in enumerate(arrays):
                name = letter if len(arrays) == 1 else f"{letter}{k + 1}"
                found[sympy.Symbol(name, positive=True) if (value > 0).all() else sympy.Symbol(name, real=True)] = value
        return found

    @cached_property
    def formal(self) -> Quotient:
        """The circuit with sympy expressions in its tables."""
        names = {id(value): symbol for symbol, value in self.values.items()}
        return self.quotient.map(lambda _, value: names[id(value)] if id(value) in names else exact(value))

    def substitute(self, **values: Any) -> Reduced:
        """With numbers, or arrays with an entry for each mode, for the symbols of a generic mode.

        Raises
        ------
        ArgumentError
            For a name that is no symbol of the moments, values that are no finite numbers, arrays of different lengths,
            or values that no data have: no input along a mode that inputs predict.
        """
        tables = (*self.quotient.targets, *self.quotient.inputs)
        known = {symbol.name for value in tables for symbol in getattr(value, "free_symbols", ())}
        for name in values:
            if name not in known:
                raise ArgumentError(name, "it is no symbol of the moments", f"choose from {', '.join(sorted(known))}")
        for name, value in values.items():
            check_finite(name, value)
        modes = {np.size(value) for value in values.values() if np.ndim(value) == 1}
        if len(modes) > 1:
            raise ArgumentError("values", f"they have {sorted(modes)} modes", "give as many values each")
        count = modes.pop() if modes else 1

        def number(table: str, value: Any) -> Any:
            symbols = sorted(getattr(value, "free_symbols", ()), key=str)
            if table not in ("targets", "inputs") or not symbols:
                return value
            given: list[Any] = [values.get(symbol.name, symbol) for symbol in symbols]
            if any(getattr(entry, "free_symbols", None) for entry in given):
                return value.subs({s: g for s, g in zip(symbols, given, strict=True) if np.ndim(g) == 0})
            return np.broadcast_to(np.asarray(sympy.lambdify(symbols, value)(*map(np.asarray, given)), float), (count,))

        quotient = self.quotient.map(number)
        self._check_moments(quotient)
        return Reduced(self.network, quotient, count, self.widths)

    def _check_moments(self, quotient: Quotient) -> None:
        """Where y x^T is not zero, x x^T is positive: |<y x>|^2 <= <y^2> <x^2>."""
        for cell in quotient.cells:
            if not isinstance(cell, Error) or cell.target < 0:
                continue
            signal, own = quotient.targets[cell.target], [quotient.inputs[moment] for moment, _, _ in cell.terms]
            if any(getattr(moment, "free_symbols", None) for moment in own):
                continue
            known = not getattr(signal, "free_symbols", None)
            size = np.abs(np.asarray(signal, dtype=np.float64)) if known else np.ones(1)
            table = np.array([np.broadcast_to(np.asarray(moment, dtype=np.float64), size.shape) for moment in own])
            # With several inputs x x^T has products of two of them, which may be negative, but not all zero.
            none = (table <= 0).all(axis=0) if len(own) == 1 else (table == 0).all(axis=0)
            if (none & (size > 0)).any():
                mode = int(np.argmax(none & (size > 0)))
                name = str(self.quotient.inputs[cell.terms[0][0]])
                raise ArgumentError(
                    name, f"<x x^T> is {table[0, mode]:g} along mode {mode + 1}, whose <y x^T> is not zero: no data "
                    "have such moments", "give a positive number, or no target along this mode",
                )  # fmt: skip

    @cached_property
    def equations(self) -> Mapping[Expr, Expr]:
        """``tau dB/dt`` of each variable, for one mode."""
        flows = self.formal.flow(self.symbols)
        return {symbol: sympy.factor_terms(flow) for symbol, flow in zip(self.symbols, flows, strict=True)}

    @cached_property
    def loss(self) -> Expr:
        """One mode's part of the loss (1), less its value at B = 0."""
        return sympy.factor_terms(self.formal.loss(self.symbols))

    @cached_property
    def integral_rows(self) -> tuple[Row, ...]:
        """The first integrals as coefficients of the squares of the variables."""
        return integral_rows(self.network, self.quotient.classes)

    @cached_property
    def integrals(self) -> tuple[Expr, ...]:
        """Independent first integrals: polynomials in the variables that the flow leaves constant, mode by mode."""
        squares = [symbol**2 for symbol in self.symbols]
        return tuple(
            sympy.Add(*(c * square for c, square in zip(row, squares, strict=True))) for row in self.integral_rows
        )

    @cached_property
    def _free(self) -> list[tuple[Fraction, ...]]:
        return null_space(self.integral_rows, len(self.symbols))

    def balanced(self) -> Reduced:
        """The dynamics where variables whose squares differ by a constant start equal, and so stay equal.

        If the integrals span B_i^2 - B_j^2, then B_i P_i = B_j P_j for the polynomials P of the flow, so P_i = B_j Q
        and P_j = B_i Q with a polynomial Q: B_i = B_j is invariant. The paper's B1 = B3 in (47)-(48) is such a pair.
        """
        groups: dict[tuple[Fraction, ...], list[int]] = {}
        for k in range(len(self.symbols)):
            groups.setdefault(tuple(vector[k] for vector in self._free), []).append(k)
        if len(groups) == len(self.symbols):
            return self
        widths = None if self.widths is None else tuple(min(self.widths[k] for k in g) for g in groups.values())
        return Reduced(self.network, self.quotient.merge(list(groups.values())), self.modes, widths)

    def ratios(self) -> Mapping[Expr, Expr]:
        """Each variable's asymptotic ratio to the first, as long as the error does not become zero.

        The integrals are linear in the squares. Once these are large beside the constants, they approach the vector
        that all integrals take to zero, if there is only one.

        Raises
        ------
        ArgumentError
            If the integrals leave more than one ratio open.
        """
        if len(self._free) != 1 or any(c <= 0 for c in self._free[0]):
            raise ArgumentError(
                "reduced", f"{len(self.integrals)} integrals do not fix the ratios of {len(self.symbols)} variables",
                "ask for those of a network with one path from input to output for each context",
            )  # fmt: skip
        squares = [sympy.Rational(c.numerator, c.denominator) for c in self._free[0]]
        return {s: sympy.sqrt(square / squares[0]) for s, square in zip(self.symbols, squares, strict=True)}

    def scalar(self, variable: str | None = None) -> ScalarEquation:
        """The one equation that the integrals leave, in the variable that needs the fewest roots unless one is named.

        Raises
        ------
        ArgumentError
            If the integrals leave more than one equation, or for an unknown variable.
        """
        if len(self._free) != 1:
            raise ArgumentError(
                "reduced", f"{len(self.integrals)} integrals leave {len(self._free)} equations of "
                f"{len(self.symbols)}, not one", "solve the system, or take one scheme alone",
            )  # fmt: skip
        known = {str(symbol): symbol for symbol in self.symbols}
        if variable is not None and variable not in known:
            raise ArgumentError("variable", f"there is no {variable!r}", f"choose one of {', '.join(known)}")
        chosen = self.symbols if variable is None else (known[variable],)
        found = [self._eliminated(symbol) for symbol in chosen]
        return min(found, key=lambda equation: (equation.roots, sympy.count_ops(equation.rate)))

    def _eliminated(self, variable: Expr) -> ScalarEquation:
        many = len(self.integrals) > 1
        names = [sympy.Symbol(f"C{k + 1}" if many else "C", real=True) for k in range(len(self.integrals))]
        squares = {s: sympy.Symbol(f"q_{s}") for s in self.symbols}
        rows = [
            sympy.Add(*(c * squares[s] for c, s in zip(row, self.symbols, strict=True))) - name
            for row, name in zip(self.integral_rows, names, strict=True)
        ]
        others = [s for s in self.symbols if s != variable]
        solved = sympy.solve(rows, [squares[s] for s in others], dict=True)[0] if rows else {}
        found = {s: sympy.factor(solved[squares[s]].subs(squares[variable], variable**2)) for s in others}
        rate = self.equations[variable].subs({s: sympy.sqrt(square) for s, square in found.items()})
        return ScalarEquation(variable, sympy.factor(rate), found, dict(zip(names, self.integrals, strict=True)))

    def __str__(self) -> str:
        lines = [f"{symbol}: {_listed(edges)}" for symbol, edges in self.classes.items()]
        lines += [f"tau d{symbol}/dt = {readable(rate)}" for symbol, rate in self.equations.items()]
        return "\n".join(lines + [f"conserved: {readable(integral)}" for integral in self.integrals])

    def __repr__(self) -> str:
        return f"<reduced dynamics: {len(self.network.edges)} edges in {len(self.symbols)} classes>"

    def _repr_latex_(self) -> str:
        rows = [rf"\tau \dot{{{symbol}}} &= {sympy.latex(rate)}" for symbol, rate in self.equations.items()]
        return "$\\begin{aligned}" + r" \\ ".join(rows) + "\\end{aligned}$"

    def to_dict(self) -> dict[str, Any]:
        """Classes, equations and integrals as strings that sympy reads, and the values of S and D."""
        return {
            "classes": {str(symbol): list(edges) for symbol, edges in self.classes.items()},
            "equations": {str(symbol): readable(rate) for symbol, rate in self.equations.items()},
            "integrals": [readable(integral) for integral in self.integrals],
            "values": {str(symbol): np.asarray(value).tolist() for symbol, value in self.values.items()},
        }


def _listed(edges: tuple[str, ...]) -> str:
    return ", ".join(edges) if len(edges) <= 4 else f"{edges[0]}, ..., {edges[-1]} ({len(edges)} edges)"
