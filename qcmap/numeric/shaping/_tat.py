"""Tailored activation transformations: C'(1) = 1 everywhere, and one more quantity bounded over all subnetworks.

(Zhang, Botev and Martens, 2022; docs/tailored.md has the derivations.)
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from qcmap.activations import Activation
from qcmap.architecture import Affine, Algebra, Architecture, LayerNorm, Node, Nonlinear, Scale
from qcmap.architecture._ops import OPS
from qcmap.errors import ArchitectureError, ArgumentError, Infeasible
from qcmap.numeric.maps._arguments import is_number
from qcmap.numeric.maps._local import local_maps
from qcmap.numeric.maps._shaping import Shaping, Solution
from qcmap.numeric.maps._transform import Transform
from qcmap.numeric.shaping._checked import accepted, activations_of, checked_activation
from qcmap.numeric.shaping._infeasible import infeasible
from qcmap.numeric.shaping._provable import curvature_out_of_reach
from qcmap.numeric.shaping._solutions import STANDARD_BOX, WIDE_BOX, solutions_of
from qcmap.numeric.shaping._systems import TAT
from qcmap.numeric.shaping._tat_leaky import LocalMap, shaped_leaky, share_for
from qcmap.symbolic import maximal_curvature

_TAU, _ETA = 0.3, 0.9
_SMALLEST_CURVATURE = 2e-7


def solve_curvature(act: Activation, kappa: float) -> Solution:
    """The transform of ``act`` with Q(1) = Q'(1) = C'(1) = 1 and C''(1) = kappa.

    With f = phi(a x + b), g = phi'(a x + b), v = Var f and C = a^2 E[g^2] / v - 1 >= 0, the conditions on Q(1), C'(1)
    and C''(1) give output_scale = 1 / (a sqrt E[g^2]), output_shift = s sqrt(v C) - E f with a sign s, and leave two
    equations in (a, b), which `_systems` has. The canonical solution of all those found is returned.

    Raises
    ------
    ArgumentError
        Unless kappa is a finite number of at least 2e-7 (below, C drowns in the rounding of phi).
    ActivationError
        If phi'' is not known.
    Infeasible
        If phi' jumps, which makes C''(1) infinite, or if there is no solution in the searched box.
    NumericalError
        If a residual exceeds 1e-10.
    """
    checked_activation(act)
    if not (is_number(kappa) and kappa >= _SMALLEST_CURVATURE):
        raise ArgumentError(
            "kappa", f"C''(1) must be a finite number of at least {_SMALLEST_CURVATURE:g}, but it is {kappa!r}",
            "use a larger tau",
        )  # fmt: skip
    refuse_corners(act, kappa)
    for box in (STANDARD_BOX, WIDE_BOX):
        found = solutions_of(TAT, act, kappa, box)
        if found:
            first, *rest = found
            shift = first.sign * math.sqrt(first.variance * first.excess) - first.mean
            scale = 1 / math.sqrt(first.variance * (1 + first.excess))
            transform = Transform(act, first.input_scale, first.input_shift, shift, scale)
            others = tuple((root.input_scale, root.input_shift) for root in rest)
            targets = {"Q(1)": 1.0, "Q'(1)": 1.0, "C'(1)": 1.0, "C''(1)": float(kappa)}
            return accepted(Solution(transform, targets, others, str(box)), "a larger tau")
    raise infeasible(act, kappa, TAT)


def refuse_corners(act: Activation, kappa: float) -> None:
    """Raise `Infeasible` if phi or phi' jumps, so that C''(1) is infinite under every transform and not ``kappa``."""
    for kink in act.kinks:
        if kink.value or kink.slope:
            what = f"its slope jumps by {kink.slope:.6g}" if kink.slope else f"it jumps by {kink.value:.6g}"
            raise Infeasible(
                act.name,
                f"{what} at u = {kink.at:.6g}, so C''(1) is infinite under every transform",
                "use an activation with a continuous slope, such as softplus or elu, or leaky_relu with eta",
                condition="C''(1)",
                achievable=(),
                prove=curvature_out_of_reach(act, kappa),
            )


def tat(arch: Architecture, *, tau: float | None = None, eta: float | None = None) -> Shaping:
    """The constants of tailored activation transformations (Zhang, Botev and Martens, 2022).

    Activations with a continuous slope get Q(1) = Q'(1) = C'(1) = 1 and C''(1) = kappa such that the largest C_f''(1)
    over subnetworks f is ``tau``. Leaky relus get Q(1) = Q'(1) = C'(1) = 1 and the negative slope with which the
    largest C_f(0) is ``eta``.

    Parameters
    ----------
    arch
        An architecture with normalized sums and without scalar multipliers.
    tau
        The bound for activations with a continuous slope, above 0; 0.3 if neither bound is given.
    eta
        The bound for leaky relus, between 0 and 1; 0.9 if neither bound is given.

    Raises
    ------
    ArgumentError
        If a bound is out of range, is given for activations that the architecture does not use, or is missing while
        the other one is given and both kinds are used.
    ArchitectureError
        If the architecture breaks a rule of `qcmap.check` with severity "error", has no nonlinear layer, or has a layer
        norm that reads activations by no affine layer: their channel means are not 0, since C(0) > 0, and the norm
        would change the C map.
    ActivationError
        For an activation that is not known; the message names the node.
    Infeasible
        If an activation has no solution: relu (which has no slope to choose), a smooth activation for which the
        curvature is out of reach, one whose slope jumps.

    Notes
    -----
    In a network with both kinds, ``tau`` bounds the curvature that the smooth layers add (C_f''(1) itself is infinite
    through a leaky relu), and ``eta`` bounds C_f(0) with all layers as they are after shaping.
    """
    activations = activations_of(arch)
    _refuse_norms_of_means(arch)
    leaky = {name: act for name, act in activations.items() if act.two_slopes is not None}
    smooth = {name: act for name, act in activations.items() if name not in leaky}
    tau, eta = _bounds(arch, tau, eta, smooth, leaky)
    solutions: dict[str, Solution] = {}
    if tau is not None:
        curved = maximal_curvature(_without(arch, leaky) if leaky else arch)
        kappa = curved.inverse(tau)
        solutions.update((name, solve_curvature(act, kappa)) for name, act in smooth.items())
    if eta is not None:
        share = share_for(arch, eta, leaky, {name: _interpolated(found) for name, found in solutions.items()})
        solutions.update((name, accepted(shaped_leaky(share), "another eta")) for name in leaky)
    return Shaping(arch, "tat", {name: solutions[name] for name in activations}, tau=tau, eta=eta)


