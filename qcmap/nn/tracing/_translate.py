"""From a recorded graph to drafts of nodes: one walk, with the rule of each call in a table."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import torch
from torch import Tensor, fx, nn
from torch.fx.node import map_arg

from qcmap.architecture import Input, Nonlinear, Op
from qcmap.errors import QCMapError, TraceError
from qcmap.nn.tracing._axes import BATCH, CHANNEL, Atom, joined
from qcmap.nn.tracing._calls import Call, spelled
from qcmap.nn.tracing._example import BATCH as BATCH_SIZE
from qcmap.nn.tracing._expressions import named_activation
from qcmap.nn.tracing._feature import Constant, Draft, Feature, Pointwise
from qcmap.nn.tracing._record import Recording

Value: TypeAlias = "Feature | Constant | tuple[Any, ...] | None"
REARRANGED = frozenset({
    "view", "reshape", "flatten", "unflatten", "squeeze", "unsqueeze", "permute", "transpose", "expand", "expand_as",
    "contiguous", "clone", "to", "float", "double", "half", "bfloat16", "detach", "getitem", "identity", "embedding",
    "repeat_interleave", "slice", "select", "alias",
})  # fmt: skip
"""Calls whose result has the entries of their argument, in another order or number."""
Rule: TypeAlias = "Callable[[Translator, Call], Value]"


class Translator:
    """The walk over one recording.

    Attributes
    ----------
    values
        What each node of the recorded graph stands for: `Feature`, `Constant`, a tuple of these; None for a tensor of
        integers that the network gets, such as tokens.
    biases
        For each parameter that is added to feature maps, the drafts of these.
    """

    def __init__(self, recording: Recording, rules: Mapping[str, Rule], modules: Mapping[type[nn.Module], str]) -> None:
        self.recording, self.rules, self.modules = recording, rules, modules
        self.values: dict[fx.Node, Value] = {}
        self.biases: dict[str, dict[Draft, None]] = {}
        self.inputs: dict[str, _Given] = {}
        self._names = {id(t): name for name, t in recording.graph_module.named_parameters()}
        self._numbers: dict[fx.Node, Tensor] = {}

    # --- The walk ----------------------------------------------------------------------------------------------------

    def run(self) -> list[tuple[str | None, Feature]]:
        """The feature maps at the outputs, with their keys if the output is a dictionary."""
        for node in self.recording.graph_module.graph.nodes:
            if node.op == "placeholder":
                self.values[node] = self._input(node)
            elif node.op == "get_attr":
                self.values[node] = self._attribute(node)
            elif node.op != "output" and "val" in node.meta:
                self.values[node] = self._call(node)
        found = []
        for key, node in self.recording.outputs:
            value = self.values[node]
            if isinstance(value, Feature):
                found.append((key, self.solid(value)))
        for name, given in self.inputs.items():
            if given.draft is not None and given.draft.op == Input():  # tables have said what tokens are
                given.bind(name, [1])
        if not found:
            name = type(self.recording.graph_module).__name__
            raise TraceError(name, "no output depends on an input", "return what the network computes")
        return found

    def _input(self, node: fx.Node) -> Value:
        name, shape, val = self.recording.inputs[node], sizes(node), node.meta["val"]
        if not val.is_floating_point():
            self.inputs[name] = _Given(None, shape, {})
            return None
        draft = Draft(Input(), [], node, name)
        self.inputs[name] = given = _Given(draft, shape, {})
        if len(shape) == 2 or set(shape[1:]) == {1}:
            given.bind(name, [1], room=0)
        keys = [BATCH, *((name, k) for k in range(1, len(shape)))]
        layout = tuple(joined([Atom(key, size)]) for key, size in zip(keys, shape, strict=True))
        return self.seen(Feature(node, draft, layout, ()))

    def _attribute(self, node: fx.Node) -> Constant:
        own = self._names.get(id(node.meta["val"]))
        return Constant(node, sizes(node), own, None if own is None else (own,))

    def _call(self, node: fx.Node) -> Value:
        module = None
        if node.op == "call_module":
            module = self.recording.graph_module.get_submodule(str(node.target))
            same = (t for t in type(module).__mro__ if t in self.modules and t.forward is type(module).forward)
            name = next((self.modules[t] for t in same), "")
            spelling = type(module).__name__
            if not name and _passes_on(node):
                name = "identity"
        else:
            name, spelling = spelled(node)
        args, kwargs = self._argument(node.args), self._argument(node.kwargs)
        call = Call(name, spelling, node, list(args), kwargs, sizes(node), module)
        if not call.features and not self._reads_input(node):
            return self._constant(call)
        if name not in self.rules:
            raise self.error(
                call, f"tracing has no rule for {spelling}",
                "write it with layers, sums and activations that docs/tracing.md lists",
            )  # fmt: skip
        try:
            return self.rules[name](self, call)
        except TraceError:
            raise
        except QCMapError as error:
            raise self.error(call, error.rule, error.remedy) from error

    def _constant(self, call: Call) -> Value:
        """What a call on constants gives."""
        if not isinstance(call.node.meta["val"], Tensor):
            return tuple(Constant(call.node, ()) for _ in call.node.meta["val"])
        sources: set[tuple[str, ...] | None] = {constant.sources for constant in call.constants}
        if call.name == "embedding":
            # Rows of a table; which ones does not matter.
            own = self.parameter_name(getattr(call.module, "weight", None))
            sources = {(own,)} if own else {found for found in sources if found}
        moved = len(sources) == 1 and call.name in REARRANGED
        return Constant(call.node, call.shape, None, sources.pop() if moved else None)

    def _reads_input(self, node: fx.Node) -> bool:
        return any(self.values.get(source, 0) is None for source in node.all_input_nodes)

    def _argument(self, value: Any) -> Any:
        if isinstance(value, fx.Node):
            if value in self.values:
                return self.values[value]
            val = value.meta.get("val")
            return number(val) if val is not None else _Size(value)
        if isinstance(value, (tuple, list)):
            return type(value)(self._argument(item) for item in value)
        if isinstance(value, slice):
            return slice(*(self._argument(part) for part in (value.start, value.stop, value.step)))
        if isinstance(value, dict):
            return {key: self._argument(item) for key, item in value.items()}
        return value

    # --- For the rules -----------------------------------------------------------------------------------------------

    def error(self, call: Call, rule: str, remedy: str) -> TraceError:
        """The error for a call, which names its module path and what it calls."""
        return TraceError(f"{self.path_of(call.node)} ({call.spelling})", rule, remedy)

    def path_of(self, node: fx.Node) -> str:
        """What a call is called: its module's path, or that of the module whose forward makes it and a word."""
        if node.op == "call_module":
            return str(node.target)
        owner, word = self.recording.owners.get(node, ""), spelled(node)[0] if node.op.startswith("call") else node.name
        return f"{owner}.{word}" if owner else word

    def draft(self, call: Call, op: Op | Callable[[], Op], *inputs: Feature, **options: Any) -> Draft:
        """A node to be, which a call is the output of."""
        module = str(call.node.target) if call.module is not None else None
        given = [self.solid(x) for x in inputs]
        drafts, reads = [x.draft for x in given if x.draft is not None], [x.place for x in given]
        return Draft(op, drafts, call.node, call.name, module, reads=reads, **options)

    def solid(self, feature: Feature) -> Feature:
        """The feature map with a draft: what was only known as a function of another one becomes an activation."""
        if feature.draft is not None:
            return feature
        pointwise = feature.pointwise
        assert pointwise is not None, feature.place
        if not pointwise.bent:
            raise TraceError(
                self.path_of(feature.place), "it adds a constant other than zero to a feature map",
                "take it out: affine layers have biases of their own",
            )  # fmt: skip
        draft = self.composite(pointwise, feature.place)
        return replace(feature, draft=draft)

    def composite(self, pointwise: Pointwise, place: fx.Node) -> Draft:
        """The draft of an activation that is made of several calls."""
        base = self.solid(pointwise.base).draft
        assert base is not None, place
        module = str(place.target) if place.op == "call_module" else None
        word = self.path_of(place).rpartition(".")[2]
        function = pointwise.expression
        reads = [pointwise.base.place]
        return Draft(lambda: Nonlinear(named_activation(function)), [base], place, word, module, reads=reads)

    def seen(self, feature: Feature, channel: int | None = None) -> Feature:
        """The feature map with what is known of its axes; axis ``channel`` holds the channels if nothing is known."""
        names = dict.fromkeys(a.key[0] for axis in feature.layout for a in axis if isinstance(a.key, tuple))
        if not names:
            return feature
        for name in names:
            if channel is not None and not self.inputs[name].bindings:
                own = [a.key[1] for a in feature.layout[channel] if isinstance(a.key, tuple) and a.key[0] == name]
                if not feature.layout[channel]:
                    own = self.inputs[name].single(len(feature.layout), channel)
                self.inputs[name].bind(name, sorted(own), len(feature.layout) - 2)
        layout = tuple(joined(map(self._bound, axis)) for axis in feature.layout)
        (locations, *_) = (self.inputs[name].locations for name in names)
        pointwise = feature.pointwise
        if pointwise is not None:
            pointwise = replace(pointwise, base=self.seen(pointwise.base))
        return replace(feature, layout=layout, locations=locations, pointwise=pointwise)

    def _bound(self, atom: Atom) -> Atom:
        if not isinstance(atom.key, tuple):
            return atom
        key, factor = self.inputs[atom.key[0]].bindings.get(atom.key, (atom.key, 1))
        return Atom(key, atom.size, atom.stride * factor)

    def parameter_name(self, value: object) -> str | None:
        """The path of a parameter; None for what is computed from parameters."""
        return self._names.get(id(value))

    def value_of(self, constant: Constant) -> Tensor:
        """The entries of a constant.

        Raises
        ------
        TraceError
            If they depend on what is not there, or are random.
        """
        node = constant.node
        if node not in self._numbers:
            device = node.meta["val"].device
            devices = [device] if device.type == "cuda" else []
            with torch.random.fork_rng(devices), torch.no_grad():
                before = _random_state(devices)
                self._numbers[node] = _evaluated(node, self.recording.graph_module, self._numbers)
                if not all(map(torch.equal, before, _random_state(devices))):
                    raise TraceError(
                        self.path_of(node), "it is random in eval mode too", "draw it once, as a buffer of the model"
                    )
        return self._numbers[node]


