"""Q(1), Q'(1), C'(1) and C''(1) of a transform at 32 digits, with phi'' written out again."""

from tests import oracles
from tests.oracles import FORMULAS, MP


def _sigma(u):
    return 1 / (1 + MP.exp(-u))


def _bump(u):
    return _sigma(u) * _sigma(-u)


def _derived(name):
    return lambda u: MP.diff(FORMULAS[name].first, u)


SECOND = {
    "tanh": lambda u: -2 * MP.tanh(u) / MP.cosh(u) ** 2,
    "sigmoid": lambda u: _bump(u) * (1 - 2 * _sigma(u)),
    "erf": lambda u: -4 * u / MP.sqrt(MP.pi) * MP.exp(-u * u),
    "softplus": _bump,
    "elu": lambda u: MP.zero if u > 0 else MP.exp(u),
    "celu": lambda u: MP.zero if u > 0 else MP.exp(u),
    "swish": lambda u: _bump(u) * (2 + u * (1 - 2 * _sigma(u))),
    "gelu": lambda u: MP.npdf(u) * (2 - u * u),
    "gelu_tanh": _derived("gelu_tanh"),
    "bentid": lambda u: 1 / (2 * MP.sqrt(u * u + 1) ** 3),
    "atan": lambda u: -2 * u / (1 + u * u) ** 2,
    "asinh": lambda u: -u / MP.sqrt(1 + u * u) ** 3,
    "square": lambda u: MP.mpf(2),
    "softsign": lambda u: (-2 if u > 0 else 2) / (1 + abs(u)) ** 3,
    "sin": lambda u: -MP.sin(u),
    "cos": lambda u: -MP.cos(u),
    "mish": _derived("mish"),
}
"""phi'' apart from kinks."""


def exact(name, input_scale, input_shift, output_shift, output_scale):
    """Q(1), Q'(1), C'(1) and C''(1) at 32 digits."""
    s = oracles.samples(FORMULAS[name], input_scale, input_shift)
    a, b, d, g = (MP.mpf(value) for value in (input_scale, input_shift, output_shift, output_scale))
    f = [g * (value + d) for value in s.value]
    slope = [g * a * first for first in s.first]
    bend = [g * a * a * SECOND[name](a * x + b) for x in s.x]
    q = MP.fsum(w * y * y for w, y in zip(s.w, f, strict=True))
    dq = MP.fsum(w * y * z * x for w, y, z, x in zip(s.w, f, slope, s.x, strict=True))
    energy, curved = (MP.fsum(w * z * z for w, z in zip(s.w, row, strict=True)) for row in (slope, bend))
    return {"Q(1)": q, "Q'(1)": dq, "C'(1)": energy / q, "C''(1)": curved / q}
