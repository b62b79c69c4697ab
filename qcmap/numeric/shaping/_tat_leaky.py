"""Leaky ReLUs whose largest C_f(0) over subnetworks is given (Zhang, Botev and Martens, 2022).

With phi_hat(u) = sqrt(2 / (1 + a^2)) (max(u, 0) + a min(u, 0)), Q(q) = q, so Q(1) = Q'(1) = 1, and from the arc-cosine
kernel of order 1 (x+ = max(x, 0), theta = arccos c)

    C(c) = c + lambda / pi (sqrt(1 - c^2) - c theta),    lambda = (1 - a)^2 / (1 + a^2):

E x+ y+ = J / (2 pi) with J = sin theta + (pi - theta) c, and E x+ y- = (c - J / pi) / 2, so the bracket
phi phi gives (1 + a^2) J / (2 pi) + a (c - J / pi) = (1 - a)^2 J / (2 pi) + a c; multiply by 2 / (1 + a^2).
C'(1) = 1 and C(0) = lambda / pi. C grows with lambda at every c < 1, so the largest C_f(0) does, and one lambda in
(0, 2] gives each value: a in [-1, 1), with relu at lambda = 1 and the absolute value at 2.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from qcmap.activations import Activation, activation
from qcmap.architecture import Architecture
from qcmap.errors import Infeasible
from qcmap.numeric.maps._shaping import Solution
from qcmap.numeric.maps._transform import Transform
from qcmap.numeric.shaping._provable import c0_out_of_reach
from qcmap.symbolic import maximal_c0

LocalMap = Callable[[float], float]

_LARGEST = 2.0


def leaky_map(share: float) -> LocalMap:
    """The C map of the leaky relu with this lambda, for c in [-1, 1]."""

    def local(c: float) -> float:
        c = min(max(c, -1.0), 1.0)
        return c + share / math.pi * (math.sqrt((1 - c) * (1 + c)) - c * math.acos(c))

    return local


def slope_of(share: float) -> float:
    """The slope a in [-1, 1] with (1 - a)^2 / (1 + a^2) = ``share``, solved without cancellation."""
    return (1 - share) / (1 + math.sqrt(share * (2 - share)))


def shaped_leaky(share: float, name: str = "leaky_relu") -> Solution:
    """The solution with this lambda: Q(1) = Q'(1) = C'(1) = 1 and C(0) = lambda / pi."""
    slope = slope_of(share)
    transform = Transform(activation(name, negative_slope=slope), output_scale=math.sqrt(2 / (1 + slope**2)))
    return Solution(transform, {"Q(1)": 1.0, "Q'(1)": 1.0, "C(0)": share / math.pi, "C'(1)": 1.0})


def share_for(arch: Architecture, eta: float, leaky: Mapping[str, Activation], others: Mapping[str, LocalMap]) -> float:
    """The lambda at which the largest C_f(0) is ``eta``, the maps of the other activations being given.

    Raises
    ------
    Infeasible
        If eta is outside what lambda in (0, 2] reaches; or an activation has no slope to choose (relu, identity).
    """
    from scipy.optimize import brentq

    largest = maximal_c0(arch)

    def value(share: float) -> float:
        return largest({**others, **dict.fromkeys(leaky, leaky_map(share))})

    # With several functions the proof would have to take the others' maps as they are in floats.
    prove = c0_out_of_reach(arch, eta, next(iter(leaky.values()))) if len(leaky) == 1 and not others else None
    for name, act in leaky.items():
        if not act.free_slope:
            assert act.two_slopes is not None
            left, right = act.two_slopes
            own = value((right - left) ** 2 / (left**2 + right**2))
            if left == right:
                raise Infeasible(
                    name,
                    f"it is linear, so its C map is the identity, and no eta = {eta:.10g} holds",
                    "use a nonlinear activation, such as leaky_relu",
                    condition="C(0)",
                    achievable=((own, own),),
                    prove=prove,
                )
            raise Infeasible(
                name,
                f"it has no slope to choose, so the largest C_f(0) is {own:.10g} and not eta = {eta:.10g}",
                "use leaky_relu, which tailored transformations put in its place",
                condition="C(0)",
                achievable=((own, own),),
                prove=prove,
            )
    least, most = value(0.0), value(_LARGEST)
    if not least < eta <= most:
        raise Infeasible(
            next(iter(leaky)),
            f"no negative slope in [-1, 1) makes the largest C_f(0) {eta:.10g}: it lies in ({least:.10g}, {most:.10g}]",
            "choose eta there",
            condition="C(0)",
            achievable=((least, most),),
            prove=prove,
        )
    find: Any = brentq
    return float(find(lambda share: value(share) - eta, 0.0, _LARGEST, xtol=1e-16, rtol=9e-16))
