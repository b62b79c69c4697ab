"""Independent oracles of Gaussian expectations: mpmath at 30 digits, and C maps by Hermite expansion.

Nothing here uses the library's formulas or quadrature.
"""

import itertools
import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from mpmath.calculus.quadrature import GaussLegendre

from tests import formulas
from tests.formulas import FORMULAS, MP

SELU_SCALE, SELU_ALPHA = (MP.mpf(x.numerator) / x.denominator for x in (formulas.SELU_SCALE, formulas.SELU_ALPHA))


def two_slopes_formula(left):
    """The formula of left * u below zero and u above."""
    return formulas.two_slopes(left).at(MP)


# --- Gaussian expectations -------------------------------------------------------------------------------------------

REACH = 12
"""exp(-12^2 / 2) is below 1e-31."""


@lru_cache(maxsize=4)
def _nodes(degree):
    """Gauss-Legendre nodes on [-1, 1] by mpmath: 3 * 2^(degree - 1) of them."""
    return tuple(GaussLegendre(MP).calc_nodes(degree, MP.prec))


def breaks(formula, scale, shift, *, width=1.5, reach=REACH, more=()):
    """Sorted break points in x for phi(scale * x + shift): kinks, grading towards singularities, a largest width."""
    scale, shift = MP.mpf(scale), MP.mpf(shift)
    points = {MP.mpf(-reach), MP.mpf(reach), *map(MP.mpf, more)}
    points.update(MP.mpf(width) * k for k in range(-math.ceil(reach / width), math.ceil(reach / width) + 1))
    points.update((kink - shift) / scale for kink in formula.kinks)
    largest = float(abs(scale) * reach + abs(shift))
    if math.isinf(formula.length):
        # Entire pieces: they vary on the unit scale.
        distances = [2.0 * k for k in range(math.ceil(largest / 2) + 1)]
    else:
        distances = [formula.length / 2 * 2.0**k for k in range(math.ceil(math.log2(2 * largest / formula.length + 2)))]
    points.update((formula.centre + sign * d - shift) / scale for d in distances for sign in (1, -1))
    return sorted(x for x in points if abs(x) <= reach)


@dataclass(frozen=True)
class Samples:
    """Nodes with Gaussian weights, and phi and phi' at scale * x + shift."""

    x: list
    w: list
    value: list
    first: list


def samples(formula, scale, shift, *, degree=4, width=1.5, more=()):
    """Composite Gauss-Legendre nodes for E over a standard normal x, with the values of phi and phi' there."""
    ends = breaks(formula, scale, shift, width=width, more=more)
    scale, shift = MP.mpf(scale), MP.mpf(shift)
    x, w = [], []
    for left, right in itertools.pairwise(ends):
        if right - left < MP.mpf("1e-28"):
            continue
        half, middle = (right - left) / 2, (right + left) / 2
        for node, weight in _nodes(degree):
            here = middle + half * node
            x.append(here)
            w.append(half * weight * MP.exp(-here * here / 2))
    root = MP.sqrt(2 * MP.pi)
    w = [weight / root for weight in w]
    arguments = [scale * here + shift for here in x]
    return Samples(x, w, [formula.value(u) for u in arguments], [formula.first(u) for u in arguments])


def formula_of(activation):
    """The formula of a catalogue activation object; a leaky relu's with its own slope."""
    if activation.name == "leaky_relu":
        return two_slopes_formula(activation.parameters["negative_slope"])
    return FORMULAS[activation.name]


def conditions(formula, input_scale, input_shift, output_shift, output_scale, **options):
    """Q(1), Q'(1), C(0), C'(1) of output_scale * (phi(input_scale u + input_shift) + output_shift)."""
    s = samples(formula, input_scale, input_shift, **options)
    gain, offset, chain = MP.mpf(output_scale), MP.mpf(output_shift), MP.mpf(output_scale) * MP.mpf(input_scale)
    q = mean = dq = energy = MP.zero
    for x, w, value, first in zip(s.x, s.w, s.value, s.first, strict=True):
        f, g = gain * (value + offset), chain * first
        wf = w * f
        mean += wf
        q += wf * f
        dq += wf * g * x
        energy += w * g * g
    return q, dq, mean * mean / q, energy / q


def eliminated(formula, input_scale, input_shift, **options):
    """Q'(1), C'(1), mean and variance after output_shift and output_scale have met Q(1) = 1 and C(0) = 0."""
    s = samples(formula, input_scale, input_shift, **options)
    scale = MP.mpf(input_scale)
    mean = MP.fdot(s.w, s.value)
    centred = [value - mean for value in s.value]
    weighted = [w * f for w, f in zip(s.w, centred, strict=True)]
    variance = MP.fdot(weighted, centred)
    slope = MP.fsum(wf * g * x for wf, g, x in zip(weighted, s.first, s.x, strict=True))
    energy = MP.fsum(w * g * g for w, g in zip(s.w, s.first, strict=True))
    return scale * slope / variance, scale**2 * energy / variance, mean, variance


# --- C maps by Hermite expansion -------------------------------------------------------------------------------------


class HermiteMap:
    """Q and C maps of phi from its Hermite coefficients at q: E f(sqrt(q1) x) f(sqrt(q2) y) = sum a_n b_n c^n.

    phi is evaluated by mpmath and rounded once; the recurrence of the normalized Hermite polynomials is float64.
    For abs(c) <= 0.9, 400 terms leave less than 1e-15.
    """

    def __init__(self, formula, q, terms=400):
        s = samples(formula, math.sqrt(q), 0, width=0.5)
        x, w = np.array(s.x, dtype=float), np.array(s.w, dtype=float)
        f, g = np.array(s.value, dtype=float), np.array(s.first, dtype=float)
        self.moment, self.slope = float(np.sum(w * f * f)), float(np.sum(w * f * g * x)) / math.sqrt(q)
        self.mean = float(np.sum(w * f))
        self.a = np.empty(terms)
        before, here = np.zeros_like(x), np.ones_like(x)
        for n in range(terms):
            self.a[n] = np.sum(w * f * here)
            before, here = here, (x * here - math.sqrt(n) * before) / math.sqrt(n + 1)

    def c(self, other, c, *, derivative=False):
        """C(c) or dC/dc with ``other`` the map at the second q value."""
        n = np.arange(self.a.size)
        powers = n[1:] * c ** (n[1:] - 1.0) if derivative else c ** n.astype(float)
        products = self.a * other.a / math.sqrt(self.moment * other.moment)
        return float(np.sum((products[1:] if derivative else products) * powers))


@lru_cache(maxsize=256)
def hermite_map(name, q):
    """The `HermiteMap` of a catalogue activation, made once."""
    return HermiteMap(FORMULAS[name], q)
