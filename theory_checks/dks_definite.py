"""Positive definite functions, sum_i b_i c^i with b_i >= 0: DKS, section 11.2."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import NamedTuple

import mpmath as mp
import numpy as np

from theory_checks.dks_cmaps import architectures, extended_map
from theory_checks.oracles import precise
from theory_checks.registry import Outcome, Tally, checks


class Dual(NamedTuple):
    """A value and a derivative."""

    value: Fraction
    rate: Fraction


Function = Callable[[Dual], Dual]
Operation = Callable[[Function, Function], Function]


def polynomial(coefficients: list[Fraction]) -> Function:
    """Sum_i b_i c^i with its derivative, by Horner's rule."""

    def evaluate(c: Dual) -> Dual:
        value, rate = Fraction(0), Fraction(0)
        for b in reversed(coefficients):
            value, rate = value * c.value + b, rate * c.value + value
        return Dual(value, rate * c.rate)

    return evaluate


def _derivative(f: Function, g: Function) -> Function:
    return lambda c: Dual(f(Dual(c.value, Fraction(1))).rate, Fraction(0))


def _product(f: Function, g: Function) -> Function:
    return lambda c: Dual(f(c).value * g(c).value, f(c).rate * g(c).value + f(c).value * g(c).rate)


def _composition(f: Function, g: Function) -> Function:
    return lambda c: f(g(c))


def _mean(first: Fraction) -> Operation:
    def operation(f: Function, g: Function) -> Function:
        return lambda c: Dual(first * f(c).value + (1 - first) * g(c).value, Fraction(0))

    return operation


OPERATIONS: dict[str, Operation] = {
    "derivative": _derivative,
    "product": _product,
    "composition": _composition,
    "mean": _mean(Fraction(1, 3)),
}


def _coefficients(f: Function, degree: int) -> list[Fraction]:
    """The coefficients of a polynomial from its values at 0, 1, ..., degree: Newton's divided differences, exactly."""
    points = [Fraction(k) for k in range(degree + 1)]
    table = [f(Dual(x, Fraction(1))).value for x in points]
    for step in range(1, degree + 1):
        for k in range(degree, step - 1, -1):
            table[k] = (table[k] - table[k - 1]) / step
    result = [Fraction(0)] * (degree + 1)
    for k in range(degree, -1, -1):
        shifted = [Fraction(0), *result[:-1]]
        result = [a - points[k] * b for a, b in zip(shifted, result, strict=True)]
        result[0] += table[k]
    return result


@checks(
    "dks-13",
    part="closure",
    source="DKS 11.2",
    claim="Derivatives, products, compositions and means with non-negative weights of positive definite functions are "
    "positive definite",
    subject=OPERATIONS,
    broken=OPERATIONS | {"mean": _mean(Fraction(3, 2))},
)
def closure(subject: Mapping[str, Operation], effort: int) -> Outcome:
    """Random polynomials over the rationals; the result's coefficients are interpolated exactly from its values."""
    random, tally = np.random.default_rng(13), Tally()
    for _ in range(8 * effort):
        f, g = ([Fraction(int(b), 7) for b in random.integers(0, 6, 5)] for _ in range(2))
        for name, operation in subject.items():
            found = _coefficients(operation(polynomial(f), polynomial(g)), 16)
            least = min(range(len(found)), key=found.__getitem__)
            witness = f"{name} of {[str(b) for b in f]} and {[str(b) for b in g]} has {found[least]} c^{least}"
            tally.add(float(min(found[least], 0)), 1e-300, witness)
            tally.add(float(not any(found)) if any(f[1:]) and any(g) else 0.0, 0.5, f"{name} vanishes")
    return tally.outcome()


@checks(
    "dks-13",
    part="derivative",
    variant="as_printed",
    source="DKS 11.2, footnote 4",
    claim="The derivative of a positive definite function is one again, so a function on all of [-1, 1]",
    subject="1",
    broken="0.99",
)
@checks(
    "dks-13",
    part="derivative",
    variant="corrected",
    source="DKS 11.2, footnote 4",
    claim="The derivative is positive definite on (-1, 1); at 1 it can be infinite, as for C' of relu",
    subject="0.99",
    broken="1",
)
@precise
def endpoint(subject: str, effort: int) -> Outcome:
    """Difference quotients from the left must settle: C and C' of relu, and erf's C at q = 1, by closed forms."""
    functions = {
        "C of relu": lambda c: (mp.sqrt(1 - c * c) + (mp.pi - mp.acos(c)) * c) / mp.pi,
        "C' of relu": lambda c: 1 - mp.acos(c) / mp.pi,
        "C of erf": lambda c: mp.asin(2 * c / 3) / mp.asin(mp.mpf(2) / 3),
    }
    tally, at = Tally(), mp.mpf(subject)
    for name, f in functions.items():
        for step in (mp.mpf(10) ** -(8 + 2 * k) for k in range(effort + 1)):
            coarse, fine = ((f(at) - f(at - h)) / h for h in (step, step / 100))
            witness = f"the slope of {name} at {subject} grows from {mp.nstr(coarse, 4)} to {mp.nstr(fine, 4)}"
            tally.add(fine / coarse - 1, 1e-3, f"{witness} as the step falls from {mp.nstr(step, 1)} to a hundredth")
    return tally.outcome()


@checks(
    "dks-13",
    part="shape",
    source="DKS 11.2",
    claim="Positive definite functions, such as C maps, are non-negative, non-decreasing and convex on [0, 1]",
    subject=(0.0, 1.0),
    broken=(-1.0, 1.0),
)
def shape(subject: tuple[float, float], effort: int) -> Outcome:
    """C maps of activations and networks on a grid; the broken claim is about all of [-1, 1]."""
    tally, grid = Tally(), np.linspace(*subject, 100 * effort + 1)
    for name in (*architectures(), "tanh", "relu", "gelu", "softplus", "square", "cos", "sin"):
        values = np.asarray(extended_map(name)(grid))
        for what, rows in (("falls below 0", values), ("decreases", np.diff(values)), ("bends", np.diff(values, 2))):
            k = int(rows.argmin())
            tally.add(min(0.0, float(rows[k])), 1e-10, f"C of {name} {what} at c = {grid[k]:.3g}: {rows[k]:.3g}")
    return tally.outcome()
