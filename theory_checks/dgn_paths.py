"""Deep Gated Networks: the path view, its expectations and its variance (sections 1, 2 and 7)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from qcmap.paths import (
    overlap,
    path_table,
)
from theory_checks.npf_moments import over_signs
from theory_checks.npf_variance import linear_variance
from theory_checks.path_networks import Array, Plain
from theory_checks.registry import Outcome, Tally, checks


@checks(
    "dgn-01",
    part="paths",
    source="DGN Table 1, (2)",
    claim="With gates in [0, 1] the output is the sum over paths of input, activation level and strength",
    subject=lambda plain, flat: path_table(plain.arch).outputs(plain.named_gates, plain.x, plain.named(flat))[:, 0],
    broken=lambda plain, flat: path_table(plain.arch).outputs(
        {n: 1.0 * (g > 0.5) for n, g in plain.named_gates.items()}, plain.x, plain.named(flat))[:, 0],
)  # fmt: skip
def path_view(subject: Callable[[Plain, Array], Array], effort: int) -> Outcome:
    """Against the forward pass."""
    tally = Tally()
    for seed in range(4 * effort):
        plain = Plain.random(seed, 2 + seed % 3, 3, soft=True)
        flat = np.random.default_rng(seed).standard_normal(plain.count)
        gap = float(np.abs(subject(plain, flat) - plain.outputs(flat)).max())
        tally.add(gap, 1e-12, f"network {seed}: the outputs differ by {gap:.3g}")
    return tally.outcome()


@checks(
    "dgn-01",
    part="step",
    variant="as_printed",
    source="DGN 1, (1)",
    claim="A small step of descent on sum e^2 makes e - alpha K e of the error e",
    subject=1.0,
    broken=0.5,
)
@checks(
    "dgn-01",
    part="step",
    variant="corrected",
    source="DGN 1, (1)",
    claim="A small step of descent on (1/2) sum e^2 makes e - alpha K e of the error e",
    subject=0.5,
    broken=1.0,
)
def small_step(subject: float, effort: int) -> Outcome:
    """The rate of the error in alpha at 0, for the loss ``subject`` times sum e^2."""
    tally = Tally()
    for seed in range(4 * effort):
        plain = Plain.random(seed, 3, 4)
        random = np.random.default_rng(seed)
        flat, targets = random.standard_normal(plain.count), random.standard_normal(len(plain.x))
        error = plain.outputs(flat) - targets
        step = -2 * subject * plain.gradient(flat).T @ error
        rate = np.imag(plain.outputs(flat + 1e-30j * step)) * 1e30
        gap = float(np.abs(rate + plain.kernel(flat) @ error).max() / np.abs(rate).max())
        tally.add(gap, 1e-9, f"loss {subject:g} sum e^2, network {seed}: the step is {1 / (1 - gap):.3g} alpha K e")
    return tally.outcome()


@checks(
    "dgn-02",
    source="DGN 1",
    claim="No ReLU network without biases fits (x, 1) and (2x, -1): the least squared error is 9/5",
    subject=9 / 5,
    broken=2.0,
)
def hard_data(subject: float, effort: int) -> Outcome:
    """Random networks, with the last layer scaled as well as it can be: y(2x) = 2 y(x) leaves one number to choose."""
    tally = Tally()
    for seed in range(20 * effort):
        random = np.random.default_rng(seed)
        weights = [random.standard_normal(s) for s in ((8, 3), (8, 8), (1, 8))]

        def output(x: Array, weights: list[Array] = weights) -> float:
            for matrix in weights[:-1]:
                x = np.maximum(matrix @ x, 0)
            return float((weights[-1] @ x)[0])

        x = random.standard_normal(3)
        y = np.array([output(x), output(2 * x)])
        scale = y @ np.array([1, -1]) / (y @ y)
        best = float(((scale * y - np.array([1, -1])) ** 2).sum())
        tally.add(best - subject, 1e-12, f"network {seed}: the least error is {best:.12g}, not {subject:.12g}")
    return tally.outcome()


def _same_input(plain: Plain, flat: Array, *, cross: bool) -> Array:
    """The printed sum over i of x_i x_i' kappa(i), or with kappa(i, j) for paths from inputs i and j."""
    listed, rows = plain.paths(), plain.sensitivities(flat)
    gram = rows @ rows.T
    activity = np.stack([plain.activity(p) for p in listed], axis=1)
    start = np.array([p[0] for p in listed])
    if not cross:
        gram = gram * (start[:, None] == start)
    weighed = activity * plain.x[:, start]
    return weighed @ gram @ weighed.T


