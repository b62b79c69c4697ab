"""Path-weight analysis: DKS, appendix I.

f(x) is the sum of W_p x_p over active paths. Equation (29) takes E[W_p W_q] out of the expectation over the active
paths, as if weights and gates were independent. They are not: for one hidden layer with u = W x, u' = W x' of cosine
c = cos t,

    E relu(u) relu(u') = (sin t + (pi - t) cos t) / (2 pi)    and not    P(u, u' > 0) c = (pi - t) cos t / (2 pi).

They agree at t = 0 (x = x', for which (29) holds at every depth: given a layer's input each unit is active with
probability 1/2 whatever its weights' squares) and for gates that do not depend on the weights. For gradients,
E f'(x)^T f'(x') of one hidden layer is the co-active fraction: the norm of a Gaussian row is independent of its
direction, hence of its gates.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from fractions import Fraction
from functools import lru_cache

import numpy as np

from theory_checks.registry import SIGMAS, Array, Outcome, Tally, checks

_FALSE_ALARM = 1e-7


def co_active(c: float) -> float:
    """P(u > 0, u' > 0) for normals of correlation c."""
    return (math.pi - math.acos(c)) / (2 * math.pi)


def relu_map(c: float) -> float:
    """The C map of relu, equation (15)."""
    t = math.acos(c)
    return (math.sin(t) + (math.pi - t) * c) / math.pi


@checks(
    "dks-54",
    part="weights",
    source="DKS I",
    claim="E[W_p W_q] is sigma^(2D) / P for p = q and 0 otherwise, P the product of the layers' input dimensions",
    subject=lambda widths: Fraction(1, math.prod(widths)),
    broken=lambda widths: Fraction(1, math.prod(widths[1:])),
)
def weights(subject: Callable[[tuple[int, ...]], Fraction], effort: int) -> Outcome:
    """Networks of one output; weights +-1/sqrt(m), over all sign patterns, have the same second moments (sigma = 1)."""
    tally = Tally()
    for widths in ((2,), (3, 1), (2, 2), (3, 2), (2, 2, 1)):
        shapes = [(a, b) for a, b in zip(widths, (*widths[1:], 1), strict=True)]
        places = [(layer, i, j) for layer, (a, b) in enumerate(shapes) for i in range(a) for j in range(b)]
        paths = [(*units, 0) for units in itertools.product(*map(range, widths))]
        index = {place: n for n, place in enumerate(places)}
        rows = [[index[layer, p[layer], p[layer + 1]] for layer in range(len(widths))] for p in paths]
        signs = np.array(list(itertools.product((-1, 1), repeat=len(places))))
        values = np.array([signs[:, row].prod(axis=1) for row in rows])
        products = values @ values.T  # sum over patterns of the signs of W_p W_q
        size = math.prod(widths)
        for (p, q), total in np.ndenumerate(products):
            found = Fraction(int(total), len(signs) * size)
            want = subject(widths) if p == q else Fraction(0)
            tally.add(float(found - want), 1e-15, f"widths {widths}: E[W_p W_q] = {found}, not {want}")
    return tally.outcome()


@lru_cache(maxsize=16)
def _one_layer(c: float, count: int) -> tuple[Array, Array, Array]:
    """f f', f'(x)^T f'(x') and co-active shares: one hidden layer of 8 units, sigma^2 = 1, 4 inputs, |x|^2 = 4."""
    random = np.random.default_rng(round(1000 * c) + 5000)
    k, m = 4, 8
    x = np.zeros((k, 2))
    x[:2] = math.sqrt(k) * np.array([[1.0, c], [0.0, math.sqrt(1 - c * c)]])
    w = random.standard_normal((count, m, k)) / math.sqrt(k)
    v = random.standard_normal((count, m)) / math.sqrt(m)
    u = w @ x
    f = np.einsum("nm,nmi->ni", v, np.maximum(u, 0))
    slopes = np.einsum("nm,nmi,nmk->nik", v, u > 0, w)
    both = (u > 0).all(axis=2)
    return f[:, 0] * f[:, 1], np.einsum("nk,nk->n", slopes[:, 0], slopes[:, 1]), both.mean(axis=1)


_CLAIM = "E f(x) f(x') is sigma^(2D) {} x^T x' / k for one hidden relu layer"


@checks(
    "dks-54",
    part="function",
    variant="as_printed",
    source="DKS I (29)",
    claim=_CLAIM.format("E[A] / P, A the number of co-active paths, times"),
    subject=lambda c: co_active(c) * c,
    broken=lambda c: relu_map(c) / 2,
    kind="stat",
    false_alarm=_FALSE_ALARM,
)
@checks(
    "dks-54",
    part="function",
    variant="corrected",
    source="DKS I (29)",
    claim="It is sigma^(2D) C(c) |x| |x'| / (2 k), C of (15): weights are not independent of the gates; the difference "
    "is sin t / (2 pi), zero for x = x' only",
    subject=lambda c: relu_map(c) / 2,
    broken=lambda c: co_active(c) * c,
    kind="stat",
    false_alarm=_FALSE_ALARM,
)
def function(subject: Callable[[float], float], effort: int) -> Outcome:
    """Means over networks at 6.2 standard errors; orthogonal inputs give 1/(2 pi), not 0."""
    tally, count = Tally(), 40_000 * effort
    for c in (-0.5, 0.0, 0.5, 0.9, 1.0):
        tally.mean(_one_layer(c, count)[0], subject(c), f"c = {c:g}: E f(x) f(x')")
    return tally.outcome()


@checks(
    "dks-54",
    part="gradient",
    source="DKS I",
    claim="E f'(x)^T f'(x') = sigma^(2D) E[A] / P holds for one hidden layer; E[A] / P is (pi - t) / (2 pi)",
    subject=co_active,
    broken=lambda c: 0.25,
    kind="stat",
    false_alarm=_FALSE_ALARM,
)
def gradient(subject: Callable[[float], float], effort: int) -> Outcome:
    """Gradients, and the shares of co-active paths, at 6.2 standard errors."""
    tally, count = Tally(), 40_000 * effort
    for c in (-0.5, 0.0, 0.5, 0.9, 1.0):
        for found, what in zip(_one_layer(c, count)[1:], ("E f'(x)^T f'(x')", "the co-active share"), strict=True):
            tally.mean(found, subject(c), f"c = {c:g}: {what}")
    return tally.outcome()


def printed_fraction(layers: int, c: float) -> float:
    """1/4 for each layer."""
    return 0.25**layers


def corrected_fraction(layers: int, c: float) -> float:
    """The product of (pi - t) / (2 pi), t the angle at each layer's input, which falls with depth."""
    share = 1.0
    for _ in range(layers):
        share *= co_active(c)
        c = min(1.0, relu_map(c))
    return share


@lru_cache(maxsize=16)
def _deep(c: float, networks: int) -> tuple[Array, Array]:
    """Active and co-active fractions [networks, layers] of paths in networks of width 200."""
    random, width, layers = np.random.default_rng(round(100 * c) + 700), 200, 8
    x = np.zeros((width, 2))
    x[:2] = math.sqrt(width) * np.array([[1.0, c], [0.0, math.sqrt(1 - c * c)]])
    found = np.empty((2, networks, layers))
    for network in range(networks):
        h = x
        for layer in range(layers):
            u = random.standard_normal((width, width)) * math.sqrt(2 / width) @ h
            found[:, network, layer] = (u[:, 0] > 0).mean(), (u > 0).all(axis=1).mean()
            h = np.maximum(u, 0)
    active, both = np.cumprod(found, axis=2)
    return active, both


@checks(
    "dks-54",
    part="fractions",
    variant="as_printed",
    source="DKS I",
    claim="For distinct inputs the fraction of co-active paths is about (1/4)^R",
    subject=printed_fraction,
    broken=corrected_fraction,
    kind="stat",
    false_alarm=_FALSE_ALARM,
)
@checks(
    "dks-54",
    part="fractions",
    variant="corrected",
    source="DKS I",
    claim="It is about the product of (pi - t_l) / (2 pi) with cos t_(l+1) = C(cos t_l), larger for c > -1 and R > 1; "
    "the fraction of active paths is (1/2)^R",
    subject=corrected_fraction,
    broken=printed_fraction,
    kind="stat",
    false_alarm=_FALSE_ALARM,
)
def fractions(subject: Callable[[int, float], float], effort: int) -> Outcome:
    """Width 200, means over 60 networks within 6.2 standard errors and 2 layers/width, the order of the wide limit."""
    tally, networks = Tally(), 60 * effort
    for c in (-0.5, 0.0, 0.7):
        active, both = _deep(c, networks)
        for layer in (1, 2, 5, 8):
            for values, want, what in (
                (active[:, layer - 1], 0.5**layer, "active"),
                (both[:, layer - 1], subject(layer, c), "co-active"),
            ):
                ratio = values / want - 1
                allowed = SIGMAS * float(ratio.std()) / math.sqrt(networks) + 2 * layer / 200
                witness = f"c = {c:g}, {layer} layers: a share of {values.mean():.5f} is {what}, not {want:.5f}"
                tally.add(float(ratio.mean()), allowed, witness)
    return tally.outcome()
