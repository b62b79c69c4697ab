"""Searches for counterexamples to printed statements on weights, layers, pooling, variances and parameters (DKS)."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
from hypothesis import strategies as st

import qcmap as qc
from qcmap.numeric import Transform, orthogonal_width
from theory_checks.dks_equivalent import Absorb, Layer, Pads, equivalent, forward
from theory_checks.dks_layers import wide_mean
from theory_checks.dks_mean_pooling import Matrix, exact_variance, mean_of_products
from theory_checks.dks_paths import co_active
from theory_checks.dks_pln import by_formula
from theory_checks.dks_shaping import Covered, bent_slope, flat_second_moment
from theory_checks.dks_variance import Law, variance
from theory_checks.refutations import Trial, refuted

SMALL = st.integers(-2, 2)
COSINES = st.integers(-4, 4).map(lambda k: k / 4)
THREE = ((-math.sqrt(3), 1 / 6), (0.0, 2 / 3), (math.sqrt(3), 1 / 6))
"""A rule that is exact for normal moments up to the fifth."""


@refuted("dks-05/variance", "misprint", st.integers(1, 4))
def gaussian_variance(subject: Callable[[int], float], m: int) -> Trial:
    """E (r - 1)^2 of the mean r of m squared normals, by a product rule."""
    found = sum(
        math.prod(w for _, w in row) * (sum(x * x for x, _ in row) / m - 1) ** 2
        for row in itertools.product(THREE, repeat=m)
    )
    return found - subject(m), 1e-12, f"m = {m}: the variance is {found:.4g}, not {subject(m):.4g}"


@refuted("dks-05/remark_8", "misprint", st.tuples(st.integers(1, 60), st.integers(1, 8)))
def remark_8(subject: int, instance: tuple[int, int]) -> Trial:
    """Delta = exp(-k), k = 1 input, C = 1."""
    failure, error = math.exp(-instance[0]), float(instance[1])
    m, implied = orthogonal_width(1, error, failure, 1.0), 128 * math.log(2 / failure) ** subject / error**2
    witness = f"k = C = 1, eps = {error:g}, delta = exp(-{instance[0]}): m = {m} will do, below {implied:.5g}"
    return max(0.0, implied / m - 1), 1e-9, witness


@refuted("dks-11/zero", "hypothesis missing", st.lists(st.tuples(SMALL, SMALL), min_size=1, max_size=3))
def zero_examples(subject: Callable[[Any], bool], locations: list[tuple[int, int]]) -> Trial | None:
    """Examples of two channels."""
    x = np.array(locations, dtype=float).T
    if not subject(x):
        return None
    q = (by_formula(x) ** 2).mean(axis=0)
    error = 1.0 if np.isnan(q).any() else float(np.abs(q - 1).max())
    return error, 1e-12, f"locations {locations}: q = {', '.join('0/0' if np.isnan(a) else f'{a:.4g}' for a in q)}"


@refuted("dks-30/differentiable", "hypothesis missing", st.tuples(st.booleans(), st.integers(0, 3), st.integers(5, 8)))
def differentiable(subject: Covered, instance: tuple[bool, int, int]) -> Trial | None:
    """An activation with a jumping derivative, at the input scale 2^-j."""
    jumps, k, j = instance
    if not subject(not jumps, k):
        return None
    found = bent_slope(not jumps, k, 2.0**-j)
    name = f"u + {k} u^2" + (" sin(1/u)" if jumps else "")
    return found - 1, 0.1, f"phi(u) = {name}, alpha = 2^-{j}: C'(1) = {found:.3f}"


@refuted("dks-30/flat_point", "wrong", st.tuples(st.integers(2, 5), st.integers(1, 12)))
def flat_point(subject: float, instance: tuple[int, int]) -> Trial:
    """A power at beta = 0."""
    power, j = instance
    found = flat_second_moment(power, 2.0**-j)
    return found - subject, 1e-9, f"phi(u) = u^{power}, alpha = 2^-{j}: E phi_hat(x)^2 = {found:.6g}"


def _transform(constants: tuple[int, int, int, int]) -> Transform:
    alpha, beta, delta, gamma = map(float, constants)
    return Transform(qc.activation("tanh"), alpha, beta, delta, gamma)


CONSTANTS = st.tuples(st.integers(1, 3), SMALL, SMALL, st.integers(1, 3))
"""alpha, beta, delta, gamma."""


@refuted("dks-29/input", "misprint", st.tuples(CONSTANTS, SMALL, SMALL, SMALL))
def absorbed_inputs(subject: Absorb, instance: tuple[tuple[int, int, int, int], int, int, int]) -> Trial:
    """A layer w x + b of one unit."""
    t, (w, b, x) = _transform(instance[0]), instance[1:]
    layer = Layer(np.array([[float(w)]]), np.array([float(b)]))
    at = np.array([[float(x)]])
    want, found = (t.input_scale * layer(at) + t.input_shift).item(), subject(layer, t)(at).item()
    witness = f"alpha = {t.input_scale:g}, beta = {t.input_shift:g}, W = {w}, b = {b}, x = {x}: {want:g}, not {found:g}"
    return found - want, 1e-12, witness


@refuted("dks-29/output", "misprint", st.tuples(CONSTANTS, SMALL, SMALL, SMALL))
def absorbed_outputs(subject: Absorb, instance: tuple[tuple[int, int, int, int], int, int, int]) -> Trial:
    """A layer of one unit after phi_hat(u)."""
    t, (w, b, u) = _transform(instance[0]), instance[1:]
    layer = Layer(np.array([[float(w)]]), np.array([float(b)]))
    at = np.array([[float(u)]])
    plain = t.activation.value(t.input_scale * at + t.input_shift)
    want, found = layer(t(at)).item(), subject(layer, t)(plain).item()
    witness = f"gamma = {t.output_scale:g}, delta = {t.output_shift:g}, W = {w}, b = {b}: {want:.5g}, not {found:.5g}"
    return found - want, 1e-12, witness


@refuted("dks-29/padding", "hypothesis missing", st.tuples(CONSTANTS, st.lists(SMALL, min_size=9, max_size=9)))
def padded(subject: Pads, instance: tuple[tuple[int, int, int, int], list[int]]) -> Trial:
    """Two 3x3 convolutions on a map of zeros of size 2x2, the first with the filter 0."""
    t, taps = _transform(instance[0]), np.array(instance[1], dtype=float).reshape(1, 1, 3, 3)
    layers = [Layer(np.zeros((1, 1, 3, 3)), np.zeros(1)), Layer(taps, np.zeros(1))]
    x, gap = np.zeros((1, 2, 2)), 0.0
    changed = equivalent(layers, [t])
    for way in subject:
        hat, plain = way(t)
        want, found = forward(layers, [t], x, [hat]), forward(changed, [t.activation.value], x, [plain])
        gap = max(gap, float(np.abs(found - want).max()))
    witness = f"gamma = {t.output_scale:g}, delta = {t.output_shift:g}, taps {instance[1]}: outputs differ by {gap:.3g}"
    return gap, 1e-12, witness


MATRICES = st.integers(1, 3).flatmap(
    lambda n: st.tuples(*[st.lists(st.lists(SMALL, min_size=n, max_size=n), min_size=2, max_size=2)] * 2)
)
"""Two feature maps of two channels and up to three locations."""


@refuted("dks-34/variance", "hypothesis missing", MATRICES)
def pooled_variance(subject: Callable[[Matrix], Fraction], instance: tuple[list[list[int]], list[list[int]]]) -> Trial:
    """In fractions, by Isserlis' theorem."""
    m = np.array(instance[0]).T @ np.array(instance[1])
    want, found = exact_variance(m), subject(m)
    return float(found - want), 0.5, f"M = {m.tolist()}: (k l)^2 Var = {want}, not {found}"


