"""What a certificate says, its check by another integrator, and its plain data."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from flint import arb, ctx

from qcmap.numeric.proofs._balls import BallActivation
from qcmap.numeric.proofs._shaping_system import NAMES

BITS = math.log2(10)
"""Bits of a decimal digit."""


@dataclass(frozen=True)
class Certificate:
    """What is proved about the constants of one activation.

    Attributes
    ----------
    activation, parameters
        The activation.
    targets
        The conditions and their targets as balls; exact numbers have radius 0.
    constants
        Balls that hold the true constants, ``negative_slope`` among them where it is an unknown.
    decimals
        The same, rightly rounded to ``digits`` significant digits.
    digits
        Significant digits proved, of every constant.
    residuals
        For each condition a ball that holds the difference from its target at the enclosed constants; it contains 0.
    unique_within
        Half the width, for each unknown, of a box around the constants that holds no other solution. Empty for closed
        forms.
    float_errors
        Upper bounds of the distance of the given float constants from the true ones.
    method
        The proof, in words.
    held
        Constants that were not solved for but kept at the given floats, as exact numbers. Existence and uniqueness are
        proved for the others with these held; that a held shift is the best one, as ``q_slope="minimise"`` asks for, is
        not.
    sources
        For each condition, where its target comes from: ``"exact"``, ``"given"`` (a ball or fraction) or ``"float"``:
        the binary number of the solution, itself rounded, so that digits beyond its 16 belong to it and not to the
        bound (zeta, tau, eta) that it was computed from.
    """

    activation: str
    parameters: Mapping[str, float]
    targets: Mapping[str, arb]
    constants: Mapping[str, arb]
    decimals: Mapping[str, str]
    digits: int
    residuals: Mapping[str, arb]
    unique_within: Mapping[str, float]
    float_errors: Mapping[str, float]
    method: str
    held: tuple[str, ...]
    sources: Mapping[str, str]
    _ball: BallActivation = field(repr=False, compare=False)

    def verify(self) -> bool:
        """Enclose the residuals once more with flint's own integrator, which shares no quadrature with the proof."""
        from qcmap.numeric.proofs._verify import enclosed_again

        with ctx.workprec(round(self.digits * BITS) + 40):
            again = enclosed_again(self._ball, [self.constants[name] for name in NAMES], self.targets)
        return all(ball.contains(0) for ball in again.values())

    def to_dict(self) -> dict[str, Any]:
        """The certificate as plain data; balls as text with their radius."""
        return {
            "activation": self.activation,
            "parameters": dict(self.parameters),
            "targets": {name: ball.str(self.digits, more=True) for name, ball in self.targets.items()},
            "constants": dict(self.decimals),
            "enclosures": {name: ball.str(self.digits + 5, more=True) for name, ball in self.constants.items()},
            "digits": self.digits,
            "residuals": {name: ball.str(3) for name, ball in self.residuals.items()},
            "unique_within": dict(self.unique_within),
            "float_errors": dict(self.float_errors),
            "method": self.method,
            "held": list(self.held),
            "sources": dict(self.sources),
        }

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={float(ball):.8g}" for name, ball in self.constants.items())
        held = f", {' and '.join(self.held)} held" if self.held else ""
        return f"<certificate for {self.activation}: {self.digits} digits of {shown}{held}>"
