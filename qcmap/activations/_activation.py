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
from qcmap.activations._derivatives import formula_pieces
from qcmap.activations._functions import AT_ONCE
from qcmap.errors import ActivationError, ArgumentError

if TYPE_CHECKING:
    import sympy

    from qcmap.activations._exact import ClosedForms

Array = NDArray[np.float64]
Function = Callable[[Array], Array]
Piece = Callable[[Array, int], Array]
Growth = tuple[tuple[int, int], tuple[int, int], tuple[int, int]]


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
    pieces
        The analytic pieces between the kinks, one more than these: each maps an array u and an order >= 1 to the
        derivative of that order, up to the ends of its interval. Left out: those of ``expression``, each evaluated in
        ball arithmetic to the last place, a point in about 0.1 ms. Empty if there is no expression either.
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
    growth
        Pairs (K, p) with abs(phi(u)) <= K max(1, abs(u))^p for all real u, and the same for phi' and phi'': what proofs
        need for tails. They have them of the catalogue's own rows only.
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
    pieces: tuple[Piece, ...] = ()
    centre: float = 0.0
    length: float = math.inf
    oscillates: bool = False
    parity: Literal["odd", "even"] | None = None
    homogeneity: int | None = None
    two_slopes: tuple[float, float] | None = None
    free_slope: bool = False
    expression: str | None = None
    growth: Growth | None = None
    kernel: Kernel | None = None
    torch: TorchFunction | None = None
    parameters: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))

    def __post_init__(self) -> None:
        if not self.pieces and self.expression is not None:
            object.__setattr__(self, "pieces", formula_pieces(self.expression, len(self.kinks)))

    def __call__(self, u: ArrayLike) -> Array:
        """Phi(u), for real u of any shape; raises `ArgumentError` if u is not made of real numbers."""
        return self.value(_numbers(u))

    def jet(self, u: Array, order: int) -> tuple[Array, ...]:
        """Phi and its derivatives up to ``order``, 1 or 2, at finite real u: `derivative` with shared parts."""
        together = AT_ONCE.get((self.value, self.first, self.second))  # pyright: ignore[reportArgumentType]
        if together is not None:
            return together(u)[: order + 1]
        if order == 1:
            return self.value(u), self.first(u)
        return self.value(u), self.first(u), self.derivative(u, 2) if self.second is None else self.second(u)

    def derivative(self, u: ArrayLike, order: int = 1) -> Array:
        """The derivative of phi of any order at real u of any shape.

        Almost everywhere: delta functions at kinks are left out (`jump` gives their weights), and a kink has the
        derivative of the piece on its left. For the catalogue the error is below 1e-13 max abs(phi^(order)) up to order
        10; for an expression it is that of sympy's derivative in float64; for a callable see `from_callable`.

        Raises
        ------
        ArgumentError
            If the order is not an integer >= 0, or a u is not a finite number.
        ActivationError
            If the derivative is not known, or is not finite in float64.
        """
        order, points = _checked_order(order), _numbers(u)
        if not np.isfinite(points).all():
            raise ArgumentError("u", "it has entries that are not finite numbers", "give finite numbers")
        known = (self.value, self.first, self.second)[order] if order <= 2 else None
        with np.errstate(all="ignore"):
            result = np.asarray(self._by_pieces(points, order) if known is None else known(points), np.float64)
        if not np.isfinite(result).all():
            at = points[~np.isfinite(result)].flat[0]
            raise ActivationError(
                self.name, f"its derivative of order {order} is not finite at u = {at:.6g}", "take a smaller abs(u)"
            )
        return result

    def jump(self, at: float | Kink, order: int = 0) -> float:
        """The limit of phi^(order) from the right of a kink less that from its left.

        Order 0, 1 and 2 are the fields of the `Kink`: exact for the catalogue and for expressions, measured for
        callables (`from_callable`). Higher orders are differences of one-sided derivatives.

        Raises
        ------
        ArgumentError
            If ``at`` is not the position of a kink, or the order is not an integer >= 0.
        ActivationError
            If the derivative is not known, or is not finite.
        """
        order, position = _checked_order(order), at.at if isinstance(at, Kink) else at
        positions = [kink.at for kink in self.kinks]
        if position not in positions:
            listed = ", ".join(map(repr, positions)) or "none"
            raise ArgumentError("at", f"{self.name} has no kink at u = {position!r}", f"its kinks: {listed}")
        k = positions.index(position)
        if order <= 2:
            return (self.kinks[k].value, self.kinks[k].slope, self.kinks[k].curvature)[order]
        left, right = (float(self._on_piece(np.array(position), order, side)) for side in (k, k + 1))
        if not math.isfinite(right - left):
            raise ActivationError(
                self.name,
                f"a one-sided derivative of order {order} is not finite at {position!r}",
                "ask for a lower order",
            )
        return right - left

    def _on_piece(self, u: Array, order: int, k: int) -> Array:
        """The derivative, of order 1 at least, of analytic piece k."""
        if not self.pieces:
            raise ActivationError(
                self.name,
                f"its derivative of order {order} is not known",
                "build it with Activation.from_sympy instead",
            )
        try:
            with np.errstate(all="ignore"):
                return self.pieces[k](u, order)
        except OverflowError as error:
            raise ActivationError(
                self.name, f"its derivative of order {order} exceeds the range of float64", "ask for a lower order"
            ) from error

    def _by_pieces(self, u: Array, order: int) -> Array:
        if len(self.pieces) == 1:
            return self._on_piece(u, order, 0)
        piece_of = np.searchsorted([kink.at for kink in self.kinks], u, side="left")
        result = np.empty_like(u)
        for k in range(len(self.kinks) + 1):
            here = piece_of == k
            result[here] = self._on_piece(u[here], order, k)
        return result

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
    def from_sympy(
        expression: sympy.Expr | str,
        *,
        name: str | None = None,
        length: float = 1.0,
        search: tuple[float, float] | None = (-20.0, 20.0),
    ) -> Activation:
        """An activation from a sympy expression in one variable; see `qcmap.activations.from_sympy`."""
        from qcmap.activations._formula import from_sympy

        return from_sympy(expression, name=name, length=length, search=search)

    @staticmethod
    def from_callable(
        function: Callable[..., Any],
        derivative: Callable[..., Any] | None = None,
        kinks: tuple[float, ...] = (),
        *,
        name: str | None = None,
        length: float = 1.0,
        search: tuple[float, float] | None = (-20.0, 20.0),
    ) -> Activation:
        """An activation from a vectorised callable and its kinks; see `qcmap.activations.from_callable`."""
        from qcmap.activations._callable import from_callable

        return from_callable(function, derivative, kinks, name=name, length=length, search=search)

    @property
    def catalogued(self) -> bool:
        """Whether it is the object that the catalogue gives for its name and parameters."""
        from qcmap.activations._catalogue import CATALOGUE, named

        return self.name in CATALOGUE and named(self.name, **self.parameters) is self

    def __copy__(self) -> Activation:
        return self

    def __deepcopy__(self, memo: object) -> Activation:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle a catalogue activation by its name and parameters; a user's own by its fields."""
        if self.catalogued:
            return _renamed, (self.name, dict(self.parameters))
        return _rebuilt, ({**self.__dict__, "parameters": dict(self.parameters)},)

    def __repr__(self) -> str:
        parameters = ", ".join(f"{key}={value:g}" for key, value in self.parameters.items())
        return f"<activation {self.name}{f'({parameters})' if parameters else ''}>"


def _numbers(u: ArrayLike) -> Array:
    try:
        if np.iscomplexobj(u):
            raise TypeError
        return np.asarray(u, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ArgumentError("u", "it is not made of real numbers", "give a number or an array of numbers") from error


def _checked_order(order: int) -> int:
    if isinstance(order, bool) or not isinstance(order, (int, np.integer)) or order < 0:
        raise ArgumentError(
            "order", f"the order of a derivative must be an integer >= 0, not {order!r}", "give 0, 1, ..."
        )
    return int(order)


def _renamed(name: str, parameters: dict[str, float]) -> Activation:
    from qcmap.activations._catalogue import named

    return named(name, **parameters)


def _rebuilt(fields: dict[str, Any]) -> Activation:
    return Activation(**fields)
