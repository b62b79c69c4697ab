"""Formulas as text: a grammar of numbers, names, functions and operators that is read without evaluating any code."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

LONGEST = 10_000
"""The longest formula, in characters: a limit for what reading one may cost."""
DEEPEST = 40
"""The deepest nesting of parentheses, functions and powers."""
BITS = 4096
"""The longest integer, in bits, that a power may make: 9**9**9**9 is refused before it is computed."""
DIGITS = 300
"""The longest integer that may be written out."""

_TOKEN = re.compile(
    r"\s*(?:(?P<number>(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?)|(?P<name>[^\W\d]\w*)"
    r"|(?P<sign>\*\*|<=|>=|[-+*/(),<>&|]))"
)
FAILURES = (
    ArithmeticError, AssertionError, AttributeError, LookupError, NameError, RuntimeError, StopIteration, SyntaxError,
    TypeError, ValueError,
)  # fmt: skip
"""What sympy may raise for arguments that it cannot handle."""

_FUNCTIONS: dict[str, Callable[..., float]] = {
    "sqrt": math.sqrt, "exp": math.exp, "log": math.log, "sin": math.sin, "cos": math.cos, "tan": math.tan,
    "asin": math.asin, "acos": math.acos, "atan": math.atan, "sinh": math.sinh, "cosh": math.cosh, "tanh": math.tanh,
    "asinh": math.asinh, "acosh": math.acosh, "atanh": math.atanh, "erf": math.erf, "erfc": math.erfc, "Abs": math.fabs,
    "sign": lambda a: math.copysign(1.0, a) if a else 0.0, "Heaviside": lambda a: float(a > 0),
}  # fmt: skip
"""Functions of one argument, with their values for floats."""
_OF_MANY: dict[str, Callable[..., float]] = {"Max": max, "Min": min, "Rational": lambda p, q: p / q}
FUNCTIONS: tuple[str, ...] = tuple(sorted([*_FUNCTIONS, *_OF_MANY, "Eq", "Ne", "Piecewise"]))
"""The names of the functions that a formula may use."""


class FormulaError(Exception):
    """A formula that cannot be read or written: the rule that it breaks and the remedy."""

    def __init__(self, rule: str, remedy: str) -> None:
        super().__init__(rule, remedy)
        self.rule, self.remedy = rule, remedy


class _Value(NamedTuple):
    """A part of a formula, and its value if it has no symbols."""

    expression: Any
    number: float | None


def read_expression(text: str, symbols: Mapping[str, Any]) -> Any:
    """The sympy expression that a text means.

    Decimals become floats of 53 bits; integers and their quotients stay exact. A sum with a number before it stays a
    product, as sympy prints one, instead of being multiplied out.

    Raises `FormulaError` for anything outside of the grammar, an undeclared symbol, or a number that is not real, not
    finite or too long.
    """
    if len(text) > LONGEST:
        raise FormulaError(f"a formula has at most {LONGEST} characters, not {len(text)}", "simplify it")
    try:
        return _Parser(text, symbols).whole()
    except FAILURES as error:
        raise FormulaError(
            f"sympy cannot read the formula {short(text)} ({type(error).__name__})", "simplify it"
        ) from (error)


def short(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:57] + "...")


class _Parser:
    """Recursive descent; sums and products of any length are loops, so that only nesting recurses."""

    def __init__(self, text: str, symbols: Mapping[str, Any]) -> None:
        import sympy as sp

        self.sp: Any = sp
        self.text, self.symbols, self.depth, self.at = text, symbols, 0, 0
        self.tokens: list[tuple[str, str]] = []
        position, end = 0, len(text.rstrip())
        while position < end:
            match = _TOKEN.match(text, position)
            if match is None:
                position += len(text[position:]) - len(text[position:].lstrip())
                raise self.refusal(f"{text[position]!r} has no meaning in a formula")
            self.tokens.append((str(match.lastgroup), match[str(match.lastgroup)]))
            position = match.end()
        self.tokens.append(("end", "the end"))

    def refusal(self, rule: str, remedy: str = "write numbers, symbols, functions and + - * / ** ( )") -> FormulaError:
        return FormulaError(f"{rule}, in {short(self.text)}", remedy)

    def accept(self, *signs: str) -> str | None:
        """The next token if it is one of these signs; then it is passed."""
        kind, token = self.tokens[self.at]
        if kind != "sign" or token not in signs:
            return None
        self.at += 1
        return token

    def expect(self, sign: str) -> None:
        if self.accept(sign) is None:
            raise self.refusal(f"{sign!r} was expected, not {self.tokens[self.at][1]!r}")

    def whole(self) -> Any:
        value = self.arithmetic(self.either())
        if self.tokens[self.at][0] != "end":
            raise self.refusal(f"an operator was expected, not {self.tokens[self.at][1]!r}")
        sp = self.sp
        if value.expression.has(sp.zoo, sp.oo, -sp.oo, sp.nan, sp.I):
            raise self.refusal("it is not a finite real number", "give a finite one")
        return value.expression

    def arithmetic(self, value: _Value) -> _Value:
        """The value, refused if it is a condition."""
        if not isinstance(value.expression, self.sp.Expr):
            raise self.refusal("a condition stands where a number was expected", "use conditions in Piecewise only")
        return value

    def made(self, expression: Any, number: Callable[[], float], *parts: _Value) -> _Value:
        """A value with its number, which must be real and finite if all parts have numbers."""
        constant = bool(expression.is_Number) or all(part.number is not None for part in parts)
        if not constant:
            return _Value(expression, None)
        try:
            found = float(expression) if expression.is_Number else number()
        except (ArithmeticError, TypeError, ValueError):
            found = math.nan
        if not (isinstance(found, float) and math.isfinite(found)):
            raise self.refusal("a part of it is not a finite real number", "keep every part finite and real")
        return _Value(expression, found)

    def either(self) -> _Value:
        return self.joined("|", self.sp.Or, lambda: self.joined("&", self.sp.And, self.relation))

    def joined(self, sign: str, combine: Callable[..., Any], part: Callable[[], _Value]) -> _Value:
        parts = [part()]
        while self.accept(sign):
            parts.append(part())
        if len(parts) == 1:
            return parts[0]
        if any(isinstance(value.expression, self.sp.Expr) for value in parts):
            raise self.refusal(f"{sign!r} joins conditions, not numbers")
        return _Value(combine(*(value.expression for value in parts)), None)

    def relation(self) -> _Value:
        left = self.total()
        sign = self.accept("<", "<=", ">", ">=")
        if sign is None:
            return left
        compare = {"<": self.sp.Lt, "<=": self.sp.Le, ">": self.sp.Gt, ">=": self.sp.Ge}[sign]
        return _Value(compare(self.arithmetic(left).expression, self.arithmetic(self.total()).expression), None)

    def total(self) -> _Value:
        terms = [self.product()]
        while sign := self.accept("+", "-"):
            term = self.product()
            terms.append(term if sign == "+" else self.multiplied([self.integer(-1), self.arithmetic(term)]))
        if len(terms) == 1:
            return terms[0]
        terms = [self.arithmetic(term) for term in terms]
        expression = self.sp.Add(*(term.expression for term in terms))
        return self.made(expression, lambda: math.fsum(term.number or 0.0 for term in terms), *terms)

    def product(self) -> _Value:
        factors = self.signed()
        while sign := self.accept("*", "/"):
            last = self.signed()
            inverse = self.raised(self.arithmetic(last[-1]), self.integer(-1)) if sign == "/" else last[-1]
            factors += [*last[:-1], inverse]
        return factors[0] if len(factors) == 1 else self.multiplied([self.arithmetic(factor) for factor in factors])

    def multiplied(self, factors: list[_Value]) -> _Value:
        """The product of all factors at once, as sympy would print it: a number does not go into a sum."""
        sp = self.sp
        numbers = [factor.expression for factor in factors if factor.expression.is_Number]
        others = [factor.expression for factor in factors if not factor.expression.is_Number]
        coefficient = sp.Mul(*numbers)
        keep = len(others) == 1 and others[0].is_Add and coefficient not in (sp.S.One, sp.S.Zero)
        expression = sp.Mul(coefficient, *others, evaluate=not keep)
        return self.made(expression, lambda: math.prod(factor.number or 0.0 for factor in factors), *factors)

    def signed(self) -> list[_Value]:
        """A power with the signs before it, as factors."""
        negative = False
        while sign := self.accept("+", "-"):
            negative ^= sign == "-"
        value = self.power()
        return [self.integer(-1), value] if negative else [value]

    def power(self) -> _Value:
        base = self.atom()
        if self.accept("**") is None:
            return base
        self.deeper(1)
        exponent = self.signed()
        self.deeper(-1)
        exponent = exponent[0] if len(exponent) == 1 else self.multiplied([self.arithmetic(part) for part in exponent])
        return self.raised(self.arithmetic(base), self.arithmetic(exponent))

    def raised(self, base: _Value, exponent: _Value) -> _Value:
        """A power, refused if an integer in it would be too long."""
        sp = self.sp
        if exponent.expression.is_Rational:
            longest = max((q.p.bit_length() + q.q.bit_length() for q in base.expression.atoms(sp.Rational)), default=1)
            if longest * abs(exponent.expression) > BITS and base.expression not in (0, 1, -1):
                raise self.refusal("a power makes too long an integer", "use a decimal number")
        expression = sp.Pow(base.expression, exponent.expression)

        def number() -> float:
            assert base.number is not None
            assert exponent.number is not None
            return base.number**exponent.number

        return self.made(expression, number, base, exponent)

    def deeper(self, step: int) -> None:
        self.depth += step
        if self.depth > DEEPEST:
            raise self.refusal(f"it is nested more than {DEEPEST} deep", "simplify it")

    def integer(self, value: int) -> _Value:
        return _Value(self.sp.Integer(value), float(value))

    def atom(self) -> _Value:
        if self.accept("("):
            self.deeper(1)
            value = self.either()
            self.deeper(-1)
            self.expect(")")
            return value
        kind, token = self.tokens[self.at]
        if kind not in ("number", "name"):
            raise self.refusal(f"a number or a name was expected, not {token!r}")
        self.at += 1
        if kind == "number":
            return self.literal(token)
        if self.accept("("):
            return self.call(token)
        constants = {"pi": self.sp.pi, "E": self.sp.E, "True": self.sp.true, "False": self.sp.false}
        if token in self.symbols:
            return _Value(self.symbols[token], None)
        if token in constants:
            return _Value(constants[token], {"pi": math.pi, "E": math.e}.get(token))
        raise self.refusal(f"there is no symbol {token!r}", self.nearest(token, [*self.symbols, "pi", "E"], "symbols"))

    def literal(self, token: str) -> _Value:
        if token.isdecimal():
            if len(token) > DIGITS:
                raise self.refusal(f"an integer has at most {DIGITS} digits", "use a decimal number")
            return self.integer(int(token))
        return self.made(self.sp.Float(float(token)) if math.isfinite(float(token)) else self.sp.oo, lambda: math.nan)

    def nearest(self, token: str, known: list[str], what: str) -> str:
        import difflib

        near = difflib.get_close_matches(token, known, n=3, cutoff=0.5)
        return f"did you mean {' or '.join(near)}?" if near else f"the {what} known here: {', '.join(known)}"

    def call(self, name: str) -> _Value:
        if name not in FUNCTIONS:
            raise self.refusal(f"there is no function {name!r}", self.nearest(name, list(FUNCTIONS), "functions"))
        self.deeper(1)
        arguments = [self.piece() if name == "Piecewise" else self.arithmetic(self.either())]
        while self.accept(","):
            arguments.append(self.piece() if name == "Piecewise" else self.arithmetic(self.either()))
        self.deeper(-1)
        self.expect(")")
        wanted = 1 if name in _FUNCTIONS else None if name in ("Max", "Min", "Piecewise") else 2
        if wanted not in (None, len(arguments)):
            raise self.refusal(f"{name} has {wanted} argument{'s' if wanted == 2 else ''}, not {len(arguments)}")
        if name == "Rational" and not all(argument.expression.is_Integer for argument in arguments):
            raise self.refusal("Rational has two integers as arguments")
        expression = getattr(self.sp, name)(*(argument.expression for argument in arguments))
        if name in ("Eq", "Ne"):
            return _Value(expression, None)
        compute = _FUNCTIONS.get(name) or _OF_MANY.get(name) or (lambda *_: math.nan)
        if name == "Piecewise":
            return self.made(expression, lambda: math.nan, _Value(expression, None))
        return self.made(expression, lambda: float(compute(*(a.number for a in arguments))), *arguments)

    def piece(self) -> _Value:
        """One ``(value, condition)`` of a Piecewise."""
        self.expect("(")
        value = self.arithmetic(self.total())
        self.expect(",")
        condition = self.either()
        self.expect(")")
        if isinstance(condition.expression, self.sp.Expr):
            raise self.refusal("a piece of a Piecewise has a condition", "write (value, condition)")
        return _Value((value.expression, condition.expression), None)
