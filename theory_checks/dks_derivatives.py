"""Derivatives of C maps in c, and dual activations: DKS, sections 8.1.2 and 11.4, appendices B and D.2.

With Gamma_phi(c) = E[phi(u1) phi(u2)] for Gaussian u of variances q1, q2 and correlation c, p the density of u and
m = c sqrt(q1 q2): the heat equation dp/dm = d2p/(du1 du2) and two integrations by parts give
dGamma_phi/dm = E[phi'(u1) phi'(u2)], so Gamma_phi^(i) = (q1 q2)^(i/2) Gamma_{phi^(i)}. Integration by parts needs
phi^(i-1) to be the integral of phi^(i): where phi^(i-1) jumps, phi^(i) contains a delta function, and where it grows on
a null set, as the Cantor function does, its growth is a measure without a density.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import pairwise

import mpmath as mp
import numpy as np
from scipy.special import erf, expit

from theory_checks.oracles import Number, precise
from theory_checks.propagation import KERNELS
from theory_checks.registry import Array, Outcome, Tally, checks

Function = Callable[[Array], Array]


@dataclass(frozen=True)
class Differentiable:
    """phi, phi', ... away from u = 0, and for each order the factor of the delta function that it has at 0."""

    derivatives: tuple[Function, ...]
    deltas: tuple[float, ...] = ()

    def delta(self, order: int) -> float:
        """The jump at 0 of the derivative of one order less."""
        return self.deltas[order] if order < len(self.deltas) else 0.0


def _step(u: Array) -> Array:
    return (u > 0).astype(float)


def _zero(u: Array) -> Array:
    return np.zeros_like(u)


def _decay(u: Array) -> Array:
    """exp(u) for u < 0, else 0."""
    return np.exp(np.minimum(u, 0)) * (u < 0)


def _scaled_elu(scale: float, alpha: float) -> Differentiable:
    def negative(u: Array) -> Array:
        return scale * alpha * _decay(u)

    return Differentiable(
        (
            lambda u: scale * np.where(u > 0, u, alpha * np.expm1(np.minimum(u, 0))),
            lambda u: scale * _step(u) + negative(u),
            negative,
            negative,
        ),
        (0.0, 0.0, scale * (1 - alpha), -scale * alpha),
    )


SMOOTH: dict[str, Differentiable] = {
    "tanh": Differentiable(
        (
            np.tanh,
            lambda u: 1 - np.tanh(u) ** 2,
            lambda u: -2 * np.tanh(u) * (1 - np.tanh(u) ** 2),
            lambda u: -2 * (1 - np.tanh(u) ** 2) * (1 - 3 * np.tanh(u) ** 2),
        )
    ),
    "erf": Differentiable(
        (
            erf,
            lambda u: 2 / math.sqrt(math.pi) * np.exp(-u * u),
            lambda u: -4 * u / math.sqrt(math.pi) * np.exp(-u * u),
            lambda u: (8 * u * u - 4) / math.sqrt(math.pi) * np.exp(-u * u),
        )
    ),
    "softplus": Differentiable(
        (
            lambda u: np.logaddexp(0, u),
            expit,
            lambda u: expit(u) * expit(-u),
            lambda u: expit(u) * expit(-u) * (expit(-u) - expit(u)),
        )
    ),
}
KINKED: dict[str, Differentiable] = {
    "relu": Differentiable((lambda u: np.maximum(u, 0), _step, _zero), (0.0, 0.0, 1.0)),
    "squared relu": Differentiable(
        (lambda u: np.maximum(u, 0) ** 2, lambda u: 2 * np.maximum(u, 0), lambda u: 2 * _step(u), _zero),
        (0.0, 0.0, 0.0, 2.0),
    ),
    "elu": _scaled_elu(1.0, 1.0),
    "selu": Differentiable(
        _scaled_elu(1.0507009873554805, 1.6732632423543772).derivatives[:3],
        _scaled_elu(1.0507009873554805, 1.6732632423543772).deltas[:3],
    ),
}


def _panels(ends: Array, order: int) -> tuple[Array, Array]:
    nodes, weights = np.polynomial.legendre.leggauss(order)
    rule = [((a + b) / 2 + (b - a) / 2 * nodes, (b - a) / 2 * weights) for a, b in pairwise(ends)]
    return np.concatenate([x for x, _ in rule]), np.concatenate([w for _, w in rule])


