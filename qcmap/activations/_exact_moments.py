"""Gaussian expectations of sums of terms, each by one recursion (Stein's lemma); derivations in docs/closed_forms.md.

Throughout, exp(rate u + curvature u^2) is absorbed into the Gaussian density: it changes the variance q into
s = q / (1 - 2 curvature q), the mean 0 into rate s, and leaves a constant factor.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import cache
from typing import Any

import sympy as sp

from qcmap.activations._exact_terms import NoClosedFormError, Piece, Term
from qcmap.activations._exact_tidy import root

CONSTANT = Term(sp.S.One)
_THRESHOLDS = "bivariate normal orthant probabilities with nonzero thresholds (Owen's T), which are not elementary"


def truncated(terms: Iterable[Term], left: Any, right: Any, q: Any) -> Any:
    """E[sum of terms, for left < u < right], u normal with mean 0 and variance q; no term has an error function."""
    groups: dict[tuple[Any, Any], dict[int, Any]] = defaultdict(lambda: defaultdict(lambda: sp.S.Zero))
    for term in terms:
        if term.error is not None:
            raise NoClosedFormError("no rule here integrates an error function between kinks")
        groups[term.rate, term.curvature][term.power] += term.coefficient
    total = sp.S.Zero
    for (rate, curvature), powers in groups.items():
        moments = _truncated_moments(max(powers), rate, curvature, left, right, q)
        total += sum(coefficient * moments[power] for power, coefficient in powers.items())
    return total


def _truncated_moments(count: int, rate: Any, curvature: Any, left: Any, right: Any, q: Any) -> list[Any]:
    """E[u^n exp(rate u + curvature u^2), left < u < right] for n = 0..count.

    M_n = m M_{n-1} + (n - 1) s M_{n-2} + s (left^(n-1) p(left) - right^(n-1) p(right)), by partial integration, where m
    and s are mean and variance of the tilted density p.
    """
    tilt = 1 - 2 * curvature * q
    s = q / tilt
    mean = rate * s
    if not mean.is_real and not (mean.is_imaginary and {left, right} <= {-sp.oo, sp.S.Zero, sp.oo}):
        raise NoClosedFormError("it is the error function at complex points")

    def density(end: Any) -> Any:
        return sp.S.Zero if end.is_infinite else sp.exp(rate * end - end**2 / (2 * s)) / sp.sqrt(2 * sp.pi * q)

    def below(end: Any) -> Any:
        """Twice the mass below ``end`` under the tilted density, less 1."""
        if end.is_infinite:
            return sp.sign(end)
        at = sp.expand((end - mean) / sp.sqrt(2 * s))
        return sp.erf(at) if mean.is_real else sp.I * sp.erfi(sp.expand(-sp.I * at))

    moments = [sp.exp(rate**2 * s / 2) / sp.sqrt(tilt) * (below(right) - below(left)) / 2]
    for n in range(1, count + 1):
        edges = s * (left ** (n - 1) * density(left) if left.is_finite else 0)
        edges -= s * (right ** (n - 1) * density(right) if right.is_finite else 0)
        moments.append(mean * moments[-1] + (n - 1) * s * (moments[-2] if n > 1 else 0) + edges)
    return moments


def bivariate(first: Iterable[Term], second: Iterable[Term], c: Any, q1: Any, q2: Any) -> Any:
    """E[first(u1) second(u2)] on the whole plane: variances q1, q2, correlation c (a singular covariance included)."""
    expectation = _expectations(c, q1, q2)
    total = sp.S.Zero
    for left in first:
        for right in second:
            one = (replace(left, coefficient=sp.S.One), replace(right, coefficient=sp.S.One))
            total += left.coefficient * right.coefficient * expectation(*one)
    return total


def _tilted(first: Term, second: Term, c: Any, q1: Any, q2: Any) -> tuple[Any, Any, Any, Any]:
    """The tilt D and the covariance (S11, S12, S22) of exp(curvatures . u^2) times the Gaussian density.

    S = (Sigma^-1 - 2 B)^-1 = (I - 2 Sigma B)^-1 Sigma with B the diagonal matrix of curvatures; D = det(I - 2 Sigma B).
    """
    b1, b2 = first.curvature, second.curvature
    tilt = sp.expand((1 - 2 * b1 * q1) * (1 - 2 * b2 * q2) - 4 * b1 * b2 * c**2 * q1 * q2)
    s11 = q1 * (1 - 2 * b2 * q2 * (1 - c**2)) / tilt
    s22 = q2 * (1 - 2 * b1 * q1 * (1 - c**2)) / tilt
    return tilt, s11, c * sp.sqrt(q1 * q2) / tilt, s22


def _expectations(c: Any, q1: Any, q2: Any) -> Callable[[Term, Term], Any]:
    """E[term(u1) term(u2)] by E[u1 F] = m1 E[F] + S11 E[dF/du1] + S12 E[dF/du2] under the tilted Gaussian."""

    @cache
    def expectation(first: Term, second: Term) -> Any:
        tilt, s11, s12, s22 = _tilted(first, second, c, q1, q2)
        mean1, mean2 = first.rate * s11 + second.rate * s12, first.rate * s12 + second.rate * s22
        if first.power:
            lower = replace(first, power=first.power - 1)
            return (
                mean1 * expectation(lower, second)
                + s11 * sum(k * expectation(t, second) for k, t in _derivative(lower))
                + s12 * sum(k * expectation(lower, t) for k, t in _derivative(second))
            )
        if second.power:
            lower = replace(second, power=second.power - 1)
            return (
                mean2 * expectation(first, lower)
                + s12 * sum(k * expectation(t, lower) for k, t in _derivative(first))
                + s22 * sum(k * expectation(first, t) for k, t in _derivative(lower))
            )
        mass = sp.exp((first.rate * mean1 + second.rate * mean2) / 2) / root(tilt)
        return mass * _error_functions(first.error, second.error, (mean1, mean2), (s11, s12, s22))

    return expectation


def _derivative(term: Term) -> list[tuple[Any, Term]]:
    """The derivative of u^power erf(k u + l), the exponential (part of the density) left alone."""
    rows: list[tuple[Any, Term]] = []
    if term.power:
        rows.append((sp.Integer(term.power), replace(term, power=term.power - 1)))
    if term.error is not None:
        k, shift = term.error
        bell = replace(term, error=None, rate=term.rate - 2 * k * shift, curvature=term.curvature - k**2)
        rows.append((2 * k / sp.sqrt(sp.pi) * sp.exp(-(shift**2)), bell))
    return rows


def _error_functions(error1: Any, error2: Any, means: tuple[Any, Any], covariance: tuple[Any, Any, Any]) -> Any:
    """E of the product of erf(k u + l), one or two, under a Gaussian: an erf, or Williams' (1997) arcsine."""
    s11, s12, s22 = covariance
    if error1 is None and error2 is None:
        return sp.S.One
    if error1 is None or error2 is None:
        error, mean, s = (error1, means[0], s11) if error2 is None else (error2, means[1], s22)
        k, shift = error or (0, 0)
        if sp.simplify(mean).is_real is not True and mean != 0:
            raise NoClosedFormError("it is the error function at complex points")
        return sp.erf((k * mean + shift) / root(1 + 2 * k**2 * s))
    (k1, shift1), (k2, shift2) = error1, error2
    if any(sp.simplify(x) != 0 for x in (k1 * means[0] + shift1, k2 * means[1] + shift2)):
        raise NoClosedFormError(f"two shifted error functions give {_THRESHOLDS}")
    sine = 2 * k1 * k2 * s12 / root((1 + 2 * k1**2 * s11) * (1 + 2 * k2**2 * s22))
    return 2 / sp.pi * sp.asin(sine)


