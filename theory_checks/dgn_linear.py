"""Gradient descent on a linear network with one example: DGN, experiment 8, with sums over all weights in numpy."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np

from theory_checks.registry import Array, Outcome, Tally, checks

Descent = Callable[[int, int, int], tuple[Array, Array]]
"""Depth, runs and seed to e_t^2 / e_0^2 and K_t / d, [steps + 1, runs] each."""
WIDTH, STEPS = 40, 20


def descend(
    depth: int, runs: int, seed: int, *, share: float = 0.1, variance: float = 1.0
) -> tuple[Array, Array]:  # fmt: skip
    """x = y = 1, weights +-sqrt(variance / w), rate share / d for the loss 1/2 e^2."""
    random = np.random.default_rng(seed)
    sizes = [1, *[WIDTH] * (depth - 1), 1]
    scale = (variance / WIDTH) ** 0.5
    weights = [scale * random.choice([-1.0, 1.0], (runs, m, k)) for k, m in pairwise(sizes)]
    errors, kernels = [], []
    for step in range(STEPS + 1):
        before = [np.ones((runs, 1, 1))]
        for weight in weights:
            before.append(weight @ before[-1])
        after = [np.ones((runs, 1, 1))]
        for weight in reversed(weights[1:]):
            after.insert(0, after[0] @ weight)
        gradients = [(z @ delta).swapaxes(1, 2) for z, delta in zip(before, after, strict=False)]
        e = before[-1] - 1
        errors.append(e[:, 0, 0] ** 2)
        kernels.append(sum((g**2).sum(axis=(1, 2)) for g in gradients) / depth)
        if step < STEPS:
            weights = [w - share / depth * e * g for w, g in zip(weights, gradients, strict=True)]
    return np.stack(errors) / errors[0], np.stack(kernels)


@checks(
    "dgn-14",
    kind="stat",
    source="DGN 8, experiment 8, figure 10",
    claim="With alpha = 0.1/d the first ratio of squared errors is about 0.81 at every depth, then smaller, as K grows",
    subject=descend,
    broken=lambda depth, runs, seed: descend(depth, runs, seed, variance=1.2),
    false_alarm=1e-5,
)
def experiment_8(subject: Descent, effort: int) -> Outcome:
    """Depths 2, 5 and 8, 200 runs or more.

    E K_0 / d = 1 within six standard errors. To second order in the rate e_1 / e_0 = 1 - 0.1 K_0 / d + O(0.01), so the
    mean of the first ratio lies within 0.02 of the mean of (1 - 0.1 K_0 / d)^2, which is 0.81 + 0.01 Var(K_0 / d).
    """
    tally, seen = Tally(), []
    for depth in (2, 5, 8):
        ratios, kernels = subject(depth, 200 * effort, depth)
        start, error = kernels[0].mean(), kernels[0].std(ddof=1) / len(kernels[0]) ** 0.5
        tally.add(start - 1, 6 * error + 1e-12, f"depth {depth}: E K_0 / d = {start:.4f} +- {error:.1g}")
        first = ratios[1].mean()
        tally.add(first - 0.81 - 0.01 * kernels[0].var(), 0.02, f"depth {depth}: first ratio {first:.4f}")
        later = ratios[-1].mean() ** (1 / STEPS)
        tally.add(max(0.0, later - 0.8), 1e-9, f"depth {depth}: {later:.3f} a step over {STEPS} steps")
        grown = (kernels[-1] / kernels[0]).mean()
        tally.add(max(0.0, 1.2 - grown), 1e-9, f"depth {depth}: K grows by {grown:.3f}")
        seen.append(f"depth {depth}: {first:.3f} at first, {later:.3f} a step, K grows by {grown:.2f}")
    return tally.outcome("; ".join(seen))
