"""Many gated networks of one size at once: their tangent kernels, and gradient descent on all examples.

The experiments about depth have a step size of their own for each run, 0.1 / rho_max(K_0), and no batches; so all runs
of a setting are one stack of matrices.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from qcmap.errors import NumericalError

Array = NDArray[np.float64]
Gating = Callable[[int, Tensor], Tensor]
"""From a hidden layer, counted from 0, and its pre-activations [runs, n, w] to its gates."""


@dataclass
class Stack:
    """Gated networks with one output: ``weights`` of layers [runs, inputs, outputs], gates by hidden layer.

    The loss of a run is 1/2 sum over examples of (output - target)^2, so that e_{t+1} = e_t - alpha K_t e_t to first
    order (NPF, proposition 1.1; DGN (1)).
    """

    weights: list[Tensor]
    gating: Gating

    def run(self, x: Tensor) -> tuple[list[Tensor], list[Tensor], Tensor]:
        """What each layer reads, the gates, and the outputs [runs, n], for inputs [runs, n, channels]."""
        read, gates = [x], []
        for k, weight in enumerate(self.weights[:-1]):
            q = read[-1] @ weight
            gates.append(self.gating(k, q))
            read.append(q * gates[-1])
        return read, gates, (read[-1] @ self.weights[-1])[..., 0]

    def backward(self, gates: Sequence[Tensor], seed: Tensor) -> list[Tensor]:
        """Derivatives in each layer's outputs, gates held fixed, if those in the network's output are ``seed``."""
        found = [seed[..., None]]
        for weight, gate in zip(reversed(self.weights[1:]), reversed(gates), strict=True):
            found.insert(0, gate * (found[0] @ weight.mT))
        return found

    def kernel(self, x: Tensor) -> Tensor:
        """K [runs, n, n] = sum over layers of (z_{l-1} z_{l-1}') * (delta_l delta_l').

        The derivative of an output in a layer's weights is z_{l-1} delta_l', and inner products of such matrices are
        products of two inner products.
        """
        read, gates, outputs = self.run(x)
        deltas = self.backward(gates, torch.ones_like(outputs))
        total = torch.zeros(len(x), x.shape[1], x.shape[1], dtype=x.dtype)
        for z, delta in zip(read, deltas, strict=True):
            total += (z @ z.mT) * (delta @ delta.mT)
        return total

    def descend(self, x: Tensor, y: Tensor, rates: Tensor, steps: int) -> Array:
        """Gradient descent with a rate for each run; ||e_t||^2 / ||e_0||^2 as [steps + 1, runs].

        Raises
        ------
        NumericalError
            If a run diverges.
        """
        errors = []
        for step in range(steps + 1):
            read, gates, outputs = self.run(x)
            e = outputs - y
            errors.append(e.square().sum(1))
            if step == steps:
                break
            deltas = self.backward(gates, e)
            moves = [z.mT @ delta for z, delta in zip(read, deltas, strict=True)]
            self.weights = [w - rates[:, None, None] * move for w, move in zip(self.weights, moves, strict=True)]
        curve = torch.stack(errors).double().numpy()
        if not np.isfinite(curve).all():
            raise NumericalError("descent", "a run diverges", "take a smaller rate")
        return curve / curve[0]


def relu_gates(layer: int, q: Tensor) -> Tensor:
    """The gates of ReLU."""
    return (q > 0).to(q.dtype)


def open_gates(layer: int, q: Tensor) -> Tensor:
    """The gates of linear networks."""
    return torch.ones_like(q)


def fixed_gates(gates: Sequence[Tensor]) -> Gating:
    """Gates that are given, whatever the pre-activations."""
    return lambda layer, q: gates[layer]


def signs(
    runs: int, inputs: int, width: int, depth: int, sigma: float, random: torch.Generator, dtype: torch.dtype
) -> list[Tensor]:
    """Weights +sigma and -sigma with equal chance, for ``depth`` layers and one output (DGN, assumption 1)."""
    sizes = [inputs, *[width] * (depth - 1), 1]
    return [sigma * (2.0 * torch.randint(2, (runs, k, m), generator=random) - 1).to(dtype) for k, m in pairwise(sizes)]


def spectra(kernels: Tensor) -> Array:
    """The eigenvalues [runs, n] of symmetric matrices, in ascending order."""
    return np.linalg.eigvalsh(kernels.double().numpy())
