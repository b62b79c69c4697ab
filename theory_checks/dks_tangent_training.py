"""Training in the tangent-kernel regime: DKS, section 24.3.1, equations (21) and (22).

Networks of two hidden layers in NTK parameterisation are trained by gradient descent on 1/2 sum (y - f)^2 in numpy.
Each is compared with the formula for its own f(0) and the kernel of infinite width.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from scipy.special import erf

import qcmap as qc
from qcmap.numeric import KernelDescent, ntk_gram
from theory_checks.registry import Array, Outcome, Tally, checks

WIDTH, SEEDS, INPUTS, TRAIN, CHANNELS = 256, 24, 6, 4, 5
STEPS = (1, 5, 25, 150)
T, WIDTH_BIAS, SPREAD = 9.0, 0.03, 4 / WIDTH**0.5
"""Student's t with 23 degrees of freedom exceeds 9 in size with probability below 1e-8."""


class Setting(NamedTuple):
    """What the formula knows: K, k(x) of the other inputs, the targets, the step size."""

    kernel: Array
    cross: Array
    targets: Array
    rate: float


Formula = Callable[[Setting, Array, float], Array]
"""The setting, f(0) on training and other inputs, and a number of steps (or infinity) to f there."""


def library(setting: Setting, start: Array, steps: float) -> Array:
    """By qcmap."""
    descent = KernelDescent(setting.kernel, setting.targets, start[:TRAIN], rate=setting.rate)
    return np.concatenate([descent.train(steps), descent.predict(setting.cross, steps, start[TRAIN:])])


def equation_21(setting: Setting, start: Array, steps: float) -> Array:
    """k(x)^T K^-1 (I - (I - eta K)^t) (y - f(0)) + f(x, 0), as printed."""
    step = np.eye(TRAIN) - setting.rate * setting.kernel
    left = np.zeros_like(step) if np.isinf(steps) else np.linalg.matrix_power(step, int(steps))
    learned = np.linalg.solve(setting.kernel, (np.eye(TRAIN) - left) @ (setting.targets - start[:TRAIN]))
    return np.concatenate([setting.kernel, setting.cross]) @ learned + start


def _twice_as_fast(setting: Setting, start: Array, steps: float) -> Array:
    """For the loss sum (y - f)^2, without the half."""
    return equation_21(setting._replace(rate=2 * setting.rate), start, steps)


def _without_start(setting: Setting, start: Array, steps: float) -> Array:
    """The last term of both equations left out."""
    return equation_21(setting, start, steps) - start


def _setting() -> tuple[Array, Setting]:
    random = np.random.default_rng(38)
    x = random.standard_normal((INPUTS, CHANNELS))
    x *= np.sqrt(CHANNELS) / np.linalg.norm(x, axis=1, keepdims=True)
    b = qc.Builder("two hidden layers")
    h = b.input("x", channels=CHANNELS)
    for _ in range(2):
        h = b.activation(b.affine(h, WIDTH), "erf")
    kernel = ntk_gram(b.build([b.affine(h, 1)]), x).matrix
    inner = kernel[:TRAIN, :TRAIN]
    return x, Setting(inner, kernel[TRAIN:, :TRAIN], random.standard_normal(TRAIN), 1 / float(np.linalg.norm(inner, 2)))


def _network(x: Array, random: np.random.Generator) -> tuple[list[Array], Callable[[list[Array]], list[Array]]]:
    """The parameters of a new network, and its forward pass: hidden layers, then the output."""
    sizes = (x.shape[1], WIDTH, WIDTH, 1)
    weights = [random.standard_normal((m, k)) for k, m in pairwise(sizes)]

    def forward(weights: list[Array]) -> list[Array]:
        u1 = weights[0] @ x.T / np.sqrt(sizes[0])
        u2 = weights[1] @ erf(u1) / np.sqrt(WIDTH)
        return [u1, u2, weights[2] @ erf(u2) / np.sqrt(WIDTH)]

    return weights, forward


