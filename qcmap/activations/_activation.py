"""What an activation is: a function of one real variable with the facts that its Gaussian integrals need."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from qcmap.activations._closed_forms import Kernel
from qcmap.errors import ActivationError, ArgumentError

if TYPE_CHECKING:
    import sympy

    from qcmap.activations._exact import ClosedForms

Array = NDArray[np.float64]
Function = Callable[[Array], Array]


@dataclass(frozen=True)
class Kink:
    """A point where an activation is not analytic, with its jumps there.

    A jump is the limit from the right less the limit from the left: of phi (``value``), phi' (``slope``) and phi''
    (``curvature``). A jump in phi is a delta function in phi', a jump in phi' one in phi''.
    """

    at: float
    value: float = 0.0
    slope: float = 0.0
    curvature: float = 0.0


@dataclass(frozen=True)
class TorchFunction:
    """Where torch has the same function: a dotted path and keyword arguments (data only: torch is not imported)."""

    path: str
    arguments: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Activation:
    """An elementwise activation function phi.

    Attributes
    ----------
    name
        Its name in the catalogue, or the one given by the user.
    value, first, second
        phi, phi' and phi'' (almost everywhere): float64 arrays to float64 arrays of the same shape.
    kinks
        Every point where phi is not analytic, in increasing order.
    centre, length
        No complex singularity of phi's analytic pieces lies nearer to ``centre`` than ``length``, nor nearer to a real
        u than about half of abs(u - centre). Quadrature panels are graded by it; infinity means that the pieces are
        polynomials, or that phi ``oscillates``.
    oscillates
        Whether phi is a sine or cosine, varying on the unit scale without end.
    parity
        ``"odd"``, ``"even"`` or ``None``.
    homogeneity
        k if phi(a u) = a^k phi(u) for all a > 0 (DKS, section 18.6), else ``None``.
    two_slopes
        ``(left, right)`` for functions that are linear on either side of zero, else ``None``.
    free_slope
        Whether the negative slope is a parameter that shaping may choose (leaky relu).
    expression
        phi as a sympy-readable string in the variable ``u``, if known.
    kernel
        E[phi(sqrt(q1) x) phi(sqrt(q2) y)] in closed form, if known.
    torch
        Its torch counterpart, if it has one.
    parameters
        Values of the activation's own parameters (``negative_slope``, ``alpha``).
    """

    name: str
    value: Function
    first: Function
    second: Function | None = None
    kinks: tuple[Kink, ...] = ()
    centre: float = 0.0
    length: float = math.inf
    oscillates: bool = False
    parity: Literal["odd", "even"] | None = None
    homogeneity: int | None = None
    two_slopes: tuple[float, float] | None = None
    free_slope: bool = False
    expression: str | None = None
    kernel: Kernel | None = None
    torch: TorchFunction | None = None
    parameters: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))

    def __call__(self, u: ArrayLike) -> Array:
        """Phi(u), for real u of any shape."""
        return self.value(np.asarray(u, dtype=np.float64))

    def derivative(self, u: ArrayLike, order: int = 1) -> Array:
        """The derivative of phi of the given order (1 or 2) at real u of any shape, kinks apart."""
        if order not in (1, 2):
            raise ArgumentError("order", f"derivatives of order 1 and 2 are known, not {order!r}", "ask for 1 or 2")
        function = self.first if order == 1 else self.second
        if function is None:
            raise ActivationError(
                self.name, "its second derivative is not known", "build it with Activation.from_sympy instead"
            )
        return function(np.asarray(u, dtype=np.float64))

    @property
    def sympy(self) -> sympy.Expr:
        """Phi as a sympy expression in the real symbol ``u``; raises `ActivationError` where none is known."""
        if self.expression is None:
            raise ActivationError(self.name, "it has no formula", "build it with Activation.from_sympy instead")
        from sympy import Symbol, sympify

        parse: Any = sympify
        return parse(self.expression, locals={"u": Symbol("u", real=True)})

    @property
    def closed_forms(self) -> ClosedForms:
        """Mean, Q map and kernel in closed form where known, derived from the formula once; see `ClosedForms`.

        Raises `ActivationError` where there is no formula. docs/closed_forms.md lists what is known.
        """
        from qcmap.activations._exact import closed_forms

        return closed_forms(self)

    def hermite(self, n: int, q: Any = 1) -> sympy.Expr:
        """The Hermite coefficient E[phi(sqrt(q) x) He_n(x)] / sqrt(n!) in closed form; see `ClosedForms.hermite`."""
        return self.closed_forms.hermite(n, q)

    @staticmethod
    def from_sympy(expression: sympy.Expr | str, *, name: str | None = None, length: float = 1.0) -> Activation:
        """An activation from a sympy expression in one variable; see `qcmap.activations.from_sympy`."""
        from qcmap.activations._user import from_sympy

        return from_sympy(expression, name=name, length=length)

    @staticmethod
    def from_callable(
        function: Callable[..., Any],
        derivative: Callable[..., Any] | None = None,
        kinks: tuple[float, ...] = (),
        *,
        name: str | None = None,
        length: float = 1.0,
    ) -> Activation:
        """An activation from a vectorised callable and its kinks; see `qcmap.activations.from_callable`."""
        from qcmap.activations._user import from_callable

        return from_callable(function, derivative, kinks, name=name, length=length)

    def __copy__(self) -> Activation:
        return self

    def __deepcopy__(self, memo: object) -> Activation:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle a catalogue activation by its name and parameters; a user's own by its fields."""
        from qcmap.activations._catalogue import CATALOGUE, named

        if self.name in CATALOGUE and named(self.name, **self.parameters) is self:
            return _renamed, (self.name, dict(self.parameters))
        return _rebuilt, ({**self.__dict__, "parameters": dict(self.parameters)},)

    def __repr__(self) -> str:
        parameters = ", ".join(f"{key}={value:g}" for key, value in self.parameters.items())
        return f"<activation {self.name}{f'({parameters})' if parameters else ''}>"


def _renamed(name: str, parameters: dict[str, float]) -> Activation:
    from qcmap.activations._catalogue import named

    return named(name, **parameters)


def _rebuilt(fields: dict[str, Any]) -> Activation:
    return Activation(**fields)
