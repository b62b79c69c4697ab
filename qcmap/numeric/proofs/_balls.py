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

from flint import acb, arb, ctx, fmpq

from qcmap.activations import Activation
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
    value = Fraction(text)
    return arb(fmpq(value.numerator, value.denominator))


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


def _erf(u: acb) -> tuple[acb, acb, acb]:
    slope = 2 * (-u * u).exp() / arb.pi().sqrt()
    return u.erf(), slope, -2 * u * slope


def _gelu(u: acb) -> tuple[acb, acb, acb]:
    density = (-u * u / 2).exp() / (2 * arb.pi()).sqrt()
    mass = (-u / arb(2).sqrt()).erfc() / 2
    return u * mass, mass + u * density, (2 - u * u) * density


def _gelu_tanh(u: acb) -> tuple[acb, acb, acb]:
    # (1 + tanh z) / 2 is the logistic function at 2 z.
    scale, cubic = 2 * (2 / arb.pi()).sqrt(), rational("0.044715")
    s, slope, curvature = logistic(scale * (u + cubic * u**3))
    inner, bend = scale * (1 + 3 * cubic * u * u), 6 * scale * cubic * u
    return u * s, s + u * slope * inner, 2 * slope * inner + u * (curvature * inner * inner + slope * bend)


def _bentid(u: acb) -> tuple[acb, acb, acb]:
    root = (1 + u * u).sqrt(analytic=True)
    return (root - 1) / 2 + u, u / (2 * root) + 1, 1 / (2 * root**3)


def _atan(u: acb) -> tuple[acb, acb, acb]:
    # atan has the branch cuts of sqrt(1 + u^2), whose zero times anything says where it is analytic.
    square = 1 + u * u
    guard = 0 * square.sqrt(analytic=True)
    return u.atan() + guard, 1 / square, -2 * u / square**2


def _asinh(u: acb) -> tuple[acb, acb, acb]:
    root = (1 + u * u).sqrt(analytic=True)
    return u.asinh() + 0 * root, 1 / root, -u / root**3


def _mish(u: acb) -> tuple[acb, acb, acb]:
    # tanh(log(1 + e)) = 1 - 2 / w with w = (1 + e)^2 + 1, e = exp(u); w' = 2 (1 + e) e and w'' = w' + 2 e^2.
    e = u.exp()
    w, rise = (1 + e) ** 2 + 1, 2 * (1 + e) * e
    height = e * (2 + e) / w
    slope = 2 * rise / w**2
    curvature = 2 * (rise + 2 * e * e) / w**2 - 4 * rise**2 / w**3
    return u * height, height + u * slope, 2 * slope + u * curvature


def _sin(u: acb) -> tuple[acb, acb, acb]:
    s, c = u.sin_cos()
    return s, c, -s


def _cos(u: acb) -> tuple[acb, acb, acb]:
    s, c = u.sin_cos()
    return c, -s, -c


def _polynomial(constant: arb, linear: arb, square: arb) -> Jet:
    """constant + linear u + square u^2."""
    return lambda u: (constant + u * (linear + square * u), linear + 2 * square * u, acb(2 * square))


def _line(slope: arb, constant: arb | int = 0) -> Jet:
    return _polynomial(arb(constant), slope, arb(0))


def _exponential(height: Callable[[], arb], width: arb) -> Jet:
    """height (exp(u / width) - 1), the height made at the precision of the call."""

    def jet(u: acb) -> tuple[acb, acb, acb]:
        value, h = u / width, height()
        grown = h * value.exp()
        return h * value.expm1(), grown / width, grown / width**2

    return jet


def _softsign(side: int) -> Jet:
    def jet(u: acb) -> tuple[acb, acb, acb]:
        below = 1 / (1 + side * u)
        return u * below, below**2, -2 * side * below**3

    return jet


def _selu_right(u: acb) -> tuple[acb, acb, acb]:
    scale = rational("1.0507009873554804934193349852946")
    return scale * u, acb(scale), acb(0)


def _selu_height() -> arb:
    return rational("1.0507009873554804934193349852946") * rational("1.6732632423543772848170429916717")


