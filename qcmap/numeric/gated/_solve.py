"""The reduced dynamics in numbers: flow, descent, times to learn, steady states."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from qcmap.architecture.gated._checks import check_kind, checked_number
from qcmap.errors import ArgumentError, NumericalError
from qcmap.numeric.gated._integrate import check_descent, check_overflow, checked_times, integrated
from qcmap.numeric.gated._reduce import scalars
from qcmap.symbolic.gated._quotient import Error, Quotient
from qcmap.symbolic.gated._reduced import Reduced

Array: TypeAlias = NDArray[np.float64]
Start: TypeAlias = "float | Mapping[str, ArrayLike] | Array"


@dataclass(frozen=True, eq=False)
class Solution:
    """The variables of a reduced network along its flow or descent.

    Attributes
    ----------
    reduced
        What was solved.
    times
        In units of tau; for descent, step numbers.
    values
        [times, classes, modes].
    losses
        The loss (1), if the task has ``<|y|^2>``; else less its value at B = 0.
    drift
        The largest change of a first integral, relative to its largest term: an error of the solver (0 for descent,
        which does not conserve them).
    """

    reduced: Reduced
    times: Array
    values: Array
    losses: Array
    drift: float
    dense: Any = None

    def __getitem__(self, name: str) -> Array:
        """The values [times, modes] of one variable."""
        names = [str(symbol) for symbol in self.reduced.symbols]
        if name not in names:
            raise ArgumentError(name, "it is no variable", f"choose one of {', '.join(names)}")
        return self.values[:, names.index(name)]

    def __call__(self, time: float) -> Array:
        """The variables [classes, modes] at any time up to the last, of a flow."""
        if self.dense is None or not 0 <= checked_number("time", time) <= self.times[-1]:
            raise ArgumentError("time", f"{time} is not within the flow", f"stay in 0 .. {self.times[-1]:g} of a flow")
        return self.dense(time).reshape(self.values.shape[1:])

    def learned(self, values: Array | None = None) -> Array:
        """How much of each mode is learned: the mean of map / (S/D), weighted by what it adds to the loss.

        ``values`` are [classes, modes]; those of all times, giving [times, modes], if left out.
        """
        numeric = _numeric(self.reduced)
        if values is not None:
            return _learned(numeric, scalars(self.reduced, values))
        return np.stack([_learned(numeric, row) for row in self.values])

    def times_to(self, fraction: float = 0.5) -> Array:
        """For each mode the first time at which this fraction of it is learned; infinity if that is after the end.

        Raises
        ------
        ArgumentError
            For a fraction outside (0, 1), for a descent, or where an output sees correlated inputs, whose targets do
            not belong to one input each.
        """
        from scipy.optimize import brentq

        if not 0 < checked_number("fraction", fraction) < 1:
            raise ArgumentError("fraction", f"it lies between 0 and 1, not {fraction}", "give e.g. 0.5")
        if self.dense is None:
            raise ArgumentError("solution", "it is a descent, known at its steps only", "solve the flow")
        grid = np.union1d(self.times, self.dense.ts)
        table = np.stack([self.learned(self(time)) for time in grid])
        found = np.full(table.shape[1], np.inf)
        for mode, column in enumerate(table.T):
            above = np.flatnonzero(column >= fraction)
            if len(above) and above[0] == 0:
                found[mode] = 0.0
            elif len(above):
                a, b = grid[above[0] - 1 : above[0] + 1].tolist()
                root: Any = brentq(lambda t, m=mode: self.learned(self(t))[m] - fraction, a, b, xtol=1e-12 * b)
                found[mode] = root
        return found

    def __repr__(self) -> str:
        _, classes, modes = self.values.shape
        return f"<solution: {classes} variables of {modes} modes, {len(self.times)} times to {self.times[-1]:g}>"

    def to_dict(self) -> dict[str, Any]:
        """Times, losses, drift and the values of each variable as lists."""
        rows = {str(s): self.values[:, k].tolist() for k, s in enumerate(self.reduced.symbols)}
        return {"times": self.times.tolist(), "losses": self.losses.tolist(), "drift": self.drift, "values": rows}


def solve(
    reduced: Reduced, start: Start, times: Sequence[float] | Array, *, rtol: float = 1e-11, atol: float = 1e-13
) -> Solution:
    """The flow of a reduced network with numbers for S and D, from these values of its variables.

    Parameters
    ----------
    reduced
        Made from data; or from symbols and then ``reduced.substitute(S=..., D=...)``.
    start
        One number for all variables, values by variable (a number, or one a mode), or an array [classes, modes].
    times
        In units of tau, 0 first.

    Raises
    ------
    ArgumentError
        For symbols without numbers, a start or times that do not fit, or tolerances out of range.
    NumericalError
        If the flow overflows at the start, the integration fails, or a first integral drifts by more than 1e-7.
    """
    grid, begin, numeric = checked_times(times), scalars(reduced, start), _numeric(reduced)
    shape = begin.shape
    found = integrated(
        "solve", lambda flat: _flow(numeric, flat.reshape(shape)).ravel(), begin.ravel(), grid,
        rtol=rtol, atol=atol, dense=True,
    )  # fmt: skip
    values = found.y.T.reshape(len(grid), *shape)
    drift = _checked_drift("solve", reduced, values)
    return Solution(reduced, grid, values, _losses(reduced, numeric, values), drift, found.sol)


def descend(reduced: Reduced, start: Start, rate: float, steps: int) -> Solution:
    """Gradient descent B <- B + rate * (tau dB/dt) on the reduced network: that of the full one, from such weights.

    ``rate`` is the step in the weights of the loss (1). Parameters and errors are otherwise those of `solve`.
    """
    check_descent(rate, steps)
    now, numeric = scalars(reduced, start), _numeric(reduced)
    values = [now]
    for step in range(1, steps + 1):
        with np.errstate(over="ignore", invalid="ignore"):
            now = now + rate * _flow(numeric, now)
        if not np.isfinite(now).all():
            raise NumericalError("descend", f"descent diverges at step {step}", "give a smaller rate")
        values.append(now)
    table = np.stack(values)
    return Solution(reduced, np.arange(steps + 1.0), table, _losses(reduced, numeric, table), 0.0)


@dataclass(frozen=True)
class Equilibrium:
    """Where a flow ends up.

    Attributes
    ----------
    values
        [classes, modes].
    rates
        For each mode, the eigenvalues of the Jacobian, largest real part first. First integrals make as many of them
        zero; steady states that come in families more.
    stable
        For each mode, whether no eigenvalue is positive and as many are zero as there are first integrals.
    """

    values: Array
    rates: Array
    stable: NDArray[np.bool_]

    def __repr__(self) -> str:
        return f"<equilibrium of {self.values.shape[1]} modes, {int(self.stable.sum())} of them stable>"

    def to_dict(self) -> dict[str, Any]:
        """Values, rates and stability as lists."""
        return {name: getattr(self, name).tolist() for name in ("values", "rates", "stable")}


def equilibrium(reduced: Reduced, start: Start, *, longest: float = 1e6) -> Equilibrium:
    """The steady state that the flow from these values reaches.

    Raises
    ------
    ArgumentError
        As `solve`.
    NumericalError
        If the rates are not below 1e-9 of the largest seen by the time ``longest``, or as `solve`.
    """
    begin, numeric = scalars(reduced, start), _numeric(reduced)

    def flow(flat: Array) -> Array:
        with np.errstate(over="ignore", invalid="ignore"):
            return _flow(numeric, flat.reshape(begin.shape)).ravel()

    with np.errstate(over="ignore", invalid="ignore"):
        # A start at rest has no rates to compare with: so the Jacobian times the values counts as well.
        rates, beside = flow(begin.ravel()), flow(0.999 * begin.ravel())
        largest = float(np.maximum(np.abs(rates), 1000 * np.abs(rates - beside)).max())
    check_overflow("equilibrium", "the flow at the start", rates)

    def restless(flat: Array) -> float:
        nonlocal largest
        rate = float(np.abs(flow(flat)).max())
        largest = max(largest, rate)
        return rate - 1e-9 * largest

    now = begin
    if restless(begin.ravel()) > 0:
        times = checked_times([0.0, checked_number("longest", longest)])
        found = integrated("equilibrium", flow, begin.ravel(), times, rtol=1e-11, atol=1e-13, until=restless)
        if not len(found.y_events[0]):
            raise NumericalError("equilibrium", f"the flow is not at rest after {longest:g}", "give a longer time")
        now = found.y_events[0][-1].reshape(begin.shape)
    _checked_drift("equilibrium", reduced, np.stack([begin, now]))
    jacobian = _jacobian(numeric, now)
    eigenvalues = np.linalg.eigvals(jacobian.transpose(2, 0, 1))
    rates = np.sort(np.asarray(eigenvalues.real, dtype=np.float64), axis=1)[:, ::-1]
    scale = np.abs(rates).max(axis=1, keepdims=True)
    zero, positive = np.abs(rates) <= 1e-6 * scale, rates > 1e-6 * scale
    stable = ~positive.any(axis=1) & (zero.sum(axis=1) == len(reduced.integral_rows))
    return Equilibrium(now, rates, stable)


def _jacobian(numeric: Quotient, values: Array) -> Array:
    """d flow_i / d b_j, [classes, classes, modes], by steps in the imaginary direction: exact to rounding."""
    columns = []
    for j in range(len(values)):
        moved = values.astype(complex)
        moved[j] += 1e-30j
        columns.append(np.imag(_flow(numeric, moved)) / 1e-30)
    return np.stack(columns, axis=1)


def _numeric(reduced: Reduced) -> Quotient:
    """The circuit with floats; raises `ArgumentError` for what is no reduced network, or if symbols are left."""
    check_kind("reduced", reduced, Reduced, "give reduce(network)")
    free: set[str] = set()

    def number(table: str, value: Any) -> Any:
        if isinstance(value, np.ndarray):
            return value
        if symbols := getattr(value, "free_symbols", None):
            free.update(map(str, symbols))
            return value
        return float(value)

    numeric = reduced.quotient.map(number)
    if free:
        rule = f"{', '.join(sorted(free))} {'has no number' if len(free) == 1 else 'have no numbers'}"
        raise ArgumentError("reduced", rule, "use reduced.substitute(...) first")
    return numeric


def _flow(numeric: Quotient, values: Array) -> Array:
    rates = np.empty_like(values)
    for k, rate in enumerate(numeric.flow(list(values))):
        rates[k] = rate
    return rates


def _losses(reduced: Reduced, numeric: Quotient, values: Array) -> Array:
    task = reduced.network.task
    start = 0.0 if task.yy is None else float(task.probability.numbers() @ task.yy.numbers()) / 2
    return np.array([start + float(np.sum(numeric.loss(list(row)))) for row in values])


def _checked_drift(name: str, reduced: Reduced, values: Array) -> float:
    """The largest change of a first integral along [times, classes, modes]; raises `NumericalError` above 1e-7."""
    worst = 0.0
    for row in reduced.integral_rows:
        terms = np.array(row)[:, None] * values**2
        now, size = terms.sum(axis=1), np.abs(terms).max()
        worst = max(worst, float(np.abs(now - now[0]).max() / max(size, 1e-300)))
    if worst > 1e-7:
        raise NumericalError(name, f"a first integral drifts by {worst:.1e}", "give a smaller rtol or start")
    return worst


def _learned(numeric: Quotient, values: Array) -> Array:
    cells = numeric.values(list(values))
    got = wanted = 0.0
    for count, error, front in numeric.losses:
        cell = numeric.cells[error]
        assert isinstance(cell, Error)
        if cell.target < 0:
            continue
        if len(cell.terms) != 1:
            raise ArgumentError("solution", "an output sees several correlated inputs", "follow the loss instead")
        target = numeric.targets[cell.target]
        weight = count * numeric.probabilities[cell.probability] * target
        moment = numeric.inputs[cell.terms[0][0]]
        full = np.divide(
            target, moment, out=np.zeros(np.broadcast(target, moment).shape), where=np.asarray(target) != 0
        )
        got, wanted = got + weight * cells[front], wanted + weight * full
    return np.broadcast_to(got / np.where(wanted == 0, 1.0, wanted), values.shape[1:])
