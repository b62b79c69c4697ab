"""First integrals of gated networks and lumping by equitable partitions (ours; docs/gated.md)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from qcmap.gated import FullFlow, GatedNetwork, decouple, multimodal, random_weights, reduce, routing, sharing, tree
from theory_checks.gated_networks import Array, plain_gradient, random_network
from theory_checks.registry import Outcome, Tally, checks

Integrals = Callable[[GatedNetwork, dict[str, Array]], dict[int, Array]]


def _integrals(network: GatedNetwork, weights: dict[str, Array]) -> dict[int, Array]:
    return FullFlow(network).integrals(weights)


def _one_sided(network: GatedNetwork, weights: dict[str, Array]) -> dict[int, Array]:
    """Only what leads into a layer."""
    found: dict[int, Array] = {}
    for edge in network.edges:
        layer = network.ends(edge)[1]
        if layer in network.hidden:
            found[layer] = found.get(layer, 0) + weights[edge] @ weights[edge].T
    return found


@checks(
    "nrr-09",
    part="integrals",
    source="ours, from NRR 3 (3)",
    claim="For each hidden layer the sum of W W^T over edges in, less that of W^T W over edges out, is conserved",
    subject=_integrals,
    broken=_one_sided,
)
def conserved(subject: Integrals, effort: int) -> Outcome:
    """Its derivative along the gradient flow, by steps in the imaginary direction, on random graphs."""
    tally = Tally()
    for seed in range(100, 100 + 8 * effort):
        network, contexts = random_network(seed, contexts=3)
        weights = random_weights(network, gain=0.8, kind="gaussian", seed=seed)
        gradient = plain_gradient(network.architecture, contexts, weights)
        scale = max(float(np.abs(matrix).max()) for matrix in gradient.values())
        # Integrals are quadratic, so the difference across a step to both sides is twice the derivative.
        ahead, behind = ({e: w - h * gradient[e] for e, w in weights.items()} for h in (1.0, -1.0))
        before, after = subject(network, behind), subject(network, ahead)
        for layer in network.hidden:
            rate = float(np.abs(after[layer] - before[layer]).max()) / 2
            tally.add(rate / scale, 1e-12, f"layer {layer} of network {seed} changes at {rate:.2g}")
    return tally.outcome()


Partition = Callable[[GatedNetwork], Sequence[Sequence[str]]]


def _coarsest(network: GatedNetwork) -> Sequence[Sequence[str]]:
    return reduce(network).quotient.classes


def _coarser(network: GatedNetwork) -> Sequence[Sequence[str]]:
    """The first two classes of equal shape made one."""
    classes = [list(edges) for edges in _coarsest(network)]
    shapes = [network.shape(edges[0]) for edges in classes]
    for b in range(len(classes)):
        for a in range(b):
            if shapes[a] == shapes[b]:
                return [c for k, c in enumerate(classes) if k not in (a, b)] + [classes[a] + classes[b]]
    return classes


@checks(
    "nrr-09",
    part="lumping",
    source="ours, from NRR 3.1 (10)",
    claim="Edges of one class of the coarsest equitable partition that start equal stay equal",
    subject=_coarsest,
    broken=_coarser,
)
def lumping(subject: Partition, effort: int) -> Outcome:
    """The full gradient at weights that are equal within classes, decoupled or not."""
    random, tally = np.random.default_rng(9), Tally()
    data = (np.eye(3), random.standard_normal((3, 3)))
    networks = [routing(4, 2, width=3, hidden_layers=3, data=data), tree(3, 2, width=3, data=data)]
    networks += [multimodal(3, 2, width=3, data=data), sharing(4, (1, 4), width=3, data=data)]
    for network in networks[: 3 + effort]:
        assert decouple(network).exact
        classes = subject(network)
        weights = {}
        for edges in classes:
            matrix = random.standard_normal(network.shape(edges[0]))
            weights |= dict.fromkeys(edges, matrix)
        gradient = FullFlow(network).gradient(weights)[1]
        for edges in classes:
            first = gradient[edges[0]]
            gap = max(float(np.abs(gradient[edge] - first).max()) for edge in edges)
            name = network.architecture.name
            tally.add(gap / max(float(np.abs(first).max()), 1e-3), 1e-11, f"{name}: {edges[0]} and others differ")
    return tally.outcome()