@dataclass
class _Given:
    """A network input: its draft (None for integers), its sizes, and what its axes turned out to hold."""

    draft: Draft | None
    shape: tuple[int, ...]
    bindings: dict[Hashable, tuple[Hashable, int]]
    locations: tuple[int, ...] = ()

    def single(self, dims: int, channel: int) -> list[int]:
        """The axis of size 1 that axis ``channel`` of a tensor with ``dims`` axes is, made of this input.

        An axis of size 1 has no atoms to know it by: it is the one at that position, or else the only one that there
        is. None for a tensor with another number of axes, whose axis was put in: all of the input's hold locations.
        """
        if dims != len(self.shape):
            return []
        ones = [axis for axis in range(1, dims) if self.shape[axis] == 1]
        position = channel % dims
        return [position] if position in ones else ones if len(ones) == 1 else []

    def bind(self, name: str, channel_axes: list[int], room: int | None = None) -> None:
        """Say which axes hold the channels; the others hold locations.

        ``room``: how many axes are left for locations where this was found out. If there are more, a reshape has taken
        axes of size 1 away: one channel, or one location, that is no axis of the maps that follow.
        """
        stride = 1
        for axis in reversed(channel_axes):
            self.bindings[name, axis] = (CHANNEL, stride)
            stride *= self.shape[axis]
        others = [axis for axis in range(1, len(self.shape)) if axis not in channel_axes]
        for axis in [axis for axis in others if self.shape[axis] == 1]:
            if room is not None and len(others) > room:
                others.remove(axis)
        self.bindings.update({(name, axis): (k, 1) for k, axis in enumerate(others)})
        self.locations = tuple(self.shape[axis] for axis in others)
        assert self.draft is not None, name
        self.draft.op = Input(stride, self.locations or None)


