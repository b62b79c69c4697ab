"""Tangent kernels of deep networks: degenerate limits (DKS, 24.5 and appendix H) and those of shaped ones (24.6)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np

import qcmap as qc
from qcmap.numeric import (
    DegenerateKernel,
    degenerate_kernel,
    edge_alpha_bar,
    edge_alphas,
    ntk,
    tangent_deviation,
    theorem_27,
)
from theory_checks.dks_tangent import graphs
from theory_checks.registry import Array, Outcome, Tally, checks

Map = tuple[Callable[[Array], Array], Callable[[Array], Array]]
"""A local C map and its derivative."""


def numeric(arch: qc.Architecture, c: float, q1: float, q2: float) -> dict[str, float]:
    """By qcmap's numeric layer, for the first output."""
    return {name: float(term) for name, term in ntk(arch, c, q1, q2, target=arch.outputs[0]).terms.items()}


def _at_the_mean_q(arch: qc.Architecture, c: float, q1: float, q2: float) -> dict[str, float]:
    """As if both inputs had the geometric mean of their q values; right for homogeneous networks only."""
    return numeric(arch, c, (q1 * q2) ** 0.5, (q1 * q2) ** 0.5)


checks(
    "dks-39",
    part="numeric",
    source="DKS 24.4 (graphs: ours)",
    claim="In any graph Theta_v = m_v dm_out/dm_v for the parameters of the affine node v, in floating point",
    subject=numeric,
    broken=_at_the_mean_q,
)(graphs)


def series(b: Array) -> Map:
    """The C map sum b_n c^n."""
    polynomial = np.polynomial.Polynomial(b)
    return polynomial, polynomial.deriv()


def _relu(c: Array) -> Array:
    return (np.sqrt((1 - c) * (1 + c)) + (math.pi - np.arccos(c)) * c) / math.pi


def _relu_slope(c: Array) -> Array:
    return 1 - np.arccos(c) / math.pi


RELU: Map = (_relu, _relu_slope)


def layers(local: Map, c: float, depth: int) -> Array:
    """Theta_1 to Theta_D of D - 1 nonlinear layers and a linear one, q values 1, by equation (23)."""
    value, slope = local
    cs = [c]
    for _ in range(depth - 1):
        cs.append(min(1.0, float(value(np.asarray(cs[-1])))))
    at = np.array(cs)
    return at * np.append(np.cumprod(slope(at[:-1])[::-1])[::-1], 1.0)


def _coefficients(random: np.random.Generator, slope: float) -> Array:
    """Random b_n >= 0, n = 0 to 5, of sum 1 with C'(1) = sum n b_n = ``slope``."""
    while True:
        b, powers = random.uniform(0.05, 1, 6), np.arange(6)
        b /= b.sum()
        # Mix with a constant or the fifth power.
        end = 0 if b @ powers > slope else 5
        t = (b @ powers - slope) / (b @ powers - end)
        if 0 <= t < 1:
            b *= 1 - t
            b[end] += t
            return b


def _edge_cases(random: np.random.Generator, effort: int) -> Iterator[tuple[str, Map, float]]:
    """Maps at the edge of chaos with the power p of 1 - c in C(c) - c."""
    yield "relu", RELU, 1.5
    yield "(1 + c^2) / 2", series(np.array([0.5, 0.0, 0.5])), 2.0
    for _ in range(2 * effort):
        b = _coefficients(random, 1.0)
        yield f"sum b_n c^n, b = {b.round(3).tolist()}", series(b), 2.0


def _always_smooth(depth: int, power: float) -> Array:
    return edge_alphas(depth, 2.0)


@checks(
    "dks-40",
    part="alpha",
    source="DKS 24.5.2, H.1 (conjectured there; the formula is ours)",
    claim="If c* = 1 and C'(1) = 1, K_i = I + alpha_i (E - I) with alpha_i = (i/D)^(p/(p-1)): (i/D)^3 for relu, "
    "(i/D)^2 for smooth phi",
    subject=edge_alphas,
    broken=_always_smooth,
)
def alphas(subject: Callable[[int, float], Array], effort: int) -> Outcome:
    """At depth 10,000 for two c values each: all alpha_i to 0.002, twice log(D)/D, and that they grow with i."""
    random, tally, depth = np.random.default_rng(40), Tally(), 10_000
    for name, local, power in _edge_cases(random, effort):
        predicted = subject(depth, power)
        for c in (-0.2, 0.6):
            found = layers(local, c, depth)
            worst = int(np.abs(found - predicted).argmax())
            witness = f"alpha_{worst + 1} of {name} is {found[worst]:.4g}, not {predicted[worst]:.4g}"
            tally.add(found[worst] - predicted[worst], 0.002, witness)
            tally.add(min(0.0, float(np.diff(found[100:]).min())), 1e-12, f"the alpha_i of {name} do not grow")
    return tally.outcome()


