"""Training in the tangent-kernel regime: gradient descent on the squared error, the kernel fixed (DKS, 24.3)."""

from __future__ import annotations

import math
from functools import cached_property
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from qcmap.errors import ArgumentError, NumericalError
from qcmap.numeric.kernels._kernel_matrix import EPS, bounded, broadcast, clipped, finite, symmetric
from qcmap.numeric.maps._arguments import is_number, numbers

Array = NDArray[np.float64]


class BestTime(NamedTuple):
    """Where early stopping ends: the time, and the loss on the held-out inputs there."""

    time: float
    loss: float


class KernelDescent:
    """What a network with a fixed tangent kernel K predicts while gradient descent fits targets y.

    The loss is 1/2 sum (y - f)^2, plus ridge/2 times the squared distance of the parameters from their start. At time t

        f(x, t) = f(x, 0) + k(x)^T p(K) (y - f(0)),   p(l) = (1 - r(l)^t) / (l + ridge),

    with r(l) = 1 - rate (l + ridge) for steps of size ``rate`` (DKS, equation 21), and exp(-(l + ridge)) for gradient
    flow. For an infinite time p(l) = 1 / (l + ridge) (equation 22). p is applied to the eigenvalues of K, so that at
    finite times a singular K needs no inverse: p(0) = rate * t, or t. Eigenvalues that are zero to rounding (n eps of
    the largest) are taken as 0: along their eigenvectors f does not move on the training inputs, and on others only by
    what exceeds the rounding of k(x).

    Parameters
    ----------
    kernel
        K, the kernel of the training inputs, (n, n): a matrix or a `Gram`. For training only some layers it is the sum
        of their kernels (section 24.3.3), e.g. ``gram.of(["layer1.affine"])``.
    targets
        y, of shape (n,) or (n, outputs).
    initial
        f(0) on the training inputs, which broadcasts with ``targets``.
    rate
        The step size of discrete gradient descent; gradient flow if left out.
    ridge
        The strength of the pull towards the initial parameters, at least 0.
    singular
        What an infinite time means where K + ridge is singular to rounding: ``"refuse"`` raises, ``"project"`` takes
        the limit, in which the part of y - f(0) in the null space of K is never learned.

    Raises
    ------
    ArgumentError
        For arguments of the wrong shape or range, and for a matrix that is not symmetric, or has an eigenvalue below
        zero by more than rounding.
    """

    def __init__(
        self,
        kernel: ArrayLike,
        targets: ArrayLike,
        initial: ArrayLike = 0.0,
        *,
        rate: float | None = None,
        ridge: float = 0.0,
        singular: Literal["refuse", "project"] = "refuse",
    ) -> None:
        self.kernel = symmetric(kernel)
        self.targets = finite("targets", targets)
        if self.targets.ndim not in (1, 2) or len(self.targets) != len(self.kernel):
            what = f"targets have the shape ({len(self.kernel)},) or ({len(self.kernel)}, outputs)"
            raise ArgumentError("targets", f"{what}, not {self.targets.shape}", "give one row per training input")
        self.initial = broadcast("initial", initial, self.targets.shape)
        if rate is not None and not (is_number(rate) and rate > 0):
            raise ArgumentError(
                "rate", f"a step size is positive and finite, not {rate!r}", "leave it out for gradient flow"
            )
        if not (is_number(ridge) and ridge >= 0):
            raise ArgumentError("ridge", f"it is finite and at least 0, not {ridge!r}", "use 0 for none")
        if singular not in ("refuse", "project"):
            raise ArgumentError("singular", f"it is 'refuse' or 'project', not {singular!r}", "choose one of them")
        self.rate, self.ridge, self.singular = rate, float(ridge), singular

    @cached_property
    def _decomposition(self) -> tuple[Array, Array]:
        values, vectors = np.linalg.eigh(self.kernel)
        return clipped(values)[::-1], vectors[:, ::-1]

    @property
    def eigenvalues(self) -> Array:
        """The eigenvalues of K, largest first; those that are zero to rounding (n eps of the largest) are 0."""
        return self._decomposition[0]

    @property
    def eigenvectors(self) -> Array:
        """The eigenvectors of K as columns, in the order of `eigenvalues`."""
        return self._decomposition[1]

    @cached_property
    def coefficients(self) -> Array:
        """The parts of y - f(0) along the eigenvectors, (n,) or (n, outputs)."""
        with np.errstate(all="ignore"):
            return bounded(self.eigenvectors.T @ (self.targets - self.initial))

    @property
    def rank(self) -> int:
        """How many eigenvalues are not zero to rounding."""
        return int(np.count_nonzero(self.eigenvalues))

    @property
    def largest_rate(self) -> float:
        """2 / (largest eigenvalue + ridge): steps below it converge; up to half of it none overshoots (DKS, 24.3.1)."""
        top = float(self.eigenvalues[0]) + self.ridge
        return 2 / top if top > 0 else math.inf

    @property
    def residual_factors(self) -> Array:
        """By what each eigendirection's distance to its limit is multiplied per unit of time (or step)."""
        rates = self.eigenvalues + self.ridge
        return np.exp(-rates) if self.rate is None else 1 - self.rate * rates

    def train(self, times: ArrayLike) -> Array:
        """f on the training inputs at times >= 0 (whole numbers of steps if there is a rate; infinity for the limit).

        Returns the shape of ``times``, then that of the targets.

        Raises
        ------
        ArgumentError
            For a time that is negative, not a number, or not a whole number of steps.
        NumericalError
            If the steps diverge, or for an infinite time and a singular K (see ``singular``), or if numbers overflow.
        """
        # K V from the eigenvalues: the product would leave rounding in the null space, which grows with t.
        return self._at(times, self.eigenvectors * self.eigenvalues, self.initial)

    def predict(self, cross: ArrayLike, times: ArrayLike, initial: ArrayLike = 0.0) -> Array:
        """f on other inputs; ``cross`` (m, n) is their kernel with the training inputs, ``initial`` their f(0).

        Returns the shape of ``times``, then (m,) or (m, outputs). Raises as `train`, and `NumericalError` if the result
        hangs on eigenvalues that are zero to rounding.
        """
        matrix = finite("cross", cross)
        if matrix.ndim != 2 or matrix.shape[1] != len(self.kernel):
            what = f"it has the shape (m, {len(self.kernel)}), not {matrix.shape}"
            raise ArgumentError("cross", what, "give one row per test input, one column per training input")
        shape = (len(matrix), *self.targets.shape[1:])
        return self._at(times, self._projected(matrix), broadcast("initial", initial, shape))

    def loss(self, times: ArrayLike) -> Array:
        """1/2 sum (y - f)^2 over training inputs and outputs, of the shape of ``times`` (DKS, section 24.3.2)."""
        when = self._times(times)
        gaps = self.coefficients.reshape(len(self.kernel), -1)
        # y - f = (I - K p(K)) (y - f(0)), along each eigenvector.
        left = _converged(self._unlearned(when.reshape(-1)), self)
        with np.errstate(all="ignore"):
            squares = _converged(left * left, self)
            return bounded((0.5 * squares @ np.sum(gaps * gaps, axis=1)).reshape(when.shape))

    def best_time(self, cross: ArrayLike, targets: ArrayLike, times: ArrayLike, initial: ArrayLike = 0.0) -> BestTime:
        """Early stopping: of ``times`` the one with the smallest loss 1/2 sum (y - f)^2 on held-out inputs.

        ``cross``, ``targets`` and ``initial`` are those of the held-out inputs. The earliest wins a tie.
        """
        when = self._times(times).reshape(-1)
        if not when.size:
            raise ArgumentError("times", "there is none to choose from", "give at least one")
        predicted = self.predict(cross, when, initial)
        wanted = finite("targets", targets)
        if wanted.shape != predicted.shape[1:]:
            what = f"held-out targets have the shape {predicted.shape[1:]}, not {wanted.shape}"
            raise ArgumentError("targets", what, "give one row per row of cross")
        with np.errstate(all="ignore"):
            losses = bounded(0.5 * np.sum((wanted - predicted).reshape(len(when), -1) ** 2, axis=1))
        order = np.argsort(when, kind="stable")
        best = int(order[np.argmin(losses[order])])
        return BestTime(float(when[best]), float(losses[best]))

    def _at(self, times: ArrayLike, projected: Array, start: Array) -> Array:
        """``start`` and what ``projected``, the kernel with the training inputs times the eigenvectors, moves it by."""
        when = self._times(times)
        flat = when.reshape(-1)
        gaps = self.coefficients.reshape(len(self.kernel), -1)
        gains = _converged(self._gains(flat), self)
        self._refuse_rounding(flat, projected, gaps)
        with np.errstate(all="ignore"):
            moved = np.einsum("mn,tn,no->tmo", projected, gains, gaps, optimize=True)
            values = (start + moved.reshape(len(gains), *start.shape)).reshape(when.shape + start.shape)
        return bounded(values)

    def _projected(self, cross: Array) -> Array:
        """k(x) along the eigenvectors, with 0 in the null space of K where it is so to rounding.

        k(x) lies in the range of K. What rounding puts into the null space is eps of k(x), and eps lambda_1 / lambda_j
        of its part along each v_j, by which eigh mixes v_j into the null space.
        """
        with np.errstate(all="ignore"):
            parts = bounded(cross @ self.eigenvectors)
            null = self.eigenvalues == 0
            if null.any():
                mixed = np.where(null, 0.0, self.eigenvalues[0] / np.where(null, 1.0, self.eigenvalues))
                size = bounded(np.linalg.norm(cross, axis=1) + np.abs(parts) @ mixed)
                parts[null & (np.abs(parts) <= 8 * len(null) * EPS * size[:, None])] = 0.0
        return parts

    def _refuse_rounding(self, when: Array, projected: Array, gaps: Array) -> None:
        """Refuse what depends on where between 0 and rounding the eigenvalues of the null space lie."""
        parts = projected[:, self.eigenvalues == 0]
        if not (parts.any() and np.isfinite(when).any()):
            return
        finite_times = when[np.isfinite(when)]
        rounding = len(self.kernel) * EPS * float(self.eigenvalues[0])
        with np.errstate(all="ignore"):
            spread = np.abs(np.diff(self._learned(np.array([0.0, rounding]) + self.ridge, finite_times), axis=1)).max()
            doubt = float((np.abs(parts) @ np.abs(gaps[self.eigenvalues == 0])).max() * spread)
        if not doubt <= 1e-8 * float(np.abs(gaps).max()):
            rank = f"rank {self.rank} of {len(self.kernel)}"
            what = f"its kernel with the training inputs is not 0 where theirs is 0 to rounding ({rank})"
            raise NumericalError("cross", what, "ask for shorter times, or give a ridge")

    def _times(self, times: ArrayLike) -> Array:
        when = numbers("times", times)
        bad = ~(when >= 0)
        if bad.any():
            raise ArgumentError("times", f"times are at least 0, not {when[bad].flat[0]}", "start at 0")
        if self.rate is not None:
            finite = when[np.isfinite(when)]
            if (finite != np.floor(finite)).any():
                fraction = finite[finite != np.floor(finite)][0]
                raise ArgumentError(
                    "times", f"{fraction} is no whole number of steps", "leave rate out for gradient flow"
                )
        return when

    def _power(self, rates: Array, when: Array) -> tuple[Array, Array]:
        """r^t and 1 - r^t for each time and rate l + ridge, (times, n); infinity only where that has a limit."""
        t = when[:, None]
        if np.isinf(when).any():
            self._refuse_limit(rates)
        with np.errstate(over="ignore", invalid="ignore", divide="ignore", under="ignore"):
            if self.rate is None:
                exponents = np.where(rates > 0, -rates * t, 0.0)  # 0 * infinity: the null space stays where it is
                return np.exp(exponents), -np.expm1(exponents)
            step = self.rate * rates
            small = step < 1
            exponents = np.where(small & (step > 0), np.log1p(-np.where(small, step, 0.0)) * t, 0.0)
            power = np.where(
                small, np.exp(exponents), np.where(np.isinf(t), 0.0, (1 - step) ** np.where(np.isinf(t), 1, t))
            )
            return power, np.where(small, -np.expm1(exponents), 1 - power)

    def _gains(self, when: Array) -> Array:
        """p(l) for each time and eigenvalue, (times, n)."""
        return self._learned(self.eigenvalues + self.ridge, when)

    def _learned(self, rates: Array, when: Array) -> Array:
        """(1 - r^t) / (l + ridge) for each time and rate l + ridge."""
        _, learned = self._power(rates, when)
        unit = 1.0 if self.rate is None else self.rate
        # Along the null space p(0) = rate t; at an infinite time that part of k(x) is zero, and left out.
        with np.errstate(over="ignore"):
            flat = np.where(np.isinf(when), 0.0, unit * when)[:, None]
            return np.where(rates > 0, learned / np.where(rates > 0, rates, 1.0), flat)

    def _unlearned(self, when: Array) -> Array:
        """1 - l p(l) = (ridge + l r^t) / (l + ridge) for each time and eigenvalue."""
        rates = self.eigenvalues + self.ridge
        power, _ = self._power(rates, when)
        return np.where(rates > 0, (self.ridge + self.eigenvalues * power) / np.where(rates > 0, rates, 1.0), 1.0)

    def _refuse_limit(self, rates: Array) -> None:
        if self.rate is not None and not self.rate < self.largest_rate:
            raise NumericalError(
                "rate", f"steps of {self.rate:g} do not converge", f"use a rate below {self.largest_rate:.6g}"
            )
        if self.singular == "refuse" and not rates[-1] > 0:
            what = f"it is singular to rounding (rank {self.rank} of {len(self.kernel)}), so equation 22 has no inverse"
            raise NumericalError("kernel", what, "ask for finite times, give a ridge, or say singular='project'")

    def to_dict(self) -> dict[str, Any]:
        """The setting and the spectrum as plain data."""
        return {
            "inputs": len(self.kernel),
            "rate": self.rate,
            "ridge": self.ridge,
            "rank": self.rank,
            "eigenvalues": self.eigenvalues.tolist(),
            "coefficients": self.coefficients.tolist(),
        }

    def __repr__(self) -> str:
        how = "gradient flow" if self.rate is None else f"steps of {self.rate:g}"
        return f"<kernel descent on {len(self.kernel)} inputs: {how}, ridge {self.ridge:g}>"


def _converged(values: Array, descent: KernelDescent) -> Array:
    if not np.isfinite(values).all():
        raise NumericalError(
            "rate", f"steps of {descent.rate} diverge beyond all floats", f"use a rate below {descent.largest_rate:.6g}"
        )
    return values
