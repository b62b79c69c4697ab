"""A network's kernel as a function of the angle between two inputs and of their q values, ready for many pairs.

The kernel of a network is computed at a few hundred triples (theta, q1, q2) and interpolated (docs/tangent.md):

- inputs of equal norm: one function of theta, a `PanelSeries`;
- networks that are positively homogeneous, K(a x, b x') = (a b)^k K(x, x'): the same, times powers of the norms;
- few distinct norms: one function of theta for each pair of them;
- many, and only relu-like activations, whose maps are known for all q values at once: every pair by itself;
- many otherwise: functions of theta at Chebyshev nodes in log q1 and log q2, whose number doubles until they are
  resolved. Where phi has kinks they never are: then the kernel is not smooth at theta = 0, q1 = q2;
- where they are not, or cost more: every pair by itself again, up to 20,000 pairs.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Protocol

import numpy as np
from numpy.polynomial.chebyshev import chebvander
from numpy.typing import NDArray

from qcmap.errors import NumericalError
from qcmap.numeric.kernels._degree import homogeneous_degree
from qcmap.numeric.kernels._kernel_walk import KernelWalk, homogeneity
from qcmap.numeric.kernels._panels import NODES, PanelSeries, panel_series

Array = NDArray[np.float64]
Kernel = Callable[[Array, Array, Array], Array]
"""Arrays theta, q1, q2 of shape (m,) to the values of the layers' kernels, (m, layers)."""

EQUAL = 1e-13
"""q values that differ by less, relatively, are one: inputs that were normalised in floating point."""
_FEW = 8
_NORM_NODES = (6, 12, 24)
_CHEAP, _MOST_PAIRS = 210, 20_000
"""Pairs that cost less one by one than nodes in the norms do, and the most that are taken one by one."""
_NORM_TOLERANCE = 1e-11
_PROBES = np.linspace(0, math.pi, 7)


class PairKernel(Protocol):
    """The kernel of pairs (row, column), for a block of rows and one of columns, given their angles."""

    evaluations: int
    """How many triples the network's kernel was computed for."""

    def __call__(self, theta: Array, rows: slice, columns: slice, layer: int) -> Array:
        """Values of the shape of ``theta``, (rows, columns)."""
        ...

    def diagonal(self, rows: slice, layer: int) -> Array:
        """Values at theta = 0 of each row with itself."""
        ...

    def error(self, low: float, high: float, layer: int) -> float:
        """The largest absolute error of the values at angles from ``low`` to ``high``."""
        ...


def pair_kernel(walk: KernelWalk, kernel: Kernel, q: Array, other: Array) -> PairKernel:
    """The `PairKernel` of a network for rows with q values ``q`` (n,) and columns with ``other`` (k,).

    Raises
    ------
    NumericalError
        If the dependence on the angle or on the q values is not resolved.
    """
    every = np.concatenate([q, other])
    low, high = float(every.min()), float(every.max())
    if high - low <= EQUAL * high:
        same = np.array([1.0 if abs(low - 1) <= EQUAL else low])
        return _Scaled(_series(walk, kernel, same, same), np.ones_like(q), np.ones_like(other))
    degree = homogeneous_degree(walk)
    if degree is not None:
        one = np.ones(1)
        return _Scaled(_series(walk, kernel, one, one), q ** (degree / 2), other ** (degree / 2))
    distinct = _distinct(every)
    if len(distinct) <= _FEW:
        return _Grouped(walk, kernel, distinct, q, other)
    if all(homogeneity(maps.transform) is not None for maps in walk.local.values()):
        return _Direct(kernel, q, other)
    pairs = len(q) * (len(q) + 1) // 2 if other is q else len(q) * len(other)
    if pairs <= _CHEAP:
        return _Direct(kernel, q, other)
    many = f"{pairs:,} pairs are more than the {_MOST_PAIRS:,} that are taken one by one"
    remedy = f"normalise the inputs, use at most {_FEW} different norms, or give fewer inputs at a time"
    for name, maps in walk.local.items():
        if maps.transform.activation.kinks and homogeneity(maps.transform) is None:
            if pairs <= _MOST_PAIRS:
                return _Direct(kernel, q, other)
            what = f"inputs have {len(distinct)} different norms, its kernel is not smooth in them at kinks, and {many}"
            raise NumericalError(name, what, remedy)
    try:
        return _Tensor(walk, kernel, (low, high), q, other)
    except NumericalError as error:
        if pairs <= _MOST_PAIRS:
            return _Direct(kernel, q, other)
        raise NumericalError(error.subject, f"{error.rule}, and {many}", remedy) from None


