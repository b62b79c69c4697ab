"""The race between schemes that solve the same task in one network (NRR, section 4.2)."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from qcmap.architecture.gated._checks import check_kind
from qcmap.architecture.gated._network import GatedNetwork
from qcmap.errors import ArgumentError
from qcmap.numeric.gated._solve import Solution
from qcmap.symbolic.gated._quotient import Quotient

Array: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Race:
    """What each of several coexisting schemes contributes to the map, over time.

    Attributes
    ----------
    schemes
        The variables of each scheme. Schemes share no hidden layer, so the network's map is the sum of theirs.
    alike
        For each scheme, how many parts of the network follow it: they share no hidden layer, but learn alike.
    times
        In units of tau.
    learned
        [schemes, times, modes]: the share of the target that each scheme carries; they sum to what is learned.
    """

    schemes: tuple[tuple[str, ...], ...]
    alike: tuple[int, ...]
    times: Array
    learned: Array

    @property
    def winner(self) -> NDArray[np.int64]:
        """For each mode the scheme that carries most at the end, -1 if none carries anything of it."""
        end = self.learned[:, -1]
        return np.where(end.max(axis=0) > 0, np.argmax(end, axis=0), -1)

    @property
    def margin(self) -> Array:
        """For each mode, what the winner carries at the end over what the next one does.

        Infinite if the next one carries nothing (or less), 1 if nobody carries anything.
        """
        ordered = np.sort(self.learned[:, -1], axis=0)
        best, next_one = ordered[-1], ordered[-2]
        with np.errstate(over="ignore"):
            ahead = np.divide(best, next_one, out=np.full(best.shape, np.inf), where=next_one > 0)
        return np.where(best > 0, ahead, 1.0)

    def to_dict(self) -> dict[str, Any]:
        """Schemes, times, contributions, winner and margin as plain data."""
        return {
            "schemes": [list(scheme) for scheme in self.schemes],
            "alike": list(self.alike),
            "times": self.times.tolist(),
            "learned": self.learned.tolist(),
            "winner": self.winner.tolist(),
            "margin": self.margin.tolist(),
        }

    def __repr__(self) -> str:
        won = ", ".join("nobody" if k < 0 else f"number {k + 1}" for k in self.winner.tolist())
        return f"<race of {len(self.schemes)} schemes, won mode by mode by {won}>"


def race(solution: Solution) -> Race:
    """Who wins: the contributions of the schemes of a solved network, found as what hidden layers connect.

    Edges that meet at a hidden layer belong to one part of the network. Parts with the same variables learn alike and
    count as one scheme. Others have no variable in common: an edge's class tells the classes of the edges before and
    behind it, so a class that two parts share makes all their classes the same. (Edges that no context opens are in
    no scheme.)

    Raises
    ------
    ArgumentError
        If there is one scheme only: all paths share hidden layers, or all parts learn alike.
    """
    check_kind("solution", solution, Solution, "give solve(reduced, ...)")
    reduced = solution.reduced
    groups = _schemes(reduced.network, reduced.quotient)
    if len(groups) < 2:
        parts = sum(groups.values())
        if parts > 1:
            rule = f"its {parts} schemes learn alike, so none of them wins"
        else:
            rule = "all paths of its network share hidden layers"
        raise ArgumentError("solution", rule, "race a network of several that differ, such as sharing(10, (1, 100))")
    shares = []
    for group in groups:
        alone = np.zeros_like(solution.values)
        alone[:, list(group)] = solution.values[:, list(group)]
        shares.append(np.stack([solution.learned(row) for row in alone]))
    names = tuple(tuple(str(reduced.symbols[k]) for k in group) for group in groups)
    return Race(names, tuple(groups.values()), solution.times, np.stack(shares))


def _schemes(network: GatedNetwork, quotient: Quotient) -> dict[tuple[int, ...], int]:
    """The sets of classes that parts of the network have, and how many parts have each.

    Parts are what edges that meet at hidden layers connect, found by joining sets (union-find).
    """
    living = {edge: k for k, edges in enumerate(quotient.classes) if quotient.flows[k] for edge in edges}
    parent = {edge: edge for edge in living}

    def root(edge: str) -> str:
        while parent[edge] != edge:
            parent[edge] = parent[parent[edge]]
            edge = parent[edge]
        return edge

    hidden, at = set(network.hidden), dict[int, str]()
    for edge in living:
        for layer in hidden.intersection(network.ends(edge)):
            parent[root(edge)] = root(at.setdefault(layer, edge))
    parts: dict[str, set[int]] = {}
    for edge, k in living.items():
        parts.setdefault(root(edge), set()).add(k)
    counted = Counter(tuple(sorted(classes)) for classes in parts.values())
    return dict(sorted(counted.items()))
