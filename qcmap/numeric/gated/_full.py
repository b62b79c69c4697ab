"""The full matrix flow (2) in numpy: one pass forward and one backward over the open cells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from qcmap.architecture.gated._cells import Term
from qcmap.architecture.gated._checks import check_count, check_kind, checked_number, real_array
from qcmap.architecture.gated._network import GatedNetwork
from qcmap.errors import ArgumentError, NumericalError
from qcmap.numeric.gated._columns import Columns
from qcmap.numeric.gated._integrate import check_descent, check_overflow, checked_times, integrated

Array: TypeAlias = NDArray[np.float64]
Weights: TypeAlias = Mapping[str, Array]


@dataclass(frozen=True, eq=False)
class Trajectory:
    """Weights and losses along a flow or descent.

    Attributes
    ----------
    times
        In units of tau; for descent, step numbers.
    losses
        The loss (1) at these times.
    weights
        For each edge, [times, target channels, source channels].
    """

    times: Array
    losses: Array
    weights: Weights

    def at(self, k: int) -> dict[str, Array]:
        """The weights at one of the times."""
        return {edge: matrix[k] for edge, matrix in self.weights.items()}

    def __repr__(self) -> str:
        return f"<trajectory of {len(self.weights)} edges, loss {self.losses[0]:.6g} to {self.losses[-1]:.6g}>"

    def to_dict(self) -> dict[str, Any]:
        """Times, losses and weights as lists."""
        weights = {edge: matrix.tolist() for edge, matrix in self.weights.items()}
        return {"times": self.times.tolist(), "losses": self.losses.tolist(), "weights": weights}


class FullFlow:
    """The loss (1) of a gated network and its gradient in every weight matrix.

    Cost: each edge multiplies the examples of the contexts in which it is open, so contexts times edges, not pairs of
    paths. Raises `ArgumentError` for what is no network, else as `Columns.of`.
    """

    def __init__(self, network: GatedNetwork) -> None:
        check_kind("network", network, GatedNetwork, "build one, such as routing(7, 4)")
        self.network = network
        self.columns = Columns.of(network)
        self._weights = {
            id(term): term.weight.numbers()
            for node in self.columns.cells.nodes
            for term in node.terms
            if term.weight is not None
        }

    @cached_property
    def shapes(self) -> dict[str, tuple[int, int]]:
        """The shape of each edge's matrix."""
        return {edge: self.network.shape(edge) for edge in self.network.edges}

    def loss(self, weights: Weights) -> float:
        """The loss (1): half the mean squared error, summed over outputs, averaged over contexts.

        Raises, as all methods that take weights, `ArgumentError` naming an edge without a finite matrix of its shape,
        and `NumericalError` if the loss, or what they return, overflows.
        """
        with np.errstate(over="ignore", invalid="ignore"):
            return self._bounded(self._value(checked_weights(self.network, weights)))

    def gradient(self, weights: Weights) -> tuple[float, dict[str, Array]]:
        """The loss and its gradient in each edge's matrix; tau dW/dt is minus that."""
        with np.errstate(over="ignore", invalid="ignore"):
            loss, gradient = self._backward(checked_weights(self.network, weights))
        self._bounded(loss)
        for edge, matrix in gradient.items():
            check_overflow(edge, "its gradient", matrix)
        return loss, gradient

    def _backward(self, weights: Weights) -> tuple[float, dict[str, Array]]:
        cells, nodes = self.columns.cells, self.network.architecture.nodes
        values = self._forward(weights)
        back: list[Array | None] = [None] * len(nodes)
        for v, target in zip(cells.outputs, self.columns.targets, strict=True):
            back[v] = values[v] - target
        loss = self._loss([values[v] for v in cells.outputs])
        gradient: dict[str, Array] = {}
        for v in range(len(nodes) - 1, -1, -1):
            here, edge = back[v], nodes[v].id
            if edge in self.shapes:
                gradient[edge] = np.zeros(self.shapes[edge])
            if here is None:
                continue
            for term in cells.nodes[v].terms:
                scale = self._weights.get(id(term))
                came = here[:, term.at]
                if scale is None:
                    gradient[edge] = came @ values[term.source][:, term.take].T
                    came = weights[edge].T @ came
                else:
                    came = came * scale
                total = back[term.source]
                if total is None:
                    total = back[term.source] = np.zeros_like(values[term.source])
                total[:, term.take] += came
            back[v] = None
        return loss, gradient

    def flow(
        self, weights: Weights, times: Sequence[float] | Array, *, rtol: float = 1e-10, atol: float = 1e-12
    ) -> Trajectory:
        """Gradient flow tau dW/dt = -dL/dW from these weights, at given times in units of tau, the first one 0.

        Raises as `integrated`, and for times that do not begin with 0 and grow.
        """
        grid = checked_times(times)
        found = integrated(
            self.network.architecture.name, lambda flat: -self._flat(self._backward(self._shaped(flat))[1]),
            self._flat(checked_weights(self.network, weights)), grid, rtol=rtol, atol=atol,
        )  # fmt: skip
        steps = [self._shaped(row) for row in found.y.T]
        return self._trajectory(grid, steps)

    def descend(self, weights: Weights, rate: float, steps: int, *, every: int = 1) -> Trajectory:
        """Gradient descent W <- W - rate dL/dW, recorded at step 0 and every so many steps.

        Raises
        ------
        ArgumentError
            For a rate that is not positive or counts that are.
        NumericalError
            If the weights grow beyond all bounds.
        """
        check_descent(rate, steps)
        check_count("every", every)
        now = checked_weights(self.network, weights)
        kept, at = [now], [0]
        for step in range(1, steps + 1):
            with np.errstate(over="ignore", invalid="ignore"):
                loss, gradient = self._backward(now)
            if not np.isfinite(loss):
                raise NumericalError(
                    self.network.architecture.name, f"descent diverges at step {step}", "lower the rate"
                )
            now = {edge: matrix - rate * gradient[edge] for edge, matrix in now.items()}
            if step % every == 0:
                kept.append(now)
                at.append(step)
        return self._trajectory(np.array(at, dtype=float), kept)

    def integrals(self, weights: Weights) -> dict[int, Array]:
        """The first integrals by hidden layer: sum of W W^T over edges into it, less that of W^T W over edges out.

        The flow conserves them: replacing W by G W into and by W G^-1 out of a layer leaves the loss as it is.
        """
        found: dict[int, Array] = {}
        weights = checked_weights(self.network, weights)
        for edge, (rows, columns) in self.shapes.items():
            source, target = self.network.ends(edge)
            with np.errstate(over="ignore", invalid="ignore"):
                if target in self.network.hidden:
                    found[target] = found.get(target, np.zeros((rows, rows))) + weights[edge] @ weights[edge].T
                if source in self.network.hidden:
                    found[source] = found.get(source, np.zeros((columns, columns))) - weights[edge].T @ weights[edge]
            for layer in {source, target} & found.keys():
                check_overflow(edge, "a first integral at its end", found[layer])
        return found

    def context_losses(self, weights: Weights) -> Array:
        """The loss of each context: half its mean squared error, summed over outputs. (1) is their weighted mean."""
        cells, losses = self.columns.cells, self.columns.unreached.copy()
        with np.errstate(over="ignore", invalid="ignore"):
            values = self._forward(checked_weights(self.network, weights))
            for v, target in zip(cells.outputs, self.columns.targets, strict=True):
                squares = ((target - values[v]) ** 2).sum(axis=0) / 2
                np.add.at(losses, cells.lanes.context[cells.nodes[v].lanes], squares)
        self._bounded(float(losses.sum()))
        return losses / self.network.task.probability.numbers()

    def _trajectory(self, times: Array, steps: Sequence[Weights]) -> Trajectory:
        with np.errstate(over="ignore", invalid="ignore"):
            losses = np.array([self._bounded(self._value(step)) for step in steps])
        return Trajectory(times, losses, {edge: np.stack([step[edge] for step in steps]) for edge in self.shapes})

    def _forward(self, weights: Weights) -> list[Array]:
        arch, cells, values = self.network.architecture, self.columns.cells, []
        for v, node in enumerate(arch.nodes):
            terms = cells.nodes[v].terms
            if not node.inputs:
                values.append(self.columns.inputs[arch.inputs.index(node.id)])
            elif node.id in self.shapes:
                rows = self.shapes[node.id][0]
                values.append(weights[node.id] @ _taken(values, terms[0]) if terms else np.zeros((rows, 0)))
            else:
                rows = values[arch.predecessors[v][0]].shape[0]
                total = np.zeros((rows, len(cells.nodes[v].lanes)))
                for term in terms:
                    total[:, term.at] += self._weights[id(term)] * _taken(values, term)
                values.append(total)
        return values

    def _value(self, weights: Weights) -> float:
        values = self._forward(weights)
        return self._loss([values[v] for v in self.columns.cells.outputs])

    def _bounded(self, loss: float) -> float:
        if not np.isfinite(loss):
            raise NumericalError(
                self.network.architecture.name, f"the loss overflows to {loss}", "scale the weights down"
            )
        return loss

    def _loss(self, outputs: Sequence[Array]) -> float:
        errors = (float(((y - h) ** 2).sum()) for y, h in zip(self.columns.targets, outputs, strict=True))
        return float(self.columns.unreached.sum()) + sum(errors) / 2

    def _flat(self, weights: Weights) -> Array:
        return np.concatenate([weights[edge].ravel() for edge in self.shapes])

    def _shaped(self, flat: Array) -> dict[str, Array]:
        found, at = {}, 0
        for edge, (rows, columns) in self.shapes.items():
            found[edge] = flat[at : at + rows * columns].reshape(rows, columns)
            at += rows * columns
        return found


