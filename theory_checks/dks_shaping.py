"""Solved constants meet their conditions; small input scales: DKS, sections 18.4 and 18.5."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import mpmath as mp
import numpy as np
import sympy

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
