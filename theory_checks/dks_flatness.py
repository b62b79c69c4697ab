"""What flat C maps must have as slopes: DKS, section 13.5, appendices D.4-D.7.

C(c) = sum_i b_i c^i with b_i >= 0 and sum_i b_i = 1, and F(c) = (C(|c|) - C(0)) / |c| = sum_(i>=1) b_i |c|^(i-1).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import mpmath as mp
import numpy as np
from numpy.typing import NDArray

from theory_checks.oracles import precise
from theory_checks.positive_definite import FAMILIES, Array, Bound, describe, slope, try_bounds, value
from theory_checks.propagation import KERNELS
from theory_checks.registry import Outcome, Tally, checks

POINTS: Array = np.array([1e-4, 0.01, 0.05, 0.1, 0.2, 0.278, 1 / math.e, 0.45, 0.6, 0.75, 0.9, 0.97, 0.99, 0.999])
GRID: Array = np.concatenate([-POINTS[::-1], POINTS])
"""Points c of (-1, 1), without 0."""
EPSILONS: Array = np.array([1e-6, 1e-3, 0.03, 0.2, 0.5, 0.8, 0.97])


def flatness(b: Array, c: Array = GRID) -> Array:
    """F(c), of shape (functions, points), from the series: no cancellation at small c."""
    return value(b[:, 1:], np.abs(c))


def _steepness(b: Array) -> Array:
    """Y = log F / log |c|, so that F = |c|^Y; infinite where F = 0 (to rounding, F <= 1)."""
    with np.errstate(divide="ignore"):
        return np.log(np.minimum(flatness(b), 1.0)) / np.log(np.abs(GRID))


def _times_flatness(factor: Array, b: Array) -> Array:
    """The factor times F, and the limit 0 where F = 0."""
    found = flatness(b)
    return np.where(found > 0, np.where(found > 0, factor, 0.0) * found, 0.0)


def printed_slope(b: Array) -> Array:
    """F log F (1 + |c|) / (|c| log |c|), the bound of proposition 20."""
    return _times_flatness(_steepness(b) * (1 + 1 / np.abs(GRID)), b)


def sharp_slope(b: Array) -> Array:
    """F (1 + log F / log |c|)."""
    return _times_flatness(1 + _steepness(b), b)


def _slope_size(b: Array) -> Array:
    return np.abs(slope(b, GRID))


def _everywhere(b: Array) -> NDArray[np.bool_]:
    return np.ones((len(b), len(GRID)), dtype=bool)


def _below(threshold: Array | float) -> Callable[[Array], NDArray[np.bool_]]:
    return lambda b: flatness(b) <= threshold


SLOPES: dict[str, Bound] = {
    "printed": Bound("|C'(c)| <= F log F (1+|c|) / (|c| log|c|)", _slope_size, printed_slope, _everywhere),
    "below 1/e": Bound("the same if F <= 1/e", _slope_size, printed_slope, _below(1 / math.e)),
    "below c^c": Bound("the same if F <= |c|^|c|", _slope_size, printed_slope, _below(np.abs(GRID) ** np.abs(GRID))),
    "sharp": Bound("|C'(c)| <= F (1 + log F / log|c|)", _slope_size, sharp_slope, _everywhere),
    "at 0": Bound("0 <= C'(0) <= F(c)", lambda b: b[:, 1:2] * np.ones(len(GRID)), flatness),
}
CORRECTED = {name: bound for name, bound in SLOPES.items() if name != "printed"}


def _quotient(b: Array) -> Array:
    """(C(c) - C(0)) / c."""
    return value(b[:, 1:], GRID)


def secants(measure: Callable[[Array], Array] = flatness) -> dict[str, Bound]:
    """Proposition 19 for this measure of flatness, for absolute values too, and what the text adds: F grows up to 1."""

    def grown(b: Array) -> Array:
        positive = measure(b)[:, len(POINTS) :]
        return np.hstack([positive[:, 1:], np.ones((len(b), 1))])

    return {
        "quotient": Bound("(C(c) - C(0)) / c <= F(c)", _quotient, measure),
        "size": Bound("|C(c) - C(0)| / |c| <= F(c)", lambda b: np.abs(_quotient(b)), measure),
        "growth": Bound("F(c') <= F(c) <= 1 for |c'| <= |c|", lambda b: measure(b)[:, len(POINTS) :], grown),
    }


def _lost(count: int) -> Array:
    """1 - (1-e)^(i-1) for i = 1, 2, ...: sum_i b_i of it is 1 - C(0) - F(1-e), without cancellation."""
    return -np.expm1(np.outer(np.arange(count), np.log1p(-EPSILONS)))


def steep_end(power: float = 1.0) -> dict[str, Bound]:
    """Proposition 25, C'(1) >= (1 - C(0) - F(1-e)) / e, with this power of e."""
    return {
        "end": Bound(
            "C'(1) >= (1 - C(0) - F(1-e)) / e",
            lambda b: (b[:, 1:] @ _lost(b.shape[1] - 1)) / EPSILONS**power,
            lambda b: (b @ np.arange(b.shape[1]))[:, None] * np.ones(len(EPSILONS)),
        )
    }