def _centred(node: Node) -> bool:
    return isinstance(node.op, LayerNorm) and node.op.centre


def _refuse_norms_of_means(arch: Architecture) -> None:
    """Raise `ArchitectureError` for a layer norm of what has a nonzero channel mean under tailored transformations.

    An affine layer's output and a layer norm's have mean 0; an activation's has the mean sqrt(C(0)) in absolute value.
    A layer norm maps c to (c - C(0)) / (1 - C(0)), with slope 1 / (1 - C(0)) > 1, where the bounds take it as the
    identity. (Under Deep Kernel Shaping C(0) = 0.)
    """
    if not any(isinstance(node.op, LayerNorm) for node in arch.nodes):
        return

    def passed(node: Node, values: list[str | None]) -> str | None:
        return next((value for value in values if value is not None), None)

    rules = {
        **dict.fromkeys(OPS.values(), passed),
        Nonlinear: lambda node, values: node.id,
        Affine: lambda node, values: None,
        LayerNorm: lambda node, values: None if _centred(node) else values[0],
    }
    means = arch.fold(Algebra("nonzero channel means", rules))
    for node in arch.nodes:
        origin = means[node.inputs[0]] if _centred(node) else None
        if origin is not None:
            raise ArchitectureError(
                node.id,
                f"this layer norm reads the activation {origin!r} by no affine layer; a tailored activation has "
                "C(0) > 0 and so a channel mean, which the norm takes out: it would change the C map",
                "put an affine layer before the layer norm, or use dks, where C(0) = 0",
            )


def _bounds(
    arch: Architecture,
    tau: float | None,
    eta: float | None,
    smooth: Mapping[str, Activation],
    leaky: Mapping[str, Activation],
) -> tuple[float | None, float | None]:
    """Both bounds, checked; a bound is None where no activation needs it."""
    if not (smooth or leaky):
        raise ArchitectureError(arch.name, "it has no nonlinear layer, so there is nothing to shape", "add one")
    for name, value, users, other, what in (
        ("tau", tau, smooth, "eta", "with a continuous slope"),
        ("eta", eta, leaky, "tau", "linear on either side of zero"),
    ):
        if value is not None and not users:
            raise ArgumentError(name, f"{arch.name} uses no activation {what}", f"give {other}")
    for name, value, users in (("tau", tau, smooth), ("eta", eta, leaky)):
        if value is None and users and (tau is not None or eta is not None):
            raise ArgumentError(name, f"{arch.name} uses {', '.join(users)}, which needs it", f"give {name} too")
    if tau is None and smooth:
        tau = _TAU
    if eta is None and leaky:
        eta = _ETA
    if tau is not None and not (is_number(tau) and tau > 0):
        raise ArgumentError("tau", f"it must be a finite number above 0, not {tau!r}", "give such a number")
    if eta is not None and not (is_number(eta) and 0 < eta < 1):
        raise ArgumentError("eta", f"it must lie strictly between 0 and 1, not be {eta!r}", "give such a number")
    return None if tau is None else float(tau), None if eta is None else float(eta)


def _without(arch: Architecture, leaky: Mapping[str, Activation]) -> Architecture:
    """The architecture with leaky relus made transparent."""
    nodes = tuple(
        replace(node, op=Scale(1.0)) if isinstance(node.op, Nonlinear) and node.op.name in leaky else node
        for node in arch.nodes
    )
    return Architecture(arch.name, nodes, arch.outputs)


def _interpolated(solution: Solution) -> LocalMap:
    """The C map on [0, 1] of a shaped activation, as a Chebyshev series in theta = arccos c."""
    count = 40
    nodes = np.cos(math.pi * (np.arange(count) + 0.5) / count)
    cosines = np.cos(math.pi / 4 * (nodes + 1))
    values = local_maps(solution.transform.activation, solution.transform).c(cosines)
    series = np.polynomial.chebyshev.chebfit(nodes, values, count - 1)

    def local(c: float) -> float:
        position = 4 / math.pi * math.acos(min(max(c, 0.0), 1.0)) - 1
        return min(max(float(np.polynomial.chebyshev.chebval(position, series)), 0.0), 1.0)

    return local
