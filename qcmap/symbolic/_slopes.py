"""Slope polynomials and the maximal slope function of an architecture (DKS, sections 17 and 21.3).

The subnetworks are the pairs (u, v) where u dominates v. Slopes multiply along a chain of dominators,
p(u -> v) = p(u -> idom v) p(idom v -> v), and p(idom v -> v) is the mean over v's branches of p(idom v -> branch) with
the squares of the weights. Each p is at least 1 for psi >= 1, so a subnetwork never has a larger slope than one that
extends it upstream or downstream: mu(psi) is the maximum over the leaves of the dominator tree, each taken from its
topmost dominator. docs/slopes.md has the proof.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from numbers import Real
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from qcmap.architecture import Architecture, Concat, Nonlinear, Sum, Weight, is_symbolic
from qcmap.errors import ArchitectureError, ArgumentError, NumericalError
from qcmap.symbolic._polynomial import ONE, PSI, SlopePolynomial, log_of, mean_of, upper_envelope

if TYPE_CHECKING:
    import sympy

Array = NDArray[np.float64]


def mean_weights(arch: Architecture, v: int) -> tuple[Weight, ...]:
    """The weights with which a sum or concatenation averages the slopes of its branches, up to their sum.

    With equal q values these are the squared weights of a sum (DKS, equation 13) and the channel counts of a
    concatenation (equation 9).
    """
    node = arch.nodes[v]
    if isinstance(node.op, Sum):
        return tuple(weight**2 for weight in node.op.weights)
    channels = [arch.channels[name] for name in node.inputs]
    known = [float(count) for count in channels if count is not None]
    if len(known) == len(channels):
        return tuple(known)
    if len(set(node.inputs)) == 1:
        return (1.0,) * len(channels)
    raise ArchitectureError(
        node.id, "a concatenation averages slopes by channel counts, but one is not known", "give every affine channels"
    )


def slope_polynomial(arch: Architecture, source: str | None = None, target: str | None = None) -> SlopePolynomial:
    """The slope polynomial of the subnetwork from ``source`` to ``target`` (DKS, section 21.3).

    Parameters
    ----------
    arch
        An architecture. Its pooling and normalization layers count as the identity.
    source, target
        Node ids; the only input and the only output if left out.

    Raises
    ------
    ArchitectureError
        If the pair is not a subnetwork, or a default is ambiguous.
    """
    source = _only(arch, arch.inputs, "source", "input") if source is None else arch[source].id
    target = _only(arch, arch.outputs, "target", "output") if target is None else arch[target].id
    above, below = arch.index[source], arch.index[target]
    if not arch.dominators.dominates(above, below):
        raise ArchitectureError(
            target, f"it also depends on an input by a path that avoids {source}, so the pair is not a subnetwork",
            f"choose a source that every path to {target} passes",
        )  # fmt: skip
    return _Factors(arch).along(below, above)


def _only(arch: Architecture, candidates: Sequence[str], argument: str, what: str) -> str:
    if len(candidates) != 1:
        raise ArchitectureError(
            arch.name, f"it has {len(candidates)} {what}s, so {argument} must be given",
            f"pass {argument}= one of its nodes",
        )  # fmt: skip
    return candidates[0]


class _Factors:
    """The factor p(idom v -> v) of each node, computed once."""

    def __init__(self, arch: Architecture) -> None:
        self.arch, self.parent = arch, arch.dominators.parent
        self.factor: list[SlopePolynomial] = []
        for v in range(len(arch.nodes)):
            self.factor.append(self._local(v))

    def _local(self, v: int) -> SlopePolynomial:
        op, parent = self.arch.nodes[v].op, self.parent[v]
        if isinstance(op, Nonlinear):
            return PSI
        if isinstance(op, (Sum, Concat)) and parent >= 0:
            branches = [self.along(u, parent) for u in self.arch.predecessors[v]]
            return mean_of(mean_weights(self.arch, v), branches)
        return ONE

    def along(self, below: int, above: int) -> SlopePolynomial:
        """p(above -> below), the product of the factors of the dominators strictly under ``above``."""
        result = ONE
        for v in self.arch.dominators.chain(below, above):
            result = result * self.factor[v]
        return result


@dataclass(frozen=True)
class Candidate:
    """A subnetwork that may attain the maximal slope."""

    source: str
    target: str
    polynomial: SlopePolynomial


class MaximalSlope:
    """The maximal slope function mu(psi) = max over subnetworks f of p_f(psi) (DKS, section 17.1).

    Calling it evaluates mu at psi >= 1, vectorised; `inverse` gives psi with mu(psi) = zeta; `candidates` and `expr`
    are its exact form, for any weights, symbols included.
    """

    architecture: Architecture

    def __init__(self, architecture: Architecture) -> None:
        if not any(isinstance(node.op, Nonlinear) for node in architecture.nodes):
            raise ArchitectureError(
                architecture.name, "it has no nonlinear layer, so every slope is 1", "add an activation"
            )
        self.architecture = architecture

    @cached_property
    def _plan(self) -> tuple[list[tuple[int, int, tuple[tuple[float, int], ...]]], tuple[int, ...]]:
        """For each node (kind, dominator, branches), compiled for `_pass`, and the leaves of the dominator tree.

        Kind 1 is a nonlinear layer, kind 2 a mean with branches (weight, position), kind 0 everything else.
        """
        arch, tree = self.architecture, self.architecture.dominators
        steps: list[tuple[int, int, tuple[tuple[float, int], ...]]] = []
        for v, node in enumerate(arch.nodes):
            if isinstance(node.op, Nonlinear):
                steps.append((1, tree.parent[v], ()))
            elif isinstance(node.op, (Sum, Concat)) and tree.parent[v] >= 0:
                weights = _numeric(node.id, mean_weights(arch, v))
                total = math.fsum(weights)
                sources = zip(weights, arch.predecessors[v], strict=True)
                steps.append((2, tree.parent[v], tuple((w / total, u) for w, u in sources if w)))
            else:
                steps.append((0, tree.parent[v], ()))
        return steps, tree.leaves

    def _pass(self, s: float) -> tuple[float, float]:
        """Log mu(exp s) and its derivative in s, in one pass over the nodes."""
        steps, leaves = self._plan
        logs, slopes = [0.0] * (len(steps) + 1), [0.0] * (len(steps) + 1)
        for v, (kind, parent, branches) in enumerate(steps):
            if kind == 1:
                # The last slot stays 0: it is the virtual root above the inputs.
                logs[v], slopes[v] = logs[parent] + s, slopes[parent] + 1
            elif kind == 2:
                base = logs[parent]
                rises = [logs[u] - base for _, u in branches]
                top = max(rises)
                masses = [weight * math.exp(rise - top) for (weight, _), rise in zip(branches, rises, strict=True)]
                total = math.fsum(masses)
                # The weights sum to 1, so log1p keeps the digits of a mean close to 1, as at great depth.
                gain = math.fsum(w * math.expm1(r) for (w, _), r in zip(branches, rises, strict=True)) if top < 9 else 0
                logs[v] = base + (math.log1p(gain) if top < 9 else top + math.log(total))
                slopes[v] = sum(mass * slopes[u] for mass, (_, u) in zip(masses, branches, strict=True)) / total
            else:
                logs[v], slopes[v] = logs[parent], slopes[parent]
        best = max(leaves, key=logs.__getitem__)
        return logs[best], slopes[best]

    def log(self, s: ArrayLike) -> Array:
        """Log mu(exp s) for s >= 0 of any shape: no overflow at any depth."""
        values = np.asarray(s, dtype=np.float64)
        return np.array([self._pass(float(x))[0] for x in values.flat]).reshape(values.shape)

    def __call__(self, psi: ArrayLike) -> Array:
        """mu(psi), for finite psi >= 1 of any shape.

        Raises
        ------
        ArgumentError
            If psi is below 1 or not finite.
        NumericalError
            If mu(psi) exceeds the largest float; `log` does not.
        """
        logs = self.log(log_of(psi))
        if logs.size and logs.max() > 709.78:
            raise NumericalError("mu", f"mu(psi) = exp({logs.max():.6g}) overflows", "use mu.log(log(psi))")
        return np.exp(logs)

    def inverse(self, zeta: float) -> float:
        """Psi with mu(psi) = zeta, to rounding.

        log mu(exp s) is convex and increasing in s (a maximum of log-sum-exps of increasing linear functions), so
        Newton's method from the right end of a bracket converges to the root from above, monotonically.

        Raises
        ------
        ArgumentError
            Unless zeta is a finite number above 1.
        """
        if not (isinstance(zeta, Real) and 1 < zeta < math.inf):
            raise ArgumentError(
                "zeta", f"the global slope bound must be a finite number above 1, not {zeta!r}", "try zeta=1.5"
            )
        return math.exp(self._log_inverse(math.log(zeta)))

    def _log_inverse(self, target: float) -> float:
        # mu(psi) >= psi, a single nonlinear layer being a subnetwork, so the root is at most the target.
        s, last = target, math.inf
        for _ in range(200):
            value, slope = self._pass(s)
            step = (value - target) / slope
            s -= step
            # Convergence is quadratic: after a step this small, or one that shrinks no more, only rounding is left.
            if abs(step) <= 1e-12 * s or (abs(step) <= 1e-6 * s and abs(step) >= last / 2):
                return s
            last = abs(step)
        raise NumericalError("mu", "Newton's method did not settle", "check the weights of the sums")

    @cached_property
    def candidates(self) -> tuple[Candidate, ...]:
        """The subnetworks that may attain the maximum, without those whose polynomial divides another one's."""
        arch, tree = self.architecture, self.architecture.dominators
        factors = _Factors(arch)
        top: list[int] = []
        whole: list[SlopePolynomial] = []
        for v, parent in enumerate(tree.parent):
            top.append(v if parent < 0 else top[parent])
            local = factors.factor[v]
            whole.append(local if parent < 0 else whole[parent] if local == ONE else whole[parent] * local)
        best = {whole[v]: Candidate(arch.nodes[top[v]].id, arch.nodes[v].id, whole[v]) for v in reversed(tree.leaves)}
        kept = upper_envelope(whole[v] for v in reversed(tree.leaves))
        return tuple(sorted((best[p] for p in kept), key=lambda item: -arch.index[item.target]))

    @property
    def expr(self) -> sympy.Expr:
        """mu as a sympy expression in the positive symbol psi: a polynomial, or the Max of several."""
        import sympy

        polynomials = [candidate.polynomial.expr for candidate in self.candidates]
        return polynomials[0] if len(polynomials) == 1 else sympy.Max(*polynomials)

    def argmax(self, psi: float) -> Candidate:
        """A candidate that attains the maximum at psi >= 1 (the first one listed, if several do)."""
        s = log_of(psi)
        return max(self.candidates, key=lambda candidate: float(candidate.polynomial.log(s)))

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
        rows = [{"source": c.source, "target": c.target, **c.polynomial.to_dict()} for c in self.candidates]
        return {"architecture": self.architecture.name, "maximal_slope": str(self), "candidates": rows}


def _numeric(node: str, weights: Sequence[Weight]) -> list[float]:
    for weight in weights:
        if is_symbolic(weight):
            raise ArchitectureError(
                node, f"the squared weight {weight} is symbolic, so slopes have no numeric value here",
                "give its symbols numbers with arch.substitute(...)",
            )  # fmt: skip
    return [float(weight) for weight in weights]


def maximal_slope(arch: Architecture) -> MaximalSlope:
    """The maximal slope function of an architecture (DKS, section 17).

    Raises
    ------
    ArchitectureError
        If the architecture has no nonlinear layer.
    """
    return MaximalSlope(arch)
