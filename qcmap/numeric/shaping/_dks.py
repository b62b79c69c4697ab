"""Deep Kernel Shaping: from an architecture and a global slope bound to the constants of every activation."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Literal, TypeAlias

from qcmap.activations import Activation
from qcmap.architecture import Architecture, Nonlinear
from qcmap.errors import ArchitectureError, ArgumentError, Infeasible
from qcmap.numeric.maps._arguments import is_number
from qcmap.numeric.maps._shaping import Shaping, Solution
from qcmap.numeric.maps._transform import Transform
from qcmap.numeric.shaping._checked import accepted, activations_of, checked_activation
from qcmap.numeric.shaping._homogeneous import two_sided, with_two_slopes
from qcmap.numeric.shaping._infeasible import infeasible
from qcmap.numeric.shaping._local_slopes import largest_slope, slopes_by_node
from qcmap.numeric.shaping._options import dropped, minimised, unit_q_solution
from qcmap.numeric.shaping._solutions import STANDARD_BOX, WIDE_BOX, solutions_of
from qcmap.numeric.shaping._systems import DKS
from qcmap.symbolic import maximal_slope

QSlope: TypeAlias = float | Literal["minimise"] | None
"""The target of Q'(1), "minimise", or None to drop the condition."""

_SMALLEST_EXCESS = 0.99e-7


def solve(act: Activation, psi: float, q_slope: QSlope = 1.0) -> Solution:
    """The transform of ``act`` with Q(1) = 1, Q'(1) = 1, C(0) = 0 and C'(1) = psi (DKS, sections 17.3 and 18.4).

    Functions that are linear on either side of zero are solved in closed form up to one scalar root: without the
    condition on Q'(1), or with the negative slope as the fourth unknown (leaky relu).

    Parameters
    ----------
    act, psi
        The activation and the target of C'(1).
    q_slope
        The target of Q'(1); None or "minimise" as for `dks`.

    Raises
    ------
    ArgumentError
        Unless ``act`` is an `Activation`, psi is a finite number above 1 + 1e-7 (below, C'(1) - 1 drowns in
        the rounding of phi) and q_slope is a finite number, None or "minimise".
    Infeasible
        If there is no solution in the searched box; the error has the intervals that can be reached.
    NumericalError
        If a residual exceeds 1e-10.
    """
    checked_activation(act)
    if not (is_number(psi) and psi - 1 > _SMALLEST_EXCESS):
        raise ArgumentError(
            "psi",
            f"C'(1) must be a finite number above 1 + {_SMALLEST_EXCESS:g}, but psi is {psi!r}",
            "use a larger zeta",
        )
    _check_slope(q_slope)
    if (known := with_two_slopes(act)).two_slopes is not None:
        solution = two_sided(known, psi, q_slope)
        if known is not act:
            solution = replace(solution, transform=replace(solution.transform, activation=act))
    elif q_slope is None or (q_slope == "minimise" and act.homogeneity is not None):
        # With two conditions left for a positively homogeneous function, Q'(1) is what the other ones make it.
        solution = dropped(act, psi)
    elif isinstance(q_slope, str):
        solution = minimised(act, psi)
    else:
        solution = _searched(act, psi, float(q_slope))
    return accepted(solution, "a larger zeta")


def _check_slope(q_slope: QSlope) -> None:
    if not (is_number(q_slope) or q_slope is None or (isinstance(q_slope, str) and q_slope == "minimise")):
        raise ArgumentError(
            "q_slope", f"it is the target of Q'(1), None or 'minimise', not {q_slope!r}", "give one of these"
        )


def _searched(act: Activation, psi: float, q_slope: float) -> Solution:
    for box in (STANDARD_BOX, WIDE_BOX):
        found = solutions_of(DKS, act, psi - 1, box, (q_slope - 1) / (psi - 1))
        if found:
            first, *rest = found
            transform = Transform(act, first.input_scale, first.input_shift, -first.mean, 1 / math.sqrt(first.variance))
            others = tuple((root.input_scale, root.input_shift) for root in rest)
            targets = {"Q(1)": 1.0, "Q'(1)": q_slope, "C(0)": 0.0, "C'(1)": psi}
            return Solution(transform, targets, others, str(box))
    if act.homogeneity is not None:
        # Two conditions are left for what is one family but for its scale: Q'(1) may hold by itself.
        with suppress(Infeasible):
            other = dropped(act, psi)
            if abs(other.q_slope - q_slope) <= 1e-12:
                return replace(other, targets={**other.targets, "Q'(1)": q_slope})
    raise infeasible(act, psi, DKS, q_slope)


