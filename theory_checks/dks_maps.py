"""Local Q and C maps by definition: DKS, sections 6.1, 6.2 and 8.1.1."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Protocol

import mpmath as mp
import numpy as np

from qcmap.activations import CATALOGUE
from qcmap.numeric import local_maps
from theory_checks.oracles import ACTIVATIONS, Number, normalised, precise, second_moment
from theory_checks.registry import Outcome, Tally, checks


class QMap(Protocol):
    """Q or Q' of a named activation at q."""

    def __call__(self, name: str, q: float) -> float:
        """The value."""
        ...


class CMap(Protocol):
    """C of a named activation at (c, q1, q2)."""

    def __call__(self, name: str, c: float, q1: float, q2: float) -> float:
        """The value."""
        ...


def library_q(name: str, q: float) -> float:
    """Q(q) by qcmap."""
    return float(local_maps(name).q(q))


def library_dq(name: str, q: float) -> float:
    """Q'(q) by qcmap."""
    return float(local_maps(name).dq(q))


def library_c(name: str, c: float, q1: float, q2: float) -> float:
    """C(c, q1, q2) by qcmap."""
    return float(local_maps(name).c(c, q1, q2))


@checks(
    "dks-06",
    part="q",
    source="DKS 6.1 (5)",
    claim="Q(q) = E phi(sqrt(q) x)^2",
    subject=library_q,
    broken=lambda name, q: library_q(name, q * q),
)
@precise
def q_maps(subject: QMap, effort: int) -> Outcome:
    """Against 30-digit integrals, at random q in [0.1, 10]."""
    random, tally = np.random.default_rng(6), Tally()
    for name, phi in ACTIVATIONS.items():
        for q in np.exp(random.uniform(math.log(0.1), math.log(10), 2 * effort)):
            want = second_moment(phi, float(q))
            tally.add(subject(name, float(q)) / want - 1, 1e-12, f"Q of {name} at q = {q:.6g} is {mp.nstr(want, 15)}")
    return tally.outcome()


@checks(
    "dks-06",
    part="c",
    source="DKS 6.2 (6), (7)",
    claim="C(c, q1, q2) = E[phi(u1) phi(u2)] / sqrt(Q(q1) Q(q2)) for (u1, u2) of variances q1, q2 and correlation c",
    subject=library_c,
    broken=lambda name, c, q1, q2: library_c(name, c, math.sqrt(q1 * q2), math.sqrt(q1 * q2)),
)
@precise
def c_maps(subject: CMap, effort: int) -> Outcome:
    """Against Mehler's series with 30-digit coefficients for abs(c) <= 0.4, and one integral at c = 1 and -1."""
    tally = Tally()
    for name, c, q1, q2, want in _c_values(effort):
        witness = f"C of {name} at c = {c:.4g}, q = {q1:.4g}, {q2:.4g} is {mp.nstr(want, 15)}"
        tally.add(subject(name, c, q1, q2) - want, 1e-12, witness)
    return tally.outcome()


@lru_cache(maxsize=2)
def _c_values(effort: int) -> list[tuple[str, float, float, float, Number]]:
    random, rows = np.random.default_rng(62), []
    for name in ("tanh", "gelu", "relu", "selu", "hardtanh", "softplus"):
        for _ in range(effort):
            q1, q2 = (float(q) for q in np.exp(random.uniform(-1.5, 1.5, 2)))
            cosines = (float(random.uniform(-0.4, 0.4)), 1.0, -1.0)
            rows.extend((name, c, q1, q2, normalised(ACTIVATIONS[name], c, q1, q2)) for c in cosines)
    return rows


def one_sided(name: str, c: float, q1: float, q2: float) -> float:
    """The C map normalised by the smaller Q alone, which does not bound the numerator."""
    maps = local_maps(name)
    big, small = float(maps.q(max(q1, q2))), float(maps.q(min(q1, q2)))
    return library_c(name, c, q1, q2) * math.sqrt(big / small)


@checks(
    "dks-06",
    part="range",
    source="DKS 6.2",
    claim="C maps send [-1, 1] into [-1, 1], for every activation and all q values",
    subject=library_c,
    broken=one_sided,
)
def c_range(subject: CMap, effort: int) -> Outcome:
    """At random points and the ends, and by Cauchy-Schwarz exactly 1 at c = 1 with equal q."""
    random, tally = np.random.default_rng(63), Tally()
    for name in CATALOGUE:
        for _ in range(effort):
            q1, q2 = (float(q) for q in np.exp(random.uniform(-1, 1, 2)))
            for c in (-1.0, float(random.uniform(-1, 1)), 1.0):
                excess = max(0.0, abs(subject(name, c, q1, q2)) - 1)
                tally.add(excess, 1e-12, f"abs C of {name} is 1 + {excess:.2g} at c = {c:.3g}, q = {q1:.3g}, {q2:.3g}")
            tally.add(subject(name, 1.0, q1, q1) - 1, 1e-12, f"C of {name} at c = 1, q = {q1:.3g} is not 1")
    return tally.outcome()


@checks(
    "dks-08",
    part="derivative",
    source="DKS 8.1.1",
    claim="Q'(q) = E[phi(sqrt(q) x) phi'(sqrt(q) x) x] / sqrt(q) is the derivative of Q",
    subject=library_dq,
    broken=lambda name, q: library_dq(name, q) * math.sqrt(q),
)
@precise
def q_derivatives(subject: QMap, effort: int) -> Outcome:
    """Against a central difference of the 30-digit Q, extrapolated once: error about h^4 = 1e-16."""
    random, tally = np.random.default_rng(8), Tally()
    for name, phi in ACTIVATIONS.items():
        for q in (mp.mpf(float(q)) for q in np.exp(random.uniform(-1.5, 1.5, effort))):
            coarse, fine = (
                (second_moment(phi, q + h) - second_moment(phi, q - h)) / (2 * h) for h in (q / 5000, q / 10000)
            )
            want = (4 * fine - coarse) / 3
            witness = f"Q' of {name} at q = {mp.nstr(q, 6)} is {mp.nstr(want, 12)}"
            tally.add((subject(name, float(q)) - want) / max(1, abs(want)), 1e-12, witness)
    return tally.outcome()


@checks(
    "dks-08",
    part="continuity",
    source="DKS 8.1.1",
    claim="Kinks of a continuous phi do not matter: Q' integrates back to Q between any two q values",
    subject=library_dq,
    broken=lambda name, q: library_dq(name, q) + (1e-6 if name in ("relu6", "hardswish") else 0),
)
def q_increments(subject: QMap, effort: int) -> Outcome:
    """Gauss-Legendre in log q over a factor of two, for every activation of the catalogue."""
    nodes, weights = np.polynomial.legendre.leggauss(20)
    tally = Tally()
    for name in CATALOGUE:
        for start in np.geomspace(0.25, 4, effort + 1)[:-1]:
            logs = math.log(start) + math.log(2) * (nodes + 1) / 2
            slopes = np.array([subject(name, math.exp(s)) * math.exp(s) for s in logs])
            rise = library_q(name, 2 * float(start)) - library_q(name, float(start))
            found = math.log(2) / 2 * float(weights @ slopes)
            size = max(1.0, abs(rise))
            tally.add(
                (found - rise) / size, 1e-9, f"Q of {name} rises by {rise:.12g} from q = {start:.3g} to its double"
            )
    return tally.outcome()
