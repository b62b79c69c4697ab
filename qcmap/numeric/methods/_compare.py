"""What each construction or initialization does to the kernel of one architecture: DKS, section 26, as a table."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from qcmap._html import table
from qcmap.architecture import Affine, Architecture, Input, Nonlinear, refuse_without_maps
from qcmap.errors import ArgumentError, NumericalError, QCMapError
from qcmap.numeric.maps._arguments import correlation
from qcmap.numeric.maps._network import NetworkMaps, network_maps
from qcmap.numeric.methods._affine_variances import architecture
from qcmap.numeric.methods._compare_methods import METHODS, Options, Prepared, prepare
from qcmap.symbolic import maximal_slope, resolved

Array = NDArray[np.float64]
Behaviour = Literal["collapsed", "exploded", "linear", "well-behaved"]

CONTRAST = 0.2
"""A C map with C(1/2) - C(-1/2) below this (the identity has 1) is degenerate."""
TORN = 2.0
"""A degenerate C map with C'(1) above this has exploded: near inputs are torn apart."""
LINEAR = 1e-3
"""A C map with max abs(C(c) - c) below this is linear."""
DEFAULT = ("plain", "lecun", "he", "edge_of_chaos", "selu", "dks", "tat")
"""The methods that are compared if none are named; Glorot's needs the number of channels."""


@dataclass(frozen=True)
class Row:
    """What a method makes of the maps of a network; f is the whole network, at its own input q values.

    Attributes
    ----------
    method
        Its name.
    q, q_min, q_max
        The q value at the output, and the smallest and largest over all nodes but the inputs.
    q_slope
        Q_f', in the q value of all inputs together.
    c0, c_minus1, c_slope_0, c_slope_1
        C_f(0), C_f(-1), C_f'(0) and C_f'(1).
    deviation
        The largest abs(C_f(c) - c) over the grid.
    nl, na
        sqrt(1 - C_f'(0)) and sqrt(1 - C_f'(0) / C_f'(1)), how far f is from linear and from affine (DKS, 13.3, 13.4).
    behaviour
        ``"collapsed"`` or ``"exploded"`` where C_f is degenerate, here C_f(1/2) - C_f(-1/2) < 0.2: exploded if
        C_f'(1) > 2, else collapsed (DKS, section 12.4: c* < 1 and c* = 1). ``"linear"`` if the deviation is below 1e-3
        (too linear, section 14.2), else ``"well-behaved"``. These thresholds are conventions of ours.
    mu
        The largest C_g'(1) over subnetworks g, mu(psi), where there is one psi: if all activations have the same C'(1)
        at one q value and there are no biases; else None.
    note
        What the method chose, or which of its conditions fails.
    reason
        Why the method is impossible here; then all numbers are None.
    """

    method: str
    q: float | None = None
    q_min: float | None = None
    q_max: float | None = None
    q_slope: float | None = None
    c0: float | None = None
    c_minus1: float | None = None
    c_slope_0: float | None = None
    c_slope_1: float | None = None
    deviation: float | None = None
    nl: float | None = None
    na: float | None = None
    behaviour: Behaviour | None = None
    mu: float | None = None
    note: str = ""
    reason: str = ""

    @property
    def possible(self) -> bool:
        """Whether the method could be applied."""
        return not self.reason

    def to_dict(self) -> dict[str, Any]:
        """All fields as plain data."""
        return asdict(self)

    def __repr__(self) -> str:
        return f"<{self.method}: {self.behaviour if self.possible else self.reason}>"


_COLUMNS = (
    ("q", "q"),
    ("q_min", "q min"),
    ("q_max", "q max"),
    ("q_slope", "Q'(1)"),
    ("c0", "C(0)"),
    ("c_minus1", "C(-1)"),
    ("c_slope_0", "C'(0)"),
    ("c_slope_1", "C'(1)"),
    ("deviation", "|C-c|"),
    ("nl", "nl"),
    ("na", "na"),
    ("mu", "mu"),
    ("behaviour", "behaviour"),
)