@checks(
    "dks-40",
    part="alpha-bar",
    source="DKS 24.5.2, H.2 (observed there; the formula is ours)",
    claim="alpha-bar = (p-1)/(2p-1) for C(c) = c + k (1-c)^p + ...: 1/4 for relu, 1/3 for smooth phi",
    subject=edge_alpha_bar,
    broken=lambda power: 1 / 3,
)
def alpha_bar(subject: Callable[[float], float], effort: int) -> Outcome:
    """The mean of the alpha_i at depth 10,000; the broken subject is the universal 1/3 of Xiao et al. (2020)."""
    random, tally, depth = np.random.default_rng(401), Tally(), 10_000
    for name, local, power in _edge_cases(random, effort):
        found = float(layers(local, 0.3, depth).mean())
        tally.add(found - subject(power), 0.001, f"alpha-bar of {name} is {found:.4g}, not {subject(power):.4g}")
    return tally.outcome()


Degenerate = Callable[[int, float, float | None, float | None], DegenerateKernel]
"""Depth, C'(1), c* and C'(c*) (None in the collapsing case) to the estimate."""


def estimate(depth: int, slope: float, star: float | None, star_slope: float | None) -> DegenerateKernel:
    """By qcmap."""
    return degenerate_kernel(depth, slope, fixed_point=star, fixed_point_slope=star_slope)


def _without_fixed_point(depth: int, slope: float, star: float | None, star_slope: float | None) -> DegenerateKernel:
    """1/(1 - C'(c*)) as in Xiao et al. (2020); in the collapsing case one layer less."""
    right = estimate(depth, slope, star, star_slope)
    off = slope / (1 - slope) if star_slope is None else 1 / (1 - star_slope)
    parts = (right.layer_diagonals, right.layer_off_diagonals)
    return DegenerateKernel(right.case, depth, *parts, right.diagonal, off)


