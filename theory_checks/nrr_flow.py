"""Gradient flow of gated networks and its decoupling: Neural Race Reduction, sections 3 and 3.1, appendix B."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from qcmap.gated import FullFlow, GatedNetwork, decouple, decoupled_weights, random_weights, reduce, statistics
from qcmap.numeric.gated._reduce import layer_bases
from theory_checks.gated_networks import Array, diagonal_network, plain_gradient, random_network
from theory_checks.registry import Outcome, Tally, checks

Gradient = Callable[[GatedNetwork, dict[str, Array]], dict[str, Array]]


def path_sums(network: GatedNetwork, weights: dict[str, Array], *, own_only: bool = False) -> dict[str, Array]:
    """Equations (3)-(6): sums over all paths; with ``own_only`` the error (4) has the term j = p alone."""
    found, channels = statistics(network), network.architecture.channels

    def product(edges: tuple[str, ...], size: Any) -> Array:
        total = np.eye(size)
        for edge in edges:
            total = weights[edge] @ total
        return total

    rates = {edge: np.zeros(matrix.shape) for edge, matrix in weights.items()}
    for p, path in enumerate(found.paths):
        error: Any = found.yx.get(p, 0)
        for j, other in enumerate(found.paths):
            if (j, p) in found.x and (j == p or not own_only):
                error = error - product(other.edges, channels[other.source]) @ found.x[j, p]
        for k, edge in enumerate(path.edges):
            if np.ndim(error) == 2:
                after = product(path.edges[k + 1 :], weights[edge].shape[0])
                rates[edge] += after.T @ error @ product(path.edges[:k], channels[path.source]).T
    return {edge: -rate for edge, rate in rates.items()}


def library(network: GatedNetwork, weights: dict[str, Array]) -> dict[str, Array]:
    """The gradient by passes forward and backward, context by context."""
    return FullFlow(network).gradient(weights)[1]


@checks(
    "nrr-01",
    part="library",
    source="NRR 3 (1)-(6)",
    claim="qcmap's gradient, context by context, is that of the loss (1)",
    subject=library,
    broken=lambda network, weights: {e: g * (1 + 1e-6) for e, g in library(network, weights).items()},
)
@checks(
    "nrr-01",
    part="paths",
    source="NRR 3 (2)-(6), B (30)-(34)",
    claim="The gradient is a sum over paths from input to output nodes, with the statistics (5)-(6)",
    subject=path_sums,
    broken=lambda network, weights: path_sums(network, weights, own_only=True),
)
def gradients(subject: Gradient, effort: int) -> Outcome:
    """Against derivatives of the loss from its definition, on random graphs with skips, gates and several ends."""
    tally = Tally()
    for seed in range(8 * effort):
        network, contexts = random_network(seed, contexts=3)
        weights = random_weights(network, gain=0.8, kind="gaussian", seed=seed)
        want, found = plain_gradient(network.architecture, contexts, weights), subject(network, weights)
        scale = max(float(np.abs(matrix).max()) for matrix in want.values())
        for edge in want:
            error = float(np.abs(found[edge] - want[edge]).max()) / scale
            tally.add(error, 1e-12, f"the gradient of {edge} in network {seed} is off by {error:.2g}")
    return tally.outcome()


Rate = Callable[[GatedNetwork, dict[str, Array], dict[int, Array]], dict[str, Array]]


def _changed(
    network: GatedNetwork, b: dict[str, Array], frames: dict[int, Array], *, transposed: bool = True
) -> dict[str, Array]:
    """Equation (38) for matrices B; as printed, without transposes, or with them."""
    found = statistics(network)
    layer = network.layers

    def product(edges: tuple[str, ...], size: int) -> Array:
        total = np.eye(size)
        for edge in edges:
            total = b[edge] @ total
        return total

    def turn(matrix: Array) -> Array:
        return matrix.T if transposed else matrix

    rates = {edge: np.zeros(matrix.shape) for edge, matrix in b.items()}
    for p, path in enumerate(found.paths):
        left, right = frames[layer[path.target]], frames[layer[path.source]]
        error = np.zeros((left.shape[1], right.shape[1]))
        if p in found.yx:
            error = error + left.T @ found.yx[p] @ right
        for j, other in enumerate(found.paths):
            if (j, p) in found.x:
                first = frames[layer[other.source]]
                error = error - product(other.edges, first.shape[1]) @ (first.T @ found.x[j, p] @ right)
        for k, edge in enumerate(path.edges):
            after = product(path.edges[k + 1 :], b[edge].shape[0])
            rates[edge] += turn(after) @ error @ turn(product(path.edges[:k], right.shape[1]))
    return rates


def _printed(network: GatedNetwork, b: dict[str, Array], frames: dict[int, Array]) -> dict[str, Array]:
    return _changed(network, b, frames, transposed=False)


@checks(
    "nrr-02",
    part="variables",
    variant="as_printed",
    source="NRR B (38)",
    claim="tau dB_e/dt = sum over paths of B_t(p,e) [S(p) - sum_j B_j D(j,p)] B_s(p,e)",
    subject=_printed,
    broken=_changed,
)
@checks(
    "nrr-02",
    part="variables",
    variant="corrected",
    source="NRR B (37)-(38)",
    claim="With B_t(p,e) and B_s(p,e) transposed it holds for matrices B of any kind",
    subject=_changed,
    broken=_printed,
)
def changed_variables(subject: Rate, effort: int) -> Outcome:
    """Square layers and random matrices B, so that the printed products have matching shapes."""
    tally = Tally()
    for seed in range(4 * effort):
        network = _square(seed)
        frames, b = _frames(network, seed), {}
        random = np.random.default_rng(seed)
        weights = {}
        for edge in network.edges:
            source, target = network.ends(edge)
            b[edge] = random.standard_normal(network.shape(edge)) * 0.6
            weights[edge] = frames[target] @ b[edge] @ frames[source].T
        gradient, found = FullFlow(network).gradient(weights)[1], subject(network, b, frames)
        for edge in network.edges:
            source, target = network.ends(edge)
            want = -frames[target].T @ gradient[edge] @ frames[source]
            error = float(np.abs(found[edge] - want).max() / max(np.abs(want).max(), 1e-3))
            tally.add(error, 1e-9, f"dB/dt of {edge} in network {seed} is off by {error:.2g}")
    return tally.outcome()


def _square(seed: int) -> GatedNetwork:
    """A random diagonalizable network whose layers all have three channels."""
    network = diagonal_network(seed, modes=3)
    seeds = iter(range(seed * 1000, seed * 1000 + 1000))
    while any(network.shape(edge) != (3, 3) for edge in network.edges):
        network = diagonal_network(next(seeds), modes=3)
    return network


def _frames(network: GatedNetwork, seed: int) -> dict[int, Array]:
    return layer_bases(decouple(network), seed)


def _off(network: GatedNetwork, *, split: float = 0.0) -> tuple[float, float]:
    """How far the gradient at decoupled weights is from diagonal, and from the reduced equations."""
    parts = decouple(network)
    reduced, frames = reduce(parts), layer_bases(parts, 3)
    random = np.random.default_rng(0)
    start = random.uniform(0.2, 0.9, size=(len(reduced.symbols), parts.count))
    weights = decoupled_weights(parts, reduced, start, seed=3)
    gradient = FullFlow(network).gradient(weights)[1]
    rates = dict(zip(reduced.quotient.classes, reduced.quotient.map(_number).flow(list(start)), strict=True))
    off = on = 0.0
    for edges, rate in rates.items():
        for edge in edges:
            source, target = network.ends(edge)
            turned = -frames[target].T @ gradient[edge] @ frames[source]
            off = max(off, float(np.abs(turned - np.diag(np.diag(turned))).max()))
            on = max(on, float(np.abs(np.diag(turned) - rate * (1 + split)).max()))
    return off, on


def _number(table: str, value: Any) -> Any:
    return value if isinstance(value, np.ndarray) else float(value)


@checks(
    "nrr-02",
    part="library",
    source="NRR 3.1 (7)-(10)",
    claim="With jointly diagonalizable statistics diagonal B stay diagonal and obey (10), rectangular layers included",
    subject=_off,
    broken=lambda network: _off(network, split=1e-6),
)
def decoupled(subject: Callable[[GatedNetwork], tuple[float, float]], effort: int) -> Outcome:
    """The gradient of the full network at decoupled weights, on random graphs."""
    tally = Tally()
    for seed in range(6 * effort):
        off, on = subject(diagonal_network(seed))
        tally.add(off, 1e-10, f"network {seed} has {off:.2g} off the diagonal")
        tally.add(on, 1e-10, f"network {seed} departs by {on:.2g} from the reduced equations")
    return tally.outcome()
