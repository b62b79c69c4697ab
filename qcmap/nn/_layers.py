"""Layers that shaping puts in place of plain sums and mean pooling."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.modules.lazy import LazyModuleMixin

from qcmap.errors import ArgumentError, DataError
from qcmap.nn._random import generator_from


class NormalizedSum(nn.Module):
    """The sum of two or more branches with constant weights whose squares sum to 1 (DKS, sections 9 and 17.3).

    Branches with q values of 1 then give a sum with q value 1. The weights are plain floats: the state dict is empty
    and no optimiser changes them. Input: one floating tensor for each weight, all of one shape; output: that shape.

    Parameters
    ----------
    weights
        One for each branch, in order: for a residual block ``[w, sqrt(1 - w**2)]``.

    Raises
    ------
    ArgumentError
        At construction: for fewer than two weights, or weights that are not finite or whose squares sum to anything but
        1 (to 1e-9).
    DataError
        At a call, for another number of tensors than of weights, or tensors of different shapes.
    """

    weights: tuple[float, ...]

    def __init__(self, weights: Sequence[float]) -> None:
        super().__init__()
        if len(weights) < 2:
            raise ArgumentError("weights", f"a sum has at least two branches, not {len(weights)}", "give two or more")
        total = math.fsum(float(weight) ** 2 for weight in weights)
        if not abs(total - 1) <= 1e-9:
            raise ArgumentError(
                "weights", f"the squares of the weights of a normalized sum are 1 together, not {total:.12g}",
                "divide the weights by the root of the sum of their squares",
            )  # fmt: skip
        self.weights = tuple(float(weight) for weight in weights)

    def forward(self, *branches: Tensor) -> Tensor:
        """The weighted sum of the branches."""
        if len(branches) != len(self.weights):
            raise DataError(
                "NormalizedSum", f"it has {len(self.weights)} weights, but got {len(branches)} branches",
                "give one tensor for each weight",
            )  # fmt: skip
        total = self.weights[0] * branches[0]
        for weight, branch in zip(self.weights[1:], branches[1:], strict=True):
            if branch.shape != total.shape:
                raise DataError(
                    "NormalizedSum",
                    f"branches have one shape, not {list(total.shape)} and {list(branch.shape)}",
                    "bring them to one shape with an affine layer",
                )
            total = torch.add(total, branch, alpha=weight)
        return total

    def extra_repr(self) -> str:
        """The weights."""
        return ", ".join(f"{weight:.6g}" for weight in self.weights)


class WeightedMeanPool(nn.Module):
    """Pooling over a whole map with one weight for each location, drawn from N(0, 1/locations) (DKS, 20.1.2).

    For a feature map Z [channels, locations] the output is Z w: in expectation over w its q and m values are the means
    of those of the locations (appendix E), so q values of 1 stay 1, which no mean pooling does. Weights of
    1/locations make it the mean. Input [..., *locations]; output [...], or [..., 1, ..., 1] with ``keepdim``.

    Parameters
    ----------
    locations
        The extent of the map along each axis, such as ``(7, 7)``.
    trainable
        Whether the weights are learned; otherwise they stay as drawn.
    keepdim
        Whether the axes of the locations stay, with extent 1, as ``nn.AdaptiveAvgPool2d(1)`` keeps them.
    seed, generator
        Where the randomness comes from; a generator goes before a seed and is advanced.

    Raises
    ------
    ArgumentError
        At construction, for locations that are not positive integers, or a bad seed.
    DataError
        At a call, for a map of another extent.
    """

    weight: nn.Parameter

    def __init__(
        self,
        locations: int | Sequence[int],
        *,
        trainable: bool = True,
        keepdim: bool = False,
        seed: int = 0,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        extents = (locations,) if isinstance(locations, int) else tuple(locations)
        if not extents or any(isinstance(n, bool) or not isinstance(n, int) or n < 1 for n in extents):
            raise ArgumentError(
                "locations",
                f"a map has a positive extent along each axis, not {locations!r}",
                "give extents such as (7, 7)",
            )
        self.keepdim = keepdim
        self.weight = nn.Parameter(torch.empty(extents), requires_grad=trainable)
        self.draw(generator_from(seed, generator))

    @torch.no_grad()
    def draw(self, generator: torch.Generator) -> None:
        """Draw new weights from N(0, 1/locations)."""
        shape = self.weight.shape
        sample = torch.randn(shape, dtype=torch.float64, generator=generator, device=generator.device)
        self.weight.copy_(sample / math.sqrt(math.prod(shape)))

    def forward(self, x: Tensor) -> Tensor:
        """The weighted sum over all locations."""
        axes = self.weight.ndim
        if x.ndim <= axes or x.shape[-axes:] != self.weight.shape:
            raise DataError(
                "WeightedMeanPool",
                f"it has weights for a map of {list(self.weight.shape)} locations, but the input is {list(x.shape)}",
                "make one for the extent that the map has; LazyWeightedMeanPool finds it",
            )
        pooled = x.flatten(-axes) @ self.weight.flatten()
        return pooled[(..., *(None,) * axes)] if self.keepdim else pooled

    def extra_repr(self) -> str:
        """The extent of the map."""
        trainable = "" if self.weight.requires_grad else ", trainable=False"
        return f"{'x'.join(map(str, self.weight.shape))}{trainable}{', keepdim=True' if self.keepdim else ''}"


_Lazy: Any = LazyModuleMixin
"""torch types its mixin by a private protocol that no class outside of torch meets."""


class LazyWeightedMeanPool(_Lazy, WeightedMeanPool):
    """A `WeightedMeanPool` that takes the extent of the first map [batch, channels, *locations] that it is given.

    Other arguments are those of `WeightedMeanPool`, which it becomes at the first call.
    """

    cls_to_become = WeightedMeanPool

    def __init__(self, *, trainable: bool = True, keepdim: bool = False, seed: int = 0) -> None:
        super().__init__(1, trainable=trainable, keepdim=keepdim, seed=seed)
        self._seed = seed
        self.register_parameter("weight", cast("Any", nn.UninitializedParameter(requires_grad=trainable)))

    def initialize_parameters(self, x: Tensor) -> None:
        """Give the weights the extent of a map and draw them."""
        if self.has_uninitialized_params():
            if x.ndim < 3:
                raise DataError(
                    "LazyWeightedMeanPool", f"a map is [batch, channels, *locations], but the input is {list(x.shape)}",
                    "give a batch of maps",
                )  # fmt: skip
            cast("nn.UninitializedParameter", self.weight).materialize(x.shape[2:], device=x.device)
            self.draw(generator_from(self._seed))

    def extra_repr(self) -> str:
        """Nothing is known yet."""
        return "extent of the first map"
