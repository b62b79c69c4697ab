"""Bounds on C maps from a few of their values (DKS, section 13 and appendix C).

With uniform q values a C map is C(c) = sum_i b_i c^i, b_i >= 0, sum_i b_i = 1. Everything here follows from that alone,
so it holds for every subnetwork, and for its repeated composition C^n. Arguments broadcast; results are float64 arrays.
docs/dynamics.md has the proofs.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from qcmap.numeric.maps._arguments import numbers
from qcmap.numeric.maps._bounds import SLACK, Interval, given, interval, require

Array = NDArray[np.float64]


def slope_bound(c: ArrayLike, flat: ArrayLike, c0: ArrayLike = 0.0) -> Array:
    """An upper bound on abs(C'(c)) from ``flat`` = F(c), for 0 < abs(c) < 1 (DKS, Proposition 20, corrected).

    abs(C'(c)) <= F (1 + log(F / (1 - C(0))) / log abs(c)). It is attained by C(c) = c^k, and the identity map.

    Derivation: with x = abs(c) and t_i = x^(i-1), abs(C'(c)) <= sum_i i b_i t_i = sum_i b_i g(t_i), where g(t) =
    t (1 + log t / log x) is concave, since (t log t)'' > 0 > log x. By Jensen's inequality the sum is at most
    P g(F / P), P = sum_{i>=1} b_i = 1 - C(0). The printed bound, F log F (1 + x) / (x log x), is false in general (the
    identity map: F = 1, bound 0). Where log F <= -1/e it is at least this one, so it holds there.
    """
    c, flat, c0 = np.abs(given("c", c, -1.0, 1.0)), given("flat", flat, 0.0, 1.0), given("c0", c0, 0.0, 1.0)
    require("c", (c > 0) & (c < 1), "the bound is for 0 < abs(c) < 1")
    require("flat", flat <= 1 - c0 + SLACK, "F(c) is at most 1 - C(0)")
    c, flat, mass = np.broadcast_arrays(c, flat, 1 - c0)
    positive = (flat > 0) & (mass > 0)
    share = np.where(positive, np.minimum(flat / np.where(positive, mass, 1.0), 1.0), 1.0)
    return np.where(positive, flat * (1 + np.log(share) / np.log(c)), 0.0)


def slope_at_one_bound(eps: ArrayLike, flat: ArrayLike, c0: ArrayLike = 0.0) -> Array:
    """A lower bound on C'(1) from ``flat`` = F(1 - eps), 0 < eps < 1 (DKS, Proposition 25).

    C is convex on [0, 1], so C'(1) >= (1 - C(1 - eps)) / eps = (1 - C(0) - (1 - eps) F(1 - eps)) / eps. The printed
    bound leaves out the factor 1 - eps, and is a little weaker.
    """
    eps, flat, c0 = given("eps", eps, 0.0, 1.0), given("flat", flat, 0.0, 1.0), given("c0", c0, 0.0, 1.0)
    require("eps", (eps > 0) & (eps < 1), "the bound is for 0 < eps < 1")
    require("flat", flat <= 1 - c0 + SLACK, "F(c) is at most 1 - C(0)")
    return np.maximum((1 - c0 - (1 - eps) * flat) / eps, 0.0)


def geometric_envelope(
    c: ArrayLike, n: ArrayLike, fixed_point: ArrayLike, slope: ArrayLike, quotient: ArrayLike
) -> Interval:
    """Bounds on C^n(c) for c in [0, 1] (DKS, Theorems 40, 41 i) and ii), and 42 corrected), n = 0, 1, 2, ...

    c* + s^n (c - c*) <= C^n(c) <= c* + r^n (c - c*), where c* is the attracting fixed point, ``slope`` is s = C'(c*),
    and ``quotient`` is r = (C(c) - c*) / (c - c*), or any number at c = c*.

    Derivation: on [0, 1], where C is convex and increasing, the tangent at c* lies below C, and the chord from c to c*
    above C between these two points, which the iterates do not leave. Iterating a line through (c*, c*) is a power.
    """
    c, point = given("c", c, 0.0, 1.0), given("fixed_point", fixed_point, 0.0, 1.0)
    slope, quotient = given("slope", slope, 0.0, 1 + SLACK), given("quotient", quotient, 0.0, 1 + SLACK)
    n = _count(n)
    away = c - point
    lower, upper = (np.clip(point + np.minimum(r, 1.0) ** n * away, 0.0, 1.0) for r in (slope, quotient))
    return interval(np.minimum(lower, upper), upper)


def edge_envelope(c: ArrayLike, n: ArrayLike, value: ArrayLike, curvature: ArrayLike) -> Interval:
    """Bounds on C^n(c) for c in [0, 1) if C'(1) = 1, where convergence to 1 is slower than any power r^n.

    With e = 1 - c, ``value`` = C(c), d = value - c, a = (1 - value) / e and ``curvature`` = C''(1), or infinity:
    1 - e / (1 + d n / e) <= C^n(c) <= 1 - e / (1 + C''(1) e n / (2 a)).

    Derivation: let e' = 1 - C(1 - e). Then 1/e' - 1/e = h(e) / a(e) with h(e) = (e - e') / e^2 = sum_i b_i i (i-1)
    int_0^1 (1-s) (1-s e)^(i-2) ds and a(e) = e'/e. Both decrease on [0, 1], h from C''(1) / 2 and a from 1. Iterates
    only come closer to 1, so 1/e grows by at least h(e) at the first e, and by at most C''(1) / (2 a) each time.
    """
    c, value = given("c", c, 0.0, 1.0), given("value", value, 0.0, 1.0)
    curvature, n = given("curvature", curvature, 0.0, np.inf, infinite=True), _count(n)
    require("value", value >= c - SLACK, "C(c) is at least c if C'(1) = 1")
    c, value, curvature, n = np.broadcast_arrays(c, value, curvature, n)
    e = 1 - c
    inside = (e > 0) & (value < 1)
    e1 = np.where(inside, e, 1.0)
    gain = np.where(inside, np.maximum(value - c, 0.0) / e1, 0.0)
    ratio = np.where(inside, (1 - value) / e1, 1.0)
    loss = np.where(n > 0, np.where(np.isfinite(curvature), curvature, 0.0) * e * n / (2 * ratio), 0.0)
    closest = np.where(np.isfinite(curvature) | (n == 0), e / (1 + loss), 0.0)
    # From C(c) = 1 on, for e > 0, C is the constant 1.
    lower = np.where(inside | (n == 0), 1 - e / (1 + gain * n), 1.0)
    return interval(lower, np.where(inside | (n == 0), 1 - closest, 1.0))


def negative_lower_bound(
    c: ArrayLike, n: ArrayLike, c0: ArrayLike, quotient: ArrayLike, fixed_point: ArrayLike, slope: ArrayLike
) -> Array:
    """A lower bound on C^n(c) for c in [-1, 0] (DKS, Theorem 41 iii), for any n).

    With ``quotient`` = r = (C(-c) - C(0)) / (-c), ``c0`` = C(0), ``fixed_point`` = c*, ``slope`` = C'(c*): as long as
    the line's iterate g^n(c) = r^n c + C(0) (1 - r^n) / (1 - r) is negative, C^n(c) >= g^n(c). From the first m with
    g^m(c) >= 0 on, C^m(c) >= 0, so C^n(c) >= c* (1 - C'(c*)^(n-m)) as for an input of 0.
    """
    c, c0, r = given("c", c, -1.0, 0.0), given("c0", c0, 0.0, 1.0), given("quotient", quotient, 0.0, 1 + SLACK)
    point, slope = given("fixed_point", fixed_point, 0.0, 1.0), given("slope", slope, 0.0, 1 + SLACK)
    c, n, c0, r, point, slope = np.broadcast_arrays(c, _count(n), c0, np.minimum(r, 1.0), point, slope)
    line = _line(c, n, c0, r)
    crossing = np.zeros_like(n)
    # The first m with g^m(c) >= 0, by bisection: g^m(c) grows with m.
    high = np.where(line >= 0, n, 0.0)
    low = np.zeros_like(high)
    for _ in range(64):
        middle = np.floor((low + high) / 2)
        reached = _line(c, middle, c0, r) >= 0
        low, high = np.where(reached, low, np.minimum(middle + 1, high)), np.where(reached, middle, high)
        if (low >= high).all():
            break
    crossing = high
    after = point * (1 - np.minimum(slope, 1.0) ** np.maximum(n - crossing, 0.0))
    return np.where(line >= 0, np.maximum(after, 0.0), line)


def _line(c: Array, n: Array, c0: Array, r: Array) -> Array:
    """The n-th iterate of r x + c0 at c."""
    power = r**n
    steep = 1 - r
    total = np.where(steep > 1e-12, (1 - power) / np.where(steep > 1e-12, steep, 1.0), n)
    return power * c + c0 * total


def odd_bound(c_hat: ArrayLike, value: ArrayLike, n: ArrayLike) -> Array:
    """An upper bound on abs(C^n(c)) for an odd C map and all abs(c) <= c_hat (DKS, Theorem 42, corrected).

    It is c_hat (C(c_hat) / c_hat)^n with ``value`` = C(c_hat), by the chord from 0 to c_hat. The printed bound c_hat^n
    is false: for C(c) = 0.9 c + 0.1 c^3 and c_hat = 1/2, C^2(1/2) = 0.426.
    """
    c_hat, value = given("c_hat", c_hat, 0.0, 1.0), given("value", value, 0.0, 1.0)
    require("c_hat", c_hat > 0, "c_hat is positive")
    require("value", value <= c_hat + SLACK, "an odd C map has C(c) <= c for c >= 0")
    return c_hat * np.minimum(value / c_hat, 1.0) ** _count(n)


def _count(n: ArrayLike) -> Array:
    array = numbers("n", n)
    require("n", (array >= 0) & (array == np.floor(array)) & np.isfinite(array), "n counts compositions: 0, 1, 2, ...")
    return array
