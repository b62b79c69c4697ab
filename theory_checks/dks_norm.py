"""Layer normalisation: DKS, sections 19.2 and 26.7.1."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import mpmath as mp
import numpy as np

import qcmap as qc
from qcmap.architecture import LayerNorm, Scale
from qcmap.symbolic import c_derivative
from theory_checks.oracles import ACTIVATIONS, hermite, normalised, precise, second_moment
from theory_checks.propagation import propagate
from theory_checks.registry import Array, Outcome, Tally, checks

Point = tuple[float, float, float]
Cosine = Callable[[Array, Array], float]


def _centred(x: Array, y: Array) -> float:
    """(sqrt(q1 q2) c - mu1 mu2) / sqrt((q1 - mu1^2) (q2 - mu2^2)) from the q and c values and means of two vectors."""
    q1, q2, mu1, mu2 = (float(v) for v in (np.mean(x * x), np.mean(y * y), x.mean(), y.mean()))
    c = float(x @ y) / len(x) / math.sqrt(q1 * q2)
    return (math.sqrt(q1 * q2) * c - mu1 * mu2) / math.sqrt((q1 - mu1**2) * (q2 - mu2**2))


@checks(
    "dks-33",
    part="vectors",
    source="DKS 19.2.1",
    claim="A layer norm's outputs have q = 1 and c = (sqrt(q1 q2) c - mu1 mu2) / sqrt((q1 - mu1^2) (q2 - mu2^2))",
    subject=_centred,
    broken=lambda x, y: _centred(x, y) * math.sqrt(1 - x.mean() ** 2 / np.mean(x * x)),
)
def vectors(subject: Cosine, effort: int) -> Outcome:
    """Random vectors with channel means; the layer norm by its definition (epsilon = 0)."""
    random, tally = np.random.default_rng(33), Tally()
    for _ in range(8 * effort):
        x, y = random.standard_normal((2, int(random.integers(3, 40)))) + random.uniform(-1, 1, (2, 1))
        a, b = ((z - z.mean()) / z.std() for z in (x, y))
        tally.add(float(np.mean(a * a)) - 1, 1e-13, "q is not 1")
        tally.add(subject(x, y) - float(np.mean(a * b)), 1e-12, f"c is {np.mean(a * b):.8g}, not {subject(x, y):.8g}")
    return tally.outcome()


def library_norm(name: str, c: float, q: float) -> Point:
    """(c, q1, q2) after an affine layer, an activation and a layer norm, by qcmap."""
    b = qc.Builder("norm")
    h = b.layer_norm(b.activation(b.affine(b.input("x", channels=4), 4), name), name="norm")
    v = qc.network_maps(b.build(outputs=[h])).propagate(c, q, q)["norm"]
    return float(v.c), float(v.q1), float(v.q2)


def _only_shifted(name: str, c: float, q: float) -> Point:
    """C_g(c) - C_g(0), not divided."""
    b = qc.Builder("plain")
    maps = qc.network_maps(b.build(outputs=[b.activation(b.affine(b.input("x")), name)]))
    return float(maps.c(c, q, q) - maps.c(0.0, q, q)), 1.0, 1.0


@lru_cache(maxsize=2)
def _norm_values(effort: int) -> list[tuple[str, float, float, Any, Any, Any]]:
    """(activation, c, q, C_g(c), C_g(0) as its first coefficient, as the mean gives it)."""
    random, rows = np.random.default_rng(17), []
    for name in ("relu", "gelu", "selu", "softplus", "tanh", "hardtanh"):
        for _ in range(effort):
            q, phi = float(np.exp(random.uniform(-1, 1))), ACTIVATIONS[name]
            mean, norm = hermite(phi, q, 1)[0], second_moment(phi, q)
            cosines, zero = (0.0, float(random.uniform(-0.4, 0.4)), -1.0, 1.0), normalised(phi, 0.0, q, q)
            rows.extend((name, c, q, normalised(phi, c, q, q), zero, mean**2 / norm) for c in cosines)
    return rows


@checks(
    "dks-33",
    part="map",
    source="DKS 19.2.1 (17)",
    claim="After a combined layer g with uniform q values a layer norm has Q = 1 and sends C_g(c) to "
    "(C_g(c) - C_g(0)) / (1 - C_g(0)), so 0 to 0; mu^2 = Q_g(q) C_g(0)",
    subject=library_norm,
    broken=_only_shifted,
)
@precise
def local_map(subject: Callable[[str, float, float], Point], effort: int) -> Outcome:
    """Against 30-digit integrals for six activations; C_g(0) as an integral and as the squared mean."""
    tally = Tally()
    for name, c, q, at, at_zero, from_mean in _norm_values(effort):
        want = (at - at_zero) / (1 - at_zero)
        found, *qs = subject(name, c, q)
        tally.add(found - want, 1e-11, f"c is {mp.nstr(want, 12)} after {name} at c = {c:.4g}, not {found:.12g}")
        tally.add(max(abs(x - 1) for x in qs), 1e-14, f"q is not 1 after {name}")
        tally.add(from_mean - at_zero, 1e-20, f"C(0) of {name} is not its squared mean at q = {q:.4g}")
    return tally.outcome()


def _mixed(random: np.random.Generator, *, concat: bool) -> qc.Architecture:
    """Layers with norms after activations; with ``concat`` each norm reads two activations' channels."""
    b, names = qc.Builder("mixed"), ("relu", "cos", "square", "erf")
    h = b.input("x", channels=4)
    for _ in range(3):
        kinds = [names[int(k)] for k in random.permutation(4)[: 1 + concat]]
        parts = [b.activation(b.affine(h, int(random.integers(1, 6))), kind) for kind in kinds]
        h = b.layer_norm(b.concat(parts) if concat else parts[0])
    return b.build(outputs=[h])


