"""Positively homogeneous activations have three degrees of freedom: DKS, section 18.6."""

from __future__ import annotations

import math
from collections.abc import Callable

import mpmath as mp
import numpy as np
from numpy.typing import NDArray

import qcmap as qc
from qcmap.numeric import Transform, conditions, solve
from theory_checks.oracles import ACTIVATIONS, moments, precise, two_slopes
from theory_checks.registry import Outcome, Tally, checks

Constants = tuple[float, float, float, float]
"""(input_scale, input_shift, output_shift, output_scale)."""


def reduced(constants: Constants, degree: int) -> Constants:
    """The same function with input_scale 1 or -1: the paper's beta-tilde, delta-tilde, gamma-tilde."""
    a, b, d, g = constants
    return math.copysign(1.0, a), b / abs(a), d / abs(a) ** degree, g * abs(a) ** degree


def _reduced_linearly(constants: Constants, degree: int) -> Constants:
    return reduced(constants, 1)


@checks(
    "dks-31",
    part="reduction",
    source="DKS 18.6",
    claim="If phi(l u) = l^k phi(u), a transform is one with input_scale 1 or -1: three constants are left",
    subject=reduced,
    broken=_reduced_linearly,
)
def reduction(subject: Callable[[Constants, int], Constants], effort: int) -> Outcome:
    """The two functions at random points, for random constants of both signs."""
    random, tally, u = np.random.default_rng(31), Tally(), np.linspace(-5, 5, 41)
    for name, degree in (("relu", 1), ("leaky_relu", 1), ("identity", 1), ("square", 2)):
        for _ in range(10 * effort):
            a, b, d, g = (float(z) for z in random.uniform(0.1, 3, 4) * random.choice([-1, 1], 4))
            other = subject((a, b, d, g), degree)
            act = qc.activation(name)
            long, short = (Transform(act, *constants)(u) for constants in ((a, b, d, g), other))
            gap = float(np.abs(long - short).max() / max(1.0, np.abs(long).max()))
            tally.add(gap, 1e-13, f"{name} with {(a, b, d, g)} differs from {other} by {gap:.3g}")
            tally.add(abs(other[0]) - 1, 1e-15, f"input_scale {other[0]}")
    return tally.outcome()


def _jacobian_rank_gap(name: str, constants: NDArray[np.float64]) -> float:
    """The least singular value, over the largest, of d(Q(1), Q'(1), C(0), C'(1)) / d(the four constants)."""

    def values(z: NDArray[np.float64]) -> NDArray[np.float64]:
        found = conditions(Transform(qc.activation(name), *(float(x) for x in z)))
        return np.array([found.q, found.dq, found.c0, found.dc1])

    steps = 1e-4 * np.eye(4)
    columns = [
        (8 * (values(constants + s) - values(constants - s)) - values(constants + 2 * s) + values(constants - 2 * s))
        / 12e-4
        for s in steps
    ]
    singular = np.linalg.svd(np.column_stack(columns), compute_uv=False)
    return float(singular[-1] / singular[0])


@checks(
    "dks-31",
    part="rank",
    source="DKS 18.6",
    claim="The Jacobian of the four conditions in the four constants has rank 3 for homogeneous phi, 4 for tanh, "
    "softplus, selu",
    subject=("relu", "leaky_relu", "square"),
    broken=("relu", "elu", "square"),
)
def rank(subject: tuple[str, ...], effort: int) -> Outcome:
    """At random constants, by finite differences of order four."""
    random, tally = np.random.default_rng(186), Tally()
    for name, degenerate in [(n, True) for n in subject] + [(n, False) for n in ("tanh", "softplus", "selu")]:
        for _ in range(3 * effort):
            constants = random.uniform([0.5, 0.3, 0.2, 0.5], [1.5, 1.0, 1.0, 1.5])
            ratio = _jacobian_rank_gap(name, constants)
            error = ratio if degenerate else 1e-16 / ratio
            tally.add(error, 1e-9, f"{name} has singular values in the ratio {ratio:.2g} at {constants.round(3)}")
    return tally.outcome()


def slopes_of_two(left: float, t: float) -> tuple[float, float]:
    """(Q'(1), C'(1)) of the function with slopes ``left`` and 1 at shift t, normalised as in section 18.4.

    With k = 1 - left, p and P the normal density and distribution at t, m = p + t P, e = m^2 - t m:
    E phi'^2 = left^2 + (1 - left^2) P, Var phi = E phi'^2 - k^2 e, C'(1) = E phi'^2 / Var phi and
    Var phi (Q'(1) - 1) = -k t (left p + k m (1 - P)).
    """
    k, p, mass = 1 - left, math.exp(-t * t / 2) / math.sqrt(2 * math.pi), math.erfc(-t / math.sqrt(2)) / 2
    m = p + t * mass
    energy = left**2 + (1 - left**2) * mass
    variance = energy - k * k * (m * m - t * m)
    return 1 - k * t * (left * p + k * m * (1 - mass)) / variance, energy / variance


def _without_cross_term(left: float, t: float) -> tuple[float, float]:
    q_slope, c_slope = slopes_of_two(left, t)
    return (slopes_of_two(0.0, t)[0], c_slope) if left < 0.3 else (q_slope, c_slope)


