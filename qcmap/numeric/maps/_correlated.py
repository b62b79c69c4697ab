"""E[F_1^(i)(x) F_2^(i)(y)] for strongly correlated standard normal x and y, F_k(x) = f(sqrt(q_k) x).

The order-i derivative of the C map in c is this over sqrt(Q(q1) Q(q2)): for abs(c) = 1 and near it, where the power
series of `qcmap.numeric.maps._hermite` converges slowly. With y = c x + s z, s = sqrt(1 - c^2):

*Regular parts.* The integral over z breaks where y meets a kink of F_2. As a function of x it changes over a width s
near x = kink / c, so the outer panels are graded there. Away from such x the inner function is analytic on a scale much
wider than s, and the trapezoidal rule in z converges to rounding with few nodes.

*Delta functions.* F^(i) has the terms J_m delta^(i-1-m)(x - k) for the jumps J_m of F^(m) at k, m < i. A delta function
of order j at k puts (-1)^j times the j-th derivative of everything else there. With the bivariate density p, and
He_j(z) the Hermite polynomials, (-d/dx)^j p(x, y) = s^(-j) He_j((x - c y) / s) p(x, y), so

    delta with regular:   J p(k) s^(-j) E[F_2^(i)(c k + s z) He_j(s k - c z)],
    delta with delta:     J J' p(k, k') s^(-j-l) sum_r C(j,r) C(l,r) r! c^r He_{j-r}(z1) He_{l-r}(z2),

z1 = (k - c k') / s and z2 = (k' - c k) / s. At c = +-1 the pair is (x, +-x): the derivative is infinite if kinks of
both factors coincide, and else delta^(j)(x - k) puts (-1)^j (F_2^(i)(+-x) p(x))^(j) there.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.polynomial.hermite_e import hermeval
from numpy.typing import NDArray

from qcmap.activations import Activation, Kink
from qcmap.errors import NumericalError
from qcmap.numeric.maps._quadrature import panel_rule, u_breaks
from qcmap.numeric.maps._transform import Transform

Array = NDArray[np.float64]

_OUTER, _INNER = 20, 20
_GRADES = np.array([-9.0, -3.0, -1.0, 0.0, 1.0, 3.0, 9.0])
_SAME = 1e-12


def jump_of(act: Activation, kink: Kink, order: int) -> float:
    """The jump of phi^(order) at a kink."""
    known = (kink.value, kink.slope, kink.curvature)
    return known[order] if order < len(known) else act.jump(kink.at, order)


@dataclass(frozen=True)
class Delta:
    """A term weight * delta^(order)(x - at)."""

    at: float
    order: int
    weight: float


@dataclass(frozen=True, eq=False)
class Layer:
    """F(x) = f(sqrt(q) x): the derivative of some order as a regular part and delta functions in x."""

    transform: Transform
    q: float
    order: int
    reach: float

    @cached_property
    def scale(self) -> float:
        """The scale of phi's argument in x."""
        return self.transform.input_scale * math.sqrt(self.q)

    def regular(self, x: Array, more: int = 0) -> Array:
        """F^(order + more)(x) away from kinks."""
        root = math.sqrt(self.q)
        return root ** (self.order + more) * self.transform.derivative(root * x, self.order + more)

    def energy(self) -> float:
        """E[(regular part)^2], by which the rounding of integrals with it is bounded (Cauchy and Schwarz)."""
        x, w = panel_rule(np.concatenate([_uniform(self.reach, 2.5), self.breaks()[0]])[None, :], _OUTER, self.reach)
        return float(np.sum(w * self.regular(x) ** 2))

    @cached_property
    def kinks(self) -> Array:
        """The points x where F is not analytic."""
        return np.array([self._at(kink.at) for kink in self.transform.activation.kinks])

    @cached_property
    def deltas(self) -> tuple[Delta, ...]:
        """The delta functions in F^(order)."""
        act, sign = self.transform.activation, math.copysign(1.0, self.scale)
        found: list[Delta] = []
        for kink in act.kinks if self.order else ():
            for m in range(self.order):
                jump = jump_of(act, kink, m)
                if jump:
                    weight = self.transform.output_scale * sign * self.scale**m * jump
                    found.append(Delta(self._at(kink.at), self.order - 1 - m, weight))
        return tuple(found)

    def breaks(self, stretch: float = 1.0, shift: Array | float = 0.0) -> Array:
        """Panel breaks in z for F(shift + stretch z): rows as ``shift`` has entries."""
        t = self.transform
        own = u_breaks(t.activation, np.array([self.scale]), np.array([t.input_shift]), self.reach)
        x = (own - t.input_shift) / self.scale
        return (x - np.reshape(shift, (-1, 1))) / stretch

    def _at(self, kink: float) -> float:
        return (kink - self.transform.input_shift) / self.scale


def correlated(first: Layer, second: Layer, c: float, s: float, *, finer: bool = False) -> float:
    """E[F_1^(i)(x) F_2^(i)(y)] at correlation c, s = sqrt(1 - c^2), delta functions included.

    ``finer`` uses rules of higher order: the difference estimates the error of the usual ones.

    Raises
    ------
    NumericalError
        If it is infinite: abs(c) = 1 and a kink of F_1 meets one of F_2, and both have delta functions or jumps.
    """
    order = (_OUTER + 8, _INNER + 8) if finer else (_OUTER, _INNER)
    if s < 1e-9:
        return _aligned(first, second, math.copysign(1.0, c), order[0])
    total = _regular(first, second, c, s, order)
    for one, other in ((first, second), (second, first)):
        for delta in one.deltas:
            total += _delta_regular(delta, other, c, s, order[0])
    for a in first.deltas:
        for b in second.deltas:
            total += _delta_delta(a, b, c, s)
    return total


