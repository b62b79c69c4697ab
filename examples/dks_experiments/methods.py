"""The methods that are compared: each makes a model trainable, or tries to (DKS, sections 26 and 28.5, appendix N)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

import qcmap as qc
import qcmap.nn as qnn
from examples.dks_experiments.setup import Setup
from qcmap.architecture import Architecture
from qcmap.numeric import Shaping

RESIDUAL = math.sqrt(0.05)
"""The weight of residual branches under DKS (section 28.3)."""

Method = Callable[[nn.Module, Tensor, Setup, int], nn.Module]


def _gain(setup: Setup) -> float:
    """What weights are multiplied by: sqrt 2 for relu, but for DKS and Looks Linear (section 28.1)."""
    return math.sqrt(2) if setup.activation == "relu" else 1.0


def _shaped(model: nn.Module, x: Tensor, setup: Setup, seed: int) -> nn.Module:
    """DKS, with options ``zeta``, ``q_slope``, ``residual_weight``, ``weights`` and ``delta``."""
    options = dict(setup.options)
    zeta, q_slope = options.pop("zeta", 1.5), options.pop("q_slope", 1.0)
    residual = options.pop("residual_weight", RESIDUAL) if setup.skips else None

    def solved(arch: Architecture) -> Shaping:
        return qc.dks(arch, zeta, q_slope=q_slope)

    return qnn.shape(
        model, x[:2], method=solved, residual_weight=residual,
        pooling="weighted" if setup.pooling == "weighted" else "keep",
        seed=seed, **options,
    )  # fmt: skip


def _unit_q(model: nn.Module, x: Tensor, setup: Setup, seed: int) -> nn.Module:
    """Only Q(1) = 1 (appendix N.2)."""
    return qnn.shape(model, x[:2], method="unit_q", residual_weight=RESIDUAL if setup.skips else None, seed=seed)


def _equivalent(model: nn.Module, x: Tensor, setup: Setup, seed: int) -> nn.Module:
    """The plain network with the function of the shaped one (section 18.3, appendix N.7)."""
    shaped = _shaped(model, x, setup, seed)
    assert isinstance(shaped, qnn.ShapedModel)
    return qnn.fold(shaped)


def _drawn(model: nn.Module, x: Tensor, setup: Setup, seed: int) -> nn.Module:
    """Weights as for DKS, orthogonal Delta unless the options say otherwise, and activations as they are (N.1, N.5)."""
    return qnn.initialize(model, **{"gain": _gain(setup), **setup.options}, seed=seed)


def _fan_in(model: nn.Module, x: Tensor, setup: Setup, seed: int) -> nn.Module:
    """Gaussian weights of variance gain^2 / fan-in, layer by layer, since batch norms have parameters of their own."""
    generator = torch.Generator().manual_seed(seed)
    for part in model.modules():
        if isinstance(part, (nn.Linear, nn.Conv2d)):
            qnn.methods.fan_in(part, gain=_gain(setup), generator=generator)
    return model


def _glorot(model: nn.Module, x: Tensor, setup: Setup, seed: int) -> nn.Module:
    return qnn.methods.glorot(model, "uniform", gain=_gain(setup), seed=seed)


def _lsuv(model: nn.Module, x: Tensor, setup: Setup, seed: int) -> nn.Module:
    return qnn.methods.lsuv(model, x, seed=seed)


def _wli(model: nn.Module, x: Tensor, setup: Setup, seed: int) -> nn.Module:
    return qnn.methods.wli(model, x, seed=seed)


def _looks_linear(model: nn.Module, x: Tensor, setup: Setup, seed: int) -> nn.Module:
    return qnn.methods.looks_linear(model, x[:2], seed=seed)


def _edge_of_chaos(model: nn.Module, x: Tensor, setup: Setup, seed: int) -> nn.Module:
    """Variances 1.01 and 1.654355e-7 for tanh, as the paper has them; for relu 2 and 0 (section 28.5.6)."""
    if setup.activation == "relu":
        return qnn.initialize(model, gain=math.sqrt(2), seed=seed)
    return qnn.methods.edge_of_chaos(model, qc.edge_of_chaos(setup.activation, weight_variance=1.01), seed=seed)


def _fixup(model: nn.Module, x: Tensor, setup: Setup, seed: int) -> nn.Module:
    return qnn.methods.fixup(model, x[:2], gain=_gain(setup), seed=seed)


METHODS: Mapping[str, Method] = {
    "dks": _shaped,
    "unit_q": _unit_q,
    "equivalent": _equivalent,
    "drawn": _drawn,
    "fan_in": _fan_in,
    "glorot": _glorot,
    "lsuv": _lsuv,
    "wli": _wli,
    "looks_linear": _looks_linear,
    "edge_of_chaos": _edge_of_chaos,
    "fixup": _fixup,
}
"""By name: from a model, training inputs [n, ...], the setup and a seed to the model to be trained."""


def made_trainable(model: nn.Module, x: Tensor, setup: Setup, seed: int) -> Any:
    """The model after the setup's method."""
    return METHODS[setup.method](model, x, setup, seed)
