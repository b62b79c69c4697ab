"""Searches for counterexamples to printed statements on gated networks and neural paths (NRR, NPF, DGN)."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
import sympy
from hypothesis import strategies as st

import qcmap as qc
from qcmap.gated import Context, FullFlow, GatedNetwork, GatedTask, reduce
from qcmap.paths import overlap
from theory_checks.dgn_gates import GATE, Threshold
from theory_checks.npf_memorisation import overlaps_in_the_mean
from theory_checks.npf_moments import PATHS, over_signs, spliced_terms
from theory_checks.npf_paths import after_switching
from theory_checks.npf_variance import CONSTANT, linear_variance
from theory_checks.nrr_flow import Rate
from theory_checks.nrr_routing import B1, B2, B3, D, S
from theory_checks.path_networks import Array, Plain
from theory_checks.refutations import Trial, refuted

SMALL = st.integers(-2, 2)


@lru_cache(maxsize=1)
def _chain() -> GatedNetwork:
    """Two 2x2 matrices, no gates, white inputs and the targets (1, 2) times them."""
    b = qc.Builder("chain")
    b.output(b.affine(b.affine(b.input("x", 2), 2, name="first"), 2, name="second"), name="y")
    arch = b.build()
    context = Context("all", {}, {("x", "x"): np.eye(2)}, {("y", "x"): np.diag([1.0, 2.0])})
    return GatedNetwork(arch, GatedTask.of([context], arch.inputs, arch.outputs))


@refuted("nrr-02/variables", "misprint", st.lists(SMALL, min_size=8, max_size=8))
def variables(subject: Rate, entries: list[int]) -> Trial:
    """In the bases of the data, where B is W."""
    network, (first, second) = _chain(), np.array(entries, dtype=float).reshape(2, 2, 2)
    b = {"first": first, "second": second}
    frames = {layer: np.eye(2) for layer in network.layers.values()}
    found, want = subject(network, b, frames), FullFlow(network).gradient(b)[1]
    gap = max(float(np.abs(found[edge] + want[edge]).max()) for edge in b)
    shown = ", ".join(f"B_{k} = {matrix.astype(int).tolist()}" for k, matrix in enumerate((first, second), start=1))
    return gap, 1e-10, f"two layers, S = diag(1, 2), D = I, {shown}: a rate is off by {gap:g}"


@refuted("nrr-08", "hypothesis missing", st.tuples(st.integers(1, 4), st.integers(1, 4)))
def sharing(subject: Callable[[int, int], GatedNetwork], instance: tuple[int, int]) -> Trial | None:
    """M domains in groups of sqrt(P)."""
    m, size = instance
    if m % size:
        return None
    error = S - B1 * B2 * B3 * D
    want = [size * B2 * B3 * error, size**2 * B1 * B3 * error, size * B1 * B2 * error]
    equations = reduce(subject(m, size**2)).equations
    gaps = [sympy.expand(a - b / m**2) for a, b in zip(equations.values(), want, strict=True)]
    witness = f"M = {m}, P = {size**2}: tau dB1/dt = {next(iter(equations.values()))}"
    return float(any(gap != 0 for gap in gaps)), 0.5, witness


@refuted("npf-07/crossings", "misprint", st.tuples(*[st.integers(0, len(PATHS) - 1)] * 2))
def crossings(subject: Callable[..., bool], instance: tuple[int, int]) -> Trial | None:
    """Two paths of a network of depth 3, width 2 and two inputs, as the units that they pass."""
    a, b = instance
    if a >= b or subject(PATHS[a], PATHS[b]):
        return None
    value, spliced = max(spliced_terms(a, b), key=lambda term: abs(term[0]), default=(0.0, []))
    return value, 1e-9, f"paths {PATHS[a]} and {PATHS[b]} of depth 3, spliced to {spliced}: E = {value:g}"


@refuted("npf-08/bound", "misprint", st.tuples(st.integers(2, 8), st.integers(1, 5), st.integers(1, 4)))
def variance_bound(subject: Callable[[int, int, float], float], instance: tuple[int, int, int]) -> Trial:
    """Linear networks of width 10 k d and sigma' = j/2."""
    depth, width, scale = instance[0], 10 * instance[1] * instance[0], instance[2] / 2
    found, bound = linear_variance(depth, width, scale), subject(depth, width, scale)
    witness = f"a linear network, d = {depth}, w = {width}, sigma' = {scale}: Var K = {found:.4g} > {bound:.4g}"
    return max(0.0, found / bound - 1), 1e-9, witness


