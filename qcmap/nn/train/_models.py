"""The models of run configurations, by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, Literal

import torch
from torch import nn

from qcmap.architecture import zoo
from qcmap.errors import ArgumentError
from qcmap.nn._named import read_model
from qcmap.nn._network import GraphNetwork
from qcmap.nn.shaping import shape
from qcmap.nn.train._choice import Choice, check_options, unknown
from qcmap.nn.train._examples import Splits
from qcmap.nn.train._randomness import own_randomness, seed_everything

Method = Literal["none", "dks", "tat"]


def _zoo(
    data: Splits, run_seed: int, *, architecture: str, method: Method = "dks", zeta: float | None = None,
    tau: float | None = None, eta: float | None = None, weights: Literal["orthogonal", "gaussian"] = "orthogonal",
    gain: float = 1.0, seed: int | None = None,
) -> nn.Module:  # fmt: skip
    """A fully-connected network of the zoo, such as ``mlp:depth=50,width=64,activation=tanh``, for these data."""
    from qcmap.numeric import dks, tat

    family = architecture.partition(":")[0]
    taken = inspect.signature(zoo.FAMILIES[family]).parameters if family in zoo.FAMILIES else {}
    given = {"in_channels": data.example().shape[1], "out_channels": _outputs(data)}
    arch = zoo.call(architecture, **{name: size for name, size in given.items() if name in taken})
    bounds = {name: value for name, value in {"tau": tau, "eta": eta}.items() if value is not None}
    shaping = None
    if method == "dks":
        shaping = dks(arch, 1.5 if zeta is None else zeta)
    elif method == "tat":
        shaping = tat(arch, **bounds)
    return GraphNetwork(arch, shaping, weights=weights, gain=gain, seed=run_seed if seed is None else seed)


def _imported(
    data: Splits, run_seed: int, *, path: str, method: Method = "none", zeta: float | None = None,
    tau: float | None = None, eta: float | None = None, residual_weight: float | None = None,
    batch_norm: Literal["error", "remove", "layer_norm"] = "error", pooling: Literal["keep", "weighted"] = "keep",
    seed: int | None = None,
) -> nn.Module:  # fmt: skip
    """What ``package.module:callable`` makes without arguments, shaped for these data or as it is."""
    chosen = run_seed if seed is None else seed
    with own_randomness(torch.device("cpu")):
        seed_everything(chosen, torch.device("cpu"))
        model = read_model(path)
    if method == "none":
        return model
    bounds: dict[str, Any] = {
        name: value for name, value in {"zeta": zeta, "tau": tau, "eta": eta}.items() if value is not None
    }
    return shape(
        model, data.example(), method=method, batch_norm=batch_norm, pooling=pooling, residual_weight=residual_weight,
        seed=chosen, **bounds,
    )  # fmt: skip


MODELS: Mapping[str, Callable[..., nn.Module]] = {"zoo": _zoo, "import": _imported}
"""By name: from the data, the run's seed and options to a model."""


def build_model(choice: Choice, data: Splits, seed: int) -> nn.Module:
    """The model of a configuration, for data.

    Raises
    ------
    QCMapError
        `ArgumentError` for an unknown row or option (the message says the nearest) or a value of another type, and
        whatever building or shaping the model raises.
    """
    if choice.name not in MODELS:
        raise unknown("model", choice.name, MODELS, "model")
    check_options("model", MODELS[choice.name], choice.options.items())
    return MODELS[choice.name](data, seed, **choice.options)


def _outputs(data: Splits) -> int:
    """How many outputs a network for these targets has."""
    targets: Any = data.train.targets
    if not targets.is_floating_point():
        return max(int(part.targets.max()) for _, part in data.parts()) + 1
    if targets.ndim > 2:
        raise ArgumentError("model", f"targets of shape {list(targets.shape)} need a model of your own", "import one")
    return targets.shape[1] if targets.ndim == 2 else 1
