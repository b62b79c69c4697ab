"""Random positive definite functions, sum_i b_i c^i with b_i >= 0 and sum b_i = 1, and inequalities between them.

A batch is an array whose rows are the coefficients b_0, b_1, ... of one function each. Every row is the C map of an
activation, sum_i sqrt(b_i) h_i with the orthonormal Hermite polynomials h_i (DKS, 11.4), so what holds for all C maps
holds for every row, and what fails for a row fails for an activation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from theory_checks.oracles import ACTIVATIONS, precise, rule
from theory_checks.registry import Array, Tally

Draw = Callable[[np.random.Generator, int, int], Array]


def _normalised(weights: Array) -> Array:
    return weights / weights.sum(axis=1, keepdims=True)


def _gammas(random: np.random.Generator, count: int, degree: int) -> Array:
    """Positive weights whose spread differs from row to row: nearly equal in some, many orders apart in others."""
    spread = 10 ** random.uniform(-1.0, 1.0, (count, 1))
    return random.gamma(spread, size=(count, degree + 1)) + 1e-300


def _dense(random: np.random.Generator, count: int, degree: int) -> Array:
    return _normalised(_gammas(random, count, degree))


def _sparse(random: np.random.Generator, count: int, degree: int) -> Array:
    weights = _gammas(random, count, degree) * (random.random((count, degree + 1)) < 0.15)
    weights[np.arange(count), random.integers(0, degree + 1, count)] += 0.1
    return _normalised(weights)


def _odd(random: np.random.Generator, count: int, degree: int) -> Array:
    return _normalised(_gammas(random, count, degree) * (np.arange(degree + 1) % 2))


def _even(random: np.random.Generator, count: int, degree: int) -> Array:
    return _normalised(_gammas(random, count, degree) * ((np.arange(degree + 1) + 1) % 2))


def _heavy_tailed(random: np.random.Generator, count: int, degree: int) -> Array:
    """Decay like i^-s with s in (1, 2.5), as C maps with kinks or jumps have."""
    power = random.uniform(1.0, 2.5, (count, 1))
    return _normalised(_gammas(random, count, degree) * (1.0 + np.arange(degree + 1)) ** -power)


def _without_constant(random: np.random.Generator, count: int, degree: int) -> Array:
    weights = _dense(random, count, degree)
    weights[:, 0] = 0.0
    return _normalised(weights)


def _near_a_power(random: np.random.Generator, count: int, degree: int) -> Array:
    """(1 - w) c^j + w g(c), with w from 1e-12 to 1 and mostly small j: c, c^2 and c^3 attain several bounds."""
    w = 10 ** random.uniform(-12.0, 0.0, (count, 1))
    rows = w * _sparse(random, count, degree)
    power = np.minimum(random.geometric(0.4, count) - 1, degree)
    rows[np.arange(count), power] += 1 - w[:, 0]
    return _normalised(rows)


def _two_powers(random: np.random.Generator, count: int, degree: int) -> Array:
    """Of neighbouring powers: the largest slope at c for a given (C(c) - C(0)) / c."""
    rows, first, w = np.zeros((count, degree + 1)), random.integers(0, degree, count), random.random(count)
    rows[np.arange(count), first], rows[np.arange(count), first + 1] = 1 - w, w
    return rows


def _flat(random: np.random.Generator, count: int, degree: int) -> Array:
    """1 - w + w g(c) with C'(1) <= 1, equal to 1 in half of the rows: then D-fold compositions tend to 1."""
    rows = _sparse(random, count, degree)
    slope = rows @ np.arange(degree + 1.0)
    share = np.where(random.random(count) < 0.5, 1.0, random.random(count))
    w = share / np.maximum(slope, 1.0)
    rows *= w[:, None]
    rows[:, 0] += 1 - w
    return _normalised(rows)


FAMILIES: dict[str, Draw] = {
    "dense": _dense,
    "sparse": _sparse,
    "odd": _odd,
    "even": _even,
    "heavy-tailed": _heavy_tailed,
    "without constant": _without_constant,
    "near a power": _near_a_power,
    "two powers": _two_powers,
    "flat": _flat,
}


