"""Extended maps by composition; scaling; affine layers: DKS, sections 7.2 and 7.3."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import Any

import mpmath as mp
import numpy as np

import qcmap as qc
from qcmap.numeric import local_maps
from theory_checks.oracles import normalised, precise, second_moment, two_slopes
from theory_checks.propagation import KERNELS, propagate
from theory_checks.registry import Outcome, Tally, checks

Point = tuple[float, float, float]
Chain = Callable[[tuple[str, ...], Point], Point]
"""Activations of a chain and the input values (c, q1, q2) to the output values."""


def _chain(names: tuple[str, ...], **affine: Any) -> qc.Architecture:
    b = qc.Builder("-".join(names))
    h = b.input("x", channels=4)
    for name in names:
        h = b.activation(b.affine(h, 4, **affine), name)
    return b.build(outputs=[h])


def _values(arch: qc.Architecture, start: Point, node: str | None = None) -> Point:
    found = qc.network_maps(arch).propagate(*start)[node or arch.outputs[0]]
    return float(found.c), float(found.q1), float(found.q2)


def library_chain(names: tuple[str, ...], start: Point) -> Point:
    """The extended maps of a chain by qcmap."""
    return _values(_chain(names), start)


def _without_q(names: tuple[str, ...], start: Point) -> Point:
    """C maps composed at the q values of the network's input."""
    c, q1, q2 = start
    for name in names:
        c = float(local_maps(name).c(c, q1, q2))
    return c, *library_chain(names, start)[1:]


def _points(random: np.random.Generator, count: int) -> list[Point]:
    c = random.uniform(-0.95, 0.95, count)
    q = np.exp(random.uniform(-1, 1, (count, 2)))
    return [(float(c[k]), float(q[k, 0]), float(q[k, 1])) for k in range(count)]


def _compare(tally: Tally, found: Point, want: Any, name: str, start: Point) -> None:
    where = f"{name} at c, q1, q2 = {', '.join(f'{x:.4g}' for x in start)}"
    for what, a, b in zip(("c", "q1", "q2"), found, want, strict=True):
        tally.add((a - b) / max(1, abs(b)), 1e-12, f"{what} after {where} is {mp.nstr(mp.mpf(b), 12)}, not {a:.12g}")


@checks(
    "dks-07",
    part="composition",
    source="DKS 7.2",
    claim="Q_h(q) = Q_g(Q_f(q)) and C_h(c, q1, q2) = C_g(C_f(c, q1, q2), Q_f(q1), Q_f(q2)) for h = g after f",
    subject=library_chain,
    broken=_without_q,
)
@precise
def composition(subject: Chain, effort: int) -> Outcome:
    """Random chains of two to four layers with closed kernels, at 34 digits, with different q values."""
    random, tally, names = np.random.default_rng(7), Tally(), tuple(KERNELS)
    for start in _points(random, 20 * effort):
        chain = tuple(names[int(k)] for k in random.integers(len(names), size=int(random.integers(2, 5))))
        end = propagate(_chain(chain), *start)
        want = end[_chain(chain).outputs[0]]
        _compare(tally, subject(chain, start), (want.c, want.q1, want.q2), " then ".join(chain), start)
    return tally.outcome()


def library_scale(factor: float, start: Point) -> Point:
    """The values after a multiplication, by qcmap."""
    b = qc.Builder("scale")
    h = b.scale(b.activation(b.affine(b.input("x", channels=4), 4), "relu"), factor, name="scaled")
    return _values(b.build(outputs=[h]), start)


@checks(
    "dks-07",
    part="scaling",
    source="DKS 7.2",
    claim="Multiplication by a, not 0, sends q to a^2 q and leaves c unchanged",
    subject=library_scale,
    broken=lambda factor, start: library_scale(math.sqrt(abs(factor)), start),
)
@precise
def scaling(subject: Callable[[float, Point], Point], effort: int) -> Outcome:
    """After a relu layer, with positive and negative factors."""
    random, tally = np.random.default_rng(71), Tally()
    for start in _points(random, 8 * effort):
        factor = float(random.uniform(0.2, 3) * random.choice([-1, 1]))
        arch = _chain(("relu",))
        v = propagate(arch, *start)[arch.outputs[0]]
        want = (v.c, factor**2 * v.q1, factor**2 * v.q2)
        _compare(tally, subject(factor, start), want, f"relu times {factor:.4g}", start)
    return tally.outcome()


def library_affine(layers: int, start: Point) -> Point:
    """The values after affine layers, by qcmap."""
    return _affine(layers, start, 1.0)


def _affine(layers: int, start: Point, weight_variance: float) -> Point:
    b = qc.Builder("affine")
    h = b.input("x", channels=4)
    for _ in range(layers):
        h = b.affine(h, 4, weight_variance=weight_variance)
    return _values(b.build(outputs=[h]), start)


@checks(
    "dks-07",
    part="affine",
    source="DKS 7.3",
    claim="Affine layers have the identity as Q and C maps, as equations (5) and (7) give for phi(u) = u; an isolated "
    "nonlinear layer has the maps of its combined layer",
    subject=library_affine,
    broken=lambda layers, start: _affine(layers, start, 1 + 1e-6),
)
@precise
def affine(subject: Callable[[int, Point], Point], effort: int) -> Outcome:
    """One to three layers against their input, the integrals for phi(u) = u, and a nonlinear layer cut off."""
    random, tally = np.random.default_rng(73), Tally()
    for start in _points(random, 6 * effort):
        for layers in (1, 2, 3):
            _compare(tally, subject(layers, start), start, f"{layers} affine layers", start)
        for name in KERNELS:
            arch = _chain((name,))
            whole, cut = _values(arch, start), _values(arch.subnetwork("affine1", arch.outputs[0]), start)
            _compare(tally, cut, whole, f"an isolated {name} layer", start)
    for c, q1, q2, found, second in _identity():
        tally.add(found - c, 1e-15, f"(7) with phi(u) = u is not the identity at c = {c}, q = {q1}, {q2}")
        tally.add(second - q1, 1e-15, f"(5) with phi(u) = u is not the identity at q = {q1}")
    return tally.outcome()


@cache
def _identity() -> list[tuple[float, float, float, Any, Any]]:
    """Equations (7) and (5) for phi(u) = u at some points."""
    phi, points = two_slopes(1.0), ((0.05, 0.7, 2.0), (-0.02, 2.0, 0.3), (-1.0, 1.0, 1.0))
    return [(c, q1, q2, normalised(phi, c, q1, q2), second_moment(phi, q1)) for c, q1, q2 in points]
