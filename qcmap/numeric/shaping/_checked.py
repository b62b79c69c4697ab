"""What solvers ask of their arguments and of what they found."""

from __future__ import annotations

from qcmap.activations import Activation
from qcmap.architecture import Architecture, check
from qcmap.errors import ArchitectureError, ArgumentError, NumericalError
from qcmap.numeric.maps._shaping import Solution
from qcmap.symbolic import resolved


def activations_of(arch: Architecture) -> dict[str, Activation]:
    """The activations by name, once it is an architecture and breaks no rule."""
    if not isinstance(arch, Architecture):
        raise ArgumentError("arch", f"it must be an Architecture, not {arch!r}", "build one, or take one of zoo")
    activations = resolved(arch)
    for violation in check(arch):
        if violation.severity == "error":
            raise ArchitectureError(violation.node, violation.message, violation.remedy)
    return activations


def checked_activation(act: Activation) -> Activation:
    """The activation itself; raises `ArgumentError` for anything else."""
    if not isinstance(act, Activation):
        raise ArgumentError("act", f"it must be an Activation, not {act!r}", "use qcmap.activation(...)")
    return act


_TOLERANCE = 1e-10


def accepted(solution: Solution, remedy: str) -> Solution:
    """The solution itself; raises `NumericalError` if a residual exceeds 1e-10 of its target (or of 1)."""
    residuals, name = solution.residuals, solution.transform.activation.name
    worst = max(residuals, key=lambda key: abs(residuals[key]) / max(1.0, abs(solution.targets[key])))
    if not abs(residuals[worst]) <= _TOLERANCE * max(1.0, abs(solution.targets[worst])):
        raise NumericalError(
            name, f"the residual of {worst} is {residuals[worst]:.1e}, above {_TOLERANCE:g}",
            f"declare all kinks of the activation, or use {remedy}",
        )  # fmt: skip
    return solution