def _trained(x: Array, setting: Setting, random: np.random.Generator) -> dict[int, Array]:
    """f on all inputs after 0 and each of `STEPS` steps of one network."""
    weights, forward = _network(x, random)
    found = {}
    for step in range(STEPS[-1] + 1):
        u1, u2, f = forward(weights)
        if step in (0, *STEPS):
            found[step] = f[0]
        gap = f[:, :TRAIN] - setting.targets
        u1, u2 = u1[:, :TRAIN], u2[:, :TRAIN]
        slope = 2 / np.sqrt(np.pi)
        back2 = weights[2].T @ gap / np.sqrt(WIDTH) * slope * np.exp(-u2 * u2)
        back1 = weights[1].T @ back2 / np.sqrt(WIDTH) * slope * np.exp(-u1 * u1)
        weights[2] = weights[2] - setting.rate * gap @ erf(u2).T / np.sqrt(WIDTH)
        weights[1] = weights[1] - setting.rate * back2 @ erf(u1).T / np.sqrt(WIDTH)
        weights[0] = weights[0] - setting.rate * back1 @ x[:TRAIN] / np.sqrt(x.shape[1])
    return found


@cache
def _runs(effort: int) -> tuple[Setting, list[dict[int, Array]]]:
    x, setting = _setting()
    random = np.random.default_rng(381)
    return setting, [_trained(x, setting, random) for _ in range(SEEDS * effort)]


def _compared(subject: Formula, effort: int, times: dict[int, float]) -> Outcome:
    setting, runs = _runs(effort)
    tally, largest, worst = Tally(), 0.0, 0.0
    for step, time in times.items():
        gaps = np.array([run[step] - subject(setting, run[0], time) for run in runs])
        error = gaps.std(axis=0, ddof=1) / np.sqrt(len(runs))
        spread = np.sqrt((gaps**2).mean(axis=0))
        largest, worst = max(largest, float(spread.max())), max(worst, float(np.abs(gaps.mean(axis=0)).max()))
        for k, gap in enumerate(gaps.mean(axis=0)):
            where = f"f of {'training' if k < TRAIN else 'other'} input {k + 1} after {step} steps is off by"
            tally.add(gap, T * error[k] + WIDTH_BIAS, f"{where} {gap:.3g} +- {error[k]:.2g}")
            tally.add(spread[k], SPREAD, f"{where} {spread[k]:.3g} in the root mean square")
    return tally.outcome(f"root mean squares of up to {largest:.2g}, mean differences of up to {worst:.2g}")


@checks(
    "dks-38", part="curve", kind="stat", false_alarm=1e-6, source="DKS 24.3.1 (21)",
    claim="f(x, t) = k(x)' K^-1 (I - (I - eta K)^t) (y - f(0)) + f(x, 0) for wide networks trained by gradient descent",
    subject=equation_21, broken=_twice_as_fast,
)  # fmt: skip
@checks(
    "dks-38", part="library", kind="stat", false_alarm=1e-6, source="DKS 24.3.1 (21)",
    claim="qcmap's kernel descent is the training curve of wide networks", subject=library, broken=_without_start,
)  # fmt: skip
def curve(subject: Formula, effort: int) -> Outcome:
    """24 networks of width 256, each with its own f(0), on 4 training and 2 other inputs after 1 to 150 steps.

    Targets are of size 1. The mean difference is tested by Student's t at 1e-8 each, with 0.03 allowed for a bias of
    order 1/256. The root mean square over the networks must be below 4/sqrt(256): kernels scatter by 1/sqrt(width).
    """
    return _compared(subject, effort, {step: float(step) for step in STEPS})


@checks(
    "dks-38", part="limit", kind="stat", false_alarm=1e-6, source="DKS 24.3.1 (22)",
    claim="At t = infinity it is k(x)' K^-1 (y - f(0)) + f(x, 0), the training inputs fitted",
    subject=equation_21, broken=_without_start,
)  # fmt: skip
def limit(subject: Formula, effort: int) -> Outcome:
    """The same networks after the last step, where what is left of equation 21 is below 0.01."""
    setting, _ = _runs(effort)
    slowest = float(np.linalg.eigvalsh(setting.kernel)[0])
    left = (1 - setting.rate * slowest) ** STEPS[-1]
    outcome = _compared(subject, effort, {STEPS[-1]: np.inf})
    if left > 0.01:
        raise ValueError(f"the networks have not converged: {left:.2g} is left")
    return outcome