@refuted("npf-08/depth", "hypothesis missing", st.tuples(st.integers(2, 48), st.integers(1, 8)))
def variance_by_depth(subject: Callable[[int, int], bool], instance: tuple[int, int]) -> Trial | None:
    """Narrow linear networks; as deep as they have to be."""
    depth, width = instance
    if not subject(depth, width):
        return None
    found, bound = linear_variance(depth, width), CONSTANT * depth**3 / width
    witness = f"a linear network, d = {depth}, w = {width}: Var K = {found:.4g} > {bound:.4g} = 72 d^3 / w"
    return max(0.0, found / bound - 1), 1e-9, witness


@refuted("npf-01/instants", "misprint", st.tuples(SMALL, SMALL, SMALL))
def instants(subject: float, instance: tuple[int, int, int]) -> Trial | None:
    """One unit and two examples, at the instant at which the gate of the second switches."""
    found = after_switching(subject, *map(float, instance))
    return None if found is None else (found[0], 1e-12, found[1])


@refuted("npf-11/same", "misprint", st.tuples(st.integers(2, 5), st.integers(1, 3), st.sampled_from([0.5, 0.25, 0.75])))
def same_example(subject: Callable[[float, bool], float], instance: tuple[int, int, float]) -> Trial:
    """An example beside itself."""
    depth, width, mean = instance
    entry = float(overlaps_in_the_mean(mean, depth, width)[0, 0])
    want = (subject(mean, True) * width) ** (depth - 1)
    witness = f"d = {depth}, w = {width}, mu = {mean}: E Lambda(s, s) = {entry:.4g}, not {want:.4g}"
    return entry / want - 1, 1e-12, witness


@refuted("dgn-04/variance", "wrong", st.tuples(st.integers(2, 64), st.integers(4, 8)))
def variance(subject: Callable[[int, int], float], instance: tuple[int, int]) -> Trial:
    """Linear networks of one input and width k d, w sigma^2 = 1."""
    depth, width = instance[0], instance[0] * instance[1]
    found, bound = linear_variance(depth, width), subject(depth, width)
    witness = f"a linear network, d = {depth}, w = {width}: Var K_0 = {found:.4g} > {bound:.4g}"
    return max(0.0, found / bound - 1), 1e-9, witness


def _ones(depth: int, width: int, x: list[int], gate: float = 1.0) -> Plain:
    return Plain(np.array([x], dtype=float), tuple(np.full((1, width), gate) for _ in range(depth - 1)))


@refuted("dgn-01/step", "misprint", st.tuples(SMALL, SMALL, SMALL, SMALL))
def small_step(subject: float, instance: tuple[int, int, int, int]) -> Trial:
    """Two weights in a row, one example: the rate of the error in alpha at 0."""
    x, first, second, target = instance
    plain, flat = _ones(2, 1, [x]), np.array([first, second], dtype=float)
    error = plain.outputs(flat) - target
    moved = plain.outputs(flat - 2j * 1e-30 * subject * (plain.gradient(flat).T @ error))
    rate, want = float(np.imag(moved)[0]) * 1e30, -float((plain.kernel(flat) @ error)[0])
    witness = (
        f"x = {x}, weights {first} and {second}, y = {target}: the error moves by {rate:g} alpha, -K e is {want:g}"
    )
    return rate - want, 1e-9, witness