@checks(
    "dks-22",
    source="DKS proposition 19, D.4",
    claim="(C(c) - C(0))/c <= F(c) = (C(|c|) - C(0))/|c|, also in size; F(c') <= F(c) <= 1 for |c'| <= |c|",
    subject=secants(),
    broken=secants(lambda b: flatness(b, GRID / 1.01)),
)
def secant(subject: Mapping[str, Bound], effort: int) -> Outcome:
    """Term by term, c^(i-1) <= |c|^(i-1); the broken claim takes F a little nearer to 0."""
    return try_bounds(subject, 22, effort).outcome()


@checks(
    "dks-23",
    variant="as_printed",
    source="DKS proposition 20, D.5",
    claim="|C'(c)| <= F log F (1+|c|) / (|c| log|c|) for all c != 0",
    subject={"printed": SLOPES["printed"]},
    broken=CORRECTED,
)
@checks(
    "dks-23",
    variant="corrected",
    source="DKS proposition 20, remark 21, D.5",
    claim="So if F <= 1/e, or F <= |c|^|c| (never below e^(-1/e) = 0.692); always |C'(c)| <= F (1 + log F / log|c|); "
    "C'(0) <= F",
    subject=CORRECTED,
    broken=SLOPES,
)
def flat_slope(subject: Mapping[str, Bound], effort: int) -> Outcome:
    """The printed proof takes i |c|^(i-1) to fall from Y = log F / log|c| on; it does from -1/log|c| on.

    So it needs Y >= -1/log|c|, that is F <= 1/e; the identity map has F = 1, hence the bound 0, and the slope 1.
    Without that condition: with t = |c|, u_i = t^(i-1) and g(u) = u (1 + log u / log t), i t^(i-1) = g(u_i). As u log u
    is convex and log t < 0, g is concave; it tends to 0 at 0, where b_0 goes. By Jensen's inequality |C'(c)| <=
    sum b_i g(u_i) <= g(sum b_i u_i) = g(F) = F (1 + Y), with equality for C = c^j. The printed bound is F Y (1 + 1/t),
    at least F (1 + Y) if and only if Y >= t, or F <= t^t. Last, C'(0) = b_1 is one of the terms of F.
    """
    return try_bounds(subject, 23, effort).outcome()


@checks(
    "dks-23",
    part="equality",
    source="DKS proposition 20 (ours)",
    claim="C = c^j attains |C'(c)| = F (1 + log F / log|c|) at every c: the best bound there by F and c alone",
    subject=sharp_slope,
    broken=printed_slope,
)
def equality(subject: Callable[[Array], Array], effort: int) -> Outcome:
    """For j up to 12: slope j t^(j-1), F = t^(j-1); for more effort up to 69, beyond which 1e-4^(j-1) underflows."""
    tally = Tally()
    for j in range(1, min(12 + effort, 70)):
        b = np.eye(j + 1)[[j]]
        gaps = (subject(b) - _slope_size(b))[0] / _slope_size(b)[0]
        for c, gap in zip(GRID, gaps, strict=True):
            tally.add(float(gap), 1e-11, f"the bound exceeds the slope of c^{j} at {c:.4g} by the factor {1 + gap:.4g}")
    return tally.outcome()


def at_minus_one(b: Array, depth: int) -> Array:
    """The slope at -1 of the composition of this many equal maps, by the chain rule and Horner's, for each row."""
    c, total = -np.ones(len(b)), np.ones(len(b))
    for _ in range(depth):
        found, rate = np.zeros(len(b)), np.zeros(len(b))
        for coefficient in b.T[::-1]:
            rate = rate * c + found
            found = found * c + coefficient
        total, c = total * rate, np.clip(found, -1.0, 1.0)
    return total


