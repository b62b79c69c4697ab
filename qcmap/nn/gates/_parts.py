"""A traced graph in two: what gives the gates, and what has them given."""

from __future__ import annotations

import copy
import itertools
import operator
from collections.abc import Iterable, Mapping

import torch
from torch import fx

from qcmap.nn.gates._pools import Windows
from qcmap.nn.tracing import Traced


def preactivations(found: Traced, gated: Iterable[str], windows: Mapping[str, str]) -> fx.GraphModule:
    """The part of the traced graph that ends in what the activations read, and which taps max poolings take of it."""
    graph = fx.Graph()
    copies: dict[fx.Node, fx.Node] = {}
    kept: dict[str, fx.Node] = {}
    wanted = {found.places[name]: name for name in gated}
    for node in found.graph_module.graph.nodes:
        if node in wanted:
            name = wanted[node]
            (read,) = found.reads[name]
            if name in windows:
                kept[name] = graph.call_module(windows[name], (copies[read],))
            else:
                # An activation may work in place, so what it reads is put aside before.
                kept[name] = graph.call_method("clone", (copies[read],))
        if node.op != "output":
            copies[node] = graph.node_copy(node, copies.__getitem__)
    graph.output({name: kept[name] for name in gated})
    return _finished(found, graph)


def values(found: Traced, gated: Iterable[str], windows: Mapping[str, str]) -> fx.GraphModule:
    """The traced graph with a product with a gate in place of each activation, and chosen entries of max poolings."""
    graph = fx.Graph()
    copies: dict[fx.Node, fx.Node] = {}
    wanted = {found.places[name]: name for name in gated}
    gates: fx.Node | None = None
    for node in found.graph_module.graph.nodes:
        if node.op != "placeholder" and gates is None:
            gates = graph.placeholder("gates")
        if node in wanted:
            name = wanted[node]
            read = copies[found.reads[name][0]]
            gate = graph.call_function(operator.getitem, (gates, name))
            if name in windows:
                copies[node] = graph.call_module(windows[name], (read, gate))
            else:
                copies[node] = graph.call_function(torch.mul, (read, gate))
        else:
            copies[node] = graph.node_copy(node, copies.__getitem__)
    return _finished(found, graph)


def added(graph_module: fx.GraphModule, windows: Mapping[str, Windows]) -> dict[str, str]:
    """Put the windows into the traced graph, where its parts find them; their paths by node id."""
    paths = {}
    for name, module in windows.items():
        paths[name] = next(p for k in itertools.count() if not hasattr(graph_module, p := f"windows_{k}"))
        graph_module.add_submodule(paths[name], module)
    return paths


def _finished(found: Traced, graph: fx.Graph) -> fx.GraphModule:
    """The graph as a module, with what it reads and no more, and parameters of its own."""
    part = fx.GraphModule(found.graph_module, graph, class_name=found.architecture.name)
    graph.eliminate_dead_code()
    part.delete_all_unused_submodules()
    graph.lint()
    part.recompile()
    return copy.deepcopy(part)
