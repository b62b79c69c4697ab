"""Where and how fast C maps converge under composition: DKS, Proposition 10 and Theorems 40 to 42.

C maps are random power series with b_i >= 0 and sum 1 (`theory_checks.positive_definite`), iterated directly. The
subjects of the corrected bounds are qcmap's functions.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qcmap.numeric import dynamics, geometric_envelope, negative_lower_bound, odd_bound
from theory_checks.positive_definite import batch, describe, slope, value
from theory_checks.registry import Array, Outcome, Tally, checks

DEGREE = 16
STEPS = 12
CS = np.concatenate([np.linspace(-0.99, 0.99, 12), [0.999]])
TWO_POWERS = np.zeros(DEGREE + 1)
TWO_POWERS[[1, 3]] = 0.9, 0.1


def functions(effort: int, seed: int) -> Array:
    """Random C maps, and 0.9 c + 0.1 c^3, the identity, 1, c^2 and (1 + c)/2."""
    eye = np.eye(DEGREE + 1)
    extreme = [TWO_POWERS, eye[1], eye[0], eye[2], (eye[0] + eye[1]) / 2]
    return np.vstack([extreme, batch(np.random.default_rng(seed), 150 * effort, DEGREE)])


def at(b: Array, c: Array) -> Array:
    """C(c), a row of points for each function."""
    result = np.zeros(np.broadcast_shapes(c.shape, (len(b), 1)))
    for k in range(DEGREE, -1, -1):
        result = result * c + b[:, k, None]
    return result


def settled(b: Array, c: Array) -> Array:
    """Many compositions: 3,000, and 9,000 more where points still move, as they do if C'(c*) is near 1."""
    c = np.array(np.broadcast_to(c, (len(b), np.shape(c)[-1])))
    for steps in (3000, 9000):
        moving = np.abs(at(b, c) - c).max(axis=1) > 1e-13
        own, points = b[moving], c[moving]
        for _ in range(steps):
            points = np.clip(at(own, points), -1, 1)
        c[moving] = points
    return c


def slope_at_one(b: Array) -> Array:
    """C'(1)."""
    return slope(b, np.ones(1))[:, 0]


def nontrivial(b: Array) -> NDArray[np.bool_]:
    """Neither constant nor the identity, by more than rounding."""
    return (b[:, 0] < 1 - 1e-9) & (b[:, 1] < 1 - 1e-9)


def library_point(b: Array) -> float:
    """The fixed point c* by qcmap."""

    def function(c: Array) -> Array:
        return value(b[None], np.ravel(c))[0].reshape(np.shape(c))

    def rate(c: Array) -> Array:
        return slope(b[None], np.ravel(c))[0].reshape(np.shape(c))

    return dynamics((function, rate)).fixed_point


@checks(
    "dks-17", part="limit", variant="as_printed", source="DKS 12.3, Proposition 10",
    claim="C^D(c) tends to the same c* in [0, 1] for all c in (-1, 1)",
    subject=lambda b: np.ones(len(b), dtype=bool), broken=nontrivial,
)  # fmt: skip
@checks(
    "dks-17", part="limit", variant="corrected", source="DKS 12.3, Proposition 10",
    claim="C^D(c) tends to the same c* in [0, 1] for all c in (-1, 1), if C is not the identity",
    subject=nontrivial, broken=lambda b: np.ones(len(b), dtype=bool),
)  # fmt: skip
def limit(subject: Callable[[Array], NDArray[np.bool_]], effort: int) -> Outcome:
    """Compositions of maps with C'(1) at least 0.05 from 1, where convergence is geometric."""
    b, tally = functions(effort, 17), Tally()
    b = b[subject(b)]
    steep = slope_at_one(b)
    clear = (np.abs(steep - 1) > 0.05) | ~nontrivial(b)
    b = b[clear]
    for row, ends in zip(b, settled(b, CS), strict=True):
        witness = f"C = {describe(row)}: after many layers c lies between {ends.min():.4g} and {ends.max():.4g}"
        tally.add(float(np.ptp(ends)), 1e-6, witness)
        tally.add(float(max(-ends.min(), ends.max() - 1, 0)), 1e-6, witness)
    return tally.outcome()


