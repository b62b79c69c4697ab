"""The infinite-width tangent kernel on arrays (DKS, section 24; docs/tangent.md).

The kernel of the parameters of an affine node v is Theta_v = m_v * d m_out / d m_v: the m value at its output, times
the derivative of the network's output m value in it. For a chain of combined layers with bias variance 0 this is
equation 23, q_D C_g(c) C_h'(C_g(c)). One walk forward gives the values at every node, one backward all derivatives: a
network of any wiring costs two walks.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from qcmap.architecture import Architecture
from qcmap.numeric.kernels._kernel_walk import KernelWalk, chosen_layers
from qcmap.numeric.maps._arguments import correlation, positive
from qcmap.numeric.maps._shaping import Shaping

Array = NDArray[np.float64]


@dataclass(frozen=True)
class TangentKernel:
    """The tangent kernel of a network for pairs of inputs: one term for the parameters of each affine node.

    Parameters are those of the NTK parameterisation, of variance 1: a weight is sqrt(weight_variance / k) times its
    parameter, a bias sqrt(bias_variance) times its own. The output is averaged over its channels.

    Attributes
    ----------
    terms
        The kernel of each affine node's parameters, keyed by node id; arrays of the shape of the pairs.
    nngp
        The m value at the output, which is the covariance of the network's outputs at initialisation.
    """

    terms: Mapping[str, Array]
    nngp: Array

    @cached_property
    def total(self) -> Array:
        """The kernel of all parameters."""
        return self.of(self.terms)

    def of(self, nodes: Iterable[str]) -> Array:
        """The kernel if only the parameters of these affine nodes are trained (DKS, section 24.3.3)."""
        return np.add.reduce([self.terms[name] for name in chosen_layers(self.terms, nodes)])

    def to_dict(self) -> dict[str, Any]:
        """The terms, their sum and the output covariance as nested lists."""
        terms = {node: term.tolist() for node, term in self.terms.items()}
        return {"terms": terms, "total": self.total.tolist(), "nngp": self.nngp.tolist()}

    def __repr__(self) -> str:
        return f"<tangent kernel of {len(self.terms)} affine nodes for pairs of shape {self.nngp.shape}>"


def ntk(
    arch: Architecture,
    c: ArrayLike,
    q1: ArrayLike | None = None,
    q2: ArrayLike | None = None,
    shaping: Shaping | None = None,
    target: str | None = None,
) -> TangentKernel:
    """The tangent kernel of an architecture in the limit of infinite width, at initialisation.

    Parameters
    ----------
    arch
        Any architecture that has C maps. Pooling is treated as the identity, as in shaping.
    c
        c values of the pairs of inputs, in [-1, 1], of any shape.
    q1, q2
        Their q values, which broadcast with c; each input's own (`Input.q`) if left out.
    shaping
        The transforms of the activations, e.g. `dks(arch)`; the activations as they are if left out.
    target
        The node whose feature map is the network's output; the only output if left out.

    Raises
    ------
    ArchitectureError
        As `NetworkMaps`; and for several outputs without a target, and for affine nodes that share their parameters,
        whose kernel has cross terms.
    ActivationError
        For an activation that jumps.
    NumericalError
        If the kernel overflows.
    """
    covariance, terms = KernelWalk(arch, shaping, target).terms(*_pairs(c, q1, q2))
    return TangentKernel(terms, covariance)


def nngp(
    arch: Architecture,
    c: ArrayLike,
    q1: ArrayLike | None = None,
    q2: ArrayLike | None = None,
    shaping: Shaping | None = None,
    target: str | None = None,
) -> Array:
    """The covariance of the outputs for pairs of inputs at infinite width: the m value at the output (DKS, section 7).

    Parameters and errors are those of `ntk`; shared parameters are no obstacle here.
    """
    return KernelWalk(arch, shaping, target, tangent=False).covariance(*_pairs(c, q1, q2))


def _pairs(c: ArrayLike, q1: ArrayLike | None, q2: ArrayLike | None) -> tuple[Array, Array | None, Array | None]:
    first = None if q1 is None else positive("q1", q1)
    second = None if q2 is None else positive("q2", q2)
    return correlation(c), first, second
