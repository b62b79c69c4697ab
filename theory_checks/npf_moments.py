"""The tangent kernel of fixed gates over random weights: Neural Path Features, section 5 and appendices B and C."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from itertools import combinations, product

import numpy as np

from qcmap.paths import (
    chain_moments,
    exhaustive_moments,
    expected_kernels,
)
from theory_checks.path_networks import Array, Plain, signs
from theory_checks.registry import Outcome, Tally, checks

SMALL = ((2, 3, 2), (3, 2, 2), (3, 3, 1), (4, 2, 1))
"""Depth, width and inputs of networks of at most 15 weights."""


def over_signs(plain: Plain, sigma: float, value: Callable[[Array], Array]) -> Array:
    """The average over all weights +-sigma."""
    return np.mean([value(sigma * row) for row in signs(plain.count)], axis=0)


@checks(
    "npf-07",
    part="mean",
    source="NPF Theorem 5.1, B.1, Prop. B.3",
    claim="E K_v = d sigma^(2(d-1)) H over weights +-sigma that are independent of the gates, at any width",
    subject=lambda depth, sigma: depth * sigma ** (2 * (depth - 1)),
    broken=lambda depth, sigma: sigma ** (2 * (depth - 1)),
)
def expected_kernel(subject: Callable[[int, float], float], effort: int) -> Outcome:
    """Over all sign patterns of plain networks, and by qcmap's three ways."""
    tally = Tally()
    for depth, width, inputs in SMALL:
        plain, sigma = Plain.random(depth + width, depth, width, inputs, examples=2), 0.8
        phi = plain.features()
        want = subject(depth, sigma) * (phi @ phi.T)
        given = plain.arch, plain.named_gates, plain.x, sigma
        ways = {"exhaustive": exhaustive_moments(*given).mean, "expected": expected_kernels(*given).tangent}
        if plain.count < 9 + effort:
            ways["plain"] = over_signs(plain, sigma, plain.kernel)
        for name, found in (*ways.items(), ("chain", chain_moments(*given).mean)):
            gap = float(np.abs(found - want).max())
            tally.add(
                gap, 1e-12, f"d = {depth}, w = {width}: E K ({name}) is {found[0, 0]:.12g}, not {want[0, 0]:.12g}"
            )
    return tally.outcome()


@checks(
    "npf-07",
    part="sensitivities",
    source="NPF Prop. B.1, Lemma B.1",
    claim="E <phi_p, phi_q> is 0 for different paths, and <phi_p, phi_p> = d sigma^(2(d-1)) whatever the signs",
    subject=lambda depth, sigma: depth * sigma ** (2 * (depth - 1)),
    broken=lambda depth, sigma: depth * sigma ** (2 * depth),
)
def path_sensitivities(subject: Callable[[int, float], float], effort: int) -> Outcome:
    """Gram matrices of listed sensitivities over all sign patterns."""
    tally = Tally()
    for depth, width, inputs in ((2, 2, 2), (3, 2, 1), (2, 3, 1), (3, 2, 2))[: 2 + effort]:
        plain, sigma = Plain.random(1, depth, width, inputs), 0.7
        total, norms = np.zeros((len(plain.paths()),) * 2), []
        for row in signs(plain.count):
            rows = plain.sensitivities(sigma * row)
            total = total + rows @ rows.T / 2**plain.count
            norms.append((rows**2).sum(axis=1))
        want = subject(depth, sigma)
        tally.add(np.abs(total - want * np.eye(len(total))).max(), 1e-12, f"d = {depth}: E <phi, phi'> is not {want}")
        tally.add(np.abs(np.array(norms) - want).max(), 1e-12, f"d = {depth}: |phi|^2 is not {want:.6g}")
    return tally.outcome()


Condition = Callable[[list[tuple[int, ...]]], bool]


def _in_pairs(layers: list[tuple[int, ...]]) -> bool:
    """Condition II: in every layer all four paths pass one weight, or two pass one and two another."""
    return all(sorted(np.unique(weights, return_counts=True)[1].tolist()) in ([4], [2, 2]) for weights in layers)


