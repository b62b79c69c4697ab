"""The exclusive or and the contextual task: Neural Race Reduction, appendix A."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import sympy
from scipy.integrate import solve_ivp

from qcmap.gated import contextual, decouple, decoupled_weights, reduce, solve, xor
from theory_checks.gated_networks import Array
from theory_checks.registry import Outcome, Tally, checks

Curve = Callable[[float, float], tuple[float, float]]
"""Time in tau and a0 to a(t) and the loss."""


def _printed(time: float, a0: float, *, rate: float = 2.0) -> tuple[float, float]:
    """Equations (21) and (23) with s = sqrt(2)/4, d = 1/2."""
    s, d = np.sqrt(2) / 4, 0.5
    a = (s / d) / (1 - (1 - s / (d * a0)) * np.exp(-rate * s * time))
    return float(a), float(0.5 - np.sqrt(2) * a + a**2)


def _library(time: float, a0: float) -> tuple[float, float]:
    """The explicit solution and the loss that qcmap derives from the four examples."""
    reduced = reduce(xor(), balanced=True)
    (b,), t, start = reduced.symbols, sympy.Symbol("t", real=True), sympy.Symbol("u0", positive=True)
    ((product, solution),) = reduced.scalar().explicit(t, start).items()
    assert product == b**2
    numbers = {symbol: float(value[0]) for symbol, value in reduced.values.items()}
    a = float(solution.subs({**numbers, t: time, start: a0}))
    return a, 0.5 + float(reduced.loss.subs({**numbers, b: sympy.sqrt(a)}))


def _simulated(time: float, a0: float) -> tuple[float, float]:
    """The four pathways integrated as matrices of two hidden neurons, from balanced decoupled weights."""
    points = np.array([[1.0, 1], [1, -1], [-1, 1], [-1, -1]])
    labels = -points[:, 0] * points[:, 1]
    size = np.sqrt(a0)
    hidden = np.array([1.0, 0])
    first = np.stack([size * np.outer(hidden, y * x / np.sqrt(2)) for x, y in zip(points, labels, strict=True)])
    second = np.stack([size * hidden[None]] * 4)

    def rate(_: float, flat: Array) -> Array:
        w1, w2 = flat[:16].reshape(4, 2, 2), flat[16:].reshape(4, 1, 2)
        error = labels - np.einsum("kah,khi,ki->k", w2, w1, points)
        d1 = np.einsum("k,kah,ki->khi", error, w2, points) / 4
        d2 = np.einsum("k,khi,ki->kh", error, w1, points)[:, None] / 4
        return np.concatenate([d1.ravel(), d2.ravel()])

    found = solve_ivp(rate, (0, time), np.concatenate([first.ravel(), second.ravel()]), method="DOP853", rtol=1e-12,
                      atol=1e-14).y[:, -1]  # fmt: skip
    w1, w2 = found[:16].reshape(4, 2, 2), found[16:].reshape(4, 1, 2)
    outputs = np.einsum("kah,khi,ki->k", w2, w1, points)
    return float(np.linalg.norm(w2[0] @ w1[0])), float(((labels - outputs) ** 2).mean() / 2)


@checks(
    "nrr-03",
    part="printed",
    source="NRR A.1 (18)-(23)",
    claim="In each pathway of XOR a(t) is logistic with s = sqrt2/P, d = 2/P; the loss is 1/2 - sqrt2 a + a^2",
    subject=_printed,
    broken=lambda time, a0: _printed(time, a0, rate=1.0),
)
@checks(
    "nrr-03",
    part="library",
    source="NRR A.1 (18)-(23)",
    claim="qcmap derives the same curves from the four examples and their gates",
    subject=_library,
    broken=lambda time, a0: _library(time, a0 * 1.001),
)
def exclusive_or(subject: Curve, effort: int) -> Outcome:
    """Against the simulated network, labels as the task states them."""
    tally = Tally()
    for a0 in (0.01, 0.2, 1.9):
        for time in (0.5, 4.0, 9.0)[: 2 + effort]:
            for name, found, want in zip(("a", "loss"), subject(time, a0), _simulated(time, a0), strict=True):
                tally.add(found - want, 1e-9, f"{name}({time}) from {a0} is {want:.12g}, not {found:.12g}")
    return tally.outcome()


def _solutions(*, swapped: bool = False) -> dict[str, Array]:
    """The maps that the pathways learn, by the name of their context."""
    found = {}
    for gated in (False, True):
        parts = decouple(contextual(gated=gated))
        reduced = reduce(parts)
        weights = decoupled_weights(parts, reduced, solve(reduced, 0.1, [0, 250]).values[-1])
        for name in ("first", "second") if gated else ("always",):
            found[name] = (weights[f"out_{name}"] @ weights[f"in_{name}"])[0]
    if swapped:
        found["first"], found["second"] = found["second"], found["first"]
    return found


@checks(
    "nrr-04",
    source="NRR A.2 (24)-(29)",
    claim="One pathway learns [1/2 1/2]; a pathway for each context learns [1 0] and [0 1]",
    subject=_solutions,
    broken=lambda: _solutions(swapped=True),
)
def contextual_task(subject: Callable[[], dict[str, Array]], effort: int) -> Outcome:
    """Against least squares on a grid of inputs that has the moments of the uniform distribution."""
    nodes, weights = np.polynomial.legendre.leggauss(3 + effort)
    grid = np.stack(np.meshgrid(nodes, nodes), axis=-1).reshape(-1, 2)
    mass = np.outer(weights, weights).ravel() / 4
    moment = grid.T * mass @ grid
    cross = {"first": grid.T @ (mass * grid[:, 0]), "second": grid.T @ (mass * grid[:, 1])}
    cross["always"] = (cross["first"] + cross["second"]) / 2
    found, tally = subject(), Tally()
    for name, vector in cross.items():
        want = np.linalg.solve(moment, vector)
        error = float(np.abs(found[name] - want).max())
        tally.add(error, 1e-8, f"the pathway {name!r} learns {found[name]}, least squares are {want}")
    return tally.outcome()
