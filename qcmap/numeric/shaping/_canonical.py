"""The canonical solution over a range of psi or kappa, and the targets at which it changes branch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Integral
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from qcmap.activations import Activation
from qcmap.errors import ArgumentError
from qcmap.numeric.shaping._continuation import Method, canonical, prepared, through
from qcmap.numeric.shaping._solutions import WIDE_BOX, Box, Root
from qcmap.numeric.shaping._systems import System

Array = NDArray[np.float64]
Masked = np.ma.MaskedArray[Any, np.dtype[np.float64]]
Reason = Literal["fold", "edge", "nearer", "none below", "none above"]

_ROOMY = Box(WIDE_BOX.low / 1.5, WIDE_BOX.high * 1.5, WIDE_BOX.shift + 0.5, WIDE_BOX.slant)
_RESOLVED = 1e-9
"""Jumps are located to this relative accuracy in the target beyond its offset."""


@dataclass(frozen=True)
class Jump:
    """Where the canonical solution changes branch.

    Attributes
    ----------
    target
        psi or kappa.
    below, above
        (input_scale, input_shift) just below and just above it; None where there is no solution.
    reason
        ``"fold"`` or ``"edge"``: a branch ends there, in a fold or on the edge of the box. ``"nearer"``: both branches
        go on, and another one has the smaller abs(input_shift). ``"none below"`` and ``"none above"``: there is no
        solution on that side.
    """

    target: float
    below: tuple[float, float] | None
    above: tuple[float, float] | None
    reason: Reason


@dataclass(frozen=True)
class CanonicalBranch:
    """The canonical solution at a grid of targets.

    Attributes
    ----------
    target, input_scale, input_shift
        psi (or kappa), ascending, and the solutions, masked where there is none.
    jumps
        Where the solution changes branch between the grid's points, in order; empty if it is one continuous branch.
    """

    activation: Activation
    method: Method
    target: Array
    input_scale: Masked
    input_shift: Masked
    jumps: tuple[Jump, ...]

    def to_dict(self) -> dict[str, Any]:
        """All points and jumps as plain data; None where there is no solution."""
        return {
            "activation": self.activation.name,
            "method": self.method,
            "target": self.target.tolist(),
            "input_scale": self.input_scale.tolist(),
            "input_shift": self.input_shift.tolist(),
            "jumps": [
                {**jump.__dict__, "below": jump.below and list(jump.below), "above": jump.above and list(jump.above)}
                for jump in self.jumps
            ],
        }

    def __repr__(self) -> str:
        jumps = ", ".join(f"{jump.target:.8g} ({jump.reason})" for jump in self.jumps) or "none"
        return (
            f"<canonical solutions of {self.activation.name} ({self.method}) over [{self.target[0]:.8g}, "
            f"{self.target[-1]:.8g}]; jumps: {jumps}>"
        )


def canonical_branch(
    act: Activation | str, low: float, high: float, *, points: int = 25, method: Method = "dks"
) -> CanonicalBranch:
    """The canonical solution over [low, high], with its jumps.

    Two neighbouring points belong to one branch if continuation leads from one to the other. Where it does not, the
    jump between them is located by bisection.

    Parameters
    ----------
    act, low, high, method
        As for `follow`.
    points
        The number of grid points, at least 2, equally spaced in log(psi - 1) (or log kappa). Two jumps between
        neighbours that undo each other are not seen.

    Raises
    ------
    ArgumentError
        If the range or ``points`` is out of bounds.
    ActivationError
        If the activation's constants have a closed form (relu, leaky relu).
    """
    act, system, low, high = prepared(act, method, low, high)
    if not (isinstance(points, Integral) and points >= 2):
        raise ArgumentError("points", f"at least 2 grid points are needed, not {points!r}", "give such a number")
    levels = np.linspace(math.log(low - system.offset), math.log(high - system.offset), int(points))
    targets = system.offset + np.exp(levels)
    targets[0], targets[-1] = low, high
    found = [canonical(act, system, float(target)) for target in targets]
    finder = _Finder(act, system, method)
    jumps: list[Jump] = []
    for k in range(points - 1):
        jumps += finder.between(float(targets[k]), found[k], float(targets[k + 1]), found[k + 1])
    pairs = np.array([_pair(one) or (0.0, 0.0) for one in found])
    scale, shift = (np.ma.array(values, mask=[one is None for one in found]) for values in pairs.T)
    return CanonicalBranch(act, method, targets, scale, shift, tuple(jumps))


_Found = tuple[Root, Box] | None


@dataclass(frozen=True)
class _Finder:
    act: Activation
    system: System
    method: Method

    def between(self, low: float, below: _Found, high: float, above: _Found) -> list[Jump]:
        """The jumps between two targets."""
        if (below is None and above is None) or self._joined(low, below, high, above):
            return []
        offset = self.system.offset
        while (high - low) > _RESOLVED * (low - offset):
            middle = offset + math.sqrt((low - offset) * (high - offset))
            if not low < middle < high:
                break
            here = canonical(self.act, self.system, middle)
            if self._joined(low, below, middle, here):
                low, below = middle, here
            elif above is None or (high - low) < 1e-6 * (low - offset) or self._joined(middle, here, high, above):
                high, above = middle, here
            else:
                # Two jumps: each half has one of its own.
                return self.between(low, below, middle, here) + self.between(middle, here, high, above)
        if self._joined(low, below, high, above):
            return []
        reason = self._reason(low, below, high, above)
        if reason == "fold" and below and above and abs(below[0].input_shift - above[0].input_shift) < 1e-3:
            # Closer to a fold than float64 resolves: what lies beyond it decides.
            above = canonical(self.act, self.system, offset + (high - offset) * (1 + 1e-5))
            below = canonical(self.act, self.system, offset + (low - offset) * (1 - 1e-5))
            reason = "none above" if above is None else "none below" if below is None else reason
        return [Jump(high, _pair(below), _pair(above), reason)]

    def _joined(self, low: float, below: _Found, high: float, above: _Found) -> bool:
        """Whether the branch of the lower solution leads to the upper one."""
        if below is None or above is None:
            return below is above
        root, _ = below
        if root.sign != above[0].sign:
            return False
        end = self._carried(root, low, high)
        return end is not None and _near(end, _pair(above))

    def _carried(self, root: Root, start: float, target: float) -> tuple[float, float] | None:
        """Where the branch through a solution at ``start`` is at ``target``, or None if it does not get there."""
        low, high = sorted((start, target))
        branch = through(self.act, self.system, root, _ROOMY, (low, high), self.method, limit=False)
        end, k = (branch.high, -1) if target > start else (branch.low, 0)
        return (float(branch.input_scale[k]), float(branch.input_shift[k])) if end.kind == "range" else None

    def _reason(self, low: float, below: _Found, high: float, above: _Found) -> Reason:
        if below is None:
            return "none below"
        if above is None:
            return "none above"
        for found, start, beyond in ((below, low, high), (above, high, low)):
            # Does the branch go on beyond the jump, as a solution in the box?
            over = self.system.offset + (beyond - self.system.offset) * (1 + math.copysign(1e-4, beyond - start))
            low_end, high_end = sorted((start, over))
            branch = through(self.act, self.system, found[0], found[1], (low_end, high_end), self.method, limit=False)
            end = branch.high if over > start else branch.low
            if end.kind in ("fold", "edge"):
                return end.kind
        return "nearer"


def _pair(found: _Found) -> tuple[float, float] | None:
    return None if found is None else (found[0].input_scale, found[0].input_shift)


def _near(a: tuple[float, float], b: tuple[float, float] | None) -> bool:
    if b is None:
        return False
    return abs(math.log(a[0] / b[0])) < 1e-4 and abs(a[1] - b[1]) < 1e-4 * max(abs(b[1]), b[0])
