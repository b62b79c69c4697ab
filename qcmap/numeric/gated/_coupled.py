"""Data that are not jointly diagonalizable: a matrix for each class of edges, between the fewest directions."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from qcmap.architecture import Affine, Architecture, Input, Node
from qcmap.architecture.gated._checks import check_kind, checked_number
from qcmap.architecture.gated._network import GatedNetwork
from qcmap.architecture.gated._tables import Blocks, Coded
from qcmap.architecture.gated._task import GatedTask
from qcmap.errors import ArgumentError
from qcmap.numeric.gated._decouple import Decoupled, decouple
from qcmap.numeric.gated._diagonal import completed
from qcmap.numeric.gated._full import checked_matrix
from qcmap.numeric.gated._integrate import checked_times, integrated
from qcmap.numeric.gated._reduce import layer_bases
from qcmap.numeric.gated._solve import Start, solve
from qcmap.symbolic.gated._lumping import lumped
from qcmap.symbolic.gated._quotient import Operations, Quotient
from qcmap.symbolic.gated._reduced import Reduced

Array: TypeAlias = NDArray[np.float64]

_ZERO = 1e-12

MATRICES = Operations(
    one=lambda channels: np.eye(channels or 0),
    forward=lambda b, cell: b @ cell,
    backward=lambda b, cell: b.T @ cell,
    outer=lambda back, front: back @ front.T,
    through=lambda front, moment, turned: front @ (moment.T if turned else moment),
)


@dataclass(frozen=True, eq=False)
class Coupled:
    """The flow of a network whose modes are coupled: one matrix for each class of edges.

    Attributes
    ----------
    parts
        The bases, which diagonalize the statistics as far as they can.
    network
        The network in these bases: inputs and outputs without directions that no statistic sees, hidden layers with one
        for each mode. From weights that are decoupled at the start, the flow never leaves these directions.
    quotient
        The lumped circuit.
    blocks
        The modes that statistics couple to each other, directly or not: matrices stay zero between different blocks.
    frames
        For each outer layer an orthonormal frame, [channels, directions that a statistic sees], its modes first.
    """

    parts: Decoupled
    network: GatedNetwork
    quotient: Quotient
    blocks: tuple[tuple[int, ...], ...]
    frames: Mapping[int, Array]

    @cached_property
    def shapes(self) -> tuple[tuple[int, int], ...]:
        """The shape of each class's matrix."""
        return tuple(self.network.shape(edges[0]) for edges in self.quotient.classes)

    @property
    def variables(self) -> int:
        """How many entries of the matrices are not zero from a start on the diagonal."""
        sizes = (tuple(sum(mode < n for mode in block) for n in s) for s in self.shapes for block in self.blocks)
        return sum(rows * columns for rows, columns in sizes)

    @cached_property
    def reduced(self) -> Reduced:
        """The decoupled prediction: what is off the diagonal left out."""
        edges = self.parts.network.edges
        quotient = lumped(self.parts.modes, self.parts.widths())
        width = dict(zip(edges, self.parts.widths(), strict=True))
        return Reduced(self.parts.modes, quotient, self.parts.count, tuple(width[c[0]] for c in quotient.classes))

    def solve(
        self, start: float | Sequence[Array], times: Sequence[float] | Array, *, rtol: float = 1e-10
    ) -> tuple[Array, list[list[Array]]]:
        """Losses at the times (units of tau, 0 first), and the matrix of each class there.

        ``start`` is a number, for matrices with it on the diagonal, or one matrix for each class.

        Raises
        ------
        ArgumentError
            For a start that does not fit, or times that do not begin with 0 and grow.
        NumericalError
            If the integration fails.
        """
        grid = checked_times(times)
        if isinstance(start, Sequence):
            begin = self._checked("start", start)
        else:
            begin = [checked_number("start", start) * np.eye(*shape) for shape in self.shapes]
        found = integrated(
            "coupled", lambda flat: _flat(self.quotient.flow(self._shaped(flat), MATRICES)), _flat(begin), grid,
            rtol=rtol, atol=1e-12,
        )  # fmt: skip
        values = [self._shaped(row) for row in found.y.T]
        return np.array([self.loss(row) for row in values]), values

    def loss(self, values: Sequence[Array]) -> float:
        """The loss (1); less its value at zero if the task has no ``<|y|^2>``."""
        values = self._checked("values", values)
        task = self.network.task
        start = 0.0 if task.yy is None else float(task.probability.numbers() @ task.yy.numbers()) / 2
        return start + float(self.quotient.loss(list(values), lambda a, b: float((a * b).sum()), MATRICES))

    def departure(self, start: float, times: Sequence[float] | Array) -> float:
        """The largest difference of the decoupled prediction's loss from the coupled one's, relative to the first."""
        losses, _ = self.solve(start, times)
        begin: Start = start
        predicted = solve(self.reduced, begin, times).losses
        return float(np.abs(predicted - losses).max() / abs(losses[0]))

    def weights(self, values: Sequence[Array]) -> dict[str, Array]:
        """The weight matrix of every edge of the full network (9), hidden layers in their first unit vectors."""
        rotations = layer_bases(self.parts) | dict(self.frames)
        found = {}
        for edges, matrix in zip(self.quotient.classes, self._checked("values", values), strict=True):
            for edge in edges:
                source, target = self.parts.network.ends(edge)
                found[edge] = rotations[target] @ matrix @ rotations[source].T
        return found

    def _checked(self, name: str, values: Sequence[ArrayLike]) -> list[Array]:
        """A matrix for each class; raises `ArgumentError` for others."""
        check_kind(name, values, Sequence, "give a list of matrices, one for each class")
        matrices = [checked_matrix(f"{name}[{k}]", matrix) for k, matrix in enumerate(values)]
        if tuple(matrix.shape for matrix in matrices) != self.shapes:
            raise ArgumentError(name, f"its matrices do not have the shapes {self.shapes}", "give one for each class")
        return matrices

    def _shaped(self, flat: Array) -> list[Array]:
        ends = np.cumsum([0, *(rows * columns for rows, columns in self.shapes)])
        return [flat[ends[k] : ends[k + 1]].reshape(shape) for k, shape in enumerate(self.shapes)]

    def __repr__(self) -> str:
        return f"<coupled flow: {len(self.shapes)} matrices, {self.variables} variables, blocks {self.blocks}>"


