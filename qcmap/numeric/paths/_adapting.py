"""Tangent kernels of networks whose gates are learnt by a network of their own (NPF, Prop. 4.1; DGN, section 3)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from qcmap.architecture import Architecture, Node, Nonlinear, Units
from qcmap.errors import ArchitectureError, ArgumentError, DataError
from qcmap.numeric.paths._checks import finite
from qcmap.numeric.paths._gate_function import GateFunction
from qcmap.numeric.paths._gates import Gates, Layered, gates_of, inputs_of
from qcmap.numeric.paths._network import GatedPass, run_gated, run_with
from qcmap.numeric.paths._table import PathTable, flat_gates, path_table
from qcmap.numeric.paths._tangent import weight_gradient
from qcmap.numeric.paths._weights import Weights, check_layers, weights_of

Array = NDArray[np.float64]
Forwards = Literal["relu", "gate"]


@dataclass(frozen=True, eq=False)
class AdaptingKernels:
    """The parts of the tangent kernel K at given weights, [n, n] each, summed over output units (DGN, section 3).

    Attributes
    ----------
    values
        K_w, of the derivatives of the path values: K_v of NPF.
    gates
        K_a, of the derivatives of path activities: K_f of NPF.
    cross
        psi_w' psi_a + psi_a' psi_w, which counts if values and gates have the same weights (soft-ReLU).
    """

    values: Array
    gates: Array
    cross: Array

    @property
    def apart(self) -> Array:
        """K of two networks (soft-GaLU): K_w + K_a."""
        return self.values + self.gates

    @property
    def tied(self) -> Array:
        """K of one network that gates itself (soft-ReLU), at equal weights: K_w + K_a + the cross terms."""
        return self.values + self.gates + self.cross

    def __repr__(self) -> str:
        traces = ", ".join(f"{np.trace(part):.4g}" for part in (self.values, self.gates, self.cross))
        return f"<adapting kernels of {len(self.values)} examples: traces {traces}>"


class GateNetwork:
    """A network that gives gates to another of the same architecture, on a set of inputs.

    Parameters
    ----------
    arch
        Without max pooling and gating variables.
    weights
        Theta^f (Theta^g of DGN).
    x
        Inputs [n, channels, *extent].
    gate
        The soft gate.
    forwards
        What goes on to the next layer: ``"relu"`` of q (NPF, Figure 2), or ``"gate"``, q times its gate (DGN, Table 2).

    Raises
    ------
    DataError
        For weights or inputs that do not fit, or an architecture with max pooling or gating variables.
    ArgumentError
        For another word in ``forwards``, or a gate that is none.
    ArchitectureError
        As `Units.of`; naming an activation that is not ReLU, if ReLU is forwarded.
    """

    def __init__(
        self,
        arch: Architecture | Units,
        weights: Weights | Mapping[str, Any],
        x: Any,
        gate: GateFunction,
        forwards: Forwards = "relu",
    ) -> None:
        self.weights = weights_of(arch, weights)
        check_layers(self.weights.units)
        if not isinstance(gate, GateFunction):
            raise ArgumentError("gate", f"it is a GateFunction, not {type(gate).__name__}", "give GateFunction(beta=4)")
        self.units, self.gate = self.weights.units, GateFunction(gate.beta, gate.epsilon)  # on arrays, if of tensors
        gate = self.gate
        if forwards not in ("relu", "gate"):
            raise ArgumentError("forwards", f"it is 'relu' or 'gate', not {forwards!r}", "choose one")
        for name in (*self.units.max_pools, *self.units.variables):
            raise DataError(name, "the features give no gates to max poolings and variables", "take them out")
        for node in self.units.architecture.nodes:
            if forwards == "relu" and isinstance(node.op, Nonlinear) and node.op.name != "relu":
                raise ArchitectureError(
                    node.id,
                    f"the features go through relu, but it is {node.op.name}",
                    "make it relu, or forward 'gate'",
                )
        inputs = inputs_of(self.units, x)
        self.slopes: Layered = {}

        def activate(node: Node, q: Array) -> Array:
            if forwards == "relu":
                self.slopes[node.id] = (q > 0).astype(float)
                return np.maximum(q, 0)
            self.slopes[node.id] = gate(q) + q * gate.slope(q)
            return q * gate(q)

        with np.errstate(over="ignore", invalid="ignore"):  # what leaves is checked
            self.maps = run_with(self.weights, inputs, activate)
        finite("features", "scale weights or inputs", *self.maps.values())
        self.before: Mapping[str, str] = {
            node.id: node.inputs[0] for node in self.units.architecture.nodes if isinstance(node.op, Nonlinear)
        }
        count = next(iter(inputs.values())).shape[1]
        values = {name: gate(self.maps[source]) for name, source in self.before.items()}
        self.gates = Gates(self.units, count, values, {}, {})

    def gradient(self, seeds: Mapping[str, Array]) -> Array:
        """The derivative, [n, d_net], in Theta^f of the sum of seeds times gates; seeds [locations, n, channels]."""
        local = Gates(self.units, self.gates.count, self.slopes, {}, {})
        start = {}
        for name, seed in seeds.items():
            source = self.before[name]
            through = seed * self.gate.slope(self.maps[source])
            start[source] = start[source] + through if source in start else through
        done = GatedPass(self.weights, local, self.maps)
        return weight_gradient(done, done.back(start))

    def sensitivities(self) -> Array:
        """dG/dTheta^f for every gate, by number: [gates, n, d_net]."""
        rows = []
        for name in self.units.activations:
            shape = self.gates.values[name].shape
            for channel in range(shape[2]):
                for place in range(shape[0]):
                    seed = np.zeros(shape)
                    seed[place, :, channel] = 1
                    rows.append(self.gradient({name: seed}))
        return np.stack(rows)


def adapting_kernels(
    arch: Architecture | Units,
    feature_weights: Weights | Mapping[str, Any],
    value_weights: Weights | Mapping[str, Any],
    x: Any,
    gate: GateFunction,
    forwards: Forwards = "relu",
) -> AdaptingKernels:
    """K_w, K_a and the cross terms of a network with soft gates, at given weights (DGN, section 3; NPF, Prop. 4.1).

    The derivative in a weight is <phi, dv> + <dphi, v>: the first in the values' weights with gates fixed, the second
    in the features' weights through the gates.

    Parameters
    ----------
    arch
        The architecture of both networks, without max pooling and gating variables.
    feature_weights, value_weights
        Theta^f (Theta^g of DGN) and Theta^v (Theta^w).
    x
        Inputs [n, channels, *extent].
    gate, forwards
        As for `GateNetwork`.

    Raises
    ------
    DataError
        For weights or inputs that do not fit.
    ArgumentError, ArchitectureError
        As `GateNetwork`.
    """
    features = GateNetwork(arch, feature_weights, x, gate, forwards)
    done = run_gated(features.units, value_weights, features.gates, x)
    count = features.gates.count
    values, gates, cross = (np.zeros((count, count)) for _ in range(3))
    with np.errstate(over="ignore", invalid="ignore"):  # what leaves is checked
        for deltas in done.sensitivities():
            of_values = weight_gradient(done, deltas)
            # The output's derivative in a gate is that in the gated unit times the pre-activation.
            seeds = {name: deltas[name] * done.maps[features.before[name]] for name in features.units.activations}
            of_gates = features.gradient(seeds)
            values += of_values @ of_values.T
            gates += of_gates @ of_gates.T
            cross += of_values @ of_gates.T + of_gates @ of_values.T
    finite("adapting_kernels", "scale weights or inputs", values, gates, cross)
    return AdaptingKernels(values, gates, cross)


def activity_sensitivities(table: PathTable, features: GateNetwork) -> Array:
    """dA(x_s, p)/dTheta^f of every path, [P, n, d_net]: the sum over its gates of DGN (6).

    Raises `DataError` if the table is of another architecture.
    """
    flat, sensitivities = flat_gates(table.units, gates_of(table.units, features.gates)), features.sensitivities()
    padded = np.concatenate([flat, np.ones((len(flat), 1))], axis=1)[:, table.gates]  # [n, P, most]
    total = np.zeros((table.count, *sensitivities.shape[1:]))
    for k, column in enumerate(table.gates.T):
        path = np.flatnonzero(column >= 0)
        others = np.delete(padded, k, axis=2).prod(axis=2)
        total[path] += others.T[path, :, None] * sensitivities[column[path]]
    return total


def delta(arch: Architecture | Units, features: GateNetwork) -> Array:
    """delta(s, s') for each input unit, [input units, n, n] (DGN, Definition 3.1), by listing all paths.

    It is the sum over the paths p from the unit of dA(s, p)/dTheta^g . dA(s', p)/dTheta^g. Over values' weights that
    are independent with variance sigma^2, E K_a(s, s') = sigma^(2d) sum over i of x_s(i) x_s'(i) delta_i(s, s') in a
    chain of d layers (Lemma 3.1 (iii)), where delta is the same for all input units.

    Raises
    ------
    ArgumentError
        For too many paths, as `path_table`.
    DataError
        For features of another architecture.
    """
    table = path_table(arch)
    found = activity_sensitivities(table, features) * table.factor.astype(float)[:, None, None]
    inputs = sum(table.units.size(name) for name in table.units.architecture.inputs)
    parts = [np.einsum("psm,ptm->st", found[table.start == i], found[table.start == i]) for i in range(inputs)]
    return np.stack(parts)
