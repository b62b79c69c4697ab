"""Gram matrices of the NNGP and tangent kernels of a network for vectors (DKS, sections 7 and 24; docs/tangent.md)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from qcmap.architecture import Architecture, Input
from qcmap.errors import ArchitectureError, ArgumentError
from qcmap.numeric.kernels._kernel_walk import KernelWalk, chosen_layers
from qcmap.numeric.kernels._pair_kernel import PairKernel, pair_kernel
from qcmap.numeric.maps._arguments import integer, numbers
from qcmap.numeric.maps._shaping import Shaping

Array = NDArray[np.float64]
Kind = Literal["ntk", "nngp"]

_NEAR = 1e-4
"""Angles with 1 - abs(c) below this are computed from differences, since arccos would lose their digits."""


@dataclass(frozen=True, eq=False)
class Gram:
    """A kernel's matrix for a set of inputs, or for two sets.

    ``numpy.asarray(gram)`` is the matrix.

    Attributes
    ----------
    matrix
        The kernel, shape (n, m): row i and column j belong to inputs i and j. Symmetric for one set.
    terms
        The matrices of the layers by node id, if they were asked for.
    error
        The largest absolute error of an entry that interpolation makes, estimated from above; what rounding of the
        inputs' own c values makes is not in it.
    evaluations
        How many pairs the network was walked for; all others are interpolated.
    """

    matrix: Array
    error: float
    evaluations: int
    terms: Mapping[str, Array] = field(default_factory=dict)

    def of(self, layers: Iterable[str]) -> Array:
        """The matrix if only the parameters of these affine nodes are trained (DKS, section 24.3.3)."""
        return np.add.reduce([self.terms[name] for name in chosen_layers(self.terms, layers)])

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> Array:
        return np.array(self.matrix, dtype=dtype, copy=True) if copy else np.asarray(self.matrix, dtype=dtype)

    def to_dict(self) -> dict[str, Any]:
        """The matrix, the layers' matrices and the error as plain data."""
        terms = {node: term.tolist() for node, term in self.terms.items()}
        return {"matrix": self.matrix.tolist(), "error": self.error, "evaluations": self.evaluations, "terms": terms}

    def __repr__(self) -> str:
        n, m = self.matrix.shape
        return f"<Gram matrix {n} x {m}, {len(self.terms)} layers apart: error {self.error:.1g}>"


class GramBlock(NamedTuple):
    """A part of a Gram matrix: ``matrix[rows, columns]`` is ``values``, with at most ``error`` from interpolation."""

    rows: slice
    columns: slice
    values: Array
    error: float


def ntk_gram(
    arch: Architecture,
    x: ArrayLike,
    x2: ArrayLike | None = None,
    *,
    shaping: Shaping | None = None,
    target: str | None = None,
    layers: Iterable[str] | None = None,
    per_layer: bool = False,
) -> Gram:
    """The matrix of the infinite-width tangent kernel at initialisation (DKS, section 24.2), by interpolation.

    Where interpolation does not work (many different norms, kinks) pairs are computed one by one, up to 20,000 pairs,
    at 1 to 2 ms for each pair and activation layer.

    Parameters
    ----------
    arch
        An architecture with one input, taken at one location (pooling is the identity, as in shaping).
    x, x2
        Inputs (n, d) and (m, d): an input has the q value norm^2 / d, a pair the cosine of its angle as c value. With
        ``x2`` left out, the matrix is that of ``x`` with itself; its diagonal is computed at c = 1 exactly.
    shaping, target
        As in `ntk`.
    layers
        The affine nodes that are trained; all if left out.
    per_layer
        Whether to keep the matrix of each layer. They take n * m * 8 bytes each.

    Raises
    ------
    ArgumentError
        For inputs of the wrong shape, or with a row that is zero or not finite.
    ArchitectureError
        As `ntk`, and for several inputs.
    NumericalError
        If the kernel's dependence on angles or norms is not resolved, and there are too many pairs to take one by one.
    """
    grid = _Grid(arch, "ntk", x, x2, shaping, target, layers, apart=per_layer)
    found = {name: np.empty(grid.shape) for name in grid.layers} if per_layer else {"": np.empty(grid.shape)}
    error = 0.0
    for rows, columns in grid.blocks(_rows(grid.shape[1])):
        theta, worst = grid.angles(rows, columns), 0.0
        for k, matrix in enumerate(found.values()):
            values, off = grid.values(theta, rows, columns, k)
            worst += off
            matrix[rows, columns] = values
            if grid.symmetric and rows != columns:
                matrix[columns, rows] = values.T
        error = max(error, worst)
    total = np.add.reduce(list(found.values())) if per_layer else found[""]
    return Gram(total, error, grid.kernel.evaluations, found if per_layer else {})


