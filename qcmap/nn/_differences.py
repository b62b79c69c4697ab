"""Differences phi(y + t) - phi(y) of the catalogue's activations in torch, without cancellation at small t.

A table: for each name, a function of the float y (and the activation's own parameters) that gives a function of tensors
t. The formulas are addition theorems in terms of expm1, log1p and divided differences; their relative error is a few
units of rounding for every t while abs(y) is within `REACH` (docs/layers.md). They give values only: derivatives come
from phi itself, where nothing cancels.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.nn import functional

from qcmap.activations import Activation, activation
from qcmap.nn.functional import torch_function

Difference = Callable[[Tensor], Tensor]

REACH = defaultdict(lambda: 4.0, erf=1.5)
"""How far from zero y may lie; the tails beyond are flat or straight, and shaping has no use for them."""


def has_difference(act: Activation, y: float) -> bool:
    """Whether there is a formula: the function is the catalogue's own, and y within `REACH`."""
    own = act.name in NAMES and act.catalogued
    return own and abs(y) <= REACH[act.name]


def difference(name: str, parameters: Mapping[str, float], y: float) -> Difference:
    """The map t -> phi(y + t) - phi(y) for an activation of the catalogue."""
    return _TABLE[name](y, **parameters)


def _logistic(y: float) -> float:
    decay = math.exp(-abs(y))
    return (1.0 if y >= 0 else decay) / (1 + decay)


def _expm1(t: Tensor) -> Tensor:
    """exp(t) - 1, to a few units of rounding also where torch.compile makes it: its expm1 for CPUs cancels.

    There, sum_k t^k / k! up to k = 10 for abs(t) < 1/2, whose remainder is below 1e-8 of it.
    """
    if not torch.compiler.is_compiling():
        return torch.expm1(t)
    near = t * (1 / math.factorial(10))
    for k in range(9, 0, -1):
        near = (near + 1 / math.factorial(k)) * t
    return torch.where(t.abs() < 0.5, near, torch.exp(t) - 1)


def _sigmoid(y: float) -> Difference:
    """Half of (1 - T^2) h / (1 + T h) with T = tanh(y/2), h = tanh(t/2), by the addition theorem, for small T.

    Else s (1 - s) E / (1 + s E) with s = sigmoid(y) and E = exp(t) - 1; mirrored so that s <= 1/2 and 1 + s E >= 1/2.
    """
    middle = math.tanh(y / 2)
    if abs(middle) <= 0.6:
        height = (1 - middle**2) / 2

        def apply(t: Tensor) -> Tensor:
            step = torch.tanh(0.5 * t)
            return height * step / (1 + middle * step)

        return apply
    side = -1.0 if y > 0 else 1.0
    s = _logistic(-abs(y))
    peak = side * s * (1 - s)
    return lambda t: peak / (1 / _expm1(side * t) + s)


def _tanh(y: float) -> Difference:
    """Tanh(u) = 2 sigmoid(2 u) - 1."""
    half = _sigmoid(2 * y)
    return lambda t: 2 * half(2 * t)


def _softplus(y: float) -> Difference:
    """Log(1 - s + s exp(t)) with s = sigmoid(y); beyond t = 80, where exp overflows, t + log(s).

    The limit is a choice of values: torch.compile's kernels for CPUs are twice as slow with a limit before exp.
    """
    s = _logistic(y)
    return lambda t: torch.where(t > 80, t + math.log(s), torch.log1p(s * _expm1(t)))


