"""The network that memorises random labels through random gates: Neural Path Features, appendix D."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import product

import numpy as np

from qcmap.paths import (
    Spectrum,
    memorisation_kernel,
    path_kernel,
)
from theory_checks.npf_moments import chain_kernel
from theory_checks.path_networks import Array, Plain
from theory_checks.registry import Outcome, Tally, checks


def _patterns(count: int) -> Iterable[tuple[Array, int]]:
    """All rows of 0 and 1, and how many are 1."""
    for row in product((0.0, 1.0), repeat=count):
        yield np.array(row), int(sum(row))


@checks(
    "npf-11",
    part="mean",
    source="NPF D (23), DGN (5)",
    claim="For gates Ber(mu) and sigma^2 = 1/(mu w), E K_0 / d is 1 on and mu^(d-1) off the diagonal",
    subject=memorisation_kernel,
    broken=lambda count, mean, depth: memorisation_kernel(count, mean, depth + 1),
)
def memorisation(subject: Callable[[int, float, int], Array], effort: int) -> Outcome:
    """Over all gates of two examples in small networks; E over weights is that of npf-07."""
    tally = Tally()
    for depth, width in ((2, 3), (3, 2), (4, 1), (2, 2)):
        arch = Plain.random(0, depth, width, 1).arch
        for mean in (0.5, 0.3):
            total = np.zeros((2, 2))
            for row, on in _patterns(2 * (depth - 1) * width):
                gates = row.reshape(depth - 1, 2, width)
                named = {f"layer{k + 1}.activation": gate for k, gate in enumerate(gates)}
                chance = mean**on * (1 - mean) ** (row.size - on)
                total += chance * path_kernel(arch, named, np.ones((2, 1))) / (mean * width) ** (depth - 1)
            found = subject(2, mean, depth)
            gap = float(np.abs(found - total).max())
            tally.add(
                gap, 1e-12, f"d = {depth}, mu = {mean}: off the diagonal {total[0, 1]:.6g}, not {found[0, 1]:.6g}"
            )
    return tally.outcome()


def overlaps_in_the_mean(mean: float, depth: int, width: int) -> Array:
    """E Lambda_0 of two examples, over all gates of a network with one input."""
    total = np.zeros((2, 2))
    for row, on in _patterns(2 * width):
        gates = row.reshape(2, width)
        total += mean**on * (1 - mean) ** (2 * width - on) * (gates @ gates.T)
    return total ** (depth - 1)  # layers are independent


Entries = Callable[[float, bool], float]
"""mu, and whether the two examples are one, to the mean overlap of a gate."""


@checks(
    "npf-11",
    part="same",
    variant="as_printed",
    source="NPF D, DGN Lemma 2.4 (ii)",
    claim="For gates Ber(mu), E Lambda_0(s, s') = (mu^2 w)^(d-1) for all s, s'",
    subject=lambda mean, same: mean**2,
    broken=lambda mean, same: mean if same else mean**2,
)
@checks(
    "npf-11",
    part="same",
    variant="corrected",
    source="NPF D, DGN Lemma 2.4 (ii)",
    claim="For gates Ber(mu), E Lambda_0(s, s') = (mu^2 w)^(d-1) for s != s', and (mu w)^(d-1) for s = s'",
    subject=lambda mean, same: mean if same else mean**2,
    broken=lambda mean, same: mean**2,
)
def mean_overlaps(subject: Entries, effort: int) -> Outcome:
    """Over all gates of one layer of two examples; layers are independent."""
    tally = Tally()
    for depth, width, mean in product((2, 3, 5), (1, 3), (0.25, 0.5, 0.75)):
        found = overlaps_in_the_mean(mean, depth, width)
        for (s, other), entry in np.ndenumerate(found):
            want = (subject(mean, s == other) * width) ** (depth - 1)
            witness = f"d = {depth}, w = {width}, mu = {mean}: E Lambda({s}, {other}) = {entry:.6g}, not {want:.6g}"
            tally.add(entry / want - 1, 1e-12, witness)
    return tally.outcome()


@checks(
    "npf-11",
    part="eigenvalues",
    source="NPF D, DGN 2",
    claim="E K_0 / d has the eigenvalues 1 + (n-1) mu^(d-1), for equal entries, and 1 - mu^(d-1), n - 1 times",
    subject=lambda n, mean, depth: np.array([1 - mean ** (depth - 1)] * (n - 1) + [1 + (n - 1) * mean ** (depth - 1)]),
    broken=lambda n, mean, depth: np.array([1 - mean ** (depth - 1)] * (n - 1) + [1 + n * mean ** (depth - 1)]),
)
def ideal_eigenvalues(subject: Callable[[int, float, int], Array], effort: int) -> Outcome:
    """By an eigenvalue solver, for all depths of the figures; and the sums that they plot."""
    tally = Tally()
    for depth in (2, 4, 6, 8, 12, 16, 20):
        spectrum = Spectrum.of(memorisation_kernel(200, 0.5, depth))
        want = subject(200, 0.5, depth)
        gap = float(np.abs(spectrum.eigenvalues - want).max())
        tally.add(gap, 1e-11, f"d = {depth}: the largest eigenvalue is {spectrum.largest:.12g}, not {want[-1]:.12g}")
        tally.add(spectrum.cumulative[-1] - want.sum(), 1e-10, f"d = {depth}: they add up to {spectrum.cumulative[-1]}")
    return tally.outcome()


@checks(
    "npf-11",
    part="sampled",
    kind="stat",
    false_alarm=2e-6,
    source="NPF D (22), (23)",
    claim="Sampled memorisation networks have kernels of this mean, for gates and weights drawn together",
    subject=lambda n, mean, depth: depth * memorisation_kernel(n, mean, depth),
    broken=lambda n, mean, depth: memorisation_kernel(n, mean, depth),
)
def sampled_memorisation(subject: Callable[[int, float, int], Array], effort: int) -> Outcome:
    """Means over 400 networks of the mean entry on and off the diagonal, within 5 standard errors (4 comparisons)."""
    tally = Tally()
    for depth, width in ((2, 20), (4, 40)):
        entries = []
        for seed in range(400 * effort):
            random = np.random.default_rng((seed, depth))
            gates = [1.0 * (random.random((6, width)) < 0.5) for _ in range(depth - 1)]
            weights = [random.choice([-1, 1], s) * (2 / width) ** 0.5 for s in _shapes(width, depth)]
            kernel = chain_kernel(np.ones((6, 1)), gates, weights)
            entries.append((kernel.trace() / 6, (kernel.sum() - kernel.trace()) / 30))
        want = subject(6, 0.5, depth)
        for k, name in enumerate(("on", "off")):
            seen = np.array(entries)[:, k]
            error = seen.std() / len(seen) ** 0.5
            witness = f"d = {depth}: {seen.mean():.4g} +- {error:.2g} {name} the diagonal, not {want[0, k]:.4g}"
            tally.add(seen.mean() - want[0, k], 5 * error, witness)
    return tally.outcome()


def _shapes(width: int, depth: int) -> list[tuple[int, int]]:
    return [(width, 1), *((width, width) for _ in range(depth - 2)), (1, width)]
