"""Q and C maps of shaped graphs, and the slope recipe with uneven q values: DKS, sections 17.3 and 21.3."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import mpmath as mp
import numpy as np

import qcmap as qc
from qcmap.architecture import Nonlinear, Sum
from qcmap.numeric import local_maps
from theory_checks.graphs import random_network, varied, wiring
from theory_checks.oracles import precise
from theory_checks.propagation import layer_slopes, propagate, slope
from theory_checks.registry import Outcome, Tally, checks

Shape = Callable[[qc.Architecture, float], tuple[qc.Architecture, qc.Shaping]]
_ZETAS = (1.4, 1.1, 1.25)


def shaped(arch: qc.Architecture, zeta: float) -> tuple[qc.Architecture, qc.Shaping]:
    """The network and its constants by qcmap."""
    return arch, qc.dks(arch, zeta)


def _unnormalised(arch: qc.Architecture, zeta: float) -> tuple[qc.Architecture, qc.Shaping]:
    """The same constants in a network whose sums have weights that are 1% too large."""
    nodes = [
        dataclasses.replace(node, op=Sum(tuple(1.01 * float(w) for w in node.op.weights)))
        if isinstance(node.op, Sum)
        else node
        for node in arch.nodes
    ]
    return qc.Architecture(arch.name, tuple(nodes), arch.outputs), qc.dks(arch, zeta)


def _steep(arch: qc.Architecture, zeta: float) -> tuple[qc.Architecture, qc.Shaping]:
    """Constants for a slope bound that is 0.1% too large."""
    return arch, qc.dks(arch, 1.001 * zeta)


def _shifted(arch: qc.Architecture, zeta: float) -> tuple[qc.Architecture, qc.Shaping]:
    """Constants with one output shift off by 1e-3."""
    shaping = qc.dks(arch, zeta)
    name, solution = next(iter(shaping.solutions.items()))
    moved = dataclasses.replace(solution.transform, output_shift=solution.transform.output_shift + 1e-3)
    return arch, dataclasses.replace(
        shaping, solutions={**shaping.solutions, name: dataclasses.replace(solution, transform=moved)}
    )


class State(NamedTuple):
    """From a source with q value 1: q, Q', C at 0 and C' at 1."""

    q: float = 1.0
    dq: float = 1.0
    c0: float = 0.0
    slope: float = 1.0


@lru_cache(maxsize=8)
def _subnetworks(shape: Shape, effort: int) -> list[tuple[float, qc.Architecture, Any, str, str, State]]:
    """All subnetworks of random networks: (zeta, network, shaping, source, target, the values at the target)."""
    random, rows = np.random.default_rng(28), []
    for k in range(4 * effort):
        plain = random_network(random, 5, inputs=1 + k % 2)
        zeta = _ZETAS[k % 3]
        arch, shaping = shape(varied(plain, random, ("tanh", "softplus", "gelu")), zeta)
        graph = wiring(arch)
        for u, inside in graph.subnetworks:
            states = {u: State()}
            for v in sorted(inside - {u}):
                above = [(states[p], float(share)) for p, share in graph.edges[v]]
                states[v] = _node(arch.nodes[v].op, above, shaping)
                rows.append((zeta, arch, shaping, graph.names[u], graph.names[v], states[v]))
    return rows


def _node(op: Any, above: list[tuple[State, float]], shaping: qc.Shaping) -> State:
    """The chain rule (sections 8.2 and 9) at a node; shares are squared weights or parts of the channels."""
    if isinstance(op, Nonlinear):
        ((v, _),) = above
        maps = local_maps(op.name, shaping[op.name])
        local = (maps.q(v.q), maps.dq(v.q) * v.dq, maps.c(v.c0, v.q, v.q), maps.dc(1.0, v.q, v.q) * v.slope)
        return State(*map(float, local))
    q = sum(share * v.q for v, share in above)
    c0, rate = (sum(share * v.q * v[k] for v, share in above) / q for k in (2, 3))
    return State(q, sum(share * v.dq for v, share in above), c0, rate)


@checks(
    "dks-28",
    part="q",
    source="DKS 17.3",
    claim="With the four local conditions and normalised sums, Q_f(1) = 1 and Q_f'(1) = 1 for every subnetwork f",
    subject=shaped,
    broken=_unnormalised,
)
def q_conditions(subject: Shape, effort: int) -> Outcome:
    """Random networks of three activations: every subnetwork by the chain rule, and q by qcmap's extended maps too."""
    tally = Tally()
    for _, arch, shaping, u, v, state in _subnetworks(subject, effort):
        tally.add(state.q - 1, 1e-9, f"Q(1) = {state.q:.10g} from {u} to {v}")
        tally.add(state.dq - 1, 1e-9, f"Q'(1) = {state.dq:.10g} from {u} to {v}")
        if v in arch.outputs:
            extended = float(qc.network_maps(arch.subnetwork(u, v), shaping).q(1.0))
            tally.add(extended - state.q, 1e-12, f"the extended Q(1) is {extended:.10g} from {u} to {v}")
    return tally.outcome()


