"""Deep Kernel Shaping: from an architecture and a global slope bound to the constants of every activation."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from numbers import Real
from typing import Any

from qcmap.activations import Activation
from qcmap.architecture import Architecture, Violation, check
from qcmap.errors import ActivationError, ArchitectureError, ArgumentError, NumericalError
from qcmap.numeric._homogeneous import three_conditions, with_free_slope
from qcmap.numeric._infeasible import infeasible
from qcmap.numeric._solutions import STANDARD_BOX, WIDE_BOX, roots
from qcmap.numeric._transform import Transform, conditions
from qcmap.symbolic import maximal_slope, resolved

_TOLERANCE = 1e-10
_SMALLEST_EXCESS = 0.99e-7


@dataclass(frozen=True)
class Solution:
    """The constants of one activation.

    Attributes
    ----------
    transform
        The canonical solution: input_scale > 0, then the smallest abs(input_shift), then the negative input_shift.
    psi
        The target of C'(1).
    conditions_met
        4, or 3 where positive homogeneity leaves no freedom for Q'(1) = 1 (DKS, section 18.6).
    others
        The other solutions in the searched box as (input_scale, input_shift).
    searched
        The box, in words; closed forms have none.
    """

    transform: Transform
    psi: float
    conditions_met: int = 4
    others: tuple[tuple[float, float], ...] = ()
    searched: str | None = None

    @cached_property
    def residuals(self) -> dict[str, float]:
        """Each condition's left side less its right side, by a finer quadrature than the solver's."""
        found = conditions(self.transform)
        rows = {"Q(1)": found.q - 1, "Q'(1)": found.dq - 1, "C(0)": found.c0, "C'(1)": found.dc1 - self.psi}
        if self.conditions_met == 3:
            del rows["Q'(1)"]
        return rows

    def to_dict(self) -> dict[str, Any]:
        """The constants, the residuals and the other solutions as plain data."""
        return {
            **self.transform.to_dict(),
            "psi": self.psi,
            "conditions": self.conditions_met,
            "residuals": self.residuals,
            "other_solutions": [list(pair) for pair in self.others],
            "searched": self.searched,
        }


def solve(act: Activation, psi: float) -> Solution:
    """The transform of ``act`` with Q(1) = 1, Q'(1) = 1, C(0) = 0 and C'(1) = psi (DKS, sections 17.3 and 18.4).

    Functions that are linear on either side of zero are solved in closed form up to one scalar root: without the
    condition on Q'(1), or with the negative slope as the fourth unknown (leaky relu).

    Raises
    ------
    ArgumentError
        Unless psi is a finite number above 1 + 1e-7 (below, C'(1) - 1 drowns in the rounding of phi).
    Infeasible
        If there is no solution in the searched box; the error has the intervals that can be reached.
    NumericalError
        If a residual exceeds 1e-10.
    """
    if not (isinstance(psi, Real) and math.isfinite(psi) and psi - 1 > _SMALLEST_EXCESS):
        raise ArgumentError(
            "psi",
            f"C'(1) must be a finite number above 1 + {_SMALLEST_EXCESS:g}, but psi is {psi!r}",
            "use a larger zeta",
        )
    if act.two_slopes is not None:
        solution = (
            Solution(with_free_slope(act, psi), psi) if act.free_slope else Solution(three_conditions(act, psi), psi, 3)
        )
    else:
        solution = _searched(act, psi)
    worst = max(solution.residuals, key=lambda name: abs(solution.residuals[name]))
    if not abs(solution.residuals[worst]) <= _TOLERANCE:
        raise NumericalError(
            act.name, f"the residual of {worst} is {solution.residuals[worst]:.1e}, above {_TOLERANCE:g}",
            "declare all kinks of the activation, or use a larger zeta",
        )  # fmt: skip
    return solution


def _searched(act: Activation, psi: float) -> Solution:
    for box in (STANDARD_BOX, WIDE_BOX):
        first, *rest = roots(act, psi, box) or [None]
        if first is not None:
            transform = Transform(act, first.input_scale, first.input_shift, -first.mean, 1 / math.sqrt(first.variance))
            others = tuple((root.input_scale, root.input_shift) for root in rest if root is not None)
            return Solution(transform, psi, others=others, searched=str(box))
    raise infeasible(act, psi)


@dataclass(frozen=True)
class Shaping:
    """The result of `dks`: psi and, for each activation of the architecture, its solution.

    ``shaping["softplus"]`` is the `Transform` of that activation.
    """

    architecture: Architecture
    psi: float
    zeta: float
    solutions: Mapping[str, Solution]

    @cached_property
    def warnings(self) -> tuple[Violation, ...]:
        """The heuristics that the result rests on: pooling treated as the identity."""
        return tuple(violation for violation in check(self.architecture) if violation.severity == "warning")

    def __getitem__(self, name: str) -> Transform:
        if name not in self.solutions:
            raise ActivationError(
                name, f"{self.architecture.name} does not use it", f"it uses {', '.join(self.solutions)}"
            )
        return self.solutions[name].transform

    def residuals(self) -> dict[str, dict[str, float]]:
        """For each activation, each condition's residual."""
        return {name: solution.residuals for name, solution in self.solutions.items()}

    def to_dict(self) -> dict[str, Any]:
        """psi, zeta and all constants as plain data."""
        return {
            "architecture": self.architecture.name,
            "method": "dks",
            "zeta": self.zeta,
            "psi": self.psi,
            "activations": {name: solution.to_dict() for name, solution in self.solutions.items()},
            "warnings": [f"{warning.node}: {warning.message}" for warning in self.warnings],
        }

    def __repr__(self) -> str:
        return f"<shaping of {self.architecture.name}: zeta={self.zeta:g}, psi={self.psi:.12g}>"


def dks(arch: Architecture, zeta: float | None = None, *, psi: float | None = None) -> Shaping:
    """The constants of Deep Kernel Shaping (DKS, sections 17, 18 and 21).

    Parameters
    ----------
    arch
        An architecture with normalized sums and without scalar multipliers.
    zeta
        The global slope bound: the largest C_f'(1) over all subnetworks f. 1.5 if neither it nor psi is given.
    psi
        C'(1) of every nonlinear layer, instead of zeta; zeta is then mu(psi).

    Raises
    ------
    ArgumentError
        If zeta or psi is not a finite number above 1, or both are given.
    ArchitectureError
        If the architecture breaks a rule of `qcmap.check` with severity "error", or has no nonlinear layer.
    ActivationError
        For an activation that is not known; the message names the node.
    Infeasible
        If an activation has no solution.
    """
    if zeta is not None and psi is not None:
        raise ArgumentError("psi", "psi and zeta were both given", "give one of them")
    activations = resolved(arch)
    for violation in check(arch):
        if violation.severity == "error":
            raise ArchitectureError(violation.node, violation.message, violation.remedy)
    mu = maximal_slope(arch)
    if psi is None:
        zeta = 1.5 if zeta is None else zeta
        psi = mu.inverse(zeta)
    else:
        zeta = float(mu(psi))
    return Shaping(arch, psi, zeta, {name: solve(act, psi) for name, act in activations.items()})