@checks(
    "dks-17", part="fixed_point", source="DKS 12.3, Proposition 10, Corollary 38",
    claim="The limit c* is the least fixed point of C in [0, 1]",
    subject=library_point, broken=lambda b: float(b[0]),
)  # fmt: skip
def fixed_points(subject: Callable[[Array], float], effort: int) -> Outcome:
    """The library's c* against compositions."""
    b, tally = functions(effort, 18), Tally()
    keep = nontrivial(b) & (np.abs(slope_at_one(b) - 1) > 0.05)
    b = b[keep][:: max(1, 2 // effort)]
    for row, end in zip(b, settled(b, np.array([0.5]))[:, 0], strict=True):
        found = subject(row)
        tally.add(found - float(end), 1e-9, f"C = {describe(row)}: c* = {end:.12g}, not {found:.12g}")
    return tally.outcome()


# --- Theorem 40 -------------------------------------------------------------------------------------------------------


@checks(
    "dks-51", part="bound", source="DKS C.2, Theorem 40",
    claim="If C'(1) < 1, then 1 - C'(1)^n (1 - c) <= C^n(c) <= 1 on [-1, 1]",
    subject=lambda b, n: slope_at_one(b) ** n, broken=lambda b, n: slope_at_one(b) ** (n + 1),
)  # fmt: skip
def theorem_40(subject: Callable[[Array, int], Array], effort: int) -> Outcome:
    """n up to 12, c in [-1, 1] with both ends."""
    b, tally = functions(effort, 51), Tally()
    b = b[(slope_at_one(b) < 1) & nontrivial(b)]
    start = np.concatenate([CS, [-1, 1]])
    c = np.broadcast_to(start, (len(b), start.size))
    for n in range(1, STEPS):
        c = at(b, c)
        excess = 1 - subject(b, n)[:, None] * (1 - start) - c
        for k, row in enumerate(b):
            j = int(excess[k].argmax())
            witness = f"C = {describe(row)}, n = {n}, c = {start[j]:.3g}: C^n(c) = {c[k, j]:.8g}"
            tally.add(max(0.0, float(excess[k, j]), float(c[k].max() - 1)), 1e-12, witness)
    return tally.outcome()


@checks(
    "dks-51", part="step", variant="as_printed", source="DKS C.2, proof of Theorem 40",
    claim="For x in [-1, 0): 2 C(0) - C(-x) >= 2 C(0) - (1 - C'(1) - C'(1) x)",
    subject=lambda b, c: -at(b, -c), broken=lambda b, c: at(b, c),
)  # fmt: skip
def printed_step(subject: Callable[[Array, Array], Array], effort: int) -> Outcome:
    """It bounds C(-x) from above by the tangent at 1, which lies below the convex C.

    The broken subject has C(x) in place of -C(-x), and -(1 - C'(1) - C'(1) x) is below it by Theorem 40 and C(0) >= 0.
    """
    b, tally = functions(effort, 52), Tally()
    b = b[(slope_at_one(b) < 1) & nontrivial(b)]
    c = np.broadcast_to(-np.abs(CS), (len(b), CS.size))
    steep = slope_at_one(b)[:, None]
    excess = -(1 - steep - steep * c) - subject(b, c)
    for row, gaps in zip(b, excess, strict=True):
        j = int(gaps.argmax())
        tally.add(
            max(0.0, float(gaps[j])), 1e-12, f"C = {describe(row)}, x = {-abs(CS[j]):.3g}: short by {gaps[j]:.4g}"
        )
    return tally.outcome()


@checks(
    "dks-51", part="step", variant="corrected", source="DKS C.2, proof of Theorem 40",
    claim="1 - c^i <= i (1 - c) on [-1, 1] for i = 0, 1, 2, ...; so C(c) >= 1 - C'(1) (1 - c) there",
    subject=lambda i: i, broken=lambda i: i - 0.1 * (i > 1),
)  # fmt: skip
def corrected_step(subject: Callable[[int], float], effort: int) -> Outcome:
    """On a grid that comes close to 1, where it is tight."""
    grid, tally = np.concatenate([np.linspace(-1, 1, 401), 1 - np.geomspace(1e-6, 1e-2, 30)]), Tally()
    for i in range(40 * effort):
        excess = (1 - grid**i) - subject(i) * (1 - grid)
        tally.add(max(0.0, float(excess.max())), 1e-12, f"i = {i}, c = {grid[excess.argmax()]:.6g}")
    return tally.outcome()


# --- Theorem 41 -------------------------------------------------------------------------------------------------------


def _exploding(effort: int, seed: int) -> tuple[Array, Array]:
    """Maps with C'(1) > 1 that are not odd, and their c* by bisection."""
    b = functions(effort, seed)
    b = b[(slope_at_one(b) > 1.02) & (b[:, 0::2].sum(axis=1) > 1e-6)]
    low, high = np.zeros((len(b), 1)), np.full((len(b), 1), 1.0)
    # C(c) < c just left of 1, and C(c) > c left of c*.
    for gap in np.geomspace(1e-6, 0.5, 40):
        inside = at(b, np.full((len(b), 1), 1 - gap)) < 1 - gap
        high = np.where(inside, 1 - gap, high)
    for _ in range(80):
        middle = (low + high) / 2
        above = at(b, middle) > middle
        low, high = np.where(above, middle, low), np.where(above, high, middle)
    return b, high


Envelope = Callable[..., Any]


@checks(
    "dks-52", part="positive", source="DKS C.2, Theorem 41 i), ii)",
    claim="For c in [0, 1): c* + C'(c*)^n (c - c*) <= C^n(c) <= c* + r^n (c - c*), r = (C(c) - c*) / (c - c*); i) is "
    "the upper bound for c > c*, ii) the lower one for c < c*",
    subject=geometric_envelope, broken=lambda c, n, *rest: geometric_envelope(c, n + 1, *rest),
)  # fmt: skip
def theorem_41(subject: Envelope, effort: int) -> Outcome:
    """Both bounds, on both sides of the fixed point."""
    b, point = _exploding(effort, 53)
    tally, start = Tally(), np.broadcast_to(np.abs(CS), (len(b), CS.size))
    rate = np.array([slope(row[None], p)[0, 0] for row, p in zip(b, point, strict=True)])[:, None]
    away = start - point
    near = np.abs(away) < 1e-7
    quotient = np.clip(np.where(near, rate, (at(b, start) - point) / np.where(near, 1.0, away)), 0, 1)
    c = start
    for n in range(1, STEPS):
        c = at(b, c)
        lower, upper = subject(start, n, point, np.minimum(rate, 1), quotient)
        excess = np.maximum(lower - c, c - upper)
        for k, row in enumerate(b):
            j = int(excess[k].argmax())
            witness = f"C = {describe(row)}, n = {n}, c = {start[k, j]:.3g}: C^n(c) = {c[k, j]:.8g}"
            tally.add(max(0.0, float(excess[k, j])), 1e-7, witness)
    return tally.outcome()


def _printed_line(c: Array, n: int, c0: Array, r: Array, point: Array, rate: Array) -> Array:
    """The bound of iii) whatever the sign of C^(n-1)(c)."""
    return r**n * (c - c0 / (1 - r)) + c0 / (1 - r)


@checks(
    "dks-52", part="negative", source="DKS C.2, Theorem 41 iii)",
    claim="For c in (-1, 0) and r = (C(-c) - C(0)) / -c: r^n (c - C(0)/(1-r)) + C(0)/(1-r) <= C^n(c) while "
    "C^(n-1)(c) <= 0; qcmap's bound goes on from there",
    subject=negative_lower_bound, broken=_printed_line,
)  # fmt: skip
def theorem_41_negative(subject: Envelope, effort: int) -> Outcome:
    """The printed bound while it is claimed, the library's throughout; the broken one has no condition on the sign."""
    b, point = _exploding(effort, 54)
    tally, start = Tally(), np.broadcast_to(-np.abs(CS), (len(b), CS.size))
    rate = np.array([slope(row[None], p)[0, 0] for row, p in zip(b, point, strict=True)])[:, None]
    c0 = np.broadcast_to(b[:, :1], start.shape)
    r = np.clip((at(b, -start) - c0) / -start, 0, 1 - 1e-12)
    c = start
    for n in range(1, STEPS):
        before, c = c, at(b, c)
        printed = np.where(before <= 0, _printed_line(start, n, c0, r, point, rate), -np.inf)
        excess = np.maximum(printed, subject(start, n, c0, r, point, np.minimum(rate, 1))) - c
        for k, row in enumerate(b):
            j = int(excess[k].argmax())
            witness = f"C = {describe(row)}, n = {n}, c = {start[k, j]:.3g}: C^n(c) = {c[k, j]:.8g}"
            tally.add(max(0.0, float(excess[k, j])), 1e-7, witness)
    return tally.outcome()


@checks(
    "dks-52", part="rates", variant="as_printed", source="DKS C.2, Theorem 41",
    claim="C'(c*) lies strictly between 0 and 1 (C'(1) > 1, C not odd)", subject=0.0, broken=-1.0,
)  # fmt: skip
@checks(
    "dks-52", part="rates", variant="corrected", source="DKS C.2, Theorem 41",
    claim="C'(c*) lies in [0, 1) (C'(1) > 1, C not odd); it is 0 for c^2, where ii) is empty, since c* = 0",
    subject=-1.0, broken=0.0,
)  # fmt: skip
def rates(subject: float, effort: int) -> Outcome:
    """C'(c*) must exceed the subject."""
    b, point = _exploding(effort, 55)
    tally = Tally()
    for row, p in zip(b, point[:, 0], strict=True):
        found = float(slope(row[None], np.array([p if row[0] > 0 else 0.0]))[0, 0])
        witness = f"C = {describe(row)}: C'(c*) = {found:.6g} at c* = {p:.6g}"
        tally.add(float(not subject < found < 1), 0.5, witness)
    return tally.outcome()


# --- Theorem 42 -------------------------------------------------------------------------------------------------------


@checks(
    "dks-53", variant="as_printed", source="DKS C.2, Theorem 42",
    claim="An odd C has abs(C^n(c)) <= c_hat^n on [-c_hat, c_hat]",
    subject=lambda c_hat, first, n: c_hat**n, broken=odd_bound,
)  # fmt: skip
@checks(
    "dks-53", variant="corrected", source="DKS C.2, Theorem 42",
    claim="An odd C has abs(C^n(c)) <= c_hat (C(c_hat) / c_hat)^n on [-c_hat, c_hat]; 0.9 c + 0.1 c^3 has C^2(1/2) = "
    "0.426",
    subject=odd_bound, broken=lambda c_hat, first, n: c_hat**n,
)  # fmt: skip
def theorem_42(subject: Callable[[Array, Array, int], Array], effort: int) -> Outcome:
    """At c = c_hat, where abs(C^n) is largest."""
    b, tally = functions(2 * effort, 56), Tally()
    b = np.vstack([TWO_POWERS, b[(b[:, 0::2].sum(axis=1) == 0) & nontrivial(b)]])
    start = np.broadcast_to(np.concatenate([[0.5], np.abs(CS)]), (len(b), CS.size + 1))
    first = at(b, start)
    c = start
    for n in range(1, STEPS):
        c = at(b, c)
        excess = c - subject(start, np.minimum(first, start), n)
        for k, row in enumerate(b):
            j = int(excess[k].argmax())
            witness = f"C = {describe(row)}, n = {n}, c_hat = {start[k, j]:.3g}: C^n(c_hat) = {c[k, j]:.4g}"
            tally.add(max(0.0, float(excess[k, j])), 1e-12, witness)
    return tally.outcome()