def checked_weights(network: GatedNetwork, weights: Weights) -> dict[str, Array]:
    """The matrix of each edge of a network; raises `ArgumentError` naming an edge without a finite one of its shape."""
    check_kind("weights", weights, Mapping, "give a matrix for each edge, by name")
    found = {}
    for edge in network.edges:
        shape = network.shape(edge)
        matrix = checked_matrix(edge, weights[edge]) if edge in weights else None
        if matrix is None or matrix.shape != shape:
            got = "none" if matrix is None else matrix.shape
            raise ArgumentError(edge, f"its weights have the shape {shape}, not {got}", "give one matrix an edge")
        found[edge] = matrix
    return found


def checked_matrix(edge: str, value: object) -> Array:
    """A weight as an array; raises `ArgumentError` naming the edge unless it is a matrix of finite numbers."""
    matrix = real_array(value)
    if matrix is None:
        raise ArgumentError(edge, "its weights are not numbers", "give a matrix")
    if matrix.ndim != 2:
        raise ArgumentError(edge, f"its weights have the shape {matrix.shape}", "give a matrix")
    if not np.isfinite(matrix).all():
        raise ArgumentError(edge, "its weights have a NaN or infinity", "give finite ones")
    return matrix


def _taken(values: Sequence[Array], term: Term) -> Array:
    source = values[term.source]
    return source if len(term.take) == source.shape[1] else source[:, term.take]


