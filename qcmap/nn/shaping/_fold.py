"""Equivalent parameters of a shaped model (DKS, section 18.2): the plain network with the same function, and back."""

from __future__ import annotations

import copy
import operator
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx, nn

from qcmap.architecture import Affine, LayerNorm, MeanPool, Node, Nonlinear, Sum, WeightedMeanPool
from qcmap.errors import ArchitectureError, ArgumentError
from qcmap.nn._shaped import PlainActivation
from qcmap.nn.functional import torch_function
from qcmap.nn.shaping._absorb import Original, absorb, absorb_norm, release, release_norm, set_to, wide
from qcmap.nn.shaping._equivalent import Affinity, Equivalence, equivalence
from qcmap.nn.shaping._model import ShapedModel
from qcmap.nn.shaping._padding import pad_with, pads_of, unpadded
from qcmap.nn.shaping._sites import Site, site_of, tensor_input


def fold(shaped: ShapedModel) -> fx.GraphModule:
    """The plain network with the same function as a shaped one: equivalent parameters (DKS, section 18.2).

    Activations lose their constants, which go into the weights and biases around them (docs/equivalent.md has the
    derivation for graphs). The result needs nothing of qcmap, except for weighted mean pooling and activations
    that torch lacks; its parameters have the paths of the shaped model, and biases where those are needed. Computed in
    float64 and rounded once to the type of each parameter.

    A filter that meets the border of its map reads zeros of the shaped network there, which are not zeros of the plain
    one: its input is then padded with the value that stands for zero, so that the function is the same everywhere.

    Parameters
    ----------
    shaped
        A shaped model, freshly made or trained; it is left as it is.

    Raises
    ------
    ArgumentError
        For anything but a shaped model.
    ArchitectureError
        Naming the node where no plain network of this form has the same function: a feature map that two activations
        read with different constants, a sum whose shift no branch can take up, average pooling that counts its padding,
        layers that share parameters and need different ones; or a parameter that is added to maps of different scales.
    """
    model = _copied(shaped)
    found = _equivalence(model)
    _borders(model, found)
    for layer in _layers(model, found):
        absorb(*layer)
    for norm in _norms(model, found):
        absorb_norm(*norm)
    for bias, scale in _added(model, found):
        set_to(bias, scale * wide(bias))
    _plain_ops(model, found)
    model.graph.lint()
    folded = fx.GraphModule(model, model.graph, class_name="FoldedModel")
    folded.training = shaped.training
    return folded


def unfold(plain: nn.Module, shaped: ShapedModel) -> ShapedModel:
    """A shaped model with the function of a plain one: the way back from `fold`.

    Parameters
    ----------
    plain
        A model with the parameters of ``fold(shaped)``, by path; trained further, say.
    shaped
        Says which constants the activations get; it is left as it is. Layers get biases where the plain ones need them.

    Raises
    ------
    ArgumentError
        If the plain model's parameters are not those of ``fold(shaped)``.
    ArchitectureError
        Where `fold` raises it.
    """
    model = _copied(shaped)
    # Under each of its names, if modules share one.
    given, own, wanted = (dict(m.named_parameters(remove_duplicate=False)) for m in (plain, model, fold(shaped)))
    _check_same(given, wanted)
    with torch.no_grad():
        for path in given.keys() & own.keys():
            own[path].copy_(given[path])
    for path, buffer in plain.named_buffers():
        if path in dict(model.named_buffers()):
            model.get_buffer(path).copy_(buffer)
    # The sums of pooling weights must be those of the plain model, hence after copying.
    found = _equivalence(model)
    for site, (weight, _), inputs, outputs in _layers(model, found):
        release(site, weight, given.get(site.path_of_bias), inputs, outputs)
    for norm, given_norm, _, outputs in _norms(model, found):
        release_norm(norm, given_norm, outputs)
    for bias, scale in _added(model, found):
        set_to(bias, wide(bias) / scale)
    model.recompile()
    return model


