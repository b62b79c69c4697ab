"""The gated network itself, forward and backward, with its gates given or those of ReLU (NPF, Table 1)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qcmap.architecture import (
    Affine,
    Algebra,
    Architecture,
    Concat,
    Gate,
    Input,
    MaxPool,
    MeanPool,
    Node,
    Nonlinear,
    Op,
    Output,
    Scale,
    Sum,
    Units,
)
from qcmap.architecture._units import Integers
from qcmap.errors import ArchitectureError, DataError
from qcmap.numeric.paths._checks import finite, largest, wide
from qcmap.numeric.paths._coactive import tapped, windows
from qcmap.numeric.paths._gates import Gates, Layered, gates_of, inputs_of
from qcmap.numeric.paths._weights import Weights, weights_of

Array = NDArray[Any]


@dataclass(frozen=True, eq=False)
class GatedPass:
    """A pass forward through a gated network: its gates, and the feature maps [locations, n, channels] by node."""

    weights: Weights
    gates: Gates
    maps: Layered

    @property
    def units(self) -> Units:
        """Of the architecture."""
        return self.weights.units

    @property
    def outputs(self) -> Array:
        """All output units, [n, units]."""
        names = self.units.architecture.outputs
        flat = [np.moveaxis(self.maps[name], 0, 2).reshape(self.gates.count, -1) for name in names]
        return np.concatenate(flat, axis=1)

    def sensitivities(self) -> Iterator[Layered]:
        """For each output unit, its derivatives in the feature map of every node, [locations, n, channels]."""
        arch = self.units.architecture
        for output in arch.outputs:
            for channel in range(self.units.channels[output]):
                for place in range(self.units.places(output)):
                    seed = np.zeros_like(self.maps[output])
                    seed[place, :, channel] = 1
                    yield self.back({output: seed})

    def back(self, seeds: Layered) -> Layered:
        """The derivatives in every feature map of the sum of some maps, each times a seed."""
        found = dict(seeds)
        arch = self.units.architecture
        for node in reversed(arch.nodes):
            if node.id not in found:
                found[node.id] = np.zeros_like(self.maps[node.id])
            if node.inputs:
                for source, delta in zip(node.inputs, self._before(node, found[node.id]), strict=True):
                    found[source] = found[source] + delta if source in found else delta
        return found

    def _before(self, node: Node, delta: Array) -> list[Array]:
        """What a derivative at a node is at its inputs."""
        op, units = node.op, self.units
        if isinstance(op, Affine):
            return [_affine_back(units, node, self.weights.at(node.id), delta)]
        if isinstance(op, Nonlinear):
            return [delta * self.gates.values[node.id]]
        if isinstance(op, Gate):
            return [delta * self.gates.variables[op.name][:, None]]
        if isinstance(op, Sum):
            return [delta * _number(weight) for weight in op.weights]
        if isinstance(op, Scale):
            return [delta * _number(op.factor)]
        if isinstance(op, Concat):
            bounds = np.cumsum([units.channels[name] for name in node.inputs])[:-1]
            return np.split(delta, bounds, axis=2)
        if isinstance(op, MeanPool):
            taps = units.taps(node.id)
            return [_spread(delta, taps, units.places(node.inputs[0])) / len(taps)]
        if isinstance(op, MaxPool):
            taps, chosen = units.taps(node.id), self.gates.choices[node.id]
            before = np.zeros((units.places(node.inputs[0]), *delta.shape[1:]), dtype=delta.dtype)
            for position, tap in enumerate(taps):
                _add(before, tap, delta * (chosen == position))
            return [before]
        return [delta]


def run_gated(
    arch: Architecture | Units, weights: Weights | Mapping[str, Any], gates: Gates | Mapping[str, Any], x: Any
) -> GatedPass:
    """The network with these weights and gates on inputs [n, channels, *extent] (NPF, Table 1).

    Raises
    ------
    DataError
        For weights, gates or inputs that do not fit.
    ArchitectureError
        As `Units.of`.
    """
    given = weights_of(arch, weights)
    open_gates = gates_of(given.units, gates)
    return _run(given, inputs_of(given.units, x, open_gates.count), open_gates)


def run_relu(arch: Architecture | Units, weights: Weights | Mapping[str, Any], x: Any) -> GatedPass:
    """The network with ReLU at every activation; its gates are those that are on, q > 0 (NPF, Table 1).

    A max pooling takes the first of its largest entries. Raises as `run_gated`, for an architecture with scalar gating
    variables, and `ArchitectureError` for one with another activation than ReLU.
    """
    given = weights_of(arch, weights)
    for node in given.units.architecture.nodes:
        if isinstance(node.op, Nonlinear) and node.op.name != "relu":
            rule = f"its gates are not those of ReLU: it is {node.op.name}"
            raise ArchitectureError(node.id, rule, "make it relu, or give gates to run_gated")
    if given.units.variables:
        raise DataError(given.units.variables[0], "ReLU does not say what this gating variable is", "use run_gated")
    return _run(given, inputs_of(given.units, x), None)


def run_with(weights: Weights, inputs: Layered, activate: Callable[[Node, Array], Array]) -> Layered:
    """The feature maps of the network with any functions at its activations, without max pooling and variables."""
    rules = {**_rules(weights, inputs), Nonlinear: lambda node, before: activate(node, before[0])}
    return weights.units.architecture.fold(Algebra("network", rules))


def _run(weights: Weights, inputs: Layered, gates: Gates | None) -> GatedPass:
    weights, inputs = _exact_or_float(weights, inputs, gates)
    units = weights.units
    values: Layered = {} if gates is None else gates.values
    choices: Layered = {} if gates is None else gates.choices

    def gated(node: Node, before: list[Array]) -> Array:
        if gates is None:
            values[node.id] = (before[0] > 0).astype(np.uint8)
        return before[0] * values[node.id]

    def largest_taps(node: Node, before: list[Array]) -> Array:
        taps = units.taps(node.id)
        if gates is None:
            read = np.stack([np.where((tap >= 0)[:, None, None], before[0][tap], -np.inf) for tap in taps])
            choices[node.id] = read.argmax(axis=0)
        chosen = choices[node.id]
        return np.add.reduce([tapped(before[0], tap) * (chosen == k) for k, tap in enumerate(taps)])

    def variable(node: Node, before: list[Array]) -> Array:
        assert isinstance(node.op, Gate)
        assert gates is not None
        return before[0] * gates.variables[node.op.name][:, None]

    rules = {**_rules(weights, inputs), Nonlinear: gated, Gate: variable, MaxPool: largest_taps}
    with np.errstate(over="ignore", invalid="ignore"):  # what leaves is checked
        maps = units.architecture.fold(Algebra("gated network", rules))
    finite(units.architecture.name, "scale weights or inputs", *maps.values())
    count = next(iter(inputs.values())).shape[1]
    return GatedPass(weights, gates or Gates(units, count, values, choices, {}), maps)


def _exact_or_float(weights: Weights, inputs: Layered, gates: Gates | None) -> tuple[Weights, Layered]:
    """Integers as such if all numbers are, as Python's where 64 bits may not hold maps or the kernel; else floats.

    With all numbers replaced by their absolute values, and weights and inputs by 1 at least, the network bounds its
    maps. Its output y is homogeneous in each layer's weights, so the kernel is at most layers * outputs * y^2.
    """
    units, arch = weights.units, weights.units.architecture
    opened = [] if gates is None else [*gates.values.values(), *gates.variables.values()]
    given = [*weights.arrays.values(), *inputs.values()]
    constants = [c for n in arch.nodes for c in _constants(n)]
    if any(a.dtype == object for a in (*given, *opened)):
        return weights, inputs
    if any(a.dtype.kind == "f" for a in (*given, *opened)) or not all(float(c).is_integer() for c in constants):
        arrays = {name: array.astype(np.float64) for name, array in weights.arrays.items()}
        return Weights(units, arrays), {name: array.astype(np.float64) for name, array in inputs.items()}
    ceiling = max(map(largest, opened), default=1)
    inputs = {name: wide(array) for name, array in inputs.items()}
    least = {name: np.maximum(np.abs(array.astype(float)), 1) for name, array in weights.arrays.items()}
    start = {name: np.maximum(np.abs(array.astype(float)), 1) for name, array in inputs.items()}

    def added(node: Node, before: list[Array]) -> Array:
        sizes = (max(abs(float(constant)), 1) for constant in _constants(node))
        return np.add.reduce([value * size for value, size in zip(before, sizes, strict=True)])

    rules = {
        **_rules(Weights(units, least), start),
        **dict.fromkeys((Nonlinear, Gate), lambda node, before: before[0] * ceiling),
        **dict.fromkeys((Sum, Scale), added),
        MaxPool: lambda node, before: windows(before[0], units.taps(node.id)),
    }
    with np.errstate(over="ignore", invalid="ignore"):
        maps = arch.fold(Algebra("bound", rules))
    outputs = sum(units.size(name) for name in arch.outputs)
    bound = len(units.layers) * outputs * max(float(array.max()) for array in maps.values()) ** 2
    if bound < 2**62:
        return weights, inputs
    exact = {name: array.astype(object) for name, array in weights.arrays.items()}
    return Weights(units, exact), {name: array.astype(object) for name, array in inputs.items()}


def _constants(node: Node) -> tuple[Any, ...]:
    """What a node multiplies its inputs with."""
    op = node.op
    if isinstance(op, MeanPool):
        return (0.5,)
    return op.weights if isinstance(op, Sum) else (op.factor,) if isinstance(op, Scale) else ()


def _rules(weights: Weights, inputs: Layered) -> dict[type[Op], Callable[[Node, list[Array]], Array]]:
    """What every network does at the ops that have no gates."""
    units = weights.units

    def summed(node: Node, before: list[Array]) -> Array:
        assert isinstance(node.op, Sum)
        return np.add.reduce([value * _number(weight) for value, weight in zip(before, node.op.weights, strict=True)])

    def scaled(node: Node, before: list[Array]) -> Array:
        assert isinstance(node.op, Scale)
        return before[0] * _number(node.op.factor)

    return {
        Input: lambda node, before: inputs[node.id],
        Affine: lambda node, before: _affine(units, node, weights.at(node.id), before[0]),
        Sum: summed,
        Scale: scaled,
        Concat: lambda node, before: np.concatenate(before, axis=2),
        MeanPool: lambda node, before: windows(before[0], units.taps(node.id)) / len(units.taps(node.id)),
        Output: lambda node, before: before[0],
    }


def _affine(units: Units, node: Node, weights: Array, z: Array) -> Array:
    """[locations, n, channels before] to [locations, n, channels]."""
    assert isinstance(node.op, Affine)
    groups, taps = node.op.groups, units.taps(node.id)
    flat = weights.reshape(*weights.shape[:2], -1)
    parts = []
    for own, part in zip(np.split(flat, groups), np.split(z, groups, axis=2), strict=True):
        parts.append(np.add.reduce([tapped(part, tap) @ own[..., k].T for k, tap in enumerate(taps)]))
    return np.concatenate(parts, axis=2)


def _affine_back(units: Units, node: Node, weights: Array, delta: Array) -> Array:
    assert isinstance(node.op, Affine)
    groups, places = node.op.groups, units.places(node.inputs[0])
    flat, parts = weights.reshape(*weights.shape[:2], -1), []
    for own, part in zip(np.split(flat, groups), np.split(delta, groups, axis=2), strict=True):
        before = np.zeros((places, delta.shape[1], own.shape[1]), dtype=np.result_type(delta, own))
        for k, tap in enumerate(units.taps(node.id)):
            _add(before, tap, part @ own[..., k])
        parts.append(before)
    return np.concatenate(parts, axis=2)


def _spread(delta: Array, taps: Integers, places: int) -> Array:
    """The adjoint of `windows`."""
    before = np.zeros((places, *delta.shape[1:]), dtype=delta.dtype)
    for tap in taps:
        _add(before, tap, delta)
    return before


def _add(before: Array, tap: Integers, delta: Array) -> None:
    """Add what each window gives back to the location that this tap of it reads; windows may share one."""
    inside = tap >= 0
    np.add.at(before, tap[inside], delta[inside])


def _number(constant: Any) -> Any:
    """A constant as an integer where it is one, so that integers stay such."""
    number = float(constant)
    return int(number) if number.is_integer() else number
