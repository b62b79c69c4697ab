"""The variance of the tangent kernel of fixed gates: Neural Path Features, Theorem B.2 and its proof."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import numpy as np

from qcmap.paths import chain_moments
from theory_checks.path_networks import Array, Plain, signs
from theory_checks.registry import Outcome, Tally, checks


def linear_variance(depth: int, width: int, scale: float = 1.0) -> float:
    """Var K of a linear network of one input that is 1, with sigma^2 = scale^2 / w."""
    plain = Plain(np.ones((1, 1)), tuple(np.ones((1, width)) for _ in range(depth - 1)))
    return float(chain_moments(plain.arch, plain.named_gates, plain.x, scale * width**-0.5).variance[0, 0])


@checks(
    "npf-08",
    part="exact",
    source="NPF Theorem B.2 (the walk: ours)",
    claim="The variance of K_v by the walk with four paths is that over all sign patterns",
    subject=lambda plain, sigma: chain_moments(plain.arch, plain.named_gates, plain.x, sigma).variance,
    broken=lambda plain, sigma: chain_moments(plain.arch, plain.named_gates, plain.x, sigma, "gaussian").variance,
)
def exact_variance(subject: Callable[[Plain, float], Array], effort: int) -> Outcome:
    """Plain networks, hard and soft gates, all entries."""
    tally = Tally()
    for depth, width, inputs in ((2, 2, 2), (3, 2, 1), (3, 2, 2))[: 1 + effort]:
        plain = Plain.random(depth, depth, width, inputs, examples=2, soft=depth == 3)
        every = np.array([plain.kernel(0.9 * row) for row in signs(plain.count)])
        found, want = subject(plain, 0.9), every.var(axis=0)
        for at, value in np.ndenumerate(want):
            witness = f"d = {depth}, w = {width}: Var K{at} is {value:.10g}, not {found[at]:.10g}"
            tally.add(found[at] - value, 1e-11 * max(1.0, value), witness)
    return tally.outcome()


@checks(
    "npf-08",
    part="law",
    source="NPF Theorem B.2, DGN Theorem 2.3 (the constant: ours)",
    claim="For linear networks of one input, w sigma^2 = 1, w Var K tends to (2/3)(d-2)(d-1)(2d-3), about 4/3 d^3",
    subject=lambda depth: 2 / 3 * (depth - 2) * (depth - 1) * (2 * depth - 3),
    broken=lambda depth: 2 / 3 * (depth - 1) * depth * (2 * depth - 1),
)
def variance_law(subject: Callable[[int], float], effort: int) -> Outcome:
    """At widths of 100,000 and half of it, extrapolated."""
    tally = Tally()
    for depth in (3, 4, 6, 9, 14)[: 4 + effort]:
        wide = 100_000
        limit = 2 * wide * linear_variance(depth, wide) - wide / 2 * linear_variance(depth, wide // 2)
        tally.add(
            limit / subject(depth) - 1, 1e-6, f"d = {depth}: w Var K tends to {limit:.8g}, not {subject(depth):.8g}"
        )
    return tally.outcome()


def _bound(power: Callable[[int], int]) -> Callable[[int, int, float], float]:
    """The last line but one of the proof, 6 d_in^2 sigma'^(...) (6 d^3 / w) / (1 - 6 d / w)."""
    return lambda depth, width, scale: 36 * scale ** power(depth) * depth**3 / width / (1 - 6 * depth / width)