@checks(
    "dks-28",
    part="c0",
    source="DKS 17.3",
    claim="With the four local conditions and normalised sums, C_f(0) = 0 for every subnetwork f",
    subject=shaped,
    broken=_shifted,
)
def c_at_zero(subject: Shape, effort: int) -> Outcome:
    """As for q; C_f(0) is at least 0."""
    tally = Tally()
    for _, arch, shaping, u, v, state in _subnetworks(subject, effort):
        tally.add(state.c0, 1e-9, f"C(0) = {state.c0:.3g} from {u} to {v}")
        if v in arch.outputs:
            extended = float(qc.network_maps(arch.subnetwork(u, v), shaping).c(0.0))
            tally.add(extended - state.c0, 1e-12, f"the extended C(0) is {extended:.3g} from {u} to {v}")
    return tally.outcome()


@checks(
    "dks-28",
    part="slope",
    source="DKS 17.3",
    claim="With the four local conditions and normalised sums, C_f'(1) <= zeta for every subnetwork f, and = for one",
    subject=shaped,
    broken=_steep,
)
def slopes(subject: Shape, effort: int) -> Outcome:
    """The chain rule for every subnetwork; the largest slope of each network against zeta."""
    tally, largest = Tally(), {}
    for zeta, arch, _, u, v, state in _subnetworks(subject, effort):
        tally.add(max(0.0, state.slope / zeta - 1), 1e-9, f"C'(1) = {state.slope:.10g} > {zeta} from {u} to {v}")
        largest[id(arch)] = max(largest.get(id(arch), (0.0, 0.0)), (state.slope, zeta))
    for found, zeta in largest.values():
        tally.add(found / zeta - 1, 1e-9, f"the largest slope is {found:.10g}, not {zeta}")
    return tally.outcome()


Mean = Callable[[list[Any], list[Any], list[Any]], list[Any]]
"""Weights, q values and slopes of the branches of a sum to the slope after it: one for each reading of the formula."""


def _footnote(w: list[Any], q: list[Any], p: list[Any]) -> list[Any]:
    """Footnote 10 as printed: (w_1^2 q_i p_1 + ... + w_n^2 q_i p_n) / sum_i w_i^2 q_i, for each i that is left free."""
    norm = sum(a**2 * b for a, b in zip(w, q, strict=True))
    return [sum(a**2 * free * s for a, s in zip(w, p, strict=True)) / norm for free in q]


def _own_q(w: list[Any], q: list[Any], p: list[Any]) -> list[Any]:
    norm = sum(a**2 * b for a, b in zip(w, q, strict=True))
    return [sum(a**2 * b * s for a, b, s in zip(w, q, p, strict=True)) / norm]


@checks(
    "dks-36",
    part="footnote",
    variant="as_printed",
    source="DKS 21.3, footnote 10",
    claim="A sum maps to (w_1^2 q_i p_1 + w_2^2 q_i p_2 + ... + w_n^2 q_i p_n) / sum_i w_i^2 q_i, for some i",
    subject=_footnote,
    broken=_own_q,
)
@checks(
    "dks-36",
    part="footnote",
    variant="corrected",
    source="DKS 21.3, footnote 10",
    claim="A sum maps to (w_1^2 q_1 p_1 + w_2^2 q_2 p_2 + ... + w_n^2 q_n p_n) / sum_i w_i^2 q_i",
    subject=_own_q,
    broken=lambda w, q, p: _own_q(w, [1] * len(q), p),
)
@precise
def footnote(subject: Mean, effort: int) -> Outcome:
    """Sums of relu, erf, sin and cos branches of different depth: forward-mode differentiation of m at 34 digits."""
    return _branches(subject, effort, concat=False)


@checks(
    "dks-36",
    part="concat",
    variant="as_printed",
    source="DKS 21.3, rule 4 and footnote 10",
    claim="Where q values vary footnote 10 changes the rule for sums only: a concatenation still maps to "
    "(k_1 p_1 + ... + k_n p_n) / sum_i k_i",
    subject=lambda k, q, p: _own_q(_roots(k), [1] * len(q), p),
    broken=lambda k, q, p: _own_q(_roots(k), q, p),
)
@checks(
    "dks-36",
    part="concat",
    variant="corrected",
    source="DKS 21.3, rule 4 and footnote 10",
    claim="A concatenation maps to (k_1 q_1 p_1 + ... + k_n q_n p_n) / sum_i k_i q_i",
    subject=lambda k, q, p: _own_q(_roots(k), q, p),
    broken=lambda k, q, p: _own_q(_roots(k), [1] * len(q), p),
)
@precise
def concatenation(subject: Mean, effort: int) -> Outcome:
    """The same branches, concatenated."""
    return _branches(subject, effort, concat=True)


def _roots(counts: list[Any]) -> list[Any]:
    return [mp.sqrt(k) for k in counts]


