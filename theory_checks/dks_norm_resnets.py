"""Residual networks with layer norms, whose q values grow: DKS, appendix J.

Four groups of n_1, ..., n_4 blocks; the first block of each is a transition block, with C map T and output q value 2.
The k-th block of a group, k >= 2, has the input q value k, so E_i = B_{n_i} o ... o B_2 o T and q_i = n_i.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from itertools import pairwise
from typing import Any, Literal

import mpmath as mp
import numpy as np

import qcmap as qc
from theory_checks.oracles import Number, precise
from theory_checks.propagation import Values, propagate
from theory_checks.registry import Outcome, Tally, checks

Weights = Literal["plain", "growing", "constant"]
PRINTED = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}
"""(q1, q2, q3, q4) as printed."""


@lru_cache(maxsize=16)
def network(depth: int, weights: Weights) -> qc.Architecture:
    """The ResNet-V2 of appendix J by qcmap's zoo."""
    rule = 2**-0.5 if weights == "constant" else weights
    return qc.zoo.resnet_v2(depth, norm="layer", residual_weight=rule, activation="relu", weight_variance=2.0)


@lru_cache(maxsize=4)
@precise
def _walked(depth: int) -> dict[str, Values]:
    return propagate(network(depth, "plain"), mp.mpf("0.3"), 1, 1)


def _relu(c: Number) -> Number:
    return (mp.sqrt(1 - c * c) + (mp.pi - mp.acos(c)) * c) / mp.pi


def equation_30(depth: int, weights: Weights, c: Number) -> Number:
    """C_f(c) = C o E_4 o E_3 o E_2 o E_1 as printed; with constant weights B_q(c) = (C(C(C(c))) + c) / 2."""
    return _iterated(depth, weights, c, first=2)


def _iterated(depth: int, weights: Weights, c: Number, first: int) -> Number:
    for last in PRINTED[depth]:
        inside = _relu(c)
        c = (_relu(_relu(inside)) + inside) / 2
        for q in range(first, last + 1):
            share = 1 if weights == "constant" else q
            c = (_relu(_relu(_relu(c))) + share * c) / (1 + share)
    return _relu(c)


def input_q(depth: int, k: int) -> Number:
    """The input q value of the k-th transition block by an independent walk."""
    (source,) = network(depth, "plain")[f"group{k}.block1.norm1"].inputs
    # The stem has weight variance 2 too, which the layer norm after it takes back.
    return _walked(depth)[source].q1 / (2 if k == 1 else 1)


def _transition_inputs(groups: tuple[int, ...]) -> list[int]:
    """1, q1 + 1, q2 + 1, q3 + 1; q4 + 1 is what the last layers read."""
    return [1, *(q + 1 for q in groups[:-1])]


@checks(
    "dks-55",
    part="transitions",
    variant="as_printed",
    source="DKS J",
    claim="The input q values of the transition blocks are q1 + 1, q2 + 1, q3 + 1 and q4 + 1",
    subject=lambda groups: [q + 1 for q in groups],
    broken=_transition_inputs,
)
@checks(
    "dks-55",
    part="transitions",
    variant="corrected",
    source="DKS J",
    claim="The input q values of the transition blocks are 1, q1 + 1, q2 + 1 and q3 + 1; q4 + 1 is that of the end",
    subject=_transition_inputs,
    broken=lambda groups: [q + 1 for q in groups],
)
def transitions(subject: Callable[[tuple[int, ...]], list[int]], effort: int) -> Outcome:
    """Against q values by an independent walk over the network."""
    tally = Tally()
    for depth, groups in PRINTED.items():
        arch = network(depth, "plain")
        for k, claimed in enumerate(subject(groups), start=1):
            found = input_q(depth, k)
            tally.add(found - claimed, 1e-20, f"D = {depth}: q = {mp.nstr(found, 3)} at transition {k}, not {claimed}")
        (source,) = arch["final.norm"].inputs
        tally.add(_walked(depth)[source].q1 - groups[-1] - 1, 1e-20, f"D = {depth}: q is not q4 + 1 at the end")
    return tally.outcome()


