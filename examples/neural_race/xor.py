"""Fig. 3: a ReLU network learns exclusive or as the gated network does, from a0 estimated from its initial weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from examples.experiment import Cells, Experiment, Finding, Result, half_time, mean_and_error, shown
from qcmap.gated import decouple, reduce, xor

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Array: TypeAlias = NDArray[np.float64]

X = np.array([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
Y = -X[:, 0] * X[:, 1]
DIRECTIONS = X / np.sqrt(2)
"""The input singular vector of each pathway."""


@dataclass(frozen=True)
class Settings:
    """Weights are normal with standard deviation ``scale``; a step is ``step / tau`` in the loss (1)."""

    hidden: int = 128
    tau: float = 2.5
    scale: float = 2e-4
    runs: int = 10
    time: float = 80.0
    step: float = 0.02
    seed: int = 0


def projected(first: Array, second: Array) -> Array:
    """a0 of each pathway, [runs, 4], from weights [runs, hidden, 2] and [runs, hidden] by projection.

    A unit that is active on x_k adds u^2 to a_k = sum over units of (w . v_k)(y_k w2), where u = (w . v_k + y_k w2) / 2
    is its part in the direction of both weights that grows; the other decays. Units with u < 0 learn another example.
    """
    along = first @ DIRECTIONS.T
    growing = np.maximum((along + Y * second[..., None]) / 2, 0)
    return ((along > 0) * growing**2).sum(axis=1)


def settled(first: Array, second: Array) -> Array:
    """The same, following each unit until its gate has settled.

    At first a unit is active on two neighbouring examples a and b, whose targets are 1 and -1. Put p = (w . v_a -
    w . v_b) / sqrt 2, q the sum likewise, and r = s / tau, the rate of one pathway. Then dp/dt = sqrt2 r w2,
    dw2/dt = sqrt2 r p, and q stays: p = P E + R / E and w2 = P E - R / E with E = exp(sqrt2 r t), P and R half the sum
    and difference of p and w2 at first. The unit leaves one example (b if P > 0) when |p| = q; for P > 0 that is at
    E = (q + sqrt(q^2 - 4 P R)) / (2 P). From then on it learns the other alone, from w . v_a = sqrt2 q, and a_a grows
    at the rate 2 r: taken back to time 0, this is a factor exp(-2 r t) = E^(-sqrt2).
    """
    along = first @ DIRECTIONS.T
    active = np.maximum(along, 0)
    plus, minus = active[..., Y > 0].sum(axis=-1), active[..., Y < 0].sum(axis=-1)
    p, q = (plus - minus) / np.sqrt(2), (plus + minus) / np.sqrt(2)
    sign = np.sign(p + second)
    growing, decaying = sign * (p + second) / 2, sign * (p - second) / 2
    factor = (q + np.sqrt(q**2 - 4 * growing * decaying)) / (2 * growing)
    output = growing * factor - decaying / factor
    a0 = ((np.sqrt(2) * q + output) / 2) ** 2 * factor ** -np.sqrt(2)
    joins = (along > 0) & (sign[..., None] == Y)
    return (joins * a0[..., None]).sum(axis=1)


ESTIMATES = {"projected": projected, "gates settled": settled}


def train(first: Array, second: Array, settings: Settings) -> tuple[Array, Array]:
    """Times, and the loss (1) of each run, [times, runs], of the ReLU network by gradient descent."""
    times = np.arange(0, settings.time, settings.step)
    losses = np.empty((len(times), settings.runs))
    rate = settings.step / settings.tau
    for k in range(len(times)):
        before = first @ X.T
        hidden = np.maximum(before, 0)
        errors = Y - (second[..., None] * hidden).sum(axis=1)
        losses[k] = (errors**2).mean(axis=1) / 2
        back = errors[:, None, :] * second[..., None] * (before > 0)
        second = second + rate * (hidden * errors[:, None, :]).mean(axis=2)
        first = first + rate * back @ X / len(X)
    return times, losses


def theory(a0: Array, times: Array) -> Array:
    """The loss (23) along the logistic curve (21) that qcmap derives; times in tau, a0 [...], losses [times, ...]."""
    import sympy

    t, start = sympy.symbols("t a0", positive=True)
    reduced = reduce(decouple(xor()), balanced=True)
    (curve,) = reduced.scalar().substitute(S=2**0.5, D=2).explicit(t, start).values()
    a = sympy.lambdify((t, start), curve)(times.reshape(-1, *[1] * a0.ndim), a0)
    return 0.5 - np.sqrt(2) * a + a**2


def run(settings: Settings, cells: Cells) -> Result:
    """ReLU networks against the theory from both estimates of a0."""
    random = np.random.default_rng(settings.seed)
    first = settings.scale * random.standard_normal((settings.runs, settings.hidden, 2))
    second = settings.scale * random.standard_normal((settings.runs, settings.hidden))
    times, losses = train(first, second, settings)
    curves, numbers, off = {}, {"half_time": half_time(times, losses).tolist()}, {}
    for name, estimate in ESTIMATES.items():
        a0 = estimate(first, second)
        curves[name] = theory(a0, times / settings.tau).mean(axis=2)
        late = half_time(times, curves[name]) / half_time(times, losses) - 1
        gap = np.abs(curves[name] - losses).max(axis=0)
        off[name] = float(np.abs(late).max()), float(gap.max())
        numbers[name] = {"a0": a0.mean(axis=1).tolist(), "half_time_off": late.tolist(), "loss_off": gap.tolist()}
    half = shown(*mean_and_error(half_time(times, losses)))
    findings = [
        Finding(
            f"ReLU networks follow the theory, a0 {name}",
            late < 0.05 and gap < 0.1,
            f"half of the loss is gone at t = {half}; the theory is off by {late:.2%} of that time at most, and by "
            f"{gap:.2g} in the loss",
        )
        for name, (late, gap) in off.items()
    ]  # fmt: skip

    def draw() -> Figure:
        from qcmap.plot import new_figure

        figure, (axes,) = new_figure(1)
        axes.plot(times, losses, color="tab:red", linewidth=0.7, alpha=0.6)
        for (name, curve), style in zip(curves.items(), (":", "--"), strict=True):
            axes.plot(times, curve.mean(axis=1), color="tab:blue", linestyle=style, label=f"theory, a0 {name}")
        axes.plot([], [], color="tab:red", label=f"ReLU, {settings.runs} runs")
        axes.set(xlabel="time", ylabel="loss", title="Fig. 3: exclusive or")
        axes.legend(fontsize="small")
        return figure

    return Result(numbers, tuple(findings), draw)


XOR = Experiment(
    "fig3",
    "dynamics of ReLU networks from small weights closely track the solution of the gated network",
    {"tiny": Settings(hidden=32, runs=2, time=70.0, step=0.1), "small": Settings(), "paper": Settings()},
    run,
)
