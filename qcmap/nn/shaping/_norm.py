"""Layer normalization over the channels of each location, for feature maps with channels first."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class ChannelNorm(nn.Module):
    """Layer norm over the channels of [N, C, *locations], location by location, with gain and bias (DKS, section 19.2).

    What `qcmap.nn.shape` puts in the place of a batch norm. Gains start at 1 and biases at 0.
    """

    def __init__(self, channels: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.channels, self.eps = channels, eps
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """The normalised map, of the same shape."""
        last = functional.layer_norm(x.movedim(1, -1), (self.channels,), self.weight, self.bias, self.eps)
        return last.movedim(-1, 1)

    def extra_repr(self) -> str:
        """The number of channels and epsilon."""
        return f"{self.channels}, eps={self.eps:g}"
