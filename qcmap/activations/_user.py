"""Activations that a user brings: a sympy expression, or a vectorised callable with its kinks."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from qcmap.activations._activation import Activation, Array, Function, Kink
from qcmap.errors import ActivationError

if TYPE_CHECKING:
    import sympy

_MISTAKES = (ArithmeticError, AttributeError, LookupError, NameError, StopIteration, TypeError, ValueError)
"""What calling somebody's function, or reading their formula, may raise."""
_PROBE = np.array([[-3.7, -1.3, -0.41], [0.37, 1.1, 2.9]])


def _checked(function: Callable[..., Any], name: str, what: str) -> Function:
    """The callable with its result converted to float64, refused if its shape is wrong or it is not finite."""

    def call(u: Array) -> Array:
        try:
            with np.errstate(all="ignore"):
                result = np.asarray(function(u))
            if np.iscomplexobj(result):
                raise ActivationError(name, f"{what} has complex values", "give a real function")
            result = result.astype(np.float64)
        except _MISTAKES as error:
            raise ActivationError(
                name, f"{what} cannot be evaluated on an array ({error})", "write it with numpy functions"
            ) from error
        if result.shape != u.shape:
            raise ActivationError(
                name,
                f"{what} returns shape {result.shape} for an argument of shape {u.shape}",
                "make it act elementwise",
            )
        if not np.isfinite(result).all():
            where = u[~np.isfinite(result)].flat[0]
            raise ActivationError(
                name, f"{what} is not finite at u = {where:.6g}", "give a function that is finite on the real line"
            )
        return result

    call(_PROBE)
    return call


def _local_derivative(function: Function, kinks: tuple[float, ...], length: float) -> Function:
    """Phi' by interpolation at ten Chebyshev points in a window that crosses no kink.

    The window has half-width h = length / 8, so for a function analytic within ``length`` the truncation error is
    about (h / (2 length))^9, or 1e-11 relative, and rounding adds 1e-15 / h. At the end of a window, next to a kink,
    the error is up to 50 times larger.
    """
    count = 10
    points = np.cos(math.pi * (np.arange(count) + 0.5) / count)
    # Row k of the inverse Vandermonde matrix gives the coefficient of T_k from the values at the points.
    to_coefficients = np.linalg.inv(np.polynomial.chebyshev.chebvander(points, count - 1))
    edges = np.array([-math.inf, *kinks, math.inf])
    half = length / 8
    gaps = np.diff(np.array(kinks))
    if gaps.size:
        half = min(half, float(gaps.min()) / 2)

    def derivative(u: Array) -> Array:
        piece = np.clip(np.searchsorted(edges, u, side="right") - 1, 0, len(edges) - 2)
        centre = np.clip(u, edges[piece] + half, edges[piece + 1] - half)
        samples = function(centre[..., None] + half * points)
        coefficients = np.moveaxis(samples @ to_coefficients.T, -1, 0)
        slope = np.polynomial.chebyshev.chebder(coefficients, axis=0)
        return np.asarray(np.polynomial.chebyshev.chebval((u - centre) / half, slope, tensor=False) / half, np.float64)

    return derivative


def from_callable(
    function: Callable[..., Any],
    derivative: Callable[..., Any] | None = None,
    kinks: tuple[float, ...] = (),
    *,
    name: str | None = None,
    length: float = 1.0,
) -> Activation:
    """An activation from a vectorised callable.

    Parameters
    ----------
    function
        phi: float64 arrays of any shape to arrays of the same shape.
    derivative
        phi'; computed from ``function`` to about 1e-9 (1e-11 away from kinks) if left out.
    kinks
        Every point where phi is not analytic.
    length
        A lower bound for the distance from 0 to the nearest complex singularity of the pieces of phi.

    Raises
    ------
    ActivationError
        If a result has another shape, is not finite, or a kink is not a finite number.
    """
    name = name or str(getattr(function, "__name__", "callable"))
    if not (length > 0):
        raise ActivationError(name, f"length must be positive, not {length!r}", "give a positive length")
    try:
        points = tuple(sorted({float(kink) for kink in kinks}))
    except (TypeError, ValueError):
        points = (math.nan,)
    if not all(map(math.isfinite, points)):
        raise ActivationError(name, f"kinks must be finite, got {kinks!r}", "give a tuple of finite numbers")
    value = _checked(function, name, "the function")
    first = _local_derivative(value, points, min(length, 1.0))
    if derivative is not None:
        first = _agreeing(_checked(derivative, name, "the derivative"), first, name, points)
    return Activation(name, value, first, kinks=tuple(_measured(value, first, at) for at in points), length=length)