def library_walk(arch: qc.Architecture, c: float, q1: float, q2: float) -> float:
    """C of the network by qcmap."""
    return float(qc.network_maps(arch).c(c, q1, q2))


def _without_norms(arch: qc.Architecture, c: float, q1: float, q2: float) -> float:
    """Layer norms taken for the identity, as the slope recipe does."""
    b = qc.Builder("bare")
    for node in arch.nodes:
        op = Scale(1.0) if isinstance(node.op, LayerNorm) else node.op
        b.add(op, node.inputs, node.id)
    return library_walk(b.build(outputs=arch.outputs), c, q1, q2)


@checks(
    "dks-33",
    part="network",
    source="DKS 19.2.1, 26.7.1 (after concatenations: ours)",
    claim="With norms after all nonlinear layers C_h(0) = 0 in every chain. After a concatenation mu is the mean of "
    "the branches' means: C_h(0) > 0 in general, since (17) is about one combined layer",
    subject=library_walk,
    broken=_without_norms,
)
@precise
def network(subject: Callable[..., float], effort: int) -> Outcome:
    """Three layers at any q values, against closed kernels and means at 34 digits; C(0) of both kinds."""
    random, tally, largest = np.random.default_rng(267), Tally(), 0.0
    for k in range(8 * effort):
        arch = _mixed(random, concat=k % 2 == 1)
        c, q1, q2 = float(random.uniform(-0.9, 0.9)), *(float(q) for q in random.uniform(0.3, 2, 2))
        want, found = propagate(arch, c, q1, q2)[arch.outputs[0]].c, subject(arch, c, q1, q2)
        tally.add(found - want, 1e-12, f"c is {mp.nstr(want, 10)}, not {found:.10g}")
        zero = subject(arch, 0.0, q1, q1)
        if k % 2 == 0:
            tally.add(zero, 1e-13, f"C(0) = {zero:.3g} in a chain with norms")
        else:
            largest = max(largest, zero)
    tally.add(min(0.0, largest - 0.01), 1e-9, f"C(0) is at most {largest:.3g} after concatenations")
    return tally.outcome(f"the largest C(0) after norms of concatenations is {largest:.4f}")


@checks(
    "dks-33",
    part="identity",
    source="DKS 19.2.1",
    claim="After an affine layer, a sum of affine layers, or a shaped nonlinear layer, a layer norm leaves c unchanged",
    subject=1.3,
    broken=None,
)
def identity(subject: float | None, effort: int) -> Outcome:
    """The c values before and after each norm; the broken subject does not shape the activation."""
    b = qc.Builder("identity")
    x = b.input("x", channels=4)
    norms = [b.layer_norm(b.affine(x, 4)), b.layer_norm(b.sum([b.affine(x, 4), b.affine(x, 4)], [0.6, 0.8]))]
    norms.append(b.layer_norm(b.activation(b.affine(norms[1], 4), "softplus")))
    arch = b.build(outputs=norms)
    maps, tally = qc.network_maps(arch, None if subject is None else qc.dks(arch, subject)), Tally()
    for c in np.linspace(-1, 1, 8 * effort + 1):
        values = maps.propagate(float(c))
        for name in norms:
            before, after = float(values[arch[name].inputs[0]].c), float(values[name].c)
            tally.add(after - before, 1e-9, f"{name} sends c = {before:.6g} to {after:.6g}")
    return tally.outcome()


def library_depth(depth: int, where: str) -> qc.Architecture:
    """A relu chain with a layer norm after (or before) each relu."""
    b = qc.Builder(where)
    h = b.input("x", channels=4)
    for _ in range(depth):
        h = b.affine(h, 4)
        h = b.layer_norm(b.activation(h, "relu")) if where == "after" else b.activation(b.layer_norm(h), "relu")
    return b.build(outputs=[h])


@checks(
    "dks-33",
    part="relu",
    source="DKS 26.7.1",
    claim="Relu, then layer norm: C(0) = 0 and slope pi/(pi - 1) = 1.467 a layer; a norm before relu changes nothing",
    subject=lambda: mp.pi / (mp.pi - 1),
    broken=lambda: mp.mpf("1.467"),
)
@precise
def relu_slope(subject: Callable[[], Any], effort: int) -> Outcome:
    """C'(1) of 1 to 20 layers in sympy and by forward-mode differentiation; C(0) with norms after and before."""
    tally = Tally()
    for depth in (1, 2, 5, 20)[: 3 + effort]:
        after, before = (library_depth(depth, where) for where in ("after", "before"))
        end = propagate(after, mp.mpf(1), 1, 1)[after.outputs[0]]
        exact = mp.mpf(str(c_derivative(after, c=1, q1=1).evalf(25)))
        for what, found in (("qcmap", exact), ("differentiation", end.rate)):
            tally.add(
                found / subject() ** depth - 1, 1e-20, f"C'(1) of {depth} layers is {mp.nstr(found, 12)} by {what}"
            )
        tally.add(library_walk(after, 0.0, 1, 1), 1e-14, f"C(0) is not 0 for {depth} layers with norms after")
        want = mp.mpf(0)
        for _ in range(depth):
            want = (mp.sqrt(1 - want * want) + (mp.pi - mp.acos(want)) * want) / mp.pi
        found = library_walk(before, 0.0, 1, 1)
        tally.add(found - want, 1e-12, f"C(0) of {depth} layers with norms before is {mp.nstr(want, 10)}")
    tally.add(float(subject()) - 1.467, 5e-4, "pi/(pi - 1) is not 1.467")
    return tally.outcome()