@dataclass(frozen=True)
class Comparison:
    """The rows of `compare`, by method; printing it shows a table."""

    architecture: Architecture
    rows: dict[str, Row] = field(repr=False)

    def __getitem__(self, method: str) -> Row:
        """The row of a method; raises `ArgumentError` if it was not compared."""
        if method not in self.rows:
            raise ArgumentError(method, "it was not compared", f"choose from {', '.join(self.rows)}")
        return self.rows[method]

    def to_dict(self) -> dict[str, Any]:
        """The architecture's name, the thresholds and the rows as plain data."""
        return {
            "architecture": self.architecture.name,
            "thresholds": {"contrast": CONTRAST, "torn": TORN, "linear": LINEAR},
            "rows": {name: row.to_dict() for name, row in self.rows.items()},
        }

    def __str__(self) -> str:
        names = [name for name, _ in _COLUMNS]
        cells = [["method", *(title for _, title in _COLUMNS)]]
        cells += [
            [row.method, *(_cell(getattr(row, name)) for name in names)] if row.possible else [row.method]
            for row in self.rows.values()
        ]
        widths = [max(len(line[k]) for line in cells if k < len(line)) for k in range(len(cells[0]))]
        lines = [self.architecture.name]
        for line, row in zip(cells, (None, *self.rows.values()), strict=True):
            text = "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=False))
            extra = "" if row is None else row.reason or row.note
            lines.append(f"{text}  {extra}".rstrip())
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        rows = [
            [
                row.method, *(_cell(getattr(row, name)) if row.possible else "" for name, _ in _COLUMNS),
                row.reason or row.note,
            ]
            for row in self.rows.values()
        ]  # fmt: skip
        return table(["method", *(title for _, title in _COLUMNS), ""], rows, caption=self.architecture.name)

    def __repr__(self) -> str:
        return f"<comparison of {', '.join(self.rows)} on {self.architecture.name}>"


def _cell(value: float | str | None) -> str:
    if value is None:
        return "-"
    return value if isinstance(value, str) else f"{value:.4g}"


def compare(
    arch: Architecture,
    methods: Sequence[str] = DEFAULT,
    c: ArrayLike | None = None,
    *,
    options: Mapping[str, Options] | None = None,
) -> Comparison:
    """What each method makes of the Q and C maps of an architecture (DKS, section 26).

    ``"plain"`` takes the architecture as it is; ``"lecun"``, ``"glorot"``, ``"he"``, ``"forward"`` and ``"backward"``
    set weight variances (`initialization`); ``"edge_of_chaos"`` sets weight and bias variances, by default those of the
    fixed point nearest to 1 that does not repel; ``"selu"`` makes each activation self-normalizing (`selu_like`);
    ``"dks"`` and ``"tat"`` transform them (by default with zeta = 1.5, and with tau = 0.3 and, for functions linear on
    either side of zero, eta = 0.9). All but ``"plain"`` and those that set variances use weight variance 1, no biases.

    Parameters
    ----------
    arch
        An architecture with one output and numeric weights.
    methods
        Names of methods, in the order of the rows.
    c
        The grid for the deviation, values in [-1, 1]; by default 257 values equally spaced in arccos c.
    options
        Keyword arguments by method: ``{"dks": {"zeta": 1.1}, "edge_of_chaos": {"bias_variance": 0.05}}``. ``"dks"`` and
        ``"tat"`` take those of `dks` and `tat`, ``"selu"`` takes ``parameter``, and ``"edge_of_chaos"`` the variances
        and ``q_range``.

    Returns
    -------
    Comparison
        A method that is impossible for these activations or this graph has a row with the reason.

    Raises
    ------
    ArgumentError
        For an unknown method or option, c outside [-1, 1], or what is not an architecture.
    ArchitectureError, ActivationError
        If the architecture has no Q and C maps at all, several outputs, or unknown activations.
    """
    architecture(arch)
    if not isinstance(methods, (list, tuple)) or not methods:
        raise ArgumentError("methods", f"it is a list of names, not {methods!r}", f"choose from {', '.join(METHODS)}")
    given = {} if options is None else options
    if not isinstance(given, Mapping) or not all(isinstance(one, Mapping) for one in given.values()):
        raise ArgumentError(
            "options", f"they are keyword arguments by method, not {options!r}", "give {'dks': {'zeta': 1.1}}"
        )
    for method in (*methods, *given):
        if not isinstance(method, str) or method not in METHODS:
            raise ArgumentError("methods", f"no method is called {method!r}", f"choose from {', '.join(METHODS)}")
    grid = np.cos(np.linspace(0, math.pi, 257)) if c is None else correlation(c).ravel()
    if not grid.size:
        raise ArgumentError("c", "the grid is empty", "give some values in [-1, 1]")
    refuse_without_maps(arch)
    resolved(arch)
    _ = network_maps(arch).target
    rows = {method: _row(arch, method, given.get(method, {}), grid) for method in dict.fromkeys(methods)}
    return Comparison(arch, rows)


