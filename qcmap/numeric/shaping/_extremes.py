"""Where R or the level of a `System` turns along a curve in the plane of input_scale and input_shift."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from qcmap.numeric.shaping._solutions import Box
from qcmap.numeric.shaping._systems import Equations

Array = NDArray[np.float64]
Graded: TypeAlias = tuple[Array, Array, Array]
"""A function at m points, with its derivatives in log(input_scale) and input_shift."""

_STEP = 1e-5


def stationary(
    at: Callable[[Array, Array], Equations], curve: Callable[[Equations], Graded], points: Array, box: Box
) -> Array:
    """Points (log scale, shift), of shape (2, k), of a curve at which R and the level have parallel gradients.

    The curve is the zero set of a function of R and the level, such as R itself; along it, every other such function is
    stationary there. Newton's method from all starts, of shape (2, m), on the curve and R_a L_b - R_b L_a = 0, whose
    derivatives are central differences of the exact gradients. What converges in the box is returned.
    """

    def turn(logs: Array, shift: Array) -> Array:
        (r_scale, r_shift), (l_scale, l_shift) = at(np.exp(logs), shift).jacobian
        return r_scale * l_shift - r_shift * l_scale

    logs, shift = points
    moved = np.full(logs.shape, math.inf)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        for _ in range(40):
            step = _STEP * np.exp(logs)
            here = at(np.exp(logs), shift)
            value, c_scale, c_shift = curve(here)
            (r_scale, r_shift), (l_scale, l_shift) = here.jacobian
            across = r_scale * l_shift - r_shift * l_scale
            t_scale = (turn(logs + _STEP, shift) - turn(logs - _STEP, shift)) / (2 * _STEP)
            t_shift = (turn(logs, shift + step) - turn(logs, shift - step)) / (2 * step)
            determinant = c_scale * t_shift - c_shift * t_scale
            d_log = -(t_shift * value - c_shift * across) / determinant
            d_shift = -(c_scale * across - t_scale * value) / determinant
            longest = np.exp(logs) + 0.1 * np.abs(shift)
            damping = 1 / np.maximum(1, np.maximum(np.abs(d_log) / 0.3, np.abs(d_shift) / (0.5 * longest)))
            logs, shift = logs + damping * d_log, shift + damping * d_shift
            alive = np.isfinite(logs + shift)
            alive &= (logs > math.log(box.low) - 1) & (logs < math.log(box.high) + 1) & (np.abs(shift) < 2e2)
            logs, shift = logs[alive], shift[alive]
            moved = np.maximum(np.abs(d_log), np.abs(d_shift) / longest)[alive]
            if np.all(moved < 1e-10):
                break
        value, _, _ = curve(at(np.exp(logs), shift))
        keep = (moved < 1e-7) & (np.abs(value) < 1e-10) & box.holds(np.exp(logs), shift)
    return np.stack([logs[keep], shift[keep]])


def on_slant(
    at: Callable[[Array, Array], Equations], curve: Callable[[Equations], Graded], points: Array, box: Box
) -> Array:
    """Points (log scale, shift), of shape (2, k), where a curve leaves the box through its slanted sides.

    By Newton's method from all starts, of shape (2, m). A grid has no points on these sides between its rows, while the
    other sides of the box lie on it.
    """
    logs, shift = points
    side, moved = np.sign(shift), np.full(logs.shape, math.inf)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        for _ in range(25):
            # On the side, shift follows the scale: one unknown is left.
            shift = side * (box.shift + box.slant * np.exp(logs))
            value, c_scale, c_shift = curve(at(np.exp(logs), shift))
            step = -value / (c_scale + c_shift * side * box.slant * np.exp(logs))
            logs = logs + np.clip(step, -0.2, 0.2)
            alive = np.isfinite(logs) & (logs > math.log(box.low) - 1) & (logs < math.log(box.high) + 1)
            logs, side, moved = logs[alive], side[alive], np.abs(step[alive])
            if np.all(moved < 1e-12):
                break
        shift = side * (box.shift + box.slant * np.exp(logs))
        value, _, _ = curve(at(np.exp(logs), shift))
        keep = (moved < 1e-9) & (np.abs(value) < 1e-10)
        keep &= (logs >= math.log(box.low)) & (logs <= math.log(box.high))
    return np.stack([logs[keep], shift[keep]])
