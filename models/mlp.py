"""The fully-connected network of equal layers."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor, nn

from qcmap.activations import Activation
from qcmap.activations import activation as activation_named
from qcmap.architecture import Architecture, zoo
from qcmap.errors import ArgumentError
from qcmap.nn import activation_module, initialize

if TYPE_CHECKING:
    from qcmap.numeric import Transform


class ShapingLike(Protocol):
    """A mapping from activation names to transforms, such as the result of ``qc.dks``."""

    def __getitem__(self, activation: str, /) -> Transform:
        """The transform of the activation with this name."""
        ...


class MLP(nn.Module):
    """``depth`` combined layers of one width, then an affine head.

    Module paths (``layer1.affine``, ``layer1.activation``, ..., ``head``) are the node ids of
    ``qcmap.architecture.zoo.mlp``. Weights are scaled uniform orthogonal and biases zero (DKS, section 4); no global
    random state is used. Input [batch, in_features], output [batch, out_features].

    Parameters
    ----------
    in_features, width, depth, out_features
        Positive integers.
    activation
        A name of the catalogue or an `Activation`.
    shaping
        ``shaping[name]`` is the transform of the activation (as ``qc.dks`` gives it); None for the activation as it is.
    seed
        Of the weights.

    Raises
    ------
    ArgumentError
        For a size that is not a positive integer.
    ActivationError
        For an unknown activation, or one without a torch counterpart.
    """

    def __init__(
        self,
        in_features: int,
        width: int,
        depth: int,
        out_features: int,
        activation: str | Activation = "tanh",
        shaping: ShapingLike | None = None,
        *,
        seed: int = 0,
    ) -> None:
        super().__init__()
        sizes = {"in_features": in_features, "width": width, "depth": depth, "out_features": out_features}
        check_sizes(sizes)
        self.sizes, self.activation, self.shaping = sizes, activation, shaping
        row = activation_named(activation)
        transform = None if shaping is None else shaping[row.name]
        for layer in range(1, depth + 1):
            parts = OrderedDict[str, nn.Module](
                affine=empty_linear(in_features if layer == 1 else width, width),
                activation=activation_module(row, transform),
            )
            self.add_module(f"layer{layer}", nn.Sequential(parts))
        self.head = empty_linear(width, out_features)
        initialize(self, seed=seed)

    @property
    def architecture(self) -> Architecture:
        """The graph that this network has."""
        return zoo.mlp(
            self.sizes["depth"],
            width=self.sizes["width"],
            activation=self.activation,
            in_channels=self.sizes["in_features"],
            out_channels=self.sizes["out_features"],
        )

    def forward(self, x: Tensor) -> Tensor:
        """[batch, in_features] to [batch, out_features]."""
        for module in self.children():
            x = module(x)
        return x


def check_sizes(sizes: Mapping[str, object]) -> None:
    """Raise `ArgumentError`, naming the size, unless all are positive integers."""
    for name, size in sizes.items():
        if isinstance(size, bool) or not isinstance(size, int) or size < 1:
            raise ArgumentError(name, f"it must be a positive integer, not {size!r}", "give 1 or more")


def empty_linear(inputs: int, outputs: int) -> nn.Linear:
    """A linear layer whose memory is not filled: torch's own initialization would advance the global generator."""
    return nn.Linear(inputs, outputs, device="meta").to_empty(device=torch.get_default_device())
