"""Looks Linear: networks that are exactly linear at initialization (Balduzzi et al., 2017; DKS, section 26.5).

Every activation phi(x) becomes the concatenation (phi(x), phi(-x)), and every affine layer that reads it has weights
(W, -W)/a. If the odd part of phi is a x / 2 (relu: a = 1), the layer gives W (phi(x) - phi(-x)) / a = W x. The paper
has relu; the same holds for leaky relu (a = 1 + slope), softplus, swish, gelu and others. Between the two there may be
what is linear and acts on channels one by one: sums of maps of one kind, concatenations, scales and mean pooling.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, fx, nn

from qcmap.activations import Activation, activation
from qcmap.architecture import (
    Affine,
    Algebra,
    Concat,
    Input,
    MeanPool,
    Node,
    Nonlinear,
    Output,
    Scale,
    Sum,
    Upsample,
    WeightedMeanPool,
)
from qcmap.errors import ArchitectureError
from qcmap.nn._initialize import Layer, initialize
from qcmap.nn.methods._edits import Editable


class Segment(NamedTuple):
    """Consecutive channels: a plain map x, or with a slope a the activations (phi(x), phi(-x)) of one."""

    channels: int
    slope: float | None


Channels = tuple[Segment, ...]


def odd_slope(act: Activation) -> float | None:
    """The a of phi(x) - phi(-x) = a x, None if there is none; by the values at 60 points of (0, 12], to 1e-12."""
    x = np.linspace(0.2, 12, 60)
    slopes = (act.value(x) - act.value(-x)) / x
    a = float(slopes.mean())
    return a if a and np.ptp(slopes) <= 1e-12 * abs(a) else None


def looks_linear(
    model: nn.Module, example_input: Any, *, seed: int = 0, generator: torch.Generator | None = None
) -> fx.GraphModule:
    """The Looks Linear version of a model, linear at initialization (DKS, section 26.5).

    Its activations give twice as many channels, and the affine layers after them read twice as many, so it has about
    twice as many weights. W is scaled uniform orthogonal with Delta, as for `qcmap.nn.initialize`; biases are zero.

    Parameters
    ----------
    model, example_input
        As for `qcmap.nn.traced`. The model stays as it is.
    seed, generator
        As for `qcmap.nn.initialize`.

    Returns
    -------
    A new module, called like the model.

    Raises
    ------
    ArchitectureError
        Naming the node: an activation whose odd part is not linear, or that reads another; another op that is not
        linear; an activation that is the output; a sum of activated and plain maps; a grouped convolution after an
        activation; a layer that is a function's call, is called twice, or reads an unknown number of channels.
    TraceError
        As `qcmap.nn.traced` does.
    ArgumentError
        As `qcmap.nn.initialize` does.
    """
    made = Editable(model, example_input)
    read = made.architecture.fold(_CHANNELS)
    for output in made.architecture.outputs:
        if any(segment.slope for segment in read[output]):
            raise ArchitectureError(output, "an output is not read by an affine layer", "end with an affine layer")
    mirrored: list[tuple[Layer, Channels]] = []
    for node in made.affines():
        layer, channels = made.layer(node)[1], read[made.architecture[node].inputs[0]]
        if any(segment.slope for segment in channels):
            mirrored.append((layer, _check(node, layer, channels)))
    initialize(made.module, seed=seed, generator=generator)
    for layer, channels in mirrored:
        _mirror(layer, channels)
    for node in made.architecture.nodes:
        if isinstance(node.op, Nonlinear):
            axis = -1 if isinstance(_source(made, node.id), nn.Linear) else 1
            _double(made.module.graph, made.places[node.id], made.read(node.id), axis)
    return made.finished()


def _source(model: Editable, node: str) -> Layer | None:
    """The nearest affine layer before a node, None for what comes from an input: it tells where channels are."""
    while model.architecture[node].inputs:
        node = model.architecture[node].inputs[0]
        if isinstance(model.architecture[node].op, Affine):
            return model.layer(node)[1]
    return None


def _double(graph: fx.Graph, place: fx.Node, value: fx.Node, axis: int) -> None:
    """Concatenate an activation with that of the negative value, computed first as activations may work in place."""
    with graph.inserting_before(place):
        negative = graph.call_function(torch.neg, (value,))
    with graph.inserting_after(place):
        twin = graph.node_copy(place, lambda node: negative if node is value else node)
    with graph.inserting_after(twin):
        both = graph.call_function(torch.cat, ((place, twin), axis))
    place.replace_all_uses_with(both, delete_user_cb=lambda user: user is not both)


def _check(node: str, layer: Layer, channels: Channels) -> Channels:
    """The channels as the layer reads them: more of each where locations have become channels (flatten)."""
    count = sum(segment.channels for segment in channels)
    if getattr(layer, "groups", 1) != 1:
        raise ArchitectureError(node, "a grouped convolution separates phi(x) from phi(-x)", "use groups=1")
    each, rest = divmod(layer.weight.shape[1], count)
    if rest or not each:
        raise ArchitectureError(
            node,
            f"it reads {layer.weight.shape[1]} channels, which are not made of {count}",
            "flatten them with channels first",
        )
    return tuple(Segment(segment.channels * each, segment.slope) for segment in channels)


@torch.no_grad()
def _mirror(layer: Layer, channels: Channels) -> None:
    """Give the layer (W, -W)/a on the segments that are activations."""
    pieces: list[Tensor] = []
    for part, segment in zip(layer.weight.split([s.channels for s in channels], dim=1), channels, strict=True):
        pieces += [part] if segment.slope is None else [part / segment.slope, -part / segment.slope]
    weight = nn.Parameter(torch.cat(pieces, dim=1), requires_grad=layer.weight.requires_grad)
    if isinstance(layer, nn.Linear):
        layer.in_features = weight.shape[1]
    else:
        layer.in_channels = weight.shape[1]
    layer.weight = weight


def _plain(node: Node, values: list[Channels]) -> Channels:
    channels = node.op.channels if isinstance(node.op, (Input, Affine)) else None
    if not isinstance(channels, int):
        raise ArchitectureError(node.id, "its number of channels is not known", "give it a number")
    return (Segment(channels, None),)


def _activated(node: Node, values: list[Channels]) -> Channels:
    assert isinstance(node.op, Nonlinear)
    function = node.op.function
    act = function if isinstance(function, Activation) else activation(node.op.name)
    slope = odd_slope(act)
    if slope is None:
        raise ArchitectureError(
            node.id, f"{act.name}(x) - {act.name}(-x) is not proportional to x",
            "use relu, leaky_relu, softplus, swish or gelu",
        )  # fmt: skip
    if any(segment.slope for segment in values[0]):
        raise ArchitectureError(node.id, "it reads an activation", "put an affine layer between the two")
    return (Segment(sum(segment.channels for segment in values[0]), slope),)


def _summed(node: Node, values: list[Channels]) -> Channels:
    if any(other != values[0] for other in values):
        plain = [tuple(segment.slope for segment in value) for value in values]
        if any(slope for row in plain for slope in row):
            raise ArchitectureError(
                node.id,
                "it sums activated and other maps",
                "put an affine layer on the branches that end in activations",
            )
        return (Segment(sum(segment.channels for segment in values[0]), None),)
    return values[0]


def _kept(node: Node, values: list[Channels]) -> Channels:
    return values[0]


_CHANNELS: Algebra[Channels] = Algebra(
    "Looks Linear, whose networks are linear but for their activations",
    {
        **dict.fromkeys((Input, Affine), _plain),
        **dict.fromkeys((Scale, MeanPool, WeightedMeanPool, Upsample, Output), _kept),
        Nonlinear: _activated,
        Sum: _summed,
        Concat: lambda node, values: tuple(segment for value in values for segment in value),
    },
)
"""The channels of each map; ops that are not here are not linear."""