@checks(
    "dks-31",
    part="two_slopes",
    source="DKS 18.6 (ours)",
    claim="For slopes l and 1 at t = shift/scale: Var (Q'(1) - 1) = -k t (l p + k m (1-P)); so relu has Q'(1) = 1 at "
    "t = 0 only, where C'(1) = pi/(pi-1), and every slope has it at t = 0",
    subject=slopes_of_two,
    broken=_without_cross_term,
)
@precise
def two_slope_formulas(subject: Callable[[float, float], tuple[float, float]], effort: int) -> Outcome:
    """Against 30-digit integrals, which also have a positive Q'(1) - 1 for t < 0 and a negative one for t > 0."""
    random, tally = np.random.default_rng(187), Tally()
    for t in (-2.0, -0.5, 0.0, 0.5, 2.0, *(float(t) for t in random.uniform(-3, 3, effort))):
        for left in (0.0, 0.2, -0.6):
            want, found = moments(two_slopes(left), 1, t), subject(left, t)
            at = f"at t = {t:.4g}, slope {left:g}"
            tally.add(found[0] - want.q_slope, 1e-12, f"Q'(1) is {mp.nstr(want.q_slope, 12)} {at}")
            tally.add(found[1] / want.c_slope - 1, 1e-12, f"C'(1) is {mp.nstr(want.c_slope, 12)} {at}")
            if left == 0:
                sign = float(mp.sign(want.q_slope - 1)) if t else float(abs(want.q_slope - 1) > 1e-25)
                tally.add(sign + np.sign(t), 0.5, f"relu has Q'(1) = {mp.nstr(want.q_slope, 8)} {at}")
    tally.add(subject(0.0, 0.0)[1] - math.pi / (math.pi - 1), 1e-14, "C'(1) at t = 0 is not pi/(pi-1)")
    return tally.outcome()


@checks(
    "dks-31",
    part="reach",
    source="DKS 18.6 (ours)",
    claim="Leaky relu with a free slope has Q'(1) = 1 exactly at t = 0 or l = -h/(1-h), h = (1-P) m / p, and then "
    "reaches C'(1) up to pi/(pi-2), at t = 0 and l = -1, and no more",
    subject=math.pi / (math.pi - 2),
    broken=math.pi / (math.pi - 1),
)
@precise
def reach(subject: float, effort: int) -> Outcome:
    """Along both curves, with 30-digit integrals on the second: C'(1) stays below its bound, which is attained."""
    tally = Tally()
    for left in np.linspace(-20, 1, 100 * effort):
        slope = slopes_of_two(float(left), 0.0)[1]
        tally.add(max(0.0, slope - subject), 1e-12, f"C'(1) = {slope:.6g} at t = 0, slope {left:.4g}")
    for t in (-3.0, -1.0, -0.1, 0.1, 1.0, 3.0, *(float(t) for t in np.random.default_rng(188).uniform(-4, 4, effort))):
        p, mass = mp.npdf(t), mp.ncdf(t)
        share = (1 - mass) * (p + t * mass) / p
        if abs(1 - share) < 1e-3:
            continue
        found = moments(two_slopes(-share / (1 - share)), 1, t)
        tally.add(found.q_slope - 1, 1e-20, f"Q'(1) is {mp.nstr(found.q_slope, 12)} at t = {t:.4g}")
        tally.add(max(0, found.c_slope - subject), 1e-12, f"C'(1) = {mp.nstr(found.c_slope, 8)} at t = {t:.4g}")
    tally.add(slopes_of_two(-1.0, 0.0)[1] - subject, 1e-12, f"the bound {subject:.6g} is not attained at l = -1")
    return tally.outcome()


def _solved(name: str, psi: float) -> Transform:
    return solve(qc.activation(name), psi).transform


def _fixed_slope(name: str, psi: float) -> Transform:
    """Leaky relu with its slope of 0.01 kept, at the shift that relu has."""
    relu = solve(qc.activation("relu"), psi).transform
    return Transform(qc.activation(name), **relu.constants)


@checks(
    "dks-31",
    part="solved",
    source="DKS 18.6",
    claim="Relu meets Q(1) = 1, C(0) = 0, C'(1) = psi but not Q'(1) = 1; leaky relu meets all four once its "
    "slope is free",
    subject=_solved,
    broken=_fixed_slope,
)
@precise
def solutions(subject: Callable[[str, float], Transform], effort: int) -> Outcome:
    """Constants by 30-digit integrals, for psi from near 1 to nearly pi/(pi-2) = 2.7519, where leaky relu ends."""
    tally = Tally()
    for psi in (1.0001, 1.00406, 1.2, 2.0, 2.75, *np.linspace(1.05, 2.5, effort - 1)):
        for name in ("relu", "leaky_relu"):
            t = subject(name, float(psi))
            left = t.activation.parameters.get("negative_slope", 0.0)
            found = moments(two_slopes(left) if left else ACTIVATIONS["relu"], t.input_scale, t.input_shift)
            gamma = mp.mpf(t.output_scale)
            rows = {
                "Q(1)": gamma**2 * (found.variance + (found.mean + t.output_shift) ** 2) - 1,
                "C(0)": (gamma * (found.mean + t.output_shift)) ** 2,
                "C'(1)": gamma**2 * found.variance * found.c_slope / float(psi) - 1,
            }
            if name == "leaky_relu":
                rows["Q'(1)"] = found.q_slope - 1
            else:
                tally.add(float(abs(found.q_slope - 1) < 1e-5), 0.5, f"relu has Q'(1) = 1 at psi = {psi:g} after all")
            for condition, residual in rows.items():
                tally.add(residual, 1e-11, f"{condition} of {name} is off by {mp.nstr(residual, 3)} at psi = {psi:g}")
    return tally.outcome()
