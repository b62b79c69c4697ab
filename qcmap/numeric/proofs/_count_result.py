"""What a count of solutions says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from flint import arb


@dataclass(frozen=True)
class Count:
    """The solutions (input_scale, input_shift) of Q'(1) = 1 and C'(1) = psi in a box, all of them.

    Attributes
    ----------
    activation
        Its name.
    psi
        The target of C'(1), a ball.
    scale, shift
        The box: input_scale in ``scale`` (open at 0 where it starts there), input_shift in ``shift``.
    solutions
        Balls (input_scale, input_shift), each with exactly one solution, ordered by input_scale.
    cells
        How many cells the proof has.
    """

    activation: str
    psi: arb
    scale: tuple[float, float]
    shift: tuple[float, float]
    solutions: tuple[tuple[arb, arb], ...]
    cells: int

    @property
    def count(self) -> int:
        """The number of solutions in the box."""
        return len(self.solutions)

    @property
    def infeasible(self) -> bool:
        """Whether the box is proved to hold no solution."""
        return not self.solutions

    def to_dict(self) -> dict[str, Any]:
        """The result as plain data."""
        return {
            "activation": self.activation,
            "psi": self.psi.str(20),
            "input_scale": list(self.scale),
            "input_shift": list(self.shift),
            "count": self.count,
            "solutions": [[a.str(15), b.str(15)] for a, b in self.solutions],
            "cells": self.cells,
        }

    def __repr__(self) -> str:
        opening = "(" if self.scale[0] == 0 else "["
        box = f"{opening}{self.scale[0]:g}, {self.scale[1]:g}] x [{self.shift[0]:g}, {self.shift[1]:g}]"
        plural = "" if self.count == 1 else "s"
        return f"<{self.activation}, C'(1) = {float(self.psi):.10g}: {self.count} solution{plural} in {box}, proved>"
