"""Local Q and C maps of one nonlinear layer (DKS, sections 6 and 8)."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.polynomial.hermite_e import hermeval
from numpy.typing import ArrayLike, NDArray

from qcmap.activations import Activation, activation
from qcmap.errors import ArgumentError
from qcmap.numeric.maps._arguments import correlation, groups, integer, one, positive, rounded, together
from qcmap.numeric.maps._closed import closed_error, closed_kernel, closed_map, scale_free
from qcmap.numeric.maps._geometry import CMap
from qcmap.numeric.maps._hermite import hermite_values
from qcmap.numeric.maps._repeated import Powers
from qcmap.numeric.maps._transform import Transform, refuse_jumps
from qcmap.numeric.maps._values import MapValues

Array = NDArray[np.float64]

_MOST_ORDER = 32


class LocalMaps(CMap):
    """Q and C maps of a nonlinear layer with activation f: phi itself, or a transform of it.

    ``q(q)`` is Q(q) = E f(sqrt(q) x)^2 (DKS, equation 5), ``dq(q)`` its derivatives (section 8.1.1), and
    ``c(c, q1, q2)`` and ``dc(c, q1, q2)`` the C map (equations 6 and 7) and its derivatives in c (section 8.1.2). All
    take arrays that broadcast.

    Closed forms are used where they are known. Else C is its Hermite series where that has converged to rounding, and a
    two-dimensional integral with the kinks of f elsewhere; many c values go through a Chebyshev series in arccos c
    (docs/quadrature.md). ``error`` bounds what all this does to the values.
    """

    transform: Transform

    def __init__(self, act: Activation | str, transform: Transform | None = None) -> None:
        self.transform = fitting(activation(act), transform)
        self._values = MapValues(self.transform)
        self._kernel = closed_kernel(self.transform)
        self._powers: dict[tuple[float, float], Powers] = {}

    def mean(self, q: ArrayLike = 1.0) -> Array:
        """E f(sqrt(q) x), the channel mean after the layer (DKS, appendix A), for q > 0 of any shape."""
        return self._values.integrals.each(positive("q", q), lambda x, f, root: f)

    def q(self, q: ArrayLike = 1.0) -> Array:
        """Q(q), for q > 0 of any shape.

        Raises
        ------
        NumericalError
            If phi is not finite where the integral needs it, grows too fast, or has kinks that were not declared.
        """
        values = positive("q", q)
        if self._kernel is not None:
            with np.errstate(over="ignore", under="ignore"):
                return self._values.integrals.finite(self._kernel(np.ones_like(values), values, values), values)
        if values.size == 1:
            # Deep networks ask for the same value again and again.
            return np.full(values.shape, self._values.moment(float(values.reshape(-1)[0])))
        return self._values.integrals.each(values, lambda x, f, root: f * f)

    def dq(self, q: ArrayLike = 1.0, order: int = 1) -> Array:
        """The derivative of Q of order i, 1 to 32, for q > 0 of any shape and a continuous f.

        Q'(q) = E[f f' x] / sqrt(q) with f at sqrt(q) x (DKS, section 8.1.1). Since E[H(sqrt(q) x)] has the derivative
        E[H He_2] / (2 q) (integrate by parts twice), Q^(i) = E[f f' He_{2i-1}] sqrt(q) / (2^(i-1) q^i).
        """
        order = integer(order, least=1, most=_MOST_ORDER)
        refuse_jumps(self.transform.activation)
        he = [0.0] * (2 * order - 1) + [1.0]

        def integrand(x: Array, f: Array, root: Array) -> Array:
            slope = self.transform.derivative(root * x)
            return f * slope * hermeval(x, he) * root ** (1 - 2 * order) / 2 ** (order - 1)

        return self._values.integrals.each(positive("q", q), integrand)

    def c(self, c: ArrayLike, q1: ArrayLike = 1.0, q2: ArrayLike = 1.0) -> Array:
        """C(c, q1, q2), for c in [-1, 1] and q1, q2 > 0, broadcast together.

        Raises
        ------
        ArgumentError
            If c leaves [-1, 1] by more than 1e-12, or q is not positive and finite.
        NumericalError
            If Q is zero or not finite there, so that C is not defined.
        """
        return np.clip(self._map(c, q1, q2, 0), -1.0, 1.0)

    def dc(self, c: ArrayLike, q1: ArrayLike = 1.0, q2: ArrayLike = 1.0, order: int = 1) -> Array:
        """The derivative of C in c of order i, 1 to 32; arguments as in `c`.

        (q1 q2)^(i/2) E[f^(i)(u1) f^(i)(u2)] / sqrt(Q(q1) Q(q2)), where a jump in f^(m), m < i, makes f^(i) hold delta
        functions, which count (DKS, section 8.1.2; docs/quadrature.md).

        Raises
        ------
        ArgumentError
            As `c`, and for an order that is not a positive integer.
        NumericalError
            Also where it is infinite: at c = 1 (and -1, if kinks lie symmetrically) if f^(i-1) or an earlier derivative
            jumps.
        """
        return self._map(c, q1, q2, integer(order, least=1, most=_MOST_ORDER))

    def iterated(self, c: ArrayLike, n: int, q1: ArrayLike = 1.0, q2: ArrayLike = 1.0) -> Array:
        """C^n(c, q1, q2), the map composed n >= 1 times with itself at the same q values, which Q has to keep.

        By repeated squaring of interpolants where they resolve the composition, else one map after the other.

        Raises
        ------
        ArgumentError, NumericalError
            As `c`, and for an n that is not a positive integer.
        """
        n = integer(n, least=1, name="n")
        c, q1, q2 = together(c=correlation(c), q1=positive("q1", q1), q2=positive("q2", q2))
        if not scale_free(self.transform):
            for name, q in (("q1", q1), ("q2", q2)):
                if (np.abs(self.q(q) - q) > 1e-9 * q).any():
                    raise ArgumentError(
                        name, f"Q does not keep it: Q({q.flat[0]:.6g}) = {float(self.q(q.flat[0])):.6g}",
                        "take a network of layers with network_maps, whose q values change along it",
                    )  # fmt: skip
        result = np.empty(c.shape)
        for here, a, b in groups(rounded(q1), rounded(q2)):
            if (a, b) not in self._powers:
                once = self._values.profile(a, b, 0)
                self._powers[a, b] = Powers(once, lambda x, a=a, b=b: self.c(x, a, b))
            result.reshape(-1)[here] = self._powers[a, b](c.reshape(-1)[here], n)
        return result

    def hermite(self, n: ArrayLike, q: float = 1.0) -> Array:
        """The Hermite coefficients E[f(sqrt(q) x) He_n(x)] / sqrt(n!), for integers n of any shape and one q > 0.

        The C map at q is sum a_n^2 c^n / Q(q), from n = 0 (DKS, section 11.4 and equation 28).
        """
        index = np.asarray(n)
        if not (np.issubdtype(index.dtype, np.integer) and (index >= 0).all() and (index < 1 << 15).all()):
            raise ArgumentError("n", "it must be integers from 0 to 32,767", "give the orders of the coefficients")
        value = one("q", q)
        count = int(index.max(initial=0)) + 1
        point = self._values.point(value, count)
        if count <= point.series.values.size:
            return point.series.values[index]
        return hermite_values(self.transform, value, count, max(14.0, 1.4 * point.reach))[index]

    def error(self, q1: float = 1.0, q2: float = 1.0, order: int = 0) -> float:
        """A bound from above on the absolute error of `c` (order 0) or `dc` at these q values, for every c.

        The sum of what the series leave out, of the differences between the integrals in use and finer ones, and of
        rounding.

        Raises
        ------
        NumericalError
            If the derivative is infinite at c = 1, so that no absolute error bounds it.
        """
        order = integer(order, least=0, most=_MOST_ORDER)
        pair = (float(rounded(np.array(one("q1", q1)))), float(rounded(np.array(one("q2", q2)))))
        if self._kernel is not None and order <= 1:
            return closed_error(self.transform, self._kernel, *pair, order)
        return self._values.error(*pair, order)

    def _map(self, c: ArrayLike, q1: ArrayLike, q2: ArrayLike, order: int) -> Array:
        c, q1, q2 = together(c=correlation(c), q1=positive("q1", q1), q2=positive("q2", q2))
        if self._kernel is not None and order <= 1:
            return closed_map(self.transform, self._kernel, c, q1, q2, order)
        result = np.empty(c.shape)
        for here, a, b in groups(rounded(q1), rounded(q2)):
            result.reshape(-1)[here] = self._values.at(c.reshape(-1)[here], a, b, order)
        return result


def fitting(act: Activation, transform: Transform | None) -> Transform:
    """The transform of an activation, or the one that changes nothing.

    Raises
    ------
    ArgumentError
        If it is the transform of another activation. Shaping may have chosen another negative slope of leaky relu.
    """
    if transform is None:
        return Transform(act)
    if not isinstance(transform, Transform):
        raise ArgumentError(
            "transform", f"it must be a Transform, not {transform!r}", "give shaping[...] or a Transform"
        )
    if transform.activation.name != act.name:
        what = f"it is one of {transform.activation.name}, not of {act.name}"
        raise ArgumentError("transform", what, "give the transform of this activation")
    return transform


@lru_cache(maxsize=256)
def _cached(act: Activation, transform: Transform | None) -> LocalMaps:
    return LocalMaps(act, transform)


def local_maps(act: Activation | str, transform: Transform | None = None) -> LocalMaps:
    """The local maps of an activation, transformed or not; one object for each, so its interpolants are kept."""
    act = activation(act)
    return _cached(act, None if transform is None else fitting(act, transform))
