"""Paths, features, values and kernels: Neural Path Features, sections 1 to 4."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import numpy as np

import qcmap as qc
from qcmap.paths import GateFunction, adapting_kernels, gated_ntk, overlap, path_table, value_tangent
from theory_checks.path_networks import Array, Plain
from theory_checks.registry import Outcome, Tally, checks

Rates = Callable[[Array, Array], Array]
"""K and e to de/dt."""


def _relu(flat: Array, plain: Plain) -> Plain:
    """The same inputs with the gates that ReLU has at these weights."""
    gates, z = [], plain.x
    for matrix in plain.matrices(flat)[:-1]:
        q = z @ matrix.T
        gates.append(1.0 * (q > 0))
        z = np.maximum(q, 0)
    return Plain(plain.x, tuple(gates))


@checks(
    "npf-01",
    source="NPF Prop. 1.1, 3.2",
    claim="Under gradient flow of 1/2 sum e^2 the error obeys e' = -K e, with Phi constant between switches of gates",
    subject=lambda kernel, error: -kernel @ error,
    broken=lambda kernel, error: -2 * kernel @ error,
)
def error_dynamics(subject: Rates, effort: int) -> Outcome:
    """Along a descent of ReLU networks that switches gates; rates by a step in the imaginary direction."""
    tally, switches = Tally(), 0
    for seed in range(2 + effort):
        random = np.random.default_rng(seed)
        start = Plain.random(seed, 3, 4, inputs=3, examples=4)
        theta, targets, before = random.standard_normal(start.count) / 1.5, random.standard_normal(4), None
        for step in range(60):
            network = _relu(theta, start)
            switches += before is not None and any((a != b).any() for a, b in zip(before, network.gates, strict=True))
            before = network.gates
            error = network.outputs(theta) - targets
            velocity = -network.gradient(theta).T @ error
            rate = np.imag(network.outputs(theta + 1e-30j * velocity)) * 1e30
            found = subject(gated_ntk(network.arch, network.named(theta), None, network.x), error)
            gap = float(np.abs(found - rate).max() / max(np.abs(rate).max(), 1e-3))
            tally.add(gap, 1e-9, f"network {seed}, step {step}: e' is {rate[0]:.6g}, not {found[0]:.6g}")
            theta = theta + 0.02 * velocity
    assert switches > 3
    return tally.outcome(f"{switches} switches of gates on the way")


def after_switching(fraction: float, bias: float, value: float, target: float) -> tuple[float, str] | None:
    """Features within 1/1000 of an instant at which a gate switches, less those at a fraction of it; None without one.

    One unit with the weights (0, b) and the inputs (1, 1) and (1, 0): the gate of the second switches here.
    """
    plain, theta = Plain(np.array([[1.0, 1.0], [1.0, 0.0]]), (np.ones((2, 1)),)), np.array([0.0, bias, value])
    now = _relu(theta, plain)
    error = now.outputs(theta) - np.array([target, 0.0])
    velocity = -now.gradient(theta).T @ error
    if bias <= 0 or velocity[0] == 0:
        return None
    start, end = (_relu(theta + 1e-3 * part * velocity, plain) for part in (fraction, 1.0))
    moved = float(np.abs(end.features() - start.features()).max())
    shown = f"weights (0, {bias:g}) and {value:g}, y = {target:g}: the gate of (1, 0)"
    return moved, f"{shown} is {start.gates[0][1, 0]:g} at the instant and {end.gates[0][1, 0]:g} after it"


@checks(
    "npf-01",
    part="instants",
    variant="as_printed",
    source="NPF Definition 3.3, Prop. 3.2",
    claim="Between instants at which gates switch, Phi is constant on [T_i, T_(i+1))",
    subject=0.0,
    broken=0.5,
)
@checks(
    "npf-01",
    part="instants",
    variant="corrected",
    source="NPF Definition 3.3, Prop. 3.2",
    claim="Between instants at which gates switch, Phi is constant on (T_i, T_(i+1))",
    subject=0.5,
    broken=0.0,
)
def switching_instants(subject: float, effort: int) -> Outcome:
    """Networks of one unit at an instant at which the gate of one of two examples switches."""
    tally = Tally()
    for bias, value, target in product((0.5, 1.0, 2.0), (-1.0, 1.0, 2.0), (-2.0, 0.0, 3.0)):
        found = after_switching(subject, bias, value, target)
        if found is not None:
            tally.add(found[0], 1e-12, found[1])
    return tally.outcome()


@checks(
    "npf-02",
    source="NPF Definition 2.1, Prop. 2.1",
    claim="The output is <phi, v>, the sum over paths of input times gates times weights",
    subject=lambda plain, flat: path_table(plain.arch).outputs(plain.named_gates, plain.x, plain.named(flat))[:, 0],
    broken=lambda plain, flat: path_table(plain.arch).outputs(
        {name: np.ones_like(g) if "1." in name else g for name, g in plain.named_gates.items()},
        plain.x, plain.named(flat),
    )[:, 0],
)  # fmt: skip
def output_by_paths(subject: Callable[[Plain, Array], Array], effort: int) -> Outcome:
    """Against the forward pass, with hard and soft gates."""
    tally = Tally()
    for seed in range(4 * effort):
        plain = Plain.random(seed, 2 + seed % 3, 3, soft=seed % 2 == 1)
        flat = np.random.default_rng(seed).standard_normal(plain.count)
        for found, want in zip(subject(plain, flat), plain.outputs(flat), strict=True):
            tally.add(found - want, 1e-12, f"network {seed}: the output is {want:.12g}, not {found:.12g}")
    return tally.outcome()


def _added(plain: Plain) -> Array:
    """The sum of the layers' overlaps in place of their product."""
    return plain.x @ plain.x.T * sum(g @ g.T for g in plain.gates)


