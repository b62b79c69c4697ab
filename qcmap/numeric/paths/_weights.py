"""The weights of a network, checked against its architecture."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from qcmap.architecture import Architecture, Units
from qcmap.errors import ArchitectureError, ArgumentError, DataError
from qcmap.numeric.maps._arguments import integer
from qcmap.numeric.paths._checks import finite, mapping, real_array, wide
from qcmap.numeric.paths._gates import positive_number

Kind = Literal["sign", "gaussian"]
"""Weights +-sigma with equal probability, or normal."""


@dataclass(frozen=True, eq=False)
class Weights:
    """The weights of every layer, as in torch: [channels, channels before / groups, *kernel].

    Attributes
    ----------
    units
        Of the architecture.
    arrays
        By id of the affine node, or by the name of the parameters that layers share.
    """

    units: Units
    arrays: dict[str, NDArray[Any]]

    @classmethod
    def of(cls, arch: Architecture | Units, weights: Mapping[str, Any]) -> Weights:
        """Check weights.

        Raises
        ------
        DataError
            Naming the layer: weights that are missing, of the wrong shape, not finite numbers, or for no layer.
        """
        units = arch if isinstance(arch, Units) else Units.of(arch)
        for name in mapping("weights", weights):
            if name not in units.weights:
                raise DataError(str(name), "it has weights, but is no layer", f"its layers: {', '.join(units.weights)}")
        arrays = {}
        for name, shape in units.weights.items():
            array = real_array(name, weights[name]) if name in weights else None
            if array is None or array.shape != shape:
                found = "missing" if array is None else f"of the shape {array.shape} and type {array.dtype}"
                raise DataError(name, f"its weights are {found}, not real numbers {shape}", "give them as torch does")
            if array.dtype != object and not np.isfinite(array).all():
                raise DataError(name, "its weights are not all finite", "give finite numbers")
            arrays[name] = wide(array)
        return cls(units, arrays)

    @classmethod
    def ones(cls, arch: Architecture | Units) -> Weights:
        """All weights 1, as a start for others."""
        units = arch if isinstance(arch, Units) else Units.of(arch)
        return cls(units, {name: np.ones(shape) for name, shape in units.weights.items()})

    def at(self, node: str) -> NDArray[Any]:
        """The weights of an affine node."""
        return self.arrays[self.units.layers[node]]

    @cached_property
    def flat(self) -> NDArray[Any]:
        """All weights in one row, layers in the order of the graph."""
        return np.concatenate([array.reshape(-1) for array in self.arrays.values()]) if self.arrays else np.empty(0)

    def replaced(self, flat: NDArray[Any]) -> Weights:
        """Other weights, given as `flat` has them."""
        bounds = np.cumsum([array.size for array in self.arrays.values()])[:-1]
        parts = np.split(flat, bounds)
        arrays = {name: p.reshape(a.shape) for (name, a), p in zip(self.arrays.items(), parts, strict=True)}
        return Weights(self.units, arrays)

    def __repr__(self) -> str:
        return f"<{self.flat.size} weights of {self.units.architecture.name}>"


def weights_of(arch: Architecture | Units, weights: Weights | Mapping[str, Any]) -> Weights:
    """The weights, checked if they are not yet; raises `DataError` if they are those of another architecture."""
    if not isinstance(weights, Weights):
        return Weights.of(arch, weights)
    own = arch.architecture if isinstance(arch, Units) else arch
    if weights.units.architecture is not own and weights.units.architecture != own:
        other = weights.units.architecture.name
        raise DataError("weights", f"they are weights of {other}, not of {own.name}", "make weights for this one")
    return weights


def random_weights(
    arch: Architecture | Units, scale: float | Mapping[str, float], *, kind: Kind = "sign", seed: int = 0
) -> Weights:
    """Independent weights of a standard deviation: ``"sign"`` for +-sigma (NPF, Theorem 5.1), or ``"gaussian"``.

    Parameters
    ----------
    arch
        The architecture, or its units.
    scale
        sigma, of all layers or by name.
    kind, seed
        The distribution, and the seed of the generator.

    Raises
    ------
    ArgumentError
        For an unknown kind, a scale that is not positive, or a seed that is no integer from 0 on.
    DataError
        For scales that are not one for each layer.
    """
    units = arch if isinstance(arch, Units) else Units.of(arch)
    check_kind(kind)
    check_layers(units)
    random, arrays = np.random.default_rng(integer(seed, least=0, name="seed")), {}
    for name, sigma in scales_of(units, scale).items():
        shape = units.weights[name]
        drawn = random.standard_normal(shape) if kind == "gaussian" else random.choice([-1.0, 1.0], shape)
        with np.errstate(over="ignore"):
            arrays[name] = sigma * drawn
        finite(name, "give a smaller scale", arrays[name])
    return Weights(units, arrays)


def check_kind(kind: object) -> None:
    """Raise `ArgumentError` unless this is a distribution of weights."""
    if kind not in ("sign", "gaussian"):
        raise ArgumentError("kind", f"weights are 'sign' or 'gaussian', not {kind!r}", "choose one")


def check_layers(units: Units) -> None:
    """Raise `ArchitectureError` for an architecture without weights."""
    if not units.weights:
        raise ArchitectureError(units.architecture.name, "it has no layer of weights", "add an affine layer")


def scales_of(units: Units, scale: float | Mapping[str, float]) -> dict[str, float]:
    """A positive scale for each layer; raises `DataError` or `ArgumentError` for others."""
    if not isinstance(scale, Mapping):
        return dict.fromkeys(units.weights, positive_number("scale", scale))
    if set(scale) != set(units.weights):
        raise DataError(
            "scale", f"it is for layers {sorted(map(str, scale))}", f"give one for each of {', '.join(units.weights)}"
        )
    return {name: positive_number(name, value) for name, value in scale.items()}