@checks(
    "dks-40",
    part="collapsing",
    source="DKS 24.5.2, H.1, H.2",
    claim="If C'(1) < 1, K = E/(1 - C'(1)) and late layers have K_i = C'(1)^(D-i) E in the limit of depth",
    subject=estimate,
    broken=_without_fixed_point,
)
def collapsing(subject: Degenerate, effort: int) -> Outcome:
    """Random C maps at depth 400: both entries of K and of the last ten layers."""
    random, tally, depth = np.random.default_rng(402), Tally(), 400
    for _ in range(6 * effort):
        slope, c = float(random.uniform(0.2, 0.9)), float(random.uniform(-0.6, 0.9))
        b = _coefficients(random, slope)
        off, on, claimed = layers(series(b), c, depth), layers(series(b), 1.0, depth), subject(depth, slope, None, None)
        tally.add(off.sum() / claimed.off_diagonal - 1, 1e-9, f"K(x, x') is {off.sum():.6g} for C'(1) = {slope:.4g}")
        tally.add(on.sum() / claimed.diagonal - 1, 1e-9, f"K(x, x) is {on.sum():.6g} for C'(1) = {slope:.4g}")
        gap = float(np.abs(off[-10:] / claimed.layer_off_diagonals[-10:] - 1).max())
        tally.add(gap, 1e-9, f"the late layers for C'(1) = {slope:.4g} are off by {gap:.3g}")
        tally.add(float(np.abs(off[: depth // 2]).max()), 1e-6, "an early layer's kernel is not small")
    return tally.outcome()


@checks(
    "dks-40",
    part="exploding",
    source="DKS 24.5.2, H.1, H.2",
    claim="If C'(1) > 1, K = (1 - C'(1)^D)/(1 - C'(1)) I + c*/(1 - C'(c*)) (E - I) in the limit of depth",
    subject=estimate,
    broken=_without_fixed_point,
)
def exploding(subject: Degenerate, effort: int) -> Outcome:
    """Random C maps at depth 150; the broken subject has 1/(1 - C'(c*)), as in Xiao et al. (2020)."""
    random, tally, depth = np.random.default_rng(403), Tally(), 150
    for _ in range(6 * effort):
        slope, c = float(random.uniform(1.3, 2.5)), float(random.uniform(-0.6, 0.9))
        b = _coefficients(random, slope)
        value, derivative = series(b)
        star = 0.5
        for _step in range(2000):
            star = float(value(np.asarray(star)))
        rate = float(derivative(np.asarray(star)))
        off, on = (layers((value, derivative), start, depth) for start in (c, 1.0))
        claimed = subject(depth, slope, star, rate)
        where = f"C'(1) = {slope:.4g}, c* = {star:.4g}, C'(c*) = {rate:.4g}"
        tally.add(off.sum() - claimed.off_diagonal, 1e-6, f"K(x, x') is {off.sum():.6g} for {where}")
        tally.add(on.sum() / claimed.diagonal - 1, 1e-9, f"K(x, x) is {on.sum():.6g} for {where}")
        gap = float(np.abs(off[-10:] - claimed.layer_off_diagonals[-10:]).max())
        tally.add(gap, 1e-6, f"the late layers for {where} are off by {gap:.3g}")
    return tally.outcome()


def _polynomials(random: np.random.Generator, zeta: float, depth: int) -> Array:
    """C(0) = 0 and C'(1) = zeta^(1/(D-1)): c mixed with powers, the square alone every third time."""
    psi = zeta ** (1 / (depth - 1))
    weights = random.uniform(0, 1, 4) ** 3
    if random.random() < 1 / 3:
        weights[1:] = 0
    weights /= weights.sum()
    b = np.concatenate([[0.0, 0.0], weights])
    share = (psi - 1) / (b @ np.arange(6) - 1)
    if share > 1:  # the square cannot reach this slope
        return _polynomials(random, zeta, depth)
    b *= share
    b[1] = 1 - share
    return b


def _least(zeta: float) -> float:
    return 2.9 * (zeta - 1)


@checks(
    "dks-41",
    part="theorem",
    source="DKS 24.6, Theorem 27",
    claim="Under DKS abs(Theta_i(x, x') - x.x'/d) <= 11 (zeta - 1)",
    subject=theorem_27,
    broken=_least,
)
@checks(
    "dks-41",
    part="sharper",
    source="DKS 24.6, H.3 (the constant is ours)",
    claim="Under DKS abs(Theta_i(x, x') - x.x'/d) <= 3 (zeta - 1), and no smaller constant will do",
    subject=tangent_deviation,
    broken=_least,
)
def near_the_inputs(subject: Callable[[float], float], effort: int) -> Outcome:
    """Polynomial C maps with C(0) = 0, with C = (1-b) c + b c^2 at D = 2 among them, and shaped chains of qcmap."""
    random, tally = np.random.default_rng(41), Tally()
    cs = np.cos(np.linspace(0, math.pi, 41))
    for k in range(60 * effort):
        zeta, depth = 1 + float(10 ** random.uniform(-3, 0)), 2 if k % 4 == 0 else int(random.integers(2, 20))
        b = _polynomials(random, zeta, depth)
        found = np.array([layers(series(b), float(c), depth) for c in cs])
        gap = float(np.abs(found - cs[:, None]).max())
        witness = f"a Theta_i is {gap:.4g} from c for zeta = {zeta:.4g}, D = {depth}, b = {b.round(4).tolist()}"
        tally.add(gap, subject(zeta) * (1 + 1e-9), witness)
    for name in ("tanh", "softplus", "relu"):
        for zeta in (1.05, 2.0):
            arch = qc.zoo.mlp(8, activation=name)
            kernel = ntk(arch, cs, 1.0, 1.0, shaping=qc.dks(arch, zeta))
            gap = max(float(np.abs(term - cs).max()) for term in kernel.terms.values())
            tally.add(gap, subject(zeta) * (1 + 1e-9), f"a Theta_i of {name} is {gap:.4g} from c for zeta = {zeta}")
    return tally.outcome()


@checks(
    "dks-40",
    part="case",
    variant="as_printed",
    source="DKS H.2",
    claim="When c* = 1 and C'(1) < 1, the observed form K_i = I + alpha_i (E - I) has the diagonal 1",
    subject=lambda slope: slope < 1,
    broken=lambda slope: slope == 1,
)
@checks(
    "dks-40",
    part="case",
    variant="corrected",
    source="DKS H.2",
    claim="When c* = 1 and C'(1) = 1, as in the table of 24.5.2; for C'(1) < 1 the diagonal is C'(1)^(D-i)",
    subject=lambda slope: slope == 1,
    broken=lambda slope: slope < 1,
)
def collapsing_case(subject: Callable[[float], bool], effort: int) -> Outcome:
    """Theta_i at c = 1 of 20 layers with C = 1 - s + s (c + c^2 + c^3) / 6."""
    tally, depth = Tally(), 20
    for eighth in range(1, 9):
        if subject(eighth / 8):
            found = layers(series(tame_map(eighth / 8)), 1.0, depth)
            for i in (1, depth // 2, depth):
                witness = f"C'(1) = {eighth}/8, layer {i} of {depth}: the diagonal is {found[i - 1]:.4g}"
                tally.add(float(found[i - 1]) - 1, 1e-12, witness)
    return tally.outcome()


def tame_map(slope: float) -> Array:
    """The series of a C map with C'(1) = ``slope`` at most 1: a constant and equal parts of c, c^2 and c^3."""
    return np.array([1 - slope / 2, slope / 6, slope / 6, slope / 6])
