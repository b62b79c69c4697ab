"""What is wrong and what is right about variance propagation: DKS, sections 25.1, 25.3 and 25.5.

Variances are exact: distributions with finitely many values, in fractions.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from theory_checks.registry import SIGMAS, Array, Outcome, Tally, checks

Law = list[tuple[Fraction, Any]]
"""A distribution: probabilities and values."""


def expectation(law: Law, function: Callable[[Any], Fraction]) -> Fraction:
    """E function(value)."""
    return sum((p * function(value) for p, value in law), Fraction(0))


def variance(law: Law, function: Callable[[Any], Fraction]) -> Fraction:
    """Var function(value)."""
    mean = expectation(law, function)
    return expectation(law, lambda value: (function(value) - mean) ** 2)


def cancelling(width: int) -> tuple[Array, Array]:
    """Unit-norm weights of a linear network from one input to ``width`` (even) hidden units to one output."""
    hidden = np.array([[1.0], [-1.0]] * (width // 2))
    return hidden, np.full((1, width), width**-0.5)


@checks(
    "dks-42",
    part="cancellation",
    source="DKS 25.1",
    claim="Unit-norm weights do not keep variances beyond the first layer: h = (x, -x, ...), y = sum_i h_i / sqrt(k)",
    subject=cancelling,
    broken=lambda width: (np.abs(cancelling(width)[0]), cancelling(width)[1]),
)
def cancellation(subject: Callable[[int], tuple[Array, Array]], effort: int) -> Outcome:
    """The rows have norm 1, hidden units the variance of x, the output is zero: at width 2, as printed, and beyond."""
    tally = Tally()
    for width in (2, 4, 64, 1000 * effort):
        hidden, out = subject(width)
        for rows in (hidden, out):
            tally.add(
                float(np.abs(np.linalg.norm(rows, axis=1) - 1).max()), 1e-12, f"width {width}: rows of other norms"
            )
        gain = float((out @ hidden).item())
        tally.add(gain, 1e-12, f"width {width}: y = {gain:.3g} x")
    return tally.outcome()


@checks(
    "dks-42",
    part="norm",
    variant="as_printed",
    source="DKS 25.1",
    claim="With uncorrelated inputs of one variance, a unit's variance is that times the l2 norm of its weights",
    subject=1,
    broken=2,
)
@checks(
    "dks-42",
    part="norm",
    variant="corrected",
    source="DKS 25.1",
    claim="It is that times the squared l2 norm of its weights",
    subject=2,
    broken=1,
)
def norms(subject: int, effort: int) -> Outcome:
    """Independent signs as inputs, small integer weights, all sign patterns."""
    random, tally = np.random.default_rng(251), Tally()
    for _ in range(10 * effort):
        w = [int(a) for a in random.integers(-3, 4, 4)]
        law: Law = [(Fraction(1, 16), signs) for signs in itertools.product((-1, 1), repeat=4)]
        found = variance(law, lambda x, w=w: Fraction(sum(a * b for a, b in zip(w, x, strict=True))))
        want = math.sqrt(sum(a * a for a in w)) ** subject
        tally.add(float(found) - want, 1e-9, f"the weights {w} give the variance {found}, not {want:.4g}")
    return tally.outcome()


LOG_MEAN = -(np.euler_gamma + math.log(2)) / 2
LOG_VARIANCE = math.pi**2 / 8
"""Of log abs(w), w standard normal: half of log chi^2_1, with mean digamma(1/2) + log 2 and variance trigamma(1/2)."""


@checks(
    "dks-42",
    part="products",
    source="DKS 25.3",
    claim="Products of D standard normal weights have variance 1 but concentrate at 0: log abs is D times -0.635 on "
    "average, with variance D pi^2/8",
    subject=(LOG_MEAN, LOG_VARIANCE),
    broken=(0.0, LOG_VARIANCE),
    kind="stat",
    false_alarm=1e-8,
)
def products(subject: tuple[float, float], effort: int) -> Outcome:
    """Mean and variance of log abs at 6.2 standard errors, and the share above 0.01.

    That is at most E abs^(1/2) / 0.1 by Markov's inequality; E abs(w)^(1/2) = 2^(1/4) Gamma(3/4) / sqrt(pi) = 0.822.
    """
    tally, count = Tally(), 20_000 * effort
    random, half = np.random.default_rng(42), 2**0.25 * math.gamma(0.75) / math.sqrt(math.pi)
    for depth in (5, 20, 80):
        logs = np.log(np.abs(random.standard_normal((count, depth)))).sum(axis=1)
        tally.mean(logs, depth * subject[0], f"D = {depth}: the mean of log abs")
        tally.mean((logs - depth * LOG_MEAN) ** 2, depth * subject[1], f"D = {depth}: Var log abs")
        above = float(np.mean(logs > math.log(0.01)))
        allowed = half**depth / 0.1 + SIGMAS * math.sqrt(0.25 / count)
        tally.add(max(0.0, above / allowed), 1.0, f"D = {depth}: a share of {above:.3f} is above 0.01")
    return tally.outcome()


def heavy_tail(k: int) -> Fraction:
    """The probability that a weight is not zero, for which all of k x k weights are zero with overwhelming odds."""
    return Fraction(1, k**3)


@checks(
    "dks-42",
    part="heavy_tails",
    source="DKS 25.3",
    claim="Wide layers do not help: weights that are +-k with probability 1/k^3 and else 0 have variance 1/k, and all "
    "k^2 are 0 with probability above 1 - 1/k",
    subject=heavy_tail,
    broken=lambda k: Fraction(1, k**2),
)
def heavy_tails(subject: Callable[[int], Fraction], effort: int) -> Outcome:
    """Exactly: (1 - p)^(k^2). The law changes with k; of one law, scaled by 1/sqrt(k), the kernel would converge."""
    tally = Tally()
    for k in (2, 10, 100, 1000 * effort):
        p = subject(k)
        tally.add(float(k**2 * p * k - 1), 1e-12, f"k = {k}: the variance is {float(k**2 * p):.4g}, not 1/k")
        zero = math.exp(k**2 * math.log1p(-float(p)))
        tally.add(max(0.0, 1 - 1 / k - zero), 1e-12, f"k = {k}: all weights are zero with probability {zero:.4f}")
    return tally.outcome()


Inputs = list[tuple[Sequence[int], int]]


def centred(random: np.random.Generator) -> Law:
    """A distribution of two weights with mean zero, dependent on one another and skewed."""
    a, b = (int(v) for v in random.integers(1, 4, 2))
    return [(Fraction(1, 3), (2 * a, b)), (Fraction(2, 3), (-a, Fraction(-b, 2)))]


def _off_centre(random: np.random.Generator) -> Law:
    return [(p, (w + 1, v)) for p, (w, v) in centred(random)]


@checks(
    "dks-43",
    part="block",
    source="DKS 25.5",
    claim="Var(W z + x) = Var(W z) + Var(x) for W of mean zero, independent of (x, z), however x and z depend",
    subject=centred,
    broken=_off_centre,
)
def block(subject: Callable[[np.random.Generator], Law], effort: int) -> Outcome:
    """One unit of a residual block: random joint distributions of (z1, z2, x) on four points, exactly."""
    random, tally = np.random.default_rng(43), Tally()
    for _ in range(30 * effort):
        weights = subject(random)
        points = [tuple(int(v) for v in random.integers(-3, 4, 3)) for _ in range(4)]
        law: Law = [(p / 4, (w, point)) for p, w in weights for point in points]

        def branch(value: Any) -> Fraction:
            (w, v), (z1, z2, _) = value
            return Fraction(w * z1 + v * z2)

        def shortcut(value: Any) -> Fraction:
            return Fraction(value[1][2])

        whole = variance(law, lambda value, f=branch, g=shortcut: f(value) + g(value))
        parts = variance(law, branch) + variance(law, shortcut)
        tally.add(float(whole - parts), 1e-12, f"Var(W z + x) = {whole}, not {parts}, for (z, x) on {points}")
    return tally.outcome()


def printed_rule(law: Law) -> Fraction:
    """E Var(y given x) + Var(x)."""
    return _within(law) + variance(law, lambda value: Fraction(value[0]))


def corrected_rule(law: Law) -> Fraction:
    """E Var(y given x) + Var(x + E[y given x]), the law of total variance."""
    means = {x: _conditional(law, x)[1] for _, (x, _) in law}
    return _within(law) + variance(law, lambda value: value[0] + means[value[0]])


def _conditional(law: Law, x: int) -> tuple[Law, Fraction]:
    rows = [(p, y) for p, (other, y) in law if other == x]
    total = sum((p for p, _ in rows), Fraction(0))
    given: Law = [(p / total, y) for p, y in rows]
    return given, expectation(given, Fraction)


def _within(law: Law) -> Fraction:
    spread = {x: variance(_conditional(law, x)[0], Fraction) for _, (x, _) in law}
    return expectation(law, lambda value: spread[value[0]])


@checks(
    "dks-43",
    part="total_variance",
    variant="as_printed",
    source="DKS 25.5, citing Zhang et al. (2019c)",
    claim="Var(x + y) = E Var(y given x) + Var(x), which the paper refutes by x = y",
    subject=printed_rule,
    broken=corrected_rule,
)
@checks(
    "dks-43",
    part="total_variance",
    variant="corrected",
    source="DKS 25.5 (ours)",
    claim="Var(x + y) = E Var(y given x) + Var(x + E[y given x]); the printed rule needs a constant E[y given x]",
    subject=corrected_rule,
    broken=printed_rule,
)
def total_variance(subject: Callable[[Law], Fraction], effort: int) -> Outcome:
    """The case x = y and random joint distributions on six points, exactly."""
    random, tally = np.random.default_rng(431), Tally()
    cases: list[list[tuple[int, int]]] = [[(-1, -1), (1, 1)]]
    cases += [[(int(a), int(b)) for a, b in random.integers(-2, 3, (6, 2))] for _ in range(20 * effort)]
    for points in cases:
        law: Law = [(Fraction(1, len(points)), point) for point in points]
        found, want = subject(law), variance(law, lambda value: Fraction(value[0] + value[1]))
        tally.add(float(found - want), 1e-12, f"Var(x + y) = {want}, not {found}, for (x, y) uniform on {points}")
    return tally.outcome()