def _series(walk: KernelWalk, kernel: Kernel, q1: Array, q2: Array) -> PanelSeries:
    """Series in theta for pairs of q values, (t,) each; columns are the pairs, and the layers of each."""

    def values(theta: Array) -> Array:
        if len(q1) == 1:
            return kernel(theta, q1, q2)
        triples = np.broadcast_arrays(theta[:, None], q1, q2)
        return kernel(*(v.reshape(-1) for v in triples)).reshape(len(theta), -1)

    rounded = not (walk.exact_angles and len(q1) == 1)
    return panel_series(values, walk.arch.name, len(walk.local), rounded=rounded)


def _worst(series: PanelSeries, low: float, high: float) -> Array:
    """The largest error of each column on the panels from one angle to another."""
    (first, last), _ = series.place(np.array([low, high]))
    return series.error[:, first : last + 1].max(axis=1)


class _Scaled:
    """One function of theta, times a factor of the row and one of the column."""

    def __init__(self, series: PanelSeries, row_factors: Array, column_factors: Array) -> None:
        self.series, self.row_factors, self.column_factors = series, row_factors, column_factors
        self.evaluations = series.evaluations

    def __call__(self, theta: Array, rows: slice, columns: slice, layer: int) -> Array:
        values = self.series(theta, layer)
        values *= self.row_factors[rows, None]
        values *= self.column_factors[columns]
        return values

    def diagonal(self, rows: slice, layer: int) -> Array:
        return self.row_factors[rows] ** 2 * self.series.start[layer]

    def error(self, low: float, high: float, layer: int) -> float:
        return float(_worst(self.series, low, high)[layer] * self.row_factors.max() * self.column_factors.max())


def _distinct(q: Array) -> Array:
    """The smallest value of each cluster of equal q values, increasing."""
    ordered = np.sort(q)
    return ordered[np.concatenate([[True], np.diff(ordered) > EQUAL * ordered[1:]])]


class _Grouped:
    """One function of theta for each pair of distinct q values."""

    def __init__(self, walk: KernelWalk, kernel: Kernel, distinct: Array, q: Array, other: Array) -> None:
        first, second = np.tril_indices(len(distinct))
        self.series = _series(walk, kernel, distinct[first], distinct[second])
        self.layers = len(self.series.start) // len(first)
        self.table = np.zeros((len(distinct), len(distinct)), dtype=np.intp)
        self.table[first, second] = self.table[second, first] = np.arange(len(first))
        self.row_groups, self.column_groups = (np.searchsorted(distinct, v, side="right") - 1 for v in (q, other))
        self.evaluations = self.series.evaluations * len(first)

    def __call__(self, theta: Array, rows: slice, columns: slice, layer: int) -> Array:
        pairs = self.table[self.row_groups[rows, None], self.column_groups[columns]]
        return self.series(theta, pairs * self.layers + layer)

    def diagonal(self, rows: slice, layer: int) -> Array:
        groups = self.row_groups[rows]
        return self.series.start[self.table[groups, groups] * self.layers + layer]

    def error(self, low: float, high: float, layer: int) -> float:
        return float(_worst(self.series, low, high)[layer :: self.layers].max())


class _Direct:
    """Each pair by a walk over the network, equal pairs once; the layers of the last block are kept."""

    def __init__(self, kernel: Kernel, q: Array, other: Array) -> None:
        self.kernel, self.q, self.other = kernel, q, other
        self.evaluations, self._last = 0, (slice(0), slice(0), np.empty(0))

    def __call__(self, theta: Array, rows: slice, columns: slice, layer: int) -> Array:
        if self._last[:2] != (rows, columns):
            triples = np.broadcast_arrays(theta, self.q[rows, None], self.other[columns])
            if self.other is self.q and rows == columns:
                upper = np.triu_indices(len(theta))
                half = self.kernel(*(v[upper] for v in triples))
                found = np.empty((*theta.shape, half.shape[1]))
                found[upper] = found[upper[::-1]] = half
                self.evaluations += len(half)
            else:
                found = self.kernel(*(v.reshape(-1) for v in triples)).reshape(*theta.shape, -1)
                self.evaluations += theta.size
            self._last = rows, columns, found
        return self._last[2][:, :, layer].copy()

    def diagonal(self, rows: slice, layer: int) -> Array:
        q = self.q[rows]
        return self.kernel(np.zeros_like(q), q, q)[:, layer]

    def error(self, low: float, high: float, layer: int) -> float:
        return 0.0


