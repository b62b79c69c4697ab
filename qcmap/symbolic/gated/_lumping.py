"""Lumping: the coarsest equitable partition of the edges of a gated network, by refining colours (docs/gated.md)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from qcmap.architecture import Affine, Input
from qcmap.architecture.gated._network import GatedNetwork
from qcmap.architecture.gated._tables import Coded, Integers
from qcmap.symbolic.gated._circuit import LOW, SHIFT, Circuit, Table, codes, tally
from qcmap.symbolic.gated._quotient import Back, Cell, Front, One, Quotient


def lumped(
    network: GatedNetwork, kinds: Sequence[Any], *, tolerance: float = 1e-12, channels: bool = False
) -> Quotient:
    """The circuit of the network on the coarsest equitable partition of its edges.

    Parameters
    ----------
    network
        With moments of modes (sympy, numbers or arrays over modes), or with matrices.
    kinds
        For each edge, in order, a label; edges of different labels are never lumped (such as shapes).
    tolerance
        Moments that differ by less than this, relative to the largest, count as equal.
    channels
        Whether values are matrices, so that inputs of different channels differ.
    """
    return _Refinement(network, tolerance, channels).run(kinds)


class _Refinement:
    """Colours of cells for given classes of edges; classes are refined until nothing changes."""

    def __init__(self, network: GatedNetwork, tolerance: float, channels: bool) -> None:
        self.network, self.cells = network, network.cells
        self.matrices = channels
        task, lanes = network.task, self.cells.lanes
        self.weights = Table()
        self.probability = codes(task.probability, 0.0)
        self.target = codes(task.yx.value, tolerance)
        self.moment = codes(task.xx.value, tolerance)
        # Where a gate or weight stands, its position in one table.
        self.coefficients = {
            id(term): self._coded(term.weight)
            for node in self.cells.nodes
            for term in node.terms
            if term.weight is not None
        }
        width = max(len(task.inputs), 1)
        keys = lanes.context * width
        for k, members in enumerate(lanes.members):
            keys[members] += k
        self.targets = self._targets(keys, width)
        self.pairs = self._pairs(keys, width)

    def _coded(self, weight: Coded) -> Integers:
        table = np.array([self.weights.position(value) for value in weight.values], dtype=np.int64)
        return table[weight.ids]

    def _targets(self, keys: Integers, width: int) -> list[tuple[Integers, Integers]]:
        """For each output, the lanes with a target that is not zero, and which one."""
        yx = self.network.task.yx
        ids = self.target[0][yx.value.ids]
        order = np.lexsort((yx.context * width + yx.column, yx.row))
        order = order[ids[order] >= 0]
        bounds = np.searchsorted(yx.row[order], np.arange(len(self.network.task.outputs) + 1))
        lane, ids = np.searchsorted(keys, (yx.context * width + yx.column)[order]), ids[order]
        return [(lane[a:b], ids[a:b]) for a, b in pairwise(bounds.tolist())]

    def _pairs(self, keys: Integers, width: int) -> tuple[Integers, Integers, Integers]:
        """Pairs of lanes of one context whose inputs have a moment: start of each lane's, other lane, code of D."""
        xx = self.network.task.xx
        ids = self.moment[0][xx.value.ids]
        keep = ids >= 0
        row, column = (np.searchsorted(keys, xx.context[keep] * width + node[keep]) for node in (xx.row, xx.column))
        ids, off = ids[keep], xx.row[keep] != xx.column[keep]
        # The moment <x_row x_column^T> stands behind front(., row) in the error of column; turned round in that of row.
        turned = 1 if self.matrices else 0
        lane = np.concatenate([column, row[off]])
        other = np.concatenate([row, column[off]])
        code = np.concatenate([2 * ids, 2 * ids[off] + turned])
        order = np.argsort(lane, kind="stable")
        starts = np.searchsorted(lane[order], np.arange(len(keys) + 1))
        return starts, other[order], code[order]

    def run(self, kinds: Sequence[Any]) -> Quotient:
        label: dict[Any, int] = {}
        classes = np.array([label.setdefault(kind, len(label)) for kind in kinds], dtype=np.int64)
        while True:
            circuit = Circuit()
            front = self._fronts(circuit, classes)
            errors = self._errors(circuit, front)
            back = self._backs(circuit, classes, errors)
            known: dict[Any, int] = {}
            flows: list[tuple[Integers, Integers]] = []
            refined = np.empty_like(classes)
            for k, v in enumerate(self.cells.edges):
                (term,) = self.cells.nodes[v].terms or (None,)
                pair = back[v] << SHIFT
                if term is not None:
                    pair = pair + front[term.source][term.take]
                signature = tally(pair)
                key = (int(classes[k]), *(part.tobytes() for part in signature))
                if key not in known:
                    known[key] = len(known)
                    flows.append(signature)
                refined[k] = known[key]
            if len(known) == len(set(classes.tolist())):
                return self._quotient(circuit, refined, flows, errors, front, classes)
            classes = refined

    def _quotient(
        self, circuit: Circuit, classes: Integers, flows: list[tuple[Integers, Integers]],
        errors: dict[int, Integers], front: list[Integers], used: Integers,
    ) -> Quotient:  # fmt: skip
        edges = self.network.edges
        order = np.argsort(classes, kind="stable")
        bounds = np.searchsorted(classes[order], np.arange(len(flows) + 1))
        members = tuple(tuple(edges[k] for k in order[a:b]) for a, b in pairwise(bounds.tolist()))
        # The circuit was made with the numbers of the classes before the last round, which found the same ones.
        renamed = {int(old): int(new) for old, new in zip(used, classes, strict=True)}
        losses: dict[tuple[int, int], int] = {}
        for v, error in errors.items():
            for pair, count in zip(*tally((error << SHIFT) + front[v]), strict=True):
                key = (int(pair) >> SHIFT, int(pair) & LOW)
                losses[key] = losses.get(key, 0) + int(count)
        return Quotient(
            members,
            tuple(_renamed(cell, renamed) for cell in circuit.cells),
            tuple(
                tuple((int(n), int(p) >> SHIFT, int(p) & LOW) for p, n in zip(*flow, strict=True))
                for flow in flows
            ),
            tuple((count, *key) for key, count in losses.items()),
            tuple(self.weights.values), self.probability[1], self.target[1], self.moment[1],
        )  # fmt: skip

    def _fronts(self, circuit: Circuit, classes: Integers) -> list[Integers]:
        network, front = self.network, []
        edge = dict(zip(self.cells.edges, classes.tolist(), strict=True))
        for v, (node, cells) in enumerate(zip(network.architecture.nodes, self.cells.nodes, strict=True)):
            if isinstance(node.op, Input):
                channels = network.architecture.channels[node.id] if self.matrices else None
                one = circuit.position(One(channels if isinstance(channels, int) else None))
                front.append(np.full(len(cells.lanes), one, dtype=np.int64))
            elif isinstance(node.op, Affine):
                parts = [front[term.source][term.take] for term in cells.terms]
                front.append(circuit.mapped(parts[0], lambda k, e=edge[v]: Front(e, k)) if parts else cells.lanes)
            else:
                parts = [(t.at, self.coefficients[id(t)], front[t.source][t.take]) for t in cells.terms]
                front.append(circuit.mixed(len(cells.lanes), parts, self.weights))
        return front

    def _errors(self, circuit: Circuit, front: list[Integers]) -> dict[int, Integers]:
        starts, other, code = self.pairs
        found: dict[int, Integers] = {}
        for k, v in enumerate(self.cells.outputs):
            lanes = self.cells.nodes[v].lanes
            lane, wanted = self.targets[k]
            target = np.full(len(lanes), -1, dtype=np.int64)
            if len(lanes) and len(lane):
                at = np.minimum(np.searchsorted(lanes, lane), len(lanes) - 1)
                here = lanes[at] == lane
                target[at[here]] = wanted[here]
            first, counts = starts[lanes], starts[lanes + 1] - starts[lanes]
            index = np.repeat(first - np.concatenate([[0], np.cumsum(counts)[:-1]]), counts) + np.arange(counts.sum())
            mine, others, codes = np.repeat(np.arange(len(lanes)), counts), other[index], code[index]
            position = np.minimum(np.searchsorted(lanes, others), max(len(lanes) - 1, 0))
            here = lanes[position] == others if len(lanes) else np.zeros(0, dtype=bool)
            probability = self.probability[0][self.network.task.probability.ids[self.cells.lanes.context[lanes]]]
            head = (probability << SHIFT) + target + 1
            rows = circuit.rows(len(lanes), mine[here], codes[here], front[v][position[here]])
            found[v] = circuit.errors(head, rows)
        return found

    def _backs(self, circuit: Circuit, classes: Integers, errors: dict[int, Integers]) -> list[Integers]:
        nodes, cells = self.network.architecture.nodes, self.cells
        back: list[Integers] = [cells.nodes[v].lanes for v in range(len(nodes))]
        edge = dict(zip(cells.edges, classes.tolist(), strict=True))
        one = self.weights.position(1)
        for v in range(len(nodes) - 1, -1, -1):
            parts: list[tuple[Integers, Integers, Integers]] = []
            if v in errors:
                every = np.arange(len(errors[v]))
                parts.append((every, np.full(len(every), one, dtype=np.int64), errors[v]))
            for reader, term in cells.readers[v]:
                came = back[reader][term.at]
                weight = self.coefficients.get(id(term))
                if weight is None:
                    came = circuit.mapped(came, lambda k, e=edge[reader]: Back(e, k))
                    weight = np.full(len(came), one, dtype=np.int64)
                parts.append((term.take, weight, came))
            back[v] = circuit.mixed(len(cells.nodes[v].lanes), parts, self.weights)
        return back


def _renamed(cell: Cell, names: dict[int, int]) -> Cell:
    if isinstance(cell, Front):
        return Front(names[cell.edge], cell.cell)
    return Back(names[cell.edge], cell.cell) if isinstance(cell, Back) else cell
