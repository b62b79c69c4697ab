"""Scaled uniform orthogonal (SUO) and Gaussian weights: DKS, sections 4.1, 4.2, 5.9 (Theorem 6) and 15.2.

Sampled checks have fixed seeds. Each Kolmogorov-Smirnov test rejects below p = 1e-9 and each mean beyond 6.2 standard
errors (two-sided 6e-10), so no check has a false-alarm rate above 1e-7.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache

import numpy as np

from qcmap.numeric import local_maps
from theory_checks.registry import SIGMAS, Array, Outcome, Tally, checks

Sampler = Callable[[int, int, int, int], Array]
"""(rows m, columns k, how many, seed) to matrices [how many, m, k]."""

_FALSE_ALARM = 1e-7
_LOG_P = math.log(1e-9)


def _samples(function: str, m: int, k: int, count: int, seed: int) -> Array:
    import torch

    import qcmap.nn as qnn

    sample = getattr(qnn, function)
    generator = torch.Generator().manual_seed(seed)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # many small factorisations: more threads only wait for each other
    try:
        draws = [sample((m, k), generator=generator, dtype=torch.float64) for _ in range(count)]
    finally:
        torch.set_num_threads(threads)
    return torch.stack(draws).numpy()


def suo(m: int, k: int, count: int, seed: int) -> Array:
    """SUO matrices by qcmap."""
    return _samples("orthogonal_weight", m, k, count, seed)


def gaussian(m: int, k: int, count: int, seed: int) -> Array:
    """Gaussian matrices by qcmap."""
    return _samples("gaussian_weight", m, k, count, seed)


def _unscaled(m: int, k: int, count: int, seed: int) -> Array:
    """SUO matrices without the factor max(sqrt(m/k), 1)."""
    return suo(m, k, count, seed) / max(math.sqrt(m / k), 1)


def _plain_qr(m: int, k: int, count: int, seed: int) -> Array:
    """Orthogonal factors as LAPACK returns them: the signs of R are not corrected, so they are not Haar."""
    normal = np.random.default_rng(seed).standard_normal((count, max(m, k), min(m, k)))
    factors = np.linalg.qr(normal)[0]
    return math.sqrt(m / k) * factors if m > k else factors.transpose(0, 2, 1)


def _fan_out(m: int, k: int, count: int, seed: int) -> Array:
    return gaussian(m, k, count, seed) * math.sqrt(k / m)


def _ratios(weights: Array, x: Array) -> Array:
    """q_out / q_in for each matrix and the one input x."""
    k = x.size
    return np.mean((weights @ x) ** 2, axis=1) / (float(x @ x) / k)


def _distribution(tally: Tally, values: Array, cdf: Callable[[Array], Array], witness: str) -> None:
    """Add a Kolmogorov-Smirnov test: the margin is log p over the log of the rejection level."""
    from scipy.stats import kstest

    p = float(kstest(values, cdf).pvalue)
    tally.add(math.log(max(p, 1e-300)) / _LOG_P, 1.0, f"{witness} (p = {p:.2g})")


@checks(
    "dks-05",
    part="norms",
    source="DKS 4.2",
    claim="SUO weights of m x k, k <= m, keep the q value of every input exactly",
    subject=suo,
    broken=_unscaled,
)
def norms(subject: Sampler, effort: int) -> Outcome:
    """Random and unit inputs, to rounding."""
    random, tally = np.random.default_rng(5), Tally()
    for m, k in ((1, 1), (8, 8), (9, 8), (256, 64), (64, 1)):
        for x in (np.eye(k)[0], random.standard_normal(k), random.standard_normal(k) ** 3):
            for ratio in _ratios(subject(m, k, 3 * effort, 50), x):
                tally.add(ratio - 1, 1e-12, f"q_out / q_in = {ratio:.12g} for {m} x {k}")
    return tally.outcome()


@checks(
    "dks-05",
    part="wide_norms",
    source="DKS 4.1, 4.2 (ours)",
    claim="SUO weights with k > m keep the q value on average: q_out / q_in is k/m times a Beta(m/2, (k-m)/2)",
    subject=suo,
    broken=gaussian,
    kind="stat",
    false_alarm=_FALSE_ALARM,
)
def wide_norms(subject: Sampler, effort: int) -> Outcome:
    """The whole distribution, and the mean; W x is the projection of a uniform direction on m of k coordinates."""
    from scipy.stats import beta

    random, tally, count = np.random.default_rng(51), Tally(), 2000 * effort
    for m, k in ((8, 12), (2, 5), (16, 20)):
        ratios = _ratios(subject(m, k, count, 7 * m), random.standard_normal(k))
        law = beta(m / 2, (k - m) / 2, scale=k / m)
        _distribution(tally, ratios, law.cdf, f"{m} x {k}: q_out / q_in is not Beta")
        error = float(ratios.mean() - 1) / float(law.std()) * math.sqrt(count)
        tally.add(error, SIGMAS, f"{m} x {k}: the mean of q_out / q_in is {ratios.mean():.5f}")
    return tally.outcome()


@checks(
    "dks-05",
    part="directions",
    source="DKS 4.2",
    claim="SUO weights send every input to a uniformly distributed direction",
    subject=suo,
    broken=_plain_qr,
    kind="stat",
    false_alarm=_FALSE_ALARM,
)
def directions(subject: Sampler, effort: int) -> Outcome:
    """For fixed x and a, the cosine t of a and W x has (t + 1)/2 ~ Beta((m-1)/2, (m-1)/2)."""
    from scipy.stats import beta

    random, tally = np.random.default_rng(52), Tally()
    for m, k in ((6, 6), (9, 4), (4, 9)):
        weights = subject(m, k, 2000 * effort, 100 + m)
        law = beta((m - 1) / 2, (m - 1) / 2)
        for x, name in ((np.eye(k)[0], "the first basis vector"), (random.standard_normal(k), "a random input")):
            y = weights @ x
            y /= np.linalg.norm(y, axis=1, keepdims=True)
            for a in (np.eye(m)[0], np.eye(m)[m - 1], random.standard_normal(m)):
                cosines = y @ (a / np.linalg.norm(a))
                _distribution(tally, (cosines + 1) / 2, law.cdf, f"{m} x {k} sends {name} to no uniform direction")
    return tally.outcome()


@checks(
    "dks-05",
    part="gaussian",
    source="DKS 4.2",
    claim="Gaussian weights multiply q by an independent chi^2_m / m, of mean 1",
    subject=gaussian,
    broken=_fan_out,
    kind="stat",
    false_alarm=_FALSE_ALARM,
)
def gaussian_norms(subject: Sampler, effort: int) -> Outcome:
    """The whole distribution."""
    from scipy.stats import chi2

    random, tally = np.random.default_rng(53), Tally()
    for m, k in ((8, 8), (8, 12), (12, 8), (1, 3)):
        ratios = _ratios(subject(m, k, 4000 * effort, 3 * m + k), random.standard_normal(k))
        _distribution(tally, m * ratios, chi2(m).cdf, f"{m} x {k}: m q_out / q_in is not chi^2_m")
    return tally.outcome()


@lru_cache(maxsize=3)
def _gaussian_ratios(m: int, count: int) -> Array:
    """q_out / q_in of Gaussian m x 8 matrices."""
    return _ratios(gaussian(m, 8, count, m), np.ones(8))


@checks(
    "dks-05",
    part="variance",
    variant="as_printed",
    source="DKS 15.2",
    claim="Gaussian weights perturb q by a factor of variance 1/m",
    subject=lambda m: 1 / m,
    broken=lambda m: 2 / m,
    kind="stat",
    false_alarm=_FALSE_ALARM,
)
@checks(
    "dks-05",
    part="variance",
    variant="corrected",
    source="DKS 4.2",
    claim="Gaussian weights perturb q by a factor of variance 2/m",
    subject=lambda m: 2 / m,
    broken=lambda m: 1 / m,
    kind="stat",
    false_alarm=_FALSE_ALARM,
)
def variance(subject: Callable[[int], float], effort: int) -> Outcome:
    """Sample variances; with r = chi^2_m / m, E (r - 1)^4 = 12/m^2 + 48/m^3 and Var (r - 1)^2 = 8/m^2 + 48/m^3."""
    tally, count = Tally(), 10_000 * effort
    for m in (4, 16, 64):
        ratios = _gaussian_ratios(m, count)
        measured = float(np.mean((ratios - 1) ** 2))
        error = math.sqrt((48 / m**3 + 8 / m**2) / count)
        witness = f"m = {m}: the variance is {measured:.5f} +- {error:.5f}, not {subject(m):.5f}"
        tally.add((measured - subject(m)) / error, SIGMAS, witness)
    return tally.outcome()


def _function(name: str) -> Callable[[Array], Array]:
    return local_maps(name).transform


@lru_cache(maxsize=4)
def _columns(sampler: Sampler, width: int, count: int) -> Array:
    """The first two columns of square matrices, [count, width, 2], drawn once for all functions and correlations."""
    return sampler(width, width, count, width)[:, :, :2].copy()


def _errors(sampler: Sampler, name: str, c: float, width: int, count: int, kernel: float) -> Array:
    """(1/m) phi(W z)^T phi(W z') less the kernel, for two inputs with q = 1 and cosine c, the span of two axes."""
    phi = _function(name)
    z = math.sqrt(width) * np.array([[1.0, c], [0.0, math.sqrt(1 - c * c)]])
    u = _columns(sampler, width, count) @ z
    return np.mean(phi(u[:, :, 0]) * phi(u[:, :, 1]), axis=1) - kernel


def library_kernel(name: str, c: float) -> float:
    """E[phi(u1) phi(u2)] at q = 1, by qcmap."""
    maps = local_maps(name)
    return float(maps.c(c) * maps.q(1.0))


@checks(
    "dks-05",
    part="convergence",
    source="DKS 5.9, Theorem 6",
    claim="The kernel of a layer with SUO weights converges to E[phi(u1) phi(u2)], its error falling as width^(-1/2)",
    subject=library_kernel,
    broken=lambda name, c: c * library_kernel(name, 1.0),
    kind="stat",
    false_alarm=_FALSE_ALARM,
)
def convergence(subject: Callable[[str, float], float], effort: int) -> Outcome:
    """From width 16 to 256 the rms error must fall four-fold.

    The logarithm of a ratio of two rms values of n samples has the standard error 1/sqrt(n) (for normal errors); a
    bias of order 1/width moves it by less than the 0.15 allowed on top.
    """
    tally, count = Tally(), 200 * effort
    for name, c in (("tanh", 0.5), ("relu", -0.4), ("softplus", 0.2)):
        kernel = subject(name, c)
        small, large = (
            math.sqrt(float(np.mean(_errors(suo, name, c, width, count, kernel) ** 2))) for width in (16, 256)
        )
        witness = f"{name}, c = {c:g}: rms error {small:.4g} at width 16, {large:.4g} at 256"
        tally.add(max(0.0, math.log(4 * large / small)), 0.15 + SIGMAS / math.sqrt(count), witness)
    return tally.outcome()


def predicted_ratio(name: str, c: float) -> float:
    """The limit of SUO's rms error over Gaussian's.

    Under Gaussian weights the m products phi(u1) phi(u2) are independent. Under SUO weights with k <= m the Gram matrix
    of (W z, W z') is exact besides, which to leading order conditions their sum on those of u1^2, u1 u2 and u2^2 and
    leaves the residual of a linear regression on these: the ratio is sqrt(1 - R^2) <= 1, as section 15.2 conjectures.
    """
    nodes, weights = np.polynomial.hermite_e.hermegauss(80)
    w = np.outer(weights, weights).ravel() / (2 * math.pi)
    x, y = (a.ravel() for a in np.meshgrid(nodes, nodes, indexing="ij"))
    u, v, phi = x, c * x + math.sqrt(1 - c * c) * y, _function(name)
    product = phi(u) * phi(v)
    features = np.stack([np.ones_like(u), u * u, u * v, v * v], axis=1)
    root = np.sqrt(w)
    fit = features @ np.linalg.lstsq(features * root[:, None], product * root, rcond=None)[0]
    spread = float(w @ (product - w @ product) ** 2)
    return math.sqrt(float(w @ (product - fit) ** 2) / spread)


@checks(
    "dks-05",
    part="suo_error",
    source="DKS 15.2 (conjecture)",
    claim="SUO weights approximate the kernel with a smaller error than Gaussian ones; the rms ratio tends to "
    "sqrt(1 - R^2), R^2 of phi(u1) phi(u2) regressed on u1^2, u1 u2, u2^2 (ours)",
    subject=suo,
    broken=gaussian,
    kind="stat",
    false_alarm=_FALSE_ALARM,
)
def suo_error(subject: Sampler, effort: int) -> Outcome:
    """Width 64: log ratios within 6.2 standard errors sqrt(1/n) of the limit, and 0.1 for terms of order 1/width."""
    tally, count, measured = Tally(), 1000 * effort, []
    for name, c in (("tanh", 0.5), ("relu", 0.0), ("softplus", -0.5), ("gelu", 0.8), ("sin", 0.3)):
        kernel, ratio = library_kernel(name, c), predicted_ratio(name, c)
        ours, theirs = (
            math.sqrt(float(np.mean(_errors(sampler, name, c, 64, count, kernel) ** 2)))
            for sampler in (subject, gaussian)
        )
        measured.append(f"{name} {ours / theirs:.3f} ({ratio:.3f})")
        allowed = 0.1 + SIGMAS / math.sqrt(count)
        witness = f"{name}, c = {c:g}: the ratio is {ours / theirs:.3f}, predicted {ratio:.3f}"
        tally.add(math.log(ours / theirs / ratio), allowed, witness)
        tally.add(max(0.0, math.log(ours / theirs)), allowed, witness)
    return tally.outcome(f"measured ratios at width 64 (limits): {', '.join(measured)}")
