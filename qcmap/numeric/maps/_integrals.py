"""One-dimensional Gaussian integrals of a layer's function at many q values, which refuse what they cannot resolve."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from qcmap.errors import NumericalError
from qcmap.numeric.maps._quadrature import ORDER, gaussian_rule
from qcmap.numeric.maps._transform import Transform

Array = NDArray[np.float64]
Integrand = Callable[[Array, Array, Array], Array]
"""A function of x, f(sqrt(q) x) and sqrt(q)."""

_REACHES = (10.0, 14.0, 20.0, 24.0, 28.0, 32.0, 37.0)
_ROWS = 512


@lru_cache(maxsize=len(_REACHES))
def _probes(reach: float) -> tuple[Array, Array]:
    """Points over the range, and the root of the density there."""
    points = np.linspace(-reach, reach, 41)
    return points, np.exp(-(points**2) / 4)


class Integrals:
    """Expectations over x ~ N(0, 1) of functions of f(sqrt(q) x), f a transformed activation."""

    def __init__(self, transform: Transform) -> None:
        self.transform = transform

    def each(self, values: Array, integrand: Integrand) -> Array:
        """E[integrand(x, f(sqrt(q) x), sqrt(q))] for each q of any shape, by two rules that must agree.

        Raises
        ------
        NumericalError
            If an integral is not finite, or the two rules differ.
        """
        distinct, where = (values.reshape(1), 0) if values.size == 1 else np.unique(values, return_inverse=True)
        results = np.empty(distinct.size)
        for rows in (slice(k, k + _ROWS) for k in range(0, distinct.size, _ROWS)):
            results[rows] = self._block(distinct[rows], integrand)
        return results[where].reshape(values.shape)

    def _block(self, q: Array, integrand: Integrand) -> Array:
        reach = self.reach(q)
        root = np.sqrt(q)[:, None]
        found: list[Array] = []
        with np.errstate(over="ignore", invalid="ignore"):
            for order in (ORDER, ORDER - 6):
                x, w = self._rule(q, order, reach)
                terms = w * integrand(x, self.transform(root * x), root)
                found.append(terms.sum(axis=1))
                size = np.abs(terms).sum(axis=1)
        self.finite(found[0], q)
        bad = np.abs(found[0] - found[1]) > 1e-9 * size
        if bad.any():
            raise NumericalError(
                self.transform.activation.name, f"its integrals at q = {q[bad][0]:.6g} are not resolved",
                "declare all its kinks, a smaller length, or use a smaller q",
            )  # fmt: skip
        return found[0]

    def finite(self, results: Array, q: Array) -> Array:
        """The results; raises `NumericalError` naming the q value of one that is not finite."""
        if not np.isfinite(results).all():
            raise NumericalError(
                self.transform.activation.name, f"its moments are not finite at q = {q[~np.isfinite(results)][0]:.6g}",
                "use a smaller q",
            )  # fmt: skip
        return results

    def _rule(self, q: Array, order: int, reach: float) -> tuple[Array, Array]:
        t = self.transform
        return gaussian_rule(
            t.activation, t.input_scale * np.sqrt(q), np.full(q.shape, t.input_shift), order=order, reach=reach
        )

    def reach(self, q: Array, order: int = 0) -> float:
        """The range of x beyond which the square of f, or of its derivative of some order, has no mass to rounding."""
        if self.transform.activation.oscillates:
            return _REACHES[0]  # bounded
        root = np.sqrt(q)
        with np.errstate(over="ignore", invalid="ignore"):
            for reach in _REACHES:
                points, root_density = _probes(reach)
                mass = (self.transform.derivative(root[:, None] * points, order) * root_density) ** 2
                self.finite(mass.max(axis=1), q)
                if (mass[:, [0, -1]].max(axis=1) <= 1e-20 * mass.max(axis=1)).all():
                    return reach
        raise NumericalError(
            self.transform.activation.name,
            f"it grows too fast to be integrated at q = {q.max():.6g}",
            "use a smaller q",
        )
