"""How far a C map is from the identity, from linear and from affine: one set of measures for layers and networks."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from qcmap.errors import ArgumentError, NumericalError

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Deviation:
    """The two measures of DKS, section 13.1, and the bounds of Theorem 13 and Remark 14 on them.

    Attributes
    ----------
    value, slope
        max abs(C(c) - c) and max abs(C'(c) - 1) over c in [-1, 1].
    value_at, slope_at
        The c where they are attained.
    value_bounds
        (1 - C'(0)) / 4 and 2 (1 - C'(0)); with C(0) = 0 the upper one is the smaller of that and 2 (C'(1) - 1).
    slope_bound
        2 (1 - C'(0)) + C'(1) - 1; with C(0) = 0 the smaller of that and 3 (C'(1) - 1).
    """

    value: float
    slope: float
    value_at: float
    slope_at: float
    value_bounds: tuple[float, float]
    slope_bound: float

    def to_dict(self) -> dict[str, Any]:
        """The measures and bounds as plain data."""
        return asdict(self)


class CMap(ABC):
    """A C map with its derivatives, and what is measured on them at uniform q values."""

    @abstractmethod
    def c(self, c: ArrayLike, q1: Any = None, q2: Any = None) -> Array:
        """The map."""

    @abstractmethod
    def dc(self, c: ArrayLike, q1: Any = None, q2: Any = None, order: int = 1) -> Array:
        """Its derivatives in c."""

    def nl(self, q: float = 1.0) -> float:
        """sqrt(1 - C'(0)), the distance of a layer's activation from linear functions (DKS, Proposition 16).

        By Remark 17 it holds at every input q with the norm taken there; for a network it is the same of its C map.
        """
        return math.sqrt(max(0.0, 1 - float(self.dc(0.0, q, q))))

    def na(self, q: float = 1.0) -> float:
        """sqrt(1 - C'(0) / C'(1)), the distance from affine functions (DKS, Proposition 18); 0 if C is constant."""
        slope, end = float(self.dc(0.0, q, q)), float(self.dc(1.0, q, q))
        return math.sqrt(max(0.0, 1 - slope / end)) if end > 0 else 0.0

    def flatness(self, c: ArrayLike, q: float = 1.0) -> Array:
        """F(c) = (C(abs c) - C(0)) / abs(c), for c in [-1, 1] (DKS, section 13.5); C'(0) at c = 0.

        Small where the map is degenerate. Corrected Proposition 20: where F(c) <= 1/e, abs(C'(c)) is at most
        F log(F) (1 + abs c) / (abs c log(abs c)).
        """
        size = np.abs(np.asarray(c, dtype=np.float64))
        with np.errstate(divide="ignore", invalid="ignore"):
            rise = (self.c(size, q, q) - self.c(0.0, q, q)) / size
        # Below 1e-6 the difference quotient would lose more than C'' c / 2 adds.
        small = size < 1e-6
        return np.where(small, self.dc(0.0, q, q), rise) if small.any() else rise

    def deviation(self, q: float = 1.0) -> Deviation:
        """max abs(C(c) - c) and max abs(C'(c) - 1), with the bounds of Theorem 13 (DKS, section 13.2).

        Raises
        ------
        NumericalError
            If C(1) is not 1, so that C is no C map at uniform q values.
        """
        ends = self.c([0.0, 1.0], q, q)
        if abs(ends[1] - 1) > 1e-9:
            raise NumericalError("c", f"C(1) is {ends[1]:.6g} here, not 1", "use inputs with equal q values")
        start, end = float(self.dc(0.0, q, q)), float(self.dc(1.0, q, q))
        # Both are continuous on [-1, 1]: a fine grid in arccos c, then a search between the neighbours of the best.
        value, value_at = _largest(lambda c: np.abs(self.c(c, q, q) - c))
        slope, slope_at = _largest(lambda c: np.abs(self.dc(c, q, q) - 1))
        upper, bound = 2 * (1 - start), 2 * (1 - start) + end - 1
        if ends[0] <= 1e-12:
            upper, bound = min(upper, 2 * (end - 1)), min(bound, 3 * (end - 1))
        return Deviation(value, slope, value_at, slope_at, ((1 - start) / 4, upper), bound)


def _largest(function: Callable[[Array], Array], count: int = 512) -> tuple[float, float]:
    """The largest value over c in [-1, 1] and where it is; three rounds of finer grids in arccos c."""
    low, high = 0.0, math.pi
    best, at = -math.inf, 0.0
    for _ in range(4):
        theta = np.linspace(low, high, count + 1)
        c = np.cos(theta)
        values = function(c)
        k = int(np.argmax(values))
        if values[k] > best:
            best, at = float(values[k]), float(c[k])
        low, high = float(theta[max(k - 1, 0)]), float(theta[min(k + 1, count)])
        count = 32
    return best, at


def derivative_order(order: int, most: int) -> int:
    """The order of a derivative, from 1 to ``most``; raises `ArgumentError` for another."""
    if isinstance(order, bool) or order not in range(1, most + 1):
        raise ArgumentError("order", f"it must be an integer from 1 to {most}, not {order!r}", "give such an integer")
    return int(order)
