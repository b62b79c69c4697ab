"""How far C maps and activations are from linear ones: DKS, sections 13.1-13.4 and 14.3, appendices D.1-D.3.

C(c) = sum_i b_i c^i with b_i >= 0 and sum_i b_i = 1, so C(0) = b_0, C'(0) = b_1 and C'(1) = sum_i i b_i.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from fractions import Fraction
from functools import lru_cache, partial

import mpmath as mp
import numpy as np

from theory_checks.dks_cmaps import local_map
from theory_checks.dks_dual import Polynomial, combine, derivative, dual, inner, random_polynomials, shown
from theory_checks.oracles import ACTIVATIONS, Number, Oracle, precise, rule
from theory_checks.positive_definite import Array, Bound, describe, slope, try_bounds, value
from theory_checks.propagation import KERNELS
from theory_checks.registry import Outcome, Tally, checks

GRID: Array = np.sort(np.append(np.cos(np.linspace(0, math.pi, 161)), [-1 / math.sqrt(3), 1 / math.sqrt(3)]))
"""Points of [-1, 1]; the bounds from above are attained at -1, the sharp one from below at -1/sqrt(3)."""
SHARP = 2 / (3 * math.sqrt(3))


def distance(b: Array) -> Array:
    """Max over the grid of abs(C(c) - c)."""
    return np.abs(value(b, GRID) - GRID).max(axis=1)


def slope_distance(b: Array) -> Array:
    """Max over the grid of abs(C'(c) - 1)."""
    return np.abs(slope(b, GRID) - 1).max(axis=1)


def _slope_at_1(b: Array) -> Array:
    return b @ np.arange(b.shape[1])


def _centred(b: Array) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    return b[:, 0] == 0


def theorem(
    below: float = 0.25, above: float = 2.0, slopes: float = 2.0, centred: float = 2.0, centred_slopes: float = 3.0
) -> dict[str, Bound]:
    """Theorem 13, equation (27) and Remark 14 with these constants."""
    return {
        "below": Bound(f"max |C - c| >= {below:.4g} (1 - C'(0))", lambda b: below * (1 - b[:, 1]), distance),
        "above": Bound(f"max |C - c| <= {above:g} (1 - C'(0))", distance, lambda b: above * (1 - b[:, 1])),
        "slopes": Bound(
            f"max |C' - 1| <= {slopes:g} (1 - C'(0)) + C'(1) - 1",
            slope_distance,
            lambda b: slopes * (1 - b[:, 1]) + _slope_at_1(b) - 1,
        ),
        "centred": Bound(
            f"max |C - c| <= {centred:g} (C'(1) - 1) if C(0) = 0",
            distance,
            lambda b: centred * (_slope_at_1(b) - 1),
            _centred,
        ),
        "centred slopes": Bound(
            f"max |C' - 1| <= {centred_slopes:g} (C'(1) - 1) if C(0) = 0",
            slope_distance,
            lambda b: centred_slopes * (_slope_at_1(b) - 1),
            _centred,
        ),
        "(27)": Bound("1 - C'(0) <= C'(1) - 1 if C(0) = 0", lambda b: 2 - b[:, 1], _slope_at_1, _centred),
        "slope at 0": Bound("C'(0) <= 1", lambda b: b[:, 1], lambda b: np.ones(len(b))),
        "slope at 1": Bound("C'(1) >= 1 if C(0) = 0", lambda b: np.ones(len(b)), _slope_at_1, _centred),
    }


@checks(
    "dks-18",
    source="DKS 13.2, D.1, theorem 13, remark 14, (27)",
    claim="(1-C'(0))/4 <= max|C-c| <= 2(1-C'(0)); max|C'-1| <= 2(1-C'(0)) + C'(1)-1; C'(0) <= 1; if C(0) = 0: C'(1) >= "
    "1, max|C-c| <= 2(C'(1)-1), max|C'-1| <= 3(C'(1)-1)",
    subject=theorem(),
    broken=theorem(below=0.39),
)
def deviations(subject: Mapping[str, Bound], effort: int) -> Outcome:
    """Random positive definite functions and C maps of activations; dks-20 tries qcmap's C maps.

    A grid never overstates a maximum, which is harmless for bounds from below; those from above are attained at -1.
    """
    return try_bounds(subject, 18, effort, (3, 24, 80)).outcome()


@checks(
    "dks-18",
    part="sharp",
    source="DKS 13.2 (ours)",
    claim="max|C-c| >= 2/(3 sqrt 3) (1-C'(0)), not just 1/4: attained by c^3; the other constants by c^2",
    subject=theorem(below=SHARP),
    broken=theorem(below=SHARP * (1 + 1e-6)),
)
def sharp(subject: Mapping[str, Bound], effort: int) -> Outcome:
    """C(-t) + t >= b_0 + (1-b_1) t - (1-b_0-b_1) t^3 >= (1-b_1)(t - t^3), largest at t = 1/sqrt(3)."""
    tally = try_bounds(subject, 182, effort, (3, 24, 80))
    square, cube = np.eye(4)[[2]], np.eye(4)[[3]]
    for name, b in (("below", cube), *((n, square) for n in ("above", "slopes", "centred", "centred slopes", "(27)"))):
        gap = float((subject[name].larger(b) - subject[name].smaller(b))[0])
        tally.add(gap, 1e-12, f"{subject[name].claim} leaves {gap:.3g} for {describe(b[0])}")
    return tally.outcome()


@checks(
    "dks-19",
    source="DKS remark 15",
    claim="(1 - j^-1/2) c + j^-1/2 c^j has a slope above sqrt(j) at 1, yet differs from c by 2 j^-1/2 at most, and its "
    "slope from 1 by as much up to |c| = 1 - log(j)/(j-1)",
    subject=0.5,
    broken=0.45,
)
@precise
def steep_at_the_end(subject: float, effort: int) -> Outcome:
    """The power of j is the subject. c^(j-1) <= exp(-(j-1)(1-|c|)) <= 1/j there; j from 2 to 10^12, odd and even."""
    tally = Tally()
    for j in (j for k in range(1, 13) for j in (10**k, 10**k + 1, 2 * 10**k, 3 * 10**k + effort)):
        w = mp.mpf(j) ** -mp.mpf(subject)
        root, edge = mp.sqrt(j), 1 - mp.log(j) / (j - 1)
        tally.add(float(1 - w + w * j <= root), 0.5, f"the slope at 1 is {mp.nstr(1 - w + w * j, 8)} at j = {j}")
        for c in (-mp.mpf(1), -edge, -edge / 2, mp.mpf(0), edge / 3, edge, (1 + edge) / 2):
            gap = w * abs(c**j - c) * root / 2
            tally.add(max(gap - 1, mp.mpf(0)), 1e-20, f"|C - c| is {mp.nstr(gap, 4)} times its bound at j = {j}")
            gap = w * abs(j * c ** (j - 1) - 1) * root / 2 if abs(c) <= edge else mp.mpf(0)
            tally.add(max(gap - 1, mp.mpf(0)), 1e-20, f"|C' - 1| is {mp.nstr(gap, 4)} times its bound at j = {j}")
    return tally.outcome()


@lru_cache(maxsize=64)
def _samples(phi: Oracle, q: float = 1.0) -> list[tuple[Number, Number, Number, Number]]:
    """The rows (x, weight, phi(u), phi'(u)) of a 30-digit rule, u = sqrt(q) x; panels end at the kinks of phi."""
    root = mp.sqrt(q)
    nodes = rule(tuple(k / root for k in phi.kinks), width=2 / max(1.0, float(root)))
    return [(x, w, phi.value(root * x), phi.slope(root * x)) for x, w in nodes]


def nonlinearity(phi: Oracle, *, constant: bool = False) -> Number:
    """nl(phi)^2 = ||phi - <phi, h1> h1||^2 / ||phi||^2, by its definition; ``constant`` removes the mean as well."""
    rows = _samples(phi)
    share = mp.fsum(w * f * x for x, w, f, _ in rows)
    mean = mp.fsum(w * f for _, w, f, _ in rows) if constant else mp.mpf(0)
    rest = mp.fsum(w * (f - mean - share * x) ** 2 for x, w, f, _ in rows)
    return rest / mp.fsum(w * f**2 for _, w, f, _ in rows)


@checks(
    "dks-20",
    source="DKS proposition 16, D.2",
    claim="nl(phi)^2 = 1 - C'(0) at q = 1, and nl^2 / 4 <= max|C - c| <= 2 nl^2",
    subject=nonlinearity,
    broken=partial(nonlinearity, constant=True),
)
@precise
def linear_part(subject: Callable[[Oracle], Number], effort: int) -> Outcome:
    """C'(0) = (E phi')^2 / E phi^2 at 30 digits; max|C - c| with C by qcmap.

    phi = sum_i a_i h_i: ||phi - a_1 h_1||^2 / ||phi||^2 = 1 - a_1^2 / sum_i a_i^2 = 1 - b_1.
    """
    tally, grid = Tally(), np.linspace(-1, 1, 400 * effort + 1)
    for name, phi in ACTIVATIONS.items():
        found, rows = subject(phi), _samples(phi)
        want = 1 - mp.fsum(w * rate for _, w, _, rate in rows) ** 2 / mp.fsum(w * f**2 for _, w, f, _ in rows)
        tally.add(found - want, 1e-20, f"nl^2 of {name} is {mp.nstr(want, 12)} by C'(0), not {mp.nstr(found, 12)}")
        gap = float(np.abs(local_map(name, 1.0)(grid) - grid).max())
        ratio = gap / float(found)
        tally.add(max(0.0, ratio - 2, SHARP - ratio), 1e-6, f"max|C - c| of {name} is {ratio:.6g} nl^2")
    return tally.outcome()


def variation(f: Polynomial) -> Fraction:
    """||f' - <f', h0> h0||^2 / ||f'||^2, by its definition."""
    rate = derivative(f)
    rest = combine(rate, -inner(rate, [Fraction(1)]), [Fraction(1)])
    return inner(rest, rest) / inner(rate, rate)


def of_slope(f: Polynomial) -> Fraction:
    """1 - <f', h0>^2 / ||f'||^2."""
    rate = derivative(f)
    return 1 - inner(rate, [Fraction(1)]) ** 2 / inner(rate, rate)


def of_value(f: Polynomial) -> Fraction:
    """1 - <f, h1>^2 / ||f||^2, the first display of appendix D.3."""
    return 1 - inner(f, [Fraction(0), Fraction(1)]) ** 2 / inner(f, f)


@checks(
    "dks-21",
    part="proof",
    variant="as_printed",
    source="DKS D.3, first display",
    claim="na(phi)^2 = 1 - <phi, h1>^2 / ||phi||^2",
    subject=of_value,
    broken=of_slope,
)
@checks(
    "dks-21",
    part="proof",
    variant="corrected",
    source="DKS proposition 18, D.3",
    claim="na(phi)^2 = 1 - <phi', h0>^2 / ||phi'||^2 = 1 - C'(0)/C'(1) >= 1 - 1/C'(1)",
    subject=of_slope,
    broken=of_value,
)
def slope_part(subject: Callable[[Polynomial], Fraction], effort: int) -> Outcome:
    """Random polynomials over the rationals, with C from Isserlis' theorem.

    phi' = sum_i a_i sqrt(i) h_(i-1), so <phi', h0> = a_1 and ||phi'||^2 = sum_i i a_i^2; na^2 = 1 - b_1 / sum_i i b_i.
    The printed display is nl(phi)^2: for phi(u) = u + 1 it is 1/2, and na is 0.
    """
    tally, affine = Tally(), [Fraction(1), Fraction(1)]
    for f in [affine, *random_polynomials(21, 60 * effort)]:
        found, want, series = subject(f), variation(f), dual(f)
        at_1 = sum((i * b for i, b in enumerate(series)), Fraction(0))
        tally.add(float(found - want), 1e-15, f"na^2 of {shown(f)} is {want}, not {found}")
        tally.add(float(found - (1 - series[1] / at_1)), 1e-15, f"1 - C'(0)/C'(1) is not {found} for {shown(f)}")
        low = found < 1 - sum(series, Fraction(0)) / at_1
        tally.add(float(low), 0.5, f"1 - 1/C'(1) exceeds {found} for {shown(f)}")
    return tally.outcome()


def non_affineness(phi: Oracle, q: float) -> Number:
    """Var phi'(u) / E phi'(u)^2 with u of variance q."""
    rows = _samples(phi, q)
    mean = mp.fsum(w * rate for _, w, _, rate in rows)
    return mp.fsum(w * (rate - mean) ** 2 for _, w, _, rate in rows) / mp.fsum(w * rate**2 for _, w, _, rate in rows)


@checks(
    "dks-21",
    part="variance",
    source="DKS proposition 18, remark 17",
    claim="na(phi)^2 = 1 - C'(0)/C'(1) at every q, if the norms are taken over u of variance q, not 1",
    subject=non_affineness,
    broken=lambda phi, q: non_affineness(phi, 1.0),
)
@precise
def slope_part_of_activations(subject: Callable[[Oracle, float], Number], effort: int) -> Outcome:
    """The slopes at 0 and 1 of closed-form C maps, by 30-digit difference quotients of their values."""
    tally = Tally()
    for name in ("erf", "sin", "square", "relu"):
        for q in (1.0, 0.3, 4.0, *(5.0 + k for k in range(1, effort))):
            found, want = subject(ACTIVATIONS[name], q), 1 - slope_ratio(name, q)
            tally.add(found - want, 1e-8, f"na^2 of {name} is {want:.10g} at q = {q}, not {mp.nstr(found, 10)}")
    return tally.outcome()


def nl_squared(f: Polynomial) -> Fraction:
    """nl^2 = ||f - <f, h1> h1||^2 / ||f||^2, by its definition."""
    rest = combine(f, -inner(f, [Fraction(0), Fraction(1)]), [Fraction(0), Fraction(1)])
    return inner(rest, rest) / inner(f, f)


@checks(
    "dks-21",
    part="affine",
    variant="as_printed",
    source="DKS 13.4",
    claim="phi is affine if and only if nl(phi) = 0",
    subject=nl_squared,
    broken=variation,
)
@checks(
    "dks-21",
    part="affine",
    variant="corrected",
    source="DKS 13.4",
    claim="phi is affine if and only if na(phi) = 0; nl(phi) = 0 says that it is linear",
    subject=variation,
    broken=nl_squared,
)
def affine_functions(subject: Callable[[Polynomial], Fraction], effort: int) -> Outcome:
    """Random polynomials over the rationals, and affine ones."""
    tally = Tally()
    cases = [[Fraction(a), Fraction(b)] for a in range(-2, 3) for b in (1, 2)]
    for f in [*cases, *random_polynomials(211, 40 * effort)]:
        affine, found = not any(f[2:]), subject(f)
        tally.add(float(affine != (found == 0)), 0.5, f"{shown(f)} is{'' if affine else ' not'} affine: {found}")
    return tally.outcome()


@precise
def slope_ratio(name: str, q: float) -> float:
    """C'(0) / C'(1) of an activation with a closed form, at the input q value q, by 30-digit difference quotients."""
    variance = mp.mpf(q)

    def dual_activation(c: Number) -> Number:
        return KERNELS[name].value(c * variance, variance, variance)

    step = mp.mpf(10) ** -24  # one-sided: C' of relu tends to 1 like the square root of 1 - c
    return float(mp.diff(dual_activation, 0) * step / (dual_activation(mp.mpf(1)) - dual_activation(1 - step)))


@lru_cache(maxsize=64)
@precise
def unit_norms(name: str, q: float) -> float:
    """na^2 by the norms of section 13.3, over inputs of variance 1 whatever q is."""
    return float(non_affineness(ACTIVATIONS[name], 1.0))


@lru_cache(maxsize=64)
@precise
def own_norms(name: str, q: float) -> float:
    """na^2 by norms over inputs of variance q."""
    return float(non_affineness(ACTIVATIONS[name], q))


@checks(
    "dks-21",
    part="q",
    variant="as_printed",
    source="DKS proposition 18",
    claim="na(phi)^2 = 1 - C'(0)/C'(1), with the norms of section 13.3 and any input q value",
    subject=unit_norms,
    broken=own_norms,
)
@checks(
    "dks-21",
    part="q",
    variant="corrected",
    source="DKS proposition 18, remark 17",
    claim="na(phi)^2 = 1 - C'(0)/C'(1) for the input q value 1, or with norms over inputs of variance q",
    subject=own_norms,
    broken=unit_norms,
)
@precise
def input_q(subject: Callable[[str, float], float], effort: int) -> Outcome:
    """Slopes of closed-form C maps."""
    tally = Tally()
    for name in ("erf", "sin"):
        for q in (0.5, 4.0, *(5.0 + k for k in range(1, effort))):
            found, want = subject(name, q), 1 - slope_ratio(name, q)
            tally.add(found - want, 1e-8, f"na^2 of {name} is {want:.8g} at q = {q}, not {found:.8g}")
    return tally.outcome()
