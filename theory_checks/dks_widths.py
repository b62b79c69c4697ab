"""The widths that make kernel approximations hold: DKS, Theorems 1 and 6 and Remark 8."""

from __future__ import annotations

import math
from collections.abc import Callable

import mpmath as mp
import numpy as np

from qcmap.numeric import kernel_error, kernel_width, orthogonal_error, orthogonal_width
from theory_checks.oracles import precise
from theory_checks.registry import Outcome, Tally, checks

TANH_MOMENT = 0.394294490483980
"""E tanh(x)^2, so phi = tanh / sqrt of it has E phi^2 = 1; all of phi, phi', phi'' are below 1 / sqrt of it."""
BOUND = TANH_MOMENT**-0.5


def printed_width(depth: int, layers: int, error: float, failure: float, bound: float) -> int:
    """(4 C^4)^D log(8 L / delta) / eps^2, rounded up."""
    return int(mp.ceil((4 * mp.mpf(bound) ** 4) ** depth * mp.log(8 * layers / mp.mpf(failure)) / mp.mpf(error) ** 2))


@checks(
    "dks-04", part="calculator", source="DKS 5.8, Theorem 1",
    claim="The width (4 C^4)^D log(8 L / delta) / eps^2 and its inverse, as qcmap computes them",
    subject=lambda d, n, e, f, c: kernel_width(d, e, f, c, layers=n),
    broken=lambda d, n, e, f, c: kernel_width(d, e, f, c, layers=d),
)  # fmt: skip
@precise
def calculator(subject: Callable[..., int], effort: int) -> Outcome:
    """Against the printed formula at 30 digits; the guaranteed error at the width is at most the one asked for."""
    tally = Tally()
    for depth in range(1, 6 + effort):
        for layers, error, failure, bound in (
            (depth, 0.1, 0.05, 1.0),
            (3 * depth, 0.5, 0.3, 1.7),
            (40, 0.01, 1e-6, 1.2),
        ):
            want = printed_width(depth, layers, error, failure, bound)
            found = subject(depth, layers, error, failure, bound)
            witness = f"D = {depth}, L = {layers}, eps = {error}, delta = {failure}, C = {bound}: {found}, not {want}"
            tally.add(found - want, 0.5, witness)
            reached = kernel_error(found, depth, failure, bound, layers=layers)
            tally.add(max(0.0, reached / error - 1), 1e-12, f"{witness}; its error is {reached:.6g}")
    return tally.outcome()


def _violations(depth: int, width: int, error: float, networks: int, random: np.random.Generator) -> int:
    """How many of these networks miss the kernel entry of inputs with q = 1, c = 1/2 by more than ``error``.

    Given a layer's input, the pairs of its units are independent and normal with the input's inner products as
    covariance: so layers are sampled without their weights.
    """
    limit = 0.5
    for _ in range(depth):
        limit = _limit(limit)
    missed = 0
    for _ in range(networks):
        products = np.array([[1.0, 0.5], [0.5, 1.0]])
        for _ in range(depth):
            u = random.standard_normal((width, 2)) @ np.linalg.cholesky(products).T
            f = np.tanh(u) / math.sqrt(TANH_MOMENT)
            products = f.T @ f / width
        missed += abs(float(products[0, 1]) - limit) > error
    return missed


def _limit(c: float) -> float:
    """E phi(u) phi(v) at correlation c by Gauss-Hermite quadrature with 80 nodes a side."""
    x, w = np.polynomial.hermite_e.hermegauss(80)
    weights = np.outer(w, w) / w.sum() ** 2
    v = c * x[:, None] + math.sqrt(1 - c * c) * x[None, :]
    return float((weights * np.tanh(x)[:, None] * np.tanh(v)).sum()) / TANH_MOMENT