class _Tensor:
    """Functions of theta at Chebyshev nodes in log q1 and log q2, with series in these."""

    def __init__(self, walk: KernelWalk, kernel: Kernel, ends: tuple[float, float], q: Array, other: Array) -> None:
        self.middle, self.half = math.log(ends[0] * ends[1]) / 2, math.log(ends[1] / ends[0]) / 2
        nodes, self.norm_error = self._resolved(walk, kernel)
        first, second = np.tril_indices(len(nodes))
        self.series = series = _series(walk, kernel, nodes[first], nodes[second])
        self.layers = len(series.start) // len(first)
        # (theta coefficient, panel, layer, node, node), then the last two as coefficients too.
        full = np.empty((NODES, len(series.edges) - 1, self.layers, len(nodes), len(nodes)))
        pairs = series.coefficients.reshape(NODES, len(first), self.layers, -1).transpose(0, 3, 2, 1)
        full[..., first, second] = full[..., second, first] = pairs
        self.transform = _to_coefficients(len(nodes))
        self.coefficients = self.transform @ full @ self.transform.T
        start = np.empty((self.layers, len(nodes), len(nodes)))
        start[:, first, second] = start[:, second, first] = series.start.reshape(len(first), self.layers).T
        self.start = self.transform @ start @ self.transform.T
        self.lebesgue = (1 + 2 / math.pi * math.log(len(nodes))) ** 2
        self.row_basis, self.column_basis = self._basis(q), self._basis(other)
        self.evaluations = series.evaluations * len(first)
        self._check(kernel)

    def _nodes(self, count: int) -> Array:
        return np.exp(self.middle + self.half * np.cos(math.pi * (np.arange(count) + 0.5) / count))

    def _basis(self, q: Array) -> Array:
        """Chebyshev polynomials at log q, (n, nodes)."""
        position = (np.log(q) - self.middle) / self.half
        return np.asarray(chebvander(np.clip(position, -1, 1), len(self.transform) - 1), dtype=np.float64)

    def _resolved(self, walk: KernelWalk, kernel: Kernel) -> tuple[Array, float]:
        """Enough nodes in q, by the last coefficients at a few angles, and an estimate of the relative error."""
        for count in _NORM_NODES:
            nodes = self._nodes(count)
            triples = np.broadcast_arrays(_PROBES[:, None, None], nodes[:, None], nodes)
            values = np.moveaxis(
                kernel(*(v.reshape(-1) for v in triples)).reshape(len(_PROBES), count, count, -1), 3, 0
            )
            transform = _to_coefficients(count)
            size = np.abs(transform @ values @ transform.T)
            error = float(max(size[..., -2:, :].max(), size[..., -2:].max()) / size.max())
            if error <= _NORM_TOLERANCE:
                return nodes, error
        raise NumericalError(
            walk.arch.name, f"its kernel is not resolved by {_NORM_NODES[-1]} nodes in the norms of the inputs",
            "normalise the inputs to equal norms, or give inputs whose norms differ less",
        )  # fmt: skip

    def _check(self, kernel: Kernel) -> None:
        """Raise the error to what is seen between the nodes."""
        count = 9
        angles = math.pi * (np.arange(count) + 0.37) / count
        position = np.cos(2.1 * np.arange(count)), np.cos(3.7 * np.arange(count) + 1)
        first, second = (np.exp(self.middle + self.half * p) for p in position)
        exact = kernel(angles, first, second)
        self.seen = np.empty(self.layers)
        for layer in range(self.layers):
            rows, columns = self._basis(first), self._basis(second)
            found = np.diagonal(self._values(np.broadcast_to(angles, (count, count)), rows, columns, layer))
            self.seen[layer] = 4 * np.abs(found - exact[:, layer]).max()
        self.largest = np.abs(exact).max(axis=0)

    def __call__(self, theta: Array, rows: slice, columns: slice, layer: int) -> Array:
        return self._values(theta, self.row_basis[rows], self.column_basis[columns], layer)

    def _values(self, theta: Array, rows: Array, columns: Array, layer: int) -> Array:
        values, own = np.empty(theta.shape), self.coefficients[:, :, layer]
        for k, basis in enumerate(rows):
            panel, x = self.series.place(theta[k])
            along = np.einsum("tpab,a->ptb", own, basis)
            values[k] = np.einsum("ntb,nt,nb->n", along[panel], chebvander(x, NODES - 1), columns)
        return values

    def diagonal(self, rows: slice, layer: int) -> Array:
        basis = self.row_basis[rows]
        return np.einsum("na,ab,nb->n", basis, self.start[layer], basis)

    def error(self, low: float, high: float, layer: int) -> float:
        along = float(_worst(self.series, low, high)[layer :: self.layers].max()) * self.lebesgue
        return max(along + 4 * self.norm_error * float(self.largest[layer]), float(self.seen[layer]))


def _to_coefficients(count: int) -> Array:
    """The matrix from values at Chebyshev points to coefficients."""
    angles = math.pi * (np.arange(count) + 0.5) / count
    matrix = np.cos(np.outer(np.arange(count), angles)) * (2 / count)
    matrix[0] /= 2
    return matrix
