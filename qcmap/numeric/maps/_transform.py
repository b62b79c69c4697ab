"""A transformed activation and the four quantities that Deep Kernel Shaping controls."""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from qcmap.activations import Activation
from qcmap.errors import ActivationError, ArgumentError, NumericalError
from qcmap.numeric.maps._arguments import integer
from qcmap.numeric.maps._quadrature import ORDER, gaussian_rule

Array = NDArray[np.float64]

_FINEST = 256


@dataclass(frozen=True)
class Transform:
    """phi_hat(u) = output_scale * (phi(input_scale * u + input_shift) + output_shift) (DKS, section 18.1).

    The paper writes alpha, beta, gamma, delta for ``input_scale``, ``input_shift``, ``output_scale``, ``output_shift``.
    """

    activation: Activation
    input_scale: float = 1.0
    input_shift: float = 0.0
    output_shift: float = 0.0
    output_scale: float = 1.0

    def __post_init__(self) -> None:
        for name, value in self.constants.items():
            if not (isinstance(value, Real) and math.isfinite(value)):
                raise ArgumentError(name, f"constants of a transform are finite, not {value!r}", "give a finite number")
        for name in ("input_scale", "output_scale"):
            if self.constants[name] == 0:
                raise ArgumentError(name, "a scale of zero makes the activation constant", "give another scale")

    @property
    def constants(self) -> dict[str, float]:
        """The four constants by name."""
        return {
            "input_scale": self.input_scale,
            "input_shift": self.input_shift,
            "output_shift": self.output_shift,
            "output_scale": self.output_scale,
        }

    def __call__(self, u: ArrayLike) -> Array:
        """phi_hat(u), for real u of any shape."""
        argument = self.input_scale * np.asarray(u, dtype=np.float64) + self.input_shift
        return self.output_scale * (self.activation.value(argument) + self.output_shift)

    def derivative(self, u: ArrayLike, order: int = 1) -> Array:
        """The derivative of phi_hat of some order, kinks apart, for real u of any shape; order 0 is phi_hat."""
        if order == 0:
            return self(u)
        argument = self.input_scale * np.asarray(u, dtype=np.float64) + self.input_shift
        slope = self.activation.first(argument) if order == 1 else self.activation.derivative(argument, order)
        return self.output_scale * self.input_scale**order * slope

    def _repr_latex_(self) -> str:
        return f"${self.latex()}$"

    def latex(self, function: str = r"\hat\phi", equals: str = "=") -> str:
        """The equation that gives phi_hat, with constants of six digits."""
        scale, shift, offset, factor = (_tex(value) for value in self.constants.values())
        signed = [text if text.startswith("-") else f"+{text}" for text in (shift, offset)]
        name = self.activation.name.replace("_", r"\_")
        return rf"{function}(u) {equals} {factor}\left(\mathrm{{{name}}}({scale}\,u {signed[0]}) {signed[1]}\right)"

    def to_dict(self) -> dict[str, Any]:
        """The activation's name and parameters and the four constants."""
        return {"activation": self.activation.name, **dict(self.activation.parameters), **self.constants}


def _tex(value: float) -> str:
    digits, _, power = f"{value:.6g}".partition("e")
    return rf"{digits}\cdot 10^{{{int(power)}}}" if power else digits


@dataclass(frozen=True)
class Conditions:
    """Q(1), Q'(1), C(0) and C'(1) of an activation at q = 1 (DKS, section 18.4)."""

    q: float
    dq: float
    c0: float
    dc1: float