def expectation(phi: Function, c: float, q1: float, q2: float) -> float:
    """E[phi(u1) phi(u2)] by polar coordinates, u1 = sqrt(q1) r cos t, u2 = sqrt(q2) r cos(t - acos c).

    Kinks and jumps at u = 0 lie on the four rays where a cosine vanishes, and panels end there: no error but rounding.
    """
    angle = math.acos(c)
    rays = np.sort(np.array([0.5, 1.5, 0.5 + angle / math.pi, 1.5 + angle / math.pi]) * math.pi % (2 * math.pi))
    t, wt = _panels(np.append(rays, rays[0] + 2 * math.pi), 48)
    r, wr = _panels(np.linspace(0, 12, 9), 16)
    density = wr * r * np.exp(-r * r / 2) / (2 * math.pi)
    u1, u2 = (math.sqrt(q) * np.outer(r, np.cos(t - shift)) for q, shift in ((q1, 0.0), (q2, angle)))
    return float(density @ (phi(u1) * phi(u2)) @ wt)


def pointwise(phi: Differentiable, order: int, c: float, q1: float, q2: float) -> float:
    """(q1 q2)^(i/2) Gamma_{phi^(i)}, phi^(i) taken where it exists: no delta functions."""
    return math.sqrt(q1 * q2) ** order * expectation(phi.derivatives[order], c, q1, q2)


def with_deltas(phi: Differentiable, order: int, c: float, q1: float, q2: float) -> float:
    """The same with phi^(i) = r + J delta_0.

    E[delta(u1) r(u2)] is the density of u1 at 0 times E[r(u2) | u1 = 0], u2 then having the variance q2 (1 - c^2);
    E[delta(u1) delta(u2)] is the joint density at 0, 1/(2 pi sqrt(q1 q2 (1 - c^2))).
    """
    jump, r = phi.delta(order), phi.derivatives[order]
    s = math.sqrt(1 - c * c)
    x, w = _panels(np.array([-12.0, -6.0, -3.0, 0.0, 3.0, 6.0, 12.0]), 40)
    w = w * np.exp(-x * x / 2) / math.sqrt(2 * math.pi)
    single = sum(
        float(w @ r(math.sqrt(there) * s * x)) / math.sqrt(2 * math.pi * here) for here, there in ((q1, q2), (q2, q1))
    )
    both = 1 / (2 * math.pi * math.sqrt(q1 * q2) * s)
    return pointwise(phi, order, c, q1, q2) + math.sqrt(q1 * q2) ** order * (jump * single + jump**2 * both)


def _with_power_of_q(phi: Differentiable, order: int, c: float, q1: float, q2: float) -> float:
    """With (q1 q2)^(1/2) at every order."""
    return pointwise(phi, order, c, q1, q2) / math.sqrt(q1 * q2) ** max(order - 1, 0)


Formula = Callable[[Differentiable, int, float, float, float], float]


def derivatives(phi: Differentiable, c: float, q1: float, q2: float) -> list[float]:
    """Gamma, Gamma', Gamma'', Gamma''' at c: from values of Gamma at Chebyshev points of [c - 0.3, c + 0.3]."""
    points = c + 0.3 * np.cos(math.pi * (np.arange(27) + 0.5) / 27)
    gamma = np.array([expectation(phi.derivatives[0], float(x), q1, q2) for x in points])
    series = np.polynomial.Chebyshev.fit(points, gamma, 26, domain=[c - 0.3, c + 0.3])
    return [float(series.deriv(order)(c)) for order in range(4)]


@cache
def _instances(effort: int) -> list[tuple[str, float, float, float, tuple[float, ...]]]:
    random, rows = np.random.default_rng(9), []
    for name, phi in (SMOOTH | KINKED).items():
        for c in (-0.35, 0.5, *random.uniform(-0.6, 0.6, effort - 1)):
            q1, q2 = (float(q) for q in np.exp(random.uniform(-0.7, 0.7, 2)))
            rows.append((name, float(c), q1, q2, tuple(derivatives(phi, float(c), q1, q2))))
    return rows


def _compare(tally: Tally, subject: Formula, effort: int, orders: Callable[[Differentiable], Iterator[int]]) -> None:
    for name, c, q1, q2, want in _instances(effort):
        phi = (SMOOTH | KINKED)[name]
        for order in orders(phi):
            found = subject(phi, order, c, q1, q2)
            at = f"of {name} at c = {c:.3g}, q = {q1:.3g} and {q2:.3g}"
            witness = f"Gamma^({order}) {at} is {want[order]:.9g}, not {found:.9g}"
            tally.add((found - want[order]) / (1 + abs(want[order])), 1e-7, witness)