def _agreeing(given: Function, found: Function, name: str, kinks: tuple[float, ...]) -> Function:
    """The given derivative; raises `ActivationError` if it is not that of the function, kinks apart."""
    probe = _PROBE.ravel()
    probe = probe[[all(abs(u - kink) > 1e-6 for kink in kinks) for u in probe]]
    gap = np.abs(given(probe) - found(probe))
    if (gap > 1e-5 * (1 + np.abs(found(probe)))).any():
        worst = probe[np.argmax(gap)]
        raise ActivationError(
            name,
            f"the derivative is wrong by {gap.max():.3g} at u = {worst:g}",
            "correct it, leave it out, or declare kinks",
        )
    return given


def _measured(value: Function, first: Function, at: float) -> Kink:
    """The kink at a point, its jumps taken from values 1e-9 to either side (exact to about that)."""
    step = 1e-9 * max(1.0, abs(at))
    sides = np.array([at - step, at + step])
    left, right = value(sides), first(sides)
    jump, slope = float(left[1] - left[0]), float(right[1] - right[0])
    jump -= step * float(right.sum())
    return Kink(at, value=jump if abs(jump) > 1e-7 else 0.0, slope=slope if abs(slope) > 1e-7 else 0.0)


def from_sympy(expression: sympy.Expr | str, *, name: str | None = None, length: float = 1.0) -> Activation:
    """An activation from a sympy expression (or a string that sympy reads) in one variable.

    Kinks are the real zeros of the arguments of Abs, sign and Heaviside, the points where the arguments of Max and Min
    cross, and the ends of the pieces of a Piecewise. The derivatives are sympy's, without delta functions: their
    weights are the jumps of the kinks. The property ``closed_forms`` of the result integrates the expression exactly
    where that is possible.

    Raises
    ------
    ActivationError
        If the expression has not exactly one variable, or a kink cannot be found exactly (then use `from_callable`).
    """
    try:
        return _from_sympy(expression, name, length)
    except (*_MISTAKES, NotImplementedError, SyntaxError) as error:
        raise ActivationError(
            name or str(expression),
            f"sympy cannot read, split or evaluate it ({error})",
            "write it with elementary functions, or use Activation.from_callable",
        ) from error


def _from_sympy(expression: sympy.Expr | str, name: str | None, length: float) -> Activation:
    import sympy as sp

    parsed: Any = sp.sympify(expression)
    label = name or str(parsed)
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
    functions = [_joined(pieces, u, ends, f"derivative {n} of it", label) for n, pieces in enumerate(orders)]
    kinks = tuple(
        Kink(end, *(float((pieces[k + 1] - pieces[k]).subs(u, position)) for pieces in orders))
        for k, (end, position) in enumerate(zip(ends, positions, strict=True))
    )
    return Activation(label, functions[0], functions[1], functions[2], kinks=kinks, length=length, expression=str(phi))


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


def _joined(pieces: list[sympy.Expr], u: sympy.Symbol, ends: list[float], what: str, label: str) -> Function:
    """The numeric function that follows each piece on its own interval (and is evaluated nowhere else)."""
    import sympy as sp

    numeric = [sp.lambdify(u, piece, modules=["scipy", "numpy"]) for piece in pieces]

    def function(x: Array) -> Array:
        result = np.empty_like(x)
        piece_of = np.searchsorted(np.array(ends), x, side="left")
        for k, piece in enumerate(numeric):
            here = piece_of == k
            result[here] = piece(x[here])
        return result

    return _checked(function, label, what)


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
