"""Gated deep linear networks: gradient flow, lumping, first integrals and scalar equations in sympy (docs/gated.md)."""

from qcmap.symbolic.gated._gradient import GradientFlow, gradient_flow
from qcmap.symbolic.gated._lumping import lumped
from qcmap.symbolic.gated._paths import Path, Statistics, paths, statistics
from qcmap.symbolic.gated._quotient import SCALARS, Operations, Quotient
from qcmap.symbolic.gated._reduced import Reduced
from qcmap.symbolic.gated._scalar import ScalarEquation, SteadyState

__all__ = [
    "SCALARS",
    "GradientFlow",
    "Operations",
    "Path",
    "Quotient",
    "Reduced",
    "ScalarEquation",
    "Statistics",
    "SteadyState",
    "gradient_flow",
    "lumped",
    "paths",
    "statistics",
]
