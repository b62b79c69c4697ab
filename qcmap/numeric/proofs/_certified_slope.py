"""The slope of a nonlinear layer for a global slope bound, proved: psi with mu(psi) = zeta in ball arithmetic."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from flint import arb, arb_series, ctx, fmpq

from qcmap.errors import ArchitectureError, ArgumentError, NumericalError
from qcmap.numeric.proofs._arguments import whole_digits
from qcmap.numeric.proofs._certify import Certificate, certify

if TYPE_CHECKING:
    from qcmap.numeric.maps._shaping import Shaping
    from qcmap.symbolic import MaximalSlope
    from qcmap.symbolic._polynomial import SlopePolynomial


def certified_inverse(mu: MaximalSlope, zeta: float | str | Fraction, digits: int = 50) -> arb:
    """A ball that holds the one psi > 1 with mu(psi) = zeta, of at least ``digits`` digits of psi - 1.

    Each slope polynomial has positive coefficients that sum to 1, so on [1, oo) it increases from 1, strictly where it
    is not constant, and so does their maximum mu. If every candidate is below zeta at one end of the ball and one is
    above at the other, the root exists, is the only one, and lies between (docs/certificates.md). The weights are the
    exact shares that the candidates hold.

    Parameters
    ----------
    zeta
        Above 1. A float is the binary number that it is; a decimal is given as text, ``"1.1"``.

    Raises
    ------
    ArgumentError
        Unless zeta is a finite number above 1, mu a maximal slope, and digits a whole number of at least 1.
    ArchitectureError
        If the share of a sum is a symbol or an irrational number.
    """
    from qcmap.symbolic import MaximalSlope

    if not isinstance(mu, MaximalSlope):
        raise ArgumentError("mu", f"it is of type {type(mu).__name__}", "give qc.maximal_slope(architecture)")
    whole_digits(digits)
    target = _fraction(zeta)
    if float(target) == 1:
        raise ArgumentError("zeta", "zeta - 1 is below the spacing of floats, 2e-16", "use a larger zeta")
    polynomials = [candidate.polynomial for candidate in mu.candidates]
    guess = mu.inverse(float(target))
    for guard in (40, 120, 400):
        with ctx.workprec(round((digits + _lost(guess)) * math.log2(10)) + guard):
            found = _enclosed(polynomials, arb(fmpq(target.numerator, target.denominator)), guess, digits)
        if found is not None:
            return found
    raise NumericalError("mu", f"{digits} digits of its inverse could not be proved", "ask for fewer digits")


def _fraction(zeta: float | str | Fraction) -> Fraction:
    try:
        value = Fraction(zeta)
        if not isinstance(zeta, bool) and value > 1:
            return value
    except (TypeError, ValueError, OverflowError, ZeroDivisionError):
        pass
    raise ArgumentError(
        "zeta", f"the global slope bound must be a finite number above 1, not {zeta!r}", 'give 1.5, or "1.1" as text'
    )


def _lost(psi: float) -> float:
    return max(0.0, -math.log10(max(psi - 1, 1e-300)))


def _enclosed(polynomials: list[SlopePolynomial], zeta: arb, guess: float, digits: int) -> arb | None:
    # The float may be off by rounding, so that another candidate leads there: take the one that leads at the root.
    point = arb(guess)
    for _ in range(60):
        values = [_jet(polynomial, point) for polynomial in polynomials]
        value, slope = max(values, key=lambda pair: float((pair[0] - zeta).mid()))
        step = ((value - zeta) / slope).mid()
        point = (point - step).mid()
        if abs(step) < (point - 1) * arb(2) ** (20 - ctx.prec):
            break
    width = (point - 1) * arb(10) ** (-digits - 2)
    low, high = (point - width).mid(), (point + width).mid()
    below = all(_jet(polynomial, low)[0] < zeta for polynomial in polynomials)
    above = any(_jet(polynomial, high)[0] > zeta for polynomial in polynomials)
    return arb(point, (width * 1.0001).upper()) if below and above and low > 1 else None


def _jet(polynomial: SlopePolynomial, psi: arb) -> tuple[arb, arb]:
    """Value and derivative at psi."""
    if polynomial.slopes not in ((), ("psi",)):
        raise ArgumentError("mu", "its layers have several slopes", "use a maximal slope in one psi")
    x = arb_series([psi, 1], 2)

    def product(powers: Any, factors: list[tuple[arb_series, int]]) -> arb_series:
        result = arb_series([1], 2)
        for base, exponent in [*((x, e) for _, e in powers), *factors]:
            result *= _whole_power(base, exponent)
        return result

    def mean(terms: list[tuple[Any, arb_series]]) -> arb_series:
        return sum((_ball(share) * value for share, value in terms), arb_series([0], 2))

    folded: arb_series = polynomial.fold(product, mean)
    return folded[0], folded[1]


def _whole_power(base: arb_series, exponent: int) -> arb_series:
    """(v + v' e)^n = v^n + n v^(n-1) v' e."""
    value, slope = base[0], base[1]
    return arb_series([value**exponent, exponent * value ** (exponent - 1) * slope], 2)


def _ball(share: Any) -> arb:
    if isinstance(share, Fraction):
        return arb(fmpq(share.numerator, share.denominator))
    raise ArchitectureError(
        "mu", f"the share {share} of a sum is not rational", "give weights whose squares are rational"
    )


def certify_shaping(shaping: Shaping, digits: int = 50, *, given: str = "zeta") -> Mapping[str, Certificate]:
    """A certificate for every activation of a shaping.

    Parameters
    ----------
    given
        ``"zeta"``: the global bound is exact, the float of the shaping: psi is the root of mu(psi) = zeta, enclosed by
        `certified_inverse`; for `tat`, as for ``"tau"``, C''(1) is tau over the exact coefficient of
        `maximal_curvature`. ``"psi"``: the targets are the floats of the solutions. C(0) of leaky relus from eta always
        is one: it was found by floating point (``Certificate.sources`` says so).

    Raises
    ------
    ArchitectureError
        If the coefficient is irrational.
    ArgumentError, ActivationError, NumericalError
        As `certify` and `certified_inverse` do.
    """
    from qcmap.numeric.maps._shaping import Shaping

    if not isinstance(shaping, Shaping):
        raise ArgumentError("shaping", f"it is of type {type(shaping).__name__}", "give a result of dks or tat")
    allowed = ("zeta", "tau", "psi") if shaping.method == "tat" else ("zeta", "psi")
    if given not in allowed:
        raise ArgumentError(
            "given", f"it is one of {', '.join(allowed)} for {shaping.method}, not {given!r}", "say which was chosen"
        )
    whole_digits(digits)
    psi: arb | None = None
    if given == "zeta" and shaping.method == "dks" and shaping.zeta is not None and shaping.psi is not None:
        from qcmap.symbolic import maximal_slope

        psi = certified_inverse(maximal_slope(shaping.architecture), shaping.zeta, digits + 10)
    kappa = _local_curvature(shaping) if given != "psi" and shaping.tau is not None else None
    rows = {**shaping.solutions, **shaping.by_node}
    return {
        name: certify(solution, digits, psi=psi, curvature=kappa if "C''(1)" in solution.targets else None)
        for name, solution in rows.items()
    }


def _local_curvature(shaping: Shaping) -> Fraction:
    """tau over the largest curvature in units of the local one, as in `tat`."""
    from qcmap.architecture import Architecture, Nonlinear, Scale
    from qcmap.symbolic import maximal_curvature

    arch = shaping.architecture
    smooth = {name for name, solution in shaping.solutions.items() if "C''(1)" in solution.targets}
    nodes = tuple(
        replace(node, op=Scale(1.0)) if isinstance(node.op, Nonlinear) and node.op.name not in smooth else node
        for node in arch.nodes
    )
    coefficient = maximal_curvature(Architecture(arch.name, nodes, arch.outputs)).coefficient
    if not coefficient.is_Rational:
        raise ArchitectureError(
            arch.name, f"its largest curvature, {coefficient} times the local one, is not a rational multiple",
            'give weights whose squares are rational, or certify with given="psi"',
        )  # fmt: skip
    numerator, denominator = coefficient.as_numer_denom()
    return Fraction(shaping.tau or 0) * Fraction(int(denominator), int(numerator))
