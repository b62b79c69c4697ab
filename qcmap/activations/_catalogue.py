"""The activation that a name, an expression or a callable means."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any, cast
from weakref import WeakValueDictionary

from qcmap.activations._activation import Activation
from qcmap.activations._rows import ALIASES, FIXED, WITH_PARAMETERS
from qcmap.errors import ActivationError

if TYPE_CHECKING:
    import sympy


def _constant(row: Activation) -> Callable[[], Activation]:
    return lambda: row


_CATALOGUE: dict[str, Callable[..., Activation]] = {row.name: _constant(row) for row in FIXED} | WITH_PARAMETERS

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
    known = ALIASES.get(name, name)
    if known not in _CATALOGUE:
        near = difflib.get_close_matches(name, [*_CATALOGUE, *ALIASES], n=3, cutoff=0.5)
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
