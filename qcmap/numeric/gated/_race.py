"""The race between schemes that solve the same task in one network (NRR, section 4.2)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from qcmap.architecture.gated import GatedNetwork
from qcmap.errors import ArgumentError
from qcmap.numeric.gated._solve import Solution

Array: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Race:
    """What each of several coexisting schemes contributes to the map, over time.

    Attributes
    ----------
    schemes
        The variables of each scheme. Schemes share no hidden layer, so the network's map is the sum of theirs.
    times
        In units of tau.
    learned
        [schemes, times, modes]: the share of the target that each scheme carries; they sum to what is learned.
    """

    schemes: tuple[tuple[str, ...], ...]
    times: Array
    learned: Array

    @property
    def winner(self) -> NDArray[np.int64]:
        """For each mode the scheme that carries most at the end."""
        return np.argmax(self.learned[:, -1], axis=0)

    @property
    def margin(self) -> Array:
        """For each mode, what the winner carries at the end over what the next one does.

        Infinite if the next one carries nothing, 1 if nobody carries anything.
        """
        ordered = np.sort(self.learned[:, -1], axis=0)
        best, next_one = ordered[-1], ordered[-2]
        ahead = np.divide(best, next_one, out=np.full(best.shape, np.inf), where=next_one != 0)
        return np.where(best == 0, 1.0, ahead)

    def to_dict(self) -> dict[str, Any]:
        """Schemes, times, contributions, winner and margin as plain data."""
        return {
            "schemes": [list(scheme) for scheme in self.schemes],
            "times": self.times.tolist(),
            "learned": self.learned.tolist(),
            "winner": self.winner.tolist(),
            "margin": self.margin.tolist(),
        }

    def __repr__(self) -> str:
        return (
            f"<race of {len(self.schemes)} schemes, won mode by mode by number {', '.join(map(str, self.winner + 1))}>"
        )


def race(solution: Solution) -> Race:
    """Who wins: the contributions of the schemes of a solved network, found as what hidden layers connect.

    Raises
    ------
    ArgumentError
        If there is one scheme only.
    """
    reduced = solution.reduced
    groups = _schemes(reduced.network, reduced.quotient.classes)
    if len(groups) < 2:
        raise ArgumentError("solution", "all paths of its network share hidden layers", "race a network of several")
    shares = []
    for group in groups:
        alone = np.zeros_like(solution.values)
        alone[:, group] = solution.values[:, group]
        shares.append(np.stack([solution.learned(row) for row in alone]))
    names = tuple(tuple(str(reduced.symbols[k]) for k in group) for group in groups)
    return Race(names, solution.times, np.stack(shares))


def _schemes(network: GatedNetwork, classes: tuple[tuple[str, ...], ...]) -> list[list[int]]:
    """Groups of classes: those of edges that meet at a hidden layer are in one."""
    at: dict[int, set[int]] = {layer: set() for layer in network.hidden}
    for k, edges in enumerate(classes):
        for edge in edges:
            for layer in network.ends(edge):
                if layer in at:
                    at[layer].add(k)
    groups = [{k} for k in range(len(classes))]
    for meeting in at.values():
        joined = set(meeting)
        apart = []
        for group in groups:
            if group & meeting:
                joined |= group
            else:
                apart.append(group)
        groups = [*apart, joined] if joined else apart
    return sorted(sorted(group) for group in groups)
