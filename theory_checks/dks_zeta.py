"""Global slope bounds near 1 make networks near-linear, very large ones their C maps degenerate: DKS, 16.6, 24.6.

What the statement says of the maps; that training is slow at both ends is for experiments.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

import qcmap as qc
from theory_checks.registry import Array, Outcome, Tally, checks

MapOf = Callable[[qc.Architecture, float], Callable[[Array], Array]]
"""From an architecture and zeta to the network's C map."""

_GRID = np.cos(np.linspace(0, np.pi, 81))


def shaped(arch: qc.Architecture, zeta: float) -> Callable[[Array], Array]:
    """The C map under Deep Kernel Shaping."""
    return qc.network_maps(arch, qc.dks(arch, zeta)).c


def _plain(arch: qc.Architecture, zeta: float) -> Callable[[Array], Array]:
    """The C map of the activations as they are, whatever zeta."""
    return qc.network_maps(arch).c


def _moderate(arch: qc.Architecture, zeta: float) -> Callable[[Array], Array]:
    """The C map for the default bound, whatever zeta."""
    return shaped(arch, 1.5)


def _architectures(effort: int) -> list[qc.Architecture]:
    chains = [qc.zoo.mlp(depth, activation=name) for depth in (20, 60) for name in ("tanh", "softplus", "gelu")]
    return [*chains, *(qc.zoo.wide_resnet(16, activation=name) for name in ("tanh", "swish")[:effort])]


@checks(
    "dks-57",
    part="near 1",
    kind="claim",
    source="DKS 16.6, 24.6",
    claim="As zeta tends to 1 the C map tends to the identity: abs(C_f(c) - c) <= 2 (zeta - 1), by Theorem 13",
    subject=shaped,
    broken=_plain,
)
def near_one(subject: MapOf, effort: int) -> Outcome:
    """On a grid of c; and a smaller zeta is nearer to the identity."""
    tally = Tally()
    for arch in _architectures(effort):
        last = np.inf
        for excess in (0.3, 0.03, 0.003):
            distance = float(np.abs(subject(arch, 1 + excess)(_GRID) - _GRID).max())
            where = f"{arch.name} at zeta = 1 + {excess:g} is {distance:.3g} from the identity"
            tally.add(distance, 2 * excess, where)
            tally.add(distance, last, f"{where}, no nearer than for a larger zeta")
            last = distance
    return tally.outcome()


@checks(
    "dks-57",
    part="very large",
    kind="claim",
    source="DKS 16.6, 24.6",
    claim="As zeta grows a chain squashes c values towards 0: C_f(c) falls, and at zeta = 1e8 is below 0.01 for "
    "abs(c) <= 0.8",
    subject=shaped,
    broken=_moderate,
)
def very_large(subject: MapOf, effort: int) -> Outcome:
    """On a grid of c, for zeta = 1.5, 100, 1e4 and 1e8 at depths of 60 and more."""
    tally, c = Tally(), np.linspace(-0.8, 0.8, 33)
    for depth in (60, 100)[: effort + 1]:
        for name in ("tanh", "softplus", "gelu"):
            arch, last = qc.zoo.mlp(depth, activation=name), 1.0
            for zeta in (1.5, 1e2, 1e4, 1e8):
                most = float(np.abs(subject(arch, zeta)(c)).max())
                where = f"{arch.name} at zeta = {zeta:g} sends abs(c) <= 0.8 to abs(c) <= {most:.3g}"
                tally.add(most, last, f"{where}, no lower than for a smaller zeta")
                last = most
            tally.add(last, 0.01, f"{arch.name} at zeta = 1e8 sends abs(c) <= 0.8 to abs(c) <= {last:.3g}")
    return tally.outcome()
