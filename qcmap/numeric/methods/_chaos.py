"""The edge of chaos (EOC): weight and bias variances at which C'(1) = 1 at the fixed point of the q values.

A layer takes q at the input of its activation f (phi, or a transform of it) to V(q) = w Q(q) + b at the input of the
next one, w and b the weight and bias variances, and m = sqrt(q1 q2) c to w E[f f] + b. At a fixed point q* of V the map
of c has slope w E[f'(sqrt(q*) x)^2] at c = 1 (DKS, section 26.4; Schoenholz et al., 2017). Slope 1 leaves, for each q*,

    w = 1 / E f'^2,    b = q* - w Q(q*),

a curve with parameter q*, on which b must not be negative. With a = E f' and m = E f at u = sqrt(q*) x, and by Stein's
lemma E[f u] = q* a, the parts that are linear in x cancel:

    b E f'^2 = q* E (f' - a)^2 - E (f - m - a u)^2 - m^2.

This is how b is computed: for small q* and odd f it is of order q*^3, and the plain difference would be all rounding.
By the Poincare inequality the first two terms are not negative together, so every odd f has an edge at every q*.

As q* -> 0 with f(0) = 0 and slopes l and r at 0, w -> 2 / (l^2 + r^2) and b -> 0: the limit q* = 0, where V'(0) = 1 and
C is that of a function with slopes l and r. docs/methods.md has the details.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from qcmap.activations import Activation, activation
from qcmap.architecture import Affine, Architecture
from qcmap.errors import ArchitectureError, ArgumentError
from qcmap.numeric.maps._arguments import correlation, positive
from qcmap.numeric.maps._integrals import Integrals
from qcmap.numeric.maps._local import fitting, local_maps
from qcmap.numeric.maps._quadrature import ORDER
from qcmap.numeric.maps._transform import Transform, refuse_jumps
from qcmap.numeric.methods._affine_variances import with_variances
from qcmap.numeric.methods._chaos_curve import EdgeOfChaosCurve, curve
from qcmap.numeric.methods._rules import rule
from qcmap.symbolic import resolved

Array = NDArray[np.float64]
Stability = Literal["attractive", "slowly attractive", "neutral", "slowly repelling", "repelling"]


def edge_of_chaos_curve(
    act: Activation | str, q_star: ArrayLike, *, transform: Transform | None = None
) -> EdgeOfChaosCurve:
    """The edge of chaos with the fixed point q* as its parameter (DKS, section 26.4), for q* > 0 of any shape.

    The bias variance comes out negative where no layer has this fixed point with C'(1) = 1.

    Raises
    ------
    ArgumentError
        If a q* is not positive and finite.
    ActivationError
        If the activation jumps, so that C'(1) is infinite.
    NumericalError
        If a moment is not finite or not resolved, or the activation is constant.
    """
    transform = layer(act, transform)
    q = positive("q_star", q_star)
    found = curve(transform, q.ravel())
    columns = [found.weight_variance, found.bias_variance, found.q_slope]
    return EdgeOfChaosCurve(q, *(column.reshape(q.shape) for column in columns))


def layer(act: Activation | str, transform: Transform | None) -> Transform:
    """The activation function of a layer as a transform; refuses one that jumps, or a transform of another function."""
    act = activation(act)
    if isinstance(transform, Transform) and transform.activation is not act:
        raise ArgumentError(
            "transform", f"it transforms {transform.activation.name}, not {act.name}", f"give one of {act.name}"
        )
    refuse_jumps(act)
    return fitting(act, transform)


def slopes_at_zero(transform: Transform) -> tuple[float, float]:
    """The derivatives of f at 0 from the left and from the right."""
    b = transform.input_shift
    left, right = (float(transform.activation.first(np.array(np.nextafter(b, end)))) for end in (-np.inf, np.inf))
    gain = transform.output_scale * transform.input_scale
    return (gain * left, gain * right) if transform.input_scale > 0 else (gain * right, gain * left)


@dataclass(frozen=True)
class EdgeOfChaos:
    """Weight and bias variances with C'(1) = 1 at a fixed point of the q values.

    Attributes
    ----------
    transform
        The activation function of the layer.
    q_star
        The fixed point of q -> weight_variance Q(q) + bias_variance, at the input of the activation. 0 stands for the
        limit q* -> 0, which q values tend to only slowly.
    weight_variance, bias_variance
        In units of 1 / fan-in and of 1, as in `qcmap.Affine`.
    q_slope
        The slope of the map of the q values at q*.
    stability
        ``"attractive"`` (abs(q_slope) < 1), ``"repelling"`` (> 1) or ``"neutral"`` (q values stay where they are:
        abs(q_slope) is 1 within 1e-12, or 1e-9 for a callable, whose slopes may be computed). In
        the limit q* = 0, where the slope is 1, ``"slowly attractive"`` or ``"slowly repelling"`` by what V does to
        q = 1e-4, and ``"neutral"`` if that is rounding (hardtanh).
    others
        The other solutions in the searched range, in the same order of preference.
    searched
        The range of q*, in words.
    """

    transform: Transform
    q_star: float
    weight_variance: float
    bias_variance: float
    q_slope: float
    stability: Stability
    others: tuple[EdgeOfChaos, ...] = ()
    searched: str = ""

    @cached_property
    def residuals(self) -> dict[str, float]:
        """C'(1) - 1 and V(q*) / q* - 1, from the definitions, by a finer quadrature than the solver's."""
        if not self.q_star:
            left, right = slopes_at_zero(self.transform)
            slope = self.weight_variance * (left**2 + right**2) / 2
            return {"C'(1)": slope - 1, "V(q*)/q*": slope - 1}
        root, t = math.sqrt(self.q_star), self.transform
        (x,), (w,) = rule(t, np.array([self.q_star]), order=ORDER + 12)
        with np.errstate(over="ignore", invalid="ignore"):
            energy, second = (float(np.sum(w * part**2)) for part in (t.derivative(root * x), t(root * x)))
        value = self.weight_variance * second + self.bias_variance
        return {"C'(1)": self.weight_variance * energy - 1, "V(q*)/q*": value / self.q_star - 1}

    @property
    def input_q(self) -> float:
        """The q value of network inputs that puts every layer at q* from the start, Q(q*)."""
        return float(local_maps(self.transform.activation, self.transform).q(self.q_star)) if self.q_star else 0.0

    @cached_property
    def curvature(self) -> float:
        """C''(1) = w q* E f''^2, infinite if f' jumps: 1 - c after n layers is about 2 / (C''(1) n) if it is finite.

        Raises `ActivationError` if the second derivative of the activation is not known, `NumericalError` if the
        integral is not resolved.
        """
        t = self.transform
        act = t.activation
        if not self.q_star:
            left, right = slopes_at_zero(t)
            return 0.0 if left == right else math.inf
        if any(kink.slope for kink in act.kinks):
            return math.inf
        energy = Integrals(t).each(np.array(self.q_star), lambda x, f, root: t.derivative(root * x, 2) ** 2)
        return self.weight_variance * self.q_star * float(energy)

    def c(self, c: ArrayLike) -> Array:
        """The map of c from one activation's input to the next at q*, for c in [-1, 1] of any shape.

        In the limit q* = 0 it is that of a function with two slopes (DKS, section 12.1 for relu).
        """
        values = correlation(c)
        if not self.q_star:
            left, right = slopes_at_zero(self.transform)
            arc = np.sqrt((1 - values) * (1 + values)) + (math.pi - np.arccos(values)) * values
            m = left * right * values + (right - left) ** 2 / (2 * math.pi) * arc
            return np.clip(2 * m / (left**2 + right**2), -1.0, 1.0)
        maps = local_maps(self.transform.activation, self.transform)
        m = float(maps.q(self.q_star)) * maps.c(values, self.q_star, self.q_star)
        return np.clip((self.weight_variance * m + self.bias_variance) / self.q_star, -1.0, 1.0)

    def apply(self, arch: Architecture) -> Architecture:
        """The architecture with these variances in all its affine layers.

        Raises
        ------
        ArchitectureError
            If the architecture uses another activation: its layers would not be at the edge of chaos.
        """
        name = self.transform.activation.name
        for other, act in resolved(arch).items():
            if act is not self.transform.activation:
                raise ArchitectureError(
                    arch.name, f"these variances are for {name}, but it uses {other}", "use one activation throughout"
                )
        values = (self.weight_variance, self.bias_variance)
        return with_variances(arch, {n.id: values for n in arch.nodes if isinstance(n.op, Affine)})

    def to_dict(self) -> dict[str, Any]:
        """The variances, the fixed point, its stability, the residuals and the other solutions as plain data."""
        names = ("q_star", "weight_variance", "bias_variance", "q_slope", "stability")
        return {
            "method": "edge_of_chaos",
            **self.transform.to_dict(),
            **{name: getattr(self, name) for name in names},
            "residuals": self.residuals,
            "other_solutions": [{name: getattr(other, name) for name in names} for other in self.others],
            "searched": self.searched,
        }

    def __repr__(self) -> str:
        return (
            f"<edge of chaos of {self.transform.activation.name}: weight_variance={self.weight_variance:.10g}, "
            f"bias_variance={self.bias_variance:.10g}, q*={self.q_star:.6g} ({self.stability})>"
        )


def even(transform: Transform) -> float:
    """How near to 1 a slope counts as 1."""
    return 1e-9 if transform.activation.expression is None else 1e-12


def stability_of(transform: Transform, q_star: float, weight_variance: float, q_slope: float) -> Stability:
    """Whether q values near q* come closer; in the limit q* = 0, whether those just above it do."""
    if abs(abs(q_slope) - 1) > even(transform):
        return "attractive" if abs(q_slope) < 1 else "repelling"
    if q_star:
        return "neutral"
    near = 1e-4
    drift = weight_variance * float(local_maps(transform.activation, transform).q(near)) / near - 1
    if abs(drift) < 1e-12:
        return "neutral"
    return "slowly attractive" if drift < 0 else "slowly repelling"