@checks(
    "dks-55",
    part="q",
    source="DKS J",
    claim="There are (D - 2)/3 blocks; input q values grow as 2, 3, ..., q_i within a group, with the printed q_i",
    subject=PRINTED,
    broken=PRINTED | {152: (3, 8, 35, 4)},
)
def growth(subject: dict[int, tuple[int, ...]], effort: int) -> Outcome:
    """All blocks of the three networks, by qcmap and by an independent walk."""
    tally = Tally()
    for depth, groups in subject.items():
        arch = network(depth, "plain")
        known = qc.network_maps(arch).propagate_q(1.0)
        blocks = {node.id.removesuffix(".sum") for node in arch.nodes if node.id.endswith(".sum")}
        tally.add(len(blocks) - (depth - 2) / 3, 0.5, f"D = {depth} has {len(blocks)} blocks")
        tally.add(sum(groups) - (depth - 2) / 3, 0.5, f"D = {depth}: {groups} are {sum(groups)} blocks")
        for k, last in enumerate(groups, start=1):
            inside = len([name for name in blocks if name.startswith(f"group{k}.")])
            tally.add(inside - last, 0.5, f"D = {depth}: group {k} has {inside} blocks, not q{k} = {last}")
            for block in range(1, min(last, inside) + 1):
                name = f"group{k}.block{block}.sum"
                for found in (known[name], _walked(depth)[name].q1):
                    tally.add(float(found) - block - 1, 1e-12, f"D = {depth}: q = {float(found):.6g} after {name}")
    return tally.outcome()


def library(depth: int, weights: Weights, c: Any) -> Any:
    """C_f by qcmap, up to the last nonlinear layer."""
    return float(qc.network_maps(network(depth, weights)).propagate(float(c))["final.activation"].c)


@checks(
    "dks-55",
    part="maps",
    source="DKS J (30)",
    claim="C_f = C o E4 o E3 o E2 o E1 with (30) for plain sums; w = 1/sqrt(q + 1) with normalised sums gives the same "
    "C map exactly; weights 1/sqrt 2 give (C(C(C(c))) + c)/2 for all blocks",
    subject=library,
    broken=lambda depth, weights, c: _iterated(depth, weights, mp.mpf(c), first=1),
)
@precise
def maps(subject: Callable[..., Any], effort: int) -> Outcome:
    """The library's walk over the networks against the printed composition at 34 digits."""
    tally, points = Tally(), (-1.0, *np.linspace(-0.95, 0.95, 4 * effort), 0.999, 1.0)
    for depth in PRINTED:
        for weights in ("plain", "growing", "constant"):
            for c in map(float, points):
                want = equation_30(depth, weights, mp.mpf(c))
                found = subject(depth, weights, c)
                witness = f"D = {depth}, {weights}: C({c:.3g}) = {mp.nstr(want, 10)}, not {mp.nstr(found, 10)}"
                tally.add(found - want, 1e-11, witness)
    return tally.outcome()


def _block(share: Number, c: Number) -> Number:
    """One block with these parts of m: w^2 C(C(C(c))) + (1 - w^2) c."""
    return share * _relu(_relu(_relu(c))) + (1 - share) * c