@refuted("dgn-03/decomposition", "wrong", st.tuples(SMALL, SMALL, *[st.sampled_from([1, -1])] * 3))
def decomposition(subject: Callable[[Plain, Array], Array], instance: tuple[int, ...]) -> Trial:
    """One hidden unit, two inputs, weights +-1."""
    plain, flat = _ones(2, 1, list(instance[:2])), np.array(instance[2:], dtype=float)
    found, want = subject(plain, flat).item(), plain.kernel(flat).item()
    witness = f"x = {instance[:2]}, one hidden unit, weights {instance[2:]}: K = {want:g}, not {found:g}"
    return found - want, 1e-10, witness


@refuted("dgn-05/decay", "misprint", st.tuples(st.integers(2, 4), st.integers(1, 4), st.integers(1, 4)))
def decay(subject: Callable[[float, int], float], instance: tuple[int, int, int]) -> Trial | None:
    """Two examples with so many active gates in each layer, and so many of them shared."""
    depth, active, shared = instance
    if shared > active:
        return None
    gates = np.zeros((2, 2 * active - shared))
    gates[0, :active] = gates[1, active - shared :] = 1
    plain = Plain(np.ones((2, 1)), (gates,) * (depth - 1))
    found = overlap(plain.arch, plain.named_gates)
    ratio, bound = found[0, 1] / found[0, 0], subject(shared / active, depth)
    return max(ratio / bound - 1, 0), 1e-9, f"d = {depth}, {shared} of {active} gates shared: {ratio:.4g} > {bound:.4g}"


@refuted("dgn-12", "misprint", st.sampled_from([(2, 1), (2, 2), (3, 1), (3, 2)]))
def linear_means(subject: Callable[[int], Array], instance: tuple[int, int]) -> Trial:
    """Over all weights of the distribution, sigma = 1."""
    depth, width = instance
    plain = _ones(depth, width, [1])
    found = float(np.mean([plain.kernel(row).item() for row in subject(plain.count)]))
    want = depth * width ** (depth - 1)
    witness = f"weights 0 and sqrt 2, sigma = 1, d = {depth}, w = {width}: E K_0 = {found:.5g}, not {want}"
    return found - want, 1e-10, witness


@refuted("dgn-08/strengths", "misprint", st.tuples(st.integers(2, 3), st.integers(1, 2), SMALL))
def strengths(subject: Callable[[int], int], instance: tuple[int, int, int]) -> Trial:
    """Gates of 1/2, one example, sigma = 1."""
    depth, width, x = instance
    plain = _ones(depth, width, [x], gate=0.5)
    want = over_signs(plain, 1.0, plain.kernel).item()
    found = (subject(depth) * plain.x @ plain.x.T * overlap(plain.arch, plain.named_gates)).item()
    witness = f"d = {depth}, w = {width}, gates 1/2, x = {x}, sigma = 1: E K_w = {want:.5g}, not {found:.5g}"
    return found - want, 1e-10, witness


@refuted("dgn-09", "wrong", st.tuples(st.integers(0, 8), st.integers(1, 4), st.sampled_from([0.6, 0.9, 1.05])))
def active_and_sensitive(subject: Threshold, instance: tuple[int, int, float]) -> Trial | None:
    """One gate q = theta x with theta = k/4, its derivative by a complex step."""
    theta, x, threshold = instance[0] / 4, instance[1], instance[2]

    def gate(parameter: Any) -> Any:
        return (1 + GATE.epsilon) / (1 + np.exp(-GATE.beta * parameter * x))

    if gate(theta) <= threshold:
        return None
    found, bound = float(np.imag(gate(theta + 1e-30j))) * 1e30, subject(threshold, float(x))
    value = f"G = {gate(theta):.4f} > tau_A = {threshold}"
    return max(0.0, found - bound), 1e-9, f"q = theta x, x = {x}, theta = {theta}: {value}, dG/dtheta = {found:.4f}"
