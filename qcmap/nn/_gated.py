"""A gated deep linear network in torch: the same loss, by autograd, trained by plain gradient descent."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from qcmap.architecture import Affine, Input
from qcmap.architecture.gated._network import GatedNetwork
from qcmap.errors import ArgumentError, NumericalError
from qcmap.numeric.gated._full import FullFlow, Trajectory

Array = NDArray[np.float64]


class GatedModule(nn.Module):
    """The weight matrices of a gated network as torch parameters; ``forward()`` is the loss (1) of its task.

    The examples are those of `qcmap.gated.FullFlow`, so the two agree to rounding in float64.

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
        self._inputs = [tensor(block) for block in columns.inputs]
        self._targets = [tensor(block) for block in columns.targets]
        self._rest = float(columns.unreached.sum())
        self._cells = columns.cells
        self._terms = [
            [
                (
                    term.source,
                    torch.tensor(term.at, device=device),
                    torch.tensor(term.take, device=device),
                    None if term.weight is None else tensor(term.weight.numbers()),
                )
                for term in node.terms
            ]
            for node in columns.cells.nodes
        ]

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
            if isinstance(node.op, Input):
                value = self._inputs[arch.inputs.index(node.id)]
            elif isinstance(node.op, Affine):
                matrix = weights[node.id]
                parts = [values[u][:, take] for u, _, take, _ in self._terms[v]]
                value = matrix @ parts[0] if parts else matrix.new_zeros(len(matrix), 0)
            else:
                rows = len(values[arch.predecessors[v][0]])
                value = values[arch.predecessors[v][0]].new_zeros(rows, count)
                for u, at, take, scale in self._terms[v]:
                    value = value.index_add(1, at, scale * values[u][:, take])
            values.append(value)
        total = values[0].new_tensor(self._rest)
        for v, target in zip(self._cells.outputs, self._targets, strict=True):
            total = total + ((target - values[v]) ** 2).sum() / 2
        return total

    def descend(self, rate: float, steps: int, *, every: int = 1) -> Trajectory:
        """Gradient descent on the loss (1) by autograd, recorded at step 0 and every so many steps.

        Raises
        ------
        ArgumentError
            For a rate or counts that are not positive.
        NumericalError
            If the loss is not finite.
        """
        if not rate > 0 or steps < 1 or every < 1:
            raise ArgumentError("rate", f"rate {rate}, steps {steps} and every {every} must be positive", "change them")
        optimiser = torch.optim.SGD(self.parameters(), lr=rate)
        kept, losses, at = [], [], []
        for step in range(steps + 1):
            optimiser.zero_grad(set_to_none=True)
            loss = self()
            value = loss.item()
            if not np.isfinite(value):
                raise NumericalError(self.network.architecture.name, f"descent diverges at step {step}", "lower rate")
            if step % every == 0:
                kept.append({edge: w.detach().cpu().numpy().astype(float) for edge, w in self.weights.items()})
                losses.append(value)
                at.append(step)
            if step < steps:
                loss.backward()
                optimiser.step()
        weights = {edge: np.stack([one[edge] for one in kept]) for edge in self._names}
        return Trajectory(np.array(at, dtype=float), np.array(losses), weights)
