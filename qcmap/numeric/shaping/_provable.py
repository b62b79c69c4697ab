"""Proofs that errors carry: made when asked for, so that solvers load no ball arithmetic."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from qcmap.activations import Activation
from qcmap.architecture import Architecture

if TYPE_CHECKING:
    from qcmap.numeric.proofs._infeasible_result import InfeasibilityProof

Prove = Callable[[], "InfeasibilityProof"]


def slope_out_of_reach(act: Activation, psi: float) -> Prove:
    """That no transform has C'(1) = psi with Q(1) = Q'(1) = 1 and C(0) = 0."""

    def prove() -> InfeasibilityProof:
        from qcmap.numeric.proofs._infeasible import certify_infeasible

        return certify_infeasible(act, psi=psi)

    return prove


def curvature_out_of_reach(act: Activation, kappa: float) -> Prove:
    """That no transform has C''(1) = kappa with Q(1) = Q'(1) = C'(1) = 1."""

    def prove() -> InfeasibilityProof:
        from qcmap.numeric.proofs._infeasible import certify_infeasible

        return certify_infeasible(act, kappa=kappa)

    return prove


def c0_out_of_reach(arch: Architecture, eta: float, act: Activation) -> Prove:
    """That no negative slope makes the largest C_f(0) eta."""

    def prove() -> InfeasibilityProof:
        from qcmap.numeric.proofs._infeasible import certify_c0

        return certify_c0(arch, eta, act)

    return prove
