"""Routing networks and sharing schemes: Neural Race Reduction, sections 4 and 4.2, appendix C."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from functools import cache

import numpy as np
import sympy
from scipy.integrate import solve_ivp

import qcmap as qc
from qcmap.gated import Context, GatedNetwork, GatedTask, reduce, routing, sharing, statistics
from theory_checks.registry import Outcome, Tally, checks

B1, B2, B3, S, D = sympy.symbols("B1:4 S D", positive=True)
C = sympy.Symbol("C", real=True)
Rates = dict[str, sympy.Expr]


def _statistics(m: int, k: int, *, routes: int | None = None) -> tuple[Fraction, Fraction]:
    """Equations (11)-(12): coefficients of S in Sigma^yx(p), and of D in Sigma^x(p, p), for trained paths."""
    share = Fraction(1, k * m if routes is None else routes)
    return share, share


@checks(
    "nrr-05",
    source="NRR 4 (11)-(12), C (39)-(43)",
    claim="A trained path has Sigma^yx(p) = U S V^T/(KM) and Sigma^x(p, p) = V D V^T/(KM); all others are zero",
    subject=_statistics,
    broken=lambda m, k: _statistics(m, k, routes=m * m),
)
def routing_statistics(subject: Callable[[int, int], tuple[Fraction, Fraction]], effort: int) -> Outcome:
    """Against a count of the contexts in which the gates of each enumerated path are open."""
    tally = Tally()
    for m in range(2, 5 + effort):
        for k in range(1, m):
            found, (cross, own) = statistics(routing(m, k)), subject(m, k)
            right = sum(sympy.simplify(v - cross * S) == 0 for v in found.yx.values())
            right += sum(j == p and sympy.simplify(v - own * D) == 0 for (j, p), v in found.x.items())
            tally.add(right - 2 * m * k, 0.5, f"M={m}, K={k}: {right} of {2 * m * k} statistics are as printed")
    return tally.outcome()


def _printed(m: int, k: int, *, power: int = 1) -> Rates:
    """Equations (44)-(46), the integrals, and (13)-(15)."""
    error = S - B3 * B2 * B1 * D
    balanced = S - B2 * B1**2 * D
    return {
        "dB1": B3 * B2 * error / m**power,
        "dB2": B3 * B1 * error,
        "dB3": B2 * B1 * error / m**power,
        "(13)": B2 * B1 * balanced / m**power,
        "(14)": B1**2 * balanced,
        "(15)": (B2**2 + C) / m * (S - B2 * (B2**2 + C) * D / m),
        "C": m * B1**2 - B2**2,
    }


@cache
def _derived(m: int, k: int) -> Rates:
    """What qcmap derives from the graph, the gates and 1/(KM) alone."""
    reduced = reduce(routing(m, k))
    found: Rates = {f"d{symbol}": rate for symbol, rate in reduced.equations.items()}
    if m == 1:
        return found
    balanced = reduced.balanced()
    equation = balanced.scalar()
    found |= dict(zip(("(13)", "(14)"), balanced.equations.values(), strict=True))
    return found | {"(15)": equation.rate, "C": equation.constants[C]}


@checks(
    "nrr-06",
    source="NRR 4 (13)-(15), C (44)-(48)",
    claim="Lumping, integrals and elimination give (44)-(46), (13)-(14), M B1^2 - B2^2 and (15), for all M, K up to 12",
    subject=_printed,
    broken=lambda m, k: _printed(m, k, power=2),
)
def routing_equations(subject: Callable[[int, int], Rates], effort: int) -> Outcome:
    """Against derivation by machine, all 78 pairs; M = 1 is a chain of one variable once balanced: (44)-(46) only."""
    tally = Tally()
    for m in range(1, 13):
        for k in range(1, m + 1):
            want = subject(m, k)
            for name, value in _derived(m, k).items():
                same = sympy.expand(value - want[name]) == 0
                tally.add(float(not same), 0.5, f"M={m}, K={k}: {name} is {value}, not {want[name]}")
    return tally.outcome()


def _end_ratio(m: int) -> float:
    """B2/B1 after long learning by (13)-(14), from small values and with a large target."""

    def rate(_: float, b: np.ndarray) -> np.ndarray:
        error = 1 - b[1] * b[0] ** 2 * 1e-9
        return np.array([b[1] * b[0] * error / m, b[0] ** 2 * error])

    found = solve_ivp(rate, (0, 400.0 * m), [0.5, 0.1], method="LSODA", rtol=1e-11, atol=1e-11).y[:, -1]
    return float(found[1] / found[0])


@checks(
    "nrr-07",
    part="printed",
    source="NRR 4, C (49)-(51)",
    claim="B2/B1 tends to sqrt M",
    subject=lambda m, k: math.sqrt(m),
    broken=lambda m, k: m ** (1 / 3),
)
@checks(
    "nrr-07",
    part="library",
    source="NRR 4, C (49)-(51)",
    claim="qcmap derives the ratio from the first integrals, for M = 2, 5, 7, 12 and every K",
    subject=lambda m, k: float(reduce(routing(m, k), balanced=True).ratios()[B2]),
    broken=lambda m, k: float(reduce(routing(m, k), balanced=True).ratios()[B2]) * 1.001,
)
def long_ratio(subject: Callable[[int, int], float], effort: int) -> Outcome:
    """Against integration of (13)-(14), which have no K, until B2 B1^2 D is near S = 1, D = 1e-9."""
    tally = Tally()
    for m in (2, 5, 7, 12):
        want = _end_ratio(m)
        for k in range(1, m + 1):
            found = subject(m, k)
            tally.add(found / want - 1, 1e-4, f"M={m}, K={k}: B2/B1 tends to {want:.6g}, not {found:.6g}")
    return tally.outcome()


def _own(m: int, paths: int) -> GatedNetwork:
    return sharing(m, paths)


def _common(m: int, paths: int) -> GatedNetwork:
    """The same schemes where the hidden groups share the input and output weights of a domain."""
    size = math.isqrt(paths)
    b = qc.Builder("shared ends")
    first = [b.affine(b.input(f"x{i}"), name=f"in{i}") for i in range(m)]
    gates: dict[tuple[int, int], dict[str, int]] = {(i, j): {} for i in range(m) for j in range(m)}
    groups: dict[int, list[str]] = {j: [] for j in range(m)}
    for left in range(m // size):
        for right in range(m // size):
            tag, entries = f"{left}_{right}", []
            for i in range(left * size, (left + 1) * size):
                entries.append(b.gate(first[i], f"from{i}_{tag}"))
                for j in range(right * size, (right + 1) * size):
                    gates[i, j] = {f"from{i}_{tag}": 1, f"to{j}": 1}
            h = b.affine(b.sum(entries, [1] * len(entries)), name=f"hidden{tag}")
            for j in range(right * size, (right + 1) * size):
                groups[j].append(h)
    for j, hidden in groups.items():
        b.output(b.gate(b.affine(b.sum(hidden, [1] * len(hidden)), name=f"out{j}"), f"to{j}"), name=f"y{j}")
    arch = b.build()
    contexts = [
        Context(f"{i}->{j}", opened, {(f"x{i}", f"x{i}"): D}, {(f"y{j}", f"x{i}"): S})
        for (i, j), opened in gates.items()
    ]
    return GatedNetwork(arch, GatedTask.of(contexts, arch.inputs, arch.outputs))


@checks(
    "nrr-08",
    variant="as_printed",
    source="NRR 4.2 (16)-(17), C (52)-(56)",
    claim="With P routes through each hidden matrix the coefficients are sqrt(P)/M^2 and P/M^2, the ratio P^(1/4)",
    subject=_common,
    broken=_own,
)
@checks(
    "nrr-08",
    variant="corrected",
    source="NRR 4.2 (16)-(17), C (52)-(56)",
    claim="This holds if each hidden matrix has input and output weights of its own, not if a domain shares them",
    subject=_own,
    broken=_common,
)
def sharing_equations(subject: Callable[[int, int], GatedNetwork], effort: int) -> Outcome:
    """Equations (16)-(17) before balancing, for every P that M = 2, 4 and 6 allow."""
    tally = Tally()
    for m in (2, 4, 6)[: 2 + effort]:
        for size in (d for d in range(1, m + 1) if m % d == 0):
            reduced, paths = reduce(subject(m, size**2)), size**2
            error = S - B1 * B2 * B3 * D
            want = [size * B2 * B3 * error, paths * B1 * B3 * error, size * B1 * B2 * error]
            same = all(
                sympy.expand(found - rate / m**2) == 0
                for found, rate in zip(reduced.equations.values(), want, strict=True)
            )
            ratio = list(reduced.ratios().values())
            witness = f"M={m}, P={paths}: tau dB1/dt = {reduced.equations[B1]}, ratio {ratio[1]}"
            tally.add(float(not (same and ratio[1] == sympy.root(paths, 4))), 0.5, witness)
    return tally.outcome()
