"""The edge of chaos: weights and biases of the variances that give C'(1) = 1."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

import torch

from qcmap.errors import ArgumentError
from qcmap.nn._initialize import M, Scale, fill

if TYPE_CHECKING:
    from qcmap.numeric import EdgeOfChaos


def edge_of_chaos(
    module: M,
    edge: EdgeOfChaos,
    weights: Literal["orthogonal", "gaussian"] = "orthogonal",
    *,
    delta: bool = True,
    seed: int = 0,
    generator: torch.Generator | None = None,
) -> M:
    """The edge of chaos (DKS, section 26.4): weights of variance w/k, biases drawn from N(0, b).

    q values at the activations' inputs stay at q* once they are there (inputs of q value ``edge.input_q`` put them
    there), and there C'(1) = 1: small differences between two inputs keep their size from layer to layer.

    Parameters
    ----------
    module, seed, generator
        As for `qcmap.nn.initialize`. All activations of the model must be ``edge.transform``; this is not checked.
    edge
        The variances, by `qcmap.edge_of_chaos`.
    weights, delta
        ``"orthogonal"`` with Delta is the version of Xiao et al. (2018) that section 28.5.6 compares with,
        ``"gaussian"`` without that of Schoenholz et al. (2017).

    Returns
    -------
    The module itself, changed in place; nothing is changed if anything is refused.

    Raises
    ------
    ArgumentError
        As `qcmap.nn.initialize` does, naming the module's path: also if a layer has no biases and b > 0.
    """
    if weights not in ("orthogonal", "gaussian"):
        raise ArgumentError("weights", f"there is no {weights!r} edge of chaos", "choose 'orthogonal' or 'gaussian'")
    scale = Scale(math.sqrt(edge.weight_variance), math.sqrt(edge.bias_variance))
    return fill(module, weights, lambda path, layer: scale, delta=delta, seed=seed, generator=generator)