def conditions(transform: Transform, order: int = ORDER + 12) -> Conditions:
    """Q(1) = E f^2, Q'(1) = E[f f' x], C(0) = (E f)^2 / Q(1), C'(1) = E[f'^2] / Q(1) for f = phi_hat.

    DKS, equations 5, 14 and section 8.1. Evaluated over a range beyond which f and f' have no mass to rounding, with
    two rules of different order, which must agree.

    Raises
    ------
    NumericalError
        If the two rules disagree by more than 1e-10: the activation has a kink or a fine scale that was not declared;
        or if f or f' grows so fast that no range in reach holds their mass.
    ActivationError
        If phi jumps, so that C'(1) is infinite.
    ArgumentError
        If it is not a transform of an `Activation`, or ``order`` no whole number from 9 to 256.
    """
    if not (isinstance(transform, Transform) and isinstance(transform.activation, Activation)):
        raise ArgumentError(
            "transform", f"it is a Transform of an Activation, not {transform!r}", "use qcmap.activation"
        )
    order = integer(order, least=9, most=_FINEST)
    refuse_jumps(transform.activation)
    reach = moment_reach(transform, 1)
    fine, coarse = (_conditions(transform, n, reach) for n in (order, order - 8))
    gap = max(abs(a - b) for a, b in zip(fine, coarse, strict=True))
    if not gap <= 1e-10 * max(1.0, *map(abs, fine)):
        raise NumericalError(
            transform.activation.name,
            f"its Gaussian integrals are not resolved (two rules differ by {gap:.1e})",
            "declare all its kinks, or a smaller length",
        )
    return Conditions(*fine)


def refuse_jumps(act: Activation) -> None:
    """Raise `ActivationError` if phi itself jumps: then phi' holds a delta function, and C'(1) is infinite."""
    for kink in act.kinks:
        if kink.value:
            raise ActivationError(
                act.name, f"it jumps by {kink.value:.6g} at u = {kink.at:.6g}, so C'(1) is infinite",
                "use a continuous activation",
            )  # fmt: skip


def moment_reach(transform: Transform, order: int) -> float:
    """The range of x that holds the mass of the squares of f and its derivatives up to ``order``, at q = 1."""
    from qcmap.numeric.maps._integrals import Integrals

    # The second moment of f decides first: it says whether there is a C map at all.
    integrals = Integrals(transform)
    try:
        return max(integrals.reach(np.ones(1), k) for k in range(order + 1))
    except NumericalError as error:
        raise NumericalError(error.subject, error.rule, "use a smaller input_scale, or another activation") from error


def _conditions(transform: Transform, order: int, reach: float) -> tuple[float, float, float, float]:
    scale, shift = np.array([transform.input_scale]), np.array([transform.input_shift])
    x, w = gaussian_rule(transform.activation, scale, shift, order=order, reach=reach)
    with np.errstate(over="ignore", invalid="ignore"):
        f, slope = transform(x), transform.derivative(x)
        wf = w * f
        q = float((wf * f).sum())
        if not (math.isfinite(q) and q > 0):
            raise NumericalError(
                transform.activation.name,
                f"its second moment is {q}, so it has no C map",
                "use another input_scale or input_shift",
            )
        return q, float((wf * slope * x).sum()), float(wf.sum()) ** 2 / q, float((w * slope * slope).sum()) / q


def curvature(transform: Transform, order: int = ORDER + 12) -> float:
    """C''(1) = E[f''(x)^2] / E[f(x)^2] for f = phi_hat and q = 1, by two rules of different order, which must agree.

    Raises
    ------
    ActivationError
        If phi' jumps, so that C''(1) is infinite, or phi'' is not known.
    NumericalError
        If the two rules disagree by more than 1e-10 of the value, or f'' grows too fast.
    """
    act = transform.activation
    for kink in act.kinks:
        if kink.value or kink.slope:
            raise ActivationError(
                act.name, f"its slope jumps at u = {kink.at:.6g}, so C''(1) is infinite", "use a smooth activation"
            )
    reach = moment_reach(transform, 2)
    fine, coarse = (_curvature(transform, n, reach) for n in (order, order - 8))
    if not abs(fine - coarse) <= 1e-10 * max(abs(fine), 1e-300) and fine != coarse:
        raise NumericalError(
            act.name, f"its curvature is not resolved (two rules give {fine:.6g} and {coarse:.6g})",
            "declare all its kinks, or a smaller length",
        )  # fmt: skip
    return fine


def _curvature(transform: Transform, order: int, reach: float) -> float:
    scale, shift = np.array([transform.input_scale]), np.array([transform.input_shift])
    x, w = gaussian_rule(transform.activation, scale, shift, order=order, reach=reach)
    second = transform.activation.derivative(scale * x + shift, 2) * transform.output_scale * transform.input_scale**2
    value = float(np.sum(w * second * second) / np.sum(w * transform(x) ** 2))
    return value if math.isfinite(value) else math.nan
