"""The limiting tangent kernel of Neural Path Features, appendix A, equation (2), by C maps of ReLU networks."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import mpmath as mp
import numpy as np

import qcmap as qc
from qcmap.numeric import TangentKernel, ntk
from theory_checks.oracles import Number, precise, rule
from theory_checks.registry import Outcome, Tally, checks

Pair = tuple[float, float, float]
"""Sigma(s, s), Sigma(s', s') and Sigma(s, s')."""
Matrices = Callable[[int, Pair], tuple[float, float]]
"""The depth d and a pair of inputs to K-tilde^(d)(s, s') and K^(d)(s, s')."""


def _relu_pair(a: Number, b: Number, m: Number) -> tuple[Number, Number]:
    """2 E[relu relu] and 2 E[relu' relu'] for variances a, b and covariance m.

    Given q, q' is normal of mean m q / a and variance v = b - m^2 / a.
    """
    v = b - m * m / a
    both = derivative = mp.mpf(0)
    width = 2 / max(mp.mpf(1), abs(m) / mp.sqrt(a * v))
    for x, w in rule((0.0,), width=float(width)):
        if x > 0:
            q = mp.sqrt(a) * x
            mean, deviation = m * q / a, mp.sqrt(v)
            positive = mp.ncdf(mean / deviation)
            both += w * q * (mean * positive + deviation * mp.npdf(mean / deviation))
            derivative += w * positive
    return 2 * both, 2 * derivative


@cache
def recursion(depth: int, pair: Pair) -> tuple[Number, Number]:
    """Equation (2) as printed, with Gaussian integrals."""
    a, b, m = map(mp.mpf, pair)
    tilde = sigma = m
    for _ in range(depth - 1):
        sigma, slope = _relu_pair(a, b, sigma)  # 2 E[relu^2] = a: the variances stay
        tilde = tilde * slope + sigma
    return tilde, (tilde + sigma) / 2


def _kernel(depth: int, pair: Pair, variance: float) -> TangentKernel:
    b = qc.Builder("relu")
    h = b.affine(b.input("x"), 4, name="layer1")
    for k in range(2, depth + 1):
        h = b.affine(b.activation(h, "relu"), 4, weight_variance=variance, name=f"layer{k}")
    q1, q2, m = pair
    return ntk(b.build(outputs=[h]), m / (q1 * q2) ** 0.5, q1, q2)


def by_c_maps(depth: int, pair: Pair) -> tuple[float, float]:
    """The tangent kernel of d layers, weight variance 2 behind each relu; half of it, plus half the covariance."""
    kernel = _kernel(depth, pair, 2.0)
    return float(kernel.total), float(kernel.total + kernel.nngp) / 2


def by_layers(depth: int, pair: Pair) -> tuple[float, float]:
    """K^(d) as half the kernels of the hidden layers and the whole of the output layer's.

    With W of variance 2/w in hidden layers and 1/w in the last, gradients in W itself give w times this (Cao and Gu).
    """
    kernel = _kernel(depth, pair, 2.0)
    terms = [float(term) for term in kernel.terms.values()]
    return sum(terms), sum(terms[:-1]) / 2 + terms[-1]


def _other_variance(depth: int, pair: Pair) -> tuple[float, float]:
    kernel = _kernel(depth, pair, 1.0)
    return float(kernel.total), float(kernel.total + kernel.nngp) / 2


def _all_halved(depth: int, pair: Pair) -> tuple[float, float]:
    total, _ = by_layers(depth, pair)
    return total, total / 2


@checks(
    "npf-09",
    part="recursion",
    source="NPF appendix A (2)",
    claim="K-tilde^(d) is the tangent kernel by ReLU C maps with weight variance 2, and Sigma^(d) the m value",
    subject=by_c_maps,
    broken=_other_variance,
)
@checks(
    "npf-09",
    part="layers",
    source="NPF appendix A (2) (the sum: ours)",
    claim="K^(d) = (K-tilde^(d) + Sigma^(d)) / 2 is half the hidden layers' kernels and the whole of the last layer's",
    subject=by_layers,
    broken=_all_halved,
)
@precise
def limiting_kernel(subject: Matrices, effort: int) -> Outcome:
    """Against the printed recursion at 34 digits, for random pairs of inputs and depths 1 to 6."""
    random, tally = np.random.default_rng(9), Tally()
    for k in range(6 * effort):
        depth = 1 + k % 6
        q1, q2, c = (float(v) for v in random.uniform([0.3, 0.3, -0.95], [3, 3, 0.95]))
        pair = (q1, q2, c * (q1 * q2) ** 0.5)
        for name, found, want in zip(("K-tilde", "K"), subject(depth, pair), recursion(depth, pair), strict=True):
            at = f"Sigma = {q1:.3g}, {q2:.3g}, {pair[2]:.3g}"
            witness = f"{name}^({depth}) at {at} is {mp.nstr(want, 12)}, not {found:.12g}"
            tally.add((found - want) / abs(want), 1e-12, witness)
    return tally.outcome()
