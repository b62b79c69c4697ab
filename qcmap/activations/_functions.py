"""Formulas of the catalogue that take more than a line: value, first and second derivative, in numpy.

They are free of overflow and cancellation.

Each function takes a float64 array of any shape and returns one of the same shape. At a kink the derivatives take the
value of the left side, which changes no integral. Derivatives of higher order are in ``_derivatives.py``.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Jet = tuple[Callable[[Array], Array], Callable[[Array], Array], Callable[[Array], Array]]

SELU_SCALE = 1.0507009873554804934193349852946
SELU_ALPHA = 1.6732632423543772848170429916717
GELU_TANH_ARGUMENT = math.sqrt(2 / math.pi), 0.044715


def logistic(u: Array) -> Array:
    """The value 1 / (1 + exp(-u))."""
    decay = np.exp(-np.abs(u))
    return np.where(u >= 0, 1.0, decay) / (1 + decay)


def _logistic_slope(u: Array) -> Array:
    decay = np.exp(-np.abs(u))
    return decay / (1 + decay) ** 2


def _logistic_curvature(u: Array) -> Array:
    return -_logistic_slope(u) * np.tanh(u / 2)


def _sech2(u: Array) -> Array:
    decay = np.exp(-2 * np.abs(u))
    return 4 * decay / (1 + decay) ** 2


def _softplus(u: Array) -> Array:
    return np.maximum(u, 0) + np.log1p(np.exp(-np.abs(u)))


def _erf(u: Array) -> Array:
    from scipy.special import erf

    return erf(u)


def normal_cdf(u: Array) -> Array:
    """The value (1 + erf(u / sqrt 2)) / 2."""
    from scipy.special import ndtr

    return ndtr(u)


def _normal_pdf(u: Array) -> Array:
    return np.exp(-u * u / 2) / math.sqrt(2 * math.pi)


def _gelu_tanh_inner(u: Array) -> tuple[Array, Array, Array]:
    scale, cubic = GELU_TANH_ARGUMENT
    return scale * (u + cubic * u**3), scale * (1 + 3 * cubic * u * u), 6 * scale * cubic * u


def _gelu_tanh_first(u: Array) -> Array:
    inner, slope, _ = _gelu_tanh_inner(u)
    return 0.5 * (1 + np.tanh(inner)) + 0.5 * u * _sech2(inner) * slope


def _gelu_tanh_second(u: Array) -> Array:
    inner, slope, curvature = _gelu_tanh_inner(u)
    return _sech2(inner) * (slope + 0.5 * u * (curvature - 2 * np.tanh(inner) * slope**2))


def _mish_parts(u: Array) -> tuple[Array, Array, Array]:
    """T = tanh(softplus(u)) and its first two derivatives."""
    soft, sigma = _softplus(u), logistic(u)
    height, sech2 = np.tanh(soft), _sech2(soft)
    slope = sech2 * sigma
    return height, slope, sech2 * _logistic_slope(u) - 2 * height * slope * sigma


def mish_height(u: Array) -> Array:
    """The value tanh(softplus(u))."""
    return np.tanh(_softplus(u))


def _mish_first(u: Array) -> Array:
    height, slope, _ = _mish_parts(u)
    return height + u * slope


def _mish_second(u: Array) -> Array:
    _, slope, curvature = _mish_parts(u)
    return 2 * slope + u * curvature


def _zero(u: Array) -> Array:
    return np.zeros_like(u)


def _one(u: Array) -> Array:
    return np.ones_like(u)


def exponential_unit(scale: float, alpha: float, width: float) -> Jet:
    """scale * (u if u > 0 else alpha (exp(u / width) - 1)): elu, selu and celu."""
    return (
        lambda u: scale * np.where(u > 0, u, alpha * np.expm1(np.minimum(u, 0) / width)),
        lambda u: scale * np.where(u > 0, 1.0, alpha / width * np.exp(np.minimum(u, 0) / width)),
        lambda u: scale * np.where(u > 0, 0.0, alpha / width**2 * np.exp(np.minimum(u, 0) / width)),
    )


def two_slopes(left: float, right: float) -> Jet:
    """Left * u below zero, right * u above: relu, leaky relu."""
    return lambda u: np.where(u > 0, right, left) * u, lambda u: np.where(u > 0, right, left), _zero


def clipped(lower: float, upper: float) -> Jet:
    """min(max(u, lower), upper): hardtanh, relu6."""
    return lambda u: np.clip(u, lower, upper), lambda u: np.where((u > lower) & (u <= upper), 1.0, 0.0), _zero


TANH: Jet = np.tanh, _sech2, lambda u: -2 * np.tanh(u) * _sech2(u)
SIGMOID: Jet = logistic, _logistic_slope, _logistic_curvature
ERF: Jet = (
    _erf,
    lambda u: 2 / math.sqrt(math.pi) * np.exp(-u * u),
    lambda u: -4 / math.sqrt(math.pi) * u * np.exp(-u * u),
)
SOFTPLUS: Jet = _softplus, logistic, _logistic_slope
SWISH: Jet = (
    lambda u: u * logistic(u),
    lambda u: logistic(u) + u * _logistic_slope(u),
    lambda u: 2 * _logistic_slope(u) + u * _logistic_curvature(u),
)
GELU: Jet = (
    lambda u: u * normal_cdf(u),
    lambda u: normal_cdf(u) + u * _normal_pdf(u),
    lambda u: (2 - u * u) * _normal_pdf(u),
)
GELU_TANH: Jet = lambda u: 0.5 * u * (1 + np.tanh(_gelu_tanh_inner(u)[0])), _gelu_tanh_first, _gelu_tanh_second
SOFTSIGN: Jet = (
    lambda u: u / (1 + np.abs(u)),
    lambda u: (1 + np.abs(u)) ** -2,
    lambda u: np.where(u > 0, -2.0, 2.0) * (1 + np.abs(u)) ** -3,
)
MISH: Jet = lambda u: u * _mish_parts(u)[0], _mish_first, _mish_second
HARDSWISH: Jet = (
    lambda u: u * np.clip(u + 3, 0, 6) / 6,
    lambda u: np.where(u > 3, 1.0, np.where(u > -3, (2 * u + 3) / 6, 0.0)),
    lambda u: np.where((u > -3) & (u <= 3), 1 / 3, 0.0),
)
IDENTITY: Jet = lambda u: 1.0 * u, _one, _zero


# --- all three at once, sharing exponentials ----------------------------------------------------------------------


def _logistic_parts(u: Array) -> tuple[Array, Array, Array, Array]:
    """exp(-abs u), and the logistic function with its first two derivatives, the second to 1e-16 absolutely near 0."""
    decay = np.exp(-np.abs(u))
    above = 1 / (1 + decay)
    slope = decay * above * above
    right = u >= 0
    return decay, np.where(right, above, decay * above), slope, np.where(right, decay - 1, 1 - decay) * above * slope


def _softplus_jet(u: Array) -> tuple[Array, Array, Array]:
    decay, sigma, slope, _ = _logistic_parts(u)
    return np.maximum(u, 0) + np.log1p(decay), sigma, slope


def _swish_jet(u: Array) -> tuple[Array, Array, Array]:
    _, sigma, slope, curvature = _logistic_parts(u)
    return u * sigma, sigma + u * slope, 2 * slope + u * curvature


def _mish_jet(u: Array) -> tuple[Array, Array, Array]:
    decay, sigma, slope, _ = _logistic_parts(u)
    soft = np.maximum(u, 0) + np.log1p(decay)
    height, sech2 = np.tanh(soft), _sech2(soft)
    rise = sech2 * sigma
    return u * height, height + u * rise, 2 * rise + u * (sech2 * slope - 2 * height * rise * sigma)


def _tanh_jet(u: Array) -> tuple[Array, Array, Array]:
    height, slope = np.tanh(u), _sech2(u)
    return height, slope, -2 * height * slope


def _gelu_jet(u: Array) -> tuple[Array, Array, Array]:
    mass, density = normal_cdf(u), _normal_pdf(u)
    return u * mass, mass + u * density, (2 - u * u) * density


AT_ONCE: dict[Jet, Callable[[Array], tuple[Array, Array, Array]]] = {
    SOFTPLUS: _softplus_jet,
    SWISH: _swish_jet,
    MISH: _mish_jet,
    TANH: _tanh_jet,
    GELU: _gelu_jet,
}
"""What gives value, first and second derivative with less work than the three functions one by one."""
