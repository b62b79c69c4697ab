"""The symbolic layer: exact formulas of an architecture. sympy is imported when an expression is asked for."""

from qcmap.symbolic._envelope import AlgebraicNumber
from qcmap.symbolic._maximal import Candidate, MaximalSlope, Piece, maximal_slope
from qcmap.symbolic._polynomial import SlopePolynomial
from qcmap.symbolic._slopes import slope_polynomial
from qcmap.symbolic._weights import mean_weights

__all__ = [
    "AlgebraicNumber",
    "Candidate",
    "MaximalSlope",
    "Piece",
    "SlopePolynomial",
    "maximal_slope",
    "mean_weights",
    "slope_polynomial",
]
