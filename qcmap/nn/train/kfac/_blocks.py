"""Blocks of the approximate curvature: one for each layer, Kronecker-factored, one for each other parameter, diagonal.

A block averages what is measured with weights decay^age that sum to 1, the first measurement counting like any other
(no block starts at zero). It multiplies by its damped inverse, and by itself for the norm of an update.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from qcmap.errors import NumericalError


class Average:
    """Exponential average of tensors of one shape: sum_k decay^(n-k) x_k / sum_k decay^(n-k)."""

    def __init__(self, decay: float) -> None:
        self.decay, self.weight = decay, 0.0
        self.value: Tensor | None = None

    def add(self, new: Tensor) -> None:
        """Count one more tensor."""
        self.weight = self.decay * self.weight + 1
        self.value = new if self.value is None else torch.lerp(self.value, new, 1 / self.weight)

    @property
    def known(self) -> Tensor:
        """The average of at least one tensor."""
        assert self.value is not None
        return self.value


class KroneckerBlock:
    """The block A (x) G of a layer's weights and biases, held together as a matrix [out, in (+1 for biases)].

    A [in, in] is the second moment of the layer's inputs, with a 1 appended for biases, and G [out, out] that of the
    derivatives with respect to its outputs. With damping lambda, A becomes A + pi sqrt(lambda) I and G becomes
    G + sqrt(lambda)/pi I with pi^2 = (tr A/in) / (tr G/out) (Martens and Grosse, 2015, section 6.3).
    """

    kind = "Kronecker"

    def __init__(self, names: Sequence[str], parameters: Sequence[nn.Parameter], decay: float) -> None:
        self.names, self.parameters = tuple(names), tuple(parameters)
        self.inputs, self.outputs = Average(decay), Average(decay)
        self.damping = (0.0, 0.0)
        self.inverses: tuple[Tensor, Tensor] | None = None

    def add(self, *factors: Tensor) -> None:
        """Count one more measurement of A and G."""
        for average, factor in zip((self.inputs, self.outputs), factors, strict=True):
            average.add(factor)

    def refresh(self, damping: float) -> None:
        """Invert the damped factors.

        Raises
        ------
        NumericalError
            If one of them is singular to working precision, which takes a very small damping.
        """
        factors = self.inputs.known, self.outputs.known
        means = [float(factor.diagonal().mean()) for factor in factors]
        pi = math.sqrt(means[0] / means[1]) if min(means) > 0 else 1.0
        self.damping = math.sqrt(damping) * pi, math.sqrt(damping) / pi
        inputs, outputs = (_inverse(self.names[0], *pair) for pair in zip(factors, self.damping, strict=True))
        self.inverses = inputs, outputs

    def joined(self, tensors: Sequence[Tensor]) -> Tensor:
        """Tensors of the shapes of the parameters as one matrix, in the precision of the factors."""
        weight, *bias = (tensor.to(self.inputs.known.dtype) for tensor in tensors)
        return torch.cat([weight.flatten(1), *(column[:, None] for column in bias)], dim=1)

    def split(self, matrix: Tensor) -> tuple[Tensor, ...]:
        """The way back from `joined`."""
        columns = matrix.split([matrix.shape[1] - len(self.parameters) + 1, *(1 for _ in self.parameters[1:])], dim=1)
        return tuple(part.reshape(p.shape).to(p.dtype) for part, p in zip(columns, self.parameters, strict=True))

    def solved(self, matrix: Tensor) -> Tensor:
        """The damped inverse times a gradient: (G + ..)^-1 M (A + ..)^-1, as of the last `refresh`."""
        assert self.inverses is not None
        return self.inverses[1] @ matrix @ self.inverses[0]

    def squared_norm(self, matrix: Tensor) -> Tensor:
        """<M, (G + ..) M (A + ..)> with the damped factors, a number."""
        left = torch.addmm(matrix, self.outputs.known, matrix, beta=self.damping[1])
        return (torch.addmm(left, left, self.inputs.known, beta=self.damping[0]) * matrix).sum()

    def state_dict(self) -> dict[str, Any]:
        """Everything but the parameters."""
        return {
            "inputs": self.inputs.value, "outputs": self.outputs.value, "weight": self.inputs.weight,
            "damping": self.damping, "inverses": self.inverses,
        }  # fmt: skip

    def fits(self, state: Mapping[str, Any]) -> bool:
        """Whether the factors have the shapes that the parameters ask for."""
        weight = self.parameters[0]
        extents = weight[0].numel() + len(self.parameters) - 1, len(weight)
        return all(state[key].shape == (n, n) for key, n in zip(("inputs", "outputs"), extents, strict=True))

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` of an equal block gave."""
        place = self.parameters[0].device
        self.inputs.value, self.outputs.value = (state[key].to(place).clone() for key in ("inputs", "outputs"))
        self.inputs.weight = self.outputs.weight = state["weight"]
        self.damping = tuple(state["damping"])
        inverses = state["inverses"]
        self.inverses = None if inverses is None else tuple(inverse.to(place).clone() for inverse in inverses)


