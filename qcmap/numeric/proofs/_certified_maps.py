"""Q and C values of a nonlinear layer, and their slopes, with proved digits."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from fractions import Fraction

from flint import arb, ctx, fmpq

from qcmap.activations import Activation, activation
from qcmap.errors import ActivationError, ArgumentError, NumericalError
from qcmap.numeric.maps._transform import Transform
from qcmap.numeric.proofs._ball_integrals import Monomial, moments
from qcmap.numeric.proofs._ball_planes import correlated
from qcmap.numeric.proofs._balls import BallActivation, ball_activation

Real = float | str | Fraction | arb
Constants = Transform | Mapping[str, arb]
_GUARDS = (30, 90, 240)
_PLAIN = {"input_scale": 1, "input_shift": 0, "output_shift": 0, "output_scale": 1}


def certified_q(act: Activation | str, q: Real = 1.0, transform: Constants | None = None, digits: int = 30) -> arb:
    """Q(q) = E f(sqrt(q) x)^2 (DKS, equation 5) as a ball of at least ``digits`` significant digits.

    f is phi, or its transform: a `Transform`, whose floats are exact numbers, or the ``constants`` of a `Certificate`.

    Parameters
    ----------
    q
        Positive: a float (the binary number that it is), a decimal as text, a fraction or a ball.

    Raises
    ------
    ArgumentError
        If q is not positive, or digits not a whole number of at least 1.
    ActivationError
        If the activation has no formula, or one that cannot be bounded.
    NumericalError
        If the digits cannot be proved, because constants are balls that are too wide.
    """
    return _enclosed(act, transform, digits, lambda layer: layer.q(_positive("q", q)))


def certified_dq(act: Activation | str, q: Real = 1.0, transform: Constants | None = None, digits: int = 30) -> arb:
    """Q'(q) = E[f(sqrt(q) x) f'(sqrt(q) x) x] / sqrt(q) (DKS, section 8.1.1); the rest as `certified_q`."""
    return _enclosed(act, transform, digits, lambda layer: layer.dq(_positive("q", q)))


def certified_c(
    act: Activation | str, c: Real, q1: Real = 1.0, q2: Real = 1.0, transform: Constants | None = None, digits: int = 30
) -> arb:
    """C(c, q1, q2) (DKS, equations 6 and 7) as a ball of radius below 10^-digits; arguments as `certified_q`.

    Raises
    ------
    ArgumentError
        Also if c leaves [-1, 1].
    NumericalError
        Also if f has kinks and c is nearer to 1 or -1 than 0.0002 without being it.
    """
    return _enclosed(act, transform, digits, lambda layer: layer.c(_correlation(c), q1, q2, 0), relative=False)


def certified_dc(
    act: Activation | str, c: Real, q1: Real = 1.0, q2: Real = 1.0, transform: Constants | None = None, digits: int = 30
) -> arb:
    """dC/dc = sqrt(q1 q2) E[f'(u1) f'(u2)] / sqrt(Q(q1) Q(q2)) (DKS, section 8.1.2); the rest as `certified_c`."""
    return _enclosed(act, transform, digits, lambda layer: layer.c(_correlation(c), q1, q2, 1), relative=False)


def certified_curvature(
    act: Activation | str, q: Real = 1.0, transform: Constants | None = None, digits: int = 30
) -> arb:
    """C''(1) = q^2 E f''(sqrt(q) x)^2 / Q(q) at equal q values; the rest as `certified_q`.

    Raises
    ------
    ActivationError
        Also if f' jumps: then it is infinite.
    """
    return _enclosed(act, transform, digits, lambda layer: layer.curvature(_positive("q", q)))


class _Layer:
    """A nonlinear layer at the precision of the moment."""

    def __init__(self, act: BallActivation, constants: Constants | None) -> None:
        given = _PLAIN if constants is None else constants.constants if isinstance(constants, Transform) else constants
        a, self.b, self.d, self.scale = (arb(given[name]) for name in _PLAIN)
        # x and -x are equally distributed, so the sign of the input scale changes no expectation of a pair.
        self.act, self.a = act, abs(a)

    def _moments(self, q: arb, *wanted: Monomial) -> list[arb]:
        return list(moments(self.act, self.a * q.sqrt(), self.b, wanted).values())

    def q(self, q: arb) -> arb:
        second, mean = self._moments(q, (2, 0, 0, 0), (1, 0, 0, 0))
        return self.scale**2 * (second + self.d * (2 * mean + self.d))

    def dq(self, q: arb) -> arb:
        product, slope = self._moments(q, (1, 1, 0, 1), (0, 1, 0, 1))
        return self.scale**2 * self.a * (product + self.d * slope) / q.sqrt()

    def c(self, c: arb, first: Real, second: Real, order: int) -> arb:
        q1, q2 = _positive("q1", first), _positive("q2", second)
        a1, a2 = self.a * q1.sqrt(), self.a * q2.sqrt()
        product = correlated(self.act, order, c, (a1, self.b), (a2, self.b))
        if order:
            product *= a1 * a2
        else:
            mean1, mean2 = (self._moments(q, (1, 0, 0, 0))[0] for q in (q1, q2))
            product += self.d * (mean1 + mean2 + self.d)
        return self.scale**2 * product / (self.q(q1) * self.q(q2)).sqrt()

    def curvature(self, q: arb) -> arb:
        if not self.act.smooth_slope:
            raise ActivationError(self.act.name, "its slope jumps, so C''(1) is infinite", "use a smooth activation")
        return self.scale**2 * self.a**4 * q**2 * self._moments(q, (0, 0, 2, 0))[0] / self.q(q)


def _enclosed(
    act: Activation | str,
    constants: Constants | None,
    digits: int,
    value: Callable[[_Layer], arb],
    *,
    relative: bool = True,
) -> arb:
    if isinstance(digits, bool) or not isinstance(digits, int) or digits < 1:
        raise ArgumentError("digits", f"it is a whole number of at least 1, not {digits!r}", "ask for 30")
    act = activation(act)
    for guard in _GUARDS:
        with ctx.workprec(round(digits * math.log2(10)) + guard):
            ball = value(_Layer(ball_activation(act), constants))
            size = abs(ball) if relative else arb(1)
            if ball.is_finite() and ball.rad() <= size.lower() * arb(10) ** -digits:
                return ball
    raise NumericalError(
        act.name,
        f"{digits} digits of the value could not be proved",
        "ask for fewer digits, or give narrower constants",
    )


def _real(name: str, value: Real) -> arb:
    try:
        if isinstance(value, arb):
            return value
        exact = Fraction(value)
        return arb(fmpq(exact.numerator, exact.denominator))
    except (TypeError, ValueError, OverflowError, ZeroDivisionError):
        raise ArgumentError(name, f"it is not a finite number: {value!r}", "give a number") from None


def _positive(name: str, value: Real) -> arb:
    ball = _real(name, value)
    if not (ball.is_finite() and ball > 0):
        raise ArgumentError(name, f"q values are positive and finite, not {value}", "check the inputs")
    return ball


def _correlation(value: Real) -> arb:
    ball = _real("c", value)
    if not (ball >= -1 and ball <= 1):
        raise ArgumentError("c", f"c values lie in [-1, 1], not {value}", "check the inputs")
    return ball