@cache
@precise
def _samples() -> tuple[Array, Array, Array]:
    """Values of all activations at the nodes of one rule that breaks at all their kinks, and its nodes and weights."""
    nodes = rule((-1, 0, 1))
    values = [[float(phi.value(x)) for x, _ in nodes] for phi in ACTIVATIONS.values()]
    x, weights = np.array([[float(z) for z in row] for row in nodes]).T
    return np.array(values), x, weights


@cache
def _activations(degree: int) -> Array:
    phi, x, weights = _samples()
    before, here, found = np.zeros_like(x), np.ones_like(x), []
    for n in range(degree + 1):
        found.append((phi @ (weights * here)) ** 2)
        before, here = here, x * here / np.sqrt(n + 1) - np.sqrt(n / (n + 1)) * before
    return _normalised(np.array(found).T)


def activations(degree: int) -> Array:
    """C maps at q = 1 of the activations of `theory_checks.oracles`, each cut after this many Hermite polynomials."""
    return _activations(degree).copy()


def batch(random: np.random.Generator, count: int, degree: int = 24) -> Array:
    """At least this many functions from all families, and those of real activations."""
    each = -(-count // len(FAMILIES))
    return np.vstack([activations(degree), *(draw(random, each, degree) for draw in FAMILIES.values())])


def value(b: Array, c: Array) -> Array:
    """C(c), of shape (functions, points)."""
    return b @ c[None, :] ** np.arange(b.shape[1])[:, None]


def slope(b: Array, c: Array) -> Array:
    """C'(c), of shape (functions, points)."""
    return value(b[:, 1:] * np.arange(1, b.shape[1]), c)


def _term(b: Any, power: int, symbol: str) -> str:
    name, number = symbol if power == 1 else f"{symbol}^{power}", f"{b:.4g}" if isinstance(b, float) else str(b)
    return number if power == 0 else {"1": name, "-1": f"-{name}"}.get(number, f"{number} {name}")


def expression(coefficients: Iterable[Any], symbol: str = "c") -> str:
    """A polynomial, as text; exact numbers are shown in full and floats to four digits."""
    terms = " + ".join(_term(b, power, symbol) for power, b in enumerate(coefficients) if b)
    return terms.replace("+ -", "- ") or "0"


def describe(b: Array) -> str:
    """A function, by its five largest terms."""
    largest = sorted(int(i) for i in np.argsort(b)[::-1][:5] if b[i] > 0)
    more = " + ..." if np.count_nonzero(b) > len(largest) else ""
    return expression(float(x) if i in largest else 0 for i, x in enumerate(b)) + more


@dataclass(frozen=True)
class Bound:
    """A claimed inequality: ``smaller(b) <= larger(b)`` where ``applies(b)``, entry by entry of the arrays given back.

    The arrays have the shape (functions,) or, for claims at every c of a grid, (functions, points).
    """

    claim: str
    smaller: Callable[[Array], Array]
    larger: Callable[[Array], Array]
    applies: Callable[[Array], NDArray[np.bool_]] = lambda b: np.ones(len(b), dtype=bool)

    def excess(self, b: Array) -> Array:
        """By how much each function exceeds the bound at worst, divided by 1 + its size; 0 where none is claimed."""
        smaller, larger, applies = (f(b).reshape(len(b), -1) for f in (self.smaller, self.larger, self.applies))
        gap = np.where(applies, (smaller - larger) / (1 + np.abs(larger)), 0.0)
        return np.maximum(gap.max(axis=1), 0.0)

    def applications(self, b: Array) -> int:
        """To how many of the functions the claim applies (for a grid: at one of its points at least)."""
        return int(self.applies(b).reshape(len(b), -1).any(axis=1).sum())


def try_bounds(bounds: Mapping[str, Bound], seed: int, effort: int, degrees: tuple[int, ...] = (2, 24, 80)) -> Tally:
    """Every bound on the identity map and on random ones; a bound that never applies is an error."""
    random, tally = np.random.default_rng(seed), Tally()
    rows = [np.eye(3)[[1]], *(batch(random, 400 * effort, degree) for degree in degrees)]
    for bound in bounds.values():
        assert sum(bound.applications(b) for b in rows) >= 100, bound.claim
        for b in rows:
            excess = bound.excess(b)
            for k in range(len(b)):
                tally.add(float(excess[k]), 1e-12, f"{bound.claim} fails by {excess[k]:.3g} for {describe(b[k])}")
    return tally
