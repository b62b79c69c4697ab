"""Weighted mean pooling: DKS, section 20.1.2 and appendix E.

With Z, Z' [channels k, locations l] and M = Z^T Z', the kernel entry of f(Z) = Z w, w ~ N(0, 1/l), is w^T M w / k. Its
mean is tr(M) / (k l). Isserlis' theorem, E w_a w_b w_c w_d = (d_ab d_cd + d_ac d_bd + d_ad d_bc) / l^2, gives its
variance

    (tr(M^2) + |M|_F^2) / (k l)^2 = |M + M^T|_F^2 / (2 (k l)^2),

since the term d_ab d_cd is the squared mean. Appendix E applies E[w w^T M w w^T] = (tr(M) I + 2 M) / l^2, which holds
for symmetric M only; in general 2 M is M + M^T.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from theory_checks.registry import Array, Outcome, Tally, checks

Matrix = NDArray[np.int64]


def _maps(random: np.random.Generator) -> tuple[Matrix, Matrix]:
    k, locations = (int(n) for n in random.integers(2, 5, 2))
    return random.integers(-2, 3, (k, locations)), random.integers(-2, 3, (k, locations))


def _moment(indices: tuple[int, ...]) -> int:
    """E of the product of standard normals with these indices: (n-1)!! for each that occurs n times, n even."""
    counts = [indices.count(i) for i in set(indices)]
    return 0 if any(n % 2 for n in counts) else math.prod(math.prod(range(1, n, 2)) for n in counts)


@checks(
    "dks-34",
    part="mean",
    source="DKS 20.1.2, E",
    claim="Weighted mean pooling averages q and m values over locations: E of the kernel is tr(Z^T Z') / (k l)",
    subject=lambda m: Fraction(int(np.trace(m))),
    broken=lambda m: Fraction(int(m.sum()), len(m)),
)
def means(subject: Callable[[Matrix], Fraction], effort: int) -> Outcome:
    """In fractions, summing E w_a w_b M_ab over all indices; plain mean pooling, the broken subject, sums all of M."""
    random, tally = np.random.default_rng(34), Tally()
    for _ in range(20 * effort):
        z, other = _maps(random)
        for m in (z.T @ other, z.T @ z):
            n = len(m)
            exact = sum(int(m[a, b]) * _moment((a, b)) for a, b in itertools.product(range(n), repeat=2))
            tally.add(float(subject(m) - exact), 0.5, f"l E w^T M w = {exact}, not {subject(m)}, for M = {m.tolist()}")
    return tally.outcome()


def exact_variance(m: Matrix) -> int:
    """(k l)^2 Var by E w_a w_b w_c w_d M_ab M_cd over all indices, less the squared mean."""
    indices = itertools.product(range(len(m)), repeat=4)
    square = sum(int(m[a, b]) * int(m[c, d]) * _moment((a, b, c, d)) for a, b, c, d in indices)
    return square - int(np.trace(m)) ** 2


def printed_variance(m: Matrix) -> Fraction:
    """2 tr(M^2), to be divided by (k l)^2."""
    return Fraction(2 * int(np.trace(m @ m)))


def corrected_variance(m: Matrix) -> Fraction:
    """tr(M^2) + |M|_F^2, to be divided by (k l)^2."""
    return Fraction(int(np.trace(m @ m)) + int((m * m).sum()))


@checks(
    "dks-34",
    part="variance",
    variant="as_printed",
    source="DKS E",
    claim="The variance of the kernel is 2 tr((Z^T Z')^2) / (k l)^2",
    subject=printed_variance,
    broken=corrected_variance,
)
@checks(
    "dks-34",
    part="variance",
    variant="corrected",
    source="DKS E",
    claim="It is (tr(M^2) + |M|_F^2) / (k l)^2 with M = Z^T Z'; the printed one can be negative",
    subject=corrected_variance,
    broken=printed_variance,
)
def variances(subject: Callable[[Matrix], Fraction], effort: int) -> Outcome:
    """In fractions, against sums over all indices."""
    random, tally = np.random.default_rng(341), Tally()
    turn = np.array([[0, 1], [-1, 0]])
    for k in range(12 * effort):
        z, other = (np.eye(2, dtype=int), turn) if k == 0 else _maps(random)
        for m in (z.T @ other, z.T @ z):
            exact = exact_variance(m)
            witness = f"(k l)^2 Var = {exact}, not {subject(m)}, for M = {m.tolist()} ({len(m)} locations)"
            tally.add(float(subject(m) - exact), 0.5, witness)
    return tally.outcome()


def printed_bound(q: float, c: float, locations: int) -> float:
    """Of tr(M^2) / k^2: l q_max^2 (1 + l c_avg^2)."""
    return locations * q**2 * (1 + locations * c**2)


def corrected_bound(q: float, c: float, locations: int) -> float:
    """Of tr(M^2) / k^2 and |M|^2 / k^2: l^2 q_max^2 c_avg."""
    return locations**2 * q**2 * c


@checks(
    "dks-34",
    part="bound",
    variant="as_printed",
    source="DKS E",
    claim="tr((Z^T Z')^2) <= k^2 l q_max^2 (1 + l c_avg^2), c_avg the average absolute c value over pairs of locations",
    subject=printed_bound,
    broken=corrected_bound,
)
@checks(
    "dks-34",
    part="bound",
    variant="corrected",
    source="DKS E (ours)",
    claim="tr(M^2) and |M|_F^2 are at most k^2 l^2 q_max^2 c_avg, since c^2 <= abs(c): so Var <= 2 q_max^2 c_avg, "
    "which goes to zero with c_avg as the paper says",
    subject=corrected_bound,
    broken=printed_bound,
)
def bounds(subject: Callable[[float, float, int], float], effort: int) -> Outcome:
    """Random maps, and half of the locations equal where the others are orthogonal: many small c, few large ones."""
    random, tally = np.random.default_rng(342), Tally()
    cases: list[tuple[Array, Array]] = []
    for locations in (2, 4, 8, 32):
        z = np.eye(locations)
        z[:, : locations // 2] = z[:, :1]
        cases.append((z, z))
    for _ in range(20 * effort):
        k, locations = (int(n) for n in random.integers(2, 9, 2))
        cases.append((random.standard_normal((k, locations)), random.standard_normal((k, locations))))
    for z, other in cases:
        k, locations = z.shape
        q1, q2 = ((a**2).mean(axis=0) for a in (z, other))
        m = z.T @ other / k
        c = float(np.abs(m / np.sqrt(np.outer(q1, q2))).mean())
        limit = subject(float(max(q1.max(), q2.max())), c, locations)
        for value, what in ((float(np.trace(m @ m)), "tr(M^2)"), (float((m * m).sum()), "|M|^2")):
            witness = f"{locations} locations, c_avg = {c:.4g}: {what} / k^2 = {value:.4g}, above {limit:.4g}"
            tally.add(max(0.0, value / limit - 1), 1e-12, witness)
    return tally.outcome()


@checks(
    "dks-34",
    part="concentration",
    source="DKS 20.1.2, E",
    claim="Sampled kernels have this mean and variance, which falls as 1/l where locations are orthogonal",
    subject=1.0,
    broken=0.5,
    kind="stat",
    false_alarm=1e-7,
)
def concentration(subject: float, effort: int) -> Outcome:
    """Orthogonal locations of q = 1: mean 1 and variance 2/l of q, at 6.2 standard errors."""
    random, tally, count = np.random.default_rng(343), Tally(), 4000 * effort
    for locations in (4, 16, 64):
        z = np.linalg.qr(random.standard_normal((64, locations)))[0] * math.sqrt(64)
        q = np.mean((random.standard_normal((count, locations)) / math.sqrt(locations) @ z.T) ** 2, axis=1)
        for values, want, what in ((q, 1.0, "mean"), ((q - 1) ** 2, subject * 2 / locations, "variance")):
            tally.mean(values, want, f"{locations} locations: the {what} of q")
    return tally.outcome()


@checks(
    "dks-34",
    part="normalisation",
    variant="as_printed",
    source="DKS E",
    claim="E[f(Z)^T f(Z')] = tr(Z^T Z')",
    subject=lambda locations: 1,
    broken=lambda locations: locations,
)
@checks(
    "dks-34",
    part="normalisation",
    variant="corrected",
    source="DKS E",
    claim="E[f(Z)^T f(Z')] = tr(Z^T Z') / l, as w ~ N(0, 1/l)",
    subject=lambda locations: locations,
    broken=lambda locations: 1,
)
def normalisation(subject: Callable[[int], int], effort: int) -> Outcome:
    """In fractions, summing E w_a w_b M_ab."""
    random, tally = np.random.default_rng(343), Tally()
    for _ in range(20 * effort):
        z, other = _maps(random)
        trial = mean_of_products(z, other), Fraction(int(np.trace(z.T @ other)), subject(z.shape[1]))
        tally.add(float(trial[0] - trial[1]), 1e-12, f"E f(Z)^T f(Z') = {trial[0]}, not {trial[1]}, for {z.tolist()}")
    return tally.outcome()


def mean_of_products(z: Matrix, other: Matrix) -> Fraction:
    """E[f(Z)^T f(Z')] of f(Z) = Z w, entry by entry."""
    m, n = z.T @ other, z.shape[1]
    total = sum(int(m[a, b]) * _moment((a, b)) for a, b in itertools.product(range(n), repeat=2))
    return Fraction(total, n)
