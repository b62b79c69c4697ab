"""A trained ReLU network split into gates and values (NPF, section 4; DGN, section 3)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, fx, nn

from qcmap.activations import activation
from qcmap.architecture import (
    Affine,
    Architecture,
    BatchNorm,
    Concat,
    Input,
    MaxPool,
    MeanPool,
    Node,
    Nonlinear,
    Output,
    Scale,
    Sum,
    WeightedMeanPool,
)
from qcmap.errors import ArchitectureError, ArgumentError, DataError
from qcmap.nn._modes import device_of
from qcmap.nn.gates._checks import Range, check_choices, check_ranges, check_shapes, on_device
from qcmap.nn.gates._function import HARD, GateFunction, on_tensors
from qcmap.nn.gates._parts import added, preactivations, values
from qcmap.nn.gates._path_kernel import gates_of, inputs_by_node, kernel_blocks, whole
from qcmap.nn.gates._pools import Windows
from qcmap.nn.tracing import traced
from qcmap.numeric.maps._arguments import integer
from qcmap.numeric.paths._gates import Gates as PathGates
from qcmap.numeric.paths._kernel import KernelBlock

LINEAR = Input, Affine, Sum, Concat, Scale, MeanPool, WeightedMeanPool, BatchNorm, Output
"""What a path goes through unchanged but for a factor; a batch norm in evaluation mode is an affine layer."""
Slopes = Mapping[str, tuple[float, float]]
Order: TypeAlias = tuple[tuple[int, ...], tuple[int, ...]]


class Gates(nn.Module):
    """The gates of a network for its inputs, one tensor for each activation and max pooling, keyed by the node's id.

    An activation with slopes (left, right) is q G with G = left + (right - left) times the gate function of q. A max
    pooling is a sum over the taps of each window with the gate 1 at its largest entry and 0 elsewhere: its choice, the
    position of that tap, stands for these gates.

    Parameters
    ----------
    preactivations
        The part of the network that the gates depend on: inputs to a dictionary of pre-activations and choices.
    slopes
        (left, right) by node id; (0, 1) for ReLU.
    function
        The gate function.
    inputs
        The shape of one example of each input, by name.
    """

    def __init__(
        self, preactivations: fx.GraphModule, slopes: Slopes, function: GateFunction, inputs: Mapping[str, Any]
    ) -> None:
        super().__init__()
        self.preactivations, self.slopes, self.function = preactivations, dict(slopes), function
        self.inputs = {name: tuple(shape) for name, shape in inputs.items()}

    def forward(self, *inputs: Tensor) -> dict[str, Tensor]:
        """[batch, ...] inputs to gates of the shapes of pre-activations, and int64 choices [batch, channels, ...]."""
        if len(inputs) != len(self.inputs):
            raise DataError("inputs", f"there are {len(inputs)}", f"give all of {', '.join(self.inputs)} and no others")
        for x, (name, shape) in zip(inputs, self.inputs.items(), strict=True):
            if not isinstance(x, Tensor):
                raise DataError(name, f"it is a tensor, not {type(x).__name__}", "give a tensor")
            if tuple(x.shape[1:]) != shape:
                what = f"one example has the shape {list(x.shape[1:])}"
                raise DataError(name, what, f"give [batch, {', '.join(map(str, shape))}]")
        try:
            read = self.preactivations(*inputs)
        except RuntimeError as error:
            given, own = inputs[0].dtype, next((p.dtype for p in self.parameters()), None)
            if given == own:
                raise
            raise DataError(
                next(iter(self.inputs)), f"it is {given}, for parameters of {own}", f"give tensors of {own}"
            ) from error
        found: dict[str, Tensor] = {}
        for name, q in read.items():
            if name not in self.slopes:
                found[name] = q
                continue
            left, right = self.slopes[name]
            gate = self.function(q)
            found[name] = gate if (left, right) == (0, 1) else left + (right - left) * gate
        return found

    @property
    def ranges(self) -> dict[str, Range]:
        """The least and the largest value of the gates of each activation."""
        ends = {}
        for name, (left, right) in self.slopes.items():
            pair = left, left + (right - left) * self.function.ceiling
            ends[name] = (min(pair), max(pair))
        return ends


class Values(nn.Module):
    """The same network with its gates given from outside: a linear function of its inputs for each set of gates.

    Parameters
    ----------
    graph
        Inputs and a dictionary of gates to outputs.
    shapes
        Of the gates of one example, by node id.
    """

    def __init__(self, graph: fx.GraphModule, shapes: Mapping[str, tuple[int, ...]]) -> None:
        super().__init__()
        self.graph, self.shapes = graph, dict(shapes)

    @property
    def windows(self) -> dict[str, Windows]:
        """Those of its max poolings."""
        return {part.name: part for part in self.graph.modules() if isinstance(part, Windows)}

    def forward(self, *inputs_and_gates: Any) -> Any:
        """The outputs for inputs [batch, ...], and last a dictionary of gates [batch, *shape]."""
        *inputs, gates = inputs_and_gates
        if not inputs or not isinstance(gates, Mapping):
            raise DataError("gates", f"they are a dictionary, not {type(gates).__name__}", "call values(x, gates)")
        check_shapes(gates, self.shapes, len(inputs[0]))
        return self.graph(*inputs, gates)

    def check(self, gates: Mapping[str, Tensor], ranges: Mapping[str, Range], batch: int) -> None:
        """Raise `DataError`, naming the node, for gates of another shape or out of range, or choices out of the map."""
        check_shapes(gates, self.shapes, batch)
        check_ranges({name: gates[name] for name in ranges}, ranges)
        check_choices({name: gates[name] for name in self.windows}, self.windows)


class SplitModel(nn.Module):
    """A network as two with parameters of their own: one gives the gates, the other has them given.

    Attributes
    ----------
    gates, values
        `Gates` and `Values`.
    architecture
        The graph of the network, whose activations and max poolings are the keys of the gates.
    orders
        For each input and activation, into which sizes one example of it is cut, and in which order these axes are
        those of channels and locations: models may have their channels last.
    """

    def __init__(self, architecture: Architecture, gates: Gates, values: Values, orders: Mapping[str, Order]) -> None:
        super().__init__()
        self.architecture, self.gates, self.values, self.orders = architecture, gates, values, dict(orders)

    def forward(self, *inputs: Tensor) -> Any:
        """What the network computes: its values at its own gates."""
        return self.values(*inputs, self.gates(*inputs))

    def at(self, gates: Mapping[str, Tensor], *inputs: Tensor) -> Any:
        """What the values give at other gates.

        Raises
        ------
        DataError
            Naming the node: for gates that are missing, of another shape, or outside their range.
        """
        if not inputs or not isinstance(gates, Mapping):
            raise DataError("gates", f"they are a dictionary, not {type(gates).__name__}", "call at(gates, x)")
        self.values.check(gates, self.gates.ranges, len(inputs[0]))
        return self.values(*inputs, gates)

    def path_gates(self, *inputs: Tensor, block: int = 1024) -> PathGates:
        """The gates of inputs [n, ...] as `qcmap.paths` takes them, computed for ``block`` inputs at once."""
        return gates_of(self, inputs, integer(block, least=1, name="block"))

    def path_kernel(self, *inputs: Tensor) -> NDArray[np.float64]:
        """The neural path kernel H [n, n] of inputs [n, ...] at their own gates (NPF, definition 2.2).

        It is computed where the model is, exactly but for rounding, without enumeration. Paths start at the inputs:
        biases have none, and batch norms are passed through. See `path_kernel_blocks` for many inputs.

        Raises
        ------
        ArchitectureError
            Naming the node: one that paths do not go through.
        DataError
            For inputs of the wrong shape, or gates below 0.
        NumericalError
            If the kernel is beyond the range of floats.
        """
        return whole(self.path_kernel_blocks(*inputs), len(inputs[0]))

    def path_kernel_blocks(self, *inputs: Tensor, side: int | None = None) -> Iterator[KernelBlock]:
        """The blocks (rows, columns, values) of the path kernel on and above its diagonal; raises as `path_kernel`."""
        inputs = on_device(inputs, self)
        return kernel_blocks(self.path_gates(*inputs), inputs_by_node(self, inputs), device_of(self), side)

    @torch.no_grad()
    def follow(self, model: nn.Module) -> SplitModel:
        """Take over the present parameters and buffers of the network that was split, or of one like it.

        Raises
        ------
        ArgumentError
            Naming what the model lacks, or has in another shape.
        """
        if not isinstance(model, nn.Module):
            raise ArgumentError("model", f"it is a torch module, not {type(model).__name__}", "give the trained model")
        state = model.state_dict(keep_vars=True)
        for part in (self.gates.preactivations, self.values.graph):
            for name, tensor in part.state_dict(keep_vars=True).items():
                given = state.get(name)
                if given is None or given.shape != tensor.shape:
                    rule = "the model has none" if given is None else f"its shape is not {list(tensor.shape)}"
                    raise ArgumentError(name, rule, "give the model that was split, or one like it")
                tensor.copy_(given)
        return self

    def __repr__(self) -> str:
        pools = f" and {len(self.values.windows)} max poolings" if self.values.windows else ""
        activations = f"{len(self.gates.slopes)} activations"
        return f"<{self.architecture.name} split at {activations}{pools}, {self.gates.function}>"


def split_gates(model: nn.Module, example_input: Any, *, gate: GateFunction = HARD) -> SplitModel:
    """Split a network of ReLU activations, or others that are linear on either side of zero, into gates and values.

    relu(q) = q G with G = 1 for q > 0 and else 0, so the network is its linear part with gates G at its activations;
    with the hard gate the outputs are those of the model in evaluation mode. A soft gate gives the soft-ReLU network
    of the same weights, its features still forwarded through the activations of the model (NPF, section 4). A max
    pooling takes, from each window, the entry that is largest in the model: the first of equal ones, as torch does.

    Parameters
    ----------
    model
        Any torch model that `trace` understands. It does not change; the two parts have copies of its parameters.
    example_input
        As for `trace`.
    gate
        The gate function.

    Raises
    ------
    ArgumentError
        For a model or a gate function that is none.
    TraceError
        For a model that cannot be traced.
    ArchitectureError
        Naming the module: an activation that has no gate form, or does not read examples one by one; a batch norm that
        uses the statistics of the batch, a layer norm or a product; a max pooling whose maps are not [batch, channels,
        *locations] in some order; or a model without activations.
    """
    gate = on_tensors(gate)
    if not isinstance(model, nn.Module):
        raise ArgumentError("model", f"it is a torch module, not {type(model).__name__}", "give e.g. nn.Sequential")
    for path, module in model.named_modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and (module.training or module.running_mean is None):
            raise ArchitectureError(
                path, "it normalizes by the statistics of the batch, so that examples share gates",
                "call model.eval() first" if module.training else "give it track_running_stats=True",
            )  # fmt: skip
    found = traced(model, example_input)
    nodes = found.architecture.nodes
    slopes = {node.id: _slopes(node) for node in nodes if isinstance(node.op, Nonlinear)}
    for node in nodes:
        if not isinstance(node.op, (*LINEAR, Nonlinear, MaxPool)):
            raise ArchitectureError(
                node.id, f"a {node.op.kind} has no gate form: it is not linear once the gates of activations are given",
                "take it out, or split the parts of the model around it",
            )  # fmt: skip
    if not slopes:
        raise ArchitectureError(
            found.architecture.name, "it has no activations", "give a model with ReLUs: a linear one is its own split"
        )
    windows = {node.id: Windows.of(found, node.id) for node in nodes if isinstance(node.op, MaxPool)}
    shapes = {
        node.id: windows[node.id].shape if node.id in windows else tuple(found.reads[node.id][0].meta["shape"][1:])
        for node in nodes if node.id in slopes or node.id in windows
    }  # fmt: skip
    for name in slopes:
        if found.reads[name][0].meta.get("order") is None:
            raise ArchitectureError(
                name, "its first axis is not that of the batch, so that no example has gates of its own",
                "let it read [batch, ...]",
            )  # fmt: skip
    paths = added(found.graph_module, windows)
    places = [node for node in found.graph_module.graph.nodes if node.op == "placeholder"]
    names = found.architecture.inputs if len(found.architecture.inputs) == len(places) else [p.name for p in places]
    given = {name: place.meta["shape"][1:] for name, place in zip(names, places, strict=True)}
    gates = Gates(preactivations(found, shapes, paths), slopes, gate, given)
    seen = {name: found.reads[name][0] for name in slopes} | {name: found.places[name] for name in names}
    orders = {name: place.meta["order"] for name, place in seen.items() if place.meta.get("order")}
    split = SplitModel(found.architecture, gates, Values(values(found, shapes, paths), shapes), orders)
    return split.eval()


def _slopes(node: Node) -> tuple[float, float]:
    assert isinstance(node.op, Nonlinear)
    act = activation(node.op.function)  # pyright: ignore[reportArgumentType]
    if act.two_slopes is None:
        raise ArchitectureError(
            node.id, f"{act.name} has no gate form: it is not linear on either side of zero",
            "use relu or leaky relu there",
        )  # fmt: skip
    return act.two_slopes
