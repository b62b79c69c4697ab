"""What tangent kernels of deep networks degenerate to, and how near linear shaped ones stay (DKS, 24.5, 24.6, H).

The network is a chain of D combined layers with the local C map C, the last one linear, and q values of 1; its layers'
kernels are Theta_i = C_g(c) C_h'(C_g(c)) with g = C^(i-1) and h = C^(D-i) (equation 23). docs/tangent.md derives what
the paper observed at the edge of chaos, and a bound sharper than its Theorem 27.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from qcmap.errors import ArgumentError
from qcmap.numeric.maps._arguments import integer, is_number

Array = NDArray[np.float64]
Case = Literal["collapsing", "edge", "exploding"]


@dataclass(frozen=True)
class DegenerateKernel:
    """The estimates of section 24.5.2 for a deep chain: each kernel matrix is a I + b (E - I), E the matrix of ones.

    Attributes
    ----------
    case
        ``"collapsing"`` for C'(1) < 1, ``"edge"`` for C'(1) = 1, ``"exploding"`` for C'(1) > 1.
    depth
        D.
    layer_diagonals, layer_off_diagonals
        a and b of the kernels of layers 1 to D, shape (D,). For early and middle layers of the two cases off the edge
        they agree with the paper's table where it has 0.
    diagonal, off_diagonal
        a and b of the whole kernel. b is the limit of infinite depth (divided by D at the edge).
    """

    case: Case
    depth: int
    layer_diagonals: Array
    layer_off_diagonals: Array
    diagonal: float
    off_diagonal: float

    def matrix(self, n: int) -> Array:
        """The estimate of the whole kernel for n inputs, no two of them parallel."""
        n = integer(n, least=1, name="n")
        return np.full((n, n), self.off_diagonal) + (self.diagonal - self.off_diagonal) * np.eye(n)

    def condition_number(self, n: int) -> float:
        """(a + (n - 1) b) / (a - b) for n > 1 inputs; infinity in the collapsing case, where the rank is 1."""
        n = integer(n, least=1, name="n")
        gap = self.diagonal - self.off_diagonal
        return (self.diagonal + (n - 1) * self.off_diagonal) / gap if gap > 0 else math.inf

    def to_dict(self) -> dict[str, Any]:
        """All fields as plain data."""
        return {
            "case": self.case,
            "depth": self.depth,
            "layer_diagonals": self.layer_diagonals.tolist(),
            "layer_off_diagonals": self.layer_off_diagonals.tolist(),
            "diagonal": self.diagonal,
            "off_diagonal": self.off_diagonal,
        }

    def __repr__(self) -> str:
        return f"<{self.case} kernel at depth {self.depth}: {self.diagonal:.6g} I + {self.off_diagonal:.6g} (E - I)>"


def degenerate_kernel(
    depth: int,
    slope: float,
    *,
    fixed_point: float | None = None,
    fixed_point_slope: float | None = None,
    power: float = 2.0,
) -> DegenerateKernel:
    """What the tangent kernel of a chain of ``depth`` combined layers (the last linear) is in the limit of great depth.

    Parameters
    ----------
    depth
        D, at least 1.
    slope
        C'(1), at least 0. It is the edge of chaos only if it is exactly 1.
    fixed_point, fixed_point_slope
        c* and C'(c*), both in [0, 1): needed in the exploding case only.
    power
        At the edge, the p of C(c) = c + k (1 - c)^p + ...: 2 if C''(1) is finite, 3/2 if phi' jumps (relu).

    Raises
    ------
    ArgumentError
        For a parameter out of range, and for c* or C'(c*) missing or given where they do not belong.
    """
    depth = integer(depth, least=1, name="depth")
    if not (is_number(slope) and slope >= 0):
        raise ArgumentError("slope", f"C'(1) is finite and at least 0, not {slope!r}", "give C'(1) of one layer")
    after = np.arange(depth - 1, -1, -1)
    if slope > 1:
        c, rate = _attractor("fixed_point", fixed_point), _attractor("fixed_point_slope", fixed_point_slope)
        with np.errstate(over="ignore"):
            diagonals = slope ** after.astype(np.float64)
        off = c * rate ** after.astype(np.float64)
        if not np.isfinite(diagonals).all():
            raise ArgumentError("depth", f"C'(1)^{depth - 1} is beyond all floats", "take a smaller depth")
        return DegenerateKernel("exploding", depth, diagonals, off, float(diagonals.sum()), c / (1 - rate))
    if fixed_point not in (None, 1) or fixed_point_slope not in (None, slope):
        raise ArgumentError("fixed_point", "for C'(1) <= 1 the fixed point is c* = 1", "leave it out")
    diagonals = slope ** after.astype(np.float64)
    if slope < 1:
        return DegenerateKernel("collapsing", depth, diagonals, diagonals, float(diagonals.sum()), 1 / (1 - slope))
    share = edge_alpha_bar(power)
    return DegenerateKernel("edge", depth, diagonals, edge_alphas(depth, power), float(depth), depth * share)


def _attractor(name: str, value: float | None) -> float:
    if value is None or not (is_number(value) and 0 <= value < 1):
        what = f"for C'(1) > 1 it is a number in [0, 1), not {value!r}"
        raise ArgumentError(name, what, "give the fixed point c* < 1 of C and C'(c*)")
    return float(value)


def edge_alphas(depth: int, power: float = 2.0) -> Array:
    """The alpha_i of K_i = I + alpha_i (E - I) at the edge of chaos, for i = 1 to D: (i/D)^(p/(p-1)), shape (D,).

    With 1 - c_l = e_l, e_(l+1) = e_l - k e_l^p gives e_l ~ ((p-1) k l)^(-1/(p-1)), so that C'(c_l) = 1 - p k e_l^(p-1)
    = 1 - p/((p-1) l), and the product over layers i to D falls as (i/D)^(p/(p-1)). ``power`` is that of
    `degenerate_kernel`.
    """
    depth = integer(depth, least=1, name="depth")
    return (np.arange(1, depth + 1) / depth) ** (_edge_power(power) / (power - 1))


def edge_alpha_bar(power: float = 2.0) -> float:
    """Their mean alpha-bar in the limit of infinite depth, (p-1)/(2p-1): 1/3 for smooth phi, 1/4 for relu."""
    return (_edge_power(power) - 1) / (2 * power - 1)


def _edge_power(power: float) -> float:
    if not (is_number(power) and power > 1):
        raise ArgumentError("power", f"p is finite and above 1, not {power!r}", "use 2, or 3/2 where phi' jumps")
    return float(power)


def theorem_27(zeta: float) -> float:
    """11 (zeta - 1): the paper's bound on abs(Theta_i(x, x') - x.x'/d) for a chain shaped by DKS (Theorem 27)."""
    return 11 * (_zeta(zeta) - 1)


def tangent_deviation(zeta: float) -> float:
    """3 (zeta - 1): a sharper bound on the same; for zeta <= 2 no smaller one holds for all C maps with C(0) = 0.

    Theta_i - c = C_g (C_h' - 1) + (C_g - c) with abs(C_g) <= 1, which the paper's proof does not use. So it is at most
    3 (C_h'(1) - 1) + 2 (C_g'(1) - 1) (Theorem 13) <= 3 (C_h'(1) C_g'(1) - 1). For D = 2 and C(c) = (1 - b) c + b c^2,
    Theta_1 + 1 at c = -1 is 3 b = 3 (zeta - 1).
    """
    return 3 * (_zeta(zeta) - 1)


def _zeta(zeta: float) -> float:
    if not (is_number(zeta) and zeta >= 1):
        raise ArgumentError(
            "zeta", f"the global slope bound is finite and at least 1, not {zeta!r}", "use the zeta of dks"
        )
    return float(zeta)