@checks(
    "dgn-03",
    part="decomposition",
    variant="as_printed",
    source="DGN (4), Lemma 2.1, 7.1 (9)",
    claim="K(s, s') is the sum over inputs i of x_s(i) x_s'(i) kappa(s, s', i), at any weights",
    subject=lambda plain, flat: _same_input(plain, flat, cross=False),
    broken=lambda plain, flat: _same_input(plain, flat, cross=True),
)
@checks(
    "dgn-03",
    part="decomposition",
    variant="corrected",
    source="DGN (4), Lemma 2.1, 7.1 (9)",
    claim="K(s, s') is the sum over inputs i, j of x_s(i) x_s'(j) kappa(s, s', i, j); the terms i != j have mean 0",
    subject=lambda plain, flat: _same_input(plain, flat, cross=True),
    broken=lambda plain, flat: _same_input(plain, flat, cross=False),
)
def signal_and_wire(subject: Callable[[Plain, Array], Array], effort: int) -> Outcome:
    """At weights +-1, against derivatives of the output."""
    tally = Tally()
    for seed in range(3 * effort):
        plain = Plain.random(seed, 3, 2)
        flat = np.random.default_rng(seed).choice([-1.0, 1.0], plain.count)
        found, want = subject(plain, flat), plain.kernel(flat)
        worst = np.unravel_index(np.abs(found - want).argmax(), want.shape)
        witness = f"network {seed}: K{tuple(map(int, worst))} is {want[worst]:.6g}, not {found[worst]:.6g}"
        tally.add(found[worst] - want[worst], 1e-10, witness)
    return tally.outcome()


@checks(
    "dgn-03",
    part="expected",
    source="DGN Lemma 2.1, 2.2",
    claim="Over weights +-sigma the decomposition holds in the mean: E kappa(s, s', i, j) is 0 for i != j",
    subject=lambda plain, flat: _same_input(plain, flat, cross=False),
    broken=lambda plain, flat: plain.sensitivities(flat).sum() * plain.x @ plain.x.T,
)
def expected_decomposition(subject: Callable[[Plain, Array], Array], effort: int) -> Outcome:
    """Averages over all sign patterns."""
    tally = Tally()
    for depth, width in ((2, 2), (3, 2), (2, 3))[: 2 + effort]:
        plain = Plain.random(depth, depth, width, inputs=2 if depth == 2 else 1)
        found = over_signs(plain, 0.9, lambda flat, plain=plain: subject(plain, flat))
        want = over_signs(plain, 0.9, plain.kernel)
        tally.add(
            np.abs(found - want).max(), 1e-11, f"d = {depth}: E K(1, 1) is {want[0, 0]:.6g}, not {found[0, 0]:.6g}"
        )
    return tally.outcome()


@checks(
    "dgn-04",
    part="mean",
    source="DGN Theorem 2.3",
    claim="E K_0 = d sigma^(2(d-1)) (x'x * lambda), for gates in [0, 1] as well",
    subject=lambda plain, sigma: plain.depth * sigma ** (2 * (plain.depth - 1)) * plain.x @ plain.x.T
    * overlap(plain.arch, plain.named_gates),
    broken=lambda plain, sigma: plain.depth * sigma ** (2 * plain.depth) * plain.x @ plain.x.T
    * overlap(plain.arch, plain.named_gates),
)  # fmt: skip
def mean_kernel(subject: Callable[[Plain, float], Array], effort: int) -> Outcome:
    """Over all sign patterns."""
    tally = Tally()
    for depth, width, inputs in ((2, 2, 2), (3, 2, 1), (2, 3, 2))[: 2 + effort]:
        plain = Plain.random(7 + depth, depth, width, inputs, soft=True)
        found, want = subject(plain, 0.7), over_signs(plain, 0.7, plain.kernel)
        tally.add(
            np.abs(found - want).max(), 1e-11, f"d = {depth}: E K(1, 1) is {want[0, 0]:.6g}, not {found[0, 0]:.6g}"
        )
    return tally.outcome()


def _printed_bound(depth: int, width: int) -> float:
    """The proof's cases with its constants, w^(2(d-1)) sigma^(4(d-1)) = 1: crossings at weights."""
    ratio = 4 * depth / width**2
    outer, inner = 32 * depth**2 / width, 16 * depth**3 / width**2
    return (outer * (1 + 4 / width) + inner) / (1 - ratio)


@checks(
    "dgn-04",
    part="variance",
    variant="as_printed",
    source="DGN Theorem 2.3, 7.3",
    claim="Var K_0 <= C max(d^2/w, d^3/w^2) for w sigma^2 = 1 and 4d < w^2, with the constants of the proof",
    subject=_printed_bound,
    broken=lambda depth, width: 36 * depth**3 / width,
)
@checks(
    "dgn-04",
    part="variance",
    variant="corrected",
    source="DGN Theorem 2.3, 7.3",
    claim="Var K_0 <= C d^3/w for w sigma^2 = 1 and d well below w: paths cross at units, not only at weights",
    subject=lambda depth, width: 36 * depth**3 / width,
    broken=_printed_bound,
)
def variance(subject: Callable[[int, int], float], effort: int) -> Outcome:
    """The exact variance of linear networks of one input over the bound."""
    tally = Tally()
    for depth, width in ((4, 64), (16, 256), (32, 1024), (100, 1000), (200, 2000))[: 4 + effort]:
        found, bound = linear_variance(depth, width), subject(depth, width)
        tally.add(found / bound, 1.0, f"d = {depth}, w = {width}: Var K_0 = {found:.4g} is above {bound:.4g}")
    return tally.outcome()
