"""The ratio of hidden over outer singular values in the top mode, from several random starts (docs, Figure 4)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from examples.experiment import mean_and_error
from qcmap.gated import FullFlow, random_weights

EXPECTED = (2.57, 2.61)
"""The range of ratios that the project expected for gain 0.2."""


@dataclass(frozen=True)
class Start:
    """A kind of random weights, its gain, numbers of steps after which to look, and of runs."""

    kind: Literal["orthogonal", "gaussian", "xavier"]
    gain: float
    steps: tuple[int, ...]
    runs: int


STARTS = (
    Start("orthogonal", 0.2, (78, 80, 82, 150, 250, 400), 20),
    Start("orthogonal", 0.1, (600,), 10),
    Start("orthogonal", 0.05, (1000,), 10),
    Start("xavier", 0.2, (400,), 10),
)


def ratios(flow: FullFlow, rate: float, starts: tuple[Start, ...]) -> list[dict[str, Any]]:
    """A row for each start and number of steps.

    A run's ratio is the hidden matrix's top singular value over the mean of those of the input matrices; ``single`` is
    the range over every input and output matrix, ``apart`` the mean of r^2, what input matrices have off the hidden
    direction, and ``expected`` how many runs lie in `EXPECTED`.
    """
    rows = []
    for start in starts:
        drawn = [random_weights(flow.network, gain=start.gain, kind=start.kind, seed=k) for k in range(start.runs)]
        paths = [flow.descend(weights, rate, max(start.steps)) for weights in drawn]
        for step in start.steps:
            parts = [_parts(path.at(step)) for path in paths]
            own = np.array([ratio for ratio, _, _ in parts])
            single = np.array([each for _, each, _ in parts])
            mean, error = mean_and_error(own)
            rows.append({
                "kind": start.kind, "gain": start.gain, "step": step, "runs": start.runs, "mean": mean, "error": error,
                "range": [float(own.min()), float(own.max())], "single": [float(single.min()), float(single.max())],
                "apart": float(np.mean([apart for _, _, apart in parts])),
                "expected": int(((own >= EXPECTED[0]) & (own <= EXPECTED[1])).sum()),
            })  # fmt: skip
    return rows


def _parts(weights: dict[str, np.ndarray]) -> tuple[float, np.ndarray, float]:
    """The ratio, that over each outer matrix, and the mean of r^2 over input matrices."""
    _, hidden, right = np.linalg.svd(weights["hidden1"])
    first = [matrix for edge, matrix in weights.items() if edge.startswith("in")]
    last = [matrix for edge, matrix in weights.items() if edge.startswith("out")]
    own, outer = ([np.linalg.svd(m, compute_uv=False)[0] for m in matrices] for matrices in (first, first + last))
    apart = [size**2 - ((m.T @ right[0]) ** 2).sum() for size, m in zip(own, first, strict=True)]
    return float(hidden[0] / np.mean(own)), hidden[0] / np.array(outer), float(np.mean(apart))
