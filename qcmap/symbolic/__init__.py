"""The symbolic layer: exact formulas of an architecture. sympy is imported when an expression is asked for."""

from typing import TYPE_CHECKING

from qcmap._lazy import lazy
from qcmap.symbolic._activations import resolved
from qcmap.symbolic._envelope import AlgebraicNumber
from qcmap.symbolic._fuse import fused
from qcmap.symbolic._maximal import Candidate, MaximalSlope, Piece, maximal_slope
from qcmap.symbolic._polynomial import SlopePolynomial
from qcmap.symbolic._slopes import slope_polynomial
from qcmap.symbolic._tailored import MaximalC0, MaximalCurvature, curvature, maximal_c0, maximal_curvature
from qcmap.symbolic._weights import mean_weights

if TYPE_CHECKING:
    from qcmap.symbolic._maps import SymbolicMaps, c_map, q_map, q_values
    from qcmap.symbolic._tangent import TangentKernel, c_derivative, tangent_kernel

__all__ = [
    "AlgebraicNumber",
    "Candidate",
    "MaximalC0",
    "MaximalCurvature",
    "MaximalSlope",
    "Piece",
    "SlopePolynomial",
    "SymbolicMaps",
    "TangentKernel",
    "c_derivative",
    "c_map",
    "curvature",
    "fused",
    "maximal_c0",
    "maximal_curvature",
    "maximal_slope",
    "mean_weights",
    "q_map",
    "q_values",
    "resolved",
    "slope_polynomial",
    "tangent_kernel",
]

__getattr__, __dir__ = lazy(
    __name__,
    "qcmap.symbolic",
    {
        "_maps": ("SymbolicMaps", "c_map", "q_map", "q_values"),
        "_tangent": ("TangentKernel", "c_derivative", "tangent_kernel"),
    },
    shown=__all__,
)