@checks(
    "dks-04", part="samples", kind="stat", source="DKS 5.8, Theorem 1",
    claim="At this width the kernel entry of tanh networks is off by more than eps with probability at most delta",
    subject=lambda error, depth: kernel_width(depth, error, 0.1, BOUND),
    broken=lambda error, depth: kernel_width(1, 1.0, 0.1, BOUND) / (4 * error), false_alarm=1e-6,
)  # fmt: skip
def samples(subject: Callable[[float, int], float], effort: int) -> Outcome:
    """40 networks each of one and two layers at two eps, delta = 0.1; the broken width falls as 1/eps.

    Widths above 100,000 are cut to that, a stricter test. If each missed with probability 0.1, more than 18 of 40 would
    with probability below 1e-8. Hardly any do: the theorem is not sharp.
    """
    random, tally, networks = np.random.default_rng(4), Tally(), 40 * effort
    limit, seen = 0.1 * networks + 7.5 * math.sqrt(networks * 0.09), []
    for depth, error in ((1, 0.006), (1, 0.012), (2, 0.01), (2, 0.015)):
        width = min(math.ceil(subject(error, depth)), 100_000)
        missed = _violations(depth, width, error, networks, random)
        seen.append(f"{missed} of {networks} networks of {depth} layers of width {width} miss by more than {error}")
        tally.add(missed, limit, seen[-1])
    return tally.outcome("; ".join(seen))


def _conditions(m: int, k: int, error: float, failure: float, bound: float) -> bool:
    n = max(k, m)
    return m**2.5 / (n + 1) ** 2 > math.log(2 / failure) and (n - 1) / m**0.75 > 8 * math.sqrt(2) * bound**2 / error


CASES = ((1, 2.0, 0.1, 0.5), (5, 1.0, 0.5, 0.6), (40, 3.0, 0.01, 1.0), (500, 2.0, 0.9, 0.7), (2000, 5.0, 0.5, 1.0))
"""k, eps, delta, C."""


@checks(
    "dks-05", part="width", source="DKS 5.9, Theorem 6",
    claim="qcmap's width for SUO weights is the least that meets both conditions, and its error the least they allow",
    subject=orthogonal_width, broken=lambda k, e, f, c: orthogonal_width(1, e, f, c),
)  # fmt: skip
def suo_width(subject: Callable[..., int], effort: int) -> Outcome:
    """Against a search through all widths."""
    tally = Tally()
    for k, error, failure, bound in CASES[: 4 + effort]:
        want = next(m for m in range(1, 10**6) if _conditions(m, k, error, failure, bound))
        found = subject(k, error, failure, bound)
        witness = f"k = {k}, eps = {error}, delta = {failure}, C = {bound}: m = {found}, not {want}"
        tally.add(found - want, 0.5, witness)
        if found == want:
            reached = orthogonal_error(found, k, failure, bound)
            tally.add(float(reached > error), 0.5, f"{witness}; its error is {reached:.6g}")
            tally.add(
                float(not _conditions(found, k, 1.001 * reached, failure, bound)), 0.5, f"{witness}; {reached:.6g}"
            )
    return tally.outcome()


@checks(
    "dks-05", part="remark_8", variant="as_printed", source="DKS 5.9, Remark 8",
    claim="For m >= k the conditions of Theorem 6 imply m > 128 C^4 log(2/delta)^2 / eps^2",
    subject=2, broken=1,
)  # fmt: skip
@checks(
    "dks-05", part="remark_8", variant="corrected", source="DKS 5.9, Remark 8",
    claim="For m >= k the conditions of Theorem 6 imply m > 128 C^4 log(2/delta) / eps^2, with the first power of the "
    "logarithm as in Theorem 1: m^(1/2) > log(2/delta) times m^(1/4) > 8 sqrt 2 C^2 / eps, squared",
    subject=1, broken=2,
)  # fmt: skip
def remark_8(subject: int, effort: int) -> Outcome:
    """The least m >= k that meets the conditions, for many eps and delta; the power of the logarithm is tested."""
    tally = Tally()
    for exponent in np.linspace(-0.5, -60, 12 * effort):
        for error in (0.5, 2.0, 8.0, 30.0):
            failure, bound = math.exp(float(exponent)), 1.0
            m = orthogonal_width(1, error, failure, bound)
            implied = 128 * bound**4 * math.log(2 / failure) ** subject / error**2
            witness = f"k = 1, eps = {error}, delta = {failure:.3g}, C = 1: m = {m} will do, below {implied:.6g}"
            tally.add(max(0.0, implied / m - 1), 1e-9, witness)
    return tally.outcome()
