"""Max-pooling of two and of more clusters: DKS, section 20.2 and appendix G."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache

import mpmath as mp
import numpy as np

from theory_checks.oracles import Number, precise, rule
from theory_checks.registry import Outcome, Tally, checks

Correlations = tuple[Number, Number, Number]
"""Of (u1, u2), (u1, u3), (u2, u3)."""


def even_moment(power: int) -> Number:
    """E x^n of a standard normal x, claimed for max(u1, u2) too."""
    return mp.mpf(math.prod(range(1, power, 2)))


def _bound_of_the_appendix(power: int) -> Number:
    """E max^4 <= E u1^4 + E u2^4, taken for an equality."""
    return even_moment(power) * (2 if power == 4 else 1)


def moment_of_two(c: Number, power: int) -> Number:
    """E max(u1, u2)^n, n even, correlation c, in polar coordinates: u1 = r cos t, u2 = r cos(t - acos c).

    E r^n = 2^(n/2) (n/2)!. The larger is u1 for t in the half-turn that ends at acos(c)/2, and u2 in the other.
    """
    angle = mp.acos(c)
    radial = mp.mpf(2) ** (power // 2) * mp.factorial(power // 2)
    middle = angle / 2
    first = mp.quad(lambda t: mp.cos(t) ** power, mp.linspace(middle - mp.pi, middle, 5))
    second = mp.quad(lambda t: mp.cos(t - angle) ** power, mp.linspace(middle, middle + mp.pi, 5))
    return radial * (first + second) / (2 * mp.pi)


@checks(
    "dks-35",
    part="two",
    source="DKS 20.2, appendix G",
    claim="E max(u1, u2)^2 = 1 for standard normals of any correlation; even moments are those of one normal (ours): "
    "max^2 has the variance 2, which appendix G bounds by 6",
    subject=even_moment,
    broken=_bound_of_the_appendix,
)
@precise
def two_clusters(subject: Callable[[int], Number], effort: int) -> Outcome:
    """max^n + min^n = u1^n + u2^n for even n; min(u1, u2) = -max(-u1, -u2), which is distributed as -max(u1, u2)."""
    random, tally = np.random.default_rng(35), Tally()
    for c in (mp.mpf(c) for c in (-1, -0.999999, -0.5, 0, 0.3, 0.999999, 1, *random.uniform(-1, 1, 4 * effort))):
        for power in (2, 4, 6):
            found = moment_of_two(c, power)
            tally.add(
                found / subject(power) - 1, 1e-25, f"E max^{power} is {mp.nstr(found, 15)} at c = {mp.nstr(c, 4)}"
            )
    return tally.outcome()


def clark(means: Sequence[Number], deviations: Sequence[Number], correlation: Number) -> Number:
    """Lemma 43: E max(u1, u2)^2 for any means and variances."""
    (m1, m2), (s1, s2) = means, deviations
    theta = mp.sqrt(s1**2 + s2**2 - 2 * correlation * s1 * s2)
    a = (m1 - m2) / theta
    return (s1**2 + m1**2) * mp.ncdf(a) + (s2**2 + m2**2) * mp.ncdf(-a) + (m1 + m2) * theta * mp.npdf(a)


def _without_density(means: Sequence[Number], deviations: Sequence[Number], correlation: Number) -> Number:
    theta = mp.sqrt(deviations[0] ** 2 + deviations[1] ** 2 - 2 * correlation * deviations[0] * deviations[1])
    return clark(means, deviations, correlation) - sum(means) * theta * mp.npdf((means[0] - means[1]) / theta)


@checks(
    "dks-35",
    part="lemma",
    source="DKS lemma 43",
    claim="E max^2 = (s1^2+m1^2) P(a) + (s2^2+m2^2) P(-a) + (m1+m2) t p(a), a = (m1-m2)/t, t^2 = Var(u1-u2)",
    subject=clark,
    broken=_without_density,
)
@precise
def lemma(subject: Callable[[Sequence[Number], Sequence[Number], Number], Number], effort: int) -> Outcome:
    """By one integral over d = (u1 - u2 - (m1 - m2))/theta, with a break where u1 = u2.

    Given d, u1 and u2 are normal with the means m1 + k1 d, m2 + k2 d and variances s^2 - k^2, k_i = Cov(u_i, d).
    """
    random, tally = np.random.default_rng(43), Tally()
    for _ in range(6 * effort):
        m = [mp.mpf(x) for x in random.normal(size=2)]
        s = [mp.mpf(x) for x in random.uniform(0.3, 2, 2)]
        c = mp.mpf(random.uniform(-0.95, 0.95))
        theta = mp.sqrt(s[0] ** 2 + s[1] ** 2 - 2 * c * s[0] * s[1])
        k = [(s[0] ** 2 - c * s[0] * s[1]) / theta, (c * s[0] * s[1] - s[1] ** 2) / theta]
        edge, total = (m[1] - m[0]) / theta, mp.mpf(0)
        for d, w in rule((edge,)):
            i = 0 if d > edge else 1
            total += w * ((m[i] + k[i] * d) ** 2 + s[i] ** 2 - k[i] ** 2)
        found = subject(m, s, c)
        tally.add(found / total - 1, 1e-20, f"E max^2 is {mp.nstr(total, 12)}, not {mp.nstr(found, 12)}")
    return tally.outcome()


def triangle(correlations: Correlations) -> Number:
    """1 + A / pi, A the area of the triangle of three unit vectors with these cosines."""
    a, b, c = (1 - rho for rho in correlations)
    square = 2 * (a * b + b * c + c * a) - a * a - b * b - c * c
    return 1 + mp.sqrt(max(square, mp.mpf(0))) / (2 * mp.pi)


def _gram(correlations: Correlations) -> Number:
    a, b, c = correlations
    return 1 + 2 * a * b * c - a * a - b * b - c * c


@lru_cache(maxsize=256)
def moment_of_three(correlations: Correlations) -> Number:
    """E max(u1, u2, u3)^2, the sum over i of E[u_i^2; u_i is the largest]."""
    first, second, third = correlations
    return _largest(first, second, third) + _largest(first, third, second) + _largest(second, third, first)


def _largest(rj: Number, rk: Number, rjk: Number) -> Number:
    """E[x^2; x > u_j and x > u_k] in polar coordinates of x and the part of u_j that is orthogonal to x.

    With x = r cos t and u_j = r cos(t - acos rj), u_j < x is an interval of t of length pi. u_k = r g(t) + h z with z
    normal, so u_k < x has the probability P(r e) with e = (cos t - g) / h, and the integral over r of
    r^3 exp(-r^2/2) P(r e) is 1 + e (3 + 2 e^2) / (2 (1 + e^2)^(3/2)).
    """
    sj = mp.sqrt(1 - rj**2)
    g = (rjk - rj * rk) / sj
    h = mp.sqrt(1 - rk**2 - g**2)

    def density(t: Number) -> Number:
        e = (mp.cos(t) - rk * mp.cos(t) - g * mp.sin(t)) / h
        return mp.cos(t) ** 2 * (1 + e * (3 + 2 * e * e) / (2 * (1 + e * e) ** mp.mpf("1.5")))

    middle = mp.acos(rj) / 2
    return mp.quad(density, mp.linspace(middle - mp.pi, middle, 7)) / (2 * mp.pi)


@checks(
    "dks-35",
    part="three",
    source="DKS 20.2 (ours)",
    claim="E max(u1, u2, u3)^2 = 1 + A/pi with A the area of the triangle of the three unit vectors: 1 only if two "
    "coincide, 1 + sqrt(3)/(2 pi) if independent, 1 + 3 sqrt(3)/(4 pi) at most",
    subject=triangle,
    broken=lambda correlations: 1 + mp.sqrt(_gram(correlations) * 3) / (2 * mp.pi),
)
@precise
def three_clusters(subject: Callable[[Correlations], Number], effort: int) -> Outcome:
    """Against integrals over the angle, for random correlation matrices.

    Gaussian integration by parts of u_i (M 1[u_i = M]), M the maximum, gives E M^2 = 1 + sum over pairs of
    Var(u_i - u_j) E[M; u_i = u_j = M] (density of u_i - u_j at 0 included). Given u_i = u_j = v, E[v; v > u_k] =
    Cov(v, v - u_k) / sqrt(2 pi Var(v - u_k)). With a_ij = 1 - rho_ij the sum is
    sum a_ij (a_ik + a_jk - a_ij) / (2 pi sqrt(G)) = sqrt(G) / (2 pi), where G = 2 (ab + bc + ca) - (a^2 + b^2 + c^2),
    and by Heron's formula for the sides sqrt(2 a_ij), G = 4 A^2. Of triangles in the unit ball's great circles the
    equilateral one is the largest.
    """
    random, tally = np.random.default_rng(353), Tally()
    cases = [(0.0, 0.0, 0.0), (0.9, 0.8, 0.7), (-0.4, -0.4, -0.4)]
    for _ in range(3 * effort):
        vectors = random.normal(size=(3, 3))
        vectors /= np.linalg.norm(vectors, axis=1)[:, None]
        gram = vectors @ vectors.T
        cases.append((float(gram[0, 1]), float(gram[0, 2]), float(gram[1, 2])))
    top = 1 + 3 * mp.sqrt(3) / (4 * mp.pi)
    for case in cases:
        rho = mp.mpf(case[0]), mp.mpf(case[1]), mp.mpf(case[2])
        want, found = moment_of_three(rho), subject(rho)
        shown = f"correlations {', '.join(f'{c:.4g}' for c in case)}"
        tally.add(found / want - 1, 1e-15, f"E max^2 is {mp.nstr(want, 12)}, not {mp.nstr(found, 12)}, for {shown}")
        tally.add(float(not 1 < want <= top), 0.5, f"E max^2 is {mp.nstr(want, 12)} for {shown}")
    half = -mp.mpf(1) / 2
    tally.add(subject((half, half, half)) / top - 1, 1e-25, f"the top {mp.nstr(top, 8)} is not attained at 120 degrees")
    tally.add(subject((mp.mpf(1), half, half)) - 1, 1e-25, "two clusters and a copy of one do not give 1")
    return tally.outcome(f"independent: {mp.nstr(triangle((mp.mpf(0),) * 3), 10)}, largest: {mp.nstr(top, 10)}")


def logarithmic(count: int) -> float:
    """1 + L + (1 + 1/L) log(1 + L) with L = 2 log n."""
    scale = 2 * math.log(count)
    return 1 + scale + (1 + 1 / scale) * math.log1p(scale)


@checks(
    "dks-35",
    part="many",
    source="DKS 20.2 (ours)",
    claim="Over n clusters E max^2 grows slowly: with L = 2 log n it is below 1 + L + (1 + 1/L) log(1 + L)",
    subject=logarithmic,
    broken=math.log,
)
@precise
def many_clusters(subject: Callable[[int], float], effort: int) -> Outcome:
    """Independent clusters, where E max^2 = n E[x^2 P(x)^(n-1)]: increasing in n, 1 at n = 2, below the bound.

    For any correlations and 0 < s < 1/2, E max^2 <= log(E exp(s max u^2)) / s <= (log n - log(1 - 2s)/2) / s; take
    1 - 2s = 1/(1 + L).
    """
    tally, before, shown = Tally(), mp.mpf(0), []
    nodes = [(x, w, mp.log1p(-mp.erfc(x / mp.sqrt(2)) / 2)) for x, w in rule()]
    for n in (2, 3, 4, 6, 9, 100, 10_000, *(10**6 * k for k in range(1, 1 + effort))):
        found = n * mp.fsum(w * x * x * mp.exp((n - 1) * log) for x, w, log in nodes)
        witness = f"E max^2 is {mp.nstr(found, 10)} over {n} independent clusters"
        exact = {2: mp.mpf(1), 3: triangle((mp.mpf(0),) * 3)}.get(n, found)
        tally.add(found / exact - 1, 1e-20, f"{witness}, not {mp.nstr(exact, 10)}")
        tally.add(float(not before < found <= subject(n)), 0.5, f"{witness}; claimed: at most {subject(n):.4g}")
        before = found
        shown.append(f"{n}: {mp.nstr(found, 5)}")
    return tally.outcome(", ".join(shown))
