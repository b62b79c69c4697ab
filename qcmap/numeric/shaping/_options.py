"""Deep Kernel Shaping without the condition Q'(1) = 1: dropped, or Q'(1) minimised (DKS, appendices N.2 to N.4)."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from qcmap.activations import Activation
from qcmap.errors import Infeasible, NumericalError
from qcmap.numeric.maps._local import local_maps
from qcmap.numeric.maps._shaping import Solution
from qcmap.numeric.maps._transform import Transform
from qcmap.numeric.shaping._extremes import Graded, stationary
from qcmap.numeric.shaping._infeasible import crossings, infeasible, listed
from qcmap.numeric.shaping._solutions import STANDARD_BOX, WIDE_BOX, Box, patches
from qcmap.numeric.shaping._systems import DKS, Equations

Array = NDArray[np.float64]


def equations(act: Activation, scale: Array, shift: Array) -> Equations:
    """The equations of `DKS` at m points."""
    return DKS.evaluate(act, scale, shift, np.ones(1))


def _targets(psi: float) -> dict[str, float]:
    return {"Q(1)": 1.0, "C(0)": 0.0, "C'(1)": psi}


def _solution(act: Activation, psi: float, here: Equations, points: list[tuple[float, float]], box: str) -> Solution:
    """The solution at points[0], whose mean and variance are the first of ``here``; the other points are others."""
    (scale, shift), *others = points
    transform = Transform(act, scale, shift, -float(here.mean[0]), 1 / math.sqrt(float(here.variance[0])))
    return Solution(transform, _targets(psi), tuple(others), box)


# --- without the condition (N.3) -------------------------------------------------------------------------------------


def dropped(act: Activation, psi: float) -> Solution:
    """Q(1) = 1, C(0) = 0 and C'(1) = psi, with input_shift 0 (appendix N.3) and the smallest input_scale.

    A positively homogeneous function has the same C'(1) at every scale then; it gets input_shift 1 instead, as relu
    does in section 18.6.

    Raises
    ------
    Infeasible
        If no input_scale in [1e-4, 30] reaches psi.
    """
    shift = 0.0 if act.homogeneity is None else 1.0
    scale, level = _levels(act, shift)
    target = math.log(psi - 1)
    gap = level - target
    with np.errstate(invalid="ignore"):
        brackets = np.flatnonzero(gap[:-1] * gap[1:] <= 0)
    found = [_closed(act, shift, target, float(scale[k]), float(scale[k + 1])) for k in brackets]
    box = f"input_scale in [{WIDE_BOX.low:g}, {WIDE_BOX.high:g}], input_shift = {shift:g}"
    if not found:
        seen = 1 + np.exp(level[np.isfinite(level)])
        low = 1.0 if seen.size == 0 or seen.min() <= 1 + DKS.least else float(seen.min())
        achievable = ((low, float(seen.max(initial=low))),)
        raise Infeasible(
            act.name,
            f"no transform with input_shift {shift:g} has C'(1) = {psi:.10g}: it lies in {listed(achievable)} "
            f"(searched {box})",
            "choose zeta so that psi lies there, or keep the condition on Q'(1)",
            condition="C'(1)",
            achievable=achievable,
        )
    here = equations(act, np.array(found[:1]), np.array([shift]))
    return _solution(act, psi, here, [(a, shift) for a in dict.fromkeys(found)], box)


@lru_cache(maxsize=128)
def _levels(act: Activation, shift: float) -> tuple[Array, Array]:
    scale = np.geomspace(WIDE_BOX.low, WIDE_BOX.high, 220)
    parts = np.array_split(scale, 10)  # panels follow the largest scale of a call
    return scale, np.concatenate([equations(act, part, np.full(part.shape, shift)).level for part in parts])


def _closed(act: Activation, shift: float, target: float, low: float, high: float) -> float:
    """The scale in [low, high] where log(C'(1) - 1) = target, by Newton's method in a shrinking bracket."""

    def gap(log: float) -> tuple[float, float]:
        here = equations(act, np.array([math.exp(log)]), np.array([shift]))
        return float(here.level[0]) - target, float(here.jacobian[1][0][0])

    left, right = math.log(low), math.log(high)
    rising = gap(left)[0] < 0
    log = (left + right) / 2
    for _ in range(80):
        value, slope = gap(log)
        left, right = (log, right) if (value < 0) == rising else (left, log)
        step = log - value / slope if slope else math.nan
        new = step if left <= step <= right else (left + right) / 2
        if abs(new - log) <= 4e-16 * max(1.0, abs(log)):
            break
        log = new
    return math.exp(log)


# --- minimised (N.4) -------------------------------------------------------------------------------------------------


def minimised(act: Activation, psi: float) -> Solution:
    """Q(1) = 1, C(0) = 0, C'(1) = psi and, with these, the smallest Q'(1) in the box (appendix N.4).

    The minimum is global in the box: the curve C'(1) = psi is sampled where it meets the edges of the table's grid,
    every sample that is lower than its neighbours in shift and scale is refined to a stationary point, and the lowest
    of those and of the samples wins; of equals, the smallest abs(input_shift), then the negative one. If it lies on the
    box's edge the solution's ``warnings`` say so: Q'(1) falls further outside.

    Raises
    ------
    Infeasible
        If C'(1) never reaches psi in the box.
    """
    for box in (STANDARD_BOX, WIDE_BOX):
        scale, shift = _samples(act, psi, box)
        if scale.size:
            return _lowest(act, psi, box, scale, shift)
    raise infeasible(act, psi, DKS, dropped=True)


def _samples(act: Activation, psi: float, box: Box) -> tuple[Array, Array]:
    """Points of the curve C'(1) = psi in the box."""
    target, parts = math.log(psi - 1), [np.empty((2, 0))]

    def at(scale: Array, shift: Array) -> Equations:
        return equations(act, scale, shift)

    for patch in patches(act, box)[0]:
        scale, shift = crossings(patch, at, lambda table: table.level - target)
        if scale.size:
            gap = np.abs(at(scale, shift).level - target)
            with np.errstate(invalid="ignore"):
                keep = (gap < 1e-6) & box.holds(np.clip(scale, box.low, box.high), shift)
            parts.append(np.stack([scale[keep], shift[keep]]))
    scale, shift = np.concatenate(parts, axis=1)
    return scale, shift


def _lowest(act: Activation, psi: float, box: Box, scale: Array, shift: Array) -> Solution:
    ratio = equations(act, scale, shift).ratio
    order = np.argsort(ratio, kind="stable")[:24]
    starts = np.stack([np.log(scale[order]), shift[order]])
    target = math.log(psi - 1)

    def level(here: Equations) -> Graded:
        return here.level - target, *here.jacobian[1]

    refined = stationary(lambda scale, shift: equations(act, scale, shift), level, starts, box)
    points = np.concatenate([refined, np.stack([np.log(scale), shift])], axis=1)
    values = np.concatenate([equations(act, np.exp(refined[0]), refined[1]).ratio, ratio])
    best = float(np.nanmin(values))
    equal = np.flatnonzero(values <= best + 1e-9 * max(1.0, abs(best)))
    # Refined points come first; of equal ones the nearest to shift 0, then the negative.
    pick = min(equal, key=lambda k: (k >= refined.shape[1], round(abs(float(points[1, k])), 7), float(points[1, k])))
    log, b = (float(part) for part in points[:, pick])
    if act.parity is not None and abs(b) < 1e-9:
        b = 0.0  # odd and even functions are stationary there, and C'(1) is even in b
    a = math.exp(log)
    edge = pick >= refined.shape[1]
    inside = box.low * (1 + 1e-9) < a < box.high * (1 - 1e-9) and abs(b) < (box.shift + box.slant * a) * (1 - 1e-9)
    if edge and inside:
        raise NumericalError(
            act.name, f"the smallest Q'(1) was seen near input_scale {a:.6g}, input_shift {b:.6g}, but not resolved",
            "try a slightly different zeta",
        )  # fmt: skip
    here = equations(act, np.array([a]), np.array([b]))
    solution = _solution(act, psi, here, [(a, b)], str(box))
    if not edge:
        return solution
    note = f"the smallest Q'(1) lies on the edge of the searched box ({box}) and falls further outside"
    return Solution(solution.transform, solution.targets, (), solution.searched, (note,))


# --- Q(1) = 1 alone (N.2) --------------------------------------------------------------------------------------------


def unit_q_solution(act: Activation) -> Solution:
    """Q(1) = 1 by the output scale alone (appendix N.2).

    Raises
    ------
    NumericalError
        If E[phi(x)^2] is zero or not finite.
    """
    return Solution(Transform(act, output_scale=1 / math.sqrt(float(local_maps(act).q(1.0)))), {"Q(1)": 1.0})
