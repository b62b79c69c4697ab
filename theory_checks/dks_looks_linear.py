"""The Looks Linear construction: DKS, section 26.5.

phi(x) - phi(-x) is twice the odd part of phi. So W phi(x) - W phi(-x) = a W x for all W exactly if the odd part of phi
is a x / 2: relu (a = 1), leaky relu of negative slope s (a = 1 + s), but also x s(x) for every s with s(x) + s(-x) = 1,
such as swish and gelu, and softplus (log((1 + e^x) / (1 + e^-x)) = x).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from itertools import pairwise

import mpmath as mp
import numpy as np

from theory_checks.oracles import ACTIVATIONS, Oracle, precise
from theory_checks.registry import Array, Outcome, Tally, checks

Mirror = Callable[[Array], Array]
"""Weights [out, in, *kernel] to those on (phi(x), phi(-x)), [out, 2 in, *kernel]."""


def mirrored(weight: Array) -> Array:
    """(W, -W)."""
    return np.concatenate([weight, -weight], axis=1)


def _convolved(x: Array, weight: Array) -> Array:
    """A same-padded convolution of x [in, locations] with [out, in, taps]."""
    taps = weight.shape[2]
    padded = np.pad(x, ((0, 0), (taps // 2, taps // 2)))
    return np.sum([weight[:, :, t] @ padded[:, t : t + x.shape[1]] for t in range(taps)], axis=0)


@checks(
    "dks-47",
    part="identity",
    source="DKS 26.5",
    claim="W phi(x) - W phi(-x) = W x for relu, so a network of (phi(x), phi(-x)) and weights (W, -W) is linear: "
    "fully-connected and convolutional",
    subject=mirrored,
    broken=lambda weight: np.concatenate([weight, weight], axis=1),
)
def identity(subject: Mirror, effort: int) -> Outcome:
    """Chains of three layers against the product of their linear maps; one tap is the fully-connected case."""
    random, tally = np.random.default_rng(47), Tally()
    for case in range(6 * effort):
        taps = (1, 3)[case % 2]
        widths = [3, 5, 4, 2]
        weights = [random.standard_normal((b, a, taps)) for a, b in pairwise(widths)]
        x = random.standard_normal((3, 7))
        linear = x
        for weight in weights:
            linear = _convolved(linear, weight)
        h = _convolved(x, weights[0])
        for weight in weights[1:]:
            h = _convolved(np.concatenate([np.maximum(h, 0), np.maximum(-h, 0)]), subject(weight))
        size = float(np.abs(linear).max())
        gap = float(np.abs(h - linear).max()) / size
        tally.add(gap, 1e-13, f"{taps} taps: the network differs from the linear one by {gap:.3g} of its size")
    return tally.outcome()


ORACLES: dict[str, Oracle] = ACTIVATIONS | {
    "identity": Oracle(lambda u: u, lambda u: mp.mpf(1)),
    "mish": Oracle(lambda u: u * mp.tanh(mp.log1p(mp.exp(u))), lambda u: mp.mpf(0)),
    "bentid": Oracle(lambda u: u + (mp.sqrt(u * u + 1) - 1) / 2, lambda u: mp.mpf(0)),
}
LINEAR_ODD_PART = {"relu", "leaky_relu", "softplus", "swish", "gelu", "bentid", "identity"}


@cache
def has_linear_odd_part(name: str) -> bool:
    """Whether phi(x) - phi(-x) is proportional to x and not zero, at 30 digits on points between 0.1 and 6."""
    phi = ORACLES[name].value
    slopes = [(phi(x) - phi(-x)) / x for x in (mp.mpf(k) / 7 for k in range(1, 43, 3))]
    return max(slopes) - min(slopes) < mp.mpf(10) ** -25 and abs(slopes[0]) > mp.mpf(10) ** -25


@checks(
    "dks-47",
    part="activations",
    variant="as_printed",
    source="DKS 26.5",
    claim="The Looks Linear approach only works for relu",
    subject={"relu"},
    broken=LINEAR_ODD_PART,
)
@checks(
    "dks-47",
    part="activations",
    variant="corrected",
    source="DKS 26.5 (ours)",
    claim="It works for every activation whose odd part is linear: relu, leaky relu, softplus, swish, gelu, bentid",
    subject=LINEAR_ODD_PART,
    broken={"relu"},
)
@precise
def activations(subject: set[str], effort: int) -> Outcome:
    """Activations in mpmath; tanh, erf, sin, elu, selu, hardtanh, mish and the square have other odd parts."""
    tally = Tally()
    for name in ORACLES:
        linear = has_linear_odd_part(name)
        what = "is" if linear else "is not"
        tally.add(float((name in subject) != linear), 0.5, f"{name}(x) - {name}(-x) {what} proportional to x")
    return tally.outcome()
