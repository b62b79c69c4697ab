"""Classical initializations keep q values, of some activations at some widths: DKS, section 26.1."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from itertools import pairwise

import mpmath as mp
import numpy as np

import qcmap as qc
from qcmap.activations import Activation
from qcmap.numeric import LocalMaps, Transform, initialized, network_maps, solve
from theory_checks.oracles import Oracle, correlated, moments, precise, second_moment
from theory_checks.registry import Outcome, Tally, checks


def _linear_chain(widths: list[int]) -> qc.Architecture:
    b = qc.Builder("linear chain")
    h = b.input("x", channels=widths[0])
    for width in widths[1:]:
        h = b.affine(h, width)
    return b.build([h])


def glorot_factor(widths: list[int]) -> float:
    """What Glorot's variances make of q = 1 in a linear chain of these widths."""
    return float(network_maps(initialized(_linear_chain(widths), "glorot")).q(1.0))


def _fan_in_factor(widths: list[int]) -> float:
    return float(network_maps(initialized(_linear_chain(widths), "lecun")).q(1.0))


@checks(
    "dks-44",
    part="glorot",
    source="DKS 26.1",
    claim="The weight variance 2/(k+m) multiplies q by 8/9 over two layers of widths n, 2n, n, and by 4 r/(1+r)^2 < 1 "
    "for widths of ratio r; 1/k keeps q",
    subject=glorot_factor,
    broken=_fan_in_factor,
)
def glorot(subject: Callable[[list[int]], float], effort: int) -> Outcome:
    """In fractions: a layer of fans k and m multiplies q by k * 2/(k+m)."""
    random, tally = np.random.default_rng(44), Tally()
    for n in (1, 3, 64, *(int(n) for n in random.integers(2, 500, effort))):
        for pairs in (1, 5):
            found = subject([n, 2 * n] * pairs + [n])
            tally.add(
                found / (8 / 9) ** pairs - 1, 1e-13, f"{2 * pairs} layers of widths {n}, {2 * n} give {found:.9g}"
            )
    for _ in range(10 * effort):
        widths = [int(n) for n in random.integers(1, 200, 8)]
        exact = math.prod(Fraction(2 * k, k + m) for k, m in pairwise(widths))
        tally.add(subject(widths) / float(exact) - 1, 1e-12, f"widths {widths} give {float(exact):.9g}")
        k, m = widths[:2]
        lost = Fraction(2 * k, k + m) * Fraction(2 * m, k + m)
        tally.add(float(lost > 1 or (lost == 1) != (k == m)), 0.5, f"widths {k}, {m}, {k} multiply q by {lost}")
    return tally.outcome()


def saturating(a: float) -> LocalMaps:
    """The maps of tanh(a x)."""
    return LocalMaps("tanh", Transform(qc.activation("tanh"), input_scale=a))


def _scaled_outside(a: float) -> LocalMaps:
    return LocalMaps("tanh", Transform(qc.activation("tanh"), output_scale=a))


@checks(
    "dks-44",
    part="saturation",
    source="DKS 26.1",
    claim="At q = 1 tanh(a x) degenerates as a grows: C'(1) grows like 4 a/(3 sqrt(2 pi)) and C goes to (2/pi) asin c",
    subject=saturating,
    broken=_scaled_outside,
)
@precise
def saturation(subject: Callable[[float], LocalMaps], effort: int) -> Outcome:
    """Against 30-digit integrals; E sech(a x)^4 = 4/(3 a) p(0) (1 + O(1/a^2)), so the limits are met to O(1/a)."""
    tally, before = Tally(), 0.0
    for a in (0.5, 1.0, 2.0, 8.0, 32.0, 128.0):
        phi = Oracle(lambda u, a=a: mp.tanh(a * u), lambda u, a=a: a * mp.sech(a * u) ** 2)
        maps = subject(a)
        slope = float(maps.dc(1.0))
        if a <= 8:
            # The panels of the oracle follow the unit scale, so a is given as the input scale.
            exact = moments(Oracle(mp.tanh, lambda u: mp.sech(u) ** 2), a, 0).c_slope
            tally.add(slope / exact - 1, 1e-11, f"C'(1) of tanh({a:g} x) is {mp.nstr(exact, 12)}, not {slope:.12g}")
        if a <= 1:
            want = correlated(phi, 0.4, 1, 1) / second_moment(phi, 1)
            tally.add(float(maps.c(0.4)) - want, 1e-11, f"C(0.4) of tanh({a:g} x) is {mp.nstr(want, 12)}")
        tally.add(float(slope <= before), 0.5, f"C'(1) does not grow at a = {a:g}")
        before = slope
        if a >= 8:
            limit = 4 * a / (3 * math.sqrt(2 * math.pi))
            tally.add(slope / limit - 1, 2 / a, f"C'(1) of tanh({a:g} x) is {slope:.6g}, not about {limit:.6g}")
            c = np.linspace(-0.9, 0.9, 7)
            gap = float(np.abs(maps.c(c) - 2 / math.pi * np.arcsin(c)).max())
            tally.add(gap, 1 / a, f"C of tanh({a:g} x) is {gap:.3g} from (2/pi) asin c")
    return tally.outcome()


def _input_scale(a: float) -> float:
    return solve(Activation.from_sympy(f"tanh({a!r}*u)", length=math.pi / 2 / a), 1.01).transform.input_scale


@checks(
    "dks-44",
    part="scale_free",
    source="DKS 26.1",
    claim="Deep Kernel Shaping does not see a: its input scale for tanh(a x) is the one for tanh divided by a",
    subject=_input_scale,
    broken=lambda a: solve(qc.activation("tanh"), 1.01).transform.input_scale * a,
)
def scale_free(subject: Callable[[float], float], effort: int) -> Outcome:
    """For a below and above 1; both solvers stop at 1e-10."""
    tally, plain = Tally(), solve(qc.activation("tanh"), 1.01).transform.input_scale
    for a in (0.5, 1.5, 3.0):
        tally.add(subject(a) * a / plain - 1, 1e-8, f"the input scale for tanh({a:g} x) is {subject(a):.9g}")
    return tally.outcome()
