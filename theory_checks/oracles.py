"""Independent oracles: activations and Gaussian integrals in mpmath at 30 digits, kinks as break points.

Nothing here uses qcmap. Expectations are composite Gauss-Legendre sums on [-12, 12] (the mass outside is below 1e-32),
with panels of at most two units of x that break at the kinks; a test compares the rule with ``mpmath.quad``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, wraps
from itertools import pairwise
from typing import Any

import mpmath as mp

Number = Any
"""An mpmath number, or anything that mpmath converts to one."""

DIGITS = 30
_ORDER = 40
SELU_SCALE = "1.0507009873554804934193349852946"
SELU_ALPHA = "1.6732632423543772848170429916717"


def remembered(function: Callable[..., Any]) -> Callable[..., Any]:
    """Keep results by arguments and working precision: the broken subject of a check meets the oracles again."""

    @lru_cache(maxsize=1024)
    def known(_: int, *arguments: Any) -> Any:
        return function(*arguments)

    @wraps(function)
    def wrapped(*arguments: Any) -> Any:
        return known(mp.mp.prec, *arguments)

    return wrapped


@dataclass(frozen=True)
class Oracle:
    """An activation in mpmath: phi, phi' and the points where phi is not analytic."""

    value: Callable[[Number], Number]
    slope: Callable[[Number], Number]
    kinks: tuple[float, ...] = ()


def _logistic(u: Number) -> Number:
    return 1 / (1 + mp.exp(-u))


def _normal(u: Number) -> Number:
    return mp.erfc(-u / mp.sqrt(2)) / 2


def _selu(u: Number) -> Number:
    return mp.mpf(SELU_SCALE) * (u if u > 0 else mp.mpf(SELU_ALPHA) * mp.expm1(u))


def _selu_slope(u: Number) -> Number:
    return mp.mpf(SELU_SCALE) * (1 if u > 0 else mp.mpf(SELU_ALPHA) * mp.exp(u))


ACTIVATIONS: dict[str, Oracle] = {
    "tanh": Oracle(mp.tanh, lambda u: mp.sech(u) ** 2),
    "erf": Oracle(mp.erf, lambda u: 2 / mp.sqrt(mp.pi) * mp.exp(-u * u)),
    "sin": Oracle(mp.sin, mp.cos),
    "square": Oracle(lambda u: u * u, lambda u: 2 * u),
    "softplus": Oracle(lambda u: mp.log1p(mp.exp(u)), _logistic),
    "swish": Oracle(lambda u: u * _logistic(u), lambda u: _logistic(u) * (1 + u * _logistic(-u))),
    "gelu": Oracle(lambda u: u * _normal(u), lambda u: _normal(u) + u * mp.npdf(u)),
    "relu": Oracle(lambda u: max(u, mp.mpf(0)), lambda u: mp.mpf(1 if u > 0 else 0), (0.0,)),
    "leaky_relu": Oracle(lambda u: u if u > 0 else u / 100, lambda u: mp.mpf(1) if u > 0 else mp.mpf(1) / 100, (0.0,)),
    "selu": Oracle(_selu, _selu_slope, (0.0,)),
    "elu": Oracle(lambda u: u if u > 0 else mp.expm1(u), lambda u: mp.mpf(1) if u > 0 else mp.exp(u), (0.0,)),
    "hardtanh": Oracle(
        lambda u: min(max(u, mp.mpf(-1)), mp.mpf(1)), lambda u: mp.mpf(1 if -1 < u < 1 else 0), (-1.0, 1.0)
    ),
}


def two_slopes(left: float) -> Oracle:
    """The activation with this slope below zero and 1 above."""
    return Oracle(lambda u: u if u > 0 else left * u, lambda u: mp.mpf(1 if u > 0 else left), (0.0,))


@lru_cache(maxsize=1)
def _legendre() -> tuple[tuple[Number, Number], ...]:
    """Nodes and weights of the Gauss-Legendre rule on [-1, 1], by Newton's method on the recurrence."""
    with mp.workdps(DIGITS + 10):
        rule = []
        for k in range(_ORDER):
            x = mp.cos(mp.pi * (4 * k + 3) / (4 * _ORDER + 2))
            slope = mp.mpf(1)
            for _ in range(8):
                before, here = mp.mpf(1), x
                for n in range(2, _ORDER + 1):
                    before, here = here, ((2 * n - 1) * x * here - (n - 1) * before) / n
                slope = _ORDER * (x * here - before) / (x * x - 1)
                x -= here / slope
            rule.append((x, 2 / ((1 - x * x) * slope**2)))
        return tuple(rule)


def rule(kinks: tuple[Number, ...] = (), width: float = 2.0) -> list[tuple[Number, Number]]:
    """Nodes and weights (density included) for E h(x), x standard normal, h analytic between the kinks (in x)."""
    panels = math.ceil(24 / width)
    uniform = [mp.mpf(24 * k) / panels - 12 for k in range(panels + 1)]
    ends = sorted({*uniform, *(k for k in map(mp.mpf, kinks) if -12 < k < 12)})
    nodes = []
    for left, right in pairwise(ends):
        nodes.extend(_panel(left, right))
    return nodes