@checks(
    "npf-08",
    part="bound",
    variant="as_printed",
    source="NPF Theorem B.2, proof",
    claim="Var K <= 6 d_in^2 sigma'^2 (6 d^3 / w) / (1 - 6 d / w) for sigma = sigma' / sqrt w",
    subject=_bound(lambda depth: 2),
    broken=_bound(lambda depth: 4 * (depth - 1)),
)
@checks(
    "npf-08",
    part="bound",
    variant="corrected",
    source="NPF Theorem B.2, proof",
    claim="Var K <= 6 d_in^2 sigma'^(4(d-1)) (6 d^3 / w) / (1 - 6 d / w) for sigma = sigma' / sqrt w",
    subject=_bound(lambda depth: 4 * (depth - 1)),
    broken=_bound(lambda depth: 2),
)
def variance_bound(subject: Callable[[int, int, float], float], effort: int) -> Outcome:
    """The exact variance of linear networks, whose features are largest, over the bound."""
    tally = Tally()
    for depth, width in ((3, 20), (4, 64), (6, 200), (8, 100))[: 3 + effort]:
        for scale in (0.8, 1.0, 1.5):
            found, bound = linear_variance(depth, width, scale), subject(depth, width, scale)
            witness = f"d = {depth}, w = {width}, sigma' = {scale}: Var K = {found:.4g} > {bound:.4g}"
            tally.add(found / bound, 1.0, witness)
    return tally.outcome()


CONSTANT = 72.0
"""The C of the proof for w >= 12 d: 36 / (1 - 6 d / w) <= 72."""


@checks(
    "npf-08",
    part="depth",
    variant="as_printed",
    source="NPF Theorem B.2",
    claim="Var K <= C d_in^2 d^3 / w for w sigma^2 = 1, with the C = 72 that the proof gives wide networks",
    subject=lambda depth, width: True,
    broken=lambda depth, width: width >= 12 * depth,
)
@checks(
    "npf-08",
    part="depth",
    variant="corrected",
    source="NPF Theorem B.2",
    claim="Var K <= 72 d_in^2 d^3 / w for w sigma^2 = 1 and w >= 12 d",
    subject=lambda depth, width: width >= 12 * depth,
    broken=lambda depth, width: True,
)
def variance_of_deep_networks(subject: Callable[[int, int], bool], effort: int) -> Outcome:
    """The exact variance of linear networks, narrow and wide, over the bound."""
    tally = Tally()
    for depth, width in product((2, 4, 8, 16, 32), (2, 8, 24, 96, 384)):
        if subject(depth, width):
            found, bound = linear_variance(depth, width), CONSTANT * depth**3 / width
            tally.add(found / bound, 1.0, f"d = {depth}, w = {width}: Var K = {found:.4g} > {bound:.4g}")
    return tally.outcome()


@checks(
    "npf-08",
    part="growth",
    source="NPF Theorem B.2 (ours)",
    claim="E |z|^4 of a linear network's last layer grows like ((1 + sqrt(1 + 8 (w-1)/w^2)) / 2)^d, w sigma^2 = 1",
    subject=lambda width: (1 + (1 + 8 * (width - 1) / width**2) ** 0.5) / 2,
    broken=lambda width: 1 + 1 / width,
)
def growth_of_norms(subject: Callable[[int], float], effort: int) -> Outcome:
    """(E |z|^4, E sum z_i^4) of one layer is linear in that before: over all signs of a layer of width 2 and 3."""
    tally = Tally()
    for width in (2, 3):
        rows = list(product((1.0, -1.0), repeat=width))
        for z in ([1.0] + [0.0] * (width - 1), [1.0] * width, list(range(1, width + 1))):
            q = np.array(rows) @ np.array(z) / width**0.5
            square, quartic = float(np.sum(np.square(z))) ** 2, float(np.sum(np.power(z, 4.0)))
            fourth, second = float((q**4).mean()), float((q**2).mean())
            step = np.array([[1 + 2 / width, -2 / width], [3 / width, -2 / width]]) @ [square, quartic]
            tally.add(width * fourth - step[1], 1e-11, f"w = {width}: E sum z^4 is {width * fourth}, not {step[1]}")
            whole = width * fourth + width * (width - 1) * second**2
            tally.add(whole - step[0], 1e-11, f"w = {width}: E |z|^4 is {whole}, not {step[0]}")
    for width in (2, 3, 5, 20):
        matrix = np.array([[1 + 2 / width, -2 / width], [3 / width, -2 / width]])
        largest = float(np.abs(np.linalg.eigvals(matrix)).max())
        tally.add(
            largest - subject(width), 1e-12, f"w = {width}: the rate is {largest:.10g}, not {subject(width):.10g}"
        )
    return tally.outcome()
