"""Empirical q and c values at the nodes of a torch model, beside those that its architecture predicts."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from qcmap.errors import ArgumentError, DataError
from qcmap.nn._measurement import Measurement, NodeMeasurement
from qcmap.nn._modes import device_of, modes_restored
from qcmap.nn._random import generator_from

if TYPE_CHECKING:
    from qcmap.architecture import Architecture

Array = NDArray[np.float64]
Indices = NDArray[np.intp]
Values = tuple[Array, Array]
"""q values [samples, locations] and c values [pairs, locations] at one node."""
_UNIFORM = 1e-5


class Maps(Protocol):
    """What `measure` needs of the network maps of `qcmap.numeric`."""

    def propagate(self, c: Array, q1: Array, q2: Array, /) -> Mapping[str, Any]:
        """By node id, (c, q1, q2) there for these values at the input."""
        ...

    def propagate_q(self, q: Array, /) -> Mapping[str, Array]:
        """By node id, the q value there for these at the input."""
        ...


def measure(
    model: nn.Module,
    x: Tensor,
    *,
    architecture: Architecture | None = None,
    maps: Maps | None = None,
    pairs: int = 64,
    seed: int = 0,
) -> Measurement:
    """Run a model once and compare q and c values at its nodes with the predicted ones.

    A feature map z is [N, C] or [N, C, *locations]. Its q value at a sample and a location is ||z||^2 / C, its c value
    for two samples is <z, z'> / (||z|| ||z'||) at equal locations (DKS, section 5). Predictions start from the q and c
    values measured at the input. The model runs in evaluation mode without gradients; hooks are removed and training
    flags restored whatever happens.

    Parameters
    ----------
    model
        The model. Modules whose path is a node id are measured; a graph's other nodes (sums written in ``forward``) are
        listed as ``unmeasured``.
    x
        At least two samples, [N, C] or [N, C, *locations]; moved to the model's device.
    architecture
        Its graph, with one input; ``model.architecture`` by default.
    maps
        Predicts the values; by default the network maps of the architecture under ``model.shaping``, if there is one.
    pairs
        How many distinct pairs of samples to draw, at most; all N(N-1)/2 if there are no more.
    seed
        Of that draw.

    Raises
    ------
    ArgumentError
        For a model without a graph, a graph with no measurable node or several inputs, or bad ``pairs`` or ``seed``.
    DataError
        Naming the node: values that are not finite, a zero vector (its c value is 0/0), locations that are not the
        input's, a module that runs twice or never. For ``x`` of the wrong shape or dtype.
    """
    graph = getattr(model, "architecture", None) if architecture is None else architecture
    if graph is None:
        raise ArgumentError(
            type(model).__name__, "it has no architecture to compare with", "give measure(..., architecture=...)"
        )
    if len(graph.inputs) != 1:
        raise ArgumentError(graph.name, f"it has {len(graph.inputs)} inputs", "measure models with one input")
    modules = dict(model.named_modules())
    source = graph.inputs[0]
    hooked = {node.id: modules[node.id] for node in graph.nodes if node.id in modules and node.id != source}
    if not hooked:
        raise ArgumentError(graph.name, "no node id is a module path of the model", "name its nodes after the modules")
    first, second = _drawn_pairs(x, pairs, seed)
    values = _run(model, x, source, hooked, lambda node, z: _values(node, z, first, second))
    if maps is None:
        maps = _default_maps(model, graph)
    q, c = values[source]
    if np.ptp(q) <= _UNIFORM * q.mean():
        # Normalised inputs have one q value, up to the rounding of their dtype: one C map serves all pairs.
        q = np.full_like(q, q.mean())
    predicted_q, predicted = maps.propagate_q(q), maps.propagate(c, q[first], q[second])
    rows = tuple(
        _row(node.id, node.op.kind, values[node.id], predicted_q[node.id], predicted[node.id][0])
        for node in graph.nodes
        if node.id in values
    )
    unmeasured = tuple(node.id for node in graph.nodes if node.id not in values)
    return Measurement(rows, samples=q.shape[0], pairs=c.shape[0], locations=q.shape[1], unmeasured=unmeasured)


def _default_maps(model: nn.Module, graph: Architecture) -> Maps:
    from qcmap.numeric import network_maps

    return network_maps(graph, shaping=getattr(model, "shaping", None))


def _drawn_pairs(x: Tensor, pairs: int, seed: int) -> tuple[Indices, Indices]:
    """Indices of the two samples of each pair, drawn without repetition from all pairs i < j."""
    if not isinstance(x, Tensor):
        raise DataError("x", f"samples are a tensor, not {type(x).__name__}", "convert with torch.as_tensor")
    if x.ndim < 2 or not x.is_floating_point() or 0 in x.shape:
        raise DataError(
            "x", f"samples are a floating tensor [N, C, *locations], not {x.dtype} of shape {list(x.shape)}",
            "give a batch of feature maps",
        )  # fmt: skip
    samples = x.shape[0]
    if samples < 2:
        raise DataError("x", "c values need two samples or more, but it has one", "give a larger batch")
    if isinstance(pairs, bool) or not isinstance(pairs, int) or pairs < 1:
        raise ArgumentError("pairs", f"it must be a positive integer, not {pairs!r}", "give 1 or more")
    generator_from(seed)
    count = samples * (samples - 1) // 2
    chosen = np.random.default_rng(seed).choice(count, min(pairs, count), replace=False)
    # Pair number j(j-1)/2 + i stands for i < j; isqrt inverts the triangular numbers without rounding.
    larger = [(1 + math.isqrt(1 + 8 * int(number))) // 2 for number in chosen]
    smaller = [int(number) - j * (j - 1) // 2 for number, j in zip(chosen, larger, strict=True)]
    return np.array(smaller), np.array(larger)


def _run(
    model: nn.Module,
    x: Tensor,
    source: str,
    hooked: Mapping[str, nn.Module],
    values_of: Callable[[str, Tensor], Values],
) -> dict[str, Values]:
    """The values at the input and at every hooked module."""
    shape = _locations(x)
    values = {source: values_of(source, x)}

    def hook_for(node: str) -> Callable[[nn.Module, object, object], None]:
        def hook(module: nn.Module, arguments: object, z: object) -> None:
            if node in values:
                raise DataError(node, "its module runs twice in one pass", "use a module of its own at each place")
            if not isinstance(z, Tensor) or z.ndim < 2 or z.shape[0] != x.shape[0]:
                what = f"shape {list(z.shape)}" if isinstance(z, Tensor) else type(z).__name__
                raise DataError(
                    node, f"it gives {what} where [{x.shape[0]}, C, *locations] is due", "measure another architecture"
                )
            if isinstance(module, nn.Linear) and z.ndim > 2:
                raise DataError(
                    node, f"a Linear layer on {z.ndim} axes has its channels last", "flatten locations into the batch"
                )
            if _locations(z) != shape:
                raise DataError(
                    node, f"its locations {list(z.shape[2:])} are not the input's {list(x.shape[2:])}, to which they"
                    " are matched one to one", "measure a part of the model that keeps the locations",
                )  # fmt: skip
            values[node] = values_of(node, z)

        return hook

    handles = []
    with modes_restored(model):
        try:
            handles.extend(module.register_forward_hook(hook_for(node)) for node, module in hooked.items())
            model.eval()
            with torch.no_grad():
                model(x.to(device_of(model)))
        finally:
            for handle in handles:
                handle.remove()
    for node in hooked:
        if node not in values:
            raise DataError(node, "its module did not run", "leave the node out, or run it in forward")
    return values


def _locations(z: Tensor) -> tuple[int, ...]:
    """The sizes of the location axes that are not 1: [N, C] and [N, C, 1, 1] have the same, single location."""
    return tuple(n for n in z.shape[2:] if n != 1)


def _values(node: str, z: Tensor, first: Indices, second: Indices) -> Values:
    """The q [samples, locations] and c values [pairs, locations] of a feature map, in float64."""
    flat = z.detach().to("cpu", torch.float64).reshape(*z.shape[:2], -1)
    norm2 = flat.square().sum(1)
    if not bool(torch.isfinite(norm2).all()):
        raise DataError(node, "its values are not finite", "check the weights and the scale of the input")
    if not bool((norm2 > 0).all()):
        sample, location = (int(n) for n in (norm2 == 0).nonzero()[0])
        raise DataError(
            node, f"the vector of sample {sample} at location {location} is zero, so its c values are 0/0",
            "normalise the input with qcmap.nn.pln, or take such samples out",
        )  # fmt: skip
    unit = flat / norm2.sqrt()[:, None]
    c = (unit[torch.as_tensor(first)] * unit[torch.as_tensor(second)]).sum(1).clamp(-1, 1)
    return (norm2 / z.shape[1]).numpy(), c.numpy()


def _row(node: str, op: str, measured: Values, predicted_q: Array, predicted_c: Array) -> NodeMeasurement:
    q, c = measured
    per_sample = q.mean(1)
    predicted_c = np.broadcast_to(np.asarray(predicted_c, dtype=np.float64), c.shape)
    return NodeMeasurement(
        node,
        op,
        q_mean=float(per_sample.mean()),
        q_standard_error=float(per_sample.std(ddof=1) / math.sqrt(len(per_sample))),
        q_predicted=float(np.mean(predicted_q)),
        c_deviation=float(np.abs(c - predicted_c).mean()),
        c_measured=c,
        c_predicted=predicted_c,
    )
