"""The dynamics of c and q values under repeated composition: from a layer, a network or a C map (DKS, section 12)."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from qcmap.activations import Activation, activation
from qcmap.architecture import Architecture, Nonlinear
from qcmap.errors import ArgumentError, NumericalError
from qcmap.numeric.asymptotics._checked import one_q
from qcmap.numeric.asymptotics._composition import EDGE, Dynamics, Kind
from qcmap.numeric.asymptotics._fixed_points import QFixedPoints, fixed_q, q_fixed_points
from qcmap.numeric.asymptotics._iterates import Iterates
from qcmap.numeric.maps._arguments import numbers
from qcmap.numeric.maps._local import LocalMaps, local_maps

if TYPE_CHECKING:
    from qcmap.numeric.maps._network import NetworkMaps
    from qcmap.numeric.maps._shaping import Shaping

Array = NDArray[np.float64]
CMapAndSlope = tuple[Callable[[Array], Array], Callable[[Array], Array]]
Source = LocalMaps | Architecture | Activation | str | CMapAndSlope

_NETWORK_GRID = 33


def dynamics(
    source: Source,
    *,
    shaping: Shaping | None = None,
    q: float | None = None,
    q_range: tuple[float, float] = (1e-4, 1e4),
) -> Dynamics:
    """What composing a C map with itself does to c values: fixed point, class, rates, depth scale.

    Parameters
    ----------
    source
        `LocalMaps`, an activation or its name (a layer), an `Architecture` (its extended C map is one step), or a pair
        of functions of arrays of c in [-1, 1]: a C map and its derivative.
    shaping
        Of an architecture, as for `network_maps`.
    q
        The input q value at which C is taken, for both inputs. By default a fixed point of the Q map: 1 if that is one
        and does not repel; else the attracting one nearest to it, or a neutral one. 1, too, for an activation that is
        homogeneous, whose C map does not depend on q.
    q_range
        Where fixed points of the Q map are searched; see `q_fixed_points`.

    Raises
    ------
    NumericalError
        If no q is given and the Q map has no fixed point to use, or the C map is not resolved by 4,097 nodes.
    ArgumentError
        For a q that is not positive, a shaping without an architecture, or functions that are not a C map and its
        slope.
    """
    if isinstance(source, Architecture):
        from qcmap.numeric.maps._network import network_maps

        maps = network_maps(source, shaping)
        return _of_maps(maps, source.name, q, lambda: q_fixed_points(maps.q, maps.dq, q_range, _NETWORK_GRID))
    if shaping is not None:
        raise ArgumentError("shaping", "it belongs to an architecture", "give local_maps(act, shaping[...]) instead")
    if isinstance(source, tuple):
        if len(source) != 2 or not all(map(callable, source)):
            raise ArgumentError("source", f"a C map is a pair of functions, not {source!r}", "give C and C'")
        value, derivative = (_numeric(function) for function in source)
        return _classified("C", value, derivative, None)
    local = source if isinstance(source, LocalMaps) else local_maps(activation(source))
    act = local.transform.activation
    plain = local.transform.input_shift == 0 and local.transform.output_shift == 0
    if q is None and plain and act.homogeneity is not None:
        q = 1.0
    return _of_maps(local, act.name, q, lambda: q_fixed_points(local.q, local.dq, q_range))


def _of_maps(maps: LocalMaps | NetworkMaps, name: str, q: float | None, search: Callable[[], QFixedPoints]) -> Dynamics:
    search, kinked = cache(search), _kinked(maps)
    if q is None:
        kept = abs(float(maps.q(1.0)) - 1) <= 1e-9 and abs(float(maps.dq(1.0))) <= 1 + 1e-7
        q = 1.0 if kept else fixed_q(search(), name)
    at = one_q(q)
    return _classified(
        name, lambda c: maps.c(c, at, at), lambda c: maps.dc(c, at, at),
        lambda: math.inf if kinked else float(maps.dc(1.0, at, at, order=2)), at, float(maps.dq(at)), search,
    )  # fmt: skip


def _kinked(maps: LocalMaps | NetworkMaps) -> bool:
    """Whether phi' of some activation below the target jumps, which makes C''(1) infinite."""
    if isinstance(maps, LocalMaps):
        return any(kink.slope != 0 for kink in maps.transform.activation.kinks)
    arch = maps.architecture
    below, names = {maps.target}, [maps.target]
    while names:
        new = [name for name in arch[names.pop()].inputs if name not in below]
        below.update(new)
        names += new
    return any(_kinked(maps.local(name)) for name in below if isinstance(arch[name].op, Nonlinear))