def _branches(subject: Mean, effort: int, *, concat: bool) -> Outcome:
    random, tally, names = np.random.default_rng(36), Tally(), ("relu", "erf", "sin", "cos", "square")
    for _ in range(6 * effort):
        b, ends = qc.Builder("branches"), []
        stem = b.activation(b.affine(b.input("x", channels=4), 4), "relu")
        counts = [int(k) for k in random.integers(1, 9, int(random.integers(2, 4)))]
        for depth, channels in enumerate(counts):
            h = b.affine(stem, 4, weight_variance=float(random.uniform(0.5, 2)))
            for _ in range(depth + 1):
                h = b.affine(b.activation(h, names[int(random.integers(5))]), channels if concat else 4)
            ends.append(h)
        weights = [float(w) for w in random.uniform(0.3, 1.5, len(ends))]
        arch = b.build(outputs=[b.concat(ends) if concat else b.sum(ends, weights)])
        q = float(random.uniform(0.3, 2))
        values, want = propagate(arch, mp.mpf(1), q, q), slope(arch, arch.outputs[0], q)
        slopes = [slope(arch, end, q) for end in ends]
        readings = subject(counts if concat else weights, [values[end].q1 for end in ends], slopes)
        best = min(readings, key=lambda value: abs(value - want))
        tally.add(
            best / want - 1, 1e-12, f"C'(1) of {len(ends)} branches is {mp.nstr(want, 8)}, not {mp.nstr(best, 8)}"
        )
    return tally.outcome()


@lru_cache(maxsize=64)
@precise
def norm_slope(names: tuple[str, ...]) -> tuple[float, float]:
    """By what a layer norm multiplies C'(1) of a chain with these activations, and C(0) of its last layer."""
    b = qc.Builder("norm")
    h = b.input("x", channels=4)
    for name in names:
        h = b.activation(b.affine(h, 4), name)
    arch = b.build(outputs=[b.layer_norm(h)])
    last = propagate(arch, mp.mpf(1), 1, 1)[h]  # a combined layer has C(0) = (E phi)^2 / E phi^2
    return float(slope(arch, arch.outputs[0], 1) / slope(arch, h, 1)), float(last.mean1**2 / last.q1)


@checks(
    "dks-36",
    part="layer_norm",
    variant="as_printed",
    source="DKS 21.3, rule 6",
    claim="Layer normalisation layers map to the constant 1",
    subject=lambda c0: 1.0,
    broken=lambda c0: 1 / (1 - c0),
)
@checks(
    "dks-36",
    part="layer_norm",
    variant="corrected",
    source="DKS 21.3, rule 6; 26.7.1",
    claim="Layer normalisation layers map to 1 / (1 - C_g(0)) after a combined layer g: to 1 if channel means are 0",
    subject=lambda c0: 1 / (1 - c0),
    broken=lambda c0: 1.0,
)
def layer_norms(subject: Callable[[float], float], effort: int) -> Outcome:
    """Chains of one to three layers: forward-mode differentiation of m at 34 digits."""
    tally = Tally()
    for names in (("erf",), ("relu",), ("cos",), ("relu", "erf"), ("sin", "relu", "relu"))[: 4 + effort]:
        want, c0 = norm_slope(names)
        found = subject(c0)
        tally.add(found / want - 1, 1e-12, f"{'-'.join(names)}, then a norm: the factor is {want:.8g}, not {found:.8g}")
    return tally.outcome()


def library_slope(arch: qc.Architecture, layers: Any, values: dict[str, float], q: dict[str, float]) -> float:
    """C'(1) of the whole network by qcmap's recipe, with these slopes and q values."""
    expression = qc.slope_polynomial(arch, arch.inputs[0], arch.outputs[0], layers=layers, q=q).expr
    return float(expression.subs({s: values[str(s)] for s in expression.free_symbols}).evalf(20))


@checks(
    "dks-36",
    part="recipe",
    source="DKS 21.3",
    claim="With C'(1) of each layer for psi and weights times q values, the recipe gives C_f'(1) of any network",
    subject=library_slope,
    broken=lambda arch, layers, values, q: library_slope(arch, layers, values, dict.fromkeys(q, 1.0)),
)
@precise
def recipe(subject: Callable[..., float], effort: int) -> Outcome:
    """Random graphs with uneven sums, concatenations and weight variances; one slope an activation with layer norms."""
    random, tally = np.random.default_rng(213), Tally()
    for k in range(8 * effort):
        norm, q = k % 3 == 2, float(random.uniform(0.3, 2))
        names = ("sin", "erf") if norm else ("relu", "erf", "sin", "cos")
        arch = varied(random_network(random, 6), random, names, uneven=True, norm=norm)
        slopes = {name: float(value) for name, value in layer_slopes(arch, q).items()}
        values = {f"psi_{name}": value for name, value in slopes.items()}
        if norm:
            values = {f"psi_{arch[name].op.name}": value for name, value in slopes.items()}  # pyright: ignore[reportAttributeAccessIssue]
        known = {name: float(v) for name, v in qc.network_maps(arch).propagate_q(q).items()}
        found = subject(arch, "activation" if norm else "layer", values, known)
        want = slope(arch, arch.outputs[0], q)
        tally.add(found / want - 1, 1e-11, f"C'(1) is {mp.nstr(want, 10)} at q = {q:.4g}, not {found:.10g}")
    return tally.outcome()
