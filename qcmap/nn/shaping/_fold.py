"""Equivalent parameters of a shaped model (DKS, section 18.2): the plain network with the same function, and back."""

from __future__ import annotations

import copy
import operator
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx, nn

from qcmap.architecture import Affine, LayerNorm, Nonlinear, Sum, WeightedMeanPool
from qcmap.errors import ArchitectureError, ArgumentError
from qcmap.nn.functional import torch_function
from qcmap.nn.shaping._equivalent import Affinity, Array, Equivalence, equivalence
from qcmap.nn.shaping._model import ShapedModel
from qcmap.nn.shaping._padding import pad_with, pads_of, unpadded
from qcmap.nn.shaping._sites import Site, site_of, tensor_input


def fold(shaped: ShapedModel) -> fx.GraphModule:
    """The plain network with the same function as a shaped one: equivalent parameters (DKS, section 18.2).

    Activations lose their constants, which go into the weights and biases around them (docs/equivalent.md has the
    derivation for graphs). The result needs nothing of qcmap, except for weighted mean pooling; its parameters have the
    paths of the shaped model, and biases where those are needed. Computed in float64 and rounded once to the type of
    each parameter.

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
    for _, site, inputs, outputs in _layers(model, found):
        _absorb(site, inputs, outputs)
    for norm, inputs, outputs in _norms(model, found):
        _absorb_norm(norm, inputs, outputs)
    for bias, scale in _added(model, found):
        _set(bias, scale * _wide(bias))
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
    given, own = dict(plain.named_parameters()), dict(model.named_parameters())
    _check_same(given, dict(fold(shaped).named_parameters()))
    with torch.no_grad():
        for path in given.keys() & own.keys():
            own[path].copy_(given[path])
    for path, buffer in plain.named_buffers():
        if path in dict(model.named_buffers()):
            model.get_buffer(path).copy_(buffer)
    # The sums of pooling weights must be those of the plain model, hence after copying.
    found = _equivalence(model)
    for _, site, inputs, outputs in _layers(model, found):
        _release(site, given.get(site.path_of_bias), inputs, outputs)
    for norm, inputs, outputs in _norms(model, found):
        _release_norm(norm, inputs, outputs)
    for bias, scale in _added(model, found):
        _set(bias, _wide(bias) / scale)
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
    return equivalence(arch, model.shaping, sums)


Layer = tuple[str, Site, Affinity, Affinity]


def _layers(model: ShapedModel, found: Equivalence) -> Iterator[Layer]:
    """Each affine layer once, with what its input and its output stand for."""
    places, seen = model.traced.places, {}
    for node in model.architecture.nodes:
        if not isinstance(node.op, Affine):
            continue
        site = site_of(model, places[node.id], node.id)
        inputs, outputs = found.at[node.inputs[0]], found.at[node.id]
        first = seen.setdefault(site.weight_path, (node.id, inputs, outputs))
        if first[0] == node.id:
            yield node.id, site, inputs, outputs
        elif not (first[1].agrees(inputs) and first[2].agrees(outputs)):
            raise ArchitectureError(
                node.id, f"it shares its parameters with {first[0]!r}, whose equivalent parameters are others",
                "give the two layers parameters of their own, or keep the shaped network",
            )  # fmt: skip


def _norms(model: ShapedModel, found: Equivalence) -> Iterator[tuple[Any, Affinity, Affinity]]:
    """Each layer norm's module, with what its input and its output stand for."""
    places = model.traced.places
    for node in model.architecture.nodes:
        if not isinstance(node.op, LayerNorm):
            continue
        inputs, outputs = found.at[node.inputs[0]], found.at[node.id]
        if inputs.identity and outputs.identity:
            continue
        place = places[node.id]
        module = model.get_submodule(str(place.target)) if place.op == "call_module" else None
        uniform = inputs.scale.ndim == inputs.shift.ndim == 0 and float(inputs.scale) > 0
        if module is None or getattr(module, "weight", None) is None or not uniform:
            raise ArchitectureError(
                node.id, "only a layer norm module with a gain, whose channels all have the same constants, can take"
                " them up", "use nn.LayerNorm with elementwise_affine=True, or keep the shaped network",
            )  # fmt: skip
        yield module, inputs, outputs


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


# --- parameters ----------------------------------------------------------------------------------------------------


