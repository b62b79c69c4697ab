"""The edge of chaos: DKS, section 26.4 and its footnote 21."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, Literal

import mpmath as mp
import numpy as np

from qcmap.numeric import edge_of_chaos, edge_of_chaos_curve, local_maps
from theory_checks.oracles import ACTIVATIONS, hermite, precise, rule, second_moment
from theory_checks.registry import Array, Outcome, Tally, checks

Point = tuple[float, float]
"""(bias variance, fixed point)."""


def _energy(name: str, q: Any) -> Any:
    """E phi'(sqrt(q) x)^2 at 30 digits."""
    phi, root = ACTIVATIONS[name], mp.sqrt(q)
    nodes = rule(tuple(k / root for k in phi.kinks), width=2 / max(1.0, float(root)))
    return mp.fsum(w * phi.slope(root * x) ** 2 for x, w in nodes)


def _solved(weight_variance: float) -> Point:
    found = edge_of_chaos("tanh", weight_variance=weight_variance)
    return found.bias_variance, found.q_star


def _at_the_output(weight_variance: float) -> Point:
    """The q value after the activation, mistaken for the one before it."""
    bias, q = _solved(weight_variance)
    return bias, float(local_maps("tanh").q(q))


@checks(
    "dks-46",
    part="tanh",
    source="DKS 26.4, 28.5.6",
    claim="tanh with variances 1.01/k of weights, 1.654355e-7 of biases has C'(1) = 1 at the fixed point q* = 5.037e-3",
    subject=_solved,
    broken=_at_the_output,
)
@precise
def tanh(subject: Callable[[float], Point], effort: int) -> Outcome:
    """The two equations at 30 digits for the point found, and its printed digits; other weight variances as well."""
    tally = Tally()
    bias, q = subject(1.01)
    tally.add(bias / 1.654355e-7 - 1, 3.1e-7, f"the bias variance is {bias:.9g}")
    tally.add(q / 5.037e-3 - 1, 1e-4, f"q* is {q:.6g}")
    for weight in (1.01, 1.05, 1.7, 3.0, *(float(w) for w in np.random.default_rng(46).uniform(1.01, 4, effort))):
        bias, q = (mp.mpf(x) for x in subject(weight))
        slope, value = weight * _energy("tanh", q), weight * second_moment(ACTIVATIONS["tanh"], q) + bias
        tally.add(slope - 1, 1e-12, f"C'(1) is {mp.nstr(slope, 15)} at weight variance {weight:.4g}")
        tally.add((value - q) / q, 1e-12, f"V(q*) / q* is {mp.nstr(value / q, 15)} at weight variance {weight:.4g}")
    return tally.outcome()


@lru_cache(maxsize=256)
def _bias(name: str, q: float) -> Any:
    """q - Q(q) / E phi'^2 at 30 digits."""
    return mp.mpf(q) - second_moment(ACTIVATIONS[name], q) / _energy(name, mp.mpf(q))


def _curve(name: str, q: float) -> float:
    return float(edge_of_chaos_curve(name, q).bias_variance)


def _without_mean(name: str, q: float) -> float:
    found = edge_of_chaos_curve(name, q)
    return float(found.bias_variance + found.weight_variance * local_maps(name).mean(q) ** 2)


@checks(
    "dks-46",
    part="curve",
    source="DKS 26.4 (ours)",
    claim="C'(1) = 1 at q* needs the bias variance (q* E(f'-a)^2 - E(f-m-a u)^2 - m^2) / E f'^2: positive for odd "
    "nonlinear phi at every q*, never for softplus",
    subject=_curve,
    broken=_without_mean,
)
@precise
def curve(subject: Callable[[str, float], float], effort: int) -> Outcome:
    """Against q* - Q(q*) / E phi'^2 at 30 digits; odd functions have no mean, so the broken subject fails on others."""
    tally = Tally()
    for name, sign in (("tanh", 1), ("hardtanh", 1), ("softplus", -1), ("gelu", 0)):
        for q in (0.5, 3.0, *(float(q) for q in np.random.default_rng(461).uniform(0.2, 12, effort - 1))):
            exact = _bias(name, q)
            found = subject(name, q)
            tally.add(
                found - exact, 1e-13 * q, f"b of {name} at q* = {q:.3g} is {mp.nstr(exact, 12)}, not {found:.12g}"
            )
            if sign:
                tally.add(float(mp.sign(exact) != sign), 0.5, f"b of {name} at q* = {q:.3g} is {mp.nstr(exact, 6)}")
    return tally.outcome()


Fate = Literal["to 1", "elsewhere"]


def printed_fate(slope: float) -> Fate:
    """The rule as printed: C'(1) > 1 indicates rapid convergence of the c values to 1."""
    return "to 1" if slope > 1 else "elsewhere"


def corrected_fate(slope: float) -> Fate:
    """What holds: c values leave 1 if C'(1) > 1 and converge to 1 if C'(1) < 1."""
    return "to 1" if slope < 1 else "elsewhere"


def _series(random: np.random.Generator) -> Array:
    """Coefficients b_n >= 0 with sum 1: a positive definite function with C(1) = 1."""
    b = random.exponential(size=7) * (random.random(7) < 0.6)
    b[0] += 0.05
    b[2 + int(random.integers(5))] += 0.1
    return b / b.sum()


