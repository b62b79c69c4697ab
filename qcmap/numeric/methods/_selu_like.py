"""Self-normalizing activations: f = gamma (phi + delta) with E f = 0 and E f^2 = 1 fixes q = 1 and c = 0.

With weight variance 1 and no biases (DKS, sections 25.2 and 26.3; Klambauer et al., 2017). In the language of kernels,
Q(1) = E f^2 = 1 and C(0) = (E f)^2 = 0, and the slopes there are

    Q'(1) = E[f f' x],    C'(0) = (E f')^2 = (E f x)^2,    C'(1) = E f'^2.

C'(0) is the share of the linear part in E f^2 = 1, so c = 0 attracts for every f that is not linear. q = 1 attracts if
abs(Q'(1)) < 1; this is what can fail.

In the language of moments, a layer takes the mean mu and variance nu of its inputs to those of f(z), z normal with mean
omega mu and variance tau nu, omega the sum of a unit's weights and tau that of their squares. At (mu, nu) = (0, 1) and
tau = 1 this map has the Jacobian

    [ omega E f'       E[f (x^2 - 1)] / 2 ]
    [ 2 omega E[f f']  Q'(1)              ],

by d/dnu E g(sqrt(nu) x) = E[g (x^2 - 1)] / 2 at nu = 1. At omega = 0, as Klambauer et al. take it, its eigenvalues are
0 and Q'(1). Weights of variance 1 / fan-in have omega of mean 0 and variance 1 instead, and E (omega E f')^2 = C'(0).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property, lru_cache
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qcmap.activations import Activation, activation
from qcmap.errors import ArgumentError, Infeasible, NumericalError
from qcmap.numeric.maps._quadrature import ORDER
from qcmap.numeric.maps._transform import Transform, refuse_jumps
from qcmap.numeric.methods._rules import AGREEMENT, rule, unresolved

Array = NDArray[np.float64]

_TOLERANCE = 1e-10


@dataclass(frozen=True)
class SelfNormalizing:
    """An activation function with the fixed points q = 1 and c = 0.

    Attributes
    ----------
    transform
        gamma (phi + delta); gamma is its ``output_scale``, delta its ``output_shift``, and its ``activation`` has the
        parameter that was solved for.
    parameter
        What makes the mean zero: ``"output_shift"``, or the name of a parameter of the activation (``"alpha"``).
    q_slope, c_slope, c_slope_at_1
        Q'(1), C'(0) and C'(1).
    residuals
        Q(1) - 1 and C(0), by a finer quadrature than the solver's.
    """

    transform: Transform
    parameter: str
    q_slope: float
    c_slope: float
    c_slope_at_1: float
    residuals: dict[str, float]

    @property
    def attractive(self) -> bool:
        """Whether both fixed points attract: abs(Q'(1)) < 1 and C'(0) < 1, by more than 1e-9."""
        return abs(self.q_slope) < 1 - 1e-9 and self.c_slope < 1 - 1e-9

    @property
    def reason(self) -> str:
        """Why the fixed points do not both attract; empty if they do."""
        reasons = []
        if abs(self.q_slope) > 1 + 1e-9:
            reasons.append(f"q = 1 repels, since Q'(1) = {self.q_slope:.6g}")
        elif abs(self.q_slope) >= 1 - 1e-9:
            reasons.append(f"q = 1 is neutral to first order, since Q'(1) = {self.q_slope:.6g}")
        if self.c_slope >= 1 - 1e-9:
            reasons.append("c = 0 does not attract, since the function is linear")
        return " and ".join(reasons)

    def jacobian(self, weight_sum: float = 0.0) -> Array:
        """The Jacobian of the map of (mean, variance) at (0, 1), shape (2, 2), for units whose weights add up to this.

        The squares of the weights add up to 1. Klambauer et al. (2017) take ``weight_sum`` 0.
        """
        if isinstance(weight_sum, bool) or not (isinstance(weight_sum, Real) and math.isfinite(weight_sum)):
            raise ArgumentError("weight_sum", f"it is a finite number, not {weight_sum!r}", "give a finite number")
        x, w, f, slope = _samples(self.transform, ORDER + 12)
        return np.array([
            [weight_sum * np.sum(w * slope), np.sum(w * f * (x * x - 1)) / 2],
            [2 * weight_sum * np.sum(w * f * slope), self.q_slope],
        ])  # fmt: skip

    @cached_property
    def eigenvalues(self) -> tuple[float, float]:
        """The eigenvalues of `jacobian` at weight sum 0, which is triangular: 0 and Q'(1)."""
        return 0.0, self.q_slope

    def to_dict(self) -> dict[str, Any]:
        """The constants, the slopes, the Jacobian and whether the fixed points attract, as plain data."""
        return {
            "method": "selu",
            **self.transform.to_dict(),
            "parameter": self.parameter,
            "Q'(1)": self.q_slope,
            "C'(0)": self.c_slope,
            "C'(1)": self.c_slope_at_1,
            "jacobian": self.jacobian().tolist(),
            "eigenvalues": list(self.eigenvalues),
            "attractive": self.attractive,
            "reason": self.reason,
            "residuals": dict(self.residuals),
        }

    def __repr__(self) -> str:
        t, act = self.transform, self.transform.activation
        own = "".join(f", {key}={value:.10g}" for key, value in act.parameters.items())
        attracts = "attractive" if self.attractive else "not attractive"
        return (
            f"<self-normalizing {act.name}{own}: output_scale={t.output_scale:.10g}, "
            f"output_shift={t.output_shift:.10g}, {attracts}>"
        )


def selu_like(act: Activation | str = "elu", *, parameter: str | None = None) -> SelfNormalizing:
    """The activation function with E f = 0 and E f^2 = 1 at q = 1 made from ``act``; for elu, SELU (DKS, section 26.3).

    elu has the mean 1/sqrt(2 pi) - alpha (1/2 - sqrt(e) P(-1)), P the normal distribution function, so

        alpha = 1 / (sqrt(2 pi) (1/2 - sqrt(e) P(-1))),
        1 / gamma^2 = 1/2 + alpha^2 (e^2 P(-2) - 2 sqrt(e) P(-1) + 1/2).

    Parameters
    ----------
    act
        The activation, or its name.
    parameter
        What to choose so that the mean is zero: ``"output_shift"``, or ``"alpha"`` for elu. By default ``"alpha"`` for
        the name ``"elu"``, and ``"output_shift"`` for all else, in particular for an elu whose alpha was given.

    Raises
    ------
    ArgumentError
        If the activation has no such parameter.
    ActivationError
        If the activation jumps.
    Infeasible
        For a parameter that cannot make the mean zero: alpha of celu, negative_slope of leaky_relu.
    NumericalError
        If the activation is constant, its moments at q = 1 are not finite or not resolved, or a residual exceeds 1e-10.
    """
    if parameter is None:
        parameter = "alpha" if isinstance(act, str) and act == "elu" else "output_shift"
    act = activation(act)
    refuse_jumps(act)
    if not (isinstance(parameter, str) and parameter == "output_shift"):
        return _result(_with_parameter(act, parameter), parameter)
    _, w, f, _ = _samples(Transform(act), ORDER)
    mean = 0.0 if act.parity == "odd" else float(np.sum(w * f))
    variance = float(np.sum(w * (f - mean) ** 2))
    if not (math.isfinite(variance) and variance > 1e-20 * mean**2):
        raise NumericalError(
            act.name, f"its variance at q = 1 is {variance:.3g}, with mean {mean:.3g}", "take a nonconstant activation"
        )
    return _result(Transform(act, output_shift=-mean if mean else 0.0, output_scale=1 / math.sqrt(variance)), parameter)


def _with_parameter(act: Activation, parameter: str) -> Transform:
    """The transform without output shift whose activation has mean zero by its own parameter."""
    if not isinstance(parameter, str) or parameter not in act.parameters:
        known = ", ".join(act.parameters) or "no parameter of its own"
        raise ArgumentError(
            "parameter", f"{act.name} has {known}, not {parameter!r}", "use parameter='output_shift'"
        )  # fmt: skip
    if act.name == "elu":
        alpha, gamma = _selu_constants()
        return Transform(activation("elu", alpha=alpha), output_scale=gamma)
    why = {
        "celu": "its mean is positive for every alpha, since abs(alpha (exp(u / alpha) - 1)) < abs(u) for u < 0, "
        "and only tends to 0 as alpha grows and celu becomes linear",
        "leaky_relu": "its mean is (1 - negative_slope) / sqrt(2 pi), which is 0 only where it is linear",
    }
    raise Infeasible(
        act.name, why.get(act.name, f"no value of {parameter} is known to make its mean zero"),
        "use parameter='output_shift'", condition="C(0)", achievable=(),
    )  # fmt: skip


@lru_cache(maxsize=1)
def _selu_constants() -> tuple[float, float]:
    """alpha and gamma of SELU, correctly rounded: the closed forms of `selu_like` at 30 digits."""
    import mpmath

    mp: Any = mpmath.mp.clone()
    mp.dps = 30
    one, two = (mp.exp(mp.mpf(k * k) / 2) * mp.ncdf(-k) for k in (1, 2))
    half = mp.mpf(1) / 2
    alpha = 1 / (mp.sqrt(2 * mp.pi) * (half - one))
    return float(alpha), float(1 / mp.sqrt(half + alpha**2 * (two - 2 * one + half)))


def _samples(transform: Transform, order: int) -> tuple[Array, Array, Array, Array]:
    """Nodes, weights, f and f' of the rule for q = 1, on a range beyond which f^2 and f'^2 have no mass."""
    (x,), (w,) = rule(transform, np.ones(1), order=order)
    return x, w, transform(x), transform.derivative(x)


def _moments(transform: Transform, order: int) -> tuple[Array, Array]:
    """E f, E f^2, E[f f' x], E[f x] and E f'^2 at q = 1, and the integrals of the absolute values."""
    x, w, f, slope = _samples(transform, order)
    terms = w * np.array([f, f * f, f * slope * x, f * x, slope**2])
    return terms.sum(axis=1), np.abs(terms).sum(axis=1)


def _result(transform: Transform, parameter: str) -> SelfNormalizing:
    (fine, size), (coarse, _) = (_moments(transform, order) for order in (ORDER + 12, ORDER - 6))
    if (np.abs(fine - coarse) > AGREEMENT * size).any():
        raise unresolved(transform, 1.0)
    mean, second, cross, linear, energy = map(float, fine)
    residuals = {"Q(1)": second - 1, "C(0)": mean**2}
    worst = max(residuals, key=lambda name: abs(residuals[name]))
    if not abs(residuals[worst]) <= _TOLERANCE:
        raise NumericalError(
            transform.activation.name, f"the residual of {worst} is {residuals[worst]:.1e}, above {_TOLERANCE:g}",
            "declare all kinks of the activation",
        )  # fmt: skip
    return SelfNormalizing(
        transform,
        parameter,
        q_slope=cross,
        c_slope=linear**2,
        c_slope_at_1=energy,
        residuals=residuals,
    )
