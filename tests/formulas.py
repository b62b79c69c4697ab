"""The catalogue once more, one entry an activation, independent of the library: phi and phi' in any arithmetic.

Each function takes an arithmetic m, mpmath at 32 digits (`MP`) or balls of flint (`BALL`), and a number u of it.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial
from operator import methodcaller
from typing import Any

import mpmath
from flint import arb

MP: Any = mpmath.mp.clone()
"""A context of its own, so that mpmath's global precision is never touched."""
MP.dps = 32


_METHODS = "exp", "expm1", "log1p", "sqrt", "sin", "cos", "tanh", "cosh", "atan", "asinh", "erf", "erfc"


class _Balls:
    """Balls of flint under mpmath's names, at the precision of the call."""

    mpf = re = arb
    pi = property(lambda self: arb.pi())
    locals().update({name: methodcaller(name) for name in _METHODS})


BALL: Any = _Balls()


@dataclass(frozen=True)
class Formula:
    """phi and phi', the kinks, and where the nearest complex singularity of a piece lies.

    Attributes
    ----------
    second
        phi''; if None, mpmath differentiates phi'.
    strip
        Within this distance of the real axis phi does not grow beyond its size on it, and has no singularities; if
        None, 0.95 of ``length``.
    oscillates
        It is a wave.
    closed
        What is known in closed form: the "kernel", the "moments" E phi and E phi^2, the "mean", or "nothing".
    """

    value: Callable
    first: Callable
    kinks: tuple = ()
    length: float = math.inf
    centre: float = 0.0
    second: Callable | None = None
    strip: float | None = None
    oscillates: bool = False
    closed: str = "nothing"

    def __post_init__(self) -> None:
        if self.strip is None:
            object.__setattr__(self, "strip", 0.95 * self.length)

    def at(self, arithmetic: Any) -> "Formula":
        """The functions of numbers of an arithmetic."""
        first = partial(self.first, arithmetic)
        second = partial(self.second, arithmetic) if self.second else lambda u: MP.diff(first, u)
        return replace(self, value=partial(self.value, arithmetic), first=first, second=second)


SELU_SCALE = Fraction("1.0507009873554804934193349852946")
SELU_ALPHA = Fraction("1.6732632423543772848170429916717")


def _cases(left, right, at=0):
    """Left of ``at`` one function, right of it another."""
    return lambda m, u: right(m, u) if m.re(u) > at else left(m, u)


def _constant(value):
    return lambda m, u: m.mpf(value)


def _same(m, u):
    return u


def _zero(m, u):
    return 0 * u


def _times(slope):
    return lambda m, u: m.mpf(slope) * u


def _exponential(scale, alpha):
    """Scale * u on the right, scale * alpha * (exp u - 1) on the left; both numbers are fractions."""

    def linear(m, u):
        return m.mpf(scale.numerator) / scale.denominator * u

    def size(m):
        return m.mpf((scale * alpha).numerator) / (scale * alpha).denominator

    def grown(m, u):
        return size(m) * m.exp(u)

    return Formula(
        _cases(lambda m, u: size(m) * m.expm1(u), linear), _cases(grown, lambda m, u: linear(m, m.mpf(1))),
        (0,), second=_cases(grown, _zero), strip=3.0, closed="moments",
    )  # fmt: skip


def _clip(low, high):
    return (
        _cases(_constant(low), _cases(_same, _constant(high), high), low),
        _cases(_zero, _cases(_constant(1), _zero, high), low),
    )


def two_slopes(left):
    """left * u below zero and u above."""
    return Formula(_cases(_times(left), _same), _cases(_constant(left), _constant(1)), (0,), closed="kernel")


def _sigma(m, u):
    return 1 / (1 + m.exp(-u))


def _bump(m, u):
    return _sigma(m, u) * _sigma(m, -u)


def _density(m, u):
    return m.exp(-u * u / 2) / m.sqrt(2 * m.pi)


def _cdf(m, u):
    return m.erfc(-u / m.sqrt(m.mpf(2))) / 2


def _cubic(m):
    return m.mpf(44715) / 1000000


def _gelu_tanh(m, u):
    # (1 + tanh z) / 2 = sigma(2 z), whose derivative is sigma(2 z) sigma(-2 z) 2 z'.
    return _sigma(m, m.sqrt(8 / m.pi) * (u + _cubic(m) * u**3))


def _gelu_tanh_first(m, u):
    height = _gelu_tanh(m, u)
    return height + u * height * (1 - height) * m.sqrt(8 / m.pi) * (1 + 3 * _cubic(m) * u**2)


def _mish(m, u):
    # tanh(log(1 + y)) = n / (n + 2) with n = (1 + y)^2 - 1, y = exp(u).
    y = m.exp(u)
    return y * (y + 2) / (y * (y + 2) + 2)


