"""Dual activations and Hermite polynomials, exactly: DKS, section 11.4 and equation (28).

The generating function exp(s x - s^2/2) = sum_i s^i h_i(x) / sqrt(i!) and E exp(s u1 + t u2) =
exp((s^2 + t^2)/2 + c s t) give E[h_i(u1) h_j(u2)] = c^i if i = j, else 0. With phi = sum_i a_i h_i,
E[phi(u1) phi(u2)] = sum_i a_i^2 c^i; i = 0 belongs to the sum, with h_0 = 1 and a_0 = E phi.

Polynomials are lists of rational coefficients; phi has the square roots sqrt(i!) of h_i nowhere, as only a_i^2 occurs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from functools import cache

import mpmath as mp
import numpy as np

from theory_checks.oracles import ACTIVATIONS, Number, hermite, precise
from theory_checks.positive_definite import expression
from theory_checks.propagation import KERNELS
from theory_checks.registry import Outcome, Tally, checks

Polynomial = list[Fraction]


def moment(power: int) -> int:
    """E x^n for standard normal x: 1 * 3 * ... * (n - 1) if n is even, else 0."""
    return 0 if power % 2 else math.prod(range(1, power, 2))


def inner(f: Sequence[Fraction], g: Sequence[Fraction]) -> Fraction:
    """E[f(x) g(x)]."""
    return sum((a * b * moment(i + j) for i, a in enumerate(f) for j, b in enumerate(g)), Fraction(0))


def derivative(f: Sequence[Fraction]) -> Polynomial:
    """The derivative f'."""
    return [i * a for i, a in enumerate(f)][1:] or [Fraction(0)]


def combine(f: Sequence[Fraction], factor: Fraction, g: Sequence[Fraction]) -> Polynomial:
    """The sum f + factor * g."""
    size = max(len(f), len(g))
    long = [[*p, *[Fraction(0)] * (size - len(p))] for p in (f, g)]
    return [a + factor * b for a, b in zip(*long, strict=True)]


def hermite_square(f: Sequence[Fraction], order: int) -> Fraction:
    """a_i^2 = <f, h_i>^2 = E[f He_i]^2 / i!, He_i from He_(n+1) = x He_n - n He_(n-1)."""
    before, here = [Fraction(0)], [Fraction(1)]
    for n in range(order):
        before, here = here, combine([Fraction(0), *here], Fraction(-n), before)
    return inner(f, here) ** 2 / math.factorial(order)


def dual(f: Sequence[Fraction]) -> Polynomial:
    """E[f(u1) f(u2)] as a polynomial in the correlation c, by Isserlis' theorem.

    E[u1^i u2^j] sums over the number k of pairs with one u1 and one u2: there are i! j! / (k! (i-k)! (j-k)!) ways to
    form them, each worth c^k, and the others pair among themselves in E x^(i-k) E x^(j-k) ways.
    """
    result = [Fraction(0)] * len(f)
    for i, a in enumerate(f):
        for j, b in enumerate(f):
            for k in range(min(i, j) + 1):
                pairings = math.comb(i, k) * math.comb(j, k) * math.factorial(k) * moment(i - k) * moment(j - k)
                result[k] += a * b * pairings
    return result


def random_polynomials(seed: int, count: int) -> list[Polynomial]:
    """Of degree 1 to 6, none constant, with many zero coefficients."""
    random, found = np.random.default_rng(seed), []
    while len(found) < count:
        f = [Fraction(int(a), int(d)) for a, d in zip(random.integers(-4, 5, 7), random.integers(1, 5, 7), strict=True)]
        f = [a if keep else Fraction(0) for a, keep in zip(f, random.random(7) < 0.6, strict=True)]
        if any(f[1:]):
            found.append(f)
    return found


def shown(f: Sequence[Fraction]) -> str:
    """A polynomial in u, as text."""
    return expression(f, "u")


@cache
def _coefficients(name: str) -> list[Number]:
    return hermite(ACTIVATIONS[name], 1, 30)


@checks(
    "dks-14",
    variant="as_printed",
    source="DKS (28), D.2",
    claim="The dual activation is the sum over i = 1, 2, ... of a_i^2 c^i",
    subject=1,
    broken=0,
)
@checks(
    "dks-14",
    variant="corrected",
    source="DKS (28), D.2",
    claim="The dual activation is the sum over i = 0, 1, ... of a_i^2 c^i with a_i = <phi, h_i>",
    subject=0,
    broken=1,
)
@precise
def hermite_series(subject: int, effort: int) -> Outcome:
    """Random polynomials over the rationals; relu, erf, sin and x^2 at 30 digits against closed forms."""
    tally = Tally()
    square = [Fraction(0), Fraction(0), Fraction(1)]
    for f in [square, *random_polynomials(14, 30 * effort)]:
        for i, want in enumerate(dual(f)):
            found = hermite_square(f, i) if i >= subject else Fraction(0)
            witness = f"E[phi(u1) phi(u2)] has {want} c^{i} for phi(u) = {shown(f)}, and the sum {found} c^{i}"
            tally.add(float(found != want), 0.5, witness)
    for name in ("relu", "erf", "sin", "square"):
        coefficients = _coefficients(name)
        for c in (mp.mpf("-0.25"), mp.mpf("0.1"), mp.mpf("0.2")):
            want = KERNELS[name].value(c, mp.mpf(1), mp.mpf(1))
            found = mp.fsum(a**2 * c**i for i, a in enumerate(coefficients) if i >= subject)
            witness = f"the dual activation of {name} is {mp.nstr(want, 8)} at c = {mp.nstr(c, 3)}, not"
            tally.add(found - want, 1e-18, f"{witness} {mp.nstr(found, 8)}")
    return tally.outcome()
