"""Searches for counterexamples to printed statements on C maps, Q maps and activations (DKS)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any

import mpmath as mp
import numpy as np
from hypothesis import strategies as st

from theory_checks import dks_convergence, dks_dual, dks_power_series
from theory_checks.dks_closed_forms import Claimed, selu_deviation
from theory_checks.dks_derivatives import cantor
from theory_checks.dks_deviation import Polynomial, slope_ratio, variation
from theory_checks.dks_dual import shown
from theory_checks.dks_looks_linear import ORACLES, has_linear_odd_part
from theory_checks.dks_power_series import CMap
from theory_checks.dks_table import COLUMNS, Row, exact_constants
from theory_checks.oracles import Number, precise
from theory_checks.positive_definite import Bound, describe
from theory_checks.refutations import Trial, refuted

WEIGHTS = st.lists(st.integers(0, 9), min_size=1, max_size=5).filter(any)
"""Of the powers of a C map, from c^0 on; they are divided by their sum."""
EIGHTHS = st.integers(1, 8).map(lambda k: Fraction(k, 8))
QUARTERS = st.integers(1, 8).map(lambda k: Fraction(k, 4))
COSINES = st.integers(-4, 4).map(lambda k: Fraction(k, 4))
POLYNOMIALS = st.lists(st.integers(-3, 3).map(Fraction), min_size=1, max_size=4).filter(any)


def c_map(weights: list[int]) -> CMap:
    """C with these coefficients in proportion."""
    return CMap(tuple(Fraction(w, sum(weights)) for w in weights))


def _row(weights: list[int]) -> Any:
    """The same as a row of coefficients for `dks_convergence`."""
    b = np.zeros((1, dks_convergence.DEGREE + 1))
    b[0, : len(weights)] = np.array(weights) / sum(weights)
    return b


@refuted("dks-26/affine", "hypothesis missing", st.tuples(QUARTERS, COSINES))
def affine(subject: Claimed, instance: tuple[Fraction, Fraction]) -> Trial:
    """Moments by the rule with three nodes, exact for squares."""
    q, c = map(float, instance)
    root, rule = math.sqrt(q), ((-math.sqrt(3), 1 / 6), (0.0, 2 / 3), (math.sqrt(3), 1 / 6))
    want = sum(w * (root * x + 1) ** 2 / 2 for x, w in rule)
    mixed = sum(
        w * v * (root * x + 1) * (root * (c * x + math.sqrt(1 - c * c) * y) + 1) / 2 for x, w in rule for y, v in rule
    )
    worst = max(abs(subject.q(q) - want), abs(subject.c(c, q) - mixed / want))
    return worst, 1e-12, f"q = {instance[0]}, c = {instance[1]}: Q = {want:.4g}, C = {mixed / want:.4g}"


@refuted(
    "dks-32/table", "misprint", st.sampled_from([(name, k) for name in ("relu", "swish") for k in range(len(COLUMNS))])
)
@precise
def table(subject: dict[str, Row], instance: tuple[str, int]) -> Trial:
    """One entry of two of the rows; the check itself has them all."""
    name, k = instance
    text, want = subject[name][k], exact_constants(name)[k]
    half = mp.mpf(10) ** -len(text.partition(".")[2]) / 2
    return float(mp.mpf(text) - want), float(half) * (1 + 1e-9), f"{name}, {COLUMNS[k]}: {mp.nstr(want, 9)}"


@refuted("dks-13/derivative", "hypothesis missing", st.tuples(WEIGHTS, st.integers(0, 3)))
@precise
def derivative(subject: str, instance: tuple[list[int], int]) -> Trial:
    """C maps with weights on the powers of c, and C of relu composed on them; the quotients of C' must settle."""
    weights, kinks = instance
    f, at = c_map(weights), mp.mpf(subject)

    def slope(c: Number) -> Number:
        value = mp.fsum(mp.mpf(b.numerator) / b.denominator * c**i for i, b in enumerate(f.b))
        rate = mp.fsum(i * mp.mpf(b.numerator) / b.denominator * c ** (i - 1) for i, b in enumerate(f.b) if i)
        for _ in range(kinks):  # relu's C'(c) = 1 - acos(c)/pi
            rate *= 1 - mp.acos(min(value, mp.mpf(1))) / mp.pi
            value = (mp.sqrt(max(1 - value * value, 0)) + (mp.pi - mp.acos(min(value, mp.mpf(1)))) * value) / mp.pi
        return rate

    coarse, fine = ((slope(at) - slope(at - h)) / h for h in (mp.mpf(10) ** -8, mp.mpf(10) ** -10))
    error = float(fine / coarse - 1) if coarse else 0.0
    name = f"{'relu o ' * kinks}C, C = {f}"
    return error, 1e-3, f"{name}: difference quotients of C' at 1 are {mp.nstr(coarse, 4)}, {mp.nstr(fine, 4)}"


