"""Initialising a whole model: every linear and convolutional layer, all of them or none."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, TypeVar

import torch
from torch import Tensor, nn

from qcmap.errors import ArgumentError
from qcmap.nn._random import generator_from
from qcmap.nn._weights import check_gain, check_weight, gaussian_weight, orthogonal_weight

M = TypeVar("M", bound=nn.Module)

_WEIGHTS = {"orthogonal": orthogonal_weight, "gaussian": gaussian_weight}
_LAYERS = nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d
Layer = nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d


def initialize(
    module: M,
    weights: Literal["orthogonal", "gaussian"] = "orthogonal",
    *,
    delta: bool = True,
    gain: float = 1.0,
    seed: int = 0,
    generator: torch.Generator | None = None,
) -> M:
    """Re-initialise in place every nn.Linear and nn.Conv1d/2d/3d inside a module; biases become zero.

    Everything is checked before anything is changed. Layers are filled in the order of ``module.named_modules()``;
    a weight that several layers share is drawn once, at its first place.

    Parameters
    ----------
    module
        The model, or a single layer.
    weights
        ``"orthogonal"`` (SUO) or ``"gaussian"`` of variance 1/k (DKS, section 4.1).
    delta
        Delta initialization of convolutions; otherwise fan-in over all taps.
    gain
        Multiplies the standard deviation: ``weights="gaussian", delta=False`` with 1 is LeCun's, with sqrt(2) He's.
    seed, generator
        Where the randomness comes from; a generator goes before a seed and is advanced.

    Returns
    -------
    The module itself.

    Raises
    ------
    ArgumentError
        Naming the module's path: for a parameter of anything but these layers, a parametrised or lazy weight, an even
        kernel size with Delta, a weight shared by layers with different groups. Also for an unknown ``weights``, a bad
        gain or seed.
    """
    if weights not in _WEIGHTS:
        raise ArgumentError(
            "weights", f"there is no initialization {weights!r}", f"choose one of {', '.join(map(repr, _WEIGHTS))}"
        )
    check_gain(gain)
    source = generator_from(seed, generator)
    plan = _plan(_checked_layers(module, delta=delta))
    make = _WEIGHTS[weights]
    with torch.no_grad():
        for layer, groups, new in plan:
            if new:
                shape = tuple(layer.weight.shape)
                layer.weight.copy_(
                    make(shape, groups=groups, delta=delta, gain=gain, generator=source, dtype=torch.float64)
                )
            if layer.bias is not None:
                layer.bias.zero_()
    return module


def _checked_layers(module: nn.Module, *, delta: bool) -> Iterator[tuple[str, Layer, int]]:
    """(path, layer, groups) for every layer; raises `ArgumentError` at a module that cannot be initialised."""
    for path, part in module.named_modules():
        subject = path or type(part).__name__
        own = dict(part.named_parameters(recurse=False))
        if not isinstance(part, _LAYERS):
            if own:
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
        check_weight(tuple(part.weight.shape), groups, delta=delta, subject=subject)
        yield path, part, groups


def _check_storage(subject: str, tensor: Tensor) -> None:
    if nn.parameter.is_lazy(tensor) or tensor.is_meta:
        raise ArgumentError(
            subject, "its parameters have no memory yet", "run the model once on an example, or move it off 'meta'"
        )


def _plan(layers: Iterator[tuple[str, Layer, int]]) -> list[tuple[Layer, int, bool]]:
    """(layer, groups, whether its weight is new); raises `ArgumentError` if layers that share one differ in groups."""
    first: dict[int, tuple[str, int]] = {}
    plan: list[tuple[Layer, int, bool]] = []
    for path, layer, groups in layers:
        owner, agreed = first.setdefault(id(layer.weight), (path, groups))
        if agreed != groups:
            raise ArgumentError(
                path,
                f"it shares its weight with {owner}, which has {agreed} groups where it has {groups}",
                "give the two layers weights of their own",
            )
        plan.append((layer, groups, owner == path))
    return plan