# One row a smooth function: its jet and the growth of phi, phi', phi'' (docs/certificates.md derives these bounds).
_SMOOTH: dict[str, tuple[Jet, tuple[tuple[int, int], ...]]] = {
    "tanh": (_tanh, ((1, 0), (1, 0), (1, 0))),
    "sigmoid": (logistic, ((1, 0), (1, 0), (1, 0))),
    "erf": (_erf, ((1, 0), (2, 0), (2, 0))),
    "softplus": (_softplus, ((2, 1), (1, 0), (1, 0))),
    "swish": (_swish, ((1, 1), (2, 0), (1, 0))),
    "gelu": (_gelu, ((1, 1), (2, 0), (1, 0))),
    "gelu_tanh": (_gelu_tanh, ((1, 1), (2, 3), (2, 5))),
    "bentid": (_bentid, ((2, 1), (2, 0), (1, 0))),
    "atan": (_atan, ((2, 0), (1, 0), (1, 0))),
    "asinh": (_asinh, ((1, 1), (1, 0), (1, 0))),
    "square": (_polynomial(arb(0), arb(0), arb(1)), ((1, 2), (2, 1), (2, 0))),
    "sin": (_sin, ((1, 0), (1, 0), (1, 0))),
    "cos": (_cos, ((1, 0), (1, 0), (1, 0))),
    "mish": (_mish, ((1, 1), (2, 1), (5, 1))),
    "identity": (_line(arb(1)), ((1, 1), (1, 0), (0, 0))),
}


def _growth(*rows: tuple[float | arb, int]) -> tuple[tuple[arb, int], tuple[arb, int], tuple[arb, int]]:
    first, second, third = ((arb(size), power) for size, power in rows)
    return first, second, third


def two_lines(name: str, left: arb, right: arb) -> BallActivation:
    """left u below zero, right u above."""
    size = abs(left).max(abs(right)).upper()
    growth = _growth((size, 1), (size, 0), (0, 0))
    return BallActivation(name, (arb(0),), (_line(left), _line(right)), growth, smooth_slope=False)


def _with_kinks(act: Activation) -> BallActivation | None:
    """The catalogue's functions with kinks."""
    zero, one = arb(0), arb(1)
    if act.two_slopes is not None:
        return two_lines(act.name, *map(arb, act.two_slopes))
    if act.name in ("elu", "celu", "selu"):
        alpha = arb(act.parameters.get("alpha", 1.0))
        width = alpha if act.name == "celu" else one
        with ctx.workprec(64):
            size = 2 if act.name == "selu" else max(one, abs(alpha), abs(alpha / width), abs(alpha / width**2)).upper()
        right = _selu_right if act.name == "selu" else _line(one)
        left = _exponential(_selu_height if act.name == "selu" else lambda: alpha, width)
        smooth = act.name == "celu" or (act.name == "elu" and bool(alpha == 1))
        return BallActivation(act.name, (zero,), (left, right), _growth((size, 1), (size, 0), (size, 0)), smooth)
    flat, growth = _polynomial, _growth((1, 0), (1, 0), (0, 0))
    if act.name == "hardtanh":
        pieces = (flat(-one, zero, zero), _line(one), flat(one, zero, zero))
        return BallActivation("hardtanh", (-one, one), pieces, growth, smooth_slope=False)
    if act.name == "relu6":
        pieces = (flat(zero, zero, zero), _line(one), flat(arb(6), zero, zero))
        growth = _growth((6, 0), (1, 0), (0, 0))
        return BallActivation("relu6", (zero, arb(6)), pieces, growth, smooth_slope=False)
    if act.name == "hardswish":

        def middle(u: acb) -> tuple[acb, acb, acb]:
            return u * (u + 3) / 6, (2 * u + 3) / 6, acb(arb(1) / 3)

        pieces = (flat(zero, zero, zero), middle, _line(one))
        growth = _growth((1, 1), (2, 0), (1, 0))
        return BallActivation("hardswish", (arb(-3), arb(3)), pieces, growth, smooth_slope=False)
    if act.name == "softsign":
        return BallActivation("softsign", (zero,), (_softsign(-1), _softsign(1)), _growth((1, 0), (1, 0), (2, 0)))
    return None


def ball_activation(act: Activation) -> BallActivation:
    """The activation in ball arithmetic, if it is one of the catalogue.

    Raises
    ------
    ActivationError
        For a callable, which says nothing about its values between floats, and for a formula of the user's own.
    """
    from qcmap.activations._catalogue import CATALOGUE, named

    if act.name in CATALOGUE and named(act.name, **act.parameters).expression == act.expression:
        if act.name in _SMOOTH:
            jet, growth = _SMOOTH[act.name]
            return BallActivation(act.name, (), (jet,), _growth(*growth))
        known = _with_kinks(act)
        if known is not None:
            return known
    if act.expression is None:
        raise ActivationError(
            act.name, "nothing can be proved about a callable: it has no formula", "use one of the catalogue"
        )
    raise ActivationError(
        act.name, "its formula has no growth bound, which proofs need for tails", "use an activation of the catalogue"
    )
