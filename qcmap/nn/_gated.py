"""A gated deep linear network in torch: the same loss, by autograd, trained by plain gradient descent or flow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from qcmap.architecture import Affine, Input
from qcmap.architecture.gated._checks import check_count
from qcmap.architecture.gated._network import GatedNetwork
from qcmap.errors import ArgumentError, NumericalError
from qcmap.numeric.gated._full import FullFlow, Trajectory
from qcmap.numeric.gated._integrate import check_descent, check_overflow, checked_times, integrated

Array = NDArray[np.float64]


class GatedModule(nn.Module):
    """The weight matrices of a gated network as torch parameters; ``forward()`` is the loss (1) of its task.

    The examples are those of `qcmap.gated.FullFlow`, so the two agree to rounding in float64. They are buffers that go
    with the module to another device or dtype; they are no part of its state, which is the weights.

    Parameters
    ----------
    network
        A network with data.
    weights
        A matrix for each edge.
    dtype, device
        Of parameters and data.

    Raises
    ------
    ArgumentError
        For weights that do not fit, or a network without data.
    DataError
        For moments that no data have.
    """

    def __init__(
        self,
        network: GatedNetwork,
        weights: Mapping[str, Array],
        *,
        dtype: torch.dtype = torch.float64,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__()
        self.network = network
        flow = FullFlow(network)
        flow.loss(weights)  # refuses weights that do not fit
        columns = flow.columns

        def tensor(array: Array) -> Tensor:
            return torch.tensor(np.asarray(array), dtype=dtype, device=device)

        self._names = {edge: f"edge{k}" for k, edge in enumerate(flow.shapes)}
        for edge, name in self._names.items():
            self.register_parameter(name, nn.Parameter(tensor(weights[edge])))
        self._rest = float(columns.unreached.sum())
        self._cells = columns.cells
        for k, block in enumerate(columns.inputs):
            self._keep(f"input{k}", tensor(block))
        for k, block in enumerate(columns.targets):
            self._keep(f"target{k}", tensor(block))
        for v, node in enumerate(columns.cells.nodes):
            for k, term in enumerate(node.terms):
                self._keep(f"at{v}_{k}", torch.tensor(term.at, device=device))
                self._keep(f"take{v}_{k}", torch.tensor(term.take, device=device))
                if term.weight is not None:
                    self._keep(f"scale{v}_{k}", tensor(term.weight.numbers()))

    def _keep(self, name: str, data: Tensor) -> None:
        self.register_buffer(name, data, persistent=False)

    @property
    def weights(self) -> dict[str, Tensor]:
        """The parameter of each edge."""
        return {edge: self.get_parameter(name) for edge, name in self._names.items()}

    def forward(self) -> Tensor:
        """The loss (1)."""
        arch, values = self.network.architecture, []
        weights = self.weights
        for v, node in enumerate(arch.nodes):
            count = len(self._cells.nodes[v].lanes)
            terms = self._cells.nodes[v].terms
            if isinstance(node.op, Input):
                value = self.get_buffer(f"input{arch.inputs.index(node.id)}")
            elif isinstance(node.op, Affine):
                matrix = weights[node.id]
                parts = [values[term.source][:, self.get_buffer(f"take{v}_{k}")] for k, term in enumerate(terms)]
                value = matrix @ parts[0] if parts else matrix.new_zeros(len(matrix), 0)
            else:
                rows = len(values[arch.predecessors[v][0]])
                value = values[arch.predecessors[v][0]].new_zeros(rows, count)
                for k, term in enumerate(terms):
                    at, take, scale = (self.get_buffer(f"{what}{v}_{k}") for what in ("at", "take", "scale"))
                    value = value.index_add(1, at, scale * values[term.source][:, take])
            values.append(value)
        total = values[0].new_tensor(self._rest)
        for k, v in enumerate(self._cells.outputs):
            total = total + ((self.get_buffer(f"target{k}") - values[v]) ** 2).sum() / 2
        return total

    def descend(self, rate: float, steps: int, *, every: int = 1) -> Trajectory:
        """Gradient descent on the loss (1) by autograd, recorded at step 0 and every so many steps.

        Raises
        ------
        ArgumentError
            For a rate that is not a positive number or counts that are no positive integers.
        NumericalError
            If the loss is not finite.
        """
        check_descent(rate, steps)
        check_count("every", every)
        optimiser = torch.optim.SGD(self.parameters(), lr=rate)
        kept, losses, at = [], [], []
        for step in range(steps + 1):
            optimiser.zero_grad(set_to_none=True)
            loss = self()
            value = loss.item()
            if not np.isfinite(value):
                raise NumericalError(
                    self.network.architecture.name, f"descent diverges at step {step}", "lower the rate"
                )
            if step % every == 0:
                kept.append(self._arrays())
                losses.append(value)
                at.append(step)
            if step < steps:
                loss.backward()
                optimiser.step()
        return self._trajectory(np.array(at, dtype=float), losses, kept)

    def flow(self, times: Sequence[float] | Array, *, rtol: float = 1e-10, atol: float = 1e-12) -> Trajectory:
        """Gradient flow tau dW/dt = -dL/dW by autograd, at given times in units of tau, the first one 0.

        scipy chooses the steps (DOP853), the loss and its gradient are computed where the module is. The module is left
        with the weights of the last time.

        Raises
        ------
        ArgumentError
            For times that do not begin with 0 and grow, tolerances out of range, or a module that is not float64.
        NumericalError
            If the flow or loss overflows, or the integration fails.
        """
        parameters, name = list(self.parameters()), self.network.architecture.name
        if any(parameter.dtype != torch.float64 for parameter in parameters):
            raise ArgumentError("dtype", "rounding is above the flow's tolerance", "call double() on the module first")

        def slope(flat: Array) -> Array:
            self._set(flat)
            gradients = torch.autograd.grad(self(), parameters, allow_unused=True, materialize_grads=True)
            return -_flat(gradients)

        grid = checked_times(times)
        found = integrated(name, slope, _flat(parameters), grid, rtol=rtol, atol=atol)
        kept, losses = [], []
        for flat in found.y.T:
            self._set(flat)
            with torch.no_grad():
                losses.append(self().item())
            kept.append(self._arrays())
        check_overflow(name, "the loss", np.array(losses))
        return self._trajectory(grid, losses, kept)

    def _set(self, flat: Array) -> None:
        """Write all weights, one after another in a vector, into the parameters."""
        parameters = list(self.parameters())
        parts = torch.from_numpy(flat).split([parameter.numel() for parameter in parameters])
        with torch.no_grad():
            for parameter, part in zip(parameters, parts, strict=True):
                parameter.copy_(part.view_as(parameter))

    def _arrays(self) -> dict[str, Array]:
        return {edge: weight.detach().cpu().numpy().astype(float) for edge, weight in self.weights.items()}

    def _trajectory(self, times: Array, losses: Sequence[float], kept: Sequence[Mapping[str, Array]]) -> Trajectory:
        weights = {edge: np.stack([one[edge] for one in kept]) for edge in self._names}
        return Trajectory(times, np.array(losses), weights)


def _flat(tensors: Sequence[Tensor]) -> Array:
    return torch.cat([tensor.detach().reshape(-1) for tensor in tensors]).cpu().numpy()