def quadrants(pieces: tuple[Piece, ...], c: Any, q1: Any, q2: Any) -> Any:
    """E[phi(u1) phi(u2)] for phi with its only kink at 0 and pieces u^n exp(curvature u^2), curvature <= 0.

    Arc-cosine kernels (Cho and Saul, 2009), for any two powers, quadrant by quadrant.
    """
    if len(pieces) != 2 or pieces[0].right != 0:
        raise NoClosedFormError(f"kinks away from 0 give {_THRESHOLDS}")
    if any(term.error is not None for piece in pieces for term in piece.terms):
        raise NoClosedFormError("error functions on half lines give trivariate normal orthant probabilities")
    if any(term.rate != 0 for piece in pieces for term in piece.terms):
        raise NoClosedFormError(f"exponentials or sines of u on a half line give, in general, {_THRESHOLDS}")
    total = sp.S.Zero
    for sign1, piece1 in zip((-1, 1), pieces, strict=True):
        for sign2, piece2 in zip((-1, 1), pieces, strict=True):
            for first in piece1.terms:
                for second in piece2.terms:
                    tilt, s11, s12, s22 = _tilted(first, second, c, q1, q2)
                    sigma1, sigma2 = root(s11), root(s22)
                    cosine = sign1 * sign2 * sp.cancel(s12 / (sigma1 * sigma2))
                    sine = root((1 - c**2) * q1 * q2 / tilt / (s11 * s22))
                    sizes = (sign1 * sigma1) ** first.power * (sign2 * sigma2) ** second.power / root(tilt)
                    moment = _positive_quadrant(first.power, second.power, cosine, sine)
                    total += first.coefficient * second.coefficient * sizes * moment
    return total


def _positive_quadrant(m: int, n: int, cosine: Any, sine: Any) -> Any:
    """E[x^m y^n, x > 0, y > 0] for standard normals with this correlation, sine = sqrt(1 - cosine^2).

    By Stein's lemma; the two edge terms come from the delta functions at x = 0 and y = 0, on which the other variable
    is a normal of standard deviation ``sine`` restricted to positive values.
    """

    def half_normal(k: int) -> Any:
        """E[z^k, z > 0] / sqrt(2 pi)."""
        return sp.sqrt(2) ** k * sp.gamma(sp.Rational(k + 1, 2)) / (2 * sp.sqrt(sp.pi)) / sp.sqrt(2 * sp.pi)

    @cache
    def moment(m: int, n: int) -> Any:
        if m < 0 or n < 0:
            return sp.S.Zero
        if m == 0 and n == 0:
            return sp.Rational(1, 4) + sp.asin(cosine) / (2 * sp.pi)
        if m == 0:
            return moment(n, 0)
        edges = half_normal(n) * sine**n if m == 1 else sp.S.Zero
        if n == 0:
            edges += cosine * half_normal(m - 1) * sine ** (m - 1)
        return (m - 1) * moment(m - 2, n) + n * cosine * moment(m - 1, n - 1) + edges

    return moment(m, n)
