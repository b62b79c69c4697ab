"""What a run gives back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from qcmap.errors import ArgumentError
from qcmap.nn.train._choice import plain

Status = Literal["running", "finished", "diverged"]


@dataclass(frozen=True, repr=False)
class Result:
    """Where a run stands and what it recorded.

    Attributes
    ----------
    status
        ``"finished"``; ``"diverged"`` if a loss or an output was not finite: the run stopped there, its rows end
        before, and its last checkpoint is older; ``"running"`` if it was asked to stop earlier.
    step
        Optimiser steps taken.
    epochs
        A row for each completed epoch: epoch, step, learning_rate, seconds; loss and accuracy over the examples as they
        were visited; a mapping with loss and accuracy for each split that was evaluated; and what was measured.
    steps
        A row for each step that was recorded.
    """

    status: Status
    step: int
    epochs: tuple[Mapping[str, Any], ...]
    steps: tuple[Mapping[str, Any], ...]

    def curve(self, name: str) -> tuple[float, ...]:
        """The values of ``"loss"``, ``"validation.accuracy"``, ``"measured.NAME"``, ... by epoch, where they are there.

        Raises
        ------
        ArgumentError
            If no epoch has it.
        """
        values: list[float] = []
        for row in self.epochs:
            found: Any = row
            for key in name.split("."):
                found = found.get(key) if isinstance(found, Mapping) else None
            if found is not None:
                values.append(found)
        if not values and self.epochs:
            names = [key for key in self.epochs[-1] if key != "kind"]
            raise ArgumentError(
                name, "no epoch has it", f"choose from {', '.join(names)}, with a dot for what is inside"
            )
        return tuple(values)

    def to_dict(self) -> dict[str, Any]:
        """The summary: status, step, the last epoch, and the seconds of all."""
        last = dict(self.epochs[-1]) if self.epochs else {}
        return {
            "status": self.status,
            "step": self.step,
            "epochs": len(self.epochs),
            "last": plain({key: value for key, value in last.items() if key not in ("kind", "seconds")}),
            "seconds": round(sum(row["seconds"] for row in self.epochs), 3),
        }

    def __repr__(self) -> str:
        last = f", loss {self.epochs[-1]['loss']:.4g}" if self.epochs else ""
        return f"<run {self.status} after {self.step} steps, {len(self.epochs)} epochs{last}>"
