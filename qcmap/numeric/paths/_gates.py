"""Gates of a set of examples: the on/off state, or the degree of openness, of every gated unit (NPF, section 2)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qcmap.architecture import Architecture, Units
from qcmap.errors import ArgumentError, DataError
from qcmap.numeric.maps._arguments import integer
from qcmap.numeric.paths._checks import mapping, real_array

Layered = dict[str, NDArray[Any]]


@dataclass(frozen=True, eq=False)
class Gates:
    """The gates of n examples, checked.

    Arrays keep their type, so that gates of one byte stay small; internally they are [locations, n, channels].

    Attributes
    ----------
    units
        Of the architecture.
    count
        n.
    values
        By id of each activation: [locations, n, channels].
    choices
        By id of each max pooling: the chosen tap of each window, [locations, n, channels].
    variables
        By name of each scalar gating variable: [n].
    """

    units: Units
    count: int
    values: Layered
    choices: Layered
    variables: Layered

    @classmethod
    def of(cls, arch: Architecture | Units, gates: Mapping[str, Any], *, largest: float = 1.0) -> Gates:
        """Check gates and lay them out.

        Parameters
        ----------
        arch
            The architecture, or its units.
        gates
            For each activation, by node id, an array [n, channels, *extent] of values from 0 to ``largest`` (any array
            of n times so many entries); for each max pooling the position, in its window, of the location it takes (an
            integer); for each scalar gating variable, by name, an array [n].
        largest
            The largest value that a gate may have: 1, or 1 + eps for the soft gates of DGN, section 3.

        Raises
        ------
        DataError
            Naming the node: gates that are missing, of the wrong shape, outside of their range or for no node.
        """
        units = arch if isinstance(arch, Units) else Units.of(arch)
        wanted = (*units.activations, *units.max_pools, *units.variables)
        if len(set(wanted)) < len(wanted):
            twice = next(name for name in wanted if wanted.count(name) > 1)
            raise DataError(twice, "it names a node and a gating variable", "rename one of them")
        for name in mapping("gates", gates):
            if name not in wanted:
                raise DataError(str(name), "it has gates, but is no gated node", f"its gates: {', '.join(wanted)}")
        arrays: Layered = {}
        for name in wanted:
            if name not in gates:
                raise DataError(name, "its gates are missing", "give gates for every activation, pool and variable")
            arrays[name] = _array(name, gates[name])
        counts = {name: len(array) for name, array in arrays.items()}
        if len(set(counts.values())) > 1:
            raise DataError("gates", f"they are for different numbers of examples, {counts}", "give one row an example")
        count = next(iter(counts.values()), 0)
        values = {name: _laid_out(units, name, arrays[name]) for name in units.activations}
        choices = {name: _laid_out(units, name, arrays[name]) for name in units.max_pools}
        for name, array in values.items():
            _in_range(name, array, largest)
        for name, array in choices.items():
            _are_taps(units, name, array)
        variables = {}
        for name in units.variables:
            variables[name] = arrays[name].reshape(-1)
            if len(variables[name]) != count:
                raise DataError(name, f"a scalar gate is one number an example, not {arrays[name].shape}", "give [n]")
            _in_range(name, variables[name], largest)
        return cls(units, count, values, choices, variables)

    @classmethod
    def all_open(cls, arch: Architecture | Units, count: int = 1) -> Gates:
        """The gates of a deep linear network, all 1 (DGN, section 8); max poolings have no such state.

        Raises
        ------
        ArgumentError
            For a count below 1.
        DataError
            For an architecture with max pooling.
        """
        units, count = arch if isinstance(arch, Units) else Units.of(arch), integer(count, least=1, name="count")
        if not (units.activations or units.max_pools or units.variables):
            return cls(units, count, {}, {}, {})
        ones = {name: np.ones((count, *units.shape(name)), dtype=np.uint8) for name in units.activations}
        return cls.of(units, ones | {name: np.ones(count, dtype=np.uint8) for name in units.variables})

    @cached_property
    def binary(self) -> bool:
        """Whether all gates are 0 or 1."""
        return all(((array == 0) | (array == 1)).all() for array in (*self.values.values(), *self.variables.values()))

    def rows(self, rows: slice) -> Gates:
        """The gates of some of the examples."""
        count = len(range(*rows.indices(self.count)))
        values, choices = ({name: a[:, rows] for name, a in table.items()} for table in (self.values, self.choices))
        return Gates(self.units, count, values, choices, {name: a[rows] for name, a in self.variables.items()})

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """The gates as `Gates.of` takes them: [n, channels, *extent], and [n]."""
        arrays = dict(self.variables)
        for name, array in (*self.values.items(), *self.choices.items()):
            arrays[name] = np.moveaxis(array, 0, 2).reshape(self.count, *self.units.shape(name))
        return arrays

    def __repr__(self) -> str:
        return f"<gates of {self.count} examples for {self.units.architecture.name}>"


def gates_of(arch: Architecture | Units, gates: Gates | Mapping[str, Any]) -> Gates:
    """The gates, checked if they are not yet; raises `DataError` if they are those of another architecture."""
    if not isinstance(gates, Gates):
        return Gates.of(arch, gates)
    own = arch.architecture if isinstance(arch, Units) else arch
    if gates.units.architecture is not own and gates.units.architecture != own:
        raise DataError(
            "gates", f"they are gates of {gates.units.architecture.name}, not of {own.name}", "make gates for this one"
        )
    return gates


def inputs_of(units: Units, x: Any, count: int | None = None) -> Layered:
    """Inputs by node as [locations, n, channels]: an array [n, channels, *extent] if there is one input, or a mapping.

    Raises
    ------
    DataError
        Naming the input: missing, of the wrong shape or not finite, or not ``count`` examples.
    """
    names = units.architecture.inputs
    given = x if isinstance(x, Mapping) else {names[0]: x}
    if set(given) != set(names):
        raise DataError(
            "x", f"it is for inputs {sorted(map(str, given))}, but the architecture has {names}", "give all inputs"
        )
    arrays: Layered = {}
    for name in names:
        array = _laid_out(units, name, _array(name, given[name]))
        if array.dtype != object and not np.isfinite(array).all():
            raise DataError(name, "inputs are finite numbers", "take out what is not")
        arrays[name] = array
    counts = {name: array.shape[1] for name, array in arrays.items()}
    if count == 0:
        rule = "the architecture has none, so that they do not say how many examples there are"
        raise DataError("gates", rule, "use Gates.all_open(arch, n)")
    wanted = next(iter(counts.values())) if count is None else count
    if set(counts.values()) != {wanted}:
        raise DataError("x", f"it has {counts} examples, but {wanted} are needed", "give one row an example")
    return arrays


def _array(name: str, value: Any) -> NDArray[Any]:
    array = real_array(name, value)
    if array.ndim < 1:
        raise DataError(name, "it is one number, not one for each example", "give [n, channels]")
    if not len(array):
        raise DataError(name, "it has no examples", "give one or more")
    return array


def _laid_out(units: Units, name: str, array: NDArray[Any]) -> NDArray[Any]:
    """[n, channels, *extent] as [locations, n, channels]."""
    shape = units.shape(name)
    if array.shape[1:] != shape and not (array.ndim == 2 and array.shape[1] == units.size(name)):
        wanted = ", ".join(map(str, shape))
        raise DataError(name, f"its array has the shape {array.shape}, not [n, {wanted}]", "give one row an example")
    return np.moveaxis(array.reshape(len(array), shape[0], -1), 2, 0)


def _in_range(name: str, array: NDArray[Any], largest: float) -> None:
    if array.size and not (array.min() >= 0 and array.max() <= largest):  # also where an entry is NaN
        raise DataError(
            name, f"gates are from 0 to {largest:g}, not {array.min():g} to {array.max():g}",
            "use Gates.of(..., largest=1 + eps) for soft gates above 1",
        )  # fmt: skip


def _are_taps(units: Units, name: str, array: NDArray[Any]) -> None:
    table = units.taps(name)
    if array.dtype.kind not in "iu" or (array.size and not (array.min() >= 0 and array.max() < len(table))):
        raise DataError(name, f"a max pooling's gate is a position in its window, 0 to {len(table) - 1}", "give argmax")
    locations = np.arange(table.shape[1])[:, None, None]
    if (table[array, locations] < 0).any():
        raise DataError(name, "it takes a location in the padding", "give the position of the largest entry")


def positive_number(name: str, value: Any) -> float:
    """The value as a float; raises `ArgumentError` unless it is a positive finite number."""
    number = float(value) if isinstance(value, (int, float, np.number)) and not isinstance(value, bool) else np.nan
    if not (0 < number < np.inf):
        raise ArgumentError(name, f"it is a positive number, not {value!r}", "give a positive number")
    return number