@remembered
def _panel(left: Number, right: Number) -> list[tuple[Number, Number]]:
    half, middle = (right - left) / 2, (right + left) / 2
    nodes = [(middle + half * x, half * w) for x, w in _legendre()]
    return [(node, w * mp.npdf(node)) for node, w in nodes]


@dataclass(frozen=True)
class Moments:
    """Mean and variance of phi(a x + b), Q'(1) and C'(1) once these are normalised to 0 and 1 (DKS, section 18.4)."""

    mean: Number
    variance: Number
    q_slope: Number
    c_slope: Number


@remembered
def moments(phi: Oracle, a: Number, b: Number) -> Moments:
    """The moments of f = phi(a x + b): E f, Var f, E[(f - E f) f' x] / Var f and E f'^2 / Var f."""
    a, b = mp.mpf(a), mp.mpf(b)
    nodes = rule(tuple((k - b) / a for k in phi.kinks), width=2 / max(1.0, abs(float(a))))
    rows = [(x, w, phi.value(a * x + b), a * phi.slope(a * x + b)) for x, w in nodes]
    mean = mp.fsum(w * f for _, w, f, _ in rows)
    variance = mp.fsum(w * (f - mean) ** 2 for _, w, f, _ in rows)
    q_slope = mp.fsum(w * (f - mean) * slope * x for x, w, f, slope in rows) / variance
    return Moments(mean, variance, q_slope, mp.fsum(w * slope**2 for _, w, _, slope in rows) / variance)


@remembered
def second_moment(phi: Oracle, q: Number) -> Number:
    """Q(q) = E phi(sqrt(q) x)^2 (DKS, equation 5)."""
    root = mp.sqrt(mp.mpf(q))
    nodes = rule(tuple(k / root for k in phi.kinks), width=2 / max(1.0, float(root)))
    return mp.fsum(w * phi.value(root * x) ** 2 for x, w in nodes)


def hermite(phi: Oracle, q: Number, count: int) -> list[Number]:
    """Coefficients of phi(sqrt(q) x) in the first orthonormal Hermite polynomials He_n / sqrt(n!)."""
    return list(_hermite(phi, q, count))


@remembered
def _hermite(phi: Oracle, q: Number, count: int) -> list[Number]:
    root = mp.sqrt(mp.mpf(q))
    nodes = rule(tuple(k / root for k in phi.kinks), width=2 / max(1.0, float(root)))
    x = [node for node, _ in nodes]
    weighted = [w * phi.value(root * node) for node, w in nodes]
    before, here = [mp.mpf(0)] * len(x), [mp.mpf(1)] * len(x)
    found = []
    for n in range(count):
        found.append(mp.fdot(weighted, here))
        up, down = 1 / mp.sqrt(n + 1), mp.sqrt(mp.mpf(n) / (n + 1))
        before, here = here, [up * s * h - down * p for s, h, p in zip(x, here, before, strict=True)]
    return found


@remembered
def correlated(phi: Oracle, c: Number, q1: Number, q2: Number) -> Number:
    """E[phi(sqrt(q1) x) phi(sqrt(q2) y)], corr(x, y) = c.

    Mehler's series sum_n a_n(q1) a_n(q2) c^n, to c^n < 1e-20, for abs(c) <= 0.6; one integral for c = 1 and -1.
    """
    if abs(c) != 1:
        assert abs(c) <= 0.6, "the series converges like c^n"
        count = math.ceil(20 / -math.log10(max(abs(float(c)), 1e-10))) + 1
        left = hermite(phi, q1, count)
        right = left if q1 == q2 else hermite(phi, q2, count)
        return mp.fsum(a * b * mp.mpf(c) ** n for n, (a, b) in enumerate(zip(left, right, strict=True)))
    r1, r2 = mp.sqrt(mp.mpf(q1)), c * mp.sqrt(mp.mpf(q2))
    nodes = rule(tuple(k / r for k in phi.kinks for r in (r1, r2)), width=2 / max(1.0, float(r1), abs(float(r2))))
    return mp.fsum(w * phi.value(r1 * x) * phi.value(r2 * x) for x, w in nodes)


def normalised(phi: Oracle, c: Number, q1: Number, q2: Number) -> Number:
    """C(c, q1, q2) (DKS, equations 6 and 7)."""
    return correlated(phi, c, q1, q2) / mp.sqrt(second_moment(phi, q1) * second_moment(phi, q2))


def precise(function: Callable[..., Any]) -> Callable[..., Any]:
    """Run a function with four digits more than `DIGITS`."""

    @wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        with mp.workdps(DIGITS + 4):
            return function(*args, **kwargs)

    return wrapped
