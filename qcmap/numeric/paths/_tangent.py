"""Tangent kernels of networks with fixed gates, and of path values (NPF, sections 1.1 and 3.1)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.linalg import LinearOperator, aslinearoperator, eigsh

from qcmap.architecture import Affine, Architecture, Node, Units
from qcmap.errors import ArgumentError
from qcmap.numeric.paths._checks import finite, largest
from qcmap.numeric.paths._coactive import tapped
from qcmap.numeric.paths._edges import Numbering
from qcmap.numeric.paths._gates import Gates, Layered
from qcmap.numeric.paths._network import GatedPass, run_gated, run_relu
from qcmap.numeric.paths._table import PathTable
from qcmap.numeric.paths._weights import Weights, check_layers, weights_of

Array = NDArray[Any]


def gated_ntk(
    arch: Architecture | Units, weights: Weights | Mapping[str, Any], gates: Gates | Mapping[str, Any] | None, x: Any
) -> Array:
    """The tangent kernel K(s, s') of a network with fixed gates, at these weights (NPF, section 1.1, Prop. 4.1).

    It is the kernel K_v of the value network; with several output units, the sum of the kernels of each. Without gates
    they are those of ReLU at these weights.

    Parameters
    ----------
    arch, weights, gates
        As for `run_gated`.
    x
        Inputs [n, channels, *extent].

    Returns
    -------
    kernel
        [n, n]; integers where weights, gates, inputs and constants are, Python's where 64 bits might not hold them.

    Raises
    ------
    DataError
        For weights, gates or inputs that do not fit.
    ArchitectureError
        As `Units.of`; without gates, naming an activation that is not ReLU.
    NumericalError
        If floats do not hold the numbers.
    """
    done = run_relu(arch, weights, x) if gates is None else run_gated(arch, weights, gates, x)
    with np.errstate(over="ignore", invalid="ignore"):  # what leaves is checked
        kernel = tangent_kernel(done)
    finite("tangent kernel", "scale weights or inputs", kernel)
    return kernel


def tangent_kernel(done: GatedPass) -> Array:
    """The kernel of a pass forward, [n, n]."""
    units = done.units
    shared = [name for name in set(units.layers.values()) if list(units.layers.values()).count(name) > 1]
    total: Any = np.zeros((done.gates.count, done.gates.count), dtype=np.int64)
    for deltas in done.sensitivities():
        sums: Layered = {}
        for node in units.architecture.nodes:
            if not isinstance(node.op, Affine):
                continue
            name = units.layers[node.id]
            if name not in shared and node.op.groups == 1 and units.taps(node.id).shape == (1, 1):
                delta, z = deltas[node.id][0], done.maps[node.inputs[0]][0]
                total = total + (delta @ delta.T) * (z @ z.T)
                continue
            gradient = layer_gradient(units, node, deltas[node.id], done.maps[node.inputs[0]])
            sums[name] = sums[name] + gradient if name in sums else gradient
        for gradient in sums.values():
            total = total + gradient @ gradient.T
    return total


def layer_gradient(units: Units, node: Node, delta: Array, z: Array) -> Array:
    """The derivative in an affine node's weights for each example, [n, weights]."""
    assert isinstance(node.op, Affine)
    groups, parts = node.op.groups, []
    for own, part in zip(np.split(delta, groups, axis=2), np.split(z, groups, axis=2), strict=True):
        taps = [own.transpose(1, 2, 0) @ tapped(part, tap).swapaxes(0, 1) for tap in units.taps(node.id)]
        parts.append(np.stack(taps, axis=3))
    return np.concatenate(parts, axis=1).reshape(delta.shape[1], -1)


def weight_gradient(done: GatedPass, deltas: Layered) -> Array:
    """The derivatives of each example in all weights, [n, d_net], from those in feature maps."""
    units, parts = done.units, {}
    for node in units.architecture.nodes:
        if isinstance(node.op, Affine):
            name = units.layers[node.id]
            gradient = layer_gradient(units, node, deltas[node.id], done.maps[node.inputs[0]])
            parts[name] = parts[name] + gradient if name in parts else gradient
    return np.concatenate([parts[name] for name in units.weights], axis=1)


@dataclass(frozen=True, eq=False)
class ValueTangent:
    """The value tangent kernel V = J^T J, where J = dv/dTheta is [d_net, P] (NPF, Definition 3.2).

    It depends on the weights alone, and K = Phi^T V Phi (Proposition 3.1).

    Attributes
    ----------
    jacobian
        J, sparse: a column has an entry for each weight of a path.
    shape
        (d_net, P).
    """

    jacobian: sparse.csc_array
    shape: tuple[int, int]

    @cached_property
    def operator(self) -> LinearOperator:
        """V as a linear operator on vectors of P entries."""
        product: Any = aslinearoperator(self.jacobian.T) @ aslinearoperator(self.jacobian)
        return product

    def matrix(self, *, most: int = 5000) -> Array:
        """V, [P, P]; raises `ArgumentError` if there are more than ``most`` paths."""
        count = self.shape[1]
        if count > most:
            raise ArgumentError("most", f"V would be {count} x {count}", "use operator, or raise most")
        return (self.jacobian.T @ self.jacobian).toarray()

    def kernel(self, features: Array) -> Array:
        """Phi^T V Phi for features Phi^T, [n, P]: the tangent kernel (NPF, Proposition 3.1)."""
        psi = self.jacobian @ features.T
        return psi.T @ psi

    @cached_property
    def largest_eigenvalue(self) -> float:
        """rho_max(V), from the smaller of V and J J^T, whose other eigenvalues agree."""
        rows, columns = self.shape
        wide = self.jacobian if rows <= columns else self.jacobian.T
        if min(rows, columns) <= 500:
            return float(np.linalg.eigvalsh((wide @ wide.T).toarray())[-1])
        gram: Any = aslinearoperator(wide) @ aslinearoperator(wide.T)
        start = np.random.default_rng(0).standard_normal(min(rows, columns))
        return float(eigsh(gram, k=1, v0=start, return_eigenvectors=False)[0])

    def __repr__(self) -> str:
        return f"<value tangent kernel of {self.shape[1]} paths, {self.shape[0]} weights>"


def value_tangent(table: PathTable, weights: Weights | Mapping[str, Any]) -> ValueTangent:
    """The value tangent kernel of all paths of a table.

    The derivative of a path's value in one of its weights is the product of its others (NPF, Prop. B.1); a weight that
    a path passes twice, as shared parameters can be, gives a term for each pass.

    Raises
    ------
    DataError
        For weights that do not fit.
    """
    check_layers(table.units)
    flat = np.append(weights_of(table.units, weights).flat, 1)
    if flat.dtype.kind == "i" and table.count * largest(flat) ** (2 * table.weights.shape[1]) >= 2**62:
        flat = flat.astype(float)  # sparse arrays have no integers beyond 64 bits
    values = flat[table.weights]
    rows, columns, entries = [], [], []
    for k in range(table.weights.shape[1]):
        passed = table.weights[:, k] >= 0
        rows.append(table.weights[passed, k])
        columns.append(np.flatnonzero(passed))
        entries.append(np.delete(values, k, axis=1).prod(axis=1)[passed])
    shape = (Numbering(table.units).total_weights, table.count)
    triples = (np.concatenate(entries), (np.concatenate(rows), np.concatenate(columns)))
    return ValueTangent(sparse.csc_array(triples, shape=shape), shape)