@refuted("dks-34/bound", "wrong", st.lists(st.integers(1, 12), min_size=1, max_size=12))
def pooled_bound(subject: Callable[[float, float, int], float], clusters: list[int]) -> Trial:
    """Clusters of equal locations, orthogonal to each other."""
    z = np.repeat(np.eye(len(clusters)), clusters, axis=1) * math.sqrt(len(clusters))
    m, locations = z.T @ z / len(z), z.shape[1]
    value, limit = float(np.trace(m @ m)), subject(1.0, float(np.abs(m).mean()), locations)
    witness = f"clusters of {clusters} equal locations, q = 1: tr(M^2) = {value:g} k^2, the bound {limit:.4g} k^2"
    return max(0.0, value / limit - 1), 1e-12, witness


@refuted("dks-34/normalisation", "misprint", MATRICES)
def pooled_mean(subject: Callable[[int], int], instance: tuple[list[list[int]], list[list[int]]]) -> Trial:
    """Sum over all indices."""
    z, other = (np.array(rows) for rows in instance)
    want, found = mean_of_products(z, other), Fraction(int(np.trace(z.T @ other)), subject(z.shape[1]))
    return float(found - want), 1e-12, f"Z = {z.tolist()}, Z' = {other.tolist()}: the mean is {want}, not {found}"


