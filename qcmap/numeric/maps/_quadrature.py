"""Gaussian expectations by composite Gauss-Legendre quadrature on panels that know the integrand.

E[f(x)], x ~ N(0, 1), for f built from phi(scale * x + shift): the real line is cut at +-`RANGE` (the mass outside is
below 1e-22), into panels no wider than 2.5, which break

- at the kinks of phi, moved to x = (kink - shift) / scale, so every panel sees an analytic function;
- at distances 3/4 length * 3^k from phi's centre, so no panel is wide against its distance to a complex singularity:
  the Bernstein ellipse of each has parameter at least 3, and 20 nodes leave an error of about 3^-40;
- where phi oscillates without end (sin, cos), every 4 units of u.

Rows are independent: scale and shift are arrays of shape (m,), and nodes and weights come as (m, n).
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from qcmap.activations import Activation
from qcmap.errors import NumericalError

Array = NDArray[np.float64]

RANGE = 10.0
ORDER = 20
_UNIFORM = np.linspace(-RANGE, RANGE, 9)
_FARTHEST = 1024


@lru_cache(maxsize=8)
def legendre(order: int) -> tuple[Array, Array]:
    """Nodes and weights of the Gauss-Legendre rule on [-1, 1]."""
    return np.polynomial.legendre.leggauss(order)


@lru_cache(maxsize=256)
def _analytic_breaks(act: Activation, reach: float) -> Array:
    """Breaks in u over [-reach, reach]: kinks, and graded or uniform distances from the centre."""
    kinks = [kink.at for kink in act.kinks]
    if act.oscillates:
        if reach > _FARTHEST:
            raise NumericalError(
                act.name, f"it oscillates too often on the interval [-{reach:g}, {reach:g}]", "use a smaller scale or q"
            )
        graded = np.linspace(-reach, reach, 2 * math.ceil(reach / 4) + 1)[1:-1]
    elif math.isinf(act.length):
        graded = np.empty(0)
    else:
        steps = max(1, math.ceil(math.log(max(2 * reach / act.length, 1), 3)) + 1)
        distances = 0.75 * act.length * 3.0 ** np.arange(steps)
        graded = np.concatenate([act.centre - distances, act.centre + distances])
    return np.unique(np.concatenate([kinks, graded]))


def u_breaks(act: Activation, scale: Array, shift: Array, reach: float = RANGE) -> Array:
    """The breaks in u that matter for arguments ``scale * x + shift`` with abs(x) <= ``reach``."""
    farthest = (np.abs(scale) * reach + np.abs(shift)).max() if scale.size else 1.0
    return _analytic_breaks(act, 2.0 ** math.ceil(math.log2(max(float(farthest), 1.0))))


def panel_rule(breaks: Array, order: int, reach: float = RANGE, density: float = 1.0) -> tuple[Array, Array]:
    """Nodes and weights on panels between ``breaks`` (m, p + 1), clipped to the range and sorted, with the density.

    Returns arrays (m, p * order); the weights include (exp(-x^2 / 2) / sqrt(2 pi))^density.
    """
    ends = np.sort(np.minimum(np.maximum(breaks, -reach), reach), axis=1)
    nodes, weights = legendre(order)
    left, right = ends[:, :-1, None], ends[:, 1:, None]
    half, middle = (right - left) / 2, (right + left) / 2
    # In place: most of the time would go into temporary arrays.
    x, w = half * nodes, half * weights
    x += middle
    exponent = -density / 2 * x
    exponent *= x
    w *= np.exp(exponent, out=exponent)
    w /= math.sqrt(2 * math.pi) ** density
    shape = (len(ends), (ends.shape[1] - 1) * order)
    return x.reshape(shape), w.reshape(shape)


def gaussian_rule(
    act: Activation,
    scale: Array,
    shift: Array,
    *,
    order: int = ORDER,
    extra: Array | None = None,
    reach: float = RANGE,
    density: float = 1.0,
) -> tuple[Array, Array]:
    """Nodes and weights (m, n) for E[f(phi(scale x + shift))], ``scale`` (not zero) and ``shift`` of shape (m,).

    ``extra`` gives more breaks in x, of shape (e,), and ``reach`` a wider range for functions that grow fast. The
    weights of each row, with ``density`` 1, sum to 1 to rounding; they are multiplied by that power of the density.
    """
    uniform = _UNIFORM if reach == RANGE else np.linspace(-reach, reach, 2 * math.ceil(reach / 2.5) + 1)
    if extra is not None:
        uniform = np.concatenate([uniform, extra])
    own = u_breaks(act, scale, shift, reach)
    breaks = np.empty((len(scale), uniform.size + own.size))
    breaks[:, : uniform.size] = uniform
    breaks[:, uniform.size :] = (own - shift[:, None]) / scale[:, None]
    return panel_rule(breaks, order, reach, density)
