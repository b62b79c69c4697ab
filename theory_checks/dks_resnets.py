"""Slope polynomials and maximal slopes of the modified ResNets: DKS, sections 23.4 to 23.6.

Section 23.4 says that the only subnetworks that do not compose with others into larger ones are the residual branches,
with slope psi^3 (or psi^2). But the subnetwork from the network's *input* to the last convolution of the last block's
residual branch is one too: every path to that convolution comes from the input and the sum after it is left out, so
all dependencies are kept (section 3.1). It lacks that block's sum and the last nonlinear layer, so with B
non-transition and T transition blocks of k nonlinear layers each its slope is

    p_branch = psi^(T + k) (w^2 psi^(k-1) + 1 - w^2)^T (w^2 psi^k + 1 - w^2)^(B - 1),
    p_branch / p_f = psi^(k-1) / (w^2 psi^k + 1 - w^2),

which exceeds 1 for psi slightly above 1 if and only if k - 1 > k w^2: w^2 < 2/3 for ResNet-V2, w^2 < 1/2 for
Wide-ResNet. Earlier blocks end in smaller subnetworks. So mu = max{p_f, p_branch}, if the last block is no transition
block (D >= 16).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from functools import lru_cache
from typing import Any

import numpy as np
import sympy

import qcmap as qc
from theory_checks.graphs import Wiring, wiring
from theory_checks.registry import Outcome, Tally, checks

Formula = Callable[[str, int, Any, Any], Any]
"""(family, depth D, w, psi) to a slope."""


def equation_20(family: str, depth: int, w: Any, psi: Any) -> Any:
    """p_f of the whole network as printed: equation (20), and the formula of section 23.6."""
    if family == "resnet_v2":
        return (w**2 * psi**3 + 1 - w**2) ** ((depth - 14) // 3) * (w**2 * psi**2 + 1 - w**2) ** 4 * psi**5
    return (w**2 * psi**2 + 1 - w**2) ** ((depth - 10) // 2) * (w**2 * psi + 1 - w**2) ** 3 * psi**4


def branch(family: str, depth: int, w: Any, psi: Any) -> Any:
    """The slope from the input to the end of the last residual branch (see the module's docstring)."""
    layers = 3 if family == "resnet_v2" else 2
    return equation_20(family, depth, w, psi) * psi ** (layers - 1) / (w**2 * psi**layers + 1 - w**2)


def larger(family: str, depth: int, w: Any, psi: Any) -> Any:
    """The larger of the two."""
    return max(equation_20(family, depth, w, psi), branch(family, depth, w, psi))


def _network(family: str, depth: int, w: Any, *, shortcuts: bool = True) -> qc.Architecture:
    make = qc.zoo.resnet_v2 if family == "resnet_v2" else qc.zoo.wide_resnet
    return make(depth, residual_weight=w, shortcuts=shortcuts)


@lru_cache(maxsize=16)
def _symbolic(family: str, depth: int) -> sympy.Expr:
    return qc.slope_polynomial(_network(family, depth, sympy.Symbol("w", positive=True))).expr


def library_polynomial(family: str, depth: int, w: Fraction, psi: Fraction) -> Fraction:
    """p_f by qcmap, evaluated exactly."""
    symbols = {"w": w, "psi": psi}
    value = sympy.lambdify(tuple(symbols), _symbolic(family, depth), "math")(*symbols.values())
    return Fraction(value)


def _linear_transitions(family: str, depth: int, w: Fraction, psi: Fraction) -> Fraction:
    """What comes of shortcuts that are linear in transition blocks too."""
    if family == "resnet_v2":
        return (w**2 * psi**3 + 1 - w**2) ** ((depth - 2) // 3) * psi
    return (w**2 * psi**2 + 1 - w**2) ** ((depth - 4) // 2) * psi


_FAMILIES = (("resnet_v2", 50), ("resnet_v2", 101), ("resnet_v2", 152), ("wide_resnet", 28), ("wide_resnet", 250))


@checks(
    "dks-37",
    part="polynomial",
    source="DKS 23.4 (20), 23.6",
    claim="The whole ResNet-V2 has p_f = (w^2 psi^3 + 1 - w^2)^((D-14)/3) (w^2 psi^2 + 1 - w^2)^4 psi^5, the "
    "Wide-ResNet (w^2 psi^2 + 1 - w^2)^((D-10)/2) (w^2 psi + 1 - w^2)^3 psi^4",
    subject=library_polynomial,
    broken=_linear_transitions,
)
def whole_network(subject: Formula, effort: int) -> Outcome:
    """In exact rational arithmetic at random points, where two different polynomials agree with chance below 1e-3."""
    random, tally = np.random.default_rng(37), Tally()
    for family, depth in _FAMILIES:
        for _ in range(3 * effort):
            w = Fraction(int(random.integers(1, 10**6)), 10**6)
            psi = 1 + Fraction(int(random.integers(1, 10**6)), 10**6)
            error = subject(family, depth, w, psi) / equation_20(family, depth, w, psi) - 1
            tally.add(
                float(error != 0), 0.5, f"p_f of {family} {depth} at w = {w}, psi = {psi} is off by {float(error):.3g}"
            )
    return tally.outcome()


@lru_cache(maxsize=64)
def _wiring(family: str, depth: int, w: float) -> Wiring:
    return wiring(_network(family, depth, w))


@lru_cache(maxsize=512)
def enumerated(family: str, depth: int, w: float, psi: float) -> tuple[float, str, str]:
    """The largest slope over all subnetworks, with their ends."""
    return _wiring(family, depth, w).largest_slope(psi)


def _library_mu(family: str, depth: int, w: float, psi: float) -> float:
    return float(qc.maximal_slope(_network(family, depth, w))(psi))


@checks(
    "dks-37",
    part="maximal",
    variant="as_printed",
    source="DKS 23.4, 23.6",
    claim="mu(psi) = p_f(psi), equation (20), since residual branches have the factor psi^3 (or psi^2) of p_f",
    subject=equation_20,
    broken=larger,
)
@checks(
    "dks-37",
    part="maximal",
    variant="corrected",
    source="DKS 23.4, 23.6",
    claim="mu is the larger of p_f and the slope from the input to the end of the last residual branch, "
    "p_f psi^(k-1) / (w^2 psi^k + 1 - w^2), k = 3 or 2",
    subject=larger,
    broken=equation_20,
)
@checks(
    "dks-37",
    part="library",
    source="DKS 17.2, 23.4",
    claim="qcmap's maximal slope is the maximum over all subnetworks of the ResNets",
    subject=_library_mu,
    broken=equation_20,
)
def maximal(subject: Formula, effort: int) -> Outcome:
    """Against all subnetworks (dominance by deleting nodes), at random w and psi and at the paper's own w and zeta."""
    random, tally = np.random.default_rng(234), Tally()
    zeta_point = qc.maximal_slope(_network("resnet_v2", 50, math.sqrt(0.05))).inverse(1.5)
    cases = [("resnet_v2", 50, math.sqrt(0.05), zeta_point)]
    for family, depth in (("resnet_v2", 50), ("wide_resnet", 16), ("wide_resnet", 28), ("resnet_v2", 101)):
        for w in (math.sqrt(0.05), *(float(w) for w in random.uniform(0.05, 0.98, effort))):
            cases += [(family, depth, w, psi) for psi in (1.01, 1 + float(random.random()), 3.0)]
    for family, depth, w, psi in cases:
        want, source, target = enumerated(family, depth, w, psi)
        claimed = float(subject(family, depth, w, psi))
        witness = (
            f"{family} {depth} at w = {w:.6g}, psi = {psi:.6g}: the subnetwork from {source} to {target} has slope "
            f"{want:.6g}, not {claimed:.6g}"
        )
        tally.add(claimed / want - 1, 1e-12, witness)
    family, depth, w, psi = cases[0]
    printed, true = equation_20(family, depth, w, psi), larger(family, depth, w, psi)
    detail = f"{family} {depth}, w^2 = 0.05, psi = {psi:.6f}: (20) is {printed:.4f}, the largest slope {true:.4f}"
    return tally.outcome(detail)


@checks(
    "dks-37",
    part="threshold",
    source="DKS 23.4 (ours)",
    claim="The branch beats p_f for psi just above 1 exactly if w^2 < 2/3 (ResNet-V2) or w^2 < 1/2 (Wide-ResNet)",
    subject={"resnet_v2": Fraction(2, 3), "wide_resnet": Fraction(1, 2)},
    broken={"resnet_v2": Fraction(1, 2), "wide_resnet": Fraction(2, 3)},
)
def threshold(subject: dict[str, Fraction], effort: int) -> Outcome:
    """The enumerated maximum at psi = 1 + 1e-3 against p_f, for w^2 at 0.01 and 0.05 on either side."""
    tally, psi = Tally(), 1 + 1e-3
    for family, depth in (("resnet_v2", 50), ("wide_resnet", 28)):
        for gap in (-0.05, -0.01, 0.01, 0.05, *(0.1 / k for k in range(3, effort + 2))):
            w = math.sqrt(float(subject[family]) + gap)
            beats = enumerated(family, depth, w, psi)[0] > equation_20(family, depth, w, psi) * (1 + 1e-12)
            tally.add(float(beats != (gap < 0)), 0.5, f"{family}: w^2 = {w * w:.3f} falls on the other side")
    return tally.outcome()


@checks(
    "dks-37",
    part="skip_free",
    variant="as_printed",
    source="DKS 23.5",
    claim="The network without shortcuts, psi^(D-1), is the case w = 0 of (20)",
    subject=0,
    broken=1,
)
@checks(
    "dks-37",
    part="skip_free",
    variant="corrected",
    source="DKS 23.5",
    claim="The networks without shortcuts have psi^(D-1) and psi^(D-3), the case w = 1",
    subject=1,
    broken=0,
)
def skip_free(subject: int, effort: int) -> Outcome:
    """Equation (20) at this w against the slope of the network without shortcuts, exactly."""
    tally = Tally()
    for family, depth in _FAMILIES[: 2 + 3 * effort]:
        degree = depth - (1 if family == "resnet_v2" else 3)
        chain = qc.slope_polynomial(_network(family, depth, 0.5, shortcuts=False))
        for psi in (Fraction(11, 10), Fraction(3, 2)):
            want, found = psi**degree, Fraction(equation_20(family, depth, subject, psi))
            witness = f"{family} {depth} without shortcuts has psi^{degree}, which is not (20) at w = {subject}"
            tally.add(math.log(want / found), 1e-12, witness)
            tally.add(float(chain(float(psi))) / float(want) - 1, 1e-12, f"qcmap gives {chain} for {family} {depth}")
    return tally.outcome()
