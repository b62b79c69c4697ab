"""Slope polynomials and the maximal slope function: DKS, sections 17.1 and 17.2."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from itertools import pairwise, product

import numpy as np
import sympy

import qcmap as qc
from theory_checks.graphs import random_network, wiring
from theory_checks.registry import Outcome, Tally, checks

Slope = Callable[[qc.Architecture, str, str], qc.SlopePolynomial]
Maximal = Callable[[qc.Architecture], Callable[[float], float]]


def _random_networks(seed: int, count: int, layers: int) -> list[qc.Architecture]:
    random = np.random.default_rng(seed)
    return [random_network(random, layers, inputs=1 + int(random.random() < 0.3)) for _ in range(count)]


def _unsquared(arch: qc.Architecture, source: str, target: str) -> qc.SlopePolynomial:
    """Weights in place of their squares, divided by their sum."""
    import dataclasses

    from qcmap.architecture import Sum

    nodes = [
        dataclasses.replace(node, op=Sum(tuple(float(w) ** 0.5 for w in node.op.weights)))
        if isinstance(node.op, Sum)
        else node
        for node in arch.nodes
    ]
    return qc.slope_polynomial(qc.Architecture(arch.name, tuple(nodes), arch.outputs), source, target)


@checks(
    "dks-27",
    part="polynomials",
    source="DKS 17.1",
    claim="p_f(1) = 1, p_f has no negative coefficient, and p_f(psi) >= 1 for psi >= 1, for every subnetwork f",
    subject=qc.slope_polynomial,
    broken=_unsquared,
)
def polynomials(subject: Slope, effort: int) -> Outcome:
    """Every coefficient of every subnetwork of random graphs, against a sum over paths."""
    tally, psi = Tally(), sympy.Symbol("psi", positive=True)
    for arch in _random_networks(27, 6 * effort, 5):
        plain = wiring(arch)
        pairs = [(u, v) for u, inside in plain.subnetworks for v in sorted(inside) if u != v and plain.nonlinear[v]]
        for u, v in pairs:
            by_count: dict[int, float] = {}
            for share, count in plain.paths(u, v):
                by_count[count] = by_count.get(count, 0.0) + float(share)
            polynomial = subject(arch, plain.names[u], plain.names[v])
            found = sympy.Poly(polynomial.expr, psi).all_coeffs()[::-1]
            name = f"{plain.names[u]} to {plain.names[v]} of {arch.name}: {polynomial}"
            for power in range(max(len(found), max(by_count) + 1)):
                value = float(found[power]) if power < len(found) else 0.0
                tally.add(value - by_count.get(power, 0.0), 1e-13, f"{name}, at psi^{power}")
                tally.add(min(0.0, value), 1e-13, f"{name}, negative at psi^{power}")
            tally.add(float(sum(found)) - 1, 1e-13, f"{name} is not 1 at psi = 1")
            tally.add(min(0.0, float(polynomial(1.7)) - 1), 1e-13, f"{name} is below 1 at psi = 1.7")
    return tally.outcome()


def _whole_only(arch: qc.Architecture) -> Callable[[float], float]:
    """The slope to the first output alone, from the topmost node above it."""
    plain = wiring(arch)
    last = plain.names.index(arch.outputs[0])
    first = next(u for u, inside in plain.subnetworks if last in inside)
    return lambda psi: float(plain.slope(first, last, psi))


@checks(
    "dks-27",
    part="maximal",
    source="DKS 17.1, 17.2",
    claim="mu(psi) = max p_f(psi) over all subnetworks is continuous, strictly increasing and invertible; "
    "subnetworks that compose into larger ones may be skipped",
    subject=qc.maximal_slope,
    broken=_whole_only,
)
def maximal(subject: Maximal, effort: int) -> Outcome:
    """Against every pair (u, v) of random graphs with one or two inputs, each slope summed path by path."""
    tally = Tally()
    for arch in _random_networks(172, 12 * effort, 8):
        mu, plain = subject(arch), wiring(arch)
        values = []
        for psi in (1.0, 1.01, 1.3, 2.5, 2.5 + 1e-9):
            want = max(plain.slope(u, v, psi) for u, inside in plain.subnetworks for v in inside)
            values.append(float(mu(psi)))
            tally.add(values[-1] / want - 1, 1e-12, f"mu({psi:g}) = {want:.12g}, not {values[-1]:.12g}")
        tally.add(max(0.0, *(a - b for a, b in pairwise(values))), 1e-13, f"mu falls: {values}")
        tally.add(values[4] - values[3], 1e-3, "mu jumps at psi = 2.5")
        if isinstance(mu, qc.MaximalSlope):
            tally.add(mu.inverse(values[2]) / 1.3 - 1, 1e-12, f"the inverse of mu at {values[2]:.6g} is not 1.3")
    return tally.outcome()


def _skip(depth: int, *, last: bool) -> qc.Architecture:
    """A chain of ``depth`` nonlinear layers with a skip connection over all of it, and perhaps one layer after it."""
    b = qc.Builder(f"skip({depth})")
    x = b.affine(b.input("x"), name="stem")
    h = x
    for _ in range(depth):
        h = b.affine(b.activation(h, "tanh"))
    h = b.sum([x, h], [0.5**0.5, 0.5**0.5])
    return b.build(outputs=[b.activation(h, "tanh") if last else h])


@checks(
    "dks-27",
    part="examples",
    source="DKS 17.2",
    claim="A skip over D layers has slope (1 + psi^D)/2 but mu = psi^D; with a layer after it, "
    "mu = max{psi^D, psi (1 + psi^D)/2}, and either can be the larger",
    subject=qc.maximal_slope,
    broken=_whole_only,
)
def examples(subject: Maximal, effort: int) -> Outcome:
    """The printed formulas, at psi on both sides of the crossing."""
    tally, sides = Tally(), set()
    for depth in (2, 3, 10, 40)[: 2 + 2 * effort]:
        for psi in (1.02, 1.5, 1.9, 2.2, 4.0):
            mean, chain = (1 + psi**depth) / 2, psi**depth
            sides.add(chain > psi * mean)
            arch = _skip(depth, last=False)
            whole = float(qc.slope_polynomial(arch, "x")(psi))
            tally.add(whole / mean - 1, 1e-12, f"the whole network has slope {mean:.8g}, not {whole:.8g}")
            for last, want in ((False, chain), (True, max(chain, psi * mean))):
                value = float(subject(_skip(depth, last=last))(psi))
                where = f"D = {depth}, psi = {psi:g}{', with a last layer' if last else ''}"
                tally.add(value / want - 1, 1e-12, f"mu = {want:.8g} for {where}, not {value:.8g}")
    tally.add(2 - len(sides), 0.5, "only one side of the crossing was seen")
    return tally.outcome()


Coefficients = tuple[int, ...]
"""Of psi^0, psi^1, ..., in proportion: a slope polynomial divided by the sum of these is 1 at psi = 1."""


def multiplied(p: Coefficients, q: Coefficients) -> Coefficients:
    """The product."""
    return tuple(int(c) for c in np.convolve(np.array(p, dtype=np.int64), np.array(q, dtype=np.int64)))


def evaluated(p: Coefficients, psi: Fraction) -> Fraction:
    """p(psi) / p(1)."""
    return sum((c * psi**k for k, c in enumerate(p)), Fraction(0)) / sum(p)


def branches(builder: qc.Builder, source: str, p: Coefficients) -> str:
    """A normalised sum after ``source``, with a branch of k nonlinear layers for each power k, and slope p / p(1)."""
    ends, weights = [], []
    for layers, coefficient in enumerate(p):
        if coefficient:
            h = builder.affine(source)
            for _ in range(layers):
                h = builder.affine(builder.activation(h, "tanh"))
            ends.append(h)
            weights.append(math.sqrt(coefficient / sum(p)))
    return builder.sum(ends, weights)


Quotient = Callable[[Coefficients], bool]
"""Whether the rule applies to this quotient p_h / p_f, in proportion."""


@checks(
    "dks-27",
    part="factor",
    variant="as_printed",
    source="DKS 17.2, 21.3",
    claim="If p_f is a factor of p_h then p_h / p_f is a slope polynomial too, so p_h >= p_f for psi >= 1 and f may be "
    "ignored, without assuming any relationship between f and h",
    subject=lambda quotient: True,
    broken=lambda quotient: min(quotient) >= 0,
)
@checks(
    "dks-27",
    part="factor",
    variant="corrected",
    source="DKS 17.2, 21.3 (ours)",
    claim="If p_h / p_f has no negative coefficient then p_h >= p_f for psi >= 1, such as when f and another "
    "subnetwork compose to h",
    subject=lambda quotient: min(quotient) >= 0,
    broken=lambda quotient: True,
)
def factors(subject: Quotient, effort: int) -> Outcome:
    """Networks of two outputs, f and h side by side; slopes summed path by path, and the maximum by qcmap."""
    random, tally = np.random.default_rng(271), Tally()
    cases: list[tuple[Coefficients, Coefficients]] = [
        ((3, 1), (9, -3, 1))
    ]  # 27 + psi^3 = (3 + psi) (9 - 3 psi + psi^2)
    while len(cases) < 12 * effort:
        p, quotient = ((*map(int, random.integers(0, 6, 2)), 1), (*map(int, random.integers(-2, 9, 2)), 1))
        if min(multiplied(p, quotient)) >= 0 and sum(quotient) > 0:
            cases.append((p, quotient))
    for p, quotient in cases:
        if not subject(quotient):
            continue
        whole = multiplied(p, quotient)
        b = qc.Builder("two branches")
        x = b.affine(b.input("x"))
        ends = [branches(b, x, part) for part in (p, whole)]
        arch = b.build(outputs=ends)
        plain = wiring(arch)
        first, (f, h) = plain.names.index(x), (plain.names.index(end) for end in ends)
        for psi in (1.1, 1.5, 2.5):
            small, large = plain.slope(first, f, psi), plain.slope(first, h, psi)
            witness = f"p_f ~ {p}, p_h / p_f ~ {quotient}: p_f = {small:.6g} > p_h = {large:.6g} at psi = {psi:g}"
            tally.add(max(0.0, small / large - 1), 1e-12, witness)
            mu = float(qc.maximal_slope(arch)(psi))
            best = max(plain.slope(u, v, psi) for u, inside in plain.subnetworks for v in inside)
            tally.add(0.0 if math.isclose(mu, best, rel_tol=1e-12) else math.nan, 1.0, f"qcmap's mu is {mu:.8g}")
    return tally.outcome()


Shortcut = tuple[int, int, int, int]
"""Squared weights and numbers of nonlinear layers of two branches of a sum."""


def shortcut_slope(branch: Shortcut, psi: Fraction) -> Fraction:
    """(u psi^k + v psi^l) / (u + v)."""
    u, v, k, m = branch
    return (u * psi**k + v * psi**m) / (u + v)


@checks(
    "dks-27",
    part="increasing",
    variant="as_printed",
    source="DKS 17.1",
    claim="p_f is strictly increasing if the subnetwork f contains a nonlinear layer",
    subject=lambda u, v, k, m: k + m > 0,
    broken=lambda u, v, k, m: u * k + v * m > 0,
)
@checks(
    "dks-27",
    part="increasing",
    variant="corrected",
    source="DKS 17.1",
    claim="p_f is strictly increasing if a path of f with no weight zero passes a nonlinear layer; mu is anyway, since "
    "the nonlinear layer is a subnetwork itself",
    subject=lambda u, v, k, m: u * k + v * m > 0,
    broken=lambda u, v, k, m: k + m > 0,
)
def increasing(subject: Callable[[int, int, int, int], bool], effort: int) -> Outcome:
    """Two branches with squared weights 0, 1/4, ..., 1 and at most two layers, by qcmap's polynomials."""
    tally = Tally()
    for u, k, m in product(range(5), range(3), range(3)):
        if not subject(u, 4 - u, k, m):
            continue
        b, ends = qc.Builder("shortcut"), []
        x = b.affine(b.input("x"))
        for layers in (k, m):
            h = b.affine(x)
            for _ in range(layers):
                h = b.affine(b.activation(h, "tanh"))
            ends.append(h)
        arch = b.build(outputs=[b.sum(ends, [math.sqrt(u / 4), math.sqrt(1 - u / 4)])])
        values = [float(qc.slope_polynomial(arch)(psi)) for psi in (1.0, 1.5, 2.0)]
        witness = f"weights^2 {u}/4 and {4 - u}/4 over {k} and {m} layers: p_f takes the values {values}"
        tally.add(float(not values[0] < values[1] < values[2]), 0.5, witness)
        want = float(shortcut_slope((u, 4 - u, k, m), Fraction(2)))
        tally.add(0.0 if math.isclose(values[2], want, rel_tol=1e-12) else math.nan, 1.0, f"qcmap has {values[2]}")
        if k + m:
            mu = qc.maximal_slope(arch)
            tally.add(float(not mu(1.0) < mu(1.5) < mu(2.0)), 0.5, f"{witness}; mu does not grow")
    return tally.outcome()
