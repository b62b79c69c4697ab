"""What a proof of infeasibility says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from flint import arb

Intervals = tuple[tuple[arb, arb], ...]


@dataclass(frozen=True)
class InfeasibilityProof:
    """That no constants of a domain meet a condition while the others hold.

    Attributes
    ----------
    activation, parameters
        The activation.
    condition
        What cannot be met: ``"C'(1)"``, ``"Q'(1)"``, ``"C''(1)"`` or ``"C(0)"``, for a network the largest C_f(0).
    target
        What was asked of it, a ball.
    given
        The other conditions, which hold.
    enclosure
        Intervals, each a pair of balls, that hold every value of the condition's left side where the given ones hold.
    domain
        The constants that the statement is about, in words.
    method
        The proof, in words; docs/certificates.md has the theorems.
    cells
        How many cells the proof has; 0 for theorems.
    """

    activation: str
    parameters: Mapping[str, float]
    condition: str
    target: arb
    given: tuple[str, ...]
    enclosure: Intervals
    domain: str
    method: str
    cells: int

    @property
    def proved(self) -> bool:
        """Whether the target is certainly outside all the intervals."""
        return self.excludes(self.target)

    def excludes(self, target: float | arb) -> bool:
        """Whether another target, with the same ``given`` conditions, is certainly out of reach too."""
        return all(bool(low > target) or bool(high < target) for low, high in self.enclosure)

    @property
    def statement(self) -> str:
        """The theorem in one sentence."""
        values = " or ".join(_interval(*ends) for ends in self.enclosure)
        given = f" where {', '.join(self.given)}" if self.given else ""
        return f"{self.condition} of {self.activation} lies in {values}{given}, for {self.domain}"

    def to_dict(self) -> dict[str, Any]:
        """The proof as plain data; balls as text."""
        return {
            "activation": self.activation,
            "parameters": dict(self.parameters),
            "condition": self.condition,
            "target": self.target.str(17),
            "given": list(self.given),
            "enclosure": [[end.str(20) for end in ends] for ends in self.enclosure],
            "domain": self.domain,
            "method": self.method,
            "cells": self.cells,
            "proved": self.proved,
            "statement": self.statement,
        }

    def __repr__(self) -> str:
        verdict = "not reached, proved" if self.proved else "NOT decided"
        return f"<{self.condition} = {float(self.target):.10g} {verdict}: {self.statement}>"


def _interval(low: arb, high: arb) -> str:
    left, right = f"{float(low):.10g}", f"{float(high):.10g}"
    return f"{{{left}}}" if left == right else f"[{left}, {right}{')' if right == 'inf' else ']'}"
