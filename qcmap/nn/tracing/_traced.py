"""The graph of a torch model, and the way back from its nodes to the model."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

from torch import fx, nn

from qcmap.architecture import Affine, Architecture, MaxPool, Node, Op, Output
from qcmap.nn.tracing._axes import BATCH, CHANNEL, in_order
from qcmap.nn.tracing._feature import Draft, Feature
from qcmap.nn.tracing._record import Recording, record
from qcmap.nn.tracing._rules import MODULES, OWN, RULES
from qcmap.nn.tracing._translate import Translator, sizes
from qcmap.nn.tracing._whereabouts import Traced, Whereabouts


def trace(model: nn.Module, example_input: Any) -> Architecture:
    """The architecture of a torch model; see `traced`."""
    return traced(model, example_input).architecture


def traced(model: nn.Module, example_input: Any) -> Traced:
    """The architecture of a torch model in eval mode, with the way back to the model.

    The forward of a copy runs once on tensors without data; its calls are written down and translated one by one, by
    tables. The model itself, its mode, hooks and buffers stay as they are; hooks are not run. docs/tracing.md lists
    what is understood.

    Parameters
    ----------
    model
        Any module whose course depends on the shapes of its inputs, not on their values.
    example_input
        A tensor, a tuple of tensors for the first arguments of forward, or a dictionary of tensors for keyword
        arguments: [batch, channels], or [batch, channels, locations...]; channels may come last if the first layer
        takes them there. Only shapes and types matter. The graph holds for any batch size.

    Returns
    -------
    The result of a module call has its path as node id, that of any other call the path of the module whose forward
    makes it and a word (``layer1.0.add``); a module with one node in all gives that node its path. A single input is
    ``input``, several have the names of the arguments. Layers that share weights name them in ``parameters``.

    Raises
    ------
    TraceError
        Naming module path and call: for what no node stands for, and never a guess.
    ArchitectureError
        For maps that do not fit together.
    """
    recording = record(model, example_input, OWN)
    translator = Translator(recording, RULES, MODULES)
    outputs = translator.run()
    recording.refuse_fixed()
    drafts = _needed([feature.draft for _, feature in outputs])
    names = _named(drafts, recording, single=len(translator.inputs) == 1)
    weights = {names[d]: d.weight for d in drafts if d.weight is not None}
    shared = Counter(weights.values())
    nodes = [Node(names[d], _op(d, shared), tuple(names[x] for x in d.inputs)) for d in drafts]
    places = {names[d]: d.place for d in drafts}
    ends = [names[feature.draft] for _, feature in outputs if feature.draft is not None]
    keys = [key for key, _ in outputs if key is not None]
    if len(outputs) > 1 and len(set(keys)) == len(outputs):
        labels = [_free(key, {*places}) for key in keys]
        nodes += [Node(label, Output(), (end,)) for label, end in zip(labels, ends, strict=True)]
        places.update({label: places[end] for label, end in zip(labels, ends, strict=True)})
        ends = labels
    architecture = Architecture(type(model).__name__, tuple(nodes), tuple(dict.fromkeys(ends)))
    axes = {name: _channel_axis(translator, place) for name, place in places.items()}
    for draft in drafts:
        for place in (draft.place, *draft.reads):
            place.meta["order"] = _order(translator, place)
        if isinstance(draft.op, MaxPool):
            draft.reads[0].meta["channel_axis"] = _channel_axis(translator, draft.reads[0])
    for node in recording.graph_module.graph.nodes:
        if "val" in node.meta:
            node.meta["shape"] = sizes(node)
            del node.meta["val"]
    reads = {**{name: (place,) for name, place in places.items()}, **{names[d]: tuple(d.reads) for d in drafts}}
    known = {name: axis for name, axis in axes.items() if axis is not None}
    found = Whereabouts(
        architecture,
        {name: place.name for name, place in places.items()},
        {name: tuple(read.name for read in nodes) for name, nodes in reads.items()},
        weights,
        known,
        {path: tuple(names[d] for d in maps) for path, maps in translator.biases.items()},
    )
    return Traced(recording.graph_module, found)


def _channel_axis(translator: Translator, place: fx.Node) -> int | None:
    """The axis of the channels of a place that is a feature map with its axes in order; else None."""
    value = translator.values[place]
    if not isinstance(value, Feature):
        return None
    feature = translator.seen(value)
    shape = sizes(place)
    for axis in range(1, len(shape)):
        keys = [BATCH, *range(len(shape) - 2)]
        keys.insert(axis, CHANNEL)
        if all(in_order(atoms, key, size) for atoms, key, size in zip(feature.layout, keys, shape, strict=True)):
            return axis
    return None


def _order(translator: Translator, place: fx.Node) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
    """How an example of a place becomes [channels, *locations]: cut to these sizes, with axes then in this order.

    None if the place is no feature map, or its first axis is not that of the batch.
    """
    value = translator.values[place]
    if not isinstance(value, Feature):
        return None
    first, *rest = translator.seen(value).layout
    atoms = [atom for axis in rest for atom in axis]
    if not in_order(first, BATCH, sizes(place)[0]) or not all(
        a.key == CHANNEL or isinstance(a.key, int) for a in atoms
    ):
        return None
    ranks = [(-1 if isinstance(atom.key, str) else atom.key, -atom.stride) for atom in atoms]
    return tuple(atom.size for atom in atoms), tuple(sorted(range(len(atoms)), key=ranks.__getitem__))


def _op(draft: Draft, shared: Counter[str]) -> Op:
    op = draft.op() if callable(draft.op) else draft.op
    if isinstance(op, Affine) and draft.weight is not None and shared[draft.weight] > 1:
        return replace(op, parameters=draft.weight)
    return op


def _needed(ends: list[Draft | None]) -> list[Draft]:
    """The drafts that the ends depend on, in the order in which the model computes them."""
    found: dict[Draft, None] = {}
    stack = [draft for draft in ends if draft is not None]
    while stack:
        draft = stack.pop()
        if draft not in found:
            found[draft] = None
            stack += draft.inputs
    order = {node: k for k, node in enumerate(next(iter(found)).place.graph.nodes)}
    return sorted(found, key=lambda draft: order[draft.place])


def _named(drafts: list[Draft], recording: Recording, *, single: bool) -> dict[Draft, str]:
    """Ids: the path of a module that is one node in all, else that of the caller and a word, with a number if taken."""
    inside = Counter(call for draft in drafts for call in recording.calls.get(draft.place, ()))
    found: dict[Draft, str] = {}
    taken: set[str] = set()
    for draft in drafts:
        if not draft.inputs:
            name = "input" if single else recording.inputs.get(draft.place, draft.module or draft.name)
        elif draft.module is not None:
            name = draft.module
        else:
            calls = recording.calls[draft.place]
            alone = next((path for path, number in reversed(calls) if path and inside[path, number] == 1), None)
            owner = recording.owners[draft.place]
            name = alone or (f"{owner}.{draft.name}" if owner else draft.name)
        found[draft] = name = _free(name, taken)
        taken.add(name)
    return found


def _free(name: str, taken: set[str]) -> str:
    """The name, or the first of name_2, name_3, ... that is free."""
    if name not in taken:
        return name
    k = 2
    while f"{name}_{k}" in taken:
        k += 1
    return f"{name}_{k}"
