"""Derivatives of any order of the catalogue's analytic pieces, free of overflow and cancellation.

A piece is a function (u, order) -> phi^(order)(u) for order >= 1. Every formula has them by ball arithmetic
(`formula_pieces`); these take a thousandth of the time. Four families carry the catalogue:

- sigma, the logistic function, at real and complex arguments (sigmoid, softplus, tanh, swish, mish). With x = exp(-z)
  and Re z >= 0, induction over d/dz = -x d/dx gives

      sigma^(m)(z) = (-1)^(m+1) sum_k A(m, k) (-1)^k x^(k+1) / (1 + x)^(m+1),     A: Eulerian numbers,

  and sigma(-z) = 1 - sigma(z) gives the rest. The sum loses a factor of about (pi/2)^m in digits, so above order 12 the
  poles are summed instead: sigma^(m)(z) = (-1)^m m! sum_k (z - (2k + 1) pi i)^-(m+1).
- exp(-u^2) times Hermite polynomials (erf, gelu), by their recurrence.
- powers (1 + u^2)^-a (atan, asinh, bentid): with r = sqrt(1 + u^2), the generating function of the Gegenbauer
  polynomials, (1 + (u + t)^2)^-a = r^(-2a) (1 + 2 (u/r) (t/r) + (t/r)^2)^-a, gives the n-th derivative
  (-1)^n n! r^(-n-2a) C_n^(a)(u/r).
- Taylor coefficients of sigma(w(u)) for a polynomial w (gelu_tanh), from sigma' = sigma (1 - sigma).

The rest are polynomials, exponentials, sines and powers.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qcmap.activations._functions import logistic, mish_height, normal_cdf
from qcmap.errors import ActivationError

Array = NDArray[np.float64]
Piece = Callable[[Array, int], Array]


@dataclass(frozen=True)
class _Family:
    """A piece with parameters; equal ones are equal pieces."""

    derivative: Callable[..., Array]
    parameters: tuple[Any, ...]

    def __call__(self, u: Array, order: int) -> Array:
        return self.derivative(u, order, *self.parameters)


def formula_pieces(expression: str, kinks: int) -> tuple[Piece, ...]:
    """Those of a formula in ``u`` with so many kinks."""
    return tuple(_Family(_of_formula, (expression, k, kinks)) for k in range(kinks + 1))


def _of_formula(u: Array, order: int, expression: str, k: int, kinks: int) -> Array:
    from qcmap.activations._ball_formula import at_floats, ball_pieces

    pieces = ball_pieces(expression)
    if len(pieces) != kinks + 1:
        raise ActivationError(expression, f"it has {len(pieces) - 1} kinks, not {kinks}", "give those of the formula")
    return at_floats(pieces.derivative(k, order), u)


_MOST_BY_EULERIAN = 12
_POLES = 8
"""Pairs of poles: the next ones weigh less than (2 * 8 + 1)^-14 = 6e-18 of the nearest."""


@lru_cache(maxsize=64)
def _eulerian(order: int) -> tuple[int, ...]:
    """A(order, k) for k < order: permutations of ``order`` things with k ascents."""
    row = [1]
    for n in range(2, order + 1):
        row = [
            (k + 1) * (row[k] if k < n - 1 else 0) + (n - k) * (row[k - 1] if k else 0)
            for k in range(n)
        ]  # fmt: skip
    return tuple(row)


def logistic_derivative(z: NDArray[Any], order: int) -> NDArray[Any]:
    """sigma^(order)(z), order >= 1, for real z or complex z with abs(Im z) < pi."""
    z = np.asarray(z)
    if order > _MOST_BY_EULERIAN:
        poles = math.pi * 1j * (2 * np.arange(-_POLES, _POLES) + 1)
        scale = math.prod(k / math.pi for k in range(1, order + 1)) / math.pi
        total = (-1) ** order * scale * ((math.pi / (z[..., None] - poles)) ** (order + 1)).sum(axis=-1)
        return total if np.iscomplexobj(z) else total.real
    right = np.real(z) >= 0
    x = np.exp(np.where(right, -z, z))
    total = np.zeros_like(x)
    for k, number in reversed(list(enumerate(_eulerian(order)))):
        total = total * x + (-1) ** k * number
    sign = np.where(right, (-1.0) ** (order + 1), 1.0)
    return sign * total * x / (1 + x) ** (order + 1)


def sigmoid(u: Array, order: int) -> Array:
    """Of 1 / (1 + exp(-u))."""
    return logistic_derivative(u, order)


def tanh(u: Array, order: int) -> Array:
    """Of tanh(u) = 2 sigma(2 u) - 1."""
    return 2.0 ** (order + 1) * logistic_derivative(2 * u, order)


def softplus(u: Array, order: int) -> Array:
    """Of log(1 + exp(u)), whose derivative is sigma."""
    return logistic(u) if order == 1 else logistic_derivative(u, order - 1)


def swish(u: Array, order: int) -> Array:
    """Of u sigma(u), by Leibniz: u sigma^(m) + m sigma^(m-1)."""
    before = logistic(u) if order == 1 else logistic_derivative(u, order - 1)
    return u * logistic_derivative(u, order) + order * before


def mish(u: Array, order: int) -> Array:
    """Of u T, T = tanh(softplus(u)), by Leibniz.

    With y = exp(u), T = 1 - 2 / ((y + 1)^2 + 1) = 1 - 2 Im 1 / (y + a), a = 1 - i, and 1 / (exp(u) + a) =
    (1 - sigma(u - log a)) / a, so T^(m) = 2 Im sigma^(m)(u - log a) / a.
    """
    a = 1 - 1j
    z = u - np.log(a)
    before = mish_height(u) if order == 1 else 2 * (logistic_derivative(z, order - 1) / a).imag
    return u * 2 * (logistic_derivative(z, order) / a).imag + order * before


def _hermite_gauss(u: Array, degree: int) -> Array:
    """H_degree(u) exp(-u^2) with the physicists' Hermite polynomial."""
    before, now = np.zeros_like(u), np.exp(-u * u)
    for k in range(degree):
        before, now = now, 2 * u * now - 2 * k * before
    return now


