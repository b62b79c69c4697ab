"""The catalogue as data: one row an activation (docs/contributing/activation.md)."""

from __future__ import annotations

import math
from collections.abc import Callable
from types import MappingProxyType
from typing import Any

import numpy as np

from qcmap.activations import _closed_forms as closed
from qcmap.activations import _derivatives as d
from qcmap.activations import _functions as f
from qcmap.activations import _waves as waves
from qcmap.activations._activation import Activation, Kink, TorchFunction
from qcmap.errors import ActivationError


def _torch(path: str, **arguments: Any) -> TorchFunction:
    return TorchFunction(path, MappingProxyType(arguments))


def _functional(name: str, **arguments: Any) -> TorchFunction:
    return _torch(f"torch.nn.functional.{name}", **arguments)


def _leaky_relu(negative_slope: float = 0.01) -> Activation:
    return Activation(
        "leaky_relu",
        *f.two_slopes(negative_slope, 1.0),
        pieces=(d.polynomial(0, negative_slope), d.polynomial(0, 1)),
        kinks=(Kink(0.0, slope=1 - negative_slope),),
        homogeneity=1,
        two_slopes=(negative_slope, 1.0),
        free_slope=True,
        expression=f"Max(u, 0) + {negative_slope!r}*Min(u, 0)",
        kernel=closed.two_slopes(negative_slope, 1.0),
        torch=_functional("leaky_relu", negative_slope=negative_slope),
        parameters=MappingProxyType({"negative_slope": negative_slope}),
    )


def _elu(alpha: float = 1.0) -> Activation:
    return Activation(
        "elu",
        *f.exponential_unit(1.0, alpha, 1.0),
        pieces=(d.exponential(alpha, 1.0), d.polynomial(0, 1)),
        kinks=(Kink(0.0, slope=1 - alpha, curvature=-alpha),),
        length=4.0,
        expression=f"Max(u, 0) + {alpha!r}*(exp(Min(u, 0)) - 1)",
        torch=_functional("elu", alpha=alpha),
        parameters=MappingProxyType({"alpha": alpha}),
    )


def _celu(alpha: float = 1.0) -> Activation:
    if not alpha > 0:
        raise ActivationError("celu", f"alpha must be positive, not {alpha!r}", "give a positive alpha")
    return Activation(
        "celu",
        *f.exponential_unit(1.0, alpha, alpha),
        pieces=(d.exponential(alpha, alpha), d.polynomial(0, 1)),
        kinks=(Kink(0.0, curvature=-1 / alpha),),
        length=4 * alpha,
        expression=f"Max(u, 0) + {alpha!r}*(exp(Min(u, 0)/{alpha!r}) - 1)",
        torch=_functional("celu", alpha=alpha),
        parameters=MappingProxyType({"alpha": alpha}),
    )


