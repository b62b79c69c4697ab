"""Concatenations of explicit feature maps: DKS, sections 5.7 and 7.2.

Feature maps are matrices whose Gram matrix is prescribed, so every q and c value is an inner product of actual vectors.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

import qcmap as qc
from theory_checks.registry import Array, Outcome, Tally, checks

Average = Callable[[int, int, Array, Array], Array]
"""(k1, k2, Sigma_X, Sigma_Y) to Sigma_Z."""


@checks(
    "dks-03",
    part="ipm",
    variant="as_printed",
    source="DKS 5.7 (4)",
    claim="The concatenation of X and Y has the inner products (k1 Sigma_X + k2 Sigma_Y) / (k1 + k1)",
    subject=lambda k1, k2, x, y: (k1 * x + k2 * y) / (k1 + k1),
    broken=lambda k1, k2, x, y: (k1 * x + k2 * y) / (k1 + k2),
)
@checks(
    "dks-03",
    part="ipm",
    variant="corrected",
    source="DKS 5.7 (4)",
    claim="The concatenation of X and Y has the inner products (k1 Sigma_X + k2 Sigma_Y) / (k1 + k2)",
    subject=lambda k1, k2, x, y: (k1 * x + k2 * y) / (k1 + k2),
    broken=lambda k1, k2, x, y: (x + y) / 2,
)
def inner_products(subject: Average, effort: int) -> Outcome:
    """Inner products over channels, divided by the channels, of random feature maps of two inputs at four locations."""
    random, tally = np.random.default_rng(3), Tally()
    for _ in range(8 * effort):
        k1, k2 = (int(k) for k in random.integers(1, 9, 2))
        maps = [random.standard_normal((k, 8)) for k in (k1, k2)]
        found = subject(k1, k2, *(z.T @ z / len(z) for z in maps))
        stacked = np.vstack(maps)
        want = stacked.T @ stacked / (k1 + k2)
        worst = float(np.abs(found - want).max())
        tally.add(worst, 1e-13, f"{k1} and {k2} channels: an inner product is off by {worst:.3g}")
    return tally.outcome()


@dataclass(frozen=True)
class Branch:
    """A branch with its channels, its weight in a sum, and the values it has for a pair of inputs."""

    channels: int
    weight: float
    q1: float
    q2: float
    c: float

    @property
    def m(self) -> float:
        """The m value."""
        return self.c * math.sqrt(self.q1 * self.q2)

    def features(self, random: np.random.Generator) -> Array:
        """Random vectors of two inputs with exactly these values, as the columns of [channels, 2]."""
        gram = self.channels * np.array([[self.q1, self.m], [self.m, self.q2]])
        basis = np.linalg.qr(random.standard_normal((self.channels, 2)))[0]
        return basis @ np.linalg.cholesky(gram).T


Point = tuple[float, float, float]
"""q1, q2 and c."""
Combine = Callable[[list[Branch]], Point]


def measured(features: Array) -> Point:
    """The values of two vectors, the columns of [channels, 2]."""
    (q1, m), (_, q2) = features.T @ features / len(features)
    return q1, q2, m / math.sqrt(q1 * q2)


def cases(seed: int, count: int, *, ratios: str = "free") -> Iterator[tuple[np.random.Generator, list[Branch]]]:
    """Random branches; all have q1 = q2 if ``ratios`` is "one", and the same q1/q2 if it is "shared"."""
    random = np.random.default_rng(seed)
    for _ in range(count):
        branches, shared = [], float(random.uniform(1.5, 3))
        for _ in range(int(random.integers(2, 4))):
            weight = float(random.uniform(0.3, 1.5) * random.choice([-1, 1]))
            q1, q2 = (float(q) for q in random.uniform(0.2, 3, 2))
            q2 = {"free": q2, "one": q1, "shared": q1 * shared}[ratios]
            channels = int(random.integers(2, 9))
            branches.append(Branch(channels, weight, q1, q2, float(random.uniform(-0.95, 0.95))))
        yield random, branches


def compare(tally: Tally, found: Point, want: Point, branches: list[Branch]) -> None:
    """Add the errors of all three values."""
    for name, a, b in zip(("q1", "q2", "c"), found, want, strict=True):
        tally.add((a - b) / max(1.0, abs(b)), 1e-12, f"{name} of {len(branches)} branches is {b:.12g}, not {a:.12g}")


def network(branches: list[Branch], weights: list[float] | None = None) -> Point:
    """By qcmap: affine layers that turn the input values (c, q1, q2) = (0, 1, r) into the branch's, where they can."""
    b = qc.Builder("branches")
    x = b.input("x", channels=4)
    ends = []
    for branch in branches:
        # m = bias, q1 = weight + bias, q2 = r weight + bias with r = 2: q2 follows from q1 and m.
        bias = branch.m
        ends.append(
            b.affine(x, branch.channels if weights is None else 4, weight_variance=branch.q1 - bias, bias_variance=bias)
        )
    end = b.concat(ends) if weights is None else b.sum(ends, weights)
    values = qc.network_maps(b.build(outputs=[end])).propagate(0.0, 1.0, 2.0)[end]
    return float(values.q1), float(values.q2), float(values.c)