def _erf(y: float) -> Callable[[Tensor, Tensor], Tensor]:
    """From t and erf(y + t): the Taylor polynomial of degree 13 near t = 0, the difference of the values beyond.

    The polynomial is 2/sqrt(pi) exp(-y^2) sum_k (-1)^k H_k(y) t^(k+1) / (k+1)!, for abs(t) < 1 / (2 abs(y) + 2). At
    its end a difference of erf is at least a quarter of the terms for abs(y) <= 1/2, and decreases like exp(-y^2).
    """
    radius, value = 1 / (2 * abs(y) + 2), math.erf(y)
    scale = 2 / math.sqrt(math.pi) * math.exp(-y * y)
    hermite = [1.0, 2 * y]
    for k in range(1, 12):
        hermite.append(2 * y * hermite[k] - 2 * k * hermite[k - 1])
    coefficients = [scale * (-1) ** k * h / math.factorial(k + 1) for k, h in enumerate(hermite)][::-1]

    def apply(t: Tensor, erf: Tensor) -> Tensor:
        near = coefficients[0] * t
        for coefficient in coefficients[1:]:
            near = (near + coefficient) * t
        return torch.where(t.abs() < radius, near, erf - value)

    return apply


def _error_function(y: float) -> Difference:
    step = _erf(y)
    return lambda t: step(t, torch.erf(y + t))


def _gelu(y: float) -> Difference:
    """Half of u + u erf(u / sqrt 2)."""
    root = math.sqrt(0.5)
    step = _erf(root * y)

    def apply(t: Tensor) -> Tensor:
        erf = torch.erf(root * (y + t))
        return 0.5 * (t * (1 + erf) + y * step(root * t, erf))

    return apply


def _gated(y: float, height: Callable[[Tensor], Tensor], step: Difference) -> Difference:
    """For phi(u) = u h(u): t h(y + t) + y (h(y + t) - h(y))."""
    return lambda t: t * height(y + t) + y * step(t)


def _swish(y: float) -> Difference:
    """As `_gated`, with both sigmoids from one exponential: s e^t / (1 + s E), and s (1 - s) E / (1 + s E) less s.

    E = exp(t) - 1, and beyond t = 80, where exp overflows, the fractions are 1 and 1 - s. For s <= 0.8 the denominator
    does not cancel.
    """
    s = _logistic(y)
    if s > 0.8:
        return _gated(y, torch.sigmoid, _sigmoid(y))
    rest = y * (1 - s)

    def apply(t: Tensor) -> Tensor:
        step = _expm1(t)
        return torch.where(t > 80, t + rest, s * (t * torch.exp(t) + rest * step) / (1 + s * step))

    return apply


def _gelu_tanh(y: float) -> Difference:
    """Phi(u) = u sigmoid(w) for w = 2 sqrt(2/pi) (u + 0.044715 u^3), whose difference is t times a quadratic."""
    scale, cubic = 2 * math.sqrt(2 / math.pi), 0.044715
    step = _sigmoid(scale * (y + cubic * y**3))

    def height(x: Tensor) -> Tensor:
        return torch.sigmoid(scale * x * (1 + cubic * x * x))

    return _gated(y, height, lambda t: step(scale * t * (1 + cubic * (3 * y * y + (3 * y + t) * t))))


def _mish(y: float) -> Difference:
    inner = _softplus(y)
    outer = _tanh(math.log1p(math.exp(y)))
    return _gated(y, lambda x: torch.tanh(functional.softplus(x)), lambda t: outer(inner(t)))


def _wave(sine: float, cosine: float) -> Difference:
    """Sin(y + t) - sin(y) = cos(y) sin(t) - 2 sin(y) sin(t/2)^2."""
    return lambda t: cosine * torch.sin(t) - 2 * sine * torch.sin(t / 2).square()


def _clipped(y: float, lower: float, upper: float) -> Difference:
    """The difference of min(max(u, lower), upper): t itself inside."""
    below, above = lower - y, upper - y
    constant = min(max(0.0, below), above)

    def apply(t: Tensor) -> Tensor:
        # Choices, which torch.compile makes faster for CPUs than clamp.
        if math.isfinite(below):
            t = torch.where(t < below, below, t)
        if math.isfinite(above):
            t = torch.where(t > above, above, t)
        return t - constant if constant else t

    return apply


def _two_slopes(y: float, left: float, right: float) -> Difference:
    negative, positive = _clipped(y, -math.inf, 0), _clipped(y, 0, math.inf)
    return lambda t: left * negative(t) + right * positive(t)


