"""Lemmas on linear and convex maps, and on C maps as power series: DKS, appendix C.1 and C.2.

All in exact arithmetic: C maps are polynomials with rational coefficients b_i >= 0 that sum to 1, among them the
extreme ones (constant, affine, odd, even, C'(1) = 1), at rational points; so strict inequalities are decided.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from fractions import Fraction
from itertools import combinations, product
from typing import Any

import numpy as np

from theory_checks.positive_definite import expression
from theory_checks.registry import Outcome, Tally, Variant, checks

Rational = Fraction
HALF = Fraction(1, 2)
POINTS = tuple(Fraction(k, 8) for k in range(1, 9))
"""In (0, 1]."""


@dataclass(frozen=True)
class CMap:
    """C(c) = sum_i b_i c^i over the rationals."""

    b: tuple[Fraction, ...]

    def __call__(self, c: Rational) -> Rational:
        """C(c)."""
        return sum((b * c**i for i, b in enumerate(self.b)), Fraction(0))

    def slope(self, c: Rational) -> Rational:
        """C'(c)."""
        return sum((i * b * c ** (i - 1) for i, b in enumerate(self.b) if i), Fraction(0))

    @property
    def nontrivial(self) -> bool:
        """As the paper defines it: neither constant nor the identity."""
        return self.b[0] != 1 and (len(self.b) < 2 or self.b[1] != 1)

    @property
    def affine(self) -> bool:
        """No power above the first."""
        return not any(self.b[2:])

    @property
    def odd(self) -> bool:
        """No even power."""
        return not any(self.b[0::2])

    def __str__(self) -> str:
        return expression(self.b)


def maps(effort: int, seed: int = 50) -> list[CMap]:
    """Extreme C maps, and random ones: dense, sparse, odd, even, and with C'(1) = 1."""
    rows = [(1,), (0, 1), (1, 1), (3, 1), (0, 0, 1), (0, 0, 0, 1), (1, 0, 1), (0, 9, 0, 1), (1, 2, 1), (4, 5, 1)]
    random = np.random.default_rng(seed)
    for _ in range(8 * effort):
        b = random.integers(0, 9, 7) * (random.random(7) < random.choice([0.3, 1.0]))
        b[random.integers(0, 7)] += 1
        index = np.arange(7)
        # With C'(1) = 1: sum_i (i - 1) b_i = 0, by the constant term.
        flat = b.copy()
        flat[0] = int(((index - 1) * b)[2:].sum())
        rows += [b, flat + (index == 1), b * (index % 2) + (index == 3), b * ((index + 1) % 2) + (index == 2)]
    return [CMap(tuple(Fraction(int(x), int(sum(row))) for x in row)) for row in rows]


Hypothesis = Callable[[CMap], bool]
Conclusion = Callable[[CMap, Rational], bool]


def _strictly_convex(f: CMap, c: Rational) -> bool:
    return all(2 * f((c + other) / 2) < f(c) + f(other) for other in (Fraction(0), c / 3))


def _increasing_and_convex(f: CMap, c: Rational, *, low: Rational = Fraction(0)) -> bool:
    points = (low, (c + low) / 2, c)
    rises = all(f(x) <= f(y) and (f.b[0] == 1 or f(x) < f(y)) for x, y in combinations(points, 2))
    return f(Fraction(1)) == 1 and f(Fraction(0)) >= 0 and rises and 2 * f((c + low) / 2) <= f(c) + f(low)


def _equality_means(what: Hypothesis) -> Conclusion:
    return lambda f, c: f(-c) != 2 * f(Fraction(0)) - f(c) or what(f)


def _without_constant_odd(f: CMap) -> bool:
    return not any(f.b[2::2])


def _chord(f: CMap, c: Rational, at: Rational) -> Rational:
    return f.b[0] - (f(at) - f.b[0]) / at * c


def _fixed_points(f: CMap) -> int:
    """The number of distinct solutions of C(c) = c in [-1, 1], by Sturm's theorem."""
    from sympy import Poly, Symbol

    c = Symbol("c")
    terms: Any = sum(b * c**i for i, b in enumerate(f.b)) - c
    return int(Poly(terms, c).count_roots(-1, 1))


def _counts(steep: Callable[[Rational], bool]) -> Conclusion:
    def conclusion(f: CMap, c: Rational) -> bool:
        if c != 1:
            return True
        expected = 3 if f.odd else 2 if steep(f.slope(c)) else 1
        return _fixed_points(f) == expected

    return conclusion


def fixed_point(f: CMap) -> Rational:
    """c* in [0, 1) of a C map with C'(1) > 1, to 2^-60, from below."""
    low, high = Fraction(0), Fraction(1)
    gap = Fraction(1, 64)
    while f(1 - gap) >= 1 - gap:
        gap /= 64
    high = 1 - gap
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if f(middle) > middle else (low, middle)
    return low if f.b[0] else Fraction(0)


