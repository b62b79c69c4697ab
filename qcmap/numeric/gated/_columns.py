"""Moments as data: a few weighted examples for each context that have exactly its second moments."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from qcmap.architecture.gated._cells import Cells, Lanes
from qcmap.architecture.gated._context import RANK
from qcmap.architecture.gated._network import GatedNetwork
from qcmap.errors import ArgumentError, DataError

Array: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Columns:
    """Examples with the second moments of a task, weighted by the square root of the contexts' probability.

    The loss (1) depends on data through ``<x x^T>``, ``<y x^T>`` and ``<|y|^2>`` alone. With ``<x x^T> = X X^T``, X of
    full column rank, and Y = <y x^T> X^+T, the examples X, Y have these moments; what of ``<|y|^2>`` no x explains is a
    constant.

    Attributes
    ----------
    cells
        The walk, one lane for each example.
    inputs
        For each input node, [channels, examples that it has].
    targets
        For each output node, [channels, examples that reach it].
    unreached
        By context, the weighted loss of what is not in ``targets``: what nothing reaches, and what no x explains.
    """

    cells: Cells
    inputs: tuple[Array, ...]
    targets: tuple[Array, ...]
    unreached: Array

    @classmethod
    def of(cls, network: GatedNetwork) -> Columns:
        """The examples of a network with matrices.

        Raises
        ------
        ArgumentError
            If the moments are those of modes.
        DataError
            Naming the context: moments that no data have.
        """
        task = network.task
        if not task.is_matrix:
            raise ArgumentError("network", "its moments are symbols or modes", "give the builder data")
        probability = task.probability.numbers()
        forms = _forms(network)
        context: list[int] = []
        x: list[list[tuple[int, Array]]] = [[] for _ in task.inputs]
        y: list[list[tuple[int, Array]]] = [[] for _ in task.outputs]
        explained = np.zeros(len(task.contexts))
        for c, form in enumerate(forms):
            start, root = len(context), np.sqrt(probability[c])
            context += [c] * form.count
            for node, block in form.x.items():
                x[node].append((start, root * block))
            for node, block in form.y.items():
                y[node].append((start, root * block))
                explained[c] += float((block**2).sum())
        given = explained if task.yy is None else task.yy.numbers()
        if (given < explained * (1 - 1e-9) - 1e-300).any():
            c = int(np.argmax(explained - given))
            raise DataError(
                f"context {task.contexts[c]!r}", f"<|y|^2> is {given[c]:.6g}, but x explains {explained[c]:.6g} of it",
                "give moments of one set of data",
            )  # fmt: skip
        members = tuple(_positions(blocks) for blocks in x)
        cells = Cells.of(network, Lanes(np.array(context, dtype=np.int64), members))
        inputs = tuple(_joined(blocks) for blocks in x)
        inputs = tuple(
            block[:, np.searchsorted(lanes, cells.nodes[v].lanes)]
            for block, lanes, v in zip(inputs, members, _positions_of_inputs(network), strict=True)
        )
        targets, reached = [], np.zeros(len(task.contexts))
        for blocks, v, name in zip(y, cells.outputs, task.outputs, strict=True):
            lanes, have = cells.nodes[v].lanes, _positions(blocks)
            size = network.architecture.channels[name]
            target = np.zeros((blocks[0][1].shape[0] if blocks else int(str(size)), len(lanes)))
            if len(have) and len(lanes):
                at = np.minimum(np.searchsorted(lanes, have), len(lanes) - 1)
                here = lanes[at] == have
                target[:, at[here]] = _joined(blocks)[:, here]
            np.add.at(reached, cells.lanes.context[lanes], (target**2).sum(axis=0))
            targets.append(target)
        return cls(cells, inputs, tuple(targets), np.maximum(0.0, probability * given - reached) / 2)


@dataclass(frozen=True, eq=False)
class _Form:
    """The examples of one context, before weighting."""

    count: int
    x: Mapping[int, Array]
    y: Mapping[int, Array]


def _forms(network: GatedNetwork) -> list[_Form]:
    """The examples of each context; contexts with the same moments share them."""
    task = network.task
    parts: list[tuple[list[tuple[int, int, int]], list[tuple[int, int, int]]]] = [([], []) for _ in task.contexts]
    for which, blocks in enumerate((task.xx, task.yx)):
        rows = zip(blocks.context, blocks.row, blocks.column, blocks.value.ids, strict=True)
        for c, row, column, value in (map(int, entry) for entry in rows):
            parts[c][which].append((row, column, value))
    known: dict[tuple[object, ...], tuple[int, list[Array], list[Array]]] = {}
    forms = []
    for c, (xx, yx) in enumerate(parts):
        nodes = sorted({node for row, column, _ in xx for node in (row, column)})
        outputs = sorted({row for row, _, _ in yx})
        place, out = ({node: k for k, node in enumerate(listed)} for listed in (nodes, outputs))
        if any(column not in place for _, column, _ in yx):
            raise DataError(f"context {task.contexts[c]!r}", "it has <y x^T> of an input without <x x^T>", "give both")
        key = (
            tuple((place[row], place[column], value) for row, column, value in xx),
            tuple((out[row], place[column], value) for row, column, value in yx),
        )
        if key not in known:
            known[key] = _factored(network, c, key[0], key[1])
        count, x, y = known[key]
        forms.append(_Form(count, dict(zip(nodes, x, strict=True)), dict(zip(outputs, y, strict=True))))
    return forms


def _factored(
    network: GatedNetwork, context: int, xx: tuple[tuple[int, int, int], ...], yx: tuple[tuple[int, int, int], ...]
) -> tuple[int, list[Array], list[Array]]:
    task = network.task
    moments = {(row, column): task.xx.value.values[value] for row, column, value in xx}
    sizes = [0] * (1 + max((column for _, column in moments), default=-1))
    for (row, column), matrix in moments.items():
        sizes[row], sizes[column] = matrix.shape
    ends = np.cumsum([0, *sizes])
    whole = np.zeros((ends[-1], ends[-1]))
    for (row, column), matrix in moments.items():
        whole[ends[row] : ends[row + 1], ends[column] : ends[column + 1]] = matrix
        whole[ends[column] : ends[column + 1], ends[row] : ends[row + 1]] = matrix.T
    heights: dict[int, int] = {}
    for row, _, value in yx:
        heights[row] = task.yx.value.values[value].shape[0]
    cross = {row: np.zeros((height, ends[-1])) for row, height in heights.items()}
    for row, column, value in yx:
        cross[row][:, ends[column] : ends[column + 1]] = task.yx.value.values[value]
    values, vectors = np.linalg.eigh(whole)
    scale = float(values[-1]) if len(values) else 0.0
    keep = values > RANK * scale
    name = f"context {task.contexts[context]!r}"
    if len(values) and values[0] < -1e-9 * scale:
        raise DataError(name, "its moments <x x^T> of several inputs are not positive", "give moments of one data set")
    x = vectors[:, keep] * np.sqrt(values[keep])
    y = {row: (matrix @ vectors[:, keep]) / np.sqrt(values[keep]) for row, matrix in cross.items()}
    for row, matrix in cross.items():
        if np.linalg.norm(y[row] @ x.T - matrix) > 1e-7 * np.linalg.norm(matrix):
            raise DataError(name, "<y x^T> has directions that <x x^T> has not", "give moments of one data set")
    split = [x[a:b] for a, b in pairwise(ends)]
    return int(keep.sum()), split, [y[row] for row in sorted(y)]


def _positions(blocks: list[tuple[int, Array]]) -> NDArray[np.int64]:
    if not blocks:
        return np.empty(0, dtype=np.int64)
    return np.concatenate([np.arange(start, start + block.shape[1], dtype=np.int64) for start, block in blocks])


def _joined(blocks: list[tuple[int, Array]]) -> Array:
    return np.concatenate([block for _, block in blocks], axis=1) if blocks else np.zeros((0, 0))


def _positions_of_inputs(network: GatedNetwork) -> list[int]:
    return [network.architecture.index[name] for name in network.architecture.inputs]
