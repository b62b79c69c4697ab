"""Activations in ball arithmetic: phi, phi' and phi'' as analytic functions of a complex ball, piece by piece.

A ball function returns an enclosure of its values on the ball it is given, and something that is not finite where the
piece is not analytic on all of that ball. The pieces of a function with kinks are told apart by the caller, never by
comparing: each is the analytic function that phi equals between two kinks, continued beyond them.

Numbers mean what they are: a parameter given as a float is that binary number; selu has the decimals of its formula.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

from flint import acb, arb, ctx, fmpq

from qcmap.activations import Activation
from qcmap.activations._ball_formula import BallPieces, ball_pieces
from qcmap.errors import ActivationError

Jet = Callable[[acb], tuple[acb, acb, acb]]
"""phi, phi' and phi'' at a complex ball."""


@dataclass(frozen=True)
class BallActivation:
    """An activation for proofs.

    Attributes
    ----------
    name
        Its name.
    kinks
        The points between the pieces, in increasing order, exact.
    pieces
        One jet more than kinks, from left to right.
    growth
        Pairs (K, p) with abs(phi(u)) <= K max(1, abs(u))^p for all real u, and the same for phi' and phi''.
    smooth_slope
        Whether phi' has no jumps, so that E phi''^2 is C''(1) and not infinite.
    """

    name: str
    kinks: tuple[arb, ...]
    pieces: tuple[Jet, ...]
    growth: tuple[tuple[arb, int], tuple[arb, int], tuple[arb, int]]
    smooth_slope: bool = True


def rational(text: str) -> arb:
    """A decimal number as a ball at the current precision."""
    return arb(_fraction(text))


@lru_cache
def _fraction(text: str) -> fmpq:
    value = Fraction(text)
    return fmpq(value.numerator, value.denominator)


def _tanh(u: acb) -> tuple[acb, acb, acb]:
    t = u.tanh()
    slope = 1 / u.cosh() ** 2
    return t, slope, -2 * t * slope


def logistic(u: acb) -> tuple[acb, acb, acb]:
    """1 / (1 + exp(-u)) and its derivatives, as quotients that are not finite where a pole may lie."""
    decay = (-u).exp()
    s = 1 / (1 + decay)
    slope = decay * s * s
    return s, slope, slope * (decay - 1) * s


def _softplus(u: acb) -> tuple[acb, acb, acb]:
    s, slope, _ = logistic(u)
    # log(1 + exp(u)) = u - log s on the strip abs(Im u) < pi, where the logarithm is the principal one.
    growing = u.exp()
    return (1 + growing).log(analytic=True), s, slope


def _swish(u: acb) -> tuple[acb, acb, acb]:
    s, slope, curvature = logistic(u)
    return u * s, s + u * slope, 2 * slope + u * curvature


def _gelu(u: acb) -> tuple[acb, acb, acb]:
    density = (-u * u / 2).exp() / (2 * arb.pi()).sqrt()
    mass = (-u / arb(2).sqrt()).erfc() / 2
    return u * mass, mass + u * density, (2 - u * u) * density


def _gelu_tanh(u: acb) -> tuple[acb, acb, acb]:
    # (1 + tanh z) / 2 is the logistic function at 2 z.
    scale, cubic = 2 * (2 / arb.pi()).sqrt(), rational("0.044715")
    square = scale * cubic * (u * u)
    s, slope, curvature = logistic(u * (scale + square))
    # With w the argument: inner = w', and u w'' = 6 scale cubic u^2.
    inner = scale + 3 * square
    return u * s, s + u * slope * inner, slope * (2 * inner + 6 * square) + u * curvature * inner * inner


def _mish(u: acb) -> tuple[acb, acb, acb]:
    # tanh(log(1 + e)) = 1 - 2 / w with w = (1 + e)^2 + 1, e = exp(u); w' = 2 (1 + e) e and w'' = w' + 2 e^2.
    e = u.exp()
    w, rise = (1 + e) ** 2 + 1, 2 * (1 + e) * e
    height = e * (2 + e) / w
    slope = 2 * rise / w**2
    curvature = 2 * (rise + 2 * e * e) / w**2 - 4 * rise**2 / w**3
    return u * height, height + u * slope, 2 * slope + u * curvature


def line(slope: arb) -> Jet:
    """slope u."""
    return lambda u: (slope * u, acb(slope), acb(0))