def _attracts(f: CMap, c: Rational, *, strictly: bool) -> bool:
    if c != 1:
        return True
    slope = f.slope(fixed_point(f))
    return slope < 1 and (slope > 0 or (not strictly and f.b[0] == 0 and (len(f.b) < 2 or f.b[1] == 0)))


def _any(f: CMap) -> bool:
    return True


def _nontrivial(f: CMap) -> bool:
    return f.nontrivial


def _steep(f: CMap) -> bool:
    return f.slope(Fraction(1)) > 1 and not f.odd


Subject = tuple[Hypothesis, Conclusion]


def _run(subject: Subject, effort: int) -> Outcome:
    """Every function that meets the hypothesis, at every point of a grid in (0, 1]."""
    hypothesis, conclusion = subject
    tally = Tally()
    for f in maps(effort):
        if hypothesis(f):
            for c in POINTS:
                tally.add(float(not conclusion(f, c)), 0.5, f"C = {f}, c = {c}")
    return tally.outcome()


def _claim(part: str, where: str, claim: str, subject: Subject, broken: Subject, variant: Variant = "") -> None:
    checks(
        "dks-50", part=part, variant=variant, source=f"DKS C.2, {where}", claim=claim, subject=subject, broken=broken
    )(_run)


def _pair(part: str, where: str, printed: tuple[str, Subject], corrected: tuple[str, Subject]) -> None:
    _claim(part, where, printed[0], printed[1], corrected[1], "as_printed")
    _claim(part, where, corrected[0], corrected[1], printed[1], "corrected")


_claim(
    "proposition_31", "Proposition 31 i) to iii)",
    "C(1) = 1, C(0) >= 0; C is increasing and convex on [0, 1], and strictly increasing if it is not constant",
    (_any, _increasing_and_convex), (_any, lambda f, c: _increasing_and_convex(f, c, low=Fraction(-1))),
)  # fmt: skip
_pair(
    "strict_convexity", "Proposition 31 iv)",
    ("Neither constant nor the identity: strictly convex on [0, 1]", (_nontrivial, _strictly_convex)),
    ("Not affine: strictly convex on [0, 1]. C(c) = (1 + c)/2, of (u + 1)/sqrt 2 in section 14.2, is nontrivial and "
     "affine", (lambda f: not f.affine, _strictly_convex)),
)  # fmt: skip
_claim(
    "corollary_32", "Corollary 32", "C(c) >= C'(1) c + 1 - C'(1) on [0, 1]",
    (_nontrivial, lambda f, c: f(c) >= 1 - f.slope(Fraction(1)) * (1 - c)),
    (_nontrivial, lambda f, c: f(c) >= 1 - f.slope(Fraction(0)) * (1 - c)),
)  # fmt: skip
_claim(
    "lemma_33", "Lemma 33 (26)", "C(-c) >= 2 C(0) - C(c) on (0, 1]",
    (_nontrivial, lambda f, c: f(-c) >= 2 * f.b[0] - f(c)), (_nontrivial, lambda f, c: f(-c) >= f.b[0]),
)  # fmt: skip
_pair(
    "lemma_33_equality", "Lemma 33",
    ("If C(-c) = 2 C(0) - C(c) for some c in (0, 1], then C is odd", (_nontrivial, _equality_means(lambda f: f.odd))),
    ("If C(-c) = 2 C(0) - C(c) for some c in (0, 1], then C - C(0) is odd, and C is if C(0) = 0",
     (_nontrivial, _equality_means(lambda f: _without_constant_odd(f) and (f.odd or f.b[0] > 0)))),
)  # fmt: skip
_claim(
    "corollary_34", "Corollary 34", "C(-c) >= C(0) - (C(g) - C(0)) c / g for c in (0, g), g < 1",
    (_any, lambda f, c: all(f(-c * r) >= _chord(f, c * r, c) for r in (HALF, Fraction(9, 10)))),
    (_any, lambda f, c: f(-c) >= _chord(f, c, c / 2)),
)  # fmt: skip
_claim(
    "corollary_35", "Corollary 35", "C(-c) >= C(0) - (1 - C(0)) c on (0, 1]",
    (_any, lambda f, c: f(-c) >= f.b[0] - (1 - f.b[0]) * c),
    (_any, lambda f, c: f(-c) >= f.b[0] - (1 - f.b[0]) * c / 2),
)  # fmt: skip
_pair(
    "lemma_36", "Lemma 36",
    ("0 < (C(c) - C(0)) / c < 1 on (0, 1) for every C map",
     (_any, lambda f, c: c == 1 or 0 < (f(c) - f.b[0]) / c < 1)),
    ("0 < (C(c) - C(0)) / c < 1 on (0, 1) for every C map but constants (where it is 0) and the identity (1)",
     (_nontrivial, lambda f, c: c == 1 or 0 < (f(c) - f.b[0]) / c < 1)),
)  # fmt: skip
_claim(
    "corollary_37", "Corollary 37", "A nontrivial C has no fixed points on [-1, 0), and lies above c there, or is odd",
    (_nontrivial, lambda f, c: f(-c) > -c or f.odd), (_nontrivial, lambda f, c: f(-c) > -c),
)  # fmt: skip
_claim(
    "corollary_38", "Corollary 38",
    "A nontrivial C has one fixed point (1) if C'(1) <= 1, two if C'(1) > 1 and C is not odd, three if it is odd",
    (_nontrivial, _counts(lambda slope: slope > 1)), (_nontrivial, _counts(lambda slope: slope >= 1)),
)  # fmt: skip
_pair(
    "corollary_39", "Corollary 39",
    ("0 < C'(c*) < 1 if C'(1) > 1 and C is not odd", (_steep, lambda f, c: _attracts(f, c, strictly=True))),
    ("C'(c*) < 1 if C'(1) > 1 and C is not odd, and it is above 0 but where c* = 0 and C'(0) = 0, such as for c^2",
     (_steep, lambda f, c: _attracts(f, c, strictly=False))),
)  # fmt: skip


