"""Deep Gated Networks: means of linear networks and their effective weights (section 8), and the alignment nu_t."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from qcmap.paths import (
    nu,
    overlap,
    path_kernel,
    path_table,
)
from theory_checks.path_networks import Array, Plain, signs
from theory_checks.registry import Outcome, Tally, checks


def _two_points(signed: bool) -> Callable[[int], Array]:
    """All weights of second moment 1: +-1, or 0 and sqrt 2."""
    return lambda count: np.array(list(signs(count))) if signed else (np.array(list(signs(count))) + 1) / 2**0.5


@checks(
    "dgn-12",
    variant="as_printed",
    source="DGN 8, Cor. 8.1 (16)",
    claim="Under assumption 2, independence of gates and weights, a linear network has E K_0 = d (w sigma^2)^(d-1)",
    subject=_two_points(False),
    broken=_two_points(True),
)
@checks(
    "dgn-12",
    variant="corrected",
    source="DGN 8, Cor. 8.1 (16)",
    claim="Under assumption 1, weights +-sigma, a linear network has E K_0 = d (w sigma^2)^(d-1)",
    subject=_two_points(True),
    broken=_two_points(False),
)
def linear_networks(subject: Callable[[int], Array], effort: int) -> Outcome:
    """Averages over all weights of a distribution with this second moment; constant gates are independent of them."""
    tally = Tally()
    for depth, width in ((2, 2), (2, 4), (3, 2)):
        plain = Plain(np.ones((1, 1)), tuple(np.ones((1, width)) for _ in range(depth - 1)))
        sigma = 0.8
        found = float(np.mean([plain.kernel(sigma * row)[0, 0] for row in subject(plain.count)]))
        want = depth * (width * sigma**2) ** (depth - 1)
        tally.add(found - want, 1e-12, f"d = {depth}, w = {width}: E K_0 is {found:.6g}, not {want:.6g}")
    return tally.outcome()


@checks(
    "dgn-12",
    part="effective",
    source="DGN 8 (13)-(15)",
    claim="A linear network computes x'eta, eta(i) the sum of the strengths from input i; lambda = w^(d-1)",
    subject=lambda plain, flat: [
        path_table(plain.arch).values(plain.named(flat))[path_table(plain.arch).start == i].sum()
        for i in range(plain.x.shape[1])
    ],
    broken=lambda plain, flat: [
        np.abs(path_table(plain.arch).values(plain.named(flat)))[path_table(plain.arch).start == i].sum()
        for i in range(plain.x.shape[1])
    ],
)
def effective_weights(subject: Callable[[Plain, Array], list[float]], effort: int) -> Outcome:
    """Against the forward pass, and the overlap."""
    tally = Tally()
    for seed in range(3 * effort):
        depth, width = 2 + seed % 3, 3
        random = np.random.default_rng(seed)
        plain = Plain(random.standard_normal((4, 3)), tuple(np.ones((4, width)) for _ in range(depth - 1)))
        flat = random.standard_normal(plain.count)
        gap = float(np.abs(plain.x @ np.array(subject(plain, flat)) - plain.outputs(flat)).max())
        tally.add(gap, 1e-11, f"network {seed}: the outputs differ by {gap:.3g}")
        found = overlap(plain.arch, plain.named_gates)[0, 1]
        tally.add(found - width ** (depth - 1), 1e-9, f"network {seed}: lambda is {found}")
    return tally.outcome()


@checks(
    "dgn-13",
    source="DGN 3, nu_t (the bounds: ours)",
    claim="nu = y'(M/tr M)^-1 y is sum of (u'y)^2 / rho, above n for labels +-1, near n if aligned, n^2 for M = I",
    subject=nu,
    broken=lambda kernel, y: float(y @ np.linalg.solve(kernel, y)),
)
def alignment(subject: Callable[[Array, Array], float], effort: int) -> Outcome:
    """Path kernels of random gates, and kernels between indifferent and aligned."""
    tally = Tally()
    for seed in range(4 * effort):
        n = 6
        random = np.random.default_rng(seed)
        plain = Plain.random(seed, 3, 8, inputs=6, examples=n, soft=True)
        y = random.choice([-1.0, 1.0], n)
        kernel = path_kernel(plain.arch, plain.named_gates, plain.x)
        values, vectors = np.linalg.eigh(kernel / kernel.trace())
        want = float(((vectors.T @ y) ** 2 / values).sum())
        tally.add(subject(kernel, y) / want - 1, 1e-8, f"kernel {seed}: nu is {want:.8g}, not {subject(kernel, y):.8g}")
        tally.add(max(n - subject(kernel, y), 0), 1e-9, f"kernel {seed}: nu = {subject(kernel, y):.6g} is below n")
        tally.add(subject(np.eye(n), y) - n**2, 1e-9, f"nu of I is {subject(np.eye(n), y)}")
        near = np.outer(y, y) + 1e-9 * np.eye(n)
        tally.add(subject(near, y) - n, 1e-6, f"nu of an aligned kernel is {subject(near, y):.8g}")
    return tally.outcome()
