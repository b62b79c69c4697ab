"""Sympy expressions and symbols as text that reads back as the same expression."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from qcmap.architecture._formula import FAILURES, FormulaError, read_expression, short

ASSUMPTIONS: tuple[str, ...] = (
    "zero", "positive", "negative", "nonnegative", "nonpositive", "integer", "even", "odd", "prime", "composite",
    "rational", "irrational", "noninteger", "algebraic", "transcendental", "real", "nonzero", "imaginary", "complex",
    "finite", "infinite", "commutative", "polar", "hermitian", "antihermitian", "extended_real", "extended_positive",
    "extended_negative", "extended_nonnegative", "extended_nonpositive", "extended_nonzero",
)  # fmt: skip
"""What sympy may assume of a symbol, what says most first."""


def is_symbol_name(name: object) -> bool:
    """Whether a formula can use the name for a symbol."""
    return isinstance(name, str) and len(name) <= 200 and re.fullmatch(r"[^\W\d]\w*", name) is not None


def write_expression(expression: Any, symbols: Mapping[str, Any]) -> str:
    """The text that `read_expression` reads back as the same expression; raises `FormulaError` if there is none."""
    try:
        text = _printer().doprint(expression)
        again = read_expression(text, symbols)
        if again == expression and _structure(again) == _structure(expression):
            return text
    except FAILURES as error:
        raise FormulaError(f"sympy cannot print it ({type(error).__name__})", "simplify it") from error
    raise FormulaError(
        f"{short(text)} would be read back as another expression", "write it with sympy.expand or a number"
    )


def _structure(expression: Any) -> str:
    """All parts of an expression, with numbers of different types apart.

    Symbols stand by name: equal ones may have got their assumptions in different words.
    """
    import sympy as sp

    return re.sub(r"Symbol\('([^']*)'[^)]*\)", r"\1", sp.srepr(expression))


def read_symbol(name: str, assumptions: Mapping[str, bool]) -> Any:
    """The symbol with these assumptions; raises `FormulaError` if they contradict each other."""
    import sympy as sp

    try:
        return sp.Symbol(name, **assumptions)
    except ValueError as error:
        raise FormulaError(f"the assumptions of {name!r} contradict each other", "leave one out") from error


def assumptions_of(symbol: Any) -> dict[str, bool]:
    """A smallest set of assumptions that make a symbol of this name equal to the given one.

    Raises `FormulaError` for a symbol that a file cannot hold, such as a dummy.
    """
    import sympy as sp

    if type(symbol) is not sp.Symbol or not is_symbol_name(symbol.name):
        raise FormulaError(
            f"a file cannot hold the symbol {short(str(symbol))}", "use a sympy.Symbol with a plain name"
        )
    kept = full = {name: symbol.assumptions0[name] for name in ASSUMPTIONS if name in symbol.assumptions0}
    # What is true says more than what is false, so the false ones go first.
    for name in sorted(full, key=lambda name: (full[name], -ASSUMPTIONS.index(name))):
        fewer = {key: value for key, value in kept.items() if key != name}
        if sp.Symbol(symbol.name, **fewer) == symbol:
            kept = fewer
    return kept


@lru_cache(maxsize=1)
def _printer() -> Any:
    """Sympy's printer, but with every bit of a float."""
    from sympy.printing.str import StrPrinter

    class Printer(StrPrinter):
        def _print_Float(self, expr: Any) -> str:  # noqa: N802
            if expr._prec != 53:
                raise FormulaError(
                    f"a file cannot hold a sympy Float of {expr._prec} bits", "give a float or a Rational"
                )
            return float.__repr__(float(expr))

    return Printer()
