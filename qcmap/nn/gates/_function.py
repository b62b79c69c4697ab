"""Gate functions on tensors."""

from __future__ import annotations

import torch
from torch import Tensor

from qcmap.errors import ArgumentError
from qcmap.numeric.paths import _gate_function


class GateFunction(_gate_function.GateFunction):
    """`qcmap.paths.GateFunction` on tensors, with gradients."""

    def __call__(self, q: Tensor) -> Tensor:
        """The gate at pre-activations of any shape, in their type."""
        return (q > 0).to(q.dtype) if self.hard else self.ceiling * torch.sigmoid(self.beta * q)

    def passed(self, q: Tensor) -> Tensor:
        """Q times its gate: ReLU of q for the hard gate."""
        return torch.relu(q) if self.hard else q * self(q)

    def slope(self, q: Tensor) -> Tensor:
        """dG/dq = (1 + epsilon) beta s (1 - s) with s = 1 / (1 + exp(-beta q)); 0 for a hard gate."""
        if self.hard:
            return torch.zeros_like(q)
        s = torch.sigmoid(self.beta * q)
        return self.ceiling * self.beta * s * (1 - s)


def on_tensors(gate: object) -> GateFunction:
    """The gate function on tensors, if it is one on arrays; raises `ArgumentError` for anything else."""
    if not isinstance(gate, _gate_function.GateFunction):
        rule = f"it is a GateFunction, not {type(gate).__name__}"
        raise ArgumentError("gate", rule, "give GateFunction(beta=4)")
    return gate if isinstance(gate, GateFunction) else GateFunction(gate.beta, gate.epsilon)


HARD = GateFunction()
"""The gate of ReLU."""
