"""Q and C values of a nonlinear layer, and their slopes, with proved digits."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any

from flint import arb, ctx

from qcmap.activations import Activation, activation
from qcmap.errors import ActivationError, ArgumentError, NumericalError
from qcmap.numeric.maps._transform import Transform
from qcmap.numeric.proofs._arguments import real, whole_digits
from qcmap.numeric.proofs._ball_integrals import Monomial, moments
from qcmap.numeric.proofs._ball_planes import correlated
from qcmap.numeric.proofs._balls import BallActivation, ball_activation, two_lines

Real = float | str | Fraction | arb
Constants = Transform | Mapping[str, arb]
_GUARDS = (30, 90, 240)
_LARGEST_Q, _WIDEST = 10**6, 1000
_PLAIN = {"input_scale": 1, "input_shift": 0, "output_shift": 0, "output_scale": 1}


def certified_q(act: Activation | str, q: Real = 1.0, transform: Constants | None = None, digits: int = 30) -> arb:
    """Q(q) = E f(sqrt(q) x)^2 (DKS, equation 5) as a ball of at least ``digits`` significant digits.

    f is phi, or its transform: a `Transform` of this activation, whose floats are exact numbers, or the ``constants``
    of a `Certificate`. Where these hold a ``negative_slope`` (leaky relu) it is the one used.

    Parameters
    ----------
    q
        Positive, at most 10^6: a float (the binary number that it is), a decimal as text, a fraction or a ball.

    Raises
    ------
    ArgumentError
        If q is not positive or too large, digits is not a whole number of at least 1, the transform is one of another
        activation, or constants are missing, not finite, or scales of zero.
    ActivationError
        If the activation has no formula, or one that cannot be bounded.
    NumericalError
        If the digits cannot be proved, because constants are balls that are too wide, or input_scale sqrt(q) is above
        1000 (the work grows with it).
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
        Also for activations with kinks if c is near to 1 or -1 without being it: the Gaussian density of the pair is
        then a narrow ridge. Beyond about abs(c) = 0.998 for 30 digits the rectangles would be too many, and where
        sqrt(1 - c^2) < 0.005 nothing is tried. Smooth ones have Taylor's formula there.
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

    def __init__(self, act: Activation | str, constants: Constants | None) -> None:
        own, given = _given(act, constants)
        a, self.b, self.d, self.scale = (real(name, given[name]) for name in _PLAIN)
        for name, value in (("input_scale", a), ("output_scale", self.scale)):
            if value == 0:
                raise ArgumentError(name, "it is zero, so the layer is constant", "give a scale that is not zero")
        # x and -x are equally distributed, so the sign of the input scale changes no expectation of a pair.
        self.act, self.a = own, abs(a)

    def _stretch(self, q: arb) -> arb:
        found = self.a * q.sqrt()
        if not found > 0:
            raise NumericalError("input_scale", "its ball holds zero", "give narrower constants")
        if not found <= _WIDEST:
            raise NumericalError(
                self.act.name, f"input_scale sqrt(q) is {float(found):.4g}; integrals are enclosed up to {_WIDEST}",
                "use a smaller q value",
            )  # fmt: skip
        return found

    def _moments(self, q: arb, *wanted: Monomial) -> list[arb]:
        return list(moments(self.act, self._stretch(q), self.b, wanted).values())

    def q(self, q: arb) -> arb:
        second, mean = self._moments(q, (2, 0, 0, 0), (1, 0, 0, 0))
        return self.scale**2 * (second + self.d * (2 * mean + self.d))

    def dq(self, q: arb) -> arb:
        product, slope = self._moments(q, (1, 1, 0, 1), (0, 1, 0, 1))
        return self.scale**2 * self.a * (product + self.d * slope) / q.sqrt()

    def c(self, c: arb, first: Real, second: Real, order: int) -> arb:
        q1, q2 = _positive("q1", first), _positive("q2", second)
        a1, a2 = self._stretch(q1), self._stretch(q2)
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


def _given(act: Activation | str, constants: Constants | None) -> tuple[BallActivation, Mapping[str, Any]]:
    """The activation that the constants are for, and the constants."""
    own = activation(act)
    if constants is None:
        return ball_activation(own), _PLAIN
    if isinstance(constants, Transform):
        other = constants.activation
        # A name means the activation of the transform, whose parameters may be its own.
        if own.name != other.name or not (isinstance(act, str) or _same(own, other)):
            raise ArgumentError(
                "transform", f"it is one of {other!r}, not of {own!r}", "give the activation that it was made for"
            )
        return ball_activation(other), constants.constants
    if not isinstance(constants, Mapping) or any(name not in constants for name in _PLAIN):
        raise ArgumentError(
            "transform", f"it must hold {', '.join(_PLAIN)}", "give a Transform or the constants of a certificate"
        )
    unknown = [name for name in constants if name not in (*_PLAIN, "negative_slope")]
    if unknown:
        raise ArgumentError("transform", f"it has no constant {unknown[0]!r}", f"give {', '.join(_PLAIN)}")
    if "negative_slope" not in constants:
        return ball_activation(own), constants
    slope = real("negative_slope", constants["negative_slope"])
    if not own.free_slope:
        raise ArgumentError("transform", f"it has a negative_slope, but {own.name} has none", "use leaky_relu")
    if not isinstance(act, str) and not abs(slope - own.parameters["negative_slope"]) < 1e-6:
        raise ArgumentError(
            "transform", f"its negative_slope {float(slope):.10g} is not that of {own!r}", "give the name leaky_relu"
        )
    return two_lines(own.name, slope, arb(1)), constants


def _same(one: Activation, other: Activation) -> bool:
    return one is other or (one.expression == other.expression and dict(one.parameters) == dict(other.parameters))


def _enclosed(
    act: Activation | str,
    constants: Constants | None,
    digits: int,
    value: Callable[[_Layer], arb],
    *,
    relative: bool = True,
) -> arb:
    whole_digits(digits)
    for guard in _GUARDS:
        with ctx.workprec(round(digits * math.log2(10)) + guard):
            layer = _Layer(act, constants)
            ball = value(layer)
            size = abs(ball) if relative else arb(1)
            if ball.is_finite() and ball.rad() <= size.lower() * arb(10) ** -digits:
                return ball
    raise NumericalError(
        activation(act).name,
        f"{digits} digits of the value could not be proved",
        "ask for fewer digits, or give narrower constants",
    )


def _positive(name: str, value: Real) -> arb:
    ball = real(name, value)
    if not (ball.is_finite() and ball > 0):
        raise ArgumentError(name, f"q values are positive and finite, not {value}", "check the inputs")
    if not ball <= _LARGEST_Q:
        raise ArgumentError(name, f"q values are enclosed up to {_LARGEST_Q}, not at {value}", "use a smaller one")
    return ball


def _correlation(value: Real) -> arb:
    ball = real("c", value)
    if not (ball >= -1 and ball <= 1):
        raise ArgumentError("c", f"c values lie in [-1, 1], not {value}", "check the inputs")
    return ball