@refuted("dks-09/continuity", "hypothesis missing", st.tuples(QUARTERS, QUARTERS))
def continuity(subject: str, instance: tuple[Fraction, Fraction]) -> Trial:
    """The Cantor function."""
    factors = [cantor(float(q)) for q in instance]
    want = factors[0][0] * factors[1][0]
    found = factors[0][1] * factors[1][1] if subject == "measure" else 0.0
    q1, q2 = instance
    return found - want, 1e-4, f"the Cantor function, q1 = {q1}, q2 = {q2}: Gamma'(0) = {want:.4f}, not 0"


@refuted("dks-14", "misprint", POLYNOMIALS)
def hermite_series(subject: int, f: Polynomial) -> Trial:
    """The constant term of the dual activation of a polynomial."""
    want = dks_dual.dual(f)
    found = [dks_dual.hermite_square(f, i) if i >= subject else Fraction(0) for i in range(len(want))]
    gap = max(abs(float(a - b)) for a, b in zip(want, found, strict=True))
    return gap, 1e-12, f"phi(u) = {shown(f)}: the dual activation is {shown(want).replace('u', 'c')}"


@refuted("dks-21/proof", "misprint", POLYNOMIALS.filter(lambda f: any(f[1:])))
def first_display(subject: Callable[[Polynomial], Fraction], f: Polynomial) -> Trial:
    """The definition of na."""
    found, want = subject(f), variation(f)
    return float(found - want), 1e-12, f"phi(u) = {shown(f)}: na^2 = {want}, the display is {found}"


@refuted("dks-21/affine", "misprint", POLYNOMIALS.filter(lambda f: any(f[1:])))
def affine_functions(subject: Callable[[Polynomial], Fraction], f: Polynomial) -> Trial:
    """A measure that is zero for affine functions and for no others."""
    is_affine, found = not any(f[2:]), subject(f)
    return float(is_affine != (found == 0)), 0.5, f"phi(u) = {shown(f)} is{'' if is_affine else ' not'} affine: {found}"


@refuted("dks-21/q", "hypothesis missing", st.tuples(st.sampled_from(["sin", "erf", "square"]), QUARTERS))
def other_q(subject: Callable[[str, float], float], instance: tuple[str, Fraction]) -> Trial:
    """Two closed forms of C'(0)/C'(1) beside the norms."""
    name, q = instance
    want, found = 1 - slope_ratio(name, float(q)), subject(name, float(q))
    return found - want, 1e-8, f"phi = {name}, q = {q}: 1 - C'(0)/C'(1) = {want:.4f}, na^2 at q = 1 {found:.4f}"


@refuted("dks-23", "wrong", WEIGHTS)
def flat_slope(subject: Mapping[str, Bound], weights: list[int]) -> Trial:
    """The worst of the bounds over a grid of c."""
    f = c_map(weights)
    b = np.array([[float(x) for x in f.b] + [0.0] * max(0, 2 - len(f.b))])
    excess = max(float(bound.excess(b)[0]) for bound in subject.values())
    return max(0.0, excess), 1e-9, f"C(c) = {describe(b[0])}: the slope exceeds the bound by {excess:.3g}"


def _power_series(part: str) -> None:
    @refuted(f"dks-50/{part}", "hypothesis missing", st.tuples(WEIGHTS, EIGHTHS))
    def examine(subject: dks_power_series.Subject, instance: tuple[list[int], Fraction]) -> Trial | None:
        f, c = c_map(instance[0]), instance[1]
        hypothesis, conclusion = subject
        if len(f.b) < 2:
            f = CMap((*f.b, Fraction(0)))
        return (float(not conclusion(f, c)), 0.5, f"C(c) = {f}, c = {c}") if hypothesis(f) else None


for _part in ("strict_convexity", "lemma_33_equality", "lemma_36", "corollary_39"):
    _power_series(_part)


@refuted("dks-49/lemma_28", "misprint", st.tuples(*[st.integers(-3, 3)] * 3, st.integers(1, 3)))
def linear_iterates(subject: Callable[[Fraction], bool], instance: tuple[int, int, int, int]) -> Trial | None:
    """Exact iteration; a formula that divides by zero is no formula."""
    a, b, x, n = instance
    if not subject(Fraction(a)):
        return None
    value = Fraction(x)
    for _ in range(n):
        value = a * value + b
    if a == 1:
        return 1.0, 0.5, f"f(x) = x + {b}: the formula divides by 1 - a = 0"
    end = Fraction(b, 1 - a)
    return float(value - (a**n * (x - end) + end)), 1e-12, f"f(x) = {a} x + {b}"


