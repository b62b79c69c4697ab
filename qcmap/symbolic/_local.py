"""Local Q and C maps in sympy: closed where a closed form is known, named functions elsewhere.

The named functions are `Q_tanh`(q), the second moment; `M_tanh`(q), the mean of phi(sqrt(q) x); and
`C_tanh`(c, q1, q2), whose derivatives in c print as `C_tanh'`, `C_tanh''`, ... and are called `dC_tanh`, `d2C_tanh`,
... in generated code (`sympy.lambdify`). They know what holds for every activation: Q is positive and C(1, q, q) = 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import sympy

from qcmap.activations import Activation
from qcmap.errors import ActivationError
from qcmap.symbolic._parts import slope_symbol

Expr = Any
"""A sympy expression: its operators have no types that a checker could use."""


class _Named(sympy.Function):
    """A named local map; ``order`` counts derivatives in its first argument."""

    activation = ""
    letter = ""
    order = 0

    def _sympystr(self, printer: Any) -> str:
        return f"{self.letter}_{self.activation}{chr(39) * self.order}({printer.stringify(self.args, ', ')})"

    def _latex(self, printer: Any, exp: str | None = None) -> str:
        symbol = f"{self.letter}_{{\\mathrm{{{self.activation}}}}}" + "'" * self.order
        symbol = symbol if exp is None else f"{{{symbol}}}^{{{exp}}}"
        return f"{symbol}\\left({', '.join(map(printer.doprint, self.args))}\\right)"

    def fdiff(self, argindex: int = 1) -> Expr:
        """The named derivative in the first argument; sympy's unevaluated one in the others."""
        if argindex == 1:
            return type(self).raised()(*self.args)
        return super().fdiff(argindex)

    @classmethod
    def raised(cls) -> type[_Named]:
        """The function of one order more."""
        return _class(cls.__mro__[1], cls.activation, cls.order + 1)


class _SecondMoment(_Named):
    letter = "Q"
    nargs = 1

    def _eval_is_positive(self) -> bool | None:
        return True if self.order == 0 else None


class _Mean(_Named):
    letter = "M"
    nargs = 1

    def _eval_is_real(self) -> bool:
        return True


class _Correlation(_Named):
    letter = "C"
    nargs = 3

    @classmethod
    def eval(cls, *args: Expr) -> Expr:
        """C(1, q, q) = 1, by Cauchy and Schwarz with equality."""
        c, q1, q2 = args
        return sympy.Integer(1) if cls.order == 0 and c == 1 and q1 == q2 else None

    def _eval_is_real(self) -> bool:
        return True


class _Uniform(_Named):
    """The C map of a shaped activation: C(0) = 0, C(1) = 1, C'(1) = psi."""

    letter = "C"
    nargs = 1

    @classmethod
    def eval(cls, *args: Expr) -> Expr:
        """What the conditions of DKS, section 17.3, fix."""
        (c,) = args
        if cls.order == 0 and c in (0, 1):
            return c
        return slope_symbol(f"psi_{cls.activation}") if cls.order == 1 and c == 1 else None

    def _eval_is_real(self) -> bool:
        return True


@lru_cache(maxsize=4096)
def _class(kind: Any, name: str, order: int = 0) -> Any:
    prefix = {0: "", 1: "d"}.get(order, f"d{order}")
    return type(f"{prefix}{kind.letter}_{name}", (kind,), {"activation": name, "order": order})


@dataclass(frozen=True)
class LocalForms:
    """The local maps of one activation as functions of expressions."""

    act: Activation

    def second_moment(self, q: Expr) -> Expr:
        """The Q map Q(q)."""
        known = self._known("second_moment")
        return _class(_SecondMoment, self.act.name)(q) if known is None else _at(known, q=q)

    def mean(self, q: Expr) -> Expr:
        """E phi(sqrt(q) x)."""
        if self.act.parity == "odd":
            return sympy.Integer(0)
        known = self._known("mean")
        return _class(_Mean, self.act.name)(q) if known is None else _at(known, q=q)

    def c_map(self, c: Expr, q1: Expr, q2: Expr, order: int = 0) -> Expr:
        """The C map C(c, q1, q2), or its first derivative in c."""
        known = self._known("c_map" if order == 0 else "c_map_derivative")
        if known is not None:
            # At c = 1 closed forms have removable singularities, which substitution would meet.
            return sympy.Integer(1) if order == 0 and c == 1 and q1 == q2 else _at(known, c=c, q1=q1, q2=q2)
        return _class(_Correlation, self.act.name, order)(c, q1, q2)

    def _known(self, what: str) -> Expr:
        return _closed(self.act, what)


@lru_cache(maxsize=1024)
def _closed(act: Activation, what: str) -> Expr:
    try:
        return getattr(act.closed_forms, what)
    except ActivationError:
        return None


def _at(expression: Expr, **values: Expr) -> Expr:
    from qcmap.activations._exact import symbols

    named = symbols()._asdict()
    return expression.subs({named[name]: value for name, value in values.items()}, simultaneous=True)


def readable(expression: Expr) -> str:
    """The expression as a string that sympy reads: derivatives as functions called dC_tanh, d2C_tanh, ..."""
    plain: Any = sympy.Function
    return str(
        expression.replace(lambda e: isinstance(e, _Named) and e.order, lambda e: plain(type(e).__name__)(*e.args))
    )


def uniform_c(name: str, c: Expr, order: int = 0) -> Expr:
    """The C map of a shaped activation, or its derivative."""
    return _class(_Uniform, name, order)(c)
