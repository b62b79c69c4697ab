"""Spectra of kernels, the alignment nu with labels, and fixed random gates (NPF, 6.2, appendix D; DGN, 2, 3)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from qcmap.architecture import Architecture, Units
from qcmap.errors import ArgumentError, DataError, NumericalError
from qcmap.numeric.maps._arguments import integer, numbers
from qcmap.numeric.paths._checks import finite
from qcmap.numeric.paths._gates import Gates, inputs_of
from qcmap.numeric.paths._kernel import path_kernel

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Spectrum:
    """The eigenvalues of a kernel matrix.

    Attributes
    ----------
    eigenvalues
        [n], from the smallest to the largest.
    """

    eigenvalues: Array

    @classmethod
    def of(cls, kernel: ArrayLike) -> Spectrum:
        """Of a symmetric matrix [n, n]; raises `DataError` for another, `NumericalError` for sums beyond floats."""
        matrix = symmetric("kernel", kernel)
        with np.errstate(over="ignore"):  # what leaves is checked
            spectrum = cls(np.asarray(np.linalg.eigvalsh(matrix), dtype=np.float64))
            finite("kernel", "divide it by a constant", spectrum.cumulative)
        return spectrum

    @cached_property
    def cumulative(self) -> Array:
        """The sums of the k smallest eigenvalues, [n]: what the papers plot as e.c.d.f. (NPF, D.1)."""
        return np.cumsum(self.eigenvalues)

    @property
    def largest(self) -> float:
        """rho_max."""
        return float(self.eigenvalues[-1])

    @property
    def smallest(self) -> float:
        """rho_min."""
        return float(self.eigenvalues[0])

    @property
    def median(self) -> float:
        """The eigenvalue in the middle, which finite width moves less than the smallest."""
        return float(np.median(self.eigenvalues))

    def __repr__(self) -> str:
        return f"<spectrum of {len(self.eigenvalues)}: {self.smallest:.4g} to {self.largest:.4g}>"


def nu(kernel: ArrayLike, labels: ArrayLike) -> float:
    """nu = y' (M / tr M)^-1 y: how little a kernel's leading directions have of the labels (NPF, 6.2; DGN, 3).

    It is above |y|^2, since no eigenvalue of M / tr M exceeds 1, and tends to |y|^2 only if M tends to a multiple of
    y y'. For M = I it is n |y|^2. Labels of +-1 have |y|^2 = n.

    Parameters
    ----------
    kernel
        M, symmetric and positive definite, [n, n].
    labels
        y, [n].

    Raises
    ------
    DataError
        For a kernel that is not symmetric, or labels of another length.
    NumericalError
        For a kernel that is not positive definite to rounding, or labels whose squares exceed floats.
    """
    matrix = symmetric("kernel", kernel)
    y = numbers("labels", labels)
    if y.shape != matrix.shape[:1]:
        raise DataError(
            "labels", f"their shape is {y.shape}, for a kernel of {len(matrix)} examples", "give one an example"
        )
    if not np.isfinite(y).all():
        raise DataError("labels", "they are not all finite", "give finite numbers")
    size = max(float(np.abs(matrix).max()), float(np.finfo(float).tiny))
    values, vectors = np.linalg.eigh(matrix / size)
    if not values[0] > len(matrix) * np.finfo(float).eps * max(values[-1], 0):
        raise NumericalError(
            "kernel",
            f"its smallest eigenvalue is {size * values[0]:.3g} of {size * values[-1]:.3g}, so it has no inverse",
            "take out repeated or parallel examples, or add a multiple of the identity",
        )  # fmt: skip
    with np.errstate(over="ignore"):  # what leaves is checked
        found = values.sum() * ((vectors.T @ y) ** 2 / values).sum()
    finite("nu", "divide the labels by a constant", found)
    return float(found)


def memorisation_kernel(count: int, mean: float, depth: int) -> Array:
    """E K_0 / d of the memorisation network: 1 on and mu^(d-1) off the diagonal, [n, n] (NPF, D (23); DGN (5)).

    Inputs are 1, gates Bernoulli of mean mu and independent, weights +-1/sqrt(mu w). Eigenvalues are
    1 + (n - 1) mu^(d-1), once, and 1 - mu^(d-1), n - 1 times.

    Parameters
    ----------
    count
        n.
    mean
        mu, in (0, 1).
    depth
        d, the number of layers of weights.

    Raises
    ------
    ArgumentError
        For values out of range.
    """
    count, depth = integer(count, least=1, name="count"), integer(depth, least=1, name="depth")
    off = _probability(mean) ** (depth - 1)
    return np.full((count, count), off) + (1 - off) * np.eye(count)


def random_gates(arch: Architecture | Units, count: int, mean: float, *, seed: int = 0) -> Gates:
    """Fixed random gates: independent Bernoulli variables of this mean for each example (DGN, section 2).

    Parameters
    ----------
    arch
        Without max pooling, whose choices are no Bernoulli variables.
    count
        The number of examples.
    mean, seed
        mu, in (0, 1], and the seed.

    Raises
    ------
    DataError
        For an architecture with max pooling.
    ArgumentError
        For values out of range.
    """
    units = arch if isinstance(arch, Units) else Units.of(arch)
    random, mu = np.random.default_rng(integer(seed, least=0, name="seed")), _probability(mean)
    count = integer(count, least=1, name="count")
    if not (units.activations or units.variables):
        return Gates.all_open(units, count)
    gates: dict[str, Any] = {name: random.random((count, *units.shape(name))) < mu for name in units.activations}
    return Gates.of(units, gates | {name: random.random(count) < mu for name in units.variables})


def expected_path_kernel(arch: Architecture | Units, x: Any, mean: float) -> Array:
    """E H over fixed random gates of mean mu, [n, n], for any architecture without max pooling (DGN, Lemma 2.4).

    A path passes each gate once. For two examples its gates are independent, E A_s A_s' = mu^(2k) with k gates on it;
    for one, A_s^2 has the mean mu^k. So E H is the path kernel of constant gates: mu off the diagonal, sqrt(mu) on it.
    In a chain E Lambda is (mu w)^(d-1) on and (mu^2 w)^(d-1) off the diagonal.

    Raises as `path_kernel`, and `ArgumentError` for a mean outside of (0, 1].
    """
    units = arch if isinstance(arch, Units) else Units.of(arch)
    mu = _probability(mean)
    count = next(iter(inputs_of(units, x).values())).shape[1]

    def constant(value: float) -> Gates:
        gates = {name: np.full((count, *units.shape(name)), value) for name in units.activations}
        gates |= {name: np.full(count, value) for name in units.variables}
        return Gates.of(units, gates) if gates else Gates.all_open(units, count)

    apart, own = (path_kernel(units, constant(value), x) for value in (mu, mu**0.5))
    return np.where(np.eye(count, dtype=bool), own, apart)


def _probability(mean: float) -> float:
    array = numbers("mean", mean)
    value = float(array) if array.ndim == 0 else np.nan
    if not 0 < value <= 1:
        raise ArgumentError("mean", f"gates are on with a probability in (0, 1], not {mean!r}", "give e.g. 0.5")
    return value


def symmetric(name: str, matrix: ArrayLike) -> Array:
    """A square matrix that is symmetric but for rounding, 1e-9 of its largest entry; raises `DataError` for another."""
    array = numbers(name, matrix)
    square = array.ndim == 2 and array.shape[0] == array.shape[1] and array.size > 0
    if not square or not np.isfinite(array).all() or (np.abs(array - array.T) > 1e-9 * np.abs(array).max()).any():
        raise DataError(name, f"it is no symmetric matrix, but of shape {array.shape}", "give a kernel of one set")
    return array