@refuted("dks-17/limit", "hypothesis missing", WEIGHTS)
def limits(subject: Callable[[Any], Any], weights: list[int]) -> Trial | None:
    """600 compositions at a grid of c, away from C'(1) = 1 unless C is the identity."""
    b = _row(weights)
    clear = abs(dks_convergence.slope_at_one(b)[0] - 1) > 0.05 or not dks_convergence.nontrivial(b)[0]
    if not subject(b)[0] or not clear:
        return None
    c = dks_convergence.CS[None]
    for _ in range(600):
        c = np.clip(dks_convergence.at(b, c), -1, 1)
    return float(np.ptp(c)), 1e-4, f"C(c) = {describe(b[0])}: C^600 sends (-1, 1) to [{c.min():.2g}, {c.max():.2g}]"


@refuted("dks-51/step", "misprint", st.tuples(WEIGHTS, EIGHTHS))
def step(subject: Callable[[Any, Any], Any], instance: tuple[list[int], Fraction]) -> Trial | None:
    """The printed inequality at x = -c."""
    b, c = _row(instance[0]), np.array([[-float(instance[1])]])
    steep = float(dks_convergence.slope_at_one(b)[0])
    if steep >= 1 or not dks_convergence.nontrivial(b)[0]:
        return None
    short = float((-(1 - steep - steep * c) - subject(b, c))[0, 0])
    return max(0.0, short), 1e-9, f"C(c) = {describe(b[0])}, x = {-instance[1]}: short by {short:.3g}"


@refuted("dks-52/rates", "hypothesis missing", WEIGHTS)
def rates(subject: float, weights: list[int]) -> Trial | None:
    """C'(c*) by bisection in fractions."""
    f = c_map(weights)
    if f.slope(Fraction(1)) <= 1 or f.odd:
        return None
    point = dks_power_series.fixed_point(f)
    found = float(f.slope(point))
    return float(not subject < found < 1), 0.5, f"C(c) = {f}: c* = {float(point):.4g}, C'(c*) = {found:.4g}"


@refuted("dks-53", "wrong", st.tuples(WEIGHTS, EIGHTHS, st.integers(1, 4)))
def odd_maps(subject: Callable[[Any, Any, int], Any], instance: tuple[list[int], Fraction, int]) -> Trial | None:
    """The weights are those of the odd powers."""
    weights, c_hat, n = instance
    f = c_map([w for weight in weights for w in (0, weight)])
    if not f.nontrivial or c_hat == 1:
        return None
    value = first = f(c_hat)
    for _ in range(n - 1):
        value = f(value)
    limit = float(subject(np.array(float(c_hat)), np.array(float(first)), n))
    witness = f"C(c) = {f}, c_hat = {c_hat}, n = {n}: C^n(c_hat) = {float(value):.4g} > {limit:.4g}"
    return max(0.0, float(value) - limit), 1e-12, witness


@refuted("dks-46/cases", "wrong", WEIGHTS)
def fates(subject: Callable[[float], str], weights: list[int]) -> Trial | None:
    """Iterate from c = 0.3 by Horner's rule."""
    f = c_map(weights)
    slope = float(f.slope(Fraction(1)))
    if abs(slope - 1) < 0.05 or not f.nontrivial:
        return None
    c, b = 0.3, [float(x) for x in f.b][::-1]
    for _ in range(1000):
        c = float(np.polyval(b, c))
    fate = "to 1" if c > 1 - 1e-6 else "elsewhere"
    return float(subject(slope) != fate), 0.5, f"C(c) = {f}: C'(1) = {slope:.4g}, and C^1000(0.3) = {c:.4g}"


@refuted("dks-47/activations", "misprint", st.sampled_from(list(ORACLES)))
@precise
def odd_parts(subject: set[str], name: str) -> Trial:
    """One activation of the table."""
    linear = has_linear_odd_part(name)
    what = "is" if linear else "is not"
    return float((name in subject) != linear), 0.5, f"phi = {name}: phi(x) - phi(-x) {what} proportional to x"


@refuted("dks-45/theorem_13", "wrong", st.integers(0, 2).map(lambda k: 100 - k))
def selu_bounds(subject: float, depth: int) -> Trial:
    """The better bound of theorem 13 against the largest deviation that it is said to exclude."""
    at_0, at_1, found = selu_deviation(depth)
    bounds = 2 * (1 - at_0), 2 * (at_1 - 1)
    witness = f"{depth} layers: the bounds are {bounds[0]:.4g} and {bounds[1]:.4g}, max abs(C_f(c) - c) is {found:.4g}"
    return max(0.0, min(bounds) - subject), 1e-9, witness