@checks(
    "dks-09",
    part="formula",
    source="DKS 8.1.2, appendix B",
    claim="Gamma_phi^(i) = (q1 q2)^(i/2) Gamma_{phi^(i)} where phi^(i-1) is continuous and piecewise smooth",
    subject=pointwise,
    broken=_with_power_of_q,
)
def formula(subject: Formula, effort: int) -> Outcome:
    """Both sides by integrals in the plane, i <= 3, q1 != q2; relu, selu at i = 1, elu (phi' continuous) up to 2."""
    tally = Tally()
    _compare(tally, subject, effort, lambda phi: (i for i in range(len(phi.derivatives)) if not phi.delta(i)))
    return tally.outcome()


@checks(
    "dks-09",
    part="kinks",
    source="DKS 8.1.2",
    claim="Where phi^(i-1) jumps, as for relu at i = 2, the formula fails unless the delta functions of phi^(i) are "
    "counted; with them it holds for |c| < 1",
    subject=with_deltas,
    broken=pointwise,
)
def kinks(subject: Formula, effort: int) -> Outcome:
    """relu and selu at i = 2, elu and squared relu at i = 3."""
    tally = Tally()
    _compare(tally, subject, effort, lambda phi: (i for i in range(len(phi.derivatives)) if phi.delta(i)))
    return tally.outcome()


@checks(
    "dks-09",
    part="limit",
    source="DKS 8.1.2",
    claim="C'' of relu is 1/(pi sqrt(1 - c^2)), which tends to infinity as c -> 1",
    subject=lambda c: 1 / (mp.pi * mp.sqrt(1 - c * c)),
    broken=lambda c: mp.mpf(0),
)
@precise
def limit(subject: Callable[[Number], Number], effort: int) -> Outcome:
    """Second differences of C = 2 E[phi phi], by its closed form, ever closer to 1, and one delta-function value."""
    tally = Tally()
    for k in range(1, 5 + effort):
        c = 1 - mp.mpf(10) ** -k
        found = mp.diff(lambda x: 2 * KERNELS["relu"].value(x, mp.mpf(1), mp.mpf(1)), c, 2, h=mp.mpf(10) ** -(k + 9))
        tally.add(subject(c) / found - 1, 1e-8, f"C'' of relu is {mp.nstr(found, 8)} at c = 1 - 10^-{k}")
        tally.add(float(found < mp.mpf(10) ** (k / 2) / 5), 0.5, f"C'' of relu stays below {mp.nstr(found, 4)}")
    counted = 2 * with_deltas(KINKED["relu"], 2, 0.9, 1.0, 1.0)
    tally.add(subject(mp.mpf("0.9")) / counted - 1, 1e-12, f"with delta functions C''(0.9) of relu is {counted:.9g}")
    return tally.outcome()


@cache
def cantor(q: float) -> tuple[float, float]:
    """E[phi(sqrt(q) x) x] of the Cantor function, by its values and by the mean of sqrt(q) p(u) over its measure.

    It is constant beside [0, 1], continuous, and has phi' = 0 almost everywhere. The measure is taken over the middles
    of the intervals of step k = 12, of length 3^-k.
    """
    points, k = np.zeros(1), 12
    for step in range(1, k + 1):
        points = np.concatenate([points, points + 2 * 3.0**-step])
    points = np.sort(points) + 3.0**-k / 2
    x = np.linspace(-9, 9, 400_001)
    phi = np.searchsorted(points, math.sqrt(q) * x) / len(points)
    root = math.sqrt(2 * math.pi)
    by_values = float(np.sum(phi * x * np.exp(-x * x / 2))) * (x[1] - x[0]) / root
    return by_values, float(np.mean(np.exp(-points * points / (2 * q)))) / root


@checks(
    "dks-09",
    part="continuity",
    variant="as_printed",
    source="DKS 8.1.2",
    claim="Where phi' is undefined on a set of measure zero only, the formula is valid provided that phi is continuous",
    subject="values",
    broken="measure",
)
@checks(
    "dks-09",
    part="continuity",
    variant="corrected",
    source="DKS 8.1.2",
    claim="phi must be the integral of phi'; a continuous phi of bounded variation has E[dphi(u1) dphi(u2)] instead",
    subject="measure",
    broken="values",
)
def continuity(subject: str, effort: int) -> Outcome:
    """The Cantor function; Gamma'(0) = E[phi(sqrt(q1) x) x] E[phi(sqrt(q2) x) x], by Mehler's series."""
    tally = Tally()
    for q1, q2 in ((1.0, 1.0), (0.5, 2.0), (0.3, 0.8), *((1.0, 1.0 + j) for j in range(1, effort))):
        (first, first_counted), (second, second_counted) = cantor(q1), cantor(q2)
        want, counted = first * second, first_counted * second_counted
        found = counted if subject == "measure" else 0.0
        tally.add(found - want, 1e-4, f"Gamma'(0) of the Cantor function is {want:.6f} at q = {q1}, {q2}, not {found}")
    return tally.outcome()