def _copied(shaped: ShapedModel) -> ShapedModel:
    if not isinstance(shaped, ShapedModel):
        raise ArgumentError(
            "shaped", f"it must be a shaped model, not {type(shaped).__name__}", "make one with qcmap.nn.shape"
        )
    return copy.deepcopy(shaped)


def _check_same(given: dict[str, nn.Parameter], wanted: dict[str, nn.Parameter]) -> None:
    """Raise `ArgumentError` for parameters that are missing, too many, or of another shape."""
    for path in (*wanted, *given):
        if path not in given or path not in wanted or given[path].shape != wanted[path].shape:
            has = "no such parameter" if path not in given else f"a parameter of shape {list(given[path].shape)}"
            need = "none" if path not in wanted else f"one of shape {list(wanted[path].shape)}"
            raise ArgumentError(
                path, f"the plain model has {has} where fold(shaped) has {need}", "give a model made by fold(shaped)"
            )


# --- the affinities of a model -------------------------------------------------------------------------------------


def _equivalence(model: ShapedModel) -> Equivalence:
    arch, places = model.architecture, model.traced.places
    sums = {
        node.id: float(model.get_parameter(f"{places[node.id].target}.weight").detach().double().sum())
        for node in arch.nodes
        if isinstance(node.op, WeightedMeanPool)
    }
    means = {node.id for node in arch.nodes if isinstance(node.op, MeanPool)}
    return equivalence(arch, model.shaping, sums, {name for name in means if not _counts(model, places[name])})


def _counts(model: ShapedModel, place: fx.Node) -> bool:
    """Whether average pooling counts its padding."""
    if place.op == "call_module":
        return getattr(model.get_submodule(str(place.target)), "count_include_pad", True)
    return bool(place.args[5] if len(place.args) > 5 else place.kwargs.get("count_include_pad", True))


def _layers(model: ShapedModel, found: Equivalence) -> Iterator[tuple[Site, Original, Affinity, Affinity]]:
    """Each affine layer once, with its parameters as they were, and what its input and its output stand for."""
    places, originals, done = model.traced.places, _Originals(found), set()
    for node in model.architecture.nodes:
        if not isinstance(node.op, Affine):
            continue
        site = site_of(model, places[node.id], node.id)
        was = originals.of(node, site.weight, site.bias)
        # A layer of two calls, or two calls of a function that read one parameter.
        call = site.path_of_bias if site.bias is not None or site.module is not None else site.node
        if call not in done:
            done.add(call)
            yield site, was, found.at[node.inputs[0]], found.at[node.id]


def _norms(model: ShapedModel, found: Equivalence) -> Iterator[tuple[Any, Original, Affinity, Affinity]]:
    """Each layer norm's module once, with its parameters as they were, and what its input and output stand for."""
    places, originals, done = model.traced.places, _Originals(found), set()
    for node in model.architecture.nodes:
        if not isinstance(node.op, LayerNorm):
            continue
        inputs, outputs, place = found.at[node.inputs[0]], found.at[node.id], places[node.id]
        module: Any = model.get_submodule(str(place.target)) if place.op == "call_module" else None
        gain = getattr(module, "weight", None)
        was = None if gain is None else originals.of(node, gain, getattr(module, "bias", None))
        if (inputs.identity and outputs.identity) or place.target in done:
            continue
        done.add(place.target)
        uniform = inputs.scale.ndim == inputs.shift.ndim == 0 and float(inputs.scale) > 0
        if was is None or not uniform:
            raise ArchitectureError(
                node.id, "only a layer norm module with a gain, whose channels all have the same constants, can take"
                " them up", "use nn.LayerNorm with elementwise_affine=True, or keep the shaped network",
            )  # fmt: skip
        if not node.op.centre and (inputs.shift.any() or outputs.shift.any()):
            raise ArchitectureError(
                node.id, "it does not subtract the mean and has no biases, so it can take up no shift",
                "use nn.LayerNorm, or keep the shaped network",
            )  # fmt: skip
        yield module, was, inputs, outputs


