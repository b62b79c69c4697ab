"""The change of variables (9): bases in which the statistics are diagonal, and the network of one mode each (10)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from qcmap.architecture.gated._checks import check_kind
from qcmap.architecture.gated._network import GatedNetwork
from qcmap.architecture.gated._rewrite import merged, split_inputs
from qcmap.architecture.gated._tables import Blocks, Coded
from qcmap.architecture.gated._task import GatedTask
from qcmap.errors import ArgumentError
from qcmap.numeric.gated._diagonal import Statistic, joint_bases, off_diagonal

Array: TypeAlias = NDArray[np.float64]

TOLERANCE = 1e-8
"""Statistics with a smaller share off the diagonal count as jointly diagonalizable."""


@dataclass(frozen=True, eq=False)
class Decoupled:
    """A network in the bases that diagonalize its statistics, or come close.

    Attributes
    ----------
    network
        The network with matrices, contexts of equal gates merged, inputs split if that was needed.
    modes
        The same with arrays in place of matrices: the entry of each mode, strongest first.
    bases
        For each layer with an input or output, [channels, modes]: V and U of (7)-(8); a zero column where a mode is
        absent.
    residual
        The largest share of a statistic off the diagonal, in Frobenius norm: 0 if jointly diagonalizable.
    split
        Whether inputs were split, an own basis for each edge that reads one.
    """

    network: GatedNetwork
    modes: GatedNetwork
    bases: Mapping[int, Array]
    residual: float
    split: bool

    @property
    def count(self) -> int:
        """The number of modes."""
        return next(iter(self.bases.values())).shape[1]

    @property
    def exact(self) -> bool:
        """Whether the statistics are jointly diagonal to 1e-8."""
        return self.residual <= TOLERANCE

    @cached_property
    def lost(self) -> dict[int, int]:
        """For each layer with an input or output, how many of its directions have no mode: channels less rank."""
        return {
            layer: len(basis) - int(np.any(basis != 0, axis=0).sum()) for layer, basis in sorted(self.bases.items())
        }

    @cached_property
    def repeated(self) -> tuple[tuple[int, ...], ...]:
        """The sets of modes with equal entries in all statistics, to 1e-8: any rotation of their vectors is as good."""
        task = self.modes.task
        entries = np.stack([*task.yx.value.values, *task.xx.value.values])
        close = TOLERANCE * np.abs(entries).max(axis=1, keepdims=True)
        sets: list[list[int]] = []
        for mode in range(self.count):
            alike = (np.abs(entries - entries[:, [mode]]) <= close).all(axis=0)
            first = int(np.argmax(alike))
            known = next((found for found in sets if found[0] == first), None)
            if known is None:
                sets.append([mode])
            else:
                known.append(mode)
        return tuple(tuple(found) for found in sets if len(found) > 1)

    def widths(self) -> tuple[int, ...]:
        """For each edge, how many of the modes, strongest first, fit through the layers at its ends."""
        sizes: dict[int, int] = {}
        for edge in self.network.edges:
            (rows, columns), (source, target) = self.network.shape(edge), self.network.ends(edge)
            sizes[source], sizes[target] = columns, rows
        # A layer with a basis has room for every mode that it has; others carry as many as they are wide.
        room = {layer: self.count if layer in self.bases else size for layer, size in sizes.items()}
        return tuple(min(self.count, *(room[end] for end in self.network.ends(edge))) for edge in self.network.edges)

    def __repr__(self) -> str:
        modes = "1 mode" if self.count == 1 else f"{self.count} modes"
        parts = [f"{modes} of {self.network.architecture.name}", f"residual {self.residual:.1e}"]
        if lost := sum(self.lost.values()):
            parts.append(f"{lost} directions without a mode" if lost > 1 else "1 direction without a mode")
        if self.repeated:
            parts.append("repeated: modes " + ", ".join("=".join(map(str, alike)) for alike in self.repeated))
        return f"<{', '.join(parts)}>"

    def to_dict(self) -> dict[str, Any]:
        """Modes, lost directions by layer, repeated modes, residual, whether inputs were split, and bases by layer."""
        bases = {str(layer): basis.tolist() for layer, basis in self.bases.items()}
        return {
            "modes": self.count, "lost": {str(layer): count for layer, count in self.lost.items()},
            "repeated": [list(alike) for alike in self.repeated], "residual": self.residual, "split": self.split,
            "bases": bases,
        }  # fmt: skip


def decouple(network: GatedNetwork) -> Decoupled:
    """Find the bases of (7)-(8), test them, and write the network mode by mode.

    The test is made on moments context by context, contexts with equal gates merged first. That they are diagonal
    implies it for the statistics (5)-(6) of all paths, which are sums of them. If they are not, each edge that reads an
    input gets a basis of its own: enough for pathways that are never open together.

    Raises
    ------
    ArgumentError
        For what is no network, one whose moments are modes already, or without a moment <y x^T> other than zero.
    """
    check_kind("network", network, GatedNetwork, "build one, such as routing(7, 4)")
    if not network.task.is_matrix:
        raise ArgumentError("network", "its moments are those of modes already", "reduce it as it is")
    network = merged(network)
    found = _in_bases(network, split=False)
    if found.exact:
        return found
    apart = _in_bases(split_inputs(network), split=True)
    return apart if apart.residual < 0.1 * found.residual else found


def _in_bases(network: GatedNetwork, *, split: bool) -> Decoupled:
    statistics, layers = _statistics(network)
    groups = _groups(statistics)
    # Layers that see the same matrices share a basis; if that fails and one for each does not, they do.
    bases, residual = _shared(statistics, {layer: groups[layer] for layer in layers})
    if residual > TOLERANCE and len(set(groups.values())) < len(layers):
        own, smaller = _shared(statistics, {layer: layer for layer in layers})
        if smaller <= TOLERANCE:
            bases, residual = own, smaller
    if next(iter(bases.values())).shape[1] == 0:
        raise ArgumentError("network", "all its moments <y x^T> are zero", "give targets that inputs predict")
    return Decoupled(network, _modes(network, bases), bases, residual, split)


def _shared(
    statistics: Mapping[tuple[Hashable, int, int], Array], spaces: Mapping[int, Hashable]
) -> tuple[dict[int, Array], float]:
    """Bases where the layers of one space have one, and their residual."""
    distinct = {(k, spaces[a], spaces[b]): matrix for (k, a, b), matrix in statistics.items()}
    listed: list[Statistic] = [(a, b, matrix) for (_, a, b), matrix in distinct.items()]
    found = joint_bases(listed)
    return {layer: found[space] for layer, space in spaces.items()}, off_diagonal(listed, found)


def _layers(network: GatedNetwork, *, outputs: bool) -> list[int]:
    names = network.architecture.outputs if outputs else network.architecture.inputs
    return [network.layers[name] for name in names]


def _triples(network: GatedNetwork, *, targets: bool) -> tuple[Blocks, NDArray[np.int64]]:
    """The blocks, and for each the position of its matrix, of its row's layer and of its column's."""
    blocks = network.task.yx if targets else network.task.xx
    rows = np.array(_layers(network, outputs=targets), dtype=np.int64)
    columns = np.array(_layers(network, outputs=False), dtype=np.int64)
    return blocks, np.stack([blocks.value.ids, rows[blocks.row], columns[blocks.column]], axis=1)


def _statistics(network: GatedNetwork) -> tuple[dict[tuple[Hashable, int, int], Array], list[int]]:
    """The distinct moments by (which, row layer, column layer), and the layers."""
    found: dict[tuple[Hashable, int, int], Array] = {}
    for targets in (True, False):
        blocks, triples = _triples(network, targets=targets)
        for k, a, b in np.unique(triples, axis=0).tolist():
            found[(targets, k), a, b] = blocks.value.values[k]
    return found, sorted({layer for _, *ends in found for layer in ends})


def _groups(statistics: Mapping[tuple[Hashable, int, int], Array]) -> dict[int, Hashable]:
    seen: dict[int, set[tuple[Hashable, str]]] = defaultdict(set)
    for k, a, b in statistics:
        seen[a].add((k, "row"))
        seen[b].add((k, "column"))
    return {layer: frozenset(found) for layer, found in seen.items()}


def _modes(network: GatedNetwork, bases: Mapping[int, Array]) -> GatedNetwork:
    """The network with each matrix replaced by its diagonal in the bases."""
    replaced = []
    for targets in (True, False):
        blocks, triples = _triples(network, targets=targets)
        distinct, inverse = np.unique(triples, axis=0, return_inverse=True)
        diagonals: dict[tuple[int, int, int], Array] = {}
        values = []
        for k, a, b in distinct.tolist():
            key = (k, id(bases[a]), id(bases[b]))
            if key not in diagonals:
                diagonals[key] = np.einsum("im,ij,jm->m", bases[a], blocks.value.values[k], bases[b])
            values.append(diagonals[key])
        coded = Coded.of(values)
        replaced.append(blocks.with_values(Coded(coded.ids[inverse.reshape(-1)], coded.values)))
    task = network.task
    return network.with_task(
        GatedTask(
            task.contexts, task.inputs, task.outputs, task.probability, task.gates, replaced[1], replaced[0], task.yy
        )
    )
