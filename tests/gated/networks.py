"""The outputs of Fig. 4, and the gradient of random networks by torch."""

import numpy as np
import torch

import qcmap as qc
from qcmap.architecture import Affine, Gate, Input, Scale, Sum

HIERARCHY = np.array([6, 4, 4, 3, 3, 3, 3])[:, None] * np.array(
    [[1, 1, 1, 1], [1, 1, 0, 0], [0, 0, 1, 1], *np.eye(4).tolist()]
)
"""The outputs of Fig. 4: 7 features of 4 items; singular values 13.60, 6.40, 3, 3."""


def plain_loss(arch: qc.Architecture, contexts: list[dict], weights: dict) -> torch.Tensor:
    """The loss (1), in torch, straight from the definition in section 2."""
    total = torch.zeros((), dtype=torch.float64)
    for context in contexts:
        values = {}
        for node in arch.nodes:
            op, read = node.op, [values[name] for name in node.inputs]
            if isinstance(op, Input):
                value = torch.tensor(context["inputs"][node.id])
            elif isinstance(op, Affine):
                value = weights[node.id] @ read[0]
            elif isinstance(op, Gate):
                value = context["gates"].get(op.name, 0.0) * read[0]
            elif isinstance(op, Sum):
                value = sum(w * x for w, x in zip(op.weights, read, strict=True))
            else:
                value = op.factor * read[0] if isinstance(op, Scale) else read[0]
            values[node.id] = value
        for name in arch.outputs:
            error = torch.tensor(context["targets"][name]) - values[name]
            total = total + context["probability"] * (error**2).sum() / error.shape[1] / 2
    return total


def autograd(arch: qc.Architecture, contexts: list[dict], weights: dict) -> tuple[float, dict]:
    """The plain loss and its gradient by torch."""
    leaves = {edge: torch.tensor(matrix, requires_grad=True) for edge, matrix in weights.items()}
    loss = plain_loss(arch, contexts, leaves)
    found = torch.autograd.grad(loss, list(leaves.values()), allow_unused=True)
    gradient = {
        edge: np.zeros_like(weights[edge]) if g is None else g.numpy() for edge, g in zip(leaves, found, strict=True)
    }
    return float(loss.detach()), gradient