def random_weights(
    network: GatedNetwork, *, gain: float = 0.2, kind: Literal["orthogonal", "gaussian", "xavier"] = "orthogonal",
    seed: int = 0,
) -> dict[str, Array]:  # fmt: skip
    """Random initial weights: gain times an orthogonal matrix (NRR, Fig. 4), or with independent normal entries.

    An orthogonal matrix that is not square has orthonormal rows or columns, whichever there are fewer of. Entries of an
    m x n matrix have variance gain^2 / n (``"gaussian"``) or 2 gain^2 / (m + n) (``"xavier"``, the start of NRR,
    section 4.1). Each edge draws from its own stream of the seed.

    Raises
    ------
    ArgumentError
        For what is no network, an unknown kind, or a gain that is not a finite number, zero or larger.
    """
    check_kind("network", network, GatedNetwork, "build one, such as routing(7, 4)")
    if checked_number("gain", gain) < 0:
        raise ArgumentError("gain", f"{gain} is no size of weights", "give a number that is not below zero")
    if not isinstance(seed, int | np.integer) or seed < 0:
        raise ArgumentError("seed", f"it must be an integer that is not below zero, not {seed!r}", "give one")
    if kind not in ("orthogonal", "gaussian", "xavier"):
        raise ArgumentError("kind", f"there is no kind {kind!r}", "choose 'orthogonal', 'gaussian' or 'xavier'")
    found = {}
    for k, edge in enumerate(network.edges):
        rows, columns = network.shape(edge)
        draw = np.random.default_rng([seed, k]).standard_normal((rows, columns))
        if kind != "orthogonal":
            found[edge] = gain * draw / np.sqrt(columns if kind == "gaussian" else (rows + columns) / 2)
            continue
        tall = draw if rows >= columns else draw.T
        q, r = np.linalg.qr(tall)
        q = q * np.sign(np.diag(r))
        found[edge] = gain * (q if rows >= columns else q.T)
    return found
