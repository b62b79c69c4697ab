"""Searches for counterexamples to printed statements on slopes, sums and concatenations of whole networks (DKS)."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from functools import lru_cache
from typing import Any

import mpmath as mp
import numpy as np
from hypothesis import strategies as st

import qcmap as qc
from theory_checks.dks_concat import Branch, Combine, measured
from theory_checks.dks_graphs import Mean, norm_slope
from theory_checks.dks_norm_resnets import PRINTED, input_q, sum_values
from theory_checks.dks_resnets import Formula, enumerated, equation_20
from theory_checks.dks_slopes import Coefficients, Quotient, Shortcut, evaluated, multiplied, shortcut_slope
from theory_checks.dks_tangent import Chain, recursion
from theory_checks.oracles import precise
from theory_checks.positive_definite import expression
from theory_checks.propagation import propagate, slope
from theory_checks.refutations import Trial, refuted

SMALL = st.integers(1, 4)
NAMES = st.lists(st.sampled_from(["relu", "erf"]), min_size=1, max_size=3).map(tuple)


@refuted("dks-27/factor", "wrong", st.tuples(*[st.integers(1, 4)] * 2, *[st.integers(0, 6)] * 3, st.integers(1, 8)))
def factors(subject: Quotient, instance: tuple[int, ...]) -> Trial | None:
    """p_f ~ a + b psi times c - m psi + n psi^2, a and c large enough for a slope polynomial, at psi = 1 + k/8."""
    b, n, m, more_a, more_c, k = instance
    a = -(-b * m // n) + more_a
    p: Coefficients = (a, b)
    quotient: Coefficients = (-(-a * m // b) + more_c, -m, n)
    psi, whole = 1 + Fraction(k, 8), multiplied(p, quotient)
    if sum(quotient) <= 0 or not subject(quotient):
        return None
    small, large = evaluated(p, psi), evaluated(whole, psi)
    first, second = (f"({expression(q, 'psi')})/{sum(q)}" for q in (p, whole))
    witness = f"p_f = {first} divides p_h = {second}; at psi = {psi} it is {float(small):.4f}, above {float(large):.4f}"
    return max(0.0, float(small / large - 1)), 1e-12, witness


@refuted("dks-27/increasing", "hypothesis missing", st.tuples(*[st.integers(0, 4)] * 4))
def increasing(subject: Callable[[int, int, int, int], bool], branch: Shortcut) -> Trial | None:
    """A sum of two branches, at psi = 1 and 2."""
    u, v, k, m = branch
    if not u + v or not subject(*branch):
        return None
    low, high = (shortcut_slope(branch, Fraction(psi)) for psi in (1, 2))
    return float(not low < high), 0.5, f"squared weights {u} and {v} on {k} and {m} nonlinear layers: p_f is {low}"


@refuted("dks-37/maximal", "wrong", st.tuples(st.integers(1, 9), st.integers(1, 10)))
def maximal(subject: Formula, instance: tuple[int, int]) -> Trial:
    """Wide-ResNet-16 with w^2 = n/10 at psi = 1 + k/10, against all its subnetworks."""
    w, psi = math.sqrt(instance[0] / 10), 1 + instance[1] / 10
    want, claimed = enumerated("wide_resnet", 16, w, psi)[0], float(subject("wide_resnet", 16, w, psi))
    witness = f"Wide-ResNet-16, w^2 = {instance[0]}/10, psi = {psi:.1f}: mu = {want:.5g}, p_f = {claimed:.5g}"
    return claimed / want - 1, 1e-12, witness


@refuted("dks-37/skip_free", "misprint", st.tuples(st.integers(1, 4), st.integers(1, 4)))
def skip_free(subject: int, instance: tuple[int, int]) -> Trial:
    """Wide-ResNets of depth 6 n + 4 at psi = 1 + k/2: psi^(D-3)."""
    depth, psi = 6 * instance[0] + 4, 1 + Fraction(instance[1], 2)
    want, found = psi ** (depth - 3), Fraction(equation_20("wide_resnet", depth, subject, psi))
    return (
        math.log(want / found),
        1e-12,
        f"depth {depth}: psi^{depth - 3} is {want} at psi = {psi}; the formula {found}",
    )


@refuted("dks-03/ipm", "misprint", st.tuples(SMALL, SMALL, st.integers(0, 3), st.integers(0, 3)))
def inner_products(subject: Callable[..., Any], instance: tuple[int, int, int, int]) -> Trial:
    """Constant feature maps a and b of k1 and k2 channels."""
    k1, k2, a, b = instance
    maps = [np.full((k, 1), float(value)) for k, value in ((k1, a), (k2, b))]
    want = np.concatenate(maps)
    want = (want.T @ want / (k1 + k2)).item()
    found = subject(k1, k2, *(z.T @ z / len(z) for z in maps)).item()
    return found - want, 1e-12, f"{k1} channels of {a} and {k2} of {b}: q = {want:.4g}, not {found:.4g}"


@refuted("dks-03/c", "hypothesis missing", st.tuples(*[SMALL] * 4, st.integers(0, 3)))
def denominators(subject: Combine, instance: tuple[int, ...]) -> Trial:
    """Two branches of two channels, both with the c value k/4."""
    q11, q12, q21, q22, k = instance
    pairs = [Branch(2, 1.0, q1, q2, k / 4) for q1, q2 in ((q11, q12), (q21, q22))]
    random = np.random.default_rng(0)
    want = measured(np.vstack([b.features(random) for b in pairs]))[2]
    found = subject(pairs)[2]
    return found - want, 1e-10, f"q = ({q11}, {q12}) and ({q21}, {q22}), c = {k}/4: c = {want:.4f}, not {found:.4f}"


Branches = list[tuple[int, int]]


@lru_cache(maxsize=2048)
@precise
def _measured_slopes(branches: tuple[tuple[int, int], ...], concat: bool) -> tuple[list[float], list[float], float]:
    """q values and slopes of branches with a weight variance and a number of erf layers each, and the slope after."""
    b, ends = qc.Builder("branches"), []
    stem = b.input("x", channels=1)
    for k, (variance, layers) in enumerate(branches, start=1):
        h = b.affine(stem, k if concat else 1, weight_variance=float(variance))
        for _ in range(layers):
            h = b.affine(b.activation(h, "erf"), k if concat else 1)
        ends.append(h)
    arch = b.build(outputs=[b.concat(ends) if concat else b.sum(ends, [1.0] * len(ends))])
    values = propagate(arch, mp.mpf(1), 1, 1)
    slopes = [float(slope(arch, end, 1)) for end in ends]
    return [float(values[end].q1) for end in ends], slopes, float(slope(arch, arch.outputs[0], 1))


def _uneven(key: str, *, concat: bool) -> None:
    drawn = st.lists(st.tuples(st.integers(1, 3), st.integers(0, 2)), min_size=2, max_size=3).map(tuple)

    @refuted(key, "misprint", drawn)
    def examine(subject: Mean, branches: tuple[tuple[int, int], ...]) -> Trial:
        q, slopes, want = _measured_slopes(branches, concat)
        counts = [k if concat else 1 for k in range(1, len(branches) + 1)]
        best = min(map(float, subject(counts, q, slopes)), key=lambda value: abs(value - want))
        what = "; ".join(f"weight variance {v}, {n} erf layers" for v, n in branches)
        return best / want - 1, 1e-10, f"branches ({what}): C'(1) = {want:.4f}, not {best:.4f}"


_uneven("dks-36/footnote", concat=False)
_uneven("dks-36/concat", concat=True)


@refuted("dks-36/layer_norm", "hypothesis missing", NAMES)
def layer_norm(subject: Callable[[float], float], names: tuple[str, ...]) -> Trial:
    """A chain and a layer norm."""
    want, c0 = norm_slope(names)
    return subject(c0) / want - 1, 1e-12, f"{'-'.join(names)}, then a layer norm: it maps to {want:.5f}"


@refuted("dks-55/transitions", "misprint", st.tuples(st.sampled_from(sorted(PRINTED)), st.integers(1, 4)))
def transitions(subject: Callable[[tuple[int, ...]], list[int]], instance: tuple[int, int]) -> Trial:
    """One transition block."""
    depth, k = instance
    found, claimed = float(input_q(depth, k)), subject(PRINTED[depth])[k - 1]
    return found - claimed, 1e-12, f"D = {depth}, transition block {k}: the input q value is {found:g}, not {claimed}"


@refuted("dks-55/shortcut_norms", "misprint", st.tuples(st.integers(1, 3), st.integers(-3, 3)))
def shortcut_norms(subject: int, instance: tuple[int, int]) -> Trial:
    """The sum of one block."""
    blocks, k = instance
    found = sum_values(blocks, k / 4)
    return found - subject, 1e-10, f"the sum of block {blocks} has q = {found:g}, not {subject}"


@refuted("dks-39/chain", "misprint", st.tuples(NAMES, st.integers(-3, 3)))
@precise
def chains(subject: Chain, instance: tuple[tuple[str, ...], int]) -> Trial:
    """All terms of a chain at c = k/4 and q = 1."""
    names, c = instance[0], instance[1] / 4
    found, want = subject(names, c, 1.0), recursion(names, c, 1.0)
    gaps = [abs(a - b) for a, b in zip(found, want, strict=True)]
    k = max(range(len(gaps)), key=gaps.__getitem__)
    witness = f"{'-'.join(names)}, c = {c}: Theta_{k + 1} = {mp.nstr(want[k], 5)}, not {mp.nstr(found[k], 5)}"
    return float(gaps[k]), 1e-12, witness


@refuted("dks-40/case", "misprint", st.tuples(st.integers(1, 8), st.integers(0, 5)))
def collapsing_case(subject: Callable[[float], bool], instance: tuple[int, int]) -> Trial | None:
    """The diagonal k layers before the end, with C'(1) = s/8."""
    from theory_checks.dks_kernel_limits import layers, series, tame_map

    s, before = instance[0] / 8, instance[1]
    if not subject(s):
        return None
    found = float(layers(series(tame_map(s)), 1.0, before + 1)[0])
    return found - 1, 1e-12, f"C'(1) = {s}, layer D - {before}: the diagonal of K_i is {found:.4g}"