@checks(
    "npf-03",
    part="kernel",
    source="NPF Definition 2.2, Lemma 2.1",
    claim="H = Sigma * Lambda, where Lambda is the product of the numbers of gates that both examples have on",
    subject=lambda plain: qc.path_kernel(plain.arch, plain.named_gates, plain.x),
    broken=_added,
)
def path_kernel(subject: Callable[[Plain], Array], effort: int) -> Outcome:
    """Against the inner products of listed features, and the printed product."""
    tally = Tally()
    for seed in range(4 * effort):
        plain = Plain.random(seed, 3 + seed % 2, 3, soft=seed % 2 == 1)
        phi, found = plain.features(), subject(plain)
        printed = plain.x @ plain.x.T * np.prod([g @ g.T for g in plain.gates], axis=0)
        for name, want in (("<phi, phi'>", phi @ phi.T), ("Sigma * Lambda", printed)):
            tally.add(float(np.abs(found - want).max()), 1e-11, f"network {seed}: {name} is {want[0, 1]}")
    return tally.outcome()


FIGURE_1 = Plain(
    np.ones((3, 2)),
    (np.array([[1, 0, 1], [1, 0, 0], [0, 1, 0]]), np.array([[0, 0, 1], [0, 1, 1], [0, 1, 1]])),
)
"""x1 has the gates {1, 3} and {3} on, x2 {1} and {2, 3}, x3 {2} and {2, 3}."""


@checks(
    "npf-03",
    part="toy",
    source="NPF Fig. 1",
    claim="The toy network has Lambda = [[2, 1, 0], [1, 2, 0], [0, 0, 2]], with 4 active paths for each example",
    subject=lambda plain: overlap(plain.arch, plain.named_gates),
    broken=lambda plain: overlap(plain.arch, {n: np.ones_like(g) for n, g in plain.named_gates.items()}),
)
def toy(subject: Callable[[Plain], Array], effort: int) -> Outcome:
    """Against counting, entry by entry."""
    tally, found = Tally(), subject(FIGURE_1)
    active = np.stack([FIGURE_1.activity(p) for p in FIGURE_1.paths()], axis=1)
    for (i, j), want in np.ndenumerate(np.array([[2, 1, 0], [1, 2, 0], [0, 0, 2]])):
        tally.add(found[i, j] - want, 1e-12, f"Lambda({i + 1}, {j + 1}) is {want}, not {found[i, j]}")
        tally.add((active @ active.T)[i, j] / 2 - want, 1e-12, "counted otherwise")
    return tally.outcome()


def _by_paths(plain: Plain, flat: Array) -> Array:
    table = path_table(plain.arch)
    return value_tangent(table, plain.named(flat)).kernel(table.features(plain.named_gates, plain.x))


def _by_values(plain: Plain, flat: Array) -> Array:
    """V made of the values themselves."""
    table = path_table(plain.arch)
    product = table.features(plain.named_gates, plain.x) @ table.values(plain.named(flat))
    return np.outer(product, product)


