"""The shaped model: a torch module with the paths of the original, its architecture and its constants."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import fx, nn
from torch.fx.node import map_arg

from qcmap.nn.shaping._changes import Change, Report
from qcmap.nn.tracing import Traced, Whereabouts

if TYPE_CHECKING:
    from qcmap.architecture import Architecture, Violation
    from qcmap.numeric import NetworkMaps, Shaping

_KEY = "qcmap"


@dataclass(frozen=True)
class Made:
    """What a shaped model knows of itself; immutable, so copies of the model share it."""

    whereabouts: Whereabouts
    shaping: Shaping
    method: str
    changes: tuple[Change, ...]
    warnings: tuple[Violation, ...]

    def __deepcopy__(self, memo: dict[int, Any]) -> Made:
        return self


class ShapedModel(fx.GraphModule):
    """A model after shaping: an ordinary module, whose submodules have the paths that they have in the original.

    Made by `qcmap.nn.shape`. It can be trained, copied, pickled, saved with ``torch.save``, compiled, exported and
    wrapped for distributed training. Its ``state_dict`` has the keys of the original for all layers that were kept.
    """

    def __init__(self, root: nn.Module | Mapping[str, Any], graph: fx.Graph, made: Made) -> None:
        super().__init__(root, graph, class_name="ShapedModel")  # pyright: ignore[reportArgumentType]
        self.meta[_KEY] = made

    @property
    def _made(self) -> Made:
        return self.meta[_KEY]

    @property
    def architecture(self) -> Architecture:
        """The graph of the shaped model, with normalized sums and without what was removed."""
        return self._made.whereabouts.architecture

    @property
    def shaping(self) -> Shaping:
        """The constants of the activations."""
        return self._made.shaping

    @property
    def places(self) -> Mapping[str, str]:
        """For each node id of the architecture, the name of the node of ``graph`` whose value it stands for."""
        return self._made.whereabouts.places

    @property
    def traced(self) -> Traced:
        """The way from the nodes of the architecture to the model's graph, as `qcmap.nn.traced` gives it."""
        return Traced(self, self._made.whereabouts)

    @property
    def warnings(self) -> tuple[Violation, ...]:
        """The heuristics that the predictions rest on."""
        return self._made.warnings

    def report(self) -> Report:
        """What was replaced, layer by layer, and why; ``str`` of it is Markdown."""
        made = self._made
        return Report(self.architecture.name, made.method, made.changes, made.warnings)

    def predict_maps(self) -> NetworkMaps:
        """The Q and C maps of the model at its initialization, node by node; see `qcmap.network_maps`."""
        from qcmap.numeric import network_maps

        return network_maps(self.architecture, self.shaping)

    def __copy__(self) -> ShapedModel:
        return _with_flag(ShapedModel(self, self.graph, self._made), self.training)

    def _deepcopy_init(self) -> Callable[..., None]:
        return lambda copy, root, graph: ShapedModel.__init__(copy, root, graph, self._made)

    def __reduce__(self) -> tuple[Any, ...]:
        """Graph and modules as plain data: torch would trace the code anew, which does not keep node names."""
        body = {key: value for key, value in self.__dict__.items() if key in ("_modules", "_parameters", "_buffers")}
        return _restored, (body, self.training, _rows(self.graph), self._made)


def _rows(graph: fx.Graph) -> list[tuple[Any, ...]]:
    """The nodes of a graph as (op, name, target, args, kwargs), with names in place of nodes and of torch's ops."""

    def named(node: fx.Node) -> Any:
        return _Named(node.name)

    def plain(value: Any) -> Any:
        return map_arg(value, named)

    return [(node.op, node.name, _named_op(node.target), plain(node.args), plain(node.kwargs)) for node in graph.nodes]


@dataclass(frozen=True)
class _Named:
    """A node of a graph, or an op of ``torch.ops``, by name."""

    name: str


def _named_op(target: Any) -> Any:
    return _Named(str(target)) if isinstance(target, torch._ops.OpOverload) else target


def _restored(body: dict[str, Any], training: bool, rows: list[tuple[Any, ...]], made: Made) -> ShapedModel:
    root = nn.Module()
    root.__dict__.update(body)
    graph = fx.Graph()
    nodes: dict[str, fx.Node] = {}

    def live(value: Any) -> Any:
        if isinstance(value, _Named):
            return nodes[value.name]
        if isinstance(value, (tuple, list)):
            return type(value)(map(live, value))
        if isinstance(value, dict):
            return {key: live(item) for key, item in value.items()}
        return slice(*map(live, (value.start, value.stop, value.step))) if isinstance(value, slice) else value

    for op, name, target, args, kwargs in rows:
        if isinstance(target, _Named):
            target = _overload(target.name)
        nodes[name] = graph.create_node(op, target, live(args), live(kwargs), name)
    return _with_flag(ShapedModel(root, graph, made), training)


def _with_flag(model: ShapedModel, training: bool) -> ShapedModel:
    """The model with its own training flag; ``train()`` would set those of its submodules too."""
    model.training = training
    return model


def _overload(name: str) -> Any:
    """The op of ``torch.ops`` called, say, ``aten.add.Tensor``."""
    found: Any = torch.ops
    for part in name.split("."):
        found = getattr(found, part)
    return found
