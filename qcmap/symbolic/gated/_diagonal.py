"""The change of variables (9) done exactly: contexts with sympy matrices, mode by mode."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import sympy

from qcmap.architecture.gated._checks import check_kind
from qcmap.architecture.gated._context import Context, check_context
from qcmap.errors import DataError


def exact_modes(contexts: Sequence[Context]) -> tuple[tuple[Context, ...], ...]:
    """The contexts of each mode, with exact S and D, where the moments are small jointly diagonalizable matrices.

    All input nodes share a basis V and all output nodes a basis U, (7)-(8) of NRR: V are common eigenvectors of the
    moments ``<x x^T>`` and of the products of ``<y x^T>`` transposed with ``<y x^T>``; U is what ``<y x^T>`` makes of
    them. Symbols are taken as real. Modes without a signal in any context are left out.

    Raises
    ------
    DataError
        Naming the context whose moments are not real sympy matrices of one shape, or not diagonal in the bases; or
        where no mode has a signal.
    """
    check_kind("contexts", contexts, Sequence, "give a list of them")
    for k, context in enumerate(contexts):
        check_context(f"contexts[{k}]", context)
    own = [(c, _matrix(c, value)) for c in contexts for value in c.xx.values()]
    cross = [(c, _matrix(c, value)) for c in contexts for value in c.yx.values()]
    if not cross:
        raise DataError("contexts", "none has a moment <y x^T>", "give one")
    rows, columns = cross[0][1].shape
    for found, shape in ((own, (columns, columns)), (cross, (rows, columns))):
        for context, matrix in found:
            if matrix.shape != shape:
                raise _refused(context, f"a moment is {matrix.shape}, not {shape}", "give all layers one size")
    first = cross[0][1]
    blocks = [sympy.eye(columns)]
    for matrix in (
        *(a + a.T for _, a in own),
        *(b.T * b for _, b in cross),
        *(first.T * b + b.T * first for _, b in cross),
    ):
        blocks = [finer for block in blocks for finer in _eigenspaces(block, matrix)]
    modes = []
    for v in (block.col(k) for block in blocks for k in range(block.cols)):
        images = (_simple(b * v) for _, b in cross)
        image = next((image for image in images if not image.is_zero_matrix), None)
        if image is not None:
            u = _unit(image)
            modes.append(tuple(_mode(context, u, v) for context in contexts))
    if not modes:
        raise DataError("contexts", "all their moments <y x^T> are zero", "give targets that inputs predict")
    return tuple(modes)


def _mode(context: Context, u: Any, v: Any) -> Context:
    """The context of one mode; raises unless u and v are singular vectors of its moments."""
    xx = {pair: _entry(context, _matrix(context, value), v, v) for pair, value in context.xx.items()}
    yx = {pair: _entry(context, _matrix(context, value), u, v) for pair, value in context.yx.items()}
    return replace(context, xx=xx, yx=yx, yy=None)


def _entry(context: Context, matrix: Any, left: Any, right: Any) -> Any:
    entry = sympy.simplify((left.T * matrix * right)[0])
    for rest in (matrix * right - entry * left, matrix.T * left - entry * right):
        if not _simple(rest).is_zero_matrix:
            raise _refused(context, "its moments have no common bases with the others", "use decouple on numbers")
    return entry


def _eigenspaces(block: Any, matrix: Any) -> Iterator[Any]:
    """Orthonormal bases of the eigenspaces of a symmetric matrix within the span of the block's columns."""
    for _, _, vectors in _simple(block.T * matrix * block).eigenvects():
        kept: list[Any] = []
        for vector in vectors:
            rest = vector - sum((other * other.dot(vector) for other in kept), sympy.zeros(*vector.shape))
            kept.append(_unit(rest))
        yield _simple(block * sympy.Matrix.hstack(*kept))


def _unit(vector: Any) -> Any:
    return _simple(vector / sympy.sqrt(vector.dot(vector)))


def _simple(matrix: Any) -> Any:
    return matrix.applyfunc(sympy.simplify)


def _matrix(context: Context, value: Any) -> Any:
    if not isinstance(value, sympy.MatrixBase):
        raise _refused(context, "a moment is no sympy matrix", "give sympy.Matrix, or use decouple on arrays")
    if any(entry.is_extended_real is False or entry.has(sympy.I, sympy.nan, sympy.oo, sympy.zoo) for entry in value):
        raise _refused(context, "a moment has an entry that is not real and finite", "give real numbers or symbols")
    return value


def _refused(context: Context, rule: str, remedy: str) -> DataError:
    return DataError(f"context {context.name!r}", rule, remedy)