_SELU_LEFT = f.SELU_SCALE * f.SELU_ALPHA
FIXED: tuple[Activation, ...] = (
    Activation(
        "tanh", *f.TANH, pieces=(d.tanh,), length=math.pi / 2, parity="odd", expression="tanh(u)",
        growth=((1, 0), (1, 0), (1, 0)),
        torch=_torch("torch.tanh"),
    ),
    Activation(
        "sigmoid", *f.SIGMOID, pieces=(d.sigmoid,), length=math.pi, expression="1/(1 + exp(-u))",
        growth=((1, 0), (1, 0), (1, 0)),
        torch=_torch("torch.sigmoid"),
    ),
    Activation(
        "erf", *f.ERF, pieces=(d.erf,), length=2.0, parity="odd", expression="erf(u)", kernel=closed.erf,
        growth=((1, 0), (2, 0), (2, 0)),
        torch=_torch("torch.erf"),
    ),
    Activation(
        "relu",
        *f.two_slopes(0.0, 1.0),
        pieces=(d.polynomial(0), d.polynomial(0, 1)),
        kinks=(Kink(0.0, slope=1.0),),
        homogeneity=1,
        two_slopes=(0.0, 1.0),
        expression="Max(u, 0)",
        kernel=closed.two_slopes(0.0, 1.0),
        torch=_torch("torch.relu"),
    ),
    Activation(
        "softplus", *f.SOFTPLUS, pieces=(d.softplus,), length=math.pi, expression="log(1 + exp(u))",
        growth=((2, 1), (1, 0), (1, 0)),
        torch=_functional("softplus", threshold=40),
    ),
    Activation(
        "selu",
        *f.exponential_unit(f.SELU_SCALE, f.SELU_ALPHA, 1.0),
        pieces=(d.exponential(_SELU_LEFT, 1.0), d.polynomial(0, f.SELU_SCALE)),
        kinks=(Kink(0.0, slope=f.SELU_SCALE - _SELU_LEFT, curvature=-_SELU_LEFT),),
        length=4.0,
        expression="1.0507009873554804934193349852946*(Max(u, 0)"
        " + 1.6732632423543772848170429916717*(exp(Min(u, 0)) - 1))",
        torch=_torch("torch.selu"),
    ),
    Activation(
        "swish", *f.SWISH, pieces=(d.swish,), length=math.pi, expression="u/(1 + exp(-u))",
        growth=((1, 1), (2, 0), (1, 0)),
        torch=_functional("silu"),
    ),
    Activation(
        "gelu", *f.GELU, pieces=(d.gelu,), length=3.0, expression="u*(1 + erf(u/sqrt(2)))/2",
        growth=((1, 1), (2, 0), (1, 0)),
        torch=_functional("gelu"),
    ),
    Activation(
        "gelu_tanh",
        *f.GELU_TANH, pieces=(d.gelu_tanh(*f.GELU_TANH_ARGUMENT),),
        length=2.5,
        expression="u*(1 + tanh(sqrt(2/pi)*(u + 44715*u**3/1000000)))/2",
        growth=((1, 1), (2, 3), (2, 5)),
        torch=_functional("gelu", approximate="tanh"),
    ),
    Activation(
        "bentid",
        lambda u: u * u / (2 * (np.sqrt(u * u + 1) + 1)) + u,
        lambda u: u / (2 * np.sqrt(u * u + 1)) + 1,
        lambda u: 0.5 * (u * u + 1) ** -1.5,
        pieces=(d.bentid,),
        length=1.0,
        expression="(sqrt(u**2 + 1) - 1)/2 + u",
        growth=((2, 1), (2, 0), (1, 0)),
        torch=_torch("qcmap.nn.functional.bentid"),
    ),
    Activation(
        "atan", np.arctan, lambda u: 1 / (1 + u * u), lambda u: -2 * u / (1 + u * u) ** 2,
        pieces=(d.atan,), length=1.0, parity="odd", expression="atan(u)",
        growth=((2, 0), (1, 0), (1, 0)),
        torch=_torch("torch.atan"),
    ),
    Activation(
        "asinh", np.arcsinh, lambda u: 1 / np.sqrt(1 + u * u), lambda u: -u * (1 + u * u) ** -1.5,
        pieces=(d.asinh,), length=1.0, parity="odd", expression="asinh(u)",
        growth=((1, 1), (1, 0), (1, 0)),
        torch=_torch("torch.asinh"),
    ),
    Activation(
        "square",
        lambda u: u * u, lambda u: 2 * u, lambda u: 2 * np.ones_like(u),
        pieces=(d.polynomial(0, 0, 1),),
        parity="even",
        homogeneity=2,
        expression="u**2",
        kernel=closed.square,
        growth=((1, 2), (2, 1), (2, 0)),
        torch=_torch("torch.square"),
    ),
    Activation(
        "softsign",
        *f.SOFTSIGN, pieces=(d.softsign(-1), d.softsign(1)),
        kinks=(Kink(0.0, curvature=-4.0),),
        length=1.0,
        parity="odd",
        expression="u/(1 + Abs(u))",
        growth=((1, 0), (1, 0), (2, 0)),
        torch=_functional("softsign"),
    ),
    Activation(
        "sin", np.sin, np.cos, lambda u: -np.sin(u),
        pieces=(d.sine(0),), oscillates=True, parity="odd", expression="sin(u)", kernel=waves.sin,
        growth=((1, 0), (1, 0), (1, 0)),
        torch=_torch("torch.sin"),
    ),
    Activation(
        "cos", np.cos, lambda u: -np.sin(u), lambda u: -np.cos(u),
        pieces=(d.sine(1),), oscillates=True, parity="even", expression="cos(u)", kernel=waves.cos,
        growth=((1, 0), (1, 0), (1, 0)),
        torch=_torch("torch.cos"),
    ),
    Activation(
        "mish", *f.MISH, pieces=(d.mish,), centre=math.log(2) / 2, length=2.3, expression="u*tanh(log(1 + exp(u)))",
        growth=((1, 1), (2, 1), (5, 1)),
        torch=_functional("mish"),
    ),
    Activation(
        "hardtanh",
        *f.clipped(-1.0, 1.0),
        pieces=(d.polynomial(-1), d.polynomial(0, 1), d.polynomial(1)),
        kinks=(Kink(-1.0, slope=1.0), Kink(1.0, slope=-1.0)),
        parity="odd",
        expression="Min(Max(u, -1), 1)",
        growth=((1, 0), (1, 0), (0, 0)),
        torch=_functional("hardtanh"),
    ),
    Activation(
        "hardswish",
        *f.HARDSWISH, pieces=(d.polynomial(0), d.polynomial(0, 1 / 2, 1 / 6), d.polynomial(0, 1)),
        kinks=(Kink(-3.0, slope=-0.5, curvature=1 / 3), Kink(3.0, slope=-0.5, curvature=-1 / 3)),
        expression="u*Min(Max(u + 3, 0), 6)/6",
        growth=((1, 1), (2, 0), (1, 0)),
        torch=_functional("hardswish"),
    ),
    Activation(
        "relu6",
        *f.clipped(0.0, 6.0),
        pieces=(d.polynomial(0), d.polynomial(0, 1), d.polynomial(6)),
        kinks=(Kink(0.0, slope=1.0), Kink(6.0, slope=-1.0)),
        expression="Min(Max(u, 0), 6)",
        growth=((6, 0), (1, 0), (0, 0)),
        torch=_functional("relu6"),
    ),
    Activation(
        "identity",
        *f.IDENTITY, pieces=(d.polynomial(0, 1),),
        parity="odd",
        homogeneity=1,
        two_slopes=(1.0, 1.0),
        expression="u",
        kernel=closed.two_slopes(1.0, 1.0),
        growth=((1, 1), (1, 0), (0, 0)),
        torch=_torch("torch.clone"),
    ),
)  # fmt: skip
"""Those without parameters."""
WITH_PARAMETERS: dict[str, Callable[..., Activation]] = {"leaky_relu": _leaky_relu, "elu": _elu, "celu": _celu}
"""Functions that make a row of parameters, each with a default."""
ALIASES = {"silu": "swish", "logistic": "sigmoid", "bent_identity": "bentid", "arctan": "atan", "arcsinh": "asinh"}
"""Other names."""
