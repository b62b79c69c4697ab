"""Q'(1) and how well q values are predicted: DKS, section 15 and appendix K.

A layer of width m gives q_(l+1) = Q(q_l) (1 + noise) with noise of variance v/m. Near q = 1 deviations add as

    Var q_L = (v/m) sum_(j < L) Q'(1)^(2j):

bounded for Q'(1) < 1, growing linearly for 1, geometrically beyond. The paper's network with Q'(1) = 1.01 diverges
rapidly; in fully-connected networks of depth 50 with SUO weights deviations grow as this says, which is not yet rapid.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache

import numpy as np

import qcmap as qc
from qcmap.numeric import Transform
from theory_checks.dks_weights import suo
from theory_checks.registry import Array, Outcome, Tally, checks

DEPTH = 50
SLOPES = (0.95, 1.0, 1.01)


@lru_cache(maxsize=8)
def _shaped(slope: float) -> Transform:
    """The shaped softplus at depth 50 and zeta = 1.5, with this Q'(1)."""
    return qc.dks(qc.zoo.mlp(DEPTH, activation="softplus"), 1.5, q_slope=slope)["softplus"]


@lru_cache(maxsize=8)
def _empirical(slope: float, width: int, networks: int, inputs: int) -> Array:
    """Q values [networks, layers, inputs] of shaped softplus networks of depth 50 with this Q'(1)."""
    transform = _shaped(slope)
    random = np.random.default_rng(56)
    x = random.standard_normal((networks, width, inputs))
    x /= np.sqrt((x**2).mean(axis=1, keepdims=True))
    found = []
    for layer in range(DEPTH):
        x = transform(suo(width, width, networks, 5600 + layer) @ x)
        found.append((x**2).mean(axis=1))
    return np.stack(found, axis=1)


@checks(
    "dks-56",
    part="spread",
    source="DKS 15, K",
    claim="Empirical q values spread from layer 5 on as the root of sum_j Q'(1)^(2j): stable for 0.95, like "
    "sqrt(depth) for 1, more for 1.01, with single networks far above",
    subject=lambda slope, layers: math.sqrt(sum(slope ** (2 * j) for j in range(layers))),
    broken=lambda slope, layers: math.sqrt(layers),
    kind="stat",
    false_alarm=2e-2,
)
def spread(subject: Callable[[float, int], float], effort: int) -> Outcome:
    """SUO weights, width 64, 48 networks of 4 inputs each.

    Spread is half the range of the middle 68%, which single diverging networks do not move. Its log has a standard
    error of about 0.13 for 48 independent values (inputs of one network count as one); at 50 against 5 layers allowed
    are 0.55, three times the error of the difference and more, where the broken subject is off by 0.7.
    """
    tally, seen = Tally(), []
    for slope in SLOPES:
        q = _empirical(slope, 64, 48 * effort, 4)
        sizes = {layer: float(np.ptp(np.quantile(q[:, layer - 1], [0.16, 0.84]))) / 2 for layer in (5, 20, 50)}
        seen.append(
            f"Q'(1) = {slope:g}: the spread of q is " + ", ".join(f"{s:.3f} at layer {n}" for n, s in sizes.items())
        )
        for layer in (20, 50):
            want = subject(slope, layer) / subject(slope, 5)
            tally.add(
                math.log(sizes[layer] / sizes[5] / want), 0.55, f"{seen[-1]}; growth from 5 to {layer}: {want:.3f}"
            )
        seen[-1] += f", the largest {q.max():.3g}"
    return tally.outcome("; ".join(seen))


def quadrature_q_map(slope: float) -> Callable[[float], float]:
    """Q of the shaped softplus with this Q'(1), by Gauss-Hermite quadrature with 100 nodes."""
    transform = _shaped(slope)
    x, w = np.polynomial.hermite_e.hermegauss(100)

    def q_map(q: float) -> float:
        return float(w @ transform(math.sqrt(q) * x) ** 2 / w.sum())

    return q_map


@checks(
    "dks-56",
    part="map",
    source="DKS 15, K",
    claim="Under the Q map a deviation of q from 1 is multiplied by Q'(1)^50 in 50 layers: 0.077, 1 and 1.64 for Q'(1) "
    "of 0.95, 1 and 1.01; far from 1 it dies out for 0.95 and grows without bound for 1.01",
    subject=lambda slope, layers: slope**layers,
    broken=lambda slope, layers: slope ** (2 * layers),
)
def q_maps(subject: Callable[[float, int], float], effort: int) -> Outcome:
    """Deviations of 1e-4, to first order, and of 0.5 for 600 layers."""
    tally = Tally()
    for slope in SLOPES:
        q_map, small, large = quadrature_q_map(slope), 1 + 1e-4, 1.5
        for _ in range(DEPTH):
            small = q_map(small)
        want = subject(slope, DEPTH)
        grown = (small - 1) / 1e-4
        tally.add(
            grown / want - 1, 1e-3, f"Q'(1) = {slope:g}: a deviation is multiplied by {grown:.5f}, not {want:.5f}"
        )
        for _ in range(600 * effort):
            large = min(q_map(large), 1e9)
        if slope != 1:
            gone = large > 1e6 if slope > 1 else abs(large - 1) < 1e-6
            tally.add(float(not gone), 0.5, f"Q'(1) = {slope:g}: q = 1.5 becomes {large:.4g}")
    return tally.outcome()
