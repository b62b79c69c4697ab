"""The same network with fewer contexts, or with an input node for each edge that reads an input."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np

from qcmap.architecture import Architecture, Input, Node
from qcmap.architecture.gated._network import GatedNetwork
from qcmap.architecture.gated._tables import Blocks, Coded, Integers
from qcmap.architecture.gated._task import GatedTask, Gating


def merged(network: GatedNetwork) -> GatedNetwork:
    """Contexts with the same gates made one, with their summed probability and mean moments.

    The flow depends on data only through the statistics (5)-(6), sums over contexts in which the gates of a context
    enter as one factor: so nothing changes.
    """
    task = network.task
    count = len(task.contexts)
    names = list(task.gates)
    entries: list[list[tuple[int, Any]]] = [[] for _ in range(count)]
    for g, name in enumerate(names):
        gating = task.gates[name]
        for context, value in zip(gating.contexts.tolist(), gating.value.ids.tolist(), strict=True):
            entries[context].append((g, gating.value.values[value]))
    first: dict[Any, int] = {}
    group = np.array([first.setdefault(tuple(gates), len(first)) for gates in entries], dtype=np.int64)
    if len(first) == count:
        return network
    probability = [task.probability.values[k] for k in task.probability.ids.tolist()]
    total: list[Any] = [0] * len(first)
    for k, p in zip(group.tolist(), probability, strict=True):
        total[k] += p
    leader = np.unique(group, return_index=True)[1]

    def mean(blocks: Blocks) -> Blocks:
        sums: dict[tuple[int, int, int], Any] = {}
        values = blocks.value.values
        rows = zip(blocks.context, blocks.row, blocks.column, blocks.value.ids, strict=True)
        for context, row, column, value in rows:
            key = (int(group[context]), int(row), int(column))
            share = probability[context] / total[key[0]]
            part = values[value] * (float(share) if isinstance(values[value], np.ndarray) else share)
            sums[key] = sums[key] + part if key in sums else part
        return Blocks.of((*key, value) for key, value in sums.items())

    yy = None
    if task.yy is not None:
        powers: list[Any] = [0] * len(first)
        for context, value in enumerate(task.yy.ids.tolist()):
            powers[group[context]] += task.yy.values[value] * probability[context] / total[group[context]]
        yy = Coded.of(powers)
    gates = {}
    for name, gating in task.gates.items():
        here = np.isin(leader, gating.contexts)
        gates[name] = Gating(np.flatnonzero(here), gating.value.take(np.searchsorted(gating.contexts, leader[here])))
    merged_task = GatedTask(
        tuple(task.contexts[k] for k in leader), task.inputs, task.outputs, Coded.of(total), gates,
        mean(task.xx), mean(task.yx), yy,
    )  # fmt: skip
    return network.with_task(merged_task)


def split_inputs(network: GatedNetwork) -> GatedNetwork:
    """A copy of an input node for each affine layer that reads it, with the same data where that one is open.

    The network computes the same. Copies may have singular vectors of their own in (7)-(8), as each pathway of the
    paper's appendix A has: <g_j x x^T g_p> is zero for pathways j and p that are never open together.
    """
    arch, task, cells = network.architecture, network.task, network.cells
    readers: dict[str, list[str]] = defaultdict(list)
    for node in arch.nodes:
        for source in node.inputs:
            readers[source].append(node.id)
    nodes: list[Node] = []
    copies: list[tuple[int, Integers]] = []
    redirected: dict[str, str] = {}
    for k, name in enumerate(arch.inputs):
        for reader in readers[name]:
            copy = f"{name}@{reader}"
            redirected[reader] = copy
            nodes.append(Node(copy, Input(arch.channels[name])))
            lanes = cells.nodes[arch.index[reader]].lanes
            copies.append((k, np.unique(cells.lanes.context[lanes])))
    for node in arch.nodes:
        if not isinstance(node.op, Input):
            inputs = (redirected[node.id],) if node.id in redirected else node.inputs
            nodes.append(Node(node.id, node.op, inputs))
    split = Architecture(f"{arch.name} (inputs split)", tuple(nodes), arch.outputs)

    def expand(blocks: Blocks, *, both: bool) -> Blocks:
        rows = zip(blocks.context.tolist(), blocks.row.tolist(), blocks.column.tolist(), blocks.value.ids, strict=True)
        opened = [set(contexts.tolist()) for _, contexts in copies]
        found = []
        for context, row, column, value in rows:
            here = [c for c, (node, _) in enumerate(copies) if node == column and context in opened[c]]
            moment = blocks.value.values[value]
            if not both:
                found += [(context, row, c, moment) for c in here]
                continue
            above = [c for c, (node, _) in enumerate(copies) if node == row and context in opened[c]]
            for a in above:
                for c in here:
                    if row == column and a > c:
                        continue
                    turned = moment.T if a > c and isinstance(moment, np.ndarray) else moment
                    found.append((context, min(a, c), max(a, c), turned))
        return Blocks.of(found)

    names = tuple(split.inputs)
    expanded = GatedTask(
        task.contexts, names, task.outputs, task.probability, task.gates,
        expand(task.xx, both=True), expand(task.yx, both=False), task.yy,
    )  # fmt: skip
    return GatedNetwork(split, expanded)
