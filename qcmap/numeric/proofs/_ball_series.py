"""Taylor series of the smooth activations in ball arithmetic, and bounds for all their derivatives on the real line.

A function bounded by K max(1, abs(u))^p on the strip abs(Im u) <= r has, by Cauchy's estimate,
abs(phi^(j)(u)) <= j! r^-j K (1 + r + abs(u))^p for real u. docs/certificates.md derives the constants.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from flint import acb_series, arb, arb_series

from qcmap.activations import Activation
from qcmap.numeric.proofs._balls import rational

PowerSeries = TypeVar("PowerSeries", arb_series, acb_series)
Series = Callable[[Any], Any]


@dataclass(frozen=True)
class SmoothActivation:
    """phi as a map of real or complex series, and K max(1, abs(u))^p as a bound on the strip abs(Im u) <= ``strip``."""

    series: Series
    strip: float
    size: float
    power: int


def _logistic(u: PowerSeries) -> PowerSeries:
    # Where u < 0 the small exponential is the one that balls of some width leave small.
    if u[0].real < 0:
        e = u.exp()
        return e / (1 + e)
    return 1 / (1 + (-u).exp())


def _tanh(u: PowerSeries) -> PowerSeries:
    return 2 * _logistic(2 * u) - 1


def _gelu_tanh(u: PowerSeries) -> PowerSeries:
    return u * _logistic(2 * (2 / arb.pi()).sqrt() * (u + rational("0.044715") * u * u * u))


def _mish(u: PowerSeries) -> PowerSeries:
    e = u.exp()
    return u * (1 - 2 / ((1 + e) * (1 + e) + 1))


def _asinh(u: PowerSeries) -> PowerSeries:
    # asinh is odd, and sqrt(1 + u^2) + u has no cancellation where u > 0.
    if u[0].real < 0:
        return -_asinh(-u)
    return ((1 + u * u).sqrt() + u).log()


_SMOOTH: dict[str, SmoothActivation] = {
    "tanh": SmoothActivation(_tanh, 0.75, 3, 0),
    "sigmoid": SmoothActivation(_logistic, 1.5, 1, 0),
    "erf": SmoothActivation(lambda u: u.erf(), 1.0, 5, 0),
    "softplus": SmoothActivation(lambda u: (1 + u.exp()).log(), 1.5, 4, 1),
    "swish": SmoothActivation(lambda u: u * _logistic(u), 1.5, 1, 1),
    "gelu": SmoothActivation(lambda u: u * (1 + (u / arb(2).sqrt()).erf()) / 2, 1.0, 2, 1),
    "gelu_tanh": SmoothActivation(_gelu_tanh, 0.5, 2, 1),
    "bentid": SmoothActivation(lambda u: ((1 + u * u).sqrt() - 1) / 2 + u, 0.75, 3, 1),
    "atan": SmoothActivation(lambda u: u.atan(), 0.75, 4, 0),
    "asinh": SmoothActivation(_asinh, 0.75, 3, 1),
    "sin": SmoothActivation(lambda u: u.sin(), 1.0, 2, 0),
    "cos": SmoothActivation(lambda u: u.cos(), 1.0, 2, 0),
    "mish": SmoothActivation(_mish, 1.5, 3, 1),
}


def series_of(name: str) -> SmoothActivation | None:
    """That of the catalogue's activation of this name; None if it has none."""
    return _SMOOTH.get(name)


def smooth_activation(act: Activation) -> SmoothActivation | None:
    """The series of a smooth activation of the catalogue; None for others."""
    from qcmap.activations._catalogue import CATALOGUE, named

    if act.name in _SMOOTH and act.name in CATALOGUE and named(act.name).expression == act.expression:
        return _SMOOTH[act.name]
    return None