@checks(
    "dks-55",
    part="weights",
    source="DKS J",
    claim="The residual weight w = 1/sqrt(q + 1) and shortcut weight sqrt(1 - w^2) recover B_q of (30)",
    subject=lambda q: 1 / mp.sqrt(q + 1),
    broken=lambda q: 1 / mp.sqrt(q + 2),
)
@precise
def weights(subject: Callable[[int], Number], effort: int) -> Outcome:
    """The C map of a normalised block against (30), for q = 2 to 36, and the weights of qcmap's "growing" networks."""
    tally = Tally()
    for q in range(2, 37):
        for c in (mp.mpf(k) / 7 for k in range(-7, 7, 1 + 6 // effort)):
            want = (_relu(_relu(_relu(c))) + q * c) / (1 + q)
            tally.add(_block(subject(q) ** 2, c) - want, 1e-25, f"B_{q}({mp.nstr(c, 3)}) = {mp.nstr(want, 10)}")
    arch, groups = network(152, "growing"), PRINTED[152]
    for k, last in enumerate(groups, start=1):
        for q in range(1, last + 1):
            op: Any = arch[f"group{k}.block{q}.sum"].op
            tally.add(float(op.weights[0]) - subject(q), 1e-14, f"w of group {k}, block {q} is {op.weights[0]:.8g}")
    return tally.outcome()


@checks(
    "dks-55",
    part="range",
    source="DKS J (numbers with constant q: ours)",
    claim="D = 152: [-1, 1] goes to [0.94, 1] (from 0.94691, so cut off, not rounded), with constant q from 0.99344; "
    "101 layers without shortcuts from 0.996. Growing q keeps the larger range for all D",
    subject=equation_30,
    broken=lambda depth, weights, c: _iterated(depth, weights, c, first=1),
)
@precise
def ranges(subject: Callable[..., Number], effort: int) -> Outcome:
    """C_f(-1), the least value since C increases, of the three networks; 100 layers of relu for comparison."""
    tally = Tally()
    ends = {(depth, w): subject(depth, w, mp.mpf(-1)) for depth in PRINTED for w in ("plain", "constant")}
    for depth in PRINTED:
        plain, constant = ends[depth, "plain"], ends[depth, "constant"]
        tally.add(max(0.0, float(plain - constant)), 1e-12, f"D = {depth}: growing q does not keep the larger range")
        grid = [subject(depth, "plain", mp.mpf(k) / 10) for k in range(-10, 11)]
        falls = max(0.0, *(float(a - b) for a, b in pairwise(grid)))
        tally.add(falls, 1e-20, f"D = {depth}: C_f does not increase")
    for (depth, w), printed in (((152, "plain"), 0.94691), ((152, "constant"), 0.99344)):
        tally.add(ends[depth, w] - printed, 5e-6, f"C_f(-1) is {mp.nstr(ends[depth, w], 7)}, not {printed}")
    tally.add(mp.floor(100 * ends[152, "plain"]) - 94, 0.5, f"{mp.nstr(ends[152, 'plain'], 5)} is not cut to 0.94")
    c = mp.mpf(-1)
    for _ in range(100):
        c = _relu(c)
    tally.add(c - mp.mpf("0.996"), 5e-4, f"100 relu layers send -1 to {mp.nstr(c, 6)}, not 0.996")
    table = ", ".join(f"D = {depth} {w} {mp.nstr(value, 6)}" for (depth, w), value in ends.items())
    return tally.outcome(f"C_f(-1): {table}; 100 relu layers {mp.nstr(c, 6)}")


def norms_on_shortcuts(blocks: int) -> tuple[qc.Architecture, list[str]]:
    """Blocks of three relu layers with layer norms, and one on the shortcut; and the names of their sums."""
    b = qc.Builder("norms")
    h, sums = b.affine(b.input("x", channels=4), 4), []
    for _ in range(blocks):
        r = h
        for _ in range(3):
            r = b.affine(b.activation(b.layer_norm(r), "relu"), 4, weight_variance=2.0)
        h = b.sum([r, b.layer_norm(h)], [1.0, 1.0])
        sums.append(h)
    return b.build(outputs=[h]), sums


@lru_cache(maxsize=64)
@precise
def sum_values(blocks: int, c: float) -> float:
    """The q value after the last of these blocks by an independent walk."""
    arch, sums = norms_on_shortcuts(blocks)
    return float(propagate(arch, c, 1, 1)[sums[-1]].q1)


@checks(
    "dks-55",
    part="shortcut_norms",
    variant="as_printed",
    source="DKS J",
    claim="With a layer norm on the shortcut branch of every block q values are 1 throughout the network",
    subject=1,
    broken=2,
)
@checks(
    "dks-55",
    part="shortcut_norms",
    variant="corrected",
    source="DKS J",
    claim="With a layer norm on the shortcut branch of every block plain sums have the q value 2, which the next norm "
    "makes 1; the C map is that of constant q, (C(C(C(c))) + c)/2 a block",
    subject=2,
    broken=1,
)
@precise
def shortcut_norms(subject: int, effort: int) -> Outcome:
    """Three blocks with plain sums, by qcmap and by an independent walk."""
    tally, (arch, sums) = Tally(), norms_on_shortcuts(3)
    for c in map(float, np.linspace(-0.9, 0.9, 2 * effort + 1)):
        want, known, walked = mp.mpf(c), qc.network_maps(arch).propagate(c), propagate(arch, c, 1, 1)
        for name in sums:
            want = _block(mp.mpf(1) / 2, want)
            for v in (known[name], walked[name]):
                tally.add(float(v.q1) - subject, 1e-12, f"q = {float(v.q1):.6g} after {name}, not {subject}")
                tally.add(float(v.c) - want, 1e-12, f"c = {float(v.c):.8g} after {name}, not {mp.nstr(want, 8)}")
    return tally.outcome()
