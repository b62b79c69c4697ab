"""Gaussian expectations of activations in closed form (docs/closed_forms.md has every derivation).

sympy, and the modules ``_exact_*`` that import it, are imported inside the functions: qcmap itself does without.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from qcmap.errors import ActivationError, ArgumentError

if TYPE_CHECKING:
    import sympy

    from qcmap.activations._activation import Activation
    from qcmap.activations._exact_terms import Piece


_LONG = 400
"""Operations above which an expression is left as it is: shortening it would take minutes."""


class Symbols(NamedTuple):
    """The symbols of all closed forms: ``q``, ``q1``, ``q2``, ``epsilon`` are positive, ``c`` and ``u`` real."""

    u: sympy.Symbol
    c: sympy.Symbol
    q: sympy.Symbol
    q1: sympy.Symbol
    q2: sympy.Symbol
    epsilon: sympy.Symbol


@lru_cache(maxsize=1)
def symbols() -> Symbols:
    """The symbols that closed forms are written in; ``epsilon`` is 1 - c in the expansion at c = 1."""
    import sympy as sp

    real: Any = [sp.Symbol(name, real=True) for name in ("u", "c")]
    positive: Any = [sp.Symbol(name, positive=True) for name in ("q", "q1", "q2", "epsilon")]
    return Symbols(*real, *positive)


@dataclass(frozen=True)
class ClosedForms:
    """Gaussian expectations of an activation phi in closed form, None where no closed form is known.

    With x standard normal, and (u1, u2) centred normal with variances q1 and q2 and correlation c:

    Attributes
    ----------
    mean
        E[phi(sqrt(q) x)], in q.
    second_moment
        The Q map Q(q) = E[phi(sqrt(q) x)^2] (DKS, equation 5), in q.
    kernel
        E[phi(u1) phi(u2)], in c, q1 and q2; the C map (DKS, equation 7) is `c_map`.
    remarks
        For each that is None: what is missing and why.
    activation
        The activation's name.
    """

    mean: sympy.Expr | None
    second_moment: sympy.Expr | None
    kernel: sympy.Expr | None
    remarks: tuple[str, ...] = ()
    activation: str = ""
    _pieces: tuple[Piece, ...] | None = field(default=None, repr=False, compare=False)

    @property
    def c_map(self) -> sympy.Expr | None:
        """C(c, q1, q2) = kernel / sqrt(Q(q1) Q(q2)) (DKS, equation 7), in c, q1 and q2."""
        return self._over_sizes(self.kernel)

    @property
    def c_map_derivative(self) -> sympy.Expr | None:
        """The derivative of `c_map` in c."""
        if self.kernel is None:
            return None
        from qcmap.activations._exact_tidy import tidy_in_q

        slope: Any = self.kernel.diff(symbols().c)
        return self._over_sizes(tidy_in_q(slope) if slope.count_ops() < _LONG else slope)

    def _over_sizes(self, kernel: Any) -> Any:
        if kernel is None or self.second_moment is None:
            return None
        import sympy as sp

        _, _, q, q1, q2, _ = symbols()
        sizes: Any = [self.second_moment.subs(q, variance) for variance in (q1, q2)]
        ratio: Any = kernel / (sp.sqrt(sizes[0]) * sp.sqrt(sizes[1]))
        return sp.powsimp(ratio, combine="exp")

    def hermite(self, n: int, q: Any = 1) -> sympy.Expr:
        """The Hermite coefficient a_n(q) = E[phi(sqrt(q) x) He_n(x)] / sqrt(n!).

        The kernel is the sum of a_n(q1) a_n(q2) c^n over all n >= 0 (Mehler's formula), and Q(q) that of a_n(q)^2.

        Parameters
        ----------
        n
            Its index, 0 or larger.
        q
            A positive number (read exactly: a float as the decimal it prints as) or sympy expression.

        Raises
        ------
        ArgumentError
            If n or q is not as above.
        ActivationError
            If the coefficient has no closed form.
        """
        if not isinstance(n, int) or n < 0:
            raise ArgumentError("n", f"a Hermite coefficient has an index 0, 1, 2, ..., not {n!r}", "give one of these")
        variance = _variance(q)
        if self._pieces is None:
            raise ActivationError(
                self.activation,
                "its Hermite coefficients have no closed form",
                "integrate numerically: qcmap.local_maps(activation).hermite(n)",
            )
        from qcmap.activations import _exact_engine as engine
        from qcmap.activations._exact_terms import NoClosedFormError

        try:
            return engine.hermite(self._pieces, n).subs(symbols().q, variance)
        except NoClosedFormError as reason:
            raise ActivationError(
                self.activation, f"its Hermite coefficient {n} has no closed form ({reason})", "integrate numerically"
            ) from None

    def series(self, at: Literal[0, 1] = 0, terms: int = 4, q: Any = 1) -> sympy.Expr:
        """The C map at q1 = q2 = q expanded at c = 0 or at c = 1, up to all powers below ``terms``.

        At 0, a power series in c, from the Hermite coefficients (so also where the kernel has no closed form). At 1, a
        series in the powers 0, 1/2, 1, 3/2, ... of epsilon = 1 - c: the kernel is analytic in sqrt(1 - c), and a jump
        in phi gives the power 1/2, a jump in phi' the power 3/2.

        Raises
        ------
        ArgumentError
            If an argument is not as above.
        ActivationError
            If the closed forms that it needs are not known.
        """
        if at not in (0, 1):
            raise ArgumentError("at", f"the C map is expanded at c = 0 or c = 1, not {at!r}", "give 0 or 1")
        if not isinstance(terms, int) or terms < 1:
            raise ArgumentError("terms", f"it is a positive number, not {terms!r}", "give 1 or more")
        variance = _variance(q)
        c, size = symbols().c, self.second_moment
        if size is None or (at == 1 and self.kernel is None):
            raise ActivationError(
                self.activation, f"the series at {at} needs closed forms that it has not", "see closed_forms.remarks"
            )
        from qcmap.activations import _exact_engine as engine

        size = size.subs(symbols().q, variance)
        if at == 0:
            squares: Any = [engine.squared(self.hermite(n, variance)) for n in range(terms)]
            return sum((engine.shortest(square / size) * c**n for n, square in enumerate(squares)), start=0 * c)
        return engine.series_at_one(self.kernel, size, variance, terms)

    def to_dict(self) -> dict[str, Any]:
        """The formulas as strings that sympy reads (None where unknown), and the remarks."""
        formulas = {"mean": self.mean, "second_moment": self.second_moment, "kernel": self.kernel}
        texts = {key: None if formula is None else str(formula) for key, formula in formulas.items()}
        return {"activation": self.activation, **texts, "remarks": list(self.remarks)}

    def __repr__(self) -> str:
        known = [key for key in ("mean", "second_moment", "kernel") if getattr(self, key) is not None]
        return f"<closed forms of {self.activation}: {', '.join(known) or 'none'}>"

    def _repr_latex_(self) -> str | None:
        rows = {
            r"\mathbb{E}\,\phi": self.mean,
            r"\mathcal{Q}(q)": self.second_moment,
            r"\mathbb{E}\,\phi(u_1)\phi(u_2)": self.kernel,
        }
        lines = [f"{left} &= {_latex(right)}" for left, right in rows.items() if right is not None]
        return r"$\displaystyle\begin{aligned}" + r" \\ ".join(lines) + r"\end{aligned}$" if lines else None


def _latex(expression: Any) -> str:
    """LaTeX with rational numbers of more than nine digits (decimal constants, as selu's) rounded to six."""
    import sympy as sp

    long = [number for number in expression.atoms(sp.Rational) if max(abs(number.p), number.q) >= 10**9]
    return sp.latex(expression.xreplace({number: number.evalf(6) for number in long}))


def _variance(q: Any) -> Any:
    """A variance as an exact sympy expression."""
    import sympy as sp

    try:
        exact: Any = sp.Rational(str(q)) if isinstance(q, (float, np.floating)) else sp.sympify(q)
    except (TypeError, ValueError, SyntaxError, sp.SympifyError):
        exact = sp.nan
    if not isinstance(exact, sp.Expr) or exact.is_positive is not True:
        raise ArgumentError("q", f"it must be positive, not {q!r}", "give a positive number or positive sympy symbol")
    return exact


@lru_cache(maxsize=256)
def closed_forms(activation: Activation) -> ClosedForms:
    """The closed forms of an activation that has a formula, derived once (activations hash by identity).

    Raises
    ------
    ActivationError
        If the activation has no formula.
    """
    from qcmap.activations import _exact_engine as engine

    return engine.derive(activation)