def _uniform(reach: float, width: float) -> Array:
    return np.linspace(-reach, reach, math.ceil(2 * reach / width) + 1)


def _outer(first: Layer, second: Layer, extra: Array, order: int) -> tuple[Array, Array]:
    reach = max(first.reach, second.reach)
    breaks = np.concatenate([_uniform(reach, 2.5), first.breaks()[0], extra])
    x, w = panel_rule(breaks[None, :], order, reach)
    return x[0], w[0]


def _aligned(first: Layer, second: Layer, sign: float, order: int) -> float:
    """The pair (x, sign x)."""
    for a in first.kinks if first.deltas and second.deltas else ():
        if np.any(np.abs(a - sign * second.kinks) <= _SAME * max(1.0, abs(a))):
            raise NumericalError(
                first.transform.activation.name,
                f"its C map has no finite derivative of order {first.order} at c = {sign:g}, since phi or a derivative "
                f"below that order jumps at u = {_u(first, float(a)):.6g}",
                "ask for it inside (-1, 1), or for a lower order",
            )
    x, w = _outer(first, second, sign * second.breaks()[0], order)
    total = float(np.sum(w * first.regular(x) * second.regular(sign * x)))
    for one, other in ((first, second), (second, first)):
        for delta in one.deltas:
            total += delta.weight * _derivative_at(delta, other, sign)
    return total


def _u(layer: Layer, x: float) -> float:
    return layer.scale * x + layer.transform.input_shift


def _derivative_at(delta: Delta, other: Layer, sign: float) -> float:
    """(-1)^j times the j-th derivative of F^(i)(sign x) p(x) at the delta function."""
    k, j = np.array([delta.at]), delta.order
    total = 0.0
    for r in range(j + 1):
        rate = sign**r * float(other.regular(sign * k, r)[0])
        total += math.comb(j, r) * (-1) ** r * rate * _he(j - r, delta.at)
    return total * _density(delta.at)


def _regular(first: Layer, second: Layer, c: float, s: float, order: tuple[int, int]) -> float:
    """The integral of the regular parts."""
    extra = np.empty(0)
    if abs(c) > 0.1:
        extra = np.concatenate([second.breaks()[0] / c, (second.kinks[:, None] / c + s / abs(c) * _GRADES).ravel()])
    x, w = _outer(first, second, extra, order[0])
    if max(first.reach, second.reach) <= 14:
        # Functions that need a wider range are large where the density is this small.
        keep = w > 1e-40
        x, w = x[keep], w[keep]
    act = second.transform.activation
    spread = abs(second.scale) * s
    near = np.zeros(x.size, dtype=bool)
    if act.oscillates or act.length < 3 * spread:
        near[:] = True
    for kink in second.kinks:
        near |= np.abs(c * x - kink) <= (second.reach + 0.5) * s
    inner = np.empty(x.size)
    if near.any():
        inner[near] = _panelled(second, c * x[near], s, order[1])
    if not near.all():
        inner[~near] = _trapezoidal(second, c * x[~near], s, 0.6 if order[1] == _INNER else 0.5)
    return float(np.sum(w * first.regular(x) * inner))


def _panelled(layer: Layer, centre: Array, s: float, order: int) -> Array:
    """E[F(centre + s z)] over panels that break at the kinks and follow the length of phi; centre of shape (m,)."""
    result = np.empty(centre.size)
    uniform = _uniform(layer.reach, 3.0)
    step = max(1, 400_000 // (order * (uniform.size + layer.breaks().size)))
    for rows in (slice(k, k + step) for k in range(0, centre.size, step)):
        own = layer.breaks(s, centre[rows])
        breaks = np.concatenate([np.broadcast_to(uniform, (len(own), uniform.size)), own], axis=1)
        z, v = panel_rule(breaks, order, layer.reach)
        result[rows] = np.einsum("ij,ij->i", v, layer.regular(centre[rows, None] + s * z))
    return result


def _trapezoidal(layer: Layer, centre: Array, s: float, step: float) -> Array:
    """E[F(centre + s z)] where F is analytic on a scale of several s around: error exp(-2 pi^2 / step^2)."""
    count = math.ceil(layer.reach / step)
    z = step * np.arange(-count, count + 1)
    return layer.regular(centre[:, None] + s * z) @ (step / math.sqrt(2 * math.pi) * np.exp(-z * z / 2))


def _delta_regular(delta: Delta, other: Layer, c: float, s: float, order: int) -> float:
    centre = c * delta.at
    breaks = np.concatenate([_uniform(other.reach, 2.5), other.breaks(s, centre)[0]])
    z, v = panel_rule(breaks[None, :], order, other.reach)
    z, v = z[0], v[0]
    values = other.regular(centre + s * z) * np.asarray(_he(delta.order, s * delta.at - c * z))
    return delta.weight * _density(delta.at) * s**-delta.order * float(np.sum(v * values))


def _delta_delta(a: Delta, b: Delta, c: float, s: float) -> float:
    z1, z2 = (a.at - c * b.at) / s, (b.at - c * a.at) / s
    density = math.exp(-(z1 * z1 + b.at**2) / 2) / (2 * math.pi * s)
    j, k = a.order, b.order
    polynomial = sum(
        math.comb(j, r) * math.comb(k, r) * math.factorial(r) * c**r * _he(j - r, z1) * _he(k - r, z2)
        for r in range(min(j, k) + 1)
    )
    return a.weight * b.weight * density * s ** (-j - k) * float(polynomial)


def _density(x: float) -> float:
    return math.exp(-x * x / 2) / math.sqrt(2 * math.pi)


def _he(n: int, x: Array | float) -> float:
    """He_n(x), of the type of x."""
    return hermeval(x, [0.0] * n + [1.0])  # pyright: ignore[reportReturnType]