def _exponential(height: Callable[[], arb], width: arb) -> Jet:
    """height (exp(u / width) - 1), the height made at the precision of the call."""

    def jet(u: acb) -> tuple[acb, acb, acb]:
        value, h = u / width, height()
        grown = h * value.exp()
        return h * value.expm1(), grown / width, grown / width**2

    return jet


def _selu_right(u: acb) -> tuple[acb, acb, acb]:
    scale = rational("1.0507009873554804934193349852946")
    return scale * u, acb(scale), acb(0)


def _selu_height() -> arb:
    return rational("1.0507009873554804934193349852946") * rational("1.6732632423543772848170429916717")


_KINK_BITS = 4096
"""Rational kinks are exact; others are known to more digits than a certificate has."""
_BY_HAND: dict[str, Jet] = {
    "tanh": _tanh,
    "sigmoid": logistic,
    "softplus": _softplus,
    "swish": _swish,
    "gelu": _gelu,
    "gelu_tanh": _gelu_tanh,
    "mish": _mish,
}
"""Jets of smooth functions that take a third to a sixteenth of the time of those of the formula."""


def _growth(*rows: tuple[float | arb, int]) -> tuple[tuple[arb, int], tuple[arb, int], tuple[arb, int]]:
    first, second, third = ((arb(size), power) for size, power in rows)
    return first, second, third


def two_lines(name: str, left: arb, right: arb) -> BallActivation:
    """left u below zero, right u above."""
    size = abs(left).max(abs(right)).upper()
    growth = _growth((size, 1), (size, 0), (0, 0))
    return BallActivation(name, (arb(0),), (line(left), line(right)), growth, smooth_slope=False)


def _with_parameters(act: Activation) -> BallActivation | None:
    """The catalogue's functions whose constants are parameters, or decimals."""
    if act.two_slopes is not None and act.kinks:
        return two_lines(act.name, *map(arb, act.two_slopes))
    if act.name not in ("elu", "celu", "selu"):
        return None
    one, alpha = arb(1), arb(act.parameters.get("alpha", 1.0))
    width = alpha if act.name == "celu" else one
    with ctx.workprec(64):
        size = 2 if act.name == "selu" else max(one, abs(alpha), abs(alpha / width), abs(alpha / width**2)).upper()
    right = _selu_right if act.name == "selu" else line(one)
    left = _exponential(_selu_height if act.name == "selu" else lambda: alpha, width)
    smooth = act.name == "celu" or (act.name == "elu" and bool(alpha == 1))
    return BallActivation(act.name, (arb(0),), (left, right), _growth((size, 1), (size, 0), (size, 0)), smooth)


def _jet_of(pieces: BallPieces, k: int) -> Jet:
    value, first, second = (pieces.derivative(k, order) for order in range(3))
    return lambda u: (value(u), first(u), second(u))


def _from_formula(act: Activation) -> BallActivation | None:
    """From the row's formula and growth."""
    if act.growth is None or act.expression is None:
        return None
    growth, smooth_slope = _growth(*act.growth), not any(kink.slope for kink in act.kinks)
    if act.name in _BY_HAND:
        return BallActivation(act.name, (), (_BY_HAND[act.name],), growth)
    pieces = ball_pieces(act.expression)
    with ctx.workprec(_KINK_BITS):
        kinks = tuple(kink(acb(0)).real for kink in pieces.kinks)
    jets = tuple(_jet_of(pieces, k) for k in range(len(pieces)))
    return BallActivation(act.name, kinks, jets, growth, smooth_slope)


def ball_activation(act: Activation) -> BallActivation:
    """The activation in ball arithmetic, if it is one of the catalogue.

    Raises
    ------
    ActivationError
        For a callable, which says nothing about its values between floats, and for a formula of the user's own.
    """
    from qcmap.activations._catalogue import CATALOGUE, named

    if act.name in CATALOGUE and (row := named(act.name, **act.parameters)).expression == act.expression:
        known = _with_parameters(row) or _from_formula(row)
        if known is not None:
            return known
    if act.expression is None:
        raise ActivationError(
            act.name, "nothing can be proved about a callable: it has no formula", "use one of the catalogue"
        )
    raise ActivationError(
        act.name, "its formula has no growth bound, which proofs need for tails", "use an activation of the catalogue"
    )