class _Originals:
    """Parameters as they were before any is changed: layers may share them, if they need the same ones."""

    def __init__(self, found: Equivalence) -> None:
        self._found = found
        self._first: dict[int, tuple[Node, int, Tensor]] = {}

    def of(self, node: Node, weight: nn.Parameter, bias: nn.Parameter | None) -> Original:
        """Weight and bias of a node's layer, in float64; refuses a node that needs others than an earlier one."""
        return self._one(node, weight, id(weight)), None if bias is None else self._one(node, bias, id(weight))

    def _one(self, node: Node, parameter: nn.Parameter, layer: int) -> Tensor:
        first, own, value = self._first.setdefault(id(parameter), (node, layer, wide(parameter).clone()))
        at = self._found.at
        same = at[first.inputs[0]].agrees(at[node.inputs[0]]) and at[first.id].agrees(at[node.id])
        if own != layer or not same:
            raise ArchitectureError(
                node.id, f"it shares its parameters with {first.id!r}, whose equivalent parameters are others",
                "give the two layers parameters of their own, or keep the shaped network",
            )  # fmt: skip
        return value


def _added(model: ShapedModel, found: Equivalence) -> Iterator[tuple[nn.Parameter, float]]:
    """Each parameter that is added to feature maps, with the scale of these: a (x + p) + b = (a x + b) + a p."""
    for path, names in model.traced.biases.items():
        scales = np.unique(np.concatenate([np.ravel(found.at[name].scale) for name in names]))
        if np.ptp(scales) > 1e-13 * np.abs(scales).max():
            raise ArchitectureError(
                path, f"the maps that it is added to ({', '.join(map(repr, names))}) have different constants, of which"
                " it could take up one only", "give each its own parameter, or keep the shaped network",
            )  # fmt: skip
        if scales[0] != 1:
            yield model.get_parameter(path), float(scales[0])


def _borders(model: ShapedModel, found: Equivalence) -> None:
    """Explicit borders for all filters that read beyond a map whose zeros stand for something else."""
    places, done = model.traced.places, []
    for node in model.architecture.nodes:
        if isinstance(node.op, Affine) and (shift := found.at[node.inputs[0]].shift).any():
            site = site_of(model, places[node.id], node.id)
            if pads := pads_of(site):
                pad_with(model, node.id, site, pads, shift)
                done.append(site)
    for site in done:
        unpadded(site)


# --- the graph -----------------------------------------------------------------------------------------------------


def _plain_ops(model: ShapedModel, found: Equivalence) -> None:
    """Plain activations and weighted sums, as calls of torch's own functions; formulas that it lacks as modules."""
    places = model.traced.places
    for node in model.architecture.nodes:
        place = places[node.id]
        if isinstance(node.op, Nonlinear):
            act = model.shaping.at(node.id).activation
            if act.torch is None:
                model.add_submodule(str(place.target), PlainActivation(act))
                continue
            function, arguments = torch_function(act), {}
            while hasattr(function, "func"):
                arguments, function = {**function.keywords, **arguments}, function.func  # pyright: ignore
            _replace(
                place, lambda graph, at=place, f=function, k=arguments: graph.call_function(f, (tensor_input(at),), k)
            )
        elif isinstance(node.op, Sum):
            weights = found.weights.get(node.id, tuple(float(weight) for weight in node.op.weights))
            _replace(place, lambda graph, at=place, w=weights: _weighted(graph, at, w))


def _replace(place: fx.Node, make: Callable[[fx.Graph], fx.Node]) -> None:
    graph = place.graph
    with graph.inserting_before(place):
        new = make(graph)
    place.replace_all_uses_with(new)
    graph.erase_node(place)


def _weighted(graph: fx.Graph, place: fx.Node, weights: tuple[float, ...]) -> fx.Node:
    first, *others = place.args
    total = graph.call_function(operator.mul, (first, weights[0]))
    for weight, branch in zip(weights[1:], others, strict=True):
        total = graph.call_function(torch.add, (total, branch), {"alpha": weight})
    return total