def erf(u: Array, order: int) -> Array:
    """Of erf(u): the m-th is 2 / sqrt(pi) (-1)^(m-1) H_(m-1)(u) exp(-u^2)."""
    return (-1) ** (order - 1) * 2 / math.sqrt(math.pi) * _hermite_gauss(u, order - 1)


def gelu(u: Array, order: int) -> Array:
    """Of u Phi(u), Phi(u) = (1 + erf(u / sqrt 2)) / 2, by Leibniz."""

    def cdf(n: int) -> Array:
        return normal_cdf(u) if n == 0 else erf(u / math.sqrt(2), n) * 2 ** (-n / 2) / 2

    return u * cdf(order) + order * cdf(order - 1)


def gelu_tanh(scale: float, cubic: float) -> Piece:
    """Of u (1 + tanh(scale (u + cubic u^3))) / 2 = u sigma(w(u)), w = 2 scale (u + cubic u^3), by Taylor coefficients.

    With s = sigma(w) and its complement t = 1 - s (kept apart: neither cancels), s' = s t w'; n s_n is the coefficient
    of order n - 1 of the product.
    """
    return _Family(_gelu_tanh, (scale, cubic))


def _gelu_tanh(u: Array, order: int, scale: float, cubic: float) -> Array:
    inner = [2 * scale * (1 + 3 * cubic * u * u), 12 * scale * cubic * u, np.full_like(u, 6 * scale * cubic)]
    w = 2 * scale * (u + cubic * u**3)
    s, t = [logistic(w)], [logistic(-w)]
    product: list[Array] = []
    for n in range(1, order + 1):
        product.append(sum((s[j] * t[n - 1 - j] for j in range(n)), np.zeros_like(u)))
        term = sum((inner[j] * product[n - 1 - j] for j in range(min(n, 3))), np.zeros_like(u)) / n
        s.append(term)
        t.append(-term)
    return math.factorial(order) * (u * s[order] + s[order - 1])


def _inverse_power(u: Array, power: float, order: int) -> Array:
    """The n-th derivative, n >= 0, of (1 + u^2)^-power: (-1)^n n! r^(-n - 2 power) C_n^(power)(u / r)."""
    r = np.hypot(1.0, u)
    x = u / r
    before, now = np.zeros_like(u), np.ones_like(u)
    for n in range(1, order + 1):
        before, now = now, (2 * x * (n + power - 1) * now - (n + 2 * power - 2) * before) / n
    return (-1) ** order * math.factorial(order) * now * r ** (-order - 2 * power)


def atan(u: Array, order: int) -> Array:
    """Of atan(u), whose derivative is 1 / (1 + u^2)."""
    return _inverse_power(u, 1.0, order - 1)


def asinh(u: Array, order: int) -> Array:
    """Of asinh(u), whose derivative is (1 + u^2)^(-1/2)."""
    return _inverse_power(u, 0.5, order - 1)


def bentid(u: Array, order: int) -> Array:
    """Of (sqrt(u^2 + 1) - 1) / 2 + u; sqrt(u^2 + 1) has second derivative (1 + u^2)^(-3/2)."""
    if order == 1:
        return u / (2 * np.hypot(1.0, u)) + 1
    return _inverse_power(u, 1.5, order - 2) / 2


def sine(quarters: int) -> Piece:
    """Of sin(u + quarters pi / 2)."""
    return _Family(_sine, (quarters,))


def _sine(u: Array, order: int, quarters: int) -> Array:
    quarters = (order + quarters) % 4
    return (1 - 2 * (quarters // 2)) * (np.cos(u) if quarters % 2 else np.sin(u))


def polynomial(*coefficients: float) -> Piece:
    """Of the polynomial with these coefficients, the constant first."""
    return _Family(_polynomial, coefficients)


def _polynomial(u: Array, order: int, *coefficients: float) -> Array:
    if order >= len(coefficients):
        return np.zeros_like(u)
    return np.polynomial.polynomial.polyval(u, np.polynomial.polynomial.polyder(coefficients, order)) + 0 * u


def exponential(scale: float, width: float) -> Piece:
    """Of scale * exp(u / width) and a constant."""
    return _Family(_exponential, (scale, width))


def _exponential(u: Array, order: int, scale: float, width: float) -> Array:
    return scale / width**order * np.exp(u / width)


def softsign(side: int) -> Piece:
    """Of u / (1 + side u), side = 1 right of zero and -1 left of it: side - side / (1 + side u)."""
    return _Family(_softsign, (side,))


def _softsign(u: Array, order: int, side: int) -> Array:
    return (-side) ** (order + 1) * math.factorial(order) * (1 + side * u) ** (-float(order) - 1)