@checks(
    "npf-07",
    part="pairs",
    source="NPF Prop. B.4, B.5",
    claim="E of four sensitivities is sigma^(4(d-1)) if each passes its theta and every layer has pairs, else 0",
    subject=_in_pairs,
    broken=lambda layers: all(len(set(weights)) == 1 for weights in layers),
)
def four_paths(subject: Condition, effort: int) -> Outcome:
    """All quadruples of paths and pairs of weights of two small networks, over all sign patterns."""
    tally = Tally()
    for depth, width, inputs in ((2, 2, 2), (3, 2, 1)):
        plain = Plain.random(0, depth, width, inputs, examples=1)
        rows = np.stack([plain.sensitivities(row) for row in signs(plain.count)])  # sigma = 1
        on = [plain.weights_on(p) for p in plain.paths()]
        expected = np.einsum("kpa,kqa,krb,ksb->pqrsab", rows, rows, rows, rows, optimize=True) / len(rows)
        for *four, a, b in product(*(range(len(on)),) * 4, *(range(plain.count),) * 2):
            p, q, r, s = (on[k] for k in four)
            holds = a in p and a in q and b in r and b in s and subject(list(zip(p, q, r, s, strict=True)))
            found = expected[(*four, a, b)]
            tally.add(found - holds, 1e-12, f"d = {depth}, paths {four}, weights {a}, {b}: E is {found}, not {holds}")
    return tally.outcome()


def _crossing(first: int) -> Callable[[tuple[int, ...], tuple[int, ...]], bool]:
    """Whether two paths pass the same unit of a hidden layer, counted from this one on."""
    return lambda p, q: any(a == b for a, b in zip(p[first:-1], q[first:-1], strict=True))


@checks(
    "npf-07",
    part="crossings",
    variant="as_printed",
    source="NPF Definition B.2, Lemma B.3",
    claim="Paths that share no unit of layers 2 to d-1 give no other term than their own by splicing",
    subject=_crossing(2),
    broken=_crossing(1),
)
@checks(
    "npf-07",
    part="crossings",
    variant="corrected",
    source="NPF Definition B.2, Lemma B.3",
    claim="Paths that share no unit of layers 1 to d-1 give no other term than their own by splicing",
    subject=_crossing(1),
    broken=_crossing(2),
)
def splicing(subject: Callable[[tuple[int, ...], tuple[int, ...]], bool], effort: int) -> Outcome:
    """All pairs of paths with a weight on each, and all their splicings: four paths on the same weights."""
    tally = Tally()
    for a, b in combinations(range(len(PATHS)), 2):
        if not subject(PATHS[a], PATHS[b]):
            for value, spliced in spliced_terms(a, b):
                tally.add(value, 1e-9, f"paths {PATHS[a]} and {PATHS[b]} spliced to {spliced} give E = {value}")
    return tally.outcome()


_SPLICED = Plain.random(0, 3, 2, 2, examples=1)
PATHS = _SPLICED.paths()
"""Of a network of depth 3, width 2 and two inputs."""


@cache
def _sensitivities() -> Array:
    return np.stack([_SPLICED.sensitivities(row) for row in signs(_SPLICED.count)])


@cache
def spliced_terms(a: int, b: int) -> list[tuple[float, list[tuple[int, ...]]]]:
    """E of the four sensitivities of every splicing of two paths but themselves, for every weight on each of them."""
    rows, on, found = _sensitivities(), [_SPLICED.weights_on(p) for p in PATHS], []
    both = sorted(on[a] + on[a] + on[b] + on[b])
    for four in product(range(len(on)), repeat=4):
        if four != (a, a, b, b) and sorted(w for k in four for w in on[k]) == both:
            columns = [rows[:, k] for k in four]
            for first, second in product(on[a], on[b]):
                one, two = columns[0][:, first] * columns[1][:, first], columns[2][:, second] * columns[3][:, second]
                found.append((float((one * two).mean()), [PATHS[k] for k in four]))
    return found