class DiagonalBlock:
    """The diagonal of the Fisher matrix for a parameter without Kronecker factors; damping is added to it."""

    kind = "diagonal"

    def __init__(self, names: Sequence[str], parameters: Sequence[nn.Parameter], decay: float) -> None:
        self.names, self.parameters = tuple(names), tuple(parameters)
        self.diagonal = Average(decay)
        self.damping = 0.0

    def add(self, *diagonal: Tensor) -> None:
        """Count one more measurement."""
        (new,) = diagonal
        self.diagonal.add(new)

    def refresh(self, damping: float) -> None:
        """Take over the damping."""
        self.damping = damping

    def joined(self, tensors: Sequence[Tensor]) -> Tensor:
        """The one tensor, in the precision of the diagonal."""
        return tensors[0].to(self.diagonal.known.dtype)

    def split(self, values: Tensor) -> tuple[Tensor, ...]:
        """The way back from `joined`."""
        return (values.to(self.parameters[0].dtype),)

    def solved(self, values: Tensor) -> Tensor:
        """The damped inverse times a gradient; 0 where both are 0, for entries that the function does not depend on."""
        return torch.where(values == 0, 0, values / (self.diagonal.known + self.damping))

    def squared_norm(self, values: Tensor) -> Tensor:
        """The squared norm in the damped diagonal, a number."""
        return ((self.diagonal.known + self.damping) * values.square()).sum()

    def state_dict(self) -> dict[str, Any]:
        """Everything but the parameter."""
        return {"diagonal": self.diagonal.value, "weight": self.diagonal.weight, "damping": self.damping}

    def fits(self, state: Mapping[str, Any]) -> bool:
        """Whether the diagonal has the shape of the parameter."""
        return state["diagonal"].shape == self.parameters[0].shape

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` of an equal block gave."""
        self.diagonal.value = state["diagonal"].to(self.parameters[0].device).clone()
        self.diagonal.weight, self.damping = state["weight"], state["damping"]


Block = KroneckerBlock | DiagonalBlock
BLOCKS: Mapping[str, type[Block]] = {block.kind: block for block in (KroneckerBlock, DiagonalBlock)}
"""The classes of blocks, by kind."""


def _inverse(name: str, factor: Tensor, damping: float) -> Tensor:
    """The inverse of the factor plus damping * I by Cholesky, in float64 if float32 does not do."""
    for dtype in dict.fromkeys((factor.dtype, torch.float64)):
        damped = factor.to(dtype, copy=True)
        damped.diagonal().add_(damping)
        triangle, failed = torch.linalg.cholesky_ex(damped)
        if not bool(failed):
            return torch.cholesky_inverse(triangle).to(factor.dtype)
    raise NumericalError(
        name, f"its Kronecker factor with damping {damping:.3g} is singular to working precision",
        "use a larger damping (or `least` of it), or a larger batch",
    )  # fmt: skip
