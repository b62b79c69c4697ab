"""Initialising a whole model: every linear and convolutional layer, all of them or none."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Literal, NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from qcmap.errors import ArgumentError
from qcmap.nn._layers import WeightedMeanPool
from qcmap.nn._random import generator_from
from qcmap.nn._weights import SAMPLERS, check_gain, check_weight, draw

M = TypeVar("M", bound=nn.Module)

_LAYERS = nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d
Layer = nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d
Weights = Literal["orthogonal", "gaussian", "truncated", "uniform", "sign"]


class Scale(NamedTuple):
    """What multiplies the standard deviation 1/sqrt(fan-in) of a layer's weights, and that of its biases."""

    gain: float
    bias: float = 0.0


def initialize(
    module: M,
    weights: Weights = "orthogonal",
    *,
    delta: bool = True,
    gain: float = 1.0,
    variances: Mapping[str, tuple[float, float]] | None = None,
    seed: int = 0,
    generator: torch.Generator | None = None,
) -> M:
    """Re-initialise in place every nn.Linear and nn.Conv1d/2d/3d inside a module; biases become zero.

    Weights of a `WeightedMeanPool` are drawn anew from their own distribution, after all others.
    Everything is checked before anything is changed. Layers are filled in the order of ``module.named_modules()``;
    a weight that several layers share is drawn once, at its first place.

    Parameters
    ----------
    module
        The model, or a single layer.
    weights
        ``"orthogonal"`` (SUO), ``"gaussian"`` (DKS, section 4.1), ``"truncated"`` (normal, cut at two standard
        deviations), ``"uniform"`` or ``"sign"`` (two values of opposite sign), each of variance 1/k with k the fan-in.
    delta
        Delta initialization of convolutions; otherwise fan-in over all taps.
    gain
        Multiplies the standard deviation of weights.
    variances
        By module path, (w, b) for layers whose weights have gain^2 w/k as variance and whose biases are drawn from
        N(0, b): what `qcmap.numeric.initialized` and `qcmap.edge_of_chaos` say of an architecture's affine nodes.
    seed, generator
        Where the randomness comes from; a generator goes before a seed and is advanced.

    Returns
    -------
    The module itself.

    Raises
    ------
    ArgumentError
        Naming the module's path: for a parameter of anything but these layers, a parametrised or lazy weight, a weight
        shared by layers with different groups or variances, a path that is no layer's, a bias variance for a layer
        without biases. Also for an unknown ``weights``, a bad gain, variance or seed.
    """
    check_gain(gain)
    given = dict(variances or {})
    layers = dict(module.named_modules())
    for path, pair in given.items():
        if not isinstance(layers.get(path), _LAYERS):
            raise ArgumentError(
                "variances", f"there is no linear or convolutional layer {path!r}", "give layers' paths"
            )
        _check_variances(path, pair)

    def scale(path: str, layer: Layer) -> Scale:
        weight, bias = given.get(path, (1.0, 0.0))
        return Scale(gain * math.sqrt(weight), math.sqrt(bias))

    return fill(module, weights, scale, delta=delta, seed=seed, generator=generator)


def fill(
    module: M,
    weights: str,
    scale: Callable[[str, Layer], Scale],
    *,
    delta: bool,
    seed: int = 0,
    generator: torch.Generator | None = None,
) -> M:
    """`initialize` with a scale that depends on the layer: the one way in which models are initialised.

    ``scale(path, layer)`` is called for every layer before anything is changed.
    """
    if weights not in SAMPLERS:
        raise ArgumentError(
            "weights", f"there is no initialization {weights!r}", f"choose one of {', '.join(map(repr, SAMPLERS))}"
        )
    source = generator_from(seed, generator)
    plan = _plan(checked_layers(module), scale)
    pools = [part for part in module.modules() if isinstance(part, WeightedMeanPool)]
    with torch.no_grad():
        for layer, groups, (gain, bias), new in plan:
            if new:
                shape = tuple(layer.weight.shape)
                layer.weight.copy_(draw(SAMPLERS[weights], shape, groups, gain, source, delta=delta))
            if layer.bias is not None:
                layer.bias.zero_()
                if bias:
                    size = tuple(layer.bias.shape)
                    layer.bias.copy_(
                        bias * torch.randn(size, generator=source, dtype=torch.float64, device=source.device)
                    )
    for pool in pools:
        pool.draw(source)
    return module


def checked_layers(module: nn.Module) -> Iterator[tuple[str, Layer, int]]:
    """(path, layer, groups) for every layer; raises `ArgumentError` at a module that cannot be initialised."""
    for path, part in module.named_modules():
        subject = path or type(part).__name__
        own = dict(part.named_parameters(recurse=False))
        if not isinstance(part, _LAYERS):
            if isinstance(part, WeightedMeanPool):
                _check_storage(subject, part.weight)
            elif own:
                raise ArgumentError(
                    subject,
                    f"{type(part).__name__} has its own parameters ({', '.join(own)}), whose distribution is not known",
                    "take the module out, use it without parameters (affine=False, elementwise_affine=False), or"
                    " initialise the layers around it one by one",
                )
            continue
        if "weight" not in own or not set(own) <= {"weight", "bias"}:
            raise ArgumentError(
                subject,
                f"its parameters are {', '.join(own) or 'elsewhere'} where a plain layer has weight and bias",
                "remove the parametrization (weight norm, spectral norm, pruning) first",
            )
        for tensor in own.values():
            _check_storage(subject, tensor)
        groups = 1 if isinstance(part, nn.Linear) else part.groups
        check_weight(tuple(part.weight.shape), groups, subject=subject)
        yield path, part, groups


def _check_variances(path: str, pair: tuple[float, float]) -> None:
    numbers = [v for v in pair if isinstance(v, (int, float)) and not isinstance(v, bool) and math.isfinite(v)]
    if len(pair) != 2 or len(numbers) != 2 or numbers[0] <= 0 or numbers[1] < 0:
        raise ArgumentError(
            "variances", f"{pair} cannot be the variances of the weights and biases of {path}",
            "give a positive and a non-negative finite number",
        )  # fmt: skip


def _check_storage(subject: str, tensor: Tensor) -> None:
    if nn.parameter.is_lazy(tensor) or tensor.is_meta:
        raise ArgumentError(
            subject, "its parameters have no memory yet", "run the model once on an example, or move it off 'meta'"
        )


def _plan(
    layers: Iterator[tuple[str, Layer, int]], scale: Callable[[str, Layer], Scale]
) -> list[tuple[Layer, int, Scale, bool]]:
    """(layer, groups, scale, whether its weight is new); raises `ArgumentError` if layers that share one disagree."""
    first: dict[int, tuple[str, int, float]] = {}
    plan: list[tuple[Layer, int, Scale, bool]] = []
    for path, layer, groups in layers:
        own = scale(path, layer)
        if own.bias and layer.bias is None:
            raise ArgumentError(
                path or type(layer).__name__, f"it has no biases to give variance {own.bias**2:g}",
                "construct it with bias=True",
            )  # fmt: skip
        owner, agreed, gain = first.setdefault(id(layer.weight), (path, groups, own.gain))
        if agreed != groups:
            raise ArgumentError(
                path,
                f"it shares its weight with {owner}, which has {agreed} groups where it has {groups}",
                "give the two layers weights of their own",
            )
        if gain != own.gain:
            raise ArgumentError(
                path, f"it shares its weight with {owner}, which should have another variance",
                "give the two layers weights of their own, or the same variance",
            )  # fmt: skip
        plan.append((layer, groups, own, owner == path))
    return plan