def _base(expected: Array) -> float:
    """The sum over p_a = p_a' and p_b = p_b'."""
    return float(np.einsum("ppqqab->", expected))


@checks(
    "npf-07",
    part="base",
    source="NPF Definition B.1, Prop. B.6",
    claim="(E K)^2 is the sum over the base terms, those with p_a = p_a' and p_b = p_b', of E K^2",
    subject=_base,
    broken=lambda expected: float(np.einsum("pqpqab->", expected)),
)
def base_terms(subject: Callable[[Array], float], effort: int) -> Outcome:
    """With the features of two examples as factors."""
    tally = Tally()
    for depth, width, inputs in ((2, 2, 2), (3, 2, 1), (2, 3, 1)):
        plain = Plain.random(3, depth, width, inputs, examples=2, soft=True)
        rows = np.stack([plain.sensitivities(row) for row in signs(plain.count)])
        one, two = plain.features()
        weighed = np.einsum("p,q,r,s,kpa,kqa,krb,ksb->pqrsab", one, two, one, two, *(rows,) * 4, optimize=True)
        found, want = subject(weighed / len(rows)), float((depth * one @ two) ** 2)
        tally.add(
            found - want, 1e-10 * max(1, want), f"d = {depth}: the base terms are {found:.6g}, (E K)^2 {want:.6g}"
        )
    return tally.outcome()


Padded = Callable[[float, int], float]
"""sigma and m to sigma_(m)."""


@checks(
    "npf-10",
    source="NPF Definition C.2, Cor. C.1",
    claim="Gates repeated m times with sigma/sqrt m leave d sigma^(2(d-1)) H as it is; Var K_v goes like 1/m",
    subject=lambda sigma, m: sigma / m**0.5,
    broken=lambda sigma, m: sigma / m,
)
def padding(subject: Padded, effort: int) -> Outcome:
    """Expected kernels exactly; the variance for m and 2 m large."""
    tally = Tally()
    for depth, width in ((2, 3), (3, 4), (4, 2)):
        plain, sigma = Plain.random(depth, depth, width, soft=depth == 4), 0.6
        phi = plain.features()
        want = depth * sigma ** (2 * (depth - 1)) * (phi @ phi.T)
        for m in (2, 5, 16)[: 2 + effort]:
            wide = Plain(plain.x, tuple(np.tile(g, (1, m)) for g in plain.gates))
            found = expected_kernels(wide.arch, wide.named_gates, wide.x, subject(sigma, m)).tangent
            gap = float(np.abs(found - want).max())
            tally.add(gap, 1e-12 * max(1, np.abs(want).max()), f"d = {depth}, m = {m}: E K changes by {gap:.3g}")
        ratios = []
        for m in (2_000, 4_000):
            wide = Plain(plain.x, tuple(np.tile(g, (1, m)) for g in plain.gates))
            ratios.append(chain_moments(wide.arch, wide.named_gates, wide.x, subject(sigma, m)).variance[0, 0])
        tally.add(
            ratios[0] / max(ratios[1], 1e-300) - 2, 0.01, f"d = {depth}: twice m leaves 1/{ratios[0] / ratios[1]:.4g}"
        )
    return tally.outcome()


def chain_kernel(x: Array, gates: list[Array], weights: list[Array]) -> Array:
    """K of a wide chain by plain back-propagation: the sum over layers of (delta delta') * (z z')."""
    z = [x]
    for matrix, gate in zip(weights[:-1], gates, strict=True):
        z.append((z[-1] @ matrix.T) * gate)
    delta, total = np.ones((len(x), 1)), np.zeros((len(x), len(x)))
    for k in range(len(weights) - 1, -1, -1):
        total += (delta @ delta.T) * (z[k] @ z[k].T)
        if k:
            delta = (delta @ weights[k]) * gates[k - 1]
    return total