def _row(arch: Architecture, method: str, options: Options, grid: Array) -> Row:
    try:
        prepared = prepare(arch, method, options)
    except ArgumentError as error:
        if options:
            raise
        return Row(method, reason=str(error))
    except QCMapError as error:
        return Row(method, reason=str(error))
    try:
        return _measured(method, prepared, grid)
    except QCMapError as error:
        return Row(method, reason=str(error))


def _measured(method: str, prepared: Prepared, grid: Array) -> Row:
    maps = network_maps(prepared.architecture, prepared.shaping)
    arch = prepared.architecture
    values = {node: float(q) for node, q in maps.propagate_q().items()}
    inner = [q for node, q in values.items() if not isinstance(arch[node].op, Input)] or list(values.values())
    start, below, low, high = (float(x) for x in maps.c([0.0, -1.0, -0.5, 0.5]))
    slope_0, slope_1 = (float(x) for x in maps.dc([0.0, 1.0]))
    deviation = float(np.max(np.abs(maps.c(grid) - grid)))
    numbers: dict[str, Any] = {
        "q": values[maps.target],
        "q_min": min(inner),
        "q_max": max(inner),
        "q_slope": float(maps.dq()),
        "c0": start,
        "c_minus1": below,
        "c_slope_0": slope_0,
        "c_slope_1": slope_1,
        "deviation": deviation,
        "nl": math.sqrt(max(0.0, 1 - slope_0)),
        "na": math.sqrt(max(0.0, 1 - slope_0 / slope_1)) if slope_1 > 0 else 0.0,
    }
    bad = next((name for name, value in numbers.items() if not math.isfinite(value)), None)
    if bad is not None:
        raise NumericalError(arch.name, f"{bad} is not a finite number under {method}", "use a shallower network")
    return Row(
        method, **numbers, behaviour=behaviour(high - low, slope_1, deviation), mu=_mu(maps, values), note=prepared.note
    )


def behaviour(contrast: float, slope: float, deviation: float) -> Behaviour:
    """The class of a C map with C(1/2) - C(-1/2), C'(1) and max abs(C(c) - c); see `Row`."""
    if contrast < CONTRAST:
        return "exploded" if slope > TORN else "collapsed"
    return "linear" if deviation < LINEAR else "well-behaved"


def _mu(maps: NetworkMaps, values: Mapping[str, float]) -> float | None:
    """mu(psi), if all nonlinear nodes have one C'(1) = psi >= 1 at one q value and there are no biases."""
    arch = maps.architecture
    if any(isinstance(node.op, Affine) and node.op.bias_variance != 0 for node in arch.nodes):
        return None
    nodes = [node for node in arch.nodes if isinstance(node.op, Nonlinear)]
    at = [values[node.inputs[0]] for node in nodes]
    if not nodes or max(at) - min(at) > 1e-9 * max(at):
        return None
    slopes = [float(maps.local(node.id).dc(1.0, at[0], at[0])) for node in nodes]
    if max(slopes) - min(slopes) > 1e-9 or max(slopes) < 1 - 1e-9:
        return None
    return float(maximal_slope(arch)(max(1.0, *slopes)))