@refuted("dks-42/norm", "misprint", st.lists(SMALL, min_size=1, max_size=3))
def unit_variance(subject: int, w: list[int]) -> Trial:
    """Independent signs as inputs."""
    law: Law = [(Fraction(1, 2 ** len(w)), signs) for signs in itertools.product((-1, 1), repeat=len(w))]
    found = variance(law, lambda x: Fraction(sum(a * b for a, b in zip(w, x, strict=True))))
    want = math.sqrt(sum(a * a for a in w)) ** subject
    return float(found) - want, 1e-9, f"weights {w}: the variance is {found}, not {want:.4g}"


@refuted("dks-43/total_variance", "wrong", st.lists(st.tuples(SMALL, SMALL), min_size=1, max_size=4))
def total_variance(subject: Callable[[Law], Fraction], points: list[tuple[int, int]]) -> Trial:
    """(x, y) uniform on a list of points."""
    law: Law = [(Fraction(1, len(points)), point) for point in points]
    found, want = subject(law), variance(law, lambda value: Fraction(value[0] + value[1]))
    return float(found - want), 1e-12, f"(x, y) uniform on {points}: Var(x + y) = {want}, not {found}"


@refuted("dks-48/q", "misprint", st.tuples(st.sampled_from(["relu", "square", "cos"]), st.integers(1, 8)))
def which_q(subject: Callable[[str, float], float], instance: tuple[str, int]) -> Trial:
    """The mean of phi(u), u of variance k/4."""
    name, q = instance[0], instance[1] / 4
    want, found = wide_mean(name, q), subject(name, q)
    return found - want, 1e-10, f"phi = {name}, q = {q} before the layer: the mean is {want:.4f}, not {found:.4f}"


def product_mean(c: float) -> float:
    """E relu(u) relu(u') in polar coordinates: E r^2 = 2 times the mean of cos(a) cos(a - t), both positive."""
    t = math.acos(c)
    nodes, weights = np.polynomial.legendre.leggauss(20)
    low, high = t - math.pi / 2, math.pi / 2
    a = (low + high) / 2 + (high - low) / 2 * nodes
    return float(weights @ (np.cos(a) * np.cos(a - t))) * (high - low) / 2 / math.pi


@refuted("dks-54/function", "wrong", COSINES)
def products_of_outputs(subject: Callable[[float], float], c: float) -> Trial:
    """One hidden layer."""
    want = product_mean(c)
    return subject(c) - want, 1e-10, f"one hidden layer, c = {c}: E f(x) f(x') = {want:.4f}, not {subject(c):.4f}"


@refuted("dks-54/fractions", "wrong", st.tuples(st.integers(1, 4), COSINES.filter(lambda c: c < 1)))
def co_active_fractions(subject: Callable[[int, float], float], instance: tuple[int, float]) -> Trial:
    """Wide networks: angles by the products of outputs, layer by layer; off by a tenth at least."""
    layers, c = instance
    share = 1.0
    for _ in range(layers):
        share *= co_active(c)
        c = min(1.0, 2 * product_mean(c))
    witness = f"{layers} layers, c = {instance[1]}: the fraction is {share:.4f}, not {subject(*instance):.4f}"
    return subject(*instance) / share - 1 if share else subject(*instance), 0.1, witness
