"""Solved constants meet their conditions; small input scales: DKS, sections 18.4 and 18.5."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import cache, lru_cache

import mpmath as mp
import numpy as np
import sympy
from numpy.typing import NDArray

import qcmap as qc
from qcmap.numeric import Transform, conditions
from theory_checks.oracles import ACTIVATIONS, moments, precise
from theory_checks.registry import Outcome, Tally, checks

Solver = Callable[[str, int, float], Transform]


def library(name: str, depth: int, zeta: float) -> Transform:
    """The constants of an MLP of this depth, by qcmap."""
    return qc.dks(qc.zoo.mlp(depth, activation=name), zeta)[name]


def _seven_digits(name: str, depth: int, zeta: float) -> Transform:
    """The same constants rounded to seven digits."""
    exact = library(name, depth, zeta)
    return Transform(exact.activation, **{key: float(f"{value:.7g}") for key, value in exact.constants.items()})


def _settings(effort: int) -> Iterator[tuple[str, int, float]]:
    depths, zetas = (20, 100, 1000), (1.01, 1.5, 100.0)
    names = ("tanh", "erf", "softplus", "swish", "gelu", "selu", "elu")
    for k, name in enumerate(names):
        for step in range(min(effort, 3) + 1):
            yield name, depths[(k + step) % 3], zetas[(k + 2 * step + step // 2) % 3]


@checks(
    "dks-30",
    part="conditions",
    source="DKS 17.3, 18.4",
    claim="The solved constants give Q(1) = 1, Q'(1) = 1, C(0) = 0 and C'(1) = psi with mu(psi) = psi^D = zeta",
    subject=library,
    broken=_seven_digits,
)
@precise
def solved(subject: Solver, effort: int) -> Outcome:
    """Each condition of the float64 constants by 30-digit integrals that break at the moved kinks."""
    tally = Tally()
    for name, depth, zeta in _settings(effort):
        t = subject(name, depth, zeta)
        found = moments(ACTIVATIONS[name], t.input_scale, t.input_shift)
        gamma, mean = mp.mpf(t.output_scale), found.mean + mp.mpf(t.output_shift)
        q = gamma**2 * (found.variance + mean**2)
        psi = mp.mpf(zeta) ** (mp.mpf(1) / depth)
        # E[f f' x] = gamma^2 (E[(phi - m) phi' x] + (m + delta) E[phi' x]); the last term is zero to rounding squared.
        residuals = {
            "Q(1)": q - 1,
            "Q'(1)": gamma**2 * found.variance * found.q_slope - 1,
            "C(0)": (gamma * mean) ** 2 / q,
            "C'(1)": gamma**2 * found.variance * found.c_slope / q - psi,
        }
        for condition, residual in residuals.items():
            where = f"{name}, depth {depth}, zeta {zeta:g}"
            tally.add(residual, 1e-12, f"{condition} is off by {mp.nstr(residual, 3)} for {where}")
    return tally.outcome()


def normalised_slope(name: str, scale: float, shift: float) -> float:
    """C'(1) with output constants as in section 18.4, by qcmap."""
    act = qc.activation(name)
    mean = float(qc.local_maps(name, Transform(act, scale, shift)).mean())
    return conditions(Transform(act, scale, shift, -mean)).dc1


def _uncentred(name: str, scale: float, shift: float) -> float:
    """C'(1) without the output shift."""
    return conditions(Transform(qc.activation(name), scale, shift)).dc1


@checks(
    "dks-30",
    part="small_scale",
    source="DKS 18.5, Prop. 26",
    claim="If phi'(beta) is not 0, C'(1) -> 1 as alpha -> 0, like 1 + alpha^2 phi''(beta)^2 / (2 phi'(beta)^2)",
    subject=normalised_slope,
    broken=_uncentred,
)
def small_scale(subject: Callable[[str, float, float], float], effort: int) -> Outcome:
    """The rate is from Taylor's formula in alpha x, with derivatives by sympy; its own error is O(alpha^4).

    E phi'^2 = p^2 + alpha^2 (s^2 + p t), Var phi = alpha^2 p^2 + alpha^4 (s^2 / 2 + p t), for the derivatives
    p, s, t at beta. Where phi'(beta) = 0 the limit is 2 instead: phi is locally a square.
    """
    random, tally, u = np.random.default_rng(185), Tally(), sympy.Symbol("u", real=True)
    for name in ("tanh", "softplus", "swish", "erf", "bentid", "sin", "gelu"):
        phi = qc.activation(name).sympy
        for beta in (float(b) for b in random.uniform(-1, 1, 2 * effort)):
            first, second = (float(sympy.diff(phi, u, k).subs(u, beta).evalf()) for k in (1, 2))
            if abs(first) < 0.1:
                continue
            for alpha in (0.03, 0.01, 0.003):
                rate = alpha**2 * second**2 / (2 * first**2)
                value = subject(name, alpha, beta)
                size = alpha**4 * (1 + 1 / first**4) * 20 + 1e-12 / alpha**2 * 1e-2
                where = f"{name}, alpha = {alpha:g}, beta = {beta:.4g}"
                tally.add(value - 1 - rate, size, f"C'(1) is 1 + {rate:.4g}, not {value:.10g}, for {where}")
    limit = subject("cos", 0.003, 0.0)
    tally.add(limit - 2, 1e-3, f"cos at beta = 0 has the limit 2, not {limit:.6g}")
    return tally.outcome(f"cos at beta = 0, where phi' vanishes: C'(1) -> {limit:.6f}")


