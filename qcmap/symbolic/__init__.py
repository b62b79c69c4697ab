"""The symbolic layer: exact formulas of an architecture. sympy is imported when an expression is asked for."""

from qcmap.symbolic._polynomial import SlopePolynomial
from qcmap.symbolic._slopes import Candidate, MaximalSlope, maximal_slope, mean_weights, slope_polynomial

__all__ = ["Candidate", "MaximalSlope", "SlopePolynomial", "maximal_slope", "mean_weights", "slope_polynomial"]
