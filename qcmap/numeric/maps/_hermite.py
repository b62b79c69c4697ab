"""Hermite coefficients of a layer's function, and the power series of its C map (DKS, section 11.4).

With F(x) = f(sqrt(q) x) = sum_n a_n(q) h_n(x), h_n = He_n / sqrt(n!) orthonormal under the normal density p,

    E[F_1(x) F_2(y)] = sum_n a_n(q1) a_n(q2) c^n,        sum_n a_n(q)^2 = Q(q)

(Mehler; the printed sums start at n = 1). The i-th derivative in c is sum_n n (n-1) .. (n-i+1) a_n a_n c^(n-i) for
abs(c) < 1, whatever the smoothness of f: the delta functions in derivatives of f are in the coefficients already.

The coefficients are integrals of (F sqrt(p)) times psi_n = h_n sqrt(p), which oscillates like cos(sqrt(n) x): panels
are narrow against 1 / sqrt(n) and break at the kinks. psi_n follows its three-term recurrence, stable forwards.

What is left out beyond N terms is known: sqrt(Q(q1) - sum a_n(q1)^2) sqrt(Q(q2) - sum a_n(q2)^2) abs(c)^(N+1) at most.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qcmap.numeric.maps._quadrature import gaussian_rule
from qcmap.numeric.maps._transform import Transform

Array = NDArray[np.float64]

SMOOTH_TERMS = (96, 384, 1536)
KINKED_TERMS = (96, 320, 1024)
_ROUNDING = 1e-17
SERVED = 0.965
"""Up to this abs(c) the longest series of a kinked activation leaves rounding: 0.965^1024 is 1e-16."""


@dataclass(frozen=True, eq=False)
class HermiteSeries:
    """a_0 to a_{N-1} at one q, and what is known of the rest.

    Attributes
    ----------
    values
        The coefficients, shape (N,).
    rest
        Q(q) - sum a_n^2, at least the rounding of Q.
    decayed
        Whether the coefficients fell to rounding, so that the series may be used up to abs(c) = 1 and differentiated.
    """

    values: Array
    rest: float
    decayed: bool


def hermite_values(transform: Transform, q: float, count: int, reach: float) -> Array:
    """The first ``count`` Hermite coefficients of f(sqrt(q) x), integrated over abs(x) <= ``reach``."""
    root = math.sqrt(q)
    width = min(2.0, 16 / math.sqrt(count))
    extra = np.linspace(-reach, reach, max(2, math.ceil(2 * reach / width)) + 1)
    x, w = gaussian_rule(
        transform.activation,
        np.array([transform.input_scale * root]),
        np.array([transform.input_shift]),
        extra=extra,
        reach=reach,
        density=0.5,
    )
    x, w = x[0], w[0]
    # w carries sqrt(p), the oscillating functions the other half of the density.
    weighted = w * transform(root * x)
    before, here = np.zeros_like(x), np.exp(-x * x / 4) / (2 * math.pi) ** 0.25
    values = np.empty(count)
    for n in range(count):
        values[n] = weighted @ here
        before, here = here, (x * here - math.sqrt(n) * before) / math.sqrt(n + 1)
    parity = transform.activation.parity
    if transform.input_shift == 0 and parity is not None:
        # Half of the coefficients vanish, and integrals leave rounding: C(0) of an odd function is 0.
        values[1 if parity == "even" else 0 :: 2] = 0.0
        if parity == "odd":
            values[0] = transform.output_scale * transform.output_shift
    return values


def hermite_series(transform: Transform, q: float, moment: float, reach: float, needed: float) -> HermiteSeries:
    """The series at q, with the terms that `terms_for` asks for or as many as it is let; Q(q) is ``moment``.

    It is long enough if what it leaves out is rounding: because its coefficients have decayed, which happens where phi
    has no kinks, or because abs(c)^N is small.
    """
    smooth = not transform.activation.kinks
    counts = SMOOTH_TERMS if smooth else KINKED_TERMS
    values, decayed = np.empty(0), False
    for count in counts:
        if not smooth and count < min(needed, counts[-1]):
            continue
        values = hermite_values(transform, q, count, reach)
        squares = values**2
        # Derivatives weigh the terms by powers of n: ask for decay well below rounding.
        decayed = smooth and float(squares[3 * count // 4 :].sum()) <= _ROUNDING**1.7 * moment
        if decayed or count >= needed:
            break
    rest = max(moment - float(np.sum(values**2)), 4e-16 * moment)
    return HermiteSeries(values, rest, decayed)


def terms_for(c: float, order: int = 0) -> float:
    """How many terms bring the rest to rounding; infinite at abs(c) = 1, and where the longest series would not do."""
    size = abs(c)
    if size < 1e-3:
        return KINKED_TERMS[0]
    # A derivative weighs the term of order n by about n^order, here at most exp(7 order).
    needed = -(37 + 7 * order) / math.log(size) if size < 1 else math.inf
    return needed if needed <= SMOOTH_TERMS[-1] else math.inf


def summed(first: HermiteSeries, second: HermiteSeries, c: Array, order: int) -> tuple[Array, Array]:
    """The order-th derivative of sum a_n b_n c^n at c of shape (m,), and a bound on what the series leaves out.

    The bound is infinite where the series must not be used.
    """
    count = min(first.values.size, second.values.size)
    n = np.arange(count, dtype=np.float64)
    factor = np.ones(count)
    for k in range(order):
        factor *= n - k
    terms = (first.values[:count] * second.values[:count] * factor)[order:]
    values = np.asarray(np.polynomial.polynomial.polyval(c, terms), dtype=np.float64)
    if first.decayed and second.decayed:
        return values, np.full(c.shape, float(np.abs(terms[3 * terms.size // 4 :]).sum()))
    magnitude = np.abs(c)
    rest = math.sqrt(first.rest * second.rest)
    with np.errstate(divide="ignore", invalid="ignore"):
        log = np.log(np.maximum(magnitude, 1e-300))
        # n!/(n-i)! abs(c)^(n-i) falls from n = N on if N > i / (-log abs(c)) + i.
        falls = count > order / np.maximum(-log, 1e-300) + order
        largest = math.prod(count - k for k in range(order)) * np.exp((count - order) * log)
    return values, np.where(falls, largest * rest, np.inf)


def summed_rounding(first: HermiteSeries, second: HermiteSeries, c: float, order: int) -> float:
    """A bound on what rounding of the coefficients does to `summed` for correlations up to abs(c).

    A coefficient is an integral of f times a function of norm 1: its rounding is that of sqrt(Q), whatever its size.
    """
    count = min(first.values.size, second.values.size)
    n = np.arange(count, dtype=np.float64)
    factor = np.ones(count)
    for k in range(order):
        factor *= n - k
    powers = np.abs(c) ** np.maximum(n - order, 0)
    sizes = [float(np.linalg.norm(series.values)) for series in (first, second)]
    terms = np.abs(first.values[:count]) * sizes[1] + np.abs(second.values[:count]) * sizes[0]
    return 2.0**-49 * float(np.sum(np.abs(factor) * powers * terms))


def served(
    first: HermiteSeries, second: HermiteSeries, c: Array, order: int, values: Array, rest: Array
) -> NDArray[np.bool_]:
    """Where what `summed` gave is right to rounding.

    Without decay, to that of the map's own size, which is far below that of f where kinks are many deviations out.
    """
    norm = float(np.linalg.norm(first.values) * np.linalg.norm(second.values))
    found = rest <= 1e-16 * (np.abs(values) + norm)
    if order and found.any() and not (first.decayed and second.decayed):
        lost = summed_rounding(first, second, float(np.abs(c[found]).max()), order)
        found &= lost <= 1e-12 * float(np.abs(values[found]).max())
    return found
