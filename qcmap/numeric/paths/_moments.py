"""Mean and variance of the tangent kernel over random weights, exactly, for small networks with gates fixed.

Two ways that share nothing but the paths: over all sign patterns (`exhaustive_moments`), and as a polynomial in the
weights whose monomials have known expectations (`monomial_moments`). `chain_moments` is for wide networks.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from qcmap.architecture import Architecture, Units
from qcmap.architecture._units import Integers
from qcmap.errors import ArgumentError
from qcmap.numeric.paths._checks import finite
from qcmap.numeric.paths._gates import Gates
from qcmap.numeric.paths._table import PathTable, path_table
from qcmap.numeric.paths._weights import Kind, Weights, check_kind, check_layers, scales_of

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class KernelMoments:
    """Mean and variance of K(s, s') over weights, [n, n] each; K is summed over output units."""

    mean: Array
    variance: Array

    def __repr__(self) -> str:
        return f"<moments of the tangent kernel of {len(self.mean)} examples>"


def exhaustive_moments(
    arch: Architecture | Units,
    gates: Gates | Mapping[str, Any],
    x: Any,
    scale: float | Mapping[str, float],
    *,
    most: int = 20,
) -> KernelMoments:
    """The moments for weights +-sigma, as averages over all 2^m sign patterns of m weights.

    Parameters
    ----------
    arch, gates, x
        As for `qcmap.path_kernel`.
    scale
        sigma, of all layers or by name.
    most
        The largest m.

    Raises
    ------
    ArgumentError
        If there are more than ``most`` weights, and as `path_table`.
    DataError, ArchitectureError
        As `qcmap.path_kernel`.
    """
    table = path_table(arch)
    sizes = _sizes(table.units, scale)
    if len(sizes) > most:
        raise ArgumentError(
            "most", f"{len(sizes)} weights have 2^{len(sizes)} sign patterns, more than 2^{most}",
            "use monomial_moments or chain_moments, or raise most",
        )  # fmt: skip
    columns, places = _positions(table, table.features(gates, x))
    passed = np.maximum(columns, 0)
    n = places[0].shape[1] // (len(sizes) * (int(table.end.max()) + 1))
    total, square = np.zeros((n, n)), np.zeros((n, n))
    with np.errstate(over="ignore", invalid="ignore"):  # what leaves is checked
        for signs in _patterns(len(sizes)):
            values = np.where(columns >= 0, (signs * sizes)[:, passed], 1)
            others = (np.delete(values, k, axis=2).prod(axis=2) for k in range(columns.shape[1]))
            psi = np.add.reduce([part @ place for part, place in zip(others, places, strict=True)])
            psi = psi.reshape(len(signs), -1, n)
            kernels = psi.swapaxes(1, 2) @ psi
            total += kernels.sum(axis=0)
            square += (kernels**2).sum(axis=0)
    finite("exhaustive_moments", "scale the weights", total, square)
    count = 2 ** len(sizes)
    mean = total / count
    return KernelMoments(mean, np.maximum(square / count - mean**2, 0))


def monomial_moments(
    arch: Architecture | Units,
    gates: Gates | Mapping[str, Any],
    x: Any,
    scale: float | Mapping[str, float],
    kind: Kind = "sign",
    *,
    most: int = 3000,
) -> KernelMoments:
    """The moments by path algebra: K(s, s') is a polynomial in the weights, with known moments of its monomials.

    K = sum over theta, p, q of phi_s(p) phi_s'(q) d_theta v(p) d_theta v(q) (NPF, Prop. B.2), where every product is a
    monomial; E K^2 sums over pairs of monomials (NPF, Prop. B.3 (18)).

    Parameters
    ----------
    arch, gates, x, scale
        As for `exhaustive_moments`.
    kind
        Weights +-sigma, or Gaussian ones.
    most
        The largest number of different monomials.

    Raises
    ------
    ArgumentError
        For more monomials, and as `path_table`.
    DataError, ArchitectureError
        As `qcmap.path_kernel`.
    """
    check_kind(kind)
    table = path_table(arch)
    sizes = _sizes(table.units, scale)
    features = table.features(gates, x)
    with np.errstate(over="ignore", invalid="ignore"):  # what leaves is checked
        monomials, coefficients = _polynomial(table, features, sizes, most)
        mean, second = _polynomial_moments(monomials, coefficients, kind)
        finite("monomial_moments", "scale the weights", mean, second)
        return KernelMoments(mean, np.maximum(second - mean**2, 0))


def _polynomial_moments(monomials: Integers, coefficients: Array, kind: Kind) -> tuple[Array, Array]:
    """E K and E K^2 of a kernel that is a polynomial."""
    # Exponents of one weight reach 4 times those of one path, in the product of two monomials.
    powers = np.arange(2 * int(monomials.max(initial=0)) + 1)
    moments = np.array([_moment(int(power), kind) for power in powers])
    mean = np.tensordot(moments[monomials].prod(axis=1), coefficients, axes=1)
    pairs = np.ones((len(monomials), len(monomials)))
    for weight in monomials.T:
        pairs *= moments[weight[:, None] + weight]
    flat = coefficients.reshape(len(monomials), -1)
    second = np.einsum("ik,ij,jk->k", flat, pairs, flat, optimize=True).reshape(mean.shape)
    return mean, second


def _sizes(units: Units, scale: float | Mapping[str, float]) -> Array:
    """sigma of every weight, by its number."""
    check_layers(units)
    found = scales_of(units, scale)
    return Weights(units, {name: np.full(shape, found[name]) for name, shape in units.weights.items()}).flat


def _positions(table: PathTable, features: Array) -> tuple[Integers, list[Any]]:
    """The weights of each path, and for each position on paths the sparse map from paths to (output, weight, example).

    An entry is the feature of the path, where it passes the weight at that position on its way to the output.
    """
    n, d_net = len(features), sum(int(np.prod(shape)) for shape in table.units.weights.values())
    width = (int(table.end.max()) + 1) * d_net
    places = []
    for column in table.weights.T:
        path = np.flatnonzero(column >= 0)
        target = (table.end[path] * d_net + column[path])[:, None] * n + np.arange(n)
        entries = features.T[path]
        rows = np.repeat(path, n)
        places.append(sparse.csr_array((entries.ravel().astype(float), (rows, target.ravel())),
                                       shape=(table.count, width * n)))  # fmt: skip
    return table.weights, places


def _patterns(count: int, chunk: int = 1024) -> Iterator[Array]:
    """All rows of ``count`` signs, some at a time."""
    for first in range(0, 2**count, chunk):
        bits = np.arange(first, min(first + chunk, 2**count))[:, None] >> np.arange(count) & 1
        yield np.asarray(1 - 2 * bits, dtype=np.float64)


def _polynomial(table: PathTable, features: Array, sizes: Array, most: int) -> tuple[Integers, Array]:
    """Different monomials as exponents [M, d_net] in weights of unit size, and coefficients [M, n, n]."""
    d_net, n = len(sizes), len(features)
    exponents = np.zeros((table.count, d_net), dtype=np.int64)
    for column in table.weights.T:
        path = np.flatnonzero(column >= 0)
        np.add.at(exponents, (path, column[path]), 1)
    path, passed = np.nonzero(exponents)
    group = table.end[path] * d_net + passed  # terms of one product share the output and the weight
    found: dict[bytes, tuple[Integers, Array]] = {}
    for which in np.unique(group):
        members = np.flatnonzero(group == which)
        weight = int(passed[members[0]])
        own = path[members]
        rest = exponents[own].copy()
        multiplicity = rest[:, weight].copy()
        rest[:, weight] -= 1
        size = multiplicity * (sizes**rest).prod(axis=1)
        scaled = features[:, own] * size
        for k in range(len(own)):
            for j in range(len(own)):
                monomial = rest[k] + rest[j]
                key = monomial.tobytes()
                if key not in found:
                    found[key] = monomial, np.zeros((n, n))
                found[key][1][...] += np.outer(scaled[:, k], scaled[:, j])
        if len(found) > most:
            raise ArgumentError(
                "most", f"the kernel has more than {most} monomials", "use chain_moments, or raise most"
            )
    return np.array([m for m, _ in found.values()]), np.array([c for _, c in found.values()])


def _moment(power: int, kind: Kind) -> float:
    """E theta^power for a weight of unit size."""
    if power % 2:
        return 0.0
    return 1.0 if kind == "sign" else float(np.prod(np.arange(power - 1, 0, -2)))
