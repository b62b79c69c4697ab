"""Each way to construct or initialize a network, as an architecture with its transforms."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from qcmap.activations import Activation
from qcmap.architecture import Affine, Architecture
from qcmap.errors import ArchitectureError, ArgumentError, Infeasible, NumericalError
from qcmap.numeric.maps._shaping import Shaping, Solution
from qcmap.numeric.maps._transform import Transform, refuse_jumps
from qcmap.numeric.methods._affine_variances import with_variances
from qcmap.numeric.methods._chaos import EdgeOfChaos, even, stability_of
from qcmap.numeric.methods._chaos_curve import finite_part
from qcmap.numeric.methods._chaos_search import edge_of_chaos
from qcmap.numeric.methods._initializations import CONDITIONS, initialization
from qcmap.numeric.methods._selu_like import selu_like
from qcmap.numeric.shaping._dks import QSlope, dks
from qcmap.numeric.shaping._tat import tat
from qcmap.symbolic import resolved


class Prepared(NamedTuple):
    """What a method makes of an architecture: its weight variances, its transforms, and what is worth telling."""

    architecture: Architecture
    shaping: Shaping | None = None
    note: str = ""


Options = Mapping[str, Any]


def prepare(arch: Architecture, method: str, options: Options) -> Prepared:
    """The architecture under a method; raises what the method raises, and `ArgumentError` for an unknown method."""
    if method not in METHODS:
        raise ArgumentError("methods", f"no method is called {method!r}", f"choose from {', '.join(METHODS)}")
    known = list(inspect.signature(METHODS[method]).parameters)[1:]
    for name in options:
        if name not in known:
            raise ArgumentError("options", f"{method} does not take {name!r}", f"it takes {', '.join(known) or 'none'}")
    return METHODS[method](arch, **options)


def _plain(arch: Architecture) -> Prepared:
    return Prepared(arch)


def _initializer(method: str) -> Callable[[Architecture], Prepared]:
    def prepared(arch: Architecture) -> Prepared:
        found = initialization(arch, method)
        return Prepared(found.architecture, note="" if found.keeps_q else "does not keep q = 1")

    return prepared


def nearest_edge(act: Activation, q: float = 1.0) -> EdgeOfChaos:
    """The point of the edge of chaos with q* nearest to q (by ratio, on a grid of 40 a decade) that does not repel.

    Raises `Infeasible` if there is none, `NumericalError` if the integrals are not resolved nearer to q than it.
    """
    refuse_jumps(act)
    transform = Transform(act)
    steps = np.arange(-240, 161 if act.oscillates else 241)
    grid = q * 10.0 ** (steps / 40)
    table = finite_part(transform, grid)
    missing = ~np.isin(grid, table.q_star)
    good = table.attainable & (np.abs(table.q_slope) <= 1 + even(transform))
    near = np.abs(np.log(table.q_star[good] / q)).min(initial=math.inf)
    lost = min(grid[missing], key=lambda value: abs(math.log(value / q)), default=None)
    if lost is not None and (missing.all() or abs(math.log(lost / q)) < near < math.inf):
        raise NumericalError(
            act.name, f"its moments are not finite or not resolved at q* = {lost:.6g}, so the fixed point nearest to "
            f"{q:g} is not known", "declare all its kinks, a smaller length, or give one of the variances",
        )  # fmt: skip
    if not good.any():
        raise Infeasible(
            act.name, "its edge of chaos has no fixed point that attracts" if table.attainable.any()
            else "it has no edge of chaos: C'(1) = 1 would need a negative bias variance at every fixed point",
            "use another activation, or edge_of_chaos with a variance of your choice",
            condition="bias_variance", achievable=(),
        )  # fmt: skip
    k = int(np.flatnonzero(good)[np.argmin(np.abs(np.log(table.q_star[good] / q)))])
    found, weight = float(table.q_star[k]), float(table.weight_variance[k])
    bias, slope = max(0.0, float(table.bias_variance[k])), float(table.q_slope[k])
    return EdgeOfChaos(transform, found, weight, bias, slope, stability_of(transform, found, weight, slope))


def _edge_of_chaos(
    arch: Architecture,
    weight_variance: float | None = None,
    bias_variance: float | None = None,
    q_range: tuple[float, float] | None = None,
) -> Prepared:
    activations = list(resolved(arch).values())
    if len(activations) != 1:
        raise ArchitectureError(
            arch.name, f"the edge of chaos is that of one activation, but it uses {len(activations)}",
            "use one activation throughout",
        )  # fmt: skip
    if weight_variance is None and bias_variance is None and q_range is None:
        edge = nearest_edge(activations[0])
    else:
        edge = edge_of_chaos(
            activations[0], weight_variance=weight_variance, bias_variance=bias_variance, q_range=q_range
        )
    note = f"weight variance {edge.weight_variance:.6g}, bias variance {edge.bias_variance:.6g}, q* = {edge.q_star:.4g}"
    return Prepared(edge.apply(arch), note=f"{note} ({edge.stability})")


def unit_weights(arch: Architecture) -> Architecture:
    """The architecture with weight variance 1 and no biases, as shaping assumes."""
    return with_variances(arch, {node.id: (1.0, 0.0) for node in arch.nodes if isinstance(node.op, Affine)})


def _selu(arch: Architecture, parameter: str | None = None) -> Prepared:
    made = {
        name: selu_like("elu" if name == "elu" else act, parameter=parameter) for name, act in resolved(arch).items()
    }
    targets = {"Q(1)": 1.0, "C(0)": 0.0}
    solutions = {name: Solution(found.transform, targets) for name, found in made.items()}
    arch = unit_weights(arch)
    reasons = [f"{name}: {found.reason}" for name, found in made.items() if found.reason]
    return Prepared(arch, Shaping(arch, "selu", solutions), "; ".join(reasons))


def _dks(
    arch: Architecture,
    zeta: float | None = None,
    psi: float | Mapping[str, float] | None = None,
    q_slope: QSlope = 1.0,
) -> Prepared:
    shaping = dks(unit_weights(arch), zeta, psi=psi, q_slope=q_slope)
    return Prepared(shaping.architecture, shaping, f"zeta = {shaping.zeta:.4g}")


def _tat(arch: Architecture, tau: float | None = None, eta: float | None = None) -> Prepared:
    linear = [act.two_slopes is not None for act in resolved(arch).values()]
    if linear and not all(linear) and any(linear):
        # tat has defaults for both bounds, or for none.
        tau, eta = 0.3 if tau is None else tau, 0.9 if eta is None else eta
    shaping = tat(unit_weights(arch), tau=tau, eta=eta)
    bounds = {"tau": shaping.tau, "eta": shaping.eta}
    note = ", ".join(f"{name} = {value:g}" for name, value in bounds.items() if value is not None)
    return Prepared(shaping.architecture, shaping, note)


METHODS: dict[str, Callable[..., Prepared]] = {
    "plain": _plain,
    **{method: _initializer(method) for method in CONDITIONS},
    "edge_of_chaos": _edge_of_chaos,
    "selu": _selu,
    "dks": _dks,
    "tat": _tat,
}
"""The methods by name."""
