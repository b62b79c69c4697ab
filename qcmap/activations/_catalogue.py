"""The catalogue: one row an activation. To add one, write its formulas in ``_functions.py`` and ``_derivatives.py``."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, cast
from weakref import WeakValueDictionary

from qcmap.activations import _closed_forms as closed
from qcmap.activations import _derivatives as d
from qcmap.activations import _functions as f
from qcmap.activations import _waves as waves
from qcmap.activations._activation import Activation, Kink, TorchFunction
from qcmap.errors import ActivationError

if TYPE_CHECKING:
    import sympy


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
_FIXED: tuple[Activation, ...] = (
    Activation(
        "tanh", *f.TANH, pieces=(d.tanh,), length=math.pi / 2, parity="odd", expression="tanh(u)",
        torch=_torch("torch.tanh"),
    ),
    Activation(
        "sigmoid", *f.SIGMOID, pieces=(d.sigmoid,), length=math.pi, expression="1/(1 + exp(-u))",
        torch=_torch("torch.sigmoid"),
    ),
    Activation(
        "erf", *f.ERF, pieces=(d.erf,), length=2.0, parity="odd", expression="erf(u)", kernel=closed.erf,
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
        torch=_functional("silu"),
    ),
    Activation(
        "gelu", *f.GELU, pieces=(d.gelu,), length=3.0, expression="u*(1 + erf(u/sqrt(2)))/2",
        torch=_functional("gelu"),
    ),
    Activation(
        "gelu_tanh",
        *f.GELU_TANH, pieces=(d.gelu_tanh(*f.GELU_TANH_ARGUMENT),),
        length=2.5,
        expression="u*(1 + tanh(sqrt(2/pi)*(u + 44715*u**3/1000000)))/2",
        torch=_functional("gelu", approximate="tanh"),
    ),
    Activation(
        "bentid",
        *f.BENTID, pieces=(d.bentid,),
        length=1.0,
        expression="(sqrt(u**2 + 1) - 1)/2 + u",
        torch=_torch("qcmap.nn.functional.bentid"),
    ),
    Activation(
        "atan", *f.ATAN, pieces=(d.atan,), length=1.0, parity="odd", expression="atan(u)",
        torch=_torch("torch.atan"),
    ),
    Activation(
        "asinh", *f.ASINH, pieces=(d.asinh,), length=1.0, parity="odd", expression="asinh(u)",
        torch=_torch("torch.asinh"),
    ),
    Activation(
        "square",
        *f.SQUARE, pieces=(d.polynomial(0, 0, 1),),
        parity="even",
        homogeneity=2,
        expression="u**2",
        kernel=closed.square,
        torch=_torch("torch.square"),
    ),
    Activation(
        "softsign",
        *f.SOFTSIGN, pieces=(d.softsign(-1), d.softsign(1)),
        kinks=(Kink(0.0, curvature=-4.0),),
        length=1.0,
        parity="odd",
        expression="u/(1 + Abs(u))",
        torch=_functional("softsign"),
    ),
    Activation(
        "sin", *f.SIN, pieces=(d.sine(0),), oscillates=True, parity="odd", expression="sin(u)", kernel=waves.sin,
        torch=_torch("torch.sin"),
    ),
    Activation(
        "cos", *f.COS, pieces=(d.sine(1),), oscillates=True, parity="even", expression="cos(u)", kernel=waves.cos,
        torch=_torch("torch.cos"),
    ),
    Activation(
        "mish", *f.MISH, pieces=(d.mish,), centre=math.log(2) / 2, length=2.3, expression="u*tanh(log(1 + exp(u)))",
        torch=_functional("mish"),
    ),
    Activation(
        "hardtanh",
        *f.clipped(-1.0, 1.0),
        pieces=(d.polynomial(-1), d.polynomial(0, 1), d.polynomial(1)),
        kinks=(Kink(-1.0, slope=1.0), Kink(1.0, slope=-1.0)),
        parity="odd",
        expression="Min(Max(u, -1), 1)",
        torch=_functional("hardtanh"),
    ),
    Activation(
        "hardswish",
        *f.HARDSWISH, pieces=(d.polynomial(0), d.polynomial(0, 1 / 2, 1 / 6), d.polynomial(0, 1)),
        kinks=(Kink(-3.0, slope=-0.5, curvature=1 / 3), Kink(3.0, slope=-0.5, curvature=-1 / 3)),
        expression="u*Min(Max(u + 3, 0), 6)/6",
        torch=_functional("hardswish"),
    ),
    Activation(
        "relu6",
        *f.clipped(0.0, 6.0),
        pieces=(d.polynomial(0), d.polynomial(0, 1), d.polynomial(6)),
        kinks=(Kink(0.0, slope=1.0), Kink(6.0, slope=-1.0)),
        expression="Min(Max(u, 0), 6)",
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
        torch=_torch("torch.clone"),
    ),
)  # fmt: skip


def _constant(row: Activation) -> Callable[[], Activation]:
    return lambda: row


_CATALOGUE: dict[str, Callable[..., Activation]] = {row.name: _constant(row) for row in _FIXED} | {
    "leaky_relu": _leaky_relu,
    "elu": _elu,
    "celu": _celu,
}
_ALIASES = {"silu": "swish", "logistic": "sigmoid", "bent_identity": "bentid", "arctan": "atan", "arcsinh": "asinh"}

CATALOGUE: tuple[str, ...] = tuple(sorted(_CATALOGUE))
"""The names of all activations in the catalogue."""


def activation(
    specification: str | Activation | sympy.Expr | Callable[..., Any],
    *,
    kinks: tuple[float, ...] = (),
    **parameters: float,
) -> Activation:
    """The activation that ``specification`` means.

    Parameters
    ----------
    specification
        A name of the catalogue (`CATALOGUE`, or an alias such as ``"silu"``), an `Activation`, a sympy expression in
        one variable, or a vectorised callable.
    kinks
        For a callable: every point where it is not analytic.
    parameters
        For a name: its parameters (``negative_slope`` of leaky_relu, ``alpha`` of elu and celu).

    Raises
    ------
    ActivationError
        For an unknown name (the message gives the nearest ones), an unknown parameter, or a callable that does not
        return finite numbers in the shape of its argument or has kinks that are not among ``kinks``.
    """
    if isinstance(specification, Activation):
        _refuse(specification.name, "an activation", kinks, parameters)
        return specification
    if isinstance(specification, str):
        if kinks:
            raise ActivationError(specification, "the catalogue knows its kinks", "leave kinks out")
        return named(specification, **parameters)
    if hasattr(specification, "free_symbols"):
        _refuse(str(specification), "an expression", kinks, parameters)
        return Activation.from_sympy(cast("sympy.Expr", specification))
    if not callable(specification):
        raise ActivationError(
            repr(specification), "it is not an activation", "give a name, an Activation, an expression or a callable"
        )
    _refuse(repr(specification), "a callable", (), parameters)
    return Activation.from_callable(specification, kinks=kinks)


def _refuse(subject: str, what: str, kinks: tuple[float, ...], parameters: Mapping[str, float]) -> None:
    """Raise `ActivationError` for arguments that would be dropped."""
    dropped = ", ".join([*(["kinks"] if kinks else []), *parameters])
    if dropped:
        raise ActivationError(subject, f"{what} takes no {dropped} here", f"leave {dropped} out")


def named(name: str, **parameters: float) -> Activation:
    """The catalogue's activation of this name; the same object for the same name and parameters while anybody holds it.

    Parameters at their defaults, written or not, mean one object.
    """
    row = _named(name, tuple(sorted(parameters.items())))
    return _LIVING.setdefault((row.name, tuple(sorted(row.parameters.items()))), row)


_LIVING: WeakValueDictionary[tuple[str, tuple[tuple[str, float], ...]], Activation] = WeakValueDictionary()


@lru_cache(maxsize=256)
def _named(name: str, parameters: tuple[tuple[str, float], ...]) -> Activation:
    known = _ALIASES.get(name, name)
    if known not in _CATALOGUE:
        near = difflib.get_close_matches(name, [*_CATALOGUE, *_ALIASES], n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(near)}?" if near else f"choose one of {', '.join(CATALOGUE)}"
        raise ActivationError(name or "activation", "no activation has this name", hint)
    for key, value in parameters:
        if not isinstance(value, (int, float)) or not math.isfinite(value):
            raise ActivationError(name, f"{key} must be a finite number, not {value!r}", "give a finite number")
    try:
        return _CATALOGUE[known](**dict(parameters))
    except TypeError:
        allowed = ", ".join(_CATALOGUE[known]().parameters) or "none"
        given = ", ".join(key for key, _ in parameters)
        raise ActivationError(name, f"it does not take the parameters {given}", f"its parameters: {allowed}") from None