def dks(
    arch: Architecture,
    zeta: float | None = None,
    *,
    psi: float | Mapping[str, float] | None = None,
    q_slope: QSlope = 1.0,
) -> Shaping:
    """The constants of Deep Kernel Shaping (DKS, sections 17, 18 and 21).

    Parameters
    ----------
    arch
        An architecture with normalized sums and without scalar multipliers.
    zeta
        The global slope bound: the largest C_f'(1) over all subnetworks f. 1.5 if neither it nor psi is given.
    psi
        C'(1) of every nonlinear layer, instead of zeta; zeta is then mu(psi). Or a mapping from activation names or
        node ids to such numbers, a node's own coming first; zeta is then the largest product of them that a subnetwork
        has (section 21.3).
    q_slope
        What becomes of the condition on Q'(1). A number is its target. None drops it (appendix N.3): input_shift is 0,
        or input_scale the unknown at input_shift 1 for positively homogeneous functions, and leaky relu keeps its
        slope. "minimise" takes the smallest Q'(1) in the searched box (appendix N.4). The number 1 is dropped for
        positively homogeneous functions without a slope to choose (section 18.6).

    Raises
    ------
    ArgumentError
        If zeta or psi is not a finite number above 1, both are given, a layer has no psi, or q_slope is none of these.
    ArchitectureError
        If the architecture breaks a rule of `qcmap.check` with severity "error", or has no nonlinear layer.
    ActivationError
        For an activation that is not known; the message names the node.
    Infeasible
        If an activation has no solution.

    See Also
    --------
    unit_q : Q(1) = 1 alone, by the output scale (appendix N.2).
    """
    if zeta is not None and psi is not None:
        raise ArgumentError("psi", "psi and zeta were both given", "give one of them")
    activations = activations_of(arch)
    if isinstance(psi, Mapping):
        return _by_node(arch, activations, slopes_by_node(arch, psi), q_slope)
    mu = maximal_slope(arch)
    if psi is None:
        zeta = 1.5 if zeta is None else zeta
        psi = mu.inverse(zeta)
    else:
        if not is_number(psi):
            raise ArgumentError("psi", f"it must be a number or a mapping, not {psi!r}", "give a number above 1")
        zeta = float(mu(psi))
    return Shaping(arch, "dks", {name: solve(act, psi, q_slope) for name, act in activations.items()}, psi, zeta)


def _by_node(
    arch: Architecture, activations: Mapping[str, Activation], slopes: Mapping[str, float], q_slope: QSlope
) -> Shaping:
    """The shaping with C'(1) given for each node; an activation with one value everywhere is solved once, by name."""
    zeta = largest_slope(arch, slopes)
    nodes: dict[str, list[str]] = {name: [] for name in activations}
    for node in arch.nodes:
        if isinstance(node.op, Nonlinear):
            nodes[node.op.name].append(node.id)
    solutions: dict[str, Solution] = {}
    own: dict[str, Solution] = {}
    for name, act in activations.items():
        solved = {psi: solve(act, psi, q_slope) for psi in sorted({slopes[node] for node in nodes[name]})}
        if len(solved) == 1:
            solutions[name] = next(iter(solved.values()))
        else:
            own.update((node, solved[slopes[node]]) for node in nodes[name])
    distinct = set(slopes.values())
    return Shaping(arch, "dks", solutions, distinct.pop() if len(distinct) == 1 else None, zeta, by_node=own)


def unit_q(arch: Architecture) -> Shaping:
    """Only Q(1) = 1 for every nonlinear layer, by its output scale alone (DKS, appendix N.2).

    Raises
    ------
    ArchitectureError
        As `dks`.
    ActivationError
        For an activation that is not known; the message names the node.
    NumericalError
        If an activation's second moment is zero or not finite.
    """
    activations = activations_of(arch)
    if not activations:
        raise ArchitectureError(arch.name, "it has no nonlinear layer, so there is nothing to shape", "add one")
    found = {name: accepted(unit_q_solution(act), "another activation") for name, act in activations.items()}
    return Shaping(arch, "unit_q", found)
