"""Branches of solutions, followed in psi (and so in zeta and depth) or, for tailored activations, in kappa.

The first equation of a `System` does not hold the target, so a branch is a curve R(log a, b) = 0 in the plane, and the
target is a function along it: exp(level) plus an offset. The curve is followed by pseudo-arclength continuation: a step
along the tangent, then Newton's method across it. A branch as a function of the target ends where the level turns (a
fold), where the curve leaves the box, or at the end of the range asked for.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from numbers import Real
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from qcmap.activations import Activation, activation
from qcmap.errors import ActivationError, ArgumentError, NumericalError
from qcmap.numeric.maps._arguments import is_number
from qcmap.numeric.shaping._curve import Curve, Kind
from qcmap.numeric.shaping._solutions import STANDARD_BOX, WIDE_BOX, Box, Problem, Root, newton, solutions_of
from qcmap.numeric.shaping._systems import DKS, TAT, System
from qcmap.numeric.shaping._tat import refuse_corners

Array = NDArray[np.float64]
Method = Literal["dks", "tat"]

SYSTEMS: dict[str, System] = {"dks": DKS, "tat": TAT}


@dataclass(frozen=True)
class End:
    """Where a branch ends.

    Attributes
    ----------
    kind
        ``"range"``: at the end of the range asked for; ``"limit"``: at the smallest target that is resolved, where the
        layer becomes linear; ``"fold"``: the target turns back along the curve; ``"edge"``: the curve leaves the box.
    """

    kind: Kind
    target: float
    input_scale: float
    input_shift: float


@dataclass(frozen=True)
class Branch:
    """One branch of solutions, from its ``low`` end to its ``high`` end.

    Attributes
    ----------
    target
        psi (or kappa for method ``"tat"``), ascending, at the points that the continuation chose.
    input_scale, input_shift
        The solutions there.
    low, high
        The two ends.
    """

    activation: Activation
    method: Method
    target: Array
    input_scale: Array
    input_shift: Array
    low: End
    high: End
    box: Box
    sign: float = field(default=1.0, repr=False)

    def __call__(self, target: float) -> tuple[float, float]:
        """(input_scale, input_shift) at a target on the branch, by Newton's method from the nearest point.

        Raises
        ------
        ArgumentError
            If the branch does not reach the target.
        """
        if not (isinstance(target, Real) and self.target[0] <= target <= self.target[-1]):
            raise ArgumentError(
                "target", f"the branch lies over [{self.target[0]:.10g}, {self.target[-1]:.10g}], not {target!r}",
                "ask for a value there",
            )  # fmt: skip
        system = SYSTEMS[self.method]
        levels = np.log(self.target - system.offset)
        level = math.log(target - system.offset)
        start = (
            math.exp(np.interp(level, levels, np.log(self.input_scale))),
            float(np.interp(level, levels, self.input_shift)),
        )
        problem = Problem(self.activation, system, 0.0, level)
        # Newton may leave the box a little at its edge.
        wider = Box(self.box.low / 1.1, self.box.high * 1.1, self.box.shift + 0.1, self.box.slant)
        scale, shift, _, values = newton(problem, np.array([start[0]]), np.array([start[1]]), wider, self.sign)
        if not (scale.size and abs(values.ratio[0]) < 1e-6 and abs(values.level[0] - level) < 1e-6):
            near = int(np.argmin(np.abs(levels - level)))
            return float(self.input_scale[near]), float(self.input_shift[near])
        return float(scale[0]), float(shift[0])

    def to_dict(self) -> dict[str, Any]:
        """All points and both ends as plain data."""
        return {
            "activation": self.activation.name,
            "method": self.method,
            "target": self.target.tolist(),
            "input_scale": self.input_scale.tolist(),
            "input_shift": self.input_shift.tolist(),
            "low": dict(self.low.__dict__),
            "high": dict(self.high.__dict__),
        }

    def __repr__(self) -> str:
        return (
            f"<branch of {self.activation.name} ({self.method}): {self.low.target:.8g} ({self.low.kind}) to "
            f"{self.high.target:.8g} ({self.high.kind}), {self.target.size} points>"
        )


def prepared(act: Activation | str, method: Method, low: float, high: float) -> tuple[Activation, System, float, float]:
    """The activation, the system and the range, checked; ``low`` is raised to what float64 resolves."""
    act = activation(act)
    if not (isinstance(method, str) and method in SYSTEMS):
        raise ArgumentError("method", f"it is 'dks' or 'tat', not {method!r}", "give one of them")
    system = SYSTEMS[method]
    if act.two_slopes is not None:
        raise ActivationError(act.name, "its constants have a closed form, one branch", "call dks or tat")
    for name, value in (("low", low), ("high", high)):
        if not is_number(value):
            raise ArgumentError(name, f"it must be a finite real number, not {value!r}", "give a number")
    if not (system.offset <= low < high and high > system.offset + system.least):
        raise ArgumentError(
            "low, high", f"a range above {system.offset:g} is needed, not [{low!r}, {high!r}]", "give low < high"
        )
    if system is TAT:
        refuse_corners(act, high)
    return act, system, max(low, system.offset + system.least), high


def canonical(act: Activation, system: System, target: float) -> tuple[Root, Box] | None:
    """The canonical solution and the box it was found in, or None."""
    for box in (STANDARD_BOX, WIDE_BOX):
        found = solutions_of(system, act, target - system.offset, box)
        if found:
            return found[0], box
    return None


def follow(
    act: Activation | str, low: float, high: float, *, start: float | None = None, method: Method = "dks"
) -> Branch:
    """The branch of the canonical solution at ``start``, over [low, high] or as far as it goes.

    Parameters
    ----------
    act
        An activation without a closed form.
    low, high
        The range of psi (method ``"dks"``) or kappa (``"tat"``). A ``low`` of 1 (or 0) asks for the limit in which the
        layer becomes linear: the branch is followed to 1 + 1e-7 (or 2e-7).
    start
        Where the canonical solution is taken; ``low`` if left out. The branch is followed in the wide box, also where
        that solution lies in the standard one; ``box`` of the result says so. (If the curve cannot be followed there,
        the standard box bounds it.)

    Raises
    ------
    ArgumentError
        If the range is empty or out of bounds, or there is no solution at ``start``.
    NumericalError
        If the curve could not be followed.
    ActivationError
        If the activation's constants have a closed form (relu, leaky relu).
    """
    act, system, least, high = prepared(act, method, low, high)
    start = least if start is None else start
    if not (isinstance(start, Real) and least <= start <= high):
        raise ArgumentError("start", f"it lies in [{least:.10g}, {high:.10g}], not at {start!r}", "give such a number")
    found = canonical(act, system, start)
    if found is None:
        raise ArgumentError("start", f"{act.name} has no solution at {start:.10g}", "start elsewhere")
    limit = low <= system.offset + system.least
    root, box = found
    try:
        # The wide box holds the standard one, in which the canonical solution was looked for first.
        return through(act, system, root, WIDE_BOX, (least, high), method, limit=limit)
    except NumericalError:
        if box == WIDE_BOX:
            raise
        return through(act, system, root, box, (least, high), method, limit=limit)


def through(
    act: Activation, system: System, root: Root, box: Box, ends: tuple[float, float], method: Method, *, limit: bool
) -> Branch:
    """The branch through a solution; ``limit`` says that the low end of the range stands for the linear limit."""
    levels = tuple(math.log(end - system.offset) for end in ends)
    curve = Curve(act, system, root.sign, box)
    first = np.array([math.log(root.input_scale), root.input_shift])
    below, low = curve.walk(first, -1, levels[0])
    above, high = curve.walk(first, +1, levels[1])
    points = np.array([*reversed(below), first, *above])
    here = curve.at(points[:, 0], points[:, 1])
    target = system.offset + np.exp(here.level)
    order = np.argsort(target, kind="stable")
    keep = order[np.concatenate([[True], np.diff(target[order]) > 0])]

    def end(kind: Kind, k: int) -> End:
        named: Kind = "limit" if limit and k == 0 and kind == "range" else kind
        return End(named, float(target[keep][k]), float(np.exp(points[keep][k, 0])), float(points[keep][k, 1]))

    return Branch(
        act, method, target[keep], np.exp(points[keep, 0]), points[keep, 1], end(low, 0), end(high, -1), box,
        root.sign,
    )  # fmt: skip
