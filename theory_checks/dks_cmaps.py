"""C maps at uniform q values are positive definite functions: DKS, section 11."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache

import mpmath as mp
import numpy as np

import qcmap as qc
from qcmap.numeric import local_maps
from theory_checks.oracles import ACTIVATIONS, hermite, precise, second_moment
from theory_checks.registry import Array, Outcome, Tally, checks

CMap = Callable[[Array], Array]


def local_map(name: str, q: float) -> CMap:
    """The C map of an activation with both q values equal to q, by qcmap."""
    maps = local_maps(name)
    return lambda c: maps.c(c, q, q)


def _with_negative_coefficient(name: str, q: float) -> CMap:
    """Still 1 at 1 and within [-1, 1], but c^4 has a coefficient lower by 0.1."""
    exact = local_map(name, q)
    return lambda c: exact(c) + 0.1 * (c**2 - c**4)


@checks(
    "dks-12",
    part="local",
    source="DKS 11.1 (14)",
    claim="With q1 = q2 = q, C(1) = 1 and C^(i)(0) = q^i (E phi^(i)(sqrt(q) x))^2 / Q(q) >= 0",
    subject=local_map,
    broken=_with_negative_coefficient,
)
@precise
def taylor_coefficients(subject: Callable[[str, float], CMap], effort: int) -> Outcome:
    """C^(i)(0)/i! for i <= 6, from samples of C on [-1/2, 1/2], against a_i^2 / Q with 30-digit coefficients.

    By parts, q^(i/2) E phi^(i)(sqrt(q) x) = E[phi(sqrt(q) x) He_i(x)] = sqrt(i!) a_i with Hermite coefficients a_i.
    """
    random, tally = np.random.default_rng(12), Tally()
    points = 0.5 * np.cos(math.pi * (np.arange(21) + 0.5) / 21)
    for name in ("tanh", "relu", "selu", "gelu", "hardtanh", "softplus"):
        for q in (float(q) for q in np.exp(random.uniform(-1, 1, effort))):
            c_map, phi = subject(name, q), ACTIVATIONS[name]
            tally.add(float(c_map(np.array([1.0]))[0]) - 1, 1e-12, f"C(1) of {name} is not 1 at q = {q:.4g}")
            series = np.polynomial.Chebyshev.fit(points, c_map(points), 20, domain=[-0.5, 0.5])
            taylor = series.convert(kind=np.polynomial.Polynomial).coef
            norm = second_moment(phi, q)
            for i, a in enumerate(hermite(phi, q, 7)):
                want = a**2 / norm
                witness = f"C^({i})(0)/{i}! of {name} is {mp.nstr(want, 8)} at q = {q:.4g}, not {taylor[i]:.8g}"
                tally.add(taylor[i] - want, 1e-7, witness)
                tally.add(min(0.0, float(taylor[i])), 1e-7, witness)
    return tally.outcome()


@cache
def architectures() -> dict[str, qc.Architecture]:
    """Small networks with chains, sums and concatenations; uniform input q values stay uniform in all of them."""
    nets = {"relu chain": qc.zoo.mlp(3, activation="relu"), "erf chain": qc.zoo.mlp(20, activation="erf")}
    b = qc.Builder("sum")
    x = b.input("x")
    h = b.activation(b.affine(x), "tanh")
    h = b.sum([b.affine(h), b.affine(b.activation(b.affine(h), "relu"))], [0.6, 0.8])
    nets["sum of tanh and relu"] = b.build(outputs=[b.activation(h, "sin")])
    b = qc.Builder("concat")
    x = b.input("x", channels=4)
    left, right = b.activation(b.affine(x, 3), "hardtanh"), b.activation(b.affine(x, 5), "cos")
    nets["concat of hardtanh and cos"] = b.build(outputs=[b.activation(b.affine(b.concat([left, right]), 4), "selu")])
    nets["wide_resnet"] = qc.zoo.wide_resnet(10, activation="relu", residual_weight=0.7)
    return nets


def extended_map(name: str) -> CMap:
    """The C map of a network at input q values 1, or of an activation at q = 1, by qcmap."""
    if name in architectures():
        return qc.network_maps(architectures()[name]).c
    return local_map(name, 1.0)


def _bent(name: str) -> CMap:
    """A convex, increasing bijection of [-1, 1] composed with C: monotone, 1 at 1, but not positive definite."""
    exact = extended_map(name)
    return lambda c: exact(c) + 0.15 * np.sin(math.pi * exact(c)) / math.pi


@checks(
    "dks-12",
    part="extended",
    source="DKS 11.1, 11.3",
    claim="Local and extended C maps are positive definite: (C(<x_i, x_j>))_ij has no negative eigenvalue for unit "
    "vectors x_i",
    subject=extended_map,
    broken=_bent,
)
def positive_definite(subject: Callable[[str], CMap], effort: int) -> Outcome:
    """Random unit vectors in 2, 3 and 5 dimensions (Schoenberg: this for all dimensions is b_i >= 0 for all i)."""
    random, tally = np.random.default_rng(113), Tally()
    for name in (*architectures(), "tanh", "relu", "softplus", "square", "cos", "hardswish"):
        c_map = subject(name)
        tally.add(float(c_map(np.array(1.0))) - 1, 1e-12, f"C(1) of {name} is not 1")
        for dimension in (2, 3, 5) * effort:
            x = random.standard_normal((40, dimension))
            x /= np.linalg.norm(x, axis=1, keepdims=True)
            gram = np.clip(x @ x.T, -1, 1)
            least = float(np.linalg.eigvalsh(c_map(gram))[0])
            witness = f"{name}: 40 unit vectors in {dimension} dimensions give the eigenvalue {least:.3g}"
            tally.add(min(0.0, least), 1e-10, witness)
    return tally.outcome()
