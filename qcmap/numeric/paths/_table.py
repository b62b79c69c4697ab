"""All paths of a small architecture, with their features and values (NPF, Definition 2.1)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qcmap.architecture import Architecture, Input, Sum, Units
from qcmap.architecture._units import Integers
from qcmap.errors import ArgumentError
from qcmap.numeric.paths._checks import exact_up_to, finite, largest, shown, wide
from qcmap.numeric.paths._edges import Edges, Numbering
from qcmap.numeric.paths._gates import Gates, gates_of, inputs_of
from qcmap.numeric.paths._kernel import count_paths, exact_number
from qcmap.numeric.paths._weights import Weights, weights_of

Array = NDArray[Any]


@dataclass(frozen=True, eq=False)
class _Part:
    """Paths from inputs to the units of one node; -1 fills the columns of short paths."""

    unit: Integers
    start: Integers
    factor: NDArray[Any]
    weights: Integers
    gates: Integers

    def along(self, edges: Edges) -> _Part:
        """Every path continued along every edge that begins at its end."""
        order = np.argsort(edges.source, kind="stable")
        source = edges.source[order]
        first, last = np.searchsorted(source, self.unit, "left"), np.searchsorted(source, self.unit, "right")
        counts = last - first
        path = np.repeat(np.arange(len(self.unit)), counts)
        position = np.arange(len(path)) - np.repeat(np.cumsum(counts) - counts, counts)
        edge = order[first[path] + position]
        weights, gates = self.weights[path], self.gates[path]
        if edges.weight is not None:
            weights = np.column_stack([weights, edges.weight[edge]])
        if edges.gate is not None:
            gates = np.column_stack([gates, edges.gate[edge]])
        factor = self.factor[path] * exact_number(edges.factor)
        return _Part(edges.target[edge], self.start[path], factor, weights, gates)


def _joined(parts: list[_Part]) -> _Part:
    columns = [max(getattr(part, name).shape[1] for part in parts) for name in ("weights", "gates")]
    weights, gates = (
        np.concatenate([_padded(getattr(part, name), width) for part in parts])
        for name, width in zip(("weights", "gates"), columns, strict=True)
    )
    unit, start, factor = (
        np.concatenate([getattr(part, name) for part in parts]) for name in ("unit", "start", "factor")
    )
    return _Part(unit, start, factor, weights, gates)


def _padded(columns: Integers, width: int) -> Integers:
    return np.pad(columns, ((0, 0), (0, width - columns.shape[1])), constant_values=-1)


@dataclass(frozen=True, eq=False)
class PathTable:
    """All P paths of an architecture.

    Attributes
    ----------
    units
        Of the architecture.
    start, end
        [P]: the input unit and the output unit of each path, numbered in the order of the graph.
    factor
        [P]: the product of the constants on each path, exact (Python's integers and fractions).
    weights, gates
        [P, most on a path]: the numbers of the weights and gates on each path, from its input on; -1 fills up.
    """

    units: Units
    start: Integers
    end: Integers
    factor: NDArray[Any]
    weights: Integers
    gates: Integers

    @property
    def count(self) -> int:
        """P."""
        return len(self.start)

    def activity(self, gates: Gates | Mapping[str, Any]) -> Array:
        """A(x_s, p), the product of the gates on each path: [n, P] (NPF, Definition 2.1 (i)).

        Integers where gates are, else float64. Raises `DataError` as `Gates.of`.
        """
        flat = flat_gates(self.units, gates_of(self.units, gates))
        return _product(flat, self.gates)

    def features(self, gates: Gates | Mapping[str, Any], x: Any) -> Array:
        """Phi^T, the neural path features of n examples: [n, P] (NPF, Definition 2.1 (ii)).

        The feature of a path is the input where it starts times its activity times its constants. Integers if all of
        them are, Python's where 64 bits might not hold them, else float64. Raises `DataError` as `Gates.of`, and for
        inputs that do not fit, and `NumericalError` for features beyond floats.
        """
        given = gates_of(self.units, gates)
        inputs = inputs_of(self.units, x, given.count)
        flat = np.concatenate([wide(_flat(inputs[name])) for name in self.units.architecture.inputs], axis=1)
        whole = all(isinstance(factor, int) for factor in self.factor.tolist())
        activity = self.activity(given)
        exact = whole and flat.dtype.kind in "iO" and activity.dtype.kind in "iO"
        most = largest(flat) * largest(activity) * (largest(self.factor) if exact else 1)
        flat = exact_up_to(flat, most) if exact else flat.astype(np.float64)
        with np.errstate(over="ignore", invalid="ignore"):  # what leaves is checked
            found = flat[:, self.start] * activity * self.factor.astype(flat.dtype)
        finite("features", "scale the inputs", found)
        return found

    def values(self, weights: Weights | Mapping[str, Any]) -> Array:
        """v, the neural path values: the product of the weights on each path, [P] (NPF, Definition 2.1 (iii)).

        Raises `DataError` for weights that do not fit.
        """
        values = _product(weights_of(self.units, weights).flat[None], self.weights)[0]
        finite("path values", "scale the weights", values)
        return values

    def outputs(self, gates: Gates | Mapping[str, Any], x: Any, weights: Weights | Mapping[str, Any]) -> Array:
        """The output of the network as <phi, v> over the paths to each output unit, [n, units] (NPF, Prop. 2.1).

        Raises as `features` and `values`.
        """
        features, values = self.features(gates, x), self.values(weights)
        if features.dtype.kind == values.dtype.kind == "i":
            features = exact_up_to(features, largest(features) * largest(values) * self.count)
        with np.errstate(over="ignore", invalid="ignore"):  # what leaves is checked
            terms = features * values
            count = sum(self.units.size(name) for name in self.units.architecture.outputs)
            outputs = np.stack([terms[:, self.end == k].sum(axis=1) for k in range(count)], axis=1)
        finite("outputs", "scale weights or inputs", outputs)
        return outputs

    def __repr__(self) -> str:
        return f"<{self.count} paths of {self.units.architecture.name}>"


def path_table(arch: Architecture | Units, *, most: int = 100_000) -> PathTable:
    """All paths of an architecture.

    Raises
    ------
    ArgumentError
        If there are more than ``most``; it says how many.
    ArchitectureError
        For a network that has no paths, as `Units.of`.
    """
    units = arch if isinstance(arch, Units) else Units.of(arch)
    count = count_paths(units)
    if count > most:
        raise ArgumentError(
            "most", f"{units.architecture.name} has {shown(count)} paths, more than {most}",
            "use path_kernel and the other functions that do not enumerate, or raise most",
        )  # fmt: skip
    numbering = Numbering(units)
    parts: dict[str, _Part] = {}
    for node in units.architecture.nodes:
        if isinstance(node.op, Input):
            own, none = np.arange(units.size(node.id)), np.empty((units.size(node.id), 0), dtype=np.int64)
            ones = np.array([1] * len(own), dtype=object)
            parts[node.id] = _Part(own, numbering.inputs[node.id] + own, ones, none, none)
            continue
        branches = zip(node.inputs, numbering.edges(node), strict=True)
        kept = [parts[source].along(edges) for source, edges in branches if edges.factor != 0]
        parts[node.id] = _joined(kept) if isinstance(node.op, Sum) or len(kept) > 1 else kept[0]
    whole = _joined([
        _Part(numbering.outputs[name] + part.unit, part.start, part.factor, part.weights, part.gates)
        for name in units.architecture.outputs for part in [parts[name]]
    ])  # fmt: skip
    return PathTable(units, whole.start, whole.unit, whole.factor, whole.weights, whole.gates)


def flat_gates(units: Units, gates: Gates) -> Array:
    """All gates of each example in one row, by their numbers."""
    columns = [_flat(gates.values[name]) for name in units.activations]
    for name in units.max_pools:
        chosen = np.moveaxis(gates.choices[name], 0, 2)[..., None] == np.arange(len(units.taps(name)))
        columns.append(chosen.reshape(gates.count, -1))
    columns += [gates.variables[name][:, None] for name in units.variables]
    flat = np.concatenate([np.empty((gates.count, 0), dtype=np.int64), *columns], axis=1)
    return flat.astype(np.int64) if flat.dtype.kind in "bu" else flat


def _flat(array: Array) -> Array:
    """[locations, n, channels] as [n, units]."""
    return np.moveaxis(array, 0, 2).reshape(array.shape[1], -1)


def _product(numbers: Array, columns: Integers) -> Array:
    """For each row of numbers, their products over the columns, [rows, P]; -1 counts as 1."""
    if numbers.dtype.kind == "i":
        numbers = exact_up_to(numbers, largest(numbers) ** columns.shape[1])
    padded = np.concatenate([numbers, np.ones((len(numbers), 1), dtype=numbers.dtype)], axis=1)
    result = np.ones((len(numbers), len(columns)), dtype=numbers.dtype)
    with np.errstate(over="ignore", invalid="ignore"):  # what leaves is checked
        for column in columns.T:
            result = result * padded[:, column]
    return result
