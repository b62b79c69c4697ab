"""The maximal slope function: values, inverse, candidates, and which of them is active where."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from qcmap.architecture import Architecture, Nonlinear, Weight
from qcmap.errors import ArchitectureError, ArgumentError, NumericalError
from qcmap.symbolic._algebra import without_divisors
from qcmap.symbolic._envelope import AlgebraicNumber, envelope
from qcmap.symbolic._parts import finite_exp, log_of
from qcmap.symbolic._plan import Plan
from qcmap.symbolic._polynomial import ONE, SlopePolynomial
from qcmap.symbolic._slopes import Factors
from qcmap.symbolic._weights import refuse_unmapped

if TYPE_CHECKING:
    import sympy

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Candidate:
    """A subnetwork that may attain the maximal slope."""

    source: str
    target: str
    polynomial: SlopePolynomial


@dataclass(frozen=True)
class Piece:
    """The candidate that attains the maximum from ``start`` up to the start of the next piece."""

    start: AlgebraicNumber
    candidate: Candidate


class MaximalSlope:
    """The maximal slope function mu(psi) = max over subnetworks f of p_f(psi) (DKS, section 17.1).

    Calling it evaluates mu at psi >= 1, vectorised; `inverse` gives psi with mu(psi) = zeta; `candidates` and `expr`
    are its exact form, for any weights, symbols included; `pieces` says which candidate is the largest where.
    """

    architecture: Architecture

    def __init__(self, architecture: Architecture, q: Mapping[str, Weight] | None = None) -> None:
        if not any(isinstance(node.op, Nonlinear) for node in architecture.nodes):
            raise ArchitectureError(
                architecture.name, "it has no nonlinear layer, so every slope is 1", "add an activation"
            )
        for node in architecture.nodes:
            refuse_unmapped(node)
        self.architecture, self._q = architecture, q

    @cached_property
    def _plan(self) -> Plan:
        return Plan(self.architecture, self._q)

    def log(self, s: ArrayLike) -> Array:
        """Log mu(exp s) for finite s >= 0 of any shape: no overflow at any depth.

        Raises
        ------
        ArgumentError
            If s is below 0 or not finite.
        """
        values = np.asarray(s, dtype=np.float64)
        if not (np.isfinite(values) & (values >= 0)).all():
            raise ArgumentError("s", f"log psi is a finite number of at least 0, not {s!r}", "give log(psi), psi >= 1")
        return self._largest(values)[0]

    def _largest(self, s: Array) -> tuple[Array, Array]:
        if s.size == 1:
            log, slope, _ = self._plan.largest(float(s.item()))
            return np.full(s.shape, log), np.full(s.shape, slope)
        log, slope = self._plan.largest_at(s.ravel())
        return log.reshape(s.shape), slope.reshape(s.shape)

    def __call__(self, psi: ArrayLike) -> Array:
        """mu(psi), for finite psi >= 1 of any shape.

        Raises
        ------
        ArgumentError
            If psi is below 1 or not finite.
        NumericalError
            If mu(psi) exceeds the largest float; `log` does not.
        """
        return finite_exp(self.log(log_of(psi)), "mu")

    def derivative(self, psi: ArrayLike) -> Array:
        """mu'(psi), for finite psi >= 1 of any shape; at a crossing of candidates, the larger one's, from the right.

        Raises as a call does.
        """
        s = log_of(psi)
        log, slope = self._largest(s)
        return slope * finite_exp(log - s, "mu'")

    @overload
    def inverse(self, zeta: float) -> float: ...

    @overload
    def inverse(self, zeta: Sequence[float] | Array) -> Array: ...

    def inverse(self, zeta: ArrayLike) -> float | Array:
        """Psi with mu(psi) = zeta, to rounding; a float for a number, an array for an array.

        log mu(exp s) is convex and increasing in s (a maximum of log-sum-exps of increasing linear functions), so
        Newton's method from the right end of a bracket converges to the root from above, monotonically.

        Raises
        ------
        ArgumentError
            Unless zeta is finite and above 1.
        """
        try:
            values = np.asarray(math.nan if isinstance(zeta, (bool, str, bytes)) else zeta, dtype=np.float64)
        except (TypeError, ValueError, OverflowError):
            values = np.array(math.nan)
        if not (np.isfinite(values) & (values > 1)).all():
            raise ArgumentError(
                "zeta", f"the global slope bound must be a finite number above 1, not {zeta!r}", "try zeta=1.5"
            )
        roots = [math.exp(self._log_inverse(math.log(value))) for value in values.flat]
        return roots[0] if values.ndim == 0 else np.array(roots).reshape(values.shape)

    def _log_inverse(self, target: float) -> float:
        # mu(psi) >= psi, a single nonlinear layer being a subnetwork, so the root is at most the target.
        s, last = target, math.inf
        for _ in range(200):
            value, slope, _ = self._plan.largest(s)
            step = (value - target) / slope
            s -= step
            # Convergence is quadratic: after a step this small, or one that shrinks no more, only rounding is left.
            if abs(step) <= 1e-12 * s or (abs(step) <= 1e-6 * s and abs(step) >= last / 2):
                return s
            last = abs(step)
        raise NumericalError("mu", "Newton's method did not settle", "check the weights of the sums")

    @cached_property
    def _factors(self) -> Factors:
        return Factors(self.architecture, q=self._q)

    @cached_property
    def _undivided(self) -> tuple[Candidate, ...]:
        """A candidate for each polynomial of a leaf that divides no other, from the last leaf to the first."""
        arch, tree = self.architecture, self.architecture.dominators
        top: list[int] = []
        whole: list[SlopePolynomial] = []
        for v, parent in enumerate(tree.parent):
            top.append(v if parent < 0 else top[parent])
            local = self._factors.factor[v]
            whole.append(local if parent < 0 else whole[parent] if local is ONE else whole[parent] * local)
        best = {whole[v]: Candidate(arch.nodes[top[v]].id, arch.nodes[v].id, whole[v]) for v in reversed(tree.leaves)}
        kept = without_divisors(best)
        return tuple(sorted((best[p] for p in kept), key=lambda item: -arch.index[item.target]))

    @cached_property
    def pieces(self) -> tuple[Piece, ...]:
        """Which candidate attains the maximum where, on [1, oo), with exact algebraic ends.

        Raises
        ------
        ArchitectureError
            If a weight is symbolic or irrational, so that slopes cannot be compared exactly.
        NumericalError
            If there are too many candidates of too high a degree to compare.
        """
        rows = envelope([candidate.polynomial for candidate in self._undivided])
        return tuple(Piece(start, self._undivided[k]) for start, k in rows)

    @cached_property
    def starts(self) -> dict[str, tuple[AlgebraicNumber, ...]]:
        """For each candidate's target, where the intervals on which it is the largest start; empty if not known."""
        try:
            pieces = self.pieces
        except (ArchitectureError, NumericalError):
            return {}
        targets = dict.fromkeys(piece.candidate.target for piece in pieces)
        return {t: tuple(piece.start for piece in pieces if piece.candidate.target == t) for t in targets}

    @cached_property
    def candidates(self) -> tuple[Candidate, ...]:
        """The subnetworks that attain the maximum somewhere on [1, oo), exactly.

        Where `pieces` cannot tell, all but those whose polynomial divides another one's.
        """
        if len(self._undivided) == 1 or not self.starts:
            return self._undivided
        return tuple(candidate for candidate in self._undivided if candidate.target in self.starts)

    @property
    def expr(self) -> sympy.Expr:
        """mu as a sympy expression in the positive symbol psi: a polynomial, or the Max of several."""
        import sympy

        polynomials = [candidate.polynomial.expr for candidate in self.candidates]
        return polynomials[0] if len(polynomials) == 1 else sympy.Max(*polynomials)

    def argmax(self, psi: float) -> Candidate:
        """The subnetwork that attains the maximum at one psi >= 1; of several, one that grows fastest."""
        s = log_of(psi)
        if s.ndim:
            raise ArgumentError("psi", f"it must be one number, not {psi!r}", "ask for one psi after the other")
        arch, node = self.architecture, self._plan.largest(float(s))[2]
        top = arch.dominators.chain(node)[-1]
        return Candidate(arch.nodes[top].id, arch.nodes[node].id, self._factors.along(node, top))

    def __str__(self) -> str:
        polynomials = [str(candidate.polynomial) for candidate in self.candidates]
        return polynomials[0] if len(polynomials) == 1 else f"max{{{', '.join(polynomials)}}}"

    def __repr__(self) -> str:
        return f"<maximal slope {self}>"

    def _repr_latex_(self) -> str:
        import sympy

        return f"${sympy.latex(self.expr)}$"

    def to_dict(self) -> dict[str, object]:
        """The function as plain data."""
        starts = {target: [float(start) for start in found] for target, found in self.starts.items()}
        rows = [
            {"source": c.source, "target": c.target, **c.polynomial.to_dict(), "from": starts.get(c.target, [])}
            for c in self.candidates
        ]
        return {"architecture": self.architecture.name, "maximal_slope": str(self), "candidates": rows}


def maximal_slope(arch: Architecture, *, q: Mapping[str, Weight] | None = None) -> MaximalSlope:
    """The maximal slope function of an architecture (DKS, section 17), for equal q values or the given ones.

    Raises
    ------
    ArchitectureError
        If the architecture has no nonlinear layer, an op without a C map, or biases of positive variance (then slopes
        fall below 1, and a part of a network may be steeper than all of it).
    """
    return MaximalSlope(arch, q)