def nngp_gram(
    arch: Architecture,
    x: ArrayLike,
    x2: ArrayLike | None = None,
    *,
    shaping: Shaping | None = None,
    target: str | None = None,
) -> Gram:
    """The covariance matrix of the outputs at infinite width (DKS, section 7); parameters and errors as `ntk_gram`."""
    grid = _Grid(arch, "nngp", x, x2, shaping, target)
    matrix, error = np.empty(grid.shape), 0.0
    for rows, columns in grid.blocks(_rows(grid.shape[1])):
        values, off = grid.values(grid.angles(rows, columns), rows, columns, 0)
        error = max(error, off)
        matrix[rows, columns] = values
        if grid.symmetric and rows != columns:
            matrix[columns, rows] = values.T
    return Gram(matrix, error, grid.kernel.evaluations)


def gram_blocks(
    arch: Architecture,
    x: ArrayLike,
    x2: ArrayLike | None = None,
    *,
    kernel: Kind = "ntk",
    size: int = 512,
    shaping: Shaping | None = None,
    target: str | None = None,
    layers: Iterable[str] | None = None,
) -> Iterator[GramBlock]:
    """The blocks of a Gram matrix one after another, each at most ``size`` x ``size``, so that memory is bounded.

    For one set of inputs only blocks on and above the diagonal come, since the matrix is symmetric. Parameters and
    errors are those of `ntk_gram`; ``layers`` is for the tangent kernel only.
    """
    if kernel not in ("ntk", "nngp"):
        raise ArgumentError("kernel", f"the kernels are 'ntk' and 'nngp', not {kernel!r}", "choose one of them")
    if kernel == "nngp" and layers is not None:
        raise ArgumentError("layers", "the NNGP kernel is not a sum over layers", "leave layers out")
    size = integer(size, least=1, name="size")
    grid = _Grid(arch, kernel, x, x2, shaping, target, layers)
    for rows, columns in grid.blocks(size):
        yield GramBlock(rows, columns, *grid.values(grid.angles(rows, columns), rows, columns, 0))


def _rows(columns: int) -> int:
    """Rows of a square block whose temporary arrays stay in the processor's cache."""
    return min(512, max(1, columns))