# --- C.1 --------------------------------------------------------------------------------------------------------------


@checks(
    "dks-49", part="lemma_28", variant="as_printed", source="DKS C.1, Lemma 28 (25)",
    claim="f(x) = a x + b with a != 0 has f^n(x) = a^n (x - b/(1-a)) + b/(1-a)",
    subject=lambda a: a != 0, broken=lambda a: a != 1,
)  # fmt: skip
@checks(
    "dks-49", part="lemma_28", variant="corrected", source="DKS C.1, Lemma 28 (25)",
    claim="f(x) = a x + b with a != 1 has f^n(x) = a^n (x - b/(1-a)) + b/(1-a); a = 0 is no exception",
    subject=lambda a: a != 1, broken=lambda a: a != 0,
)  # fmt: skip
def lemma_28(subject: Callable[[Rational], bool], effort: int) -> Outcome:
    """Exact iteration; a formula that divides by zero counts as an error of 1."""
    tally = Tally()
    for a, b, x in product((Fraction(i, 3) for i in range(-4, 7)), (Fraction(-3, 5), Fraction(2)), (Fraction(-2, 7),)):
        if not subject(a):
            continue
        value = x
        for n in range(1, 5 + effort):
            value = a * value + b
            found = None if a == 1 else a**n * (x - b / (1 - a)) + b / (1 - a)
            error = 1.0 if found is None else float(value - found)
            tally.add(error, 1e-300, f"a = {a}, b = {b}, x = {x}, n = {n}: f^n = {value}, the formula {found}")
    return tally.outcome()


def _increasing(values: Iterable[int]) -> list[int]:
    return sorted(values)


@checks(
    "dks-49", part="lemma_29", source="DKS C.1, Lemma 29",
    claim="If f1 >= f2 on an interval and f2 is increasing, f1^n(x) >= f2^n(x) as long as the iterates stay in it",
    subject=_increasing, broken=list,
)  # fmt: skip
def lemma_29(subject: Callable[[Iterable[int]], list[int]], effort: int) -> Outcome:
    """Random functions on {0, ..., 9}; each is the piecewise linear function through its values, at whole points."""
    random, tally = np.random.default_rng(49), Tally()
    for _ in range(200 * effort):
        lower = subject(int(k) for k in random.integers(0, 10, 10))
        upper = [min(9, k + int(random.integers(0, 3))) for k in lower]
        for x in range(10):
            a = b = x
            for n in range(1, 7):
                a, b = upper[a], lower[b]
                tally.add(max(0, b - a), 0.5, f"f2 = {lower}, f1 = {upper}: f1^{n}({x}) = {a} < {b}")
    return tally.outcome()


@checks(
    "dks-49", part="lemma_30", source="DKS C.1, Lemma 30",
    claim="f increasing and strictly convex, f(1) = 1, f(x0) = x0 < 1: 0 < (f(b) - x0)/(b - x0) < 1 on (x0, 1)",
    subject=Fraction(1), broken=Fraction(4, 5),
)  # fmt: skip
def lemma_30(subject: Rational, effort: int) -> Outcome:
    """f(x) = x + k (x - x0)(x - s)(1 + (x - x0)^2), where it increases and bends up; f(s) = s, and s = 1 is claimed."""
    tally = Tally()
    for x0 in (Fraction(j, 6) for j in range(-6, 6)):
        for k in (Fraction(1, 40), Fraction(1, 12)):
            for b in (x0 + (1 - x0) * Fraction(j, 9 * effort) for j in range(1, 9 * effort)):
                t = b - x0
                ratio = 1 + k * (b - subject) * (1 + t * t)
                rate = 1 + k * ((b - subject) * (1 + t * t) + t * (1 + t * t) + 2 * t * t * (b - subject))
                bend = k * (2 + 6 * t * t + 6 * t * (b - subject))
                if rate > 0 and bend > 0:
                    tally.add(float(not 0 < ratio < 1), 0.5, f"x0 = {x0}, k = {k}, b = {b}: the ratio is {ratio}")
    return tally.outcome()