def reachable(seed: int, count: int) -> Iterator[tuple[np.random.Generator, list[Branch]]]:
    """Branches that `network` can make: 0 <= m < q1 and q2 = 2 (q1 - m) + m."""
    for random, branches in cases(seed, count):
        made = []
        for branch in branches:
            m = float(random.uniform(0.05, 0.9)) * branch.q1
            q2 = 2 * branch.q1 - m
            made.append(Branch(branch.channels, branch.weight, branch.q1, q2, m / math.sqrt(branch.q1 * q2)))
        yield random, made


def library_concat(branches: list[Branch]) -> Point:
    """The concatenation by qcmap."""
    return network(branches)


def _plain_mean(branches: list[Branch]) -> Point:
    return library_concat([Branch(4, 1.0, b.q1, b.q2, b.c) for b in branches])


@checks(
    "dks-03",
    part="library",
    source="DKS 7.2 (8), (9)",
    claim="qcmap's q and c values of concatenations are those of the concatenated feature maps; q values are averaged "
    "with channels as weights, equation (8)",
    subject=library_concat,
    broken=_plain_mean,
)
def concatenations(subject: Combine, effort: int) -> Outcome:
    """Against vectors with the branches' Gram matrices, put on top of each other."""
    tally = Tally()
    for random, branches in reachable(8, 12 * effort):
        compare(tally, subject(branches), measured(np.vstack([b.features(random) for b in branches])), branches)
    return tally.outcome()


def _equation_9(branches: list[Branch]) -> Point:
    """Equations (8) and (9) as printed."""
    total = sum(b.channels for b in branches)
    q1, q2 = (sum(b.channels * q for b, q in zip(branches, qs, strict=True)) / total for qs in columns(branches))
    norm = sum(b.channels * math.sqrt(b.q1 * b.q2) for b in branches)
    return q1, q2, sum(b.channels * b.m for b in branches) / norm


def _converted(branches: list[Branch]) -> Point:
    """The mean m value divided by the root of the two mean q values."""
    q1, q2, _ = _equation_9(branches)
    total = sum(b.channels for b in branches)
    return q1, q2, sum(b.channels * b.m for b in branches) / total / math.sqrt(q1 * q2)


def columns(branches: list[Branch]) -> tuple[list[float], list[float]]:
    """The q1 of all branches, and the q2."""
    return [b.q1 for b in branches], [b.q2 for b in branches]


@checks(
    "dks-03",
    part="c",
    variant="as_printed",
    source="DKS 7.2 (9)",
    claim="The denominator of c is k1 sqrt(q11 q12) + k2 sqrt(q21 q22)",
    subject=_equation_9,
    broken=_converted,
)
@checks(
    "dks-03",
    part="c",
    variant="corrected",
    source="DKS 7.2 (9)",
    claim="The denominator of c is sqrt((k1 q11 + k2 q21) (k1 q12 + k2 q22))",
    subject=_converted,
    broken=_equation_9,
)
def denominators(subject: Combine, effort: int) -> Outcome:
    """For branches of any q values."""
    tally = Tally()
    for random, branches in cases(9, 12 * effort):
        compare(tally, subject(branches), measured(np.vstack([b.features(random) for b in branches])), branches)
    return tally.outcome()


@checks(
    "dks-03",
    part="condition",
    source="DKS 7.2 (9) (ours)",
    claim="Equation (9) holds as printed if the ratio of the two q values is the same in all branches (such as 1)",
    subject=_equation_9,
    broken=lambda branches: (*_converted(branches)[:2], sum(b.channels * b.c for b in branches)
                             / sum(b.channels for b in branches)),
)  # fmt: skip
def proportional(subject: Combine, effort: int) -> Outcome:
    """As `denominators`, with q2 = r q1 in all branches."""
    tally = Tally()
    for ratios in ("one", "shared"):
        for random, branches in cases(91, 8 * effort, ratios=ratios):
            compare(tally, subject(branches), measured(np.vstack([b.features(random) for b in branches])), branches)
    return tally.outcome()
