"""Weighted sums of affine layers' outputs on explicit feature maps: DKS, section 9."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

import qcmap as qc
from qcmap.errors import ArchitectureError
from theory_checks.dks_concat import Branch, Combine, Point, cases, columns, compare, measured, network, reachable
from theory_checks.registry import Outcome, Tally, checks


def library_sum(branches: list[Branch]) -> Point:
    """The weighted sum of affine layers' outputs by qcmap."""
    return network(branches, [b.weight for b in branches])


def _unsquared(branches: list[Branch]) -> Point:
    return network(branches, [math.sqrt(abs(b.weight)) for b in branches])


def _construction(branches: list[Branch], random: np.random.Generator) -> Point:
    """The values of the concatenation of alpha_i Z_i, alpha_i = w_i sqrt(k_1 + ... + k_n) / sqrt(k_i)."""
    total = sum(b.channels for b in branches)
    parts = [b.weight * math.sqrt(total / b.channels) * b.features(random) for b in branches]
    return measured(np.vstack(parts))


@checks(
    "dks-10",
    part="library",
    source="DKS 9 (12)",
    claim="qcmap's weighted sums of independent affine layers have the values of the concatenation construction, "
    "q = sum w_i^2 q_i, for any q values",
    subject=library_sum,
    broken=_unsquared,
)
def sums(subject: Combine, effort: int) -> Outcome:
    """Against the stacked vectors alpha_i Z_i, which a last affine layer (the identity map) then reads."""
    tally = Tally()
    for random, branches in reachable(10, 12 * effort):
        compare(tally, subject(branches), _construction(branches, random), branches)
    return tally.outcome()


def _equation_13(branches: list[Branch], *, with_q: bool = True) -> Point:
    """Equations (12) and (13); the geometric mean of a branch's q values stands for its q_i."""
    q1, q2 = (sum(b.weight**2 * q for b, q in zip(branches, qs, strict=True)) for qs in columns(branches))
    shares = [b.weight**2 * (math.sqrt(b.q1 * b.q2) if with_q else 1) for b in branches]
    return q1, q2, sum(s * b.c for s, b in zip(shares, branches, strict=True)) / sum(shares)


@checks(
    "dks-10",
    part="uniform",
    source="DKS 9 (12), (13)",
    claim="With uniform q values c = sum w_i^2 q_i c_i / sum w_i^2 q_i, a weighted average of the c_i",
    subject=_equation_13,
    broken=lambda branches: _equation_13(branches, with_q=False),
)
def uniform_sums(subject: Combine, effort: int) -> Outcome:
    """Against the construction, for branches with q1 = q2, and between the smallest and the largest c_i."""
    tally = Tally()
    for random, branches in cases(13, 12 * effort, ratios="one"):
        found = subject(branches)
        compare(tally, found, _construction(branches, random), branches)
        inside = min(b.c for b in branches) - 1e-12 <= found[2] <= max(b.c for b in branches) + 1e-12
        tally.add(float(not inside), 0.5, f"c = {found[2]:.6g} is no average of the branches' c")
    return tally.outcome()


def _with_cross_term(w1: float, w2: float, q1: float, q2: float, m12: float) -> float:
    return w1**2 * q1 + w2**2 * q2 + 2 * w1 * w2 * m12


@checks(
    "dks-10",
    part="dependent",
    source="DKS 9",
    claim="Layers that share their weights break (12): w1 W z1 + w2 W z2 has q = w1^2 q1 + w2^2 q2 + 2 w1 w2 m12, m12 "
    "the m value of z1 and z2; qcmap refuses such sums",
    subject=_with_cross_term,
    broken=lambda w1, w2, q1, q2, m12: w1**2 * q1 + w2**2 * q2,
)
def dependent(subject: Callable[..., float], effort: int) -> Outcome:
    """Orthogonal W, which keeps inner products exactly; for independent W1, W2 the term has mean zero (W2 and -W2)."""
    random, tally, k = np.random.default_rng(101), Tally(), 12
    for _ in range(4 * effort):
        z = random.standard_normal((k, 2)) @ random.standard_normal((2, 2))
        (q1, m12), (_, q2) = z.T @ z / k
        w1, w2 = (float(w) for w in random.uniform(0.3, 1.5, 2))
        one, two = (np.linalg.qr(random.standard_normal((k, k)))[0] for _ in range(2))
        same = float(np.mean((w1 * one @ z[:, 0] + w2 * one @ z[:, 1]) ** 2))
        found = subject(w1, w2, q1, q2, m12)
        tally.add(found - same, 1e-12, f"q is {same:.8g} with shared weights, not {found:.8g}")
        apart = np.mean([np.mean((w1 * one @ z[:, 0] + s * w2 * two @ z[:, 1]) ** 2) for s in (-1, 1)])
        want = w1**2 * q1 + w2**2 * q2
        tally.add(float(apart) - want, 1e-12, f"q is {apart:.8g} with independent weights, not {want:.8g}")
    tally.add(float(not _refused()), 0.5, "qcmap accepts a sum of layers with shared weights")
    return tally.outcome()


def _refused() -> bool:
    b = qc.Builder("shared")
    x, y = b.input("x", channels=4), b.input("y", channels=4)
    h = b.sum([b.affine(x, 4, parameters="W"), b.affine(y, 4, parameters="W")])
    try:
        qc.network_maps(b.build(outputs=[h]))
    except ArchitectureError:
        return True
    return False
