"""What a function of the user must do: act elementwise, on arrays, with real and finite values."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from qcmap.activations._activation import Array, Function
from qcmap.activations._search import undeclared_kinks
from qcmap.errors import ActivationError

SEARCH = (-20.0, 20.0)
"""Where kinks are searched for unless told: twice the range of the Gaussian integrals at q = 1."""
MISTAKES = (ArithmeticError, AttributeError, LookupError, NameError, StopIteration, TypeError, ValueError)
"""What calling somebody's function, or reading their formula, may raise."""
PROBE = np.array([[-3.7, -1.3, -0.41], [0.37, 1.1, 2.9]])


@dataclass(frozen=True, eq=False)
class Real:
    """The callable with its result converted to float64, refused if it is complex or its shape is wrong."""

    function: Callable[..., Any]
    name: str
    what: str

    def __call__(self, u: Array) -> Array:
        try:
            with np.errstate(all="ignore"):
                result = np.asarray(self.function(u))
            if np.iscomplexobj(result):
                raise ActivationError(self.name, f"{self.what} has complex values", "give a real function")
            result = result.astype(np.float64)
        except MISTAKES as error:
            raise ActivationError(
                self.name, f"{self.what} cannot be evaluated on an array ({error})", "write it with numpy functions"
            ) from error
        if result.shape != u.shape:
            raise ActivationError(
                self.name,
                f"{self.what} returns shape {result.shape} for an argument of shape {u.shape}",
                "make it act elementwise",
            )
        return result


@dataclass(frozen=True, eq=False)
class Checked(Real):
    """`Real`, refused besides where it is not finite."""

    def __post_init__(self) -> None:
        self(PROBE)

    def __call__(self, u: Array) -> Array:
        result = super().__call__(u)
        if not np.isfinite(result).all():
            where = u[~np.isfinite(result)].flat[0]
            what = f"{self.what} is not finite at u = {where:.6g}"
            raise ActivationError(self.name, what, "give a function that is finite in float64 there")
        return result


def refuse_undeclared_kinks(
    function: Function,
    declared: tuple[float, ...],
    search: tuple[float, float] | None,
    length: float,
    name: str,
    remedy: Callable[[str], str],
) -> None:
    """Raise `ActivationError` that names the kinks found in the interval ``search`` and not declared.

    ``remedy`` makes the last part of the message from the list of all kinks.
    """
    if search is None:
        return
    try:
        low, high = (float(end) for end in search)
    except (TypeError, ValueError):
        low, high = 0.0, 0.0
    if not (low < high and np.isfinite([low, high]).all()):
        raise ActivationError(
            name, f"the interval to search must be two finite numbers in order, not {search!r}", "give (-20, 20)"
        )
    found = [_simple(at) for at in undeclared_kinks(function, declared, (low, high), length, name)]
    if not found:
        return
    for at in found:
        close = [kink for kink in declared if abs(kink - at) < 1e-5 * max(1.0, abs(at))]
        if close:
            raise ActivationError(
                name,
                f"it is not analytic next to its declared kink u = {close[0]!r}, near u = {at:.12g}",
                "declare the kink exactly, and give pieces that are analytic up to it",
            )
    listed = ", ".join(f"{at:.12g}" for at in found[:6]) + (f" and {len(found) - 6} more" if len(found) > 6 else "")
    what = (
        f"it has a kink at u = {listed}, which was" if len(found) == 1 else f"it has kinks at u = {listed}, which were"
    )
    every = ", ".join(f"{at:.12g}" for at in sorted([*declared, *found]))
    more = "," if len(declared) + len(found) == 1 else ""
    raise ActivationError(name, f"{what} not declared", remedy(f"({every}{more})"))


def _simple(at: float) -> float:
    """The shortest decimal number within what the search knows of a place, at most four digits; else the place."""
    return next((round(at, digits) + 0.0 for digits in range(5) if abs(round(at, digits) - at) < 1e-7), at)