def _mish_first(m, u):
    y = m.exp(u)
    return _mish(m, u) + u * 4 * y * (y + 1) / (y * (y + 2) + 2) ** 2


ENTRIES = {
    "tanh": Formula(
        lambda m, u: m.tanh(u), lambda m, u: 1 / m.cosh(u) ** 2, length=1.57, closed="mean",
        second=lambda m, u: -2 * m.tanh(u) / m.cosh(u) ** 2,
    ),
    "sigmoid": Formula(
        _sigma, _bump, length=3.14, second=lambda m, u: _bump(m, u) * (1 - 2 * _sigma(m, u)), closed="mean"
    ),
    "erf": Formula(
        lambda m, u: m.erf(u), lambda m, u: 2 / m.sqrt(m.pi) * m.exp(-u * u), strip=1.5, closed="kernel",
        second=lambda m, u: -4 * u / m.sqrt(m.pi) * m.exp(-u * u),
    ),
    "relu": two_slopes(0),
    "leaky_relu": two_slopes(0.01),
    "softplus": Formula(lambda m, u: m.log1p(m.exp(u)), _sigma, length=3.14, second=_bump),
    "selu": _exponential(SELU_SCALE, SELU_ALPHA),
    "elu": _exponential(Fraction(1), Fraction(1)),
    "celu": _exponential(Fraction(1), Fraction(1)),
    "swish": Formula(
        lambda m, u: u * _sigma(m, u), lambda m, u: _sigma(m, u) * (1 + u * _sigma(m, -u)), length=3.14,
        second=lambda m, u: _bump(m, u) * (2 + u * (1 - 2 * _sigma(m, u))),
    ),
    "gelu": Formula(
        lambda m, u: u * _cdf(m, u), lambda m, u: _cdf(m, u) + u * _density(m, u), strip=2.0, closed="kernel",
        second=lambda m, u: _density(m, u) * (2 - u * u),
    ),
    "gelu_tanh": Formula(lambda m, u: u * _gelu_tanh(m, u), _gelu_tanh_first, length=2.4, strip=1.8),
    "bentid": Formula(
        lambda m, u: (m.sqrt(u * u + 1) - 1) / 2 + u, lambda m, u: u / (2 * m.sqrt(u * u + 1)) + 1, length=1.0,
        second=lambda m, u: 1 / (2 * m.sqrt(u * u + 1) ** 3),
    ),
    "atan": Formula(
        lambda m, u: m.atan(u), lambda m, u: 1 / (1 + u * u), length=1.0, closed="mean",
        second=lambda m, u: -2 * u / (1 + u * u) ** 2,
    ),
    "asinh": Formula(
        lambda m, u: m.asinh(u), lambda m, u: 1 / m.sqrt(1 + u * u), length=1.0, closed="mean",
        second=lambda m, u: -u / m.sqrt(1 + u * u) ** 3,
    ),
    "square": Formula(lambda m, u: u * u, lambda m, u: 2 * u, second=_constant(2), closed="kernel"),
    "softsign": Formula(
        _cases(lambda m, u: u / (1 - u), lambda m, u: u / (1 + u)),
        _cases(lambda m, u: 1 / (1 - u) ** 2, lambda m, u: 1 / (1 + u) ** 2), (0,), length=1.0, closed="mean",
        second=_cases(lambda m, u: 2 / (1 - u) ** 3, lambda m, u: -2 / (1 + u) ** 3),
    ),
    "sin": Formula(
        lambda m, u: m.sin(u), lambda m, u: m.cos(u), second=lambda m, u: -m.sin(u), strip=2.0, oscillates=True,
        closed="kernel",
    ),
    "cos": Formula(
        lambda m, u: m.cos(u), lambda m, u: -m.sin(u), second=lambda m, u: -m.cos(u), strip=2.0, oscillates=True,
        closed="kernel",
    ),
    "mish": Formula(lambda m, u: u * _mish(m, u), _mish_first, length=2.3, centre=0.34, strip=2.0),
    "hardtanh": Formula(*_clip(-1, 1), (-1, 1), closed="moments"),
    "hardswish": Formula(
        lambda m, u: u * _clip(0, 6)[0](m, u + 3) / 6,
        _cases(_zero, _cases(lambda m, u: (2 * u + 3) / 6, _constant(1), 3), -3), (-3, 3), closed="moments",
    ),
    "relu6": Formula(*_clip(0, 6), (0, 6), closed="moments"),
    "identity": Formula(_same, _constant(1), closed="kernel"),
}  # fmt: skip
"""By the catalogue's name, with default parameters."""
FORMULAS = {name: entry.at(MP) for name, entry in ENTRIES.items()}
"""In mpmath."""
BALLS = {name: entry.at(BALL) for name, entry in ENTRIES.items()}
"""In balls."""