def _exponential(y: float, scale: float, alpha: float, width: float) -> Difference:
    """Elu, selu and celu: exp(a + d) - exp(a) = exp(a) expm1(d) left of zero, a straight line right of it."""
    negative, positive = _clipped(y, -math.inf, 0), _clipped(y, 0, math.inf)
    factor = scale * alpha * math.exp(min(y, 0) / width)
    return lambda t: factor * _expm1(negative(t) / width) + scale * positive(t)


def _hardswish(y: float) -> Difference:
    """A quadratic on [-3, 3], a line of slope 1 right of it."""
    middle, line = _clipped(y, -3, 3), _clipped(y, 3, math.inf)
    slope = 2 * min(max(y, -3.0), 3.0) + 3

    def apply(t: Tensor) -> Tensor:
        d = middle(t)
        return d * (slope + d) / 6 + line(t)

    return apply


def _far(act: Activation | str, y: float, near: Difference) -> Difference:
    """``near`` where abs(t) < 1; beyond, the difference of the values, which is not small beside them."""
    row = activation(act)
    function, value = torch_function(row), float(row(y))
    return lambda t: torch.where(t.abs() < 1, near(t), function(y + t) - value)


def _bentid(y: float) -> Difference:
    root = math.hypot(y, 1)
    return _far("bentid", y, lambda t: t + t * (2 * y + t) / (2 * (torch.sqrt((y + t).square() + 1) + root)))


def _asinh(y: float) -> Difference:
    """Log1p of (x + sqrt(1 + x^2)) / (y + sqrt(1 + y^2)) - 1, mirrored so that x = y + t lies right of y."""
    root = math.hypot(y, 1)

    def near(t: Tensor) -> Tensor:
        side = torch.where(t < 0, -1.0, 1.0)
        step, start = t.abs(), side * y
        slope = 1 + (2 * start + step) / (torch.sqrt((start + step).square() + 1) + root)
        return side * torch.log1p(step * slope / (start + root))

    return _far("asinh", y, near)


def _softsign(y: float) -> Difference:
    """t / ((1 + abs(x)) (1 + abs(y))) where x = y + t has the sign of y; else the two terms have opposite signs."""
    scale, value = 1 + abs(y), y / (1 + abs(y))

    def apply(t: Tensor) -> Tensor:
        x = y + t
        size = 1 + x.abs()
        return torch.where(x * y > 0, t / size / scale, x / size - value)

    return apply


_SELU = 1.0507009873554804934193349852946, 1.6732632423543772848170429916717
_TABLE: dict[str, Callable[..., Difference]] = {
    "asinh": _asinh,
    "atan": lambda y: lambda t: torch.atan2(t, 1 + y * (y + t)),
    "bentid": _bentid,
    "celu": lambda y, alpha: _exponential(y, 1.0, alpha, alpha),
    "cos": lambda y: _wave(math.cos(y), -math.sin(y)),
    "elu": lambda y, alpha: _exponential(y, 1.0, alpha, 1.0),
    "erf": _error_function,
    "gelu": _gelu,
    "gelu_tanh": _gelu_tanh,
    "hardswish": _hardswish,
    "hardtanh": lambda y: _clipped(y, -1, 1),
    "identity": lambda y: lambda t: t,
    "leaky_relu": lambda y, negative_slope: _two_slopes(y, negative_slope, 1.0),
    "mish": _mish,
    "relu": lambda y: _clipped(y, 0, math.inf),
    "relu6": lambda y: _clipped(y, 0, 6),
    "selu": lambda y: _exponential(y, _SELU[0], _SELU[1], 1.0),
    "sigmoid": _sigmoid,
    "sin": lambda y: _wave(math.sin(y), math.cos(y)),
    "softplus": _softplus,
    "softsign": _softsign,
    "square": lambda y: lambda t: t * (2 * y + t),
    "swish": _swish,
    "tanh": _tanh,
}
NAMES = tuple(_TABLE)
"""Of which there are formulas; differences of others are taken in float64 (`ShapedActivation`)."""