class _Grid:
    """The pairs of one or two sets of inputs, block by block, and the kernel for them."""

    def __init__(
        self,
        arch: Architecture,
        kind: Kind,
        x: ArrayLike,
        x2: ArrayLike | None,
        shaping: Shaping | None,
        target: str | None,
        layers: Iterable[str] | None = None,
        *,
        apart: bool = False,
    ) -> None:
        walk = KernelWalk(arch, shaping, target, tangent=kind == "ntk")
        _one_input(arch)
        q, self.units = _inputs("x", x, arch)
        self.symmetric = x2 is None
        q2, self.units2 = (q, self.units) if x2 is None else _inputs("x2", x2, arch)
        if self.units.shape[1] != self.units2.shape[1]:
            what = f"inputs have {self.units.shape[1]} components in x and {self.units2.shape[1]} in x2"
            raise ArgumentError("x2", what, "give both the same number of columns")
        self.layers = walk.layers if layers is None else tuple(chosen_layers(walk.layers, layers))
        self.shape = (len(self.units), len(self.units2))

        def covariance(theta: Array, q1: Array, q2: Array) -> Array:
            return walk.covariance(np.cos(theta), q1, q2, theta)[:, None]

        def tangent(theta: Array, q1: Array, q2: Array) -> Array:
            _, found = walk.terms(np.cos(theta), q1, q2, theta)
            columns = [found[name] for name in self.layers] or [np.zeros(len(theta))]
            return np.stack(columns, axis=-1) if apart else np.add.reduce(columns)[:, None]

        self.kernel: PairKernel = pair_kernel(walk, tangent if kind == "ntk" else covariance, q, q2)

    def blocks(self, size: int) -> Iterator[tuple[slice, slice]]:
        """Rows and columns of each block; those below the diagonal are left out for one set of inputs."""
        n, m = self.shape
        for i in range(0, n, size):
            for j in range(i if self.symmetric else 0, m, size):
                yield slice(i, min(i + size, n)), slice(j, min(j + size, m))

    def angles(self, rows: slice, columns: slice) -> Array:
        """arccos c of each pair, exactly 0 for equal directions."""
        a, b = self.units[rows], self.units2[columns]
        theta = np.clip(a @ b.T, -1.0, 1.0)
        near = np.nonzero(np.abs(theta) > 1 - _NEAR)
        np.arccos(theta, out=theta)
        step = max(1, 4_000_000 // a.shape[1])
        for k in range(0, len(near[0]), step):
            i, j = near[0][k : k + step], near[1][k : k + step]
            opposite = theta[i, j] > 1
            gap = np.linalg.norm(a[i] - np.where(opposite, -1.0, 1.0)[:, None] * b[j], axis=1)
            small = 2 * np.arcsin(np.minimum(gap / 2, 1.0))
            theta[i, j] = np.where(opposite, math.pi - small, small)
        return theta

    def values(self, theta: Array, rows: slice, columns: slice, layer: int) -> tuple[Array, float]:
        """The kernel of the pairs of a block, and its error."""
        values = self.kernel(theta, rows, columns, layer)
        low, high = float(theta.min()), float(theta.max())
        if self.symmetric and rows == columns:
            if len(theta) > 1:
                low = float(theta[~np.eye(len(theta), dtype=bool)].min())
            lower = np.tril_indices(len(values), -1)
            values[lower] = values.T[lower]
            np.fill_diagonal(values, self.kernel.diagonal(rows, layer))
        return values, self.kernel.error(low, high, layer)


def _one_input(arch: Architecture) -> None:
    if len(arch.inputs) != 1:
        raise ArchitectureError(arch.name, "it has several inputs", "use ntk(arch, c, ...) with c values of your own")


def _inputs(name: str, x: ArrayLike, arch: Architecture) -> tuple[Array, Array]:
    """The q value norm^2 / d of each row (n,), and the rows divided by their norms (n, d)."""
    rows = numbers(name, x)
    if rows.ndim != 2 or 0 in rows.shape:
        raise ArgumentError(name, f"inputs are an array (n, d), not of shape {rows.shape}", "give one row per input")
    op = arch[arch.inputs[0]].op
    assert isinstance(op, Input)
    if isinstance(op.channels, int) and op.channels != rows.shape[1]:
        what = f"the input has {op.channels} channels, but rows have {rows.shape[1]} components"
        raise ArgumentError(name, what, "give the vectors at one location")
    bad = np.flatnonzero(~np.isfinite(rows).all(axis=1))
    if bad.size:
        raise ArgumentError(name, f"row {bad[0]} is not finite", "take such inputs out")
    largest = np.abs(rows).max(axis=1, keepdims=True)
    if not largest.all():
        row = int(np.flatnonzero(largest == 0)[0])
        raise ArgumentError(
            name, f"row {row} is zero, so it has no c values", "take such inputs out, or add a constant"
        )
    scaled = rows / largest
    norms = np.linalg.norm(scaled, axis=1, keepdims=True)
    with np.errstate(over="ignore", under="ignore"):
        q = (largest * norms)[:, 0] ** 2 / rows.shape[1]
    if not (np.isfinite(q) & (q > 0)).all():
        row = int(np.flatnonzero(~(np.isfinite(q) & (q > 0)))[0])
        raise ArgumentError(name, f"the q value of row {row} is out of range", "scale the inputs")
    return q, scaled / norms