@dataclass(frozen=True)
class _Size:
    """A number computed from the batch size."""

    node: fx.Node


def number(value: Any) -> Any:
    """A size as a number."""
    return value.node.hint if isinstance(value, torch.SymInt) else value


def _random_state(devices: list[torch.device]) -> list[Tensor]:
    """The states of torch's global generators on the CPU and these devices."""
    return [torch.get_rng_state(), *map(torch.cuda.get_rng_state, devices)]


def sizes(node: fx.Node) -> tuple[int, ...]:
    """The sizes of the tensor that a node gives; () if it gives several."""
    val = node.meta["val"]
    return tuple(map(number, val.shape)) if isinstance(val, Tensor) else ()


def _passes_on(node: fx.Node) -> bool:
    """Whether a module gives its first argument as it is."""
    return bool(node.args) and isinstance(node.args[0], fx.Node) and node.args[0].meta["val"] is node.meta["val"]


def _evaluated(node: fx.Node, root: nn.Module, known: dict[fx.Node, Tensor]) -> Any:
    """The value of a recorded node that depends on no network input but its batch size."""
    if node in known:
        return known[node]
    if node.op == "get_attr":
        owner, _, name = str(node.target).rpartition(".")
        return getattr(root.get_submodule(owner), name)
    if "val" not in node.meta and node.op == "call_method" and node.target == "size":
        return BATCH_SIZE
    args, kwargs = map_arg((node.args, node.kwargs), lambda source: _evaluated(source, root, known))
    if node.op == "call_module":
        return root.get_submodule(str(node.target))(*args, **kwargs)
    target: Any = node.target
    return getattr(args[0], target)(*args[1:], **kwargs) if node.op == "call_method" else target(*args, **kwargs)
