"""Closed forms: relu, erf, the nearly linear functions of section 14.2 and SELU: DKS, sections 12, 14.2 and 26.3."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import mpmath as mp
import numpy as np

import qcmap as qc
from qcmap.activations import activation
from qcmap.numeric import LocalMaps, Transform, local_maps
from theory_checks.oracles import ACTIVATIONS, Oracle, moments, normalised, precise, rule, second_moment
from theory_checks.registry import Outcome, Tally, checks

Map = Callable[..., float]


def relu_c(c: float, q1: float = 1.0, q2: float = 1.0) -> float:
    """The C map of relu by qcmap."""
    return float(local_maps("relu").c(c, q1, q2))


@checks(
    "dks-15",
    part="formula",
    source="DKS 12.1 (15)",
    claim="Relu has C(c) = (sqrt(1 - c^2) + (pi - arccos c) c) / pi for every q1, q2, and C'(1) = 1",
    subject=relu_c,
    broken=lambda c, q1=1.0, q2=1.0: relu_c(c, 1, 1) * 2 * math.sqrt(q1 * q2) / (q1 + q2),
)
@precise
def relu_formula(subject: Map, effort: int) -> Outcome:
    """Against an integral over the angle: C(c) = (2 / pi) int max(cos t, 0) max(cos(t - arccos c), 0) dt."""
    random, tally = np.random.default_rng(15), Tally()
    for c in (-1.0, -0.999999, 0.0, 0.999999, 1.0, *(float(x) for x in random.uniform(-1, 1, 20 * effort))):
        angle = mp.acos(mp.mpf(c))
        low = angle - mp.pi / 2
        want = (
            2 / mp.pi * mp.quad(lambda t, a=angle: mp.cos(t) * mp.cos(t - a), [low, mp.pi / 2]) if c > -1 else mp.mpf(0)
        )
        q1, q2 = (float(q) for q in np.exp(random.uniform(-3, 3, 2)))
        for pair in ((1.0, 1.0), (q1, q2)):
            tally.add(subject(c, *pair) - want, 1e-13, f"C({c:.6g}) is {mp.nstr(want, 15)} for q = {pair}")
    # C(1) - C(1 - h) = h - O(h^1.5): the slope at 1 is 1.
    for h in (1e-6, 1e-8):
        slope = (subject(1.0) - subject(1 - h)) / h
        tally.add(slope - 1, math.sqrt(h), f"the slope below c = 1 is {slope:.6g} at distance {h:g}")
    tally.add(float(local_maps("relu").dc(1.0)) - 1, 1e-12, "C'(1) is not 1")
    return tally.outcome()


def relu_chain(depth: int, c: float) -> float:
    """The extended C map of a relu chain by qcmap."""
    return float(qc.network_maps(qc.zoo.mlp(depth, activation="relu")).c(c))


@checks(
    "dks-15",
    part="depth",
    source="DKS 12.1",
    claim="A relu network of depth 100 sends [-1, 1] into [0.996, 1]",
    subject=relu_chain,
    broken=lambda depth, c: relu_chain(depth // 2, c),
)
@precise
def relu_depth(subject: Callable[[int, float], float], effort: int) -> Outcome:
    """The least value is at c = -1, the map being increasing from 0 on; formula (15) is iterated at 30 digits."""
    tally = Tally()
    for c in np.linspace(-1, 1, 20 * effort + 1):
        want = mp.mpf(float(c))
        for _ in range(100):
            want = (mp.sqrt(1 - want * want) + (mp.pi - mp.acos(want)) * want) / mp.pi
        value = subject(100, float(c))
        tally.add(value - want, 1e-11, f"C_f({c:.3g}) is {mp.nstr(want, 12)}, not {value:.12g}")
        tally.add(max(0.0, 0.996 - value), 5e-4, f"C_f({c:.3g}) = {value:.6g} is below 0.996")
    least = subject(100, -1.0)
    return tally.outcome(f"C_f(-1) = {least:.6f}")


def _relu_shift(a: float) -> LocalMaps:
    return LocalMaps("relu", Transform(activation("relu"), 1.0, a, -a, 1.0))


def erf_maps(c: float, q: float) -> tuple[float, float]:
    """(Q(q), C(c)) of erf by qcmap."""
    maps = local_maps("erf")
    return float(maps.q(q)), float(maps.c(c, q, q))


def _erf_without_two(c: float, q: float) -> tuple[float, float]:
    norm = math.asin(2 * q / (1 + 2 * q))
    return 2 / math.pi * norm, math.asin(2 * q * c / (1 + 2 * q * abs(c))) / norm


@checks(
    "dks-16",
    part="formula",
    source="DKS 12.2",
    claim="Erf has Q(q) = (2/pi) asin(2q/(1+2q)) and C(c) = (2/pi) asin(2qc/(1+2q)) / Q(q)",
    subject=erf_maps,
    broken=_erf_without_two,
)
@precise
def erf_formula(subject: Callable[[float, float], tuple[float, float]], effort: int) -> Outcome:
    """Both the closed forms and 30-digit integrals (Mehler's series for abs(c) <= 0.4)."""
    random, tally = np.random.default_rng(16), Tally()
    for _ in range(4 * effort):
        q, c = float(np.exp(random.uniform(-2, 1))), float(random.uniform(-0.4, 0.4))
        found_q, found_c = subject(c, q)
        want_q = 2 / mp.pi * mp.asin(2 * mp.mpf(q) / (1 + 2 * mp.mpf(q)))
        want_c = 2 / mp.pi * mp.asin(2 * mp.mpf(q) * c / (1 + 2 * mp.mpf(q))) / want_q
        at = f"at q = {q:.4g}, c = {c:.4g}"
        tally.add(
            second_moment(ACTIVATIONS["erf"], q) - want_q, 1e-20, f"the closed form of Q differs from the integral {at}"
        )
        tally.add(
            normalised(ACTIVATIONS["erf"], c, q, q) - want_c,
            1e-20,
            f"the closed form of C differs from its series {at}",
        )
        tally.add(found_q - want_q, 1e-14, f"Q is {mp.nstr(want_q, 15)} {at}")
        tally.add(found_c - want_c, 1e-13, f"C is {mp.nstr(want_c, 15)} {at}")
    return tally.outcome()


@checks(
    "dks-16",
    part="depth",
    source="DKS 12.2",
    claim="Erf networks of depths 50, 150, 500 compress c values towards 0, the more the deeper",
    subject=lambda depth, c: float(qc.network_maps(qc.zoo.mlp(depth, activation="erf")).c(c)),
    broken=lambda depth, c: float(local_maps("erf").c(c)) if depth > 50 else c,
)
@precise
def erf_depth(subject: Callable[[int, float], float], effort: int) -> Outcome:
    """Both maps iterated at 30 digits from q = 1; at depth 500 every abs(c) <= 0.9 ends below 0.05."""
    tally = Tally()
    for c in np.linspace(0.1, 0.9, 4 * effort):
        q, want, seen = mp.mpf(1), mp.mpf(float(c)), {}
        for depth in range(1, 501):
            share = 2 * q / (1 + 2 * q)
            want = mp.asin(share * want) / mp.asin(share)
            q = 2 / mp.pi * mp.asin(share)
            seen[depth] = want
        values = [subject(depth, float(c)) for depth in (50, 150, 500)]
        for depth, value in zip((50, 150, 500), values, strict=True):
            tally.add(value - seen[depth], 1e-11, f"depth {depth} sends {c:.2g} to {mp.nstr(seen[depth], 10)}")
        tally.add(values[2], 0.05, f"depth 500 sends {c:.2g} to {values[2]:.4g}")
        tally.add(max(0.0, values[1] - values[0], values[2] - values[1]), 1e-15, f"{c:.2g} does not fall with depth")
    return tally.outcome()


@checks(
    "dks-26",
    part="limit",
    source="DKS 14.2",
    claim="The C map of relu(u + a) - a tends to the identity as a grows",
    subject=_relu_shift,
    broken=lambda a: LocalMaps("relu", Transform(activation("relu"), 1.0, a, 0.0, 1.0)),
)
def shifted_relu(subject: Callable[[float], LocalMaps], effort: int) -> Outcome:
    """With r = relu(-u - a), phi = u + r: abs(C - c) <= 4 sqrt(R) for R = E r^2 <= P(x > a), once R <= 1/4."""
    tally, grid = Tally(), np.linspace(-1, 1, 2 * effort + 3)
    for a in (2.0, 4.0, 6.0, 8.0):
        rest = math.erfc(a / math.sqrt(2)) / 2
        gap = float(np.abs(subject(a).c(grid) - grid).max())
        tally.add(gap, 4 * math.sqrt(rest) + 1e-13, f"max abs(C - c) = {gap:.3g} at a = {a:g}")
    return tally.outcome()


class Claimed(NamedTuple):
    """Formulas for the maps of (u + 1) / sqrt 2."""

    q: Callable[[float], float]
    c: Callable[[float, float], float]


_PRINTED = Claimed(q=lambda q: q, c=lambda c, q: (c + 1) / 2)
_CORRECTED = Claimed(q=lambda q: (q + 1) / 2, c=lambda c, q: (q * c + 1) / (q + 1))


@checks(
    "dks-26",
    part="affine",
    variant="as_printed",
    source="DKS 14.3",
    claim="(u + 1) / sqrt 2 has Q(q) = q and C(c) = (c + 1)/2",
    subject=_PRINTED,
    broken=_CORRECTED,
)
@checks(
    "dks-26",
    part="affine",
    variant="corrected",
    source="DKS 14.3",
    claim="(u + 1) / sqrt 2 has Q(q) = (q + 1)/2 and C(c) = (qc + 1)/(q + 1), which is (c + 1)/2 at q = 1",
    subject=_CORRECTED,
    broken=_PRINTED,
)
@precise
def affine_function(subject: Claimed, effort: int) -> Outcome:
    """Against 30-digit moments and against qcmap's maps of the transformed identity; q = 1 alone does not tell."""
    maps, tally = LocalMaps("identity", Transform(activation("identity"), 1.0, 1.0, 0.0, math.sqrt(0.5))), Tally()
    nodes = rule()
    for q in (1.0, *(float(q) for q in np.random.default_rng(26).uniform(0.1, 4, 4 * effort))):
        want = mp.fsum(w * (mp.sqrt(mp.mpf(q)) * x + 1) ** 2 for x, w in nodes) / 2
        tally.add(subject.q(q) - want, 1e-13, f"Q({q:.4g}) = {mp.nstr(want, 6)}, not {subject.q(q):.6g}")
        tally.add(float(maps.q(q)) - want, 1e-12, f"qcmap's Q({q:.4g}) is not {mp.nstr(want, 12)}")
        for c in (-0.7, 0.0, 0.4):
            value, claimed = float(maps.c(c, q, q)), subject.c(c, q)
            tally.add(claimed - value, 1e-12, f"C({c:g}) = {value:.6g} at q = {q:.4g}, not {claimed:.6g}")
    return tally.outcome()


class Selu(NamedTuple):
    """The values of the maps that the statement is about, at q = 1."""

    q: float
    dq: float
    c0: float
    dc0: float
    dc1: float


def _local(maps: LocalMaps) -> Selu:
    return Selu(float(maps.q(1.0)), float(maps.dq(1.0)), *(float(x) for x in (maps.c(0.0), maps.dc(0.0), maps.dc(1.0))))


def _five_digit_selu() -> Selu:
    return _local(LocalMaps("elu", Transform(activation("elu", alpha=1.67326), output_scale=1.05070)))


@checks(
    "dks-45",
    source="DKS 26.3",
    claim="SELU has the attractive fixed points q = 1 and c = 0, and C'(1) = 1.07157...: 1.005e3 to the 100th power, "
    "1.0157e9 to the 300th",
    subject=lambda: _local(local_maps("selu")),
    broken=_five_digit_selu,
)
@precise
def selu(subject: Callable[[], Selu], effort: int) -> Outcome:
    """Against 30-digit moments; attractive means abs(Q'(1)) < 1 and C'(0) < 1, and nearby values do come closer."""
    phi: Oracle = ACTIVATIONS["selu"]
    exact, found, tally, maps = moments(phi, 1, 0), subject(), Tally(), local_maps("selu")
    q = exact.variance + exact.mean**2
    rows = {
        "Q(1)": (found.q, mp.mpf(1), q),
        "Q'(1)": (found.dq, None, exact.q_slope * exact.variance),
        "C(0)": (found.c0, mp.mpf(0), exact.mean**2 / q),
        "C'(1)": (found.dc1, None, exact.c_slope * exact.variance / q),
    }
    for name, (value, fixed, want) in rows.items():
        tally.add(value - want, 1e-12, f"{name} is {mp.nstr(want, 15)}, not {value:.15g}")
        if fixed is not None:
            tally.add(want - fixed, 1e-20, f"{name} is {mp.nstr(want, 20)}")
    for name, value in (("abs Q'(1)", abs(found.dq)), ("abs C'(0)", abs(found.dc0))):
        tally.add(max(0.0, value - 1), 1e-12, f"{name} = {value:.4g} exceeds 1")
    for start in np.linspace(0.5, 1.5, 2 * effort):
        tally.add(
            abs(float(maps.q(start)) - 1) / abs(start - 1), 1, f"Q({start:.3g}) is farther from 1 than {start:.3g}"
        )
    for power, digits, scale in ((1, 1.0716, 1.0), (100, 1.005, 1e3), (300, 1.0157, 1e9)):
        unit = 5e-4 if power == 100 else 5e-5
        tally.add(found.dc1**power / scale - digits, unit, f"C'(1)^{power} = {found.dc1**power:.6g}")
    return tally.outcome(f"Q'(1) = {found.dq:.6f}, C'(0) = {found.dc0:.6f}, C'(1) = {found.dc1:.9f}")


@cache
def selu_deviation(depth: int) -> tuple[float, float, float]:
    """C_f'(0), C_f'(1) and max abs(C_f(c) - c) on a grid, of this many selu layers."""
    maps, c = qc.network_maps(qc.zoo.mlp(depth, activation="selu")), np.linspace(-1, 1, 401)
    at_0, at_1 = maps.dc([0.0, 1.0])
    return float(at_0), float(at_1), float(np.abs(maps.c(c) - c).max())


@checks(
    "dks-45",
    part="theorem_13",
    variant="as_printed",
    source="DKS 26.3",
    claim="With 100 layers C_f(0) = 0 and C_f'(1) = 1.005e3, so C_f is reasonably well behaved by theorem 13: "
    "its bound on max |C_f(c) - c| is below 1",
    subject=1.0,
    broken=1.9,
)
@checks(
    "dks-45",
    part="theorem_13",
    variant="corrected",
    source="DKS 26.3",
    claim="Theorem 13 bounds max |C_f(c) - c| by 1.898 and by 2008, which says nothing; it is 0.962, nearly degenerate",
    subject=1.9,
    broken=1.0,
)
def selu_100(subject: float, effort: int) -> Outcome:
    """The better one of the theorem's two bounds, and what they bound."""
    tally = Tally()
    for depth in range(100, 97 - effort, -1):
        at_0, at_1, found = selu_deviation(depth)
        bounds = 2 * (1 - at_0), 2 * (at_1 - 1)
        witness = f"{depth} layers: the bounds are {bounds[0]:.4g} and {bounds[1]:.4g}; max |C_f(c) - c| = {found:.4g}"
        tally.add(max(0.0, min(bounds) - subject), 1e-9, witness)
        tally.add(0.0 if 0.9 < found <= min(bounds) else math.nan, 1.0, witness)
    return tally.outcome()