def contracting(random: np.random.Generator, count: int, degree: int) -> Array:
    """Functions other than c with C'(1) = 1 or 0.7: by convexity, c* = 1.

    Any g gives one, 1 - w + w g(c) with w = C'(1) / g'(1). Left out are those near c, and those that are nearly even
    but not quite, for which the limit is reached too slowly to see.
    """
    rows = np.vstack([draw(random, -(-count // len(FAMILIES)), degree) for draw in FAMILIES.values()])
    powers = np.arange(degree + 1)
    rows *= random.choice([1.0, 0.7], (len(rows), 1)) / np.maximum(rows @ powers, 1.0)[:, None]
    rows[:, 0] += 1 - rows.sum(axis=1)
    odd = rows @ (powers % 2)
    return rows[(rows[:, 1] < 0.5) & ((odd == 0) | (odd > 0.05))]


def dichotomy(b: Array, minus: Array, plus: Array) -> Array:
    """By how much C_f'(-1) misses -C_f'(1) where C is even, and 0 where it is not."""
    even = (b @ (np.arange(b.shape[1]) % 2)) == 0
    return np.where(even, np.abs(minus + plus), np.abs(minus))


@checks(
    "dks-24",
    source="DKS proposition 22, D.6",
    claim="D equal subnetworks with c* = 1: C_f'(1) = C'(1)^D <= 1, and C_f'(-1) = -C_f'(1) if C is even, else -> 0",
    subject=dichotomy,
    broken=lambda b, minus, plus: np.abs(minus),
)
def ends(subject: Callable[[Array, Array, Array], Array], effort: int) -> Outcome:
    """Random C with C'(1) <= 1, which by convexity is c* = 1, except c itself; 1/2 + c^2/2 keeps its slope -1 at -1.

    If C is even, C(-1) = 1 and the D - 1 other maps have their slope at 1. Else C(-1) is inside (-1, 1) (C odd has
    C(0) = 0, so C'(1) > 1), and slopes of flat maps tend to 0 there. With C'(1) = 1 they fall like D^-2 only.
    """
    random, tally, depth = np.random.default_rng(24), Tally(), 2000
    rows = [np.array([[0.5, 0.0, 0.5, 0.0], [2 / 3, 0.0, 0.0, 1 / 3], [0.25, 0.5, 0.25, 0.0]])]
    rows += [contracting(random, 60 * effort, degree) for degree in (4, 12)]
    for b in rows:
        at_1 = b @ np.arange(b.shape[1])
        errors = subject(b, at_minus_one(b, depth), at_1**depth)
        for k in range(len(b)):
            shown = f"{describe(b[k])} composed {depth} times"
            tally.add(max(0.0, float(at_1[k]) - 1), 1e-12, f"C'(1) of {describe(b[k])} exceeds 1")
            tally.add(float(errors[k]), 2e-3, f"the slope at -1 of {shown} misses its limit by {errors[k]:.3g}")
    return tally.outcome()


@checks(
    "dks-24",
    part="remarks",
    source="DKS remarks 23, 24",
    claim="C_n = 1 - 1/n + c^(n^2)/n tends to 1 and F to 0 on [-1, 1], yet C_n'(1) = n; relu has c* = 1 and C'(1) = 1",
    subject=2,
    broken=1,
)
@precise
def remarks(subject: int, effort: int) -> Outcome:
    """The power of n in the exponent is the subject; C of relu by its closed form at 1 - 10^-20."""
    tally, step = Tally(), mp.mpf(10) ** -20
    for n in (mp.mpf(n) for k in range(1, 5 + effort) for n in (10**k, 3 * 10**k)):
        exponent = n**subject
        tally.add(exponent / n / n - 1, 1e-25, f"C_n'(1) is {mp.nstr(exponent / n, 6)} for n = {mp.nstr(n, 6)}")
        for c in (mp.mpf(-1), mp.mpf("-0.9"), mp.mpf(0), mp.mpf("0.999"), mp.mpf(1)):
            found = 1 - 1 / n + c**exponent / n
            tally.add(max(abs(found - 1) * n / 2 - 1, 0), 1e-20, f"C_n({mp.nstr(c, 3)}) is {mp.nstr(found, 6)}")
            steepest = abs(c) ** (exponent - 1) * n / n
            tally.add(max(steepest - 1, 0), 1e-20, f"F({mp.nstr(c, 3)}) exceeds 1/n")
    relu = [2 * KERNELS["relu"].value(c, mp.mpf(1), mp.mpf(1)) for c in (mp.mpf(1), 1 - step)]
    tally.add((relu[0] - relu[1]) / step - 1, 1e-9, "C'(1) of relu is not 1")
    return tally.outcome()


@checks(
    "dks-25",
    source="DKS proposition 25, D.7",
    claim="C'(1) >= (1 - C(0) - F(1-e)) / e for 0 < e < 1",
    subject=steep_end(),
    broken=steep_end(1.05),
)
def steep_at_1(subject: Mapping[str, Bound], effort: int) -> Outcome:
    """C(1-e) = C(0) + (1-e) F(1-e) <= C(0) + F(1-e), and C'(1) >= (1 - C(1-e)) / e by convexity."""
    return try_bounds(subject, 25, effort).outcome()
