"""A gated deep linear network: an architecture of affine edges, sums and gates, with a task (NRR, section 2)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from qcmap.architecture import Affine, Architecture, Channels, Gate, Input, Node, Output, Scale, Sum
from qcmap.architecture.gated._cells import Cells, Lanes
from qcmap.architecture.gated._checks import check_kind
from qcmap.architecture.gated._task import GatedTask
from qcmap.errors import ArchitectureError, DataError

_OPS = (Input, Affine, Sum, Gate, Scale, Output)


@dataclass(frozen=True, eq=False)
class GatedNetwork:
    """A gated deep linear network and what it is to learn.

    An affine node is an edge of the paper's graph, with its weight matrix. A *layer* is what the paper calls a node:
    everything that sums, gates and constants connect. Input layers have an input node, output layers an output, and
    all other layers are hidden.

    Raises
    ------
    ArgumentError
        For what is no architecture or task.
    ArchitectureError
        Naming the node: an op other than affine, sum, gate and scale; a bias; a kernel; shared parameters; a gate that
        reads an input.
    DataError
        Naming the context: moments whose shapes do not match the channels, a gate that the architecture lacks, or gates
        that close every path to an output.
    """

    architecture: Architecture
    task: GatedTask

    def __post_init__(self) -> None:
        arch, task = self.architecture, self.task
        check_kind("architecture", arch, Architecture, "give one, made with qcmap.Builder")
        check_kind("task", task, GatedTask, "give GatedTask.of(contexts, arch.inputs, arch.outputs)")
        for node in arch.nodes:
            _check_node(arch, node)
        channels = arch.channels  # maps that are added have the same
        if (task.inputs, task.outputs) != (arch.inputs, arch.outputs):
            raise DataError(
                "task", f"it is for inputs {task.inputs} and outputs {task.outputs}, but {arch.name} has "
                f"{arch.inputs} and {arch.outputs}", "make it with GatedTask.of(contexts, arch.inputs, arch.outputs)",
            )  # fmt: skip
        variables = {node.op.name for node in arch.nodes if isinstance(node.op, Gate)}
        for gate, gating in task.gates.items():
            if gate not in variables:
                raise DataError(
                    f"context {task.contexts[int(gating.contexts[0])]!r}", f"{arch.name} has no gate {gate!r}",
                    f"its gates: {', '.join(sorted(variables)[:20]) or 'none'}",
                )  # fmt: skip
        self._check_shapes(channels)
        self._check_open()

    def _check_shapes(self, channels: Mapping[str, Channels | None]) -> None:
        task = self.task
        for blocks, rows in ((task.xx, task.inputs), (task.yx, task.outputs)):
            sizes = [np.array([channels[node] if isinstance(channels[node], int) else -1 for node in nodes], dtype=int)
                     for nodes in (rows, task.inputs)]  # fmt: skip
            for k, value in enumerate(blocks.value.values):
                if not isinstance(value, np.ndarray) or value.ndim != 2:
                    continue
                (at,) = np.nonzero(blocks.value.ids == k)
                for axis, (size, position) in enumerate(zip(sizes, (blocks.row, blocks.column), strict=True)):
                    found = size[position[at]]
                    wrong = np.nonzero((found >= 0) & (found != value.shape[axis]))[0]
                    if len(wrong):
                        here = int(at[wrong[0]])
                        node = (rows, task.inputs)[axis][int(position[here])]
                        raise DataError(
                            f"context {task.contexts[int(blocks.context[here])]!r}",
                            f"a moment of shape {value.shape} does not match {node}, which has {channels[node]} "
                            "channels", "give moments with the channels of the nodes",
                        )  # fmt: skip

    def _check_open(self) -> None:
        """Every context has an open path from an input to an output."""
        cells = self.cells
        reached = np.zeros(len(self.task.contexts), dtype=bool)
        for v in cells.outputs:
            reached[cells.lanes.context[cells.nodes[v].lanes]] = True
        if not reached.all():
            name = self.task.contexts[int(np.argmin(reached))]
            raise DataError(
                f"context {name!r}", "its gates close every path from an input with data to an output",
                "open one, or take the context out",
            )  # fmt: skip

    @cached_property
    def cells(self) -> Cells:
        """The walk over the network, one lane for each pair of a context and an input."""
        return Cells.of(self, Lanes.of(self.task))

    @cached_property
    def edges(self) -> tuple[str, ...]:
        """Ids of the affine nodes, in graph order."""
        return tuple(node.id for node in self.architecture.nodes if isinstance(node.op, Affine))

    @cached_property
    def layers(self) -> Mapping[str, int]:
        """The layer of each node's value, as a number: what sums, gates, constants and outputs connect is one."""
        arch = self.architecture
        parent = list(range(len(arch.nodes)))

        def root(v: int) -> int:
            while parent[v] != v:
                parent[v] = parent[parent[v]]
                v = parent[v]
            return v

        for v, (node, sources) in enumerate(zip(arch.nodes, arch.predecessors, strict=True)):
            if not isinstance(node.op, (Affine, Input)):
                for u in sources:
                    parent[root(u)] = root(v)
        numbers: dict[int, int] = {}
        return {node.id: numbers.setdefault(root(v), len(numbers)) for v, node in enumerate(arch.nodes)}

    @cached_property
    def hidden(self) -> tuple[int, ...]:
        """The layers with neither an input nor an output, in order."""
        outer = {self.layers[name] for name in (*self.architecture.inputs, *self.architecture.outputs)}
        return tuple(layer for layer in dict.fromkeys(self.layers.values()) if layer not in outer)

    def ends(self, edge: str) -> tuple[int, int]:
        """The layers that an edge leads from and to."""
        return self.layers[self.architecture[edge].inputs[0]], self.layers[edge]

    def shape(self, edge: str) -> tuple[int, int]:
        """The shape of an edge's weight matrix; raises `ArchitectureError` if it is not known."""
        channels, node = self.architecture.channels, self.architecture[edge]
        shape = channels[edge], channels[node.inputs[0]]
        if not (isinstance(shape[0], int) and isinstance(shape[1], int)):
            raise ArchitectureError(
                edge, f"its weights have the shape {shape}, not two numbers", "give channels to every layer"
            )
        return shape[0], shape[1]

    def with_task(self, task: GatedTask) -> GatedNetwork:
        """The same network with another task."""
        return GatedNetwork(self.architecture, task)

    def __repr__(self) -> str:
        return f"<gated network {self.architecture.name}: {len(self.edges)} edges, {len(self.task.contexts)} contexts>"


def _check_node(arch: Architecture, node: Node) -> None:
    op = node.op
    if not isinstance(op, _OPS):
        what = f"a gated deep linear network is made of affine layers, sums and gates, not with the op {op.kind!r}"
        raise ArchitectureError(node.id, what, "freeze it into gates, or take it out")
    if isinstance(op, Affine):
        if op.kernel or op.parameters is not None:
            what = "it is a convolution" if op.kernel else f"it shares its parameters {op.parameters!r}"
            raise ArchitectureError(node.id, f"{what}, but each edge has a weight matrix of its own", "unroll it")
        if op.bias_variance != 0:
            raise ArchitectureError(node.id, "it has a bias, but gated networks are linear", "add an input of ones")
    if isinstance(op, Gate) and isinstance(arch[node.inputs[0]].op, Input):
        what = f"it gates the input {node.inputs[0]}, but input nodes carry no gate"
        raise ArchitectureError(node.id, what, "put the gate behind the affine layer that reads the input")
