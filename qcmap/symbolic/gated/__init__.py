"""Gated deep linear networks: gradient flow, lumping, first integrals and scalar equations in sympy (docs/gated.md)."""

from qcmap.symbolic.gated._lumping import lumped
from qcmap.symbolic.gated._quotient import SCALARS, Operations, Quotient
from qcmap.symbolic.gated._reduced import Reduced
from qcmap.symbolic.gated._scalar import ScalarEquation, SteadyState

__all__ = ["SCALARS", "Operations", "Quotient", "Reduced", "ScalarEquation", "SteadyState", "lumped"]
