"""How far a C map is from the identity, from linear and from affine: one set of measures for layers and networks."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from qcmap.errors import NumericalError
from qcmap.numeric.maps._arguments import correlation, one
from qcmap.numeric.maps._bounds import deviation_bounds, flatness

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
    value_bounds, slope_bounds
        The lower and the upper bound on each, from C(0), C'(0) and C'(1); see `deviation_bounds`.
    """

    value: float
    slope: float
    value_at: float
    slope_at: float
    value_bounds: tuple[float, float]
    slope_bounds: tuple[float, float]

    def to_dict(self) -> dict[str, Any]:
        """The measures and bounds as plain data."""
        return asdict(self)


class CMap(ABC):
    """A C map with its derivatives, and what is measured on them at uniform q values.

    Where q is left out it is 1 for a layer, and that of the inputs for a network.
    """

    @abstractmethod
    def c(self, c: ArrayLike, q1: Any = None, q2: Any = None) -> Array:
        """The map."""

    @abstractmethod
    def dc(self, c: ArrayLike, q1: Any = None, q2: Any = None, order: int = 1) -> Array:
        """Its derivatives in c."""

    def _c(self, c: ArrayLike, q: float | None) -> Array:
        return self.c(c) if q is None else self.c(c, one("q", q), one("q", q))

    def _dc(self, c: ArrayLike, q: float | None, order: int = 1) -> Array:
        return self.dc(c, order=order) if q is None else self.dc(c, one("q", q), one("q", q), order=order)

    def nl(self, q: float | None = None) -> float:
        """sqrt(1 - C'(0)), the distance of a layer's activation from linear functions (DKS, Proposition 16).

        By Remark 17 it holds at every input q with the norm taken there; for a network it is the same of its C map.
        """
        return math.sqrt(max(0.0, 1 - float(self._dc(0.0, q))))

    def na(self, q: float | None = None) -> float:
        """sqrt(1 - C'(0) / C'(1)), the distance from affine functions (DKS, Proposition 18); 0 if C is constant."""
        slope, end = self._dc([0.0, 1.0], q).tolist()
        return math.sqrt(max(0.0, 1 - slope / end)) if end > 0 else 0.0

    def flatness(self, c: ArrayLike, q: float | None = None) -> Array:
        """F(c) = (C(abs c) - C(0)) / abs(c), for c in [-1, 1] (DKS, section 13.5); C'(0) at c = 0.

        Small where the map is degenerate. Corrected Proposition 20: where F(c) <= 1/e, abs(C'(c)) is at most
        F log(F) (1 + abs c) / (abs c log(abs c)).
        """
        size = np.abs(correlation(c))
        # Near zero the difference quotient loses digits: there the first two terms of the series, exact to c^2.
        small = size < 1e-6
        rise = flatness(np.where(small, 1.0, size), self._c(np.where(small, 1.0, size), q), self._c(0.0, q))
        if not small.any():
            return rise
        return np.where(small, self._dc(0.0, q) + self._dc(0.0, q, 2) * size / 2, rise)

    def deviation(self, q: float | None = None) -> Deviation:
        """max abs(C(c) - c) and max abs(C'(c) - 1), with the bounds of Theorem 13 (DKS, section 13.2).

        Raises
        ------
        NumericalError
            If C(1) is not 1, so that C is no C map at uniform q values.
        """
        ends = self._c([0.0, 1.0], q)
        if abs(ends[1] - 1) > 1e-9:
            raise NumericalError("c", f"C(1) is {ends[1]:.6g} here, not 1", "use inputs with equal q values")
        start, end = self._dc([0.0, 1.0], q).tolist()
        bounds = deviation_bounds(ends[0], end, start)
        # Both are continuous on [-1, 1]: a fine grid in arccos c, then a search between the neighbours of the best.
        value, value_at = _largest(lambda c: np.abs(self._c(c, q) - c))
        slope, slope_at = _largest(lambda c: np.abs(self._dc(c, q) - 1))
        pairs = ((float(pair.lower), float(pair.upper)) for pair in (bounds.value, bounds.slope))
        return Deviation(value, slope, value_at, slope_at, *pairs)


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
