"""Deep Gated Networks with learnt gates: twin gradient flow, active and sensitive gates (section 3)."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np

from qcmap.paths import GateFunction, GateNetwork, activity_sensitivities, adapting_kernels, delta, overlap, path_table
from theory_checks.npf_paths import soft_gradient
from theory_checks.path_networks import Array, Plain, signs
from theory_checks.registry import Outcome, Tally, checks

CASES = ((2, 2, 2), (3, 2, 1), (2, 3, 1))
"""Depth, width and inputs."""
GATE = GateFunction(3.0, 0.1)
SIGMA = 0.7


@cache
def _averages(seed: int, case: tuple[int, int, int]) -> tuple[Array, Array, Array]:
    """E K, E K_w and E K_a over values +-sigma, by derivatives of the output."""
    plain, features = _drawn(seed, case)
    total, own, gates = (np.zeros((len(plain.x), len(plain.x))) for _ in range(3))
    for row in signs(plain.count):
        psi = soft_gradient(features, SIGMA * row, plain, GATE) / 2 ** (plain.count / 2)
        first, second = psi[:, : plain.count], psi[:, plain.count :]
        total, own, gates = total + psi @ psi.T, own + second @ second.T, gates + first @ first.T
    return total, own, gates


def _gates(plain: Plain, features: Array) -> GateNetwork:
    return GateNetwork(plain.arch, plain.named(features), plain.x, GATE)


def _drawn(seed: int, case: tuple[int, int, int]) -> tuple[Plain, Array]:
    plain = Plain.random(seed, *case, examples=2)
    return plain, np.random.default_rng(seed).standard_normal(plain.count)


@checks(
    "dgn-08",
    part="sum",
    source="DGN 3, Lemma 3.1 (i)",
    claim="Soft-GaLU networks have K = K_w + K_a at any weights, soft-ReLU networks the cross terms as well",
    subject=lambda kernels: (kernels.apart, kernels.tied),
    broken=lambda kernels: (kernels.apart, kernels.apart),
)
def twin_gradients(subject: Callable[..., tuple[Array, Array]], effort: int) -> Outcome:
    """Against derivatives in two sets of weights, and in one that plays both parts."""
    tally = Tally()
    for seed, case in enumerate(CASES[: 2 + effort]):
        plain, theta = _drawn(seed, case)
        kernels = adapting_kernels(plain.arch, plain.named(theta), plain.named(theta), plain.x, GATE)
        psi = soft_gradient(theta, theta, plain, GATE)
        tied = psi[:, : plain.count] + psi[:, plain.count :]
        for name, found, want in zip(("two", "one"), subject(kernels), (psi @ psi.T, tied @ tied.T), strict=True):
            gap = float(np.abs(found - want).max() / np.abs(want).max())
            tally.add(gap, 1e-11, f"{case}, {name} sets of weights: K(1, 1) is {want[0, 0]:.8g}, not {found[0, 0]:.8g}")
    return tally.outcome()


@checks(
    "dgn-08",
    part="strengths",
    variant="as_printed",
    source="DGN Lemma 3.1 (ii), 7.5",
    claim="E K_w = sigma^(2(d-1)) (x'x) * lambda",
    subject=lambda depth: 1,
    broken=lambda depth: depth,
)
@checks(
    "dgn-08",
    part="strengths",
    variant="corrected",
    source="DGN Lemma 3.1 (ii), 7.5",
    claim="E K_w = d sigma^(2(d-1)) (x'x) * lambda, as Lemma 2.2 gives it",
    subject=lambda depth: depth,
    broken=lambda depth: 1,
)
def strengths(subject: Callable[[int], int], effort: int) -> Outcome:
    """Over all signs of the values."""
    tally = Tally()
    for seed, case in enumerate(CASES[: 2 + effort]):
        plain, features = _drawn(seed, case)
        shared = overlap(plain.arch, _gates(plain, features).gates)
        found = subject(plain.depth) * SIGMA ** (2 * (plain.depth - 1)) * plain.x @ plain.x.T * shared
        want = _averages(seed, case)[1]
        gap = float(np.abs(found / want - 1).max())
        tally.add(gap, 1e-9, f"{case}: E K_w(1, 1) is {want[0, 0]:.8g}, not {found[0, 0]:.8g}")
    return tally.outcome()


@checks(
    "dgn-08",
    part="activations",
    source="DGN Definition 3.1, Lemma 3.1 (i), (iii)",
    claim="E K_a = sigma^(2d) (x'x) * delta, delta is the same from every input, and E K = E K_w + E K_a",
    subject=lambda depth: SIGMA ** (2 * depth),
    broken=lambda depth: SIGMA ** (2 * (depth - 1)),
)
def activations(subject: Callable[[int], float], effort: int) -> Outcome:
    """Over all signs of the values."""
    tally = Tally()
    for seed, case in enumerate(CASES[: 2 + effort]):
        plain, features = _drawn(seed, case)
        parts = delta(plain.arch, _gates(plain, features))
        total, own, gates = _averages(seed, case)
        found = subject(plain.depth) * plain.x @ plain.x.T * parts[0]
        tally.add(
            np.abs(found - gates).max(), 1e-11, f"{case}: E K_a(1, 1) is {gates[0, 0]:.8g}, not {found[0, 0]:.8g}"
        )
        tally.add(np.abs(parts - parts[0]).max(), 1e-11, f"{case}: delta depends on the input")
        tally.add(np.abs(total - own - gates).max(), 1e-11, f"{case}: E K is not E K_w + E K_a")
    return tally.outcome()


Threshold = Callable[[float, float], float]
"""tau_A and the largest abs(dq/dtheta) to the value that tau_S must exceed."""


def _derivative(threshold: float) -> float:
    """d chi / dv at v = chi^-1(tau_A), which is negative."""
    share = threshold / (1 + GATE.epsilon)
    return -(1 + GATE.epsilon) * share * (1 - share)


@checks(
    "dgn-09",
    variant="as_printed",
    source="DGN 3.1",
    claim="Active gates (above tau_A) are not sensitive for any tau_S > d chi/dv at chi^-1(tau_A)",
    subject=lambda threshold, slope: max(_derivative(threshold), 0),
    broken=lambda threshold, slope: GATE.beta * abs(_derivative(threshold)) * slope,
)
@checks(
    "dgn-09",
    variant="corrected",
    source="DGN 3.1",
    claim="They are not for tau_S > beta abs(d chi/dv) max abs(dq/dtheta), for tau_A of at least (1 + eps)/2",
    subject=lambda threshold, slope: GATE.beta * abs(_derivative(threshold)) * slope,
    broken=lambda threshold, slope: abs(_derivative(threshold)),
)
def active_and_sensitive(subject: Threshold, effort: int) -> Outcome:
    """The largest sensitivity of an active gate, over random networks of features and thresholds."""
    tally = Tally()
    for seed in range(4 * effort):
        plain = Plain.random(seed, 3, 4, examples=8)
        features = 1.5 * np.random.default_rng(seed).standard_normal(plain.count)
        network = _gates(plain, features)
        values = np.concatenate([np.moveaxis(g, 2, 0)[:, 0] for g in network.gates.values.values()])
        gates = network.sensitivities()
        slopes = GATE.slope(np.log(values / (1 + GATE.epsilon - values)) / GATE.beta)
        rates = np.abs(gates) / slopes[..., None]  # abs(dq/dtheta)
        for threshold in (0.6, 0.9, 1.05):
            active = values > threshold
            largest, bound = float(np.abs(gates)[active].max()), subject(threshold, float(rates.max()))
            witness = f"tau_A = {threshold}: an active gate has abs(dG/dtheta) = {largest:.4g} > {bound:.4g}"
            tally.add(max(largest - bound, 0), 1e-9, witness)
    return tally.outcome()


def _library(plain: Plain, features: Array) -> Array:
    return activity_sensitivities(path_table(plain.arch), _gates(plain, features))


def _gates_alone(plain: Plain, features: Array) -> Array:
    """The sum over the gates of a path without the product of the others."""
    table, rows = path_table(plain.arch), _gates(plain, features).sensitivities()
    return np.sum([rows[column] for column in table.gates.T], axis=0)


@checks(
    "dgn-10",
    source="DGN 3.1 (6)",
    claim="The derivative of a path's activity sums over its gates their derivatives times the others' product",
    subject=_library,
    broken=_gates_alone,
)
def sensitivity_of_activity(subject: Callable[[Plain, Array], Array], effort: int) -> Outcome:
    """Against products of gates of a network run at weights with a small imaginary part."""
    tally = Tally()
    for seed in range(3 * effort):
        plain = Plain.random(seed, 3, 2)
        features = np.random.default_rng(seed).standard_normal(plain.count)
        found = subject(plain, features)
        for m, one in enumerate(np.eye(plain.count)):
            z, gates = plain.x.astype(complex), []
            for matrix in plain.matrices(features + 1e-30j * one)[:-1]:
                q = z @ matrix.T
                gates.append((1 + GATE.epsilon) / (1 + np.exp(-GATE.beta * q)))
                z = q * (np.real(q) > 0)
            moved = Plain(plain.x, tuple(gates))
            want = np.stack([np.imag(moved.activity(p)) * 1e30 for p in plain.paths()])
            gap = float(np.abs(want - found[:, :, m]).max())
            tally.add(gap, 1e-11, f"network {seed}, weight {m}: the derivatives differ by {gap:.3g}")
    return tally.outcome()