def _numeric(function: Callable[[Array], Array]) -> Callable[[Array], Array]:
    """A function given by the caller, whose values have to be finite numbers, one for each c."""

    def checked(c: Array) -> Array:
        values = numbers("C", function(c))
        if values.shape != c.shape or not np.isfinite(values).all():
            what = f"for c of shape {c.shape} it has values of shape {values.shape}, or not all finite"
            raise ArgumentError("C", what, "give functions of arrays")
        return values

    return checked


def _classified(
    name: str,
    value: Callable[[Array], Array],
    derivative: Callable[[Array], Array],
    second: Callable[[], float] | None,
    q: float | None = None,
    q_slope: float | None = None,
    search: Callable[[], QFixedPoints] | None = None,
) -> Dynamics:
    runs = Iterates(value, derivative, name)
    # Chord slopes at c = 0 and -1 give C(0) and C(-1).
    zero, minus = (1 - float(runs.step(np.array([e]))[0]) for e in (1.0, 2.0))
    if zero < -1e-9 or zero > 1 + 1e-9:
        raise ArgumentError(name, f"a C map has C(0) in [0, 1], not {zero:.6g}", "check the function")
    # What the interpolant of C' leaves out, and the rounding of maps of many layers, is no C(0).
    noise = 4 * runs.slope.error
    zero = 0.0 if abs(zero) < max(1e-14, noise) else min(zero, 1.0)
    slope_zero, slope_one = (float(derivative(np.array([c]))[0]) for c in (0.0, 1.0))
    rest = 1 - zero - slope_zero
    if rest < -1e-8 or slope_zero < -1e-8 or slope_one < 1 - zero - 1e-8:
        raise ArgumentError(
            name, "C(0) + C'(0) <= 1, C'(0) >= 0 and C'(1) >= 1 - C(0) hold for a C map, but not here",
            "check the functions; q values have to be uniform",
        )  # fmt: skip
    kind, point, at_point = _kind(runs, zero, rest, slope_one)
    parity: Literal["odd", "even"] | None = None
    if abs(minus + 1) < max(1e-12, noise):
        parity = "odd"
    elif abs(minus - 1) < max(1e-12, noise):
        parity = "even"
    return Dynamics(
        name=name, kind=kind, fixed_point=point, value_at_zero=zero, slope_at_zero=max(slope_zero, 0.0),
        slope_at_one=slope_one, slope_at_fixed_point=at_point, parity=parity, q=q, q_slope=q_slope,
        _iterates=runs, _second=second, _search=search,
    )  # fmt: skip


def _kind(runs: Iterates, zero: float, rest: float, slope_one: float) -> tuple[Kind, float, float]:
    """The class, c* and C'(c*). ``rest`` is what the coefficients of c^2, c^3, ... add up to."""
    if rest < 1e-12:
        if zero < 1e-12:
            return "identity", 1.0, 1.0
        return ("constant", 1.0, 0.0) if zero > 1 - 1e-12 else ("affine", 1.0, slope_one)
    if abs(slope_one - 1) <= EDGE:
        return "edge", 1.0, 1.0
    if slope_one < 1:
        return "collapsing", 1.0, slope_one
    if zero == 0:
        angle = math.pi / 2
    else:
        # The chord slope falls from C'(1) > 1 at theta = 0 to 1 - C(0) < 1 at pi/2; it is 1 where C(c) = c.
        low, angle = 0.0, math.pi / 2
        for _ in range(200):
            middle = (low + angle) / 2
            if middle in (low, angle):
                break
            if runs.chord(np.array([middle]))[0] > 1:
                low = middle
            else:
                angle = middle
    slope = max(float(runs.slope(np.array([angle]))[0]), 0.0)
    if not slope < 1:
        raise NumericalError(
            "C'(1)", f"it is {slope_one!r}, so near 1 that rounding hides the fixed point", "use a larger zeta or psi"
        )
    return "exploding", math.cos(angle) if zero else 0.0, slope
