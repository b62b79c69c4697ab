"""One call of scipy's solver for all flows, and checks of what goes into it and comes out of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from qcmap.architecture.gated._checks import check_count, checked_number
from qcmap.errors import ArgumentError, NumericalError

Array: TypeAlias = NDArray[np.float64]

_LEAST_RTOL = 1e-13
"""scipy raises smaller tolerances to 100 times the rounding error, and warns."""


def integrated(
    name: str, flow: Callable[[Array], Array], start: Array, times: Array, *, rtol: float, atol: float,
    dense: bool = False, until: Callable[[Array], float] | None = None,
) -> Any:  # fmt: skip
    """The solution of dx/dt = flow(x), x [variables], at the times, as `scipy.integrate.solve_ivp` gives it.

    It ends early where ``until`` falls to zero.

    Raises
    ------
    ArgumentError
        For tolerances that are not positive, or a relative one that rounding does not reach.
    NumericalError
        If the flow overflows at the start, or the integration fails.
    """
    from scipy.integrate import solve_ivp

    if not _LEAST_RTOL <= checked_number("rtol", rtol) < 1:
        raise ArgumentError("rtol", f"{rtol} is no relative tolerance", f"give a number from {_LEAST_RTOL:g} to 1")
    if not checked_number("atol", atol) > 0:
        raise ArgumentError("atol", f"it must be positive, not {atol}", "give e.g. 1e-12")
    with np.errstate(over="ignore", invalid="ignore"):
        check_overflow(name, "the flow at the start", flow(start))
        found = solve_ivp(
            lambda _, x: flow(x), (0.0, float(times[-1])), start, method="DOP853", t_eval=times, rtol=rtol, atol=atol,
            dense_output=dense, events=None if until is None else _terminal(until),
        )  # fmt: skip
    if not found.success:
        raise NumericalError(name, found.message, "give a shorter time, or a smaller start or smaller moments")
    return found


def _terminal(until: Callable[[Array], float]) -> Callable[[float, Array], float]:
    """An event of scipy's, at which the integration ends."""

    def event(_: float, x: Array) -> float:
        return until(x)

    vars(event).update(terminal=True, direction=-1)
    return event


def check_overflow(name: str, what: str, array: Array) -> None:
    """Raise `NumericalError` for an infinity or NaN among computed numbers."""
    if not np.isfinite(array).all():
        raise NumericalError(name, f"{what} overflows", "scale the weights or data")


def checked_times(times: Sequence[float] | Array) -> Array:
    """Times as an array; raises `ArgumentError` unless they begin with 0 and grow."""
    try:
        grid = np.asarray(times, dtype=float)
    except (TypeError, ValueError):
        grid = np.empty(0)
    if grid.ndim != 1 or len(grid) < 2 or grid[0] != 0 or not (np.diff(grid) > 0).all() or not np.isfinite(grid[-1]):
        raise ArgumentError("times", "they are not 0 and then growing", "give e.g. numpy.linspace(0, 10, 101)")
    return grid


def check_descent(rate: float, steps: int) -> None:
    """Raise `ArgumentError` unless the rate is a positive number and the steps a positive integer."""
    if not checked_number("rate", rate) > 0:
        raise ArgumentError("rate", f"it must be positive, not {rate}", "give a positive number")
    check_count("steps", steps)