@lru_cache(maxsize=8)
def _layer(name: str, weight: float, bias: float) -> Array:
    """The series of a layer's C map at the fixed point of its q values, by 30-digit Hermite coefficients."""
    q = mp.mpf(1)
    for _ in range(12):
        q = weight * second_moment(ACTIVATIONS[name], q) + bias
    a = hermite(ACTIVATIONS[name], q, 40)
    b = np.array([float(weight * x * x / q) for x in a])
    b[0] += float(bias / q)
    # What 12 steps and 40 terms leave out, less than 1e-3, counts as one more term; C'(1) is far from 1.
    return np.append(b, 1 - b.sum())


def _value(b: Array, c: float) -> float:
    return float(np.polynomial.polynomial.polyval(c, b))


_CLAIM = "With C'(1) > 1 the c values {0}, with C'(1) < 1 they {1}"


@checks(
    "dks-46",
    part="cases",
    variant="as_printed",
    source="DKS 26.4",
    claim=_CLAIM.format("rapidly converge to 1", "rapidly converge to a value below 1"),
    subject=printed_fate,
    broken=corrected_fate,
)
@checks(
    "dks-46",
    part="cases",
    variant="corrected",
    source="DKS 26.4",
    claim=_CLAIM.format("leave 1 for a value below it", "converge to 1"),
    subject=corrected_fate,
    broken=printed_fate,
)
@precise
def cases(subject: Callable[[float], Fate], effort: int) -> Outcome:
    """Iterating random positive definite functions with C'(1) away from 1, and two layers of tanh."""
    random, tally = np.random.default_rng(462), Tally()
    maps = [(f"the series {np.array2string(b, precision=3)}", b) for b in (_series(random) for _ in range(60 * effort))]
    maps += [
        ("tanh with weight variance 4 and bias variance 0.05", _layer("tanh", 4.0, 0.05)),
        ("tanh with weight variance 1 and bias variance 0.5", _layer("tanh", 1.0, 0.5)),
    ]
    for what, b in maps:
        slope = float(np.sum(np.arange(b.size) * b))
        if abs(slope - 1) < 0.05:
            continue
        c = 0.3
        for _ in range(1000):
            c = _value(b, c)
        fate = "to 1" if c > 1 - 1e-6 else "elsewhere"
        tally.add(float(subject(slope) != fate), 0.5, f"{what} has C'(1) = {slope:.4g} and sends 0.3 to {c:.6g}")
    return tally.outcome()


@checks(
    "dks-46",
    part="rate",
    source="DKS 26.4",
    claim="On the edge, C'(1) = 1, the c values converge to 1 at a sub-exponential rate: 1 - c is about 2/(C''(1) n)",
    subject=lambda curvature, n: 2 / (curvature * n),
    broken=lambda curvature, n: 1 / (curvature * n),
)
def rate(subject: Callable[[float, int], float], effort: int) -> Outcome:
    """Random positive definite functions with C'(1) = 1: b_0 = sum (n-1) b_n. The correction is of order log(n)/n."""
    random, tally = np.random.default_rng(463), Tally()
    for _ in range(10 * effort):
        b = np.zeros(6)
        b[2:] = random.exponential(size=4) * 0.05
        b[0] = np.sum(np.arange(1, 5) * b[2:])
        b *= min(1.0, 0.9 / b.sum())
        b[1] = 1 - b.sum()
        degree = np.arange(6)
        curvature, steps, c = float(np.sum(degree * (degree - 1) * b)), 20_000, 0.0
        for _ in range(steps):
            c = _value(b, c)
        want = subject(curvature, steps)
        tally.add((1 - c) / want - 1, 0.05, f"C''(1) = {curvature:.3g}: after {steps} steps 1 - c = {1 - c:.4g}")
    return tally.outcome()


@checks(
    "dks-46",
    part="footnote_21",
    source="DKS 26.4, footnote 21",
    claim="If C(0) = 0 then C'(0) >= 2 - C'(1): sum b_n = 1 and C'(1) = sum n b_n >= b_1 + 2 (1 - b_1)",
    subject=lambda slope: 2 - slope,
    broken=lambda slope: 1 / slope,
)
@precise
def footnote(subject: Callable[[float], float], effort: int) -> Outcome:
    """Random series with b_0 = 0, c and c^2 mixed (equality), and activations with mean zero at 30 digits."""
    random, tally = np.random.default_rng(464), Tally()
    for k in range(100 * effort):
        b = _series(random)
        b[0], b[1] = 0.0, b[1] + 0.1
        if k % 10 == 0:
            b[3:] = 0.0
        b /= b.sum()
        slope = float(np.sum(np.arange(b.size) * b))
        tally.add(max(0.0, subject(slope) - b[1]), 1e-13, f"C'(1) = {slope:.5g} and C'(0) = {b[1]:.5g}")
    for name in ("tanh", "erf", "selu"):
        a = hermite(ACTIVATIONS[name], 1, 2)
        moment, energy = second_moment(ACTIVATIONS[name], 1), _energy(name, mp.mpf(1))
        start, slope = a[1] ** 2 / moment, energy / moment
        tally.add(max(0, subject(float(slope)) - start), 1e-13, f"{name}: C'(1) = {mp.nstr(slope, 6)}")
    return tally.outcome()