def coupled(network: GatedNetwork) -> Coupled:
    """The flow of a network with data in the fewest variables, whether or not its statistics are diagonalizable.

    Raises as `decouple`.
    """
    parts = decouple(network)
    full = parts.network
    turned, sizes = _frames(parts)
    nodes = []
    for node in full.architecture.nodes:
        op = node.op
        if isinstance(op, (Affine, Input)):
            op = dataclasses.replace(op, channels=sizes.get(full.layers[node.id], parts.count))
        nodes.append(Node(node.id, op, node.inputs))
    arch = Architecture(f"{full.architecture.name} (in bases)", tuple(nodes), full.architecture.outputs)
    task = full.task
    inside = GatedTask(
        task.contexts, task.inputs, task.outputs, task.probability, task.gates,
        _turned(full, task.xx, task.inputs, turned), _turned(full, task.yx, task.outputs, turned), task.yy,
    )  # fmt: skip
    small = GatedNetwork(arch, inside)
    kinds = [small.shape(edge) for edge in small.edges]
    quotient = lumped(small, kinds, channels=True).map(
        lambda _, value: value if isinstance(value, np.ndarray) else checked_number("network", value)
    )
    return Coupled(parts, small, quotient, _blocks(small, parts.count), turned)


def _frames(parts: Decoupled) -> tuple[dict[int, Array], dict[int, int]]:
    """For each outer layer an orthonormal frame, its modes first, without directions that no statistic sees."""
    task, network = parts.network.task, parts.network
    frames: dict[int, Array] = {layer: completed(basis) for layer, basis in parts.bases.items()}
    seen = {layer: np.zeros(frame.shape[1]) for layer, frame in frames.items()}
    for blocks, rows in ((task.xx, task.inputs), (task.yx, task.outputs)):
        triples = {(int(v), rows[r], task.inputs[c]) for v, r, c in zip(blocks.value.ids, blocks.row, blocks.column,
                                                                       strict=True)}  # fmt: skip
        for value, row, column in triples:
            a, b, matrix = network.layers[row], network.layers[column], blocks.value.values[value]
            inside = np.abs(frames[a].T @ matrix @ frames[b]) / max(float(np.linalg.norm(matrix)), 1e-300)
            seen[a] = np.maximum(seen[a], inside.max(axis=1))
            seen[b] = np.maximum(seen[b], inside.max(axis=0))
    kept = {layer: frame[:, seen[layer] > _ZERO] for layer, frame in frames.items()}
    return kept, {layer: frame.shape[1] for layer, frame in kept.items()}


def _turned(network: GatedNetwork, blocks: Blocks, rows: Sequence[str], frames: dict[int, Array]) -> Blocks:
    known: dict[tuple[int, int, int], Any] = {}
    values = []
    entries: list[tuple[int, int, int]] = np.stack([blocks.value.ids, blocks.row, blocks.column], axis=1).tolist()
    for value, row, column in entries:
        a, b = network.layers[rows[row]], network.layers[network.task.inputs[column]]
        # Layers that share a basis have one frame's numbers, so their moments stay equal to the last bit.
        key = (value, hash(frames[a].tobytes()), hash(frames[b].tobytes()))
        if key not in known:
            known[key] = frames[a].T @ blocks.value.values[value] @ frames[b]
            if a == b:
                known[key] = (known[key] + known[key].T) / 2
        values.append(known[key])
    return blocks.with_values(Coded.of(values))


def _blocks(network: GatedNetwork, count: int) -> tuple[tuple[int, ...], ...]:
    """Connected modes of the graph with an edge wherever a statistic has an entry off the diagonal."""
    size = count
    links = []
    for blocks in (network.task.xx, network.task.yx):
        for matrix in blocks.value.values:
            size = max(size, *matrix.shape)
            off = np.abs(matrix) > 1e-10 * np.linalg.norm(matrix)
            links += [(int(i), int(j)) for i, j in np.argwhere(off)]
    label = list(range(size))
    for i, j in links:
        low, high = sorted((label[i], label[j]))
        label = [low if k == high else k for k in label]
    found: dict[int, list[int]] = {}
    for mode, k in enumerate(label):
        found.setdefault(k, []).append(mode)
    return tuple(map(tuple, found.values()))


def _flat(matrices: Sequence[Array]) -> Array:
    return np.concatenate([np.asarray(matrix).ravel() for matrix in matrices])