Gaussian = tuple[NDArray[np.float64], NDArray[np.float64]]
"""Points x > 0 and weights of sum 1."""


@cache
def _half_line() -> Gaussian:
    """Midpoints in 1/x with the normal density, for integrands that oscillate in 1/x: x from 1/60 to 9."""
    v = np.linspace(1 / 9, 60, 200_001)
    v = (v[1:] + v[:-1]) / 2
    weights = np.exp(-1 / (2 * v * v)) / v**2
    return 1 / v, weights / weights.sum()


@lru_cache(maxsize=64)
def bent_slope(smooth: bool, k: int, alpha: float) -> float:
    """C'(1) = alpha^2 E phi'(alpha x)^2 / Var phi(alpha x) of u + k u^2, or of u + k u^2 sin(1/u), at beta = 0.

    The second has phi'(u) = 1 + 2 k u sin(1/u) - k cos(1/u), phi'(0) = 1 and no limit of phi' at 0. Its C'(1) tends to
    1 + k^2/2, as the square of the cosine has the mean 1/2 and phi(alpha x) / alpha tends to x. It is odd, as is the
    identity; the parabola has the mean k alpha^2.
    """
    x, weights = _half_line()
    u = alpha * x
    if smooth:
        return (1 + 4 * k**2 * alpha**2) / (1 + 2 * k**2 * alpha**2)
    value, slope = u + k * u**2 * np.sin(1 / u), 1 + 2 * k * u * np.sin(1 / u) - k * np.cos(1 / u)
    return float(alpha**2 * (weights @ slope**2) / (weights @ value**2))


Covered = Callable[[bool, int], bool]
"""Whether the hypotheses hold for u + k u^2 (smooth) or u + k u^2 sin(1/u)."""


@checks(
    "dks-30",
    part="differentiable",
    variant="as_printed",
    source="DKS 18.5, Prop. 26",
    claim="If phi'(beta) exists and is not 0, C'(1) -> 1 as alpha -> 0",
    subject=lambda smooth, k: True,
    broken=lambda smooth, k: smooth or k == 0,
)
@checks(
    "dks-30",
    part="differentiable",
    variant="corrected",
    source="DKS 18.5, Prop. 26",
    claim="If phi' is continuous at beta, as the proof assumes, and not 0 there, C'(1) -> 1; u + k u^2 sin(1/u) has "
    "phi'(0) = 1 and the limit 1 + k^2/2",
    subject=lambda smooth, k: smooth or k == 0,
    broken=lambda smooth, k: True,
)
def differentiable(subject: Covered, effort: int) -> Outcome:
    """Input scales down to 2^-8; and the limit of what is not covered."""
    tally = Tally()
    for smooth in (True, False):
        for k in range(3 + effort):
            if subject(smooth, k):
                for j in (5, 8):
                    found = bent_slope(smooth, k, 2.0**-j)
                    name = f"u + {k} u^2" + ("" if smooth else " sin(1/u)")
                    tally.add(found - 1, 0.1, f"{name} has C'(1) = {found:.4f} at alpha = 2^-{j}")
    for k in (1, 2, 3):
        found = bent_slope(False, k, 2.0**-8)
        tally.add(0.0 if abs(found - 1 - k * k / 2) < 0.05 * k * k else math.nan, 1.0, f"the limit is not {found:.4f}")
    return tally.outcome()


@lru_cache(maxsize=64)
def flat_second_moment(power: int, alpha: float) -> float:
    """E phi_hat(x)^2 of u^n with the output constants of section 18.4 at beta = 0, by Gauss-Hermite quadrature."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(30)
    weights = weights / weights.sum()
    value = (alpha * nodes) ** power
    centred = value - weights @ value
    return float(weights @ (centred / math.sqrt(weights @ centred**2)) ** 2)


@checks(
    "dks-30",
    part="flat_point",
    variant="as_printed",
    source="DKS 18.5, after Prop. 26",
    claim="If phi'(beta) = 0, phi_hat tends to the zero function as alpha -> 0, whose C map is undefined",
    subject=0.0,
    broken=1.0,
)
@checks(
    "dks-30",
    part="flat_point",
    variant="corrected",
    source="DKS 18.5, after Prop. 26 (ours)",
    claim="gamma keeps E phi_hat(x)^2 = 1; with phi - phi(beta) like u^n, phi_hat tends to (x^n - E x^n) / std x^n and "
    "C'(1) to n^2 E x^(2n-2) / Var x^n: 2 for n = 2, not 1",
    subject=1.0,
    broken=0.0,
)
def flat_point(subject: float, effort: int) -> Outcome:
    """Powers 2 to 5 at falling input scales; the slope of u^2 by qcmap."""
    tally = Tally()
    for power in range(2, 5 + effort):
        for j in (2, 6, 10):
            found = flat_second_moment(power, 2.0**-j)
            tally.add(found - subject, 1e-9, f"u^{power} has E phi_hat^2 = {found:.6g} at alpha = 2^-{j}")
    found = normalised_slope("square", 2.0**-6, 0.0)
    tally.add(0.0 if abs(found - 2) < 1e-9 else math.nan, 1.0, f"C'(1) of u^2 is {found:.9g}")
    return tally.outcome()