def _wide(tensor: Tensor) -> Tensor:
    return tensor.detach().to("cpu", torch.float64)


@torch.no_grad()
def _set(parameter: Tensor, value: Tensor) -> None:
    parameter.copy_(value.reshape(parameter.shape))


def _rows(values: Array, like: Tensor, axis_size: int) -> Tensor:
    """One number for each of ``axis_size`` channels; a channel of several flattened locations repeats its own."""
    if values.ndim and axis_size % len(values):
        raise ArchitectureError(
            "fold", f"{len(values)} channels do not make {axis_size} features", "keep the shaped network"
        )
    repeated = np.repeat(values, axis_size // len(values)) if values.ndim else np.full(axis_size, float(values))
    return torch.from_numpy(repeated).to(like)


def _columns(values: Array, weight: Tensor, groups: int) -> Tensor:
    """Numbers of input channels, in the layout of a weight [out, in/groups, *kernel]."""
    rows, columns = weight.shape[0] // groups, weight.shape[1]
    per_group = _rows(values, weight, columns * groups).reshape(groups, 1, columns)
    return per_group.expand(groups, rows, columns).reshape(weight.shape[0], columns, *[1] * (weight.ndim - 2))


def _absorb(site: Site, inputs: Affinity, outputs: Affinity) -> None:
    """W' = A W / a and c' = A (c - W (b/a)) + B."""
    weight = _wide(site.weight)
    scale, shift = (_rows(v, weight, weight.shape[0]) for v in (outputs.scale, outputs.shift))
    old = torch.zeros_like(scale) if site.bias is None else _wide(site.bias)
    response = (weight * _columns(inputs.origin, weight, site.groups)).flatten(1).sum(1)
    bias = scale * (old - response) + shift
    column = scale.reshape(-1, *[1] * (weight.ndim - 1))
    _set(site.weight, column * weight / _columns(inputs.scale, weight, site.groups))
    if site.bias is not None or bool(bias.any()):
        filled = site.with_bias()
        assert filled.bias is not None
        _set(filled.bias, bias)


def _release(site: Site, plain_bias: Tensor | None, inputs: Affinity, outputs: Affinity) -> None:
    """W = W' a / A and c = (c' - B) / A + W (b/a)."""
    weight = _wide(site.weight)
    scale, shift = (_rows(v, weight, weight.shape[0]) for v in (outputs.scale, outputs.shift))
    given = torch.zeros_like(scale) if plain_bias is None else _wide(plain_bias)
    column = scale.reshape(-1, *[1] * (weight.ndim - 1))
    old = weight * _columns(inputs.scale, weight, site.groups) / column
    response = (old * _columns(inputs.origin, weight, site.groups)).flatten(1).sum(1)
    _set(site.weight, old)
    if site.bias is not None or plain_bias is not None:
        filled = site.with_bias()
        assert filled.bias is not None
        _set(filled.bias, (given - shift) / scale + response)


def _absorb_norm(norm: Any, inputs: Affinity, outputs: Affinity) -> None:
    """Gain A g, bias A h + B, epsilon a^2 epsilon."""
    gain = _wide(norm.weight)
    scale, shift = (_rows(v, gain, len(gain)) for v in (outputs.scale, outputs.shift))
    bias = shift if norm.bias is None else scale * _wide(norm.bias) + shift
    _set(norm.weight, scale * gain)
    if norm.bias is None:
        norm.bias = nn.Parameter(torch.zeros_like(norm.weight))
    _set(norm.bias, bias)
    norm.eps *= float(inputs.scale) ** 2


def _release_norm(norm: Any, inputs: Affinity, outputs: Affinity) -> None:
    """The inverse of `_absorb_norm`, for parameters that are the plain model's; epsilon is the shaped model's."""
    gain = _wide(norm.weight)
    scale, shift = (_rows(v, gain, len(gain)) for v in (outputs.scale, outputs.shift))
    _set(norm.weight, gain / scale)
    if norm.bias is not None:
        _set(norm.bias, (_wide(norm.bias) - shift) / scale)


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
    """Plain activations and weighted sums, as calls of torch's own functions."""
    places = model.traced.places
    for node in model.architecture.nodes:
        place = places[node.id]
        if isinstance(node.op, Nonlinear):
            function = torch_function(model.shaping.at(node.id).activation)
            arguments = {}
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
