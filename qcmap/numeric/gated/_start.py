"""Initial values of the reduced variables from random initial weights, which the paper leaves open."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from qcmap.architecture.gated._checks import check_count, check_kind
from qcmap.errors import ArgumentError, NumericalError
from qcmap.numeric.gated._decouple import Decoupled
from qcmap.numeric.gated._full import FullFlow, Weights, checked_weights
from qcmap.numeric.gated._solve import solve
from qcmap.symbolic.gated._reduced import Reduced

Array: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Projection:
    """Decoupled weights near given ones: a local optimum of the distance.

    Attributes
    ----------
    values
        The variables, [classes, modes], of either sign: turning a hidden direction round changes those on both sides.
    weights
        The decoupled weights themselves.
    share
        How much of the given weights' squared norm they have: 1 if these are decoupled and equal within classes.
    parts, reduced
        The decoupled modes, and the dynamics of the variables.
    given
        The weights that were projected.
    """

    values: Array
    weights: dict[str, Array]
    share: float
    parts: Decoupled
    reduced: Reduced
    given: Mapping[str, Array]

    @property
    def start(self) -> Array:
        """The sizes of the variables, an estimate to start the reduced dynamics from.

        Where the product along a path is negative, the growing direction of a layer wider than its modes has it
        positive, with about the same size: it is the sign that the targets ask for.
        """
        return np.abs(self.values)

    def departure(self, times: Sequence[float] | Array) -> float:
        """The largest difference of the predicted loss from that of the full flow, relative to its first.

        Zero for decoupled weights; for others what the estimate of the start leaves out.
        Raises `ArgumentError` for times that do not begin at 0 or do not grow.
        """
        losses = FullFlow(self.parts.network).flow(self.given, times).losses
        predicted = solve(self.reduced, self.start, times).losses
        return float(np.abs(predicted - losses).max() / abs(losses[0]))

    def __repr__(self) -> str:
        classes, modes = self.values.shape
        return f"<projection on {classes} variables of {modes} modes, share {self.share:.3f}>"

    def to_dict(self) -> dict[str, Any]:
        """Values and share as plain data."""
        return {"values": self.values.tolist(), "share": self.share}


def project(parts: Decoupled, reduced: Reduced, weights: Weights, *, sweeps: int = 2000) -> Projection:
    """Weights R_t B R_s^T of (9), B diagonal and equal within classes, locally nearest to given ones.

    For given R the nearest B of a class is the mean of diag(R_t^T W R_s) over its edges, and the distance falls by the
    sum over classes of (number of edges) * B^2. That is convex in the R of one layer, so replacing it by the orthogonal
    factor of its gradient never lowers the sum; layers take turns until nothing changes.
    Each turn is exact, but where they settle, a local optimum, depends on the first R: there may be nearer weights.

    Raises
    ------
    ArgumentError
        If the reduced dynamics are those of another network, an edge has no finite matrix of its shape, or all
        weights are zero.
    NumericalError
        If the sum still grows after so many sweeps.
    """
    check_kind("parts", parts, Decoupled, "give decouple(network)")
    check_kind("reduced", reduced, Reduced, "give reduce(network)")
    check_count("sweeps", sweeps)
    network = parts.network
    members = reduced.quotient.classes
    if {edge for edges in members for edge in edges} != set(network.edges) or reduced.modes != parts.count:
        raise ArgumentError("reduced", f"it is not that of {network.architecture.name}", "give reduce(parts)")
    weights = checked_weights(network, weights)
    with np.errstate(over="ignore"):
        norm = sum(float((weights[edge] ** 2).sum()) for edge in network.edges)
    if not 0 < norm < np.inf:
        raise ArgumentError("weights", f"their squared norm is {norm}, so they have no direction", "scale them")
    ends = {edge: network.ends(edge) for edge in network.edges}
    rotations = _first(parts, weights)
    hidden = [layer for layer in rotations if layer not in parts.bases]
    touching = {layer: [edge for edge in network.edges if layer in ends[edge]] for layer in hidden}
    of_edge = {edge: k for k, edges in enumerate(members) for edge in edges}
    before = -1.0
    for _ in range(sweeps):
        for layer in hidden:
            values = _values(members, ends, rotations, weights)
            slope = np.zeros_like(rotations[layer])
            for edge in touching[layer]:
                source, target = ends[edge]
                b = values[of_edge[edge]]
                if target == layer:
                    slope += (weights[edge] @ rotations[source]) * b
                if source == layer:
                    slope += (weights[edge].T @ rotations[target]) * b
            rotations[layer] = _orthogonal(slope, rotations[layer])
        values = _values(members, ends, rotations, weights)
        total = sum(len(edges) * float((b**2).sum()) for edges, b in zip(members, values, strict=True))
        if total - before <= 1e-13 * total:
            break
        before = total
    else:
        raise NumericalError("project", f"it has not settled after {sweeps} sweeps", "give more")
    nearest = {e: (rotations[ends[e][1]] * values[of_edge[e]]) @ rotations[ends[e][0]].T for e in network.edges}
    return Projection(values, nearest, total / norm, parts, reduced, dict(weights))


def _values(
    members: tuple[tuple[str, ...], ...], ends: Mapping[str, tuple[int, int]], rotations: Mapping[int, Array],
    weights: Weights,
) -> Array:  # fmt: skip
    """The mean of diag(R_t^T W R_s) over each class."""

    def diagonal(edge: str) -> Array:
        source, target = ends[edge]
        return np.einsum("im,im->m", rotations[target], weights[edge] @ rotations[source])

    return np.stack([np.mean([diagonal(edge) for edge in edges], axis=0) for edges in members])


def _first(parts: Decoupled, weights: Weights) -> dict[int, Array]:
    """R of every layer to start from: where the edges into a hidden layer take the modes of the layers before it."""
    network, rotations = parts.network, dict(parts.bases)
    into: dict[int, list[str]] = {}
    for edge in network.edges:
        into.setdefault(network.ends(edge)[1], []).append(edge)
    for layer, edges in into.items():
        if layer in rotations:
            continue
        rows = network.shape(edges[0])[0]
        image = np.zeros((rows, parts.count))
        for edge in edges:
            source = network.ends(edge)[0]
            if source in rotations:
                image += weights[edge] @ rotations[source]
        rotations[layer] = _orthogonal(image, np.eye(rows, parts.count))
    return rotations


def _orthogonal(slope: Array, now: Array) -> Array:
    """The matrix with orthonormal columns nearest in direction; modes that do not fit, or without a slope, stay out."""
    found = np.zeros_like(slope)
    fit = min(slope.shape)
    if np.linalg.norm(slope) == 0:
        return now
    left, _, right = np.linalg.svd(slope[:, :fit], full_matrices=False)
    found[:, :fit] = left @ right
    return found