@checks(
    "npf-04",
    source="NPF Definition 3.2, Prop. 3.1",
    claim="The tangent kernel is Phi^T V Phi, and V depends on the weights alone",
    subject=_by_paths,
    broken=_by_values,
)
def tangent_kernel(subject: Callable[[Plain, Array], Array], effort: int) -> Outcome:
    """Against derivatives of the output, for several gates at the same weights: V is the same object for all."""
    tally = Tally()
    for seed in range(3 * effort):
        first = Plain.random(seed, 3, 3)
        flat = np.random.default_rng(seed).standard_normal(first.count)
        for network in (first, Plain.random(seed + 50, 3, 3), Plain(first.x, tuple(np.ones((3, 3)) for _ in "ab"))):
            found, want = subject(network, flat), network.kernel(flat)
            gap = float(np.abs(found - want).max() / max(1.0, np.abs(want).max()))
            tally.add(gap, 1e-11, f"network {seed}: K(1, 1) is {want[0, 0]:.12g}, not {found[0, 0]:.12g}")
    return tally.outcome()


@checks(
    "npf-05",
    source="NPF Prop. 3.3",
    claim="The smallest eigenvalue of K is at most that of H times the largest of V",
    subject=lambda eigenvalues: float(eigenvalues[-1]),
    broken=lambda eigenvalues: float(np.median(eigenvalues)),
)
def conditioning(subject: Callable[[Array], float], effort: int) -> Outcome:
    """The excess over the bound, on networks with enough weights for K to be definite."""
    tally = Tally()
    for seed in range(12 * effort):
        plain = Plain.random(seed, 2 + seed % 2, 3, inputs=3, examples=3, soft=True)
        flat = np.random.default_rng(seed).standard_normal(plain.count)
        phi = plain.features()
        tangent = value_tangent(path_table(plain.arch), plain.named(flat)).matrix()
        bound = np.linalg.eigvalsh(phi @ phi.T)[0] * subject(np.linalg.eigvalsh(tangent))
        smallest = np.linalg.eigvalsh(plain.kernel(flat))[0]
        tally.add(max(smallest - bound, 0.0), 1e-10, f"network {seed}: rho_min(K) = {smallest:.4g} > {bound:.4g}")
    return tally.outcome()


def soft_outputs(features: Array, values: Array, plain: Plain, gate: GateFunction, *, forwards: str = "relu") -> Array:
    """Outputs [n] of values with the soft gates of features (NPF, Figure 2); complex weights are allowed."""
    z, h = plain.x.astype(complex), plain.x.astype(complex)
    for f, v in zip(plain.matrices(features)[:-1], plain.matrices(values)[:-1], strict=True):
        q = z @ f.T
        opened = (1 + gate.epsilon) / (1 + np.exp(-gate.beta * q))
        h = (h @ v.T) * opened
        z = q * (np.real(q) > 0) if forwards == "relu" else q * opened
    return (h @ plain.matrices(values)[-1].T)[:, 0]


def soft_gradient(features: Array, values: Array, plain: Plain, gate: GateFunction, *, forwards: str = "relu") -> Array:
    """Derivatives [n, features' and values' weights], by steps in the imaginary direction."""
    step, columns = 1e-30, []
    for one in np.eye(2 * plain.count):
        f, v = features + 1j * step * one[: plain.count], values + 1j * step * one[plain.count :]
        columns.append(np.imag(soft_outputs(f, v, plain, gate, forwards=forwards)) / step)
    return np.stack(columns, axis=1)


@checks(
    "npf-06",
    source="NPF Prop. 4.1",
    claim="With gates of a network of its own K = K_v + K_f; with these gates fixed it is K_v alone",
    subject=lambda kernels: (kernels.apart, kernels.values),
    broken=lambda kernels: (kernels.tied, kernels.values),
)
def decoupled_learning(subject: Callable[[qc.paths.AdaptingKernels], tuple[Array, Array]], effort: int) -> Outcome:
    """Against derivatives in all weights, and in the values' alone."""
    tally = Tally()
    for seed in range(3 * effort):
        plain, gate = Plain.random(seed, 3, 3), GateFunction(4.0, 0.1 * (seed % 2))
        random = np.random.default_rng(seed)
        features, values = random.standard_normal(plain.count), random.standard_normal(plain.count)
        forwards = ("relu", "gate")[seed % 2]
        kernels = adapting_kernels(
            plain.arch, plain.named(features), plain.named(values), plain.x, gate,
            "relu" if forwards == "relu" else "gate",
        )  # fmt: skip
        psi = soft_gradient(features, values, plain, gate, forwards=forwards)
        own = psi[:, plain.count :]
        for name, found, want in zip(("K", "K_v"), subject(kernels), (psi @ psi.T, own @ own.T), strict=True):
            gap = float(np.abs(found - want).max() / np.abs(want).max())
            tally.add(gap, 1e-11, f"network {seed}: {name}(1, 1) is {want[0, 0]:.10g}, not {found[0, 0]:.10g}")
    return tally.outcome()
